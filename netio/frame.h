/* frame.h: looking into frames that are gather lists. For netio only; the
 * stack has its own parsers.
 *
 * A received frame's iov describes the room, which may be longer than the
 * frame: everything here stops at f->len.
 */
#pragma once
#include <stdbool.h>
#include <string.h>
#include "netio/netio.h"

#define FRAME_ETH_HLEN 14u
#define FRAME_MAX_HDR 256u /* link, network and transport headers together */
#define FRAME_MAX_IOV 64u  /* pieces of a frame that these functions take */

#define FRAME_IPV4 0x0800u
#define FRAME_ARP 0x0806u
#define FRAME_VLAN 0x8100u
#define FRAME_IPV6 0x86ddu

#define FRAME_ICMP 1u
#define FRAME_TCP 6u
#define FRAME_UDP 17u
#define FRAME_ICMP6 58u

static inline uint16_t get16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t get32(const uint8_t *p) {
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}
static inline void put16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put32(uint8_t *p, uint32_t v) {
    put16(p, v >> 16);
    put16(p + 2, v);
}

/* Copy up to n bytes from offset off. Returns the bytes copied. */
uint32_t frame_copy(const struct netio_frame *f, uint32_t off, void *dst,
                    uint32_t n);

/* Describe bytes [off, off + n) in out[]. Returns the pieces used, or -1 when
 * max are not enough or the frame is shorter. */
int frame_slice(const struct netio_frame *f, uint32_t off, uint32_t n,
                struct iovec *out, unsigned max);

/* Store n bytes at offset off. False when the frame is shorter. */
bool frame_store(struct netio_frame *f, uint32_t off, const void *src,
                 uint32_t n);

/* Internet checksum (RFC 1071): add bytes to a running sum. Each piece must
 * start at an even offset of the whole. */
uint64_t frame_sum(uint64_t sum, const void *p, size_t n);
/* The same over [off, off + n) of a frame, pieces of any length. */
uint64_t frame_sum_range(uint64_t sum, const struct netio_frame *f,
                         uint32_t off, uint32_t n);
/* Fold to 16 bits, host order, not complemented. */
uint16_t frame_fold(uint64_t sum);

/* Where the headers of a frame are. Offsets count from the Ethernet header. */
struct frame_layout {
    uint16_t type;    /* EtherType after VLAN tags */
    uint16_t l3;      /* network header */
    uint16_t l4;      /* transport header; 0 when there is none to be seen */
    uint16_t payload; /* first byte after the transport header; 0 unknown */
    uint8_t proto;    /* transport protocol, with l4 */
    bool fragment;    /* not the whole datagram (l4 only in the first piece) */
};

/* Find the headers in the first n bytes of a frame. False: too short or
 * inconsistent for even a network header (IP) to be read; EtherTypes other
 * than IP give l4 = 0 and true. */
bool frame_parse(const uint8_t *hdr, uint32_t n, struct frame_layout *out);
