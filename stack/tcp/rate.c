/* rate.c: how fast data arrives: the delivery rate of each ACK
 * (draft-cheng-iccrg-delivery-rate-estimation), which BBR is built upon and
 * TCP_INFO shows.
 *
 * Theory of operation
 *
 * `delivered` counts the bytes known to have arrived: acknowledged or reported.
 * Each stretch of the board remembers, from when it was sent last, that count,
 * the time of the delivery before it, and when what was delivered then had been
 * sent. Its own arrival gives two times for the same bytes: how long it took
 * to send them, and how long their ACKs took to come. The longer one counts,
 * since ACKs may arrive in clumps, but never faster than the link for as long
 * as it takes to send. Of several stretches that one ACK reports the one sent
 * last is used.
 *
 * A rate is the program's, not the path's, if the sender had nothing left to
 * send: then what is sent until all that was in flight has arrived is marked
 * (SENT_LIMITED), and so is the sample.
 *
 * Nothing is kept while nothing is in flight; the times then start afresh.
 */
#include "stack/tcp/board.h"

/* Bytes that are known to have arrived, ever (wraps). */
uint32_t tcp_delivered(const struct tcp_sock *tp) {
    return (uint32_t)tp->bytes_acked + tcp_board_bytes(tp);
}

/* A stretch leaves (again): what a sample will need of this moment. */
void tcp_rate_sent(const struct tcp_sock *tp, struct tcp_sent *s) {
    const struct tcp_board *b = tp->board;
    s->delivered = tcp_delivered(tp);
    s->delivered_us = b->delivered_us;
    s->first_us = b->first_us;
    if (b->limited)
        s->flags |= SENT_LIMITED;
    else
        s->flags &= (uint8_t)~SENT_LIMITED;
}

/* A stretch has arrived, which was sent at s->us. */
void tcp_rate_delivered(struct tcp_sock *tp, const struct tcp_sent *s,
                        struct tcp_news *news) {
    struct tcp_rate *r = &news->rate;
    bool later = (int32_t)(s->us - r->sent_us) > 0;
    if (r->valid && !later)
        return;
    r->valid = true;
    r->sent_us = s->us;
    r->prior_delivered = s->delivered;
    r->prior_us = s->delivered_us;
    r->limited = s->flags & SENT_LIMITED;
    r->interval_us = s->us - s->first_us;
    tp->board->first_us = s->us;
}

/* All of the ACK has been taken in: make the sample. */
void tcp_rate_ack(struct stack *st, struct tcp_sock *tp,
                  struct tcp_news *news) {
    struct tcp_rate *r = &news->rate;
    struct tcp_board *b = tp->board;
    uint32_t now = tcp_us(st), delivered = tcp_delivered(tp);
    if (b && news->delivered)
        b->delivered_us = now;
    if (b && b->limited && seq_gt(delivered, b->limited_until))
        b->limited = false;
    if (!r->valid)
        return;
    r->delivered = delivered - r->prior_delivered;
    r->interval_us = max_u32(r->interval_us, now - r->prior_us);
    /* faster than a round trip: a retransmission taken for its original */
    r->valid = r->interval_us >= tp->min_rtt && r->interval_us && r->delivered;
    if (!r->valid)
        return;
    uint64_t rate = (uint64_t)r->delivered * 1000000 / r->interval_us;
    r->bytes_per_s = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
    if (!r->limited || r->bytes_per_s >= tp->delivery_rate)
        tp->delivery_rate = r->bytes_per_s;
}

/* All that there was has left, and cwnd would take more. */
void tcp_rate_limited(struct tcp_sock *tp) {
    struct tcp_board *b = tp->board;
    if (!b)
        return;
    b->limited = true;
    b->limited_until = tcp_delivered(tp) + tcp_pipe(tp);
}
