/* Closing: RFC 9293 sections 3.6, 3.10.4 and the closing states of 3.10.7.4;
 * RFC 2525 section 2.17; RFC 6191; tcp(7). */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_tcp.h"

/* We close first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT (figure 12). */
Test(tcp_close, active) {
    struct conn c = conn_in(ESTABLISHED);
    conn_close(&c);
    to_peer(&c, TCP_FIN | TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_table_state(&c), FIN_WAIT1);
    from_peer(&c, TCP_ACK, 1, 2, 0);
    cr_assert_eq(conn_table_state(&c), FIN_WAIT2);
    from_peer(&c, TCP_FIN | TCP_ACK, 1, 2, 0);
    to_peer(&c, TCP_ACK, 2, 2, 0);
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    expect_quiet_for(&c, 59 * SEC);
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    expect_quiet_for(&c, 2 * SEC);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    wire_end(c.w);
}

/* The peer closes first: CLOSE-WAIT, LAST-ACK, no TIME-WAIT. */
Test(tcp_close, passive) {
    struct conn c = conn_in(CLOSE_WAIT);
    cr_assert_eq(conn_ready(&c), STACK_IN | STACK_OUT | STACK_RDHUP);
    char b;
    cr_assert_eq(conn_recv_flags(&c, &b, 1, 0), 0);
    conn_send(&c, 5); /* we may still talk */
    to_peer(&c, TCP_ACK | TCP_PSH, 1, 2, 5);
    conn_close(&c);
    to_peer(&c, TCP_FIN | TCP_ACK, 6, 2, 0);
    cr_assert_eq(conn_table_state(&c), LAST_ACK);
    from_peer(&c, TCP_ACK, 2, 7, 0);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    expect_quiet_for(&c, 100 * SEC);
    wire_end(c.w);
}

/* Both at once (figure 13): CLOSING, then TIME-WAIT. */
Test(tcp_close, simultaneous) {
    struct conn c = conn_in(CLOSING);
    cr_assert_eq(conn_ready(&c) & STACK_HUP, STACK_HUP);
    conn_close(&c);
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK, 2, 2, 0);
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    conn_end(&c);
}

/* FIN and the ACK of our FIN in one segment: FIN-WAIT-1 to TIME-WAIT. */
Test(tcp_close, fin_ack_of_fin) {
    struct conn c = conn_in(FIN_WAIT1);
    from_peer(&c, TCP_FIN | TCP_ACK, 1, 2, 0);
    to_peer(&c, TCP_ACK, 2, 2, 0);
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    conn_end(&c);
}

/* Half close: after our FIN the peer's data still arrives and is read. */
Test(tcp_close, half) {
    struct conn c = conn_in(FIN_WAIT2);
    cr_assert_eq(conn_ready(&c), STACK_OUT, "writing fails at once: writable");
    cr_assert_eq(conn_send(&c, 1), -EPIPE);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 2, 100);
    cr_assert_eq(conn_recv(&c, 1000), 100);
    wire_run(c.w, 300 * SEC); /* no limit while somebody holds the socket */
    cr_assert_eq(conn_state(&c), FIN_WAIT2);
    conn_end(&c);
}

/* Data before the FIN is read in TIME-WAIT and after it. */
Test(tcp_close, data_survives_time_wait) {
    struct conn c = conn_in(FIN_WAIT2);
    from_peer(&c, TCP_FIN | TCP_ACK | TCP_PSH, 1, 2, 50);
    to_peer(&c, TCP_ACK, 2, 52, 0);
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    cr_assert_eq(conn_ready(&c),
                 STACK_IN | STACK_OUT | STACK_HUP | STACK_RDHUP);
    expect_quiet_for(&c, 100 * SEC);
    cr_assert_eq(conn_recv(&c, 100), 50);
    cr_assert_eq(conn_recv(&c, 100), 0);
    conn_close(&c);
    wire_end(c.w);
}

/* FIN waits for the data before it. */
Test(tcp_close, fin_after_unsent_data) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 100});
    conn_send(&c, 150);
    to_peer(&c, TCP_ACK, 1, 1, 100);
    conn_close(&c);
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK, 1, 101, 0);
    to_peer(&c, TCP_FIN | TCP_ACK | TCP_PSH, 101, 1, 50);
    conn_end(&c);
}

/* A lost FIN is sent again, data and all. */
Test(tcp_close, fin_is_repeated) {
    struct conn c = conn_in(ESTABLISHED);
    conn_send(&c, 10);
    to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10);
    conn_close(&c);
    to_peer(&c, TCP_FIN | TCP_ACK, 11, 1, 0);
    conn_run_to_segment(&c, SEC);
    to_peer(&c, TCP_FIN | TCP_ACK | TCP_PSH, 1, 1, 10);
    from_peer(&c, TCP_ACK, 1, 11, 0);
    conn_run_to_segment(&c, SEC);
    to_peer(&c, TCP_FIN | TCP_ACK, 11, 1, 0);
    from_peer(&c, TCP_ACK, 1, 12, 0);
    cr_assert_eq(conn_table_state(&c), FIN_WAIT2);
    conn_end(&c);
}

/* RFC 2525 section 2.17, RFC 9293 section 3.10.4: unread data at close. */
Test(tcp_close, unread_data_resets) {
    struct conn c = conn_in(ESTABLISHED);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10);
    conn_close(&c);
    to_peer(&c, TCP_RST | TCP_ACK, 1, 11, 0);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
}

Test(tcp_close, linger_zero_resets) {
    struct conn c = conn_in(ESTABLISHED);
    conn_opt(&c, STACK_OPT_LINGER, 0);
    conn_send(&c, 10);
    to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10);
    conn_close(&c);
    to_peer(&c, TCP_RST | TCP_ACK, 11, 1, 0);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    expect_quiet_for(&c, 10 * SEC);
    conn_end(&c);
}

/* Data for a socket nobody holds any more: reset (RFC 9293 section 3.6.1). */
Test(tcp_close, data_after_close) {
    struct conn c = conn_in(FIN_WAIT2);
    conn_close(&c);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 2, 10);
    expect_tcp(c.w, (struct seg){.flags = TCP_RST | TCP_ACK,
                                 .seq = c.iss + 2,
                                 .any_ack = true});
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
}

/* An orphan leaves FIN-WAIT-2 after 60 s, or TCP_LINGER2. */
Test(tcp_close, fin_wait_2_time_out) {
    struct conn c = conn_in(FIN_WAIT2);
    conn_close(&c);
    expect_quiet_for(&c, 59 * SEC);
    cr_assert_eq(conn_table_state(&c), FIN_WAIT2);
    expect_quiet_for(&c, 2 * SEC);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
    c = conn_in(FIN_WAIT2);
    cr_assert_eq(conn_opt(&c, STACK_OPT_LINGER2, 5), 0);
    conn_close(&c);
    expect_quiet_for(&c, 6 * SEC);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
}

/* Negative TCP_LINGER2: no FIN-WAIT-2 at all for an orphan. */
Test(tcp_close, linger2_off) {
    struct conn c = conn_in(FIN_WAIT2);
    conn_opt(&c, STACK_OPT_LINGER2, -1);
    conn_close(&c);
    to_peer(&c, TCP_RST | TCP_ACK, 2, 1, 0);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
}

/* Orphans give up after eight repetitions. */
Test(tcp_close, orphan_retries) {
    struct conn c = conn_in(ESTABLISHED);
    conn_send(&c, 10);
    to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10);
    conn_close(&c);
    to_peer(&c, TCP_FIN | TCP_ACK, 11, 1, 0);
    for (int i = 0; i < 8; i++) {
        cr_assert_neq(conn_run_to_segment(&c, 130 * SEC), NSTIME_NEVER);
        to_peer(&c, TCP_FIN | TCP_ACK | TCP_PSH, 1, 1, 10);
    }
    conn_run_to_segment(&c, 130 * SEC);
    to_peer(&c, TCP_RST | TCP_ACK, 12, 1, 0);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
}

/* RST in each state; RFC 9293 section 3.10.7.4, second. */
Test(tcp_close, reset_in_every_state) {
    static const struct {
        int state, err;
        uint32_t seq;
    } cases[] = {
        {ESTABLISHED, ECONNRESET, 1},
        {FIN_WAIT1, ECONNRESET, 1},
        {FIN_WAIT2, ECONNRESET, 1},
        {CLOSE_WAIT, EPIPE, 2},
        {CLOSING, ECONNRESET, 2},
        {LAST_ACK, ECONNRESET, 2},
        {TIME_WAIT, 0, 2},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conn c = conn_in(cases[i].state);
        from_peer(&c, TCP_RST, cases[i].seq, 0, 0);
        expect_nothing(c.w);
        cr_assert_eq(conn_table_state(&c), CLOSED, "case %u", i);
        cr_assert_eq(conn_error(&c), cases[i].err, "case %u", i);
        cr_assert_eq(conn_ready(&c) & STACK_HUP, STACK_HUP);
        conn_end(&c);
    }
}

/* After a reset: what came before can be read, then the error, then the end;
 * writing says the error once, then EPIPE. */
Test(tcp_close, after_a_reset) {
    struct conn c = conn_in(ESTABLISHED);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10);
    from_peer(&c, TCP_RST, 11, 0, 0);
    cr_assert_eq(conn_ready(&c),
                 STACK_IN | STACK_OUT | STACK_ERR | STACK_HUP | STACK_RDHUP);
    cr_assert_eq(conn_recv(&c, 100), 10);
    cr_assert_eq(conn_recv(&c, 100), -ECONNRESET);
    cr_assert_eq(conn_recv(&c, 100), 0);
    cr_assert_eq(conn_send(&c, 1), -EPIPE);
    conn_end(&c);
}

/* FIN in the closing states: answered, TIME-WAIT starts over. */
Test(tcp_close, repeated_fin) {
    struct conn c = conn_in(TIME_WAIT);
    wire_run(c.w, 50 * SEC);
    from_peer(&c, TCP_FIN | TCP_ACK, 1, 2, 0);
    to_peer(&c, TCP_ACK, 2, 2, 0);
    wire_run(c.w, 50 * SEC);
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    wire_run(c.w, 11 * SEC);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
    c = conn_in(CLOSE_WAIT);
    from_peer(&c, TCP_FIN | TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 2, 0);
    cr_assert_eq(conn_state(&c), CLOSE_WAIT);
    conn_end(&c);
}

/* TIME-WAIT: old data is acknowledged again, a plain ACK is not answered. */
Test(tcp_close, time_wait_segments) {
    struct conn c = conn_in(TIME_WAIT);
    from_peer(&c, TCP_ACK, 2, 2, 0);
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 2, 10);
    to_peer(&c, TCP_ACK, 2, 2, 0);
    from_peer(&c, TCP_RST, 1, 0, 0); /* RFC 1337: does not fit exactly */
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    conn_end(&c);
}

/* A listener, and a TIME-WAIT of a connection to it. */
static struct conn server_time_wait(const struct peer_syn *p) {
    struct conn c = conn_accepted(p);
    conn_close(&c);
    to_peer(&c, TCP_FIN | TCP_ACK, 1, 1, 0);
    from_peer(&c, TCP_FIN | TCP_ACK, 1, 2, 0);
    to_peer(&c, TCP_ACK, 2, 2, 0);
    cr_assert_eq(conn_table_state(&c), TIME_WAIT);
    return c;
}

/* RFC 1122 section 4.2.2.13: a SYN with a higher number reopens the tuple, and
 * our new ISN is beyond the old connection's. */
Test(tcp_close, time_wait_reopened) {
    struct conn c = server_time_wait(NULL);
    from_peer(&c, TCP_SYN, 1, 0, 0); /* not beyond rcv_nxt: 2 */
    to_peer(&c, TCP_ACK, 2, 2, 0);
    from_peer(&c, TCP_SYN, 100000, 0, 0);
    const struct got *g =
        expect_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                                     .any_seq = true,
                                     .ack = PEER_ISS + 100001});
    cr_assert_eq(g->tcp.seq, c.iss + 2 + 65537);
    conn_end(&c);
}

/* RFC 6191: with timestamps the timestamp decides. */
Test(tcp_close, time_wait_reopened_by_timestamp) {
    struct conn c = server_time_wait(&(struct peer_syn){.ts = true});
    c.tsval = 999;
    from_peer(&c, TCP_SYN, 100000, 0, 0);
    to_peer(&c, TCP_ACK, 2, 2, 0);
    c.tsval = 1001;
    from_peer(&c, TCP_SYN, 0, 0, 0);
    expect_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                                 .any_seq = true,
                                 .ack = PEER_ISS + 1});
    conn_end(&c);
}

/* Without a listener even a lawful SYN gets the old connection's ACK. */
Test(tcp_close, time_wait_without_listener) {
    struct conn c = conn_in(TIME_WAIT);
    from_peer(&c, TCP_SYN, 100000, 0, 0);
    to_peer(&c, TCP_ACK, 2, 2, 0);
    conn_end(&c);
}

/* shutdown(SHUT_RD): the program reads the end, the peer notices nothing. */
Test(tcp_close, shut_for_reading) {
    struct conn c = conn_in(ESTABLISHED);
    cr_assert_eq(conn_shutdown(&c, STACK_SHUT_RD), 0);
    expect_nothing(c.w);
    cr_assert_eq(conn_ready(&c), STACK_IN | STACK_OUT | STACK_RDHUP);
    cr_assert_eq(conn_recv(&c, 10), 0);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10); /* as Linux: taken */
    cr_assert_eq(conn_recv(&c, 10), 10);
    conn_end(&c);
}

Test(tcp_close, shutdown_without_connection) {
    struct conn c = {.w = wire_new(NULL)};
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    cr_assert_eq(conn_shutdown(&c, STACK_SHUT_RDWR), -ENOTCONN);
    conn_end(&c);
}

/* close during the handshake: silence, and a late SYN-ACK is reset. */
Test(tcp_close, in_syn_sent) {
    struct conn c = {.w = wire_new(NULL), .wnd = 1000};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    CALL(c.w, stack_connect(c.w->st, c.so, &to));
    c.iss = take(c.w)->tcp.seq;
    conn_close(&c);
    expect_quiet_for(&c, 5 * SEC);
    from_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    to_peer(&c, TCP_RST, 1, 0, 0);
    wire_end(c.w);
}

/* connect(AF_UNSPEC) resets and makes the socket new. */
Test(tcp_close, disconnect) {
    struct conn c = conn_in(ESTABLISHED);
    cr_assert_eq(CALL(c.w, stack_connect(c.w->st, c.so, NULL)), 0);
    to_peer(&c, TCP_RST | TCP_ACK, 1, 1, 0);
    cr_assert(conn_ready(&c) & STACK_ERR);
    cr_assert_eq(conn_error(&c), ECONNRESET);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    cr_assert_eq(CALL(c.w, stack_connect(c.w->st, c.so, &to)), -EINPROGRESS);
    conn_end(&c);
}

/* One connection from the peer's port, accepted, closed by us, in TIME-WAIT. */
static void pass_through(struct wire *w, struct sock *ls, uint16_t port) {
    struct seg s = {.flags = TCP_SYN, .sport = port, .seq = PEER_ISS};
    wire_tcp(w, s);
    s.flags = TCP_ACK;
    s.seq = PEER_ISS + 1;
    s.ack = take(w)->tcp.seq + 1;
    wire_tcp(w, s);
    struct sock *so;
    cr_assert_eq(CALL(w, stack_accept(w->st, ls, &so)), 0);
    wire_close(w, so);
    take(w);
    s.flags = TCP_FIN | TCP_ACK;
    s.ack++;
    wire_tcp(w, s);
    take(w);
}

/* TIME-WAITs are bounded in number: beyond 16,384 the oldest makes room. */
Test(tcp_close, time_wait_bounded) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    struct sock *ls = wire_socket(w, STACK_STREAM, OUR_PORT);
    CALL(w, stack_listen(w->st, ls, 5));
    for (uint16_t i = 0; i < 16384 + 10; i++)
        pass_through(w, ls, (uint16_t)(10000 + i));
    cr_assert_eq(counter(w, tcp_time_waits), 16394);
    cr_assert_eq(counter(w, tcp_tw_evicted), 10);
    wire_close(w, ls);
    wire_run(w, 61 * SEC);
    struct sock *cursor = NULL;
    struct stack_sock_info i;
    cr_assert_not(stack_each_sock(w->st, &cursor, &i), "none is left");
    wire_drop(w);
}
