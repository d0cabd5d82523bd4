/* close.c: shutdown(2), close(2) and what is left of a connection afterwards
 * (RFC 9293 section 3.10.4, RFC 1122 section 4.2.2.13).
 *
 * shutdown for writing queues a FIN behind what is in the send buffer; the
 * states go on as soon as it is queued, not when it is sent. close does the
 * same and gives the socket up: an orphan goes on sending, retransmitting and
 * probing until its FIN is acknowledged, with shorter patience (timer.c), and
 * then waits for the peer's FIN no longer than a minute. It ends with a reset
 * where going on would pretend that somebody still reads: unread data at close,
 * data that comes later, SO_LINGER with zero seconds. */
#include "stack/tcp/tcp.h"

/* Our side of the stream ends after what is in the send buffer. States as in
 * section 3.10.4. */
static void queue_fin(struct stack *st, struct tcp_sock *tp) {
    switch (tp->state) {
    case TCP_S_SYN_RECV: /* tcp_establish goes on to FIN-WAIT-1 */
        break;
    case TCP_S_ESTABLISHED:
        tp->state = TCP_S_FIN_WAIT1;
        break;
    case TCP_S_CLOSE_WAIT:
        tp->state = TCP_S_LAST_ACK;
        break;
    default:
        return;
    }
    tp->fin_queued = true;
    tcp_mark_due(st, tp);
}

/* sock_proto.shutdown, as Linux's inet_shutdown. */
int tcp_shutdown(struct stack *st, struct sock *so, enum stack_how how) {
    struct tcp_sock *tp = tcp_of(so);
    uint8_t bits = how == STACK_SHUT_RD ? 1 : how == STACK_SHUT_WR ? 2 : 3;
    if (TCP_IN(tp, LISTEN)) {
        if (bits & 1) {
            tcp_listen_stop(st, tp);
            so->shut = 0;
            sock_event(st, so, STACK_IN | STACK_HUP);
        }
        return 0;
    }
    if (TCP_IN(tp, CLOSE))
        return -ENOTCONN;
    if (TCP_IN(tp, SYN_SENT)) {
        tcp_fail(st, tp, 0);
        tp->connecting = false;
        return 0;
    }
    so->shut |= bits;
    if (bits & 2)
        queue_fin(st, tp);
    uint32_t ev = STACK_OUT; /* a blocked writer must learn of it */
    if (so->shut & 1)
        ev |= STACK_IN | STACK_RDHUP;
    if (so->shut == 3)
        ev |= STACK_HUP;
    sock_event(st, so, ev);
    return 0;
}

/* Data or a FIN not yet acknowledged? */
bool tcp_unsent(struct stack *st, struct sock *so) {
    (void)st;
    const struct tcp_sock *tp = tcp_of(so);
    if (TCP_IN(tp, CLOSE) || TCP_IN(tp, LISTEN) || TCP_IN(tp, SYN_SENT))
        return false;
    return tp->sndq.len || (tp->fin_queued && !TCP_IN(tp, FIN_WAIT2));
}

/* sock_proto.close. so->closed is set, so whatever ends the protocol frees
 * the socket. Unread data makes it a reset (RFC 2525 section 2.17), and so
 * does a linger time of zero. */
void tcp_close(struct stack *st, struct sock *so) {
    struct tcp_sock *tp = tcp_of(so);
    tp->nospace = false;
    so->shut |= 3;
    if (TCP_IN(tp, LISTEN))
        tcp_listen_stop(st, tp);
    if (TCP_IN(tp, CLOSE)) {
        tcp_free(st, tp);
        return;
    }
    if (TCP_IN(tp, SYN_SENT)) {
        tcp_done(st, tp);
        return;
    }
    bool unread = tp->rcvq.len > 0;
    bufq_clear(st, &tp->rcvq);
    if (unread || so->linger == 0) {
        COUNT(st, tcp_close_resets);
        tcp_abort(st, tp, 0);
        return;
    }
    queue_fin(st, tp);
    tp->force_push = true; /* nobody will uncork it */
    if (!TCP_IN(tp, FIN_WAIT2)) {
        tcp_arm_keepalive(st, tp);
        return;
    }
    if (tp->linger2 < 0)
        tcp_abort(st, tp, 0);
    else
        tcp_arm_fin_wait2(st, tp);
}
