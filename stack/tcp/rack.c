/* rack.c: losses told by time: RACK (RFC 8985 section 6). Its other half, the
 * tail loss probe (section 7), is in timer.c and output.c.
 *
 * Theory of operation
 *
 * Of two segments the one sent later has arrived: then the earlier one is lost,
 * or it was overtaken. RACK waits for a reordering window and then calls it
 * lost, counted in time from when it was sent, not in segments that arrived
 * since. So it needs no duplicate ACKs after a loss, finds retransmissions that
 * are lost again, and bears reordering of any depth within the window.
 *
 * With each ACK: of what has newly arrived, what was sent last is remembered
 * (rack_us, rack_end) with its round trip (step 2). Whatever was sent before
 * that, is not here, and is older than that round trip plus the window, is lost
 * (step 5). The rest is looked at again when the window has passed: the rtx
 * timer runs as TCP_RTX_REO then.
 *
 * The window (step 4) is a quarter of the least round trip, up to a whole SRTT
 * if D-SACKs say that we were too quick; but nothing at all, as long as no
 * reordering has been seen, in recovery and when three segments have been
 * reported above: DupThresh of RFC 5681, which finds losses early on all the
 * paths that keep order.
 *
 * Of retransmissions only those count whose ACK cannot be the original's (step
 * 2): the echoed timestamp is not older, and the round trip not shorter than
 * the least.
 */
#include "stack/tcp/board.h"

#define DSACK_PERSIST 16 /* recoveries, section 6.2 step 4 */

/* RACK_sent_after() of section 6.2 step 2: was (us, end) sent after the other?
 */
static bool sent_after(uint32_t us, seq_t end, uint32_t us2, seq_t end2) {
    return (int32_t)(us - us2) > 0 || (us == us2 && seq_gt(end, end2));
}

/* Step 2: may the ACK of this retransmission be that of an earlier copy? */
static bool ambiguous(struct stack *st, const struct tcp_sock *tp,
                      const struct tcp_news *news, uint32_t rtt) {
    if (rtt < tp->min_rtt)
        return true;
    uint32_t sent = tcp_ts_now(st, tp->ts_offset) - (rtt + 999) / 1000;
    return tp->ts_ok && news->tsecr && seq_lt(news->tsecr, sent);
}

/* Step 3: something that was sent once arrives after what was sent later. */
static void reordered(struct stack *st, struct tcp_sock *tp, seq_t start,
                      seq_t fack) {
    uint32_t depth = (fack - start) / tcp_smss(tp) + 1;
    tp->reordering_seen = true;
    depth = min_u32(depth, TCP_DUPTHRESH_MAX);
    if (depth <= tp->dupthresh)
        return;
    tp->dupthresh = (uint16_t)depth;
    COUNT(st, tcp_reordering);
}

/* Steps 1 to 3: stretch i of the board has arrived up to `end`, which is
 * news. */
void tcp_rack_delivered(struct stack *st, struct tcp_sock *tp, uint32_t i,
                        seq_t end, struct tcp_news *news) {
    struct tcp_board *b = tp->board;
    const struct tcp_sent *s = &b->r[i];
    uint32_t rtt = tcp_us(st) - s->us;
    tcp_rate_delivered(tp, s, news);
    if (s->flags & SENT_AGAIN) {
        news->again = true;
        if (ambiguous(st, tp, news, rtt))
            return;
    } else {
        news->rtt_us = max_u32(rtt, 1); /* the last one is the newest */
        if (seq_leq(end, tp->recover))
            news->original = true;
        if (seq_gt(news->fack, end) && tp->sack_ok)
            reordered(st, tp, sent_start(b, i), news->fack);
    }
    if (b->rack_valid && !sent_after(s->us, end, b->rack_us, b->rack_end))
        return;
    b->rack_valid = true;
    b->rack_us = s->us;
    b->rack_end = end;
    b->rack_rtt = rtt;
}

/* Step 4: a D-SACK, at most once in a round trip, widens the window. */
void tcp_rack_dsack(struct tcp_sock *tp) {
    if (tp->dsack_round_set && seq_geq(tp->snd_una, tp->dsack_round))
        tp->dsack_round_set = false;
    bool probe = tp->tlp_out && tp->tlp_resent; /* our probe was a duplicate */
    if (!tp->dsack_seen || tp->dsack_round_set || probe)
        return;
    tp->dsack_round_set = true;
    tp->dsack_round = tp->snd_nxt;
    tp->reo_more = (uint8_t)min_u32(tp->reo_more + 1u, UINT8_MAX);
    tp->reo_persist = DSACK_PERSIST;
}

/* Step 4: a recovery is over. */
void tcp_rack_recovered(struct tcp_sock *tp) {
    if (tp->reo_persist && --tp->reo_persist == 0)
        tp->reo_more = 0;
}

/* Step 4: the reordering window, us. */
static uint32_t reo_wnd(const struct tcp_sock *tp) {
    if (!tp->reordering_seen && (tp->ca_state != TCP_CA_OPEN ||
                                 tp->board->sacked_segs >= TCP_DUPTHRESH))
        return 0;
    uint64_t w = (uint64_t)tp->min_rtt / 4 * (tp->reo_more + 1u);
    uint32_t most = max_u32(tp->srtt8 >> 3, 1);
    return w < most ? max_u32((uint32_t)w, 1) : most;
}

/* Step 5: mark what is lost. Returns the bytes; *wait, us: when to look again,
 * or 0. Stretches beyond the first that was sent once and later than RACK's are
 * later as well. */
uint32_t tcp_rack_detect(struct stack *st, struct tcp_sock *tp,
                         uint32_t *wait) {
    struct tcp_board *b = tp->board;
    uint32_t before = b->lost, now = tcp_us(st), window = reo_wnd(tp);
    *wait = 0;
    for (uint32_t i = b->gone; b->rack_valid && i < b->n; i++) {
        const struct tcp_sent *s = &b->r[i];
        if (s->flags & (SENT_SACKED | SENT_LOST))
            continue;
        bool again = s->flags & SENT_AGAIN;
        /* new data of the same burst leaves after retransmissions, if it can
         * be told what the same burst was */
        bool tell = b->rack_rtt && seq_gt(b->rack_end, tp->recover);
        seq_t later = tell ? b->rack_end : s->end;
        if (!sent_after(b->rack_us, again ? later : b->rack_end, s->us,
                        s->end)) {
            if (again)
                continue;
            break;
        }
        int32_t left = (int32_t)(s->us + b->rack_rtt + window - now);
        if (left > 0) {
            *wait = max_u32(*wait, (uint32_t)left);
            continue;
        }
        if (again)
            COUNT(st, tcp_lost_again);
        tcp_board_lose(b, i);
    }
    return b->lost - before;
}

/* Section 6.3: upon a time-out, what is not older than a round trip and the
 * window may still arrive. The first segment is lost in any case. */
void tcp_rack_timeout(struct stack *st, struct tcp_sock *tp) {
    struct tcp_board *b = tp->board;
    uint32_t rtt = b->rack_valid ? b->rack_rtt : tp->srtt8 >> 3;
    uint32_t age = rtt + tp->min_rtt / 4 * (tp->reo_more + 1u);
    for (uint32_t i = b->gone; i < b->n; i++)
        if (i == b->gone || tcp_us(st) - b->r[i].us >= age)
            tcp_board_lose(b, i);
}
