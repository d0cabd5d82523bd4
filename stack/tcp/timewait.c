/* timewait.c: TIME-WAIT (RFC 9293 sections 3.6 and 3.10.7.4).
 *
 * Theory of operation
 *
 * When a connection enters TIME-WAIT, a struct tcp_tw takes over its tuple and
 * the tcp_sock is done: closed for good if the program has let go of it, else
 * left to be read from. What remains is what must be known to acknowledge a
 * FIN that is sent again, to refuse old segments, and to judge a new SYN.
 *
 * All wait equally long (60 s, as Linux; 2 MSL of RFC 9293 is 4 minutes), so
 * one list, oldest first, and one timer serve all. A FIN that is sent again
 * moves its owner to the end. The list is bounded: the oldest makes room.
 *
 * A new SYN for the tuple is lawful if its timestamp (RFC 6191) or its sequence
 * number (RFC 1122 section 4.2.2.13) is beyond the old connection's. The old
 * connection's numbers end there: the new one starts beyond any window of the
 * old, so that a late segment of either cannot be taken for the other's.
 *
 * The struct begins with a struct sock, because the demultiplexer and the
 * conflict rules of bind know nothing else; its kind tells it apart. It has no
 * watchers and no program, and tcp_input is the only one who talks to it.
 */
#include "stack/repair.h"
#include "stack/tcp/tcp.h"

#define TW_MAX 16384

struct tcp_tw {
    struct sock so;        /* tuple and reuse flags, for the demultiplexer */
    struct list_node link; /* tcp_waits.list */
    nstime_t due;
    seq_t rcv_nxt, snd_nxt;
    uint32_t ts_offset, ts_recent, oow_ms;
    uint16_t wnd;
    bool ts_ok;
};
static_assert(sizeof(struct tcp_tw) <= 272, "TIME-WAIT is small");

const struct sock_proto tcp_tw_proto = {
    .name = "tcp-wait",
    .size = sizeof(struct tcp_tw),
};

/* Out of every table. */
static void tw_free(struct stack *st, struct tcp_tw *tw) {
    list_remove(&tw->link);
    st->sh->waits.n--;
    demux_remove(st, &st->sh->tcp, &tw->so);
    sock_free(st, &tw->so);
}

/* (Re)start the wait of tw: the end of the list is the latest. */
static void tw_start(struct stack *st, struct tcp_tw *tw) {
    struct tcp_waits *w = &st->sh->waits;
    list_remove(&tw->link);
    tw->due = st->now + TCP_TIME_WAIT_NS;
    list_push_back(&w->list, &tw->link);
    if (!timer_armed(&w->timer))
        timer_arm(st, &w->timer, TIMER_TCP_WAIT, tw->due);
}

/* The first in the list has waited long enough, perhaps others too. */
void tcp_tw_timer(struct stack *st) {
    struct tcp_waits *w = &st->sh->waits;
    struct list_node *n;
    while ((n = list_first(&w->list))) {
        struct tcp_tw *tw = container_of(n, struct tcp_tw, link);
        if (tw->due > st->now) {
            timer_arm(st, &w->timer, TIMER_TCP_WAIT, tw->due);
            return;
        }
        tw_free(st, tw);
    }
}

/* An empty list head is all zero in a fresh arena. */
static void tw_make_room(struct stack *st) {
    struct tcp_waits *w = &st->sh->waits;
    if (!w->list.head.next)
        list_init(&w->list);
    if (w->n >= TW_MAX) {
        COUNT(st, tcp_tw_evicted);
        tw_free(st, container_of(list_first(&w->list), struct tcp_tw, link));
    }
}

/* Copy what must be remembered of tp. */
static void tw_fill(struct tcp_tw *tw, const struct tcp_sock *tp) {
    tw->so.local = tp->so.local;
    tw->so.remote = tp->so.remote;
    tw->so.reuseaddr = tp->so.reuseaddr;
    tw->so.reuseport = tp->so.reuseport;
    tw->so.v6only = tp->so.v6only;
    tw->so.ttl = tp->so.ttl;
    tw->so.tos = tp->so.tos;
    tw->rcv_nxt = tp->rcv_nxt;
    tw->snd_nxt = tp->snd_nxt;
    tw->ts_ok = tp->ts_ok;
    tw->ts_offset = tp->ts_offset;
    tw->ts_recent = tp->ts_recent;
    tw->wnd = (uint16_t)min_u32(tcp_rcv_wnd(tp) >> tp->rcv_wscale, UINT16_MAX);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    tw->so.closed = true; /* last: it is whole (tcp_tw_readd) */
}

/* tp has sent and received FIN, both acknowledged (the ACK of the peer's may
 * still be owed). tp may be gone afterwards. */
void tcp_time_wait(struct stack *st, struct tcp_sock *tp) {
    if (tp->ack_now)
        tcp_xmit_ack(st, tp);
    tw_make_room(st);
    struct sock *so = sock_new(st, SOCK_TCP_TW, tp->so.family, tp->so.proto);
    if (so)
        tw_fill((struct tcp_tw *)so, tp);
    tcp_done(st, tp);
    if (!so) {
        COUNT(st, tcp_no_memory);
        return;
    }
    struct tcp_tw *tw = (struct tcp_tw *)so;
    if (demux_insert(st, &st->sh->tcp, so) < 0) {
        sock_free(st, so);
        return;
    }
    st->sh->waits.n++;
    tw_start(st, tw);
    COUNT(st, tcp_time_waits);
}

/* ACK from TIME-WAIT. */
static void tw_ack(struct stack *st, struct tcp_tw *tw) {
    struct ip_tx tx = {.src = tw->so.local.ip,
                       .dst = tw->so.remote.ip,
                       .proto = 6,
                       .ttl = tw->so.ttl,
                       .tos = tw->so.tos,
                       .df = IP_DF_SET};
    struct tcp_hdr h = {.sport = tw->so.local.port,
                        .dport = tw->so.remote.port,
                        .seq = tw->snd_nxt,
                        .ack = tw->rcv_nxt,
                        .flags = TCP_ACK,
                        .wnd = tw->wnd};
    struct tcp_opts o = {.ts = tw->ts_ok,
                         .tsval = tcp_ts_now(st, tw->ts_offset),
                         .tsecr = tw->ts_recent};
    tcp_xmit_raw(st, &tx, &h, &o);
}

/* RFC 6191 section 2 and RFC 1122 section 4.2.2.13: may this SYN open a new
 * incarnation? Only if somebody listens. */
static bool lawful_syn(struct stack *st, const struct tcp_tw *tw,
                       const struct tcp_seg *seg) {
    uint16_t f = seg->h.flags & (TCP_SYN | TCP_ACK | TCP_RST);
    if (f != TCP_SYN)
        return false;
    bool newer = seq_gt(seg->seq, tw->rcv_nxt);
    if (tw->ts_ok && seg->o.ts)
        newer = seq_gt(seg->o.tsval, tw->ts_recent) ||
                (newer && seg->o.tsval == tw->ts_recent);
    if (!newer)
        return false;
    struct sock *so =
        demux_bound(st, &st->sh->tcp, &tw->so.local, &tw->so.remote);
    return so && so->listening;
}

/* Section 3.10.7.4 for TIME-WAIT, with RFC 1337's caution about resets: only
 * one that fits exactly ends the wait (RFC 5961). */
bool tcp_tw_input(struct stack *st, struct sock *so, struct tcp_seg *seg,
                  seq_t *iss) {
    struct tcp_tw *tw = (struct tcp_tw *)so;
    if (lawful_syn(st, tw, seg)) {
        *iss = tw->snd_nxt + 65537; /* beyond any window of the old one */
        COUNT(st, tcp_tw_reused);
        tw_free(st, tw);
        return true;
    }
    if (seg->h.flags & TCP_RST) {
        if (seg->seq == tw->rcv_nxt)
            tw_free(st, tw);
        return false;
    }
    bool old_ts = tw->ts_ok && seg->o.ts && seq_lt(seg->o.tsval, tw->ts_recent);
    if (seg->fin && !old_ts && seg->seq + seg->len + 1 == tw->rcv_nxt)
        tw_start(st, tw); /* our ACK was lost */
    bool quiet = !seg->len && !seg->fin && !(seg->h.flags & TCP_SYN) &&
                 seg->seq == tw->rcv_nxt;
    if (quiet)
        return false;
    uint32_t now = tcp_ms(st);
    if (!seg->len && !seg->fin && tw->oow_ms &&
        now - tw->oow_ms < TCP_OOW_ACK_MS)
        return false;
    tw->oow_ms = now ? now : 1;
    tw_ack(st, tw);
    return false;
}

/* After a death inside the lock: an empty list... */
void tcp_tw_mend(struct stack *st) {
    struct tcp_waits *w = &st->sh->waits;
    list_init(&w->list);
    w->n = 0;
    timer_disown(&w->timer);
}

/* ...and everybody waits anew, behind what was there before. One that had not
 * been filled in goes. */
void tcp_tw_readd(struct stack *st, struct sock *so) {
    struct tcp_tw *tw = (struct tcp_tw *)so;
    if (!so->closed) {
        sock_free(st, so);
        return;
    }
    tw->link = (struct list_node){NULL, NULL};
    st->sh->waits.n++;
    tw_start(st, tw);
}
