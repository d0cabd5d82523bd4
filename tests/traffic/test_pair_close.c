/* Two stacks: how connections end (RFC 9293 section 3.6, RFC 1122 4.2.2.13). */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_flow.h"
#include "tests/traffic/lib_pair.h"
#include "tests/traffic/lib_police.h"

enum {
    ESTABLISHED = 1,
    FIN_WAIT1 = 4,
    FIN_WAIT2,
    TIME_WAIT,
    CLOSED,
    CLOSE_WAIT,
    LAST_ACK,
    CLOSING = 11
};

static uint8_t buf[1 << 20];

/* One side says it has no more; the other goes on for a while. */
static void half_close(int first) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    int second = !first;
    pair_connected(p, 80, so);
    cr_assert_eq(pair_send(p, first, so[first], "last", 4), 4);
    cr_assert_eq(pair_shutdown(p, first, so[first], STACK_SHUT_WR), 0);
    cr_assert_eq(pair_recv_all(p, second, so[second], buf, 10), 4);
    cr_assert_eq(pair_recv(p, second, so[second], buf, 10), 0);
    cr_assert_eq(pair_state(p, first, so[first]), FIN_WAIT2);
    cr_assert_eq(pair_state(p, second, so[second]), CLOSE_WAIT);
    uint32_t r = pair_ready(p, second, so[second]);
    cr_assert_eq(r & (STACK_IN | STACK_RDHUP | STACK_OUT),
                 STACK_IN | STACK_RDHUP | STACK_OUT);
    cr_assert_eq(pair_send(p, first, so[first], "x", 1), -EPIPE);
    /* An hour later the half that is open still works. */
    pair_run(p, 3600 * SEC);
    pattern_fill(1, 0, buf, 50000);
    cr_assert_eq(pair_send(p, second, so[second], buf, 50000), 50000);
    memset(buf, 0, 50000);
    cr_assert_eq(pair_recv_all(p, first, so[first], buf, 50000), 50000);
    cr_assert_eq(pattern_check(1, 0, buf, 50000), -1);
    pair_close(p, second, so[second]);
    cr_assert_eq(pair_recv(p, first, so[first], buf, 10), 0);
    pair_close(p, first, so[first]);
    cr_assert_eq(police_count(p->side[A].police)->rst, 0);
    cr_assert_eq(police_count(p->side[B].police)->rst, 0);
    pair_end(p);
}

Test(pair_close, half_close_by_client) { half_close(A); }
Test(pair_close, half_close_by_server) { half_close(B); }

/* RFC 9293 3.6, figure 13: both FINs cross; both end in TIME-WAIT. */
Test(pair_close, simultaneous_close) {
    struct pair *p =
        pair_new(&(struct pair_config){.fault = {"delay=10ms", "delay=10ms"}});
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_run(p, SEC);
    for (int s = A; s <= B; s++)
        cr_assert_eq(pair_shutdown(p, s, so[s], STACK_SHUT_WR), 0);
    for (int s = A; s <= B; s++)
        cr_assert_eq(pair_state(p, s, so[s]), FIN_WAIT1);
    pair_run(p, 15 * MSEC);
    for (int s = A; s <= B; s++)
        cr_assert_eq(pair_state(p, s, so[s]), CLOSING);
    pair_run(p, 10 * MSEC);
    for (int s = A; s <= B; s++) {
        int state = pair_state(p, s, so[s]);
        cr_assert(state == TIME_WAIT || state == CLOSED, "%d", state);
        cr_assert_eq(pair_recv(p, s, so[s], buf, 1), 0);
        pair_close(p, s, so[s]);
    }
    pair_end(p);
}

/* Who closes first waits; the other is gone at once. */
Test(pair_close, time_wait_is_on_the_first_closer) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_close(p, A, so[A]);
    cr_assert_eq(pair_recv(p, B, so[B], buf, 1), 0);
    pair_close(p, B, so[B]);
    pair_settle(p);
    cr_assert_eq(pair_sockets(p, B), 0);
    cr_assert_eq(stack_orphans(p->side[A].st), 0);
    cr_assert_eq(stack_orphans(p->side[B].st), 0);
    pair_run(p, 50 * SEC);
    cr_assert_eq(pair_sockets(p, A), 1, "TIME-WAIT is too short");
    pair_run(p, 75 * SEC);
    cr_assert_eq(pair_sockets(p, A), 0, "TIME-WAIT is too long");
    pair_end(p);
}

/* RFC 1122 4.2.2.13: close with unread data resets. */
Test(pair_close, unread_data_resets) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    cr_assert_eq(pair_send(p, A, so[A], "unread", 6), 6);
    pair_settle(p);
    pair_close(p, B, so[B]);
    cr_assert_eq(pair_recv(p, A, so[A], buf, 10), -ECONNRESET);
    cr_assert_eq(pair_recv(p, A, so[A], buf, 10), 0);
    cr_assert_eq(pair_send(p, A, so[A], "x", 1), -EPIPE);
    cr_assert_eq(police_count(p->side[B].police)->rst, 1);
    cr_assert_eq(police_count(p->side[B].police)->fin, 0);
    pair_close(p, A, so[A]);
    pair_end(p);
}

/* Data to a program that has left is answered by a reset. */
Test(pair_close, data_after_close_resets) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_close(p, B, so[B]);
    pair_settle(p);
    cr_assert_eq(pair_send(p, A, so[A], "late", 4), 4);
    pair_settle(p);
    cr_assert_eq(pair_send(p, A, so[A], "late", 4), -EPIPE);
    pair_close(p, A, so[A]);
    pair_end(p);
}

Test(pair_close, linger_zero_resets) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    cr_assert_eq(pair_setopt(p, A, so[A], STACK_OPT_LINGER, 0), 0);
    pair_close(p, A, so[A]);
    pair_settle(p);
    cr_assert_eq(pair_sockets(p, A), 0);
    cr_assert_eq(pair_ready(p, B, so[B]) & (STACK_ERR | STACK_HUP),
                 STACK_ERR | STACK_HUP);
    cr_assert_eq(pair_recv(p, B, so[B], buf, 1), -ECONNRESET);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* Close does not lose what was written, whatever its size and the window. */
Test(pair_close, unsent_data_is_delivered) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    size_t n = 0, got = 0;
    while (pair_ready(p, A, so[A]) & STACK_OUT) {
        pattern_fill(3, n, buf, 4096);
        ssize_t r = pair_try_send(p, A, so[A], buf, 4096);
        cr_assert_gt(r, 0);
        n += (size_t)r;
        pair_settle(p); /* until the peer's buffer is full as well */
    }
    cr_assert_gt(n, 4096);
    cr_assert(stack_unsent(p->side[A].st, so[A]));
    pair_close(p, A, so[A]);
    pair_run(p, 30 * SEC);
    cr_assert_eq(stack_orphans(p->side[A].st), 1);
    for (ssize_t r; (r = pair_recv(p, B, so[B], buf, 5000)) != 0;) {
        cr_assert_gt(r, 0);
        cr_assert_eq(pattern_check(3, got, buf, (size_t)r), -1);
        got += (size_t)r;
    }
    cr_assert_eq(got, n);
    pair_close(p, B, so[B]);
    pair_settle(p);
    cr_assert_eq(stack_orphans(p->side[A].st), 0);
    pair_end(p);
}

/* An orphan does not stay in FIN-WAIT-2 for ever (tcp(7), 60 s). */
Test(pair_close, orphan_leaves_fin_wait_2) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_close(p, A, so[A]);
    pair_run(p, 200 * SEC);
    cr_assert_eq(pair_sockets(p, A), 0);
    cr_assert_eq(pair_state(p, B, so[B]), CLOSE_WAIT);
    pair_close(p, B, so[B]);
    pair_settle(p);
    pair_end(p);
}

/* The same client port again, while the server's end is in TIME-WAIT. */
Test(pair_close, port_reused_out_of_time_wait) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, B, 80, 8);
    struct endpoint to = pair_at(p, B, 80), from = pair_at(p, A, 4000);
    for (int i = 0; i < 5; i++) {
        struct sock *c = pair_socket(p, A, STACK_STREAM);
        struct stack *st = pair_lock(p, A);
        cr_assert_eq(stack_setopt(st, c, STACK_OPT_REUSEADDR, 1), 0);
        cr_assert_eq(stack_bind(st, c, &from), 0);
        pair_unlock(p, A);
        cr_assert_eq(pair_connect(p, A, c, &to), 0, "round %d", i);
        struct sock *s = pair_accept(p, B, l);
        cr_assert_eq(pair_send(p, A, c, "abc", 3), 3);
        cr_assert_eq(pair_recv_all(p, B, s, buf, 3), 3);
        pair_close(p, B, s);
        cr_assert_eq(pair_recv(p, A, c, buf, 1), 0);
        pair_close(p, A, c);
        pair_run(p, SEC);
    }
    pair_close(p, B, l);
    pair_end(p);
}

/* shutdown(2) for reading: end of stream at once, the peer does not notice. */
Test(pair_close, shutdown_for_reading) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    cr_assert_eq(pair_shutdown(p, A, so[A], STACK_SHUT_RD), 0);
    cr_assert_eq(pair_recv(p, A, so[A], buf, 1), 0);
    cr_assert_eq(pair_state(p, B, so[B]), ESTABLISHED);
    cr_assert_eq(pair_send(p, A, so[A], "still", 5), 5);
    cr_assert_eq(pair_recv_all(p, B, so[B], buf, 5), 5);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

Test(pair_close, shutdown_both) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    cr_assert_eq(pair_shutdown(p, A, so[A], STACK_SHUT_RDWR), 0);
    cr_assert_eq(pair_recv(p, A, so[A], buf, 1), 0);
    cr_assert_eq(pair_send(p, A, so[A], "x", 1), -EPIPE);
    cr_assert_eq(pair_recv(p, B, so[B], buf, 1), 0);
    cr_assert_eq(pair_shutdown(p, B, so[B], STACK_SHUT_RDWR), 0);
    pair_settle(p);
    cr_assert(pair_ready(p, A, so[A]) & STACK_HUP);
    cr_assert(pair_ready(p, B, so[B]) & STACK_HUP);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* Every way to leave, in the middle of everything, on a bad link. */
static void leavers(const char *fault, uint64_t seed) {
    struct pair *p =
        pair_new(&(struct pair_config){.fault = {fault, fault}, .seed = seed});
    struct flows *fs = flows_new(p);
    flows_listen(fs, B, 80, 256);
    for (int i = 0; i < 100; i++) {
        struct flow_config c = {.client = A, .port = 80};
        c.start = rng_below(&p->rng, 2 * SEC);
        for (int k = 0; k < 2; k++) {
            struct plan *pl = &c.plan[k];
            pl->tx_bytes = rng_below(&p->rng, 100000);
            pl->write_max = pl->read_max = 1u << rng_below(&p->rng, 16);
            pl->leave = (enum leave)rng_below(&p->rng, 4);
            pl->leave_at = rng_below(&p->rng, 120000);
        }
        flow_add(fs, &c);
    }
    flows_run(fs, 900 * SEC);
    flows_end(fs);
    pair_end(p);
}

Test(pair_close, all_ways_on_a_good_link) { leavers("delay=5ms", 1); }
Test(pair_close, all_ways_on_a_bad_link) {
    leavers("delay=5ms,loss=5%,dup=2%,reorder=5%", 2);
}
