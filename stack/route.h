/* route.h: our addresses and which neighbour a packet is handed to. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "stack/addr.h"

struct stack;

#define ROUTE_MAX 16
struct route {
    struct ip_addr dst;
    struct ip_addr gateway; /* IP_ANY: on link */
    uint8_t len;            /* prefix bits of the 128-bit form */
};

/* Another first hop for one destination, told by ICMP. */
#define ROUTE_REDIRECTS 32
struct redirect {
    struct ip_addr dst, gateway;
    uint64_t expires; /* nstime_t; 0: free */
};

struct route_table {
    unsigned next_redirect; /* the one that is overwritten next */
    struct redirect redirect[ROUTE_REDIRECTS];
    struct ip_addr addr; /* ours */
    uint8_t prefix_len;  /* IPv4 bits */
    unsigned n;
    struct route route[ROUTE_MAX]; /* longest prefix first */
};

/* Next hop of dst: -ENETUNREACH without a route. Own addresses are "on link";
 * the caller asks stack_is_local first. */
int route_lookup(struct stack *st, const struct ip_addr *dst,
                 struct ip_addr *next_hop);
/* `from` says that dst is better reached through gateway (RFC 1122 section
 * 3.2.2.2). False: not believed. */
bool route_redirect(struct stack *st, const struct ip_addr *from,
                    const struct ip_addr *dst, const struct ip_addr *gateway);
/* This neighbour does not answer: no redirect leads to it any more. */
void route_gateway_dead(struct stack *st, const struct ip_addr *gateway);
/* 255.255.255.255 or the broadcast address of our subnet. */
bool route_is_broadcast(struct stack *st, const struct ip_addr *dst);
int route_init(struct stack *st, const struct ip_addr *addr, uint8_t len,
               const struct ip_addr *gateway);
