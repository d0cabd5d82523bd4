/* wire/ethernet.h: Ethernet II framing (RFC 894, IEEE 802.3). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define ETH_HDR_LEN 14
#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_ARP 0x0806
#define ETH_TYPE_IPV6 0x86dd
/* Values below are lengths of IEEE 802.3 frames (RFC 894, RFC 1042). */
#define ETH_TYPE_MIN 0x0600

struct eth_hdr {
    uint8_t dst[6], src[6];
    uint16_t type;
};

/* False when the frame is shorter than the header. */
bool eth_parse(const uint8_t *frame, uint32_t len, struct eth_hdr *h);
/* Writes ETH_HDR_LEN bytes. */
void eth_emit(uint8_t *buf, const struct eth_hdr *h);

/* Group bit: broadcast or multicast (IEEE 802.3, 3.2.3). */
static inline bool eth_is_group(const uint8_t mac[6]) { return mac[0] & 1; }
