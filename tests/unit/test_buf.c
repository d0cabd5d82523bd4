/* Byte queues against a flat array. */
#include <stdlib.h>
#include <string.h>

#include "stack/buf.h"
#include "tests/traffic/lib_one.h"

#define MIB (1024u * 1024u)

static struct one o;
static size_t idle;
static void setup(void) {
    one_open(&o, 64 * MIB);
    idle = o.st->sh->heap.used;
}
static void teardown(void) { one_close(&o); }
TestSuite(buf, .init = setup, .fini = teardown);

/* Byte i of the stream. */
static uint8_t byte_at(size_t i) { return (uint8_t)(i * 131 + (i >> 9)); }

static void fill(uint8_t *p, size_t from, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(from + i);
}

static bool check(const uint8_t *p, size_t from, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte_at(from + i))
            return false;
    return true;
}

Test(buf, empty_owns_nothing) {
    struct bufq q = {0};
    uint8_t d[100];
    struct iovec v[4];
    uint32_t got = 7;
    cr_assert_eq(bufq_peek(&q, 0, 10, v, 4, &got), 0);
    cr_assert_eq(got, 0);
    cr_assert_eq(bufq_copy(&q, 0, d, 10), 0);
    bufq_drop(o.st, &q, 10);
    cr_assert_eq(bufq_append(o.st, &q, d, 0), 0);
    cr_assert_eq(bufq_append(o.st, &q, d, 100), 100);
    cr_assert_leq(bufq_memory(&q), 512, "a small message costs little");
    bufq_drop(o.st, &q, 100);
    cr_assert_eq(bufq_memory(&q), 0);
    cr_assert_eq(o.st->sh->heap.used, idle);
}

Test(buf, random_traffic_equals_a_stream) {
    static uint8_t tmp[200000];
    struct bufq q = {0};
    size_t in = 0, out = 0;
    srand(11);
    for (int step = 0; step < 20000; step++) {
        uint32_t n = (uint32_t)rand() % (rand() % 8 ? 3000 : 150000);
        if (rand() % 2 && q.len < 4 * MIB) {
            fill(tmp, in, n);
            struct iovec v[3] = {{tmp, n / 3}, {tmp + n / 3, n / 2}};
            v[2].iov_base = tmp + n / 3 + n / 2;
            v[2].iov_len = n - n / 3 - n / 2;
            size_t skip = n / 5;
            fill(tmp + skip, in, n - skip);
            cr_assert_eq(bufq_append_iov(o.st, &q, v, 3, skip,
                                         n - (uint32_t)skip),
                         n - skip);
            in += n - skip;
        } else {
            uint32_t want = n < q.len ? n : q.len;
            cr_assert_eq(bufq_copy(&q, 0, tmp, n), want);
            cr_assert(check(tmp, out, want), "step %d", step);
            bufq_drop(o.st, &q, n);
            out += want;
        }
        cr_assert_eq(q.len, in - out);
        if (q.len == 0)
            cr_assert_eq(q.mem, 0);
    }
    bufq_clear(o.st, &q);
    cr_assert_eq(o.st->sh->heap.used, idle);
}

Test(buf, peek_anywhere) {
    static uint8_t tmp[65536];
    struct bufq q = {0};
    for (size_t at = 0; at < 2 * MIB; at += 777) {
        fill(tmp, at, 777);
        cr_assert_eq(bufq_append(o.st, &q, tmp, 777), 777);
    }
    srand(3);
    for (int i = 0; i < 5000; i++) {
        struct iovec v[11];
        uint32_t off = (uint32_t)rand() % q.len, got;
        uint32_t n = 1 + (uint32_t)rand() % 65000;
        int k = bufq_peek(&q, off, n, v, 11, &got);
        uint32_t left = q.len - off;
        cr_assert_eq(got, n < left ? n : left, "as many as a packet has");
        size_t at = off;
        for (int j = 0; j < k; j++) {
            cr_assert_gt(v[j].iov_len, 0);
            cr_assert(check(v[j].iov_base, at, v[j].iov_len));
            at += v[j].iov_len;
        }
        cr_assert_eq(at - off, got);
        struct iovec to[2] = {{tmp, 100}, {tmp + 100, 60000}};
        uint32_t c = bufq_copy_iov(&q, off, to, 2, n);
        cr_assert_eq(c, n < left ? (n < 60100 ? n : 60100)
                                 : (left < 60100 ? left : 60100));
        cr_assert(check(tmp, off, c));
    }
    struct iovec one;
    uint32_t got;
    cr_assert_eq(bufq_peek(&q, 5, 1000000, &one, 1, &got), 1);
    cr_assert_eq(got, one.iov_len);
    bufq_clear(o.st, &q);
}

Test(buf, byte_by_byte_costs_little_more) {
    struct bufq q = {0};
    for (size_t i = 0; i < MIB; i++) {
        uint8_t b = byte_at(i);
        cr_assert_eq(bufq_append(o.st, &q, &b, 1), 1);
    }
    cr_assert_leq(bufq_memory(&q), MIB + MIB / 8 + 65536);
    bufq_clear(o.st, &q);
}

Test(buf, full_arena_takes_what_fits) {
    static uint8_t tmp[MIB];
    struct bufq q = {0};
    uint32_t n;
    size_t in = 0;
    fill(tmp, 0, MIB);
    while ((n = bufq_append(o.st, &q, tmp, MIB)) == MIB)
        in += n;
    in += n;
    cr_assert_eq(q.len, in);
    cr_assert_gt(in, 55 * MIB);
    uint8_t d[16];
    cr_assert_eq(bufq_copy(&q, q.len - 16, d, 100), 16);
    cr_assert(check(d, (in - 16) % MIB, 16));
    bufq_clear(o.st, &q);
    cr_assert_eq(o.st->sh->heap.used, idle);
}
