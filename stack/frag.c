/* frag.c: IPv4 reassembly (RFC 791 section 3.2, RFC 1122 section 3.3.2).
 *
 * Theory of operation
 *
 * Each datagram being reassembled is a queue, found by (source, destination,
 * protocol, identification) in a small hash. It holds its fragments sorted by
 * offset, copied into the arena. When the fragments from 0 to the end are
 * there without a gap, they become one datagram with the header of the first
 * (RFC 815 describes the holes; a sorted list makes them plain).
 *
 * A queue ends in one of these ways, each counted:
 *   complete   delivered to ip.c, memory kept until frag_release
 *   time       30 s after its first fragment, never extended; the source is
 *              told by ICMP 11/1 if the first fragment is here (RFC 1122)
 *   overlap    two fragments that claim the same bytes: somebody plays games
 *              with filters (RFC 1858, RFC 3128), so all of it goes (RFC 5722
 *              decided so for IPv6); an exact repetition is merely dropped
 *   nonsense   ends that contradict each other, more than 65,535 bytes, more
 *              than FRAG_PIECES pieces, ECN marks that must not mix
 *   room       see below
 *
 * Memory is bounded twice: one source may hold SOURCE_BYTES (and when it wants
 * more, its own oldest queue goes), all together TOTAL_BYTES (then the oldest
 * of all goes). So one sender of fragments that never complete cannot keep
 * others from being served. A timer is armed for each queue.
 */
#include "stack/frag.h"

#include <string.h>

#include "stack/icmp.h"
#include "stack/random.h"
#include "stack/repair.h"
#include "stack/shared.h"

#define FRAG_TIME (30ull * 1000000000) /* RFC 791; Linux uses 30 s as well */
#define TOTAL_BYTES (4u << 20)
#define SOURCE_BYTES (1u << 20)
#define FRAG_QUEUES 1024
#define FRAG_PIECES 256 /* 64 KiB over a link of MTU 296 (RFC 1191) */

/* One fragment's payload: [off, off + len) of the datagram's. */
struct frag {
    struct list_node link;
    uint32_t off, len;
    uint32_t size; /* of this allocation */
    uint8_t data[];
};

struct frag_queue {
    struct list_node age_link, hash_link;
    struct timer timer;
    uint32_t src, dst;
    uint16_t id;
    uint8_t proto;
    bool multicast;
    uint8_t ecn;    /* bit set of the ECN code points seen */
    uint32_t end;   /* length of the datagram's payload; 0: not yet known */
    uint32_t have;  /* payload bytes here */
    uint32_t n;     /* fragments here */
    uint32_t bytes; /* arena memory, this struct included */
    struct list frags;
    uint8_t header_len; /* 0: first fragment is not here */
    uint8_t header[IPV4_HDR_MAX];
};

/* Empty lists for a fresh arena; called once by stack_create. */
void frag_init(struct stack *st) {
    struct frag_table *t = &st->sh->frags;
    list_init(&t->queues);
    for (unsigned i = 0; i < FRAG_BUCKETS; i++)
        list_init(&t->bucket[i]);
}

/* ---- queues --------------------------------------------------------- */

/* Keyed hash of what names a datagram (RFC 791 section 3.2: both addresses,
 * protocol, identification), so that a flood cannot aim at one bucket. */
static struct list *bucket_of(struct stack *st, const struct ipv4_hdr *h) {
    uint32_t key[4] = {h->src, h->dst, h->id, h->proto};
    return &st->sh->frags
                .bucket[siphash(st->sh->key, key, sizeof(key)) % FRAG_BUCKETS];
}

/* The queue that h belongs to, or NULL when it is the first of its datagram. */
static struct frag_queue *find(struct stack *st, const struct ipv4_hdr *h) {
    list_for_each(n, bucket_of(st, h)) {
        struct frag_queue *q = container_of(n, struct frag_queue, hash_link);
        if (q->src == h->src && q->dst == h->dst && q->id == h->id &&
            q->proto == h->proto)
            return q;
    }
    return NULL;
}

/* Memory of the queue grew (n > 0) or shrank. */
static void account(struct stack *st, struct frag_queue *q, int32_t n) {
    q->bytes += (uint32_t)n;
    st->sh->frags.bytes += (uint32_t)n;
}

/* Give everything back: fragments, timer, place in both lists. */
static void queue_free(struct stack *st, struct frag_queue *q) {
    struct list_node *n;
    timer_stop(st, &q->timer);
    while ((n = list_pop_front(&q->frags))) {
        struct frag *f = container_of(n, struct frag, link);
        mem_free(st, f, f->size);
    }
    list_remove(&q->age_link);
    list_remove(&q->hash_link);
    st->sh->frags.bytes -= q->bytes;
    st->sh->frags.n--;
    mem_free(st, q, sizeof(*q));
}

/* Begin a datagram; its 30 seconds run from here (RFC 1122 section 3.3.2: a
 * fixed time, not one that each fragment extends). NULL: no memory. */
static struct frag_queue *queue_new(struct stack *st, const struct rxpkt *rx,
                                    const struct ipv4_hdr *h) {
    struct frag_table *t = &st->sh->frags;
    struct frag_queue *q = mem_alloc(st, sizeof(*q));
    if (!q)
        return NULL;
    q->src = h->src;
    q->dst = h->dst;
    q->id = h->id;
    q->proto = h->proto;
    q->multicast = rx->multicast;
    list_init(&q->frags);
    list_push_back(&t->queues, &q->age_link);
    list_push_back(bucket_of(st, h), &q->hash_link);
    t->n++;
    account(st, q, sizeof(*q));
    timer_arm(st, &q->timer, TIMER_FRAG, st->now + FRAG_TIME);
    return q;
}

/* Memory held for one source, and its oldest queue other than `keep`. */
static uint32_t source_bytes(struct stack *st, uint32_t src,
                             const struct frag_queue *keep,
                             struct frag_queue **oldest) {
    uint32_t sum = 0;
    *oldest = NULL;
    list_for_each(n, &st->sh->frags.queues) {
        struct frag_queue *q = container_of(n, struct frag_queue, age_link);
        if (q->src != src)
            continue;
        sum += q->bytes;
        if (!*oldest && q != keep)
            *oldest = q;
    }
    return sum;
}

/* Make room for n more bytes of a fragment from src, at the cost of older
 * queues: the source's own first, then anybody's. `keep` stays. False when
 * there is nothing left to drop. */
static bool make_room(struct stack *st, uint32_t src, uint32_t n,
                      const struct frag_queue *keep) {
    struct frag_table *t = &st->sh->frags;
    struct frag_queue *old;
    while (source_bytes(st, src, keep, &old) + n > SOURCE_BYTES) {
        if (!old)
            return false;
        COUNT(st, drop_frag_source_limit);
        queue_free(st, old);
    }
    while (t->bytes + n > TOTAL_BYTES || t->n > FRAG_QUEUES) {
        old = container_of(list_first(&t->queues), struct frag_queue, age_link);
        if (old == keep)
            return false;
        COUNT(st, drop_frag_total_limit);
        queue_free(st, old);
    }
    return true;
}

/* ---- fragments ------------------------------------------------------ */

enum place { PLACED, REPEATED, OVERLAP, FULL };

/* Put a fragment where it belongs. The walk starts at the end, where the next
 * fragment of an orderly sender goes. */
static enum place place(struct stack *st, struct frag_queue *q, uint32_t off,
                        const uint8_t *data, uint32_t len) {
    struct list_node *at = q->frags.head.prev;
    for (; at != &q->frags.head; at = at->prev) {
        const struct frag *f = container_of(at, struct frag, link);
        if (f->off == off && f->len == len)
            return REPEATED;
        if (f->off + f->len <= off)
            break;
        if (f->off < off + len)
            return OVERLAP;
    }
    uint32_t size = (uint32_t)sizeof(struct frag) + len;
    struct frag *f = mem_alloc_raw(st, size);
    if (!f)
        return FULL;
    *f = (struct frag){.off = off, .len = len, .size = size};
    memcpy(f->data, data, len);
    list_insert(at->next, &f->link);
    account(st, q, (int32_t)size);
    q->have += len;
    q->n++;
    return PLACED;
}

/* The datagram's length, as this fragment tells it. False: it contradicts what
 * is known (RFC 1858 calls such series attacks). */
static bool learn_end(struct frag_queue *q, const struct ipv4_hdr *h) {
    uint32_t end = h->frag_off + h->payload_len;
    const struct list_node *tail = q->frags.head.prev;
    if (h->mf)
        return !q->end || end <= q->end;
    if (tail != &q->frags.head) {
        const struct frag *f = container_of(tail, struct frag, link);
        if (f->off + f->len > end)
            return false;
    }
    if (q->end && q->end != end)
        return false;
    q->end = end;
    return true;
}

/* RFC 3168 section 5.3: congestion experienced in any fragment marks the
 * whole; mixed with not-ECT the whole is dropped. */
#define ECN_SEEN(tos) (uint8_t)(1u << ((tos)&3))
#define ECN_NOT (1u << 0)
#define ECN_CE (1u << 3)

/* Fragments that cannot be part of an honest datagram. Counts them. */
static bool check_fragment(struct stack *st, const struct ipv4_hdr *h) {
    if (h->payload_len == 0 || (h->mf && h->payload_len % 8 != 0)) {
        COUNT(st, drop_frag_malformed);
        return false;
    }
    if (h->hdr_len + h->frag_off + h->payload_len > IPV4_MAX) {
        COUNT(st, drop_frag_too_long);
        return false;
    }
    /* RFC 3128: TCP headers split so that filters miss the flags */
    if (h->proto == IP_PROTO_TCP &&
        (h->frag_off == 8 || (h->frag_off == 0 && h->payload_len < 20))) {
        COUNT(st, drop_frag_tiny);
        return false;
    }
    return true;
}

/* Take the fragment into its queue. False: the queue is to be dropped. */
static bool add(struct stack *st, struct frag_queue *q, const struct rxpkt *rx,
                const struct ipv4_hdr *h) {
    if (!learn_end(q, h) || q->n >= FRAG_PIECES) {
        COUNT(st, drop_frag_malformed);
        return false;
    }
    switch (place(st, q, h->frag_off, h->payload, h->payload_len)) {
    case PLACED:
        break;
    case REPEATED:
        COUNT(st, drop_frag_repeated);
        return true;
    case OVERLAP:
        COUNT(st, drop_frag_overlap);
        return false;
    case FULL:
        COUNT(st, drop_frag_no_memory);
        return false;
    }
    q->ecn |= ECN_SEEN(h->tos);
    if ((q->ecn & ECN_NOT) && (q->ecn & ECN_CE)) {
        COUNT(st, drop_frag_ecn);
        return false;
    }
    if (h->frag_off == 0) {
        memcpy(q->header, rx->l3, h->hdr_len);
        q->header_len = h->hdr_len;
    }
    return true;
}

/* ---- the whole ------------------------------------------------------ */

/* Write header and the fragments' data one behind the other at `to`; returns
 * how much was written. */
static uint32_t join(const struct frag_queue *q, uint8_t *to) {
    uint32_t at = q->header_len;
    memcpy(to, q->header, at);
    list_for_each(n, &q->frags) {
        const struct frag *f = container_of(n, struct frag, link);
        memcpy(to + at, f->data, f->len);
        at += f->len;
    }
    return at;
}

/* All pieces are there: build the datagram. The queue is gone afterwards.
 * False: no memory. */
static bool complete(struct stack *st, struct frag_queue *q,
                     struct rxpkt *whole) {
    struct frag_table *t = &st->sh->frags;
    uint32_t size = q->header_len + q->end;
    uint8_t *room = mem_alloc_raw(st, size);
    if (!room) {
        COUNT(st, drop_frag_no_memory);
        queue_free(st, q);
        return false;
    }
    t->whole = room;
    t->whole_size = size;
    *whole = (struct rxpkt){.l3 = room,
                            .l3_len = join(q, room),
                            .multicast = q->multicast};
    struct ipv4_hdr h;
    ipv4_parse_quote(room, size, &h);
    h.total_len = size;
    h.mf = false;
    if (q->ecn & ECN_CE)
        h.tos |= 3;
    ipv4_patch(room, &h);
    COUNT(st, frag_reassembled);
    queue_free(st, q);
    return true;
}

/* Give the last datagram's memory back, once its transport has copied what it
 * wants. Safe to call when there is none. */
void frag_release(struct stack *st) {
    struct frag_table *t = &st->sh->frags;
    mem_free(st, t->whole, t->whole_size);
    t->whole = NULL;
    t->whole_size = 0;
}

/* Room is made before the fragment is looked at closer, with the largest sum it
 * can need, so that no later step can go beyond the limits. */
bool frag_input(struct stack *st, const struct rxpkt *rx,
                const struct ipv4_hdr *h, struct rxpkt *whole) {
    frag_release(st); /* of a process that died over it */
    COUNT(st, frag_received);
    if (!check_fragment(st, h))
        return false;
    struct frag_queue *q = find(st, h);
    uint32_t need =
        (uint32_t)(sizeof(struct frag) + sizeof(*q)) + h->payload_len;
    if (!make_room(st, h->src, need, q)) {
        COUNT(st, drop_frag_no_memory);
        return false;
    }
    if (!q && !(q = queue_new(st, rx, h))) {
        COUNT(st, drop_frag_no_memory);
        return false;
    }
    if (!add(st, q, rx, h)) {
        queue_free(st, q);
        return false;
    }
    if (!q->header_len || !q->end || q->have != q->end)
        return false;
    return complete(st, q, whole);
}

/* RFC 1122 section 3.3.2: tell the source, if its first fragment is here to be
 * quoted. */
void frag_timer(struct stack *st, struct timer *t) {
    struct frag_queue *q = container_of(t, struct frag_queue, timer);
    COUNT(st, drop_frag_timeout);
    if (q->header_len) {
        const struct frag *f =
            container_of(list_first(&q->frags), struct frag, link);
        uint8_t quote[IPV4_HDR_MAX + 576];
        uint32_t n = f->len < 576 ? f->len : 576;
        memcpy(quote, q->header, q->header_len);
        memcpy(quote + q->header_len, f->data, n);
        struct rxpkt rx = {.l3 = quote,
                           .l3_len = q->header_len + n,
                           .multicast = q->multicast,
                           .src = ip_from_v4(q->src),
                           .dst = ip_from_v4(q->dst)};
        icmp_send_error(st, &rx, ICMP_SEND_REASSEMBLY_TIME);
    }
    queue_free(st, q);
}

/* After a death inside the lock: datagrams in the making are lost. */
void frag_reset(struct stack *st) {
    struct frag_table *t = &st->sh->frags;
    struct list_node *l;
    list_mend(st, &t->queues);
    for (unsigned i = 0; i < FRAG_BUCKETS; i++)
        list_mend(st, &t->bucket[i]);
    while ((l = list_first(&t->queues))) {
        struct frag_queue *q = container_of(l, struct frag_queue, age_link);
        timer_disown(&q->timer);
        list_mend(st, &q->frags);
        queue_free(st, q);
    }
    t->n = t->bytes = 0;
    t->whole = NULL;
}
