/* Opening connections: RFC 9293 sections 3.5, 3.10.7.2 and 3.10.7.3; time-outs
 * of RFC 6298; errors as Linux reports them. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_tcp.h"

/* A socket of ours that has just sent its SYN. */
static struct conn syn_sent(void) {
    struct conn c = {.w = wire_new(NULL), .wnd = 65535};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    cr_assert_eq(CALL(c.w, stack_connect(c.w->st, c.so, &to)), -EINPROGRESS);
    c.iss = expect_tcp(c.w, (struct seg){.flags = TCP_SYN, .any_seq = true})
                ->tcp.seq;
    return c;
}

/* A listener of ours, and the peer's SYN answered. */
static struct conn syn_recv(int backlog) {
    struct conn c = {.w = wire_new(NULL), .wnd = 65535};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    c.listener = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    cr_assert_eq(CALL(c.w, stack_listen(c.w->st, c.listener, backlog)), 0);
    from_peer(&c, TCP_SYN, 0, 0, 0);
    c.iss = expect_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                                         .any_seq = true,
                                         .ack = PEER_ISS + 1})
                ->tcp.seq;
    return c;
}

static int connect_again(struct conn *c) {
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    return CALL(c->w, stack_connect(c->w->st, c->so, &to));
}

/* The SYN carries MSS, SACK-permitted, timestamps and window scale. */
Test(tcp_open, syn_options) {
    struct conn c = {.w = wire_new(NULL)};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    CALL(c.w, stack_connect(c.w->st, c.so, &to));
    const struct got *g =
        expect_tcp(c.w, (struct seg){.flags = TCP_SYN, .any_seq = true});
    cr_assert_eq(g->opts.mss, 1460);
    cr_assert(g->opts.sack_permitted);
    cr_assert(g->opts.has_wscale);
    cr_assert_eq(g->opts.wscale, 7);
    cr_assert(g->opts.ts);
    cr_assert_eq(g->opts.tsecr, 0);
    cr_assert_eq(g->tcp.wnd, 65535);
    cr_assert_eq(g->tcp.ack, 0);
    cr_assert(g->ip.df);
    conn_end(&c);
}

Test(tcp_open, client) {
    struct conn c = syn_sent();
    cr_assert_eq(conn_state(&c), SYN_SENT);
    cr_assert_eq(conn_ready(&c), 0);
    cr_assert_eq(connect_again(&c), -EALREADY);
    cr_assert_eq(conn_send(&c, 1), -EAGAIN, "Linux waits");
    cr_assert_eq(conn_recv(&c, 1), -EAGAIN);
    from_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    cr_assert_eq(conn_ready(&c), STACK_OUT);
    cr_assert_eq(connect_again(&c), 0, "the result, told once");
    cr_assert_eq(connect_again(&c), -EISCONN);
    conn_end(&c);
}

/* Features are on only when both sides offered them; no MSS option means 536
 * (RFC 9293 MUST-15). */
Test(tcp_open, peer_offers_nothing) {
    struct conn c = conn_connected(&(struct peer_syn){.no_mss = true});
    cr_assert_eq(conn_info(&c).options, 0);
    cr_assert_eq(conn_info(&c).snd_mss, 536);
    conn_opt(&c, STACK_OPT_NODELAY, 1);
    conn_send(&c, 1000);
    const struct got *g = to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 1000);
    cr_assert_eq(g->meta.gso_size, 536);
    cr_assert(!g->opts.ts && !g->opts.n_sack);
    conn_end(&c);
}

Test(tcp_open, peer_offers_everything) {
    struct conn c = conn_connected(&(struct peer_syn){
        .sack = true, .ts = true, .has_wscale = true, .wscale = 9});
    struct stack_tcp_info i = conn_info(&c);
    cr_assert_eq(i.options, 7);
    cr_assert_eq(i.snd_mss, 1448, "MSS less 12 bytes of timestamps");
    cr_assert_eq(i.snd_wscale, 9);
    cr_assert_eq(i.rcv_wscale, 7);
    c.wnd = 1000;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_info(&c).snd_wnd, 1000u << 9);
    conn_end(&c);
}

/* RFC 7323 section 2.3: a shift above 14 is 14. */
Test(tcp_open, wild_window_scale) {
    struct conn c =
        conn_connected(&(struct peer_syn){.has_wscale = true, .wscale = 100});
    cr_assert_eq(conn_info(&c).snd_wscale, 14);
    conn_end(&c);
}

/* The SYN-ACK offers only what the SYN offered. */
Test(tcp_open, server_answers_in_kind) {
    struct conn c = syn_recv(5);
    wire_drop(c.w);
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    struct sock *ls = wire_socket(w, STACK_STREAM, OUR_PORT);
    CALL(w, stack_listen(w->st, ls, 5));
    wire_tcp(w, (struct seg){.flags = TCP_SYN, .seq = PEER_ISS});
    const struct got *g = expect_tcp(w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                                                     .any_seq = true,
                                                     .ack = PEER_ISS + 1});
    cr_assert(!g->opts.ts && !g->opts.has_wscale && !g->opts.sack_permitted);
    cr_assert_eq(g->opts.mss, 1460);
    wire_drop(w);
}

/* RFC 9293 section 3.10.7.3, first: a wrong ACK draws a reset and changes
 * nothing. */
Test(tcp_open, wrong_ack_in_syn_sent) {
    struct conn c = syn_sent();
    from_peer(&c, TCP_SYN | TCP_ACK, 0, 7, 0);
    to_peer(&c, TCP_RST, 7, 0, 0);
    from_peer(&c, TCP_RST | TCP_ACK, 0, 7, 0);
    expect_nothing(c.w);
    cr_assert_eq(conn_state(&c), SYN_SENT);
    from_peer(&c, TCP_RST, 0, 0, 0); /* second: RST without ACK is dropped */
    cr_assert_eq(conn_state(&c), SYN_SENT);
    from_peer(&c, TCP_ACK, 0, 1, 0); /* fifth: neither SYN nor RST */
    expect_nothing(c.w);
    cr_assert_eq(conn_state(&c), SYN_SENT);
    conn_end(&c);
}

/* Refused: ERR, HUP and the error, which can be had once. */
Test(tcp_open, refused) {
    struct conn c = syn_sent();
    from_peer(&c, TCP_RST | TCP_ACK, 0, 1, 0);
    expect_nothing(c.w);
    cr_assert_eq(conn_state(&c), CLOSED);
    cr_assert_eq(conn_ready(&c),
                 STACK_IN | STACK_OUT | STACK_ERR | STACK_HUP | STACK_RDHUP);
    cr_assert_eq(CALL(c.w, stack_connect_result(c.w->st, c.so)), -ECONNREFUSED);
    cr_assert_eq(conn_error(&c), 0);
    /* and the same socket may try again */
    cr_assert_eq(connect_again(&c), -EINPROGRESS);
    expect_tcp(c.w, (struct seg){.flags = TCP_SYN, .any_seq = true});
    conn_end(&c);
}

/* A second connect after an error in the background tells that error. */
Test(tcp_open, connect_tells_the_error) {
    struct conn c = syn_sent();
    from_peer(&c, TCP_RST | TCP_ACK, 0, 1, 0);
    cr_assert_eq(connect_again(&c), -ECONNREFUSED);
    cr_assert_eq(connect_again(&c), -EINPROGRESS);
    conn_end(&c);
}

/* RFC 6298: 1 s, doubling; ETIMEDOUT after three minutes (RFC 9293 MUST-23). */
Test(tcp_open, syn_times_out) {
    struct conn c = syn_sent();
    nstime_t start = c.w->now;
    static const unsigned due[] = {1, 3, 7, 15, 31, 63, 127};
    for (unsigned i = 0; i < 7; i++) {
        conn_run_to_segment(&c, 100 * SEC);
        const struct got *g = to_peer(&c, TCP_SYN, 0, 0, 0);
        cr_assert_eq(g->at - start, due[i] * SEC);
    }
    expect_quiet_for(&c, 52 * SEC);
    cr_assert_eq(conn_state(&c), SYN_SENT);
    expect_quiet_for(&c, 2 * SEC);
    cr_assert_eq(CALL(c.w, stack_connect_result(c.w->st, c.so)), -ETIMEDOUT);
    expect_quiet_for(&c, 300 * SEC);
    conn_end(&c);
}

Test(tcp_open, syn_count_option) {
    struct conn c = syn_sent();
    cr_assert_eq(conn_opt(&c, STACK_OPT_SYNCNT, 2), 0);
    wire_run(c.w, 8 * SEC);
    to_peer(&c, TCP_SYN, 0, 0, 0);
    to_peer(&c, TCP_SYN, 0, 0, 0);
    expect_nothing(c.w);
    cr_assert_eq(conn_error(&c), ETIMEDOUT);
    conn_end(&c);
}

/* With tcp_soft_errors any ICMP error ends an attempt with its own errno, as on
 * Linux; one about another sequence number does not (RFC 5927). */
Test(tcp_open, icmp_unreachable) {
    static const struct {
        uint8_t code;
        int err;
    } cases[] = {{0, ENETUNREACH}, {1, EHOSTUNREACH}, {3, ECONNREFUSED}};
    for (unsigned i = 0; i < 3; i++) {
        struct conn c = {.w = wire_new(NULL)};
        wire_meet(c.w, PEER_IP, PEER_MAC);
        stack_tune(c.w->st, "tcp_soft_errors=1");
        c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
        struct endpoint to = wire_at(PEER_IP, PEER_PORT);
        CALL(c.w, stack_connect(c.w->st, c.so, &to));
        const struct got *g =
            expect_tcp(c.w, (struct seg){.flags = TCP_SYN, .any_seq = true});
        struct icmp_hdr h = {.type = 3, .code = cases[i].code};
        wire_icmp_about(c.w, 0, h, g, 8);
        cr_assert_eq(conn_state(&c), CLOSED);
        cr_assert_eq(CALL(c.w, stack_connect_result(c.w->st, c.so)),
                     -cases[i].err);
        conn_end(&c);
    }
}

/* RFC 9293 section 3.5, figure 8: crossed SYNs. */
Test(tcp_open, simultaneous) {
    struct conn c = syn_sent();
    from_peer(&c, TCP_SYN, 0, 0, 0);
    to_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    cr_assert_eq(conn_state(&c), SYN_RECV);
    from_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    cr_assert_eq(connect_again(&c), 0);
    conn_send(&c, 10);
    to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 10);
    conn_end(&c);
}

/* Crossed SYNs, and our SYN-ACK is answered by a plain ACK. */
Test(tcp_open, simultaneous_plain_ack) {
    struct conn c = syn_sent();
    from_peer(&c, TCP_SYN, 0, 0, 0);
    to_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    conn_end(&c);
}

/* Crossed SYNs with a refusal: ECONNREFUSED. */
Test(tcp_open, simultaneous_reset) {
    struct conn c = syn_sent();
    from_peer(&c, TCP_SYN, 0, 0, 0);
    to_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    from_peer(&c, TCP_RST, 1, 0, 0);
    cr_assert_eq(conn_error(&c), ECONNREFUSED);
    conn_end(&c);
}

/* Data and even FIN may ride on the SYN-ACK. */
Test(tcp_open, syn_ack_with_data_and_fin) {
    struct conn c = syn_sent();
    wire_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK | TCP_FIN,
                               .seq = PEER_ISS,
                               .ack = c.iss + 1,
                               .data = "hello",
                               .len = 5});
    to_peer(&c, TCP_ACK, 1, 7, 0);
    cr_assert_eq(conn_state(&c), CLOSE_WAIT);
    char b[10];
    cr_assert_eq(conn_recv_flags(&c, b, 10, 0), 5);
    cr_assert_eq(conn_recv_flags(&c, b, 10, 0), 0);
    conn_end(&c);
}

Test(tcp_open, server) {
    struct conn c = syn_recv(5);
    struct sock *so;
    cr_assert_eq(stack_ready(c.w->st, c.listener), 0);
    cr_assert_eq(CALL(c.w, stack_accept(c.w->st, c.listener, &so)), -EAGAIN);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(stack_ready(c.w->st, c.listener), STACK_IN);
    cr_assert_eq(CALL(c.w, stack_accept(c.w->st, c.listener, &c.so)), 0);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    cr_assert_eq(stack_ready(c.w->st, c.listener), 0);
    struct endpoint e;
    cr_assert_eq(stack_getpeername(c.so, &e), 0);
    cr_assert_eq(e.port, PEER_PORT);
    conn_end(&c);
}

/* Third step of section 3.10.7.4's SYN-RECEIVED: a wrong ACK draws a reset,
 * and the handshake can still be completed. */
Test(tcp_open, wrong_ack_in_syn_recv) {
    struct conn c = syn_recv(5);
    from_peer(&c, TCP_ACK, 1, 77, 0);
    to_peer(&c, TCP_RST, 77, 0, 0);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(stack_ready(c.w->st, c.listener), STACK_IN);
    conn_end(&c);
}

/* SYN-RECEIVED from LISTEN: a reset leads back there, silently. */
Test(tcp_open, reset_in_syn_recv) {
    struct conn c = syn_recv(5);
    from_peer(&c, TCP_RST, 1, 0, 0);
    expect_nothing_for(c.w, 10 * SEC);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    from_peer(&c, TCP_SYN, 0, 0, 0);
    expect_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                                 .any_seq = true,
                                 .ack = PEER_ISS + 1});
    conn_end(&c);
}

/* The peer's SYN again: the SYN-ACK again. */
Test(tcp_open, repeated_syn) {
    struct conn c = syn_recv(5);
    from_peer(&c, TCP_SYN, 0, 0, 0);
    to_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    conn_end(&c);
}

/* Five repetitions of the SYN-ACK, then the child is forgotten. */
Test(tcp_open, syn_ack_times_out) {
    struct conn c = syn_recv(5);
    nstime_t start = c.w->now;
    static const unsigned due[] = {1, 3, 7, 15, 31};
    for (unsigned i = 0; i < 5; i++) {
        conn_run_to_segment(&c, 100 * SEC);
        const struct got *g = to_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
        cr_assert_eq(g->at - start, due[i] * SEC);
    }
    expect_quiet_for(&c, 33 * SEC);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    expect_quiet_for(&c, 300 * SEC);
    conn_end(&c);
}

/* LISTEN: first RST, second ACK, third SYN (section 3.10.7.2). */
Test(tcp_open, strange_segments_to_a_listener) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    struct sock *ls = wire_socket(w, STACK_STREAM, OUR_PORT);
    CALL(w, stack_listen(w->st, ls, 5));
    wire_tcp(w, (struct seg){.flags = TCP_RST, .seq = 1});
    expect_nothing(w);
    wire_tcp(w, (struct seg){.flags = TCP_ACK, .seq = 1, .ack = 99});
    expect_tcp(w, (struct seg){.flags = TCP_RST, .seq = 99});
    wire_tcp(w, (struct seg){.flags = TCP_SYN | TCP_ACK, .seq = 1, .ack = 9});
    expect_tcp(w, (struct seg){.flags = TCP_RST, .seq = 9});
    wire_tcp(w, (struct seg){.flags = 0, .seq = 1});
    wire_tcp(w, (struct seg){.flags = TCP_FIN, .seq = 1});
    wire_tcp(w, (struct seg){.flags = TCP_SYN | TCP_FIN, .seq = 1});
    expect_nothing(w);
    cr_assert_eq(counter(w, drop_tcp_no_syn), 3);
    wire_close(w, ls);
    wire_end(w);
}

/* CLOSED (section 3.10.7.1): resets with the right numbers. */
Test(tcp_open, nobody_there) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_tcp(w, (struct seg){.flags = TCP_SYN, .seq = 100});
    expect_tcp(w, (struct seg){.flags = TCP_RST | TCP_ACK, .ack = 101});
    wire_tcp(w, (struct seg){.flags = TCP_FIN, .seq = 100, .len = 10});
    expect_tcp(w, (struct seg){.flags = TCP_RST | TCP_ACK, .ack = 111});
    wire_tcp(w, (struct seg){.flags = TCP_ACK, .seq = 100, .ack = 7});
    expect_tcp(w, (struct seg){.flags = TCP_RST, .seq = 7});
    wire_tcp(w, (struct seg){.flags = TCP_RST, .seq = 100});
    wire_tcp(w, (struct seg){.flags = TCP_RST | TCP_ACK, .seq = 1, .ack = 7});
    expect_nothing(w);
    wire_end(w);
}

/* Backlog as Linux: with backlog 1 two connections wait; the third final ACK
 * and further SYNs are dropped until accept makes room. */
Test(tcp_open, backlog) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    struct sock *ls = wire_socket(w, STACK_STREAM, OUR_PORT);
    CALL(w, stack_listen(w->st, ls, 1));
    seq_t iss[3];
    for (uint16_t i = 0; i < 2; i++) {
        wire_tcp(w,
                 (struct seg){.flags = TCP_SYN, .sport = 3000 + i, .seq = 10});
        iss[i] = expect_tcp(w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                                            .dport = 3000 + i,
                                            .any_seq = true,
                                            .ack = 11})
                     ->tcp.seq;
    }
    for (uint16_t i = 0; i < 2; i++)
        wire_tcp(w, (struct seg){.flags = TCP_ACK,
                                 .sport = 3000 + i,
                                 .seq = 11,
                                 .ack = iss[i] + 1});
    wire_tcp(w, (struct seg){.flags = TCP_SYN, .sport = 3002, .seq = 10});
    expect_nothing(w);
    cr_assert_eq(counter(w, drop_tcp_backlog), 1);
    struct sock *a, *b, *c;
    cr_assert_eq(CALL(w, stack_accept(w->st, ls, &a)), 0);
    cr_assert_eq(CALL(w, stack_accept(w->st, ls, &b)), 0);
    cr_assert_eq(CALL(w, stack_accept(w->st, ls, &c)), -EAGAIN);
    wire_tcp(w, (struct seg){.flags = TCP_SYN, .sport = 3002, .seq = 10});
    expect_tcp(w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                               .dport = 3002,
                               .any_seq = true,
                               .ack = 11});
    wire_close(w, a);
    wire_close(w, b);
    wire_close(w, ls);
    wire_drop(w);
}

/* A final ACK that finds the accept queue full is dropped; the SYN-ACK comes
 * again, and its ACK is taken once there is room. */
Test(tcp_open, accept_queue_full) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    struct sock *ls = wire_socket(w, STACK_STREAM, OUR_PORT), *so;
    CALL(w, stack_listen(w->st, ls, 0));
    seq_t iss[2];
    wire_tcp(w, (struct seg){.flags = TCP_SYN, .sport = 3000, .seq = 10});
    iss[0] = take(w)->tcp.seq;
    CALL(w, stack_listen(w->st, ls, 1)); /* room for a second half-open one */
    wire_tcp(w, (struct seg){.flags = TCP_SYN, .sport = 3001, .seq = 10});
    iss[1] = take(w)->tcp.seq;
    CALL(w, stack_listen(w->st, ls, 0));
    for (uint16_t i = 0; i < 2; i++)
        wire_tcp(w, (struct seg){.flags = TCP_ACK,
                                 .sport = 3000 + i,
                                 .seq = 11,
                                 .ack = iss[i] + 1});
    cr_assert_eq(counter(w, tcp_accept_full), 1);
    cr_assert_eq(CALL(w, stack_accept(w->st, ls, &so)), 0);
    wire_close(w, so);
    take(w); /* its FIN */
    wire_run(w, 1100 * MSEC);
    bool again = false;
    for (const struct got *g; (g = take(w));)
        again |= g->tcp.flags == (TCP_SYN | TCP_ACK) && g->tcp.dport == 3001;
    cr_assert(again);
    wire_tcp(w, (struct seg){.flags = TCP_ACK,
                             .sport = 3001,
                             .seq = 11,
                             .ack = iss[1] + 1});
    cr_assert_eq(CALL(w, stack_accept(w->st, ls, &so)), 0);
    wire_drop(w);
}

/* TCP_DEFER_ACCEPT: accept waits for data. */
static void defer(struct wire *w, struct sock *so) {
    cr_assert_eq(CALL(w, stack_setopt(w->st, so, STACK_OPT_DEFER_ACCEPT, 3)),
                 0);
}
Test(tcp_open, defer_accept) {
    struct conn c = {.w = wire_new(NULL), .wnd = 65535};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    c.listener = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    defer(c.w, c.listener);
    CALL(c.w, stack_listen(c.w->st, c.listener, 5));
    from_peer(&c, TCP_SYN, 0, 0, 0);
    c.iss = take(c.w)->tcp.seq;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(stack_ready(c.w->st, c.listener), 0);
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 20);
    cr_assert_eq(stack_ready(c.w->st, c.listener), STACK_IN);
    cr_assert_eq(CALL(c.w, stack_accept(c.w->st, c.listener, &c.so)), 0);
    cr_assert_eq(conn_recv(&c, 100), 20);
    conn_end(&c);
}

/* The child has the listener's options (tcp(7)). */
static void options(struct wire *w, struct sock *so) {
    CALL(w, stack_setopt(w->st, so, STACK_OPT_NODELAY, 1));
    CALL(w, stack_setopt(w->st, so, STACK_OPT_KEEPIDLE, 77));
    CALL(w, stack_setopt(w->st, so, STACK_OPT_RCVBUF, 50000));
    CALL(w, stack_setopt(w->st, so, STACK_OPT_TOS, 0x10));
}
Test(tcp_open, child_inherits) {
    struct conn c = conn_accepted(&(struct peer_syn){.prepare = options});
    cr_assert_eq(conn_getopt(&c, STACK_OPT_NODELAY), 1);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_KEEPIDLE), 77);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_RCVBUF), 100000);
    conn_send(&c, 1);
    cr_assert_eq(to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 1)->ip.tos, 0x10);
    conn_end(&c);
}

/* Closing the listener resets who was not accepted yet. */
Test(tcp_open, listener_closes) {
    struct conn c = syn_recv(5);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    wire_close(c.w, c.listener);
    c.listener = NULL;
    to_peer(&c, TCP_RST | TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_table_state(&c), CLOSED);
    conn_end(&c);
}

/* RFC 6528: one tuple's numbers grow with time; another's tell nothing. */
Test(tcp_open, initial_sequence_numbers) {
    struct conn c = syn_sent();
    seq_t first = c.iss;
    conn_close(&c);
    wire_run(c.w, SEC);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    connect_again(&c);
    seq_t second =
        expect_tcp(c.w, (struct seg){.flags = TCP_SYN, .any_seq = true})
            ->tcp.seq;
    cr_assert_eq(second - first, (c.w->now / 4096) - (c.w->now - SEC) / 4096);
    conn_close(&c);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT + 1);
    connect_again(&c);
    seq_t other = take(c.w)->tcp.seq;
    cr_assert_gt((other - second) % 0xfffff000u, 100000u);
    conn_end(&c);
}

/* Both ends in one stack: packets to ourselves never reach the wire. */
Test(tcp_open, to_ourselves) {
    struct wire *w = wire_new(NULL);
    struct sock *ls = wire_socket(w, STACK_STREAM, OUR_PORT), *a, *b;
    CALL(w, stack_listen(w->st, ls, 5));
    a = wire_socket(w, STACK_STREAM, 0);
    struct endpoint to = wire_at(OUR_IP, OUR_PORT);
    cr_assert_eq(CALL(w, stack_connect(w->st, a, &to)), -EINPROGRESS);
    cr_assert_eq(CALL(w, stack_connect_result(w->st, a)), 0);
    cr_assert_eq(CALL(w, stack_accept(w->st, ls, &b)), 0);
    static uint8_t in[300000], out[300000];
    wire_pattern(out, 0, sizeof(out));
    struct iovec iov = {out, sizeof(out)};
    ssize_t sent = CALL(w, stack_send(w->st, a, &iov, 1, 0, NULL));
    cr_assert_gt(sent, 100000);
    for (ssize_t got = 0; got < sent;) {
        ssize_t n = wire_recv(w, b, in + got, sizeof(in), NULL);
        cr_assert_gt(n, 0, "%zd after %zd", n, got);
        got += n;
    }
    cr_assert_arr_eq(in, out, (size_t)sent);
    wire_close(w, a);
    cr_assert_eq(wire_recv(w, b, in, 1, NULL), 0);
    wire_close(w, b);
    wire_close(w, ls);
    wire_end(w);
}

/* A socket that connects to itself: its SYN crosses itself. As on Linux. */
Test(tcp_open, to_itself) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_STREAM, OUR_PORT);
    struct endpoint to = wire_at(OUR_IP, OUR_PORT);
    cr_assert_eq(CALL(w, stack_connect(w->st, so, &to)), -EINPROGRESS);
    cr_assert_eq(CALL(w, stack_connect_result(w->st, so)), 0);
    struct iovec iov = {"me", 2};
    cr_assert_eq(CALL(w, stack_send(w->st, so, &iov, 1, 0, NULL)), 2);
    char b[10];
    cr_assert_eq(wire_recv(w, so, b, 10, NULL), 2);
    wire_close(w, so);
    wire_run(w, 100 * SEC);
    struct sock *cursor = NULL;
    struct stack_sock_info i;
    cr_assert_not(stack_each_sock(w->st, &cursor, &i), "state %u", i.tcp.state);
    wire_end(w);
}

/* tcp(7), TCP_SAVE_SYN: the headers of the SYN, read once; with 2 from the link
 * layer on. */
Test(tcp_open, saved_syn) {
    for (int how = 0; how <= 2; how++) {
        struct conn c = {.w = wire_new(NULL), .wnd = 65535};
        uint8_t buf[200];
        uint8_t *ip = buf + (how == 2 ? ETH_HDR_LEN : 0);
        int len = how ? IPV4_HDR_MIN + TCP_HDR_MIN + (int)(ip - buf) : 0;
        wire_meet(c.w, PEER_IP, PEER_MAC);
        c.listener = wire_socket(c.w, STACK_STREAM, OUR_PORT);
        stack_setopt(c.w->st, c.listener, STACK_OPT_SAVE_SYN, how);
        CALL(c.w, stack_listen(c.w->st, c.listener, 1));
        from_peer(&c, TCP_SYN, 0, 0, 0);
        c.iss = take(c.w)->tcp.seq;
        from_peer(&c, TCP_ACK, 1, 1, 0);
        CALL(c.w, stack_accept(c.w->st, c.listener, &c.so));
        cr_assert_eq(stack_saved_syn(c.w->st, c.so, buf, 10), len);
        cr_assert_eq(stack_saved_syn(c.w->st, c.so, buf, 200), len);
        cr_assert(!how || (ip[0] == 0x45 && ip[20 + 13] == TCP_SYN));
        cr_assert_eq(stack_saved_syn(c.w->st, c.so, buf, 200), 0);
        wire_drop(c.w);
    }
}
