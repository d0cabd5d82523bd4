/* fuzz_tcp_options.c: every wire format: parse, write again, parse again.
 *
 * The first byte chooses the format, the rest is the packet, in memory of
 * exactly its length, so that reading beyond it is seen. What was parsed and
 * is written must parse to the same thing.
 */
#include "stack/wire/arp.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"
#include "stack/wire/udp.h"
#include "tests/fuzz/feed.h"

/* Options survive unless they were malformed, or SACK blocks had no room. */
static void same_options(const struct tcp_opts *a, const struct tcp_opts *b) {
    MUST(a->mss == b->mss);
    MUST(a->has_wscale == b->has_wscale);
    MUST(!a->has_wscale || a->wscale == b->wscale);
    MUST(a->sack_permitted == b->sack_permitted);
    MUST(a->ts == b->ts);
    MUST(!a->ts || (a->tsval == b->tsval && a->tsecr == b->tsecr));
    MUST(b->n_sack <= a->n_sack);
    for (unsigned i = 0; i < b->n_sack; i++) {
        MUST(a->sack[i].left == b->sack[i].left);
        MUST(a->sack[i].right == b->sack[i].right);
    }
    MUST(!b->malformed && !b->unknown);
}

static void round_tcp(const uint8_t *p, uint32_t n) {
    struct tcp_hdr h, g;
    struct tcp_opts o, q;
    uint8_t out[TCP_HDR_MAX];
    if (!tcp_parse(p, n, &h, &o)) {
        MUST(n < TCP_HDR_MIN || (p[12] >> 4) < 5 ||
             (uint32_t)(p[12] >> 4) * 4 > n);
        return;
    }
    MUST(h.hdr_len >= TCP_HDR_MIN && h.hdr_len <= n);
    MUST(o.n_sack <= TCP_SACK_MAX);
    unsigned room = tcp_opts_len(&o);
    MUST(room % 4 == 0 && room <= TCP_OPTS_MAX);
    memset(out, 0xee, sizeof(out));
    unsigned len = tcp_emit(out, &h, &o);
    MUST(len == TCP_HDR_MIN + room);
    for (unsigned i = len; i < sizeof(out); i++)
        MUST(out[i] == 0xee);
    MUST(tcp_parse(out, len, &g, &q));
    MUST(g.sport == h.sport && g.dport == h.dport);
    MUST(g.seq == h.seq && g.ack == h.ack);
    MUST(g.flags == h.flags && g.wnd == h.wnd && g.urg == h.urg);
    MUST(g.hdr_len == len && g.csum == 0);
    same_options(&o, &q);
    tcp_set_csum(out, h.csum);
    MUST(tcp_parse(out, len, &g, NULL) && g.csum == h.csum);
    tcp_parse_quote(p, &g);
    MUST(g.sport == h.sport && g.dport == h.dport && g.seq == h.seq);
}

static void round_ipv4(const uint8_t *p, uint32_t n, bool big) {
    struct ipv4_hdr h, g;
    uint8_t out[IPV4_HDR_MIN];
    bool route;
    if (ipv4_parse_quote(p, n, &h)) {
        MUST(h.payload >= p && h.payload + h.payload_len <= p + n);
        ipv4_check_options(p, &h, &route);
    }
    if (ipv4_parse(p, n, big, &h) != IPV4_OK)
        return;
    MUST(h.hdr_len >= IPV4_HDR_MIN && h.hdr_len <= n);
    MUST(h.payload == p + h.hdr_len && h.payload_len <= n - h.hdr_len);
    unsigned bad = ipv4_check_options(p, &h, &route);
    MUST(bad == 0 || (bad >= IPV4_HDR_MIN && bad < h.hdr_len));
    h.total_len = IPV4_HDR_MIN + h.payload_len;
    if (h.total_len > IPV4_MAX)
        return;
    ipv4_emit(out, &h);
    uint8_t *whole = malloc(h.total_len);
    MUST(whole);
    memcpy(whole, out, IPV4_HDR_MIN);
    memcpy(whole + IPV4_HDR_MIN, h.payload, h.payload_len);
    MUST(ipv4_parse(whole, h.total_len, false, &g) == IPV4_OK);
    MUST(g.tos == h.tos && g.id == h.id && g.df == h.df && g.mf == h.mf);
    MUST(g.frag_off == h.frag_off && g.ttl == h.ttl && g.proto == h.proto);
    MUST(g.src == h.src && g.dst == h.dst && g.total_len == h.total_len);
    free(whole);
}

static void round_udp(const uint8_t *p, uint32_t n, bool big) {
    struct udp_hdr h, g;
    uint8_t out[UDP_HDR_LEN];
    if (!udp_parse(p, n, big, &h))
        return;
    MUST(h.len >= UDP_HDR_LEN && h.len <= n);
    udp_emit(out, &h);
    udp_parse_quote(out, UDP_HDR_LEN, &g);
    MUST(g.sport == h.sport && g.dport == h.dport);
    MUST(big || memcmp(out, p, UDP_HDR_LEN) == 0);
}

static void round_icmp(const uint8_t *p, uint32_t n) {
    struct icmp_hdr h, g;
    uint8_t out[ICMP_HDR_LEN];
    if (!icmp_parse(p, n, &h)) {
        MUST(n < ICMP_HDR_LEN);
        return;
    }
    MUST(h.data >= p && h.data + h.data_len <= p + n);
    icmp_emit(out, &h);
    MUST(icmp_parse(out, ICMP_HDR_LEN, &g));
    MUST(g.type == h.type && g.code == h.code && g.id == h.id);
    MUST(g.seq == h.seq && g.mtu == h.mtu && g.pointer == h.pointer);
}

static void round_link(const uint8_t *p, uint32_t n) {
    struct eth_hdr e;
    struct arp_pkt a, b;
    uint8_t out[ARP_PKT_LEN];
    if (eth_parse(p, n, &e)) {
        eth_emit(out, &e);
        MUST(memcmp(out, p, ETH_HDR_LEN) == 0);
    }
    if (!arp_parse(p, n, &a))
        return;
    arp_emit(out, &a);
    MUST(memcmp(out, p, ARP_PKT_LEN) == 0);
    MUST(arp_parse(out, ARP_PKT_LEN, &b) && b.op == a.op);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 70000)
        return 0;
    uint32_t n = (uint32_t)size - 1;
    uint8_t *p = malloc(n ? n : 1);
    MUST(p);
    memcpy(p, data + 1, n);
    switch (data[0] % 8) {
    case 4:
    case 5:
        round_ipv4(p, n, data[0] % 2);
        break;
    case 6:
        round_udp(p, n, data[0] & 8);
        break;
    case 7:
        if (data[0] & 8)
            round_icmp(p, n);
        else
            round_link(p, n);
        break;
    default:
        round_tcp(p, n);
    }
    free(p);
    return 0;
}
