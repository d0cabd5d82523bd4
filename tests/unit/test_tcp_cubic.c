/* CUBIC (RFC 9438) and HyStart++ (RFC 9406), without a network: the window as
 * a function of losses, acknowledgements and time. */
#include "stack/tcp/cc.h"
#include "tests/traffic/lib_one.h"

#define MSS 1000u
#define RTT_MS 100u

static struct tcp_sock tp;
static nstime_t now;

/* A connection with a window of so many segments, at a round trip of 100 ms. */
static void start(uint32_t segs) {
    tp = (struct tcp_sock){.cwnd = segs * MSS, .ssthresh = UINT32_MAX};
    tp.srtt8 = RTT_MS * 1000 * 8;
    now = 1000 * SEC;
    tcp_cc_start(NULL, &tp, TCP_CC_CUBIC);
}

/* A loss is found and repaired. */
static void lose(void) {
    tp.ssthresh = tcp_cc(&tp)->ssthresh(&tp, tp.cwnd, MSS);
    tp.cwnd = tp.ssthresh;
    tp.cwnd_acc = 0;
}

/* So many round trips in which the whole window is acknowledged, in pieces. */
static void rounds(uint32_t n) {
    for (; n; n--) {
        uint32_t left = tp.cwnd;
        now += RTT_MS * MSEC;
        while (left) {
            uint32_t bytes = left < 2 * MSS ? left : 2 * MSS;
            tcp_cc(&tp)->acked(&tp, bytes, MSS, now);
            left -= bytes;
        }
    }
}

/* Cube root by Newton's method. */
static double root(double v) {
    double r = 1;
    for (int i = 0; i < 60; i++)
        r -= (r * r * r - v) / (3 * r * r);
    return r;
}

static double off(double a, double b) { return a < b ? b - a : a - b; }

/* Figure 1 in floating point: segments, t in seconds. */
static double w_cubic(double w_max, double start_at, double t) {
    double d = t - root((w_max - start_at) / 0.4);
    return 0.4 * d * d * d + w_max;
}

/* Section 4.6: to 0.7 of the window; section 4.2: back along the curve. */
Test(tcp_cubic, follows_the_curve) {
    start(1000);
    lose();
    cr_assert_eq(tp.cwnd, 700 * MSS);
    nstime_t begin = now + RTT_MS * MSEC; /* the first ACK of the epoch */
    for (int i = 0; i < 200; i++) {
        rounds(1);
        double t = (double)(now - begin) / 1e9 + RTT_MS / 1e3;
        double want = w_cubic(1000, 700, t), have = tp.cwnd / 1e3;
        cr_assert_lt(off(have, want), want * 0.02, "%g s: %g, not %g", t, have,
                     want);
    }
    cr_assert_gt(tp.cwnd, 1300 * MSS, "convex beyond W_max");
}

/* Section 4.3: at a small window it is no slower than Reno's W_est. */
Test(tcp_cubic, friendly) {
    start(20);
    lose();
    cr_assert_eq(tp.cwnd, 14 * MSS);
    tp.srtt8 = 1000 * 8; /* 1 ms: the cubic curve hardly moves */
    for (int i = 0; i < 40; i++) {
        now += MSEC;
        tcp_cc(&tp)->acked(&tp, tp.cwnd, MSS, now);
    }
    /* alpha = 9/17 segment a round trip: 11 to W_max, then 1 */
    cr_assert_geq(tp.cwnd, 45 * MSS, "%u", tp.cwnd);
    cr_assert_leq(tp.cwnd, 52 * MSS, "%u", tp.cwnd);
}

/* Section 4.7: a second loss below W_max gives way. */
Test(tcp_cubic, fast_convergence) {
    start(1000);
    lose();
    lose(); /* at 700 of 1000: W_max becomes 700 * 0.85 */
    cr_assert_eq(tp.cwnd, 490 * MSS);
    double k = root((595 - 490) / 0.4);
    rounds((uint32_t)(k * 10));
    cr_assert_lt(off(tp.cwnd / 1e3, 595), 12, "%u", tp.cwnd);
}

/* Section 4.8: after a time-out the curve starts flat, at ssthresh. */
Test(tcp_cubic, time_out) {
    start(1000);
    lose();
    tcp_cc(&tp)->timeout(&tp);
    tp.cwnd = MSS;
    rounds(10); /* slow start up to 700 */
    cr_assert_geq(tp.cwnd, 700 * MSS);
    cr_assert_leq(tp.cwnd, 705 * MSS);
    rounds(10); /* 0.4 t^3 and a round trip ahead */
    cr_assert_leq(tp.cwnd, 712 * MSS);
}

/* Section 4.9.: a mistake taken back leaves no mark. */
Test(tcp_cubic, undo) {
    start(1000);
    lose();
    rounds(3);
    tp.cwnd = 1000 * MSS;
    tcp_cc(&tp)->undo(&tp);
    rounds(5);
    cr_assert_geq(tp.cwnd, 1000 * MSS);
    cr_assert_leq(tp.cwnd, 1010 * MSS);
}

/* Section 5.8: time in which nothing was sent is no time of the epoch. */
Test(tcp_cubic, pause) {
    start(1000);
    lose();
    rounds(50);
    uint32_t before = tp.cwnd;
    now += 30 * SEC;
    rounds(1);
    cr_assert_leq(tp.cwnd, before + 5 * MSS, "%u then %u", before, tp.cwnd);
}

/* Target of one RTT: never more than half a window (section 4.2). */
Test(tcp_cubic, bounded_step) {
    start(10);
    lose();
    now += 900 * MSEC;
    tcp_cc(&tp)->acked(&tp, MSS, MSS, now);
    for (int i = 0; i < 200; i++) {
        uint32_t before = tp.cwnd;
        now += 900 * MSEC;
        tcp_cc(&tp)->acked(&tp, tp.cwnd, MSS, now);
        cr_assert_leq(tp.cwnd, before + before / 2 + MSS);
    }
    cr_assert_gt(tp.cwnd, 1000 * MSS, "and yet it grows without end");
}

/* Two floors and a ceiling. */
Test(tcp_cubic, limits) {
    start(1);
    lose();
    cr_assert_eq(tp.ssthresh, 2 * MSS);
    tp.cwnd = TCP_CWND_MAX - 5;
    for (int i = 0; i < 10; i++)
        tcp_cc(&tp)->acked(&tp, 0x7fffffff, MSS, now += 10 * SEC);
    cr_assert_leq(tp.cwnd, 0x40000000u);
}

/* ---- HyStart++ ----------------------------------------------------------- */

/* One round of n ACKs of 2 segments, each with a sample of us; the last one
 * ends it. */
static void hystart_round(uint32_t n, uint32_t us) {
    for (uint32_t i = 0; i < n; i++) {
        tp.snd_una += 2 * MSS;
        tp.snd_nxt = tp.snd_una + n * 2 * MSS;
        tcp_cc(&tp)->sample(&tp, us);
        tcp_cc(&tp)->acked(&tp, 2 * MSS, MSS, now);
    }
}

/* The first ACK begins the first round. */
static void hystart_start(uint32_t n) {
    start(10);
    tp.snd_nxt = tp.snd_una + n * 2 * MSS;
    tcp_cc(&tp)->acked(&tp, 0, MSS, now);
}

/* A path that does not slow down is opened at full speed. */
Test(tcp_cubic, hystart_steady) {
    hystart_start(8);
    for (uint32_t i = 0; i < 8; i++)
        hystart_round(8, 100000 + i * 3000);
    cr_assert_eq(tp.ssthresh, UINT32_MAX);
    cr_assert_eq(tp.cwnd / MSS, 10 + 8 * 16);
}

/* Section 4.2: +12.5 ms at 100 ms ends it, after five slower rounds. */
Test(tcp_cubic, hystart_delay) {
    hystart_start(8);
    hystart_round(8, 100000);
    hystart_round(8, 100000);
    uint32_t before = tp.cwnd;
    hystart_round(8, 113000);
    cr_assert_eq(tp.cwnd, before + 16 * MSS, "8 samples make a verdict");
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(tp.ssthresh, UINT32_MAX);
        before = tp.cwnd;
        hystart_round(8, 114000);
        cr_assert_eq(tp.cwnd, before + 4 * MSS, "growth has slowed");
    }
    hystart_round(8, 114000);
    cr_assert_leq(tp.ssthresh, tp.cwnd);
}

/* Section 4.2: the round trip recovers: slow start goes on. */
Test(tcp_cubic, hystart_resumes) {
    hystart_start(8);
    hystart_round(8, 100000);
    hystart_round(8, 120000);
    hystart_round(8, 120000);
    hystart_round(8, 100000);
    uint32_t before = tp.cwnd;
    for (int i = 0; i < 10; i++)
        hystart_round(8, 100000);
    cr_assert_eq(tp.ssthresh, UINT32_MAX);
    cr_assert_geq(tp.cwnd, before + 10 * 16 * MSS);
}

/* Fewer than 8 samples say nothing (section 4.3, N_RTT_SAMPLE). */
Test(tcp_cubic, hystart_needs_samples) {
    hystart_start(7);
    for (uint32_t i = 0; i < 20; i++)
        hystart_round(7, 100000 * (i + 1));
    cr_assert_eq(tp.ssthresh, UINT32_MAX);
}

/* Each option value has a name, and only those. */
Test(tcp_cubic, names) {
    cr_assert_eq(stack_cc_find("cubic"), TCP_CC_CUBIC);
    cr_assert_eq(stack_cc_find("reno"), TCP_CC_NEWRENO);
    cr_assert_eq(stack_cc_find("nothing"), -ENOENT);
    cr_assert_null(stack_cc_name(TCP_CC_KINDS));
    cr_assert_null(stack_cc_name(-1));
    struct one o;
    one_open(&o, 4u << 20);
    struct sock *so = sock_new(o.st, SOCK_TCP, 4, 6);
    int64_t v = -1;
    cr_assert_eq(tcp_getopt(o.st, so, STACK_OPT_CONGESTION, &v), 0);
    cr_assert_eq(v, TCP_CC_CUBIC, "the default");
    cr_assert_eq(tcp_setopt(o.st, so, STACK_OPT_CONGESTION, 7), -ENOENT);
    cr_assert_eq(tcp_setopt(o.st, so, STACK_OPT_CONGESTION, TCP_CC_NEWRENO), 0);
    cr_assert_eq(tcp_of(so)->cc, TCP_CC_NEWRENO);
    sock_free(o.st, so);
    one_close(&o);
}
