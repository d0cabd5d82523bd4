/* ecn.c: explicit congestion notification: RFC 3168 and AccECN (RFC 9768).
 *
 * Theory of operation
 *
 * Both ends agree in the handshake (tp->ecn): not at all, CLASSIC or ACC. Then
 * new data leaves as ECT(0), and a router that would drop it marks it CE
 * instead. The receiver tells the sender, who slows down as after a loss, once
 * in a round trip, with nothing to repair (tcp_recovery_ecn).
 *
 *            SYN                        SYN-ACK
 *   CLASSIC  ECE CWR                    ECE
 *   ACC      AE CWR ECE                 which IP-ECN field the SYN had
 *
 * An end that knows CLASSIC only answers an ACC SYN with ECE, and so both fall
 * back to that. Whoever asks stops asking when the SYN must be sent again
 * (tcp_ecn_fallback): there are middleboxes that eat such SYNs. For AccECN one
 * repetition is tried first (RFC 9768 section 3.1.4 leaves that open).
 *
 * CLASSIC: the receiver sets ECE in every ACK from a CE mark on until it sees
 * CWR; the sender sets CWR on the first new data after it slowed down.
 *
 * ACC: the three bits are a counter (ACE) of CE-marked packets, modulo 8, that
 * starts at 5, in every segment but the ACK of the SYN-ACK, which reflects the
 * IP-ECN field of that. At least every sixth mark draws an ACK. The option with
 * byte counters (section 3.2.3) is neither sent nor read, so a jump by 8 or more
 * is seen modulo 8, which loses strength of the signal, never the signal of one
 * round trip, which is all that our congestion controls take.
 *
 * Never marked ECT, as RFC 3168 section 6.1 has it: SYN, SYN-ACK, bare ACKs,
 * resets, window probes, retransmissions.
 */
#include "stack/tcp/tcp.h"

#define ECN_BITS 3u /* of the TOS byte, RFC 3168 section 5 */
#define ECN_NOT_ECT 0u
#define ECN_ECT1 1u
#define ECN_ECT0 2u
#define ECN_CE 3u
#define FLAGS (TCP_AE | TCP_CWR | TCP_ECE)
#define ACE_START 5u    /* RFC 9768 section 3.2.1 */
#define ACE_ACK_EVERY 6 /* section 3.2.2.5.1: n of the rule, at most */

/* The three bits as a number, RFC 9768 figure 3. */
static unsigned ace_get(uint16_t flags) {
    return (flags & TCP_AE ? 4u : 0) | (flags & TCP_CWR ? 2u : 0) |
           (flags & TCP_ECE ? 1u : 0);
}
static uint16_t ace_flags(unsigned n) {
    return (uint16_t)((n & 4 ? TCP_AE : 0) | (n & 2 ? TCP_CWR : 0) |
                      (n & 1 ? TCP_ECE : 0));
}

/* How the IP-ECN field of a SYN or SYN-ACK is told to its sender: tables 2 and
 * 3 of section 3.1.2. */
static uint16_t reflected(unsigned ecn) {
    static const uint8_t code[] = {
        [ECN_NOT_ECT] = 2, [ECN_ECT1] = 3, [ECN_ECT0] = 4, [ECN_CE] = 6};
    return ace_flags(code[ecn & ECN_BITS]);
}

static unsigned ip_ecn(const struct tcp_seg *seg) {
    return seg->rx->tos & ECN_BITS;
}

/* What tcp_ecn (tune.def) says. */
static bool asks_acc(struct stack *st) { return TUNED(st, ECN) == 3; }
static bool asks_classic(struct stack *st) {
    return TUNED(st, ECN) == 1 || TUNED(st, ECN) == 4;
}
static bool takes_acc(struct stack *st) { return TUNED(st, ECN) >= 3; }

/* Flags of our SYN. */
static uint16_t syn_flags(struct stack *st, struct tcp_sock *tp) {
    bool again = tp->retransmits && TUNED(st, ECN_FALLBACK);
    if (asks_acc(st) && (!again || tp->retransmits < 2))
        tp->ecn_asked = TCP_ECN_ACC;
    else if (asks_classic(st) && !again)
        tp->ecn_asked = TCP_ECN_CLASSIC;
    else
        return 0; /* what an earlier one asked for may still be answered */
    return tp->ecn_asked == TCP_ECN_ACC ? FLAGS : TCP_CWR | TCP_ECE;
}

/* Flags of our SYN-ACK; one that is lost again and again is sent without, and
 * then there is no ECN (RFC 9768 section 3.1.4.2). */
static uint16_t synack_flags(struct stack *st, struct tcp_sock *tp) {
    if (tp->ecn == TCP_ECN_CLASSIC)
        return TCP_ECE;
    if (tp->ecn != TCP_ECN_ACC)
        return 0;
    if (tp->retransmits >= 2 && TUNED(st, ECN_FALLBACK)) {
        tp->ecn = TCP_ECN_OFF;
        return 0;
    }
    return reflected(tp->ecn_syn);
}

/* A SYN has come to a listener, or crossed ours: what do we agree to? RFC 3168
 * section 6.1.1. An ECT mark on a SYN without AccECN is a sign of a broken
 * network, and there is no ECN then, as on Linux. */
void tcp_ecn_take_syn(struct stack *st, struct tcp_sock *tp,
                      const struct tcp_seg *seg) {
    uint16_t f = seg->h.flags & FLAGS;
    tp->ecn = TCP_ECN_OFF;
    if (f == FLAGS && takes_acc(st)) {
        tp->ecn = TCP_ECN_ACC;
        tp->ecn_syn = (uint8_t)ip_ecn(seg);
        return;
    }
    bool asked = (f & TCP_CWR) && (f & TCP_ECE);
    if (asked && TUNED(st, ECN) && (!ip_ecn(seg) || (f & TCP_AE)))
        tp->ecn = TCP_ECN_CLASSIC;
}

/* The answer to our SYN: table 2 of RFC 9768; RFC 3168 section 6.1.1. */
void tcp_ecn_take_synack(struct tcp_sock *tp, const struct tcp_seg *seg) {
    unsigned ace = ace_get(seg->h.flags);
    tp->ecn = TCP_ECN_OFF;
    if (tp->ecn_asked == TCP_ECN_ACC && ace != 0 && ace != 7 && ace != 1 &&
        ace != 5) {
        tp->ecn = TCP_ECN_ACC;
        tp->ecn_syn = (uint8_t)ip_ecn(seg);
        tp->ecn_reflect = true;
        tp->ce_in = ip_ecn(seg) == ECN_CE;
        tp->ce_told = ACE_START;
    } else if (tp->ecn_asked && (ace == 1 || ace == 5)) {
        tp->ecn = TCP_ECN_CLASSIC;
    }
}

/* The ACK of our SYN-ACK: a zero ACE field means that something on the path
 * wipes it, and marks of ours would not be reported (section 3.2.2.4). */
void tcp_ecn_take_third(struct tcp_sock *tp, const struct tcp_seg *seg) {
    if (tp->ecn != TCP_ECN_ACC)
        return;
    tp->ce_told = ACE_START;
    tp->ecn_mute = !seg->len && !(seg->h.flags & FLAGS);
    tp->ecn_third = true;
}

/* Flags of a segment that is not a SYN. `fresh`: it has data that was not sent
 * before. */
static uint16_t other_flags(struct tcp_sock *tp, bool fresh) {
    if (tp->ecn == TCP_ECN_CLASSIC) {
        bool cwr = fresh && tp->ecn_cwr_due;
        if (cwr)
            tp->ecn_cwr_due = false;
        return (tp->ecn_echo ? TCP_ECE : 0) | (cwr ? TCP_CWR : 0);
    }
    tp->ce_unsaid = 0;
    if (tp->ecn_reflect) {
        tp->ecn_reflect = false;
        return reflected(tp->ecn_syn);
    }
    return ace_flags(tp->ce_in + ACE_START);
}

/* segment.c: the flags to be added to a segment, and the ECN bits of its IP
 * header. */
uint16_t tcp_ecn_out(struct stack *st, struct tcp_sock *tp, uint16_t flags,
                     bool fresh, uint8_t *tos) {
    *tos &= (uint8_t)~ECN_BITS;
    if (flags & TCP_SYN)
        return flags & TCP_ACK ? synack_flags(st, tp) : syn_flags(st, tp);
    if (!tp->ecn || (flags & TCP_RST))
        return 0;
    if (fresh && !tp->ecn_mute)
        *tos |= ECN_ECT0;
    return other_flags(tp, fresh);
}

/* Devices that cut a superframe clear CWR in all pieces but the first, so one
 * with CWR must be a single segment. */
bool tcp_ecn_alone(const struct tcp_sock *tp, bool fresh) {
    if (tp->ecn == TCP_ECN_CLASSIC)
        return fresh && tp->ecn_cwr_due;
    return tp->ecn == TCP_ECN_ACC &&
           (tp->ecn_reflect || ((tp->ce_in + ACE_START) & 2));
}

/* An acceptable segment has come: its marks. RFC 3168 section 6.1.3, RFC 9768
 * section 3.2.2.5. */
void tcp_ecn_in(struct stack *st, struct tcp_sock *tp,
                const struct tcp_seg *seg) {
    unsigned mark = ip_ecn(seg);
    if (!tp->ecn)
        return;
    if (mark)
        tp->ecn_seen = true;
    if (tp->ecn == TCP_ECN_ACC) {
        if (mark != ECN_CE)
            return;
        COUNT_ADD(st, tcp_ce_in, seg->segs);
        tp->ce_in += seg->segs;
        tp->ce_unsaid = (uint8_t)min_u32(tp->ce_unsaid + seg->segs, 255);
        if (tp->ce_unsaid >= ACE_ACK_EVERY && seg->len) {
            tcp_xmit_ack(st, tp);
            tx_flush(st);
        } else if (seg->len) {
            tp->ack_now = true;
            tcp_mark_due(st, tp);
        }
        return;
    }
    if (!seg->len)
        return; /* bare ACKs carry neither marks nor CWR that count */
    if (seg->h.flags & TCP_CWR) {
        tp->ecn_echo = false;
        tp->ack_now = true; /* its window may be down to one segment */
        tcp_mark_due(st, tp);
    }
    if (mark == ECN_CE) {
        COUNT_ADD(st, tcp_ce_in, seg->segs);
        if (!tp->ecn_echo) /* tell at once, not 40 ms later */
            tp->quickack = (uint8_t)max_u32(tp->quickack, 2);
        tp->ecn_echo = true;
    }
}

/* An ACK: does it report marks? */
static bool reports(struct tcp_sock *tp, const struct tcp_seg *seg) {
    if (tp->ecn == TCP_ECN_CLASSIC)
        return (seg->h.flags & TCP_ECE) != 0;
    if (tp->ecn != TCP_ECN_ACC || (seg->h.flags & TCP_SYN))
        return false;
    if (tp->ecn_third) { /* the handshake's ACK counts nothing */
        tp->ecn_third = false;
        if (!seg->len)
            return false;
    }
    unsigned more = (ace_get(seg->h.flags) - tp->ce_told) & 7;
    tp->ce_told += more;
    tp->ce_out += more;
    return more != 0;
}

/* Fifth step, after snd_una has moved: RFC 3168 section 6.1.2. An ACK older
 * than the last one tells nothing new. */
void tcp_ecn_ack(struct stack *st, struct tcp_sock *tp,
                 const struct tcp_seg *seg) {
    if (!tp->ecn || seq_lt(seg->h.ack, tp->snd_una) || !reports(tp, seg))
        return;
    COUNT(st, tcp_ce_told);
    if (tcp_recovery_ecn(st, tp) && tp->ecn == TCP_ECN_CLASSIC)
        tp->ecn_cwr_due = true;
}
