/* ether.c: Ethernet in and out (RFC 894, RFC 1122 section 2.3).
 *
 * In: frames for our MAC or for everybody; the rest is somebody else's (a
 * packet socket on a veth sees foreign unicast frames too). Padding is left to
 * IP, whose own length wins. Frames of IEEE 802.3 and unknown types are
 * dropped silently, as RFC 1122 section 2.3.3 allows.
 *
 * Out: the header in front of what IP or ARP built, and the facts for the
 * device that count from it.
 */
#include "stack/ip.h"

#include <string.h>

#include "stack/arp.h"
#include "stack/shared.h"
#include "stack/wire/ethernet.h"

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* Is the frame for us? Counts it when it is not. No multicast group is ever
 * joined, so group addresses other than broadcast are nobody's here. */
static bool accept_addresses(struct stack *st, const struct eth_hdr *eh) {
    if (eth_is_group(eh->src)) {
        COUNT(st, drop_eth_source);
        return false;
    }
    if (memcmp(eh->dst, st->sh->mac, 6) == 0 ||
        memcmp(eh->dst, everybody, 6) == 0)
        return true;
    if (eth_is_group(eh->dst))
        COUNT(st, drop_eth_multicast);
    else
        COUNT(st, drop_eth_addr);
    return false;
}

/* One frame from the interface. Nothing of it is kept after the return: what
 * lives longer was copied. meta tells whether the transport checksum was
 * verified, or never completed because the sender sits on this machine
 * (virtio 1.2 section 5.1.6.4): both mean that it need not be looked at. */
void ether_input(struct stack *st, const uint8_t *frame, uint32_t len,
                 const struct netio_meta *meta) {
    struct eth_hdr eh;
    if (!eth_parse(frame, len, &eh)) {
        COUNT(st, drop_eth_short);
        return;
    }
    if (!accept_addresses(st, &eh))
        return;
    struct rxpkt rx = {
        .frame = frame,
        .frame_len = len,
        .l3 = frame + ETH_HDR_LEN,
        .l3_len = len - ETH_HDR_LEN,
        .meta = *meta,
        .csum_ok = meta->flags & (NETIO_CSUM_PARTIAL | NETIO_CSUM_VALID),
        .multicast = eth_is_group(eh.dst),
        .split = st->split.len ? &st->split : NULL,
    };
    switch (eh.type) {
    case ETH_TYPE_IPV4:
        ip_input(st, &rx);
        return;
    case ETH_TYPE_ARP:
        arp_input(st, &rx);
        return;
    default:
        COUNT(st, drop_eth_type);
    }
}

/* p starts with the network header and is committed here. meta.csum_start came
 * relative to that header (ip.c) and leaves relative to the frame, as the
 * device wants it; hdr_len is what it must repeat on each piece of a
 * superframe. Short frames are padded by the device (IEEE 802.3, 4A.2.3.3). */
void ether_output(struct stack *st, struct pkt *p, const uint8_t dst[6],
                  uint16_t type) {
    struct eth_hdr eh = {.type = type};
    memcpy(eh.dst, dst, 6);
    memcpy(eh.src, st->sh->mac, 6);
    eth_emit(pkt_push(p, ETH_HDR_LEN), &eh);
    if (p->meta.flags & NETIO_CSUM_PARTIAL)
        p->meta.csum_start = (uint16_t)(p->meta.csum_start + ETH_HDR_LEN);
    p->meta.hdr_len = (uint16_t)pkt_hdr_len(p);
    tx_commit(st, p);
}
