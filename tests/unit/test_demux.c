/* Ports and tuples: conflicts as Linux has them, ephemeral ports, look-up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/traffic/lib_one.h"

static struct one o;
static struct demux *tcp, *udp;
static void setup(void) {
    one_open(&o, 256u << 20);
    tcp = &o.st->sh->tcp;
    udp = &o.st->sh->udp;
}
static void teardown(void) { one_close(&o); }
TestSuite(demux, .init = setup, .fini = teardown);

static int bind_to(struct sock *so, const char *ip, uint16_t port) {
    struct endpoint at = one_at(ip, port);
    return demux_bind(o.st, so->kind == SOCK_TCP ? tcp : udp, so, &at);
}

static int connect_to(struct sock *so, const char *ip, uint16_t port) {
    struct endpoint to = one_at(ip, port);
    return demux_connect(o.st, so->kind == SOCK_TCP ? tcp : udp, so, &to);
}

/* Who gets a packet from 198.18.0.9:port to ip:lport? */
static struct sock *bound_at(struct demux *d, const char *ip, uint16_t lport,
                             uint16_t port) {
    struct endpoint l = one_at(ip, lport), r = one_at("198.18.0.9", port);
    return demux_bound(o.st, d, &l, &r);
}

/* One row: the second bind of port 80, given the first. */
struct conflict {
    int family_a;
    const char *a;
    int family_b;
    const char *b;
    bool v6only_a, v6only_b;
    bool clash;
};

Test(demux, overlapping_addresses) {
    const struct conflict rows[] = {
        {4, "", 4, "", 0, 0, true},
        {4, "", 4, ONE_ADDR, 0, 0, true},
        {4, ONE_ADDR, 4, "", 0, 0, true},
        {4, ONE_ADDR, 4, ONE_ADDR, 0, 0, true},
        {4, ONE_ADDR, 4, "127.0.0.1", 0, 0, false},
        {6, "", 4, "", 0, 0, true},
        {4, "", 6, "", 0, 0, true},
        {6, "", 4, ONE_ADDR, 0, 0, true},
        {4, ONE_ADDR, 6, "", 0, 0, true},
        {6, "", 4, "", 1, 0, false},
        {4, "", 6, "", 0, 1, false},
        {6, "", 4, ONE_ADDR, 1, 0, false},
        {6, "", 6, "", 1, 0, true},
        {6, ONE_ADDR, 4, ONE_ADDR, 0, 0, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct conflict *r = &rows[i];
        for (int kind = 0; kind < 2; kind++) {
            struct sock *a =
                kind ? one_udp(&o, r->family_a) : one_tcp(&o, r->family_a);
            struct sock *b =
                kind ? one_udp(&o, r->family_b) : one_tcp(&o, r->family_b);
            a->v6only = r->v6only_a;
            b->v6only = r->v6only_b;
            cr_assert_eq(bind_to(a, r->a, 80), 0, "row %zu", i);
            cr_assert_eq(bind_to(b, r->b, 80), r->clash ? -EADDRINUSE : 0,
                         "row %zu kind %d", i, kind);
            stack_close(o.st, a);
            stack_close(o.st, b);
        }
    }
}

/* SO_REUSEADDR and SO_REUSEPORT, both, one, listening or not. */
Test(demux, sharing_a_port) {
    for (int bits = 0; bits < 32; bits++) {
        struct sock *a = one_tcp(&o, 4), *b = one_tcp(&o, 4);
        a->reuseaddr = bits & 1, b->reuseaddr = bits & 2;
        a->reuseport = bits & 4, b->reuseport = bits & 8;
        a->listening = bits & 16;
        bool ok = (a->reuseport && b->reuseport) ||
                  (a->reuseaddr && b->reuseaddr && !a->listening);
        cr_assert_eq(bind_to(a, "", 80), 0);
        cr_assert_eq(bind_to(b, "", 80), ok ? 0 : -EADDRINUSE, "%d", bits);
        demux_remove(o.st, tcp, a);
        demux_remove(o.st, tcp, b);
    }
}

Test(demux, second_listener_is_refused) {
    struct sock *a = one_tcp(&o, 4), *b = one_tcp(&o, 4);
    a->reuseaddr = b->reuseaddr = true;
    cr_assert_eq(bind_to(a, "", 80), 0);
    cr_assert_eq(bind_to(b, "", 80), 0);
    cr_assert_eq(demux_check_listen(o.st, tcp, a), 0);
    a->listening = true;
    cr_assert_eq(demux_check_listen(o.st, tcp, b), -EADDRINUSE);
    a->reuseport = b->reuseport = true;
    cr_assert_eq(demux_check_listen(o.st, tcp, b), 0);
}

Test(demux, connections_hold_the_port_of_a_dead_listener) {
    struct sock *child = one_tcp(&o, 4), *again = one_tcp(&o, 4);
    child->local = one_at(ONE_ADDR, 80);
    child->remote = one_at("198.18.0.9", 5000);
    cr_assert_eq(demux_insert(o.st, tcp, child), 0);
    cr_assert_eq(bind_to(again, "", 80), -EADDRINUSE);
    again->reuseaddr = true;
    cr_assert_eq(bind_to(again, "", 80), -EADDRINUSE);
    child->reuseaddr = true; /* inherited from a listener that set it */
    cr_assert_eq(bind_to(again, "", 80), 0);
    struct sock *twin = one_tcp(&o, 4);
    twin->local = child->local;
    twin->remote = child->remote;
    cr_assert_eq(demux_insert(o.st, tcp, twin), -EADDRINUSE);
}

Test(demux, foreign_addresses) {
    struct sock *u = one_udp(&o, 4), *t = one_tcp(&o, 4);
    cr_assert_eq(bind_to(t, "198.18.0.77", 80), -EADDRNOTAVAIL);
    cr_assert_eq(bind_to(u, "198.18.0.77", 80), -EADDRNOTAVAIL);
    cr_assert_eq(bind_to(t, "224.0.0.251", 5353), -EADDRNOTAVAIL);
    cr_assert_eq(bind_to(u, "224.0.0.251", 5353), 0);
    demux_remove(o.st, udp, u);
    cr_assert_eq(bind_to(u, "198.18.0.255", 68), 0);
    t->freebind = true;
    cr_assert_eq(bind_to(t, "198.18.0.77", 80), 0);
}

Test(demux, bind_zero_gives_distinct_ports) {
    static bool used[65536];
    unsigned ascending = 0;
    uint16_t last = 0;
    for (int i = 0; i < 5000; i++) {
        struct sock *u = one_udp(&o, 4);
        cr_assert_eq(bind_to(u, "", 0), 0);
        uint16_t p = u->local.port;
        cr_assert(p >= 32768 && p <= 60999, "%u", p);
        cr_assert(!used[p], "port %u twice", p);
        cr_assert(u->port_chosen);
        used[p] = true;
        ascending += p > last;
        last = p;
    }
    cr_assert(ascending > 2000 && ascending < 3000, "%u: not random",
              ascending);
}

Test(demux, udp_ports_run_out) {
    for (int i = 0; i < 28232; i++)
        cr_assert_eq(bind_to(one_udp(&o, 4), ONE_ADDR, 0), 0);
    struct sock *u = one_udp(&o, 4);
    cr_assert_eq(bind_to(u, ONE_ADDR, 0), -EADDRINUSE);
    cr_assert_eq(connect_to(u, "198.18.0.9", 53), -EAGAIN);
    cr_assert(!u->connected && !u->bound && ip_is_any(&u->local.ip));
    cr_assert_gt(o.st->sh->count.port_exhausted, 0);
}

Test(demux, tcp_ports_are_shared_between_destinations) {
    for (int i = 0; i < 28232; i++)
        cr_assert_eq(connect_to(one_tcp(&o, 4), "198.18.0.9", 80), 0, "%d", i);
    struct sock *t = one_tcp(&o, 4);
    cr_assert_eq(connect_to(t, "198.18.0.9", 80), -EADDRNOTAVAIL);
    cr_assert_eq(connect_to(t, "198.18.0.9", 81), 0);
    cr_assert(t->bound && t->connected && t->port_chosen);
    struct endpoint name;
    stack_getsockname(t, &name);
    struct ip_addr own = one_ip(ONE_ADDR);
    cr_assert(ip_equal(&name.ip, &own), "the route's source address");
}

Test(demux, chosen_ports_avoid_bound_ones) {
    for (uint16_t p = 32768; p < 60999; p++) /* all but 60999 */
        cr_assert_eq(bind_to(one_tcp(&o, 4), "", p), 0);
    struct sock *t = one_tcp(&o, 4);
    cr_assert_eq(connect_to(t, "198.18.0.9", 80), 0);
    cr_assert_eq(t->local.port, 60999);
}

Test(demux, successive_connections_differ) {
    uint16_t first = 0, second = 0;
    struct sock *t = one_tcp(&o, 4);
    cr_assert_eq(connect_to(t, "198.18.0.9", 80), 0);
    first = t->local.port;
    demux_remove(o.st, tcp, t);
    cr_assert_eq(connect_to(t, "198.18.0.9", 80), 0);
    second = t->local.port;
    cr_assert_neq(first, second, "TIME-WAIT at the peer must not be hit");
}

Test(demux, no_route) {
    struct sock *t = one_tcp(&o, 6);
    struct endpoint to = {.ip = {{0x20, 1, 0xd, 0xb8}}, .port = 80};
    cr_assert_eq(demux_connect(o.st, tcp, t, &to), -ENETUNREACH);
    cr_assert(!t->connected && !t->bound && t->local.port == 0);
}

Test(demux, look_up_prefers_the_exact) {
    struct sock *any6 = one_tcp(&o, 6), *any4 = one_tcp(&o, 4);
    struct sock *own = one_tcp(&o, 4), *idle = one_tcp(&o, 4);
    any6->reuseport = any4->reuseport = own->reuseport = true;
    idle->reuseport = true;
    cr_assert_eq(bind_to(any6, "", 80), 0);
    cr_assert_null(bound_at(tcp, ONE_ADDR, 80, 1), "does not listen");
    any6->listening = true;
    cr_assert_eq(bound_at(tcp, ONE_ADDR, 80, 1), any6, "dual stack");
    cr_assert_eq(bind_to(any4, "", 80), 0);
    any4->listening = true;
    cr_assert_eq(bound_at(tcp, ONE_ADDR, 80, 1), any4);
    cr_assert_eq(bind_to(own, ONE_ADDR, 80), 0);
    own->listening = true;
    cr_assert_eq(bind_to(idle, ONE_ADDR, 80), 0);
    cr_assert_eq(bound_at(tcp, ONE_ADDR, 80, 1), own);
    cr_assert_eq(bound_at(tcp, "127.0.0.1", 80, 1), any4);
    cr_assert_null(bound_at(tcp, ONE_ADDR, 81, 1));
    demux_remove(o.st, tcp, any4);
    any6->v6only = true;
    cr_assert_null(bound_at(tcp, "127.0.0.1", 80, 1));
}

Test(demux, reuseport_spreads_and_sticks) {
    struct sock *l[4];
    unsigned hits[4] = {0};
    for (int i = 0; i < 4; i++) {
        l[i] = one_tcp(&o, 4);
        l[i]->reuseport = true;
        cr_assert_eq(bind_to(l[i], "", 80), 0);
        l[i]->listening = true;
    }
    for (uint16_t p = 1; p <= 4000; p++) {
        struct sock *so = bound_at(tcp, ONE_ADDR, 80, p);
        cr_assert_eq(so, bound_at(tcp, ONE_ADDR, 80, p), "the same again");
        for (int i = 0; i < 4; i++)
            hits[i] += so == l[i];
    }
    for (int i = 0; i < 4; i++)
        cr_assert(hits[i] > 850 && hits[i] < 1150, "%d: %u", i, hits[i]);
}

Test(demux, udp_connect_and_dissolve) {
    struct sock *u = one_udp(&o, 4);
    cr_assert_eq(bind_to(u, "", 53), 0);
    cr_assert_eq(bound_at(udp, ONE_ADDR, 53, 9), u);
    cr_assert_eq(connect_to(u, "198.18.0.9", 99), 0);
    cr_assert_null(bound_at(udp, ONE_ADDR, 53, 9), "hears its peer only");
    struct endpoint l = one_at(ONE_ADDR, 53), r = one_at("198.18.0.9", 99);
    cr_assert_eq(demux_tuple(o.st, udp, &l, &r), u);
    demux_disconnect(o.st, udp, u);
    cr_assert_null(demux_tuple(o.st, udp, &l, &r));
    cr_assert_eq(bound_at(udp, "127.0.0.1", 53, 9), u, "any again");
    struct sock *v = one_udp(&o, 4);
    cr_assert_eq(connect_to(v, "198.18.0.9", 99), 0);
    cr_assert_neq(v->local.port, 0);
    demux_disconnect(o.st, udp, v);
    cr_assert_eq(v->local.port, 0, "a chosen port goes back");
    cr_assert(!v->bound);
}

Test(demux, everyone_who_is_bound) {
    struct sock *u[3];
    struct endpoint l = one_at("224.0.0.251", 5353);
    unsigned seen = 0;
    for (int i = 0; i < 3; i++) {
        u[i] = one_udp(&o, 4);
        u[i]->reuseaddr = true;
        cr_assert_eq(bind_to(u[i], i ? "" : "224.0.0.251", 5353), 0);
    }
    for (struct sock *so = NULL;
         (so = demux_next_bound(o.st, udp, &l, so)) != NULL; seen++)
        cr_assert(so == u[0] || so == u[1] || so == u[2]);
    cr_assert_eq(seen, 3);
}

/* Growing while sockets come and go: everyone is found at all times. */
Test(demux, growth_loses_nobody) {
    enum { N = 40000 };
    static struct sock *so[N];
    struct endpoint l = one_at(ONE_ADDR, 80), r;
    for (unsigned i = 0; i < N; i++) {
        so[i] = one_tcp(&o, 4);
        so[i]->local = l;
        so[i]->remote.ip = ip_from_v4(0x0a000000 + i / 50000);
        so[i]->remote.port = (uint16_t)(i % 50000 + 1);
        cr_assert_eq(demux_insert(o.st, tcp, so[i]), 0);
        if (i % 3 == 0) {
            demux_remove(o.st, tcp, so[i / 2]);
            so[i / 2] = NULL;
        }
        unsigned j = (unsigned)rand() % (i + 1);
        if (!so[j])
            continue;
        r = so[j]->remote;
        cr_assert_eq(demux_tuple(o.st, tcp, &l, &r), so[j], "%u of %u", j, i);
    }
    unsigned live = 0;
    for (unsigned i = 0; i < N; i++) {
        if (!so[i])
            continue;
        live++;
        cr_assert_eq(demux_tuple(o.st, tcp, &l, &so[i]->remote), so[i]);
    }
    cr_assert_eq(tcp->tuples.n, live);
    cr_assert_geq(tcp->tuples.mask + 1, live / 2);
}

/* Ten thousand connections on its port do not hide a listener. */
Test(demux, listener_among_its_connections) {
    struct sock *l = one_tcp(&o, 4);
    for (unsigned i = 1; i <= 10000; i++) {
        struct sock *so = one_tcp(&o, 4);
        so->reuseaddr = true;
        so->local = one_at(ONE_ADDR, 80);
        so->remote = one_at("198.18.0.9", (uint16_t)i);
        cr_assert_eq(demux_insert(o.st, tcp, so), 0);
    }
    l->reuseaddr = true;
    cr_assert_eq(bind_to(l, "", 80), 0);
    l->listening = true;
    cr_assert_eq(bound_at(tcp, ONE_ADDR, 80, 20000), l);
}
