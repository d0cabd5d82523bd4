/* wire/icmpv4.h: ICMP messages (RFC 792, RFC 1191, RFC 4884). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define ICMP_HDR_LEN 8

enum icmp_type {
    ICMP_ECHO_REPLY = 0,
    ICMP_UNREACHABLE = 3,
    ICMP_SOURCE_QUENCH = 4,
    ICMP_REDIRECT = 5,
    ICMP_ECHO = 8,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAM_PROBLEM = 12,
};

/* Codes of ICMP_UNREACHABLE that are used by name */
enum {
    ICMP_UNREACH_NET = 0,
    ICMP_UNREACH_HOST = 1,
    ICMP_UNREACH_PROTO = 2,
    ICMP_UNREACH_PORT = 3,
    ICMP_UNREACH_FRAG = 4,
    ICMP_UNREACH_SRCROUTE = 5,
    ICMP_UNREACH_CODES = 16,
};
#define ICMP_REDIRECT_CODES                                                    \
    3 /* net, host, and both for a TOS: all for a host */
/* Codes of ICMP_TIME_EXCEEDED */
enum { ICMP_TIME_TTL = 0, ICMP_TIME_REASSEMBLY = 1 };

struct icmp_hdr {
    uint8_t type, code;
    /* The second word, by type; all are zero where they do not apply. */
    uint16_t id, seq; /* echo and its reply */
    uint16_t mtu;     /* unreachable, fragmentation needed (RFC 1191, 4) */
    uint32_t gateway; /* redirect (RFC 792), host order */
    uint8_t pointer;  /* parameter problem */
    /* Parse only: what follows the header. Errors: the quoted datagram,
     * without the extensions of RFC 4884. */
    const uint8_t *data;
    uint32_t data_len;
};

/* True for the types that report an error and quote the datagram. */
bool icmp_is_error(uint8_t type);
/* l4, len: the whole message. False when it is shorter than its header. The
 * checksum is the caller's business. */
bool icmp_parse(const uint8_t *l4, uint32_t len, struct icmp_hdr *h);
/* Writes ICMP_HDR_LEN bytes, checksum zero. */
void icmp_emit(uint8_t *buf, const struct icmp_hdr *h);
/* Fill the checksum field of an emitted header; csum in host order. */
void icmp_set_csum(uint8_t *buf, uint16_t csum);
