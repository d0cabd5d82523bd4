/* Two stacks: windows, slow programs, silence, memory that runs out. */
#include <criterion/criterion.h>
#include <errno.h>

#include "stack/shared.h"
#include "tests/traffic/lib_flow.h"
#include "tests/traffic/lib_pair.h"
#include "tests/traffic/lib_police.h"

enum { ESTABLISHED = 1 };

static uint8_t buf[1 << 20];

/* Write until the program would block and a minute later still does (a bad
 * link takes its time). Also ends when memory does. */
static size_t fill(struct pair *p, int side, struct sock *so, uint64_t key,
                   nstime_t patience) {
    size_t n = 0;
    for (;;) {
        pattern_fill(key, n, buf, 8192);
        ssize_t r = pair_try_send(p, side, so, buf, 8192);
        if (r == -EAGAIN) {
            pair_run(p, patience);
            if (!(pair_ready(p, side, so) & STACK_OUT))
                return n;
            continue;
        }
        if (r == -ENOBUFS || r == -ENOMEM)
            return n;
        cr_assert_gt(r, 0, "%zd", r);
        n += (size_t)r;
    }
}

static void drain(struct pair *p, int side, struct sock *so, uint64_t key,
                  size_t n) {
    for (size_t got = 0; got < n;) {
        ssize_t r = pair_recv(p, side, so, buf, 10000);
        cr_assert_gt(r, 0, "%zd after %zu of %zu", r, got, n);
        cr_assert_eq(pattern_check(key, got, buf, (size_t)r), -1);
        got += (size_t)r;
    }
}

/* RFC 9293 3.8.6.1: a closed window is probed for ever, and opens again. */
static void stall(const char *fault, nstime_t pause) {
    struct pair *p = pair_new(&(struct pair_config){.fault = {fault, fault}});
    struct sock *so[2];
    pair_connected(p, 80, so);
    size_t n = fill(p, A, so[A], 5, 60 * SEC);
    pair_run(p, pause);
    /* The same amount of memory, however long it takes. */
    cr_assert(!(pair_ready(p, A, so[A]) & STACK_OUT));
    cr_assert_eq(pair_state(p, A, so[A]), ESTABLISHED);
    drain(p, B, so[B], 5, n);
    cr_assert(pair_wait(p, A, so[A], STACK_OUT));
    n = fill(p, A, so[A], 6, 60 * SEC);
    drain(p, B, so[B], 6, n);
    pair_close(p, A, so[A]);
    cr_assert_eq(pair_recv(p, B, so[B], buf, 1), 0);
    pair_close(p, B, so[B]);
    pair_end(p);
}

Test(pair_window, zero_window_for_a_minute) { stall(NULL, 60 * SEC); }
Test(pair_window, zero_window_for_a_day) { stall(NULL, 86400 * SEC); }
Test(pair_window, zero_window_on_a_bad_link) {
    stall("loss=20%,delay=5ms", 600 * SEC);
}

/* The update that opens the window is lost: only a probe can find out. */
Test(pair_window, lost_window_update) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    size_t n = fill(p, A, so[A], 5, SEC), got = 0;
    pair_mute(p, A, true);
    for (ssize_t r; (r = pair_try_recv(p, B, so[B], buf, 10000)) > 0;) {
        cr_assert_eq(pattern_check(5, got, buf, (size_t)r), -1);
        got += (size_t)r;
    }
    pair_settle(p);
    pair_mute(p, A, false);
    cr_assert_lt(got, n);
    while (got < n) {
        ssize_t r = pair_recv(p, B, so[B], buf, 10000);
        cr_assert_gt(r, 0, "%zd after %zu of %zu", r, got, n);
        cr_assert_eq(pattern_check(5, got, buf, (size_t)r), -1);
        got += (size_t)r;
    }
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* Probes back off: an hour of silence costs tens of frames, not thousands. */
Test(pair_window, probes_back_off) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    size_t n = fill(p, A, so[A], 5, 60 * SEC);
    uint64_t before = police_count(p->side[A].police)->frames;
    pair_run(p, 3600 * SEC);
    uint64_t probes = police_count(p->side[A].police)->frames - before;
    cr_assert(probes > 20 && probes < 200, "%lu", probes);
    drain(p, B, so[B], 5, n);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* A reader of single bytes must not make the window open byte by byte
 * (silly window avoidance, RFC 9293 3.8.6.2). */
Test(pair_window, slow_reader_gets_no_silly_segments) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    size_t n = fill(p, A, so[A], 5, 60 * SEC), got = 0;
    uint64_t before = police_count(p->side[A].police)->tcp +
                      police_count(p->side[B].police)->tcp;
    size_t part = n / 4;
    for (; got < part; got += 100)
        cr_assert_eq(pair_recv_all(p, B, so[B], buf, 100), 100);
    uint64_t frames = police_count(p->side[A].police)->tcp +
                      police_count(p->side[B].police)->tcp - before;
    /* Each exchange moves an MSS at least: two frames per 1,448 bytes. */
    cr_assert_leq(frames, 2 * (part / 1448 + 2), "%lu frames for %zu bytes",
                  frames, part);
    pair_close(p, B, so[B]);
    pair_close(p, A, so[A]);
    pair_end(p);
}

/* Small buffers on either side, also below an MSS. */
Test(pair_window, small_buffers) {
    static const uint32_t sizes[] = {1, 1000, 2304, 5000, 20000};
    for (unsigned i = 0; i < 5; i++)
        for (int which = 0; which < 3; which++) {
            struct pair *p = pair_new(&(struct pair_config){
                .fault = {"delay=1ms", "delay=1ms,loss=1%"}});
            struct flows *fs = flows_new(p);
            struct plan plan = {.tx_bytes = 60000,
                                .write_max = 9000,
                                .read_max = 9000,
                                .sndbuf = which != 1 ? sizes[i] : 0,
                                .rcvbuf = which != 0 ? sizes[i] : 0};
            flows_listen(fs, B, 80, 8);
            flow_add(fs, &(struct flow_config){.client = A,
                                               .port = 80,
                                               .plan = {plan, plan}});
            flows_run(fs, 600 * SEC);
            flows_end(fs);
            pair_end(p);
        }
}

/* TCP_NOTSENT_LOWAT: the writer is woken when little is unsent, whether ACKs
 * or the sending itself made it so. */
Test(pair_window, little_unsent_wakes) {
    static const uint32_t lowats[] = {1, 4096, 16384, 100000};
    for (unsigned i = 0; i < 4; i++) {
        struct pair *p = pair_new(
            &(struct pair_config){.fault = {"delay=5ms,loss=1%", "delay=5ms"}});
        struct flows *fs = flows_new(p);
        struct plan plan = {.tx_bytes = 300000,
                            .write_max = 9000,
                            .read_max = 9000,
                            .polite = true,
                            .lowat = lowats[i]};
        flows_listen(fs, B, 80, 8);
        flow_add(fs, &(struct flow_config){.client = A,
                                           .port = 80,
                                           .plan = {plan, plan}});
        flows_run(fs, 600 * SEC);
        flows_end(fs);
        pair_end(p);
    }
}

/* Slow programs at either end, bursts and pauses. */
Test(pair_window, slow_programs) {
    for (int i = 0; i < 4; i++) {
        struct pair *p = pair_new(
            &(struct pair_config){.fault = {"delay=5ms,loss=1%", "delay=5ms"},
                                  .seed = 50 + (uint64_t)i});
        struct flows *fs = flows_new(p);
        struct plan c = {.tx_bytes = 400000,
                         .write_max = 50000,
                         .read_max = 3000},
                    s = c;
        c.write_pause = i & 1 ? 500 * MSEC : 0;
        s.read_pause = i & 2 ? 300 * MSEC : 0;
        s.read_max = 20000;
        flows_listen(fs, B, 80, 8);
        flow_add(fs, &(struct flow_config){.client = A,
                                           .port = 80,
                                           .plan = {c, s}});
        flows_run(fs, 600 * SEC);
        flows_end(fs);
        pair_end(p);
    }
}

/* Nothing is due on an idle connection: no timer, no deadline, no frame. */
Test(pair_window, idle_connection_is_silent) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    char b[4];
    pair_connected(p, 80, so);
    cr_assert_eq(pair_send(p, A, so[A], "ping", 4), 4);
    cr_assert_eq(pair_recv_all(p, B, so[B], b, 4), 4);
    pair_run(p, 2 * SEC); /* the delayed ACK */
    uint64_t steps = p->steps;
    uint64_t frames = police_count(p->side[A].police)->tcp +
                      police_count(p->side[B].police)->tcp;
    pair_run(p, 3 * 86400 * SEC);
    cr_assert_leq(p->steps - steps, 4, "woke %lu times", p->steps - steps);
    cr_assert_eq(police_count(p->side[A].police)->tcp +
                     police_count(p->side[B].police)->tcp,
                 frames);
    cr_assert_eq(pair_send(p, A, so[A], "pong", 4), 4);
    cr_assert_eq(pair_recv_all(p, B, so[B], b, 4), 4);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* RFC 9293 3.8.4: probes on an idle connection; a live peer answers. */
Test(pair_window, keepalive_of_a_live_peer) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPIDLE, 10);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPINTVL, 3);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPCNT, 4);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPALIVE, 1);
    uint64_t before = police_count(p->side[A].police)->tcp;
    pair_run(p, 1000 * SEC);
    uint64_t probes = police_count(p->side[A].police)->tcp - before;
    cr_assert(probes >= 95 && probes <= 101, "%lu", probes);
    cr_assert_eq(pair_state(p, A, so[A]), ESTABLISHED);
    cr_assert_eq(pair_ready(p, B, so[B]) & STACK_IN, 0);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

Test(pair_window, keepalive_of_a_dead_peer) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPALIVE, 1);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPIDLE, 10);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPINTVL, 3);
    pair_setopt(p, A, so[A], STACK_OPT_KEEPCNT, 4);
    pair_mute(p, B, true);
    nstime_t start = p->now;
    cr_assert_eq(pair_recv(p, A, so[A], buf, 1), -ETIMEDOUT);
    /* 10 s idle, then 4 probes 3 s apart */
    cr_assert_geq(p->now - start, 21 * SEC);
    cr_assert_leq(p->now - start, 24 * SEC);
    pair_mute(p, B, false);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* Data that is never acknowledged ends the connection (RFC 9293 3.8.3, R2;
 * tcp(7) tcp_retries2: 15 retransmissions, about 924 s). */
Test(pair_window, peer_that_vanished) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_mute(p, B, true);
    p->limit = 3600 * SEC;
    nstime_t start = p->now;
    cr_assert_eq(pair_send(p, A, so[A], "x", 1), 1);
    ssize_t r = pair_recv(p, A, so[A], buf, 1);
    cr_assert(r == -ETIMEDOUT || r == -EHOSTUNREACH, "%zd", r);
    cr_assert_geq(p->now - start, 800 * SEC);
    cr_assert_leq(p->now - start, 1200 * SEC);
    pair_mute(p, B, false);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

Test(pair_window, user_timeout) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_setopt(p, A, so[A], STACK_OPT_USER_TIMEOUT, 5000);
    pair_mute(p, B, true);
    nstime_t start = p->now;
    cr_assert_eq(pair_send(p, A, so[A], "x", 1), 1);
    cr_assert_eq(pair_recv(p, A, so[A], buf, 1), -ETIMEDOUT);
    cr_assert_geq(p->now - start, 4 * SEC);
    cr_assert_leq(p->now - start, 12 * SEC);
    pair_mute(p, B, false);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* A link that is down for a while only delays. */
Test(pair_window, link_down_and_up) {
    struct pair *p = pair_new(NULL);
    struct sock *so[2];
    pair_connected(p, 80, so);
    pair_mute(p, B, true);
    pattern_fill(9, 0, buf, 20000);
    cr_assert_eq(pair_send(p, A, so[A], buf, 20000), 20000);
    pair_run(p, 40 * SEC);
    pair_mute(p, B, false);
    drain(p, B, so[B], 9, 20000);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* An arena too small for what the programs want: calls say no, nothing
 * breaks, and what was promised arrives. */
Test(pair_window, arena_full) {
    struct pair *p = pair_new(&(struct pair_config){.arena = 2u << 20});
    struct sock *l = pair_listen(p, B, 80, 64), *c[200], *s[200];
    struct endpoint to = pair_at(p, B, 80);
    unsigned n = 0, m = 0;
    size_t sent[200] = {0};
    for (; n < 200; n++) {
        struct stack *st = pair_lock(p, A);
        int r = stack_socket(st, 4, STACK_STREAM, 0, &c[n]);
        if (r == 0 && stack_connect(st, c[n], &to) != -EINPROGRESS) {
            stack_close(st, c[n]);
            r = -ENOMEM;
        }
        pair_unlock(p, A);
        if (r)
            break;
        pair_settle(p);
        if (stack_accept(pair_lock(p, B), l, &s[m]) == 0)
            m++;
        pair_unlock(p, B);
        if (n < m && pair_state(p, A, c[n]) == ESTABLISHED)
            sent[n] = fill(p, A, c[n], n, 0);
    }
    cr_assert_gt(pair_count(p, B)->arena_full + pair_count(p, A)->arena_full, 0,
                 "nothing was refused");
    for (unsigned i = 0; i < m; i++) {
        struct endpoint e, f;
        unsigned k = 0;
        for (; k < n; k++) {
            stack_getsockname(c[k], &e);
            if (stack_getpeername(s[i], &f) == 0 && e.port == f.port)
                break;
        }
        if (k < n)
            drain(p, B, s[i], k, sent[k]);
        pair_close(p, B, s[i]);
    }
    for (unsigned i = 0; i < n; i++)
        pair_close(p, A, c[i]);
    pair_close(p, B, l);
    pair_end(p);
}
