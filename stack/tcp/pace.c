/* pace.c: no more than so many bytes a second: SO_MAX_PACING_RATE (socket(7)),
 * and the rate of a congestion control that has one (BBR).
 *
 * Theory of operation
 *
 * Each departure moves pace_at, the time of the next one, by the time that its
 * bytes take at the rate. Before pace_at nothing leaves, and a timer ends the
 * wait; nobody polls. A piece is a millisecond's worth, but at least two
 * segments, so that neither timers nor frames become too many: that is the size
 * Linux's tcp_tso_autosize gives its superframes.
 *
 * A timer that comes late, by up to PACE_SLACK, does not lower the rate: the
 * next departure is counted from when this one should have been. Only data is
 * paced, first copies and repetitions alike; ACKs, probes and SYNs never wait.
 *
 * Without either nothing is paced: at the round trips of a LAN the ACKs
 * clock better than any timer, and pacing would only cost wake-ups.
 */
#include "stack/tcp/tcp.h"

#define PACE_PIECE_HZ 1000 /* a piece is this part of a second's bytes */
#define PACE_SLACK (2 * MSEC)

/* The program's rate changes: what waits is judged anew. */
void tcp_pace_set(struct stack *st, struct tcp_sock *tp, uint32_t rate) {
    tp->pace_max = rate;
    tp->pace_at = 0;
    timer_stop(st, &tp->pace);
    if (tp->sndq.len)
        tcp_mark_due(st, tp);
}

/* A millisecond's worth, in whole segments. */
uint32_t tcp_pace_piece(const struct tcp_sock *tp, uint32_t mss) {
    uint32_t segs = max_u32(tcp_pace_rate(tp) / PACE_PIECE_HZ / mss, 2);
    return min_u32(segs, max_u32(TCP_GSO_MAX / mss, 1)) * mss;
}

/* How much of n bytes may leave now? 0: nothing yet, the timer is set. */
uint32_t tcp_pace_limit(struct stack *st, struct tcp_sock *tp, uint32_t n,
                        uint32_t mss) {
    if (!tcp_pace_rate(tp) || !n)
        return n;
    if (st->now < tp->pace_at) {
        if (!timer_armed(&tp->pace))
            timer_arm(st, &tp->pace, TIMER_TCP_PACE, tp->pace_at);
        return 0;
    }
    return min_u32(n, tcp_pace_piece(tp, mss));
}

/* n bytes have left. */
void tcp_pace_sent(struct stack *st, struct tcp_sock *tp, uint32_t n) {
    if (!tcp_pace_rate(tp))
        return;
    nstime_t from = tp->pace_at;
    if (from + PACE_SLACK < st->now)
        from = st->now;
    tp->pace_at = from + (nstime_t)n * SEC / tcp_pace_rate(tp);
}
