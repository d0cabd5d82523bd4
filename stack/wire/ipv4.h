/* wire/ipv4.h: the IPv4 header and its options (RFC 791 section 3.1). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define IPV4_HDR_MIN 20
#define IPV4_HDR_MAX 60
#define IPV4_MAX 65535 /* bytes of a datagram, header included */

#define IP_PROTO_ICMP 1
#define IP_PROTO_TCP 6
#define IP_PROTO_UDP 17

struct ipv4_hdr {
    uint8_t hdr_len;    /* bytes, 20..60 */
    uint8_t tos;        /* DSCP and ECN (RFC 2474, RFC 3168) */
    uint32_t total_len; /* bytes; beyond 65535 only for superframes */
    uint16_t id;
    bool df, mf;
    uint16_t frag_off; /* bytes */
    uint8_t ttl, proto;
    uint32_t src, dst; /* host order */
    /* parse only: what follows the header, and how much is there of it */
    const uint8_t *payload;
    uint32_t payload_len;
};

enum ipv4_bad {
    IPV4_OK,
    IPV4_BAD_SHORT,   /* less than a header */
    IPV4_BAD_VERSION, /* not 4 */
    IPV4_BAD_LENGTH,  /* header or total length impossible or cut off */
    IPV4_BAD_CSUM,
};

/* l3, len: the datagram and whatever padding follows. big: a superframe, whose
 * total length may be 0 for "as long as the frame". */
enum ipv4_bad ipv4_parse(const uint8_t *l3, uint32_t len, bool big,
                         struct ipv4_hdr *h);

/* The header of one of our datagrams as an ICMP error quotes it: total_len is
 * not compared with len (the quote is cut off) and the checksum is not looked
 * at (routers have been seen to quote it in host order). False: truncated. */
bool ipv4_parse_quote(const uint8_t *l3, uint32_t len, struct ipv4_hdr *h);

/* Walk the options of a parsed header. 0: fine. Else the offset of the byte
 * that makes no sense, for an ICMP parameter problem (RFC 1122, 3.2.1.8).
 * *source_route: a source route option is among them. */
unsigned ipv4_check_options(const uint8_t *l3, const struct ipv4_hdr *h,
                            bool *source_route);

/* Write a 20-byte header with checksum; hdr_len is ignored. total_len beyond
 * 65535 is written as 0 (superframes). */
void ipv4_emit(uint8_t *buf, const struct ipv4_hdr *h);

/* Rewrite total length, fragment fields and checksum of a header with options
 * that has been copied (reassembly). */
void ipv4_patch(uint8_t *l3, const struct ipv4_hdr *h);
