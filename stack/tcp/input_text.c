/* input_text.c: the last steps: URG, text, FIN (RFC 9293 section 3.10.7.4,
 * sixth, seventh, eighth).
 *
 * Text at rcv_nxt is copied into the receive buffer, text beyond it into the
 * reassembly queue (reass.c), and whatever joins up follows. Only what is in
 * one of the two is acknowledged: a full arena looks like loss to the peer, who
 * sends again. The urgent byte stays in the stream (user_recv.c goes round it)
 * and a copy of it in the TCB. A FIN counts when everything before it is
 * there. */
#include "stack/tcp/tcp.h"

/* May text of the peer still come? */
static bool receives(const struct tcp_sock *tp) {
    return TCP_IN(tp, ESTABLISHED) || TCP_IN(tp, FIN_WAIT1) ||
           TCP_IN(tp, FIN_WAIT2);
}

/* The pointer is behind the urgent byte (RFC 6093); we keep the byte's own
 * number in rcv_up. As Linux, there is one urgent byte at a time: a new one
 * makes an unread old one ordinary data. */
static void new_urgent(struct stack *st, struct tcp_sock *tp, seq_t at) {
    if (seq_lt(at, tp->rcv_buf_seq) || seq_lt(at, tp->rcv_nxt))
        return;
    if (tp->urg_state != TCP_URG_NONE && seq_leq(at, tp->rcv_up))
        return;
    tp->rcv_up = at;
    tp->urg_state = TCP_URG_NOTYET;
    COUNT(st, tcp_urgent_in);
    sock_event(st, &tp->so, STACK_PRI);
}

/* Sixth: URG. */
enum tcp_step tcp_step_urg(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg) {
    if (!receives(tp))
        return TCP_NEXT;
    if ((seg->h.flags & TCP_URG) && seg->h.urg)
        new_urgent(st, tp, seg->h.seq + seg->h.urg - 1);
    if (tp->urg_state != TCP_URG_NOTYET)
        return TCP_NEXT;
    uint32_t off = tp->rcv_up - seg->seq;
    if (off < seg->len) {
        tp->urg_byte = seg->data[off];
        tp->urg_state = TCP_URG_HERE;
        sock_event(st, &tp->so, STACK_PRI);
    }
    return TCP_NEXT;
}

/* Text at rcv_nxt: into the receive buffer, with what waited behind it. What
 * does not fit into memory is not acknowledged. */
static void take_in_order(struct stack *st, struct tcp_sock *tp,
                          struct tcp_seg *seg) {
    bool placed = seg->rx->split;
    uint32_t got = placed ? tcp_take_placed(st, tp, seg)
                          : bufq_append(st, &tp->rcvq, seg->data, seg->len);
    if (seg->len >= PLACE_MIN)
        tp->bulk_in = PLACE_PATIENCE;
    else if (tp->bulk_in)
        tp->bulk_in--;
    tp->announced = false;
    if (got < seg->len && !tcp_reass_empty(tp)) {
        /* The arena is full. What waits behind a gap must not keep the gap
         * from being filled: RFC 2018 section 8 lets us forget it. */
        COUNT(st, tcp_reass_pruned);
        tcp_reass_free(st, tp);
        got += bufq_append(st, &tp->rcvq, seg->data + got, seg->len - got);
    }
    if (got < seg->len) {
        COUNT(st, tcp_no_memory);
        seg->fin = false;
    }
    tp->rcv_nxt += got;
    tp->bytes_received += got;
    seg->seq += got;
    seg->len = 0;
    if (!tcp_reass_empty(tp)) {
        seg->filled = true;
        tcp_reass_drain(st, tp);
    }
    if (placed)
        tcp_rcv_consumed(st, tp);
    tcp_ack_policy(st, tp, seg, got);
    tp->rcv_ms = tcp_ms(st);
    tcp_data_event(st, tp);
}

/* Text beyond rcv_nxt: keep it, and say at once what is missing (RFC 5681
 * section 4.2, RFC 2018 section 4). */
static void take_out_of_order(struct stack *st, struct tcp_sock *tp,
                              struct tcp_seg *seg) {
    COUNT(st, tcp_out_of_order);
    tcp_reass_insert(st, tp, seg->seq, seg->data, seg->len, seg->fin);
    tp->rcv_ms = tcp_ms(st);
    tp->ack_now = true;
    tcp_mark_due(st, tp);
}

/* Seventh: text. */
enum tcp_step tcp_step_text(struct stack *st, struct tcp_sock *tp,
                            struct tcp_seg *seg) {
    if (!seg->len && !seg->fin)
        return TCP_NEXT;
    if (!receives(tp))
        return TCP_STEP_DONE; /* after the peer's FIN nothing is text */
    if (seg->len && tp->so.closed && !tp->parent) {
        /* nobody will read it: RFC 9293 section 3.6.1, RFC 2525 2.17 */
        COUNT(st, tcp_data_after_close);
        tcp_abort(st, tp, ECONNRESET);
        return TCP_STEP_DONE;
    }
    if (seg->len && !tcp_mem_take(st, tp, seg->len, seg->seq == tp->rcv_nxt)) {
        if (seg->seq == tp->rcv_nxt && tp->rcvq.len) {
            tp->refused = true; /* SO_RCVLOWAT must not wait for it */
            tcp_data_event(st, tp);
        }
        tp->ack_now = true; /* and so say what we have */
        tcp_mark_due(st, tp);
        return TCP_STEP_DONE;
    }
    if (seg->seq != tp->rcv_nxt) {
        take_out_of_order(st, tp, seg);
        return TCP_STEP_DONE;
    }
    if (seg->len) {
        take_in_order(st, tp, seg);
        if (tp->deferred)
            tcp_child_undefer(st, tp);
    }
    return TCP_NEXT;
}

/* The stream ends at rcv_nxt. */
static enum tcp_step take_fin(struct stack *st, struct tcp_sock *tp) {
    tp->rcv_nxt++;
    tp->fin_rcvd = true;
    tp->ack_now = true;
    tcp_mark_due(st, tp);
    tcp_reass_free(st, tp);
    tp->so.shut |= 1;
    if (tp->deferred)
        tcp_child_undefer(st, tp);
    if (TCP_IN(tp, FIN_WAIT2)) {
        tcp_time_wait(st, tp);
        return TCP_STEP_DONE;
    }
    tp->state = TCP_IN(tp, ESTABLISHED) ? TCP_S_CLOSE_WAIT : TCP_S_CLOSING;
    uint32_t ev = STACK_IN | STACK_RDHUP;
    sock_event(st, &tp->so, ev | (tp->so.shut == 3 ? STACK_HUP : 0));
    return TCP_NEXT;
}

/* Eighth: FIN, of this segment or of one that came before its turn. */
enum tcp_step tcp_step_fin(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg) {
    if (!receives(tp))
        return TCP_NEXT;
    bool here = seg->fin && seg->seq == tp->rcv_nxt;
    if (here || tcp_reass_fin_next(tp))
        return take_fin(st, tp);
    return TCP_NEXT;
}
