/* input_ack.c: the ACK step (RFC 9293 section 3.10.7.4, fifth).
 *
 * What an acknowledgement does, in order: complete the handshake; take
 * acknowledged bytes out of the send buffer; update the window; tell recovery
 * what was learnt about losses; and move the closing states on when it covers
 * our FIN.
 *
 * The order inside matters. The window comes first, since a changed window means
 * that the ACK is no duplicate. The scoreboard takes the SACK blocks before
 * snd_una moves, so that a D-SACK below it is recognised, and its old upper end
 * is noted before that, or every cumulative ACK would look like reordering. The
 * round trip is sampled before the retransmission timer is armed with it.
 *
 * Nothing is sent here: what an ACK makes possible is sent at the end of the
 * burst, after all its ACKs have been seen.
 */
#include "stack/tcp/cc.h"

/* SYN-RECEIVED: is it the ACK of our SYN-ACK? Returns DONE when not, or when
 * the listener has no room for the new connection. */
static enum tcp_step finish_handshake(struct stack *st, struct tcp_sock *tp,
                                      struct tcp_seg *seg) {
    bool fits = seg->h.ack == tp->iss + 1;
    if (tp->tfo) /* some data may be acknowledged with it */
        fits = seq_gt(seg->h.ack, tp->iss) && seq_leq(seg->h.ack, tp->snd_nxt);
    if (!fits) {
        COUNT(st, tcp_bad_handshake_ack);
        tcp_reply_reset(st, seg);
        return TCP_STEP_DONE;
    }
    if (tp->parent && !tcp_child_established(st, tp))
        return TCP_STEP_DONE;
    tp->snd_una = tp->iss + 1;
    tp->snd_wnd = tp->max_snd_wnd = seg->wnd;
    tp->snd_wl1 = seg->seq;
    tp->snd_wl2 = seg->h.ack;
    tcp_ecn_take_third(tp, seg);
    tcp_rtt_on_ack(st, tp, seg);
    tcp_establish(st, tp);
    return TCP_NEXT;
}

/* Section 3.10.7.4: SND.WND := SEG.WND if this segment is not older than the
 * one the window was taken from. Which is older is told by the ACK first and
 * the sequence number second (the RFC has it the other way round): a peer's
 * retransmission has an old sequence number and yet the newest ACK, and its
 * window must be taken, or SND.UNA + SND.WND runs ahead of what was offered.
 * Among equals only a larger one counts, or none at all, as Linux has it:
 * windows do not shrink, but frames overtake each other. Returns whether the window
 * changed. */
static bool update_window(struct stack *st, struct tcp_sock *tp,
                          const struct tcp_seg *seg) {
    if (seq_lt(seg->h.ack, tp->snd_una))
        return false;
    bool newer = seq_lt(tp->snd_wl2, seg->h.ack) ||
                 (tp->snd_wl2 == seg->h.ack && seq_lt(tp->snd_wl1, seg->seq)) ||
                 (tp->snd_wl2 == seg->h.ack && tp->snd_wl1 == seg->seq &&
                  (seg->wnd > tp->snd_wnd || !seg->wnd));
    if (!newer)
        return false;
    bool changed = tp->snd_wnd != seg->wnd;
    bool opened = seg->wnd > tp->snd_wnd;
    tp->snd_wl1 = seg->seq;
    tp->snd_wl2 = seg->h.ack;
    tp->snd_wnd = seg->wnd;
    tp->max_snd_wnd = max_u32(tp->max_snd_wnd, seg->wnd);
    if (opened && (tp->sndq.len || tp->fin_queued)) {
        if (tp->rtx_mode == TCP_RTX_PERSIST) { /* no more probing */
            timer_stop(st, &tp->rtx);
            tp->rtx_mode = TCP_RTX_RTO;
            tp->backoff = 0;
        }
        tcp_mark_due(st, tp);
    }
    return changed;
}

/* Take [snd_una, ack) out of the send buffer. SYN and FIN are numbers without a
 * byte there. Returns payload bytes. */
static uint32_t advance_una(struct stack *st, struct tcp_sock *tp, seq_t ack) {
    uint32_t data = 0;
    seq_t end = seq_min(ack, tcp_snd_end(tp));
    if (seq_gt(end, tp->snd_buf_seq)) {
        data = end - tp->snd_buf_seq;
        bufq_drop(st, &tp->sndq, data);
        tp->snd_buf_seq = end;
    }
    tp->snd_una = ack;
    tp->bytes_acked += data;
    if (tp->urg_sending && seq_geq(ack, tp->snd_up))
        tp->urg_sending = false;
    tcp_zerocopy_acked(st, tp);
    return data;
}

/* RFC 6298 rules 5.2 and 5.3, after snd_una has moved. The backoff stays until
 * there is a new sample (rtt.c). */
static void restart_rtx(struct stack *st, struct tcp_sock *tp) {
    tp->retransmits = 0;
    tp->soft_error = 0;
    if (tcp_flight(tp))
        tcp_arm_rtx(st, tp);
    else
        timer_stop(st, &tp->rtx);
}

/* RFC 5681 section 2: what makes an ACK a duplicate. */
static bool is_duplicate(const struct tcp_sock *tp, const struct tcp_seg *seg,
                         bool window_changed) {
    return seg->h.ack == tp->snd_una && tcp_flight(tp) && !seg->len &&
           !seg->fin && !window_changed;
}

/* The peer has received something new of ours, so its MAC is right (RFC 4861
 * section 7.3.1, for ARP too). Every few seconds are enough. */
static void confirm_neighbour(struct stack *st, struct tcp_sock *tp,
                              uint32_t last_ack_ms) {
    if (last_ack_ms / 4096 != tcp_ms(st) / 4096)
        arp_confirm(st, &tp->so.remote.ip);
}

/* A round trip of something that was sent once, us; 0: there is none. These
 * are many, and feed what wants the least of many; the estimator of the RTO
 * takes one in a round trip (rtt.c). */
static void take_sample(struct tcp_sock *tp, uint32_t us) {
    if (!us)
        return;
    if (!tp->min_rtt || us < tp->min_rtt)
        tp->min_rtt = us;
    if (tcp_cc(tp)->sample)
        tcp_cc(tp)->sample(tp, us);
}

/* An ACK within [snd_una - window, snd_nxt]. */
static void process_ack(struct stack *st, struct tcp_sock *tp,
                        struct tcp_seg *seg) {
    uint32_t acked = 0, sacked = 0, last = tp->ack_ms;
    tp->probes = 0;
    tp->dsack_seen = false;
    tp->ack_ms = tcp_ms(st);
    bool changed = update_window(st, tp, seg);
    bool dup = is_duplicate(tp, seg, changed);
    uint32_t lost = tcp_board_lost_ever(tp), prior = tcp_pipe(tp);
    struct tcp_news news = {.fack = tcp_board_highest(tp),
                            .tsecr = seg->o.ts ? seg->o.tsecr : 0};
    if (tp->sack_ok && seg->o.n_sack)
        sacked = tcp_board_update(st, tp, seg, &news);
    if (seq_gt(seg->h.ack, tp->snd_una)) {
        acked = seg->h.ack - tp->snd_una;
        confirm_neighbour(st, tp, last);
        tcp_rtt_on_ack(st, tp, seg);
        advance_una(st, tp, seg->h.ack);
        tcp_board_ack(st, tp, &news);
        tcp_mtu_acked(st, tp);
        if (tp->tlp_out)
            tcp_recovery_probe_ack(st, tp, seg);
        restart_rtx(st, tp);
    }
    take_sample(tp, news.rtt_us);
    tcp_rate_ack(st, tp, &news);
    tcp_ecn_ack(st, tp, seg);
    if (acked || sacked || dup || tp->dsack_seen || tp->cwr) {
        tcp_recovery_ack(st, tp, seg, acked, sacked, dup, &news);
        news.rate.lost = tp->board ? tcp_board_lost_ever(tp) - lost : 0;
        news.rate.prior_flight = prior;
        news.rate.rtt_us = news.rtt_us;
        if (tcp_cc(tp)->control)
            tcp_cc(tp)->control(st, tp, &news.rate, news.delivered,
                                tcp_smss(tp));
        if (tp->sndq.len || tp->fin_queued)
            tcp_mark_due(st, tp);
    }
    tcp_write_space(st, tp); /* an undo makes room as well: more cwnd */
}

/* Our FIN is acknowledged: RFC 9293 section 3.10.7.4, fifth, by state. */
static enum tcp_step fin_acked(struct stack *st, struct tcp_sock *tp) {
    switch (tp->state) {
    case TCP_S_FIN_WAIT1:
        tp->state = TCP_S_FIN_WAIT2;
        if (tp->so.closed)
            tcp_arm_fin_wait2(st, tp);
        return TCP_NEXT;
    case TCP_S_CLOSING:
        tcp_time_wait(st, tp);
        return TCP_STEP_DONE;
    case TCP_S_LAST_ACK:
        tcp_done(st, tp);
        return TCP_STEP_DONE;
    default:
        return TCP_NEXT;
    }
}

/* Fifth: ACK. RFC 5961 section 5.2 bounds it on both sides. */
enum tcp_step tcp_step_ack(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg) {
    if (!(seg->h.flags & TCP_ACK)) {
        COUNT(st, drop_tcp_no_ack);
        return TCP_STEP_DONE;
    }
    if (TCP_IN(tp, SYN_RECV) && finish_handshake(st, tp, seg) != TCP_NEXT)
        return TCP_STEP_DONE;
    if (seq_gt(seg->h.ack, tp->snd_nxt) ||
        seq_lt(seg->h.ack, tp->snd_una - tp->max_snd_wnd)) {
        COUNT(st, drop_tcp_ack);
        tcp_challenge_ack(st, tp, seg);
        return TCP_STEP_DONE;
    }
    if (seg->rx->source_route)
        sock_ipopts_return(st, &tp->so, seg->rx);
    tcp_ecn_in(st, tp, seg);
    process_ack(st, tp, seg);
    if (tp->fin_sent && tp->snd_una == tp->snd_nxt)
        return fin_acked(st, tp);
    return TCP_NEXT;
}
