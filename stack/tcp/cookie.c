/* cookie.c: SYN cookies (RFC 4987 section 3.6).
 *
 * A listener whose SYN queue is full answers SYNs and remembers nothing. What it
 * must know of the peer is in its answer, and comes back with the ACK of it: the
 * acknowledged number says that the SYN-ACK was ours, and which MSS the peer has;
 * the echoed timestamp says what other options it offered.
 *
 *   ISS = H(tuple) + peer's ISS + (minute << 24) + ((H(tuple, minute) + mss << 21) mod 2^24)
 *
 * H is SipHash under a key of the stack. A cookie is good for the minute it was
 * made in and the next. A blind guess has a chance of 16 in 2^32, two minutes by
 * eight sizes, and is tried only while cookies are out (listen.c).
 *
 * The low six bits of our TSval: window scale (15: none), SACK, ECN. Without
 * timestamps there is no room, and those options are off. So is AccECN, for
 * which RFC 3168 stands in.
 */
#include "stack/tcp/tcp.h"

#define MINUTE (60 * SEC)
#define MAX_AGE 2 /* minutes begun */
#define LOW24 0xffffffu
#define MSS_SHIFT 21 /* where in them: numbers nearby are no cookies */
#define TS_WSCALE 15u
#define TS_SACK 16u
#define TS_ECN 32u
#define TS_BITS 63u

/* Sizes worth telling apart, ascending: the default; IPv6's least; tunnels; PPPoE
 * and Ethernet; jumbo frames. The largest that is not above the peer's. */
static const uint16_t sizes[] = {536, 1220, 1300, 1360, 1440, 1452, 1460, 8960};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))
static_assert(SIZES << MSS_SHIFT == LOW24 + 1, "three bits");

/* What is hashed; no padding. */
struct cookie_key {
    struct ip_addr local, remote;
    uint16_t lport, rport;
    uint32_t minute; /* 0: the part that does not change */
};

static uint32_t hash(struct stack *st, const struct endpoint *local,
                     const struct endpoint *remote, uint32_t minute) {
    struct cookie_key k = {local->ip, remote->ip, local->port, remote->port,
                           minute};
    return (uint32_t)siphash(st->sh->cookie_key, &k, sizeof(k));
}

/* Never 0, which stands for no minute. */
static uint32_t minute_now(const struct stack *st) {
    return (uint32_t)(st->now / MINUTE) + MAX_AGE + 1;
}

/* The ISS for a peer with this ISS and MSS, which is changed to what it will be
 * taken for. */
seq_t tcp_cookie_make(struct stack *st, const struct endpoint *local,
                      const struct endpoint *remote, seq_t peer_iss,
                      uint16_t *mss) {
    uint32_t m = minute_now(st), i = SIZES - 1;
    while (i && sizes[i] > *mss)
        i--;
    *mss = sizes[i];
    return hash(st, local, remote, 0) + peer_iss + (m << 24) +
           ((hash(st, local, remote, m) + (i << MSS_SHIFT)) & LOW24);
}

/* The MSS in a cookie that came back; 0: it is none of ours, or too old. */
uint16_t tcp_cookie_check(struct stack *st, const struct endpoint *local,
                          const struct endpoint *remote, seq_t peer_iss,
                          seq_t iss) {
    uint32_t c = iss - hash(st, local, remote, 0) - peer_iss;
    uint32_t m = minute_now(st), age = (m - (c >> 24)) & 0xff;
    if (age >= MAX_AGE)
        return 0;
    uint32_t i = (c - hash(st, local, remote, m - age)) & LOW24;
    return i & ((1u << MSS_SHIFT) - 1) ? 0 : sizes[i >> MSS_SHIFT];
}

/* The latest TSval not after `now` that says what tp has agreed to. */
uint32_t tcp_cookie_ts(const struct tcp_sock *tp, uint32_t now) {
    uint32_t bits = (tp->ws_ok ? tp->snd_wscale : TS_WSCALE) |
                    (tp->sack_ok ? TS_SACK : 0) | (tp->ecn ? TS_ECN : 0);
    uint32_t ts = (now & ~TS_BITS) | bits;
    return seq_gt(ts, now) ? ts - TS_BITS - 1 : ts;
}

/* What that was, as the SYN's options had it. Returns whether ECN was agreed
 * to. */
bool tcp_cookie_options(uint32_t tsecr, struct tcp_opts *o) {
    o->has_wscale = (tsecr & TS_WSCALE) != TS_WSCALE;
    o->wscale = o->has_wscale ? tsecr & TS_WSCALE : 0;
    o->sack_permitted = (tsecr & TS_SACK) != 0;
    return (tsecr & TS_ECN) != 0;
}
