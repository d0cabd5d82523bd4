/* Two stacks: how connections come into being, or do not. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_flow.h"
#include "tests/traffic/lib_pair.h"
#include "tests/traffic/lib_police.h"

enum { ESTABLISHED = 1, SYN_SENT, SYN_RECV, CLOSED = 7, LISTEN = 10 };

Test(pair_open, handshake) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    struct endpoint a, b;
    stack_getsockname(so[A], &a);
    cr_assert_eq(stack_getpeername(so[B], &b), 0);
    cr_assert(ip_equal(&a.ip, &b.ip) && a.port == b.port);
    cr_assert(ip_equal(&a.ip, &p->side[A].addr));
    cr_assert_eq(stack_getpeername(so[A], &b), 0);
    cr_assert_eq(b.port, 80);
    cr_assert_eq(pair_state(p, A, so[A]), ESTABLISHED);
    cr_assert_eq(pair_state(p, B, so[B]), ESTABLISHED);
    cr_assert_eq(pair_ready(p, A, so[A]), STACK_OUT);
    cr_assert_eq(pair_ready(p, B, so[B]), STACK_OUT);
    /* SYN, SYN-ACK, ACK and not one segment more. */
    cr_assert_eq(police_count(p->side[A].police)->tcp, 2);
    cr_assert_eq(police_count(p->side[B].police)->tcp, 1);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

Test(pair_open, greeting_both_ways) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    char buf[16] = "";
    pair_connected(p, 80, so);
    cr_assert_eq(pair_send(p, A, so[A], "hello", 5), 5);
    cr_assert_eq(pair_recv(p, B, so[B], buf, sizeof(buf)), 5);
    cr_assert_arr_eq(buf, "hello", 5);
    cr_assert_eq(pair_send(p, B, so[B], "goodbye", 7), 7);
    cr_assert_eq(pair_recv(p, A, so[A], buf, sizeof(buf)), 7);
    cr_assert_arr_eq(buf, "goodbye", 7);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* RFC 9293 3.10.7.1: a SYN to a closed port is answered by RST. */
Test(pair_open, refused) {
    struct pair *p = pair_new(NULL);
    struct sock *so = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = pair_at(p, B, 81);
    nstime_t start = p->now;
    cr_assert_eq(pair_connect(p, A, so, &to), -ECONNREFUSED);
    cr_assert_lt(p->now - start, SEC);
    /* The error is consumed; the socket may try again (Linux). */
    cr_assert_eq(pair_getopt(p, A, so, STACK_OPT_ERROR), 0);
    cr_assert_eq(pair_connect(p, A, so, &to), -ECONNREFUSED);
    struct sock *l = pair_listen(p, B, 81, 1);
    cr_assert_eq(pair_connect(p, A, so, &to), 0);
    struct sock *child = pair_accept(p, B, l);
    pair_close(p, A, so);
    pair_close(p, B, child);
    pair_close(p, B, l);
    pair_end(p);
}

Test(pair_open, refused_is_seen_by_so_error_and_hup) {
    struct pair *p = pair_new(NULL);
    struct sock *so = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = pair_at(p, B, 81);
    cr_assert_eq(pair_connect_start(p, A, so, &to), -EINPROGRESS);
    cr_assert(pair_wait(p, A, so, STACK_OUT));
    uint32_t want = STACK_ERR | STACK_HUP | STACK_OUT | STACK_IN;
    cr_assert_eq(pair_ready(p, A, so) & want, want);
    cr_assert_eq(pair_getopt(p, A, so, STACK_OPT_ERROR), ECONNREFUSED);
    cr_assert_eq(pair_getopt(p, A, so, STACK_OPT_ERROR), 0);
    pair_close(p, A, so);
    pair_end(p);
}

/* A neighbour that does not answer ARP: EHOSTUNREACH after about 3 s. */
Test(pair_open, nobody_there) {
    struct pair *p = pair_new(NULL);
    struct sock *so = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = {.ip = ip_from_v4(0xc61200f0), .port = 80};
    nstime_t start = p->now;
    cr_assert_eq(pair_connect(p, A, so, &to), -EHOSTUNREACH);
    cr_assert_geq(p->now - start, 2 * SEC);
    cr_assert_leq(p->now - start, 5 * SEC);
    pair_close(p, A, so);
    pair_end(p);
}

Test(pair_open, no_route) {
    struct pair *p = pair_new(NULL);
    struct sock *so = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = {.ip = ip_from_v4(0x08080808), .port = 80};
    cr_assert_eq(pair_connect(p, A, so, &to), -ENETUNREACH);
    pair_close(p, A, so);
    pair_end(p);
}

/* A link that loses everything after ARP: RFC 6298 2.1, tcp(7) SYN retries. */
Test(pair_open, connect_times_out) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2], *s = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = pair_at(p, B, 82);
    pair_connected(p, 80, so); /* ARP is known from here on */
    pair_mute(p, B, true);
    cr_assert_eq(pair_setopt(p, A, s, STACK_OPT_SYNCNT, 2), 0);
    nstime_t start = p->now;
    cr_assert_eq(pair_connect(p, A, s, &to), -ETIMEDOUT);
    /* SYN at 0, 1 and 3 s, the end at 7 s */
    cr_assert_geq(p->now - start, 6 * SEC);
    cr_assert_leq(p->now - start, 9 * SEC);
    pair_mute(p, B, false);
    pair_close(p, A, s);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* RFC 9293 3.5, figure 8: crossing SYNs make one connection. */
Test(pair_open, simultaneous_open) {
    struct pair *p =
        pair_new(&(struct pair_config){.fault = {"delay=10ms", "delay=10ms"}});
    struct sock *so[2];
    struct endpoint at[2];
    for (int s = A; s <= B; s++) {
        so[s] = pair_socket(p, s, STACK_STREAM);
        at[s] = pair_at(p, s, (uint16_t)(5000 + s));
        cr_assert_eq(stack_bind(pair_lock(p, s), so[s], &at[s]), 0);
        pair_unlock(p, s);
    }
    for (int s = A; s <= B; s++)
        cr_assert_eq(pair_connect_start(p, s, so[s], &at[!s]), -EINPROGRESS);
    for (int s = A; s <= B; s++) {
        cr_assert(pair_wait(p, s, so[s], STACK_OUT));
        int r = stack_connect_result(pair_lock(p, s), so[s]);
        pair_unlock(p, s);
        cr_assert_eq(r, 0, "side %d: %d", s, r);
        cr_assert_eq(pair_state(p, s, so[s]), ESTABLISHED);
    }
    char buf[8];
    cr_assert_eq(pair_send(p, A, so[A], "ab", 2), 2);
    cr_assert_eq(pair_recv(p, B, so[B], buf, 8), 2);
    cr_assert_eq(pair_send(p, B, so[B], "cde", 3), 3);
    cr_assert_eq(pair_recv(p, A, so[A], buf, 8), 3);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* A full accept queue drops; those who wait get in when there is room. */
Test(pair_open, backlog) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, B, 80, 2), *c[6], *s[6];
    struct endpoint to = pair_at(p, B, 80);
    for (int i = 0; i < 6; i++) {
        c[i] = pair_socket(p, A, STACK_STREAM);
        cr_assert_eq(pair_connect_start(p, A, c[i], &to), -EINPROGRESS);
    }
    pair_settle(p);
    int queued = 0;
    for (struct sock *so; stack_accept(pair_lock(p, B), l, &so) == 0;)
        s[queued++] = so;
    pair_unlock(p, B);
    /* Linux lets backlog + 1 in. */
    cr_assert(queued >= 2 && queued <= 3, "%d", queued);
    for (; queued < 6; queued++)
        s[queued] = pair_accept(p, B, l);
    for (int i = 0; i < 6; i++) {
        cr_assert(pair_wait(p, A, c[i], STACK_OUT));
        cr_assert_eq(stack_connect_result(pair_lock(p, A), c[i]), 0);
        pair_unlock(p, A);
        pair_close(p, A, c[i]);
        pair_close(p, B, s[i]);
    }
    pair_close(p, B, l);
    pair_end(p);
}

/* Closing a listener resets whoever waits in its queue (tcp(7), Linux). */
Test(pair_open, listener_closed_with_a_queue) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, B, 80, 8), *c[3];
    struct endpoint to = pair_at(p, B, 80);
    char b;
    for (int i = 0; i < 3; i++) {
        c[i] = pair_socket(p, A, STACK_STREAM);
        cr_assert_eq(pair_connect(p, A, c[i], &to), 0);
    }
    pair_close(p, B, l);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pair_recv(p, A, c[i], &b, 1), -ECONNRESET);
        pair_close(p, A, c[i]);
    }
    pair_end(p);
}

/* Address and port of a listener are taken; after close they are free. */
Test(pair_open, address_in_use) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, B, 80, 8);
    struct sock *two = pair_socket(p, B, STACK_STREAM);
    struct endpoint at = {.port = 80};
    cr_assert_eq(stack_bind(pair_lock(p, B), two, &at), -EADDRINUSE);
    pair_unlock(p, B);
    pair_close(p, B, l);
    cr_assert_eq(stack_bind(pair_lock(p, B), two, &at), 0);
    pair_unlock(p, B);
    pair_close(p, B, two);
    pair_end(p);
}

/* A program may leave before its SYN was answered. */
Test(pair_open, closed_while_connecting) {
    struct pair *p = pair_new(&(struct pair_config){.fault = {"delay=50ms"}});
    struct sock *l = pair_listen(p, B, 80, 8), *s, *so;
    struct endpoint to = pair_at(p, B, 80);
    s = pair_socket(p, A, STACK_STREAM);
    cr_assert_eq(pair_connect_start(p, A, s, &to), -EINPROGRESS);
    pair_close(p, A, s);
    pair_run(p, 5 * SEC);
    cr_assert_eq(pair_sockets(p, A), 0);
    /* Nothing complete may be waiting at the listener. */
    cr_assert_eq(stack_accept(pair_lock(p, B), l, &so), -EAGAIN);
    pair_unlock(p, B);
    pair_close(p, B, l);
    pair_end(p);
}

/* Both programs on one stack: packets to our own address turn round inside. */
static void own_address(uint32_t bytes) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, A, 80, 8), *c, *s;
    struct endpoint to = pair_at(p, A, 80);
    static uint8_t out[65536], in[65536];
    c = pair_socket(p, A, STACK_STREAM);
    cr_assert_eq(pair_connect(p, A, c, &to), 0);
    s = pair_accept(p, A, l);
    for (uint32_t i = 0; i < bytes; i += sizeof(out)) {
        pattern_fill(7, i, out, sizeof(out));
        size_t sent = 0, got = 0;
        while (got < sizeof(out)) {
            ssize_t r = sent < sizeof(out) ? pair_try_send(p, A, c, out + sent,
                                                           sizeof(out) - sent)
                                           : 0;
            cr_assert(r >= 0 || r == -EAGAIN);
            sent += r > 0 ? (size_t)r : 0;
            pair_settle(p);
            r = pair_recv(p, A, s, in + got, sizeof(in) - got);
            cr_assert_gt(r, 0);
            got += (size_t)r;
        }
        cr_assert_eq(pattern_check(7, i, in, sizeof(in)), -1);
    }
    cr_assert_eq(police_count(p->side[A].police)->frames, 0);
    pair_close(p, A, c);
    cr_assert_eq(pair_recv(p, A, s, in, 1), 0);
    pair_close(p, A, s);
    pair_close(p, A, l);
    pair_end(p);
}

Test(pair_open, loopback_to_own_address) { own_address(65536); }
Test(pair_open, loopback_bulk) { own_address(8 << 20); }

Test(pair_open, loopback_refused) {
    struct pair *p = pair_new(NULL);
    struct sock *c = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = pair_at(p, A, 80);
    cr_assert_eq(pair_connect(p, A, c, &to), -ECONNREFUSED);
    pair_close(p, A, c);
    pair_end(p);
}

/* Connections one after the other: each leaves nothing but TIME-WAIT. */
Test(pair_open, many_in_sequence) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, B, 80, 8);
    struct endpoint to = pair_at(p, B, 80);
    char buf[4];
    for (int i = 0; i < 500; i++) {
        struct sock *c = pair_socket(p, A, STACK_STREAM);
        int r = pair_connect(p, A, c, &to);
        cr_assert_eq(r, 0, "connection %d: %d", i, r);
        struct sock *s = pair_accept(p, B, l);
        cr_assert_eq(pair_send(p, A, c, "ping", 4), 4);
        cr_assert_eq(pair_recv_all(p, B, s, buf, 4), 4);
        pair_close(p, i % 2 ? A : B, i % 2 ? c : s);
        pair_settle(p);
        pair_close(p, i % 2 ? B : A, i % 2 ? s : c);
    }
    pair_close(p, B, l);
    pair_end(p);
}

Test(pair_open, many_at_once) {
    struct pair *p = pair_new(NULL);
    struct flows *fs = flows_new(p);
    struct plan plan = {.tx_bytes = 3000, .write_max = 1000, .read_max = 4096};
    flows_listen(fs, B, 80, 4096);
    flows_listen(fs, A, 80, 4096);
    for (int i = 0; i < 1000; i++)
        flow_add(fs, &(struct flow_config){.client = i % 2,
                                           .port = 80,
                                           .plan = {plan, plan}});
    flows_run(fs, 60 * SEC);
    cr_assert_eq(flows_totals(fs).connections, 1000);
    cr_assert_eq(flows_totals(fs).bytes, 6000000);
    flows_end(fs);
    pair_end(p);
}

/* What a connection costs while nothing is buffered: at most 1 KiB and a
 * quarter at each end, tables and all. */
Test(pair_open, idle_connections_are_small) {
    enum { N = 4000 };
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, B, 80, 8);
    static struct sock *c[N], *s[N];
    struct endpoint to = pair_at(p, B, 80);
    char b[4];
    for (int i = 0; i < N; i++) {
        c[i] = pair_socket(p, A, STACK_STREAM);
        cr_assert_eq(pair_connect(p, A, c[i], &to), 0);
        s[i] = pair_accept(p, B, l);
        cr_assert_eq(pair_send(p, A, c[i], "data", 4), 4);
        cr_assert_eq(pair_recv_all(p, B, s[i], b, 4), 4);
    }
    pair_run(p, 10 * SEC);
    for (int side = A; side <= B; side++) {
        struct stack_memory m;
        stack_memory(p->side[side].st, &m);
        size_t each = (m.used - p->side[side].used) / N;
        cr_assert_leq(each, 1280, "%zu bytes at %c", each, 'A' + side);
    }
    for (int i = 0; i < N; i++) {
        pair_close(p, A, c[i]);
        pair_close(p, B, s[i]);
    }
    pair_close(p, B, l);
    pair_end(p);
}
