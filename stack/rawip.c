/* rawip.c: raw sockets (raw(7)).
 *
 * Theory of operation
 *
 * A raw socket gets a copy of every packet of its protocol that ip.c accepted,
 * IP header included, before and besides the transport; bind and connect
 * narrow that to one local and one remote address. It sends payloads under
 * its protocol, or whole packets (IP_HDRINCL; always with protocol 255), of
 * which addresses, TOS, TTL, protocol, ID and DF are kept, and length and
 * checksum are made anew. Options and fragments of the program's own making
 * are refused (-EINVAL).
 *
 * As with ping sockets, what waits is kept as UDP does, so this is a struct
 * udp_sock. All hang in shared.raw by port_link from the start, searched one
 * by one: there are few. Who may have one is for preload/ to say.
 */
#include <errno.h>
#include <string.h>

#include "stack/ip.h"
#include "stack/shared.h"
#include "stack/udp.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/ipv4.h"

#define PAYLOAD_MAX (IPV4_MAX - IPV4_HDR_MIN)
/* IP_MTU_DISCOVER of ip(7) */
enum { PMTU_WANT = 1, PMTU_DO, PMTU_PROBE };

/* ---- in ------------------------------------------------------------------- */

/* Do protocol and addresses fit? remote may be of the other side of an error. */
static bool wants(const struct sock *so, uint8_t proto,
                  const struct ip_addr *local, const struct ip_addr *remote) {
    if (so->kind != SOCK_RAWIP || so->proto != proto)
        return false;
    if (!ip_is_any(&so->local.ip) && !ip_equal(&so->local.ip, local))
        return false;
    return !so->connected || ip_equal(&so->remote.ip, remote);
}

/* ICMP_FILTER of raw(7): a bit for each type that is not wanted. */
static bool filtered(const struct sock *so, const struct rxpkt *rx) {
    return so->proto == IP_PROTO_ICMP && rx->l4[0] < 32 &&
           so->icmp_filter >> rx->l4[0] & 1;
}

/* A copy of the packet, as a datagram without port. */
static void enqueue(struct stack *st, struct sock *so, const struct rxpkt *rx) {
    struct udp_sock *u = udp_of(so);
    uint32_t len = (uint32_t)(rx->l4 - rx->l3) + rx->l4_len;
    uint32_t size = (uint32_t)sizeof(struct udp_dgram) + len;
    struct udp_dgram *d = NULL;
    if (u->queued < so->rcvbuf)
        d = mem_alloc_raw(st, size);
    if (!d) {
        COUNT(st, drop_raw_rcvbuf);
        return;
    }
    *d = (struct udp_dgram){.size = size,
                            .len = len,
                            .from = {.ip = rx->src},
                            .to = rx->dst,
                            .ttl = rx->ttl,
                            .tos = rx->tos,
                            .arrived = st->now};
    memcpy(d->data, rx->l3, len);
    list_push_back(&u->queue, &d->link);
    u->queued += (uint32_t)mem_good_size(size);
    COUNT(st, raw_in);
    sock_event(st, so, STACK_IN);
}

bool raw_input(struct stack *st, const struct rxpkt *rx) {
    bool any = false;
    list_for_each(n, &st->sh->raw) {
        struct sock *so = container_of(n, struct sock, port_link);
        if (!wants(so, rx->proto, &rx->dst, &rx->src))
            continue;
        any = true;
        if (!(so->shut & 1) && !filtered(so, rx))
            enqueue(st, so, rx);
    }
    return any;
}

/* As Linux (raw_err): with IP_RECVERR everything is told, else what is final
 * to connected sockets. The quote is what followed our IP header. */
void raw_icmp_error(struct stack *st, uint8_t proto, const struct ip_addr *src,
                    const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                    const struct icmp_error *e) {
    list_for_each(n, &st->sh->raw) {
        struct sock *so = container_of(n, struct sock, port_link);
        if (!wants(so, proto, src, dst))
            continue;
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
            continue;
        }
        sock_set_error(st, so, e->err);
    }
}

/* ---- names ------------------------------------------------------------------ */

static int raw_init(struct stack *st, struct sock *so) {
    int rc = udp_proto.init(st, so);
    if (rc == 0)
        list_push_back(&st->sh->raw, &so->port_link);
    return rc;
}

/* Ports mean nothing here. */
static int raw_bind(struct stack *st, struct sock *so,
                    const struct endpoint *at) {
    if (!ip_is_any(&at->ip) && !so->freebind && !stack_is_local(st, &at->ip))
        return -EADDRNOTAVAIL;
    so->local.ip = at->ip;
    so->addr_chosen = false;
    return 0;
}

/* `to` NULL dissolves the association. */
static int raw_connect(struct stack *st, struct sock *so,
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

static void raw_close(struct stack *st, struct sock *so) {
    list_remove(&so->port_link);
    so->bound = so->connected = false;
    udp_proto.close(st, so);
}

/* ---- out --------------------------------------------------------------------- */

/* Where to, from where, under which header. */
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
    tx->proto = so->proto;
    tx->ttl = ip_is_multicast(&tx->dst) ? so->multicast_ttl : so->ttl;
    if (m && m->ttl > 0)
        tx->ttl = (uint8_t)m->ttl;
    tx->tos = m && m->tos >= 0 ? (uint8_t)m->tos : so->tos;
    bool insist = so->mtu_discover == PMTU_DO || so->mtu_discover == PMTU_PROBE;
    bool fits = n + IPV4_HDR_MIN <= ip_path_mtu(st, &tx->dst);
    if (insist && !fits)
        return -EMSGSIZE;
    bool df = insist || (so->mtu_discover == PMTU_WANT && fits);
    tx->df = df ? IP_DF_SET : IP_DF_CLEAR;
    return 0;
}

/* The program's own header (raw(7), IP_HDRINCL): a source of 0 is filled in.
 * Returns the header's length. */
static int own_header(const uint8_t *msg, uint32_t n, struct ip_tx *tx) {
    struct ipv4_hdr h;
    if (n < IPV4_HDR_MIN || !ipv4_parse_quote(msg, n, &h) ||
        h.hdr_len != IPV4_HDR_MIN || h.mf || h.frag_off)
        return -EINVAL;
    if (h.src)
        tx->src = ip_from_v4(h.src);
    tx->dst = ip_from_v4(h.dst);
    tx->proto = h.proto;
    tx->tos = h.tos;
    tx->ttl = h.ttl;
    tx->id = h.id;
    tx->df = h.df ? IP_DF_SET : IP_DF_CLEAR;
    return IPV4_HDR_MIN;
}

/* Join the pieces of a message of n bytes. */
static void gather(uint8_t *to, const struct iovec *iov, int niov) {
    for (int i = 0; i < niov; i++) {
        if (iov[i].iov_len)
            memcpy(to, iov[i].iov_base, iov[i].iov_len);
        to += iov[i].iov_len;
    }
}

/* One packet from the n bytes at msg, which need not last. */
static int transmit(struct stack *st, struct sock *so,
                    const struct stack_msg *m, const uint8_t *msg, uint32_t n) {
    struct ip_tx tx;
    int skip = 0, rc = address(st, so, m, so->hdrincl ? 0 : n, &tx);
    if (rc == 0 && so->hdrincl)
        rc = skip = own_header(msg, n, &tx);
    if (rc < 0)
        return rc;
    struct pkt *p = pkt_new(st);
    msg += skip;
    n -= (uint32_t)skip;
    bool copied = pkt_copy_payload(st, p, msg, n);
    if (!copied)
        pkt_add_payload(p, msg, n);
    rc = ip_output(st, p, &tx);
    if (!copied)
        tx_flush(st);
    if (rc == 0)
        COUNT(st, raw_out);
    return rc;
}

/* The whole message or an error. */
static ssize_t raw_send(struct stack *st, struct sock *so,
                        const struct iovec *iov, int niov, uint32_t flags,
                        const struct stack_msg *m) {
    size_t n = 0;
    for (int i = 0; i < niov; i++)
        if (__builtin_add_overflow(n, iov[i].iov_len, &n))
            return -EMSGSIZE;
    if (n > (so->hdrincl ? IPV4_MAX : PAYLOAD_MAX))
        return -EMSGSIZE;
    if (flags & STACK_MSG_OOB)
        return -EOPNOTSUPP;
    uint8_t *msg = mem_alloc_raw(st, n ? n : 1);
    if (!msg)
        return -ENOBUFS;
    gather(msg, iov, niov);
    int rc = transmit(st, so, m, msg, (uint32_t)n);
    mem_free(st, msg, n ? n : 1);
    return rc < 0 ? rc : (ssize_t)n;
}

/* ---- options ------------------------------------------------------------------ */

static int raw_setopt(struct stack *st, struct sock *so, enum stack_opt opt,
                      int64_t v) {
    switch (opt) {
    case STACK_OPT_HDRINCL:
        so->hdrincl = v != 0;
        return 0;
    case STACK_OPT_ICMP_FILTER:
        if (so->proto != IP_PROTO_ICMP)
            return -EOPNOTSUPP;
        so->icmp_filter = (uint32_t)v;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int raw_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
                      int64_t *v) {
    switch (opt) {
    case STACK_OPT_HDRINCL:
        *v = so->hdrincl;
        return 0;
    case STACK_OPT_ICMP_FILTER:
        if (so->proto != IP_PROTO_ICMP)
            return -EOPNOTSUPP;
        *v = so->icmp_filter;
        return 0;
    default:
        return udp_proto.getopt(st, so, opt, v);
    }
}

/* ---- what is UDP's ---------------------------------------------------------------- */

static ssize_t raw_recv(struct stack *st, struct sock *so,
                        const struct iovec *iov, int niov, uint32_t flags,
                        struct stack_msg *m) {
    return udp_proto.recv(st, so, iov, niov, flags, m);
}

static int raw_shutdown(struct stack *st, struct sock *so, enum stack_how how) {
    return udp_proto.shutdown(st, so, how);
}

static uint32_t raw_ready(struct stack *st, struct sock *so) {
    return udp_proto.ready(st, so);
}

const struct sock_proto rawip_proto = {
    .name = "raw",
    .size = sizeof(struct udp_sock),
    .init = raw_init,
    .bind = raw_bind,
    .connect = raw_connect,
    .send = raw_send,
    .recv = raw_recv,
    .shutdown = raw_shutdown,
    .close = raw_close,
    .ready = raw_ready,
    .setopt = raw_setopt,
    .getopt = raw_getopt,
};
