/* udp_send.c: datagrams on their way out; see udp.c.
 *
 * Each send is one datagram. Small ones are copied into the
 * batch; larger ones are sent from where they lie, and the batch leaves before
 * the call returns. MSG_MORE collects several calls into one datagram.
 *
 * IP_MTU_DISCOVER decides what happens to a datagram longer than the path MTU:
 *
 *               limit         longer than that   DF
 *   0 DONT      path MTU      fragmented         never
 *   1 WANT      path MTU      fragmented         when it fits
 *   2 DO        path MTU      -EMSGSIZE          always
 *   3 PROBE     link MTU      -EMSGSIZE          always
 *   4 INTERFACE link MTU      -EMSGSIZE          never
 *   5 OMIT      link MTU      fragmented         never
 */
#include "stack/udp.h"

#include <errno.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/shared.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/udp.h"

enum { PMTU_DONT, PMTU_WANT, PMTU_DO, PMTU_PROBE, PMTU_INTERFACE, PMTU_OMIT };

/* Up to here a copy is cheaper than a flush; fits pkt_copy_payload. */
#define COPY_MAX 1500
_Static_assert(sizeof(((struct stack *)0)->scratch[0]) >= COPY_MAX,
               "pkt_copy_payload cannot refuse so little");

/* One datagram, addressed. */
struct out {
    struct endpoint to;
    struct ip_tx tx;
    uint16_t sport;
    bool no_check;
};

/* Bytes of a gather list, SIZE_MAX when they do not fit a size_t. */
static size_t iov_bytes(const struct iovec *iov, int niov) {
    size_t n = 0;
    for (int i = 0; i < niov; i++)
        if (__builtin_add_overflow(n, iov[i].iov_len, &n))
            return SIZE_MAX;
    return n;
}

/* Copy a gather list; `to` has room for all of it. */
static void gather(uint8_t *to, const struct iovec *iov, int niov) {
    for (int i = 0; i < niov; i++) {
        if (iov[i].iov_len)
            memcpy(to, iov[i].iov_base, iov[i].iov_len);
        to += iov[i].iov_len;
    }
}

/* Where to? -EDESTADDRREQ without any. What the program named has been looked
 * at by sock.c. */
static int resolve_peer(const struct sock *so, const struct stack_msg *m,
                        struct endpoint *to) {
    if (m && m->has_peer)
        *to = m->peer;
    else if (so->connected)
        *to = so->remote;
    else
        return -EDESTADDRREQ;
    return 0;
}

/* The source address: IP_PKTINFO, what the socket is bound to, or what the
 * route says. A group or broadcast address only receives (RFC 1122, 3.2.1.3).
 */
static int resolve_source(struct stack *st, struct sock *so,
                          const struct stack_msg *m, const struct ip_addr *to,
                          struct ip_addr *src) {
    int rc = stack_route_source(st, to, src);
    if (rc < 0)
        return rc;
    if (m && m->has_local && !ip_is_any(&m->local)) {
        if (!stack_is_local(st, &m->local))
            return -ENETUNREACH; /* as Linux's route look-up says it */
        *src = m->local;
    } else if (!ip_is_any(&so->local.ip) && !ip_is_multicast(&so->local.ip) &&
               !route_is_broadcast(st, &so->local.ip)) {
        *src = so->local.ip;
    }
    return 0;
}

/* Fill in everything but the MTU question. */
static int address(struct stack *st, struct sock *so, const struct stack_msg *m,
                   struct out *o) {
    static const struct endpoint any;
    memset(o, 0, sizeof(*o));
    int rc = resolve_peer(so, m, &o->to);
    if (rc == 0)
        rc = resolve_source(st, so, m, &o->to.ip, &o->tx.src);
    if (rc == 0 && so->local.port == 0)
        rc = demux_bind(st, &st->sh->udp, so, &any);
    if (rc < 0)
        return rc;
    o->sport = so->local.port;
    o->tx.dst = o->to.ip;
    o->tx.proto = IP_PROTO_UDP;
    o->tx.ttl = ip_is_multicast(&o->to.ip) ? so->multicast_ttl : so->ttl;
    o->no_check = so->no_check;
    o->tx.tos = so->tos;
    o->tx.opts = so->ipopts;
    if (m && m->ttl > 0)
        o->tx.ttl = (uint8_t)m->ttl;
    if (m && m->tos >= 0)
        o->tx.tos = (uint8_t)m->tos;
    return 0;
}

/* Tell the error queue, if there is one, that a datagram was too long
 * (ip(7): a local error carries the MTU). */
static void local_too_long(struct stack *st, struct sock *so,
                           const struct out *o, uint32_t mtu) {
    struct stack_icmp_error e = {.err = EMSGSIZE,
                                 .origin = STACK_ORIGIN_LOCAL,
                                 .info = mtu};
    if (!so->recverr)
        return;
    udp_error_push(st, udp_of(so), &e, &o->to, NULL, 0);
    sock_set_error(st, so, EMSGSIZE);
}

/* The table at the top. -EMSGSIZE or 0. */
static int choose_df(struct stack *st, struct sock *so, struct out *o,
                     uint32_t payload) {
    unsigned mode = so->mtu_discover;
    bool link = mode >= PMTU_PROBE && !stack_is_local(st, &o->to.ip);
    uint32_t mtu = link ? st->sh->mtu : ip_path_mtu(st, &o->to.ip);
    bool fits = payload + UDP_HDR_LEN + IPV4_HDR_MIN <= mtu;
    bool may_split = mode <= PMTU_WANT || mode == PMTU_OMIT;
    if (payload > UDP_PAYLOAD_MAX || (!fits && !may_split)) {
        local_too_long(st, so, o, mtu);
        return -EMSGSIZE;
    }
    bool df =
        mode == PMTU_DO || mode == PMTU_PROBE || (mode == PMTU_WANT && fits);
    o->tx.df = df ? IP_DF_SET : IP_DF_CLEAR;
    o->tx.link_mtu = link;
    return 0;
}

/* The header, with the pseudo header's sum: whoever needs the checksum
 * completes it (the device, or ip.c for fragments). */
static void push_header(struct pkt *p, const struct out *o, uint32_t payload) {
    uint32_t len = payload + UDP_HDR_LEN;
    uint64_t sum = csum_pseudo(&o->tx.src, &o->tx.dst, IP_PROTO_UDP, len);
    struct udp_hdr h = {.sport = o->sport,
                        .dport = o->to.port,
                        .len = len,
                        .csum = o->no_check ? 0 : csum_fold(sum)};
    if (!o->no_check) { /* SO_NO_CHECK; RFC 768 allows it over IPv4 */
        p->meta.flags |= NETIO_CSUM_PARTIAL;
        p->meta.csum_offset = UDP_CSUM_OFFSET;
    }
    udp_emit(pkt_push(p, UDP_HDR_LEN), &h);
}

/* Describe the payload in p: copied when it is small (the caller's memory need
 * not last), else where it lies. Returns whether it was copied. */
static bool add_payload(struct stack *st, struct pkt *p,
                        const struct iovec *iov, int niov, uint32_t n) {
    bool copy = n <= COPY_MAX;
    for (int i = 0; i < niov; i++) {
        uint32_t len = (uint32_t)iov[i].iov_len;
        if (len == 0)
            continue;
        if (!copy)
            pkt_add_payload(p, iov[i].iov_base, len);
        else
            pkt_copy_payload(st, p, iov[i].iov_base, len);
    }
    return copy;
}

/* Send n bytes that lie in one piece or few, or may be copied. */
static int transmit(struct stack *st, const struct out *o,
                    const struct iovec *iov, int niov, uint32_t n) {
    if (o->tx.ttl == 0) { /* IP_MULTICAST_TTL 0: not beyond this host */
        COUNT(st, drop_ip_ttl_zero);
        return 0;
    }
    struct pkt *p = pkt_new(st);
    bool copied = add_payload(st, p, iov, niov, n);
    push_header(p, o, n);
    int rc = ip_output(st, p, &o->tx);
    if (!copied)
        tx_flush(st);
    if (rc == 0)
        COUNT(st, udp_out);
    return rc;
}

/* The same with any number of pieces: too many are joined first. */
static int transmit_any(struct stack *st, const struct out *o,
                        const struct iovec *iov, int niov, uint32_t n) {
    if (n <= COPY_MAX || niov < PKT_MAX_IOV)
        return transmit(st, o, iov, niov, n);
    uint8_t *joined = mem_alloc_raw(st, n);
    if (!joined)
        return -ENOBUFS;
    gather(joined, iov, niov);
    struct iovec one = {.iov_base = joined, .iov_len = n};
    int rc = transmit(st, o, &one, 1, n);
    mem_free(st, joined, n);
    return rc;
}

/* ---- MSG_MORE ------------------------------------------------------- */

/* Forget the datagram in the making. */
static void uncork(struct stack *st, struct udp_sock *u) {
    bufq_clear(st, &u->cork);
    u->corked = false;
    udp_zerocopy_tell(st, u);
}

/* Send what was collected. */
static int cork_push(struct stack *st, struct udp_sock *u,
                     const struct out *o) {
    struct iovec iov[PKT_MAX_IOV - 1];
    uint32_t n = u->cork.len, got = 0;
    int niov = bufq_peek(&u->cork, 0, n, iov, PKT_MAX_IOV - 1, &got);
    if (got == n)
        return transmit(st, o, iov, niov, n);
    uint8_t *joined = mem_alloc_raw(st, n);
    if (!joined)
        return -ENOBUFS;
    bufq_copy(&u->cork, 0, joined, n);
    iov[0] = (struct iovec){.iov_base = joined, .iov_len = n};
    int rc = transmit(st, o, iov, 1, n);
    mem_free(st, joined, n);
    return rc;
}

/* Add n bytes to the datagram in the making; any error gives it up, as Linux
 * does (udp_flush_pending_frames). */
static int cork_add(struct stack *st, struct udp_sock *u,
                    const struct iovec *iov, int niov, uint32_t n, bool more,
                    const struct stack_msg *m) {
    struct out o;
    if (!u->corked) {
        u->cork_msg = m ? *m : (struct stack_msg){.ttl = -1, .tos = -1};
        u->corked = true;
    }
    int rc = address(st, &u->so, &u->cork_msg, &o);
    if (rc == 0)
        rc = choose_df(st, &u->so, &o, u->cork.len + n);
    if (rc == 0 && bufq_append_iov(st, &u->cork, iov, niov, 0, n) < n)
        rc = -ENOBUFS;
    if (rc == 0 && !more)
        rc = cork_push(st, u, &o);
    if (rc < 0 || !more)
        uncork(st, u);
    return rc;
}

/* UDP_CORK switched off: what was collected leaves (udp(7)). */
int udp_set_cork(struct stack *st, struct udp_sock *u, bool on) {
    struct out o;
    int rc = 0;
    u->cork_option = on;
    if (on || !u->corked)
        return 0;
    rc = address(st, &u->so, &u->cork_msg, &o);
    if (rc == 0)
        rc = choose_df(st, &u->so, &o, u->cork.len);
    if (rc == 0)
        rc = cork_push(st, u, &o);
    uncork(st, u);
    return rc;
}

/* Returns the payload's length or a negative errno; never a part, since a
 * datagram goes whole or not at all. sock.c has answered for pending errors and
 * shutdown. */
ssize_t udp_send(struct stack *st, struct sock *so, const struct iovec *iov,
                 int niov, uint32_t flags, const struct stack_msg *m) {
    struct udp_sock *u = udp_of(so);
    bool more = flags & STACK_MSG_MORE || u->cork_option;
    size_t n = iov_bytes(iov, niov);
    struct out o;
    if (n > IPV4_MAX)
        return -EMSGSIZE;
    if (flags & STACK_MSG_OOB)
        return -EOPNOTSUPP;
    int rc;
    if (u->corked || more) {
        rc = cork_add(st, u, iov, niov, (uint32_t)n, more, m);
        return rc < 0 ? rc : (ssize_t)n;
    }
    rc = address(st, so, m, &o);
    if (rc == 0)
        rc = choose_df(st, so, &o, (uint32_t)n);
    if (rc == 0 && so->error) /* of an earlier datagram; it is told once */
        rc = -sock_take_error(so);
    if (rc == 0)
        rc = transmit_any(st, &o, iov, niov, (uint32_t)n);
    return rc < 0 ? rc : (ssize_t)n;
}
