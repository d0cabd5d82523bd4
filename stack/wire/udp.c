/* wire/udp.c: see wire/udp.h. */
#include "stack/wire/udp.h"

#include <string.h>

#include "stack/be.h"

struct wire_udp {
    be16 sport, dport, len, csum;
};
_Static_assert(sizeof(struct wire_udp) == UDP_HDR_LEN, "no padding");

/* RFC 792 quotes 64 bits, which is the whole header. The length field is not
 * compared with anything: a quote is cut off. */
void udp_parse_quote(const uint8_t *l4, uint32_t len, struct udp_hdr *h) {
    struct wire_udp w;
    memcpy(&w, l4, sizeof(w));
    h->sport = be16_get(w.sport);
    h->dport = be16_get(w.dport);
    h->len = be16_get(w.len);
    h->csum = be16_get(w.csum);
    h->data = l4 + UDP_HDR_LEN;
    h->data_len = len - UDP_HDR_LEN;
}

/* RFC 768: the length covers header and data; IP may carry more, which is not
 * ours to look at. */
bool udp_parse(const uint8_t *l4, uint32_t len, bool big, struct udp_hdr *h) {
    if (len < UDP_HDR_LEN)
        return false;
    udp_parse_quote(l4, len, h);
    if (big)
        h->len = len;
    if (h->len < UDP_HDR_LEN || h->len > len)
        return false;
    h->data_len = h->len - UDP_HDR_LEN;
    return true;
}

/* h->len beyond 65,535 (superframes) keeps its low 16 bits; nobody reads it. */
void udp_emit(uint8_t *buf, const struct udp_hdr *h) {
    struct wire_udp w = {
        .sport = be16_of(h->sport),
        .dport = be16_of(h->dport),
        .len = be16_of((uint16_t)h->len),
        .csum = be16_of(h->csum),
    };
    memcpy(buf, &w, sizeof(w));
}

/* RFC 768: all ones and zero are the same number in this arithmetic. */
void udp_set_csum(uint8_t *buf, uint16_t csum) {
    be16 w = be16_of(csum ? csum : 0xffff);
    memcpy(buf + UDP_CSUM_OFFSET, &w, sizeof(w));
}
