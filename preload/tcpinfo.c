/* tcpinfo.c: TCP_INFO, the stack's figures in the kernel's struct tcp_info.
 * Kept apart because <linux/tcp.h>, which has the whole struct, and
 * <netinet/tcp.h> cannot be included together. */
#include <linux/tcp.h>
#include <stddef.h>
#include <string.h>

#include "preload/sockopt.h"
#include "stack/stats.h"

/* What Linux 6.7 has behind tcpi_snd_wnd, the last field of older headers. */
struct tail {
    uint32_t rcv_wnd, rehash;
    uint16_t total_rto, total_rto_recoveries;
    uint32_t total_rto_time; /* not measured: 0 */
};
#define TAIL (offsetof(struct tcp_info, tcpi_snd_wnd) + 4)

/* The kernel's fields are 32 bits wide: stop at the top. */
static uint32_t low32(uint64_t v) {
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* tcp(7): a shorter buffer gets the first fields, as older programs expect. */
int opt_get_tcpinfo(struct file *f, int name, void *val, socklen_t *len) {
    struct stack_tcp_info s = {0};
    int r = stack_tcp_info(self.st, f->so, &s);
    if (r < 0)
        return r;
    struct tcp_info t = {
        .tcpi_state = s.state,
        .tcpi_ca_state = s.ca_state,
        .tcpi_retransmits = s.retransmits,
        .tcpi_probes = s.probes,
        .tcpi_backoff = s.backoff,
        .tcpi_options = s.options,
        .tcpi_snd_wscale = s.snd_wscale & 15,
        .tcpi_rcv_wscale = s.rcv_wscale & 15,
        .tcpi_rto = low32(s.rto_us),
        .tcpi_ato = low32(s.ato_us),
        .tcpi_snd_mss = s.snd_mss,
        .tcpi_rcv_mss = s.rcv_mss,
        .tcpi_unacked = s.unacked,
        .tcpi_sacked = s.sacked,
        .tcpi_lost = s.lost,
        .tcpi_retrans = s.retrans,
        .tcpi_last_data_sent = low32(s.last_data_sent_ms),
        .tcpi_last_data_recv = low32(s.last_data_recv_ms),
        .tcpi_last_ack_recv = low32(s.last_ack_recv_ms),
        .tcpi_pmtu = s.pmtu,
        .tcpi_rcv_ssthresh = s.rcv_ssthresh,
        .tcpi_rtt = s.srtt_us,
        .tcpi_rttvar = s.rttvar_us,
        .tcpi_snd_ssthresh = s.snd_ssthresh,
        .tcpi_snd_cwnd = s.snd_cwnd,
        .tcpi_advmss = s.advmss,
        .tcpi_reordering = s.reordering,
        .tcpi_rcv_rtt = s.rcv_rtt_us,
        .tcpi_rcv_space = s.rcv_space,
        .tcpi_total_retrans = s.total_retrans,
        .tcpi_bytes_acked = s.bytes_acked,
        .tcpi_bytes_received = s.bytes_received,
        .tcpi_segs_out = s.segs_out,
        .tcpi_segs_in = s.segs_in,
        .tcpi_notsent_bytes = s.notsent_bytes,
        .tcpi_min_rtt = s.min_rtt_us,
        .tcpi_data_segs_in = s.data_segs_in,
        .tcpi_data_segs_out = s.data_segs_out,
        .tcpi_delivery_rate = s.delivery_rate,
        .tcpi_delivered_ce = s.delivered_ce,
        .tcpi_bytes_sent = s.bytes_sent,
        .tcpi_bytes_retrans = s.bytes_retrans,
        .tcpi_snd_wnd = s.snd_wnd,
    };
    struct tail tail = {
        .rcv_wnd = s.rcv_wnd,
        .total_rto =
            (uint16_t)(s.total_rto < UINT16_MAX ? s.total_rto : UINT16_MAX),
    };
    uint8_t out[TAIL + sizeof(tail)];
    memcpy(out, &t, TAIL);
    memcpy(out + TAIL, &tail, sizeof(tail));
    return opt_copy_out(out, sizeof(out), val, len);
}
