/* cwv.c: congestion window validation (RFC 7661, RFC 5681 section 4.1): a window
 * that has not been used for a while says nothing about the path any more.
 *
 * Theory of operation
 *
 * cwnd grows only while it is what holds us back (recovery.c). What remains is
 * to let it go when it is too large:
 *
 *   idle      nothing was sent for an RTO: half for each RTO that passed, but no
 *             less than the initial window.
 *   not full  something was sent, but for an RTO never as much as cwnd allowed:
 *             halfway to what was used.
 *
 * BBR has its own view of both, and is told of the end of a pause only.
 *
 * Both remember where we were: ssthresh becomes at least 3/4 of the old window,
 * so that slow start leads back at once. (RFC 7661 section 4.3 is gentler: it
 * waits five minutes. This is its predecessor's rule, RFC 2861 section 3.2,
 * which Linux follows, and which cannot burst into a path that has changed.)
 */
#include "stack/tcp/cc.h"

/* RFC 2861 section 3.2: what slow start may find again. An infinite ssthresh
 * stays so. */
static void remember(struct tcp_sock *tp) {
    tp->ssthresh = max_u32(tp->ssthresh, tp->cwnd - tp->cwnd / 4);
}

/* New data is about to leave and nothing is in flight. */
void tcp_cwv_idle(struct stack *st, struct tcp_sock *tp, uint32_t mss) {
    if (tcp_flight(tp) || tp->ca_state != TCP_CA_OPEN || !tp->data_out)
        return;
    if (tcp_cc(tp)->control) {
        tcp_cc(tp)->restart(st, tp);
        return;
    }
    uint64_t idle = (tcp_ms(st) - tp->snd_ms) * 1000ull;
    uint32_t least = TCP_INIT_CWND * mss;
    if (idle <= tp->rto || tp->cwnd <= least)
        return;
    remember(tp);
    for (; idle > tp->rto && tp->cwnd > least; idle -= tp->rto)
        tp->cwnd /= 2;
    tp->cwnd = max_u32(tp->cwnd, least);
    tp->cwv_used = 0;
    tp->cwv_ms = tcp_ms(st);
}

/* May cwnd grow with this ACK? When it was the limit; in slow start also when
 * half of it was in use (RFC 7661 section 4.3, pipeACK >= cwnd / 2; as Linux). */
bool tcp_cwv_valid(const struct tcp_sock *tp, uint32_t acked) {
    uint32_t used = max_u32(tp->cwv_used, tcp_flight(tp) + acked);
    return tp->cwnd_limited || (tp->cwnd < tp->ssthresh && tp->cwnd / 2 < used);
}

/* All that may leave has left, and cwnd was the limit or not. */
void tcp_cwv_sent(struct stack *st, struct tcp_sock *tp, uint32_t mss) {
    uint32_t flight = tcp_flight(tp), least = TCP_INIT_CWND * mss;
    if (tcp_cc(tp)->control)
        return;
    if (tp->cwnd_limited || tp->ca_state != TCP_CA_OPEN) {
        tp->cwv_used = 0;
        tp->cwv_ms = tcp_ms(st);
        return;
    }
    tp->cwv_used = max_u32(tp->cwv_used, flight);
    if ((tcp_ms(st) - tp->cwv_ms) * 1000ull < tp->rto || !flight)
        return;
    uint32_t used = max_u32(tp->cwv_used, least);
    if (used < tp->cwnd) {
        remember(tp);
        tp->cwnd = used + (tp->cwnd - used) / 2;
    }
    tp->cwv_used = 0;
    tp->cwv_ms = tcp_ms(st);
}
