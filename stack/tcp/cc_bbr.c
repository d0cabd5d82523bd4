/* cc_bbr.c: BBR, version 1 as Linux ships it (Cardwell et al., ACM Queue 14(5),
 * 2016; draft-cardwell-iccrg-bbr-congestion-control-00), without its detector
 * of policers (long-term sampling).
 *
 * Theory of operation
 *
 * A model of the path instead of a reaction to losses: the bottleneck's rate is
 * the greatest delivery rate (rate.c) of the last ten round trips, the length
 * of the path the least round trip of the last ten seconds. The product is what
 * fits into the path. Data leaves at that rate (pace.c), and cwnd is twice the
 * product: a bound for when ACKs are late or clumped.
 *
 *   STARTUP    gain 2.89 on both, until three round trips brought less than a
 *              quarter more rate: the pipe is full
 *   DRAIN      the inverse, until no more than the product is in flight
 *   PROBE_BW   phases of a round trip: 5/4 of the rate, to find more; 3/4, to
 *              drain what that queued; then six at the rate
 *   PROBE_RTT  once the least round trip is ten seconds old: four segments
 *              only, for 200 ms and a round trip, so that queues empty and the
 *              true length shows
 *
 * A round trip is packet-timed: it ends when something sent after its start is
 * acknowledged.
 *
 * Losses do not lower the rate. In the first round trip of a recovery as much
 * is sent as arrives (packet conservation), and after it the window from before
 * comes back. PRR does not take part.
 *
 * ACKs that come in clumps need more in flight than the product: the greatest
 * excess over the rate in the last five to ten round trips is added to cwnd.
 *
 * Memory: struct bbr, while the connection lasts; cc_mem has no room for it.
 */
#include "stack/alloc.h"
#include "stack/tcp/board.h"
#include "stack/tcp/cc.h"

#define UNIT 256u
#define HIGH_GAIN 739u /* 2 / ln 2, in 1 / UNIT */
#define DRAIN_GAIN 88u /* its inverse */
#define CWND_GAIN 512u /* in PROBE_BW */
#define BW_ROUNDS 10   /* of the rate's maximum */
#define PHASES 8       /* of PROBE_BW */
#define FULL_ROUNDS 3  /* without a quarter more: the pipe is full */
#define RTT_MS 10000u  /* how long a least round trip is good for */
#define PROBE_MS 200u  /* how long PROBE_RTT stays at four segments */
#define MIN_SEGS 4
#define EXTRA_ROUNDS 5 /* one of two windows for clumped ACKs */
#define EXTRA_MAX_US 100000u
#define EPOCH_MAX (1u << 28)

enum mode { STARTUP, DRAIN, PROBE_BW, PROBE_RTT };

struct bbr {
    uint32_t bw[BW_ROUNDS];   /* greatest delivery rate of a round, bytes/s */
    uint32_t bw_round;        /* the round that has been fed last */
    uint32_t round;           /* round trips so far */
    uint32_t round_delivered; /* the next begins with what is sent after this */
    uint32_t min_rtt, min_rtt_ms; /* least round trip, us, and when */
    uint32_t probe_done_ms;       /* PROBE_RTT ends */
    uint32_t cycle_us;            /* when the phase began */
    uint32_t prior_cwnd;          /* before PROBE_RTT or a recovery */
    uint32_t full_bw;             /* the rate that a quarter must be added to */
    uint32_t extra[2];            /* most clumped, bytes */
    uint32_t epoch_us, epoch_bytes; /* ACKs faster than the rate since */
    uint8_t mode, phase, full_rounds, extra_rounds, extra_now;
    uint8_t last_ca;   /* tp->ca_state at the last ACK */
    bool full;         /* the pipe has been full */
    bool round_start;  /* this ACK begins a round */
    bool conserve;     /* send what arrives */
    bool probe_timed;  /* probe_done_ms is set */
    bool probe_round;  /* a round trip has passed at four segments */
    bool idle_restart; /* data again after a pause */
    bool seen_rtt;
};

/* The rate of the bottleneck, as far as we know it. */
static uint32_t max_bw(const struct bbr *b) {
    uint32_t most = 0;
    for (int i = 0; i < BW_ROUNDS; i++)
        most = max_u32(most, b->bw[i]);
    return most;
}

static uint32_t pacing_gain(const struct bbr *b) {
    switch (b->mode) {
    case STARTUP:
        return HIGH_GAIN;
    case DRAIN:
        return DRAIN_GAIN;
    case PROBE_BW:
        return b->phase == 0   ? UNIT * 5 / 4
               : b->phase == 1 ? UNIT * 3 / 4
                               : UNIT;
    default:
        return UNIT;
    }
}

static uint32_t cwnd_gain(const struct bbr *b) {
    return b->mode == PROBE_BW    ? CWND_GAIN
           : b->mode == PROBE_RTT ? UNIT
                                  : HIGH_GAIN;
}

/* What fits into the path, times a gain. */
static uint32_t product(const struct tcp_sock *tp, uint32_t bw, uint32_t gain,
                        uint32_t mss) {
    const struct bbr *b = tp->bbr;
    if (b->min_rtt == UINT32_MAX)
        return TCP_INIT_CWND * mss;
    uint64_t n = (uint64_t)bw * b->min_rtt / 1000000 * gain / UNIT;
    return n < TCP_CWND_MAX ? (uint32_t)n : TCP_CWND_MAX;
}

/* The same with room for frames on their way through this host: three pieces
 * of pacing, an even number of segments, two more where we look for rate. */
static uint32_t in_flight_goal(const struct tcp_sock *tp, uint32_t bw,
                               uint32_t gain, uint32_t mss) {
    const struct bbr *b = tp->bbr;
    uint32_t goal = product(tp, bw, gain, mss);
    goal += 3 * tcp_pace_piece(tp, mss);
    goal = (goal + 2 * mss - 1) / (2 * mss) * (2 * mss);
    if (b->mode == PROBE_BW && b->phase == 0)
        goal += 2 * mss;
    return min_u32(goal, TCP_CWND_MAX);
}

/* Rate of departure: 1 % below the estimate, so that a queue that our error
 * would build up drains. It never falls before the pipe has been full. */
static void set_pacing(struct tcp_sock *tp, uint32_t bw, uint32_t gain) {
    struct bbr *b = tp->bbr;
    uint64_t rate = (uint64_t)bw * gain / UNIT * 99 / 100;
    uint32_t r = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
    if (r && (b->full || r > tp->cc_rate))
        tp->cc_rate = r;
}

/* Before any sample: the initial window in a round trip, or in 1 ms. */
static void first_pacing(struct tcp_sock *tp) {
    uint32_t us = tp->srtt8 >> 3;
    tp->bbr->seen_rtt = us != 0;
    uint64_t bw = (uint64_t)tp->cwnd * 1000000 / (us ? us : 1000);
    tp->cc_rate = 0;
    set_pacing(tp, bw < UINT32_MAX ? (uint32_t)bw : UINT32_MAX, HIGH_GAIN);
}

/* cc.h: -ENOMEM without memory. */
static int bbr_init(struct stack *st, struct tcp_sock *tp) {
    struct bbr *b = mem_alloc(st, sizeof(*b));
    if (!b)
        return -ENOMEM;
    tp->bbr = b;
    tp->cc_paces = true;
    b->min_rtt = tp->min_rtt ? tp->min_rtt : UINT32_MAX;
    b->min_rtt_ms = tcp_ms(st);
    b->epoch_us = tcp_us(st);
    b->round_delivered = tcp_delivered(tp);
    b->last_ca = TCP_CA_OPEN;
    b->mode = STARTUP;
    first_pacing(tp);
    return 0;
}

static void bbr_release(struct stack *st, struct tcp_sock *tp) {
    mem_free(st, tp->bbr, sizeof(*tp->bbr));
    tp->bbr = NULL;
    tp->cc_paces = false;
}

/* Before a recovery or PROBE_RTT. */
static void save_cwnd(struct tcp_sock *tp) {
    struct bbr *b = tp->bbr;
    bool calm = b->last_ca == TCP_CA_OPEN && b->mode != PROBE_RTT;
    b->prior_cwnd = calm ? tp->cwnd : max_u32(b->prior_cwnd, tp->cwnd);
}

/* Feed the maximum of the round. Rounds without a sample leave it alone. */
static void feed_bw(struct bbr *b, uint32_t bw) {
    uint32_t skip = min_u32(b->round - b->bw_round, BW_ROUNDS);
    for (; skip; skip--)
        b->bw[(b->round - skip + 1) % BW_ROUNDS] = 0;
    b->bw_round = b->round;
    uint32_t *slot = &b->bw[b->round % BW_ROUNDS];
    *slot = max_u32(*slot, bw);
}

/* Rounds and the rate. */
static void update_bw(struct tcp_sock *tp, const struct tcp_rate *r) {
    struct bbr *b = tp->bbr;
    b->round_start = false;
    if (!r->valid)
        return;
    if (seq_geq(r->prior_delivered, b->round_delivered)) {
        b->round_delivered = tcp_delivered(tp);
        b->round++;
        b->round_start = true;
        b->conserve = false;
    }
    if (!r->limited || r->bytes_per_s >= max_bw(b))
        feed_bw(b, r->bytes_per_s);
}

/* How much more arrives at once than the rate explains? */
static void update_extra(struct stack *st, struct tcp_sock *tp,
                         const struct tcp_rate *r, uint32_t acked) {
    struct bbr *b = tp->bbr;
    if (!r->valid || !acked)
        return;
    if (b->round_start && ++b->extra_rounds >= EXTRA_ROUNDS) {
        b->extra_rounds = 0;
        b->extra_now ^= 1;
        b->extra[b->extra_now] = 0;
    }
    uint64_t due = (uint64_t)max_bw(b) * (tcp_us(st) - b->epoch_us) / 1000000;
    if (b->epoch_bytes <= due || b->epoch_bytes + acked >= EPOCH_MAX) {
        b->epoch_us = tcp_us(st);
        b->epoch_bytes = 0;
        due = 0;
    }
    b->epoch_bytes += acked;
    uint32_t extra = min_u32(b->epoch_bytes - (uint32_t)due, tp->cwnd);
    b->extra[b->extra_now] = max_u32(b->extra[b->extra_now], extra);
}

/* What of that cwnd may have: no more than 100 ms of the rate. */
static uint32_t extra_cwnd(const struct bbr *b) {
    if (!b->full)
        return 0;
    uint64_t most = (uint64_t)max_bw(b) * EXTRA_MAX_US / 1000000;
    uint32_t extra = max_u32(b->extra[0], b->extra[1]);
    return extra < most ? extra : (uint32_t)most;
}

/* PROBE_BW: is the phase over? */
static bool phase_over(struct stack *st, struct tcp_sock *tp,
                       const struct tcp_rate *r, uint32_t mss) {
    struct bbr *b = tp->bbr;
    bool timed = tcp_us(st) - b->cycle_us > b->min_rtt;
    uint32_t bw = max_bw(b);
    if (b->phase == 0) /* long enough to see it, unless the queue is full */
        return timed &&
               (r->lost ||
                r->prior_flight >= in_flight_goal(tp, bw, UNIT * 5 / 4, mss));
    if (b->phase == 1)
        return timed || r->prior_flight <= in_flight_goal(tp, bw, UNIT, mss);
    return timed;
}

/* To PROBE_BW, at any phase but the draining one, so that flows differ. */
static void enter_probe_bw(struct stack *st, struct bbr *b) {
    b->mode = PROBE_BW;
    b->phase = (uint8_t)((2 + random_below(st, PHASES - 1)) % PHASES);
    b->cycle_us = tcp_us(st);
}

/* STARTUP: does the rate still grow? */
static void check_full(struct bbr *b, const struct tcp_rate *r) {
    if (b->full || !b->round_start || r->limited)
        return;
    uint32_t bw = max_bw(b);
    if (bw >= b->full_bw + b->full_bw / 4) {
        b->full_bw = bw;
        b->full_rounds = 0;
        return;
    }
    b->full = ++b->full_rounds >= FULL_ROUNDS;
}

/* From STARTUP by DRAIN to PROBE_BW, and through its phases. */
static void update_mode(struct stack *st, struct tcp_sock *tp,
                        const struct tcp_rate *r, uint32_t mss) {
    struct bbr *b = tp->bbr;
    if (b->mode == PROBE_BW && phase_over(st, tp, r, mss)) {
        b->phase = (uint8_t)((b->phase + 1) % PHASES);
        b->cycle_us = tcp_us(st);
    }
    check_full(b, r);
    if (b->mode == STARTUP && b->full) {
        b->mode = DRAIN;
        tp->ssthresh = in_flight_goal(tp, max_bw(b), UNIT, mss);
    }
    if (b->mode == DRAIN &&
        tcp_pipe(tp) <= in_flight_goal(tp, max_bw(b), UNIT, mss))
        enter_probe_bw(st, b);
}

/* PROBE_RTT is over once both a time and a round trip have passed. */
static void leave_probe_rtt(struct stack *st, struct tcp_sock *tp) {
    struct bbr *b = tp->bbr;
    if (!b->probe_timed || !b->probe_round ||
        !seq_gt(tcp_ms(st), b->probe_done_ms))
        return;
    b->min_rtt_ms = tcp_ms(st);
    tp->cwnd = max_u32(tp->cwnd, b->prior_cwnd);
    if (b->full)
        enter_probe_bw(st, b);
    else
        b->mode = STARTUP;
}

/* The least round trip, and PROBE_RTT when it is old. */
static void update_min_rtt(struct stack *st, struct tcp_sock *tp,
                           const struct tcp_rate *r, uint32_t mss) {
    struct bbr *b = tp->bbr;
    bool old = tcp_ms(st) - b->min_rtt_ms > RTT_MS;
    if (r->rtt_us && (r->rtt_us < b->min_rtt || old)) {
        b->min_rtt = r->rtt_us;
        b->min_rtt_ms = tcp_ms(st);
    }
    if (old && !b->idle_restart && b->mode != PROBE_RTT) {
        save_cwnd(tp);
        b->mode = PROBE_RTT;
        b->probe_timed = false;
    }
    if (b->mode == PROBE_RTT) {
        tcp_rate_limited(tp); /* it is our choice, not the path's */
        if (!b->probe_timed && tcp_pipe(tp) <= MIN_SEGS * mss) {
            b->probe_timed = true;
            b->probe_done_ms = tcp_ms(st) + PROBE_MS;
            b->probe_round = false;
            b->round_delivered = tcp_delivered(tp);
        } else if (b->probe_timed) {
            b->probe_round = b->probe_round || b->round_start;
            leave_probe_rtt(st, tp);
        }
    }
    if (r->valid)
        b->idle_restart = false;
}

/* Recoveries: true when they have said what cwnd is. */
static bool recovering(struct tcp_sock *tp, const struct tcp_rate *r,
                       uint32_t acked, uint32_t mss) {
    struct bbr *b = tp->bbr;
    uint8_t last = b->last_ca, ca = tp->ca_state;
    if (r->lost)
        tp->cwnd = max_u32(tp->cwnd > r->lost ? tp->cwnd - r->lost : 0, mss);
    if (ca == TCP_CA_RECOVERY && last != TCP_CA_RECOVERY) {
        b->conserve = true;
        b->round_delivered = tcp_delivered(tp);
        tp->cwnd = tcp_pipe(tp) + max_u32(acked, mss);
    } else if (ca == TCP_CA_OPEN && last != TCP_CA_OPEN) {
        tp->cwnd = max_u32(tp->cwnd, b->prior_cwnd);
        b->conserve = false;
    }
    b->last_ca = ca;
    if (b->conserve)
        tp->cwnd = max_u32(tp->cwnd, tcp_pipe(tp) + acked);
    return b->conserve;
}

/* cwnd moves to its goal by what arrives. */
static void set_cwnd(struct tcp_sock *tp, const struct tcp_rate *r,
                     uint32_t acked, uint32_t mss) {
    struct bbr *b = tp->bbr;
    if (acked && !recovering(tp, r, acked, mss)) {
        uint32_t goal = in_flight_goal(tp, max_bw(b), cwnd_gain(b), mss);
        goal = min_u32(goal + extra_cwnd(b), TCP_CWND_MAX);
        if (b->full)
            tp->cwnd = min_u32(tp->cwnd + acked, goal);
        else if (tp->cwnd < goal || tp->bytes_acked < TCP_INIT_CWND * mss)
            tp->cwnd = min_u32(tp->cwnd + acked, TCP_CWND_MAX);
        tp->cwnd = max_u32(tp->cwnd, MIN_SEGS * mss);
    }
    if (b->mode == PROBE_RTT)
        tp->cwnd = min_u32(tp->cwnd, MIN_SEGS * mss);
}

/* cc.h: every ACK with news. */
static void bbr_control(struct stack *st, struct tcp_sock *tp,
                        const struct tcp_rate *r, uint32_t acked,
                        uint32_t mss) {
    struct bbr *b = tp->bbr;
    if (!b->seen_rtt && tp->srtt8 && !b->full)
        first_pacing(tp);
    update_bw(tp, r);
    update_extra(st, tp, r, acked);
    update_mode(st, tp, r, mss);
    update_min_rtt(st, tp, r, mss);
    set_pacing(tp, max_bw(b), pacing_gain(b));
    set_cwnd(tp, r, acked, mss);
}

/* A loss: remember the window; there is no threshold. */
static uint32_t bbr_ssthresh(struct tcp_sock *tp, uint32_t flight,
                             uint32_t mss) {
    (void)flight, (void)mss;
    save_cwnd(tp);
    return tp->ssthresh;
}

/* A time-out is followed by a new search for the full rate, if it was not
 * found yet. */
static void bbr_timeout(struct tcp_sock *tp) {
    tp->bbr->last_ca = TCP_CA_LOSS;
    tp->bbr->full_bw = 0;
    tp->bbr->round_start = true;
}

static void bbr_undo(struct tcp_sock *tp) {
    tp->bbr->full_bw = 0;
    tp->bbr->full_rounds = 0;
}

/* Data again after a pause: at the rate, without a burst. */
static void bbr_restart(struct stack *st, struct tcp_sock *tp) {
    struct bbr *b = tp->bbr;
    b->idle_restart = true;
    b->epoch_us = tcp_us(st);
    b->epoch_bytes = 0;
    if (b->mode == PROBE_BW)
        set_pacing(tp, max_bw(b), UNIT);
    else if (b->mode == PROBE_RTT)
        leave_probe_rtt(st, tp);
}

const struct tcp_cc_ops tcp_cc_bbr = {
    .name = "bbr",
    .init = bbr_init,
    .release = bbr_release,
    .control = bbr_control,
    .ssthresh = bbr_ssthresh,
    .timeout = bbr_timeout,
    .undo = bbr_undo,
    .restart = bbr_restart,
};
