/* sock.h: what all sockets have in common. Internal to stack/.
 *
 * A socket is born in stack_socket or by a transport accepting a connection,
 * belongs to the program until stack_close, and then to its transport, which
 * frees it (sock_free) when the protocol is done with it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "stack/addr.h"
#include "stack/buf.h"
#include "stack/demux.h"
#include "stack/icmp.h"
#include "stack/list.h"
#include "stack/stack.h"
#include "stack/timer.h"

/* SOCK_TCP_TW: a connection in TIME-WAIT, a struct of its own that the program
 * never sees (tcp/timewait.c). */
enum sock_kind {
    SOCK_TCP,
    SOCK_UDP,
    SOCK_PING,
    SOCK_RAWIP,
    SOCK_TCP_TW,
    SOCK_KINDS
};

struct sock {
    struct source src; /* first: a sock is a source */
    uint8_t kind;      /* enum sock_kind: index into sock_protos[] */
    uint8_t family;    /* 4 or 6, as asked for */
    uint8_t proto;     /* IP protocol number */
    bool closed;       /* stack_close was called: the program is gone */
    bool bound;        /* in demux.ports */
    bool connected;    /* in demux.tuples */
    bool listening;    /* accepts connections (TCP) */
    bool held;         /* repair.c: a program has it */
    bool port_chosen;  /* by us, not by bind: rebinding may change it */
    bool addr_chosen;  /* local.ip, by connect: disconnecting forgets it */
    uint8_t shut;      /* bits: 1 reading, 2 writing shut down */

    /* options, see options.def; defaults from sock_defaults() */
    bool reuseaddr, reuseport, keepalive, broadcast, oobinline;
    bool v6only, recverr, pktinfo, recvttl, recvtos;
    bool freebind, bind_no_port, no_check, hdrincl, zerocopy;
    bool ipopts_given; /* by the program, not by the peer's source route */
    bool sndbuf_locked, rcvbuf_locked; /* set by the program: no autotuning */
    uint8_t ttl, multicast_ttl, tos, mtu_discover, priority;
    int32_t linger; /* -1 off; seconds */
    int32_t rcvlowat;
    uint32_t sndbuf, rcvbuf; /* bytes, as read back by getsockopt */

    struct ipv4_opts *ipopts; /* of packets sent; NULL: none (ipopt.c) */

    int error; /* pending SO_ERROR, positive errno */
    struct endpoint local, remote;
    uint32_t icmp_filter;                   /* raw sockets */
    struct list_node tuple_link, port_link; /* demux */
    struct list_node all_link;              /* shared.socks */
    nstime_t created;
};

/* What a transport provides; one table per sock_kind, in code. All may assume
 * a valid socket; generic checks are done in sock.c. */
struct sock_proto {
    const char *name;
    size_t size; /* bytes of its struct, which starts with struct sock */
    int (*init)(struct stack *st, struct sock *so);
    int (*bind)(struct stack *st, struct sock *so, const struct endpoint *at);
    int (*connect)(struct stack *st, struct sock *so,
                   const struct endpoint *to);
    int (*connect_result)(struct stack *st, struct sock *so);
    int (*listen)(struct stack *st, struct sock *so, int backlog);
    int (*accept)(struct stack *st, struct sock *so, struct sock **out);
    ssize_t (*send)(struct stack *st, struct sock *so, const struct iovec *iov,
                    int niov, uint32_t flags, const struct stack_msg *m);
    ssize_t (*recv)(struct stack *st, struct sock *so, const struct iovec *iov,
                    int niov, uint32_t flags, struct stack_msg *m);
    int (*shutdown)(struct stack *st, struct sock *so, enum stack_how how);
    void (*close)(struct stack *st, struct sock *so);
    uint32_t (*ready)(struct stack *st, struct sock *so);
    /* Options of its own level; -ENOPROTOOPT leaves it to sock.c */
    int (*setopt)(struct stack *st, struct sock *so, enum stack_opt opt,
                  int64_t v);
    int (*getopt)(struct stack *st, struct sock *so, enum stack_opt opt,
                  int64_t *v);
    bool (*unsent)(struct stack *st, struct sock *so);
    /* MSG_ZEROCOPY (stack.h); only called with SO_ZEROCOPY */
    int (*zerocopy)(struct stack *st, struct sock *so);
    void (*zerocopy_sent)(struct stack *st, struct sock *so, size_t n);
    /* Long copies outside the lock; may be NULL (stack.h, loans) */
    uint32_t (*loan)(struct stack *st, struct sock *so, size_t want,
                     struct bufq *q);
    ssize_t (*repay)(struct stack *st, struct sock *so, struct bufq *q);
    uint32_t (*take)(struct stack *st, struct sock *so, size_t want,
                     struct bufq *q);
};

extern const struct sock_proto tcp_proto, udp_proto, ping_proto, rawip_proto,
    tcp_tw_proto;

/* A new socket of a kind with defaults set and init run; NULL: no memory. */
struct sock *sock_new(struct stack *st, enum sock_kind kind, int family,
                      uint8_t proto);
/* Options and buffer sizes of a listener to a socket it accepted. */
void sock_inherit(struct sock *child, const struct sock *parent);
/* Out of all tables, watchers gone, memory returned. */
void sock_free(struct stack *st, struct sock *so);
/* Something happened: events are STACK_* bits. Also when the level was
 * already there (new data on a readable socket re-fires edge triggers). */
void sock_event(struct stack *st, struct sock *so, uint32_t events);
/* Set the pending error and tell watchers. */
void sock_set_error(struct stack *st, struct sock *so, int err);
/* Fetch and clear the pending error. */
int sock_take_error(struct sock *so);

/* ipopt.c: a listener's options to its child; the way back of a packet with a
 * source route; none any more */
void sock_ipopts_inherit(struct stack *st, struct sock *child,
                         const struct sock *parent);
void sock_ipopts_return(struct stack *st, struct sock *so,
                        const struct rxpkt *rx);
void sock_ipopts_free(struct stack *st, struct sock *so);

/* Options common to all transports (options.c); -ENOPROTOOPT: none of them. */
int sock_setopt(struct sock *so, enum stack_opt opt, int64_t v);
int sock_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
                int64_t *v);

/* Transport entry points, called by ip.c and icmp.c through a table by IP
 * protocol number. rx->l4 is at least one byte long. */
void tcp_input(struct stack *st, const struct rxpkt *rx);
void udp_input(struct stack *st, const struct rxpkt *rx);
/* An ICMP error about a packet of ours: quoted transport header (>= 8 bytes
 * checked by the caller) and the addresses of the packet (src is ours). */
void tcp_icmp_error(struct stack *st, const struct ip_addr *src,
                    const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                    const struct icmp_error *e);
void udp_icmp_error(struct stack *st, const struct ip_addr *src,
                    const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                    const struct icmp_error *e);
/* An echo reply with this identifier; false: nobody asked (ping.c). */
bool ping_input(struct stack *st, const struct rxpkt *rx, uint16_t id);
/* A copy to each raw socket that wants it, before the transport; false: there
 * is none for this protocol (rawip.c). */
bool raw_input(struct stack *st, const struct rxpkt *rx);
void raw_icmp_error(struct stack *st, uint8_t proto, const struct ip_addr *src,
                    const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                    const struct icmp_error *e);
void ping_icmp_error(struct stack *st, const struct ip_addr *src,
                     const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                     const struct icmp_error *e);
/* Send what TCP sockets in shared.tcp_due have to send; called at the end of
 * every burst and by stack_flush. */
void tcp_send_due(struct stack *st);
/* Timer kinds of TCP end here. */
void tcp_timer(struct stack *st, struct timer *t);
