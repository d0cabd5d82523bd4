/* segment.c: one segment out: header, options, checksum, payload by reference.
 *
 * A segment longer than the MSS leaves as one superframe (netio_meta.gso): the
 * device, or the peer's kernel, cuts it, repeating the header. Payload is
 * described where it lies in the send buffer and must stay there until the
 * batch is flushed, so data is sent from tcp_send_due only (see tcp.h).
 * Checksums are left partial: the field holds the pseudo-header sum.
 *
 * Every segment with ACK carries the newest rcv_nxt, window, timestamp and SACK
 * blocks, so whoever sends anything has acknowledged everything; note_acked is
 * the one place that settles the debt.
 *
 * Options of data segments are 12 bytes of timestamps and, only while something
 * is missing, SACK blocks: the payload of a full segment varies with them, and
 * tcp_eff_mss says how much fits just now.
 */
#include "stack/checksum.h"
#include "stack/tcp/tcp.h"

/* How the connection's packets travel. */
static struct ip_tx conn_tx(const struct tcp_sock *tp) {
    return (struct ip_tx){
        .src = tp->so.local.ip,
        .dst = tp->so.remote.ip,
        .proto = 6,
        .ttl = tp->so.ttl,
        .tos = tp->so.tos,
        .opts = tp->so.ipopts,
        .df = tp->so.mtu_discover ? IP_DF_SET : IP_DF_CLEAR,
    };
}

/* Put the header in front of p's payload and hand it to IP. Returns what
 * ip_output says; a refused segment counts as lost on the way. */
static int emit(struct stack *st, struct pkt *p, const struct ip_tx *tx,
                const struct tcp_hdr *h, const struct tcp_opts *o) {
    unsigned hlen = TCP_HDR_MIN + tcp_opts_len(o);
    uint8_t *l4 = pkt_push(p, hlen);
    tcp_emit(l4, h, o);
    uint64_t sum = csum_pseudo(&tx->src, &tx->dst, 6, hlen + p->payload);
    tcp_set_csum(l4, csum_fold(sum));
    p->meta.flags |= NETIO_CSUM_PARTIAL;
    p->meta.csum_offset = TCP_CSUM_OFFSET;
    COUNT(st, tcp_out);
    int r = ip_output(st, p, tx);
    if (r < 0)
        COUNT(st, tcp_out_refused);
    return r;
}

/* A segment without payload that no TCB stands behind. */
int tcp_xmit_raw(struct stack *st, const struct ip_tx *tx,
                 const struct tcp_hdr *h, const struct tcp_opts *o) {
    return emit(st, pkt_new(st), tx, h, o);
}

/* Options of a SYN or SYN-ACK: everything in the first, what the peer has
 * offered in the second (RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2). */
static void syn_options(struct stack *st, const struct tcp_sock *tp,
                        bool answer, struct tcp_opts *o) {
    o->mss = tp->adv_mss;
    o->sack_permitted = answer ? tp->sack_ok : TUNED(st, SACK);
    o->has_wscale = answer ? tp->ws_ok : TUNED(st, WSCALE);
    o->wscale = tp->rcv_wscale;
    o->ts = answer ? tp->ts_ok : TUNED(st, TIMESTAMPS);
    o->tsval = tcp_ts_now(st, tp->ts_offset);
    o->tsecr = answer ? tp->ts_recent : 0;
    tcp_fo_option(st, tp, answer, o);
}

/* Options of any other segment. */
static void data_options(const struct tcp_sock *tp, uint32_t tsval,
                         struct tcp_opts *o) {
    o->ts = tp->ts_ok;
    o->tsval = tsval;
    o->tsecr = tp->ts_recent;
    if (!tp->sack_ok)
        return;
    unsigned max = tp->ts_ok ? TCP_SACK_MAX - 1 : TCP_SACK_MAX;
    if (tp->dsack) /* RFC 2883 section 4: the duplicate comes first */
        o->sack[o->n_sack++] = (struct tcp_sack){tp->dsack_lo, tp->dsack_hi};
    o->n_sack +=
        (uint8_t)tcp_reass_blocks(tp, o->sack + o->n_sack, max - o->n_sack);
}

/* Payload that fits into one wire segment with today's options (RFC 6691:
 * the MSS does not count options, so the sender subtracts them). */
uint32_t tcp_eff_mss(const struct tcp_sock *tp) {
    struct tcp_opts o = {0};
    data_options(tp, 0, &o);
    unsigned n = tcp_opts_len(&o);
    return tp->mss_base > n + 8 ? tp->mss_base - n : 8;
}

/* Urgent pointer of a segment at seq: it points behind the urgent byte
 * (RFC 9293 section 3.8.5, RFC 6093). */
static void urgent(const struct tcp_sock *tp, struct tcp_hdr *h) {
    if (!tp->urg_sending || seq_geq(h->seq, tp->snd_up))
        return;
    uint32_t off = tp->snd_up - h->seq;
    h->flags |= TCP_URG;
    h->urg = (uint16_t)min_u32(off, 0xffff);
}

/* The peer now knows rcv_nxt and the window. */
static void note_acked(struct stack *st, struct tcp_sock *tp) {
    tp->last_ack_sent = tp->rcv_nxt;
    tp->ack_now = false;
    tp->dsack = false;
    if (tp->quickack)
        tp->quickack--;
    if (timer_armed(&tp->dack))
        timer_stop(st, &tp->dack);
}

/* Statistics of what left. */
static void note_sent(struct stack *st, struct tcp_sock *tp, uint32_t len,
                      uint32_t mss) {
    uint32_t segs = len ? (len + mss - 1) / mss : 1;
    tp->segs_out += segs;
    if (!len)
        return;
    tp->data_out += segs;
    if (TUNED(st, START_QUICKACKS) && tcp_ms(st) - tp->rcv_ms < TCP_DACK_MS)
        tp->quickack = 0; /* a conversation: answers take ACKs along */
    tp->bytes_sent += len;
    tp->snd_ms = tcp_ms(st);
}

/* Describe [seq, seq + len) of the send buffer in p. Returns bytes described:
 * fewer when the buffer is in too many pieces for one frame. */
static uint32_t attach(struct tcp_sock *tp, struct pkt *p, seq_t seq,
                       uint32_t len, uint32_t mss) {
    uint32_t got = 0;
    if (seq == tp->iss) /* data in a SYN (RFC 7413): the SYN comes first */
        seq++;
    int n = bufq_peek(&tp->sndq, seq - tp->snd_buf_seq, len, p->iov + 1,
                      PKT_MAX_IOV - 1, &got);
    p->niov = (uint8_t)n;
    p->payload = got;
    if (got > mss) {
        p->meta.gso =
            ip_is_v4(&tp->so.remote.ip) ? NETIO_GSO_TCP4 : NETIO_GSO_TCP6;
        p->meta.gso_size = (uint16_t)mss;
    }
    return got;
}

/* Send one segment of the connection: len bytes of the send buffer from seq
 * on. FIN and PSH are left out if not all of it fitted. Returns the number of
 * payload bytes that left, or count as lost on the way because IP refused them;
 * -EMSGSIZE when the path MTU turned out to be smaller. */
int tcp_xmit(struct stack *st, struct tcp_sock *tp, seq_t seq, uint32_t len,
             uint16_t flags) {
    struct tcp_hdr h = {.sport = tp->so.local.port,
                        .dport = tp->so.remote.port,
                        .seq = seq,
                        .flags = flags};
    struct tcp_opts o = {0};
    struct ip_tx tx = conn_tx(tp);
    uint32_t mss = len ? tcp_eff_mss(tp) : 0;
    struct pkt *p = pkt_new(st);
    bool fresh = len && seq == tp->snd_nxt;
    if (len) {
        /* Devices copy URG and its pointer onto every piece of a superframe */
        bool alone = tcp_ecn_alone(tp, fresh) ||
                     (tp->urg_sending && seq_lt(seq, tp->snd_up));
        uint32_t got = attach(tp, p, seq, alone ? min_u32(len, mss) : len, mss);
        if (got < len)
            h.flags &= (uint16_t) ~(TCP_FIN | TCP_PSH);
        len = got;
    }
    if (flags & TCP_SYN)
        syn_options(st, tp, (flags & TCP_ACK) != 0, &o);
    else
        data_options(tp, tcp_ts_now(st, tp->ts_offset), &o);
    if (!(flags & TCP_RST)) {
        uint32_t wnd = tcp_select_window(st, tp);
        h.wnd = (uint16_t)min_u32(flags & TCP_SYN ? wnd : wnd >> tp->rcv_wscale,
                                  65535);
        urgent(tp, &h);
    }
    if (flags & TCP_ACK) {
        h.ack = tp->rcv_nxt;
        note_acked(st, tp);
    }
    h.flags |= tcp_ecn_out(st, tp, flags, fresh, &tx.tos);
    note_sent(st, tp, len, mss);
    int r = emit(st, p, &tx, &h, &o);
    return r == -EMSGSIZE ? r : (int)len;
}

/* A sequence number the peer will accept although it may have shrunk its
 * window below what we have sent (RFC 9293 section 3.8.6, SHLD-14). */
static seq_t acceptable_seq(const struct tcp_sock *tp) {
    seq_t edge = tp->snd_una + tp->snd_wnd;
    if (seq_leq(tp->snd_nxt, edge + (1u << tp->snd_wscale)))
        return tp->snd_nxt;
    return seq_max(edge, tp->snd_una);
}

/* An ACK and nothing else. */
void tcp_xmit_ack(struct stack *st, struct tcp_sock *tp) {
    tcp_xmit(st, tp, acceptable_seq(tp), 0, TCP_ACK);
    COUNT(st, tcp_pure_acks);
}

/* RST of a connection we give up (RFC 9293 section 3.10.5). */
void tcp_xmit_reset(struct stack *st, struct tcp_sock *tp) {
    tcp_xmit(st, tp, acceptable_seq(tp), 0, TCP_RST | TCP_ACK);
    COUNT(st, tcp_resets_out);
}

/* RFC 5961 section 7: at most one in TCP_OOW_ACK_MS, so that two confused ends
 * cannot keep each other busy. It is a due mark: data may take it along. */
void tcp_challenge_ack(struct stack *st, struct tcp_sock *tp,
                       const struct tcp_seg *seg) {
    uint32_t now = tcp_ms(st);
    /* data is never part of an ACK war, so it is answered always */
    bool loop = seg->len == 0 || (seg->h.flags & TCP_SYN);
    if (loop && tp->oow_ms && now - tp->oow_ms < TCP_OOW_ACK_MS) {
        COUNT(st, tcp_challenge_limited);
        return;
    }
    if (loop)
        tp->oow_ms = now ? now : 1; /* 0 means "not yet" */
    COUNT(st, tcp_challenge_acks);
    tp->ack_now = true;
    tcp_mark_due(st, tp);
}

/* RFC 9293 section 3.10.7.1: with ACK the RST takes its sequence number from
 * there, without it acknowledges what came. Never in answer to a RST. */
void tcp_reply_reset(struct stack *st, const struct tcp_seg *seg) {
    const struct tcp_hdr *in = &seg->h;
    if (in->flags & TCP_RST)
        return;
    struct tcp_hdr h = {.sport = in->dport,
                        .dport = in->sport,
                        .flags = TCP_RST};
    if (in->flags & TCP_ACK) {
        h.seq = in->ack;
    } else {
        h.flags |= TCP_ACK;
        h.ack = in->seq + (seg->rx->l4_len - in->hdr_len) +
                ((in->flags & TCP_SYN) != 0) + ((in->flags & TCP_FIN) != 0);
    }
    struct ip_tx tx = {.src = seg->rx->dst,
                       .dst = seg->rx->src,
                       .proto = 6,
                       .ttl = 64,
                       .df = IP_DF_SET};
    struct tcp_opts o = {0};
    tcp_xmit_raw(st, &tx, &h, &o);
    COUNT(st, tcp_resets_out);
}
