/* connect.c: active opens (RFC 9293 section 3.10.1, connect(2)).
 *
 * connect chooses addresses and numbers and makes a SYN due; everything else
 * happens in input_syn.c. Nothing is kept of an earlier connection of the same
 * socket but its options.
 *
 * As on Linux a socket remembers that an attempt is under way (`connecting`)
 * until its result has been told once, by connect or by connect_result; after a
 * failure the same socket may try again.
 */
#include "stack/tcp/tcp.h"

/* Forget the last connection but not the options. */
static void reset_tcb(struct stack *st, struct tcp_sock *tp) {
    bufq_clear(st, &tp->sndq);
    bufq_clear(st, &tp->rcvq);
    tcp_tcb_init(st, tp);
    tp->backoff = tp->retransmits = tp->probes = 0;
    tp->fin_queued = tp->fin_sent = tp->fin_rcvd = tp->done = false;
    tp->urg_sending = tp->force_push = tp->more = tp->nospace = false;
    tp->starved = tp->tlp_out = tp->tlp_due = tp->resend_una = false;
    tp->rtx_mode = TCP_RTX_RTO;
    tp->ts_valid = tp->ts_ok = tp->sack_ok = tp->ws_ok = false;
    tp->dsack = tp->undo_ok = tp->rtt_timing = tp->passive = false;
    tp->urg_state = TCP_URG_NONE;
    tp->srtt8 = tp->rttvar4 = tp->min_rtt = 0;
    tp->reordering_seen = tp->dsack_round_set = false;
    tp->frto = tp->reo_more = tp->reo_persist = 0;
    tp->total_retrans = tp->dsack_segs = tp->oow_ms = 0;
    tp->soft_error = 0;
    tp->tfo = tp->fo_reply = tp->fo_deferred = tp->fo_acked = false;
    tp->fo_sent = 0;
    tp->ecn = tp->ecn_asked = tp->ecn_syn = TCP_ECN_OFF;
    tp->cwr = tp->ecn_cwr_due = tp->ecn_echo = tp->ecn_seen = false;
    tp->ecn_reflect = tp->ecn_third = tp->ecn_mute = false;
    tp->ce_in = tp->ce_told = tp->ce_out = tp->ce_unsaid = 0;
    tp->so.shut = 0;
}

/* An attempt that failed in the background: its error, told once. */
static int failed_result(struct tcp_sock *tp) {
    tp->connecting = false;
    int err = sock_take_error(&tp->so);
    return -(err ? err : ECONNABORTED);
}

/* sock_proto.connect: -EINPROGRESS once the SYN is on its way. */
int tcp_connect(struct stack *st, struct sock *so, const struct endpoint *to) {
    struct tcp_sock *tp = tcp_of(so);
    if (!to) /* AF_UNSPEC: back to the beginning */
        return tcp_disconnect(st, tp);
    if (tp->fo_deferred)
        return -EISCONN;
    if (tp->connecting)
        return tcp_connect_again(st, tp);
    if (!TCP_IN(tp, CLOSE))
        return -EISCONN;
    if (!to->port)
        return -EADDRNOTAVAIL; /* port 0 can be no peer */
    struct ip_addr src;
    int r = stack_route_source(st, &to->ip, &src);
    if (r < 0)
        return r;
    reset_tcb(st, tp);
    r = demux_connect(st, &st->sh->tcp, so, to);
    if (r < 0)
        return r;
    tcp_start_numbers(st, tp, NULL);
    so->error = 0;
    tp->state = TCP_S_SYN_SENT;
    COUNT(st, tcp_active_opens);
    tp->fo_ask = tp->fo_ask || tp->fo_connect;
    if (tp->fo_connect && tcp_fo_ready(st, tp)) {
        tp->fo_deferred = true;
        return 0;
    }
    tp->connecting = true;
    tp->syn_due = true;
    tcp_mark_due(st, tp);
    return -EINPROGRESS;
}

/* connect on a socket whose attempt is under way or over. */
int tcp_connect_again(struct stack *st, struct tcp_sock *tp) {
    (void)st;
    if (TCP_IN(tp, CLOSE) && !tp->done)
        return failed_result(tp);
    if (TCP_IN(tp, SYN_SENT) || TCP_IN(tp, SYN_RECV))
        return -EALREADY;
    tp->connecting = false;
    return 0;
}

/* sock_proto.connect_result */
int tcp_connect_result(struct stack *st, struct sock *so) {
    struct tcp_sock *tp = tcp_of(so);
    if (TCP_IN(tp, SYN_SENT) || TCP_IN(tp, SYN_RECV))
        return -EINPROGRESS;
    if (TCP_IN(tp, CLOSE) && !tp->done)
        return failed_result(tp);
    tp->connecting = false;
    return -sock_take_error(so);
}

/* connect(AF_UNSPEC): reset the connection; the socket can be used again. As
 * on Linux the reset is a pending error, until it is read or connect is called
 * again. */
int tcp_disconnect(struct stack *st, struct tcp_sock *tp) {
    if (TCP_IN(tp, LISTEN))
        tcp_listen_stop(st, tp);
    else if (!TCP_IN(tp, CLOSE))
        tcp_abort(st, tp, TCP_IN(tp, TIME_WAIT) ? 0 : ECONNRESET);
    tp->connecting = false;
    reset_tcb(st, tp);
    return 0;
}
