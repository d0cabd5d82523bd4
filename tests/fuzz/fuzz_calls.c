/* fuzz_calls.c: two stacks, and programs that call them in any order.
 *
 * Theory of operation
 *
 * The input is a program: each step is one call of the public interface on one
 * of some sockets and poll sets of either side, or lets frames move or time
 * pass. The link between the stacks, chosen by the first bytes, loses, delays,
 * doubles and reorders. What streams carry is the pattern of their port, so
 * whatever arrives is checked, and the police (lib_police.h) watch the wire.
 *
 * No call may crash, hang or return something that is no result; after all
 * descriptors are closed nothing may be left (pair_end).
 */
#include <errno.h>

#include "tests/fuzz/feed.h"
#include "tests/traffic/lib_pair.h"
#include "tests/traffic/lib_police.h"

#define SLOTS 12
#define SETS 2

struct slot {
    struct sock *so;
    uint64_t sent, got; /* stream bytes */
};

struct side {
    struct slot slot[SLOTS];
    struct pollset *set[SETS];
};

static struct world {
    struct pair *p;
    struct side side[2];
    uint8_t buf[1 << 16];
} w;

/* Has anything sent urgent data? Then streams have holes. */
static bool anybody_wild;

/* Both ends can tell the name of a direction: its sending address. */
static uint64_t key_of(const struct endpoint *from) {
    return (uint64_t)ip_to_v4(&from->ip) << 16 | from->port;
}

static void slot_set(struct slot *s, struct sock *so) {
    *s = (struct slot){.so = so};
}

/* A free slot of a side, or NULL. */
static struct slot *slot_free(int side) {
    for (int i = 0; i < SLOTS; i++)
        if (!w.side[side].slot[i].so)
            return &w.side[side].slot[i];
    return NULL;
}

static bool sane(ssize_t r) { return r >= -4095; }

static void do_send(struct stack *st, struct slot *s, struct feed *in) {
    uint32_t flags = feed_u8(in), n = 1u << (flags >> 4);
    struct endpoint me;
    struct iovec v[2] = {{w.buf, n / 2}, {w.buf + n / 2, n - n / 2}};
    struct stack_msg m = {.ttl = -1, .tos = -1};
    bool stream = stack_sock_type(s->so) == STACK_STREAM;
    flags &= STACK_MSG_OOB | STACK_MSG_MORE;
    if (flags & STACK_MSG_OOB)
        anybody_wild = true;
    stack_getsockname(s->so, &me);
    pattern_fill(key_of(&me), s->sent, w.buf, n);
    if (!stream && (n & 0x55)) {
        m.has_peer = true;
        m.peer = pair_at(w.p, n & 1, (uint16_t)(1000 + n % 7));
    }
    ssize_t r = stack_send(st, s->so, v, 2, flags, &m);
    MUST(sane(r) && r <= (ssize_t)n);
    if (stream && r > 0)
        s->sent += (uint64_t)r;
}

static void do_recv(struct stack *st, struct slot *s, struct feed *in) {
    uint8_t how = feed_u8(in);
    uint32_t flags = how & (STACK_MSG_PEEK | STACK_MSG_TRUNC | STACK_MSG_OOB);
    uint32_t n = 1u << (how >> 4);
    struct iovec v = {w.buf, n};
    struct stack_msg m = {0};
    struct endpoint peer;
    bool stream = stack_sock_type(s->so) == STACK_STREAM;
    if (how & 8)
        flags |= STACK_MSG_ERRQUEUE;
    bool named = stack_getpeername(s->so, &peer) == 0;
    ssize_t r = stack_recv(st, s->so, &v, 1, flags, &m);
    MUST(sane(r));
    MUST(!stream || r <= (ssize_t)n);
    if (!stream || r <= 0 || (flags & (STACK_MSG_OOB | STACK_MSG_ERRQUEUE)))
        return;
    if (named && !anybody_wild && !(flags & STACK_MSG_TRUNC))
        MUST(pattern_check(key_of(&peer), s->got, w.buf, (size_t)r) < 0);
    if (!(flags & STACK_MSG_PEEK))
        s->got += (uint64_t)r;
}

static void do_connect(struct stack *st, struct slot *s,
                       const struct endpoint *to) {
    int r = stack_connect(st, s->so, to);
    MUST(sane(r));
    if (r == -EINPROGRESS) /* a new stream, perhaps under a new name */
        s->sent = s->got = 0;
}

static void do_options(struct stack *st, struct slot *s, struct feed *in) {
    enum stack_opt opt = feed_u8(in) % STACK_OPT_COUNT;
    int64_t value = (int32_t)feed_u32(in), back;
    if (opt == STACK_OPT_OOBINLINE)
        anybody_wild = true;
    MUST(sane(stack_setopt(st, s->so, opt, value)));
    MUST(sane(stack_getopt(st, s->so, opt, &back)));
}

static void do_accept(struct stack *st, int side, struct slot *s) {
    struct slot *f = slot_free(side);
    struct sock *child = NULL;
    if (!f)
        return;
    int r = stack_accept(st, s->so, &child);
    MUST(sane(r) && (r == 0) == (child != NULL));
    if (r == 0)
        slot_set(f, child);
}

static void do_close(struct stack *st, int side, struct slot *s) {
    /* As close(2) does: out of all poll sets first. */
    for (int i = 0; i < SETS; i++)
        if (w.side[side].set[i])
            stack_pollset_ctl(st, w.side[side].set[i], STACK_CTL_DEL,
                              (uint32_t)(s - w.side[side].slot),
                              stack_sock_source(s->so), 0, 0);
    stack_close(st, s->so);
    slot_set(s, NULL);
}

static void do_pollset(struct stack *st, int side, struct slot *s,
                       struct feed *in) {
    uint8_t what = feed_u8(in);
    struct pollset **ps = &w.side[side].set[what & 1];
    uint32_t key = (uint32_t)(s - w.side[side].slot);
    struct stack_pollev ev[4];
    if (!*ps) {
        *ps = stack_pollset_new(st);
        MUST(*ps);
    }
    switch (what >> 1 & 3) {
    case 0:
    case 1: {
        uint32_t events =
            feed_u32(in) & (STACK_IN | STACK_OUT | STACK_PRI | STACK_RDHUP |
                            STACK_ET | STACK_ONESHOT | STACK_EXCLUSIVE);
        enum stack_ctl op = 1 + (what >> 3) % 3;
        MUST(sane(stack_pollset_ctl(st, *ps, op, key, stack_sock_source(s->so),
                                    events, key)));
        break;
    }
    case 2: {
        int n = stack_pollset_collect(st, *ps, ev, 4);
        MUST(n >= 0 && n <= 4);
        for (int i = 0; i < n; i++)
            MUST(ev[i].data < SLOTS && ev[i].events &&
                 w.side[side].slot[ev[i].data].so);
        break;
    }
    case 3:
        if (what >> 3 == 0) {
            stack_pollset_free(st, *ps);
            *ps = NULL;
        } else {
            bool ready = stack_pollset_ready(st, *ps);
            MUST(ready == (stack_pollset_collect(st, *ps, ev, 1) == 1));
        }
    }
}

static void do_socket(struct stack *st, struct slot *s, struct feed *in) {
    static const uint8_t protos[] = {0, 1, 6, 17, 89};
    uint8_t how = feed_u8(in);
    struct sock *so = NULL;
    enum stack_type type = how % 8 < 6 ? STACK_STREAM : how % 8 - 5;
    int proto = type == STACK_STREAM ? 0 : protos[(how >> 3) % 5];
    int r = stack_socket(st, how & 128 ? 6 : 4, type, proto, &so);
    MUST(sane(r) && (r == 0) == (so != NULL));
    if (r == 0)
        slot_set(s, so);
    if (r == 0 && type == STACK_RAW) {
        for (int side = 0; side < 2; side++)
            police_raw(w.p->side[side].police);
        anybody_wild = true;
    }
}

static void step_call(struct feed *in) {
    uint8_t a = feed_u8(in), b = feed_u8(in);
    int side = a & 1;
    struct slot *s = &w.side[side].slot[(a >> 1) % SLOTS];
    struct endpoint to = pair_at(w.p, b >> 4 & 1, (uint16_t)(1000 + (b >> 5)));
    struct stack *st = pair_lock(w.p, side);
    if (!s->so) {
        do_socket(st, s, in);
        pair_unlock(w.p, side);
        return;
    }
    switch (b & 15) {
    case 0:
    case 1:
    case 2:
        do_send(st, s, in);
        break;
    case 3:
    case 4:
    case 5:
        do_recv(st, s, in);
        break;
    case 6:
        to.ip = b & 128 ? IP_ANY : w.p->side[side].addr;
        MUST(sane(stack_bind(st, s->so, &to)));
        break;
    case 7:
        MUST(sane(stack_listen(st, s->so, b >> 5)));
        break;
    case 8:
        do_connect(st, s, &to);
        break;
    case 9:
        do_accept(st, side, s);
        break;
    case 10:
        MUST(sane(stack_shutdown(st, s->so, (b >> 5) % 3)));
        break;
    case 11:
        do_close(st, side, s);
        break;
    case 12:
        do_options(st, s, in);
        break;
    case 13:
    case 14:
        do_pollset(st, side, s, in);
        break;
    case 15:
        MUST(sane(stack_connect_result(st, s->so)));
        stack_ready(st, s->so);
        stack_unsent(st, s->so);
        if (b & 128)
            stack_connect(st, s->so, NULL);
        break;
    }
    pair_unlock(w.p, side);
}

static void close_all(void) {
    for (int side = A; side <= B; side++) {
        struct stack *st = pair_lock(w.p, side);
        for (int i = 0; i < SLOTS; i++)
            if (w.side[side].slot[i].so)
                do_close(st, side, &w.side[side].slot[i]);
        for (int i = 0; i < SETS; i++)
            if (w.side[side].set[i])
                stack_pollset_free(st, w.side[side].set[i]);
        pair_unlock(w.p, side);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const links[] = {
        NULL,
        "delay=5ms",
        "loss=10%,delay=1ms",
        "dup=20%",
        "reorder=20%,delay=3ms",
        "loss=30%",
        "corrupt=5%",
        "rate=1mbit,queue=4",
    };
    struct feed in = {data, size};
    uint8_t link = feed_u8(&in);
    struct pair_config cfg = {
        .fault = {links[link & 7], links[link >> 3 & 7]},
        .seed = 1u + feed_u8(&in),
        .plain = link & 64,
        .processes = link & 1,
        .mtu = link & 128 ? 576 : 1500,
        .arena = 8u << 20,
    };
    memset(&w, 0, sizeof(w));
    anybody_wild = false;
    w.p = pair_new(&cfg);
    for (unsigned i = 0; in.n && i < 500; i++) {
        uint8_t op = feed_u8(&in);
        if (op < 176)
            step_call(&in);
        else if (op < 224)
            pair_settle(w.p);
        else
            pair_run(w.p, 1000ull << (op & 31));
    }
    close_all();
    pair_end(w.p);
    return 0;
}
