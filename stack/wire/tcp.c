/* wire/tcp.c: see wire/tcp.h. */
#include "stack/wire/tcp.h"

#include <string.h>

#include "stack/be.h"

/* Option kinds (IANA "TCP Option Kind Numbers") */
enum {
    OPT_EOL = 0,
    OPT_NOP = 1,
    OPT_MSS = 2,
    OPT_WSCALE = 3,
    OPT_SACK_PERMITTED = 4,
    OPT_SACK = 5,
    OPT_TS = 8,
    OPT_FASTOPEN = 34,
    OPT_EXPERIMENT = 254, /* RFC 6994, with a 16-bit identifier */
};
#define FASTOPEN_ID 0xf989 /* RFC 7413 section 8 */

/* The fixed part as it lies on the wire (RFC 9293, figure 1). */
struct wire_tcp {
    be16 sport, dport;
    be32 seq, ack;
    uint8_t off_ae, flags;
    be16 wnd, csum, urg;
};
_Static_assert(sizeof(struct wire_tcp) == TCP_HDR_MIN, "no padding");

/* An unaligned big-endian word. */
static be32 be32_at(const uint8_t *p) {
    be32 v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Write and return where to go on. */
static uint8_t *put16(uint8_t *p, uint16_t v) {
    be16 w = be16_of(v);
    memcpy(p, &w, sizeof(w));
    return p + sizeof(w);
}

/* Write and return where to go on. */
static uint8_t *put32(uint8_t *p, uint32_t v) {
    be32 w = be32_of(v);
    memcpy(p, &w, sizeof(w));
    return p + sizeof(w);
}

/* SACK option body: whole blocks only (RFC 2018, section 3). */
static bool parse_sack(const uint8_t *p, unsigned len, struct tcp_opts *o) {
    if (len == 0 || len % 8 != 0)
        return false;
    o->n_sack = 0;
    for (; len && o->n_sack < TCP_SACK_MAX; len -= 8, p += 8) {
        struct tcp_sack *b = &o->sack[o->n_sack++];
        b->left = be32_get(be32_at(p));
        b->right = be32_get(be32_at(p + 4));
    }
    return true;
}

/* Fast Open: a cookie of 4 to 16 bytes, an even number, or none (RFC 7413
 * section 4.1.1). Anything else is as if it was not there. */
static bool parse_fastopen(const uint8_t *p, unsigned len, struct tcp_opts *o) {
    if (len && (len < 4 || len > sizeof(o->fo_cookie) || len % 2))
        return false;
    o->fo = true;
    o->fo_len = (uint8_t)len;
    memcpy(o->fo_cookie, p, len);
    return true;
}

/* One option; p points behind kind and length, len counts what is there.
 * False when the length does not fit the kind. */
static bool parse_option(unsigned kind, const uint8_t *p, unsigned len,
                         struct tcp_opts *o) {
    switch (kind) {
    case OPT_MSS:
        if (len != 2)
            return false;
        o->mss = (uint16_t)(p[0] << 8 | p[1]);
        return true;
    case OPT_WSCALE:
        if (len != 1)
            return false;
        o->has_wscale = true;
        o->wscale = p[0];
        return true;
    case OPT_SACK_PERMITTED:
        if (len != 0)
            return false;
        o->sack_permitted = true;
        return true;
    case OPT_SACK:
        return parse_sack(p, len, o);
    case OPT_TS:
        if (len != 8)
            return false;
        o->ts = true;
        o->tsval = be32_get(be32_at(p));
        o->tsecr = be32_get(be32_at(p + 4));
        return true;
    case OPT_FASTOPEN:
        parse_fastopen(p, len, o);
        return true;
    case OPT_EXPERIMENT:
        if (len < 2 || (p[0] << 8 | p[1]) != FASTOPEN_ID) {
            o->unknown = true;
            return true;
        }
        o->fo_exp = parse_fastopen(p + 2, len - 2, o);
        return true;
    default: /* RFC 9293 MUST-6: ignore without error */
        o->unknown = true;
        return true;
    }
}

/* Walk the option list. An impossible length ends it (RFC 9293 MUST-7). */
static void parse_opts(const uint8_t *p, unsigned len, struct tcp_opts *o) {
    /* RFC 7323 appendix A: what nearly every segment carries. */
    static const uint8_t aligned_ts[4] = {OPT_NOP, OPT_NOP, OPT_TS, 10};
    if (len == 12 && memcmp(p, aligned_ts, 4) == 0) {
        parse_option(OPT_TS, p + 4, 8, o);
        return;
    }
    while (len) {
        unsigned kind = p[0];
        if (kind == OPT_EOL)
            return;
        if (kind == OPT_NOP) {
            p++, len--;
            continue;
        }
        if (len < 2 || p[1] < 2 || p[1] > len ||
            !parse_option(kind, p + 2, p[1] - 2u, o)) {
            o->malformed = true;
            return;
        }
        len -= p[1];
        p += p[1];
    }
}

/* The data offset is believed only between 20 bytes and the segment's end
 * (RFC 9293 section 3.1). */
bool tcp_parse(const uint8_t *l4, uint32_t len, struct tcp_hdr *h,
               struct tcp_opts *o) {
    struct wire_tcp w;
    if (len < TCP_HDR_MIN)
        return false;
    memcpy(&w, l4, sizeof(w));
    unsigned hdr_len = (w.off_ae >> 4) * 4u;
    if (hdr_len < TCP_HDR_MIN || hdr_len > len)
        return false;
    h->sport = be16_get(w.sport);
    h->dport = be16_get(w.dport);
    h->seq = be32_get(w.seq);
    h->ack = be32_get(w.ack);
    h->flags = (uint16_t)((w.off_ae & 1) << 8 | w.flags);
    h->wnd = be16_get(w.wnd);
    h->csum = be16_get(w.csum);
    h->urg = be16_get(w.urg);
    h->hdr_len = (uint8_t)hdr_len;
    if (o) {
        memset(o, 0, sizeof(*o));
        parse_opts(l4 + TCP_HDR_MIN, hdr_len - TCP_HDR_MIN, o);
    }
    return true;
}

/* Bytes of all options but SACK blocks, padding included. A timestamp without
 * SACK-permitted, and each of the others, is padded to a multiple of 4. */
static unsigned fixed_opts_len(const struct tcp_opts *o) {
    unsigned n = 0;
    if (o->mss)
        n += 4;
    if (o->ts)
        n += 12;
    else if (o->sack_permitted)
        n += 4;
    if (o->has_wscale)
        n += 4;
    if (o->fo)
        n += ((o->fo_exp ? 4u : 2u) + o->fo_len + 3) & ~3u;
    return n;
}

/* How many SACK blocks find room (RFC 2018 section 3: 4, or 3 beside a
 * timestamp). */
static unsigned sack_fit(const struct tcp_opts *o) {
    unsigned used = fixed_opts_len(o);
    if (!o->n_sack || used + 12 > TCP_OPTS_MAX)
        return 0;
    unsigned fit = (TCP_OPTS_MAX - used - 4) / 8;
    return o->n_sack < fit ? o->n_sack : fit;
}

/* Must agree with emit_opts, byte by byte. */
unsigned tcp_opts_len(const struct tcp_opts *o) {
    unsigned n = sack_fit(o);
    return fixed_opts_len(o) + (n ? 4 + 8 * n : 0);
}

/* Timestamp and SACK-permitted; the latter takes the place of the padding in
 * front of the former, so that a SYN has room for everything. */
static uint8_t *emit_ts(uint8_t *p, const struct tcp_opts *o) {
    if (o->sack_permitted && !o->ts)
        *p++ = OPT_NOP, *p++ = OPT_NOP;
    if (o->sack_permitted)
        *p++ = OPT_SACK_PERMITTED, *p++ = 2;
    else if (o->ts)
        *p++ = OPT_NOP, *p++ = OPT_NOP;
    if (o->ts) {
        *p++ = OPT_TS, *p++ = 10;
        p = put32(p, o->tsval);
        p = put32(p, o->tsecr);
    }
    return p;
}

/* Fast Open, padded behind. */
static uint8_t *emit_fastopen(uint8_t *p, const struct tcp_opts *o) {
    unsigned n = (o->fo_exp ? 4u : 2u) + o->fo_len;
    *p++ = o->fo_exp ? OPT_EXPERIMENT : OPT_FASTOPEN;
    *p++ = (uint8_t)n;
    if (o->fo_exp)
        p = put16(p, FASTOPEN_ID);
    memcpy(p, o->fo_cookie, o->fo_len);
    p += o->fo_len;
    for (; n % 4; n++)
        *p++ = OPT_NOP;
    return p;
}

/* Options in the order most stacks use. Returns the end. */
static uint8_t *emit_opts(uint8_t *p, const struct tcp_opts *o) {
    unsigned n = sack_fit(o);
    if (o->mss) {
        *p++ = OPT_MSS, *p++ = 4;
        p = put16(p, o->mss);
    }
    p = emit_ts(p, o);
    if (o->has_wscale) {
        *p++ = OPT_NOP, *p++ = OPT_WSCALE, *p++ = 3;
        *p++ = o->wscale;
    }
    if (o->fo)
        p = emit_fastopen(p, o);
    if (n) {
        *p++ = OPT_NOP, *p++ = OPT_NOP, *p++ = OPT_SACK;
        *p++ = (uint8_t)(2 + 8 * n);
    }
    for (unsigned i = 0; i < n; i++) {
        p = put32(p, o->sack[i].left);
        p = put32(p, o->sack[i].right);
    }
    return p;
}

/* h->hdr_len is not looked at: the options decide it. */
unsigned tcp_emit(uint8_t *buf, const struct tcp_hdr *h,
                  const struct tcp_opts *o) {
    uint8_t *end = buf + TCP_HDR_MIN;
    if (o)
        end = emit_opts(end, o);
    unsigned hdr_len = (unsigned)(end - buf);
    struct wire_tcp w = {
        .sport = be16_of(h->sport),
        .dport = be16_of(h->dport),
        .seq = be32_of(h->seq),
        .ack = be32_of(h->ack),
        .off_ae = (uint8_t)(hdr_len / 4 << 4 | (h->flags >> 8 & 1)),
        .flags = (uint8_t)h->flags,
        .wnd = be16_of(h->wnd),
        .urg = be16_of(h->urg),
    };
    memcpy(buf, &w, sizeof(w));
    return hdr_len;
}

/* RFC 9293 section 3.1: over pseudo header, header and text. */
void tcp_set_csum(uint8_t *l4, uint16_t csum) {
    put16(l4 + TCP_CSUM_OFFSET, csum);
}

/* RFC 792 quotes 64 bits: ports and sequence number. The rest of h is zero. */
void tcp_parse_quote(const uint8_t *l4, struct tcp_hdr *h) {
    memset(h, 0, sizeof(*h));
    h->sport = (uint16_t)(l4[0] << 8 | l4[1]);
    h->dport = (uint16_t)(l4[2] << 8 | l4[3]);
    h->seq = be32_get(be32_at(l4 + 4));
}
