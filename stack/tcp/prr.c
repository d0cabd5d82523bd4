/* prr.c: Proportional Rate Reduction (RFC 9937): how much may leave with each
 * ACK of a fast recovery.
 *
 * Theory of operation
 *
 * Setting cwnd to ssthresh at once would silence the sender until half a window
 * has left the network, and then let it burst. PRR spreads the reduction: for
 * each byte that the peer reports as delivered, ssthresh / RecoverFS of a byte
 * may leave, so that at the end of the recovery ssthresh is in flight. When
 * losses, or the program, have brought less than ssthresh into flight, it sends
 * what was delivered, and one segment more while no further loss shows up (slow
 * start), but never over ssthresh.
 *
 * cwnd is the means: after each ACK it is what is in flight plus what may leave.
 * The counters are in the scoreboard; without memory for one, cwnd is ssthresh
 * from the start (RFC 6675).
 */
#include "stack/tcp/board.h"

/* Section 6.1: at the start of a recovery. `delivered` was news of the ACK that
 * started it and counts as delivered in it. */
void tcp_prr_start(struct tcp_sock *tp, uint32_t delivered) {
    struct tcp_board *b = tp->board;
    if (!b)
        return;
    b->prr_delivered = b->prr_out = 0;
    uint32_t known = b->sacked > delivered ? b->sacked - delivered : 0;
    uint32_t flight = tcp_flight(tp);
    b->recover_fs = max_u32(flight > known ? flight - known : 0, 1);
}

/* Section 6.2: for each ACK in the recovery. safe: it moved snd_una and told of
 * no further loss. */
void tcp_prr_ack(struct tcp_sock *tp, uint32_t delivered, bool safe) {
    struct tcp_board *b = tp->board;
    uint32_t pipe = tcp_pipe(tp), mss = tcp_smss(tp);
    if (!b) {
        tp->cwnd = tp->ssthresh;
        return;
    }
    if (!b->recover_fs) /* the scoreboard is younger than the recovery */
        tcp_prr_start(tp, delivered);
    b->prr_delivered = min_u32(b->prr_delivered + delivered, UINT32_MAX / 2);
    int64_t count;
    if (pipe > tp->ssthresh) {
        uint64_t part = (uint64_t)b->prr_delivered * tp->ssthresh;
        count = (int64_t)((part + b->recover_fs - 1) / b->recover_fs) -
                (int64_t)b->prr_out;
    } else {
        count = (int64_t)b->prr_delivered - (int64_t)b->prr_out;
        count = count > (int64_t)delivered ? count : (int64_t)delivered;
        count += safe ? mss : 0;
        int64_t room = (int64_t)tp->ssthresh - (int64_t)pipe;
        count = count < room ? count : room;
    }
    if (!b->prr_out && count < (int64_t)mss)
        count = mss; /* the fast retransmission */
    tp->cwnd = pipe + (uint32_t)(count > 0 ? count : 0);
    tp->cwnd = max_u32(tp->cwnd, mss);
}

/* Section 6.2: upon every transmission in the recovery. */
void tcp_prr_sent(struct tcp_sock *tp, uint32_t bytes) {
    if (tp->board && (tp->cwr || tp->ca_state == TCP_CA_RECOVERY))
        tp->board->prr_out += bytes;
}
