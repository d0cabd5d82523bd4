/* input.c: a segment comes in: checked, matched with a socket, and led through
 * the steps of RFC 9293 section 3.10.7.
 *
 * The steps are functions of their own, in the order of section 3.10.7.4:
 *
 *   sequence  input_check.c  PAWS, acceptability, trimming to the window
 *   RST       input_check.c  with the checks of RFC 5961
 *   SYN       input_check.c  challenge ACK
 *   ACK       input_ack.c    handshake, acknowledgement, window, recovery
 *   URG       input_text.c   the urgent pointer
 *   text      input_text.c   into the receive buffer or the reassembly queue
 *   FIN       input_text.c   end of the stream
 *
 * LISTEN is in listen.c, TIME-WAIT in timewait.c, SYN-SENT in input_syn.c.
 */
#include "stack/checksum.h"
#include "stack/tcp/tcp.h"

typedef enum tcp_step step_fn(struct stack *, struct tcp_sock *,
                              struct tcp_seg *);

static step_fn *const steps[] = {
    tcp_step_sequence, tcp_step_rst,  tcp_step_syn, tcp_step_ack,
    tcp_step_urg,      tcp_step_text, tcp_step_fin,
};

/* Run the steps until one uses the segment up. */
void tcp_input_steps(struct stack *st, struct tcp_sock *tp,
                     struct tcp_seg *seg) {
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (steps[i](st, tp, seg) != TCP_NEXT)
            return;
}

/* Parse and check. False: dropped and counted. */
static bool take_segment(struct stack *st, const struct rxpkt *rx,
                         struct tcp_seg *seg) {
    if (rx->multicast) { /* RFC 9293 MUST-57 */
        COUNT(st, drop_tcp_multicast);
        return false;
    }
    if (!tcp_parse(rx->l4, rx->l4_len, &seg->h, &seg->o)) {
        COUNT(st, drop_tcp_header);
        return false;
    }
    if (!rx->csum_ok) {
        uint64_t sum = csum_pseudo(&rx->src, &rx->dst, 6, rx->l4_len);
        if (csum_finish(csum_add(sum, rx->l4, rx->l4_len)) != 0) {
            COUNT(st, drop_tcp_checksum);
            return false;
        }
    }
    if (!seg->h.sport || !seg->h.dport) {
        COUNT(st, drop_tcp_port_zero);
        return false;
    }
    seg->rx = rx;
    seg->seq = seg->h.seq;
    seg->data = rx->l4 + seg->h.hdr_len;
    seg->len = rx->l4_len - seg->h.hdr_len;
    seg->fin = (seg->h.flags & TCP_FIN) != 0;
    seg->segs = 1;
    if (rx->meta.gso && rx->meta.gso_size)
        seg->segs = (seg->len + rx->meta.gso_size - 1) / rx->meta.gso_size;
    seg->wnd = seg->h.wnd;
    return true;
}

/* A segment for a TCB: count, scale the window, by state. */
static void conn_input(struct stack *st, struct tcp_sock *tp,
                       struct tcp_seg *seg) {
    BUSY(st, &tp->so);
    tp->segs_in += seg->segs;
    if (seg->len)
        tp->data_in += seg->segs;
    if (TCP_IN(tp, SYN_SENT)) {
        if (tcp_input_syn_sent(st, tp, seg) != TCP_NEXT)
            return;
        /* sixth and later steps apply to what came with the SYN-ACK */
        if (tcp_step_urg(st, tp, seg) == TCP_NEXT &&
            tcp_step_text(st, tp, seg) == TCP_NEXT)
            tcp_step_fin(st, tp, seg);
        return;
    }
    if (!(seg->h.flags & TCP_SYN)) /* RFC 7323 section 2.2 */
        seg->wnd <<= tp->snd_wscale;
    tcp_input_steps(st, tp, seg);
}

/* Nobody has the tuple: a listener on the port, or a reset (RFC 9293 section
 * 3.10.7.1). iss: where a new connection must start, or NULL. */
static void unmatched(struct stack *st, struct tcp_seg *seg,
                      const struct endpoint *local,
                      const struct endpoint *remote, const seq_t *iss) {
    struct sock *so = demux_bound(st, &st->sh->tcp, local, remote);
    if (so && so->listening) {
        BUSY(st, so);
        tcp_listen_input(st, tcp_of(so), seg, iss);
        return;
    }
    COUNT(st, tcp_no_socket);
    tcp_reply_reset(st, seg);
}

/* Called by IP for each segment (sock.h). The exact tuple comes before a
 * listener: RFC 9293 section 3.10.7. */
void tcp_input(struct stack *st, const struct rxpkt *rx) {
    struct tcp_seg seg = {0};
    COUNT(st, tcp_in);
    if (!take_segment(st, rx, &seg))
        return;
    struct endpoint local = {.ip = rx->dst, .port = seg.h.dport};
    struct endpoint remote = {.ip = rx->src, .port = seg.h.sport};
    struct sock *so = demux_tuple(st, &st->sh->tcp, &local, &remote);
    if (so && so->kind == SOCK_TCP) {
        conn_input(st, tcp_of(so), &seg);
        return;
    }
    seq_t iss;
    const seq_t *start = NULL;
    if (so) {
        if (!tcp_tw_input(st, so, &seg, &iss))
            return;
        start = &iss;
    }
    unmatched(st, &seg, &local, &remote, start);
}
