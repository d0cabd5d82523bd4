/* options.c: the socket options that do not depend on the transport.
 *
 * Values and errors follow Linux (socket(7), ip(7), ipv6(7) and what the
 * kernel does where these are silent): buffer sizes are clamped, doubled and
 * read back doubled, TTL -1 means the default, V6ONLY may only change before
 * bind. A transport that needs to act on one of these answers it itself and is
 * asked first.
 */
#include <errno.h>
#include <limits.h>

#include "stack/shared.h"
#include "stack/sock.h"

/* net.core.wmem_max and rmem_max of Linux 6.18; SOCK_MIN_SNDBUF and
 * SOCK_MIN_RCVBUF. All before, and after, doubling. */
#define BUF_MAX 4194304u
#define SNDBUF_MIN 4608u
#define RCVBUF_MIN 2304u
#define TTL_DEFAULT 64
#define PMTUDISC_MAX 5 /* IP_PMTUDISC_OMIT */
#define PRIORITY_MAX 6 /* more needs CAP_NET_ADMIN */
#define ECN_BITS 3     /* of the TOS byte; TCP's own (RFC 3168) */
enum { LOCK_SNDBUF = 1, LOCK_RCVBUF = 2 }; /* SO_BUF_LOCK */

/* Plain yes-or-no options and where they are kept. */
static const struct {
    uint8_t opt;
    uint16_t offset;
} bools[] = {
    {STACK_OPT_REUSEADDR, offsetof(struct sock, reuseaddr)},
    {STACK_OPT_REUSEPORT, offsetof(struct sock, reuseport)},
    {STACK_OPT_KEEPALIVE, offsetof(struct sock, keepalive)},
    {STACK_OPT_BROADCAST, offsetof(struct sock, broadcast)},
    {STACK_OPT_OOBINLINE, offsetof(struct sock, oobinline)},
    {STACK_OPT_RECVERR, offsetof(struct sock, recverr)},
    {STACK_OPT_PKTINFO, offsetof(struct sock, pktinfo)},
    {STACK_OPT_RECVTTL, offsetof(struct sock, recvttl)},
    {STACK_OPT_RECVTOS, offsetof(struct sock, recvtos)},
    {STACK_OPT_BIND_NO_PORT, offsetof(struct sock, bind_no_port)},
    {STACK_OPT_FREEBIND, offsetof(struct sock, freebind)},
    {STACK_OPT_NO_CHECK, offsetof(struct sock, no_check)},
};

/* The flag behind a yes-or-no option; NULL if it is none. */
static bool *bool_option(struct sock *so, enum stack_opt opt) {
    for (size_t i = 0; i < sizeof(bools) / sizeof(bools[0]); i++)
        if (bools[i].opt == opt)
            return (bool *)((char *)so + bools[i].offset);
    return NULL;
}

/* SO_SNDBUF, SO_RCVBUF: the program's value is taken as unsigned, clamped to
 * the maximum and doubled (socket(7)). */
static uint32_t buffer_size(int64_t v, uint32_t min) {
    uint32_t n = (uint32_t)v < BUF_MAX ? (uint32_t)v : BUF_MAX;
    return n * 2 > min ? n * 2 : min;
}

/* IP_TOS: the low byte counts. A stream keeps its ECN bits (RFC 3168, section
 * 5). */
static int set_tos(struct sock *so, int64_t v) {
    uint8_t tos = (uint8_t)v;
    if (so->kind == SOCK_TCP)
        tos = (uint8_t)((tos & ~ECN_BITS) | (so->tos & ECN_BITS));
    so->tos = tos;
    return 0;
}

/* IP_TTL: 1 to 255 (RFC 791, section 3.1: 0 would die at once). */
static int set_ttl(struct sock *so, int64_t v) {
    if (v != -1 && (v < 1 || v > 255))
        return -EINVAL;
    so->ttl = v == -1 ? TTL_DEFAULT : (uint8_t)v;
    return 0;
}

/* IP_MULTICAST_TTL: 0 is not to leave this host (RFC 1112, section 6.1). */
static int set_multicast_ttl(struct sock *so, int64_t v) {
    if (so->kind == SOCK_TCP || v < -1 || v > 255)
        return -EINVAL;
    so->multicast_ttl = v == -1 ? 1 : (uint8_t)v;
    return 0;
}

/* ipv6(7): an IPv6 option, fixed once the socket has an address. */
static int set_v6only(struct sock *so, int64_t v) {
    if (so->family != 6)
        return -ENOPROTOOPT;
    if (so->bound || so->local.port)
        return -EINVAL;
    so->v6only = v != 0;
    return 0;
}

/* SO_BUF_LOCK: which sizes autotuning must leave alone. */
static int set_buf_lock(struct sock *so, int64_t v) {
    if (v & ~(LOCK_SNDBUF | LOCK_RCVBUF))
        return -EINVAL;
    so->sndbuf_locked = v & LOCK_SNDBUF;
    so->rcvbuf_locked = v & LOCK_RCVBUF;
    return 0;
}

/* SO_ZEROCOPY: of TCP and UDP; a flag that is 0 or 1 and nothing else. */
static int set_zerocopy(struct sock *so, int64_t v) {
    if (so->kind != SOCK_TCP && so->kind != SOCK_UDP)
        return -EOPNOTSUPP;
    if (v < 0 || v > 1)
        return -EINVAL;
    so->zerocopy = v;
    return 0;
}

/* -1: off. */
static int set_linger(struct sock *so, int64_t v) {
    so->linger = v < 0 ? -1 : v > INT_MAX ? INT_MAX : (int32_t)v;
    return 0;
}

/* Values that Linux clamps are clamped, those it refuses refused. */
int sock_setopt(struct sock *so, enum stack_opt opt, int64_t v) {
    bool *flag = bool_option(so, opt);
    if (flag) {
        *flag = v != 0;
        return 0;
    }
    switch (opt) {
    case STACK_OPT_SNDBUF:
        so->sndbuf = buffer_size(v, SNDBUF_MIN);
        so->sndbuf_locked = true;
        return 0;
    case STACK_OPT_RCVBUF:
        so->rcvbuf = buffer_size(v, RCVBUF_MIN);
        so->rcvbuf_locked = true;
        return 0;
    case STACK_OPT_RCVLOWAT:
        so->rcvlowat = v < 0 ? INT_MAX : v == 0 ? 1 : (int32_t)v;
        return 0;
    case STACK_OPT_LINGER:
        return set_linger(so, v);
    case STACK_OPT_BUF_LOCK:
        return set_buf_lock(so, v);
    case STACK_OPT_ZEROCOPY:
        return set_zerocopy(so, v);
    case STACK_OPT_PRIORITY:
        if (v < 0 || v > PRIORITY_MAX)
            return -EPERM;
        so->priority = (uint8_t)v;
        return 0;
    case STACK_OPT_TTL:
        return set_ttl(so, v);
    case STACK_OPT_MULTICAST_TTL:
        return set_multicast_ttl(so, v);
    case STACK_OPT_TOS:
        return set_tos(so, v);
    case STACK_OPT_MTU_DISCOVER:
        if (v < 0 || v > PMTUDISC_MAX)
            return -EINVAL;
        so->mtu_discover = (uint8_t)v;
        return 0;
    case STACK_OPT_V6ONLY:
        return set_v6only(so, v);
    default:
        return -ENOPROTOOPT; /* read-only, or another level's */
    }
}

/* SO_ERROR is consumed by reading; IP_MTU needs a destination. */
int sock_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
                int64_t *v) {
    bool *flag = bool_option(so, opt);
    if (flag) {
        *v = *flag;
        return 0;
    }
    switch (opt) {
    case STACK_OPT_SNDBUF:
        *v = so->sndbuf;
        return 0;
    case STACK_OPT_RCVBUF:
        *v = so->rcvbuf;
        return 0;
    case STACK_OPT_RCVLOWAT:
        *v = so->rcvlowat;
        return 0;
    case STACK_OPT_LINGER:
        *v = so->linger;
        return 0;
    case STACK_OPT_BUF_LOCK:
        *v = (so->sndbuf_locked ? LOCK_SNDBUF : 0) |
             (so->rcvbuf_locked ? LOCK_RCVBUF : 0);
        return 0;
    case STACK_OPT_ZEROCOPY:
        *v = so->zerocopy;
        return 0;
    case STACK_OPT_ERROR:
        *v = sock_take_error(so);
        return 0;
    case STACK_OPT_ACCEPTCONN:
        *v = so->listening;
        return 0;
    case STACK_OPT_PRIORITY:
        *v = so->priority;
        return 0;
    case STACK_OPT_TTL:
        *v = so->ttl;
        return 0;
    case STACK_OPT_MULTICAST_TTL:
        *v = so->multicast_ttl;
        return 0;
    case STACK_OPT_TOS:
        *v = so->tos;
        return 0;
    case STACK_OPT_MTU_DISCOVER:
        *v = so->mtu_discover;
        return 0;
    case STACK_OPT_MTU:
        if (!so->connected)
            return -ENOTCONN;
        *v = ip_path_mtu(st, &so->remote.ip);
        return 0;
    case STACK_OPT_HDRINCL: /* of others than raw sockets */
        *v = 0;
        return 0;
    case STACK_OPT_V6ONLY:
        if (so->family != 6)
            return -ENOPROTOOPT;
        *v = so->v6only;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}
