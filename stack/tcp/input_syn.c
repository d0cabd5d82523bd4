/* input_syn.c: SYN-SENT (RFC 9293 section 3.10.7.3), and what the options of a
 * SYN mean for the connection. */
#include "stack/tcp/tcp.h"

/* The peer's MSS, window scale, SACK-permitted and timestamp of its SYN or
 * SYN-ACK; each feature is on when both sides have offered it. */
void tcp_take_syn_options(struct stack *st, struct tcp_sock *tp,
                          const struct tcp_seg *seg) {
    const struct tcp_opts *o = &seg->o;
    tp->peer_mss =
        o->mss ? (uint16_t)max_u32(o->mss, TCP_MSS_MIN) : TCP_MSS_DEFAULT;
    tp->ws_ok = o->has_wscale && TUNED(st, WSCALE);
    if (tp->ws_ok) /* RFC 7323 section 2.3: at most 14 */
        tp->snd_wscale = (uint8_t)min_u32(o->wscale, 14);
    else
        tp->snd_wscale = tp->rcv_wscale = 0;
    tp->sack_ok = o->sack_permitted && TUNED(st, SACK);
    tp->ts_ok = o->ts && TUNED(st, TIMESTAMPS);
    if (tp->ts_ok) {
        tp->ts_recent = o->tsval;
        tp->ts_recent_ms = tcp_ms(st);
        tp->ts_valid = true;
    }
    tcp_sync_mss(st, tp);
}

/* Numbers from the peer's SYN. Its window is never scaled. */
static void take_syn(struct stack *st, struct tcp_sock *tp,
                     struct tcp_seg *seg) {
    tcp_take_syn_options(st, tp, seg);
    tp->irs = seg->seq;
    tp->rcv_nxt = tp->rcv_buf_seq = tp->rcv_up = seg->seq + 1;
    tp->last_ack_sent = tp->rcv_nxt;
    /* our SYN told an unscaled window */
    tp->rcv_adv = tp->rcv_nxt + min_u32(tcp_rcv_limit(tp), 65535);
    tp->snd_wnd = tp->max_snd_wnd = seg->wnd;
    tp->snd_wl1 = seg->seq;
    tp->snd_wl2 = seg->h.ack;
    seg->seq++; /* text begins behind the SYN */
}

/* Crossed SYNs: RFC 9293 section 3.5, figure 8. */
static void simultaneous_open(struct stack *st, struct tcp_sock *tp,
                              struct tcp_seg *seg) {
    take_syn(st, tp, seg);
    tp->state = TCP_S_SYN_RECV;
    tp->syn_due = true;
    tp->retransmits = tp->backoff = 0;
    tp->ecn = TCP_ECN_OFF; /* four flags, two of them too many to agree */
    timer_stop(st, &tp->rtx);
    tcp_mark_due(st, tp);
    COUNT(st, tcp_simultaneous_opens);
}

/* A connection attempt ends with the peer's refusal. */
static void refused(struct stack *st, struct tcp_sock *tp) {
    COUNT(st, tcp_resets_in);
    tcp_fail(st, tp, ECONNREFUSED);
}

/* An ACK of something else: the peer has a connection of the same name, half
 * open or in TIME-WAIT. Our reset ends it (RFC 9293 section 3.5.1), so the SYN
 * goes again at once, right behind it; only once, or two confused hosts would
 * do this for ever. */
static void half_open(struct stack *st, struct tcp_sock *tp,
                      const struct tcp_seg *seg) {
    COUNT(st, tcp_bad_syn_ack);
    tcp_reply_reset(st, seg);
    if (seg->h.flags & (TCP_RST | TCP_SYN) || tp->total_retrans)
        return;
    tp->total_retrans++;
    tp->syn_due = true;
    tcp_mark_due(st, tp);
}

/* The peer has n bytes of what our SYN took along; the rest is new data yet. */
static void syn_data_acked(struct stack *st, struct tcp_sock *tp, uint32_t n) {
    bufq_drop(st, &tp->sndq, n);
    tp->snd_buf_seq += n;
    tp->bytes_acked += n;
    tp->fo_acked = n > 0;
}

/* Checks in the order of section 3.10.7.3: ACK, RST, (security,) SYN. Returns
 * NEXT when the connection is established and text may follow. */
enum tcp_step tcp_input_syn_sent(struct stack *st, struct tcp_sock *tp,
                                 struct tcp_seg *seg) {
    uint16_t flags = seg->h.flags;
    if (flags & TCP_ACK) { /* first */
        /* data that our SYN took along may be acknowledged with it */
        if (seg->h.ack - tp->iss - 1 > tp->fo_sent || tp->snd_nxt == tp->iss) {
            half_open(st, tp, seg);
            return TCP_STEP_DONE;
        }
    }
    if (flags & TCP_RST) { /* second */
        if (flags & TCP_ACK)
            refused(st, tp);
        else
            COUNT(st, drop_tcp_reset);
        return TCP_STEP_DONE;
    }
    if (!(flags & TCP_SYN)) { /* fifth */
        COUNT(st, drop_tcp_no_syn);
        return TCP_STEP_DONE;
    }
    if (!(flags & TCP_ACK)) { /* fourth, without ACK */
        simultaneous_open(st, tp, seg);
        return TCP_STEP_DONE;
    }
    if (seg->o.ts && seg->o.tsecr &&
        seg->o.tsecr - tp->undo_ts >
            tcp_ts_now(st, tp->ts_offset) - tp->undo_ts) {
        COUNT(st, tcp_bad_syn_ack); /* echoes what we never sent */
        tcp_reply_reset(st, seg);
        return TCP_STEP_DONE;
    }
    syn_data_acked(st, tp, seg->h.ack - tp->iss - 1);
    tp->snd_una = tp->snd_nxt = seg->h.ack;
    take_syn(st, tp, seg);
    tcp_fo_take_synack(st, tp, seg);
    tcp_ecn_take_synack(tp, seg);
    tcp_rtt_on_ack(st, tp, seg);
    tcp_establish(st, tp);
    tp->ack_now = true;
    return TCP_NEXT;
}
