/* arp.h: who has which MAC (RFC 826, RFC 1122 section 2.3.2, RFC 5227). */
#pragma once
#include <stdint.h>
#include "stack/addr.h"
#include "stack/list.h"
#include "stack/pkt.h"
#include "stack/timer.h"

struct neighbour;

#define ARP_BUCKETS 256
struct arp_table {
    struct list entries;             /* least recently used first */
    struct list bucket[ARP_BUCKETS]; /* by hash of the address */
    struct neighbour *last;          /* the one used last, or NULL */
    unsigned n;
    uint32_t held_bytes;   /* packets waiting, of all neighbours */
    nstime_t last_defence; /* RFC 5227, section 2.4 */
};

void arp_init(struct stack *st);
void arp_input(struct stack *st, const struct rxpkt *rx);
/* Hand p (IP header in front) to the link: resolves next_hop, sends at once or
 * holds a copy while asking. When nobody answers, held packets come back as
 * host-unreachable errors to their sockets (icmp_local_error). */
void arp_output(struct stack *st, struct pkt *p,
                const struct ip_addr *next_hop);
/* The upper layer heard from next_hop (RFC 4861 7.3.1 style confirmation). */
void arp_confirm(struct stack *st, const struct ip_addr *peer);
/* TIMER_ARP: ask again, or give up. */
void arp_timer(struct stack *st, struct timer *t);
/* Tell everybody that our address is here (RFC 5227, section 2.3). */
void arp_announce(struct stack *st);
/* The link went down: whatever was known may no longer hold. */
void arp_flush(struct stack *st);
