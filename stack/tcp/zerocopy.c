/* zerocopy.c: the notifications of MSG_ZEROCOPY (the kernel's
 * Documentation/networking/msg_zerocopy.rst).
 *
 * Theory of operation
 *
 * Each send with the flag, on a socket with SO_ZEROCOPY, has a number: 0, 1, 2.
 * When its last byte is acknowledged, the error queue says so by a range of
 * numbers, ERR is ready, and recv with ERRQUEUE takes the range. We copy at
 * once, so the program's buffer is free long before; but programs count what
 * they have in flight by these notifications, so they come when Linux sends
 * them, with the code that says that bytes were copied.
 *
 * Acknowledgements come in order, so what was told and what is to be told are
 * one range of numbers [told, done): the coalescing that Linux does at the end
 * of its queue. What is still out lies in a ring of records, oldest first, each
 * up to a sequence number. A call whose bytes lie behind unsent ones of the one
 * before shares its record (msg_zerocopy_realloc). A full ring is ENOBUFS: the
 * limit that net.core.optmem_max makes in Linux. A connection that ends,
 * however, tells all.
 *
 * All of it is made by the first such send, and freed with the socket. */
#include "stack/tcp/tcp.h"

/* optmem_max, 128 KiB, over what Linux charges for a record, 896 bytes. */
#define RECORDS 146u
#define SHARE_BYTES (1u << 19) /* of one record, as Linux */

struct tcp_zerocopy {
    uint32_t next; /* number of the next call */
    uint32_t told, done;
    uint32_t head, n; /* of the ring */
    struct record {
        seq_t end;      /* of the bytes */
        uint32_t upto;  /* number after the last call */
        uint32_t bytes; /* of all its calls */
    } ring[RECORDS];
};

/* sock_proto.zerocopy: may the next send be one? */
int tcp_zerocopy(struct stack *st, struct sock *so) {
    struct tcp_sock *tp = tcp_of(so);
    if (!tp->zerocopy)
        tp->zerocopy = mem_alloc(st, sizeof(*tp->zerocopy));
    if (!tp->zerocopy || tp->zerocopy->n == RECORDS) {
        COUNT(st, tcp_zerocopy_full);
        return -ENOBUFS;
    }
    return 1;
}

/* sock_proto.zerocopy_sent: the last n bytes given were such a call. With
 * both ends in this stack they may be there already. */
void tcp_zerocopy_sent(struct stack *st, struct sock *so, size_t n) {
    struct tcp_sock *tp = tcp_of(so);
    struct tcp_zerocopy *z = tp->zerocopy;
    seq_t end = tcp_snd_end(tp), start = end - (uint32_t)n;
    if (n == 0 || !z)
        return;
    struct record *last = &z->ring[(z->head + z->n - 1) % RECORDS];
    z->next++;
    COUNT(st, tcp_zerocopy_sends);
    if (z->n && last->end == start && seq_lt(tp->snd_nxt, start) &&
        n <= SHARE_BYTES - min_u32(last->bytes, SHARE_BYTES)) {
        last->end = end;
        last->upto = z->next;
        last->bytes += (uint32_t)n;
    } else if (z->n < RECORDS) {
        z->ring[(z->head + z->n++) % RECORDS] =
            (struct record){.end = end, .upto = z->next, .bytes = (uint32_t)n};
    } else { /* several threads came at once: told with the last */
        last->end = end;
        last->upto = z->next;
    }
    tcp_zerocopy_acked(st, tp);
}

/* The oldest record is over. */
static void pop(struct tcp_zerocopy *z) {
    z->done = z->ring[z->head].upto;
    z->head = (z->head + 1) % RECORDS;
    z->n--;
}

/* snd_una has moved. Before the connection is made nothing counts, whatever
 * the numbers are. */
void tcp_zerocopy_acked(struct stack *st, struct tcp_sock *tp) {
    struct tcp_zerocopy *z = tp->zerocopy;
    if (!z || !tcp_synchronized(tp))
        return;
    uint32_t before = z->done;
    while (z->n && seq_leq(z->ring[z->head].end, tp->snd_una))
        pop(z);
    if (z->done != before)
        sock_event(st, &tp->so, STACK_ERR);
}

/* The send buffer is gone, and with it what was out. */
void tcp_zerocopy_abort(struct stack *st, struct tcp_sock *tp) {
    struct tcp_zerocopy *z = tp->zerocopy;
    if (!z || !z->n)
        return;
    while (z->n)
        pop(z);
    if (!tp->so.closed)
        sock_event(st, &tp->so, STACK_ERR);
}

void tcp_zerocopy_free(struct stack *st, struct tcp_sock *tp) {
    if (tp->zerocopy)
        mem_free(st, tp->zerocopy, sizeof(*tp->zerocopy));
    tp->zerocopy = NULL;
}

bool tcp_zerocopy_waits(const struct tcp_sock *tp) {
    return tp->zerocopy && tp->zerocopy->told != tp->zerocopy->done;
}

/* recv with ERRQUEUE: the one entry there can be, without bytes. */
ssize_t tcp_zerocopy_recv(struct stack *st, struct tcp_sock *tp,
                          struct stack_msg *m) {
    struct tcp_zerocopy *z = tp->zerocopy;
    if (!tcp_zerocopy_waits(tp))
        return -EAGAIN;
    if (m) {
        m->out_flags = STACK_MSG_ERRQUEUE;
        m->has_peer = m->has_local = false;
        m->arrived = st->now;
        m->error = (struct stack_icmp_error){.origin = STACK_ORIGIN_ZEROCOPY,
                                             .code = STACK_ZEROCOPY_COPIED,
                                             .info = z->told,
                                             .data = z->done - 1};
    }
    z->told = z->done;
    return 0;
}
