/* info.c: a connection as TCP_INFO and the socket table show it (tcp(7),
 * RFC 4898 in spirit).
 *
 * Every value is what the TCB holds at this moment; what is not measured is
 * zero, never a guess. Windows and flights are in segments, as in Linux's
 * struct tcp_info, because that is what the tools that read it expect; bytes
 * become segments by rounding up, so that "something is in flight" never shows
 * as zero. */
#include "stack/tcp/tcp.h"

#define INFO_TIMESTAMPS 1 /* TCPI_OPT_* of Linux */
#define INFO_SACK 2
#define INFO_WSCALE 4
#define INFO_ECN 8
#define INFO_ECN_SEEN 16
#define INFO_SYN_DATA 32

/* Whole segments for so many bytes. */
static uint32_t segments(uint32_t bytes, uint32_t mss) {
    return (bytes + mss - 1) / mss;
}

/* Linux shows a listener's queues where a connection has its segments. */
static void listener_info(const struct tcp_sock *tp,
                          struct stack_tcp_info *out) {
    out->unacked = tcp_listen_queue(tp, &out->sacked);
}

/* What is in flight, and what of it is in doubt. */
static void flight_info(const struct tcp_sock *tp, struct stack_tcp_info *out) {
    uint32_t mss = tcp_smss(tp);
    out->unacked = segments(tcp_flight(tp), mss);
    out->sacked =
        tp->sack_ok ? segments(tcp_board_bytes(tp), mss) : tp->dupacks;
    if (tp->ca_state != TCP_CA_OPEN) {
        out->lost = segments(tcp_lost_bytes(tp), mss);
        out->retrans = segments(tcp_board_again(tp), mss);
    }
    if (tcp_synchronized(tp) && seq_gt(tcp_snd_end(tp), tp->snd_nxt))
        out->notsent_bytes = tcp_snd_end(tp) - tp->snd_nxt;
}

/* Round trips and windows. */
static void measured_info(struct stack *st, const struct tcp_sock *tp,
                          struct stack_tcp_info *out) {
    uint32_t mss = tcp_smss(tp);
    out->rto_us = tcp_rto_ns(tp) / 1000;
    out->ato_us = TCP_DACK_NS / 1000;
    out->srtt_us = tp->srtt8 >> 3;
    out->rttvar_us = tp->rttvar4 >> 2;
    out->min_rtt_us = tp->min_rtt;
    out->rcv_rtt_us = tp->srtt8 >> 3;
    out->rcv_space = tp->rcv_space;
    out->snd_cwnd = tp->cwnd / mss;
    out->snd_ssthresh =
        tp->ssthresh == UINT32_MAX ? INT32_MAX : tp->ssthresh / mss;
    out->snd_wnd = tp->snd_wnd;
    out->delivery_rate = tp->delivery_rate;
    out->rcv_wnd = tcp_rcv_wnd(tp);
    out->rcv_ssthresh = tcp_rcv_limit(tp);
    out->reordering = tp->dupthresh;
    out->pmtu = ip_path_mtu(st, &tp->so.remote.ip);
    uint32_t now = tcp_ms(st);
    out->last_data_sent_ms = now - tp->snd_ms;
    out->last_data_recv_ms = now - tp->rcv_ms;
    out->last_ack_recv_ms = now - tp->ack_ms;
}

/* Counted since the connection began. */
static void counted_info(const struct tcp_sock *tp,
                         struct stack_tcp_info *out) {
    out->total_retrans = tp->total_retrans;
    out->delivered_ce = tp->ce_out;
    out->total_rto = tp->total_rto;
    out->bytes_acked = tp->bytes_acked;
    out->bytes_received = tp->bytes_received;
    out->bytes_sent = tp->bytes_sent;
    out->bytes_retrans = tp->bytes_retrans;
    out->segs_out = tp->segs_out;
    out->segs_in = tp->segs_in;
    out->data_segs_in = tp->data_in;
    out->data_segs_out = tp->data_out;
}

/* stats.h: any state but LISTEN and TIME-WAIT shows all of it. -ENOPROTOOPT for
 * other kinds of sockets. */
int stack_tcp_info(struct stack *st, struct sock *so,
                   struct stack_tcp_info *out) {
    *out = (struct stack_tcp_info){0};
    if (so->kind == SOCK_TCP_TW) {
        out->state = TCP_S_TIME_WAIT;
        return 0;
    }
    if (so->kind != SOCK_TCP)
        return -ENOPROTOOPT;
    const struct tcp_sock *tp = tcp_of(so);
    out->state = tp->state;
    out->ca_state = tp->ca_state;
    if (tp->cwr && tp->ca_state == TCP_CA_OPEN)
        out->ca_state = TCP_CA_CWR;
    out->retransmits = tp->retransmits;
    out->probes = tp->probes;
    out->backoff = tp->backoff;
    out->options =
        (uint8_t)((tp->ts_ok ? INFO_TIMESTAMPS : 0) |
                  (tp->sack_ok ? INFO_SACK : 0) |
                  (tp->ws_ok ? INFO_WSCALE : 0) | (tp->ecn ? INFO_ECN : 0) |
                  (tp->fo_acked ? INFO_SYN_DATA : 0) |
                  (tp->ecn_seen ? INFO_ECN_SEEN : 0));
    out->snd_wscale = tp->ws_ok ? tp->snd_wscale : 0;
    out->rcv_wscale = tp->ws_ok ? tp->rcv_wscale : 0;
    out->snd_mss = tcp_smss(tp);
    out->rcv_mss = tp->rcv_mss;
    out->advmss = tp->adv_mss;
    if (TCP_IN(tp, LISTEN)) {
        listener_info(tp, out);
        return 0;
    }
    flight_info(tp, out);
    if (!TCP_IN(tp, CLOSE) || tp->done)
        measured_info(st, tp, out);
    counted_info(tp, out);
    return 0;
}
