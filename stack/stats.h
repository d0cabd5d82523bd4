/* stats.h: looking at a running stack. For tools; needs the arena's lock.
 *
 * Every socket as the "control information" it is: addresses, state, queues,
 * timers, what has been measured.
 */
#pragma once
#include "stack/counters.h"
#include "stack/stack.h"

struct stack_tcp_info {
    uint8_t state;    /* RFC 9293 states, values of Linux's TCP_* */
    uint8_t ca_state; /* 0 open, 2 slowed down by ECN, 3 recovery, 4 loss */
    uint8_t retransmits, probes, backoff, options;
    uint8_t snd_wscale, rcv_wscale;
    uint64_t rto_us, ato_us;
    uint32_t snd_mss, rcv_mss;
    uint32_t unacked, sacked, lost, retrans; /* segments */
    uint64_t last_data_sent_ms, last_data_recv_ms, last_ack_recv_ms;
    uint32_t pmtu, rcv_ssthresh, srtt_us, rttvar_us, min_rtt_us;
    uint32_t snd_ssthresh, snd_cwnd; /* segments, as Linux */
    uint32_t advmss, reordering, rcv_rtt_us, rcv_space, total_retrans;
    uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retrans;
    uint32_t segs_out, segs_in, data_segs_in, data_segs_out;
    uint32_t delivered_ce; /* AccECN: packets of ours that arrived marked */
    uint32_t notsent_bytes, snd_wnd, rcv_wnd;
    uint32_t total_rto;     /* time-outs */
    uint64_t delivery_rate; /* bytes per second */
};
/* -ENOTCONN is never returned: a closed socket has state CLOSE. */
int stack_tcp_info(struct stack *st, struct sock *so,
                   struct stack_tcp_info *out);

struct stack_sock_info {
    uint8_t family, type, proto;
    bool listening, orphan;
    struct endpoint local, remote;
    uint32_t recvq, sendq;
    struct stack_tcp_info tcp; /* for TCP */
    nstime_t age;
};
/* Walk all sockets: start with *cursor NULL; false at the end. */
bool stack_each_sock(struct stack *st, struct sock **cursor,
                     struct stack_sock_info *out);
const char *stack_tcp_state_name(uint8_t state);

const struct stack_counters *stack_counters(struct stack *st);

struct stack_memory {
    size_t arena, used, peak;
};
void stack_memory(struct stack *st, struct stack_memory *out);

struct stack_neighbour {
    struct ip_addr ip;
    uint8_t mac[6];
    const char *state;
    nstime_t age;
};
bool stack_each_neighbour(struct stack *st, unsigned index,
                          struct stack_neighbour *out);
