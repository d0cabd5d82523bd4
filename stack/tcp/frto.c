/* frto.c: F-RTO (RFC 5682): was the time-out needless?
 *
 * Theory of operation
 *
 * A round trip that has suddenly become longer than the RTO makes the timer fire
 * although nothing is lost. Sending everything again would then only add
 * duplicates. So after the first time-out of a recovery one segment goes again,
 * and the next ACKs tell:
 *
 *   FIRST   waiting for the first ACK. If it reports data that was sent once
 *           only, that data was under way all the time: spurious (section 3.1,
 *           with SACK). If it moves snd_una but not to `recover`, up to two
 *           segments of new data go instead of retransmissions: SECOND. Anything
 *           else: the loss is real.
 *   SECOND  If the next ACK moves snd_una over data that was sent once only, the
 *           time-out was spurious (section 2.1, step 3b). Else it was real.
 *
 * A peer without SACK that acknowledges the retransmission and more at once says
 * nothing in FIRST: the rest may have been waiting for it. What follows from a
 * spurious time-out is in recovery.c: window and threshold are what they were
 * (RFC 4015 in its simplest form).
 */
#include "stack/tcp/board.h"

/* Section 2.1, step 1: the timer has fired; `again`: not for the first time. */
void tcp_frto_start(struct tcp_sock *tp, bool again) {
    tp->frto = again || !tp->board ? TCP_FRTO_OFF : TCP_FRTO_FIRST;
}

/* Is there new data that the peer's window takes? cwnd does not matter. */
static bool has_new(const struct tcp_sock *tp) {
    int32_t left = seq_diff(tp->snd_una + tp->snd_wnd, tp->snd_nxt);
    return !tp->fin_sent && seq_gt(tcp_snd_end(tp), tp->snd_nxt) && left > 0;
}

/* An ACK after the time-out. True: it was spurious. */
bool tcp_frto_ack(struct tcp_sock *tp, uint32_t acked,
                  const struct tcp_news *news) {
    if (tp->frto == TCP_FRTO_OFF)
        return false;
    bool proof = news->original && (tp->sack_ok || !news->again);
    if (proof && (tp->sack_ok || tp->frto == TCP_FRTO_SECOND)) {
        tp->frto = TCP_FRTO_OFF;
        return true;
    }
    bool partial = acked && seq_lt(tp->snd_una, tp->recover);
    if (tp->frto == TCP_FRTO_FIRST && partial && has_new(tp)) {
        tp->frto = TCP_FRTO_SECOND;
        tp->cwnd = tcp_pipe(tp) + 2 * tcp_smss(tp);
        return false;
    }
    if (tp->frto == TCP_FRTO_SECOND) /* step 3a: slow start from here */
        tp->cwnd = min_u32(tp->cwnd, 3 * tcp_smss(tp));
    tp->frto = TCP_FRTO_OFF;
    return false;
}
