/* option.c: options of level IPPROTO_TCP, and generic ones that TCP must act
 * on.
 *
 * Ranges, rounding and errors are those of Linux (tcp(7) and, where that is
 * silent, what the kernel does), because programs read options back and compare.
 * An option stays zero in the TCB until it is set; zero means the default, so
 * that defaults are in one place (tcb.h) and a new socket needs no setting up.
 *
 * Some take effect at once: TCP_NODELAY and clearing TCP_CORK send what was
 * held (RFC 9293 section 3.7.4), TCP_QUICKACK sends an ACK that waits,
 * SO_KEEPALIVE starts or stops a timer. */
#include "stack/tcp/cc.h"

#define MSS_OPTION_MIN 88    /* Linux's TCP_MIN_MSS */
#define MSS_OPTION_MAX 32767 /* MAX_TCP_WINDOW */
#define KEEP_SEC_MAX 32767
#define KEEP_COUNT_MAX 127
#define LINGER2_MAX 120
#define CLAMP_MIN 1152u /* SOCK_MIN_RCVBUF / 2 */

/* TCP_DEFER_ACCEPT is kept as a number of SYN-ACK time-outs, as Linux does:
 * 1 s, then doubling. */
static uint8_t seconds_to_retrans(int64_t s) {
    uint8_t n = 0;
    for (int64_t sum = 0; s > sum && n < 255; n++)
        sum += n < 7 ? 1 << n : 120;
    return n;
}
static int64_t retrans_to_seconds(uint8_t n) {
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += i < 7 ? 1 << i : 120;
    return sum;
}

/* TCP_WINDOW_CLAMP: no clamp again only before the connection. */
static int set_window_clamp(struct tcp_sock *tp, int64_t v) {
    if (v == 0 && !TCP_IN(tp, CLOSE))
        return -EINVAL;
    uint32_t n = v < 0 ? 1 : (uint32_t)v;
    tp->window_clamp = n ? max_u32(n, CLAMP_MIN) : 0;
    return 0;
}

/* Fast Open's options: 0 or -errno, in Linux's order of checks. */
static int set_fastopen(struct stack *st, struct tcp_sock *tp,
                        enum stack_opt opt, int64_t v) {
    bool closed = TCP_IN(tp, CLOSE);
    bool flag = v == 0 || v == 1;
    switch (opt) {
    case STACK_OPT_FASTOPEN:
        if (v < 0 || !(closed || TCP_IN(tp, LISTEN)))
            return -EINVAL;
        tp->fo_qlen = (uint16_t)min_u32((uint32_t)v, TCP_SOMAXCONN);
        return 0;
    case STACK_OPT_FASTOPEN_CONNECT:
        if (!flag)
            return -EINVAL;
        if (!(TUNED(st, FASTOPEN) & 1))
            return -EOPNOTSUPP;
        if (!closed)
            return -EINVAL;
        tp->fo_connect = v != 0;
        return 0;
    default:
        if (!flag || !(closed || TCP_IN(tp, LISTEN)))
            return -EINVAL;
        tp->fo_no_cookie = v != 0;
        return 0;
    }
}

/* Numbers with a range: 0 or -EINVAL. */
static int set_ranged(struct stack *st, struct tcp_sock *tp, enum stack_opt opt,
                      int64_t v) {
    switch (opt) {
    case STACK_OPT_MAXSEG:
        if (v && (v < MSS_OPTION_MIN || v > MSS_OPTION_MAX))
            return -EINVAL;
        tp->user_mss = (uint16_t)v;
        return 0;
    case STACK_OPT_KEEPIDLE:
        if (v < 1 || v > KEEP_SEC_MAX)
            return -EINVAL;
        tp->keepidle = (uint16_t)v;
        tcp_arm_keepalive(st, tp);
        return 0;
    case STACK_OPT_KEEPINTVL:
        if (v < 1 || v > KEEP_SEC_MAX)
            return -EINVAL;
        tp->keepintvl = (uint16_t)v;
        return 0;
    case STACK_OPT_KEEPCNT:
        if (v < 1 || v > KEEP_COUNT_MAX)
            return -EINVAL;
        tp->keepcnt = (uint8_t)v;
        return 0;
    case STACK_OPT_SYNCNT:
        if (v < 1 || v > KEEP_COUNT_MAX)
            return -EINVAL;
        tp->syncnt = (uint8_t)v;
        return 0;
    case STACK_OPT_USER_TIMEOUT:
        if (v < 0)
            return -EINVAL;
        tp->user_timeout = (uint32_t)v;
        return 0;
    case STACK_OPT_SAVE_SYN: /* tcp(7); 2: with the link-layer header */
        if (v < 0 || v > 2)
            return -EINVAL;
        tp->save_syn = (uint8_t)v;
        return 0;
    case STACK_OPT_FASTOPEN:
    case STACK_OPT_FASTOPEN_CONNECT:
    case STACK_OPT_FASTOPEN_NO_COOKIE:
        return set_fastopen(st, tp, opt, v);
    default:
        return -ENOPROTOOPT;
    }
}

/* sock_proto.setopt */
int tcp_setopt(struct stack *st, struct sock *so, enum stack_opt opt,
               int64_t v) {
    struct tcp_sock *tp = tcp_of(so);
    switch (opt) {
    case STACK_OPT_NODELAY:
        tp->nodelay = v != 0;
        if (tp->nodelay && tp->sndq.len) { /* also pushes what is corked */
            tp->force_push = true;
            tcp_mark_due(st, tp);
        }
        return 0;
    case STACK_OPT_CORK:
        tp->cork = v != 0;
        if (!tp->cork && tp->sndq.len) {
            tp->more = false;
            tcp_mark_due(st, tp);
        }
        return 0;
    case STACK_OPT_QUICKACK:
        tp->quickack = v ? 16 : 0;
        if (v && timer_armed(&tp->dack)) {
            tp->ack_now = true;
            tcp_mark_due(st, tp);
        }
        return 0;
    case STACK_OPT_LINGER2:
        tp->linger2 = v < 0 ? -1 : (int16_t)min_u32((uint32_t)v, LINGER2_MAX);
        return 0;
    case STACK_OPT_DEFER_ACCEPT:
        tp->defer_accept = v > 0 ? seconds_to_retrans(v) : 0;
        return 0;
    case STACK_OPT_WINDOW_CLAMP:
        return set_window_clamp(tp, v);
    case STACK_OPT_NOTSENT_LOWAT:
        tp->notsent_lowat = (uint32_t)v;
        tcp_write_space(st, tp);
        return 0;
    case STACK_OPT_KEEPALIVE:
        so->keepalive = v != 0;
        tcp_arm_keepalive(st, tp);
        return 0;
    case STACK_OPT_MAX_PACING_RATE: /* all ones: no limit, as at first */
        tcp_pace_set(st, tp, (uint32_t)v == UINT32_MAX ? 0 : (uint32_t)v);
        return 0;
    case STACK_OPT_CONGESTION:
        if (!stack_cc_name(v))
            return -ENOENT;
        if (tcp_synchronized(tp))
            tcp_cc_start(st, tp, (enum tcp_cc_kind)v);
        else /* it begins with the connection; a listener hands it on */
            tp->cc = (uint8_t)v;
        return 0;
    default:
        return set_ranged(st, tp, opt, v);
    }
}

/* What TCP_MAXSEG says: the segment size in use, or what was asked for. */
static int64_t maxseg(const struct tcp_sock *tp) {
    bool idle = TCP_IN(tp, CLOSE) || TCP_IN(tp, LISTEN);
    if (idle)
        return tp->user_mss ? tp->user_mss : TCP_MSS_DEFAULT;
    return tcp_smss(tp);
}

/* Lengths of queues, ioctl(2) style. -EINVAL on a listener, as Linux. */
static int get_queue(struct tcp_sock *tp, enum stack_opt opt, int64_t *v) {
    if (TCP_IN(tp, LISTEN))
        return -EINVAL;
    bool open = TCP_IN(tp, CLOSE) || tcp_open(tp);
    switch (opt) {
    case STACK_OPT_INQ:
        *v = open ? tcp_readable_bytes(tp) : 0;
        return 0;
    case STACK_OPT_OUTQ:
        *v = open ? tp->sndq.len : 0;
        return 0;
    default: /* OUTQNSD */
        *v = open && seq_gt(tcp_snd_end(tp), tp->snd_nxt)
                 ? tcp_snd_end(tp) - tp->snd_nxt
                 : 0;
        return 0;
    }
}

/* sock_proto.getopt */
int tcp_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
               int64_t *v) {
    struct tcp_sock *tp = tcp_of(so);
    (void)st;
    switch (opt) {
    case STACK_OPT_NODELAY:
        *v = tp->nodelay;
        return 0;
    case STACK_OPT_MAXSEG:
        *v = maxseg(tp);
        return 0;
    case STACK_OPT_CORK:
        *v = tp->cork;
        return 0;
    case STACK_OPT_KEEPIDLE:
        *v = tp->keepidle ? tp->keepidle : TCP_KEEPIDLE_SEC;
        return 0;
    case STACK_OPT_KEEPINTVL:
        *v = tp->keepintvl ? tp->keepintvl : TCP_KEEPINTVL_SEC;
        return 0;
    case STACK_OPT_KEEPCNT:
        *v = tp->keepcnt ? tp->keepcnt : TCP_KEEPCNT;
        return 0;
    case STACK_OPT_SYNCNT:
        *v = tp->syncnt ? tp->syncnt : TCP_SYN_RETRIES;
        return 0;
    case STACK_OPT_LINGER2:
        *v = tp->linger2 ? tp->linger2 : TCP_FIN_WAIT2_SEC;
        return 0;
    case STACK_OPT_DEFER_ACCEPT:
        *v = retrans_to_seconds(tp->defer_accept);
        return 0;
    case STACK_OPT_WINDOW_CLAMP:
        *v = tp->window_clamp;
        return 0;
    case STACK_OPT_QUICKACK:
        *v = tp->quickack != 0;
        return 0;
    case STACK_OPT_USER_TIMEOUT:
        *v = tp->user_timeout;
        return 0;
    case STACK_OPT_NOTSENT_LOWAT:
        *v = tp->notsent_lowat;
        return 0;
    case STACK_OPT_SAVE_SYN:
        *v = tp->save_syn;
        return 0;
    case STACK_OPT_FASTOPEN:
        *v = tp->fo_qlen;
        return 0;
    case STACK_OPT_FASTOPEN_CONNECT:
        *v = tp->fo_connect;
        return 0;
    case STACK_OPT_FASTOPEN_NO_COOKIE:
        *v = tp->fo_no_cookie;
        return 0;
    case STACK_OPT_INQ:
    case STACK_OPT_OUTQ:
    case STACK_OPT_OUTQNSD:
        return get_queue(tp, opt, v);
    case STACK_OPT_MAX_PACING_RATE:
        *v = tp->pace_max ? tp->pace_max : UINT32_MAX;
        return 0;
    case STACK_OPT_CONGESTION:
        *v = tp->cc;
        return 0;
    case STACK_OPT_ATMARK:
        *v = tp->urg_state != TCP_URG_NONE && tp->rcv_up == tp->rcv_buf_seq;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}
