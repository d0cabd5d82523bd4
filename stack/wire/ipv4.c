/* wire/ipv4.c: see wire/ipv4.h. */
#include "stack/wire/ipv4.h"

#include <string.h>

#include "stack/be.h"
#include "stack/checksum.h"

/* The fixed part as it lies on the wire (RFC 791, figure 4). */
struct wire_ipv4 {
    uint8_t ver_ihl, tos;
    be16 total_len, id, frag;
    uint8_t ttl, proto;
    be16 csum;
    be32 src, dst;
};
_Static_assert(sizeof(struct wire_ipv4) == IPV4_HDR_MIN, "no padding");

#define FRAG_DF 0x4000u
#define FRAG_MF 0x2000u
#define FRAG_OFFSET 0x1fffu /* units of 8 bytes */

/* Fields that need no check against the length. */
static void decode(const struct wire_ipv4 *w, struct ipv4_hdr *h) {
    uint16_t frag = be16_get(w->frag);
    h->hdr_len = (uint8_t)((w->ver_ihl & 15) * 4);
    h->tos = w->tos;
    h->total_len = be16_get(w->total_len);
    h->id = be16_get(w->id);
    h->df = frag & FRAG_DF;
    h->mf = frag & FRAG_MF;
    h->frag_off = (uint16_t)((frag & FRAG_OFFSET) * 8);
    h->ttl = w->ttl;
    h->proto = w->proto;
    h->src = be32_get(w->src);
    h->dst = be32_get(w->dst);
}

enum ipv4_bad ipv4_parse(const uint8_t *l3, uint32_t len, bool big,
                         struct ipv4_hdr *h) {
    struct wire_ipv4 w;
    if (len < IPV4_HDR_MIN)
        return IPV4_BAD_SHORT;
    memcpy(&w, l3, sizeof(w));
    if (w.ver_ihl >> 4 != 4)
        return IPV4_BAD_VERSION;
    decode(&w, h);
    if (big && h->total_len == 0)
        h->total_len = len;
    if (h->hdr_len < IPV4_HDR_MIN || h->total_len < h->hdr_len ||
        h->total_len > len)
        return IPV4_BAD_LENGTH;
    h->payload = l3 + h->hdr_len;
    h->payload_len = h->total_len - h->hdr_len;
    /* A sum that includes its own complement folds to all ones. */
    if (csum_fold(csum_add(0, l3, h->hdr_len)) != 0xffff)
        return IPV4_BAD_CSUM;
    return IPV4_OK;
}

/* RFC 1122 section 3.2.2: at least header and 8 bytes, but that is the caller's
 * to check against payload_len. */
bool ipv4_parse_quote(const uint8_t *l3, uint32_t len, struct ipv4_hdr *h) {
    struct wire_ipv4 w;
    if (len < IPV4_HDR_MIN)
        return false;
    memcpy(&w, l3, sizeof(w));
    if (w.ver_ihl >> 4 != 4)
        return false;
    decode(&w, h);
    if (h->hdr_len < IPV4_HDR_MIN || h->hdr_len > len)
        return false;
    h->payload = l3 + h->hdr_len;
    h->payload_len = len - h->hdr_len;
    return true;
}

/* RFC 791 section 3.1: one-byte options, and type-length-value for the rest.
 * What follows "end of list" is padding. */
unsigned ipv4_check_options(const uint8_t *l3, const struct ipv4_hdr *h,
                            bool *source_route) {
    /* Option types with copy flag and class, RFC 791 section 3.1 */
    enum { END = 0, NOP = 1, LSRR = 131, SSRR = 137 };
    *source_route = false;
    for (unsigned at = IPV4_HDR_MIN; at < h->hdr_len;) {
        unsigned type = l3[at];
        if (type == END)
            return 0;
        if (type == NOP) {
            at++;
            continue;
        }
        if (at + 1 >= h->hdr_len)
            return at;
        unsigned len = l3[at + 1];
        if (len < 2 || at + len > h->hdr_len)
            return at + 1;
        if (type == LSRR || type == SSRR)
            *source_route = true;
        at += len;
    }
    return 0;
}

/* The variable fields are ipv4_patch's. */
void ipv4_emit(uint8_t *buf, const struct ipv4_hdr *h) {
    struct wire_ipv4 w = {
        .ver_ihl = 4 << 4 | IPV4_HDR_MIN / 4,
        .tos = h->tos,
        .id = be16_of(h->id),
        .ttl = h->ttl,
        .proto = h->proto,
        .src = be32_of(h->src),
        .dst = be32_of(h->dst),
    };
    memcpy(buf, &w, sizeof(w));
    ipv4_patch(buf, h);
}

/* Works on headers with options too: the sum covers what the length field of
 * the header itself says. */
void ipv4_patch(uint8_t *l3, const struct ipv4_hdr *h) {
    struct wire_ipv4 w;
    unsigned frag =
        (h->df ? FRAG_DF : 0) | (h->mf ? FRAG_MF : 0) | h->frag_off / 8u;
    memcpy(&w, l3, sizeof(w));
    w.total_len = be16_of(h->total_len > IPV4_MAX ? 0 : (uint16_t)h->total_len);
    w.tos = h->tos;
    w.frag = be16_of((uint16_t)frag);
    w.csum = be16_of(0);
    memcpy(l3, &w, sizeof(w));
    w.csum = be16_of(csum_finish(csum_add(0, l3, (w.ver_ihl & 15) * 4u)));
    memcpy(l3, &w, sizeof(w));
}
