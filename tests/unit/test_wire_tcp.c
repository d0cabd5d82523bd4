/* wire/tcp: golden bytes, truncation at every length, round trips. */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/wire/tcp.h"

/* A SYN as Linux sends it. */
static const uint8_t syn[40] = {
    0x9c, 0x40, 0x00, 0x50, 0x12, 0x34, 0x56, 0x78, 0x00, 0x00,
    0x00, 0x00, 0xa0, 0x02, 0xfa, 0xf0, 0xab, 0xcd, 0x00, 0x00, /* header */
    0x02, 0x04, 0x05, 0xb4,                                     /* MSS 1460 */
    0x04, 0x02, /* SACK permitted */
    0x08, 0x0a, 0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x00, /* TS */
    0x01, 0x03, 0x03, 0x07,                                     /* WS 7 */
};

Test(wire_tcp, golden_parse) {
    struct tcp_hdr h;
    struct tcp_opts o;
    cr_assert(tcp_parse(syn, sizeof(syn), &h, &o));
    cr_assert_eq(h.sport, 40000);
    cr_assert_eq(h.dport, 80);
    cr_assert_eq(h.seq, 0x12345678);
    cr_assert_eq(h.ack, 0);
    cr_assert_eq(h.flags, TCP_SYN);
    cr_assert_eq(h.wnd, 64240);
    cr_assert_eq(h.csum, 0xabcd);
    cr_assert_eq(h.hdr_len, 40);
    cr_assert_eq(o.mss, 1460);
    cr_assert(o.sack_permitted && o.ts && o.has_wscale && !o.malformed);
    cr_assert_eq(o.tsval, 0x01020304);
    cr_assert_eq(o.tsecr, 0);
    cr_assert_eq(o.wscale, 7);
}

Test(wire_tcp, golden_emit) {
    struct tcp_hdr h;
    struct tcp_opts o;
    uint8_t out[60];
    cr_assert(tcp_parse(syn, sizeof(syn), &h, &o));
    cr_assert_eq(tcp_opts_len(&o), 20);
    cr_assert_eq(tcp_emit(out, &h, &o), 40);
    tcp_set_csum(out, h.csum);
    cr_assert_arr_eq(out, syn, 40);
}

/* Cut anywhere, the header is refused. */
Test(wire_tcp, truncation) {
    struct tcp_hdr h;
    struct tcp_opts o;
    for (uint32_t n = 0; n < sizeof(syn); n++)
        cr_assert_not(tcp_parse(syn, n, &h, &o), "%u bytes", n);
    uint8_t p[60] = {0};
    for (unsigned off = 0; off < 16; off++) {
        p[12] = (uint8_t)(off << 4);
        cr_assert_eq(tcp_parse(p, 60, &h, &o), off >= 5, "offset %u", off);
        cr_assert_eq(tcp_parse(p, 20, &h, NULL), off == 5, "offset %u", off);
    }
}

/* All nine flags, each alone. */
Test(wire_tcp, flags) {
    for (unsigned i = 0; i < 9; i++) {
        struct tcp_hdr h = {.flags = (uint16_t)(1u << i)}, back;
        uint8_t p[20];
        tcp_emit(p, &h, NULL);
        cr_assert(tcp_parse(p, 20, &back, NULL));
        cr_assert_eq(back.flags, 1u << i);
    }
}

/* Options put behind a bare header. */
static bool parse_options(const uint8_t *opts, unsigned n, struct tcp_opts *o) {
    uint8_t p[60] = {0};
    struct tcp_hdr h;
    unsigned padded = (n + 3) & ~3u;
    memcpy(p + 20, opts, n);
    p[12] = (uint8_t)((20 + padded) / 4 << 4);
    return tcp_parse(p, 20 + padded, &h, o);
}

/* Lengths that lie end the walk; what came before counts. */
Test(wire_tcp, malformed_options) {
    static const struct {
        uint8_t n, b[12];
    } bad[] = {
        {8, {2, 4, 5, 0xb4, 3, 0, 7, 0}}, /* length 0 */
        {8, {2, 4, 5, 0xb4, 3, 1, 7, 0}}, /* length 1 */
        {8, {2, 4, 5, 0xb4, 3, 5, 7, 0}}, /* beyond the end */
        {8, {2, 4, 5, 0xb4, 3, 2, 0, 0}}, /* too short for its kind */
        {8, {2, 4, 5, 0xb4, 3, 4, 7, 0}}, /* too long for its kind */
        {8, {2, 4, 5, 0xb4, 1, 1, 1, 8}}, /* no room for a length */
        {8, {2, 4, 5, 0xb4, 5, 2, 0, 0}}, /* SACK without a block */
        {12, {2, 4, 5, 0xb4, 5, 8, 0}},   /* SACK: part of a block */
        {8, {2, 4, 5, 0xb4, 4, 3, 0, 0}}, /* SACK permitted with data */
        {8, {2, 4, 5, 0xb4, 8, 4, 0, 0}}, /* timestamps too short */
    };
    struct tcp_opts o;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert(parse_options(bad[i].b, bad[i].n, &o));
        cr_assert(o.malformed, "case %u", i);
        cr_assert_eq(o.mss, 1460, "case %u", i);
        cr_assert(!o.has_wscale && !o.sack_permitted && !o.ts);
    }
}

/* Unknown kinds are passed over; nothing after the end counts. */
Test(wire_tcp, unknown_and_end) {
    static const uint8_t b[] = {254, 6, 1, 2, 3, 4, 1, 3,
                                3,   9, 0, 2, 4, 5, 0, 0};
    struct tcp_opts o;
    cr_assert(parse_options(b, sizeof(b), &o));
    cr_assert(o.unknown && !o.malformed && o.has_wscale);
    cr_assert_eq(o.wscale, 9);
    cr_assert_eq(o.mss, 0);
}

/* Every combination of options comes back as it was, as far as it fits. */
Test(wire_tcp, round_trip) {
    for (unsigned mask = 0; mask < 16 * 5; mask++) {
        struct tcp_opts o = {0}, back;
        struct tcp_hdr h = {.sport = 1,
                            .dport = 2,
                            .seq = 3,
                            .ack = 4,
                            .flags = TCP_ACK,
                            .wnd = 5,
                            .urg = 6};
        struct tcp_hdr hb;
        uint8_t p[60];
        o.mss = mask & 1 ? 536 : 0;
        o.has_wscale = mask & 2;
        o.wscale = mask & 2 ? 14 : 0;
        o.sack_permitted = mask & 4;
        o.ts = mask & 8;
        o.tsval = mask & 8 ? 0xfffffffe : 0;
        o.tsecr = mask & 8 ? 77 : 0;
        o.n_sack = (uint8_t)(mask / 16);
        for (unsigned i = 0; i < o.n_sack; i++)
            o.sack[i] = (struct tcp_sack){1000 * i + 1, 1000 * i + 500};
        unsigned n = tcp_emit(p, &h, &o);
        cr_assert_eq(n, 20 + tcp_opts_len(&o));
        cr_assert(n <= 60 && n % 4 == 0);
        cr_assert(tcp_parse(p, n, &hb, &back));
        cr_assert(!back.malformed && !back.unknown);
        cr_assert(hb.seq == 3 && hb.ack == 4 && hb.wnd == 5 && hb.urg == 6);
        cr_assert(back.n_sack <= o.n_sack);
        if (mask == 4 * 16 + 8)
            cr_assert_eq(back.n_sack, 3, "RFC 2018: 3 beside a timestamp");
        if (mask == 4 * 16)
            cr_assert_eq(back.n_sack, 4);
        memset(&o.sack[back.n_sack], 0,
               sizeof(o.sack[0]) * (size_t)(TCP_SACK_MAX - back.n_sack));
        o.n_sack = back.n_sack;
        cr_assert_eq(memcmp(&o, &back, sizeof(o)), 0, "mask %u", mask);
    }
}

Test(wire_tcp, quote) {
    struct tcp_hdr h;
    tcp_parse_quote(syn, &h);
    cr_assert(h.sport == 40000 && h.dport == 80 && h.seq == 0x12345678);
}
