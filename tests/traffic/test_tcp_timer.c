/* Silence: keepalive (RFC 9293 section 3.8.4) and its options, an idle
 * connection's price. */
#include <criterion/criterion.h>
#include <errno.h>

#include "stack/shared.h"
#include "tests/traffic/lib_tcp.h"

#undef MSEC
#undef SEC
#include "stack/tcp/tcp.h"

/* Keepalive is off by default, and an idle connection costs nothing. */
Test(tcp_timer, idle) {
    struct conn c = conn_connected(NULL);
    cr_assert_eq(stack_deadline(c.w->st), NSTIME_NEVER);
    expect_quiet_for(&c, 100000 * SEC);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    conn_end(&c);
}

/* An idle connection takes at most 1 KiB of the arena, all in. */
Test(tcp_timer, idle_memory) {
    struct conn c = conn_connected(NULL);
    size_t before = c.w->st->sh->heap.used;
    conn_send(&c, 1000);
    to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 1000);
    from_peer(&c, TCP_ACK, 1, 1001, 1000);
    conn_recv(&c, 2000);
    struct conn d = c;
    d.so = wire_socket(c.w, STACK_STREAM, OUR_PORT + 1);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    CALL(c.w, stack_connect(c.w->st, d.so, &to));
    size_t cost = c.w->st->sh->heap.used - before;
    cr_assert_leq(cost, 1024, "%zu", cost);
    conn_close(&d);
    conn_end(&c);
}

/* TCP_KEEPIDLE, KEEPINTVL, KEEPCNT: probes below the window; no answer ends it
 * with ETIMEDOUT. */
Test(tcp_timer, keepalive_dead_peer) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_KEEPIDLE, 100);
    conn_opt(&c, STACK_OPT_KEEPINTVL, 10);
    conn_opt(&c, STACK_OPT_KEEPCNT, 3);
    conn_opt(&c, STACK_OPT_KEEPALIVE, 1);
    cr_assert_eq(conn_run_to_segment(&c, 1000 * SEC), 100 * SEC);
    to_peer(&c, TCP_ACK, 0, 1, 0);
    cr_assert_eq(conn_run_to_segment(&c, 1000 * SEC), 10 * SEC);
    to_peer(&c, TCP_ACK, 0, 1, 0);
    cr_assert_eq(conn_run_to_segment(&c, 1000 * SEC), 10 * SEC);
    to_peer(&c, TCP_ACK, 0, 1, 0);
    cr_assert_eq(conn_run_to_segment(&c, 1000 * SEC), 10 * SEC);
    to_peer(&c, TCP_RST | TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_error(&c), ETIMEDOUT);
    conn_end(&c);
}

/* A live peer's answer starts the wait over; so does data. */
Test(tcp_timer, keepalive_live_peer) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_KEEPIDLE, 100);
    conn_opt(&c, STACK_OPT_KEEPALIVE, 1);
    for (int i = 0; i < 5; i++) {
        conn_run_to_segment(&c, 1000 * SEC);
        to_peer(&c, TCP_ACK, 0, 1, 0);
        from_peer(&c, TCP_ACK, 1, 1, 0);
    }
    expect_quiet_for(&c, 90 * SEC);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10);
    conn_run_to_segment(&c, SEC);
    to_peer(&c, TCP_ACK, 1, 11, 0);
    expect_quiet_for(&c, 98 * SEC);
    cr_assert_leq(conn_run_to_segment(&c, 1000 * SEC), 3 * SEC);
    to_peer(&c, TCP_ACK, 0, 11, 0);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    conn_end(&c);
}

/* Switched on with the default of two hours, and off again. */
Test(tcp_timer, keepalive_default) {
    struct conn c = conn_connected(NULL);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_KEEPIDLE), 7200);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_KEEPINTVL), 75);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_KEEPCNT), 9);
    conn_opt(&c, STACK_OPT_KEEPALIVE, 1);
    cr_assert_eq(conn_run_to_segment(&c, 10000 * SEC), 7200 * SEC);
    to_peer(&c, TCP_ACK, 0, 1, 0);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    conn_opt(&c, STACK_OPT_KEEPALIVE, 0);
    expect_quiet_for(&c, 20000 * SEC);
    conn_end(&c);
}

/* A peer that has crashed and restarted answers a probe with a reset. */
Test(tcp_timer, keepalive_restarted_peer) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_KEEPALIVE, 1);
    conn_run_to_segment(&c, 10000 * SEC);
    to_peer(&c, TCP_ACK, 0, 1, 0);
    from_peer(&c, TCP_RST, 1, 0, 0);
    cr_assert_eq(conn_error(&c), ECONNRESET);
    conn_end(&c);
}

/* Ranges of the options, as Linux has them. */
Test(tcp_timer, option_ranges) {
    static const struct {
        enum stack_opt opt;
        int64_t v;
        int want;
    } cases[] = {
        {STACK_OPT_KEEPIDLE, 0, -EINVAL},
        {STACK_OPT_KEEPIDLE, 32768, -EINVAL},
        {STACK_OPT_KEEPIDLE, 32767, 0},
        {STACK_OPT_KEEPINTVL, 0, -EINVAL},
        {STACK_OPT_KEEPCNT, 128, -EINVAL},
        {STACK_OPT_KEEPCNT, 127, 0},
        {STACK_OPT_SYNCNT, 0, -EINVAL},
        {STACK_OPT_SYNCNT, 127, 0},
        {STACK_OPT_MAXSEG, 87, -EINVAL},
        {STACK_OPT_MAXSEG, 32768, -EINVAL},
        {STACK_OPT_MAXSEG, 88, 0},
        {STACK_OPT_USER_TIMEOUT, -1, -EINVAL},
        {STACK_OPT_LINGER2, 1000, 0},
        {STACK_OPT_DEFER_ACCEPT, 5, 0},
    };
    struct conn c = {.w = wire_new(NULL)};
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_assert_eq(conn_opt(&c, cases[i].opt, cases[i].v), cases[i].want,
                     "case %u", i);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_LINGER2), 120);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_DEFER_ACCEPT), 7);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_MAXSEG), 88);
    conn_end(&c);
}

/* A socket that was never connected: poll says OUT|HUP, as Linux does. */
Test(tcp_timer, fresh_socket) {
    struct conn c = {.w = wire_new(NULL)};
    c.so = wire_socket(c.w, STACK_STREAM, 0);
    char b;
    cr_assert_eq(conn_ready(&c), STACK_OUT | STACK_HUP);
    cr_assert_eq(conn_recv_flags(&c, &b, 1, 0), -ENOTCONN);
    cr_assert_eq(CALL(c.w, stack_send(c.w->st, c.so, &(struct iovec){&b, 1}, 1,
                                      0, NULL)),
                 -EPIPE);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_MAXSEG), 536);
    conn_end(&c);
}
