/* ping.c: ICMP echo sockets (icmp(7): SOCK_DGRAM with IPPROTO_ICMP).
 *
 * Theory of operation
 *
 * A ping socket sends echo requests and gets the replies to them. It is told
 * apart from others by the identifier of its requests (RFC 792), which plays
 * the part of the local port: bind may choose it, else the first send does.
 * The program writes whole ICMP messages without the IP header; the identifier
 * and the checksum are ours, anything but an echo request is refused.
 *
 * Replies and errors wait as they do in a UDP socket, so this is a struct
 * udp_sock and reading, readiness, shutdown and the error queue are UDP's.
 * There are few such sockets: they hang in shared.raw by port_link, searched
 * one by one. `bound` means being in that list.
 */
#include <errno.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/shared.h"
#include "stack/udp.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/ipv4.h"

#define MESSAGE_MAX (IPV4_MAX - IPV4_HDR_MIN)
#define COPY_MAX 1500 /* fits pkt_copy_payload */
#define ID_OFFSET 4
#define CSUM_OFFSET 2
/* IP_MTU_DISCOVER of ip(7) */
enum { PMTU_WANT = 1, PMTU_DO, PMTU_PROBE };

/* ---- names ----------------------------------------------------------- */

/* The socket with this identifier that may have local address ip. */
static struct sock *find(struct stack *st, uint16_t id,
                         const struct ip_addr *ip) {
    list_for_each(n, &st->sh->raw) {
        struct sock *so = container_of(n, struct sock, port_link);
        if (so->kind == SOCK_PING && so->local.port == id &&
            (ip_is_any(ip) || ip_is_any(&so->local.ip) ||
             ip_equal(&so->local.ip, ip)))
            return so;
    }
    return NULL;
}

/* Random, so that replies cannot be forged blindly. 0: all are taken. */
static uint16_t choose_id(struct stack *st, const struct ip_addr *ip) {
    uint32_t start = random_below(st, UINT16_MAX);
    for (uint32_t i = 0; i < UINT16_MAX; i++) {
        uint16_t id = (uint16_t)((start + i) % UINT16_MAX + 1);
        if (!find(st, id, ip))
            return id;
    }
    return 0;
}

/* The port is the identifier (icmp(7)). */
static int ping_bind(struct stack *st, struct sock *so,
                     const struct endpoint *at) {
    if (!ip_is_any(&at->ip) && !stack_is_local(st, &at->ip))
        return -EADDRNOTAVAIL;
    const struct sock *other = at->port ? find(st, at->port, &at->ip) : NULL;
    if (other && !(so->reuseaddr && other->reuseaddr))
        return -EADDRINUSE;
    uint16_t id = at->port ? at->port : choose_id(st, &at->ip);
    if (id == 0)
        return -EAGAIN;
    so->local.ip = at->ip;
    so->local.port = id;
    so->port_chosen = at->port == 0;
    so->bound = true;
    list_push_back(&st->sh->raw, &so->port_link);
    return 0;
}

/* Before the first message: an identifier. */
static int ensure_bound(struct stack *st, struct sock *so) {
    struct endpoint at = {.ip = so->local.ip};
    return so->bound ? 0 : ping_bind(st, so, &at);
}

/* `to` NULL dissolves the association; the identifier stays. */
static int ping_connect(struct stack *st, struct sock *so,
                        const struct endpoint *to) {
    struct ip_addr src;
    if (!to) {
        so->connected = false;
        memset(&so->remote, 0, sizeof(so->remote));
        if (so->addr_chosen)
            so->local.ip = IP_ANY;
        so->addr_chosen = false;
        return 0;
    }
    int rc = stack_route_source(st, &to->ip, &src);
    if (rc == 0)
        rc = ensure_bound(st, so);
    if (rc < 0)
        return rc;
    if (ip_is_any(&so->local.ip)) {
        so->local.ip = src;
        so->addr_chosen = true;
    }
    so->remote = *to;
    so->connected = true;
    return 0;
}

/* UDP's close frees what waits; it must not look for our port. */
static void ping_close(struct stack *st, struct sock *so) {
    list_remove(&so->port_link);
    so->bound = so->connected = false;
    udp_proto.close(st, so);
}

/* ---- out ------------------------------------------------------------- */

/* Source, destination and the rest of the IP header. */
static int address(struct stack *st, struct sock *so, const struct stack_msg *m,
                   uint32_t n, struct ip_tx *tx) {
    memset(tx, 0, sizeof(*tx));
    if (m && m->has_peer)
        tx->dst = m->peer.ip;
    else if (so->connected)
        tx->dst = so->remote.ip;
    else
        return -EDESTADDRREQ;
    int rc = stack_route_source(st, &tx->dst, &tx->src);
    if (rc < 0)
        return rc;
    if (m && m->has_local && !ip_is_any(&m->local))
        tx->src = m->local;
    else if (!ip_is_any(&so->local.ip))
        tx->src = so->local.ip;
    if (!stack_is_local(st, &tx->src))
        return -EINVAL;
    tx->proto = IP_PROTO_ICMP;
    tx->ttl = m && m->ttl > 0 ? (uint8_t)m->ttl : so->ttl;
    tx->tos = m && m->tos >= 0 ? (uint8_t)m->tos : so->tos;
    bool insist = so->mtu_discover == PMTU_DO || so->mtu_discover == PMTU_PROBE;
    bool fits = n + IPV4_HDR_MIN <= ip_path_mtu(st, &tx->dst);
    if (insist && !fits)
        return -EMSGSIZE;
    bool df = insist || (so->mtu_discover == PMTU_WANT && fits);
    tx->df = df ? IP_DF_SET : IP_DF_CLEAR;
    return 0;
}

/* Join the pieces of a message of n bytes. */
static void gather(uint8_t *to, const struct iovec *iov, int niov) {
    for (int i = 0; i < niov; i++) {
        if (iov[i].iov_len)
            memcpy(to, iov[i].iov_base, iov[i].iov_len);
        to += iov[i].iov_len;
    }
}

/* Send the n bytes of msg, with identifier and checksum filled in. */
static int transmit(struct stack *st, const struct sock *so,
                    const struct ip_tx *tx, uint8_t *msg, uint32_t n) {
    msg[ID_OFFSET] = (uint8_t)(so->local.port >> 8);
    msg[ID_OFFSET + 1] = (uint8_t)so->local.port;
    memset(msg + CSUM_OFFSET, 0, 2);
    icmp_set_csum(msg, csum_finish(csum_add(0, msg, n)));
    struct pkt *p = pkt_new(st);
    memcpy(pkt_push(p, ICMP_HDR_LEN), msg, ICMP_HDR_LEN);
    const uint8_t *data = msg + ICMP_HDR_LEN;
    uint32_t len = n - ICMP_HDR_LEN;
    bool copied = len <= COPY_MAX && pkt_copy_payload(st, p, data, len);
    if (!copied)
        pkt_add_payload(p, data, len);
    int rc = ip_output(st, p, tx);
    if (!copied)
        tx_flush(st);
    return rc;
}

/* icmp(7): the caller's header must be that of an echo request. */
static ssize_t ping_send(struct stack *st, struct sock *so,
                         const struct iovec *iov, int niov, uint32_t flags,
                         const struct stack_msg *m) {
    struct ip_tx tx;
    size_t n = 0;
    for (int i = 0; i < niov; i++)
        if (__builtin_add_overflow(n, iov[i].iov_len, &n))
            return -EMSGSIZE;
    if (n > MESSAGE_MAX)
        return -EMSGSIZE;
    if (n < ICMP_HDR_LEN)
        return -EINVAL;
    if (flags & STACK_MSG_OOB)
        return -EOPNOTSUPP;
    uint8_t *msg = mem_alloc_raw(st, n);
    if (!msg)
        return -ENOBUFS;
    gather(msg, iov, niov);
    int rc = msg[0] == ICMP_ECHO && msg[1] == 0 ? 0 : -EINVAL;
    if (rc == 0)
        rc = address(st, so, m, (uint32_t)n, &tx);
    if (rc == 0)
        rc = ensure_bound(st, so);
    if (rc == 0)
        rc = transmit(st, so, &tx, msg, (uint32_t)n);
    mem_free(st, msg, n);
    return rc < 0 ? rc : (ssize_t)n;
}

/* ---- in -------------------------------------------------------------- */

/* As a datagram without port: header and data, as they came. */
bool ping_input(struct stack *st, const struct rxpkt *rx, uint16_t id) {
    struct sock *so = find(st, id, &rx->dst);
    if (!so)
        return false;
    struct udp_sock *u = udp_of(so);
    uint32_t size = (uint32_t)sizeof(struct udp_dgram) + rx->l4_len;
    struct udp_dgram *d = NULL;
    if (u->queued < so->rcvbuf)
        d = mem_alloc_raw(st, size);
    if (!d) {
        COUNT(st, drop_ping_rcvbuf);
        return true;
    }
    *d = (struct udp_dgram){.size = size,
                            .len = rx->l4_len,
                            .from = {.ip = rx->src},
                            .to = rx->dst,
                            .ttl = rx->ttl,
                            .tos = rx->tos,
                            .arrived = st->now};
    memcpy(d->data, rx->l4, rx->l4_len);
    list_push_back(&u->queue, &d->link);
    u->queued += (uint32_t)mem_good_size(size);
    sock_event(st, so, STACK_IN);
    return true;
}

/* As Linux (ping_err): with IP_RECVERR everything is told, else final errors
 * to connected sockets. The quote is the request that was sent. */
void ping_icmp_error(struct stack *st, const struct ip_addr *src,
                     const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                     const struct icmp_error *e) {
    struct icmp_hdr h;
    struct sock *so = NULL;
    if (icmp_parse(l4, len, &h) && h.type == ICMP_ECHO)
        so = find(st, h.id, src);
    if (!so) {
        COUNT(st, icmp_error_no_socket);
        return;
    }
    if (e->type == ICMP_UNREACHABLE && e->code == ICMP_UNREACH_FRAG)
        ip_path_mtu_learn(st, dst, e->mtu);
    if (so->recverr) {
        struct stack_icmp_error info = {.err = e->err,
                                        .origin = STACK_ORIGIN_ICMP,
                                        .type = e->type,
                                        .code = e->code,
                                        .info = e->mtu,
                                        .offender = e->offender};
        struct endpoint to = {.ip = *dst};
        udp_error_push(st, udp_of(so), &info, &to, l4, len);
    } else if (!e->fatal || !so->connected) {
        return;
    }
    sock_set_error(st, so, e->err);
}

/* ---- what is UDP's ---------------------------------------------------- */

/* The rest is UDP's, called through its table. */
static int ping_init(struct stack *st, struct sock *so) {
    return udp_proto.init(st, so);
}

static ssize_t ping_recv(struct stack *st, struct sock *so,
                         const struct iovec *iov, int niov, uint32_t flags,
                         struct stack_msg *m) {
    return udp_proto.recv(st, so, iov, niov, flags, m);
}

static int ping_shutdown(struct stack *st, struct sock *so,
                         enum stack_how how) {
    return udp_proto.shutdown(st, so, how);
}

static uint32_t ping_ready(struct stack *st, struct sock *so) {
    return udp_proto.ready(st, so);
}

static int ping_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
                       int64_t *v) {
    return udp_proto.getopt(st, so, opt, v);
}

const struct sock_proto ping_proto = {
    .name = "ping",
    .size = sizeof(struct udp_sock),
    .init = ping_init,
    .bind = ping_bind,
    .connect = ping_connect,
    .send = ping_send,
    .recv = ping_recv,
    .shutdown = ping_shutdown,
    .close = ping_close,
    .ready = ping_ready,
    .getopt = ping_getopt,
};
