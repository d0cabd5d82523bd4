/* addr.h: addresses of either family, and endpoints.
 *
 * One type for both families from the first day: 16 bytes, IPv4 as an
 * IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2). All zero is "any" for
 * both families; `endpoint` and sockets say which family was meant where that
 * matters.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct ip_addr {
    uint8_t b[16];
};

struct endpoint {
    struct ip_addr ip;
    uint16_t port; /* host order */
    uint32_t scope;
};

static const struct ip_addr IP_ANY = {{0}};

static inline bool ip_equal(const struct ip_addr *a, const struct ip_addr *b) {
    return memcmp(a, b, sizeof(*a)) == 0;
}

static inline bool ip_is_any(const struct ip_addr *a) {
    return ip_equal(a, &IP_ANY);
}

static inline bool ip_is_v4(const struct ip_addr *a) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(a->b, mapped, 12) == 0;
}

/* v: host order. 0.0.0.0 becomes IP_ANY, so that "any" has one form. */
static inline struct ip_addr ip_from_v4(uint32_t v) {
    struct ip_addr a = {{0}};
    if (v == 0)
        return a;
    a.b[10] = a.b[11] = 0xff;
    a.b[12] = v >> 24, a.b[13] = v >> 16, a.b[14] = v >> 8, a.b[15] = v;
    return a;
}

/* Host order; 0 for IP_ANY. Only for IPv4-mapped addresses. */
static inline uint32_t ip_to_v4(const struct ip_addr *a) {
    return (uint32_t)a->b[12] << 24 | (uint32_t)a->b[13] << 16 |
           (uint32_t)a->b[14] << 8 | a->b[15];
}

/* 127/8 or ::1 */
static inline bool ip_is_loopback(const struct ip_addr *a) {
    static const struct ip_addr one = {{[15] = 1}};
    return ip_is_v4(a) ? a->b[12] == 127 : ip_equal(a, &one);
}

static inline bool ip_is_multicast(const struct ip_addr *a) {
    return ip_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

/* 255.255.255.255; a subnet's own broadcast needs the route to tell. */
static inline bool ip_is_limited_broadcast(const struct ip_addr *a) {
    return ip_is_v4(a) && ip_to_v4(a) == 0xffffffffu;
}
