/* cc.c: the table of congestion controls, and what they share.
 *
 * Growth counts bytes, not ACKs (RFC 3465), because one ACK may stand for a
 * whole superframe. Slow start takes every acknowledged byte at face value, as
 * Linux does: with L = 2 SMSS a receiver that acknowledges 256 KiB at a time
 * would keep the window small for ever.
 */
#include <string.h>

#include "stack/tcp/cc.h"

const struct tcp_cc_ops *const tcp_cc_table[TCP_CC_KINDS] = {
    [TCP_CC_NEWRENO] = &tcp_cc_newreno,
    [TCP_CC_CUBIC] = &tcp_cc_cubic,
    [TCP_CC_BBR] = &tcp_cc_bbr,
};

/* RFC 9743 section 3 wants a change in mid-connection to be safe: cwnd and
 * ssthresh stay, what the last algorithm remembered is gone. */
void tcp_cc_start(struct stack *st, struct tcp_sock *tp,
                  enum tcp_cc_kind kind) {
    tcp_cc_stop(st, tp);
    tp->cc = (uint8_t)kind;
    tp->cwnd_acc = 0;
    if (tcp_cc(tp)->init(st, tp) < 0) {
        COUNT(st, tcp_cc_no_memory);
        tp->cc = TCP_CC_DEFAULT; /* which needs none */
        tcp_cc(tp)->init(st, tp);
    }
}

/* What the algorithm remembers goes. */
void tcp_cc_stop(struct stack *st, struct tcp_sock *tp) {
    if (tcp_cc(tp)->release && tp->bbr)
        tcp_cc(tp)->release(st, tp);
    memset(tp->cc_mem, 0, sizeof(tp->cc_mem));
}

/* RFC 5681 section 3.1: exponential below ssthresh. */
uint32_t tcp_cc_slow_start(struct tcp_sock *tp, uint32_t bytes) {
    if (tp->cwnd >= tp->ssthresh)
        return bytes;
    uint32_t grow = min_u32(bytes, tp->ssthresh - tp->cwnd);
    tp->cwnd = min_u32(tp->cwnd + grow, TCP_CWND_MAX);
    return bytes - grow;
}

/* stack.h: TCP_CONGESTION speaks of names, STACK_OPT_CONGESTION of numbers. */
const char *stack_cc_name(int64_t kind) {
    return kind >= 0 && kind < TCP_CC_KINDS ? tcp_cc_table[kind]->name : NULL;
}

/* stack.h: -ENOENT as Linux answers for an algorithm it does not have. */
int stack_cc_find(const char *name) {
    for (int i = 0; i < TCP_CC_KINDS; i++)
        if (strcmp(tcp_cc_table[i]->name, name) == 0)
            return i;
    return -ENOENT;
}
