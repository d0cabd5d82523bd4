/* cc_newreno.c: slow start and congestion avoidance (RFC 5681 section 3.1). */
#include "stack/tcp/cc.h"

/* Nothing to remember but tp->cwnd_acc. */
static int newreno_init(struct stack *st, struct tcp_sock *tp) {
    (void)st;
    tp->cwnd_acc = 0;
    return 0;
}

/* RFC 5681 section 3.1: exponential below ssthresh, then one SMSS for each
 * window acknowledged. */
static void newreno_acked(struct tcp_sock *tp, uint32_t bytes, uint32_t mss,
                          nstime_t now) {
    (void)now;
    tp->cwnd_acc += tcp_cc_slow_start(tp, bytes);
    while (tp->cwnd_acc >= tp->cwnd && tp->cwnd < TCP_CWND_MAX) {
        tp->cwnd_acc -= tp->cwnd;
        tp->cwnd += mss;
    }
    if (tp->cwnd >= TCP_CWND_MAX)
        tp->cwnd_acc = 0;
}

/* RFC 5681 equation (4): half of what was in flight, at least 2 SMSS. */
static uint32_t newreno_ssthresh(struct tcp_sock *tp, uint32_t flight,
                                 uint32_t mss) {
    (void)tp;
    return max_u32(flight / 2, 2 * mss);
}

const struct tcp_cc_ops tcp_cc_newreno = {
    .name = "reno",
    .init = newreno_init,
    .acked = newreno_acked,
    .ssthresh = newreno_ssthresh,
};
