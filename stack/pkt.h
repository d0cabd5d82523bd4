/* pkt.h: packets on their way in and on their way out, inside the stack. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "netio/netio.h"
#include "stack/addr.h"

struct stack;

/* ---- out -------------------------------------------------------------- */

#define PKT_HEADROOM 256
#define PKT_MAX_IOV 12 /* one of them is the headers */

/* A packet being built. Transport writes its header at the end of the
 * headroom, network and link layers push theirs in front. Payload is a gather
 * list into the arena (send buffers) or into anything that lives until the
 * next stack_flush; it is never copied unless the packet must wait. */
struct pkt {
    struct netio_meta meta; /* offsets are filled by ether_output */
    uint8_t head;           /* offset of the first header byte in room[] */
    uint8_t niov;           /* payload pieces in iov[1..] */
    uint32_t payload;       /* payload bytes */
    struct iovec iov[PKT_MAX_IOV]; /* iov[0] becomes the headers */
    uint8_t room[PKT_HEADROOM];
};

static inline void *pkt_push(struct pkt *p, unsigned n) {
    p->head = (uint8_t)(p->head - n);
    return p->room + p->head;
}
static inline unsigned pkt_hdr_len(const struct pkt *p) {
    return PKT_HEADROOM - 1 - p->head;
}
static inline uint8_t *pkt_hdr(struct pkt *p) { return p->room + p->head; }
static inline uint32_t pkt_len(const struct pkt *p) {
    return pkt_hdr_len(p) + p->payload;
}

/* The next free packet of the batch (flushes a full batch first). Never fails.
 * Nothing is sent unless tx_commit follows (ip_output and ether_output do
 * it); a packet that is not committed is simply taken again. */
struct pkt *pkt_new(struct stack *st);
/* Copy bytes behind the headers: small payload that lives nowhere else. Up to
 * 1,500 bytes; goes to a scratch area that lives until the flush. */
bool pkt_copy_payload(struct stack *st, struct pkt *p, const void *d,
                      uint32_t n);
void pkt_add_payload(struct pkt *p, const void *d, uint32_t n);
/* Into the batch: a complete Ethernet frame. p is what pkt_new gave, or a copy
 * of such a packet. */
void tx_commit(struct stack *st, struct pkt *p);
/* Give the batch to the interface. For stack.c; others just commit. */
void tx_flush(struct stack *st);
/* Give the batch to the netio now, and nothing else: afterwards no committed
 * packet refers to its payload any more. */
void tx_flush(struct stack *st);

/* ---- in --------------------------------------------------------------- */

/* A received packet, valid during the call that gets it. */
struct rxpkt {
    const uint8_t *frame; /* Ethernet header */
    uint32_t frame_len;
    const uint8_t *l3; /* IP header */
    uint32_t l3_len;   /* as the IP header says; padding is cut off */
    const uint8_t *l4; /* transport header */
    uint32_t l4_len;   /* transport header and payload */
    struct netio_meta meta;
    bool csum_ok;      /* transport checksum needs no check (meta said so) */
    bool looped;       /* came from ourselves */
    bool source_route; /* among the IP options, and accepted */
    bool multicast;    /* link-layer or IP multicast or broadcast: no errors */
    const struct rx_split *split; /* NULL: the frame is in one piece */
    struct ip_addr src, dst;
    uint8_t proto, ttl, tos;
};
