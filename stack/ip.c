/* ip.c: the Internet protocol (RFC 791, RFC 1122 section 3.2.1).
 *
 * In: every field is checked once, in order of cost: form, checksum,
 * destination, source, options, fragment. A packet that passes is described in
 * `struct rxpkt` and handed to its transport by protocol number. We are a
 * host: what is not for us is dropped, never forwarded.
 *
 * Out: local (turned round in loop.c), broadcast and multicast (straight to
 * their MAC), or unicast by way of a route and ARP. A packet longer than the
 * path allows is fragmented when its DF is clear, else refused; superframes
 * are split below us and are not looked at.
 *
 * Identification: an atomic datagram (DF set, no fragment) needs none and
 * carries 0 (RFC 6864 section 4.1). Others count per hash of destination, from
 * a keyed start, so that no host can see our traffic to others in them
 * (RFC 7739) and a value comes back after 65,536 packets at the earliest.
 *
 * Only path.c remembers anything else, so nothing here has states or timers.
 */
#include "stack/ip.h"

#include <errno.h>
#include <string.h>

#include "stack/checksum.h"
#include "stack/random.h"
#include "stack/shared.h"
#include "stack/sock.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/ipv4_opts.h"

/* ---- in ------------------------------------------------------------- */

/* What a transport gives to IP; by protocol number. */
struct transport {
    void (*input)(struct stack *st, const struct rxpkt *rx);
    void (*error)(struct stack *st, const struct ip_addr *src,
                  const struct ip_addr *dst, const uint8_t *l4, uint32_t len,
                  const struct icmp_error *e);
};

static const struct transport transports[] = {
    [IP_PROTO_ICMP] = {icmp_input, ping_icmp_error},
    [IP_PROTO_TCP] = {tcp_input, tcp_icmp_error},
    [IP_PROTO_UDP] = {udp_input, udp_icmp_error},
};
#define N_TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

/* By the table above. The transport copies what it keeps. */
bool ip_deliver(struct stack *st, const struct rxpkt *rx) {
    if (rx->proto >= N_TRANSPORTS || !transports[rx->proto].input)
        return false;
    transports[rx->proto].input(st, rx);
    return true;
}

/* l4 holds at least 8 bytes, which is what RFC 792 guarantees and what names
 * the ports. Errors about protocols without sockets are counted only. */
void ip_deliver_error(struct stack *st, uint8_t proto,
                      const struct ip_addr *src, const struct ip_addr *dst,
                      const uint8_t *l4, uint32_t len,
                      const struct icmp_error *e) {
    if (!list_empty(&st->sh->raw))
        raw_icmp_error(st, proto, src, dst, l4, len, e);
    if (proto < N_TRANSPORTS && transports[proto].error)
        transports[proto].error(st, src, dst, l4, len, e);
    else
        COUNT(st, icmp_error_no_socket);
}

/* Parse and count what is malformed (RFC 1122 sections 3.2.1.1, 3.2.1.2). */
static bool check_form(struct stack *st, const struct rxpkt *rx,
                       struct ipv4_hdr *h) {
    bool big = rx->meta.gso != NETIO_GSO_NONE || rx->looped;
    switch (ipv4_parse(rx->l3, rx->l3_len, big, h)) {
    case IPV4_OK:
        return true;
    case IPV4_BAD_SHORT:
    case IPV4_BAD_LENGTH:
        COUNT(st, drop_ip_length);
        return false;
    case IPV4_BAD_VERSION:
        COUNT(st, drop_ip_version);
        return false;
    case IPV4_BAD_CSUM:
        COUNT(st, drop_ip_checksum);
        return false;
    }
    return false;
}

/* Is it for us? Sets rx->multicast for all but our own unicast addresses. */
static bool check_destination(struct stack *st, struct rxpkt *rx) {
    if (ip_equal(&rx->dst, &st->sh->routes.addr))
        return true;
    if (ip_is_loopback(&rx->dst)) { /* RFC 1122 section 3.2.1.3 (g) */
        if (!rx->looped)
            COUNT(st, drop_ip_martian);
        return rx->looped;
    }
    rx->multicast = true;
    if (route_is_broadcast(st, &rx->dst))
        return true;
    if (ip_is_multicast(&rx->dst))
        COUNT(st, drop_ip_multicast);
    else
        COUNT(st, drop_ip_addr);
    return false;
}

/* Sources that cannot be a peer (RFC 1122 section 3.2.1.3): none, a group, a
 * broadcast address, loopback or ourselves from outside. */
static bool check_source(struct stack *st, const struct rxpkt *rx) {
    bool bad = !ip_is_v4(&rx->src) || rx->src.b[12] == 0 ||
               rx->src.b[12] >= 224 || route_is_broadcast(st, &rx->src) ||
               (!rx->looped && stack_is_local(st, &rx->src));
    if (bad)
        COUNT(st, drop_ip_martian);
    return !bad;
}

/* Options of a packet for us ask nothing of a host, but they must make sense,
 * and a source route is refused (RFC 7126 section 4.3, as Linux does) unless
 * accept_source_route says otherwise; we are no hop of it in any case. */
static bool check_options(struct stack *st, struct rxpkt *rx,
                          const struct ipv4_hdr *h) {
    bool source_route;
    struct ipv4_opts back;
    unsigned bad = ipv4_check_options(rx->l3, h, &source_route);
    if (bad) {
        COUNT(st, drop_ip_options);
        icmp_send_param_problem(st, rx, (uint8_t)bad);
        return false;
    }
    rx->source_route = source_route && TUNED(st, SOURCE_ROUTE) &&
                       ipv4_opts_return(&back, rx->l3, h);
    if (source_route && !rx->source_route)
        COUNT(st, drop_ip_source_route);
    return !source_route || rx->source_route;
}

/* Everything before the transport. */
static bool accept_packet(struct stack *st, struct rxpkt *rx,
                          struct ipv4_hdr *h) {
    if (!check_form(st, rx, h))
        return false;
    rx->l3_len = h->total_len;
    rx->l4 = h->payload;
    rx->l4_len = h->payload_len;
    rx->src = ip_from_v4(h->src);
    rx->dst = ip_from_v4(h->dst);
    rx->proto = h->proto;
    rx->ttl = h->ttl;
    rx->tos = h->tos;
    if (!check_destination(st, rx) || !check_source(st, rx))
        return false;
    return h->hdr_len == IPV4_HDR_MIN || check_options(st, rx, h);
}

/* A complete datagram to its transport (RFC 1122 section 3.2.2.1 when there is
 * none). */
static void deliver(struct stack *st, const struct rxpkt *rx) {
    if (rx->l4_len == 0) {
        COUNT(st, drop_ip_empty);
        return;
    }
    bool raw = !list_empty(&st->sh->raw) && raw_input(st, rx);
    if (ip_deliver(st, rx) || raw)
        return;
    COUNT(st, drop_ip_proto);
    icmp_send_error(st, rx, ICMP_SEND_PROTO_UNREACHABLE);
}

/* A fragment: deliver what it completes. */
static void fragment_input(struct stack *st, const struct rxpkt *rx,
                           const struct ipv4_hdr *h) {
    struct rxpkt whole;
    struct ipv4_hdr wh;
    if (!frag_input(st, rx, h, &whole))
        return;
    /* Our own rewritten header: passes again and fills in the rest. */
    if (accept_packet(st, &whole, &wh))
        deliver(st, &whole);
    frag_release(st);
}

/* A packet from Ethernet or from ourselves (rx->looped). rx describes frame and
 * l3 on entry; the rest of it is filled in on the way. */
void ip_input(struct stack *st, struct rxpkt *rx) {
    struct ipv4_hdr h;
    if (!accept_packet(st, rx, &h))
        return;
    if (h.mf || h.frag_off)
        fragment_input(st, rx, &h);
    else
        deliver(st, rx);
}

/* ---- out ------------------------------------------------------------ */

/* How a packet leaves. */
enum cast { LOCAL, UNICAST, BROADCAST, MULTICAST };

struct way {
    enum cast cast;
    struct ip_addr hop; /* UNICAST: the neighbour */
    struct ip_addr group;
};

/* -ENETUNREACH: no route, or IPv6, which is not spoken. A source route begins
 * with its first hop. */
static int find_way(struct stack *st, const struct ip_tx *tx, struct way *w) {
    const struct ip_addr *dst = &tx->dst;
    struct ip_addr hop;
    if (!ip_is_v4(dst))
        return -ENETUNREACH;
    if (tx->opts && tx->opts->hop) {
        hop = ip_from_v4(tx->opts->hop);
        dst = &hop;
    }
    w->group = *dst;
    if (stack_is_local(st, dst))
        w->cast = LOCAL;
    else if (route_is_broadcast(st, dst))
        w->cast = BROADCAST;
    else if (ip_is_multicast(dst))
        w->cast = MULTICAST;
    else {
        w->cast = UNICAST;
        return route_lookup(st, dst, &w->hop);
    }
    return 0;
}

/* Hand a complete IP packet to the link. */
static void emit(struct stack *st, struct pkt *p, const struct way *w) {
    uint8_t mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (w->cast == UNICAST) {
        arp_output(st, p, &w->hop);
        return;
    }
    if (w->cast == MULTICAST) { /* RFC 1112 section 6.4 */
        const uint8_t *g = w->group.b + 12;
        const uint8_t m[6] = {0x01, 0, 0x5e, g[1] & 0x7f, g[2], g[3]};
        memcpy(mac, m, sizeof(mac));
    }
    ether_output(st, p, mac, ETH_TYPE_IPV4);
}

/* The next ID towards dst. Different destinations that share a counter merely
 * skip values; the keyed offset keeps them from being compared (RFC 7739). */
static uint16_t next_id(struct stack *st, const struct ip_addr *dst) {
    uint64_t h = siphash(st->sh->key, dst, sizeof(*dst));
    return (uint16_t)((h >> 16) + st->sh->ip.id[h & 255]++);
}

/* The header of everything that ip_output sends; length and fragment fields
 * are the caller's. */
static void fill_header(struct stack *st, struct ipv4_hdr *h,
                        const struct ip_tx *tx, bool df) {
    *h = (struct ipv4_hdr){
        .tos = tx->tos,
        .df = df,
        .ttl = tx->ttl,
        .proto = tx->proto,
        .src = ip_to_v4(&tx->src),
        .dst = ip_to_v4(&tx->dst),
    };
    h->id = tx->id;
    if (!df && !tx->id)
        h->id = next_id(st, &tx->dst);
}

/* Bytes of the header with these options. */
static unsigned header_len(const struct ipv4_opts *o) {
    return IPV4_HDR_MIN + (o ? o->len : 0u);
}

/* Push h in front of p, as one packet. */
static void push_header(struct pkt *p, struct ipv4_hdr *h,
                        const struct ipv4_opts *o) {
    unsigned n = header_len(o);
    h->total_len = pkt_len(p) + n;
    /* from l3: ether_output adds its own */
    p->meta.csum_start = (uint16_t)n;
    ipv4_emit_opts(pkt_push(p, n), h, o);
}

/* The copy that comes back to ourselves, whole and unfragmented. */
static void send_to_self(struct stack *st, const struct pkt *p,
                         struct ipv4_hdr h) {
    struct pkt copy = *p;
    push_header(&copy, &h, NULL); /* nobody on the way could look at them */
    loop_push(st, &copy);
}

/* A checksum that was left to the device, computed here: the field holds the
 * sum of the pseudo header already. A result of 0 is sent as all ones, which
 * is the same number and what UDP asks for (RFC 768). */
static void complete_checksum(struct pkt *p) {
    uint8_t *l4 = pkt_hdr(p);
    if (!(p->meta.flags & NETIO_CSUM_PARTIAL))
        return;
    uint64_t sum = csum_add(0, l4, pkt_hdr_len(p));
    /* The header is even in length, so the payload's pieces add up. */
    sum += csum_add_iov(0, p->iov + 1, p->niov, 0, p->payload);
    uint16_t csum = csum_finish(sum);
    if (csum == 0)
        csum = 0xffff;
    l4[p->meta.csum_offset] = (uint8_t)(csum >> 8);
    l4[p->meta.csum_offset + 1] = (uint8_t)csum;
    p->meta.flags &= (uint8_t)~NETIO_CSUM_PARTIAL;
}

/* Describe payload bytes [off, off + n) of `from` in `to`. */
static void add_slice(struct pkt *to, const struct pkt *from, uint32_t off,
                      uint32_t n) {
    for (unsigned i = 1; i <= from->niov && n; i++) {
        uint32_t len = (uint32_t)from->iov[i].iov_len;
        if (off >= len) {
            off -= len;
            continue;
        }
        uint32_t take = len - off < n ? len - off : n;
        pkt_add_payload(to, (uint8_t *)from->iov[i].iov_base + off, take);
        off = 0;
        n -= take;
    }
}

/* Cut p into pieces of at most mtu bytes, each a multiple of 8 but the last
 * (RFC 791 section 3.2). The transport header travels in the first. `whole` is
 * p itself, copied, because pkt_new hands out p's own place again. */
static int fragment_output(struct stack *st, const struct pkt *p, uint32_t mtu,
                           struct ipv4_hdr *h, const struct ipv4_opts *o,
                           const struct way *w) {
    struct pkt whole = *p;
    struct ipv4_opts later;
    if (o)
        ipv4_opts_copied(&later, o);
    complete_checksum(&whole);
    uint32_t l4 = pkt_hdr_len(&whole), total = l4 + whole.payload;
    uint32_t chunk = (mtu - header_len(o)) & ~7u;
    if (l4 > chunk)
        return -EMSGSIZE;
    for (uint32_t off = 0; off < total; off += chunk) {
        uint32_t n = total - off < chunk ? total - off : chunk;
        struct pkt *q = pkt_new(st);
        if (off == 0) {
            memcpy(pkt_push(q, l4), pkt_hdr(&whole), l4);
            add_slice(q, &whole, 0, n - l4);
        } else {
            add_slice(q, &whole, off - l4, n);
        }
        h->frag_off = (uint16_t)off;
        h->mf = off + n < total;
        push_header(q, h, o && off ? &later : o);
        emit(st, q, w);
        COUNT(st, ip_fragments_out);
    }
    return 0;
}

/* Length is judged before anything is written, so that a refused packet leaves
 * no trace. DF is not insisted on where the path is too narrow (path.c). A
 * broadcast also comes back to ourselves, as one packet (RFC 1122 section
 * 3.3.6 makes us one of its receivers). */
int ip_output(struct stack *st, struct pkt *p, const struct ip_tx *tx) {
    struct way w;
    struct ipv4_hdr h;
    int rc = find_way(st, tx, &w);
    if (rc < 0) {
        COUNT(st, ip_no_route);
        return rc;
    }
    uint32_t len = pkt_len(p) + header_len(tx->opts);
    uint32_t mtu = tx->link_mtu && w.cast != LOCAL ? st->sh->mtu
                                                   : ip_path_mtu(st, &tx->dst);
    bool super = p->meta.gso != NETIO_GSO_NONE;
    bool too_long = !super && len > mtu;
    bool df = tx->df == IP_DF_SET && !ip_path_locked(st, &tx->dst);
    if (too_long && (df || len > IPV4_MAX))
        return -EMSGSIZE;
    COUNT(st, ip_packets_out);
    fill_header(st, &h, tx, df);
    if (w.cast == LOCAL || w.cast == BROADCAST)
        send_to_self(st, p, h);
    if (w.cast == LOCAL)
        return 0;
    if (too_long)
        return fragment_output(st, p, mtu, &h, tx->opts, &w);
    push_header(p, &h, tx->opts);
    emit(st, p, &w);
    return 0;
}
