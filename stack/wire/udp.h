/* wire/udp.h: the UDP header (RFC 768). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define UDP_HDR_LEN 8
#define UDP_CSUM_OFFSET 6 /* of the checksum field in the header */
/* The largest payload one IPv4 datagram can carry: 65535 - 20 - 8 */
#define UDP_PAYLOAD_MAX 65507

struct udp_hdr {
    uint16_t sport, dport;
    uint32_t len;  /* header and payload */
    uint16_t csum; /* parse: 0 means the sender made none */
    /* parse only: the payload, as much of it as is there */
    const uint8_t *data;
    uint32_t data_len;
};

/* l4, len: what IP delivered. False: truncated, or a length field below 8 or
 * beyond the end. big: a superframe, whose length field is not looked at. */
bool udp_parse(const uint8_t *l4, uint32_t len, bool big, struct udp_hdr *h);
/* Writes UDP_HDR_LEN bytes, with h->csum as it is. */
void udp_emit(uint8_t *buf, const struct udp_hdr *h);
/* As an ICMP error quotes it: at least 8 bytes (checked by the caller), the
 * payload usually cut off. */
void udp_parse_quote(const uint8_t *l4, uint32_t len, struct udp_hdr *h);
/* Fill the checksum field of an emitted header; csum in host order. A sum of
 * zero must be sent as all ones (RFC 768): done here. */
void udp_set_csum(uint8_t *buf, uint16_t csum);
