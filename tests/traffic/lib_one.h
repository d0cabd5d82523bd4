/* lib_one.h: one stack without a network, for tests of its inner parts. */
#pragma once
#include <criterion/criterion.h>

#include "stack/shared.h"
#include "stack/sock.h"
#include "stack/stack.h"

#define ONE_ADDR "198.18.0.1"
#define ONE_SEC 1000000000ull

struct one {
    void *base;
    size_t size;
    struct stack *st; /* handle, in private memory */
    nstime_t now;
};

/* A fresh stack at 198.18.0.1/24, gateway .254, in `size` bytes of sparse
 * shared memory; time starts at 1000 s. */
void one_open(struct one *o, size_t size);
void one_close(struct one *o);
/* Time goes on by ns; nothing is run. */
void one_pass(struct one *o, nstime_t ns);

/* "a.b.c.d" or "" for any. */
struct ip_addr one_ip(const char *text);
struct endpoint one_at(const char *text, uint16_t port);
/* A new socket; fails the test when there is none. */
struct sock *one_tcp(struct one *o, int family);
struct sock *one_udp(struct one *o, int family);
/* Make a bound UDP socket readable: one datagram of one byte, from us. */
void one_give(struct one *o, struct sock *udp, char byte);
/* Read it back; 0 when there is none. */
char one_take(struct one *o, struct sock *udp);
