/* wire/ethernet.c: see wire/ethernet.h. */
#include "stack/wire/ethernet.h"

#include <string.h>

/* RFC 894: destination, source, type; no trailer is looked at. */
bool eth_parse(const uint8_t *frame, uint32_t len, struct eth_hdr *h) {
    if (len < ETH_HDR_LEN)
        return false;
    memcpy(h->dst, frame, 6);
    memcpy(h->src, frame + 6, 6);
    h->type = (uint16_t)(frame[12] << 8 | frame[13]);
    return true;
}

/* buf has room for ETH_HDR_LEN bytes. */
void eth_emit(uint8_t *buf, const struct eth_hdr *h) {
    memcpy(buf, h->dst, 6);
    memcpy(buf + 6, h->src, 6);
    buf[12] = (uint8_t)(h->type >> 8);
    buf[13] = (uint8_t)h->type;
}
