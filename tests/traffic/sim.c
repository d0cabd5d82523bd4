/* sim.c: many connections between two stacks, all of it random, all of it
 * decided by a seed.
 *
 *     sim [--seed N] [--connections N] [--jobs N] [--nightly] [--verbose]
 *         [--trace]
 *
 * Theory of operation
 *
 * A run is a row of worlds. A world is a pair of stacks (lib_pair.h), a link
 * with random faults, and up to 60 connections of programs with random habits
 * (lib_flow.h): sizes of writes and reads, pauses, half closes, aborts. World
 * number i of a run has the seed N + i and depends on nothing else, so that
 * the world that failed can be run again alone, frame by frame the same:
 *
 *     sim --seed S --connections 1
 *
 * Checked are: every byte, by a keyed pattern; that each frame is lawful
 * (lib_police.h); no lost wakes, storms or busy loops; and that at the end of
 * each world all memory, sockets and timers were given back. A failure prints
 * the seed and exits with 1. --jobs shares the worlds among so many processes;
 * --nightly means a million connections. --trace prints a line about each TCP segment, at
 * the stack that sends it and again where it arrives.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/traffic/lib_flow.h"
#include "tests/traffic/lib_pair.h"
#include "tests/traffic/lib_police.h"

#define PORT 80
#define WORLD_MAX 60

struct world {
    uint64_t seed, rng;
    char fault[2][128];
    struct pair_config cfg;
    unsigned connections;
    bool rough;     /* connections may die of it */
    double badness; /* 0: perfect link; scales what is worth sending */
};

static bool verbose;
static uint64_t current;

static uint64_t below(struct world *w, uint64_t n) {
    return rng_below(&w->rng, n);
}
static bool one_in(struct world *w, uint64_t n) { return below(w, n) == 0; }

/* A number between lo and hi, each power of two as likely as the next. */
static uint64_t scaled(struct world *w, uint64_t lo, uint64_t hi) {
    unsigned doublings = 0;
    while (lo << doublings < hi)
        doublings++;
    uint64_t n = lo << below(w, doublings + 1);
    n += below(w, n);
    return n < hi ? n : hi;
}

static void add_fault(char *spec, const char *name, uint64_t value,
                      const char *unit) {
    size_t n = strlen(spec);
    snprintf(spec + n, 128 - n, "%s%s=%llu%s", n ? "," : "", name,
             (unsigned long long)value, unit);
}

/* Choose what the link does in one direction. */
static void choose_fault(struct world *w, int side) {
    char *spec = w->fault[side];
    if (one_in(w, 6))
        return;
    if (!one_in(w, 4)) {
        uint64_t delay = scaled(w, 1, 200);
        add_fault(spec, "delay", delay, "ms");
        if (one_in(w, 3))
            add_fault(spec, "jitter", scaled(w, 1, delay), "ms");
    }
    if (one_in(w, 4))
        add_fault(spec, "ce", scaled(w, 1, 50), "%");
    if (one_in(w, 2)) {
        uint64_t loss = scaled(w, 1, 15);
        add_fault(spec, "loss", loss, "%");
        if (one_in(w, 3)) { /* bursts may swallow every repetition */
            add_fault(spec, "burst", scaled(w, 2, 8), "");
            w->rough = true;
        }
        w->badness += (double)loss;
    }
    if (one_in(w, 3))
        add_fault(spec, "dup", scaled(w, 1, 20), "%");
    if (one_in(w, 3))
        add_fault(spec, "reorder", scaled(w, 1, 30), "%");
    if (one_in(w, 5)) {
        add_fault(spec, "corrupt", scaled(w, 1, 5), "%");
        w->badness += 3;
    }
    if (one_in(w, 10) && w->cfg.mtu >= 1400) { /* nobody says so */
        add_fault(spec, "mtu", 600 + below(w, w->cfg.mtu - 600), "");
        w->badness += 3;
        w->rough = true;
    }
    if (one_in(w, 6)) {
        add_fault(spec, "rate", scaled(w, 1, 100), "mbit");
        add_fault(spec, "queue", scaled(w, 5, 200), "");
        w->badness += 3;
    }
    if (*spec)
        w->cfg.fault[side] = spec;
}

static void choose_plan(struct world *w, struct plan *p, uint64_t most) {
    p->tx_bytes = one_in(w, 8) ? 0 : scaled(w, 1, most);
    p->write_max = (uint32_t)scaled(w, 1, 65536);
    p->read_max = (uint32_t)scaled(w, 1, 65536);
    /* A million calls of one byte would only take long. */
    if (p->tx_bytes / p->write_max > 5000)
        p->write_max = 1000;
    if (p->read_max < 100 && one_in(w, 2))
        p->read_max = 10000;
    if (one_in(w, 4) && p->tx_bytes / p->write_max < 200)
        p->write_pause = scaled(w, 1, 2000) * MSEC;
    if (one_in(w, 4) && p->read_max > 1000)
        p->read_pause = scaled(w, 1, 2000) * MSEC;
    p->leave = LEAVE_SHUT;
    if (one_in(w, 4))
        p->leave = LEAVE_CLOSE;
    if (one_in(w, 10)) {
        p->leave = one_in(w, 2) ? LEAVE_ABORT : LEAVE_EARLY;
        p->leave_at = below(w, p->tx_bytes * 2 + 1);
    }
    if (one_in(w, 6))
        p->sndbuf = (uint32_t)scaled(w, 1000, 1 << 20);
    if (one_in(w, 6))
        p->rcvbuf = (uint32_t)scaled(w, 1000, 1 << 20);
    if (one_in(w, 8))
        p->lowat = (uint32_t)scaled(w, 1, 1 << 18);
    static const char *const ccs[] = {NULL, "reno", "cubic", "bbr"};
    p->cc = ccs[below(w, sizeof(ccs) / sizeof(*ccs))];
    p->nodelay = one_in(w, 2);
    p->polite = one_in(w, 2);
}

static void choose_world(struct world *w, uint64_t seed) {
    static const uint32_t mtus[] = {1500, 1500, 1500, 1500, 576, 1492, 9000};
    *w = (struct world){.seed = seed, .rng = seed * 0x9e3779b9u + 17};
    w->cfg.seed = seed;
    w->cfg.mtu = mtus[below(w, sizeof(mtus) / sizeof(*mtus))];
    w->cfg.plain = one_in(w, 3);
    w->cfg.processes = one_in(w, 3);
    if (one_in(w, 8))
        w->cfg.arena = scaled(w, 1u << 20, 8u << 20);
    static const char *const ecn[] = {NULL, "tcp_ecn=1", "tcp_ecn=3",
                                      "tcp_ecn=0"};
    w->cfg.tune = ecn[below(w, sizeof(ecn) / sizeof(*ecn))];
    choose_fault(w, A);
    choose_fault(w, B);
    w->connections = 1 + (unsigned)below(w, WORLD_MAX);
}

/* Returns the connections made. */
static unsigned run_world(uint64_t seed, struct flow_totals *sum) {
    struct world w;
    choose_world(&w, seed);
    current = seed;
    if (verbose)
        printf("world %llu: %u connections, mtu %u%s%s, arena %zu, A: %s, "
               "B: %s\n",
               (unsigned long long)seed, w.connections, w.cfg.mtu,
               w.cfg.plain ? ", plain" : "",
               w.cfg.processes ? ", processes" : "", w.cfg.arena, w.fault[A],
               w.fault[B]);
    struct pair *p = pair_new(&w.cfg);
    struct flows *fs = flows_new(p);
    flows_listen(fs, A, PORT, 128);
    flows_listen(fs, B, PORT, 128);
    flows_sleep(fs, (enum flow_sleep)below(&w, 3));
    if (w.cfg.arena)
        flows_lean(fs);
    if (w.rough)
        flows_rough(fs);
    if (one_in(&w, 8))
        flows_trouble(fs, 1 + (unsigned)below(&w, w.fault[A][0] ? 15 : 7),
                      scaled(&w, 1, 20) * SEC, scaled(&w, 10, 5000) * MSEC);
    uint64_t most = (uint64_t)(2e6 / (1 + w.badness) / (1 + w.badness / 4));
    for (unsigned i = 0; i < w.connections; i++) {
        struct flow_config c = {.client = (int)below(&w, 2), .port = PORT};
        c.own = one_in(&w, 10);
        c.start = one_in(&w, 2) ? 0 : below(&w, 10 * SEC);
        choose_plan(&w, &c.plan[0], most);
        choose_plan(&w, &c.plan[1], most);
        flow_add(fs, &c);
    }
    flows_run(fs, 1200 * SEC);
    struct flow_totals t = flows_totals(fs);
    if (verbose)
        printf("  %llu bytes, %llu left early, %llu errors, %.3f s, A sent "
               "%llu frames (%llu again), B %llu (%llu)\n",
               (unsigned long long)t.bytes, (unsigned long long)t.aborted,
               (unsigned long long)t.errors, (double)p->now / 1e9,
               (unsigned long long)police_count(p->side[A].police)->frames,
               (unsigned long long)police_count(p->side[A].police)->resent,
               (unsigned long long)police_count(p->side[B].police)->frames,
               (unsigned long long)police_count(p->side[B].police)->resent);
    sum->bytes += t.bytes;
    sum->aborted += t.aborted;
    sum->errors += t.errors;
    flows_end(fs);
    pair_end(p);
    return w.connections;
}

static void failed(const char *message) {
    fflush(stdout);
    fprintf(stderr, "%s\nreplay: sim --seed %llu --connections 1 --verbose\n",
            message, (unsigned long long)current);
    _Exit(1);
}

/* A crash is a failure with a seed as well. */
static void crashed(int sig) {
    fprintf(stderr, "sim: seed %llu: %s\n", (unsigned long long)current,
            strsignal(sig));
    signal(sig, SIG_DFL);
    raise(sig);
}

static int usage(void) {
    fprintf(stderr, "usage: sim [--seed N] [--connections N] [--jobs N] "
                    "[--nightly] [--verbose] [--trace]\n");
    return 2;
}

/* What a run came to. */
struct sum {
    struct flow_totals t;
    uint64_t worlds, connections;
};

/* Worlds first, first + step, ... until so many connections were made. */
static struct sum run_worlds(uint64_t first, uint64_t step,
                             uint64_t connections) {
    struct sum s = {0};
    while (s.connections < connections)
        s.connections += run_world(first + step * s.worlds++, &s.t);
    return s;
}

/* The same in several processes. Each tells its sum by a pipe; one that fails
 * has said why, and the others end as well. */
static struct sum run_jobs(uint64_t seed, unsigned jobs, uint64_t connections) {
    struct sum all = {0};
    int fds[2];
    if (pipe(fds))
        exit(1);
    fflush(stdout);
    for (unsigned i = 0; i < jobs; i++) {
        pid_t pid = fork();
        if (pid < 0)
            exit(1);
        if (pid == 0) {
            struct sum s = run_worlds(seed + i, jobs, connections / jobs);
            _Exit(write(fds[1], &s, sizeof(s)) != sizeof(s));
        }
    }
    close(fds[1]);
    for (unsigned i = 0; i < jobs; i++) {
        int status = 0;
        if (wait(&status) < 0 || status) {
            kill(0, SIGTERM);
            exit(1);
        }
    }
    struct sum s;
    while (read(fds[0], &s, sizeof(s)) == sizeof(s)) {
        all.worlds += s.worlds;
        all.connections += s.connections;
        all.t.bytes += s.t.bytes;
        all.t.aborted += s.t.aborted;
        all.t.errors += s.t.errors;
    }
    return all;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"connections", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},
        {"nightly", no_argument, NULL, 'n'},
        {"verbose", no_argument, NULL, 'v'},
        {"trace", no_argument, NULL, 't'},
        {0},
    };
    uint64_t seed = 1, connections = 300, jobs = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = "";
        if (c == 's')
            seed = strtoull(optarg, &end, 0);
        else if (c == 'c')
            connections = strtoull(optarg, &end, 0);
        else if (c == 'j')
            jobs = strtoull(optarg, &end, 0);
        else if (c == 'n')
            connections = 1000000;
        else if (c == 'v')
            verbose = true;
        else if (c == 't')
            police_log = stdout;
        else
            return usage();
        if (*end)
            return usage();
    }
    if (optind != argc || !seed || !jobs || jobs > 64)
        return usage();
    pair_on_failure = failed;
    signal(SIGFPE, crashed);
    signal(SIGABRT, crashed);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, crashed);
#endif
    setpgid(0, 0);
    struct sum sum = jobs == 1 ? run_worlds(seed, 1, connections)
                               : run_jobs(seed, (unsigned)jobs, connections);
    printf("sim: seed %llu: %llu worlds, %llu connections, %llu bytes "
           "checked, %llu left early, %llu errors as due\n",
           (unsigned long long)seed, (unsigned long long)sum.worlds,
           (unsigned long long)sum.connections, (unsigned long long)sum.t.bytes,
           (unsigned long long)sum.t.aborted, (unsigned long long)sum.t.errors);
    return 0;
}
