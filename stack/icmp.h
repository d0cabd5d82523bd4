/* icmp.h: ICMP (RFC 792, RFC 1122 section 3.2.2, RFC 5927). */
#pragma once
#include <stdint.h>
#include "stack/addr.h"
#include "stack/pkt.h"

struct sock;

struct icmp_state {
    uint64_t tokens; /* rate limit of errors sent, in nanoseconds */
    nstime_t refilled;
};

/* One error about a packet of ours, in terms of the sockets API. */
struct icmp_error {
    int err;    /* positive errno */
    bool hard;  /* ends a connection attempt, never an established
                    * connection (RFC 5927, section 5.2) */
    bool fatal; /* told to a connected datagram socket without RECVERR */
    bool local; /* of our own making: no router said so */
    uint8_t type, code;
    uint32_t mtu; /* next-hop MTU of "fragmentation needed", else 0 */
    struct ip_addr offender;
};

void icmp_input(struct stack *st, const struct rxpkt *rx);
/* Tell the sender of rx about a problem, unless the rules forbid it
 * (RFC 1122 3.2.2: never about errors, broadcasts, later fragments; limited
 * in rate). */
enum icmp_send {
    ICMP_SEND_PORT_UNREACHABLE,
    ICMP_SEND_PROTO_UNREACHABLE,
    ICMP_SEND_REASSEMBLY_TIME,
};
void icmp_send_error(struct stack *st, const struct rxpkt *rx,
                     enum icmp_send what);
/* The same for a parameter problem at byte `pointer` of the IP header. */
void icmp_send_param_problem(struct stack *st, const struct rxpkt *rx,
                             uint8_t pointer);
/* An error of our own making about a packet that could not leave: p starts
 * with its IP header. Reaches the same sockets as a received one. */
void icmp_local_error(struct stack *st, const uint8_t *ip, uint32_t len,
                      const struct icmp_error *e);
