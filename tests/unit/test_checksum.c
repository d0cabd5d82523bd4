/* The Internet checksum against RFC 1071 and a slow model. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "stack/checksum.h"

/* 16 bits at a time, as RFC 1071 section 1 says it. */
static uint16_t slow(const uint8_t *p, size_t n) {
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)p[i] << (i % 2 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

Test(checksum, rfc1071_example) {
    const uint8_t d[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    cr_assert_eq(csum_fold(csum_add(0, d, 8)), 0xddf2);
    cr_assert_eq(csum_finish(csum_add(0, d, 8)), 0x220d);
}

Test(checksum, every_length_and_alignment) {
    static uint8_t buf[300];
    srand(1);
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)rand();
    for (size_t n = 0; n < 200; n++)
        for (size_t at = 0; at < 16; at++)
            cr_assert_eq(csum_fold(csum_add(0, buf + at, n)), slow(buf + at, n),
                         "%zu at %zu", n, at);
}

Test(checksum, no_carry_is_lost) {
    static uint8_t ones[65536];
    memset(ones, 0xff, sizeof(ones));
    cr_assert_eq(csum_fold(csum_add(0, ones, sizeof(ones))), 0xffff);
    cr_assert_eq(csum_fold(csum_add(0xffffffffffffull, ones, 65535)),
                 slow(ones, 65535));
    cr_assert_eq(csum_fold(0), 0);
}

Test(checksum, pieces_of_any_length) {
    static uint8_t buf[5000];
    srand(2);
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)rand();
    for (int round = 0; round < 2000; round++) {
        struct iovec v[6];
        size_t at = 0, total = 0;
        for (int i = 0; i < 6; i++) {
            size_t n = (size_t)rand() % (rand() % 3 ? 9 : 700);
            v[i] = (struct iovec){buf + at, n};
            at += n;
            total += n;
        }
        size_t skip = total ? (size_t)rand() % total : 0;
        size_t len = total - skip ? (size_t)rand() % (total - skip) : 0;
        cr_assert_eq(csum_fold(csum_add_iov(0, v, 6, skip, len)),
                     slow(buf + skip, len), "round %d", round);
        cr_assert_eq(csum_fold(csum_add_iov(0, v, 6, skip, 1u << 20)),
                     slow(buf + skip, total - skip));
    }
}

/* RFC 9293, section 3.1: source, destination, zero, protocol, length. */
Test(checksum, pseudo_header_v4) {
    struct ip_addr a = ip_from_v4(0xc6120001), b = ip_from_v4(0xc6130002);
    const uint8_t flat[] = {0xc6, 0x12, 0, 1, 0xc6, 0x13, 0, 2, 0, 6, 5, 0xdc};
    cr_assert_eq(csum_fold(csum_pseudo(&a, &b, 6, 1500)),
                 slow(flat, sizeof(flat)));
    struct ip_addr any = IP_ANY;
    const uint8_t flat0[] = {0, 0, 0, 0, 0xc6, 0x13, 0, 2, 0, 17, 0, 9};
    cr_assert_eq(csum_fold(csum_pseudo(&any, &b, 17, 9)),
                 slow(flat0, sizeof(flat0)));
}

/* RFC 8200, section 8.1. */
Test(checksum, pseudo_header_v6) {
    struct ip_addr a = {{0x20, 1, 0xd, 0xb8, [15] = 1}};
    struct ip_addr b = {{0x20, 1, 0xd, 0xb8, [15] = 2}};
    uint8_t flat[40] = {0};
    memcpy(flat, a.b, 16);
    memcpy(flat + 16, b.b, 16);
    flat[33] = 1, flat[34] = 0x11, flat[35] = 0x70, flat[39] = 6;
    cr_assert_eq(csum_fold(csum_pseudo(&a, &b, 6, 0x11170)), slow(flat, 40));
}
