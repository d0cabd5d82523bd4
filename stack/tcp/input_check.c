/* input_check.c: the first steps: sequence, RST, SYN (RFC 9293 section
 * 3.10.7.4, first, second, fourth), hardened by RFC 5961 and RFC 7323.
 *
 * What passes here lies in the window, is trimmed to it, and is neither a reset
 * nor a SYN. What does not pass changes nothing: at most it draws an ACK, which
 * tells an honest peer where we are and a forger nothing he can use. */
#include "stack/tcp/tcp.h"

#define PAWS_IDLE_MS (24u * 24 * 3600 * 1000) /* RFC 7323 section 5.5 */
/* Frames that two CPUs carry overtake each other by a tick now and then; a
 * wrapped sequence number is older by far more. Linux allows as much. */
#define PAWS_SLACK 1u

/* Sequence space a segment takes. */
static uint32_t seg_space(const struct tcp_seg *seg) {
    return seg->len + seg->fin + ((seg->h.flags & TCP_SYN) != 0);
}

/* PAWS, RFC 7323 section 5.3 rule R1: older than what we have seen last? */
static bool paws_rejects(struct stack *st, const struct tcp_sock *tp,
                         const struct tcp_seg *seg) {
    if (!tp->ts_ok || !seg->o.ts || !tp->ts_valid)
        return false;
    if (!seq_lt(seg->o.tsval + PAWS_SLACK, tp->ts_recent))
        return false;
    return tcp_ms(st) - tp->ts_recent_ms < PAWS_IDLE_MS;
}

/* Rule R3: remember the timestamp of the segment that spans what we have
 * acknowledged last. */
static void remember_timestamp(struct stack *st, struct tcp_sock *tp,
                               const struct tcp_seg *seg) {
    if (!tp->ts_ok || !seg->o.ts || seq_gt(seg->seq, tp->last_ack_sent))
        return;
    if (tp->ts_valid && seq_lt(seg->o.tsval, tp->ts_recent) &&
        tcp_ms(st) - tp->ts_recent_ms < PAWS_IDLE_MS)
        return;
    tp->ts_recent = seg->o.tsval;
    tp->ts_recent_ms = tcp_ms(st);
    tp->ts_valid = true;
}

/* RFC 9293 section 3.10.7.4, table 6, with two liberties that Linux takes too:
 * an empty segment may lie between the last ACK we sent and the right edge,
 * both included (ACKs that overtook each other, or that a full window's last
 * byte precedes); text at a shut window is trimmed to nothing, so that its ACK
 * is used (MUST-66). */
static bool acceptable(const struct tcp_sock *tp, const struct tcp_seg *seg) {
    uint32_t n = seg_space(seg), wnd = tcp_rcv_wnd(tp);
    seq_t edge = tp->rcv_nxt + wnd;
    if (n == 0)
        return seq_geq(seg->seq, tp->last_ack_sent) && seq_leq(seg->seq, edge);
    if (wnd == 0)
        return seg->seq == tp->rcv_nxt;
    return seq_lt(seg->seq, edge) && seq_gt(seg->seq + n, tp->rcv_nxt);
}

/* Report [lo, hi) as received twice (RFC 2883 section 4). */
static void note_duplicate(struct tcp_sock *tp, seq_t lo, seq_t hi) {
    if (!tp->sack_ok || !seq_lt(lo, hi))
        return;
    tp->dsack = true;
    tp->dsack_lo = lo;
    tp->dsack_hi = hi;
}

/* Cut off what was received before and what lies beyond the window. */
static void trim(struct stack *st, struct tcp_sock *tp, struct tcp_seg *seg) {
    if (seq_lt(seg->seq, tp->rcv_nxt) && seg_space(seg)) {
        uint32_t old = tp->rcv_nxt - seg->seq;
        note_duplicate(tp, seg->seq, seq_min(tp->rcv_nxt, seg->seq + seg->len));
        uint32_t cut = min_u32(old, seg->len);
        seg->data += cut;
        seg->len -= cut;
        seg->seq += cut;
        tp->ack_now = true;
        tcp_mark_due(st, tp);
        COUNT(st, tcp_partly_old);
    }
    seq_t edge = tp->rcv_nxt + tcp_rcv_wnd(tp);
    if (seq_gt(seg->seq + seg->len + seg->fin, edge)) {
        uint32_t room = seq_lt(seg->seq, edge) ? edge - seg->seq : 0;
        if (seg->len > room) {
            COUNT(st, tcp_beyond_window);
            seg->len = room;
        }
        /* a bare FIN needs no buffer */
        bool bare = !seg->len && seg->seq == tp->rcv_nxt;
        seg->fin = seg->fin && (seg->len < room || bare);
        tp->ack_now = true;
        tcp_mark_due(st, tp);
    }
}

/* First: is it within the window? */
enum tcp_step tcp_step_sequence(struct stack *st, struct tcp_sock *tp,
                                struct tcp_seg *seg) {
    bool rst = (seg->h.flags & TCP_RST) != 0;
    if (!rst && paws_rejects(st, tp, seg)) {
        COUNT(st, drop_tcp_paws);
        note_duplicate(tp, seg->seq, seq_min(seg->seq + seg->len, tp->rcv_nxt));
        tcp_challenge_ack(st, tp, seg);
        return TCP_STEP_DONE;
    }
    if (TCP_IN(tp, SYN_RECV) && (seg->h.flags & TCP_SYN) && !rst &&
        seg->seq == tp->irs) {
        /* the peer sends its SYN again: so do we */
        if (!(seg->h.flags & TCP_ACK)) {
            tp->syn_due = true;
            tcp_mark_due(st, tp);
            return TCP_STEP_DONE;
        }
        /* crossed SYNs, now with an ACK: the SYN is old news */
        seg->h.flags &= (uint16_t)~TCP_SYN;
        seg->seq++;
    }
    if (!acceptable(tp, seg)) {
        COUNT(st, drop_tcp_sequence);
        if (rst)
            return TCP_STEP_DONE;
        note_duplicate(tp, seg->seq, seq_min(seg->seq + seg->len, tp->rcv_nxt));
        tcp_challenge_ack(st, tp, seg);
        return TCP_STEP_DONE;
    }
    if (!rst) {
        remember_timestamp(st, tp, seg);
        if (!(seg->h.flags & TCP_SYN))
            trim(st, tp, seg);
    }
    return TCP_NEXT;
}

/* The error a program sees after a reset in this state, as Linux. */
static int reset_error(const struct tcp_sock *tp) {
    if (TCP_IN(tp, CLOSE_WAIT))
        return EPIPE;
    return TCP_IN(tp, SYN_RECV) && !tp->tfo ? ECONNREFUSED : ECONNRESET;
}

/* Second: RST. RFC 5961 section 3.2: only the exact next number resets; any
 * other one in the window is asked about. */
enum tcp_step tcp_step_rst(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg) {
    if (!(seg->h.flags & TCP_RST))
        return TCP_NEXT;
    if (seg->seq != tp->rcv_nxt) {
        COUNT(st, drop_tcp_reset);
        tcp_challenge_ack(st, tp, seg);
        return TCP_STEP_DONE;
    }
    COUNT(st, tcp_resets_in);
    tcp_fail(st, tp, reset_error(tp));
    return TCP_STEP_DONE;
}

/* Fourth: SYN. RFC 5961 section 4.2: whatever its number, ask; if the peer has
 * really restarted it will answer with a fitting RST. */
enum tcp_step tcp_step_syn(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg) {
    if (!(seg->h.flags & TCP_SYN))
        return TCP_NEXT;
    COUNT(st, drop_tcp_syn);
    tcp_challenge_ack(st, tp, seg);
    return TCP_STEP_DONE;
}
