/* lib_pair.h: two whole stacks and the wire between them, in virtual time.
 *
 * Theory of operation
 *
 * `struct pair` holds two stacks, A and B, each formatted into memory of its
 * own by the public calls, and joined by the in-memory wire. Between a stack
 * and the wire sit, from the inside out, the police (lib_police.h: is what we
 * emit lawful?) and, if asked for, the fault wrapper. So the police see what
 * the stack says before the bad link changes it, and what reaches it after.
 *
 * Nothing here reads a clock. Time stands still while frames move; when none
 * does, it jumps to the earliest deadline that either stack tells. A run is
 * therefore a function of its seed, and a day of keepalives takes no time.
 *
 * Sleeping is done as a real program does it: a watch is added, and only the
 * waiter's wake ends the sleep. A socket that became ready without waking its
 * watcher fails the test ("lost wake"), and so does a stack that says that
 * something is due and then finds nothing to do ("busy loop"), or one that
 * never falls silent ("storm").
 *
 * A failure prints one line with the seed and the virtual time, and aborts:
 * Criterion reports the crash of that test. pair_on_failure changes this.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stack/stack.h"
#include "stack/stats.h"

#define USEC 1000ull
#define MSEC (1000ull * 1000)
#define SEC (1000ull * MSEC)

enum { A, B }; /* sides */

struct police;

struct pair_config {
    const char *fault[2]; /* what the link does to frames of A and of B */
    uint64_t seed;        /* of everything random; 0: 1 */
    uint32_t mtu;         /* bytes of an IP packet; 0: 1500 */
    uint32_t superframe;  /* longest one a device takes; 0: the usual */
    bool plain;           /* the wire carries no superframes */
    bool place;           /* receives take frames in, and looks are lazy, as
                             preload's are */
    bool no_police;       /* frames may break rules (tests that forge) */
    size_t arena;         /* bytes of each stack's memory; 0: 64 MiB */
    const char *tune;     /* settings of both stacks, as stack_tunes_set */
    bool processes;       /* two handles a side, used in turns: nothing that a
                             stack must remember may sit in a handle */
};

/* One sleeper: a waiter with one watch. Lives in the arena of its side. */
struct pair_waiter {
    struct waiter waiter;
    struct watch watch;
    bool watching, woken;
};

struct pair_side {
    struct stack *st, *other; /* other: a second process's, or NULL */
    struct netio *io;
    struct police *police;
    void *base, *handle[2];
    size_t size;
    struct ip_addr addr;
    struct pair_waiter *sleeper; /* of the blocking-style calls */
    struct netio *bad;           /* the fault wrapper, or NULL */
    nstime_t ahead;              /* of the pair's clock, by jumps */
    size_t used;                 /* bytes of the arena in use at the start */
};

struct pair {
    struct pair_config cfg;
    struct pair_side side[2];
    nstime_t now, limit; /* limit: how long a blocking-style call may take */
    uint64_t rng;
    uint64_t steps; /* times that the clock was moved */
    unsigned spins; /* deadlines that had nothing behind them, in a row */
};

/* Called with the message instead of abort(); must not return. */
extern void (*pair_on_failure)(const char *message);
_Noreturn void pair_fail(struct pair *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Assert inside a run: time and seed come with the message. */
#define PAIR_CHECK(p, cond, format, ...)                                       \
    do {                                                                       \
        if (!(cond))                                                           \
            pair_fail((p), "%s: " format, #cond, ##__VA_ARGS__);               \
    } while (0)

/* Two stacks at 198.18.0.1/24 (A) and .2 (B); cfg NULL: a perfect link. */
struct pair *pair_new(const struct pair_config *cfg);
/* Run until every socket is gone, at most ten minutes; then nothing may be
 * left: no socket, orphan, armed timer, or byte of the arena. Frees p. */
void pair_end(struct pair *p);
/* Frees p and checks nothing (for runs that end in the middle). */
void pair_drop(struct pair *p);

/* Cut one side off: it sends and receives nothing, without knowing. Needs the
 * police. */
void pair_mute(struct pair *p, int side, bool mute);
/* Cut what this side sends (tx), receives (rx), or mend it. */
void pair_cut(struct pair *p, int side, bool rx, bool tx);
/* From now on longer IP packets of this side vanish (0: none do). Needs a
 * fault. */
void pair_path_mtu(struct pair *p, int side, uint32_t mtu);
/* This side's clock jumps ahead, as after a suspended machine wakes up. */
void pair_jump(struct pair *p, int side, nstime_t by);

/* ---- time ------------------------------------------------------------- */

/* Move frames until both sides are silent; time stands still. */
void pair_settle(struct pair *p);
/* Jump to the earliest deadline, but not beyond `until`, and settle there.
 * False: nothing was due before `until`, which it is now (unless that is
 * NSTIME_NEVER). */
bool pair_step(struct pair *p, nstime_t until);
void pair_run(struct pair *p, nstime_t duration);
/* The earliest deadline of both; NSTIME_NEVER if nothing is due. */
nstime_t pair_deadline(struct pair *p);
/* Run until done(arg) holds; false when that took longer than `within`. */
bool pair_until(struct pair *p, bool (*done)(void *arg), void *arg,
                nstime_t within);

/* ---- a locked section, as preload/ makes them --------------------------- */

struct stack *pair_lock(struct pair *p, int side);
void pair_unlock(struct pair *p, int side);

struct pair_waiter *pair_waiter_new(struct pair *p, int side);
void pair_waiter_free(struct pair *p, int side, struct pair_waiter *w);
/* Watch src for events from now on (replaces what w watched). */
void pair_watch(struct pair *p, int side, struct pair_waiter *w,
                struct source *src, uint32_t events);
void pair_unwatch(struct pair *p, int side, struct pair_waiter *w);
/* Sleep until the socket shows one of events; false at the limit. */
bool pair_wait(struct pair *p, int side, struct sock *so, uint32_t events);

/* ---- calls that wait ---------------------------------------------------- */

struct endpoint pair_at(struct pair *p, int side, uint16_t port);
struct sock *pair_socket(struct pair *p, int side, enum stack_type type);
/* A bound and, for streams, listening socket. */
struct sock *pair_listen(struct pair *p, int side, uint16_t port, int backlog);
struct sock *pair_bound(struct pair *p, int side, uint16_t port);
/* 0 or -errno; -ETIME when p->limit passed without an answer */
int pair_connect(struct pair *p, int side, struct sock *so,
                 const struct endpoint *to);
int pair_connect_start(struct pair *p, int side, struct sock *so,
                       const struct endpoint *to);
struct sock *pair_accept(struct pair *p, int side, struct sock *listener);
/* A connects to a fresh listener of B; both ends come back in so[]. */
void pair_connected(struct pair *p, uint16_t port, struct sock *so[2]);
/* Non-blocking. Bytes or -errno. */
ssize_t pair_try_send(struct pair *p, int side, struct sock *so,
                      const void *buf, size_t n);
ssize_t pair_try_recv(struct pair *p, int side, struct sock *so, void *buf,
                      size_t n);
/* Blocking. Bytes (fewer than n: an error or the end came first) or -errno. */
ssize_t pair_send(struct pair *p, int side, struct sock *so, const void *buf,
                  size_t n);
ssize_t pair_recv(struct pair *p, int side, struct sock *so, void *buf,
                  size_t n);
ssize_t pair_recv_all(struct pair *p, int side, struct sock *so, void *buf,
                      size_t n);
ssize_t pair_sendto(struct pair *p, int side, struct sock *so,
                    const struct endpoint *to, const void *buf, size_t n);
ssize_t pair_recvfrom(struct pair *p, int side, struct sock *so,
                      struct stack_msg *m, void *buf, size_t n);
int pair_shutdown(struct pair *p, int side, struct sock *so,
                  enum stack_how how);
void pair_close(struct pair *p, int side, struct sock *so);
int pair_setopt(struct pair *p, int side, struct sock *so, enum stack_opt opt,
                int64_t value);
int64_t pair_getopt(struct pair *p, int side, struct sock *so,
                    enum stack_opt opt);
uint32_t pair_ready(struct pair *p, int side, struct sock *so);
/* enum of RFC 9293 states as Linux numbers them (TCP_ESTABLISHED = 1) */
int pair_state(struct pair *p, int side, struct sock *so);

/* ---- what a test wants to know ------------------------------------------ */

/* Bytes of an arena that may stay when all sockets are gone: what the tables
 * have grown to and the neighbours known (an upper bound). */
size_t arena_kept(const void *base);
unsigned pair_sockets(struct pair *p, int side);
uint32_t pair_timers(struct pair *p, int side);
const struct stack_counters *pair_count(struct pair *p, int side);

/* ---- randomness and patterns -------------------------------------------- */

uint64_t rng_next(uint64_t *state);
/* Uniform enough in [0, n); n > 0. */
uint64_t rng_below(uint64_t *state, uint64_t n);
/* The bytes [off, off + n) of the stream named `key`. */
void pattern_fill(uint64_t key, uint64_t off, void *buf, size_t n);
/* Offset of the first wrong byte, or -1. */
ssize_t pattern_check(uint64_t key, uint64_t off, const void *buf, size_t n);
