/* route.c and path.c: which way packets go, and how large they may be. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/shared.h"
#include "stack/ip.h"
#include "stack/stats.h"

#define V4(a, b, c, d)                                                         \
    ip_from_v4((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define SEC 1000000000ull

/* A stack with this address; NULL when the configuration is refused. */
static struct stack *make(struct ip_addr addr, uint8_t len,
                          struct ip_addr gateway) {
    size_t size = 4u << 20;
    struct stack_config c = {.mac = {2},
                             .mtu = 1500,
                             .addr = addr,
                             .prefix_len = len,
                             .gateway = gateway,
                             .now = SEC};
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *handle = mmap(NULL, stack_handle_size(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack_create(arena, size, &c) != 0)
        return NULL;
    return stack_attach(handle, arena, NULL);
}

static uint32_t hop(struct stack *st, struct ip_addr dst) {
    struct ip_addr h;
    return route_lookup(st, &dst, &h) == 0 ? ip_to_v4(&h) : 0;
}

Test(route, subnet_and_gateway) {
    struct stack *st = make(V4(198, 18, 4, 9), 22, V4(198, 18, 7, 254));
    cr_assert_not_null(st);
    cr_assert_eq(hop(st, V4(198, 18, 7, 1)), 0xc6120701);
    cr_assert_eq(hop(st, V4(198, 18, 8, 1)), 0xc61207fe);
    cr_assert_eq(hop(st, V4(8, 8, 8, 8)), 0xc61207fe);
    struct ip_addr v6 = {{0x20, 1, 0xd, 0xb8, [15] = 1}}, h;
    cr_assert_eq(route_lookup(st, &v6, &h), -ENETUNREACH);
}

Test(route, no_gateway) {
    struct stack *st = make(V4(198, 18, 4, 9), 24, IP_ANY);
    cr_assert_eq(hop(st, V4(198, 18, 4, 1)), 0xc6120401);
    cr_assert_eq(hop(st, V4(198, 18, 5, 1)), 0);
    struct ip_addr to = V4(198, 18, 5, 1), src;
    cr_assert_eq(stack_route_source(st, &to, &src), -ENETUNREACH);
}

/* A /32 reaches its gateway on link, all else by it; /31 has two hosts. */
Test(route, point_to_point) {
    struct stack *st = make(V4(198, 18, 4, 9), 32, V4(198, 18, 0, 1));
    cr_assert_not_null(st);
    cr_assert_eq(hop(st, V4(198, 18, 0, 1)), 0xc6120001);
    cr_assert_eq(hop(st, V4(198, 18, 4, 8)), 0xc6120001);
    st = make(V4(198, 18, 4, 9), 31, V4(198, 18, 4, 8));
    cr_assert_not_null(st);
    struct ip_addr other = V4(198, 18, 4, 8);
    cr_assert_not(route_is_broadcast(st, &other));
}

/* Configurations that cannot work are refused. */
Test(route, refused) {
    static const struct {
        uint8_t addr[4], len, gw[4];
    } bad[] = {
        {{0, 0, 0, 0}, 24, {0}},
        {{127, 0, 0, 1}, 8, {0}},
        {{224, 0, 0, 1}, 24, {0}},
        {{255, 255, 255, 255}, 24, {0}},
        {{240, 0, 0, 1}, 24, {0}},
        {{198, 18, 0, 1}, 33, {0}},
        {{198, 18, 0, 0}, 24, {0}},
        {{198, 18, 0, 255}, 24, {0}},
        {{198, 18, 0, 1}, 24, {198, 18, 1, 1}},
        {{198, 18, 0, 1}, 24, {198, 18, 0, 1}},
        {{198, 18, 0, 1}, 24, {224, 0, 0, 1}},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const uint8_t *a = bad[i].addr, *g = bad[i].gw;
        cr_assert_null(make(V4(a[0], a[1], a[2], a[3]), bad[i].len,
                            V4(g[0], g[1], g[2], g[3])),
                       "case %u", i);
    }
}

Test(route, broadcast_and_local) {
    struct stack *st = make(V4(198, 18, 4, 9), 23, IP_ANY);
    struct ip_addr yes[] = {V4(255, 255, 255, 255), V4(198, 18, 5, 255)};
    struct ip_addr no[] = {V4(198, 18, 4, 255), V4(198, 18, 4, 0), IP_ANY};
    for (int i = 0; i < 2; i++)
        cr_assert(route_is_broadcast(st, &yes[i]));
    for (int i = 0; i < 3; i++)
        cr_assert_not(route_is_broadcast(st, &no[i]), "%d", i);
    struct ip_addr ours = V4(198, 18, 4, 9), lo = V4(127, 9, 9, 9), src;
    cr_assert(stack_is_local(st, &ours) && stack_is_local(st, &lo));
    cr_assert_not(stack_is_local(st, &yes[1]));
    cr_assert_eq(stack_route_source(st, &lo, &src), 0);
    lo = V4(127, 0, 0, 1); /* as Linux */
    cr_assert(ip_equal(&src, &lo));
    cr_assert_eq(stack_route_source(st, &yes[0], &src), 0);
    cr_assert(ip_equal(&src, &ours));
}

/* ---- path MTU --------------------------------------------------------- */

Test(path, learn_and_forget) {
    struct stack *st = make(V4(198, 18, 4, 9), 24, V4(198, 18, 4, 1));
    struct ip_addr a = V4(9, 9, 9, 9), b = V4(9, 9, 9, 8),
                   me = V4(127, 0, 0, 1);
    stack_now(st, 10 * SEC);
    cr_assert_eq(ip_path_mtu(st, &a), 1500);
    cr_assert_eq(ip_path_mtu(st, &me), 65535);
    ip_path_mtu_learn(st, &a, 1400);
    cr_assert_eq(ip_path_mtu(st, &a), 1400);
    cr_assert_eq(ip_path_mtu(st, &b), 1500);
    ip_path_mtu_learn(st, &a, 1450); /* never upwards */
    cr_assert_eq(ip_path_mtu(st, &a), 1400);
    cr_assert_eq(stack_counters(st)->path_mtu_ignored, 1);
    stack_now(st, 609 * SEC);
    cr_assert_eq(ip_path_mtu(st, &a), 1400);
    stack_now(st, 611 * SEC);
    cr_assert_eq(ip_path_mtu(st, &a), 1500);
    cr_assert_eq(st->sh->ip.n_paths, 0);
}

/* Tiny reports are not followed below 552; DF is given up instead. */
Test(path, floor) {
    struct stack *st = make(V4(198, 18, 4, 9), 24, V4(198, 18, 4, 1));
    struct ip_addr a = V4(9, 9, 9, 9);
    ip_path_mtu_learn(st, &a, 600);
    cr_assert_not(ip_path_locked(st, &a));
    ip_path_mtu_learn(st, &a, 68);
    cr_assert(ip_path_locked(st, &a));
    cr_assert_eq(ip_path_mtu(st, &a), 552);
}

/* Any number of destinations: memory stays, the newest are known. */
Test(path, bounded) {
    struct stack *st = make(V4(198, 18, 4, 9), 24, V4(198, 18, 4, 1));
    for (uint32_t i = 1; i < 5000; i++) {
        struct ip_addr a = ip_from_v4(0x08000000 + i);
        stack_now(st, 10 * SEC + i);
        ip_path_mtu_learn(st, &a, 1000);
        cr_assert_eq(ip_path_mtu(st, &a), 1000);
        cr_assert_leq(st->sh->ip.n_paths, IP_PATHS);
    }
}
