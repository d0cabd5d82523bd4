/* place.h: payload straight into a waiting reader's buffer (place.c). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct ipv4_hdr;
struct netio_frame;
struct sock;
struct stack;
struct tcp_hdr;

/* Frames shorter than this are not worth it. */
#define PLACE_MIN 16384u
/* So many short ones between two long ones change nothing: a sender that
 * writes in round sizes has some. */
#define PLACE_PATIENCE 8

/* Where the payload of a frame lies that was not received in one piece. */
struct rx_split {
    uint32_t direct;     /* bytes in the reader's buffer */
    uint32_t len;        /* of the payload; 0: the frame is in one piece */
    const uint8_t *rest; /* len - direct bytes */
};

/* Receive one frame for st->place. 1: f and st->split describe it; 0 or -errno
 * as netio_rx. False in *tried: the reader's stream is not ready for it. */
int place_rx(struct stack *st, struct netio_frame *f, bool *tried);
/* Is the reader's buffer full? */
bool place_full(const struct stack *st);
/* For somebody who only looks: is the next frame a long one that a reader
 * could have placed? Then its stream counts as readable, and true. */
bool place_peek(struct stack *st);

/* tcp/place.c: length of the TCP header that the next segment should have; 0:
 * it cannot be placed, or (now) not before the reader has what is there. */
uint32_t tcp_place_header(const struct sock *so, bool now);
/* Is this the next segment in order, with len bytes and nothing else? */
bool tcp_place_expects(const struct sock *so, const struct ipv4_hdr *ip,
                       const struct tcp_hdr *h, uint32_t len);
/* The next segment lies at the interface. False: it was known already. */
bool tcp_place_announce(struct stack *st, struct sock *so);
