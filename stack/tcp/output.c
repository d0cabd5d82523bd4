/* output.c: what to send now.
 *
 * Theory of operation
 *
 * tcp_output is called once per burst for every socket that something happened
 * to. In this order it sends: a SYN that is due; a probe that is due; holes
 * that recovery.c calls lost; a tail loss probe; new data and FIN; and, if none
 * of these carried the ACK that is owed, a bare ACK. Then it sees to the timers.
 *
 * How much new data: RFC 9293 section 3.8.6.2.1 (sender's silly window
 * avoidance) with the Nagle algorithm (section 3.7.4) in Minshall's form, as
 * Linux has it: a partial segment waits only for an earlier partial segment.
 * Whole segments leave as one superframe; when the congestion window alone
 * stops us, we wait until a third of it is free rather than send crumbs.
 *
 * What IP refuses counts as sent and lost: the retransmission timer brings it
 * back, and nothing here has to remember half-sent data. The one exception is a
 * segment longer than a path MTU that has just shrunk, which is cut again.
 *
 * A window too small to use is not an error but a state: with nothing in flight
 * no ACK will come to wake us, so the persist timer must (output_timers).
 */
#include "stack/tcp/cc.h"
#include "stack/wire/ipv4_opts.h"

/* Sizes for one run of tcp_output. They are worked out once: pipe is a walk over
 * the scoreboard, and grows here by what is sent. */
struct run {
    uint32_t mss;  /* payload of one wire segment */
    uint32_t gso;  /* largest payload of a superframe, a multiple of mss */
    uint32_t pipe; /* bytes thought to be in the network */
};

/* sock.h: at the end of a burst or call. A socket that becomes due again while
 * this runs has its turn in the same call. */
void tcp_send_due(struct stack *st) {
    struct list_node *n;
    while ((n = list_pop_front(&st->sh->tcp_due))) {
        struct tcp_sock *tp = container_of(n, struct tcp_sock, due_link);
        BUSY(st, &tp->so);
        tcp_output(st, tp);
    }
}

/* Segment sizes from the peer's MSS, the path MTU and TCP_MAXSEG (RFC 9293
 * section 3.7.1, RFC 6691). */
void tcp_sync_mss(struct stack *st, struct tcp_sock *tp) {
    unsigned ip = ip_is_v4(&tp->so.remote.ip) ? 20 : 40;
    uint32_t mtu = ip_path_mtu(st, &tp->so.remote.ip);
    uint32_t base = mtu > ip + TCP_HDR_MIN ? mtu - ip - TCP_HDR_MIN : 0;
    base = min_u32(base, tp->peer_mss);
    if (tp->so.ipopts) /* RFC 9293 section 3.7.1: Eff.snd.MSS without them */
        base -= min_u32(base, tp->so.ipopts->len);
    if (tp->user_mss)
        base = min_u32(base, tp->user_mss);
    if (tp->mtu_low)
        base = min_u32(base, tp->mtu_low);
    tp->mss_base = (uint16_t)max_u32(base, TCP_MSS_MIN);
}

/* IP refused a segment as too long: does the path MTU explain it? */
static bool smaller_mss(struct stack *st, struct tcp_sock *tp) {
    uint16_t before = tp->mss_base;
    tcp_sync_mss(st, tp);
    return tp->mss_base < before;
}

/* SYN, or SYN-ACK in SYN-RECEIVED. */
static void output_syn(struct stack *st, struct tcp_sock *tp) {
    bool answer = TCP_IN(tp, SYN_RECV);
    tp->syn_due = false;
    uint32_t n = answer ? 0 : tcp_fo_syn_len(st, tp);
    tcp_xmit(st, tp, tp->iss, n, answer ? TCP_SYN | TCP_ACK : TCP_SYN);
    tp->snd_nxt = seq_max(tp->snd_nxt, tp->iss + 1);
    if (tp->tfo) /* data may follow at once, and is counted from here */
        tp->snd_una = seq_max(tp->snd_una, tp->iss + 1);
    if (!tp->retransmits) { /* Karn: only the first is timed */
        tp->rtt_timing = true;
        tp->rtt_seq = tp->iss + 1;
        tp->rtt_at = tcp_us(st);
    }
    if (!timer_armed(&tp->rtx))
        tcp_arm_rtx(st, tp);
}

/* Window and keepalive probes: a segment below the window, which the peer must
 * answer (RFC 9293 sections 3.8.4 and 3.8.6.1). */
static void output_probe(struct stack *st, struct tcp_sock *tp) {
    tp->probe_due = false;
    tcp_xmit(st, tp, tp->snd_una - 1, 0, TCP_ACK);
    COUNT(st, tcp_probes_out);
}

/* Send [lo, lo + len) again, FIN included. Returns sequence numbers sent; 0:
 * the segments must be cut anew first, which the next run does. */
static uint32_t resend_range(struct stack *st, struct tcp_sock *tp, seq_t lo,
                             uint32_t len) {
    uint32_t data = 0;
    seq_t end = tcp_snd_end(tp);
    if (seq_lt(lo, end))
        data = min_u32(len, end - lo);
    bool fin = tp->fin_sent && data < len;
    uint16_t flags = TCP_ACK | (fin ? TCP_FIN : 0);
    if (data && lo + data == end)
        flags |= TCP_PSH;
    int r = tcp_xmit(st, tp, lo, data, flags);
    if (r < 0 && smaller_mss(st, tp)) {
        tcp_mark_due(st, tp);
        return 0;
    }
    uint32_t sent = r < 0 ? data : (uint32_t)r;
    return sent == data ? len : sent;
}

/* How much of the hole [lo, hi) may be sent again? The segment at snd_una may
 * go whatever the peer's window says, which may have shrunk, and whatever cwnd
 * says when recovery asks for just this one (RFC 6675 section 5 step 4.3). */
static uint32_t resend_allowance(struct tcp_sock *tp, const struct run *r,
                                 seq_t lo, seq_t hi) {
    uint32_t room = tp->cwnd > r->pipe ? tp->cwnd - r->pipe : 0;
    if (tp->resend_una)
        room = max_u32(room, r->mss);
    seq_t edge = seq_max(tp->snd_una + tp->snd_wnd, tp->snd_una + r->mss);
    if (seq_geq(lo, edge))
        return 0;
    uint32_t want = min_u32(hi - lo, edge - lo);
    uint32_t n = min_u32(want, min_u32(room, r->gso));
    if (n < want) {
        tp->cwnd_limited = tp->cwnd_limited || room < want;
        n -= n % r->mss;
    }
    return n;
}

/* Fill holes as long as the congestion window allows. */
static void output_lost(struct stack *st, struct tcp_sock *tp, struct run *r) {
    seq_t lo, hi;
    while (tcp_next_hole(tp, &lo, &hi)) {
        uint32_t n = resend_allowance(tp, r, lo, hi);
        n = tcp_pace_limit(st, tp, n, r->mss);
        if (n == 0)
            return;
        uint32_t sent = resend_range(st, tp, lo, n);
        if (sent == 0)
            return;
        tcp_retransmitted(st, tp, lo, lo + sent);
        tcp_pace_sent(st, tp, sent);
        r->pipe += sent;
    }
}

/* May the last, partial segment of the send buffer go? RFC 9293 section
 * 3.7.4; TCP_CORK and MSG_MORE win over TCP_NODELAY. */
static bool tail_may_go(struct stack *st, struct tcp_sock *tp) {
    if (tp->fin_queued || tp->force_push)
        return true;
    if (tp->urg_sending && seq_gt(tp->snd_up, tp->snd_nxt))
        return true;
    if (tp->cork || tp->more) {
        if (!timer_armed(&tp->cork_timer))
            timer_arm(st, &tp->cork_timer, TIMER_TCP_CORK,
                      st->now + TCP_CORK_NS);
        return false;
    }
    if (tp->nodelay)
        return true;
    bool small_out =
        seq_gt(tp->snd_sml, tp->snd_una) && seq_leq(tp->snd_sml, tp->snd_nxt);
    return !small_out;
}

/* A program that sends in small pieces faster than the network takes them: with
 * two superframes on their way, wait for the rest of a third. The ACKs that
 * must come send what there is, so this is the Nagle algorithm with a larger
 * unit, and never concerns a conversation. */
static bool gathering(const struct tcp_sock *tp, const struct run *r,
                      uint32_t unsent) {
    bool calm =
        tp->ca_state == TCP_CA_OPEN && !tp->dupacks && !tcp_board_bytes(tp);
    return unsent < r->gso / 2 && calm && tcp_near(tp) && !tp->nodelay &&
           !tp->fin_queued && !tp->force_push && !tp->urg_sending &&
           r->pipe >= 2 * r->gso;
}

/* How many of `unsent` bytes may leave as the next segment? RFC 9293 section
 * 3.8.6.2.1; 0: none. */
static uint32_t allowance(struct stack *st, struct tcp_sock *tp,
                          const struct run *r, uint32_t unsent) {
    int32_t left = seq_diff(tp->snd_una + tp->snd_wnd, tp->snd_nxt);
    uint32_t usable = left > 0 ? (uint32_t)left : 0;
    uint32_t cw = tp->cwnd > r->pipe ? tp->cwnd - r->pipe : 0;
    if (r->pipe == 0)
        cw = max_u32(cw, r->mss);
    if (cw < min_u32(unsent, usable))
        tp->cwnd_limited = true;
    uint32_t room = min_u32(usable, cw);
    uint32_t n = min_u32(min_u32(unsent, room), r->gso);
    if (tp->urg_sending && seq_gt(tp->snd_up, tp->snd_nxt))
        n = min_u32(n, r->mss); /* devices copy URG onto every piece */
    if (n == unsent) {
        if (gathering(tp, r, unsent))
            return 0;
        if (n % r->mss && !tail_may_go(st, tp))
            n -= n % r->mss;
        return n;
    }
    if (n >= r->mss) {
        n -= n % r->mss;
        /* crumbs: the rest of the window is on its way and will free more */
        uint32_t third = min_u32(tp->cwnd, tp->snd_wnd) / 3;
        bool calm =
            tp->ca_state == TCP_CA_OPEN && !tp->dupacks && !tcp_board_bytes(tp);
        if (room < min_u32(r->gso, third) && tcp_flight(tp) && calm)
            return 0;
        return n;
    }
    /* less than a segment of window: only if it is half of the largest ever
     * seen, or the override timer has run out */
    if (n && n == usable &&
        (n >= tp->max_snd_wnd / 2 || (tp->force_push && !tcp_flight(tp))))
        return n;
    return 0;
}

/* How many unsent bytes may leave, as far as only the program itself may hold
 * some back (TCP_CORK, MSG_MORE)? */
static uint32_t uncorked(struct stack *st, struct tcp_sock *tp,
                         const struct run *r) {
    uint32_t unsent = tp->fin_sent ? 0 : tcp_snd_end(tp) - tp->snd_nxt;
    if ((tp->cork || tp->more) && unsent % r->mss && !tail_may_go(st, tp))
        unsent -= unsent % r->mss;
    return unsent;
}

/* Book a new segment of n bytes (and the FIN) as sent. */
static void note_new(struct stack *st, struct tcp_sock *tp, uint32_t n,
                     bool fin, const struct run *r) {
    if (n + fin)
        tcp_board_sent(st, tp, tp->snd_nxt + n + fin);
    tcp_prr_sent(tp, n);
    tp->snd_nxt += n + fin;
    if (fin)
        tp->fin_sent = true;
    if (n % r->mss)
        tp->snd_sml = tp->snd_nxt;
    if (!tp->rtt_timing && tp->ca_state == TCP_CA_OPEN) {
        tp->rtt_timing = true;
        tp->rtt_seq = tp->snd_nxt;
        tp->rtt_at = tcp_us(st);
    }
}

/* Tail loss probe, RFC 8985 section 7.3: a new segment if there is one and the
 * window takes it, else the last one again. cwnd does not matter. */
static void output_tail_probe(struct stack *st, struct tcp_sock *tp,
                              struct run *r) {
    tp->tlp_due = false;
    if (!tcp_flight(tp) || tp->ca_state != TCP_CA_OPEN)
        return;
    uint32_t unsent = tp->fin_sent ? 0 : tcp_snd_end(tp) - tp->snd_nxt;
    int32_t left = seq_diff(tp->snd_una + tp->snd_wnd, tp->snd_nxt);
    uint32_t n = min_u32(unsent, r->mss);
    tp->tlp_resent = n == 0 || left < (int32_t)n;
    if (tp->tlp_resent) {
        uint32_t tail = min_u32(tcp_flight(tp), r->mss);
        resend_range(st, tp, tp->snd_nxt - tail, tail);
        tcp_board_resent(st, tp, tp->snd_nxt - tail, tp->snd_nxt);
        tp->rtt_timing = false; /* Karn */
        tp->resend_ts = tcp_ts_now(st, tp->ts_offset);
        tp->total_retrans++;
        tp->bytes_retrans += tail;
        COUNT(st, tcp_retransmitted);
    } else {
        int sent = tcp_xmit(st, tp, tp->snd_nxt, n, TCP_ACK | TCP_PSH);
        note_new(st, tp, sent < 0 ? n : (uint32_t)sent, false, r);
        r->pipe += n;
    }
    tp->tlp_out = true;
    tp->tlp_end = tp->snd_nxt;
    tcp_arm_rtx(st, tp);
}

/* RFC 8899 section 4: one segment longer than what is known to pass, if it is
 * time to try. */
static void output_mtu_probe(struct stack *st, struct tcp_sock *tp,
                             struct run *r) {
    if (!tp->mtu_low || tp->fin_sent || tcp_pace_rate(tp))
        return;
    int32_t left = seq_diff(tp->snd_una + tp->snd_wnd, tp->snd_nxt);
    uint32_t data = tcp_snd_end(tp) - tp->snd_nxt;
    data = min_u32(data, left > 0 ? (uint32_t)left : 0);
    uint16_t size = tcp_mtu_probe_size(st, tp, data), mss = tp->mss_base;
    if (!size || (r->pipe + size > tp->cwnd && r->pipe))
        return;
    tp->mss_base = size; /* for this one */
    uint32_t n = tcp_eff_mss(tp);
    int sent = tcp_xmit(st, tp, tp->snd_nxt, n, TCP_ACK);
    tp->mss_base = mss;
    if (sent != (int)n)
        return; /* in pieces, or refused: the next run sends it as usual */
    tcp_mtu_probe_sent(st, tp, size, n);
    note_new(st, tp, n, false, r);
    r->pipe += n;
}

/* New data, then FIN. Returns true when something is left: with nothing in
 * flight it is the peer's window that stopped us (or a cork). */
static bool output_new(struct stack *st, struct tcp_sock *tp, struct run *r) {
    if (tp->fused && tcp_fuse_output(st, tp, uncorked(st, tp, r)))
        return false;
    tcp_cwv_idle(st, tp, r->mss);
    output_mtu_probe(st, tp, r);
    while (!tp->fin_sent) {
        uint32_t unsent = tcp_snd_end(tp) - tp->snd_nxt;
        if (!unsent && !tp->fin_queued)
            break;
        uint32_t n = unsent ? allowance(st, tp, r, unsent) : 0;
        n = tcp_pace_limit(st, tp, n, r->mss);
        int32_t left = seq_diff(tp->snd_una + tp->snd_wnd, tp->snd_nxt + n);
        bool fin = tp->fin_queued && n == unsent && left > 0;
        if (!n && !fin)
            return true;
        uint16_t flags = TCP_ACK;
        flags |= (n && n == unsent ? TCP_PSH : 0) | (fin ? TCP_FIN : 0);
        int sent = tcp_xmit(st, tp, tp->snd_nxt, n, flags);
        if (sent < 0 && smaller_mss(st, tp)) {
            tcp_mark_due(st, tp);
            return false;
        }
        uint32_t len = sent < 0 ? n : (uint32_t)sent;
        note_new(st, tp, len, fin && len == n, r);
        tcp_pace_sent(st, tp, len);
        r->pipe += len;
        if (n && !len)
            return false;
    }
    tp->force_push = false;
    if (!tp->starved)
        timer_stop(st, &tp->cork_timer);
    return false;
}

/* Retransmission timer while something is in flight (RFC 6298 section 5.1),
 * persist timer when the window keeps us from sending (RFC 9293 3.8.6.1). */
static void output_timers(struct stack *st, struct tcp_sock *tp,
                          bool window_shut) {
    if (tcp_flight(tp)) {
        if (!timer_armed(&tp->rtx) || tp->rtx_mode == TCP_RTX_PERSIST)
            tcp_arm_rtx(st, tp);
    } else if (window_shut &&
               !(tp->rtx_mode == TCP_RTX_PERSIST && timer_armed(&tp->rtx))) {
        bool held = (!tp->fin_queued && timer_armed(&tp->cork_timer)) ||
                    timer_armed(&tp->pace);
        if (!held) {
            tp->backoff = 0; /* what a time-out has left does not count here */
            tcp_arm_persist(st, tp);
        }
    }
}

/* Largest superframe, a multiple of mss: about a millisecond's worth at the
 * rate of the connection, so that a burst does not overrun a shallow queue far
 * away, but no less than two segments; anything goes where the round trip is
 * short (half of it for each 512 us more). Sizes as Linux's tcp_tso_autosize.
 */
static uint32_t burst_goal(const struct stack *st, const struct tcp_sock *tp,
                           uint32_t mss) {
    uint32_t limit = st->sh->superframe - TCP_SUPER_HDRS;
    uint32_t rtt_us = max_u32(tp->srtt8 >> 3, 1);
    uint64_t goal = (uint64_t)tp->cwnd * 1000 / rtt_us;
    goal += tp->cwnd < tp->ssthresh ? goal : goal / 4;
    uint32_t halvings = tp->min_rtt >> 9;
    if (halvings < 16)
        goal += limit >> halvings;
    uint32_t most = goal < limit ? (uint32_t)goal : limit;
    uint32_t least = 2 * mss < limit ? 2 : 1;
    return max_u32(most / mss, least) * mss;
}

/* Send what one socket has to send, in the order given at the top. */
void tcp_output(struct stack *st, struct tcp_sock *tp) {
    if (TCP_IN(tp, CLOSE) || TCP_IN(tp, LISTEN))
        return;
    if (TCP_IN(tp, SYN_SENT) || TCP_IN(tp, SYN_RECV)) {
        if (tp->syn_due)
            output_syn(st, tp);
        else if (tp->ack_now && TCP_IN(tp, SYN_RECV))
            tcp_xmit_ack(st, tp);
        if (!tcp_open(tp))
            return;
    }
    if (tp->probe_due)
        output_probe(st, tp);
    struct run r = {.mss = tcp_eff_mss(tp), .pipe = tcp_pipe(tp)};
    /* not every device repeats IP options */
    r.gso = tp->so.ipopts ? r.mss : burst_goal(st, tp, r.mss);
    tp->cwnd_limited = false;
    output_lost(st, tp, &r);
    if (tp->tlp_due)
        output_tail_probe(st, tp, &r);
    bool shut = output_new(st, tp, &r);
    if (tp->snd_nxt == tcp_snd_end(tp) && r.pipe < tp->cwnd &&
        !tcp_board_lost(tp))
        tcp_rate_limited(tp);
    tcp_cwv_sent(st, tp, r.mss);
    if (tp->ack_now)
        tcp_xmit_ack(st, tp);
    output_timers(st, tp, shut);
    tcp_write_space(st, tp); /* TCP_NOTSENT_LOWAT: less is unsent now */
}
