/* cc_cubic.c: CUBIC (RFC 9438), the default, with HyStart++ for its first slow
 * start (cc_hystart.c).
 *
 * Theory of operation
 *
 * After a loss at a window of W_max, cwnd falls to beta_cubic = 0.7 of it
 * (section 4.6) and an epoch begins: t later the window shall be
 *
 *     W_cubic(t) = C * (t - K)^3 + W_max          (section 4.2, figure 1)
 *
 * with C = 0.4 segments/s^3 and K the time after which that is W_max again. The
 * curve is steep at first, flat about W_max, steep again beyond it, and depends
 * on time alone, so that flows with different round trips grow alike. Each
 * round trip cwnd moves to the value of one RTT ahead, but at most to 1.5 cwnd.
 *
 * Where Reno would be faster, at short round trips and small windows, an
 * estimate of its window W_est takes over (section 4.3). A flow that loses again
 * below its last W_max gives way to newcomers: fast convergence (section 4.7).
 *
 * Units: windows in bytes, time in ms of the stack's clock (the curve moves in
 * tenths of seconds; 32 bits last 49 days). An epoch does not count time in
 * which the program, not cwnd, held us back (section 5.8).
 *
 * The loss reduces cwnd, not the flight size: cwnd grows only while it is in
 * use, which is the condition of section 4.6 for doing so.
 *
 * Memory: HyStart++ works only while ssthresh is infinite, CUBIC only once it
 * is not, so both use tp->cc_mem.
 */
#include <string.h>

#include "stack/tcp/cc.h"

/* In tp->cc_mem. All zero: no loss yet, no epoch. */
struct cubic {
    uint32_t w_max;    /* window before the last reduction; 0: forgotten */
    uint32_t origin;   /* W_max of the curve of this epoch */
    uint32_t epoch_ms; /* when the epoch began; 0: there is none */
    uint32_t k_ms;     /* K */
    uint32_t w_est;    /* what Reno would have */
    uint32_t est_acc;  /* acknowledged bytes not yet in w_est */
    uint32_t last_ms;  /* of the last ACK that counted */
};
static_assert(sizeof(struct cubic) <= sizeof(((struct tcp_sock *)0)->cc_mem),
              "cc_mem is too small");

#define BETA_NUM 7 /* beta_cubic = 0.7, section 4.6 */
#define BETA_DEN 10
#define ALPHA_NUM 9 /* alpha_cubic = 3 (1 - beta) / (1 + beta) = 9/17 */
#define ALPHA_DEN 17
#define AGE_MAX_MS 100000u /* far enough up the curve for any window */
#define STALL_MS 1000u     /* longer than this between ACKs: not in use */

static struct cubic *cubic_of(struct tcp_sock *tp) {
    return (struct cubic *)tp->cc_mem;
}

/* Largest r with r^3 <= v, bit by bit from the top. */
static uint32_t cube_root(uint64_t v) {
    uint64_t r = 0;
    for (int bit = 20; bit >= 0; bit--) {
        uint64_t t = r | 1ull << bit;
        if (t * t * t <= v)
            r = t;
    }
    return (uint32_t)r;
}

/* HyStart++ begins with the connection; a zero epoch is no epoch. */
static int cubic_init(struct stack *st, struct tcp_sock *tp) {
    (void)st, (void)tp;
    return 0;
}

/* The first slow start is watched (RFC 9406 section 4.2). */
static bool first_slow_start(const struct tcp_sock *tp) {
    return tp->ssthresh == UINT32_MAX;
}

static void cubic_sample(struct tcp_sock *tp, uint32_t us) {
    if (first_slow_start(tp))
        tcp_hystart_sample(tp, us);
}

/* Congestion avoidance begins at tp->cwnd: section 4.2, figure 2 for K. Without
 * a W_max (after a time-out, or slow start that ended without a loss) the curve
 * starts at its flat part, sections 4.8 and 4.10. */
static void start_epoch(struct tcp_sock *tp, struct cubic *c, uint32_t mss,
                        uint32_t now_ms) {
    c->epoch_ms = c->last_ms = now_ms ? now_ms : 1;
    c->k_ms = 0;
    c->origin = max_u32(c->w_max, tp->cwnd);
    c->w_est = tp->cwnd;
    c->est_acc = 0;
    uint64_t below = c->origin - tp->cwnd; /* K^3 = below / C, in s^3 */
    if (below)
        c->k_ms = cube_root(below * 2500000000ull / mss);
}

/* W_cubic at `age` ms after the start of the epoch, figure 1. */
static uint32_t w_cubic(const struct cubic *c, uint32_t age, uint32_t mss) {
    age = min_u32(age, c->k_ms + AGE_MAX_MS);
    bool before = age < c->k_ms;
    uint64_t d = before ? c->k_ms - age : age - c->k_ms;
    uint64_t off = d * d * d / 1000 * mss * 2 / 5000000; /* 0.4 d^3 */
    if (before)
        return c->origin > off ? c->origin - (uint32_t)off : 0;
    uint64_t w = c->origin + off;
    return w < TCP_CWND_MAX ? (uint32_t)w : TCP_CWND_MAX;
}

/* Section 4.3, figure 4: W_est grows by alpha segments per window, and by one
 * once it is where the reduction came from. */
static void grow_w_est(const struct tcp_sock *tp, struct cubic *c,
                       uint32_t bytes, uint32_t mss) {
    bool back = c->w_est >= c->origin;
    uint32_t num = back ? 1 : ALPHA_NUM, den = back ? 1 : ALPHA_DEN;
    c->est_acc = min_u32(c->est_acc + bytes, TCP_CWND_MAX);
    uint64_t grow =
        (uint64_t)c->est_acc * mss * num / ((uint64_t)tp->cwnd * den);
    if (!grow)
        return;
    c->est_acc = 0;
    c->w_est = (uint32_t)(c->w_est + grow < TCP_CWND_MAX ? c->w_est + grow
                                                         : TCP_CWND_MAX);
}

/* Congestion avoidance, sections 4.2 to 4.5. cwnd_acc keeps the bytes that
 * were too few to move cwnd. */
static void avoid(struct tcp_sock *tp, uint32_t bytes, uint32_t mss,
                  uint32_t now_ms) {
    struct cubic *c = cubic_of(tp);
    if (!c->epoch_ms)
        start_epoch(tp, c, mss, now_ms);
    uint32_t pause = now_ms - c->last_ms;
    uint32_t rtt_ms = (tp->srtt8 >> 3) / 1000;
    if (pause > STALL_MS && pause > 2 * rtt_ms)
        c->epoch_ms += pause; /* section 5.8 */
    c->last_ms = now_ms;
    grow_w_est(tp, c, bytes, mss);
    uint32_t target = w_cubic(c, now_ms - c->epoch_ms + rtt_ms, mss);
    target = min_u32(target, tp->cwnd + tp->cwnd / 2);
    tp->cwnd_acc = min_u32(tp->cwnd_acc + bytes, TCP_CWND_MAX);
    if (target > tp->cwnd) {
        uint64_t grow = (uint64_t)tp->cwnd_acc * (target - tp->cwnd) / tp->cwnd;
        if (grow)
            tp->cwnd_acc = 0;
        tp->cwnd +=
            (uint32_t)(grow < target - tp->cwnd ? grow : target - tp->cwnd);
    }
    tp->cwnd = max_u32(tp->cwnd, c->w_est);
    tp->cwnd = min_u32(tp->cwnd, TCP_CWND_MAX);
}

/* Section 4.10: slow start below ssthresh, the first one by RFC 9406. */
static void cubic_acked(struct tcp_sock *tp, uint32_t bytes, uint32_t mss,
                        nstime_t now) {
    if (first_slow_start(tp)) {
        uint32_t take = tcp_hystart_acked(tp, bytes);
        tp->cwnd = min_u32(tp->cwnd + take, TCP_CWND_MAX);
        if (!first_slow_start(tp)) /* the memory is CUBIC's from here on */
            memset(tp->cc_mem, 0, sizeof(tp->cc_mem));
        return;
    }
    bytes = tcp_cc_slow_start(tp, bytes);
    if (bytes)
        avoid(tp, bytes, mss, (uint32_t)(now / MSEC));
}

/* Sections 4.6 and 4.7: multiplicative decrease, fast convergence. */
static uint32_t cubic_ssthresh(struct tcp_sock *tp, uint32_t flight,
                               uint32_t mss) {
    (void)flight;
    struct cubic *c = cubic_of(tp);
    if (first_slow_start(tp))
        memset(tp->cc_mem, 0, sizeof(tp->cc_mem));
    uint64_t cwnd = tp->cwnd;
    bool shrinking = tp->cwnd < c->w_max;
    c->w_max =
        (uint32_t)(shrinking ? cwnd * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN)
                             : cwnd);
    c->epoch_ms = 0;
    return max_u32((uint32_t)(cwnd * BETA_NUM / BETA_DEN), 2 * mss);
}

/* Section 4.8: the next epoch starts without a W_max, wherever slow start ends.
 */
static void cubic_timeout(struct tcp_sock *tp) {
    cubic_of(tp)->w_max = 0;
    cubic_of(tp)->epoch_ms = 0;
}

/* Section 4.9: back to where we were, on the flat part of the curve. */
static void cubic_undo(struct tcp_sock *tp) {
    struct cubic *c = cubic_of(tp);
    c->epoch_ms = 0;
    if (first_slow_start(tp))
        memset(tp->cc_mem, 0, sizeof(tp->cc_mem));
    else
        c->w_max = tp->cwnd;
}

const struct tcp_cc_ops tcp_cc_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .sample = cubic_sample,
    .acked = cubic_acked,
    .ssthresh = cubic_ssthresh,
    .timeout = cubic_timeout,
    .undo = cubic_undo,
};
