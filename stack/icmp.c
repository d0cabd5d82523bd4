/* icmp.c: ICMP (RFC 792, RFC 1122 section 3.2.2, RFC 5927).
 *
 * In: echo requests are answered, whatever their size (reassembled ones too);
 * errors are translated into what the sockets API knows (the table below gives
 * the errno that Linux gives) and handed to the transport of the packet they
 * quote. Before that the quote must look like a packet of ours: from our
 * address, with at least 8 bytes of a transport header that is in it. Whether
 * it belongs to a connection, with a sequence number in flight, is for the
 * transport to say (RFC 5927 section 4); nothing here changes any state.
 *
 * Out: errors about packets that we cannot deliver, never about errors, groups
 * or later fragments, and no more than the token bucket allows
 * (RFC 1812 section 4.3.2.8; the rates are Linux's).
 *
 * Redirects and source quench are counted and ignored: the first since a host
 * with one gateway gains nothing and trusts too much, the second by RFC 6633.
 */
#include "stack/icmp.h"

#include <errno.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/ip.h"
#include "stack/shared.h"
#include "stack/sock.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/ipv4.h"

#define ICMP_TTL 64

/* Errors sent: 50 at once, then 1,000 a second. */
#define RATE_COST 1000000ull /* nanoseconds an error costs */
#define RATE_BURST (50 * RATE_COST)

/* Quote so much that the error fits 576 bytes (RFC 1812 section 4.3.2.3). */
#define QUOTE_MAX (576 - IPV4_HDR_MIN - ICMP_HDR_LEN)

/* ---- errors in ------------------------------------------------------ */

/* Destination unreachable, by code (RFC 792, RFC 1122 section 3.2.2.1,
 * RFC 1812 section 5.2.7.1); errno and finality as Linux has them. */
static const struct {
    uint8_t err;
    bool fatal;
} unreachable[ICMP_UNREACH_CODES] = {
    {ENETUNREACH, false},  /* 0: net */
    {EHOSTUNREACH, false}, /* 1: host */
    {ENOPROTOOPT, true},   /* 2: protocol */
    {ECONNREFUSED, true},  /* 3: port */
    {EMSGSIZE, false},     /* 4: fragmentation needed and DF set */
    {EOPNOTSUPP, false},   /* 5: source route failed */
    {ENETUNREACH, true},   /* 6: net unknown */
    {EHOSTDOWN, true},     /* 7: host unknown */
    {ENONET, true},        /* 8: source host isolated */
    {ENETUNREACH, true},   /* 9: net administratively prohibited */
    {EHOSTUNREACH, true},  /* 10: host administratively prohibited */
    {ENETUNREACH, false},  /* 11: net, for this type of service */
    {EHOSTUNREACH, false}, /* 12: host, for this type of service */
    {EHOSTUNREACH, true},  /* 13: communication prohibited */
    {EHOSTUNREACH, true},  /* 14: precedence violation */
    {EHOSTUNREACH, true},  /* 15: precedence cutoff */
};

/* Routers older than RFC 1191 do not say their MTU: guess the next one below
 * the packet (section 7.1, table of plateaus). */
static uint32_t guess_mtu(uint32_t packet) {
    static const uint16_t plateau[] = {32000, 17914, 8166, 4352, 2002,
                                       1492,  1006,  508,  296,  68};
    for (unsigned i = 0; i < sizeof(plateau) / sizeof(plateau[0]); i++)
        if (plateau[i] < packet)
            return plateau[i];
    return 68;
}

/* Translate; false for errors that mean nothing to sockets. q: the quote. */
static bool translate(const struct icmp_hdr *h, const struct ipv4_hdr *q,
                      struct icmp_error *e) {
    *e = (struct icmp_error){.type = h->type, .code = h->code, .hard = true};
    switch (h->type) {
    case ICMP_UNREACHABLE:
        if (h->code >= ICMP_UNREACH_CODES)
            return false;
        e->err = unreachable[h->code].err;
        e->fatal = unreachable[h->code].fatal;
        if (h->code != ICMP_UNREACH_FRAG)
            return true;
        e->hard = false;
        e->mtu = h->mtu ? h->mtu : guess_mtu(q->total_len);
        return e->mtu < q->total_len; /* RFC 5927 section 7.2 */
    case ICMP_TIME_EXCEEDED:
        e->err = EHOSTUNREACH;
        return true;
    case ICMP_PARAM_PROBLEM:
        e->err = EPROTO;
        e->fatal = true;
        return true;
    default:
        return false;
    }
}

/* The quote is a packet that we can have sent, and holds enough of it. */
static bool check_quote(struct stack *st, const struct icmp_hdr *h,
                        struct ipv4_hdr *q) {
    if (!ipv4_parse_quote(h->data, h->data_len, q) || q->payload_len < 8 ||
        q->frag_off != 0) {
        COUNT(st, drop_icmp_quote);
        return false;
    }
    struct ip_addr src = ip_from_v4(q->src);
    if (!stack_is_local(st, &src)) { /* RFC 5927 section 4 */
        COUNT(st, drop_icmp_foreign);
        return false;
    }
    return true;
}

/* An error that somebody sent us: quote, meaning, transport, in this order. The
 * offender is whoever sent the message, a router or the destination itself. */
static void error_input(struct stack *st, const struct rxpkt *rx,
                        const struct icmp_hdr *h) {
    struct ipv4_hdr q;
    struct icmp_error e;
    if (!check_quote(st, h, &q))
        return;
    if (!translate(h, &q, &e)) {
        COUNT(st, icmp_ignored);
        return;
    }
    COUNT(st, icmp_errors_in);
    e.offender = rx->src;
    struct ip_addr src = ip_from_v4(q.src), dst = ip_from_v4(q.dst);
    ip_deliver_error(st, q.proto, &src, &dst, q.payload, q.payload_len, &e);
}

/* Nothing is checked but lengths: the packet is our own, from a queue of ours.
 * A datagram too short to name its ports concerns nobody. */
void icmp_local_error(struct stack *st, const uint8_t *ip, uint32_t len,
                      const struct icmp_error *e) {
    struct ipv4_hdr q;
    if (!ipv4_parse_quote(ip, len, &q) || q.payload_len < 8 || q.frag_off)
        return;
    struct ip_addr src = ip_from_v4(q.src), dst = ip_from_v4(q.dst);
    ip_deliver_error(st, q.proto, &src, &dst, q.payload, q.payload_len, e);
}

/* ---- echo and dispatch ---------------------------------------------- */

/* An echo request comes back with its own data (RFC 1122 section 3.2.2.6).
 * Data that is too long to copy stays where it is: then the batch must leave
 * before the received packet goes. */
static void echo_input(struct stack *st, const struct rxpkt *rx,
                       const struct icmp_hdr *h) {
    if (rx->multicast) { /* 3.2.2.6 allows it; an amplifier otherwise */
        COUNT(st, icmp_echo_broadcast);
        return;
    }
    struct icmp_hdr r = {.type = ICMP_ECHO_REPLY, .id = h->id, .seq = h->seq};
    struct ip_tx tx = {.src = rx->dst,
                       .dst = rx->src,
                       .proto = IP_PROTO_ICMP,
                       .ttl = ICMP_TTL,
                       .tos = rx->tos,
                       .df = IP_DF_CLEAR};
    struct pkt *p = pkt_new(st);
    uint8_t *l4 = pkt_push(p, ICMP_HDR_LEN);
    bool copied = pkt_copy_payload(st, p, h->data, h->data_len);
    if (!copied)
        pkt_add_payload(p, h->data, h->data_len);
    icmp_emit(l4, &r);
    uint64_t sum = csum_add(0, l4, ICMP_HDR_LEN);
    icmp_set_csum(l4, csum_finish(csum_add(sum, h->data, h->data_len)));
    COUNT(st, icmp_echo_replies);
    if (ip_output(st, p, &tx) < 0)
        COUNT(st, icmp_unsent);
    if (!copied)
        tx_flush(st);
}

/* A better first hop for what is quoted, if it is our gateway who says so. */
static void redirect_input(struct stack *st, const struct rxpkt *rx,
                           const struct icmp_hdr *h) {
    struct ipv4_hdr q;
    if (!check_quote(st, h, &q))
        return;
    struct ip_addr dst = ip_from_v4(q.dst), gateway = ip_from_v4(h->gateway);
    if (TUNED(st, REDIRECTS) && h->code <= ICMP_REDIRECT_CODES &&
        route_redirect(st, &rx->src, &dst, &gateway))
        COUNT(st, icmp_redirects_taken);
    else
        COUNT(st, icmp_redirects_refused);
}

/* Dispatch by type (RFC 1122 section 3.2.2: unknown types are silently
 * dropped; timestamp and address mask requests may be, and are). */
void icmp_input(struct stack *st, const struct rxpkt *rx) {
    struct icmp_hdr h;
    if (!icmp_parse(rx->l4, rx->l4_len, &h)) {
        COUNT(st, drop_icmp_short);
        return;
    }
    /* No device checks it for us, so only our own packets are trusted. */
    if (!rx->looped && csum_fold(csum_add(0, rx->l4, rx->l4_len)) != 0xffff) {
        COUNT(st, drop_icmp_checksum);
        return;
    }
    if (h.type == ICMP_ECHO)
        echo_input(st, rx, &h);
    else if (h.type == ICMP_REDIRECT)
        redirect_input(st, rx, &h);
    else if (h.type == ICMP_SOURCE_QUENCH)
        COUNT(st, icmp_ignored);
    else if (icmp_is_error(h.type))
        error_input(st, rx, &h);
    else if (h.type != ICMP_ECHO_REPLY || !ping_input(st, rx, h.id))
        COUNT(st, icmp_ignored);
}

/* ---- errors out ----------------------------------------------------- */

/* May this packet be complained about? RFC 1122 section 3.2.2: not about ICMP
 * errors, broadcasts and multicasts, later fragments, or sources that are not
 * one host (those were dropped before). */
static bool may_complain(const struct rxpkt *rx) {
    struct ipv4_hdr h;
    struct icmp_hdr ic;
    if (rx->multicast || !ipv4_parse_quote(rx->l3, rx->l3_len, &h) ||
        h.frag_off != 0)
        return false;
    return h.proto != IP_PROTO_ICMP ||
           (icmp_parse(h.payload, h.payload_len, &ic) &&
            !icmp_is_error(ic.type));
}

/* Take a token. The bucket holds nanoseconds; each error costs RATE_COST. */
static bool rate_allows(struct stack *st) {
    struct icmp_state *s = &st->sh->icmp;
    uint64_t tokens = s->tokens + (st->now - s->refilled);
    s->refilled = st->now;
    s->tokens = tokens < RATE_BURST ? tokens : RATE_BURST;
    if (s->tokens < RATE_COST)
        return false;
    s->tokens -= RATE_COST;
    return true;
}

/* Build and send the error with header h about rx. Precedence: internetwork
 * control (RFC 1812 section 4.3.2.5). */
static void send_error(struct stack *st, const struct rxpkt *rx,
                       const struct icmp_hdr *h) {
    if (!may_complain(rx)) {
        COUNT(st, icmp_unsent);
        return;
    }
    if (!rate_allows(st)) {
        COUNT(st, icmp_rate_limited);
        return;
    }
    struct ip_tx tx = {
        .src = rx->dst,
        .dst = rx->src,
        .proto = IP_PROTO_ICMP,
        .ttl = ICMP_TTL,
        .tos = (uint8_t)((rx->tos & 0x1e) | 0xc0),
        .df = IP_DF_CLEAR,
    };
    uint32_t n = rx->l3_len < QUOTE_MAX ? rx->l3_len : QUOTE_MAX;
    struct pkt *p = pkt_new(st);
    uint8_t *l4 = pkt_push(p, ICMP_HDR_LEN);
    icmp_emit(l4, h);
    uint64_t sum = csum_add(csum_add(0, l4, ICMP_HDR_LEN), rx->l3, n);
    icmp_set_csum(l4, csum_finish(sum));
    if (!pkt_copy_payload(st, p, rx->l3, n) || ip_output(st, p, &tx) < 0)
        COUNT(st, icmp_unsent);
    else
        COUNT(st, icmp_errors_out);
}

/* The three errors a host sends about packets it cannot deliver (RFC 1122
 * sections 3.2.2.1 and 3.2.2.4). */
void icmp_send_error(struct stack *st, const struct rxpkt *rx,
                     enum icmp_send what) {
    static const struct icmp_hdr form[] = {
        [ICMP_SEND_PORT_UNREACHABLE] = {.type = ICMP_UNREACHABLE,
                                        .code = ICMP_UNREACH_PORT},
        [ICMP_SEND_PROTO_UNREACHABLE] = {.type = ICMP_UNREACHABLE,
                                         .code = ICMP_UNREACH_PROTO},
        [ICMP_SEND_REASSEMBLY_TIME] = {.type = ICMP_TIME_EXCEEDED,
                                       .code = ICMP_TIME_REASSEMBLY},
    };
    send_error(st, rx, &form[what]);
}

/* RFC 1122 section 3.2.2.5: a host should tell about a header it cannot parse;
 * the pointer counts bytes from the start of the IP header. */
void icmp_send_param_problem(struct stack *st, const struct rxpkt *rx,
                             uint8_t pointer) {
    struct icmp_hdr h = {.type = ICMP_PARAM_PROBLEM, .pointer = pointer};
    send_error(st, rx, &h);
}
