/* Two stacks: datagrams, fragments, errors, ping. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_pair.h"
#include "tests/traffic/lib_police.h"

static uint8_t out[65536], in[65536];

Test(pair_udp, both_ways) {
    struct pair *p = pair_new(NULL);
    struct sock *a = pair_bound(p, A, 1000), *b = pair_bound(p, B, 2000);
    struct endpoint to = pair_at(p, B, 2000);
    struct stack_msg m = {0};
    cr_assert_eq(pair_sendto(p, A, a, &to, "query", 5), 5);
    cr_assert_eq(pair_recvfrom(p, B, b, &m, in, sizeof(in)), 5);
    cr_assert_arr_eq(in, "query", 5);
    cr_assert(ip_equal(&m.peer.ip, &p->side[A].addr));
    cr_assert_eq(m.peer.port, 1000);
    cr_assert_eq(pair_sendto(p, B, b, &m.peer, "answer", 6), 6);
    cr_assert_eq(pair_recvfrom(p, A, a, &m, in, sizeof(in)), 6);
    cr_assert_arr_eq(in, "answer", 6);
    cr_assert_eq(m.peer.port, 2000);
    pair_close(p, A, a);
    pair_close(p, B, b);
    pair_end(p);
}

/* Datagrams keep their borders; an empty one is one too. */
Test(pair_udp, borders_and_truncation) {
    struct pair *p = pair_new(NULL);
    struct sock *a = pair_bound(p, A, 1000), *b = pair_bound(p, B, 2000);
    struct endpoint to = pair_at(p, B, 2000);
    struct stack_msg m = {0};
    cr_assert_eq(pair_sendto(p, A, a, &to, "12345678", 8), 8);
    cr_assert_eq(pair_sendto(p, A, a, &to, "", 0), 0);
    cr_assert_eq(pair_sendto(p, A, a, &to, "abc", 3), 3);
    cr_assert_eq(pair_recvfrom(p, B, b, &m, in, 4), 4);
    cr_assert(m.out_flags & STACK_MSG_TRUNC);
    cr_assert_eq(pair_recvfrom(p, B, b, &m, in, 4), 0);
    cr_assert(!(m.out_flags & STACK_MSG_TRUNC));
    cr_assert_eq(pair_recvfrom(p, B, b, &m, in, 4), 3);
    cr_assert_eq(pair_ready(p, B, b) & STACK_IN, 0);
    pair_close(p, A, a);
    pair_close(p, B, b);
    pair_end(p);
}

/* RFC 1122 4.1.3.1: no socket there, so ICMP port unreachable; a connected
 * socket hears of it, an unconnected one does not (udp(7)). */
Test(pair_udp, port_unreachable) {
    struct pair *p = pair_new(NULL);
    struct sock *c = pair_socket(p, A, STACK_DGRAM);
    struct sock *u = pair_bound(p, A, 1000);
    struct endpoint to = pair_at(p, B, 9);
    cr_assert_eq(pair_connect(p, A, c, &to), 0);
    cr_assert_eq(pair_sendto(p, A, c, NULL, "x", 1), 1);
    cr_assert_eq(pair_sendto(p, A, u, &to, "x", 1), 1);
    pair_settle(p);
    cr_assert(pair_ready(p, A, c) & STACK_ERR);
    cr_assert_eq(pair_recvfrom(p, A, c, NULL, in, 10), -ECONNREFUSED);
    cr_assert_eq(pair_ready(p, A, c) & (STACK_ERR | STACK_IN), 0);
    cr_assert_eq(pair_ready(p, A, u) & STACK_ERR, 0);
    cr_assert_eq(pair_try_recv(p, A, u, in, 10), -EAGAIN);
    /* ... nor does a connected one hear of another's datagrams. */
    cr_assert_eq(pair_try_recv(p, A, c, in, 10), -EAGAIN);
    pair_close(p, A, c);
    pair_close(p, A, u);
    pair_end(p);
}

/* A connected socket takes datagrams of its peer only. */
Test(pair_udp, connected_hears_its_peer_only) {
    struct pair *p = pair_new(NULL);
    struct sock *a = pair_bound(p, A, 1000);
    struct sock *b = pair_bound(p, B, 2000), *c = pair_bound(p, B, 2001);
    struct endpoint to = pair_at(p, B, 2000), me = pair_at(p, A, 1000);
    cr_assert_eq(pair_connect(p, A, a, &to), 0);
    cr_assert_eq(pair_sendto(p, B, c, &me, "no", 2), 2);
    cr_assert_eq(pair_sendto(p, B, b, &me, "yes", 3), 3);
    cr_assert_eq(pair_recvfrom(p, A, a, NULL, in, 10), 3);
    cr_assert_eq(pair_try_recv(p, A, a, in, 10), -EAGAIN);
    pair_close(p, A, a);
    pair_close(p, B, b);
    pair_close(p, B, c);
    pair_end(p);
}

/* Fragments by the rules of RFC 791, at every interesting size. */
static void sizes(const struct pair_config *cfg) {
    static const uint32_t size[] = {0,    1,    1472, 1473,  1480,  2952,
                                    2953, 4000, 9000, 65000, 65506, 65507};
    struct pair *p = pair_new(cfg);
    struct sock *a = pair_bound(p, A, 1000), *b = pair_bound(p, B, 2000);
    struct endpoint to = pair_at(p, B, 2000);
    struct stack_msg m = {0};
    pair_setopt(p, A, a, STACK_OPT_MTU_DISCOVER, 0);
    for (unsigned i = 0; i < sizeof(size) / sizeof(*size); i++) {
        pattern_fill(i, 0, out, size[i]);
        ssize_t r = pair_sendto(p, A, a, &to, out, size[i]);
        cr_assert_eq(r, size[i], "%u: %zd", size[i], r);
        r = pair_recvfrom(p, B, b, &m, in, sizeof(in));
        cr_assert_eq(r, size[i], "%u: %zd", size[i], r);
        cr_assert_eq(pattern_check(i, 0, in, size[i]), -1);
        pair_run(p, SEC); /* doubles come and go */
        while (pair_try_recv(p, B, b, in, sizeof(in)) >= 0)
            ;
    }
    cr_assert_eq(pair_sendto(p, A, a, &to, out, 65508), -EMSGSIZE);
    cr_assert_gt(police_count(p->side[A].police)->fragments, 90);
    pair_close(p, A, a);
    pair_close(p, B, b);
    pair_end(p);
}

Test(pair_udp, fragments) { sizes(NULL); }
Test(pair_udp, fragments_of_a_small_mtu) {
    sizes(&(struct pair_config){.mtu = 576});
}
Test(pair_udp, fragments_reordered_and_doubled) {
    sizes(&(struct pair_config){.fault = {"reorder=30%,dup=30%,delay=1ms"}});
}

/* Path MTU discovery on (the default for streams): too big is refused when
 * the program asks for DF. */
Test(pair_udp, dont_fragment) {
    struct pair *p = pair_new(NULL);
    struct sock *a = pair_bound(p, A, 1000);
    struct endpoint to = pair_at(p, B, 2000);
    pair_setopt(p, A, a, STACK_OPT_MTU_DISCOVER, 2);
    cr_assert_eq(pair_sendto(p, A, a, &to, out, 1473), -EMSGSIZE);
    cr_assert_eq(pair_sendto(p, A, a, &to, out, 1472), 1472);
    pair_settle(p);
    cr_assert_eq(police_count(p->side[A].police)->fragments, 0);
    pair_close(p, A, a);
    pair_end(p);
}

/* On a bad link what comes is whole, and nothing is kept of what is not. */
static void bad_link(const char *fault, unsigned least) {
    struct pair *p = pair_new(&(struct pair_config){.fault = {fault}});
    struct sock *a = pair_bound(p, A, 1000), *b = pair_bound(p, B, 2000);
    struct endpoint to = pair_at(p, B, 2000);
    unsigned got = 0, distinct = 0;
    static bool seen[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t n = 8 + (uint32_t)rng_below(&p->rng, i % 10 ? 1400 : 9000);
        memcpy(out, &i, 4);
        memcpy(out + 4, &n, 4);
        pattern_fill(i, 0, out + 8, n - 8);
        cr_assert_eq(pair_sendto(p, A, a, &to, out, n), n);
        pair_run(p, MSEC);
        for (ssize_t r; (r = pair_try_recv(p, B, b, in, sizeof(in))) > 0;) {
            uint32_t id, len;
            memcpy(&id, in, 4);
            memcpy(&len, in + 4, 4);
            cr_assert(id < 1000 && len == (uint32_t)r);
            cr_assert_eq(pattern_check(id, 0, in + 8, len - 8), -1);
            got++;
            distinct += !seen[id];
            seen[id] = true;
        }
    }
    cr_assert_geq(distinct, least, "%u, %u with doubles", distinct, got);
    pair_close(p, A, a);
    pair_close(p, B, b);
    pair_end(p);
}

Test(pair_udp, loss) { bad_link("loss=10%", 700); }
Test(pair_udp, corruption) { bad_link("corrupt=10%", 700); }
Test(pair_udp, everything) {
    bad_link("loss=5%,dup=5%,reorder=10%,corrupt=5%,delay=3ms", 600);
}

/* A flood that nobody reads is bounded by the receive buffer. */
Test(pair_udp, flood_is_bounded) {
    struct pair *p = pair_new(NULL);
    struct sock *a = pair_bound(p, A, 1000), *b = pair_bound(p, B, 2000);
    struct endpoint to = pair_at(p, B, 2000);
    for (int i = 0; i < 20000; i++) {
        cr_assert_eq(pair_sendto(p, A, a, &to, out, 1000), 1000);
        pair_settle(p);
    }
    struct stack_memory m;
    stack_memory(p->side[B].st, &m);
    cr_assert_lt(m.used, p->side[B].used + (2u << 20), "%zu", m.used);
    unsigned n = 0;
    while (pair_try_recv(p, B, b, in, sizeof(in)) == 1000)
        n++;
    cr_assert(n >= 50 && n < 2000, "%u", n);
    pair_close(p, A, a);
    pair_close(p, B, b);
    pair_end(p);
}

/* Echo of the other stack by a ping socket (icmp(7)), up to 64 KiB. */
Test(pair_udp, ping) {
    static const uint32_t size[] = {8, 9, 64, 1480, 1481, 8008, 65515};
    struct pair *p = pair_new(NULL);
    struct sock *so = NULL;
    struct endpoint to = pair_at(p, B, 0);
    struct stack *st = pair_lock(p, A);
    cr_assert_eq(stack_socket(st, 4, STACK_DGRAM, 1, &so), 0);
    pair_unlock(p, A);
    for (unsigned i = 0; i < sizeof(size) / sizeof(*size); i++) {
        struct stack_msg m = {0};
        memset(out, 0, 8);
        out[0] = 8; /* echo request, RFC 792 */
        out[7] = (uint8_t)i;
        pattern_fill(i, 0, out + 8, size[i] - 8);
        ssize_t r = pair_sendto(p, A, so, &to, out, size[i]);
        cr_assert_eq(r, size[i], "%u: %zd", size[i], r);
        r = pair_recvfrom(p, A, so, &m, in, sizeof(in));
        cr_assert_eq(r, size[i], "%u: %zd", size[i], r);
        cr_assert_eq(in[0], 0);
        cr_assert_eq(in[7], i);
        cr_assert_eq(pattern_check(i, 0, in + 8, size[i] - 8), -1);
        cr_assert(ip_equal(&m.peer.ip, &p->side[B].addr));
    }
    pair_close(p, A, so);
    pair_end(p);
}

/* Datagrams to ourselves turn round inside. */
Test(pair_udp, loopback_to_own_address) {
    struct pair *p = pair_new(NULL);
    struct sock *a = pair_bound(p, A, 1000), *b = pair_bound(p, A, 2000);
    struct endpoint to = pair_at(p, A, 2000);
    struct stack_msg m = {0};
    pattern_fill(4, 0, out, 9000);
    cr_assert_eq(pair_sendto(p, A, a, &to, out, 9000), 9000);
    cr_assert_eq(pair_recvfrom(p, A, b, &m, in, sizeof(in)), 9000);
    cr_assert_eq(pattern_check(4, 0, in, 9000), -1);
    cr_assert(ip_equal(&m.peer.ip, &p->side[A].addr));
    cr_assert_eq(police_count(p->side[A].police)->frames, 0);
    pair_close(p, A, a);
    pair_close(p, A, b);
    pair_end(p);
}

/* Broadcast needs SO_BROADCAST and reaches whoever is bound there. */
Test(pair_udp, broadcast) {
    struct pair *p = pair_new(NULL);
    struct sock *a = pair_bound(p, A, 1000);
    struct sock *b = pair_socket(p, B, STACK_DGRAM);
    struct endpoint any = {.port = 2000};
    struct endpoint to = {.ip = ip_from_v4(0xc61200ff), .port = 2000};
    cr_assert_eq(stack_bind(pair_lock(p, B), b, &any), 0);
    pair_unlock(p, B);
    cr_assert_eq(pair_sendto(p, A, a, &to, "x", 1), -EACCES);
    pair_setopt(p, A, a, STACK_OPT_BROADCAST, 1);
    cr_assert_eq(pair_sendto(p, A, a, &to, "x", 1), 1);
    cr_assert_eq(pair_recvfrom(p, B, b, NULL, in, 10), 1);
    /* Nobody there: no ICMP error about a broadcast (RFC 1122 3.2.2). */
    uint64_t icmp = police_count(p->side[B].police)->icmp;
    to.port = 2001;
    cr_assert_eq(pair_sendto(p, A, a, &to, "x", 1), 1);
    pair_settle(p);
    cr_assert_eq(police_count(p->side[B].police)->icmp, icmp);
    pair_close(p, A, a);
    pair_close(p, B, b);
    pair_end(p);
}
