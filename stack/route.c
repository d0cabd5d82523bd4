/* route.c: our addresses and where packets go (RFC 1122 section 3.3.1).
 *
 * A host with one interface needs few routes: its subnet is on link, the rest
 * goes to the gateway. The table is kept longest prefix first, so that the
 * first match is the best. 127/8 is ours too: packets to it turn round in
 * loop.c and never reach the wire (RFC 1122 section 3.2.1.3 (g)).
 *
 * Redirects (RFC 1122 section 3.2.2.2) are kept apart, for single hosts, for five
 * minutes or until the new gateway is found dead (section 3.3.1.4): the table is
 * what was configured.
 */
#include "stack/route.h"

#include <errno.h>
#include <string.h>

#include "stack/shared.h"

/* IPv4 prefixes count from here in the 128-bit form (RFC 4291, 2.5.5.2). */
#define V4_BITS 96
#define REDIRECT_TIME                                                          \
    (300ull * 1000 * 1000 * 1000) /* Linux's ip_rt_gc_timeout */

/* Do a and b agree in their first `bits` bits? */
static bool prefix_match(const struct ip_addr *a, const struct ip_addr *b,
                         unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a->b, b->b, whole) != 0)
        return false;
    return !rest || ((a->b[whole] ^ b->b[whole]) >> (8 - rest)) == 0;
}

/* Insert keeping the longest prefix first. -ENOMEM: the table is full. */
static int route_add(struct route_table *t, const struct route *r) {
    unsigned at = 0;
    if (t->n == ROUTE_MAX)
        return -ENOMEM;
    while (at < t->n && t->route[at].len >= r->len)
        at++;
    memmove(&t->route[at + 1], &t->route[at],
            (t->n - at) * sizeof(t->route[0]));
    t->route[at] = *r;
    t->n++;
    return 0;
}

/* A unicast IPv4 address that a host may have (RFC 1122, 3.2.1.3). */
static bool usable(const struct ip_addr *a) {
    return ip_is_v4(a) && !ip_is_multicast(a) && !ip_is_loopback(a) &&
           !ip_is_limited_broadcast(a) && a->b[12] != 0 && a->b[12] < 240;
}

/* Network or broadcast address of addr/len; /31 and /32 have none (RFC 3021).
 */
static bool is_subnet_edge(uint32_t addr, unsigned len) {
    if (len >= 31)
        return false;
    uint32_t host = 0xffffffffu >> len;
    return (addr & host) == 0 || (addr & host) == host;
}

/* The default route. A gateway outside the subnet is a mistake, except with a
 * /32, whose gateway is taken to be on link. */
static int add_gateway(struct route_table *t, const struct ip_addr *gateway) {
    struct route on_link = {.dst = *gateway, .len = 128};
    struct route r = {.gateway = *gateway, .len = V4_BITS};
    static const struct ip_addr v4 = {{[10] = 0xff, [11] = 0xff}};
    if (!usable(gateway) || ip_equal(gateway, &t->addr))
        return -EINVAL;
    if (t->prefix_len == 32) {
        int rc = route_add(t, &on_link);
        if (rc < 0)
            return rc;
    } else if (!prefix_match(gateway, &t->addr, V4_BITS + t->prefix_len)) {
        return -EINVAL;
    }
    r.dst = v4;
    return route_add(t, &r);
}

/* Address, subnet and gateway of the one interface. -EINVAL tells of a mistake
 * in the configuration: an address no host may have, a network or broadcast
 * address, a gateway that is not on the link. */
int route_init(struct stack *st, const struct ip_addr *addr, uint8_t len,
               const struct ip_addr *gateway) {
    struct route_table *t = &st->sh->routes;
    if (!usable(addr) || len > 32 || is_subnet_edge(ip_to_v4(addr), len))
        return -EINVAL;
    memset(t, 0, sizeof(*t));
    t->addr = *addr;
    t->prefix_len = len;
    struct route subnet = {.dst = *addr, .len = (uint8_t)(V4_BITS + len)};
    int rc = route_add(t, &subnet);
    if (rc == 0 && !ip_is_any(gateway))
        rc = add_gateway(t, gateway);
    return rc;
}

/* What was told about dst and still holds; NULL: nothing. */
static struct redirect *redirected(struct stack *st,
                                   const struct ip_addr *dst) {
    struct route_table *t = &st->sh->routes;
    for (unsigned i = 0; t->next_redirect && i < ROUTE_REDIRECTS; i++)
        if (t->redirect[i].expires > st->now &&
            ip_equal(&t->redirect[i].dst, dst))
            return &t->redirect[i];
    return NULL;
}

/* Only the present first hop may say so, and only name a host of our link
 * (RFC 1122 section 3.2.2.2). */
bool route_redirect(struct stack *st, const struct ip_addr *from,
                    const struct ip_addr *dst, const struct ip_addr *gateway) {
    struct route_table *t = &st->sh->routes;
    struct ip_addr hop;
    bool fits = prefix_match(gateway, &t->addr, V4_BITS + t->prefix_len) &&
                usable(gateway) && !stack_is_local(st, gateway) &&
                !route_is_broadcast(st, gateway);
    if (!fits || route_lookup(st, dst, &hop) < 0 || !ip_equal(&hop, from) ||
        ip_equal(&hop, dst))
        return false;
    struct redirect *r = redirected(st, dst);
    if (!r)
        r = &t->redirect[t->next_redirect++ % ROUTE_REDIRECTS];
    *r = (struct redirect){*dst, *gateway, st->now + REDIRECT_TIME};
    return true;
}

void route_gateway_dead(struct stack *st, const struct ip_addr *gateway) {
    struct route_table *t = &st->sh->routes;
    for (unsigned i = 0; i < ROUTE_REDIRECTS; i++)
        if (ip_equal(&t->redirect[i].gateway, gateway))
            t->redirect[i].expires = 0;
}

/* First match is longest match. Broadcast and group addresses are not looked
 * for here: they need no neighbour (ip.c). */
int route_lookup(struct stack *st, const struct ip_addr *dst,
                 struct ip_addr *next_hop) {
    const struct route_table *t = &st->sh->routes;
    for (unsigned i = 0; i < t->n; i++) {
        const struct route *r = &t->route[i];
        if (!prefix_match(dst, &r->dst, r->len))
            continue;
        *next_hop = ip_is_any(&r->gateway) ? *dst : r->gateway;
        const struct redirect *better =
            ip_is_any(&r->gateway) ? NULL : redirected(st, dst);
        if (better)
            *next_hop = better->gateway;
        return 0;
    }
    return -ENETUNREACH;
}

/* RFC 1122 section 3.2.1.3: limited (c) and directed (e) broadcast of our own
 * subnet; all-zero host parts (the 4.2BSD form) are not taken for one. */
bool route_is_broadcast(struct stack *st, const struct ip_addr *dst) {
    const struct route_table *t = &st->sh->routes;
    if (!ip_is_v4(dst))
        return false;
    if (ip_is_limited_broadcast(dst))
        return true;
    if (t->prefix_len >= 31)
        return false;
    uint32_t host = 0xffffffffu >> t->prefix_len;
    return ip_to_v4(dst) == (ip_to_v4(&t->addr) | host);
}

/* Would a packet to ip come back to ourselves? */
bool stack_is_local(struct stack *st, const struct ip_addr *ip) {
    return ip_equal(ip, &st->sh->routes.addr) || ip_is_loopback(ip);
}

/* RFC 1122 section 3.3.4.3: the address of the interface it would leave by,
 * which is the only one we have; to 127/8 it is 127.0.0.1. */
int stack_route_source(struct stack *st, const struct ip_addr *dst,
                       struct ip_addr *src) {
    struct ip_addr hop;
    if (!ip_is_v4(dst))
        return -ENETUNREACH;
    *src = ip_is_loopback(dst) ? ip_from_v4(0x7f000001) : st->sh->routes.addr;
    if (stack_is_local(st, dst) || route_is_broadcast(st, dst))
        return 0;
    return route_lookup(st, dst, &hop);
}
