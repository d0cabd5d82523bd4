/* isn.c: initial sequence numbers (RFC 6528) and timestamp offsets.
 *
 * ISN = M + F(local, remote, secret): M a clock of 4 us ticks, F SipHash under
 * a key of the stack. For one tuple numbers grow with time, so that a new
 * incarnation starts above the old one (RFC 9293 section 3.4.1); between
 * tuples they tell nothing.
 *
 * The timestamp clock starts at an offset that depends on the two hosts only:
 * uptime stays secret (RFC 7323 section 7.1), and still later connections
 * between the same hosts carry later timestamps, which RFC 6191 relies on.
 */
#include "stack/tcp/tcp.h"

#define ISN_TICK_NS 4096 /* RFC 6528: "a 4 microsecond timer" */

/* What is hashed; no padding. */
struct tuple_key {
    struct ip_addr local, remote;
    uint16_t lport, rport;
    uint32_t purpose;
};

/* RFC 6528 section 3. */
seq_t tcp_isn(struct stack *st, const struct endpoint *local,
              const struct endpoint *remote) {
    struct tuple_key k = {local->ip, remote->ip, local->port, remote->port, 1};
    uint64_t f = siphash(st->sh->key, &k, sizeof(k));
    return (seq_t)(f + st->now / ISN_TICK_NS);
}

/* Added to the clock of milliseconds that goes into TSval. */
uint32_t tcp_ts_offset(struct stack *st, const struct ip_addr *local,
                       const struct ip_addr *remote) {
    struct tuple_key k = {*local, *remote, 0, 0, 2};
    return (uint32_t)siphash(st->sh->key, &k, sizeof(k));
}

/* The numbers a SYN starts with, and the MSS it will offer. */
void tcp_start_numbers(struct stack *st, struct tcp_sock *tp,
                       const seq_t *given) {
    struct sock *so = &tp->so;
    tp->iss = given ? *given : tcp_isn(st, &so->local, &so->remote);
    tp->snd_una = tp->snd_nxt = tp->iss;
    tp->snd_up = tp->snd_sml = tp->recover = tp->high_rxt = tp->iss;
    tp->snd_buf_seq = tp->iss + 1;
    tp->ts_offset = tcp_ts_offset(st, &so->local.ip, &so->remote.ip);
    tp->undo_ts = tcp_ts_now(st, tp->ts_offset);
    unsigned hdr = ip_is_v4(&so->remote.ip) ? 40 : 60;
    uint32_t mss = st->sh->mtu > hdr ? st->sh->mtu - hdr : TCP_MSS_MIN;
    if (tp->user_mss)
        mss = min_u32(mss, tp->user_mss);
    tp->adv_mss = (uint16_t)min_u32(mss, 65535);
    uint32_t limit = tcp_rcv_limit(tp);
    tp->rcv_wscale = TCP_RCV_WSCALE;
    while (tp->rcv_wscale < 14 && limit >> tp->rcv_wscale > 65535)
        tp->rcv_wscale++;
}
