/* loop.c: packets to our own addresses.
 *
 * A packet to ourselves is copied into the arena and comes in again once the
 * current input or call is done: never from inside the transport that sent it,
 * which is in the middle of its work. stack_poll and stack_flush drain the
 * queue, any process that uses the arena may be the one to do so. The queue is
 * bounded in bytes; what does not fit counts as lost on the wire, which TCP
 * repairs and UDP expects.
 *
 * Such packets have no Ethernet header (rx.frame is NULL) and their checksum
 * was never completed, so it must not be checked.
 */
#include <string.h>

#include "stack/ip.h"
#include "stack/shared.h"

/* What may wait: a few full TCP windows. */
#define LOOP_MAX_BYTES (8u << 20)

struct loop_pkt {
    struct list_node link;
    struct netio_meta meta;
    uint32_t size; /* of this allocation */
    uint32_t len;  /* IP packet */
    uint8_t data[];
};

/* Copy headers and payload of p, one behind the other. */
static void gather(uint8_t *to, const struct pkt *p) {
    unsigned hdr = pkt_hdr_len(p);
    memcpy(to, p->room + p->head, hdr);
    to += hdr;
    for (unsigned i = 1; i <= p->niov; i++) {
        memcpy(to, p->iov[i].iov_base, p->iov[i].iov_len);
        to += p->iov[i].iov_len;
    }
}

/* p starts with its IP header and stays the caller's. A packet that finds no
 * room is lost, like any packet on a full wire. */
void loop_push(struct stack *st, const struct pkt *p) {
    struct shared *sh = st->sh;
    uint32_t len = pkt_len(p);
    uint32_t size = (uint32_t)sizeof(struct loop_pkt) + len;
    if (sh->loop_bytes + size > LOOP_MAX_BYTES) {
        COUNT(st, drop_loop_full);
        return;
    }
    struct loop_pkt *lp = mem_alloc_raw(st, size);
    if (!lp) {
        COUNT(st, drop_loop_full);
        return;
    }
    *lp = (struct loop_pkt){.meta = p->meta, .size = size, .len = len};
    gather(lp->data, p);
    sh->loop_bytes += size;
    list_push_back(&sh->loop, &lp->link);
    sh->inside = st->now;
    COUNT(st, loop_frames);
}

/* The packet is out of the queue before it is delivered, so whatever its
 * transport sends in answer queues up behind the others. */
bool loop_run_one(struct stack *st) {
    struct list_node *n = list_pop_front(&st->sh->loop);
    if (!n)
        return false;
    struct loop_pkt *lp = container_of(n, struct loop_pkt, link);
    struct rxpkt rx = {
        .l3 = lp->data,
        .l3_len = lp->len,
        .meta = lp->meta,
        .csum_ok = true,
        .looped = true,
    };
    st->sh->loop_bytes -= lp->size;
    ip_input(st, &rx);
    mem_free(st, lp, lp->size);
    return true;
}
