/* listen.c: listeners and the connections they have not handed out yet.
 *
 * Theory of operation
 *
 * A SYN to a listener makes a child, a full tcp_sock in SYN-RECEIVED, in the
 * listener's SYN queue and in the demultiplexer under its own tuple. The ACK of
 * its SYN-ACK moves it to the accept queue, or, with TCP_DEFER_ACCEPT, its
 * first data does. accept() takes it out; until then the listener owns it
 * (tp->parent) and closing the listener resets it.
 *
 * A child is a whole TCB from its SYN on, where a kernel keeps a small request:
 * data that rides on the final ACK, a simultaneous FIN, or a reset then need no
 * case of their own. The price, 768 bytes for each half-open connection, is
 * bounded by the SYN queue.
 *
 * Limits are those of Linux: the accept queue holds `backlog` connections and
 * one more; a SYN that finds it full is dropped, and so is a final ACK: the
 * peer sends again, and so do we (tcp_abort_on_overflow resets it instead). The
 * SYN queue holds as many, but 256 at least; a SYN that finds it full is answered
 * with a cookie (cookie.c), and only the ACK of that makes a child. ACKs are
 * taken for such only for two minutes after a cookie was sent: a guess at other
 * times is worth nothing.
 */
#include <string.h>

#include "stack/repair.h"
#include "stack/tcp/tcp.h"

#define SYN_QUEUE_MIN 256
#define COOKIE_MS 120000u /* how long after the last one an ACK may be one */

struct tcp_listener {
    struct list syn_q, accept_q; /* tcp_sock.queue_link */
    uint32_t syn_n, accept_n;
    uint32_t backlog;
    uint32_t tfo_n;     /* Fast Open children that wait for their ACK */
    uint32_t cookie_ms; /* when the last SYN cookie was sent; 0: never */
};

/* The child behind a link of either queue. */
static struct tcp_sock *child_of(struct list_node *n) {
    return container_of(n, struct tcp_sock, queue_link);
}

/* sock_proto.listen. A second call changes the backlog only. */
int tcp_listen(struct stack *st, struct sock *so, int backlog) {
    struct tcp_sock *tp = tcp_of(so);
    if (!TCP_IN(tp, CLOSE) && !TCP_IN(tp, LISTEN))
        return -EINVAL;
    uint32_t limit = backlog < 0 || backlog > TCP_SOMAXCONN ? TCP_SOMAXCONN
                                                            : (uint32_t)backlog;
    if (tp->listener) {
        tp->listener->backlog = limit;
        return 0;
    }
    if (tp->connecting)
        return -EINVAL;
    if (!so->bound) {
        struct endpoint any = so->local;
        any.port = 0;
        int r = demux_bind(st, &st->sh->tcp, so, &any);
        if (r < 0)
            return r;
    }
    struct tcp_listener *l = mem_alloc(st, sizeof(*l));
    if (!l)
        return -ENOBUFS;
    list_init(&l->syn_q);
    list_init(&l->accept_q);
    l->backlog = limit;
    tp->listener = l;
    tp->state = TCP_S_LISTEN;
    so->listening = true;
    so->shut = 0;
    return 0;
}

/* Would accept succeed? Linux's inet_csk_listen_poll. */
bool tcp_listen_ready(const struct tcp_sock *lp) {
    return lp->listener && lp->listener->accept_n;
}

/* Connections ready for accept; *backlog how many there may be. */
uint32_t tcp_listen_queue(const struct tcp_sock *lp, uint32_t *backlog) {
    *backlog = lp->listener ? lp->listener->backlog : 0;
    return lp->listener ? lp->listener->accept_n : 0;
}

/* Linux's sk_acceptq_is_full. */
static bool accept_full(const struct tcp_listener *l) {
    return l->accept_n > l->backlog;
}

/* Is it in the accept queue, where even a dead child waits to be taken? */
bool tcp_child_queued(const struct tcp_sock *tp) { return tp->in_accept_q; }

/* Out of whichever queue it is in; nobody owns it now but the caller. */
void tcp_child_forget(struct tcp_sock *tp) {
    if (!tp->parent)
        return;
    struct tcp_listener *l = tp->parent->listener;
    if (tp->in_accept_q)
        l->accept_n--;
    else
        l->syn_n--;
    if (tp->tfo && TCP_IN(tp, SYN_RECV))
        l->tfo_n--;
    list_remove(&tp->queue_link);
    tp->in_accept_q = false;
    tp->parent = NULL;
}

/* From the SYN queue to the accept queue. */
static void enqueue(struct stack *st, struct tcp_sock *tp) {
    struct tcp_sock *lp = tp->parent;
    list_remove(&tp->queue_link);
    lp->listener->syn_n--;
    list_push_back(&lp->listener->accept_q, &tp->queue_link);
    lp->listener->accept_n++;
    tp->in_accept_q = true;
    sock_event(st, &lp->so, STACK_IN);
}

/* The ACK of the SYN-ACK has come. With TCP_DEFER_ACCEPT (tcp(7)) the child is
 * established but stays where it is, until data comes or time is up. */
bool tcp_child_established(struct stack *st, struct tcp_sock *tp) {
    struct tcp_sock *lp = tp->parent;
    if (tp->in_accept_q) { /* Fast Open: it is where it belongs */
        lp->listener->tfo_n--;
        return true;
    }
    if (accept_full(lp->listener)) {
        COUNT(st, tcp_accept_full);
        if (TUNED(st, ABORT_ON_OVERFLOW))
            tcp_abort(st, tp, ECONNRESET);
        return false;
    }
    if (lp->defer_accept) {
        tp->deferred = true;
        uint32_t s = (1u << min_u32(lp->defer_accept, 7)) - 1;
        timer_arm(st, &tp->keep, TIMER_TCP_KEEP, st->now + s * SEC);
        return true;
    }
    enqueue(st, tp);
    return true;
}

/* TCP_DEFER_ACCEPT has waited for this, or long enough. */
void tcp_child_undefer(struct stack *st, struct tcp_sock *tp) {
    tp->deferred = false;
    timer_stop(st, &tp->keep);
    enqueue(st, tp);
    tcp_arm_keepalive(st, tp);
}

/* sock_proto.accept */
int tcp_accept(struct stack *st, struct sock *so, struct sock **out) {
    struct tcp_sock *lp = tcp_of(so);
    if (!TCP_IN(lp, LISTEN))
        return -EINVAL;
    struct list_node *n = list_first(&lp->listener->accept_q);
    if (!n)
        return -EAGAIN;
    struct tcp_sock *tp = child_of(n);
    tcp_child_forget(tp);
    *out = &tp->so;
    COUNT(st, tcp_accepted);
    return 0;
}

/* The listener goes: what nobody accepted is reset, what is half open is
 * forgotten. */
void tcp_listen_stop(struct stack *st, struct tcp_sock *lp) {
    struct tcp_listener *l = lp->listener;
    if (!l)
        return;
    list_for_each_safe(n, &l->syn_q) {
        struct tcp_sock *tp = child_of(n);
        BUSY(st, &tp->so);
        tcp_child_forget(tp);
        if (tcp_synchronized(tp)) /* deferred: the peer thinks it is in */
            tcp_xmit_reset(st, tp);
        tcp_free(st, tp);
    }
    list_for_each_safe(m, &l->accept_q) {
        struct tcp_sock *tp = child_of(m);
        BUSY(st, &tp->so);
        tcp_child_forget(tp);
        tp->so.closed = true;
        tcp_abort(st, tp, 0);
    }
    BUSY(st, &lp->so);
    lp->listener = NULL; /* before it is freed: see repair.c */
    lp->so.listening = false;
    lp->state = TCP_S_CLOSE;
    mem_free(st, l, sizeof(*l));
}

/* A child starts with the listener's options (tcp(7), socket(7)). */
static void inherit(struct tcp_sock *tp, const struct tcp_sock *lp) {
    sock_inherit(&tp->so, &lp->so);
    tp->nodelay = lp->nodelay;
    tp->cork = lp->cork;
    tp->user_mss = lp->user_mss;
    tp->keepidle = lp->keepidle;
    tp->keepintvl = lp->keepintvl;
    tp->keepcnt = lp->keepcnt;
    tp->syncnt = lp->syncnt;
    tp->linger2 = lp->linger2;
    tp->user_timeout = lp->user_timeout;
    tp->window_clamp = lp->window_clamp;
    tp->notsent_lowat = lp->notsent_lowat;
    tp->defer_accept = lp->defer_accept;
    tp->fo_no_cookie = lp->fo_no_cookie;
    tp->cc = lp->cc;
    tp->pace_max = lp->pace_max;
}

/* Both ends of the connection that seg is about, and the listener's options. */
static void name_child(struct tcp_sock *tp, const struct tcp_sock *lp,
                       const struct tcp_seg *seg) {
    struct sock *so = &tp->so;
    so->local = (struct endpoint){.ip = seg->rx->dst, .port = seg->h.dport};
    so->remote = (struct endpoint){.ip = seg->rx->src, .port = seg->h.sport};
    tp->passive = true;
    inherit(tp, lp);
}

/* A child for this SYN, in the tables. NULL: no memory, or the tuple is
 * taken. */
static struct tcp_sock *new_child(struct stack *st, struct tcp_sock *lp,
                                  const struct tcp_seg *seg) {
    struct sock *so = sock_new(st, SOCK_TCP, lp->so.family, lp->so.proto);
    if (!so)
        return NULL;
    struct tcp_sock *tp = tcp_of(so);
    name_child(tp, lp, seg);
    sock_ipopts_inherit(st, so, &lp->so);
    if (seg->rx->source_route)
        sock_ipopts_return(st, so, seg->rx);
    if (demux_insert(st, &st->sh->tcp, so) < 0) {
        tcp_free(st, tp);
        return NULL;
    }
    tp->parent = lp;
    list_push_back(&lp->listener->syn_q, &tp->queue_link);
    lp->listener->syn_n++;
    return tp;
}

/* RFC 9293 section 3.10.7.2, third: numbers of the new connection. syn: the
 * peer's SYN, or what a cookie tells of it. */
static void child_numbers(struct stack *st, struct tcp_sock *tp,
                          const struct tcp_seg *syn, const seq_t *iss) {
    tcp_start_numbers(st, tp, iss);
    tp->irs = syn->seq;
    tp->rcv_nxt = tp->rcv_buf_seq = tp->rcv_up = syn->seq + 1;
    tp->last_ack_sent = tp->rcv_adv = tp->rcv_nxt;
    tcp_take_syn_options(st, tp, syn);
    tp->snd_wnd = tp->max_snd_wnd = syn->wnd;
    tp->snd_wl1 = syn->seq;
    tp->state = TCP_S_SYN_RECV;
}

/* TCP_SAVE_SYN: the headers of the SYN, from the network's or the link's on. */
static void save_syn(struct stack *st, struct tcp_sock *tp, int how,
                     const struct tcp_seg *seg) {
    const struct rxpkt *rx = seg->rx;
    const uint8_t *from = how == 2 && !rx->looped ? rx->frame : rx->l3;
    size_t n = (size_t)(rx->l4 + seg->h.hdr_len - from);
    if (n > sizeof(tp->saved_syn->headers))
        return;
    tp->saved_syn = mem_alloc(st, sizeof(*tp->saved_syn));
    if (!tp->saved_syn) {
        COUNT(st, tcp_no_memory);
        return;
    }
    tp->saved_syn->len = (uint32_t)n;
    memcpy(tp->saved_syn->headers, from, n);
}

void tcp_saved_syn_free(struct stack *st, struct tcp_sock *tp) {
    if (tp->saved_syn)
        mem_free(st, tp->saved_syn, sizeof(*tp->saved_syn));
    tp->saved_syn = NULL;
}

/* stack.h: TCP_SAVED_SYN is read once (tcp(7)). */
int stack_saved_syn(struct stack *st, struct sock *so, void *buf, size_t room) {
    struct tcp_sock *tp = tcp_of(so);
    if (so->kind != SOCK_TCP || !tp->saved_syn)
        return 0;
    int n = (int)tp->saved_syn->len;
    if (room < (size_t)n)
        return n;
    memcpy(buf, tp->saved_syn->headers, (size_t)n);
    tcp_saved_syn_free(st, tp);
    return n;
}

/* SYN-RECEIVED, with a child; for a Fast Open one that is no bar. */
static void start_child(struct stack *st, struct tcp_sock *tp,
                        struct tcp_seg *seg, const seq_t *iss) {
    struct tcp_sock *lp = tp->parent;
    struct tcp_listener *l = lp->listener;
    enum tcp_fo fo = tcp_fo_listen(st, lp, seg, l->tfo_n);
    child_numbers(st, tp, seg, iss);
    tcp_ecn_take_syn(st, tp, seg);
    if (lp->save_syn)
        save_syn(st, tp, lp->save_syn, seg);
    tp->fo_exp = seg->o.fo_exp;
    tp->fo_reply = fo == TCP_FO_COOKIE || fo == TCP_FO_OPEN_RENEW;
    tp->syn_due = true;
    tcp_mark_due(st, tp);
    if (fo < TCP_FO_OPEN)
        return;
    tcp_fo_open(st, tp, seg);
    l->tfo_n++;
    enqueue(st, tp);
}

/* SYN-RECEIVED without one: the SYN-ACK of a child that is forgotten again. */
static void send_cookie(struct stack *st, struct tcp_sock *lp,
                        struct tcp_seg *seg) {
    struct tcp_sock tp = {.so.kind = SOCK_TCP, .so.family = lp->so.family};
    uint16_t mss = seg->o.mss ? seg->o.mss : TCP_MSS_DEFAULT;
    tcp_tcb_init(st, &tp);
    name_child(&tp, lp, seg);
    seq_t iss =
        tcp_cookie_make(st, &tp.so.local, &tp.so.remote, seg->seq, &mss);
    if (!seg->o.ts) /* nowhere to keep them */
        seg->o.sack_permitted = seg->o.has_wscale = false;
    child_numbers(st, &tp, seg, &iss);
    if (tp.ts_ok) {
        tcp_ecn_take_syn(st, &tp, seg);
        if (tp.ecn)
            tp.ecn = TCP_ECN_CLASSIC;
        uint32_t now = tcp_ts_now(st, tp.ts_offset);
        tp.ts_offset += tcp_cookie_ts(&tp, now) - now;
    }
    uint32_t ms = tcp_ms(st);
    lp->listener->cookie_ms = ms ? ms : 1;
    COUNT(st, tcp_cookies_sent);
    tcp_xmit(st, &tp, iss, 0, TCP_SYN | TCP_ACK);
}

/* An ACK to a listener that has sent cookies: with one it makes a child, and
 * goes on as the ACK of its SYN-ACK. False: it is something else. */
static bool take_cookie(struct stack *st, struct tcp_sock *lp,
                        struct tcp_seg *seg) {
    struct tcp_listener *l = lp->listener;
    if ((seg->h.flags & TCP_SYN) || !l->cookie_ms ||
        tcp_ms(st) - l->cookie_ms > COOKIE_MS)
        return false;
    struct tcp_seg syn = *seg;
    struct endpoint local = {.ip = seg->rx->dst, .port = seg->h.dport};
    struct endpoint remote = {.ip = seg->rx->src, .port = seg->h.sport};
    seq_t iss = seg->h.ack - 1;
    syn.seq--;
    syn.o.mss = tcp_cookie_check(st, &local, &remote, syn.seq, iss);
    if (!syn.o.mss) {
        COUNT(st, tcp_cookies_bad);
        return false;
    }
    if (accept_full(l)) { /* no reset: the peer may try again */
        COUNT(st, tcp_accept_full);
        return true;
    }
    struct tcp_sock *tp = new_child(st, lp, seg);
    if (!tp) {
        COUNT(st, tcp_no_memory);
        return true;
    }
    COUNT(st, tcp_cookies_taken);
    COUNT(st, tcp_passive_opens);
    bool ecn = syn.o.ts && tcp_cookie_options(syn.o.tsecr, &syn.o);
    child_numbers(st, tp, &syn, &iss);
    tp->ecn = ecn ? TCP_ECN_CLASSIC : TCP_ECN_OFF;
    tp->snd_nxt = iss + 1;
    tp->rcv_adv = tp->rcv_nxt + min_u32(tcp_rcv_limit(tp), 65535);
    seg->wnd <<= tp->snd_wscale;
    seg->o.tsecr = 0; /* rounded down: measures nothing */
    tcp_input_steps(st, tp, seg);
    return true;
}

/* A SYN for which there is no room in the SYN queue, or nearly none. */
static bool wants_cookie(struct stack *st, const struct tcp_listener *l) {
    bool full = l->syn_n > max_u32(l->backlog, SYN_QUEUE_MIN);
    return TUNED(st, SYNCOOKIES) == 2 || (full && TUNED(st, SYNCOOKIES));
}

/* Section 3.10.7.2: RST, ACK, SYN, in this order. iss: where the connection
 * must start because its tuple was in TIME-WAIT, or NULL. */
void tcp_listen_input(struct stack *st, struct tcp_sock *lp,
                      struct tcp_seg *seg, const seq_t *iss) {
    uint16_t flags = seg->h.flags;
    struct tcp_listener *l = lp->listener;
    if (flags & TCP_RST)
        return;
    if (flags & TCP_ACK) {
        if (take_cookie(st, lp, seg))
            return;
        COUNT(st, tcp_no_socket);
        tcp_reply_reset(st, seg);
        return;
    }
    if (!(flags & TCP_SYN) || (flags & TCP_FIN)) {
        COUNT(st, drop_tcp_no_syn);
        return;
    }
    if (tcp_mem_level(st) == TCP_MEM_FULL) {
        COUNT(st, tcp_mem_refused);
        return;
    }
    bool cookie = wants_cookie(st, l) && !iss;
    bool full = l->syn_n > max_u32(l->backlog, SYN_QUEUE_MIN);
    if (accept_full(l) || (full && !cookie)) {
        COUNT(st, drop_tcp_backlog);
        return;
    }
    if (cookie) {
        send_cookie(st, lp, seg);
        return;
    }
    struct tcp_sock *tp = new_child(st, lp, seg);
    if (!tp) {
        COUNT(st, tcp_no_memory);
        return;
    }
    COUNT(st, tcp_passive_opens);
    start_child(st, tp, seg, iss);
}

/* After a death inside the lock: empty queues... */
void tcp_listener_mend(struct tcp_sock *lp) {
    list_init(&lp->listener->syn_q);
    list_init(&lp->listener->accept_q);
    lp->listener->tfo_n = 0;
    lp->listener->syn_n = lp->listener->accept_n = 0;
}

/* ...and each child back into the one it was in. */
void tcp_listener_readd(struct tcp_sock *tp) {
    struct tcp_listener *l = tp->parent->listener;
    tp->queue_link = (struct list_node){NULL, NULL};
    bool waits = tp->in_accept_q || tp->deferred || TCP_IN(tp, SYN_RECV);
    if (!l || !waits) { /* taken out, but for this pointer */
        tp->parent = NULL;
        return;
    }
    list_push_back(tp->in_accept_q ? &l->accept_q : &l->syn_q, &tp->queue_link);
    if (tp->tfo && TCP_IN(tp, SYN_RECV))
        l->tfo_n++;
    if (tp->in_accept_q)
        l->accept_n++;
    else
        l->syn_n++;
}
