/* fuse.c: both ends of a connection in this stack.
 *
 * Theory of operation
 *
 * When a handshake completes and the socket of the other end is found in our
 * own tables, the two are fused: each names the other. From then on data makes
 * no segments. send() copies into the peer's receive buffer, as far as the
 * peer's window allows, and what is left into the own send buffer, as far as
 * that has room; recv() pulls from there what its own buffer has room for,
 * chunk by chunk and without copying. Sequence numbers of both ends move as if
 * the bytes had been sent, received and acknowledged, so at each moment the
 * connection could go on by segments, and does for whatever is not plain data:
 * SYN, FIN, RST, urgent data and probes are segments that turn round in loop.c,
 * and the state machine is the only one there is.
 *
 * So there is no state to agree about. tcp_fuse_peer looks each time whether
 * the direct way is open: nothing in flight, the peer expects exactly the next
 * byte, and would take it as text (RFC 9293 section 3.10.7.4, seventh). If not,
 * data goes by segments, this time.
 *
 * Limits. Window (SO_RCVBUF, TCP_WINDOW_CLAMP) and send buffer (SO_SNDBUF) hold
 * as for segments. The Nagle algorithm has nothing to do; TCP_CORK and MSG_MORE
 * hold partial segments back as ever. A window that is shut needs no probes:
 * the reader itself pulls.
 *
 * Bulk. Two processors that copy one after the other, because each holds the
 * lock meanwhile, are slower than one: measured 48 Gbit/s, against 64 of the
 * kernel's loopback and 140 of copies that overlap. So the copies of long calls
 * are made outside the lock, in loans: memory that is in no queue, but in the
 * hands of one thread. A sender borrows empty chunks, fills them, and gives
 * them back into the queue; a reader takes full chunks out of the queue, empties
 * them, and gives them back to the heap. Others see a send that has not yet
 * happened, and a receive that is over.
 *
 * The two end separately: tcp_unfuse, from the end of either protocol, lets the
 * other go on alone, by segments, which then find nobody. Should a process die
 * at work on one of them, both are reset (repair.c).
 */
#include "stack/tcp/tcp.h"

/* The other end of an established connection, if it is here, too. */
void tcp_fuse(struct stack *st, struct tcp_sock *tp) {
    if (!stack_is_local(st, &tp->so.remote.ip))
        return;
    struct sock *so =
        demux_tuple(st, &st->sh->tcp, &tp->so.remote, &tp->so.local);
    if (!so || so->kind != SOCK_TCP || so == &tp->so)
        return;
    struct tcp_sock *peer = tcp_of(so);
    if (!tcp_synchronized(peer) || peer->fused)
        return;
    tp->fused = peer;
    peer->fused = tp;
    COUNT(st, tcp_fused);
}

/* One end is over. The other has its turn, for what it could not give away. */
void tcp_unfuse(struct stack *st, struct tcp_sock *tp) {
    struct tcp_sock *peer = tp->fused;
    if (!peer)
        return;
    tp->fused = NULL;
    peer->fused = NULL;
    if (peer->sndq.len || peer->fin_queued)
        tcp_mark_due(st, peer);
}

/* The other end, if plain data may go there directly now. */
static struct tcp_sock *direct(const struct tcp_sock *tp) {
    struct tcp_sock *peer = tp->fused;
    if (!peer || tcp_flight(tp) || tp->urg_sending || tp->pace_max)
        return NULL;
    if (!TCP_IN(peer, ESTABLISHED) && !TCP_IN(peer, FIN_WAIT1) &&
        !TCP_IN(peer, FIN_WAIT2))
        return NULL;
    if (peer->so.closed || peer->deferred || peer->rcv_nxt != tp->snd_nxt ||
        !tcp_reass_empty(peer))
        return NULL;
    return peer;
}

/* Room in the receive buffer of tp. */
static uint32_t room(const struct tcp_sock *tp) {
    uint32_t limit = tcp_rcv_limit(tp);
    return limit > tp->rcvq.len ? limit - tp->rcvq.len : 0;
}

/* n bytes have gone from tp to peer: as if sent, taken and acknowledged. */
static void passed(struct stack *st, struct tcp_sock *tp, struct tcp_sock *peer,
                   uint32_t n) {
    uint32_t mss = tcp_smss(tp), segs = (n + mss - 1) / mss;
    uint32_t now = tcp_ms(st);
    tp->snd_nxt += n;
    tp->snd_una = tp->snd_buf_seq = tp->snd_nxt;
    tp->bytes_sent += n;
    tp->bytes_acked += n;
    tp->segs_out += segs;
    tp->data_out += segs;
    tp->snd_ms = tp->ack_ms = now;
    peer->rcv_nxt = peer->last_ack_sent = tp->snd_nxt;
    if (seq_lt(peer->rcv_adv, peer->rcv_nxt))
        peer->rcv_adv = peer->rcv_nxt;
    peer->bytes_received += n;
    peer->segs_in += segs;
    peer->data_in += segs;
    peer->rcv_ms = now;
    st->sh->inside = st->now;
    COUNT_ADD(st, tcp_fused_bytes, n);
    tcp_zerocopy_acked(st, tp);
    tcp_data_event(st, peer);
}

/* The program's bytes, as many as the peer has room for, if nothing older
 * waits. Returns how many. */
uint32_t tcp_fuse_send(struct stack *st, struct tcp_sock *tp,
                       const struct iovec *iov, int niov, size_t want,
                       uint32_t flags) {
    if (tp->sndq.len || tp->cork || flags & (STACK_MSG_MORE | STACK_MSG_OOB))
        return 0;
    struct tcp_sock *peer = direct(tp);
    if (!peer)
        return 0;
    uint32_t space = room(peer), n = want < space ? (uint32_t)want : space;
    n = bufq_append_iov(st, &peer->rcvq, iov, niov, 0, n);
    if (n)
        passed(st, tp, peer, n);
    return n;
}

/* From the send buffer of tp, as much as the peer has room for. */
static void move(struct stack *st, struct tcp_sock *tp, struct tcp_sock *peer,
                 uint32_t n) {
    n = bufq_move(st, &tp->sndq, &peer->rcvq, min_u32(n, room(peer)));
    if (n)
        passed(st, tp, peer, n);
}

/* In the place of sending segments: false when there is nothing but a FIN to
 * send, or the direct way is not open. What a cork holds back is decided by
 * the caller, tcp_output. */
bool tcp_fuse_output(struct stack *st, struct tcp_sock *tp, uint32_t n) {
    struct tcp_sock *peer = direct(tp);
    if (tp->fused && tp->fused->rcv_nxt == tp->snd_nxt && !tcp_flight(tp)) {
        tp->snd_wnd = tcp_select_window(st, tp->fused);
        tp->snd_wl1 = tp->rcv_nxt;
        tp->snd_wl2 = tp->snd_una;
    }
    if (!peer)
        return false;
    if (n)
        move(st, tp, peer, n);
    return tp->sndq.len > 0;
}

/* The program has read: fetch what the other end could not give us. True when
 * no window update is needed, there being nobody who looks at windows. */
bool tcp_fuse_pull(struct stack *st, struct tcp_sock *tp) {
    struct tcp_sock *from = tp->fused;
    if (!from || direct(from) != tp)
        return false;
    if (!from->sndq.len || (from->cork && !from->fin_queued))
        return true;
    /* in worthwhile steps: half of the buffer, or all there is */
    uint32_t space = room(tp);
    if (space < from->sndq.len && space < tcp_rcv_limit(tp) / 2)
        return true;
    move(st, from, tp, from->sndq.len);
    if (from->fin_queued)
        tcp_mark_due(st, from);
    tcp_write_space(st, from);
    return true;
}

/* ---- loans ------------------------------------------------------------------ */

/* sock_proto.loan. For a socket whose next bytes go directly; everything else,
 * errors above all, is the ordinary call's business. */
uint32_t tcp_loan(struct stack *st, struct sock *so, size_t want,
                  struct bufq *q) {
    struct tcp_sock *tp = tcp_of(so), *peer = direct(tp);
    if (!peer || tp->so.error || tp->so.shut & 2 || tp->cork || tp->more)
        return 0;
    uint32_t space = tcp_snd_space(tp);
    if (!tp->sndq.len)
        space += room(peer);
    uint32_t n = want < space ? (uint32_t)want : space;
    return n < STACK_LOAN_MIN ? 0 : bufq_reserve(st, q, n);
}

/* sock_proto.repay: the send happens now, with the errors of now. Another
 * sender may have used the room meanwhile; a loan may overdraw it. */
ssize_t tcp_repay(struct stack *st, struct sock *so, struct bufq *q) {
    struct tcp_sock *tp = tcp_of(so);
    uint32_t n = q->len;
    int r = tcp_can_send(tp);
    if (r < 0) {
        bufq_clear(st, q);
        return r;
    }
    struct tcp_sock *peer = tp->sndq.len ? NULL : direct(tp);
    tp->more = false;
    if (peer && room(peer)) {
        bufq_join(&peer->rcvq, q);
        passed(st, tp, peer, n);
    } else {
        bufq_join(&tp->sndq, q);
        tcp_mark_due(st, tp);
    }
    return n;
}
