/* test_fuse.c: two sockets of one stack, connected to each other: data goes
 * directly (stack/tcp/fuse.c). Everything a program can see must be as if it
 * had gone by segments, and no frame may appear. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "stack/shared.h"
#include "tests/traffic/lib_pair.h"

#define PORT 4000

/* Both ends on A; the wire has carried nothing yet but announcements. */
static struct pair *start(struct sock *so[2]) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, A, PORT, 8);
    struct endpoint to = pair_at(p, A, PORT);
    p->limit = 5 * SEC;
    so[0] = pair_socket(p, A, STACK_STREAM);
    cr_assert_eq(pair_connect(p, A, so[0], &to), 0);
    so[1] = pair_accept(p, A, l);
    pair_close(p, A, l);
    cr_assert_eq(pair_count(p, A)->tcp_fused, 1);
    return p;
}

/* The end of a test: no segment with data has turned round, no frame left. */
static void finish(struct pair *p, uint64_t fused_bytes) {
    const struct stack_counters *c = pair_count(p, A);
    cr_assert_eq(c->tcp_fused_bytes, fused_bytes, "%lu bytes directly",
                 (unsigned long)c->tcp_fused_bytes);
    cr_assert_eq(c->tcp_retransmitted, 0);
    cr_assert_eq(pair_count(p, B)->rx_bytes, c->tx_bytes);
    pair_end(p);
}

/* Send what fits of [done, total) of stream `key`; bytes or -errno. */
static ssize_t push(struct pair *p, struct sock *so, uint64_t key,
                    uint64_t done, size_t n) {
    static uint8_t buf[300000];
    pattern_fill(key, done, buf, n);
    return pair_try_send(p, A, so, buf, n);
}

/* Take at most n bytes, which must be [done, ...) of stream `key`. */
static ssize_t pull(struct pair *p, struct sock *so, uint64_t key,
                    uint64_t done, size_t n) {
    static uint8_t buf[300000];
    ssize_t r = pair_try_recv(p, A, so, buf, n);
    if (r > 0)
        cr_assert_eq(pattern_check(key, done, buf, (size_t)r), -1,
                     "wrong byte after %lu", (unsigned long)done);
    return r;
}

/* A long send as preload/ makes it: in three steps, `between` before the
 * last. */
static ssize_t lend(struct pair *p, struct sock *so, uint64_t key,
                    uint64_t done, size_t n, void (*between)(struct pair *),
                    bool *lent) {
    static uint8_t buf[300000];
    struct iovec v[2] = {{buf, 100}, {buf + 100, n - 100}};
    struct bufq q = {0};
    pattern_fill(key, done, buf, n);
    uint32_t got = stack_loan(pair_lock(p, A), so, n, &q);
    pair_unlock(p, A);
    *lent = got > 0;
    if (!got)
        return 0;
    stack_loan_fill(&q, v, 2, 0);
    if (between)
        between(p);
    ssize_t r = stack_repay(pair_lock(p, A), so, &q);
    pair_unlock(p, A);
    return r;
}

/* A long receive, likewise. */
static ssize_t take(struct pair *p, struct sock *so, uint64_t key,
                    uint64_t done, size_t n) {
    static uint8_t buf[300000];
    struct iovec v[2] = {{buf, 17}, {buf + 17, n - 17}};
    struct bufq q = {0};
    uint32_t got = stack_take(pair_lock(p, A), so, n, &q);
    pair_unlock(p, A);
    if (!got)
        return 0;
    stack_loan_read(&q, v, 2);
    cr_assert_eq(pattern_check(key, done, buf, got), -1);
    stack_loan_drop(pair_lock(p, A), &q);
    pair_unlock(p, A);
    return got;
}

/* Both directions at once, sizes at random, loans or not. */
static void exchange(uint64_t seed, int rcvbuf) {
    struct sock *so[2];
    struct pair *p = start(so);
    const uint64_t total = 3000000;
    uint64_t rng = seed, sent[2] = {0}, got[2] = {0}, lent = 0;
    for (int i = 0; rcvbuf && i < 2; i++)
        pair_setopt(p, A, so[i], STACK_OPT_RCVBUF, rcvbuf);
    while (got[0] < total || got[1] < total) {
        int i = (int)rng_below(&rng, 2);
        size_t n = 1 + rng_below(&rng, 1u << rng_below(&rng, 18));
        bool loan = rng_below(&rng, 2);
        ssize_t r = 0;
        if (rng_below(&rng, 2)) {
            if (n > total - sent[i])
                n = total - sent[i];
            if (loan && n > 200)
                r = lend(p, so[i], 7 + (uint64_t)i, sent[i], n, NULL, &loan);
            lent += r > 0;
            if (r == 0 && n)
                r = push(p, so[i], 7 + (uint64_t)i, sent[i], n);
            sent[i] += r > 0 ? (uint64_t)r : 0;
        } else {
            if (loan && n > 20)
                r = take(p, so[!i], 7 + (uint64_t)i, got[i], n);
            if (r == 0)
                r = pull(p, so[!i], 7 + (uint64_t)i, got[i], n);
            got[i] += r > 0 ? (uint64_t)r : 0;
        }
        cr_assert(r >= 0 || r == -EAGAIN, "%zd", r);
    }
    cr_assert(rcvbuf || lent > 10);
    pair_close(p, A, so[0]);
    pair_close(p, A, so[1]);
    finish(p, 2 * total);
}

Test(fuse, bytes_arrive_in_order) {
    for (uint64_t seed = 1; seed <= 8; seed++)
        exchange(seed, 0);
}

Test(fuse, bytes_arrive_through_a_small_window) {
    for (uint64_t seed = 1; seed <= 4; seed++)
        exchange(seed, 4096);
}

Test(fuse, a_full_peer_stops_the_sender_and_wakes_it) {
    struct sock *so[2];
    struct pair *p = start(so);
    pair_setopt(p, A, so[1], STACK_OPT_RCVBUF, 65536);
    pair_setopt(p, A, so[0], STACK_OPT_SNDBUF, 65536);
    uint64_t sent = 0, got = 0;
    ssize_t r;
    while ((r = push(p, so[0], 1, sent, 10000)) > 0)
        sent += (uint64_t)r;
    cr_assert_eq(r, -EAGAIN);
    cr_assert_eq(sent, 65536 / 2 * 2 * 2);
    cr_assert_eq(pair_ready(p, A, so[0]) & STACK_OUT, 0);
    pair_run(p, 10 * SEC); /* nobody reads: nothing happens, no probes */
    cr_assert_eq(pair_count(p, A)->tcp_probes_out, 0);
    struct pair_waiter *w = pair_waiter_new(p, A);
    pair_watch(p, A, w, stack_sock_source(so[0]), STACK_OUT);
    while (got < sent) {
        r = pull(p, so[1], 1, got, 5000);
        cr_assert_gt(r, 0);
        got += (uint64_t)r;
    }
    cr_assert(w->woken);
    pair_waiter_free(p, A, w);
    cr_assert_neq(pair_ready(p, A, so[0]) & STACK_OUT, 0);
    pair_close(p, A, so[1]);
    pair_close(p, A, so[0]);
    finish(p, sent);
}

/* One direction ends, behind what is still on its way, the other goes on. */
Test(fuse, half_close) {
    struct sock *so[2];
    struct pair *p = start(so);
    uint8_t buf[100];
    uint64_t sent = 0, got = 0;
    ssize_t r;
    while ((r = push(p, so[0], 1, sent, 100000)) > 0)
        sent += (uint64_t)r;
    pair_shutdown(p, A, so[0], STACK_SHUT_WR);
    cr_assert_eq(push(p, so[0], 1, sent, 1), -EPIPE);
    while ((r = pull(p, so[1], 1, got, 100000)) > 0)
        got += (uint64_t)r;
    cr_assert_eq(r, 0, "the end of the stream, not %zd", r);
    cr_assert_eq(got, sent);
    cr_assert_neq(pair_ready(p, A, so[1]) & STACK_RDHUP, 0);
    cr_assert_eq(pair_state(p, A, so[0]), 5); /* FIN-WAIT-2 */
    cr_assert_eq(push(p, so[1], 2, 0, 100), 100);
    cr_assert_eq(pull(p, so[0], 2, 0, 100), 100);
    pair_close(p, A, so[1]);
    cr_assert_eq(pair_try_recv(p, A, so[0], buf, 100), 0);
    pair_close(p, A, so[0]);
    finish(p, sent + 100);
}

/* What was sent before close arrives, although nobody has read it yet. */
Test(fuse, close_delivers) {
    struct sock *so[2];
    struct pair *p = start(so);
    uint64_t sent = 0, got = 0;
    ssize_t r;
    while ((r = push(p, so[0], 1, sent, 100000)) > 0)
        sent += (uint64_t)r;
    pair_close(p, A, so[0]);
    while ((r = pull(p, so[1], 1, got, 100000)) > 0)
        got += (uint64_t)r;
    cr_assert_eq(r, 0);
    cr_assert_eq(got, sent);
    pair_close(p, A, so[1]);
    finish(p, sent);
}

Test(fuse, unread_data_at_close_is_a_reset) {
    struct sock *so[2];
    struct pair *p = start(so);
    uint8_t c;
    cr_assert_eq(push(p, so[0], 1, 0, 100), 100);
    pair_close(p, A, so[1]);
    cr_assert_eq(pair_getopt(p, A, so[0], STACK_OPT_ERROR), ECONNRESET);
    cr_assert_eq(pair_try_recv(p, A, so[0], &c, 1), 0);
    cr_assert_eq(push(p, so[0], 1, 100, 1), -EPIPE);
    pair_close(p, A, so[0]);
    finish(p, 100);
}

/* A sender that waits for room learns that there will be none. */
Test(fuse, abort_wakes_a_blocked_sender) {
    struct sock *so[2];
    struct pair *p = start(so);
    uint64_t sent = 0;
    ssize_t r;
    while ((r = push(p, so[0], 1, sent, 100000)) > 0)
        sent += (uint64_t)r;
    struct pair_waiter *w = pair_waiter_new(p, A);
    pair_watch(p, A, w, stack_sock_source(so[0]), STACK_OUT);
    pair_setopt(p, A, so[1], STACK_OPT_LINGER, 0);
    pair_close(p, A, so[1]);
    cr_assert(w->woken);
    pair_waiter_free(p, A, w);
    cr_assert_eq(push(p, so[0], 1, sent, 1), -ECONNRESET);
    pair_close(p, A, so[0]);
    pair_end(p);
}

/* Data for an end that is closed already goes by segment, and is answered. */
Test(fuse, data_after_close_is_a_reset) {
    struct sock *so[2];
    struct pair *p = start(so);
    uint8_t c;
    pair_close(p, A, so[1]);
    cr_assert_eq(pair_try_recv(p, A, so[0], &c, 1), 0);
    cr_assert_eq(push(p, so[0], 1, 0, 100), 100);
    cr_assert_eq(pair_getopt(p, A, so[0], STACK_OPT_ERROR), EPIPE);
    pair_close(p, A, so[0]);
    finish(p, 0);
}

/* Urgent data is a segment among direct ones, and keeps its place. */
Test(fuse, urgent_data) {
    struct sock *so[2];
    struct pair *p = start(so);
    struct iovec v = {"!", 1};
    uint8_t buf[32];
    cr_assert_eq(pair_try_send(p, A, so[0], "abc", 3), 3);
    cr_assert_eq(stack_send(pair_lock(p, A), so[0], &v, 1, STACK_MSG_OOB, NULL),
                 1);
    pair_unlock(p, A);
    cr_assert_eq(pair_try_send(p, A, so[0], "def", 3), 3);
    cr_assert_neq(pair_ready(p, A, so[1]) & STACK_PRI, 0);
    cr_assert_eq(pair_try_recv(p, A, so[1], buf, 32), 3);
    cr_assert_arr_eq(buf, "abc", 3);
    v = (struct iovec){buf, 1};
    cr_assert_eq(stack_recv(pair_lock(p, A), so[1], &v, 1, STACK_MSG_OOB, NULL),
                 1);
    pair_unlock(p, A);
    cr_assert_eq(buf[0], '!');
    cr_assert_eq(pair_try_recv(p, A, so[1], buf, 32), 3);
    cr_assert_arr_eq(buf, "def", 3);
    pair_close(p, A, so[0]);
    pair_close(p, A, so[1]);
    finish(p, 6);
}

/* TCP_CORK holds a partial segment back for 200 ms, here too. */
Test(fuse, cork) {
    struct sock *so[2];
    struct pair *p = start(so);
    uint8_t buf[32];
    pair_setopt(p, A, so[0], STACK_OPT_CORK, 1);
    cr_assert_eq(pair_try_send(p, A, so[0], "abc", 3), 3);
    cr_assert_eq(pair_try_recv(p, A, so[1], buf, 32), -EAGAIN);
    pair_run(p, 250 * MSEC);
    cr_assert_eq(pair_try_recv(p, A, so[1], buf, 32), 3);
    cr_assert_eq(pair_try_send(p, A, so[0], "def", 3), 3);
    pair_setopt(p, A, so[0], STACK_OPT_CORK, 0);
    cr_assert_eq(pair_try_recv(p, A, so[1], buf, 32), 3);
    pair_close(p, A, so[0]);
    pair_close(p, A, so[1]);
    finish(p, 6);
}

static struct sock *victim;
static void close_victim(struct pair *p) { pair_close(p, A, victim); }
static void shut_victim(struct pair *p) {
    pair_shutdown(p, A, victim, STACK_SHUT_WR);
}

/* The world changes while a sender copies. */
Test(fuse, a_loan_whose_peer_closes) {
    struct sock *so[2];
    struct pair *p = start(so);
    bool lent;
    victim = so[1];
    cr_assert_eq(lend(p, so[0], 1, 0, 100000, close_victim, &lent), 100000);
    cr_assert(lent);
    cr_assert_eq(pair_getopt(p, A, so[0], STACK_OPT_ERROR), EPIPE);
    pair_close(p, A, so[0]);
    finish(p, 0);
}

Test(fuse, a_loan_that_is_shut_down) {
    struct sock *so[2];
    struct pair *p = start(so);
    bool lent;
    victim = so[0];
    cr_assert_eq(lend(p, so[0], 1, 0, 100000, shut_victim, &lent), -EPIPE);
    pair_close(p, A, so[0]);
    pair_close(p, A, so[1]);
    finish(p, 0);
}

/* TCP_INFO counts what the program did, not how it was done. */
Test(fuse, info_counts_bytes) {
    struct sock *so[2], *cursor = NULL;
    struct pair *p = start(so);
    struct stack_sock_info info;
    cr_assert_eq(push(p, so[0], 1, 0, 5000), 5000);
    while (stack_each_sock(p->side[A].st, &cursor, &info)) {
        if (cursor == so[0]) {
            cr_assert_eq(info.tcp.bytes_sent, 5000);
            cr_assert_eq(info.tcp.bytes_acked, 5000);
            cr_assert_eq(info.sendq, 0);
        } else if (cursor == so[1]) {
            cr_assert_eq(info.tcp.bytes_received, 5000);
            cr_assert_eq(info.recvq, 5000);
        }
    }
    cr_assert_eq(pull(p, so[1], 1, 0, 5000), 5000);
    pair_close(p, A, so[0]);
    pair_close(p, A, so[1]);
    finish(p, 5000);
}

/* After a death inside the lock, work on one end is work on both; others are
 * fused again. */
Test(fuse, repair) {
    struct sock *so[2];
    struct pair *p = start(so);
    cr_assert_eq(push(p, so[0], 1, 0, 5000), 5000);
    struct stack *st = pair_lock(p, A);
    st->sh->busy = so[1];
    stack_repair(st);
    stack_repair_hold(so[0]);
    stack_repair_hold(so[1]);
    stack_repair_end(st);
    pair_unlock(p, A);
    cr_assert_eq(pair_getopt(p, A, so[0], STACK_OPT_ERROR), ECONNRESET);
    cr_assert_eq(pair_getopt(p, A, so[1], STACK_OPT_ERROR), ECONNRESET);
    pair_drop(p);
    p = start(so);
    st = pair_lock(p, A);
    st->sh->busy = NULL;
    stack_repair(st);
    stack_repair_hold(so[0]);
    stack_repair_hold(so[1]);
    stack_repair_end(st);
    pair_unlock(p, A);
    cr_assert_eq(push(p, so[0], 1, 0, 5000), 5000);
    cr_assert_eq(pull(p, so[1], 1, 0, 5000), 5000);
    cr_assert_eq(pair_count(p, A)->tcp_fused, 2);
    pair_close(p, A, so[0]);
    pair_close(p, A, so[1]);
    finish(p, 5000);
}
