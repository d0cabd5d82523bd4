/* wire/arp.c: see wire/arp.h. */
#include "stack/wire/arp.h"

#include <string.h>

#include "stack/be.h"

/* The packet as it lies on the wire (RFC 826, "Packet format"), for hardware
 * addresses of 6 bytes and protocol addresses of 4. */
struct wire_arp {
    be16 hardware, protocol;
    uint8_t hardware_len, protocol_len;
    be16 op;
    uint8_t sender_mac[6];
    be32 sender_ip;
    uint8_t target_mac[6];
    be32 target_ip;
};
_Static_assert(sizeof(struct wire_arp) == ARP_PKT_LEN, "no padding");

#define ARP_HARDWARE_ETHERNET 1
#define ARP_PROTOCOL_IPV4 0x0800

/* RFC 826, "Packet Reception": hardware type, protocol and both lengths must be
 * ours before anything else is believed. */
bool arp_parse(const uint8_t *p, uint32_t len, struct arp_pkt *a) {
    struct wire_arp w;
    if (len < ARP_PKT_LEN)
        return false;
    memcpy(&w, p, sizeof(w));
    if (be16_get(w.hardware) != ARP_HARDWARE_ETHERNET ||
        be16_get(w.protocol) != ARP_PROTOCOL_IPV4 || w.hardware_len != 6 ||
        w.protocol_len != 4)
        return false;
    a->op = be16_get(w.op);
    memcpy(a->sender_mac, w.sender_mac, 6);
    a->sender_ip = be32_get(w.sender_ip);
    memcpy(a->target_mac, w.target_mac, 6);
    a->target_ip = be32_get(w.target_ip);
    return true;
}

/* The fixed fields are those of IPv4 over Ethernet. */
void arp_emit(uint8_t *buf, const struct arp_pkt *a) {
    struct wire_arp w = {
        .hardware = be16_of(ARP_HARDWARE_ETHERNET),
        .protocol = be16_of(ARP_PROTOCOL_IPV4),
        .hardware_len = 6,
        .protocol_len = 4,
        .op = be16_of(a->op),
        .sender_ip = be32_of(a->sender_ip),
        .target_ip = be32_of(a->target_ip),
    };
    memcpy(w.sender_mac, a->sender_mac, 6);
    memcpy(w.target_mac, a->target_mac, 6);
    memcpy(buf, &w, sizeof(w));
}
