/* The socket calls: what is checked before a transport is asked, options,
 * the life of a socket. Errors are Linux's. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "stack/stats.h"
#include "stack/tcp/tcp.h"
#include "tests/traffic/lib_one.h"

static struct one o;
static void setup(void) { one_open(&o, 32u << 20); }
static void teardown(void) { one_close(&o); }
TestSuite(sock, .init = setup, .fini = teardown);

static const struct endpoint native6 = {.ip = {{0x20, 1, 0xd, 0xb8, [15] = 9}},
                                        .port = 80};

static int bind_to(struct sock *so, const char *ip, uint16_t port) {
    struct endpoint at = one_at(ip, port);
    return stack_bind(o.st, so, &at);
}
static int connect_to(struct sock *so, const char *ip, uint16_t port) {
    struct endpoint to = one_at(ip, port);
    return stack_connect(o.st, so, &to);
}
static ssize_t send_to(struct sock *so, const char *ip, uint16_t port) {
    struct iovec iov = {"x", 1};
    struct stack_msg m = {.has_peer = true, .ttl = -1, .tos = -1};
    m.peer = one_at(ip, port);
    return stack_send(o.st, so, &iov, 1, 0, &m);
}
static int64_t get(struct sock *so, enum stack_opt opt) {
    int64_t v = -12345;
    cr_assert_eq(stack_getopt(o.st, so, opt, &v), 0, "option %d", opt);
    return v;
}
static int set(struct sock *so, enum stack_opt opt, int64_t v) {
    return stack_setopt(o.st, so, opt, v);
}

Test(sock, kinds) {
    const struct {
        int family;
        enum stack_type type;
        int proto, rc;
    } rows[] = {
        {4, STACK_STREAM, 0, 0},
        {4, STACK_STREAM, 6, 0},
        {6, STACK_DGRAM, 0, 0},
        {6, STACK_DGRAM, 17, 0},
        {4, STACK_STREAM, 17, -EPROTONOSUPPORT},
        {4, STACK_DGRAM, 6, -EPROTONOSUPPORT},
        {4, STACK_STREAM, 132, -EPROTONOSUPPORT},
        {4, STACK_RAW, 0, -EPROTONOSUPPORT},
        {5, STACK_STREAM, 0, -EAFNOSUPPORT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sock *so = NULL;
        cr_assert_eq(stack_socket(o.st, rows[i].family, rows[i].type,
                                  rows[i].proto, &so),
                     rows[i].rc, "row %zu", i);
        if (rows[i].rc)
            continue;
        cr_assert_eq(stack_sock_family(so), rows[i].family);
        cr_assert_eq(stack_sock_type(so), rows[i].type);
        cr_assert_eq(stack_sock_protocol(so),
                     rows[i].type == STACK_STREAM ? 6 : 17);
        stack_close(o.st, so);
    }
}

Test(sock, close_gives_everything_back) {
    struct sock *a = one_udp(&o, 4), *b = one_tcp(&o, 6);
    stack_close(o.st, a), stack_close(o.st, b); /* blocks of their class */
    size_t used = o.st->sh->heap.used;
    a = one_udp(&o, 4), b = one_tcp(&o, 6);
    bind_to(a, "", 0), bind_to(b, "", 0);
    one_give(&o, a, 'x');
    stack_close(o.st, a), stack_close(o.st, b);
    cr_assert_eq(o.st->sh->heap.used, used);
    cr_assert_eq(o.st->sh->count.sock_created, o.st->sh->count.sock_freed);
    cr_assert(list_empty(&o.st->sh->socks));
}

Test(sock, bind_errors) {
    struct sock *t = one_tcp(&o, 4), *t6 = one_tcp(&o, 6);
    cr_assert_eq(stack_bind(o.st, t, &native6), -EAFNOSUPPORT);
    cr_assert_eq(stack_bind(o.st, t6, &native6), -EADDRNOTAVAIL);
    cr_assert_eq(bind_to(t, "198.18.0.99", 80), -EADDRNOTAVAIL);
    cr_assert_eq(bind_to(t, ONE_ADDR, 80), 0);
    cr_assert_eq(bind_to(t, ONE_ADDR, 81), -EINVAL, "bound already");
    cr_assert_eq(bind_to(t6, "", 80), -EADDRINUSE);
    cr_assert_eq(set(t6, STACK_OPT_V6ONLY, 1), 0);
    cr_assert_eq(bind_to(t6, ONE_ADDR, 81), -EINVAL);
    cr_assert_eq(bind_to(t6, "", 80), 0);
    cr_assert_eq(set(t6, STACK_OPT_V6ONLY, 0), -EINVAL, "too late");
}

Test(sock, destinations_that_do_not_exist) {
    struct sock *t = one_tcp(&o, 4), *t6 = one_tcp(&o, 6);
    struct sock *only = one_tcp(&o, 6), *u = one_udp(&o, 4);
    cr_assert_eq(stack_connect(o.st, t, &native6), -EAFNOSUPPORT);
    cr_assert_eq(stack_connect(o.st, t6, &native6), -ENETUNREACH);
    cr_assert_eq(set(only, STACK_OPT_V6ONLY, 1), 0);
    cr_assert_eq(connect_to(only, "198.18.0.9", 80), -ENETUNREACH);
    cr_assert_eq(connect_to(t, "198.18.0.255", 80), -ENETUNREACH);
    cr_assert_eq(connect_to(t, "224.0.0.1", 80), -ENETUNREACH);
    cr_assert_eq(connect_to(u, "198.18.0.255", 80), -EACCES);
    cr_assert_eq(send_to(u, "255.255.255.255", 67), -EACCES);
    cr_assert_eq(set(u, STACK_OPT_BROADCAST, 1), 0);
    cr_assert_eq(send_to(u, "255.255.255.255", 67), 1);
    cr_assert_eq(send_to(u, "198.18.0.9", 0), -EINVAL);
}

Test(sock, any_means_ourselves) {
    struct sock *u = one_udp(&o, 4), *v = one_udp(&o, 6);
    cr_assert_eq(bind_to(u, "", 7), 0);
    cr_assert_eq(send_to(v, "", 7), 1);
    stack_flush(o.st);
    cr_assert_eq(one_take(&o, u), 'x');
    struct endpoint peer;
    cr_assert_eq(stack_getpeername(u, &peer), -ENOTCONN);
    cr_assert_eq(connect_to(u, "", 9), 0);
    cr_assert_eq(stack_getpeername(u, &peer), 0);
    struct ip_addr own = one_ip(ONE_ADDR);
    cr_assert(ip_equal(&peer.ip, &own));
    cr_assert_eq(peer.port, 9);
}

Test(sock, connecting_has_no_peer_yet) {
    struct sock *t = one_tcp(&o, 4);
    struct endpoint name;
    stack_getsockname(t, &name);
    cr_assert(ip_is_any(&name.ip) && name.port == 0);
    cr_assert_eq(connect_to(t, "198.18.0.9", 80), -EINPROGRESS);
    cr_assert_eq(stack_getpeername(t, &name), -ENOTCONN);
    stack_getsockname(t, &name);
    cr_assert_geq(name.port, 32768);
    cr_assert_eq(stack_listen(o.st, t, 5), -EINVAL);
    cr_assert_eq(bind_to(t, "", 0), -EINVAL);
}

Test(sock, listening) {
    struct sock *t = one_tcp(&o, 4), *t2 = one_tcp(&o, 4);
    struct sock *u = one_udp(&o, 4), *out;
    cr_assert_eq(stack_listen(o.st, u, 5), -EOPNOTSUPP);
    cr_assert_eq(stack_accept(o.st, u, &out), -EOPNOTSUPP);
    cr_assert_eq(stack_accept(o.st, t, &out), -EINVAL);
    set(t, STACK_OPT_REUSEADDR, 1), set(t2, STACK_OPT_REUSEADDR, 1);
    cr_assert_eq(bind_to(t, "", 80), 0);
    cr_assert_eq(bind_to(t2, "", 80), 0);
    cr_assert_eq(stack_listen(o.st, t, 5), 0);
    cr_assert(stack_is_listening(t));
    cr_assert_eq(get(t, STACK_OPT_ACCEPTCONN), 1);
    cr_assert_eq(stack_listen(o.st, t2, 5), -EADDRINUSE);
    cr_assert_eq(stack_listen(o.st, t, 9), 0, "a new backlog");
    cr_assert_eq(connect_to(t, "198.18.0.9", 80), -EISCONN);
    cr_assert_eq(stack_accept(o.st, t, &out), -EAGAIN);
    struct sock *t3 = one_tcp(&o, 6);
    set(t3, STACK_OPT_BIND_NO_PORT, 1);
    cr_assert_eq(stack_listen(o.st, t3, 5), 0, "unbound: a port is chosen");
    struct endpoint name;
    stack_getsockname(t3, &name);
    cr_assert_geq(name.port, 32768);
    cr_assert_eq(get(t3, STACK_OPT_BIND_NO_PORT), 1);
}

Test(sock, port_left_to_connect) {
    struct sock *t = one_tcp(&o, 4);
    struct endpoint name;
    set(t, STACK_OPT_BIND_NO_PORT, 1);
    cr_assert_eq(bind_to(t, "198.18.0.77", 0), -EADDRNOTAVAIL);
    cr_assert_eq(bind_to(t, ONE_ADDR, 0), 0);
    stack_getsockname(t, &name);
    cr_assert_eq(name.port, 0);
    cr_assert(!ip_is_any(&name.ip));
    cr_assert_eq(connect_to(t, "198.18.0.9", 80), -EINPROGRESS);
    stack_getsockname(t, &name);
    cr_assert_geq(name.port, 32768);
}

Test(sock, pending_error_comes_first) {
    struct sock *u = one_udp(&o, 4);
    cr_assert_eq(connect_to(u, "198.18.0.9", 9), 0);
    sock_set_error(o.st, u, ECONNREFUSED);
    cr_assert(stack_ready(o.st, u) & STACK_ERR);
    cr_assert_eq(send_to(u, "198.18.0.9", 9), -ECONNREFUSED);
    cr_assert_eq(send_to(u, "198.18.0.9", 9), 1, "told once");
    sock_set_error(o.st, u, ECONNREFUSED);
    cr_assert_eq(get(u, STACK_OPT_ERROR), ECONNREFUSED);
    cr_assert_eq(get(u, STACK_OPT_ERROR), 0);
}

Test(sock, shut_for_writing) {
    struct sock *u = one_udp(&o, 4);
    cr_assert_eq(stack_shutdown(o.st, u, (enum stack_how)3), -EINVAL);
    cr_assert_eq(connect_to(u, "198.18.0.9", 9), 0);
    cr_assert_eq(stack_shutdown(o.st, u, STACK_SHUT_WR), 0);
    cr_assert_eq(send_to(u, "198.18.0.9", 9), -EPIPE);
}

/* ---- options --------------------------------------------------------- */

Test(sock, defaults) {
    struct sock *t = one_tcp(&o, 4), *u = one_udp(&o, 6);
    cr_assert_eq(get(t, STACK_OPT_SNDBUF), 16384);
    cr_assert_eq(get(t, STACK_OPT_RCVBUF), 131072);
    cr_assert_eq(get(u, STACK_OPT_SNDBUF), 212992);
    cr_assert_eq(get(u, STACK_OPT_RCVBUF), 212992);
    cr_assert_eq(get(t, STACK_OPT_TTL), 64);
    cr_assert_eq(get(t, STACK_OPT_TOS), 0);
    cr_assert_eq(get(t, STACK_OPT_LINGER), -1);
    cr_assert_eq(get(t, STACK_OPT_MTU_DISCOVER), 1);
    cr_assert_eq(get(t, STACK_OPT_RCVLOWAT), 1);
    cr_assert_eq(get(t, STACK_OPT_REUSEADDR), 0);
    cr_assert_eq(get(u, STACK_OPT_V6ONLY), 0);
}

/* Values as setsockopt and getsockopt of Linux 6.18 show them. */
Test(sock, buffers_are_clamped_and_doubled) {
    struct sock *u = one_udp(&o, 4);
    const struct {
        enum stack_opt opt;
        int64_t set, get;
    } rows[] = {
        {STACK_OPT_SNDBUF, 100000, 200000},
        {STACK_OPT_RCVBUF, 100000, 200000},
        {STACK_OPT_SNDBUF, 1, 4608},
        {STACK_OPT_RCVBUF, 0, 2304},
        {STACK_OPT_SNDBUF, 100000000, 8388608},
        {STACK_OPT_RCVBUF, -1, 8388608},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(set(u, rows[i].opt, rows[i].set), 0);
        cr_assert_eq(get(u, rows[i].opt), rows[i].get, "row %zu", i);
    }
    cr_assert(u->sndbuf_locked && u->rcvbuf_locked);
}

Test(sock, option_ranges) {
    struct sock *t = one_tcp(&o, 4), *u = one_udp(&o, 4);
    const struct {
        enum stack_opt opt;
        int64_t v;
        int rc;
        int64_t get;
    } rows[] = {
        {STACK_OPT_TTL, 0, -EINVAL, 64},
        {STACK_OPT_TTL, 256, -EINVAL, 64},
        {STACK_OPT_TTL, 255, 0, 255},
        {STACK_OPT_TTL, -1, 0, 64},
        {STACK_OPT_MTU_DISCOVER, 6, -EINVAL, 1},
        {STACK_OPT_MTU_DISCOVER, 5, 0, 5},
        {STACK_OPT_PRIORITY, 7, -EPERM, 0},
        {STACK_OPT_PRIORITY, 6, 0, 6},
        {STACK_OPT_RCVLOWAT, -1, 0, INT_MAX},
        {STACK_OPT_RCVLOWAT, 0, 0, 1},
        {STACK_OPT_LINGER, 100000, 0, 100000},
        {STACK_OPT_LINGER, -1, 0, -1},
        {STACK_OPT_REUSEPORT, 17, 0, 1},
        {STACK_OPT_RECVERR, 1, 0, 1},
        {STACK_OPT_TOS, 0x1ff, 0, 0xff},
        {STACK_OPT_ERROR, 1, -ENOPROTOOPT, 0},
        {STACK_OPT_ACCEPTCONN, 1, -ENOPROTOOPT, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(set(u, rows[i].opt, rows[i].v), rows[i].rc, "row %zu", i);
        cr_assert_eq(get(u, rows[i].opt), rows[i].get, "row %zu", i);
    }
    cr_assert_eq(set(t, STACK_OPT_TOS, 0x1b), 0);
    cr_assert_eq(get(t, STACK_OPT_TOS), 0x18, "ECN bits are TCP's own");
    int64_t v;
    cr_assert_eq(set(u, STACK_OPT_NODELAY, 1), -ENOPROTOOPT);
    cr_assert_eq(stack_getopt(o.st, u, STACK_OPT_NODELAY, &v), -ENOPROTOOPT);
    cr_assert_eq(set(u, STACK_OPT_V6ONLY, 1), -ENOPROTOOPT);
    cr_assert_eq(stack_getopt(o.st, u, STACK_OPT_MTU, &v), -ENOTCONN);
    cr_assert_eq(connect_to(u, "198.18.0.9", 9), 0);
    cr_assert_eq(get(u, STACK_OPT_MTU), 1500);
}

/* ---- looking --------------------------------------------------------- */

Test(sock, table_of_sockets) {
    struct sock *u = one_udp(&o, 4), *cursor = NULL;
    struct sock *t = one_tcp(&o, 4);
    struct stack_sock_info info;
    unsigned n = 0;
    bind_to(u, ONE_ADDR, 53);
    bind_to(t, "", 80);
    stack_listen(o.st, t, 5);
    one_pass(&o, 3 * ONE_SEC);
    while (stack_each_sock(o.st, &cursor, &info)) {
        n++;
        cr_assert_eq(info.age, 3 * ONE_SEC);
        cr_assert(!info.orphan);
        cr_assert_eq(info.local.port, cursor == u ? 53 : 80);
        cr_assert_eq(info.listening, cursor == t);
        cr_assert_eq(info.type, cursor == u ? STACK_DGRAM : STACK_STREAM);
    }
    cr_assert_eq(n, 2);
    cr_assert_str_eq(stack_tcp_state_name(10), "LISTEN");
    cr_assert_str_eq(stack_tcp_state_name(99), "?");
    struct stack_memory m;
    stack_memory(o.st, &m);
    cr_assert_eq(m.arena, 32u << 20);
    cr_assert(m.used > 0 && m.used <= m.peak && m.peak < 1u << 20);
}

Test(sock, idle_connection_is_small) {
    cr_assert_leq(mem_good_size(sizeof(struct tcp_sock)), 1024);
}

Test(sock, full_arena_is_an_error_not_a_crash) {
    struct sock *so;
    int rc;
    unsigned n = 0;
    while ((rc = stack_socket(o.st, 4, STACK_STREAM, 0, &so)) == 0)
        n++;
    cr_assert_eq(rc, -ENOBUFS);
    cr_assert_gt(n, 28000, "32 MiB hold about a socket per KiB");
    cr_assert_eq(stack_orphans(o.st), 0);
}
