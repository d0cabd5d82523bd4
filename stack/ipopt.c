/* ipopt.c: IP options of a socket (ip(7), IP_OPTIONS; RFC 1122 sections 3.2.1.8
 * and 4.2.3.8).
 *
 * They lie in a block of their own, since hardly any socket has some. What the
 * program sets wins over the source route that the peer's packets came along
 * (RFC 9293 MUST-52), and a later one of those replaces an earlier (SHLD-24).
 * Packets with a source route get here only if accept_source_route says so. */
#include <errno.h>

#include "stack/shared.h"
#include "stack/sock.h"
#include "stack/tcp/tcp.h"
#include "stack/wire/ipv4_opts.h"

/* Segments have less room now, or more. */
static void resize(struct stack *st, struct sock *so) {
    if (so->kind == SOCK_TCP && so->connected)
        tcp_sync_mss(st, tcp_of(so));
}

void sock_ipopts_free(struct stack *st, struct sock *so) {
    if (so->ipopts)
        mem_free(st, so->ipopts, sizeof(*so->ipopts));
    so->ipopts = NULL;
    so->ipopts_given = false;
}

/* A block with these, in place of what was there. */
static int keep(struct stack *st, struct sock *so, const struct ipv4_opts *o) {
    if (!so->ipopts)
        so->ipopts = mem_alloc(st, sizeof(*so->ipopts));
    if (!so->ipopts)
        return -ENOBUFS;
    *so->ipopts = *o;
    resize(st, so);
    return 0;
}

int stack_set_ip_options(struct stack *st, struct sock *so, const void *p,
                         size_t len) {
    struct ipv4_opts o;
    if (len > sizeof(o.data) || !ipv4_opts_take(&o, p, (unsigned)len))
        return -EINVAL;
    if (!len) {
        sock_ipopts_free(st, so);
        resize(st, so);
        return 0;
    }
    so->ipopts_given = true;
    return keep(st, so, &o);
}

size_t stack_get_ip_options(struct sock *so, uint8_t buf[40]) {
    return so->ipopts ? ipv4_opts_show(so->ipopts, buf) : 0;
}

void sock_ipopts_inherit(struct stack *st, struct sock *child,
                         const struct sock *parent) {
    if (!parent->ipopts || !parent->ipopts_given)
        return;
    if (keep(st, child, parent->ipopts) == 0)
        child->ipopts_given = true;
    else
        COUNT(st, ip_options_lost);
}

void sock_ipopts_return(struct stack *st, struct sock *so,
                        const struct rxpkt *rx) {
    struct ipv4_hdr h;
    struct ipv4_opts o;
    if (so->ipopts_given || !ipv4_parse_quote(rx->l3, rx->l3_len, &h) ||
        !ipv4_opts_return(&o, rx->l3, &h))
        return;
    if (keep(st, so, &o) < 0)
        COUNT(st, ip_options_lost);
}
