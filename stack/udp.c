/* udp.c: UDP (RFC 768, RFC 1122 section 4.1, RFC 8085).
 *
 * Theory of operation
 *
 * A UDP socket is a port, perhaps a peer, a queue of datagrams that nobody has
 * read yet, and a queue of errors if the program asked for them. There are no
 * states and no timers.
 *
 * In (this file): the datagram is checked and copied into the arena, charged
 * with the memory it takes to the socket's receive buffer; when that is full
 * new ones are dropped and counted. A connected socket of exactly these four
 * addresses comes first, then the best bound one (demux.c). A broadcast goes
 * to every bound socket of the port. Where nobody listens, ICMP tells the
 * sender (RFC 1122 section 4.1.3.1).
 * Out (udp_send.c): straight into the transmit batch, nothing is queued; a
 * socket is always writable.
 * Errors (udp_error.c): ICMP about datagrams of ours becomes the pending error
 * of a connected socket, and an entry of the error queue (IP_RECVERR).
 */
#include "stack/udp.h"

#include <errno.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/repair.h"
#include "stack/shared.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/udp.h"

/* ---- in ------------------------------------------------------------- */

/* Queue a copy of the payload. A datagram is taken while the buffer is not
 * yet full, so at least one of any size fits (as Linux). */
static void enqueue(struct stack *st, struct udp_sock *u,
                    const struct rxpkt *rx, uint16_t sport, const uint8_t *data,
                    uint32_t len) {
    BUSY(st, &u->so);
    if (u->queued >= u->so.rcvbuf) {
        COUNT(st, drop_udp_rcvbuf);
        return;
    }
    uint32_t size = (uint32_t)(sizeof(struct udp_dgram) + len);
    struct udp_dgram *d = mem_alloc_raw(st, size);
    if (!d) {
        COUNT(st, drop_udp_rcvbuf);
        return;
    }
    *d = (struct udp_dgram){.size = size,
                            .len = len,
                            .from = {.ip = rx->src, .port = sport},
                            .to = rx->dst,
                            .ttl = rx->ttl,
                            .tos = rx->tos,
                            .arrived = st->now};
    memcpy(d->data, data, len);
    list_push_back(&u->queue, &d->link);
    u->queued += (uint32_t)mem_good_size(size);
    COUNT(st, udp_in);
    sock_event(st, &u->so, STACK_IN);
}

/* One payload to everybody who wants it. False: nobody. */
static bool deliver(struct stack *st, const struct rxpkt *rx,
                    const struct udp_hdr *h, const uint8_t *data,
                    uint32_t len) {
    struct demux *d = &st->sh->udp;
    struct endpoint local = {.ip = rx->dst, .port = h->dport};
    struct endpoint remote = {.ip = rx->src, .port = h->sport};
    struct sock *so;
    if (rx->multicast) {
        bool any = false;
        so = NULL;
        while ((so = demux_next_bound(st, d, &local, so))) {
            enqueue(st, udp_of(so), rx, h->sport, data, len);
            any = true;
        }
        return any;
    }
    so = demux_tuple(st, d, &local, &remote);
    if (!so)
        so = demux_bound(st, d, &local, &remote);
    if (so)
        enqueue(st, udp_of(so), rx, h->sport, data, len);
    return so != NULL;
}

/* RFC 1122 section 4.1.3.4: a sum that is there must be right; 0 means that
 * the sender made none. */
static bool check_sum(const struct rxpkt *rx, const struct udp_hdr *h) {
    if (rx->csum_ok || h->csum == 0)
        return true;
    uint64_t sum = csum_pseudo(&rx->src, &rx->dst, IP_PROTO_UDP, h->len);
    return csum_fold(csum_add(sum, rx->l4, h->len)) == 0xffff;
}

/* Called by ip.c with l4_len >= 1. Order: length, checksum, socket; a damaged
 * datagram never causes an ICMP message. */
void udp_input(struct stack *st, const struct rxpkt *rx) {
    struct udp_hdr h;
    bool super = rx->meta.gso == NETIO_GSO_UDP && rx->meta.gso_size;
    if (!udp_parse(rx->l4, rx->l4_len, super, &h)) {
        COUNT(st, drop_udp_length);
        return;
    }
    if (!check_sum(rx, &h)) {
        COUNT(st, drop_udp_checksum);
        return;
    }
    uint32_t left = h.data_len, step = super ? rx->meta.gso_size : left;
    const uint8_t *data = h.data;
    bool any;
    do { /* once, or for each datagram of a superframe */
        uint32_t n = left < step ? left : step;
        any = deliver(st, rx, &h, data, n);
        data += n;
        left -= n;
    } while (any && left);
    if (any)
        return;
    COUNT(st, drop_udp_port);
    if (!rx->multicast)
        icmp_send_error(st, rx, ICMP_SEND_PORT_UNREACHABLE);
}

/* ---- the socket ----------------------------------------------------- */

/* Everything else of a new socket is zero. */
static int udp_init(struct stack *st, struct sock *so) {
    struct udp_sock *u = udp_of(so);
    list_init(&u->queue);
    list_init(&u->errors);
    return 0;
}

/* The rules of addresses and sharing are demux.c's. */
static int udp_bind(struct stack *st, struct sock *so,
                    const struct endpoint *at) {
    return demux_bind(st, &st->sh->udp, so, at);
}

/* Set the peer, or dissolve the association (to NULL). Nothing is sent. */
static int udp_connect(struct stack *st, struct sock *so,
                       const struct endpoint *to) {
    struct ip_addr src;
    if (!to) {
        demux_disconnect(st, &st->sh->udp, so);
        return 0;
    }
    int rc = stack_route_source(st, &to->ip, &src);
    if (rc < 0) /* the old association stays */
        return rc;
    return demux_connect(st, &st->sh->udp, so, to);
}

/* There is no handshake to wait for. */
static int udp_connect_result(struct stack *st, struct sock *so) {
    return so->connected ? 0 : -ENOTCONN;
}

/* listen(2): the socket type must support it. */
static int udp_listen(struct stack *st, struct sock *so, int backlog) {
    return -EOPNOTSUPP;
}

/* accept(2): -EOPNOTSUPP unless SOCK_STREAM. */
static int udp_accept(struct stack *st, struct sock *so, struct sock **out) {
    return -EOPNOTSUPP;
}

/* Both halves are marked even when there is no peer, but then the answer is
 * -ENOTCONN (Linux: inet_shutdown). */
static int udp_shutdown(struct stack *st, struct sock *so, enum stack_how how) {
    if (how != STACK_SHUT_WR)
        so->shut |= 1;
    if (how != STACK_SHUT_RD)
        so->shut |= 2;
    uint32_t events = 0;
    if (so->shut & 1)
        events |= STACK_IN | STACK_RDHUP;
    if (so->shut == 3)
        events |= STACK_HUP;
    sock_event(st, so, events | STACK_OUT);
    return so->connected ? 0 : -ENOTCONN;
}

/* Out of the queue, memory and charge given back. */
static void dgram_free(struct stack *st, struct udp_sock *u,
                       struct udp_dgram *d) {
    list_remove(&d->link);
    u->queued -= (uint32_t)mem_good_size(d->size);
    mem_free(st, d, d->size);
}

/* The next to be read; NULL when the queue is empty. */
static struct udp_dgram *first_dgram(struct udp_sock *u) {
    struct list_node *n = list_first(&u->queue);
    return n ? container_of(n, struct udp_dgram, link) : NULL;
}

/* At once: UDP has nothing left to do for a socket that is gone. Unread
 * datagrams and a datagram in the making are forgotten. */
static void udp_close(struct stack *st, struct sock *so) {
    struct udp_sock *u = udp_of(so);
    struct udp_dgram *d;
    demux_remove(st, &st->sh->udp, so);
    while ((d = first_dgram(u)))
        dgram_free(st, u, d);
    udp_error_clear(st, u);
    bufq_clear(st, &u->cork);
    sock_free(st, so);
}

/* poll(2) as Linux's datagram_poll: always writable, readable at the end of
 * reading too, ERR while an error or an entry of the error queue waits. */
static uint32_t udp_ready(struct stack *st, struct sock *so) {
    struct udp_sock *u = udp_of(so);
    uint32_t r = STACK_OUT;
    if (!list_empty(&u->queue) || (so->shut & 1))
        r |= STACK_IN;
    if (so->shut & 1)
        r |= STACK_RDHUP;
    if (so->shut == 3)
        r |= STACK_HUP;
    if (so->error || !list_empty(&u->errors))
        r |= STACK_ERR;
    return r;
}

/* ---- recv ----------------------------------------------------------- */

/* Scatter a datagram; returns bytes copied. */
static uint32_t scatter(const struct iovec *iov, int niov, const uint8_t *data,
                        uint32_t len) {
    uint32_t done = 0;
    for (int i = 0; i < niov && done < len; i++) {
        uint32_t n = len - done;
        if (n > iov[i].iov_len)
            n = (uint32_t)iov[i].iov_len;
        if (n)
            memcpy(iov[i].iov_base, data + done, n);
        done += n;
    }
    return done;
}

/* Fill in what came with the datagram; preload/ turns it into control messages
 * for those who asked. */
static void describe(const struct udp_dgram *d, bool cut, struct stack_msg *m) {
    m->peer = d->from;
    m->has_peer = true;
    m->local = d->to;
    m->has_local = true;
    m->ttl = d->ttl;
    m->tos = d->tos;
    m->arrived = d->arrived;
    m->out_flags = cut ? STACK_MSG_TRUNC : 0;
}

/* One datagram. What does not fit the caller's room is lost (RFC 1122 leaves
 * no choice); MSG_TRUNC asks for the real length. */
static ssize_t udp_recv(struct stack *st, struct sock *so,
                        const struct iovec *iov, int niov, uint32_t flags,
                        struct stack_msg *m) {
    struct udp_sock *u = udp_of(so);
    if (flags & STACK_MSG_ERRQUEUE)
        return udp_error_recv(st, u, iov, niov, m);
    if (so->error)
        return -sock_take_error(so);
    struct udp_dgram *d = first_dgram(u);
    if (!d)
        return so->shut & 1 ? 0 : -EAGAIN;
    uint32_t n = scatter(iov, niov, d->data, d->len);
    ssize_t r = flags & STACK_MSG_TRUNC ? d->len : n;
    if (m)
        describe(d, n < d->len, m);
    if (!(flags & STACK_MSG_PEEK))
        dgram_free(st, u, d);
    return r;
}

/* ---- options -------------------------------------------------------- */

/* sock.c answers for the common ones. */
static int udp_setopt(struct stack *st, struct sock *so, enum stack_opt opt,
                      int64_t v) {
    if (opt == STACK_OPT_UDP_CORK)
        return udp_set_cork(st, udp_of(so), v);
    return -ENOPROTOOPT;
}

/* SIOCINQ tells the length of the next datagram, not of all (udp(7)). */
static int udp_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
                      int64_t *v) {
    const struct udp_dgram *d = first_dgram(udp_of(so));
    switch (opt) {
    case STACK_OPT_INQ:
        *v = d ? d->len : 0;
        return 0;
    case STACK_OPT_UDP_CORK:
        *v = udp_of(so)->cork_option;
        return 0;
    case STACK_OPT_OUTQ:
        *v = 0;
        return 0;
    case STACK_OPT_MTU:
        if (!so->connected)
            return -ENOTCONN;
        *v = ip_path_mtu(st, &so->remote.ip);
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* Nothing is ever held back for a peer's sake. */
static bool udp_unsent(struct stack *st, struct sock *so) { return false; }

const struct sock_proto udp_proto = {
    .name = "udp",
    .size = sizeof(struct udp_sock),
    .init = udp_init,
    .bind = udp_bind,
    .connect = udp_connect,
    .connect_result = udp_connect_result,
    .listen = udp_listen,
    .accept = udp_accept,
    .send = udp_send,
    .recv = udp_recv,
    .shutdown = udp_shutdown,
    .close = udp_close,
    .ready = udp_ready,
    .setopt = udp_setopt,
    .getopt = udp_getopt,
    .unsent = udp_unsent,
    .zerocopy = udp_zerocopy,
    .zerocopy_sent = udp_zerocopy_sent,
};

/* After a death inside the lock: what was queued is lost, as on the wire. */
void udp_reset(struct stack *st, struct sock *so) {
    struct udp_sock *u = udp_of(so);
    COUNT_ADD(st, repair_leaked, u->queued + u->error_bytes);
    list_init(&u->queue);
    list_init(&u->errors);
    u->queued = u->error_bytes = 0;
    u->corked = false;
    u->cork = (struct bufq){0};
}
