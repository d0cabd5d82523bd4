/* user_recv.c: the program takes data (RFC 9293 section 3.10.3, recv(2)).
 *
 * The urgent byte lies in the receive buffer like every other; unless
 * SO_OOBINLINE is set, a read stops before it and the next one steps over it,
 * and MSG_OOB hands out the copy kept in the TCB (tcp(7), as Linux does).
 *
 * Order of what a reader is told, as Linux's tcp_recvmsg: bytes that are there,
 * whatever has happened since; then a pending error, once; then the end of the
 * stream, for ever. A socket that never was connected has no end: ENOTCONN.
 *
 * Reading is what opens the window, so a read ends with the question whether
 * the peer should hear of it (window.c).
 */
#include "stack/tcp/tcp.h"

/* Is the urgent byte in the stream and out of bounds for plain reads? */
static bool mark_ahead(const struct tcp_sock *tp) {
    return tp->urg_state != TCP_URG_NONE && !tp->so.oobinline;
}

/* Bytes a plain read may take now; 0 also when none are there. Steps over the
 * urgent byte when it is next (not for a peek). */
static uint32_t takeable(struct stack *st, struct tcp_sock *tp, bool peek,
                         uint32_t *skip) {
    uint32_t n = tp->rcvq.len;
    *skip = 0;
    if (tp->urg_state == TCP_URG_NONE || seq_lt(tp->rcv_up, tp->rcv_buf_seq))
        return n;
    uint32_t off = tp->rcv_up - tp->rcv_buf_seq;
    if (off > 0) /* also inline: a read ends at the mark */
        return min_u32(n, off);
    if (!mark_ahead(tp) || n == 0)
        return n;
    if (peek) {
        *skip = 1;
        return n - 1;
    }
    bufq_drop(st, &tp->rcvq, 1);
    tp->rcv_buf_seq++;
    if (tp->urg_state == TCP_URG_READ)
        tp->urg_state = TCP_URG_NONE;
    return n - 1;
}

/* What FIONREAD says (Linux's tcp_inq): up to the urgent byte. */
uint32_t tcp_readable_bytes(const struct tcp_sock *tp) {
    uint32_t n = tp->rcvq.len;
    if (!mark_ahead(tp) || seq_lt(tp->rcv_up, tp->rcv_buf_seq))
        return n;
    uint32_t off = tp->rcv_up - tp->rcv_buf_seq;
    return off < n ? off : n;
}

/* Nothing to read: why? 0 is the end of the stream. */
static ssize_t nothing(struct tcp_sock *tp) {
    if (tp->fin_rcvd)
        return 0;
    if (tp->so.error)
        return -sock_take_error(&tp->so);
    if (tp->so.shut & 1)
        return tp->done || !TCP_IN(tp, CLOSE) ? 0 : -ENOTCONN;
    if (TCP_IN(tp, CLOSE) || TCP_IN(tp, LISTEN))
        return -ENOTCONN;
    tp->announced = false; /* whoever asks takes it in now */
    return -EAGAIN;
}

/* MSG_OOB: Linux's tcp_recv_urg. */
static ssize_t recv_urgent(struct tcp_sock *tp, const struct iovec *iov,
                           int niov, uint32_t flags, struct stack_msg *m) {
    if (tp->so.oobinline || tp->urg_state == TCP_URG_NONE ||
        tp->urg_state == TCP_URG_READ)
        return -EINVAL;
    if (TCP_IN(tp, CLOSE) && !tp->done)
        return -ENOTCONN;
    if (tp->urg_state == TCP_URG_HERE) {
        if (!(flags & STACK_MSG_PEEK))
            tp->urg_state = TCP_URG_READ;
        if (m)
            m->out_flags |= STACK_MSG_OOB;
        for (int i = 0; i < niov; i++)
            if (iov[i].iov_len) {
                *(uint8_t *)iov[i].iov_base = tp->urg_byte;
                return 1;
            }
        if (m)
            m->out_flags |= STACK_MSG_TRUNC;
        return 0;
    }
    return tp->fin_rcvd || TCP_IN(tp, CLOSE) ? 0 : -EAGAIN;
}

/* n bytes have been read, and are out of the buffer. */
static void consumed(struct stack *st, struct tcp_sock *tp, uint32_t n) {
    tp->rcv_buf_seq += n;
    if (tp->urg_state == TCP_URG_READ && seq_lt(tp->rcv_up, tp->rcv_buf_seq))
        tp->urg_state = TCP_URG_NONE;
    else if (tp->so.oobinline && tp->urg_state == TCP_URG_HERE &&
             seq_lt(tp->rcv_up, tp->rcv_buf_seq))
        tp->urg_state = TCP_URG_NONE;
    tcp_rcv_consumed(st, tp);
}

/* sock_proto.recv. MSG_TRUNC discards instead of copying (tcp(7)). */
ssize_t tcp_recv(struct stack *st, struct sock *so, const struct iovec *iov,
                 int niov, uint32_t flags, struct stack_msg *m) {
    struct tcp_sock *tp = tcp_of(so);
    size_t want = 0;
    if (m)
        m->out_flags = 0;
    if (flags & STACK_MSG_ERRQUEUE)
        return tcp_zerocopy_recv(st, tp, m);
    if (TCP_IN(tp, LISTEN))
        return -ENOTCONN;
    if (flags & STACK_MSG_OOB)
        return recv_urgent(tp, iov, niov, flags, m);
    for (int i = 0; i < niov; i++)
        want += iov[i].iov_len;
    uint32_t skip;
    bool peek = (flags & STACK_MSG_PEEK) != 0;
    uint32_t n = takeable(st, tp, peek, &skip);
    if (n == 0)
        return want ? nothing(tp) : 0;
    if (want < n)
        n = (uint32_t)want;
    if (!(flags & STACK_MSG_TRUNC))
        n = bufq_copy_iov(&tp->rcvq, skip, iov, niov, n);
    if (!peek) {
        bufq_drop(st, &tp->rcvq, n);
        consumed(st, tp, n);
    }
    return (ssize_t)n;
}

/* sock_proto.take: a long read of a fused connection, which the caller copies
 * outside the lock (fuse.c). 0: the ordinary way. */
uint32_t tcp_take(struct stack *st, struct sock *so, size_t want,
                  struct bufq *q) {
    struct tcp_sock *tp = tcp_of(so);
    uint32_t n = tp->rcvq.len;
    if (!tp->fused || want < STACK_LOAN_MIN || n < STACK_LOAN_MIN ||
        tp->urg_state != TCP_URG_NONE)
        return 0;
    n = bufq_move(st, &tp->rcvq, q, want < n ? (uint32_t)want : n);
    consumed(st, tp, n);
    return n;
}
