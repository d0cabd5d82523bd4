/* lib_flow.h: programs at both ends of many connections, driven by wakes.
 *
 * Theory of operation
 *
 * A `struct end` is a small program with one stream socket: it writes so many
 * bytes of a keyed pattern in pieces of random size, reads and checks what the
 * peer's pattern must be, pauses, and leaves in the way its plan says. It runs
 * when its waiter was woken or when a pause is over, until both directions
 * would block; then it watches for what it needs. So a lost wake stops it, and
 * flows_run says so.
 *
 * `struct flows` holds the ends and the listeners of one run. Connections are
 * made by flow_add: the client connects at its start time, the server's end
 * comes into being at accept, found by the client's port.
 */
#pragma once
#include "tests/traffic/lib_pair.h"

enum leave {
    LEAVE_SHUT,  /* shut down writing when all is written, read on, close */
    LEAVE_CLOSE, /* read what is expected (not the end), then just close */
    LEAVE_ABORT, /* linger 0 after `leave_at` bytes were written: RST */
    LEAVE_EARLY, /* close after leave_at bytes were written, unread data or
                    not */
};

struct plan {
    uint64_t tx_bytes;
    uint32_t write_max, read_max;     /* bytes a call, uniform from 1; > 0 */
    nstime_t write_pause, read_pause; /* after a call, uniform up to; 0 none */
    enum leave leave;
    uint64_t leave_at;
    uint32_t sndbuf, rcvbuf, lowat; /* 0: as born; lowat: NOTSENT_LOWAT */
    const char *cc;                 /* congestion control; NULL: as born */
    bool nodelay, polite; /* polite: writes only when poll would say OUT */
};

struct flow_config {
    int client;          /* side that connects */
    bool own;            /* to a listener of its own stack */
    uint16_t port;       /* of the listener */
    nstime_t start;      /* delay before connecting */
    struct plan plan[2]; /* 0: the client's, 1: the server's */
};

struct flows;

struct flows *flows_new(struct pair *p);
/* How programs sleep: each with a watch of its own on its socket (the way of
 * blocking calls), or all of a side on one poll set. Before the first flow. */
enum flow_sleep { SLEEP_WATCH, SLEEP_LEVEL, SLEEP_EDGE };
void flows_sleep(struct flows *fs, enum flow_sleep how);
/* The arena is too small: calls may say ENOBUFS or ENOMEM and are tried again
 * later; connections may end by a time-out or reset. */
void flows_lean(struct flows *fs);
/* The link may swallow every repetition: connections may end by a time-out. */
void flows_rough(struct flows *fs);
/* Every now and then (mean, ns) something of these kinds happens: the wire is
 * cut for a random while, both ways or one way; a clock jumps; A's
 * path takes only shorter packets than before, or longer ones again. */
enum {
    TROUBLE_CUT = 1,
    TROUBLE_ONE_WAY = 2,
    TROUBLE_JUMP = 4,
    TROUBLE_MTU = 8
};
void flows_trouble(struct flows *fs, unsigned kinds, nstime_t every,
                   nstime_t most);
void flows_listen(struct flows *fs, int side, uint16_t port, int backlog);
void flow_add(struct flows *fs, const struct flow_config *cfg);
/* Run until every program has left; fails the pair when one is stuck for
 * longer than `patience` or a byte is wrong. */
void flows_run(struct flows *fs, nstime_t patience);
/* Closes the listeners. */
void flows_end(struct flows *fs);

struct flow_totals {
    uint64_t bytes, connections, errors, aborted, wakes, spurious;
};
struct flow_totals flows_totals(const struct flows *fs);
