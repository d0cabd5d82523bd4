/* wire/icmpv4.c: see wire/icmpv4.h. */
#include "stack/wire/icmpv4.h"

#include <string.h>

#include "stack/be.h"

/* The header as it lies on the wire. `rest` is the second word: identifier and
 * sequence number; or zero and MTU; or pointer, length (RFC 4884), zero. */
struct wire_icmp {
    uint8_t type, code;
    be16 csum;
    uint8_t rest[4];
};
_Static_assert(sizeof(struct wire_icmp) == ICMP_HDR_LEN, "no padding");

/* RFC 1122 section 3.2.2 tells errors from queries by this list. */
bool icmp_is_error(uint8_t type) {
    return type == ICMP_UNREACHABLE || type == ICMP_SOURCE_QUENCH ||
           type == ICMP_REDIRECT || type == ICMP_TIME_EXCEEDED ||
           type == ICMP_PARAM_PROBLEM;
}

/* Where the quote ends. RFC 4884 section 5: with a length (of 32-bit words, in
 * the second byte of the second word) the rest are extensions, not quote. */
static uint32_t quote_length(const struct wire_icmp *w, uint32_t len) {
    bool may_extend = w->type == ICMP_UNREACHABLE ||
                      w->type == ICMP_TIME_EXCEEDED ||
                      w->type == ICMP_PARAM_PROBLEM;
    uint32_t said = w->rest[1] * 4u;
    return may_extend && said && said < len ? said : len;
}

/* RFC 792. What the second word means depends on the type; fields that do not
 * apply stay zero. */
bool icmp_parse(const uint8_t *l4, uint32_t len, struct icmp_hdr *h) {
    struct wire_icmp w;
    if (len < ICMP_HDR_LEN)
        return false;
    memcpy(&w, l4, sizeof(w));
    memset(h, 0, sizeof(*h));
    h->type = w.type;
    h->code = w.code;
    h->data = l4 + ICMP_HDR_LEN;
    h->data_len = quote_length(&w, len - ICMP_HDR_LEN);
    if (w.type == ICMP_ECHO || w.type == ICMP_ECHO_REPLY) {
        h->id = (uint16_t)(w.rest[0] << 8 | w.rest[1]);
        h->seq = (uint16_t)(w.rest[2] << 8 | w.rest[3]);
    }
    if (w.type == ICMP_UNREACHABLE && w.code == ICMP_UNREACH_FRAG)
        h->mtu = (uint16_t)(w.rest[2] << 8 | w.rest[3]);
    if (w.type == ICMP_PARAM_PROBLEM)
        h->pointer = w.rest[0];
    if (w.type == ICMP_REDIRECT)
        h->gateway = (uint32_t)w.rest[0] << 24 | (uint32_t)w.rest[1] << 16 |
                     (uint32_t)w.rest[2] << 8 | w.rest[3];
    return true;
}

/* Errors are sent without extensions, so RFC 4884's length byte is zero. */
void icmp_emit(uint8_t *buf, const struct icmp_hdr *h) {
    struct wire_icmp w = {.type = h->type, .code = h->code};
    if (h->type == ICMP_ECHO || h->type == ICMP_ECHO_REPLY) {
        w.rest[0] = (uint8_t)(h->id >> 8), w.rest[1] = (uint8_t)h->id;
        w.rest[2] = (uint8_t)(h->seq >> 8), w.rest[3] = (uint8_t)h->seq;
    } else if (h->type == ICMP_UNREACHABLE) {
        w.rest[2] = (uint8_t)(h->mtu >> 8), w.rest[3] = (uint8_t)h->mtu;
    } else if (h->type == ICMP_PARAM_PROBLEM) {
        w.rest[0] = h->pointer;
    } else if (h->type == ICMP_REDIRECT) {
        for (int i = 0; i < 4; i++)
            w.rest[i] = (uint8_t)(h->gateway >> (24 - 8 * i));
    }
    memcpy(buf, &w, sizeof(w));
}

/* The sum covers header and data, with this field as zero. */
void icmp_set_csum(uint8_t *buf, uint16_t csum) {
    be16 w = be16_of(csum);
    memcpy(buf + 2, &w, sizeof(w));
}
