/* user_send.c: the program gives data (RFC 9293 section 3.10.2, send(2)).
 *
 * Bytes go into the send buffer, as many as there is room for; output.c decides
 * at the end of the call what leaves. Errors as Linux's tcp_sendmsg: a pending
 * error first, EPIPE where nothing can be sent any more, EAGAIN while the
 * handshake lasts or memory is short.
 *
 * The copy is what makes the call cheap to end: the program's buffer is its own
 * again at once, and the frames made from the send buffer need no other copy
 * (segment.c). A call takes what fits, so a caller that wants all of its bytes
 * taken waits for OUT and comes again; the promise of that event is nospace.
 */
#include "stack/tcp/tcp.h"

/* May data be given now? 0 or -errno. */
int tcp_can_send(struct tcp_sock *tp) {
    if (tp->so.error)
        return -sock_take_error(&tp->so);
    if (tp->so.shut & 2 || tp->fin_queued)
        return -EPIPE;
    switch (tp->state) {
    case TCP_S_ESTABLISHED:
    case TCP_S_CLOSE_WAIT:
        return 0;
    case TCP_S_SYN_SENT:
    case TCP_S_SYN_RECV:
        if (tcp_open(tp) || tp->fo_deferred)
            return 0;
        tp->nospace = true;
        return -EAGAIN;
    default:
        return -EPIPE;
    }
}

/* Bytes of a gather list. */
static size_t iov_total(const struct iovec *iov, int niov) {
    size_t n = 0;
    for (int i = 0; i < niov; i++)
        n += iov[i].iov_len;
    return n;
}

/* The last byte given is urgent: the pointer goes behind it (RFC 6093). */
static void mark_urgent(struct tcp_sock *tp) {
    tp->urg_sending = true;
    tp->snd_up = tcp_snd_end(tp);
}

/* sock_proto.send. Returns bytes taken. */
ssize_t tcp_send(struct stack *st, struct sock *so, const struct iovec *iov,
                 int niov, uint32_t flags, const struct stack_msg *m) {
    struct tcp_sock *tp = tcp_of(so);
    size_t want = iov_total(iov, niov);
    /* a stream has one peer: else the address is ignored, as on Linux */
    if (flags & STACK_MSG_FASTOPEN)
        return tcp_fo_send(st, tp, iov, niov, want, m);
    int r = tcp_can_send(tp);
    if (r < 0)
        return r;
    if (want == 0)
        return 0;
    uint32_t given = tcp_fuse_send(st, tp, iov, niov, want, flags);
    if (given == want)
        return (ssize_t)want;
    tcp_mem_press(st, tp);
    uint32_t space = tcp_snd_space(tp);
    if (space == 0) {
        tp->nospace = true;
        return given ? (ssize_t)given : -EAGAIN;
    }
    uint32_t n = want - given < space ? (uint32_t)(want - given) : space;
    uint32_t got = bufq_append_iov(st, &tp->sndq, iov, niov, given, n);
    got += given;
    if (got == 0) {
        COUNT(st, tcp_no_memory);
        tcp_arm_starved(st, tp);
        return -EAGAIN;
    }
    if (got < want)
        tp->nospace = true;
    tp->more = (flags & STACK_MSG_MORE) != 0;
    if ((flags & STACK_MSG_OOB) && got == want)
        mark_urgent(tp);
    if (tp->fo_deferred) { /* now the SYN may go, and take it along */
        tp->fo_deferred = false;
        tp->syn_due = tp->connecting = true;
    }
    tcp_mark_due(st, tp);
    return (ssize_t)got;
}
