/* Two stacks short of memory: those who hoard do not starve the others
 * (stack/tcp/mem.c). */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "tests/traffic/lib_flow.h"
#include "tests/traffic/lib_pair.h"

#define MIB (1u << 20)
#define HOARDERS 60

static uint8_t buf[65536];

static struct stack_memory memory(struct pair *p, int side) {
    struct stack_memory m;
    stack_memory(p->side[side].st, &m);
    return m;
}

/* Write what is taken now, of the stream `key`; the new length. */
static size_t push(struct pair *p, struct sock *so, uint64_t key, size_t sent,
                   size_t most) {
    for (;;) {
        size_t n = most - sent < sizeof(buf) ? most - sent : sizeof(buf);
        pattern_fill(key, sent, buf, n);
        ssize_t r = n ? pair_try_send(p, A, so, buf, n) : 0;
        if (r <= 0)
            return sent;
        sent += (size_t)r;
    }
}

/* Read what is there and check it; the new length. */
static size_t pull(struct pair *p, struct sock *so, uint64_t key, size_t got) {
    ssize_t r;
    while ((r = pair_try_recv(p, B, so, buf, sizeof(buf))) > 0) {
        cr_assert_eq(pattern_check(key, got, buf, (size_t)r), -1);
        got += (size_t)r;
    }
    return got;
}

/* A to B, `bytes` of them with somebody who reads. Returns the time taken. */
static nstime_t transfer(struct pair *p, uint16_t port, size_t bytes) {
    struct sock *so[2];
    size_t sent = 0, got = 0;
    nstime_t start = p->now;
    pair_connected(p, port, so);
    while (got < bytes && p->now < start + 300 * SEC) {
        sent = push(p, so[A], port, sent, bytes);
        pair_run(p, MSEC);
        got = pull(p, so[B], port, got);
    }
    cr_assert_eq(got, bytes, "%zu in %f s", got,
                 (double)(p->now - start) / 1e9);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    return p->now - start;
}

/* Sixty connections whose programs never read fill what they may; one that
 * reads goes on; and when the others read at last, nothing is missing. */
Test(pair_memory, hoarders_do_not_starve_others) {
    struct pair *p =
        pair_new(&(struct pair_config){.arena = 16 * MIB,
                                       .fault = {"delay=1ms", "delay=1ms"}});
    struct sock *so[HOARDERS][2];
    size_t sent[HOARDERS] = {0}, got[HOARDERS] = {0}, left = HOARDERS;
    for (int i = 0; i < HOARDERS; i++)
        pair_connected(p, (uint16_t)(1000 + i), so[i]);
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < HOARDERS; i++)
            sent[i] = push(p, so[i][A], (uint64_t)i, sent[i], 4 * MIB);
        pair_run(p, 10 * MSEC);
    }
    cr_assert_gt(memory(p, B).used, 8 * MIB);
    cr_assert_lt(memory(p, B).used, 15 * MIB);
    cr_assert_lt(memory(p, A).used, 15 * MIB);
    cr_assert_gt(pair_count(p, A)->tcp_mem_pressed, 0);
    cr_assert_eq(pair_count(p, A)->arena_full, 0);
    cr_assert_eq(pair_count(p, B)->arena_full, 0);
    nstime_t took = transfer(p, 80, 2 * MIB);
    cr_assert_lt(took, 10 * SEC, "%f s", (double)took / 1e9);
    for (int round = 0; round < 600 && left; round++) {
        pair_run(p, 100 * MSEC);
        left = 0;
        for (int i = 0; i < HOARDERS; i++) {
            got[i] = pull(p, so[i][B], (uint64_t)i, got[i]);
            left += got[i] < sent[i];
        }
    }
    cr_assert_eq(left, 0, "%zu still wait for data", left);
    for (int i = 0; i < HOARDERS; i++) {
        pair_close(p, A, so[i][A]);
        pair_close(p, B, so[i][B]);
    }
    pair_end(p);
}

/* Take memory until the arena of this side is so many sixteenths full. */
static unsigned hold(struct pair *p, int side, void **held, size_t sixteenths) {
    unsigned n = 0;
    struct stack *st = pair_lock(p, side);
    while (memory(p, side).used < memory(p, side).arena / 16 * sixteenths)
        if ((held[n] = stack_alloc(st, 65536)))
            n++;
        else
            break; /* all of it */
    pair_unlock(p, side);
    return n;
}

static void give_back(struct pair *p, int side, void **held, unsigned n) {
    struct stack *st = pair_lock(p, side);
    while (n)
        stack_free(st, held[--n], 65536);
    pair_unlock(p, side);
}

/* Nearly nothing is left: a SYN waits, and is answered when there is memory. */
Test(pair_memory, new_connections_wait) {
    struct pair *p = pair_new(&(struct pair_config){.arena = 8 * MIB});
    struct sock *l = pair_listen(p, B, 80, 8);
    struct sock *c = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = pair_at(p, B, 80);
    void *held[256];
    unsigned n = hold(p, B, held, 15);
    cr_assert_eq(pair_connect_start(p, A, c, &to), -EINPROGRESS);
    pair_run(p, 2 * SEC);
    cr_assert_geq(pair_count(p, B)->tcp_mem_refused, 2);
    give_back(p, B, held, n);
    cr_assert(pair_wait(p, A, c, STACK_OUT));
    struct sock *s = pair_accept(p, B, l);
    pair_close(p, A, c);
    pair_close(p, B, s);
    pair_close(p, B, l);
    pair_end(p);
}

/* With a small buffer only, SO_RCVLOWAT beyond it must not wait for ever. */
Test(pair_memory, low_water_mark_gives_way) {
    struct pair *p = pair_new(&(struct pair_config){.arena = 8 * MIB});
    struct sock *so[2];
    void *held[256];
    size_t got = 0;
    pair_connected(p, 80, so);
    pair_setopt(p, B, so[B], STACK_OPT_RCVLOWAT, 60000);
    unsigned n = hold(p, B, held, 13);
    cr_assert_eq(push(p, so[A], 7, 0, 65536), 65536);
    while (got < 65536) {
        cr_assert(pair_wait(p, B, so[B], STACK_IN), "after %zu", got);
        got = pull(p, so[B], 7, got);
        if (got > 40000) /* the rest is less than the mark */
            pair_setopt(p, B, so[B], STACK_OPT_RCVLOWAT, 1);
    }
    give_back(p, B, held, n);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* What comes out of order is not kept while memory is very short: the gap is
 * filled by repetition, and the stream goes on. */
Test(pair_memory, out_of_order_goes_first) {
    struct pair *p = pair_new(
        &(struct pair_config){.arena = 8 * MIB,
                              .fault = {"delay=5ms,loss=5%", "delay=5ms"}});
    void *held[256];
    unsigned n = hold(p, B, held, 14);
    nstime_t took = transfer(p, 80, MIB / 2);
    cr_assert_lt(took, 120 * SEC, "%f s", (double)took / 1e9);
    cr_assert_leq(memory(p, B).peak, memory(p, B).arena / 16 * 15 + 65536);
    give_back(p, B, held, n);
    pair_end(p);
}

/* An idle connection, all in: TCB, tables, and an event of epoll on it. */
Test(pair_memory, idle_connection_is_small) {
    enum { N = 2000 };
    static struct sock *so[N][2];
    struct pair *p = pair_new(NULL);
    struct pollset *set = stack_pollset_new(pair_lock(p, B));
    pair_unlock(p, B);
    size_t before = memory(p, B).used;
    for (int i = 0; i < N; i++) {
        pair_connected(p, 80, so[i]);
        push(p, so[i][A], 1, 0, 1000);
        pair_settle(p);
        cr_assert_eq(pull(p, so[i][B], 1, 0), 1000);
        cr_assert_eq(stack_pollset_ctl(pair_lock(p, B), set, STACK_CTL_ADD,
                                       (uint64_t)i, stack_sock_source(so[i][B]),
                                       STACK_IN, 0),
                     0);
        pair_unlock(p, B);
    }
    pair_run(p, SEC);
    size_t each = (memory(p, B).used - before) / N;
    printf("idle connection: %zu bytes of arena\n", each);
    cr_assert_leq(each, 1024, "%zu", each);
    for (int i = 0; i < N; i++) {
        pair_close(p, B, so[i][B]);
        pair_close(p, A, so[i][A]);
    }
    stack_pollset_free(pair_lock(p, B), set);
    pair_unlock(p, B);
    pair_end(p);
}
