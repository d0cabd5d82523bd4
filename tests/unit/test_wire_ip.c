/* wire/ethernet, wire/arp, wire/ipv4, wire/icmpv4, wire/udp: golden bytes,
 * truncation at every length, round trips. */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/wire/arp.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/udp.h"

/* ---- Ethernet --------------------------------------------------------- */

Test(wire_ethernet, golden) {
    static const uint8_t f[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 6};
    struct eth_hdr h;
    uint8_t out[14];
    for (uint32_t n = 0; n < 14; n++)
        cr_assert_not(eth_parse(f, n, &h));
    cr_assert(eth_parse(f, 14, &h));
    cr_assert_eq(h.type, ETH_TYPE_ARP);
    cr_assert_arr_eq(h.dst, f, 6);
    cr_assert_arr_eq(h.src, f + 6, 6);
    eth_emit(out, &h);
    cr_assert_arr_eq(out, f, 14);
    cr_assert(eth_is_group(h.dst) && eth_is_group(h.src));
    h.dst[0] = 2;
    cr_assert_not(eth_is_group(h.dst));
}

/* ---- ARP -------------------------------------------------------------- */

static const uint8_t request[28] = {
    0, 1, 8, 0, 6, 4, 0,   1,        /* Ethernet, IPv4, request */
    2, 0, 0, 0, 0, 9, 198, 18, 0, 9, /* sender */
    0, 0, 0, 0, 0, 0, 198, 18, 0, 1, /* target */
};

Test(wire_arp, golden) {
    struct arp_pkt a;
    uint8_t out[28];
    for (uint32_t n = 0; n < 28; n++)
        cr_assert_not(arp_parse(request, n, &a));
    cr_assert(arp_parse(request, 28, &a));
    cr_assert_eq(a.op, ARP_REQUEST);
    cr_assert_eq(a.sender_ip, 0xc6120009);
    cr_assert_eq(a.target_ip, 0xc6120001);
    cr_assert_arr_eq(a.sender_mac, request + 8, 6);
    arp_emit(out, &a);
    cr_assert_arr_eq(out, request, 28);
}

/* Other hardware, protocols and address lengths are not ours to read. */
Test(wire_arp, foreign) {
    struct arp_pkt a;
    for (int i = 0; i < 6; i++) {
        uint8_t p[28];
        memcpy(p, request, 28);
        p[i] ^= 0x10;
        cr_assert_not(arp_parse(p, 28, &a), "byte %d", i);
    }
}

/* ---- IPv4 ------------------------------------------------------------- */

/* The header that RFC 1071 style examples use: checksum 0xb861. */
static const uint8_t ip[24] = {
    0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
    0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
};

Test(wire_ipv4, golden) {
    uint8_t p[0x73] = {0}, out[20];
    struct ipv4_hdr h;
    memcpy(p, ip, 20);
    cr_assert_eq(ipv4_parse(p, sizeof(p), false, &h), IPV4_OK);
    cr_assert(h.hdr_len == 20 && h.total_len == 0x73 && h.id == 0);
    cr_assert(h.df && !h.mf && h.frag_off == 0);
    cr_assert(h.ttl == 64 && h.proto == IP_PROTO_UDP);
    cr_assert(h.src == 0xc0a80001 && h.dst == 0xc0a800c7);
    cr_assert(h.payload == p + 20 && h.payload_len == 0x73 - 20);
    ipv4_emit(out, &h);
    cr_assert_arr_eq(out, ip, 20);
}

/* Cut off anywhere: short, or a length that lies. */
Test(wire_ipv4, truncation) {
    uint8_t p[0x73] = {0};
    struct ipv4_hdr h;
    memcpy(p, ip, 20);
    for (uint32_t n = 0; n < sizeof(p); n++)
        cr_assert_eq(ipv4_parse(p, n, false, &h),
                     n < 20 ? IPV4_BAD_SHORT : IPV4_BAD_LENGTH);
}

/* Any single wrong bit of the header is noticed. */
Test(wire_ipv4, every_bit) {
    uint8_t p[0x73] = {0};
    struct ipv4_hdr h;
    for (int bit = 0; bit < 160; bit++) {
        memcpy(p, ip, 20);
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(ipv4_parse(p, sizeof(p), false, &h), IPV4_OK, "bit %d",
                      bit);
    }
}

/* Length 0 means "the whole frame" for superframes alone. */
Test(wire_ipv4, superframe) {
    static uint8_t p[100000];
    struct ipv4_hdr h = {.total_len = sizeof(p), .ttl = 1, .proto = 6}, back;
    ipv4_emit(p, &h);
    cr_assert(p[2] == 0 && p[3] == 0);
    cr_assert_eq(ipv4_parse(p, sizeof(p), false, &back), IPV4_BAD_LENGTH);
    cr_assert_eq(ipv4_parse(p, sizeof(p), true, &back), IPV4_OK);
    cr_assert_eq(back.total_len, sizeof(p));
}

Test(wire_ipv4, round_trip) {
    uint8_t p[64];
    for (unsigned i = 0; i < 8192; i += 37) {
        struct ipv4_hdr h = {.tos = (uint8_t)i,
                             .total_len = 20 + i % 40,
                             .id = (uint16_t)(i * 77),
                             .df = i & 1,
                             .mf = i & 2,
                             .frag_off = (uint16_t)(i * 8),
                             .ttl = (uint8_t)(i >> 3),
                             .proto = (uint8_t)(i >> 2),
                             .src = i * 0x1234567u,
                             .dst = ~i},
                        b;
        ipv4_emit(p, &h);
        cr_assert_eq(ipv4_parse(p, 64, false, &b), IPV4_OK);
        cr_assert(b.tos == h.tos && b.total_len == h.total_len &&
                  b.id == h.id && b.df == h.df && b.mf == h.mf &&
                  b.frag_off == h.frag_off && b.ttl == h.ttl &&
                  b.proto == h.proto && b.src == h.src && b.dst == h.dst);
    }
}

/* Options: fine, and wrong at a given byte. */
Test(wire_ipv4, options) {
    static const struct {
        uint8_t b[8];
        unsigned bad;
        bool route;
    } t[] = {
        {{0}, 0, false},
        {{1, 1, 1, 1, 1, 1, 1, 1}, 0, false},
        {{7, 7, 4, 0, 0, 0, 0, 0}, 0, false},  /* record route */
        {{131, 7, 4, 0, 0, 0, 0, 0}, 0, true}, /* loose source route */
        {{137, 3, 4, 0}, 0, true},             /* strict */
        {{7, 0}, 21, false},                   /* length 0 */
        {{7, 1}, 21, false},                   /* length 1 */
        {{7, 9}, 21, false},                   /* beyond the header */
        {{1, 1, 1, 1, 1, 1, 1, 7}, 27, false}, /* no room for a length */
        {{0, 7, 0}, 0, false},                 /* behind the end */
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        uint8_t p[28] = {0};
        struct ipv4_hdr h = {.hdr_len = 28};
        bool route;
        memcpy(p + 20, t[i].b, 8);
        cr_assert_eq(ipv4_check_options(p, &h, &route), t[i].bad, "%u", i);
        if (!t[i].bad)
            cr_assert_eq(route, t[i].route, "%u", i);
    }
}

/* A quote: only the header must be there. */
Test(wire_ipv4, quote) {
    struct ipv4_hdr h;
    uint8_t p[24];
    memcpy(p, ip, 24);
    for (uint32_t n = 0; n < 20; n++)
        cr_assert_not(ipv4_parse_quote(p, n, &h));
    cr_assert(ipv4_parse_quote(p, 24, &h));
    cr_assert(h.payload_len == 4 && h.total_len == 0x73);
    p[0] = 0x46;
    cr_assert(ipv4_parse_quote(p, 24, &h) && h.payload_len == 0);
    cr_assert_not(ipv4_parse_quote(p, 23, &h));
    p[0] = 0x44;
    cr_assert_not(ipv4_parse_quote(p, 24, &h));
    p[0] = 0x65;
    cr_assert_not(ipv4_parse_quote(p, 24, &h));
}

/* ---- ICMP ------------------------------------------------------------- */

Test(wire_icmp, golden) {
    static const uint8_t echo[10] = {8, 0, 0x12, 0x34, 0xab, 0xcd, 0, 5, 1, 2};
    struct icmp_hdr h;
    uint8_t out[8];
    for (uint32_t n = 0; n < 8; n++)
        cr_assert_not(icmp_parse(echo, n, &h));
    cr_assert(icmp_parse(echo, 10, &h));
    cr_assert(h.type == ICMP_ECHO && h.id == 0xabcd && h.seq == 5);
    cr_assert(h.data == echo + 8 && h.data_len == 2);
    icmp_emit(out, &h);
    icmp_set_csum(out, 0x1234);
    cr_assert_arr_eq(out, echo, 8);
}

/* The second word means something else for each type. */
Test(wire_icmp, second_word) {
    struct icmp_hdr h = {.type = ICMP_UNREACHABLE, .code = 4, .mtu = 1400}, b;
    uint8_t p[8];
    icmp_emit(p, &h);
    cr_assert(icmp_parse(p, 8, &b) && b.mtu == 1400 && b.id == 0);
    p[1] = 3;
    cr_assert(icmp_parse(p, 8, &b) && b.mtu == 0);
    h = (struct icmp_hdr){.type = ICMP_PARAM_PROBLEM, .pointer = 21};
    icmp_emit(p, &h);
    cr_assert(icmp_parse(p, 8, &b) && b.pointer == 21);
}

/* RFC 4884: extensions are not part of the quote. */
Test(wire_icmp, extensions) {
    uint8_t p[8 + 128 + 8] = {ICMP_TIME_EXCEEDED};
    struct icmp_hdr h;
    cr_assert(icmp_parse(p, sizeof(p), &h) && h.data_len == 136);
    p[5] = 32;
    cr_assert(icmp_parse(p, sizeof(p), &h) && h.data_len == 128);
    p[5] = 200; /* more than there is */
    cr_assert(icmp_parse(p, sizeof(p), &h) && h.data_len == 136);
    p[0] = ICMP_ECHO; /* not a length there */
    p[5] = 32;
    cr_assert(icmp_parse(p, sizeof(p), &h) && h.data_len == 136);
}

Test(wire_icmp, which_are_errors) {
    unsigned n = 0;
    for (unsigned t = 0; t < 256; t++)
        n += icmp_is_error((uint8_t)t);
    cr_assert_eq(n, 5);
    cr_assert(!icmp_is_error(ICMP_ECHO) && !icmp_is_error(ICMP_ECHO_REPLY));
}

/* ---- UDP -------------------------------------------------------------- */

Test(wire_udp, golden) {
    static const uint8_t u[12] = {0, 53, 0xc0, 1, 0, 12, 0xbe, 0xef, 1, 2, 3};
    struct udp_hdr h;
    uint8_t out[8];
    for (uint32_t n = 0; n < 12; n++)
        cr_assert_not(udp_parse(u, n, false, &h), "%u", n);
    cr_assert(udp_parse(u, 12, false, &h));
    cr_assert(h.sport == 53 && h.dport == 0xc001 && h.csum == 0xbeef);
    cr_assert(h.len == 12 && h.data == u + 8 && h.data_len == 4);
    udp_emit(out, &h);
    cr_assert_arr_eq(out, u, 8);
}

/* The length field: below 8 is refused, less than there is cuts. */
Test(wire_udp, lengths) {
    uint8_t u[20] = {0};
    struct udp_hdr h;
    for (unsigned n = 0; n < 24; n++) {
        u[5] = (uint8_t)n;
        cr_assert_eq(udp_parse(u, 20, false, &h), n >= 8 && n <= 20, "%u", n);
        if (n >= 8 && n <= 20)
            cr_assert_eq(h.data_len, n - 8);
        cr_assert(udp_parse(u, 20, true, &h) && h.data_len == 12);
    }
}

/* RFC 768: zero means "no checksum", so a sum of zero is sent as ones. */
Test(wire_udp, checksum_zero) {
    uint8_t u[8] = {0};
    udp_set_csum(u, 0);
    cr_assert(u[6] == 0xff && u[7] == 0xff);
    udp_set_csum(u, 0x0102);
    cr_assert(u[6] == 1 && u[7] == 2);
}
