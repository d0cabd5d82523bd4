/* ready.c: what poll(2) says about a TCP socket; bit for bit Linux's tcp_poll.
 *
 *   IN     data (SO_RCVLOWAT of it), the end of the stream, a connection to
 *          accept
 *   OUT    room in the send buffer (window.c), or writing would fail at once
 *   RDHUP  the peer has sent FIN, or SHUT_RD
 *   HUP    both directions are over; also a socket never connected
 *   PRI    an urgent byte is there (RFC 9293 section 3.8.5)
 *   ERR    an error is pending, or an entry of the error queue
 *
 * Nothing at all while the handshake lasts. Whoever asks and finds no room is
 * promised an event when there is some (tp->nospace). */
#include "stack/tcp/tcp.h"

/* Enough to read? SO_RCVLOWAT, or the buffer cannot take more, or
 * memory is too short for more. */
static bool readable(const struct tcp_sock *tp) {
    uint32_t n = tp->rcvq.len;
    uint32_t target = (uint32_t)tp->so.rcvlowat;
    bool at_mark = tp->urg_state != TCP_URG_NONE && !tp->so.oobinline &&
                   tp->rcv_up == tp->rcv_buf_seq;
    if (at_mark)
        target++;
    if (n == 0)
        return tp->announced;
    return n >= target || tp->refused || n >= tcp_rcv_limit(tp) ||
           tcp_rcv_wnd(tp) == 0;
}

/* sock_proto.ready */
uint32_t tcp_ready(struct stack *st, struct sock *so) {
    (void)st;
    struct tcp_sock *tp = tcp_of(so);
    uint32_t r = 0;
    if (TCP_IN(tp, LISTEN))
        return tcp_listen_ready(tp) ? STACK_IN : 0;
    if (so->shut == 3 || TCP_IN(tp, CLOSE))
        r |= STACK_HUP;
    if (so->shut & 1)
        r |= STACK_IN | STACK_RDHUP;
    if (tp->fo_deferred) /* the first write is what connects */
        return r | STACK_OUT;
    if (TCP_IN(tp, CLOSE) || tcp_open(tp)) {
        if (readable(tp))
            r |= STACK_IN;
        if ((so->shut & 2) || tcp_writable(tp))
            r |= STACK_OUT;
        else
            tp->nospace = true;
        if (tp->urg_state == TCP_URG_HERE)
            r |= STACK_PRI;
    }
    if (so->error || tcp_zerocopy_waits(tp))
        r |= STACK_ERR;
    return r;
}

/* Data came: an event for each arrival, as edge-triggered epoll(7) needs it. */
void tcp_data_event(struct stack *st, struct tcp_sock *tp) {
    if (readable(tp))
        sock_event(st, &tp->so, STACK_IN);
}
