/* Superframes and checksums in software: every emitted frame is checked by
 * the naive checksum of netio_build.h, and the pieces are put together
 * again. */
#include <errno.h>
#include "netio_build.h"
#include "netio/frame.h"
#include "netio/segment.h"

#define MAX_OUT 64
static struct flat super, out[MAX_OUT];
static unsigned n_out;

static int keep(void *ctx, struct netio_frame *f) {
    cr_assert_lt(n_out, MAX_OUT);
    gather(&out[n_out++], f);
    return 0;
}

static int cut(uint32_t pieces) {
    struct iovec iov[16];
    struct netio_frame f = scatter(&super, iov, pieces);
    n_out = 0;
    return netio_segment(&f, keep, NULL);
}

/* Check headers and checksums of a TCP train and join its payload. */
static void check_tcp_train(int family, uint32_t seq, uint32_t payload,
                            uint32_t mss, uint8_t flags) {
    static uint8_t joined[70000], want[70000];
    uint32_t l4 = ETH + (family == 4 ? 20 : 40), at = 0;
    unsigned n = payload ? (payload + mss - 1) / mss : 1;

    cr_assert_eq(n_out, n);
    for (unsigned i = 0; i < n; i++) {
        const struct flat *f = &out[i];
        const uint8_t *ip = f->b + ETH, *th = f->b + l4;
        uint32_t len = f->len - l4 - 32;
        bool last = i + 1 == n;
        cr_assert_eq(len, last ? payload - at : mss);
        cr_assert_eq(f->meta.flags | f->meta.gso, 0);
        cr_assert_arr_eq(f->b, super.b, 12);
        cr_assert_eq(l4_sum(f), 0xffff, "piece %u: bad TCP checksum", i);
        if (family == 4) {
            cr_assert_eq(rd16(ip + 2), f->len - ETH);
            cr_assert_eq(rd16(ip + 4), (0xfffe + i) & 0xffff);
            cr_assert(ip_sum_ok(f), "piece %u: bad IP checksum", i);
        } else {
            cr_assert_eq(rd16(ip + 4), f->len - ETH - 40);
        }
        cr_assert_eq(rd32(th + 4), seq + at);
        cr_assert_eq(rd32(th + 8), 77u);
        uint8_t expect = flags;
        if (!last)
            expect &= (uint8_t)~0x09;
        if (i)
            expect &= 0x7f;
        cr_assert_eq(th[13], expect, "piece %u: flags %02x", i, th[13]);
        cr_assert_arr_eq(th + 20, super.b + l4 + 20, 12);
        memcpy(joined + at, th + 32, len);
        at += len;
    }
    cr_assert_eq(at, payload);
    pattern(want, payload, 0);
    cr_assert_arr_eq(joined, want, payload);
}

static void tcp_case(int family, uint32_t payload, uint32_t mss, uint8_t flags,
                     uint32_t pieces) {
    build_tcp(&super, family, 0xfffffff0u, flags, payload, true);
    super.meta.gso = family == 4 ? NETIO_GSO_TCP4 : NETIO_GSO_TCP6;
    super.meta.gso_size = (uint16_t)mss;
    unsigned n = payload ? (payload + mss - 1) / mss : 1;
    cr_assert_eq(cut(pieces), (int)n);
    check_tcp_train(family, 0xfffffff0u, payload, mss, flags);
}

Test(segment, tcp4) {
    tcp_case(4, 5 * 1448, 1448, 0x10, 1);
    tcp_case(4, 5 * 1448 + 1, 1448, 0x18, 2);
    tcp_case(4, 5 * 1448 - 1, 1448, 0x19, 7);
    tcp_case(4, 40000, 1447, 0x99, 16); /* CWR, FIN, PSH; odd sizes */
}
Test(segment, tcp4_short_trains) {
    tcp_case(4, 100, 1448, 0x18, 1);
    tcp_case(4, 0, 1448, 0x11, 1);
    tcp_case(4, 1448, 1448, 0x98, 3);
}
Test(segment, tcp6) {
    tcp_case(6, 30001, 1428, 0x19, 5);
    tcp_case(6, 65000 / 2, 1000, 0x90, 13);
}

Test(segment, tcp4_without_ip_length) {
    build_tcp(&super, 4, 1, 0x10, 3000, true);
    wr16(super.b + ETH + 2, 0); /* as superframes over 64 KB say */
    super.meta.gso = NETIO_GSO_TCP4;
    super.meta.gso_size = 1448;
    cr_assert_eq(cut(1), 3);
    check_tcp_train(4, 1, 3000, 1448, 0x10);
}

Test(segment, udp_train) {
    for (int family = 4; family <= 6; family += 2) {
        uint32_t l4 = ETH + (family == 4 ? 20 : 40), at = 0;
        build_udp(&super, family, 1001, true);
        super.meta.gso = NETIO_GSO_UDP;
        super.meta.gso_size = 333;
        cr_assert_eq(cut(3), 4);
        for (unsigned i = 0; i < 4; i++) {
            uint8_t want[333];
            uint32_t len = i < 3 ? 333 : 2;
            cr_assert_eq(out[i].len, l4 + 8 + len);
            cr_assert_eq(rd16(out[i].b + l4 + 4), 8 + len);
            cr_assert_neq(rd16(out[i].b + l4 + 6), 0u);
            cr_assert_eq(l4_sum(&out[i]), 0xffff);
            pattern(want, len, at);
            cr_assert_arr_eq(out[i].b + l4 + 8, want, len);
            at += len;
        }
    }
}

Test(segment, known_bytes) {
    /* RFC 1071 section 3: the sum of 00 01 f2 03 f4 f5 f6 f7 is ddf2 */
    const uint8_t b[] = {0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7};
    cr_assert_eq(frame_fold(frame_sum(0, b, 8)), 0xddf2);
    for (uint32_t cutat = 0; cutat <= 8; cutat++) {
        struct iovec iov[2] = {{(void *)b, cutat},
                               {(void *)(b + cutat), 8 - cutat}};
        struct netio_frame f = {.len = 8, .niov = 2, .iov = iov};
        cr_assert_eq(frame_fold(frame_sum_range(0, &f, 0, 8)), 0xddf2);
    }
}

Test(segment, completes_partial_in_a_copy) {
    for (uint32_t pieces = 1; pieces < 12; pieces++) {
        build_tcp(&super, 4, 9, 0x18, 501, true);
        cr_assert_eq(cut(pieces), 1);
        cr_assert_eq(out[0].len, super.len);
        cr_assert_eq(out[0].meta.flags, 0);
        cr_assert_eq(l4_sum(&out[0]), 0xffff);
        cr_assert_neq(l4_sum(&super), 0xffff); /* the original is untouched */
    }
}

Test(segment, complete_passes_unchanged) {
    build_tcp(&super, 6, 9, 0x18, 501, false);
    cr_assert_eq(l4_sum(&super), 0xffff);
    cr_assert_eq(cut(3), 1);
    cr_assert_eq(out[0].len, super.len);
    cr_assert_arr_eq(out[0].b, super.b, super.len);
}

Test(segment, room_longer_than_frame) {
    build_arp(&super, 1, 1, 2);
    struct iovec iov = {super.b, sizeof(super.b)};
    struct netio_frame f = {.len = super.len, .niov = 1, .iov = &iov};
    cr_assert_eq(netio_segment(&f, keep, NULL), 1);
    cr_assert_eq(out[0].len, 42u);
}

Test(segment, in_place) {
    build_udp(&super, 4, 77, true);
    struct iovec iov[5];
    struct netio_frame f = scatter(&super, iov, 5);
    cr_assert_eq(netio_complete_csum(&f), 0);
    cr_assert_eq(f.meta.flags, 0);
    cr_assert_eq(l4_sum(&super), 0xffff);
    f.meta.flags = NETIO_CSUM_PARTIAL;
    f.meta.csum_start = (uint16_t)(super.len - 7);
    cr_assert_eq(netio_complete_csum(&f), -EINVAL);
}

/* A UDP sum of zero goes out as ffff, since 0 says "none" (RFC 768). */
Test(segment, udp_zero_becomes_ones) {
    build_udp(&super, 4, 2, false);
    uint8_t *data = super.b + ETH + 28;
    wr16(data,
         rd16(data) + rd16(super.b + ETH + 26) -
             (rd16(data) + rd16(super.b + ETH + 26) > 0xffff ? 0xffff : 0));
    wr16(super.b + ETH + 26, 0);
    cr_assert_eq(l4_sum(&super), 0xffff, "the data make the sum all ones");
    wr16(super.b + ETH + 26,
         plain_sum(super.b + ETH + 12, 8, 17 + 10)); /* pseudo header */
    super.meta.flags = NETIO_CSUM_PARTIAL;
    super.meta.csum_start = ETH + 20;
    super.meta.csum_offset = 6;
    cr_assert_eq(cut(1), 1);
    cr_assert_eq(rd16(out[0].b + ETH + 26), 0xffffu);
    cr_assert_eq(l4_sum(&out[0]), 0xffff);
}

Test(segment, vlan_tag) {
    build_tcp(&super, 4, 5, 0x18, 3000, true);
    memmove(super.b + 16, super.b + 12, super.len - 12);
    wr16(super.b + 12, 0x8100), wr16(super.b + 14, 7);
    super.len += 4;
    super.meta.csum_start += 4;
    super.meta.gso = NETIO_GSO_TCP4;
    super.meta.gso_size = 1448;
    cr_assert_eq(cut(1), 3);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(rd16(out[i].b + 12), 0x8100u);
        memmove(out[i].b + 12, out[i].b + 16, out[i].len - 16);
        cr_assert_eq(l4_sum(&out[i]), 0xffff);
    }
}

Test(segment, nonsense_is_refused) {
    build_tcp(&super, 4, 5, 0x18, 3000, true);
    super.meta.gso = NETIO_GSO_TCP6; /* but it is IPv4 */
    super.meta.gso_size = 1448;
    cr_assert_eq(cut(1), -EINVAL);
    super.meta.gso = NETIO_GSO_UDP;
    cr_assert_eq(cut(1), -EINVAL);
    super.meta.gso = NETIO_GSO_TCP4;
    super.meta.gso_size = 0;
    cr_assert_eq(cut(1), -EINVAL);
    super.meta.gso_size = 1448;
    super.b[ETH + 20 + 12] = 0x40; /* data offset below 5 */
    cr_assert_eq(cut(1), -EINVAL);
    super.b[ETH + 20 + 12] = 0x80;
    super.b[ETH + 6] |= 0x20; /* a fragment */
    cr_assert_eq(cut(1), -EINVAL);
    super.b[ETH + 6] &= (uint8_t)~0x20;
    super.b[ETH] = 0x4f; /* header of 60 bytes: TCP elsewhere */
    super.len = ETH + 60;
    cr_assert_eq(cut(1), -EINVAL);
    super.len = 20;
    cr_assert_eq(cut(1), -EINVAL);
    super.len = 8;
    cr_assert_eq(cut(1), -EINVAL);
    cr_assert_eq(n_out, 0u);
}

static int refuse_third(void *ctx, struct netio_frame *f) {
    return ++*(int *)ctx == 3 ? -EIO : 0;
}

Test(segment, emit_error_ends_it) {
    struct iovec iov[1];
    int seen = 0;
    build_tcp(&super, 4, 5, 0x18, 9000, true);
    super.meta.gso = NETIO_GSO_TCP4;
    super.meta.gso_size = 1000;
    struct netio_frame f = scatter(&super, iov, 1);
    cr_assert_eq(netio_segment(&f, refuse_third, &seen), -EIO);
    cr_assert_eq(seen, 3);
}

/* Headers of random bytes must never be read past, whatever they say. */
Test(segment, random_headers) {
    unsigned seed = 1;
    for (int i = 0; i < 200000; i++) {
        struct iovec iov[3];
        uint32_t len = (uint32_t)rand_r(&seed) % 400;
        for (uint32_t k = 0; k < len; k++)
            super.b[k] = (uint8_t)rand_r(&seed);
        if (len > 60 && i % 4) {
            wr16(super.b + 12, i % 3 ? 0x0800 : 0x86dd);
            super.b[ETH] = i % 3 ? (uint8_t)(0x40 | (i & 15)) : 0x60;
            super.b[ETH + (i % 3 ? 9 : 6)] =
                (uint8_t[]){6, 17, 0, 43, 44, 60, 1}[i % 7];
            wr16(super.b + ETH + 6, i % 3 ? 0 : rd16(super.b + ETH + 6));
        }
        super.len = len;
        super.meta =
            (struct netio_meta){.flags = (uint8_t)(i & 1),
                                .gso = (uint8_t)(rand_r(&seed) % 4),
                                .gso_size =
                                    (uint16_t)(50 + rand_r(&seed) % 500),
                                .csum_start = (uint16_t)(rand_r(&seed) % 100),
                                .csum_offset = (uint16_t)(rand_r(&seed) % 20)};
        if (!len)
            continue;
        struct netio_frame f = scatter(&super, iov, len > 9 ? 3 : 1);
        n_out = 0;
        int r = netio_segment(&f, keep, NULL);
        cr_assert(r == -EINVAL ? n_out == 0 : r == (int)n_out);
    }
}
