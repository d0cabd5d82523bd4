/* cc.h: congestion control as a table of functions, so that one algorithm can
 * be tested alone and another put in its place (RFC 9743, section 3).
 *
 * Windows are bytes. What is lost and when recovery ends is decided in
 * recovery.c; an algorithm only says how much may be in flight. It keeps what
 * it must remember in tp->cc_mem.
 */
#pragma once
#include "stack/tcp/tcp.h"

/* Index of tcp_cc_table; stored in the TCB. */
enum tcp_cc_kind { TCP_CC_NEWRENO, TCP_CC_CUBIC, TCP_CC_BBR, TCP_CC_KINDS };
#define TCP_CC_DEFAULT TCP_CC_CUBIC

/* So that sums of windows never overflow. */
#define TCP_CWND_MAX 0x3fffffffu

struct tcp_cc_ops {
    const char *name; /* as TCP_CONGESTION has it */
    /* The connection is established, or changes to this algorithm: tp->cwnd is
     * the window to start from, cc_mem is zero. 0 or -ENOMEM. */
    int (*init)(struct stack *st, struct tcp_sock *tp);
    /* The other way round: give memory back. NULL: there is none. */
    void (*release)(struct stack *st, struct tcp_sock *tp);
    /* Not NULL: every ACK with news is answered by this, in place of growth by
     * `acked`, PRR and window validation. `acked`: bytes newly delivered. */
    void (*control)(struct stack *st, struct tcp_sock *tp,
                    const struct tcp_rate *r, uint32_t acked, uint32_t mss);
    /* Data leaves after a pause (with `control` only). */
    void (*restart)(struct stack *st, struct tcp_sock *tp);
    /* A round trip was measured, us. NULL: of no interest. */
    void (*sample)(struct tcp_sock *tp, uint32_t us);
    /* `bytes` of new data were acknowledged, cwnd was in use, and no fast
     * recovery goes on. */
    void (*acked)(struct tcp_sock *tp, uint32_t bytes, uint32_t mss,
                  nstime_t now);
    /* A loss was detected with `flight` bytes out: the new ssthresh. */
    uint32_t (*ssthresh)(struct tcp_sock *tp, uint32_t flight, uint32_t mss);
    /* The retransmission timer fired (after ssthresh). NULL: as any loss. */
    void (*timeout)(struct tcp_sock *tp);
    /* The last reduction was a mistake; cwnd is what it was. NULL: no news. */
    void (*undo)(struct tcp_sock *tp);
};

extern const struct tcp_cc_ops *const tcp_cc_table[TCP_CC_KINDS];
extern const struct tcp_cc_ops tcp_cc_newreno, tcp_cc_cubic, tcp_cc_bbr;

static inline const struct tcp_cc_ops *tcp_cc(const struct tcp_sock *tp) {
    return tcp_cc_table[tp->cc];
}

/* cc.c: change to another algorithm, or start the one that is chosen. Without
 * memory for it CUBIC is started instead, and counted. */
void tcp_cc_start(struct stack *st, struct tcp_sock *tp, enum tcp_cc_kind kind);
void tcp_cc_stop(struct stack *st, struct tcp_sock *tp);
/* Slow start up to ssthresh (RFC 5681 section 3.1). Returns the bytes that are
 * left for congestion avoidance. */
uint32_t tcp_cc_slow_start(struct tcp_sock *tp, uint32_t bytes);

/* cc_hystart.c: leave the first slow start before it overruns the path. */
void tcp_hystart_sample(struct tcp_sock *tp, uint32_t us);
/* How much of `bytes` may slow start add? Sets ssthresh when it is over. */
uint32_t tcp_hystart_acked(struct tcp_sock *tp, uint32_t bytes);
