/* lib_wire_expect.c: looking at what the stack sent; see lib_wire.h. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/checksum.h"
#include "tests/traffic/lib_wire.h"
#include "tests/traffic/lib_wire_frame.h"

/* One line about a frame, for messages. */
static const char *describe(const struct got *g) {
    static char s[200];
    if (!g)
        return "nothing";
    if (g->eth.type == ETH_TYPE_ARP)
        snprintf(s, sizeof(s), "ARP op %u target %08x", g->arp.op,
                 g->arp.target_ip);
    else if (g->ip.frag_off || g->ip.mf)
        snprintf(s, sizeof(s), "fragment proto %u off %u mf %d len %u",
                 g->ip.proto, g->ip.frag_off, g->ip.mf, g->data_len);
    else if (g->ip.proto == IP_PROTO_TCP)
        snprintf(s, sizeof(s),
                 "TCP %u>%u flags %03x seq %u ack %u wnd %u len %u",
                 g->tcp.sport, g->tcp.dport, g->tcp.flags, g->tcp.seq,
                 g->tcp.ack, g->tcp.wnd, g->data_len);
    else if (g->ip.proto == IP_PROTO_UDP)
        snprintf(s, sizeof(s), "UDP %u>%u len %u", g->udp.sport, g->udp.dport,
                 g->data_len);
    else if (g->ip.proto == IP_PROTO_ICMP)
        snprintf(s, sizeof(s), "ICMP type %u code %u", g->icmp.type,
                 g->icmp.code);
    else
        snprintf(s, sizeof(s), "type %04x", g->eth.type);
    return s;
}

#define CHECK(cond, g, line, ...)                                              \
    do {                                                                       \
        char why_[200];                                                        \
        snprintf(why_, sizeof(why_), __VA_ARGS__);                             \
        cr_assert(cond, "line %d: %s; came: %s", line, why_, describe(g));     \
    } while (0)

/* Is the transport checksum complete and right, or partial and right? at: the
 * offset of its field; pseudo: the pseudo header's sum. */
static void check_csum(const struct got *g, unsigned at, uint64_t pseudo,
                       int line) {
    const uint8_t *l4 = g->ip.payload;
    uint32_t len = g->ip.payload_len;
    if (g->meta.flags & NETIO_CSUM_PARTIAL) {
        uint16_t field = (uint16_t)(l4[at] << 8 | l4[at + 1]);
        CHECK(g->meta.csum_start == l4 - g->frame, g, line, "csum_start %u",
              g->meta.csum_start);
        CHECK(g->meta.csum_offset == at, g, line, "csum_offset");
        CHECK(field == csum_fold(pseudo), g, line, "partial checksum");
    } else {
        CHECK(csum_fold(csum_add(pseudo, l4, len)) == 0xffff, g, line,
              "checksum");
    }
}

/* Where the packet goes in the end: what a source route lists last (RFC 9293
 * section 3.1 wants that in the pseudo header). */
static uint32_t final_destination(const struct got *g) {
    const uint8_t *l3 = g->frame + ETH_HDR_LEN;
    for (unsigned at = IPV4_HDR_MIN; at < g->ip.hdr_len && l3[at];) {
        if (l3[at] == 131 || l3[at] == 137) {
            const uint8_t *d = l3 + at + l3[at + 1] - 4;
            return IP4(d[0], d[1], d[2], d[3]);
        }
        at += l3[at] == 1 ? 1 : l3[at + 1];
    }
    return g->ip.dst;
}

static uint64_t pseudo_sum(const struct got *g) {
    struct ip_addr s = ip_from_v4(g->ip.src);
    struct ip_addr d = ip_from_v4(final_destination(g));
    return csum_pseudo(&s, &d, g->ip.proto, g->ip.payload_len);
}

/* An unfragmented packet's transport. */
static void parse_transport(struct got *g, int line) {
    const uint8_t *l4 = g->ip.payload;
    uint32_t len = g->ip.payload_len, hl = 0;
    if (g->ip.proto == IP_PROTO_TCP) {
        CHECK(tcp_parse(l4, len, &g->tcp, &g->opts), g, line, "bad TCP");
        check_csum(g, TCP_CSUM_OFFSET, pseudo_sum(g), line);
        hl = g->tcp.hdr_len;
    } else if (g->ip.proto == IP_PROTO_UDP) {
        bool big = g->meta.gso == NETIO_GSO_UDP;
        CHECK(udp_parse(l4, len, big, &g->udp), g, line, "bad UDP");
        CHECK(g->udp.len == len, g, line, "UDP length");
        if (g->udp.csum)
            check_csum(g, UDP_CSUM_OFFSET, pseudo_sum(g), line);
        hl = UDP_HDR_LEN;
    } else if (g->ip.proto == IP_PROTO_ICMP) {
        CHECK(icmp_parse(l4, len, &g->icmp), g, line, "bad ICMP");
        check_csum(g, 2, 0, line);
        hl = ICMP_HDR_LEN;
    }
    g->data = l4 + hl;
    g->data_len = len - hl;
    if (g->meta.gso)
        CHECK(g->meta.hdr_len == g->data - g->frame, g, line, "hdr_len");
}

static void parse(struct wire *w, struct got *g, int line) {
    const uint8_t *l3 = g->frame + ETH_HDR_LEN;
    uint32_t l3_len = g->len - ETH_HDR_LEN;
    CHECK(eth_parse(g->frame, g->len, &g->eth), g, line, "short frame");
    CHECK(memcmp(g->eth.src, OUR_MAC, 6) == 0, g, line, "not our MAC");
    if (g->eth.type == ETH_TYPE_ARP) {
        CHECK(arp_parse(l3, l3_len, &g->arp), g, line, "bad ARP");
        return;
    }
    CHECK(g->eth.type == ETH_TYPE_IPV4, g, line, "type %04x", g->eth.type);
    bool big = g->meta.gso != NETIO_GSO_NONE;
    CHECK(ipv4_parse(l3, l3_len, big, &g->ip) == IPV4_OK, g, line, "bad IP");
    CHECK(g->ip.total_len == l3_len, g, line, "IP length");
    CHECK(big || l3_len <= w->io.mtu, g, line, "longer than the MTU");
    CHECK(g->ip.ttl > 0, g, line, "TTL 0");
    if (g->ip.mf || g->ip.frag_off) {
        CHECK(!(g->meta.flags & NETIO_CSUM_PARTIAL), g, line,
              "a fragment's checksum must be complete");
        CHECK(!g->ip.df, g, line, "fragment with DF");
        g->data = g->ip.payload;
        g->data_len = g->ip.payload_len;
    } else {
        parse_transport(g, line);
    }
}

const struct got *wire_take(struct wire *w, int line) {
    struct wire_frame *f = w->out;
    if (w->got) {
        free(w->got->frame);
        free(w->got);
        w->got = NULL;
    }
    if (!f)
        return NULL;
    w->out = f->next;
    struct got *g = calloc(1, sizeof(*g));
    g->at = f->at;
    g->meta = f->meta;
    g->len = f->len;
    g->frame = malloc(f->len);
    memcpy(g->frame, f->data, f->len);
    free(f);
    w->got = g;
    parse(w, g, line);
    if (w->trace)
        fprintf(stderr, "%9.6f %s\n", (double)g->at / 1e9, describe(g));
    return g;
}

unsigned wire_pending(struct wire *w) {
    unsigned n = 0;
    for (struct wire_frame *f = w->out; f; f = f->next)
        n++;
    return n;
}

const struct got *wire_expect_arp(struct wire *w, uint16_t op,
                                  uint32_t target_ip, int line) {
    const struct got *g = wire_take(w, line);
    CHECK(g && g->eth.type == ETH_TYPE_ARP && g->arp.op == op &&
              g->arp.target_ip == target_ip,
          g, line, "expected ARP op %u target %08x", op, target_ip);
    CHECK(memcmp(g->arp.sender_mac, OUR_MAC, 6) == 0 &&
              g->arp.sender_ip == OUR_IP,
          g, line, "ARP sender");
    return g;
}

const struct got *wire_expect_ip(struct wire *w, uint8_t proto, int line) {
    const struct got *g = wire_take(w, line);
    CHECK(g && g->eth.type == ETH_TYPE_IPV4 && g->ip.proto == proto, g, line,
          "expected IP protocol %u", proto);
    return g;
}

/* Payload against a template: its bytes or the pattern. */
static void check_data(const struct got *g, const void *data, uint32_t len,
                       int line) {
    CHECK(g->data_len == len, g, line, "expected %u bytes of payload", len);
    uint8_t *want = malloc(len + 1);
    if (data)
        memcpy(want, data, len);
    else
        wire_pattern(want, 0, len);
    CHECK(memcmp(want, g->data, len) == 0, g, line, "payload differs");
    free(want);
}

static void check_ends(const struct got *g, uint32_t src, uint32_t dst,
                       int line) {
    CHECK(g->ip.src == (src ? src : OUR_IP), g, line, "source %08x", g->ip.src);
    CHECK(g->ip.dst == (dst ? dst : PEER_IP), g, line, "destination %08x",
          g->ip.dst);
}

const struct got *wire_expect_tcp(struct wire *w, struct seg s, int line) {
    const struct got *g = wire_take(w, line);
    CHECK(g && g->eth.type == ETH_TYPE_IPV4 && g->ip.proto == IP_PROTO_TCP &&
              !g->ip.frag_off,
          g, line, "expected TCP flags %03x", s.flags);
    check_ends(g, s.src, s.dst, line);
    CHECK(g->tcp.sport == (s.sport ? s.sport : OUR_PORT), g, line, "sport");
    CHECK(g->tcp.dport == (s.dport ? s.dport : PEER_PORT), g, line, "dport");
    CHECK(g->tcp.flags == s.flags, g, line, "expected flags %03x", s.flags);
    CHECK(s.any_seq || g->tcp.seq == s.seq, g, line, "expected seq %u", s.seq);
    CHECK(s.any_ack || g->tcp.ack == s.ack, g, line, "expected ack %u", s.ack);
    if (s.wnd || s.zero_wnd)
        CHECK(g->tcp.wnd == s.wnd, g, line, "expected wnd %u", s.wnd);
    if (s.data)
        check_data(g, s.data, s.len, line);
    else if (!s.any_len)
        CHECK(g->data_len == s.len, g, line, "expected %u bytes", s.len);
    return g;
}

const struct got *wire_expect_udp(struct wire *w, struct dgram d, int line) {
    const struct got *g = wire_take(w, line);
    CHECK(g && g->eth.type == ETH_TYPE_IPV4 && g->ip.proto == IP_PROTO_UDP &&
              !g->ip.frag_off && !g->ip.mf,
          g, line, "expected UDP");
    check_ends(g, d.src, d.dst, line);
    CHECK(g->udp.sport == (d.sport ? d.sport : OUR_PORT), g, line, "sport");
    CHECK(g->udp.dport == (d.dport ? d.dport : PEER_PORT), g, line, "dport");
    if (d.ttl)
        CHECK(g->ip.ttl == d.ttl, g, line, "TTL %u", g->ip.ttl);
    if (d.tos)
        CHECK(g->ip.tos == d.tos, g, line, "TOS %u", g->ip.tos);
    check_data(g, d.data, d.len, line);
    return g;
}

const struct got *wire_expect_icmp(struct wire *w, uint8_t type, uint8_t code,
                                   int line) {
    const struct got *g = wire_take(w, line);
    CHECK(g && g->eth.type == ETH_TYPE_IPV4 && g->ip.proto == IP_PROTO_ICMP &&
              !g->ip.frag_off && !g->ip.mf && g->icmp.type == type &&
              g->icmp.code == code,
          g, line, "expected ICMP %u/%u", type, code);
    return g;
}

void wire_expect_nothing(struct wire *w, nstime_t ns, int line) {
    if (ns)
        wire_run(w, ns);
    const struct got *g = wire_take(w, line);
    CHECK(!g, g, line, "expected nothing");
}
