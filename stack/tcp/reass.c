/* reass.c: data that came out of order, and the SACK blocks about it.
 *
 * A list of islands, sorted by sequence number and disjoint, each a byte queue
 * of its own; islands that touch are not joined (that would copy) but reported
 * as one. All of it exists only while something is missing. What the bytes may
 * amount to is bounded by the window, their number by REASS_MAX.
 *
 * A FIN that comes before its turn is a number here, not a byte.
 *
 * Overlaps: what came first stays, later copies fill gaps only (a sender that
 * changes its data between two copies gets no say, as RFC 9293 section 3.10.7.4
 * lets us choose). Most segments land behind the last island, so that is looked
 * at first; the rest is a walk.
 *
 * touch dates each island, since RFC 2018 section 4 wants the block that has
 * just changed first and the others by age: three blocks in each ACK then tell
 * every change three times, which survives the loss of two ACKs.
 */
#include "stack/tcp/tcp.h"

#define REASS_MAX 1024

struct island {
    struct list_node link;
    seq_t seq;
    uint32_t touch; /* when it last grew, in calls of tcp_reass_insert */
    struct bufq q;
};

struct tcp_reass {
    struct list islands;
    uint32_t n, touch, bytes;
    bool fin;
    seq_t fin_seq;
};

/* The number behind the island's last byte. */
static seq_t island_end(const struct island *i) { return i->seq + i->q.len; }

/* The island behind a list node. */
static struct island *island_of(struct list_node *n) {
    return container_of(n, struct island, link);
}

/* Out of the list, bytes and all. */
static void island_free(struct stack *st, struct tcp_reass *r,
                        struct island *i) {
    r->bytes -= i->q.len;
    r->n--;
    list_remove(&i->link);
    bufq_clear(st, &i->q);
    mem_free(st, i, sizeof(*i));
}

/* Forget everything that waits, the FIN too. */
void tcp_reass_free(struct stack *st, struct tcp_sock *tp) {
    struct tcp_reass *r = tp->reass;
    if (!r)
        return;
    list_for_each_safe(n, &r->islands) island_free(st, r, island_of(n));
    mem_free(st, r, sizeof(*r));
    tp->reass = NULL;
}

/* No data waits (a FIN may). */
bool tcp_reass_empty(const struct tcp_sock *tp) {
    return !tp->reass || tp->reass->n == 0;
}

/* Bytes that wait. */
uint32_t tcp_reass_bytes(const struct tcp_sock *tp) {
    return tp->reass ? tp->reass->bytes : 0;
}

/* Is the FIN that came early the next thing in the stream? */
bool tcp_reass_fin_next(const struct tcp_sock *tp) {
    return tp->reass && tp->reass->fin && tp->reass->fin_seq == tp->rcv_nxt;
}

/* Add n bytes at seq, behind `prev` (NULL: first): to prev itself when they
 * touch. False: no memory. */
static bool add_bytes(struct stack *st, struct tcp_reass *r,
                      struct island *prev, seq_t seq, const uint8_t *data,
                      uint32_t n) {
    if (!prev || island_end(prev) != seq) {
        struct island *i = r->n < REASS_MAX ? mem_alloc(st, sizeof(*i)) : NULL;
        if (!i)
            return false;
        i->seq = seq;
        if (prev)
            list_insert(prev->link.next, &i->link);
        else
            list_push_front(&r->islands, &i->link);
        r->n++;
        prev = i;
    }
    uint32_t got = bufq_append(st, &prev->q, data, n);
    r->bytes += got;
    prev->touch = r->touch;
    if (!prev->q.len)
        island_free(st, r, prev);
    return got == n;
}

/* Fill the gaps that [seq, seq + len) covers. Returns bytes that were there
 * already; *ok false when memory ran out. */
static uint32_t fill_gaps(struct stack *st, struct tcp_reass *r, seq_t seq,
                          const uint8_t *data, uint32_t len, bool *ok) {
    seq_t cur = seq, end = seq + len;
    uint32_t known = 0;
    struct island *prev = NULL;
    struct list_node *n = r->islands.head.next;
    /* the common case: at or behind the last island */
    if (!list_empty(&r->islands)) {
        struct island *last = island_of(r->islands.head.prev);
        if (seq_geq(seq, island_end(last))) {
            prev = last;
            n = &r->islands.head;
        }
    }
    for (; n != &r->islands.head && seq_lt(cur, end) && *ok; n = n->next) {
        struct island *i = island_of(n);
        if (seq_lt(cur, i->seq)) {
            uint32_t gap = seq_min(end, i->seq) - cur;
            *ok = add_bytes(st, r, prev, cur, data + (cur - seq), gap);
            cur += gap;
        }
        if (seq_lt(cur, island_end(i)) && seq_lt(cur, end)) {
            seq_t stop = seq_min(end, island_end(i));
            known += stop - cur;
            i->touch = r->touch;
            cur = stop;
        }
        prev = i;
    }
    if (seq_lt(cur, end) && *ok)
        *ok = add_bytes(st, r, prev, cur, data + (cur - seq), end - cur);
    return known;
}

/* Keep a segment beyond rcv_nxt. False: no room, nothing promised. */
bool tcp_reass_insert(struct stack *st, struct tcp_sock *tp, seq_t seq,
                      const uint8_t *data, uint32_t len, bool fin) {
    if (!tp->reass) {
        tp->reass = mem_alloc(st, sizeof(*tp->reass));
        if (!tp->reass)
            return false;
        list_init(&tp->reass->islands);
    }
    struct tcp_reass *r = tp->reass;
    r->touch++;
    bool ok = true;
    uint32_t known = fill_gaps(st, r, seq, data, len, &ok);
    if (!ok)
        COUNT(st, tcp_reass_full);
    if (fin && ok) {
        r->fin = true;
        r->fin_seq = seq + len;
    }
    if (known && known == len && tp->sack_ok) { /* RFC 2883 section 4 */
        tp->dsack = true;
        tp->dsack_lo = seq;
        tp->dsack_hi = seq + len;
    }
    return ok;
}

/* Move an island's bytes from `skip` on into the receive buffer. */
static bool move_bytes(struct stack *st, struct tcp_sock *tp, struct island *i,
                       uint32_t skip) {
    while (skip < i->q.len) {
        struct iovec iov[8];
        uint32_t got = 0;
        int n = bufq_peek(&i->q, skip, i->q.len - skip, iov, 8, &got);
        uint32_t put = bufq_append_iov(st, &tp->rcvq, iov, n, 0, got);
        tp->rcv_nxt += put;
        tp->bytes_received += put;
        skip += put;
        if (put < got)
            return false;
    }
    return true;
}

/* rcv_nxt has advanced: what follows on without a gap joins the stream.
 * Returns whether rcv_nxt moved. */
bool tcp_reass_drain(struct stack *st, struct tcp_sock *tp) {
    struct tcp_reass *r = tp->reass;
    if (!r)
        return false;
    seq_t before = tp->rcv_nxt;
    list_for_each_safe(n, &r->islands) {
        struct island *i = island_of(n);
        if (seq_gt(i->seq, tp->rcv_nxt))
            break;
        uint32_t skip = tp->rcv_nxt - i->seq;
        if (skip && tp->sack_ok && !tp->dsack) { /* RFC 2883 section 4 */
            tp->dsack = true;
            tp->dsack_lo = i->seq;
            tp->dsack_hi = seq_min(i->seq + i->q.len, tp->rcv_nxt);
        }
        bool all = skip >= i->q.len || move_bytes(st, tp, i, skip);
        if (!all)
            COUNT(st, tcp_no_memory);
        island_free(st, r, i);
        if (!all)
            break;
    }
    if (!r->n && !r->fin)
        tcp_reass_free(st, tp);
    return tp->rcv_nxt != before;
}

/* Keep the most recently touched blocks, newest first (RFC 2018 section 4). */
static unsigned keep_block(struct tcp_sack *b, uint32_t *touch, unsigned n,
                           unsigned max, struct tcp_sack s, uint32_t when) {
    unsigned at = n;
    while (at > 0 && touch[at - 1] < when)
        at--;
    if (at >= max)
        return n;
    unsigned last = n < max ? n : max - 1;
    for (unsigned i = last; i > at; i--) {
        b[i] = b[i - 1];
        touch[i] = touch[i - 1];
    }
    b[at] = s;
    touch[at] = when;
    return n < max ? n + 1 : n;
}

/* The SACK blocks to send now, at most max of them. */
unsigned tcp_reass_blocks(const struct tcp_sock *tp, struct tcp_sack *b,
                          unsigned max) {
    uint32_t touch[TCP_SACK_MAX];
    unsigned n = 0;
    if (tcp_reass_empty(tp))
        return 0;
    const struct list *l = &tp->reass->islands;
    struct list_node *p = l->head.next;
    while (p != &l->head) {
        const struct island *i = island_of(p);
        struct tcp_sack s = {i->seq, island_end(i)};
        uint32_t when = i->touch;
        for (p = p->next; p != &l->head; p = p->next) {
            i = island_of(p);
            if (i->seq != s.right)
                break;
            s.right = island_end(i);
            when = max_u32(when, i->touch);
        }
        n = keep_block(b, touch, n, max, s, when);
    }
    return n;
}
