/* udp.h: what the files of UDP share. Internal to udp*.c; see udp.c. */
#pragma once
#include <stdint.h>
#include "stack/buf.h"
#include "stack/icmp.h"
#include "stack/list.h"
#include "stack/sock.h"

/* A datagram that waits to be read. */
struct udp_dgram {
    struct list_node link;
    uint32_t size; /* of this allocation: charged to the socket */
    uint32_t len;
    struct endpoint from;
    struct ip_addr to;
    uint8_t ttl, tos;
    nstime_t arrived;
    uint8_t data[];
};

/* An error that waits to be read with MSG_ERRQUEUE (ip(7), IP_RECVERR). */
struct udp_error {
    struct list_node link;
    uint32_t size;
    uint32_t len;     /* payload that the error quoted */
    uint64_t arrived; /* when, by the stack's clock */
    struct stack_icmp_error info;
    struct endpoint to; /* where the datagram had been sent */
    uint8_t data[];
};

struct udp_sock {
    struct sock so;
    struct list queue;  /* struct udp_dgram */
    uint32_t queued;    /* bytes charged for them */
    struct list errors; /* struct udp_error */
    uint32_t error_bytes;
    /* MSG_ZEROCOPY: number of the next send, and of the first that the error
     * queue has not told of */
    uint32_t zc_next, zc_untold;
    /* MSG_MORE: one datagram in the making, sent by the first send without
     * it to the destination of the first one with it. */
    bool corked;
    bool cork_option; /* UDP_CORK: every send is with MSG_MORE */
    struct bufq cork;
    struct stack_msg cork_msg;
};

static inline struct udp_sock *udp_of(struct sock *so) {
    return (struct udp_sock *)so;
}

/* udp_send.c: sock_proto.send */
ssize_t udp_send(struct stack *st, struct sock *so, const struct iovec *iov,
                 int niov, uint32_t flags, const struct stack_msg *m);

int udp_set_cork(struct stack *st, struct udp_sock *u, bool on);

/* udp_error.c */
/* Queue an error for RECVERR; what does not fit the buffer is counted. */
bool udp_error_push(struct stack *st, struct udp_sock *u,
                    const struct stack_icmp_error *info,
                    const struct endpoint *to, const uint8_t *data,
                    uint32_t len);
/* recv with MSG_ERRQUEUE: -EAGAIN when there is none. */
ssize_t udp_error_recv(struct stack *st, struct udp_sock *u,
                       const struct iovec *iov, int niov, struct stack_msg *m);
/* sock_proto.zerocopy, zerocopy_sent */
int udp_zerocopy(struct stack *st, struct sock *so);
void udp_zerocopy_sent(struct stack *st, struct sock *so, size_t n);
/* Datagrams are gone: tell of the sends that made them. */
void udp_zerocopy_tell(struct stack *st, struct udp_sock *u);
void udp_error_clear(struct stack *st, struct udp_sock *u);
