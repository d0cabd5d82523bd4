/* fastopen.c: TCP Fast Open (RFC 7413): data in the SYN, and the cookies that
 * make it safe.
 *
 * Theory of operation
 *
 * A cookie is what a server has given to an address: SipHash of both addresses
 * under a key (as Linux computes it, so that hosts with one key understand each
 * other). A client that shows it may have the data of its SYN delivered at once.
 *
 * Server. A listener with a TCP_FASTOPEN queue, and tcp_fastopen & 2: a SYN with a
 * good cookie makes a child that is in the accept queue from the start, its data
 * to be read and answers to be sent in SYN-RECEIVED (tp->tfo). As many such
 * children may wait for their ACK as the queue is long. Every other SYN with the
 * option is answered with a cookie. An old key goes on to be honoured, and its
 * user gets a new cookie.
 *
 * Client. MSG_FASTOPEN, or TCP_FASTOPEN_CONNECT and the first write: with a cookie
 * for the server the SYN carries it and up to a segment of data; without, it asks
 * for one, and the data follows the handshake. What the SYN-ACK does not
 * acknowledge is new data still (input_syn.c). A SYN that is sent again has
 * neither option nor data, and a server to which that had to be done more than
 * once is not tried for a while, longer each time (section 4.1.3).
 *
 * The cache has one slot for each hash of an address: a cookie lost to another
 * server costs one round trip.
 */
#include <string.h>

#include "stack/tcp/tcp.h"

#define CLIENT 1
#define SERVER 2
#define CLIENT_NO_COOKIE 4
#define SERVER_NO_COOKIE 0x200
#define SERVER_ALL 0x400
#define QUEUE_ALL 4096u
#define OPTION_ROOM 40u /* what options of a SYN may take */
#define COOKIE_LEN 8
#define LOSS_MS 60000u

/* ---- cookies ------------------------------------------------------------- */

/* Under key 0 or 1; false: there is no such key. */
static bool make_cookie(struct stack *st, unsigned k,
                        const struct ip_addr *peer, const struct ip_addr *us,
                        uint8_t out[COOKIE_LEN]) {
    const struct tcp_fastopen *fo = &st->sh->fastopen;
    uint8_t pair[32];
    unsigned n = ip_is_v4(peer) ? 4 : 16;
    if (k && !fo->two_keys)
        return false;
    memcpy(pair, peer->b + 16 - n, n);
    memcpy(pair + n, us->b + 16 - n, n);
    const uint8_t *key = fo->own_key ? fo->key[k] : st->sh->cookie_key;
    uint64_t v = siphash(key, pair, 2 * n);
    for (unsigned i = 0; i < COOKIE_LEN; i++)
        out[i] = (uint8_t)(v >> (8 * i));
    return true;
}

/* The cookie of a child's peer goes into its SYN-ACK. */
static void put_cookie(struct stack *st, const struct tcp_sock *tp,
                       struct tcp_opts *o) {
    o->fo = true;
    o->fo_exp = tp->fo_exp;
    o->fo_len = COOKIE_LEN;
    make_cookie(st, 0, &tp->so.remote.ip, &tp->so.local.ip, o->fo_cookie);
}

int stack_fastopen_key(struct stack *st, const uint8_t *key, size_t len) {
    struct tcp_fastopen *fo = &st->sh->fastopen;
    if (len != 16 && len != 32)
        return -EINVAL;
    memcpy(fo->key, key, len);
    fo->own_key = true;
    fo->two_keys = len == 32;
    return 0;
}

size_t stack_fastopen_key_get(struct stack *st, uint8_t out[32]) {
    const struct tcp_fastopen *fo = &st->sh->fastopen;
    size_t len = !fo->own_key ? 0 : fo->two_keys ? 32 : 16;
    memcpy(out, fo->key, len); /* the stack's own key is nobody's business */
    return len;
}

/* ---- server --------------------------------------------------------------- */

/* Is there room among the children that wait for their ACK? */
static bool queue_open(struct stack *st, const struct tcp_sock *lp,
                       uint32_t waiting) {
    int32_t mode = TUNED(st, FASTOPEN);
    uint32_t most = mode & SERVER_ALL && !lp->fo_qlen ? QUEUE_ALL : lp->fo_qlen;
    return mode & SERVER && waiting < most;
}

/* What to do with a SYN; tp: its child so far, no more than named. */
enum tcp_fo tcp_fo_listen(struct stack *st, const struct tcp_sock *lp,
                          const struct tcp_seg *seg, uint32_t waiting) {
    const struct tcp_opts *o = &seg->o;
    bool free_for_all =
        TUNED(st, FASTOPEN) & SERVER_NO_COOKIE || lp->fo_no_cookie;
    uint8_t want[COOKIE_LEN];
    if (!queue_open(st, lp, waiting))
        return TCP_FO_NONE;
    if (free_for_all && (seg->len || o->fo))
        return TCP_FO_OPEN;
    if (!o->fo)
        return TCP_FO_NONE;
    for (unsigned k = 0; k < 2 && o->fo_len == COOKIE_LEN; k++)
        if (make_cookie(st, k, &seg->rx->src, &seg->rx->dst, want) &&
            memcmp(want, o->fo_cookie, COOKIE_LEN) == 0)
            return k ? TCP_FO_OPEN_RENEW : TCP_FO_OPEN;
    if (o->fo_len)
        COUNT(st, tcp_fastopen_bad_cookie);
    return TCP_FO_COOKIE;
}

/* The child's data is there, and it may be used. */
void tcp_fo_open(struct stack *st, struct tcp_sock *tp,
                 const struct tcp_seg *seg) {
    uint32_t got = bufq_append(st, &tp->rcvq, seg->data, seg->len);
    COUNT(st, tcp_fastopen_passive);
    tp->tfo = true;
    tp->rcv_nxt += got;
    tp->rcv_adv = tp->rcv_nxt;
    tp->bytes_received += got;
    tp->fo_acked = got > 0;
    tp->rcv_ms = tcp_ms(st);
    tp->cwnd = TCP_INIT_CWND * tcp_eff_mss(tp);
}

/* ---- client --------------------------------------------------------------- */

static struct tcp_fo_entry *slot(struct stack *st, const struct ip_addr *ip) {
    uint64_t h = siphash(st->sh->key, ip, sizeof(*ip));
    return &st->sh->fastopen.entry[h % TCP_FO_ENTRIES];
}

/* What is known about the peer; NULL: nothing. */
static struct tcp_fo_entry *known(struct stack *st, const struct ip_addr *ip) {
    struct tcp_fo_entry *e = slot(st, ip);
    return ip_equal(&e->ip, ip) ? e : NULL;
}

/* Did data in SYNs get lost on the way there, not long ago? */
static bool black_hole(struct stack *st, const struct tcp_fo_entry *e) {
    return e && e->losses > 1 &&
           tcp_ms(st) - e->loss_ms < LOSS_MS << min_u32(e->losses, 8);
}

/* May the SYN to tp's peer carry data? */
bool tcp_fo_ready(struct stack *st, const struct tcp_sock *tp) {
    const struct tcp_fo_entry *e = known(st, &tp->so.remote.ip);
    if (!(TUNED(st, FASTOPEN) & CLIENT) || black_hole(st, e))
        return false;
    return TUNED(st, FASTOPEN) & CLIENT_NO_COOKIE || tp->fo_no_cookie ||
           (e && e->len);
}

/* Bytes of data a SYN has room for. */
uint32_t tcp_fo_room(struct stack *st, const struct tcp_sock *tp) {
    const struct tcp_fo_entry *e = known(st, &tp->so.remote.ip);
    uint32_t mss = min_u32(tp->adv_mss, e && e->mss ? e->mss : tp->adv_mss);
    return mss > OPTION_ROOM ? mss - OPTION_ROOM : 0;
}

/* Bytes that the SYN about to leave takes along. */
uint32_t tcp_fo_syn_len(struct stack *st, struct tcp_sock *tp) {
    if (!tp->fo_ask || tp->retransmits || !tp->sndq.len ||
        !tcp_fo_ready(st, tp))
        return 0;
    COUNT(st, tcp_fastopen_active);
    tp->fo_sent = (uint16_t)min_u32(tp->sndq.len, tcp_fo_room(st, tp));
    return tp->fo_sent;
}

/* Its option, or that of a SYN-ACK. */
void tcp_fo_option(struct stack *st, const struct tcp_sock *tp, bool answer,
                   struct tcp_opts *o) {
    if (answer) {
        if (tp->fo_reply)
            put_cookie(st, tp, o);
        return;
    }
    const struct tcp_fo_entry *e = known(st, &tp->so.remote.ip);
    bool bare = TUNED(st, FASTOPEN) & CLIENT_NO_COOKIE || tp->fo_no_cookie;
    if (!tp->fo_ask || tp->retransmits || bare || black_hole(st, e))
        return;
    o->fo = true;
    if (e && e->len) {
        o->fo_len = e->len;
        o->fo_exp = e->exp;
        memcpy(o->fo_cookie, e->cookie, e->len);
    }
}

/* The SYN-ACK: a cookie for the next time, and how this time went. */
void tcp_fo_take_synack(struct stack *st, struct tcp_sock *tp,
                        const struct tcp_seg *seg) {
    if (!tp->fo_ask)
        return;
    struct tcp_fo_entry *e = slot(st, &tp->so.remote.ip);
    bool lost = tp->fo_sent && tp->retransmits;
    if (!lost && !(seg->o.fo && seg->o.fo_len))
        return;
    if (!ip_equal(&e->ip, &tp->so.remote.ip)) {
        memset(e, 0, sizeof(*e));
        e->ip = tp->so.remote.ip;
    }
    e->mss = tp->peer_mss;
    if (seg->o.fo && seg->o.fo_len) {
        COUNT(st, tcp_fastopen_cookies);
        e->len = seg->o.fo_len;
        e->exp = seg->o.fo_exp;
        memcpy(e->cookie, seg->o.fo_cookie, e->len);
    }
    if (lost) {
        COUNT(st, tcp_fastopen_lost);
        e->losses = (uint8_t)min_u32(e->losses + 1u, 255);
        e->loss_ms = tcp_ms(st);
    } else if (tp->fo_sent) {
        e->losses = 0;
    }
}

/* sendto(2) with MSG_FASTOPEN: connect, and send as much as the SYN takes.
 * -EINPROGRESS: nothing, for want of a cookie. */
ssize_t tcp_fo_send(struct stack *st, struct tcp_sock *tp,
                    const struct iovec *iov, int niov, size_t want,
                    const struct stack_msg *m) {
    if (!(TUNED(st, FASTOPEN) & CLIENT))
        return -EOPNOTSUPP;
    if (!m || !m->has_peer)
        return TCP_IN(tp, CLOSE) ? -EINVAL : -EISCONN;
    tp->fo_ask = true;
    int r =
        tp->fo_deferred ? -EINPROGRESS : stack_connect(st, &tp->so, &m->peer);
    if (tp->fo_deferred) { /* TCP_FASTOPEN_CONNECT, and this is the first write */
        tp->fo_deferred = false;
        tp->syn_due = tp->connecting = true;
        tcp_mark_due(st, tp);
        r = -EINPROGRESS;
    }
    if (r != -EINPROGRESS || !tcp_fo_ready(st, tp))
        return r;
    uint32_t room = tcp_fo_room(st, tp);
    uint32_t n = want < room ? (uint32_t)want : room;
    uint32_t got = n ? bufq_append_iov(st, &tp->sndq, iov, niov, 0, n) : 0;
    return got ? (ssize_t)got : -EINPROGRESS;
}
