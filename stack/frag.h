/* frag.h: IPv4 reassembly (RFC 791, RFC 815, RFC 1122 section 3.3.2). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "stack/list.h"
#include "stack/pkt.h"
#include "stack/timer.h"
#include "stack/wire/ipv4.h"

#define FRAG_BUCKETS 64
struct frag_table {
    struct list queues;               /* oldest first */
    struct list bucket[FRAG_BUCKETS]; /* the same, by hash of source and id */
    uint32_t n, bytes;                /* queues, arena memory of all */
    uint8_t *whole;                   /* datagram delivered last, or NULL */
    uint32_t whole_size;
};

void frag_init(struct stack *st);
/* Take a fragment with header h. Returns true when it completed a datagram:
 * *whole then describes it, as ether_input would, up to l3_len (memory stays
 * valid until frag_release or the next frag_input). */
bool frag_input(struct stack *st, const struct rxpkt *rx,
                const struct ipv4_hdr *h, struct rxpkt *whole);
void frag_release(struct stack *st);
/* TIMER_FRAG: the datagram took too long. */
void frag_timer(struct stack *st, struct timer *t);
