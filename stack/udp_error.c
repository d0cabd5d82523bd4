/* udp_error.c: ICMP errors about our datagrams (RFC 1122 section 4.1.3.3).
 *
 * Who is told follows Linux (__udp4_lib_err): a socket with IP_RECVERR learns
 * of everything, through its error queue and its pending error; another one
 * only if it is connected and the error is final. "Fragmentation needed" first
 * teaches the path MTU cache, since a socket of ours really sent that
 * datagram, and is final unless the socket does not discover path MTUs.
 */
#include "stack/udp.h"

#include <errno.h>
#include <string.h>

#include "stack/ip.h"
#include "stack/shared.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/udp.h"

/* data, len: payload of the datagram as far as it is known, may be NULL, 0.
 * The queue shares its limit with the receive buffer (rcvbuf bytes). */
bool udp_error_push(struct stack *st, struct udp_sock *u,
                    const struct stack_icmp_error *info,
                    const struct endpoint *to, const uint8_t *data,
                    uint32_t len) {
    uint32_t size = (uint32_t)sizeof(struct udp_error) + len;
    struct udp_error *e = NULL;
    if (u->error_bytes + size <= u->so.rcvbuf)
        e = mem_alloc_raw(st, size);
    if (!e) {
        COUNT(st, drop_udp_errqueue);
        return false;
    }
    *e = (struct udp_error){
        .size = size, .len = len, .arrived = st->now, .info = *info, .to = *to};
    if (len)
        memcpy(e->data, data, len);
    u->error_bytes += size;
    list_push_back(&u->errors, &e->link);
    return true;
}

/* Out of the queue, memory given back. */
static void error_free(struct stack *st, struct udp_sock *u,
                       struct udp_error *e) {
    list_remove(&e->link);
    u->error_bytes -= e->size;
    mem_free(st, e, e->size);
}

/* The oldest entry; NULL when there is none. */
static struct udp_error *first_error(struct udp_sock *u) {
    struct list_node *n = list_first(&u->errors);
    return n ? container_of(n, struct udp_error, link) : NULL;
}

/* The newest one, likewise. */
static struct udp_error *last_error(struct udp_sock *u) {
    struct list_node *n = list_last(&u->errors);
    return n ? container_of(n, struct udp_error, link) : NULL;
}

/* Forget all entries (close). */
void udp_error_clear(struct stack *st, struct udp_sock *u) {
    struct udp_error *e;
    while ((e = first_error(u)))
        error_free(st, u, e);
}

/* The payload of the datagram comes with it, as much as was quoted. Afterwards
 * the pending error is that of the next entry, or none, unless both are mere
 * notifications (Linux: sock_dequeue_err_skb). */
ssize_t udp_error_recv(struct stack *st, struct udp_sock *u,
                       const struct iovec *iov, int niov, struct stack_msg *m) {
    struct udp_error *e = first_error(u);
    if (!e)
        return -EAGAIN;
    uint32_t done = 0;
    for (int i = 0; i < niov && done < e->len; i++) {
        uint32_t n = e->len - done;
        if (n > iov[i].iov_len)
            n = (uint32_t)iov[i].iov_len;
        if (n)
            memcpy(iov[i].iov_base, e->data + done, n);
        done += n;
    }
    if (m) {
        m->peer = e->to;
        m->has_peer = e->info.origin != STACK_ORIGIN_ZEROCOPY;
        m->has_local = false;
        m->error = e->info;
        m->arrived = e->arrived;
        m->out_flags = STACK_MSG_ERRQUEUE;
        if (done < e->len)
            m->out_flags |= STACK_MSG_TRUNC;
    }
    bool icmp = e->info.err;
    error_free(st, u, e);
    e = first_error(u);
    if (icmp || (e && e->info.err))
        u->so.error = e ? e->info.err : 0;
    if (e)
        sock_event(st, &u->so, STACK_ERR);
    return done;
}

/* ---- MSG_ZEROCOPY ---------------------------------------------------- */

/* A notification needs room in the queue. */
int udp_zerocopy(struct stack *st, struct sock *so) {
    struct udp_sock *u = udp_of(so);
    if (u->error_bytes + sizeof(struct udp_error) <= so->rcvbuf)
        return 1;
    COUNT(st, drop_udp_errqueue);
    return -ENOBUFS;
}

/* A datagram has left when its send returns, and is copied when it arrives,
 * on this host or by the device: its buffer is free. What MSG_MORE has begun
 * is told when it is complete. */
void udp_zerocopy_sent(struct stack *st, struct sock *so, size_t n) {
    struct udp_sock *u = udp_of(so);
    u->zc_next++;
    if (!u->corked)
        udp_zerocopy_tell(st, u);
}

/* Sends in a row are one entry, as in Linux (skb_zerocopy_notify_extend). If
 * there is no memory for it, the next one tells of them as well. */
void udp_zerocopy_tell(struct stack *st, struct udp_sock *u) {
    static const struct endpoint nobody;
    struct stack_icmp_error e = {.origin = STACK_ORIGIN_ZEROCOPY,
                                 .code = STACK_ZEROCOPY_COPIED,
                                 .info = u->zc_untold,
                                 .data = u->zc_next - 1};
    struct udp_error *last = last_error(u);
    if (u->zc_untold == u->zc_next)
        return;
    if (last && last->info.origin == STACK_ORIGIN_ZEROCOPY &&
        last->info.data + 1 == u->zc_untold)
        last->info.data = e.data;
    else if (!udp_error_push(st, u, &e, &nobody, NULL, 0))
        return;
    u->zc_untold = u->zc_next;
    sock_event(st, &u->so, STACK_ERR);
}

/* The socket that sent src:sport -> dst:dport; NULL if none is left. */
static struct sock *sender_of(struct stack *st, const struct endpoint *local,
                              const struct endpoint *remote) {
    struct sock *so = demux_tuple(st, &st->sh->udp, local, remote);
    return so ? so : demux_bound(st, &st->sh->udp, local, remote);
}

/* Called by ip.c for errors received and by arp.c for those of our own making.
 * src is ours, dst the destination of the datagram; l4 its UDP header. */
void udp_icmp_error(struct stack *st, const struct ip_addr *src,
                    const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                    const struct icmp_error *e) {
    struct udp_hdr h;
    udp_parse_quote(l4, len, &h);
    struct endpoint local = {.ip = *src, .port = h.sport};
    struct endpoint remote = {.ip = *dst, .port = h.dport};
    struct sock *so = sender_of(st, &local, &remote);
    if (!so) {
        COUNT(st, icmp_error_no_socket);
        return;
    }
    bool fatal = e->fatal;
    if (e->type == ICMP_UNREACHABLE && e->code == ICMP_UNREACH_FRAG) {
        ip_path_mtu_learn(st, dst, e->mtu);
        if (so->mtu_discover == 0)
            return;
        fatal = true;
    }
    if (!so->recverr && (!fatal || !so->connected))
        return;
    if (so->recverr) {
        struct stack_icmp_error info = {.err = e->err,
                                        .origin = STACK_ORIGIN_ICMP,
                                        .type = e->type,
                                        .code = e->code,
                                        .info = e->mtu,
                                        .offender = e->offender};
        udp_error_push(st, udp_of(so), &info, &remote, h.data, h.data_len);
    }
    sock_set_error(st, so, e->err);
}
