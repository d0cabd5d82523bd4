/* repair.c: TCP's part of making the stack whole after a holder of the lock
 * died. See stack/repair.c. */
#include "stack/repair.h"
#include "stack/tcp/tcp.h"

/* What a connection has in shared tables, made anew. */
static void mend_conn(struct stack *st, struct tcp_sock *tp) {
    timer_adopt(st, &tp->rtx);
    timer_adopt(st, &tp->dack);
    timer_adopt(st, &tp->keep);
    timer_adopt(st, &tp->cork_timer);
    timer_adopt(st, &tp->pace);
    tp->due_link = (struct list_node){NULL, NULL};
    tcp_mark_due(st, tp);
}

/* Sending when nothing is due is harmless, so everybody is asked. Children go
 * back to their listeners in the order of their making. */
void tcp_mend(struct stack *st) {
    struct shared *sh = st->sh;
    list_init(&sh->tcp_due);
    tcp_tw_mend(st);
    list_for_each(n, &sh->socks) {
        struct sock *so = container_of(n, struct sock, all_link);
        if (so->kind == SOCK_TCP && tcp_of(so)->listener)
            tcp_listener_mend(tcp_of(so));
    }
    list_for_each_safe(n, &sh->socks) {
        struct sock *so = container_of(n, struct sock, all_link);
        if (so->kind == SOCK_TCP_TW) {
            tcp_tw_readd(st, so);
        } else if (so->kind == SOCK_TCP) {
            mend_conn(st, tcp_of(so));
            tcp_of(so)->fused = NULL;
            if (tcp_of(so)->parent)
                tcp_listener_readd(tcp_of(so));
        }
    }
    list_for_each(f, &sh->socks) {
        struct sock *so = container_of(f, struct sock, all_link);
        if (so->kind == SOCK_TCP && so->connected &&
            tcp_synchronized(tcp_of(so)) && !tcp_of(so)->fused)
            tcp_fuse(st, tcp_of(so));
    }
}

/* RFC 9293 section 3.10.5 without a look at the queues. Work on one end of a
 * fused connection is work on both. */
void tcp_distrust(struct stack *st, struct sock *so) {
    struct tcp_sock *tp = tcp_of(so), *peer = tp->fused;
    if (tp->listener)
        return;
    if (peer) {
        tp->fused = peer->fused = NULL;
        tcp_distrust(st, &peer->so);
    }
    COUNT_ADD(st, repair_leaked, tp->sndq.mem + tp->rcvq.mem);
    tp->sndq = tp->rcvq = (struct bufq){0};
    tp->board = NULL;
    tp->reass = NULL;
    if (TCP_IN(tp, CLOSE) && !so->connected)
        return; /* nothing has begun, or all is over */
    if (tcp_synchronized(tp))
        tcp_xmit_reset(st, tp);
    tcp_fail(st, tp, ECONNRESET);
}

bool tcp_is_over(struct sock *so) {
    struct tcp_sock *tp = tcp_of(so);
    return TCP_IN(tp, CLOSE) || TCP_IN(tp, LISTEN);
}

bool tcp_is_lost(struct sock *so) { return !tcp_of(so)->parent; }
