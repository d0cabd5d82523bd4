/* wire/arp.h: ARP for IPv4 over Ethernet (RFC 826). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define ARP_PKT_LEN 28
#define ARP_REQUEST 1
#define ARP_REPLY 2

struct arp_pkt {
    uint16_t op; /* ARP_REQUEST, ARP_REPLY or what was sent */
    uint8_t sender_mac[6];
    uint32_t sender_ip; /* host order, like target_ip */
    uint8_t target_mac[6];
    uint32_t target_ip;
};

/* False: too short, or not IPv4 over Ethernet. Trailing padding is fine. */
bool arp_parse(const uint8_t *p, uint32_t len, struct arp_pkt *a);
/* Writes ARP_PKT_LEN bytes. */
void arp_emit(uint8_t *buf, const struct arp_pkt *a);
