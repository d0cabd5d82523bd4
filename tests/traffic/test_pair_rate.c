/* Two stacks on slow links: what BBR, pacing and the search for the path MTU do
 * to rates, queues and sizes, in virtual time. */
#include <criterion/criterion.h>

#include "tests/traffic/lib_flow.h"
#include "tests/traffic/lib_pair.h"

#define PIECE 65536
#define FLOWS 2

/* Streams from A to B, always as much as fits. */
struct stream {
    struct pair *p;
    struct sock *so[2];
    uint64_t got;
    uint32_t least_cwnd; /* segments, seen from `watch_from` on */
    nstime_t watch_from;
};

static void stream_open(struct stream *s, struct pair *p, uint16_t port,
                        const char *cc) {
    *s = (struct stream){.p = p, .least_cwnd = UINT32_MAX};
    s->watch_from = NSTIME_NEVER;
    pair_connected(p, port, s->so);
    if (cc)
        pair_setopt(p, A, s->so[A], STACK_OPT_CONGESTION, stack_cc_find(cc));
}

static struct stack_tcp_info info(struct stream *s, int side) {
    struct stack_tcp_info i;
    stack_tcp_info(pair_lock(s->p, side), s->so[side], &i);
    pair_unlock(s->p, side);
    return i;
}

/* Fill and drain the buffers. */
static void stream_move(struct stream *s) {
    static char buf[PIECE];
    ssize_t r;
    while (pair_try_send(s->p, A, s->so[A], buf, PIECE) > 0)
        continue;
    while ((r = pair_try_recv(s->p, B, s->so[B], buf, PIECE)) > 0)
        s->got += (uint64_t)r;
    if (s->p->now >= s->watch_from) {
        uint32_t cwnd = info(s, A).snd_cwnd;
        s->least_cwnd = cwnd < s->least_cwnd ? cwnd : s->least_cwnd;
    }
}

/* All streams for so long; rates of each, Mbit/s. */
static void run(struct stream *s, int n, nstime_t time, double *mbit) {
    struct pair *p = s->p;
    nstime_t until = p->now + time;
    uint64_t before[FLOWS];
    for (int i = 0; i < n; i++)
        before[i] = s[i].got;
    while (p->now < until) {
        for (int i = 0; i < n; i++)
            stream_move(&s[i]);
        pair_step(p, until);
    }
    for (int i = 0; i < n && mbit; i++)
        mbit[i] = (double)(s[i].got - before[i]) * 8e3 / (double)time;
}

static void stream_close(struct stream *s) {
    pair_setopt(s->p, A, s->so[A], STACK_OPT_LINGER, 0);
    pair_close(s->p, A, s->so[A]);
    pair_close(s->p, B, s->so[B]);
}

/* One stream of this kind: its rate after a start of 3 s; srtt at the end. */
static double alone(const char *fault, const char *cc, uint32_t *srtt_us) {
    struct pair *p =
        pair_new(&(struct pair_config){.fault = {fault, "delay=20ms"}});
    struct stream s;
    double mbit;
    stream_open(&s, p, 80, cc);
    run(&s, 1, 3 * SEC, NULL);
    run(&s, 1, 5 * SEC, &mbit);
    if (srtt_us)
        *srtt_us = info(&s, A).srtt_us;
    stream_close(&s);
    pair_end(p);
    return mbit;
}

#define LINK "delay=20ms,rate=20mbit,queue=200"

/* CUBIC fills the queue, BBR leaves it empty; both use the link. */
Test(pair_rate, bbr_fills_the_link_not_the_queue) {
    uint32_t bbr, cubic;
    cr_assert_gt(alone(LINK, "bbr", &bbr), 18);
    cr_assert_gt(alone(LINK, "cubic", &cubic), 18);
    cr_assert_lt(bbr, 60000, "%u us", bbr);
    cr_assert_gt(cubic, 80000, "%u us", cubic);
}

Test(pair_rate, bbr_bears_losses) {
    double bbr = alone(LINK ",loss=2%", "bbr", NULL);
    double cubic = alone(LINK ",loss=2%", "cubic", NULL);
    cr_assert_gt(bbr, 16, "%f", bbr);
    cr_assert_lt(cubic, 10, "%f", cubic);
}

/* After ten seconds without a shorter round trip: four segments for a while. */
Test(pair_rate, bbr_looks_for_the_round_trip) {
    struct pair *p =
        pair_new(&(struct pair_config){.fault = {LINK, "delay=20ms"}});
    struct stream s;
    double mbit;
    stream_open(&s, p, 80, "bbr");
    s.watch_from = p->now + 2 * SEC;
    run(&s, 1, 8 * SEC, NULL);
    cr_assert_gt(s.least_cwnd, 20, "%u", s.least_cwnd);
    run(&s, 1, 5 * SEC, NULL);
    cr_assert_eq(s.least_cwnd, 4, "%u", s.least_cwnd);
    run(&s, 1, 5 * SEC, &mbit); /* and back */
    cr_assert_gt(mbit, 18, "%f", mbit);
    stream_close(&s);
    pair_end(p);
}

/* A lower rate is noticed within ten round trips, by whatever is the bottleneck;
 * here it is the program's limit on pacing. */
Test(pair_rate, max_pacing_rate_rules_over_bbr) {
    struct pair *p =
        pair_new(&(struct pair_config){.fault = {LINK, "delay=20ms"}});
    struct stream s;
    double mbit;
    stream_open(&s, p, 80, "bbr");
    run(&s, 1, 2 * SEC, NULL);
    pair_setopt(p, A, s.so[A], STACK_OPT_MAX_PACING_RATE, 500000);
    run(&s, 1, 2 * SEC, NULL);
    run(&s, 1, 5 * SEC, &mbit);
    cr_assert_lt(mbit, 4.2, "%f", mbit);
    cr_assert_gt(mbit, 3.5, "%f", mbit);
    stream_close(&s);
    pair_end(p);
}

/* Two flows through one bottleneck: shares of the second by the first. */
static double share(const char *cc1, const char *cc2, const char *fault) {
    struct pair *p =
        pair_new(&(struct pair_config){.fault = {fault, "delay=20ms"}});
    struct stream s[FLOWS];
    double mbit[FLOWS];
    stream_open(&s[0], p, 80, cc1);
    stream_open(&s[1], p, 81, cc2);
    run(s, FLOWS, 10 * SEC, NULL);
    run(s, FLOWS, 60 * SEC, mbit);
    cr_assert_gt(mbit[0] + mbit[1], 17);
    for (int i = 0; i < FLOWS; i++)
        stream_close(&s[i]);
    pair_end(p);
    return mbit[1] / mbit[0];
}

Test(pair_rate, two_bbr_flows_share) {
    double r = share("bbr", "bbr", LINK);
    cr_assert(r > 0.6 && r < 1.67, "%f", r);
}

/* With a queue of twice the product neither starves the other. */
Test(pair_rate, bbr_and_cubic_share) {
    double r = share("cubic", "bbr", LINK);
    cr_assert(r > 0.2 && r < 5, "%f", r);
}

/* What a listener is given its children have; the program may change it. */
Test(pair_rate, children_inherit) {
    struct pair *p = pair_new(NULL);
    struct sock *l = pair_listen(p, B, 80, 8),
                *c = pair_socket(p, A, STACK_STREAM);
    struct endpoint to = pair_at(p, B, 80);
    int64_t v;
    pair_setopt(p, B, l, STACK_OPT_CONGESTION, stack_cc_find("bbr"));
    cr_assert_eq(pair_connect(p, A, c, &to), 0);
    struct sock *s = pair_accept(p, B, l);
    cr_assert_eq(stack_getopt(pair_lock(p, B), s, STACK_OPT_CONGESTION, &v), 0);
    pair_unlock(p, B);
    cr_assert_eq(v, stack_cc_find("bbr"));
    pair_setopt(p, B, s, STACK_OPT_CONGESTION, stack_cc_find("reno"));
    pair_setopt(p, B, s, STACK_OPT_CONGESTION, stack_cc_find("bbr"));
    pair_close(p, B, s);
    pair_close(p, B, l);
    pair_close(p, A, c);
    pair_end(p); /* and all memory is back */
}

/* ---- path MTU without ICMP ------------------------------------------------------ */

static uint64_t counted(struct pair *p, const char *what) {
    const struct stack_counters *c = pair_count(p, A);
    return !strcmp(what, "holes")    ? c->tcp_black_holes
           : !strcmp(what, "probes") ? c->tcp_mtu_probes
           : !strcmp(what, "lost")   ? c->tcp_mtu_probes_lost
           : !strcmp(what, "rto")    ? c->tcp_timeouts
                                     : c->tcp_fast_recoveries;
}

/* Long packets vanish: three time-outs, then the search to within 8 bytes. */
Test(pair_rate, black_hole_is_found) {
    struct pair *p = pair_new(
        &(struct pair_config){.fault = {"delay=5ms,mtu=1300", "delay=5ms"}});
    struct stream s;
    double mbit;
    stream_open(&s, p, 80, NULL);
    run(&s, 1, 10 * SEC, &mbit);
    uint32_t mss = info(&s, A).snd_mss;
    cr_assert_eq(counted(p, "holes"), 1);
    cr_assert(mss <= 1248 && mss > 1240, "%u", mss);
    cr_assert_gt(mbit, 100, "%f", mbit);
    stream_close(&s);
    pair_end(p);
}

/* Probing from the start costs no time-out and, since a lost probe is no
 * congestion, no reduction. */
Test(pair_rate, probes_do_not_slow_down) {
    struct pair *p = pair_new(
        &(struct pair_config){.fault = {"delay=5ms,mtu=1300", "delay=5ms"},
                              .tune = "tcp_mtu_probing=2"});
    struct stream s;
    stream_open(&s, p, 80, NULL);
    cr_assert_eq(info(&s, A).snd_mss, 1012);
    run(&s, 1, 5 * SEC, NULL);
    uint32_t mss = info(&s, A).snd_mss;
    cr_assert(mss <= 1248 && mss > 1240, "%u", mss);
    cr_assert_gt(counted(p, "lost"), 0);
    cr_assert_lt(counted(p, "probes"), 30);
    cr_assert_eq(counted(p, "rto"), 0);
    cr_assert_eq(counted(p, "fast"), 0);
    stream_close(&s);
    pair_end(p);
}

/* Ten minutes after the search the path is tried again. */
Test(pair_rate, longer_again) {
    struct pair *p = pair_new(&(struct pair_config){
        .fault = {"delay=5ms,rate=5mbit,queue=30,mtu=1300", "delay=5ms"},
        .tune = "tcp_mtu_probing=2"});
    struct stream s;
    stream_open(&s, p, 80, NULL);
    run(&s, 1, 10 * SEC, NULL);
    cr_assert_lt(info(&s, A).snd_mss, 1300);
    pair_path_mtu(p, A, 0);
    run(&s, 1, 5 * SEC, NULL);
    cr_assert_lt(info(&s, A).snd_mss, 1300);
    pair_run(p, 601 * SEC);
    run(&s, 1, 10 * SEC, NULL);
    cr_assert_gt(info(&s, A).snd_mss, 1440,
                 "%u after %lu probes, %lu lost, cwnd %u", info(&s, A).snd_mss,
                 counted(p, "probes"), counted(p, "lost"),
                 info(&s, A).snd_cwnd);
    stream_close(&s);
    pair_end(p);
}

/* As Linux by default: nothing is done, and the connection starves. */
Test(pair_rate, without_probing_the_hole_stays) {
    struct pair *p = pair_new(
        &(struct pair_config){.fault = {"delay=5ms,mtu=1300", "delay=5ms"},
                              .tune = "tcp_mtu_probing=0"});
    struct stream s;
    stream_open(&s, p, 80, NULL);
    run(&s, 1, 10 * SEC, NULL);
    cr_assert_eq(s.got, 0);
    cr_assert_eq(counted(p, "holes"), 0);
    stream_close(&s);
    pair_end(p);
}
