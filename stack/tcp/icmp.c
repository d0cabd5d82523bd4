/* icmp.c: an ICMP error about one of our segments (RFC 9293 section 3.9.2.2,
 * RFC 5927, RFC 1191).
 *
 * The quoted sequence number must be one that is in flight, or the message is
 * forged or stale (RFC 5927 section 4.1). While a connection is being made
 * hard errors end the attempt, and so does the own link's (no neighbour answers
 * to ARP). Soft ones do not (RFC 9293 MUST-56: net, host, source route, time
 * exceeded, parameter problem) unless tcp_soft_errors=1 asks for Linux's way or
 * IP_RECVERR for all news. Later no error does: RFC 1122 section 4.2.3.9 lets
 * hard errors abort, RFC 5927 section 5.2 says why not to. They are remembered
 * and explain a time-out; an ACK of new data makes them history.
 *
 * "Fragmentation needed" is believed down to 552 bytes, Linux's min_pmtu: a
 * forger who has guessed a number in flight cannot make us send crumbs. It is
 * no sign of congestion: the data goes again at once, cwnd unchanged.
 */
#include "stack/tcp/tcp.h"
#include "stack/wire/icmpv4.h"

#define MIN_PMTU 552u /* as Linux: what a forger can push us down to */

/* "Fragmentation needed": smaller segments, and what was too big again. */
static void too_big(struct stack *st, struct tcp_sock *tp,
                    const struct icmp_error *e) {
    if (!tp->so.mtu_discover)
        return;
    if (e->mtu)
        ip_path_mtu_learn(st, &tp->so.remote.ip, max_u32(e->mtu, MIN_PMTU));
    uint16_t before = tp->mss_base;
    tcp_sync_mss(st, tp);
    if (tp->mss_base >= before || !tcp_synchronized(tp))
        return;
    COUNT(st, tcp_mss_lowered);
    tcp_recovery_resend(st, tp);
}

/* RFC 9293 section 3.9.2.2: these may pass by themselves. */
static bool is_soft(const struct icmp_error *e) {
    if (e->local)
        return false;
    if (e->type != ICMP_UNREACHABLE)
        return true;
    return e->code == ICMP_UNREACH_NET || e->code == ICMP_UNREACH_HOST ||
           e->code == ICMP_UNREACH_SRCROUTE;
}

/* An error while the handshake lasts. */
static void handshake_error(struct stack *st, struct tcp_sock *tp,
                            const struct icmp_error *e) {
    bool told = TUNED(st, SOFT_ERRORS) || tp->so.recverr;
    if (is_soft(e) && !told) {
        COUNT(st, tcp_soft_errors);
        tp->soft_error = (int16_t)e->err;
        return;
    }
    tcp_fail(st, tp, e->err);
}

/* Find the connection, check that the quoted segment is one in flight, act by
 * state. Called by icmp.c; e->err says what the message means. */
void tcp_icmp_error(struct stack *st, const struct ip_addr *src,
                    const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                    const struct icmp_error *e) {
    struct tcp_hdr h;
    (void)len;
    tcp_parse_quote(l4, &h);
    struct endpoint local = {.ip = *src, .port = h.sport};
    struct endpoint remote = {.ip = *dst, .port = h.dport};
    struct sock *so = demux_tuple(st, &st->sh->tcp, &local, &remote);
    if (!so || so->kind != SOCK_TCP) {
        COUNT(st, icmp_error_no_socket);
        return;
    }
    struct tcp_sock *tp = tcp_of(so);
    if (!seq_geq(h.seq, tp->snd_una) || !seq_lt(h.seq, tp->snd_nxt)) {
        COUNT(st, tcp_icmp_forged);
        return;
    }
    if (e->err == EMSGSIZE) {
        too_big(st, tp, e);
        return;
    }
    if (TCP_IN(tp, SYN_SENT) || TCP_IN(tp, SYN_RECV))
        handshake_error(st, tp, e);
    else
        tp->soft_error = (int16_t)e->err;
}
