/* lib_flow.c: see lib_flow.h. */
#include "tests/traffic/lib_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LISTENERS 8
#define PIECE 65536
#define JUMP_MAX (100 * SEC)

struct end {
    struct flows *fs;
    struct flow *flow;
    int role, side; /* role 0: client */
    struct sock *so;
    struct pair_waiter *w;
    struct plan plan;
    uint64_t sent, got;
    nstime_t write_at, read_at; /* not before; pauses */
    nstime_t retry_at;          /* there was no memory to go to sleep */
    bool connecting, shut, eof, done, failed, in_set;
    uint32_t wants; /* events we sleep for */
};

struct flow {
    struct flow_config cfg;
    unsigned index;
    uint64_t key;
    uint16_t client_port;
    nstime_t start;
    bool started, aborted; /* somebody left without the other's consent */
    struct end end[2];
};

struct listener {
    int side;
    uint16_t port;
    struct sock *so;
    struct pair_waiter *w;
};

struct flows {
    struct pair *p;
    struct listener listener[LISTENERS];
    unsigned listeners;
    struct flow **flow;
    unsigned n, room, first; /* first: all before it are over */
    nstime_t moved;          /* when something last happened */
    unsigned kinds;          /* TROUBLE_* */
    bool lean, rough, cut;
    enum flow_sleep sleep;
    struct pollset *set[2];
    struct pair_waiter *set_w[2];
    nstime_t flap_every, flap_most, flap_at;
    struct flow_totals totals;
    uint8_t buf[PIECE];
};

/* ---- making ------------------------------------------------------------------- */

struct flows *flows_new(struct pair *p) {
    struct flows *fs = calloc(1, sizeof(*fs));
    if (!fs)
        pair_fail(p, "no memory");
    fs->p = p;
    return fs;
}

void flows_lean(struct flows *fs) { fs->lean = true; }

void flows_rough(struct flows *fs) { fs->rough = true; }

void flows_trouble(struct flows *fs, unsigned kinds, nstime_t every,
                   nstime_t most) {
    fs->kinds = kinds;
    fs->flap_every = every;
    fs->flap_most = most;
    fs->flap_at = fs->p->now + 1 + rng_below(&fs->p->rng, 2 * every);
}

/* One of the kinds that were asked for. */
static unsigned choose_trouble(struct flows *fs) {
    for (;;) {
        unsigned k = 1u << rng_below(&fs->p->rng, 4);
        if (fs->kinds & k)
            return k;
    }
}

/* Cut or mend the wire, or let a clock jump, if it is time. */
static void flap(struct flows *fs) {
    struct pair *p = fs->p;
    if (!fs->flap_every || fs->flap_at > p->now)
        return;
    unsigned kind = fs->cut ? 0 : choose_trouble(fs);
    if (kind == TROUBLE_JUMP) {
        pair_jump(p, (int)rng_below(&p->rng, 2), rng_below(&p->rng, JUMP_MAX));
    } else if (kind == TROUBLE_MTU) {
        uint32_t mtu = p->cfg.mtu - (uint32_t)rng_below(&p->rng, 600);
        pair_path_mtu(p, A, mtu > 576 ? mtu : 0);
    } else {
        bool rx = kind == TROUBLE_CUT, tx = rx;
        if (kind == TROUBLE_ONE_WAY)
            *(rng_below(&p->rng, 2) ? &rx : &tx) = true;
        fs->cut = rx || tx;
        pair_cut(p, A, rx, tx);
    }
    fs->flap_at =
        p->now + 1 +
        rng_below(&p->rng, fs->cut ? fs->flap_most : 2 * fs->flap_every);
}

void flows_listen(struct flows *fs, int side, uint16_t port, int backlog) {
    struct listener *l = &fs->listener[fs->listeners++];
    if (fs->listeners > LISTENERS)
        pair_fail(fs->p, "too many listeners");
    l->side = side;
    l->port = port;
    l->so = pair_listen(fs->p, side, port, backlog);
    l->w = pair_waiter_new(fs->p, side);
    pair_watch(fs->p, side, l->w, stack_sock_source(l->so), STACK_IN);
}

void flow_add(struct flows *fs, const struct flow_config *cfg) {
    if (fs->n == fs->room) {
        fs->room = fs->room ? fs->room * 2 : 64;
        fs->flow = realloc(fs->flow, fs->room * sizeof(*fs->flow));
    }
    struct flow *f = calloc(1, sizeof(*f));
    if (!fs->flow || !f)
        pair_fail(fs->p, "no memory");
    f->cfg = *cfg;
    f->index = fs->n;
    f->key = rng_next(&fs->p->rng);
    f->start = fs->p->now + cfg->start;
    for (int i = 0; i < 2; i++) {
        struct end *e = &f->end[i];
        e->fs = fs;
        e->flow = f;
        e->role = i;
        e->side = i == 0 || cfg->own ? cfg->client : !cfg->client;
        e->plan = cfg->plan[i];
    }
    fs->flow[fs->n++] = f;
}

void flows_sleep(struct flows *fs, enum flow_sleep how) {
    struct pair *p = fs->p;
    fs->sleep = how;
    for (int s = A; s <= B && how != SLEEP_WATCH; s++) {
        fs->set[s] = stack_pollset_new(pair_lock(p, s));
        pair_unlock(p, s);
        if (!fs->set[s])
            pair_fail(p, "no poll set");
        fs->set_w[s] = pair_waiter_new(p, s);
        pair_watch(p, s, fs->set_w[s], stack_pollset_source(fs->set[s]),
                   STACK_IN);
    }
}

static int set_ctl(struct end *e, enum stack_ctl op, uint32_t events) {
    struct flows *fs = e->fs;
    int r = stack_pollset_ctl(pair_lock(fs->p, e->side), fs->set[e->side], op,
                              e->flow->index * 2u + (unsigned)e->role,
                              stack_sock_source(e->so), events, (uintptr_t)e);
    pair_unlock(fs->p, e->side);
    return r;
}

/* Wake the ends that the poll sets name. */
static void collect_sets(struct flows *fs) {
    struct stack_pollev ev[16];
    for (int s = A; s <= B && fs->sleep != SLEEP_WATCH; s++) {
        if (!fs->set_w[s]->woken)
            continue;
        int n;
        do {
            n = stack_pollset_collect(pair_lock(fs->p, s), fs->set[s], ev, 16);
            pair_unlock(fs->p, s);
            for (int i = 0; i < n; i++)
                ((struct end *)(uintptr_t)ev[i].data)->w->woken = true;
        } while (n == 16 && fs->sleep == SLEEP_EDGE);
    }
}

/* Sleep on the sets again, unless there is more already. */
static void rewatch_sets(struct flows *fs) {
    for (int s = A; s <= B && fs->sleep != SLEEP_WATCH; s++) {
        if (!fs->set_w[s]->woken)
            continue;
        pair_watch(fs->p, s, fs->set_w[s], stack_pollset_source(fs->set[s]),
                   STACK_IN);
        if (stack_pollset_ready(pair_lock(fs->p, s), fs->set[s]))
            fs->set_w[s]->woken = true;
    }
}

/* Connections may end in ways that nobody planned. */
static bool rough(const struct flows *fs) {
    return fs->lean || fs->rough || fs->flap_every;
}

static void end_setup(struct end *e, struct sock *so, struct pair_waiter *w) {
    struct pair *p = e->fs->p;
    e->so = so;
    e->w = w;
    if (e->plan.sndbuf)
        pair_setopt(p, e->side, so, STACK_OPT_SNDBUF, e->plan.sndbuf);
    if (e->plan.rcvbuf)
        pair_setopt(p, e->side, so, STACK_OPT_RCVBUF, e->plan.rcvbuf);
    if (e->plan.lowat)
        pair_setopt(p, e->side, so, STACK_OPT_NOTSENT_LOWAT, e->plan.lowat);
    if (e->plan.cc)
        pair_setopt(p, e->side, so, STACK_OPT_CONGESTION,
                    stack_cc_find(e->plan.cc));
    if (e->plan.nodelay)
        pair_setopt(p, e->side, so, STACK_OPT_NODELAY, 1);
    /* A lost RST is not repeated: only a probe can find out. */
    if (e->flow->cfg.plan[!e->role].leave >= LEAVE_ABORT || rough(e->fs)) {
        pair_setopt(p, e->side, so, STACK_OPT_KEEPIDLE, 5);
        pair_setopt(p, e->side, so, STACK_OPT_KEEPINTVL, 5);
        pair_setopt(p, e->side, so, STACK_OPT_KEEPALIVE, 1);
    }
}

/* ---- the program at one end ------------------------------------------------------ */

static void end_leave(struct end *e) {
    struct pair *p = e->fs->p;
    if (e->in_set && set_ctl(e, STACK_CTL_DEL, 0))
        pair_fail(p, "not in its poll set");
    pair_waiter_free(p, e->side, e->w);
    pair_close(p, e->side, e->so);
    e->w = NULL;
    e->so = NULL;
    e->done = true;
}

/* The connection broke; lawful only if the other end left early. */
static void end_error(struct end *e, const char *call, ssize_t err) {
    struct flow *f = e->flow;
    bool lawful = (f->aborted || rough(e->fs)) &&
                  (err == -ECONNRESET || err == -EPIPE || err == -ETIMEDOUT ||
                   err == -EHOSTUNREACH);
    /* A link that loses may lose all three ARP requests, or every SYN. */
    if (e->connecting && (err == -EHOSTUNREACH || err == -ETIMEDOUT))
        lawful |= e->fs->flap_every || e->fs->p->cfg.fault[A] ||
                  e->fs->p->cfg.fault[B];
    if (!lawful)
        pair_fail(e->fs->p,
                  "%s of %s on port %u: error %zd after %llu sent, %llu "
                  "received",
                  call, e->role ? "server" : "client", f->client_port, err,
                  (unsigned long long)e->sent, (unsigned long long)e->got);
    e->failed = f->aborted = true;
    e->fs->totals.errors++;
    end_leave(e);
}

static nstime_t pause_until(struct end *e, nstime_t most) {
    struct pair *p = e->fs->p;
    return most ? p->now + 1 + rng_below(&p->rng, most) : 0;
}

/* Leave before the stream is complete, if this is the time. */
static bool end_abort(struct end *e) {
    struct plan *pl = &e->plan;
    if (pl->leave != LEAVE_ABORT && pl->leave != LEAVE_EARLY)
        return false;
    if (e->sent < pl->leave_at && e->sent < pl->tx_bytes)
        return false;
    e->flow->aborted = true;
    e->fs->totals.aborted++;
    if (pl->leave == LEAVE_ABORT)
        pair_setopt(e->fs->p, e->side, e->so, STACK_OPT_LINGER, 0);
    end_leave(e);
    return true;
}

/* One write. True: call again; else wants says what is missing. */
static bool end_write(struct end *e) {
    struct flows *fs = e->fs;
    struct pair *p = fs->p;
    struct plan *pl = &e->plan;
    if (e->shut || e->write_at > p->now)
        return false;
    if (e->sent == pl->tx_bytes) {
        if (pl->leave != LEAVE_SHUT)
            return false;
        int r = pair_shutdown(p, e->side, e->so, STACK_SHUT_WR);
        /* A reset came first: shutdown(2) says ENOTCONN. */
        if (r && !(r == -ENOTCONN && e->flow->aborted))
            end_error(e, "shutdown", r);
        e->shut = true;
        return !e->done;
    }
    if (pl->polite && !(pair_ready(p, e->side, e->so) & STACK_OUT)) {
        e->wants |= STACK_OUT;
        return false;
    }
    uint64_t n = 1 + rng_below(&p->rng, pl->write_max);
    n = n < pl->tx_bytes - e->sent ? n : pl->tx_bytes - e->sent;
    n = n < PIECE ? n : PIECE;
    pattern_fill(e->flow->key + (uint64_t)e->role, e->sent, fs->buf, n);
    ssize_t r = pair_try_send(p, e->side, e->so, fs->buf, n);
    if (r == -EAGAIN) {
        e->wants |= STACK_OUT;
        PAIR_CHECK(p, !(pair_ready(p, e->side, e->so) & STACK_OUT),
                   "writable, yet send says EAGAIN");
        return false;
    }
    if (fs->lean && (r == -ENOBUFS || r == -ENOMEM)) {
        e->write_at = p->now + 50 * MSEC;
        return false;
    }
    if (r < 0) {
        end_error(e, "send", r);
        return false;
    }
    PAIR_CHECK(p, r > 0 && (uint64_t)r <= n, "send of %llu returned %zd",
               (unsigned long long)n, r);
    e->sent += (uint64_t)r;
    e->write_at = pause_until(e, pl->write_pause);
    return true;
}

static void end_eof(struct end *e) {
    struct flow *f = e->flow;
    struct end *peer = &f->end[!e->role];
    e->eof = true;
    PAIR_CHECK(e->fs->p, f->aborted || e->got == peer->plan.tx_bytes,
               "port %u: end after %llu of %llu bytes", f->client_port,
               (unsigned long long)e->got,
               (unsigned long long)peer->plan.tx_bytes);
}

/* One read. True: call again. */
static bool end_read(struct end *e) {
    struct flows *fs = e->fs;
    struct pair *p = fs->p;
    struct end *peer = &e->flow->end[!e->role];
    if (e->eof || e->read_at > p->now)
        return false;
    if (e->plan.leave == LEAVE_CLOSE && e->got == peer->plan.tx_bytes)
        return false;
    uint64_t n = 1 + rng_below(&p->rng, e->plan.read_max);
    n = n < PIECE ? n : PIECE;
    ssize_t r = pair_try_recv(p, e->side, e->so, fs->buf, n);
    if (r == -EAGAIN) {
        e->wants |= STACK_IN | STACK_RDHUP;
        PAIR_CHECK(p, !(pair_ready(p, e->side, e->so) & STACK_IN),
                   "readable, yet recv says EAGAIN");
        return false;
    }
    if (r < 0) {
        end_error(e, "recv", r);
        return false;
    }
    if (r == 0) {
        end_eof(e);
        return false;
    }
    PAIR_CHECK(p, (uint64_t)r <= n, "recv of %llu returned %zd",
               (unsigned long long)n, r);
    ssize_t bad = pattern_check(e->flow->key + (uint64_t)peer->role, e->got,
                                fs->buf, (size_t)r);
    PAIR_CHECK(p, bad < 0, "port %u: byte %llu is wrong", e->flow->client_port,
               (unsigned long long)e->got + (uint64_t)bad);
    e->got += (uint64_t)r;
    PAIR_CHECK(p, e->got <= peer->sent, "received more than was sent");
    fs->totals.bytes += (uint64_t)r;
    e->read_at = pause_until(e, e->plan.read_pause);
    return true;
}

static bool end_finished(const struct end *e) {
    const struct end *peer = &e->flow->end[!e->role];
    if (e->plan.leave == LEAVE_SHUT)
        return e->eof && e->shut;
    return e->sent == e->plan.tx_bytes &&
           (e->got == peer->plan.tx_bytes || e->eof);
}

/* When would this end run by itself? */
static nstime_t end_alarm(const struct end *e) {
    nstime_t now = e->fs->p->now, t = NSTIME_NEVER;
    if (!e->so)
        return t;
    if (e->retry_at)
        t = e->retry_at;
    if (e->connecting)
        return t;
    if (!e->shut && e->write_at > now && e->write_at < t)
        t = e->write_at;
    if (!e->eof && e->read_at > now && e->read_at < t)
        t = e->read_at;
    return t;
}

/* Into the poll set: with what we want now (and out again when awake), or once
 * for ever, for edges. */
static void set_add(struct end *e) {
    uint32_t events = e->fs->sleep == SLEEP_LEVEL
                          ? e->wants
                          : STACK_IN | STACK_OUT | STACK_RDHUP | STACK_ET;
    int r = set_ctl(e, STACK_CTL_ADD, events);
    if (r == -ENOMEM && e->fs->lean) { /* look again soon */
        e->retry_at = e->fs->p->now + 50 * MSEC;
        return;
    }
    PAIR_CHECK(e->fs->p, r == 0, "%d", r);
    e->in_set = true;
}

/* Watch for what is missing; look once more first, since what a call has sent
 * to ourselves may have been answered already. */
static void end_sleep(struct end *e) {
    struct pair *p = e->fs->p;
    if (!e->wants)
        return;
    if (e->fs->sleep == SLEEP_WATCH)
        pair_watch(p, e->side, e->w, stack_sock_source(e->so), e->wants);
    else if (!e->in_set)
        set_add(e);
    if (pair_ready(p, e->side, e->so) & (e->wants | STACK_ERR | STACK_HUP))
        e->w->woken = true;
}

/* Run until nothing more can be done now. */
static void end_run(struct end *e) {
    struct pair *p = e->fs->p;
    e->fs->moved = p->now;
    pair_unwatch(p, e->side, e->w);
    if (e->in_set && e->fs->sleep == SLEEP_LEVEL) {
        PAIR_CHECK(p, set_ctl(e, STACK_CTL_DEL, 0) == 0, "not in the set");
        e->in_set = false;
    }
    e->w->woken = false;
    if (e->connecting) {
        int r = stack_connect_result(pair_lock(p, e->side), e->so);
        pair_unlock(p, e->side);
        if (r == -EINPROGRESS) {
            e->fs->totals.spurious++;
            e->wants = STACK_OUT;
            goto sleep;
        }
        if (r) {
            end_error(e, "connect", r);
            return;
        }
        e->connecting = false;
        e->fs->totals.connections++;
    }
    e->wants = 0;
    for (bool more = true; more && !e->done;) {
        if (end_abort(e))
            return;
        more = end_write(e);
        if (!e->done)
            more |= end_read(e);
    }
    if (e->done)
        return;
    if (end_finished(e)) {
        end_leave(e);
        return;
    }
sleep:
    end_sleep(e);
}

/* ---- connections ------------------------------------------------------------------ */

static void flow_start(struct flows *fs, struct flow *f) {
    struct pair *p = fs->p;
    struct end *e = &f->end[0];
    struct endpoint to = pair_at(p, f->end[1].side, f->cfg.port), me;
    struct stack *st = pair_lock(p, e->side);
    struct pair_waiter *w = stack_alloc(st, sizeof(*w));
    struct sock *so = NULL;
    int r = w ? stack_socket(st, 4, STACK_STREAM, 0, &so) : -ENOMEM;
    fs->moved = p->now;
    if (r == 0) {
        r = stack_connect(st, so, &to);
        if (r != -EINPROGRESS)
            stack_close(st, so);
    }
    if (r != -EINPROGRESS)
        stack_free(st, w, sizeof(*w));
    pair_unlock(p, e->side);
    if (fs->lean && (r == -ENOBUFS || r == -ENOMEM)) {
        f->start = p->now + 100 * MSEC;
        return;
    }
    PAIR_CHECK(p, r == -EINPROGRESS, "connect: %d", r);
    f->started = true;
    end_setup(e, so, w);
    stack_getsockname(e->so, &me);
    f->client_port = me.port;
    e->connecting = true;
    e->wants = STACK_OUT;
    end_sleep(e);
}

/* The flow whose client came from this port, the latest first. */
static struct flow *flow_of(struct flows *fs, int side,
                            const struct endpoint *peer) {
    for (unsigned i = fs->n; i-- > 0;) {
        struct flow *f = fs->flow[i];
        struct pair_side *client = &fs->p->side[f->cfg.client];
        if (f->started && f->client_port == peer->port &&
            ip_equal(&client->addr, &peer->ip) && f->end[1].side == side)
            return f;
    }
    pair_fail(fs->p, "accepted a stranger from port %u", peer->port);
}

static void accept_all(struct flows *fs, struct listener *l) {
    struct pair *p = fs->p;
    for (;;) {
        struct sock *so;
        int r = stack_accept(pair_lock(p, l->side), l->so, &so);
        pair_unlock(p, l->side);
        if (r == -EAGAIN)
            break;
        PAIR_CHECK(p, r == 0, "accept: %d", r);
        struct endpoint peer = {.port = 0};
        r = stack_getpeername(so, &peer);
        if (r == -ENOTCONN) { /* reset before we came */
            pair_close(p, l->side, so);
            continue;
        }
        struct flow *f = flow_of(fs, l->side, &peer);
        PAIR_CHECK(p, !f->end[1].so && !f->end[1].done, "accepted twice");
        struct pair_waiter *w = stack_alloc(p->side[l->side].st, sizeof(*w));
        PAIR_CHECK(p, w || fs->lean, "arena full");
        /* Nobody waits for us, or nobody can tell. */
        if (!w || (f->end[0].done && (f->aborted || rough(fs)))) {
            stack_free(p->side[l->side].st, w, sizeof(*w));
            f->aborted = f->end[1].done = true;
            pair_close(p, l->side, so);
            continue;
        }
        end_setup(&f->end[1], so, w);
        end_run(&f->end[1]);
    }
    pair_watch(p, l->side, l->w, stack_sock_source(l->so), STACK_IN);
}

/* The client left before the server's end was accepted, and may have taken it
 * along: nobody will come any more. */
static bool flow_over(const struct flow *f) {
    if (!f->started || !f->end[0].done)
        return false;
    return f->end[1].done ||
           (!f->end[1].so && (f->aborted || rough(f->end[0].fs)));
}

/* ---- the run ------------------------------------------------------------------------ */

/* Run one end if it was woken or a pause of it is over. */
static bool end_wake(struct end *e) {
    nstime_t now = e->fs->p->now;
    if (!e->so)
        return false;
    bool write_due = e->write_at && e->write_at <= now;
    bool read_due = e->read_at && e->read_at <= now;
    bool retry_due = e->retry_at && e->retry_at <= now;
    if (!e->w->woken && !retry_due &&
        (e->connecting || (!write_due && !read_due)))
        return false;
    e->retry_at = 0;
    e->fs->totals.wakes += e->w->woken;
    if (write_due)
        e->write_at = 0;
    if (read_due)
        e->read_at = 0;
    end_run(e);
    return true;
}

/* Wake what can run. Returns false when nothing could. */
static bool run_awake(struct flows *fs) {
    bool any = false;
    collect_sets(fs);
    for (unsigned i = 0; i < fs->listeners; i++)
        if (fs->listener[i].w->woken) {
            any = true;
            accept_all(fs, &fs->listener[i]);
        }
    for (unsigned i = fs->first; i < fs->n; i++) {
        struct flow *f = fs->flow[i];
        if (!f->started && f->start <= fs->p->now) {
            flow_start(fs, f);
            any = true;
        }
        for (int k = 0; k < 2; k++)
            any |= end_wake(&f->end[k]);
    }
    rewatch_sets(fs);
    while (fs->first < fs->n && flow_over(fs->flow[fs->first]))
        fs->first++;
    return any;
}

/* Everybody sleeps: is one asleep who should have been woken? */
static void check_sleepers(struct flows *fs) {
    struct pair *p = fs->p;
    for (unsigned i = fs->first; i < fs->n; i++)
        for (int k = 0; k < 2; k++) {
            struct end *e = &fs->flow[i]->end[k];
            if (!e->so || !e->wants || e->w->woken ||
                (!e->w->watching && !e->in_set))
                continue;
            uint32_t r = pair_ready(p, e->side, e->so);
            PAIR_CHECK(p, !(r & (e->wants | STACK_ERR | STACK_HUP)),
                       "lost wake: port %u, %s, ready %#x, watched %#x",
                       fs->flow[i]->client_port, k ? "server" : "client", r,
                       e->wants);
        }
}

static nstime_t next_alarm(const struct flows *fs) {
    nstime_t t = fs->flap_every ? fs->flap_at : NSTIME_NEVER;
    for (unsigned i = fs->first; i < fs->n; i++) {
        const struct flow *f = fs->flow[i];
        if (!f->started && f->start < t)
            t = f->start;
        for (int k = 0; k < 2; k++)
            if (end_alarm(&f->end[k]) < t)
                t = end_alarm(&f->end[k]);
    }
    return t;
}

static void report_stuck(struct flows *fs) {
    struct flow *f = fs->flow[fs->first];
    struct end *c = &f->end[0], *s = &f->end[1];
    pair_fail(fs->p,
              "stuck: port %u, client sent %llu got %llu of %llu (%s), server "
              "sent %llu got %llu of %llu (%s)",
              f->client_port, (unsigned long long)c->sent,
              (unsigned long long)c->got, (unsigned long long)s->plan.tx_bytes,
              c->done         ? "left"
              : c->connecting ? "connecting"
                              : "there",
              (unsigned long long)s->sent, (unsigned long long)s->got,
              (unsigned long long)c->plan.tx_bytes,
              s->done  ? "left"
              : !s->so ? "not accepted"
                       : "there");
}

void flows_run(struct flows *fs, nstime_t patience) {
    struct pair *p = fs->p;
    fs->moved = p->now;
    while (fs->first < fs->n) {
        flap(fs);
        pair_settle(p);
        if (run_awake(fs))
            continue;
        if (fs->first == fs->n)
            break;
        if (fs->n - fs->first < 64 || p->steps % 64 == 0)
            check_sleepers(fs);
        if (p->now > fs->moved + patience)
            report_stuck(fs);
        nstime_t alarm = next_alarm(fs);
        if (!pair_step(p, alarm) && alarm == NSTIME_NEVER)
            report_stuck(fs);
    }
    if (fs->cut)
        pair_mute(p, A, false);
}

void flows_end(struct flows *fs) {
    struct pair *p = fs->p;
    for (unsigned i = 0; i < fs->listeners; i++) {
        pair_waiter_free(p, fs->listener[i].side, fs->listener[i].w);
        pair_close(p, fs->listener[i].side, fs->listener[i].so);
    }
    for (int s = A; s <= B && fs->sleep != SLEEP_WATCH; s++) {
        pair_waiter_free(p, s, fs->set_w[s]);
        stack_pollset_free(pair_lock(p, s), fs->set[s]);
        pair_unlock(p, s);
    }
    for (unsigned i = 0; i < fs->n; i++)
        free(fs->flow[i]);
    free(fs->flow);
    free(fs);
}

struct flow_totals flows_totals(const struct flows *fs) {
    return fs->totals;
}
