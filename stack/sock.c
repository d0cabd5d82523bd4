/* sock.c: the socket calls of stack.h, and what all sockets share.
 *
 * Theory of operation
 *
 * Each call checks here what does not depend on the transport, in the order
 * and with the errors of Linux's inet layer, and then goes to the transport
 * through sock_protos[kind]. Addresses are made plain on the way: "any" as a
 * destination means ourselves, a native IPv6 destination has no route.
 *
 * Life: sock_new makes a socket, for stack_socket or for a transport that
 * accepts a connection. stack_close takes it from the program: poll sets
 * forget it at once, the transport finishes what the protocol still has to do
 * and ends with sock_free. Closed sockets come first in shared.socks, so that
 * orphans are counted without a walk over all.
 *
 * Who sets what: `bound`, `connected`, `local`, `remote` are kept by demux.c;
 * `listening`, `shut` by the transport; `error` by sock_set_error.
 */
#include "stack/sock.h"

#include <errno.h>

#include "stack/shared.h"
#include "stack/source.h"
#include "stack/tcp/tcp.h"

/* Buffer sizes as Linux starts with: tcp_wmem[1], tcp_rmem[1], wmem_default
 * and rmem_default. */
#define TCP_SNDBUF 16384u
#define TCP_RCVBUF 131072u
#define DEFAULT_BUF 212992u

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_RAW 255

static const struct sock_proto *const sock_protos[SOCK_KINDS] = {
    [SOCK_TCP] = &tcp_proto,       [SOCK_UDP] = &udp_proto,
    [SOCK_PING] = &ping_proto,     [SOCK_RAWIP] = &rawip_proto,
    [SOCK_TCP_TW] = &tcp_tw_proto,
};

/* The transport's table of calls. */
static const struct sock_proto *proto_of(const struct sock *so) {
    return sock_protos[so->kind];
}

/* ---- life ------------------------------------------------------------ */

/* Everything that is not zero in a new socket. */
static void sock_defaults(struct stack *st, struct sock *so) {
    bool tcp = so->kind == SOCK_TCP;
    so->ttl = 64;
    so->hdrincl = so->kind == SOCK_RAWIP && so->proto == PROTO_RAW;
    so->multicast_ttl = 1; /* RFC 1112, section 6.1 */
    so->linger = -1;
    so->mtu_discover = 1; /* IP_PMTUDISC_WANT */
    so->rcvlowat = 1;
    so->sndbuf = tcp ? TCP_SNDBUF : DEFAULT_BUF;
    so->rcvbuf = tcp ? TCP_RCVBUF : DEFAULT_BUF;
    so->created = st->now;
}

/* The struct is zeroed by the allocator; init may refuse. */
struct sock *sock_new(struct stack *st, enum sock_kind kind, int family,
                      uint8_t proto) {
    const struct sock_proto *p = sock_protos[kind];
    struct sock *so = p ? mem_alloc(st, p->size) : NULL;
    if (!so)
        return NULL;
    source_init(&so->src);
    so->kind = (uint8_t)kind;
    so->family = (uint8_t)family;
    so->proto = proto;
    sock_defaults(st, so);
    list_push_back(&st->sh->socks, &so->all_link);
    COUNT(st, sock_created);
    if (p->init && p->init(st, so) < 0) {
        sock_free(st, so);
        return NULL;
    }
    return so;
}

/* What Linux's sk_clone_lock keeps: all options, no names, no error. */
void sock_inherit(struct sock *child, const struct sock *parent) {
    child->reuseaddr = parent->reuseaddr;
    child->reuseport = parent->reuseport;
    child->keepalive = parent->keepalive;
    child->broadcast = parent->broadcast;
    child->oobinline = parent->oobinline;
    child->v6only = parent->v6only;
    child->recverr = parent->recverr;
    child->pktinfo = parent->pktinfo;
    child->recvttl = parent->recvttl;
    child->recvtos = parent->recvtos;
    child->freebind = parent->freebind;
    child->sndbuf_locked = parent->sndbuf_locked;
    child->rcvbuf_locked = parent->rcvbuf_locked;
    child->no_check = parent->no_check;
    child->zerocopy = parent->zerocopy;
    child->ttl = parent->ttl;
    child->tos = parent->tos;
    child->mtu_discover = parent->mtu_discover;
    child->priority = parent->priority;
    child->linger = parent->linger;
    child->rcvlowat = parent->rcvlowat;
    child->sndbuf = parent->sndbuf;
    child->rcvbuf = parent->rcvbuf;
}

/* The port tables of a socket's transport; NULL if it has none. */
static struct demux *demux_of(struct stack *st, const struct sock *so) {
    switch (so->kind) {
    case SOCK_TCP:
    case SOCK_TCP_TW:
        return &st->sh->tcp;
    case SOCK_UDP:
        return &st->sh->udp;
    default:
        return NULL;
    }
}

/* The transport has stopped its timers and freed its buffers before. */
void sock_free(struct stack *st, struct sock *so) {
    struct demux *d = demux_of(st, so);
    if (d)
        demux_remove(st, d, so);
    source_gone(st, &so->src);
    list_remove(&so->all_link);
    sock_ipopts_free(st, so);
    COUNT(st, sock_freed);
    mem_free(st, so, proto_of(so)->size);
}

/* Most sockets are watched by nobody most of the time. */
void sock_event(struct stack *st, struct sock *so, uint32_t events) {
    if (!list_empty(&so->src.watchers))
        source_fire(st, &so->src, events);
}

/* A later error replaces an earlier one, as sk_err does. */
void sock_set_error(struct stack *st, struct sock *so, int err) {
    so->error = err;
    sock_event(st, so, STACK_ERR);
}

/* Positive errno, 0 if there is none; it is told only once. */
int sock_take_error(struct sock *so) {
    int err = so->error;
    so->error = 0;
    return err;
}

/* IP protocol and kind of a (type, protocol) pair, as Linux's inetsw: 0 or
 * -EPROTONOSUPPORT. */
static int choose_kind(enum stack_type type, int protocol, enum sock_kind *kind,
                       uint8_t *proto) {
    static const struct {
        uint8_t type, proto, kind;
        bool is_default; /* protocol 0 means this one */
    } table[] = {
        {STACK_STREAM, PROTO_TCP, SOCK_TCP, true},
        {STACK_DGRAM, PROTO_UDP, SOCK_UDP, true},
        {STACK_DGRAM, PROTO_ICMP, SOCK_PING, false},
    };
    if (type == STACK_RAW && protocol > 0 && protocol <= PROTO_RAW) {
        *kind = SOCK_RAWIP;
        *proto = (uint8_t)protocol;
        return 0;
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].type != type || !sock_protos[table[i].kind])
            continue;
        if (table[i].proto != protocol &&
            !(protocol == 0 && table[i].is_default))
            continue;
        *kind = (enum sock_kind)table[i].kind;
        *proto = table[i].proto;
        return 0;
    }
    return -EPROTONOSUPPORT;
}

/* Linux answers ENOBUFS, not ENOMEM, when memory is short here. */
int stack_socket(struct stack *st, int family, enum stack_type type,
                 int protocol, struct sock **out) {
    enum sock_kind kind;
    uint8_t proto;
    if (family != 4 && family != 6)
        return -EAFNOSUPPORT;
    int rc = choose_kind(type, protocol, &kind, &proto);
    if (rc)
        return rc;
    *out = sock_new(st, kind, family, proto);
    return *out ? 0 : -ENOBUFS;
}

/* After this only the transport knows the socket. */
void stack_close(struct stack *st, struct sock *so) {
    BUSY(st, so);
    so->closed = true;
    source_gone(st, &so->src);
    st->sh->moving = so; /* in no list for a moment: stack/repair.c */
    list_remove(&so->all_link);
    list_push_front(&st->sh->socks, &so->all_link);
    st->sh->moving = NULL;
    proto_of(so)->close(st, so);
}

/* A transport without memory of what it sent has nothing unsent. */
bool stack_unsent(struct stack *st, struct sock *so) {
    const struct sock_proto *p = proto_of(so);
    return p->unsent && p->unsent(st, so);
}

/* Closed sockets come first in the list. */
unsigned stack_orphans(struct stack *st) {
    unsigned n = 0;
    list_for_each(node, &st->sh->socks) {
        struct sock *so = container_of(node, struct sock, all_link);
        if (!so->closed)
            break;
        n += stack_unsent(st, so);
    }
    return n;
}

/* ---- addresses ------------------------------------------------------- */

/* ::ffff:0.0.0.0 is "any" as well. */
static bool is_any(const struct ip_addr *a) {
    return ip_is_any(a) || (ip_is_v4(a) && ip_to_v4(a) == 0);
}

/* Make a destination plain and check that so may send there: "any" is
 * ourselves (RFC 1122, 3.2.1.3 (a), as Linux reads it). */
static int destination(struct stack *st, const struct sock *so,
                       struct endpoint *to) {
    if (is_any(&to->ip)) {
        to->ip = st->sh->routes.addr;
    } else if (!ip_is_v4(&to->ip)) {
        return so->family == 4 ? -EAFNOSUPPORT : -ENETUNREACH;
    }
    if (so->family == 6 && so->v6only)
        return -ENETUNREACH;
    if (so->kind == SOCK_TCP)
        return ip_is_multicast(&to->ip) || route_is_broadcast(st, &to->ip)
                   ? -ENETUNREACH
                   : 0;
    return route_is_broadcast(st, &to->ip) && !so->broadcast ? -EACCES : 0;
}

/* Order and errors of inet_bind and inet6_bind: bound already, family, reach,
 * then what the transport says about the port. */
int stack_bind(struct stack *st, struct sock *so, const struct endpoint *at) {
    struct endpoint to = *at;
    if (so->bound || so->connected || so->listening)
        return -EINVAL;
    if (is_any(&to.ip))
        to.ip = IP_ANY;
    else if (!ip_is_v4(&to.ip))
        return so->family == 4 ? -EAFNOSUPPORT : -EADDRNOTAVAIL;
    else if (so->family == 6 && so->v6only)
        return -EINVAL;
    BUSY(st, so);
    return proto_of(so)->bind(st, so, &to);
}

/* `to` NULL (AF_UNSPEC) dissolves an association; that it makes no sense for a
 * listener is the transport's business. */
int stack_connect(struct stack *st, struct sock *so,
                  const struct endpoint *to) {
    struct endpoint dst;
    BUSY(st, so);
    if (!to)
        return proto_of(so)->connect(st, so, NULL);
    if (so->listening)
        return -EISCONN;
    dst = *to;
    int rc = destination(st, so, &dst);
    if (rc)
        return rc;
    return proto_of(so)->connect(st, so, &dst);
}

/* Datagram sockets connect at once and have only the pending error. */
int stack_connect_result(struct stack *st, struct sock *so) {
    const struct sock_proto *p = proto_of(so);
    return p->connect_result ? p->connect_result(st, so) : -sock_take_error(so);
}

/* ---- listening ------------------------------------------------------- */

/* listen(2) on an unbound socket takes a port as bind(0) does, even with
 * IP_BIND_ADDRESS_NO_PORT; again on a listener it changes the backlog. */
int stack_listen(struct stack *st, struct sock *so, int backlog) {
    const struct sock_proto *p = proto_of(so);
    BUSY(st, so);
    if (!p->listen || stack_sock_type(so) != STACK_STREAM)
        return -EOPNOTSUPP;
    if (so->connected)
        return -EINVAL;
    if (!so->bound) {
        struct endpoint any = {.ip = so->local.ip};
        bool late = so->bind_no_port; /* a listener needs its port now */
        so->bind_no_port = false;
        int rc = p->bind(st, so, &any);
        so->bind_no_port = late;
        if (rc)
            return rc;
    }
    if (!so->listening) {
        int rc = demux_check_listen(st, demux_of(st, so), so);
        if (rc)
            return rc;
    }
    return p->listen(st, so, backlog);
}

/* EINVAL unless listen was called (accept(2)). */
int stack_accept(struct stack *st, struct sock *so, struct sock **out) {
    const struct sock_proto *p = proto_of(so);
    BUSY(st, so);
    if (!p->accept || stack_sock_type(so) != STACK_STREAM)
        return -EOPNOTSUPP;
    return so->listening ? p->accept(st, so, out) : -EINVAL;
}

bool stack_is_listening(struct sock *so) { return so->listening; }

/* ---- data ------------------------------------------------------------ */

/* The pending error comes before EPIPE (Linux: sk_stream_error,
 * sock_alloc_send_pskb). Stream sockets ignore an address. */
ssize_t stack_send(struct stack *st, struct sock *so, const struct iovec *iov,
                   int niov, uint32_t flags, const struct stack_msg *m) {
    struct stack_msg copy;
    if (m && m->has_peer && so->kind != SOCK_TCP) {
        if (m->peer.port == 0 && so->kind == SOCK_UDP)
            return -EINVAL;
        copy = *m;
        int rc = destination(st, so, &copy.peer);
        if (rc)
            return rc;
        m = &copy;
    }
    if (so->error)
        return -sock_take_error(so);
    if (so->shut & 2)
        return -EPIPE;
    BUSY(st, so);
    return proto_of(so)->send(st, so, iov, niov, flags, m);
}

int stack_error(const struct sock *so) { return so->error; }

/* Transports without it never have the option set. */
int stack_zerocopy(struct stack *st, struct sock *so) {
    return so->zerocopy ? proto_of(so)->zerocopy(st, so) : 0;
}

void stack_zerocopy_sent(struct stack *st, struct sock *so, size_t n) {
    BUSY(st, so);
    proto_of(so)->zerocopy_sent(st, so, n);
}

/* ---- loans ----------------------------------------------------------- */

/* Nothing of the socket changes yet. */
uint32_t stack_loan(struct stack *st, struct sock *so, size_t want,
                    struct bufq *l) {
    const struct sock_proto *p = proto_of(so);
    return p->loan ? p->loan(st, so, want, l) : 0;
}

/* Without the lock: nobody else knows this memory. */
void stack_loan_fill(struct bufq *l, const struct iovec *iov, int niov,
                     size_t skip) {
    bufq_fill(l, iov, niov, skip);
}

ssize_t stack_repay(struct stack *st, struct sock *so, struct bufq *l) {
    BUSY(st, so);
    return proto_of(so)->repay(st, so, l);
}

uint32_t stack_take(struct stack *st, struct sock *so, size_t want,
                    struct bufq *l) {
    const struct sock_proto *p = proto_of(so);
    BUSY(st, so);
    return p->take ? p->take(st, so, want, l) : 0;
}

void stack_loan_read(const struct bufq *l, const struct iovec *iov, int niov) {
    bufq_copy_iov(l, 0, iov, niov, l->len);
}

void stack_loan_drop(struct stack *st, struct bufq *l) { bufq_clear(st, l); }

/* ---- sending and receiving ------------------------------------------- */

/* Data may come before an error, so the transport looks at both. */
ssize_t stack_recv(struct stack *st, struct sock *so, const struct iovec *iov,
                   int niov, uint32_t flags, struct stack_msg *m) {
    BUSY(st, so);
    return proto_of(so)->recv(st, so, iov, niov, flags, m);
}

/* The transport marks so->shut: what it means depends on the state. */
int stack_shutdown(struct stack *st, struct sock *so, enum stack_how how) {
    if (how != STACK_SHUT_RD && how != STACK_SHUT_WR && how != STACK_SHUT_RDWR)
        return -EINVAL;
    BUSY(st, so);
    return proto_of(so)->shutdown(st, so, how);
}

/* ---- looking --------------------------------------------------------- */

struct source *stack_sock_source(struct sock *so) {
    return &so->src;
}

/* The level, as poll(2) would report it. */
uint32_t stack_ready(struct stack *st, struct sock *so) {
    return proto_of(so)->ready(st, so);
}

/* All zero before bind. */
void stack_getsockname(struct sock *so, struct endpoint *out) {
    *out = so->local;
    if (so->kind == SOCK_RAWIP) /* where others have their port, as Linux */
        out->port = so->proto;
}

/* Linux's inet_getname: no peer while the handshake is under way. */
int stack_getpeername(struct sock *so, struct endpoint *out) {
    if (!so->connected)
        return -ENOTCONN;
    /* A connection that is being made has no peer yet. */
    if (so->kind == SOCK_TCP && tcp_of(so)->state == TCP_S_SYN_SENT)
        return -ENOTCONN;
    *out = so->remote;
    return 0;
}

/* What SO_TYPE says. */
enum stack_type stack_sock_type(struct sock *so) {
    switch ((enum sock_kind)so->kind) {
    case SOCK_TCP:
    case SOCK_TCP_TW:
        return STACK_STREAM;
    case SOCK_RAWIP:
        return STACK_RAW;
    default:
        return STACK_DGRAM;
    }
}

int stack_sock_family(struct sock *so) { return so->family; }

int stack_sock_protocol(struct sock *so) { return so->proto; }

/* The transport is asked first: it may have to act on a common option. */
int stack_setopt(struct stack *st, struct sock *so, enum stack_opt opt,
                 int64_t value) {
    const struct sock_proto *p = proto_of(so);
    BUSY(st, so);
    int rc = p->setopt ? p->setopt(st, so, opt, value) : -ENOPROTOOPT;
    return rc == -ENOPROTOOPT ? sock_setopt(so, opt, value) : rc;
}

int stack_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
                 int64_t *value) {
    const struct sock_proto *p = proto_of(so);
    int rc = p->getopt ? p->getopt(st, so, opt, value) : -ENOPROTOOPT;
    return rc == -ENOPROTOOPT ? sock_getopt(st, so, opt, value) : rc;
}
