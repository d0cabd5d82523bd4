/* window.c: the receive window and when to acknowledge; the size of both
 * buffers.
 *
 * Receiving. The window offered is the free part of a limit: half of SO_RCVBUF
 * when the program has set it (the kernel doubles what is asked for), else
 * 512 KiB from the start, since memory is used only by data that is really
 * there, raised when the program reads more than half of it in a round trip
 * (dynamic right sizing), to what 64 Gbit/s need for the least round trip, and
 * 6 MiB at most. The right edge never moves back (RFC 9293
 * SHLD-14), and it moves only by worthwhile steps (section 3.8.6.2.2).
 *
 * Acknowledging (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2): at the end of
 * the burst in which two segments have come, at once (in the burst) after
 * 256 KiB or a quarter of the window, else after 40 ms. ACKs are due marks, so
 * data or a second segment in the same burst takes them along.
 *
 * Sending. The buffer holds twice the congestion window, within bounds.
 */
#include "stack/tcp/tcp.h"

/* Bytes the receive buffer may hold. */
uint32_t tcp_rcv_limit(const struct tcp_sock *tp) {
    uint32_t n = tp->so.rcvbuf_locked ? tp->so.rcvbuf / 2 : tp->rcv_limit;
    if (tp->window_clamp)
        n = min_u32(n, tp->window_clamp);
    return max_u32(n, 1);
}

/* Free room behind rcv_nxt (data out of order lies inside it), as far as the
 * window field can say it. */
static uint32_t rcv_free(struct stack *st, const struct tcp_sock *tp) {
    uint32_t limit = tcp_mem_limit(st, tcp_rcv_limit(tp));
    uint32_t n = limit > tp->rcvq.len ? limit - tp->rcvq.len : 0;
    return min_u32(n, 65535u << tp->rcv_wscale);
}

/* Would the window grow by enough to say so? RFC 9293 section 3.8.6.2.2. */
static bool worthwhile(const struct tcp_sock *tp, uint32_t free, uint32_t cur) {
    uint32_t step = min_u32(tcp_rcv_limit(tp) / 2, tp->adv_mss);
    return free > cur && free - cur >= step;
}

/* The window for the segment about to leave; moves rcv_adv when it opens. What
 * the peer is told is rounded down to the unit of the scale, so its right edge
 * may seem to go back by less than one unit (RFC 7323 section 2.4); what we
 * accept does not. Rounding up would let 1-byte segments fill any memory. */
uint32_t tcp_select_window(struct stack *st, struct tcp_sock *tp) {
    uint32_t cur = tcp_rcv_wnd(tp), free = rcv_free(st, tp);
    if (worthwhile(tp, free, cur)) {
        tp->rcv_adv = tp->rcv_nxt + free;
        return free;
    }
    return cur;
}

/* What tuning may make of the window: 64 Gbit/s for the least round trip. More
 * than the path and the processor need only waits somewhere, outside the cache
 * that it came from; near by that halves the rate of a single processor. */
static uint32_t most_window(const struct tcp_sock *tp) {
    uint64_t n = (uint64_t)tp->min_rtt * TCP_RCV_RATE;
    if (!tp->min_rtt || n > TCP_RCV_MAX)
        return TCP_RCV_MAX;
    return max_u32((uint32_t)n, TCP_RCV_START);
}

/* Once a round trip: if the program read more than half of the limit in it,
 * the limit could be what holds the peer back. */
static void tune_receive(struct stack *st, struct tcp_sock *tp) {
    uint32_t now = (uint32_t)(st->now / 1000);
    uint32_t rtt = max_u32(tp->srtt8 >> 3, 1000);
    if (now - tp->drs_us < rtt)
        return;
    tp->rcv_space = tp->rcv_buf_seq - tp->drs_seq;
    tp->drs_us = now;
    tp->drs_seq = tp->rcv_buf_seq;
    uint32_t most = most_window(tp);
    if (tp->rcv_space > tp->rcv_limit / 2 && tp->rcv_limit < most)
        tp->rcv_limit = min_u32(2 * tp->rcv_space, most);
}

/* The program took bytes out of the receive buffer: tune, and tell the peer if
 * the window at least doubled, or was shut. */
void tcp_rcv_consumed(struct stack *st, struct tcp_sock *tp) {
    tp->refused = false;
    if (tp->fin_rcvd || !tcp_synchronized(tp) || tcp_fuse_pull(st, tp))
        return;
    tune_receive(st, tp);
    uint32_t cur = tcp_rcv_wnd(tp), free = rcv_free(st, tp);
    if (!worthwhile(tp, free, cur) || free / 2 < cur)
        return;
    tp->ack_now = true;
    tcp_mark_due(st, tp);
}

/* A sender of bulk data that was silent for an RTO has a small window now, and
 * waits for each ACK (as Linux's tcp_event_data_recv). In a conversation an
 * answer will take the ACK along. */
static bool starts_again(struct stack *st, const struct tcp_sock *tp) {
    bool talk =
        (int32_t)(tp->snd_ms - tp->rcv_ms) >= 0 || tp->data_in <= TCP_INIT_CWND;
    return !talk && (tcp_ms(st) - tp->rcv_ms) * 1000ull > tp->rto;
}

/* In-order data of a segment was taken: owe the ACK. */
void tcp_ack_policy(struct stack *st, struct tcp_sock *tp,
                    const struct tcp_seg *seg, uint32_t taken) {
    uint32_t size = seg->rx->meta.gso ? seg->rx->meta.gso_size : taken;
    if (size > tp->rcv_mss)
        tp->rcv_mss = (uint16_t)min_u32(size, tp->adv_mss);
    if (starts_again(st, tp))
        tp->quickack = (uint8_t)max_u32(tp->quickack, TCP_QUICKACKS);
    if (tp->bytes_received == taken) /* the first data, as Linux */
        tp->quickack = (uint8_t)max_u32(tp->quickack,
                                        (uint32_t)TUNED(st, START_QUICKACKS));
    uint32_t pending = tp->rcv_nxt - tp->last_ack_sent;
    uint32_t bulk = min_u32(TCP_ACK_BULK, tcp_rcv_limit(tp) / 4);
    if (pending >= bulk && pending >= 2u * tp->rcv_mss) {
        tcp_xmit_ack(st, tp); /* the burst may go on for long: now */
        tx_flush(st);
        return;
    }
    if (seg->filled || tp->quickack || tp->fused ||
        pending >= 2u * tp->rcv_mss || !tcp_reass_empty(tp)) {
        tp->ack_now = true;
        tcp_mark_due(st, tp);
    } else if (!timer_armed(&tp->dack)) {
        timer_arm(st, &tp->dack, TIMER_TCP_DACK, st->now + TCP_DACK_NS);
    }
}

/* Bytes the send buffer may hold. */
uint32_t tcp_snd_limit(const struct tcp_sock *tp) {
    if (tp->so.sndbuf_locked) {
        uint32_t n = max_u32(tp->so.sndbuf / 2, 1);
        return tp->pressed ? min_u32(n, TCP_MEM_SHARE) : n;
    }
    if (tp->pressed)
        return TCP_MEM_SHARE;
    uint32_t max = tp->srtt8 >> 3 < 1000 ? TCP_SND_NEAR : TCP_SND_MAX;
    uint32_t want = tp->cwnd > max / 2 ? max : 2 * tp->cwnd;
    return max_u32(want, TCP_SND_START);
}

/* Bytes it has room for. */
uint32_t tcp_snd_space(const struct tcp_sock *tp) {
    uint32_t limit = tcp_snd_limit(tp);
    return limit > tp->sndq.len ? limit - tp->sndq.len : 0;
}

/* Linux's sk_stream_is_writeable: at least a third is free, and what is not
 * yet sent is below TCP_NOTSENT_LOWAT. */
bool tcp_writable(const struct tcp_sock *tp) {
    uint32_t space = tcp_snd_space(tp);
    if (tp->starved || space == 0 || space < tp->sndq.len / 2)
        return false;
    if (!tp->notsent_lowat || tp->fin_sent || !tcp_synchronized(tp))
        return true;
    return tcp_snd_end(tp) - tp->snd_nxt < tp->notsent_lowat;
}

/* Acknowledged or sent bytes made room: tell who waits for it. */
void tcp_write_space(struct stack *st, struct tcp_sock *tp) {
    if (!tp->nospace)
        return;
    tcp_mem_press(st, tp);
    if (!tcp_writable(tp))
        return;
    tp->nospace = false;
    sock_event(st, &tp->so, STACK_OUT);
}
