/* The out-of-order queue against a flat model; its SACK blocks. */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp/tcp.h"
#include "tests/traffic/lib_one.h"

#define START 0xfffff800u
#define SPAN 8192u

static struct one o;
static struct tcp_sock *tp;
static uint8_t stream[SPAN];
static size_t idle;

static void setup(void) {
    one_open(&o, 4u << 20);
    tp = tcp_of(sock_new(o.st, SOCK_TCP, 4, 6));
    tp->rcv_nxt = tp->rcv_buf_seq = START;
    tp->sack_ok = true;
    for (uint32_t i = 0; i < SPAN; i++)
        stream[i] = (uint8_t)(i * 7 + (i >> 8));
    idle = o.st->sh->heap.used;
}
static void teardown(void) {
    tcp_reass_free(o.st, tp);
    bufq_clear(o.st, &tp->rcvq);
    sock_free(o.st, &tp->so);
    one_close(&o);
}
TestSuite(tcp_reass, .init = setup, .fini = teardown);

static bool put(uint32_t from, uint32_t to) {
    return tcp_reass_insert(o.st, tp, START + from, stream + from, to - from,
                            false);
}

/* Data at rcv_nxt arrives in order. */
static void in_order(uint32_t n) {
    uint32_t at = tp->rcv_nxt - START;
    bufq_append(o.st, &tp->rcvq, stream + at, n);
    tp->rcv_nxt += n;
    tcp_reass_drain(o.st, tp);
}

static void check_stream(uint32_t n) {
    static uint8_t got[SPAN];
    cr_assert_eq(tp->rcv_nxt - START, n);
    cr_assert_eq(bufq_copy(&tp->rcvq, 0, got, SPAN), n);
    cr_assert(memcmp(got, stream, n) == 0);
}

Test(tcp_reass, in_and_out) {
    cr_assert(tcp_reass_empty(tp));
    cr_assert(put(100, 200));
    cr_assert(put(300, 400));
    cr_assert_eq(tcp_reass_bytes(tp), 200);
    in_order(100);
    check_stream(200);
    in_order(150); /* overlaps what waits */
    check_stream(400);
    cr_assert_null(tp->reass);
    bufq_clear(o.st, &tp->rcvq);
    mem_free_now(o.st);
    cr_assert_eq(o.st->sh->heap.used, idle);
}

/* RFC 2018 section 4: the block just touched first, then by age; islands that
 * touch are one block. */
Test(tcp_reass, blocks) {
    struct tcp_sack b[4];
    put(100, 200);
    put(300, 400);
    put(500, 600);
    put(700, 800);
    cr_assert_eq(tcp_reass_blocks(tp, b, 3), 3);
    cr_assert_eq(b[0].left, START + 700);
    cr_assert_eq(b[1].left, START + 500);
    cr_assert_eq(b[2].left, START + 300);
    put(200, 250);
    cr_assert_eq(tcp_reass_blocks(tp, b, 4), 4);
    cr_assert(b[0].left == START + 100 && b[0].right == START + 250);
    put(250, 300);
    cr_assert_eq(tcp_reass_blocks(tp, b, 4), 3);
    cr_assert(b[0].left == START + 100 && b[0].right == START + 400);
}

/* Wholly known: D-SACK; partly: not (the ACK tells enough). */
Test(tcp_reass, duplicates) {
    put(100, 200);
    cr_assert_not(tp->dsack);
    put(150, 250);
    cr_assert_not(tp->dsack);
    put(120, 220);
    cr_assert(tp->dsack);
    cr_assert(tp->dsack_lo == START + 120 && tp->dsack_hi == START + 220);
}

/* A FIN beyond a hole is remembered until its turn comes. */
Test(tcp_reass, fin) {
    tcp_reass_insert(o.st, tp, START + 100, stream + 100, 50, true);
    cr_assert_not(tcp_reass_fin_next(tp));
    in_order(100);
    check_stream(150);
    cr_assert(tcp_reass_fin_next(tp));
}

/* A bare FIN out of order. */
Test(tcp_reass, bare_fin) {
    tcp_reass_insert(o.st, tp, START + 100, stream, 0, true);
    cr_assert(tcp_reass_empty(tp));
    in_order(100);
    cr_assert(tcp_reass_fin_next(tp));
}

/* Islands of one byte: bounded in number, counted beyond. */
Test(tcp_reass, bounded) {
    for (uint32_t i = 1; i < SPAN; i += 2)
        put(i, i + 1);
    cr_assert_eq(tcp_reass_bytes(tp), 1024);
    cr_assert_eq(o.st->sh->count.tcp_reass_full, SPAN / 2 - 1024);
}

/* No memory: refused, what is there stays right. */
Test(tcp_reass, arena_full) {
    put(100, 200);
    for (size_t size = 65536; size >= 16; size /= 2)
        while (mem_alloc(o.st, size))
            ;
    bool ok = true;
    for (uint32_t i = 1000; i < 1900 && ok; i += 20)
        ok = put(i, i + 10);
    cr_assert_not(ok);
    cr_assert_gt(o.st->sh->count.tcp_reass_full, 0);
    cr_assert_geq(tcp_reass_bytes(tp), 100);
}

/* Random segments, overlapping in every way, until all is there. */
Test(tcp_reass, model) {
    static bool have[SPAN];
    srand(11);
    for (int n = 0; n < 20000 && tp->rcv_nxt - START < SPAN; n++) {
        uint32_t next = tp->rcv_nxt - START;
        uint32_t l = next + (uint32_t)rand() % 500;
        uint32_t r = l + 1 + (uint32_t)rand() % 120;
        if (r > SPAN)
            r = SPAN;
        if (l >= r)
            l = next;
        memset(have + l, 1, r - l);
        if (l == next)
            in_order(r - l);
        else
            cr_assert(put(l, r));
        next = tp->rcv_nxt - START;
        cr_assert(next == SPAN || !have[next]);
    }
    check_stream(SPAN);
    cr_assert_null(tp->reass);
}
