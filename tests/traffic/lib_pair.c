/* lib_pair.c: see lib_pair.h. */
#include "tests/traffic/lib_pair.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "netio/fault.h"
#include "netio/memwire.h"
#include "stack/guard.h"
#include "stack/shared.h"
#include "tests/traffic/lib_police.h"

/* Rounds of polling at one instant before we call it a storm. */
#define STORM 200000
/* The wire itself never loses: sockets' buffers bound what is in it. */
#define WIRE_FRAMES 1000000
/* A deadline may be early (the timer wheel rounds down), but not for ever. */
#define SPINS 64

void (*pair_on_failure)(const char *message);

_Noreturn void pair_fail(struct pair *p, const char *format, ...) {
    char text[512], line[640];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    snprintf(line, sizeof(line), "pair: seed %llu, t %.6f s: %s",
             p ? (unsigned long long)p->cfg.seed : 0,
             p ? (double)p->now / 1e9 : 0, text);
    if (pair_on_failure)
        pair_on_failure(line);
    fprintf(stderr, "%s\n", line);
    abort();
}

/* ---- randomness ----------------------------------------------------------- */

/* One step of splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t rng_next(uint64_t *state) {
    return mix(*state += 0x9e3779b97f4a7c15ull);
}

uint64_t rng_below(uint64_t *state, uint64_t n) { return rng_next(state) % n; }

static uint64_t pattern_word(uint64_t key, uint64_t index) {
    return mix(key * 0xd6e8feb86659fd93ull + index);
}

void pattern_fill(uint64_t key, uint64_t off, void *buf, size_t n) {
    uint8_t *d = buf;
    for (size_t i = 0; i < n;) {
        uint64_t w = pattern_word(key, (off + i) / 8);
        unsigned at = (off + i) % 8;
        size_t m = n - i < 8 - at ? n - i : 8 - at;
        memcpy(d + i, (uint8_t *)&w + at, m);
        i += m;
    }
}

ssize_t pattern_check(uint64_t key, uint64_t off, const void *buf, size_t n) {
    uint8_t want[512];
    const uint8_t *d = buf;
    for (size_t i = 0; i < n; i += sizeof(want)) {
        size_t m = n - i < sizeof(want) ? n - i : sizeof(want);
        pattern_fill(key, off + i, want, m);
        if (memcmp(d + i, want, m) == 0)
            continue;
        for (size_t j = 0; j < m; j++)
            if (d[i + j] != want[j])
                return (ssize_t)(i + j);
    }
    return -1;
}

/* ---- making and ending ------------------------------------------------------ */

/* Memory of a process of its own: page aligned and zero. */
static void *map_memory(struct pair *p, size_t size) {
    void *m = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        pair_fail(p, "no memory of %zu bytes", size);
    return m;
}

static size_t used_bytes(struct pair *p, int side) {
    struct stack_memory m;
    stack_memory(p->side[side].st, &m);
    return m.used;
}

/* The link's faults, for what this side sends. An empty specification still
 * turns superframes into plain frames, as the wrapper must see those. */
static struct netio *add_fault(struct pair *p, int side, struct netio *inner) {
    struct fault_spec spec;
    char why[128] = "";
    const char *text = p->cfg.fault[side] ? p->cfg.fault[side] : "";
    if (fault_parse(text, &spec, why, sizeof(why)))
        pair_fail(p, "fault %s: %s", text, why);
    spec.dir = FAULT_TX;
    spec.seed = rng_next(&p->rng);
    struct netio *io = netio_fault_new(inner, &spec);
    if (!io)
        pair_fail(p, "no memory for the fault wrapper");
    return io;
}

/* Format and attach one side on top of its end of the wire. */
static void side_open(struct pair *p, int side, struct netio *wire) {
    struct pair_side *s = &p->side[side];
    struct stack_config c = {
        .mac = {2, 0, 0, 0, 0, (uint8_t)(side + 1)},
        .mtu = p->cfg.mtu,
        .superframe = p->cfg.superframe,
        .prefix_len = 24,
        .now = p->now,
        .tune = p->cfg.tune,
    };
    c.addr = ip_from_v4(0xc6120001u + (uint32_t)side);
    for (size_t i = 0; i < sizeof(c.seed); i++)
        c.seed[i] = (uint8_t)rng_next(&p->rng);
    s->addr = c.addr;
    s->io = wire;
    if (p->cfg.fault[side] || p->cfg.plain)
        s->io = s->bad = add_fault(p, side, wire);
    if (!p->cfg.no_police)
        s->io = police_open(s->io, &s->police, p, side);
    s->size = p->cfg.arena;
    s->base = map_memory(p, s->size);
    int r = stack_create(s->base, s->size, &c);
    if (r)
        pair_fail(p, "stack_create: %d", r);
    for (int i = 0; i <= p->cfg.processes; i++) {
        s->handle[i] = map_memory(p, stack_handle_size());
        s->other = s->st;
        s->st = stack_attach(s->handle[i], s->base, s->io);
        if (!s->st)
            pair_fail(p, "stack_attach failed");
    }
    s->sleeper = pair_waiter_new(p, side);
}

struct pair *pair_new(const struct pair_config *cfg) {
    struct pair *p = calloc(1, sizeof(*p));
    if (!p)
        pair_fail(NULL, "no memory");
    if (cfg)
        p->cfg = *cfg;
    p->cfg.seed = p->cfg.seed ? p->cfg.seed : 1;
    p->cfg.mtu = p->cfg.mtu ? p->cfg.mtu : 1500;
    p->cfg.arena = p->cfg.arena ? p->cfg.arena : 64u << 20;
    p->rng = p->cfg.seed;
    /* Some uptime, so that no clock starts at a round zero; now and then a
     * few seconds before the milliseconds pass 32 bits. */
    p->now = SEC + rng_below(&p->rng, 100000 * SEC);
    if (p->cfg.seed % 4 == 3)
        p->now = (1ull << 32) * MSEC - rng_below(&p->rng, 20 * SEC);
    p->limit = 600 * SEC;
    struct netio *wire[2];
    if (netio_memwire_new(wire, p->cfg.mtu, WIRE_FRAMES))
        pair_fail(p, "no memory for the wire");
    side_open(p, A, wire[A]);
    side_open(p, B, wire[B]);
    pair_settle(p);
    for (int s = A; s <= B; s++)
        p->side[s].used = used_bytes(p, s) - arena_kept(p->side[s].base);
    return p;
}

void pair_drop(struct pair *p) {
    for (int s = A; s <= B; s++) {
        netio_close(p->side[s].io);
        guard_open(p->side[s].base, p->side[s].size);
        munmap(p->side[s].base, p->side[s].size);
        for (int i = 0; i <= p->cfg.processes; i++)
            munmap(p->side[s].handle[i], stack_handle_size());
    }
    free(p);
}

static bool all_gone(void *arg) {
    struct pair *p = arg;
    return pair_sockets(p, A) == 0 && pair_sockets(p, B) == 0 &&
           pair_timers(p, A) == 0 && pair_timers(p, B) == 0;
}

static size_t table_bytes(const struct demux_table *t) {
    size_t n = mem_good_size((t->mask + 1) * sizeof(struct list));
    if (t->old)
        n += mem_good_size((t->old_mask + 1) * sizeof(struct list));
    return n;
}

size_t arena_kept(const void *base) {
    const struct shared *sh = base;
    return table_bytes(&sh->tcp.tuples) + table_bytes(&sh->tcp.ports) +
           table_bytes(&sh->udp.tuples) + table_bytes(&sh->udp.ports) +
           sh->arp.n * (size_t)256;
}

static void side_check_empty(struct pair *p, int side) {
    const char *name = side == A ? "A" : "B";
    struct stack *st = p->side[side].st;
    struct shared *sh = p->side[side].base;
    if (pair_sockets(p, side)) {
        struct sock *cursor = NULL;
        struct stack_sock_info i = {0};
        stack_each_sock(st, &cursor, &i);
        pair_fail(p, "%s: %u sockets left; one is %s, proto %u, orphan %d",
                  name, pair_sockets(p, side),
                  stack_tcp_state_name(i.tcp.state), i.proto, i.orphan);
    }
    PAIR_CHECK(p, stack_orphans(st) == 0, "%s: %u", name, stack_orphans(st));
    PAIR_CHECK(p, list_empty(&sh->tcp_due), "%s", name);
    PAIR_CHECK(p, list_empty(&sh->loop), "%s", name);
    PAIR_CHECK(p, list_empty(&sh->wake), "%s", name);
    PAIR_CHECK(p, sh->tcp.tuples.n == 0 && sh->tcp.ports.n == 0, "%s", name);
    PAIR_CHECK(p, sh->udp.tuples.n == 0 && sh->udp.ports.n == 0, "%s", name);
    PAIR_CHECK(p, sh->timers.armed == 0, "%s: %u", name, sh->timers.armed);
    PAIR_CHECK(p, sh->count.bad_free == 0, "%s", name);
    size_t used = used_bytes(p, side), most = p->side[side].used;
    most += arena_kept(sh);
    PAIR_CHECK(p, used <= most, "%s: leaked %zu bytes", name, used - most);
}

void pair_end(struct pair *p) {
    bool gone = pair_until(p, all_gone, p, 1200 * SEC);
    for (int s = A; s <= B; s++)
        side_check_empty(p, s);
    if (!gone)
        pair_fail(p, "something was left after 20 minutes");
    pair_drop(p);
}

void pair_mute(struct pair *p, int side, bool mute) {
    pair_cut(p, side, mute, mute);
}

void pair_cut(struct pair *p, int side, bool rx, bool tx) {
    police_mute(p->side[side].police, (rx ? MUTE_RX : 0) | (tx ? MUTE_TX : 0));
}

void pair_path_mtu(struct pair *p, int side, uint32_t mtu) {
    netio_fault_set_mtu(p->side[side].bad, mtu);
}

void pair_jump(struct pair *p, int side, nstime_t by) {
    p->side[side].ahead += by;
}

/* ---- time -------------------------------------------------------------------- */

struct stack *pair_lock(struct pair *p, int side) {
    struct pair_side *s = &p->side[side];
    if (s->other) {
        struct stack *last = s->st;
        s->st = s->other;
        s->other = last;
    }
    stack_now(s->st, p->now + s->ahead);
    return s->st;
}

/* As share_leave does: send, then take note of who is to be woken. */
static void collect(struct pair *p, int side) {
    struct waiter *w;
    while ((w = stack_next_wake(p->side[side].st)))
        container_of(w, struct pair_waiter, waiter)->woken = true;
}

void pair_unlock(struct pair *p, int side) {
    stack_flush(p->side[side].st);
    collect(p, side);
}

/* One look of a watcher at its interface. Returns frames taken. */
static int poll_side(struct pair *p, int side) {
    struct stack *st = pair_lock(p, side);
    bool left;
    int n = p->cfg.place ? stack_poll_lazy(st, 64, &left) : stack_poll(st, 64);
    if (n < 0)
        pair_fail(p, "stack_poll: %d", n);
    collect(p, side);
    return n;
}

/* A deadline of this side in the pair's time. */
static nstime_t common(const struct pair_side *s, nstime_t t) {
    return t == NSTIME_NEVER ? t : t > s->ahead ? t - s->ahead : 0;
}

/* Does the wire hold a frame that could be taken now? */
static bool frames_waiting(struct pair *p) {
    for (int s = A; s <= B; s++)
        if (common(&p->side[s], netio_deadline(p->side[s].io)) <= p->now)
            return true;
    return false;
}

void pair_settle(struct pair *p) {
    for (unsigned i = 0; i < STORM; i++)
        if (poll_side(p, A) + poll_side(p, B) == 0 && !frames_waiting(p))
            return;
    pair_fail(p, "storm: frames move for ever while time stands still");
}

nstime_t pair_deadline(struct pair *p) {
    nstime_t a = common(&p->side[A], stack_deadline(p->side[A].st));
    nstime_t b = common(&p->side[B], stack_deadline(p->side[B].st));
    return a < b ? a : b;
}

bool pair_step(struct pair *p, nstime_t until) {
    nstime_t next = pair_deadline(p);
    if (next == NSTIME_NEVER && until == NSTIME_NEVER)
        return false;
    if (next > until) {
        p->now = until > p->now ? until : p->now;
        p->spins = 0;
        pair_settle(p);
        return false;
    }
    if (next > p->now) {
        p->now = next;
        p->spins = 0;
        p->steps++;
    } else if (++p->spins > SPINS) {
        pair_fail(p, "busy loop: due at %.9f, but nothing to do",
                  (double)next / 1e9);
    }
    pair_settle(p);
    return true;
}

void pair_run(struct pair *p, nstime_t duration) {
    nstime_t until = p->now + duration;
    pair_settle(p);
    while (pair_step(p, until))
        ;
}

bool pair_until(struct pair *p, bool (*done)(void *arg), void *arg,
                nstime_t within) {
    nstime_t until = p->now + within;
    pair_settle(p);
    while (!done(arg))
        if (!pair_step(p, until))
            return done(arg);
    return true;
}

/* ---- sleeping ------------------------------------------------------------------ */

struct pair_waiter *pair_waiter_new(struct pair *p, int side) {
    struct pair_waiter *w = stack_alloc(p->side[side].st, sizeof(*w));
    if (!w)
        pair_fail(p, "arena full: no waiter");
    return w;
}

void pair_unwatch(struct pair *p, int side, struct pair_waiter *w) {
    if (w->watching)
        stack_watch_del(&w->watch);
    /* Not asleep any more: a wake that nobody took is taken back. */
    list_remove(&w->waiter.wake_link);
    w->watching = false;
}

void pair_waiter_free(struct pair *p, int side, struct pair_waiter *w) {
    pair_unwatch(p, side, w);
    stack_free(p->side[side].st, w, sizeof(*w));
}

void pair_watch(struct pair *p, int side, struct pair_waiter *w,
                struct source *src, uint32_t events) {
    pair_unwatch(p, side, w);
    w->waiter.fired = 0;
    w->woken = false;
    w->watching = true;
    w->watch.events = events;
    w->watch.kind = WATCH_WAITER;
    w->watch.owner = &w->waiter;
    stack_watch_add(src, &w->watch);
}

bool pair_wait(struct pair *p, int side, struct sock *so, uint32_t events) {
    struct pair_waiter *w = p->side[side].sleeper;
    uint32_t any = events | STACK_ERR | STACK_HUP;
    nstime_t until = p->now + p->limit;
    if (pair_ready(p, side, so) & any)
        return true;
    pair_watch(p, side, w, stack_sock_source(so), events);
    pair_settle(p);
    while (!w->woken) {
        uint32_t ready = pair_ready(p, side, so);
        PAIR_CHECK(p, !(ready & any), "lost wake: ready %#x, watched %#x",
                   ready, any);
        if (!pair_step(p, until) && !w->woken)
            break;
    }
    bool woken = w->woken;
    pair_unwatch(p, side, w);
    return woken;
}

/* ---- what a test wants to know --------------------------------------------- */

unsigned pair_sockets(struct pair *p, int side) {
    struct sock *cursor = NULL;
    struct stack_sock_info i;
    unsigned n = 0;
    while (stack_each_sock(p->side[side].st, &cursor, &i))
        n++;
    return n;
}

uint32_t pair_timers(struct pair *p, int side) {
    return ((struct shared *)p->side[side].base)->timers.armed;
}

const struct stack_counters *pair_count(struct pair *p, int side) {
    return stack_counters(p->side[side].st);
}
