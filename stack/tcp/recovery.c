/* recovery.c: what counts as lost, and when it is over.
 *
 * Theory of operation
 *
 * Three congestion states (enum tcp_ca). OPEN turns into RECOVERY when the
 * scoreboard or three duplicate ACKs say that snd_una is lost (RFC 6675
 * section 5, RFC 5681 section 3.2), and anything turns into LOSS when the
 * retransmission timer fires. Both end when `recover`, the highest number sent
 * at their start, is acknowledged (RFC 6582).
 *
 * What is lost is marked in the scoreboard: by time when the peer sends SACK
 * (RACK, rack.c); else the segment at snd_una by duplicate ACKs, and again by
 * each partial ACK (NewReno); everything by a time-out. pipe is what is in the
 * network: in flight, not reported and not lost; output.c sends while pipe <
 * cwnd. For a peer without SACK a duplicate ACK stands for one segment that has
 * left. In RECOVERY cwnd is PRR's (prr.c).
 *
 * Mistakes are taken back: when the echoed timestamp shows that the original
 * arrived (Eifel, RFC 3522), D-SACK reports every retransmission as duplicate
 * (RFC 3708), or data sent once only arrives after a time-out (F-RTO, frto.c),
 * window and threshold are what they were.
 *
 * ECN (ecn.c) slows us down without a loss: OPEN goes on, but with tp->cwr set
 * cwnd is PRR's as well, until data sent after the news is acknowledged.
 *
 * Losses at the end of a flight, which no later data can reveal, are found by
 * the tail loss probe of RFC 8985 (timer.c, output.c).
 *
 * Without memory for a scoreboard only snd_una is known: each time-out, and
 * each partial ACK after it, sends one segment again (resend_una).
 */
#include "stack/tcp/cc.h"

/* DupThresh without SACK, raised by reordering that was seen, but never so high
 * that a small window could not reach it (RFC 5827, RFC 4653 in spirit). */
static uint32_t dupthresh(const struct tcp_sock *tp) {
    uint32_t segs = tcp_flight(tp) / tcp_smss(tp);
    uint32_t most = max_u32(segs ? segs - 1 : 0, TCP_DUPTHRESH);
    return min_u32(tp->dupthresh, most);
}

/* Bytes that count as lost, sent again or not (tcpi_lost). */
uint32_t tcp_lost_bytes(const struct tcp_sock *tp) {
    return tcp_board_lost(tp) + tcp_board_again(tp);
}

/* SetPipe() of RFC 6675 section 4: sent, not lost, not sacked; and what was
 * sent again. */
uint32_t tcp_pipe(const struct tcp_sock *tp) {
    uint32_t pipe = tcp_flight(tp) - tcp_board_bytes(tp) - tcp_board_lost(tp);
    if (!tp->sack_ok) {
        uint32_t left = tp->dupacks * tcp_smss(tp);
        pipe = pipe > left ? pipe - left : 0;
    }
    return pipe;
}

/* NextSeg() of RFC 6675, rule 1. While F-RTO waits for a verdict nothing is
 * repeated. */
bool tcp_next_hole(const struct tcp_sock *tp, seq_t *lo, seq_t *hi) {
    if (tp->ca_state == TCP_CA_OPEN || tp->frto == TCP_FRTO_SECOND)
        return false;
    if (tp->board)
        return tcp_board_hole(tp, lo, hi);
    *lo = tp->snd_una;
    *hi = seq_min(tp->snd_una + tcp_smss(tp), tp->snd_nxt);
    return tp->resend_una && *lo != *hi;
}

/* [lo, hi) has been sent again. */
void tcp_retransmitted(struct stack *st, struct tcp_sock *tp, seq_t lo,
                       seq_t hi) {
    uint32_t n = hi - lo, mss = tcp_smss(tp);
    tp->high_rxt = seq_max(tp->high_rxt, hi);
    tp->resend_una = false;
    tcp_board_resent(st, tp, lo, hi);
    tcp_prr_sent(tp, n);
    tp->rtt_timing = false; /* Karn: what is timed may be covered now */
    if (!tp->undo_any)
        tp->undo_ts = tcp_ts_now(st, tp->ts_offset);
    tp->undo_any = true;
    tp->undo_bytes += (int32_t)n;
    tp->total_retrans += (n + mss - 1) / mss;
    tp->bytes_retrans += n;
    COUNT_ADD(st, tcp_retransmitted, (n + mss - 1) / mss);
}

/* Note where we come from, so that a mistake can be taken back. */
static void remember(struct tcp_sock *tp) {
    tp->prior_cwnd = tp->cwnd;
    tp->prior_ssthresh = tp->ssthresh;
    tp->undo_una = tp->snd_una;
    tp->undo_bytes = 0;
    tp->undo_any = false;
    tp->undo_ok = true;
}

/* RFC 6675 section 5 step (4); RFC 6582 section 3.2 step 2. */
static void enter(struct stack *st, struct tcp_sock *tp, uint32_t delivered) {
    uint32_t mss = tcp_smss(tp);
    COUNT(st, tcp_fast_recoveries);
    remember(tp);
    bool slower = tp->cwr; /* ECN told of this window already */
    if (!slower)
        tp->ssthresh =
            tcp_cc(tp)->ssthresh(tp, min_u32(tcp_flight(tp), tp->cwnd), mss);
    tp->cwr = false;
    tp->cwnd_acc = 0;
    tp->ca_state = TCP_CA_RECOVERY;
    tp->recover = tp->snd_nxt;
    tp->high_rxt = tp->snd_una;
    tp->tlp_out = tp->tlp_due = false;
    tp->resend_una = true;
    if (!tp->sack_ok)
        tcp_board_mark_lost(st, tp, seq_min(tp->snd_una + mss, tp->snd_nxt));
    if (!slower)
        tcp_prr_start(tp, delivered);
    if (!tcp_cc(tp)->control)
        tcp_prr_ack(tp, delivered, false);
    tcp_mark_due(st, tp);
}

/* RFC 3168 section 6.1.2: as after a loss, at most once in a round trip, and
 * with PRR, as Linux, instead of silence for half of one. No undo: a mark is no
 * mistake. BBR hears of marks and does not slow down, as Linux's. */
bool tcp_recovery_ecn(struct stack *st, struct tcp_sock *tp) {
    if (tp->cwr || tp->ca_state != TCP_CA_OPEN)
        return false;
    COUNT(st, tcp_ecn_reductions);
    tp->ssthresh = tcp_cc(tp)->ssthresh(tp, min_u32(tcp_flight(tp), tp->cwnd),
                                        tcp_smss(tp));
    tp->cwnd_acc = 0;
    tp->cwr = true;
    tp->undo_ok = false;
    tp->ecn_end = tp->snd_nxt;
    tcp_prr_start(tp, 0);
    return true;
}

/* An ACK while ECN has us slow down; something sent later ends it, so that the
 * peer has seen CWR. */
static void cwr_ack(struct stack *st, struct tcp_sock *tp, uint32_t delivered,
                    bool acked) {
    if (seq_gt(tp->snd_una, tp->ecn_end)) {
        tp->cwr = false;
        if (!tcp_cc(tp)->control)
            tp->cwnd = tp->ssthresh;
    } else if (!tcp_cc(tp)->control) {
        tcp_prr_ack(tp, delivered, acked);
    }
    tcp_mark_due(st, tp);
}

/* Everything sent at the start of the recovery has arrived. */
static void leave(struct tcp_sock *tp) {
    uint32_t mss = tcp_smss(tp);
    if (tp->ca_state == TCP_CA_RECOVERY && !tcp_cc(tp)->control) {
        tp->cwnd = tp->ssthresh;
        if (!tp->sack_ok) /* RFC 6582 section 3.2 step 3, full ACK (1) */
            tp->cwnd =
                min_u32(tp->ssthresh, max_u32(tcp_flight(tp), mss) + mss);
    }
    tp->ca_state = TCP_CA_OPEN;
    tp->dupacks = 0;
    tp->resend_una = false;
    tp->frto = TCP_FRTO_OFF;
    tcp_rack_recovered(tp);
}

/* The loss was none: RFC 4015 section 3.2 in its simplest form. */
static void undo(struct stack *st, struct tcp_sock *tp) {
    COUNT(st, tcp_undone);
    tp->cwnd = max_u32(tp->cwnd, tp->prior_cwnd);
    tp->ssthresh = max_u32(tp->ssthresh, tp->prior_ssthresh);
    if (tcp_cc(tp)->undo)
        tcp_cc(tp)->undo(tp);
    tp->ca_state = TCP_CA_OPEN;
    tp->dupacks = 0;
    tp->frto = TCP_FRTO_OFF;
    tp->undo_ok = false;
    tcp_board_forget(tp, false);
}

/* Were the retransmissions of this recovery (or the last one) needless? */
static bool spurious(const struct tcp_sock *tp, const struct tcp_seg *seg,
                     uint32_t acked) {
    if (!tp->undo_ok || !tp->undo_any)
        return false;
    bool echo = acked && tp->ts_ok && seg->o.ts && seg->o.tsecr;
    if (echo && tp->ca_state != TCP_CA_OPEN &&
        seq_lt(seg->o.tsecr, tp->undo_ts))
        return true;
    return tp->undo_bytes <= 0;
}

/* Ask RACK what is lost. Returns the bytes that are so from now on. */
static uint32_t detect(struct stack *st, struct tcp_sock *tp) {
    uint32_t wait = 0, lost = 0;
    if (tp->sack_ok && tp->board)
        lost = tcp_rack_detect(st, tp, &wait);
    if (wait)
        tcp_arm_reo(st, tp, wait);
    else if (tp->rtx_mode == TCP_RTX_REO && tcp_flight(tp))
        tcp_arm_rtx(st, tp);
    return lost;
}

/* What is marked as lost goes again, and nothing else changes. */
static void resend(struct stack *st, struct tcp_sock *tp) {
    tp->ca_state = TCP_CA_LOSS;
    tp->recover = tp->snd_nxt;
    tp->high_rxt = tp->snd_una;
    tp->dupacks = 0;
    tp->undo_ok = false;
    tp->frto = TCP_FRTO_OFF;
    tp->resend_una = !tp->board;
    tcp_mark_due(st, tp);
}

/* A duplicate ACK, or one with SACK news, while OPEN. */
static void suspect(struct stack *st, struct tcp_sock *tp, uint32_t delivered) {
    bool lost = tp->dupacks >= dupthresh(tp);
    if (tp->sack_ok)
        lost = tcp_board_lost(tp);
    else if (!seq_gt(tp->snd_una, tp->recover) && tp->total_retrans)
        lost = false; /* RFC 6582 section 4: echoes of the last recovery */
    if (lost && tcp_flight(tp) && tcp_mtu_probe_lost(st, tp))
        resend(st, tp);
    else if (lost && tcp_flight(tp))
        enter(st, tp, delivered);
    else
        tcp_mark_due(st, tp); /* limited transmit, RFC 3042: pipe shrank */
}

/* snd_una moved, `recover` is not reached: RFC 6582 section 3.2 step 3,
 * partial ACK. Returns what was news of it, for PRR. */
static uint32_t partial_ack(struct stack *st, struct tcp_sock *tp,
                            uint32_t acked, uint32_t delivered) {
    uint32_t mss = tcp_smss(tp);
    if (!tp->board)
        tp->resend_una = true;
    if (tp->sack_ok)
        return delivered;
    if (tp->ca_state == TCP_CA_RECOVERY) {
        tcp_board_mark_lost(st, tp, seq_min(tp->snd_una + mss, tp->snd_nxt));
        tp->resend_una = true;
    }
    uint32_t segs = acked / mss; /* one of them was the hole itself */
    uint32_t gone = min_u32(segs ? segs - 1 : 0, tp->dupacks);
    tp->dupacks -= (uint16_t)gone;
    return acked - gone * mss;
}

/* One more duplicate; the count stays where it is when it is full. */
static void count_duplicate(struct tcp_sock *tp) {
    if (tp->dupacks < UINT16_MAX)
        tp->dupacks++;
}

/* An ACK in RECOVERY or LOSS. dup: it tells of something that arrived. */
static void ack_in_recovery(struct stack *st, struct tcp_sock *tp,
                            uint32_t acked, bool dup,
                            const struct tcp_news *news) {
    uint32_t delivered = news->delivered;
    if (acked && seq_geq(tp->snd_una, tp->recover)) {
        leave(tp);
        detect(st, tp);
        return;
    }
    if (acked) {
        delivered = partial_ack(st, tp, acked, delivered);
    } else if (dup) {
        count_duplicate(tp);
        delivered = tp->sack_ok ? delivered : tcp_smss(tp);
    }
    uint32_t lost = detect(st, tp);
    if (tp->ca_state == TCP_CA_RECOVERY && !tcp_cc(tp)->control)
        tcp_prr_ack(tp, delivered, acked && !lost);
    tcp_mark_due(st, tp);
}

/* An ACK while OPEN. The marks of the last recovery follow snd_una, so that
 * they do not come to mean the future after 2^31 bytes. */
static void ack_when_open(struct tcp_sock *tp, uint32_t acked, bool news) {
    if (acked) {
        tp->dupacks = 0;
        tp->recover = seq_max(tp->recover, tp->snd_una - 1);
        tp->high_rxt = seq_max(tp->high_rxt, tp->snd_una);
    } else if (news) {
        count_duplicate(tp);
    }
}

/* What an ACK says about losses. acked: bytes by which snd_una moved; sacked:
 * bytes newly reported; dup: a duplicate ACK by RFC 5681 section 2. With SACK
 * only SACK news count as duplicates (RFC 6675 section 2). */
void tcp_recovery_ack(struct stack *st, struct tcp_sock *tp,
                      const struct tcp_seg *seg, uint32_t acked,
                      uint32_t sacked, bool dup, const struct tcp_news *news) {
    bool again = sacked || (dup && !tp->sack_ok);
    bool fast = tp->ca_state == TCP_CA_RECOVERY || tp->cwr;
    tcp_rack_dsack(tp);
    if (spurious(tp, seg, acked)) {
        undo(st, tp);
    } else if (tp->ca_state == TCP_CA_LOSS && tcp_frto_ack(tp, acked, news)) {
        COUNT(st, tcp_frto);
        undo(st, tp);
    }
    if (tp->ca_state != TCP_CA_OPEN) {
        ack_in_recovery(st, tp, acked, again, news);
    } else {
        ack_when_open(tp, acked, again);
        detect(st, tp);
    }
    /* RFC 5681 section 3.1: growth, but not by ACKs of a fast recovery, and not
     * when something else than cwnd held us back (RFC 7661 section 4.1) */
    bool hold = fast || tp->frto == TCP_FRTO_SECOND;
    if (acked && tcp_cwv_valid(tp, acked) && !hold && tcp_cc(tp)->acked)
        tcp_cc(tp)->acked(tp, acked, tcp_smss(tp), st->now);
    if (tp->ca_state == TCP_CA_OPEN &&
        (again || tcp_board_bytes(tp) || tcp_board_lost(tp)))
        suspect(st, tp, news->delivered);
    if (tp->cwr)
        cwr_ack(st, tp, news->delivered, acked > 0);
}

/* timer.c: RFC 8985 section 6.2, step 5: the time that detect() asked for. */
void tcp_recovery_reo_timeout(struct stack *st, struct tcp_sock *tp) {
    COUNT(st, tcp_reo_timeouts);
    uint32_t lost = detect(st, tp);
    if (tp->ca_state == TCP_CA_RECOVERY && !tcp_cc(tp)->control)
        tcp_prr_ack(tp, 0, false);
    else if (tp->ca_state == TCP_CA_OPEN && lost)
        suspect(st, tp, 0);
    if (!timer_armed(&tp->rtx) && tcp_flight(tp))
        tcp_arm_rtx(st, tp);
    tcp_mark_due(st, tp);
}

/* RFC 8985 section 7.4: the probe's data has been acknowledged. If it was a
 * repetition and nobody complains of a duplicate, it repaired a loss, and that
 * loss must slow us down as any other. */
void tcp_recovery_probe_ack(struct stack *st, struct tcp_sock *tp,
                            const struct tcp_seg *seg) {
    if (seq_lt(seg->h.ack, tp->tlp_end))
        return;
    tp->tlp_out = false;
    if (!tp->tlp_resent || tp->dsack_seen || tp->ca_state != TCP_CA_OPEN)
        return;
    COUNT(st, tcp_tail_losses);
    if (tp->cwr || tcp_cc(tp)->control)
        return;
    tp->ssthresh = tcp_cc(tp)->ssthresh(tp, tp->cwnd, tcp_smss(tp));
    tp->cwnd = min_u32(tp->cwnd, tp->ssthresh);
}

/* RFC 5681 section 3.1, equation (4), and section 3.1 last paragraph: one
 * segment, everything counts as lost; ssthresh falls once per loss. */
void tcp_recovery_timeout(struct stack *st, struct tcp_sock *tp) {
    uint32_t mss = tcp_smss(tp);
    if (tp->total_rto < UINT16_MAX)
        tp->total_rto++;
    if (tcp_board_reneged(tp)) {
        COUNT(st, tcp_sack_reneged);
        tcp_board_forget(tp, true);
    }
    tcp_frto_start(tp, tp->ca_state == TCP_CA_LOSS);
    if (tp->ca_state == TCP_CA_OPEN) {
        remember(tp);
        if (!tp->cwr)
            tp->ssthresh =
                tcp_cc(tp)->ssthresh(tp, min_u32(tcp_flight(tp), tp->cwnd),
                                     mss);
    }
    tp->cwr = false;
    if (tcp_cc(tp)->timeout)
        tcp_cc(tp)->timeout(tp);
    tp->cwnd = mss;
    tp->cwnd_acc = 0;
    tp->ca_state = TCP_CA_LOSS;
    tp->recover = tp->snd_nxt;
    tp->high_rxt = tp->snd_una;
    tp->dupacks = 0;
    tp->dupthresh = TCP_DUPTHRESH;
    tp->tlp_out = tp->tlp_due = false;
    tp->resend_una = !tp->board;
    if (tp->sack_ok && tp->board)
        tcp_rack_timeout(st, tp);
    else
        tcp_board_mark_lost(st, tp, tp->snd_nxt);
    tp->cwnd_limited = true; /* slow start begins with the first ACK */
}

/* Path MTU shrank: what was sent in bigger pieces is gone, but the network is
 * not congested (RFC 1191 section 6.5). */
void tcp_recovery_resend(struct stack *st, struct tcp_sock *tp) {
    if (!tcp_flight(tp))
        return;
    resend(st, tp);
    tcp_board_mark_lost(st, tp, tp->snd_nxt);
}
