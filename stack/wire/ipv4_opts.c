/* wire/ipv4_opts.c: see wire/ipv4_opts.h. */
#include "stack/wire/ipv4_opts.h"

#include <string.h>

/* Option types with copy flag and class, RFC 791 section 3.1. */
enum { END = 0, NOP = 1, COPIED = 0x80, LSRR = 131, SSRR = 137 };
#define ROUTE_HDR 3 /* type, length, pointer */

static bool is_route(uint8_t type) { return type == LSRR || type == SSRR; }

/* Network order at p. */
static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}
static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Length of the option at p[at]; 0: it makes no sense. */
static unsigned opt_len(const uint8_t *p, unsigned at, unsigned len) {
    if (p[at] == END || p[at] == NOP)
        return 1;
    if (at + 1 >= len || p[at + 1] < 2 || at + p[at + 1] > len)
        return 0;
    return p[at + 1];
}

/* A source route nobody has gone yet, whole addresses, at least one. */
static bool fresh_route(const uint8_t *p, unsigned n) {
    return n >= ROUTE_HDR + 4 && (n - ROUTE_HDR) % 4 == 0 && p[2] == 4;
}

bool ipv4_opts_take(struct ipv4_opts *o, const uint8_t *p, unsigned len) {
    memset(o, 0, sizeof(*o));
    if (len > sizeof(o->data))
        return false;
    if (len) /* p may be NULL then */
        memcpy(o->data, p, len);
    o->len = (uint8_t)((len + 3) & ~3u);
    for (unsigned at = 0; at < len && p[at] != END;) {
        unsigned n = opt_len(p, at, len);
        if (!n)
            return false;
        if (is_route(p[at])) {
            if (o->hop || !fresh_route(p + at, n))
                return false;
            uint8_t *list = o->data + at + ROUTE_HDR;
            o->hop = get32(list);
            o->route_at = (uint8_t)at;
            memmove(list, list + 4, n - ROUTE_HDR - 4);
            memset(o->data + at + n - 4, 0, 4);
        }
        at += n;
    }
    return true;
}

unsigned ipv4_opts_show(const struct ipv4_opts *o, uint8_t *to) {
    memcpy(to, o->data, o->len);
    if (o->hop) {
        uint8_t *p = to + o->route_at, *list = p + ROUTE_HDR;
        memmove(list + 4, list, p[1] - ROUTE_HDR - 4u);
        put32(list, o->hop);
    }
    return o->len;
}

/* The list is what the packet came along, its last hop next to us. */
static void reverse(struct ipv4_opts *o, const uint8_t *route, unsigned n) {
    unsigned hops = (n - ROUTE_HDR) / 4;
    o->data[0] = NOP; /* so that addresses are aligned */
    o->data[1] = route[0];
    o->data[2] = (uint8_t)n;
    o->data[3] = 4;
    o->route_at = 1;
    o->len = (uint8_t)(1 + n);
    o->hop = get32(route + ROUTE_HDR + 4 * (hops - 1));
    for (unsigned i = 0; i + 1 < hops; i++)
        memcpy(o->data + 4 + 4 * i, route + ROUTE_HDR + 4 * (hops - 2 - i), 4);
}

bool ipv4_opts_return(struct ipv4_opts *o, const uint8_t *l3,
                      const struct ipv4_hdr *h) {
    memset(o, 0, sizeof(*o));
    for (unsigned at = IPV4_HDR_MIN; at < h->hdr_len && l3[at] != END;) {
        unsigned n = opt_len(l3, at, h->hdr_len);
        if (!n)
            return false;
        if (is_route(l3[at])) {
            bool done = n >= ROUTE_HDR + 4 && (n - ROUTE_HDR) % 4 == 0 &&
                        l3[at + 2] > n;
            if (done)
                reverse(o, l3 + at, n);
            return done;
        }
        at += n;
    }
    return false;
}

void ipv4_opts_copied(struct ipv4_opts *to, const struct ipv4_opts *from) {
    memset(to, 0, sizeof(*to));
    for (unsigned at = 0; at < from->len && from->data[at] != END;) {
        unsigned n = opt_len(from->data, at, from->len);
        if (!n)
            return;
        if (from->data[at] & COPIED) {
            if (from->hop && at == from->route_at) {
                to->hop = from->hop;
                to->route_at = to->len;
            }
            memcpy(to->data + to->len, from->data + at, n);
            to->len = (uint8_t)(to->len + n);
        }
        at += n;
    }
    to->len = (uint8_t)((to->len + 3) & ~3u);
}

void ipv4_emit_opts(uint8_t *buf, const struct ipv4_hdr *h,
                    const struct ipv4_opts *o) {
    struct ipv4_hdr first = *h;
    if (!o || !o->len) {
        ipv4_emit(buf, h);
        return;
    }
    if (o->hop)
        first.dst = o->hop;
    ipv4_emit(buf, &first);
    buf[0] = (uint8_t)(4 << 4 | (IPV4_HDR_MIN + o->len) / 4);
    memcpy(buf + IPV4_HDR_MIN, o->data, o->len);
    if (o->hop) {
        uint8_t *route = buf + IPV4_HDR_MIN + o->route_at;
        put32(route + route[1] - 4, h->dst);
    }
    ipv4_patch(buf, &first);
}
