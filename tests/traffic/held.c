/* held.c: many idle connections in one process: what they cost, and whether one
 * that is active notices them.
 *
 *     held [CONNECTIONS]        default: 100000
 *
 * Two stacks in one process, joined in memory (lib_pair.h), so that neither
 * descriptors nor a kernel's peer limit the number. Each connection is made,
 * carries a message, and then idles with an event of epoll on the server's side.
 * Prints the bytes of arena that one costs the server, and the time of a round
 * trip of 64 bytes on one of them, before and after the others were there, in
 * turns. Times are for people: nothing is judged but that all is well, all
 * messages arrive, and all memory comes back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/traffic/lib_pair.h"

#define MESSAGE 64
#define TRIPS 20000
#define PER_PORT 4000 /* connections to one port of the server */

struct conn {
    struct sock *so[2];
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A message one way. */
static void tell(struct pair *p, const struct conn *c, int from) {
    char out[MESSAGE] = "", in[MESSAGE];
    memset(out, from, sizeof(out));
    PAIR_CHECK(p, pair_try_send(p, from, c->so[from], out, MESSAGE) == MESSAGE,
               "send");
    pair_settle(p);
    ssize_t r = pair_try_recv(p, !from, c->so[!from], in, MESSAGE);
    PAIR_CHECK(p, r == MESSAGE, "recv: %zd", r);
    PAIR_CHECK(p, !memcmp(in, out, MESSAGE), "a wrong byte");
}

/* Microseconds of a round trip, of the best of five runs. */
static double round_trip(struct pair *p, const struct conn *c) {
    double best = 1e9;
    for (int run = 0; run < 5; run++) {
        double from = seconds();
        for (int i = 0; i < TRIPS; i++) {
            tell(p, c, A);
            tell(p, c, B);
        }
        double t = (seconds() - from) * 1e6 / TRIPS;
        best = t < best ? t : best;
    }
    return best;
}

static size_t used(struct pair *p, int side) {
    struct stack_memory m;
    stack_memory(p->side[side].st, &m);
    return m.used;
}

int main(int argc, char **argv) {
    unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
    struct conn *c = calloc(n ? n : 1, sizeof(*c));
    struct pair *p =
        pair_new(&(struct pair_config){.arena = 512u << 20, .no_police = true});
    if (!n || !c)
        return 2;
    struct pollset *set = stack_pollset_new(pair_lock(p, B));
    pair_unlock(p, B);
    double alone = 0, from = seconds();
    size_t before = used(p, B);
    for (unsigned i = 0; i < n; i++) {
        pair_connected(p, (uint16_t)(1000 + i / PER_PORT), c[i].so);
        pair_setopt(p, A, c[i].so[A], STACK_OPT_NODELAY, 1);
        tell(p, &c[i], A);
        int r = stack_pollset_ctl(pair_lock(p, B), set, STACK_CTL_ADD, i,
                                  stack_sock_source(c[i].so[B]), STACK_IN, 0);
        pair_unlock(p, B);
        PAIR_CHECK(p, r == 0, "epoll: %d", r);
        if (i == 0)
            alone = round_trip(p, &c[0]);
    }
    double made = seconds() - from;
    pair_run(p, SEC); /* delayed ACKs leave */
    size_t each = (used(p, B) - before) / n;
    double among = round_trip(p, &c[n / 2]);
    printf("held: %u connections in one process, made in %.1f s, %zu bytes of "
           "arena each; round trip of %d bytes %.2f us alone, %.2f us among "
           "them (%+.0f %%)\n",
           n, made, each, MESSAGE, alone, among, (among / alone - 1) * 100);
    for (unsigned i = 0; i < n; i++) {
        pair_close(p, B, c[i].so[B]);
        pair_close(p, A, c[i].so[A]);
    }
    stack_pollset_free(pair_lock(p, B), set);
    pair_unlock(p, B);
    pair_end(p);
    free(c);
    return 0;
}
