/* netio_build.h: frames for the tests of netio, built by hand and checked by
 * code that shares nothing with the code under test. */
#pragma once
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "netio/netio.h"

#define ETH 14u

static const uint8_t MAC_A[6] = {0x02, 0, 0, 0, 0, 0x0a};
static const uint8_t MAC_B[6] = {0x02, 0, 0, 0, 0, 0x0b};

/* A frame in one piece of memory. */
struct flat {
    struct netio_meta meta;
    uint32_t len;
    uint8_t b[70000];
};

static inline unsigned rd16(const uint8_t *p) { return p[0] << 8 | p[1]; }
static inline uint32_t rd32(const uint8_t *p) {
    return (uint32_t)rd16(p) << 16 | rd16(p + 2);
}
static inline void wr16(uint8_t *p, unsigned v) { p[0] = v >> 8, p[1] = v; }
static inline void wr32(uint8_t *p, uint32_t v) {
    wr16(p, v >> 16), wr16(p + 2, v & 0xffff);
}

/* RFC 1071, byte by byte. */
static inline unsigned plain_sum(const uint8_t *p, uint32_t n, uint32_t s) {
    for (uint32_t i = 0; i < n; i++)
        s += i & 1 ? p[i] : (uint32_t)p[i] << 8, s = (s & 0xffff) + (s >> 16);
    return s;
}

/* Sum of pseudo header and transport part; 0xffff when it is right. */
static inline unsigned l4_sum(const struct flat *f) {
    const uint8_t *ip = f->b + ETH;
    bool v6 = ip[0] >> 4 == 6;
    uint32_t h = v6 ? 40 : (ip[0] & 15u) * 4;
    uint32_t len = (v6 ? rd16(ip + 4) + 40 : rd16(ip + 2)) - h;
    uint32_t s = (v6 ? ip[6] : ip[9]) + len;
    s = plain_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, s);
    return plain_sum(ip + h, len, s);
}

static inline bool ip_sum_ok(const struct flat *f) {
    return plain_sum(f->b + ETH, (f->b[ETH] & 15u) * 4, 0) == 0xffff;
}

/* Fill n bytes with a pattern that depends on the position. */
static inline void pattern(uint8_t *p, uint32_t n, uint32_t from) {
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)((from + i) * 131 + ((from + i) >> 8) * 17);
}

/* Ethernet and IPv4 or IPv6 header for `len` transport bytes. */
static inline void build_ip(struct flat *f, int family, uint8_t proto,
                            uint32_t len) {
    uint8_t *ip = f->b + ETH;
    memset(f->b, 0, ETH + 40);
    f->meta = (struct netio_meta){0};
    memcpy(f->b, MAC_B, 6);
    memcpy(f->b + 6, MAC_A, 6);
    if (family == 4) {
        static const uint8_t src[4] = {198, 18, 0, 2}, dst[4] = {198, 18, 0, 1};
        wr16(f->b + 12, 0x0800);
        ip[0] = 0x45;
        wr16(ip + 2, 20 + len);
        wr16(ip + 4, 0xfffe); /* so that IDs of a train wrap */
        wr16(ip + 6, 0x4000);
        ip[8] = 64, ip[9] = proto;
        memcpy(ip + 12, src, 4), memcpy(ip + 16, dst, 4);
        wr16(ip + 10, ~plain_sum(ip, 20, 0) & 0xffff);
        f->len = ETH + 20 + len;
    } else {
        wr16(f->b + 12, 0x86dd);
        ip[0] = 0x60;
        wr16(ip + 4, len);
        ip[6] = proto, ip[7] = 64;
        wr32(ip + 8, 0x20010db8), wr32(ip + 24, 0x20010db8);
        ip[23] = 2, ip[39] = 1;
        f->len = ETH + 40 + len;
    }
}

/* TCP segment with a timestamp option: 32 bytes of header. The checksum is
 * complete when it fits, else (or if partial) left to the device. */
static inline void build_tcp(struct flat *f, int family, uint32_t seq,
                             uint8_t flags, uint32_t payload, bool partial) {
    uint32_t h = ETH + (family == 4 ? 20 : 40);
    build_ip(f, family, 6, 32 + payload);
    uint8_t *th = f->b + h;
    memset(th, 0, 32);
    wr16(th, 40000), wr16(th + 2, 80), wr32(th + 4, seq), wr32(th + 8, 77);
    th[12] = 0x80, th[13] = flags;
    wr16(th + 14, 500);
    th[20] = 1, th[21] = 1, th[22] = 8, th[23] = 10;
    wr32(th + 24, 1000), wr32(th + 28, 2000);
    pattern(th + 32, payload, 0);
    if (partial) {
        uint32_t s = 6 + 32 + payload;
        s = (s & 0xffff) + (s >> 16);
        s = plain_sum(f->b + ETH + (family == 4 ? 12 : 8), family == 4 ? 8 : 32,
                      s);
        wr16(th + 16, s);
        f->meta.flags = NETIO_CSUM_PARTIAL;
        f->meta.csum_start = (uint16_t)h;
        f->meta.csum_offset = 16;
    } else {
        wr16(th + 16, ~l4_sum(f) & 0xffff);
    }
}

/* UDP datagram. */
static inline void build_udp(struct flat *f, int family, uint32_t payload,
                             bool partial) {
    uint32_t h = ETH + (family == 4 ? 20 : 40);
    build_ip(f, family, 17, 8 + payload);
    uint8_t *uh = f->b + h;
    wr16(uh, 5000), wr16(uh + 2, 53), wr16(uh + 4, 8 + payload);
    wr16(uh + 6, 0);
    pattern(uh + 8, payload, 0);
    unsigned s = l4_sum(f);
    if (partial) {
        s = plain_sum(f->b + ETH + (family == 4 ? 12 : 8), family == 4 ? 8 : 32,
                      17 + 8 + payload);
        wr16(uh + 6, s);
        f->meta.flags = NETIO_CSUM_PARTIAL;
        f->meta.csum_start = (uint16_t)h;
        f->meta.csum_offset = 6;
    } else {
        wr16(uh + 6, s == 0xffff ? 0xffff : ~s & 0xffff);
    }
}

/* ARP request (op 1) or reply (op 2); addresses in host order. */
static inline void build_arp(struct flat *f, int op, uint32_t sender,
                             uint32_t target) {
    uint8_t *p = f->b + ETH;
    memset(f->b, 0, 60);
    f->meta = (struct netio_meta){0};
    memset(f->b, 0xff, 6);
    memcpy(f->b + 6, MAC_A, 6);
    wr16(f->b + 12, 0x0806);
    wr16(p, 1), wr16(p + 2, 0x0800), p[4] = 6, p[5] = 4, wr16(p + 6, op);
    memcpy(p + 8, MAC_A, 6), wr32(p + 14, sender), wr32(p + 24, target);
    f->len = 42;
}

/* The frame as a gather list of `pieces` about equal pieces. */
static inline struct netio_frame scatter(const struct flat *f,
                                         struct iovec *iov, uint32_t pieces) {
    uint32_t at = 0, step = f->len / pieces;
    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t n = i + 1 == pieces ? f->len - at : step;
        iov[i] = (struct iovec){(void *)(f->b + at), n};
        at += n;
    }
    return (struct netio_frame){f->meta, f->len, pieces, iov};
}

/* Copy a gather list out; its pieces must be exactly its length. */
static inline void gather(struct flat *out, const struct netio_frame *f) {
    out->meta = f->meta;
    out->len = 0;
    for (uint32_t i = 0; i < f->niov; i++) {
        memcpy(out->b + out->len, f->iov[i].iov_base, f->iov[i].iov_len);
        out->len += (uint32_t)f->iov[i].iov_len;
    }
    cr_assert_eq(out->len, f->len);
}

/* Send one frame; receive one into f. */
static inline int tx_flat(struct netio *io, const struct flat *f,
                          nstime_t now) {
    struct iovec iov[1];
    struct netio_frame fr = scatter(f, iov, 1);
    return netio_tx(io, &fr, 1, now);
}
static inline int rx_flat(struct netio *io, struct flat *f, nstime_t now) {
    struct iovec iov = {f->b, sizeof(f->b)};
    struct netio_frame fr = {.niov = 1, .iov = &iov};
    int r = netio_rx(io, &fr, now);
    f->meta = fr.meta;
    f->len = fr.len;
    return r;
}
