/* cc_hystart.c: HyStart++ (RFC 9406), an earlier end of the first slow start.
 *
 * Theory of operation
 *
 * Slow start doubles the window each round trip until something is lost, and
 * then up to half of the last window is lost at once. Before that happens a
 * queue fills, and the round trip grows. HyStart++ watches the least round trip
 * of each round (about a window, section 4.2): when it exceeds that of the round
 * before by an eighth, but by 4 to 16 ms, slow start may have to end.
 *
 * Since a delay may have other causes, what follows is Conservative Slow Start:
 * a quarter of the growth, for five rounds. If the round trip becomes shorter
 * again in one of them it was a mistake, and slow start goes on; else ssthresh
 * becomes cwnd and congestion avoidance begins.
 *
 * Deviations. A queue that goes on growing needs no further proof: Conservative
 * Slow Start ends as soon as the round trip has grown by the threshold once
 * more. Five rounds of a quarter's growth are a window three times as large,
 * which overruns a queue of one bandwidth-delay product. And L, the limit on the
 * growth by one ACK, is infinite, since one ACK of a superframe stands for
 * dozens of segments (see cc.c).
 */
#include "stack/tcp/cc.h"

#define MIN_RTT_THRESH 4000u /* us; section 4.3 */
#define MAX_RTT_THRESH 16000u
#define MIN_RTT_DIVISOR 8
#define N_RTT_SAMPLE 8
#define CSS_GROWTH_DIVISOR 4
#define CSS_ROUNDS 5

/* In tp->cc_mem. All zero: before the first round. */
struct hystart {
    seq_t window_end;      /* the round ends when this is acknowledged */
    uint32_t last_min;     /* least RTT of the last round, us; 0: unknown */
    uint32_t current_min;  /* ...and of this one */
    uint32_t css_baseline; /* current_min when CSS began; 0: slow start */
    uint8_t samples, css_rounds;
    bool running;
};
static_assert(sizeof(struct hystart) <= sizeof(((struct tcp_sock *)0)->cc_mem),
              "cc_mem is too small");

static struct hystart *hystart_of(struct tcp_sock *tp) {
    return (struct hystart *)tp->cc_mem;
}

/* Section 4.2: the start of a round. */
static void start_round(struct tcp_sock *tp, struct hystart *h) {
    h->last_min = h->current_min;
    h->current_min = 0;
    h->samples = 0;
    h->window_end = tp->snd_nxt;
    h->running = true;
}

/* Section 4.2: for each RTT sample in a round. */
void tcp_hystart_sample(struct tcp_sock *tp, uint32_t us) {
    struct hystart *h = hystart_of(tp);
    if (!h->current_min || us < h->current_min)
        h->current_min = max_u32(us, 1);
    if (h->samples < N_RTT_SAMPLE)
        h->samples++;
}

/* Is the round trip longer than `base` by more than the threshold? */
static bool delayed(const struct hystart *h, uint32_t base) {
    if (!base || h->samples < N_RTT_SAMPLE)
        return false;
    uint32_t thresh = max_u32(MIN_RTT_THRESH,
                              min_u32(base / MIN_RTT_DIVISOR, MAX_RTT_THRESH));
    return h->current_min >= base + thresh;
}

/* New data was acknowledged; the growth of cwnd that is due. */
uint32_t tcp_hystart_acked(struct tcp_sock *tp, uint32_t bytes) {
    struct hystart *h = hystart_of(tp);
    uint32_t grow = h->css_baseline ? bytes / CSS_GROWTH_DIVISOR : bytes;
    if (!h->css_baseline && delayed(h, h->last_min)) {
        h->css_baseline = h->current_min;
        h->css_rounds = 0;
    } else if (delayed(h, h->css_baseline)) {
        tp->ssthresh = tp->cwnd + grow;
        return grow;
    } else if (h->css_baseline && h->samples >= N_RTT_SAMPLE &&
               h->current_min < h->css_baseline) {
        h->css_baseline = 0; /* slow start resumes */
    }
    if (!h->running) {
        start_round(tp, h);
    } else if (seq_geq(tp->snd_una, h->window_end)) {
        start_round(tp, h);
        if (h->css_baseline && ++h->css_rounds >= CSS_ROUNDS)
            tp->ssthresh = tp->cwnd + grow;
    }
    return grow;
}
