/* tcb.c: birth, establishment and death of a connection, and the table that
 * presents TCP to sock.c.
 *
 * Two parties hold a tcp_sock: the program (until stack_close sets so.closed,
 * or, before accept, the listener), and the protocol (until tcp_done). The one
 * that lets go last frees it:
 *
 *     close, state CLOSE            tcp_close -> tcp_free
 *     close, connection lives       an orphan; tcp_done frees it later
 *     tcp_done, program holds it    state CLOSE: what has arrived can be read,
 *                                   the error be told, connect be called again
 *
 * Everything that ends a connection goes through tcp_done: timers stop, the
 * tuple is free, watchers hear HUP. */
#include "stack/tcp/cc.h"

/* Let the socket send at the end of this burst or call. */
void tcp_mark_due(struct stack *st, struct tcp_sock *tp) {
    if (!list_linked(&tp->due_link))
        list_push_back(&st->sh->tcp_due, &tp->due_link);
}

/* Values of a TCB that has no connection yet. What the program may have set
 * (options) and the generic part are left alone. */
void tcp_tcb_init(struct stack *st, struct tcp_sock *tp) {
    (void)st;
    tp->state = TCP_S_CLOSE;
    tp->ca_state = TCP_CA_OPEN;
    tp->rto = TCP_RTO_INIT_US;
    tp->peer_mss = tp->mss_base = tp->rcv_mss = TCP_MSS_DEFAULT;
    tp->cwnd = TCP_INIT_CWND * TCP_MSS_DEFAULT;
    tp->ssthresh = UINT32_MAX;
    tp->dupthresh = TCP_DUPTHRESH;
    tp->rcv_limit = TCP_RCV_START;
    tp->rcv_wscale = TCP_RCV_WSCALE;
}

/* sock_proto.init */
static int tcp_init(struct stack *st, struct sock *so) {
    tcp_of(so)->cc = TCP_CC_DEFAULT;
    tcp_tcb_init(st, tcp_of(so));
    return 0;
}

/* sock_proto.bind: names only; connections and listeners share the table. */
static int tcp_bind(struct stack *st, struct sock *so,
                    const struct endpoint *at) {
    if (!TCP_IN(tcp_of(so), CLOSE) || so->bound)
        return -EINVAL;
    return demux_bind(st, &st->sh->tcp, so, at);
}

/* The handshake is complete (RFC 9293 section 3.10.7.4, fifth, SYN-RECEIVED;
 * 3.10.7.3): windows to start with, timers, and the news for the program. */
void tcp_establish(struct stack *st, struct tcp_sock *tp) {
    /* a shutdown during a simultaneous open has waited for this */
    tp->state = tp->fin_queued ? TCP_S_FIN_WAIT1 : TCP_S_ESTABLISHED;
    tp->retransmits = tp->backoff = 0;
    tcp_sync_mss(st, tp);
    tcp_mtu_start(st, tp);
    uint32_t mss = tcp_eff_mss(tp);
    /* RFC 6928; one segment when the handshake itself was lost (RFC 5681
     * 3.1), which Linux takes to mean more than one time-out. */
    tp->cwnd = tp->total_retrans > 1 ? mss : TCP_INIT_CWND * mss;
    tcp_cc_start(st, tp, tp->cc);
    tp->recover = tp->high_rxt = tp->snd_una;
    tp->drs_seq = tp->rcv_buf_seq;
    tp->drs_us = (uint32_t)(st->now / 1000);
    tp->rcv_ms = tp->ack_ms = tp->cwv_ms = tcp_ms(st);
    tp->done = true;
    tcp_fuse(st, tp);
    tcp_zerocopy_acked(st, tp); /* of Fast Open */
    timer_stop(st, &tp->rtx);
    arp_confirm(st, &tp->so.remote.ip);
    tcp_arm_keepalive(st, tp);
    tcp_mark_due(st, tp);
    if (!tp->parent)
        sock_event(st, &tp->so, STACK_OUT);
    COUNT(st, tcp_established);
}

/* Release what only the protocol needs. */
static void drop_protocol_state(struct stack *st, struct tcp_sock *tp) {
    tcp_unfuse(st, tp);
    timer_stop(st, &tp->rtx);
    timer_stop(st, &tp->dack);
    timer_stop(st, &tp->keep);
    timer_stop(st, &tp->cork_timer);
    timer_stop(st, &tp->pace);
    list_remove(&tp->due_link);
    bufq_clear(st, &tp->sndq);
    tcp_zerocopy_abort(st, tp);
    tcp_board_free(st, tp);
    tcp_reass_free(st, tp);
    tcp_cc_stop(st, tp);
    tp->ack_now = tp->probe_due = tp->syn_due = tp->tlp_due = false;
}

/* Give everything back, the socket included. */
void tcp_free(struct stack *st, struct tcp_sock *tp) {
    drop_protocol_state(st, tp);
    bufq_clear(st, &tp->rcvq);
    tcp_saved_syn_free(st, tp);
    tcp_zerocopy_free(st, tp);
    demux_remove(st, &st->sh->tcp, &tp->so);
    sock_free(st, &tp->so);
}

/* A port that bind chose stays with the socket, as on Linux; the rest goes
 * back to the tables. */
static void leave_tables(struct stack *st, struct tcp_sock *tp) {
    if (tp->passive || tp->so.port_chosen || !tp->so.bound)
        demux_remove(st, &st->sh->tcp, &tp->so);
    else
        demux_disconnect(st, &st->sh->tcp, &tp->so);
}

/* To CLOSE. A child that nobody has accepted goes at once while its handshake
 * lasts; in the accept queue it waits, dead, to be accepted, as on Linux. */
bool tcp_done(struct stack *st, struct tcp_sock *tp) {
    tp->state = TCP_S_CLOSE;
    drop_protocol_state(st, tp);
    leave_tables(st, tp);
    tp->so.shut |= 3;
    bool queued = tp->parent && tcp_child_queued(tp);
    if (tp->so.closed || (tp->parent && !queued)) {
        tcp_child_forget(tp);
        tcp_free(st, tp);
        return true;
    }
    uint32_t ev = STACK_IN | STACK_OUT | STACK_HUP | STACK_RDHUP;
    sock_event(st, &tp->so, ev | (tp->so.error ? STACK_ERR : 0));
    return false;
}

/* The program learns of err by SO_ERROR or its next call (socket(7)). */
bool tcp_fail(struct stack *st, struct tcp_sock *tp, int err) {
    if (err && !tp->so.closed)
        sock_set_error(st, &tp->so, err);
    return tcp_done(st, tp);
}

/* RFC 9293 section 3.10.5: the peer gets a reset in every synchronized state,
 * and in SYN-RECEIVED. */
bool tcp_abort(struct stack *st, struct tcp_sock *tp, int err) {
    if (tcp_synchronized(tp) || TCP_IN(tp, SYN_RECV)) {
        tcp_xmit_reset(st, tp);
        COUNT(st, tcp_aborts);
    }
    return tcp_fail(st, tp, err);
}

const struct sock_proto tcp_proto = {
    .name = "tcp",
    .size = sizeof(struct tcp_sock),
    .init = tcp_init,
    .bind = tcp_bind,
    .connect = tcp_connect,
    .connect_result = tcp_connect_result,
    .listen = tcp_listen,
    .accept = tcp_accept,
    .send = tcp_send,
    .recv = tcp_recv,
    .shutdown = tcp_shutdown,
    .close = tcp_close,
    .ready = tcp_ready,
    .setopt = tcp_setopt,
    .getopt = tcp_getopt,
    .unsent = tcp_unsent,
    .zerocopy = tcp_zerocopy,
    .zerocopy_sent = tcp_zerocopy_sent,
    .loan = tcp_loan,
    .repay = tcp_repay,
    .take = tcp_take,
};
