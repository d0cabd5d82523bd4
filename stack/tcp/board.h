/* board.h: the scoreboard, a map of what is in flight. Used by sack.c, rack.c,
 * prr.c and recovery.c only; the theory of operation is in sack.c. */
#pragma once
#include "stack/tcp/tcp.h"

enum {
    SENT_SACKED = 1,  /* the peer has reported it */
    SENT_LOST = 2,    /* thought to be lost, and not sent again since */
    SENT_AGAIN = 4,   /* sent more than once */
    SENT_LIMITED = 8, /* the program had no more to send (rate.c) */
};

/* One stretch that was sent at one time; it begins where the one before it
 * ends. */
struct tcp_sent {
    seq_t end;
    uint32_t us;   /* when it was sent last, us of the stack's clock (wraps) */
    uint16_t segs; /* how many segments that was, about */
    uint8_t flags;
    /* rate.c: when it was sent last, how much had been delivered, when, and
     * when what was delivered then had been sent */
    uint32_t delivered, delivered_us, first_us;
};

struct tcp_board {
    uint32_t n, cap;
    uint32_t gone;         /* stretches at the front that are acknowledged */
    seq_t start;           /* of r[gone] */
    uint32_t sacked, lost; /* bytes with that flag */
    uint32_t sacked_segs;
    seq_t fack; /* highest number the peer has reported */

    /* rack.c: RACK.xmit_ts, .end_seq and .rtt of RFC 8985 section 6.1 */
    bool rack_valid;
    uint32_t rack_us, rack_rtt;
    seq_t rack_end;
    /* prr.c, RFC 9937 section 6.1 */
    uint32_t prr_delivered, prr_out, recover_fs;
    /* rate.c */
    uint32_t delivered_us, first_us;
    uint32_t limited_until; /* tcp_delivered() that ends `limited` */
    uint32_t lost_ever;     /* bytes that were ever called lost (wraps) */
    bool limited;

    struct tcp_sent r[];
};

/* Where stretch i begins. */
static inline seq_t sent_start(const struct tcp_board *b, uint32_t i) {
    return i == b->gone ? b->start : b->r[i - 1].end;
}
static inline uint32_t sent_len(const struct tcp_board *b, uint32_t i) {
    return b->r[i].end - sent_start(b, i);
}
/* rate.c: a stretch of the board leaves, arrives. */
void tcp_rate_sent(const struct tcp_sock *tp, struct tcp_sent *s);
void tcp_rate_delivered(struct tcp_sock *tp, const struct tcp_sent *s,
                        struct tcp_news *news);
/* Set the LOST flag of one stretch (which is not SACKED). */
void tcp_board_lose(struct tcp_board *b, uint32_t i);
