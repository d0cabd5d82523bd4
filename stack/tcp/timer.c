/* timer.c: what happens when a timer of TCP fires.
 *
 * rtx   retransmission (RFC 6298), SYN and SYN-ACK included; before it, once per
 *       flight, a tail loss probe, and the end of the reordering window (RFC
 *       8985 sections 7 and 6); or the probing of a shut window (RFC 9293
 *       section 3.8.6.1), which goes on for ever as long as the peer answers
 *       (tp->rtx_mode)
 * dack  the delayed ACK is due
 * keep  keepalive (RFC 9293 section 3.8.4), the end of an orphan in FIN-WAIT-2,
 *       the end of the wait of TCP_DEFER_ACCEPT
 * cork  a held partial segment has waited long enough, or a program for memory
 * pace  the next departure of SO_MAX_PACING_RATE (pace.c)
 * wait  TIME-WAIT, one timer for all (timewait.c)
 *
 * Time limits are those of Linux: a connection is given up after 924.6 s of
 * unanswered retransmissions (tcp_retries2 = 15), TCP_USER_TIMEOUT instead if
 * that is set, an orphan after 8 tries. A SYN alone has longer than there, the
 * three minutes of RFC 9293 MUST-23, unless TCP_SYNCNT or tcp_syn_retries count
 * its tries.
 */
#include "stack/tcp/tcp.h"

/* RFC 8985 section 7.2: may a probe go before the time-out? */
static bool may_probe(const struct tcp_sock *tp) {
    return tcp_synchronized(tp) && tp->sack_ok && tp->srtt8 &&
           tp->ca_state == TCP_CA_OPEN && !tcp_board_bytes(tp) &&
           !tp->tlp_out && !tp->retransmits;
}

/* Its time, ns: two round trips, and as long as the peer may delay the ACK of
 * a lone segment; never later than the RTO. */
static nstime_t probe_ns(const struct tcp_sock *tp) {
    nstime_t t = (nstime_t)(tp->srtt8 >> 2) * 1000 + TCP_PTO_SLACK_NS;
    if (tcp_flight(tp) <= tcp_smss(tp))
        t += TCP_PTO_DACK_NS;
    nstime_t rto = tcp_rto_ns(tp);
    return t < rto ? t : rto;
}

/* Arm the retransmission timer. */
void tcp_arm_rtx(struct stack *st, struct tcp_sock *tp) {
    bool probe = may_probe(tp);
    tp->rtx_mode = probe ? TCP_RTX_TLP : TCP_RTX_RTO;
    timer_arm(st, &tp->rtx, TIMER_TCP_RTX,
              st->now + (probe ? probe_ns(tp) : tcp_rto_ns(tp)));
}

/* Arm the same timer for the end of the reordering window, in us. RFC 8985
 * section 8 lets one timer do all of it: whatever comes first comes first. */
void tcp_arm_reo(struct stack *st, struct tcp_sock *tp, uint32_t us) {
    nstime_t due = st->now + (nstime_t)us * 1000;
    bool sooner = timer_armed(&tp->rtx) && tp->rtx.due <= due;
    if (sooner && tp->rtx_mode == TCP_RTX_RTO)
        return;
    tp->rtx_mode = TCP_RTX_REO;
    timer_arm(st, &tp->rtx, TIMER_TCP_RTX, due);
}

/* Arm the same timer as the persist timer; probing backs off alike. */
void tcp_arm_persist(struct stack *st, struct tcp_sock *tp) {
    tp->rtx_mode = TCP_RTX_PERSIST;
    timer_arm(st, &tp->rtx, TIMER_TCP_RTX, st->now + tcp_rto_ns(tp));
}

/* Options with their defaults, ns. */
static nstime_t keep_idle(const struct tcp_sock *tp) {
    return (tp->keepidle ? tp->keepidle : TCP_KEEPIDLE_SEC) * SEC;
}
static nstime_t keep_interval(const struct tcp_sock *tp) {
    return (tp->keepintvl ? tp->keepintvl : TCP_KEEPINTVL_SEC) * SEC;
}

/* Start (or stop) watching for silence, if SO_KEEPALIVE asks for it. */
void tcp_arm_keepalive(struct stack *st, struct tcp_sock *tp) {
    if (TCP_IN(tp, FIN_WAIT2) && tp->so.closed)
        return; /* the timer has other work */
    if (!tp->so.keepalive || !tcp_synchronized(tp)) {
        if (!tp->deferred)
            timer_stop(st, &tp->keep);
        return;
    }
    timer_arm(st, &tp->keep, TIMER_TCP_KEEP, st->now + keep_idle(tp));
}

/* An orphan waits for the peer's FIN no longer than this. */
void tcp_arm_fin_wait2(struct stack *st, struct tcp_sock *tp) {
    int32_t s = tp->linger2 > 0 ? tp->linger2 : TCP_FIN_WAIT2_SEC;
    timer_arm(st, &tp->keep, TIMER_TCP_KEEP, st->now + (nstime_t)s * SEC);
}

/* Milliseconds since the first probe, or the segment, nobody answered. */
static uint32_t silent_ms(struct stack *st, struct tcp_sock *tp) {
    return tcp_ms(st) - tp->rtx_since_ms;
}

/* The error a dying connection reports: a remembered ICMP error says more than
 * a time-out (RFC 1122 section 4.2.3.9). */
static int timeout_error(const struct tcp_sock *tp) {
    return tp->soft_error ? tp->soft_error : ETIMEDOUT;
}

/* How long, ms, a segment may go unanswered (R2 of RFC 9293 section 3.8.3); 0:
 * tries are counted instead. For a SYN three minutes, unless a number of tries
 * is asked for. */
static uint32_t limit_ms(struct stack *st, const struct tcp_sock *tp) {
    if (tp->user_timeout)
        return tp->user_timeout;
    if (tcp_synchronized(tp))
        return TCP_RETRIES2_MS;
    bool counted = TCP_IN(tp, SYN_RECV) || tp->syncnt || TUNED(st, SYN_RETRIES);
    return counted ? 0 : TCP_SYN_R2_MS;
}

/* A SYN or SYN-ACK that was sent often enough. */
static bool syn_over(struct stack *st, const struct tcp_sock *tp) {
    if (TCP_IN(tp, SYN_RECV))
        return tp->retransmits >= TUNED(st, SYNACK_RETRIES);
    int32_t tries = tp->syncnt ? tp->syncnt : TUNED(st, SYN_RETRIES);
    return tries && tp->retransmits >= tries;
}

/* Have we tried long enough? Called before another retransmission. */
static bool give_up(struct stack *st, struct tcp_sock *tp) {
    if (!tcp_synchronized(tp) && syn_over(st, tp))
        return true;
    if (tp->so.closed && tp->retransmits >= TCP_ORPHAN_RETRIES)
        return true;
    if (!tp->retransmits)
        return false;
    uint32_t limit = limit_ms(st, tp);
    return limit && silent_ms(st, tp) >= limit;
}

/* The last wait ends when the time is up. */
static void cut_last_wait(struct stack *st, struct tcp_sock *tp) {
    uint32_t limit = limit_ms(st, tp);
    bool exact = tp->user_timeout || TCP_IN(tp, SYN_SENT);
    if (!limit || !exact)
        return;
    uint32_t left = limit - min_u32(silent_ms(st, tp), limit);
    nstime_t end = st->now + (nstime_t)left * MSEC;
    if (end < tp->rtx.due)
        timer_arm(st, &tp->rtx, TIMER_TCP_RTX, end);
}

/* RFC 6298 rules 5.4 to 5.7: send the earliest segment again, double the
 * time-out. With TCP_USER_TIMEOUT the last wait is cut to what is left. */
static void on_retransmit(struct stack *st, struct tcp_sock *tp) {
    if (!tcp_flight(tp) && tcp_synchronized(tp))
        return;
    if (give_up(st, tp)) {
        COUNT(st, tcp_timeouts_fatal);
        if (TCP_IN(tp, SYN_SENT) || TCP_IN(tp, SYN_RECV))
            tcp_fail(st, tp, timeout_error(tp));
        else
            tcp_abort(st, tp, timeout_error(tp));
        return;
    }
    COUNT(st, tcp_timeouts);
    if (!tp->retransmits)
        tp->rtx_since_ms = tcp_ms(st) - (uint32_t)(tcp_rto_ns(tp) / MSEC);
    tp->retransmits++;
    tp->resend_ts = tcp_ts_now(st, tp->ts_offset);
    tp->rtt_timing = false;
    if (tp->backoff < 20)
        tp->backoff++;
    if (TCP_IN(tp, SYN_SENT) || TCP_IN(tp, SYN_RECV)) {
        tp->syn_due = true;
        tp->total_retrans++;
    } else {
        tcp_mtu_timeout(st, tp);
        tcp_recovery_timeout(st, tp);
    }
    tcp_arm_rtx(st, tp);
    cut_last_wait(st, tp);
    tcp_mark_due(st, tp);
}

/* Two round trips without an ACK: provoke one (RFC 8985 section 7.3). */
static void on_tail_probe(struct stack *st, struct tcp_sock *tp) {
    if (!tcp_flight(tp))
        return;
    tp->tlp_due = true;
    COUNT(st, tcp_tail_probes);
    tcp_mark_due(st, tp);
}

/* The window is shut, or too small for a segment: send what little fits, or
 * probe. Probing never ends while the peer answers (RFC 9293 MUST-36); the
 * limits count unanswered probes. */
static void on_persist(struct stack *st, struct tcp_sock *tp) {
    if (tcp_flight(tp) || (!tp->sndq.len && !tp->fin_queued))
        return;
    if (tp->probes) {
        uint32_t limit = tp->user_timeout ? tp->user_timeout : TCP_RETRIES2_MS;
        bool orphan = tp->so.closed && tp->probes >= TCP_ORPHAN_RETRIES;
        if (orphan || silent_ms(st, tp) >= limit) {
            tcp_abort(st, tp, timeout_error(tp));
            return;
        }
    } else {
        tp->rtx_since_ms = tcp_ms(st);
    }
    if (tp->backoff < 20)
        tp->backoff++;
    tp->force_push = true;
    if (tp->snd_wnd == 0) {
        tp->probe_due = true;
        tp->probes++;
    }
    tcp_arm_persist(st, tp);
    tcp_mark_due(st, tp);
}

/* RFC 9293 section 3.8.4. Silence is counted from the last segment that came;
 * nothing is probed while data of ours is unacknowledged. */
static void keepalive(struct stack *st, struct tcp_sock *tp) {
    if (!tp->so.keepalive)
        return;
    nstime_t next = keep_interval(tp);
    uint32_t last = seq_max(tp->rcv_ms, tp->ack_ms);
    uint32_t idle = tcp_ms(st) - last;
    if (tcp_flight(tp) || tp->sndq.len) {
        next = keep_idle(tp);
    } else if ((nstime_t)idle * MSEC + MSEC > keep_idle(tp)) {
        uint32_t max = tp->keepcnt ? tp->keepcnt : TCP_KEEPCNT;
        bool over = tp->user_timeout ? idle >= tp->user_timeout && tp->probes
                                     : tp->probes >= max;
        if (over) {
            COUNT(st, tcp_keepalive_dead);
            tcp_abort(st, tp, timeout_error(tp));
            return;
        }
        tp->probes++;
        tp->probe_due = true;
        tcp_mark_due(st, tp);
    } else {
        next = keep_idle(tp) - (nstime_t)idle * MSEC;
    }
    timer_arm(st, &tp->keep, TIMER_TCP_KEEP, st->now + next);
}

/* The keep timer: which of its jobs is it? */
static void on_keep(struct stack *st, struct tcp_sock *tp) {
    if (tp->deferred)
        tcp_child_undefer(st, tp);
    else if (TCP_IN(tp, FIN_WAIT2) && tp->so.closed)
        tcp_done(st, tp);
    else
        keepalive(st, tp);
}

/* Memory is short for everybody, so nobody can say when there is some: try
 * again after a while (Linux's sk_stream_wait_memory does the same). */
void tcp_arm_starved(struct stack *st, struct tcp_sock *tp) {
    tp->starved = tp->nospace = true;
    if (!timer_armed(&tp->cork_timer))
        timer_arm(st, &tp->cork_timer, TIMER_TCP_CORK, st->now + TCP_CORK_NS);
}

/* A held partial segment goes, whatever holds it; and who waits for memory may
 * try again. */
static void on_cork(struct stack *st, struct tcp_sock *tp) {
    if (tp->starved) {
        tp->starved = false;
        tcp_write_space(st, tp);
    }
    if (tp->sndq.len) {
        tp->force_push = true;
        tcp_mark_due(st, tp);
    }
}

/* Nothing came that could have taken the ACK along. */
static void on_delayed_ack(struct stack *st, struct tcp_sock *tp) {
    tp->ack_now = true;
    COUNT(st, tcp_delayed_acks);
    tcp_mark_due(st, tp);
}

static struct tcp_sock *busy(struct stack *st, struct tcp_sock *tp) {
    BUSY(st, &tp->so);
    return tp;
}

/* sock.h: the timer was stopped before this; tp may be gone afterwards. */
void tcp_timer(struct stack *st, struct timer *t) {
    switch (t->kind) {
    case TIMER_TCP_RTX: {
        struct tcp_sock *tp = busy(st, container_of(t, struct tcp_sock, rtx));
        if (tp->rtx_mode == TCP_RTX_PERSIST)
            on_persist(st, tp);
        else if (tp->rtx_mode == TCP_RTX_TLP)
            on_tail_probe(st, tp);
        else if (tp->rtx_mode == TCP_RTX_REO)
            tcp_recovery_reo_timeout(st, tp);
        else
            on_retransmit(st, tp);
        break;
    }
    case TIMER_TCP_DACK:
        on_delayed_ack(st, busy(st, container_of(t, struct tcp_sock, dack)));
        break;
    case TIMER_TCP_KEEP:
        on_keep(st, busy(st, container_of(t, struct tcp_sock, keep)));
        break;
    case TIMER_TCP_CORK:
        on_cork(st, busy(st, container_of(t, struct tcp_sock, cork_timer)));
        break;
    case TIMER_TCP_PACE:
        tcp_mark_due(st, container_of(t, struct tcp_sock, pace));
        break;
    case TIMER_TCP_WAIT:
        tcp_tw_timer(st);
        break;
    default:
        break;
    }
}
