/* tcp/place.c: may the next segment go straight to the reader (stack/place.c)?
 *
 * Only where its bytes are the very next that the program reads, and where
 * nothing but text is in it: then every step of input (input.c) passes it
 * untrimmed, and the text step finds its bytes in place. */
#include "stack/place.h"
#include "stack/tcp/tcp.h"
#include "stack/wire/ipv4.h"

uint32_t tcp_place_header(const struct sock *so, bool now) {
    const struct tcp_sock *tp = (const struct tcp_sock *)so;
    if (so->kind != SOCK_TCP || !tp->bulk_in || !tcp_reass_empty(tp))
        return 0;
    if (now && tp->rcvq.len)
        return 0;
    if (so->closed || so->shut & 1 || so->rcvlowat > 1 || so->error ||
        tp->urg_state != TCP_URG_NONE)
        return 0;
    if (!TCP_IN(tp, ESTABLISHED) && !TCP_IN(tp, FIN_WAIT1) &&
        !TCP_IN(tp, FIN_WAIT2))
        return 0;
    return TCP_HDR_MIN + (tp->ts_ok ? 12 : 0);
}

bool tcp_place_expects(const struct sock *so, const struct ipv4_hdr *ip,
                       const struct tcp_hdr *h, uint32_t len) {
    const struct tcp_sock *tp = (const struct tcp_sock *)so;
    return (h->flags & ~TCP_PSH) == TCP_ACK && h->seq == tp->rcv_nxt &&
           len <= tcp_rcv_wnd(tp) && h->sport == so->remote.port &&
           h->dport == so->local.port && ip->src == ip_to_v4(&so->remote.ip) &&
           ip->dst == ip_to_v4(&so->local.ip);
}

bool tcp_place_announce(struct stack *st, struct sock *so) {
    struct tcp_sock *tp = tcp_of(so);
    if (tp->announced)
        return false;
    tp->announced = true;
    sock_event(st, so, STACK_IN);
    return true;
}

/* The text of seg: what is with the reader was read, the rest waits. Returns
 * bytes taken. */
uint32_t tcp_take_placed(struct stack *st, struct tcp_sock *tp,
                         const struct tcp_seg *seg) {
    const struct rx_split *s = seg->rx->split;
    uint32_t n = s->direct, rest = s->len - n;
    if (seg->len != s->len || !st->place || st->place->so != &tp->so)
        return 0; /* cannot be: what was predicted is not trimmed */
    st->place->got += n;
    tp->rcv_buf_seq += n;
    COUNT(st, place_frames);
    sock_event(st, &tp->so, STACK_IN); /* though nothing may be left */
    return rest ? n + bufq_append(st, &tp->rcvq, s->rest, rest) : n;
}
