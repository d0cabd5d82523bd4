/* exec_packets.c: packets of the script on their way in. */
#include <string.h>

#include "stack/checksum.h"
#include "tests/scripts/exec.h"

/* Network order. */
static void put16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* Network order. */
static void put32(uint8_t *p, uint32_t v) {
    put16(p, v >> 16);
    put16(p + 2, v);
}

/* ---- TCP options ------------------------------------------------------------ */

/* TSecr: the live value behind the one that the script expected to be sent. */
static uint32_t echo_to_live(const struct flow *f, uint32_t script) {
    for (const struct ts_pair *t = f->ts; t; t = t->next)
        if (t->script == script)
            return t->live;
    return f->ts_known ? script - f->ts_script + f->ts_live : script;
}

/* One option; returns its bytes. */
static unsigned encode_one(const struct flow *f, const struct opt *o,
                           uint8_t *p) {
    unsigned n = 2;
    p[0] = o->kind;
    switch (o->kind) {
    case O_EOL:
    case O_NOP:
        return 1;
    case O_MSS:
        put16(p + 2, o->a);
        n = 4;
        break;
    case O_WSCALE:
        p[2] = (uint8_t)o->a;
        n = 3;
        break;
    case O_TS:
        put32(p + 2, o->a);
        put32(p + 6, echo_to_live(f, o->b));
        n = 10;
        break;
    case O_SACK:
        for (int i = 0; i < o->n; i++, n += 8) {
            put32(p + n, flow_to_live(f, o->sack[i].left));
            put32(p + n + 4, flow_to_live(f, o->sack[i].right));
        }
        break;
    case O_EXPERIMENT:
        put16(p + 2, 0xf989);
        n = 4;
        /* fall through */
    default:
        memcpy(p + n, o->data, o->n);
        n += o->n;
    }
    p[1] = (uint8_t)n;
    return n;
}

/* Returns bytes, a multiple of 4; 40 at most. */
unsigned encode_opts(struct run *r, const struct flow *f, const struct spec *p,
                     uint8_t *to) {
    unsigned n = 0;
    for (int i = 0; i < p->n_opts; i++) {
        uint8_t one[80] = {0};
        unsigned len = encode_one(f, &p->opts[i], one);
        if (n + len > TCP_OPTS_MAX)
            fail(r, "the TCP options do not fit into 40 bytes");
        memcpy(to + n, one, len);
        n += len;
    }
    while (n % 4)
        to[n++] = O_EOL;
    return n;
}

/* ---- building ----------------------------------------------------------------- */

/* Put a header in front and let the stack have it. */
static void send_ip(struct run *r, const struct spec *p, uint8_t proto,
                    uint32_t src, const uint8_t *l4, uint32_t len) {
    static uint16_t id;
    uint8_t *l3 = keep(IPV4_HDR_MIN + len);
    struct ipv4_hdr h = {.tos = p->tos,
                         .total_len = IPV4_HDR_MIN + len,
                         .id = ++id,
                         .df = proto == IP_PROTO_TCP,
                         .ttl = p->ttl ? p->ttl : 64,
                         .proto = proto,
                         .src = src,
                         .dst = r->w->our_ip};
    ipv4_emit(l3, &h);
    memcpy(l3 + IPV4_HDR_MIN, l4, len);
    world_inject(r->w, l3, IPV4_HDR_MIN + len);
}

/* Remember where the peer's numbers begin. A second SYN may be the start of
 * another connection, whose numbers the answer tells. */
static void note_syn(struct flow *f, const struct spec *p) {
    if (!(p->flags & TCP_SYN))
        return;
    f->remap = f->has_irs && !(p->flags & TCP_ACK);
    f->has_irs = true;
    f->irs = p->seq;
}

/* A segment of the peer, its payload the pattern at that place. */
static void inject_tcp(struct run *r, const struct spec *p) {
    struct flow *f = flow_for_inbound(r, p);
    uint8_t *l4 = keep(TCP_HDR_MAX + p->len);
    uint8_t opts[TCP_OPTS_MAX + 4] = {0};
    unsigned n = encode_opts(r, f, p, opts), hl = TCP_HDR_MIN + n;
    note_syn(f, p);
    bool counts = f->relative && f->has_irs && !(p->flags & TCP_SYN);
    uint32_t seq = p->seq + (counts ? f->irs : 0);
    struct tcp_hdr h = {.sport = f->rport,
                        .dport = f->lport,
                        .seq = seq,
                        .ack = p->has_ack ? flow_to_live(f, p->ack) : 0,
                        .flags = p->flags,
                        .wnd = p->win,
                        .urg = p->urg};
    tcp_emit(l4, &h, NULL);
    l4[12] = (uint8_t)((hl / 4) << 4 | (l4[12] & 0x0f));
    memcpy(l4 + TCP_HDR_MIN, opts, n);
    uint32_t first = f->irs + 1;
    fill_pattern(l4 + hl, p->flags & TCP_SYN ? 0 : seq - first, p->len);
    tcp_set_csum(l4, world_csum(r->w->peer_ip, r->w->our_ip, IP_PROTO_TCP, l4,
                                hl + p->len));
    send_ip(r, p, IP_PROTO_TCP, r->w->peer_ip, l4, hl + p->len);
}

/* A datagram of the peer. */
static void inject_udp(struct run *r, const struct spec *p) {
    struct flow *f = flow_for_inbound(r, p);
    uint32_t len = UDP_HDR_LEN + p->len;
    uint8_t *l4 = keep(len);
    struct udp_hdr h = {.sport = f->rport, .dport = f->lport, .len = len};
    udp_emit(l4, &h);
    fill_pattern(l4 + UDP_HDR_LEN, 0, p->len);
    udp_set_csum(l4, world_csum(r->w->peer_ip, r->w->our_ip, IP_PROTO_UDP, l4,
                                len));
    send_ip(r, p, IP_PROTO_UDP, r->w->peer_ip, l4, len);
}

/* ---- ICMP ------------------------------------------------------------------------ */

static const char *const unreachable_codes[] = {"net_unreachable",
                                                "host_unreachable",
                                                "protocol_unreachable",
                                                "port_unreachable",
                                                "frag_needed",
                                                "source_route_failed",
                                                "net_unknown",
                                                "host_unknown",
                                                "source_host_isolated",
                                                "net_prohibited",
                                                "host_prohibited",
                                                "net_unreachable_for_tos",
                                                "host_unreachable_for_tos",
                                                "packet_filtered",
                                                "precedence_violation",
                                                "precedence_cutoff"};

/* -1: unknown. */
int icmp_type_of(const char *name) {
    static const struct {
        const char *name;
        int type;
    } types[] = {{"echo_reply", ICMP_ECHO_REPLY},
                 {"unreachable", ICMP_UNREACHABLE},
                 {"destination_unreachable", ICMP_UNREACHABLE},
                 {"source_quench", ICMP_SOURCE_QUENCH},
                 {"redirect", ICMP_REDIRECT},
                 {"echo_request", ICMP_ECHO},
                 {"time_exceeded", ICMP_TIME_EXCEEDED},
                 {"parameter_problem", ICMP_PARAM_PROBLEM}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    return -1;
}

/* -1: unknown. No name: 0. */
int icmp_code_of(int type, const char *name) {
    if (!name)
        return 0;
    if (type == ICMP_TIME_EXCEEDED)
        return strcmp(name, "reassembly") == 0;
    if (type == ICMP_UNREACHABLE)
        for (int i = 0; i < ICMP_UNREACH_CODES; i++)
            if (strcmp(unreachable_codes[i], name) == 0)
                return i;
    return -1;
}

/* The IP header and the first 8 bytes of what we are said to have sent. */
static uint32_t quote(struct run *r, const struct spec *p, uint8_t *to) {
    struct flow *f = flow_for_inbound(r, p);
    uint32_t hdr = p->quote_udp ? UDP_HDR_LEN : TCP_HDR_MIN;
    struct ipv4_hdr h = {.total_len = IPV4_HDR_MIN + hdr + p->len,
                         .df = true,
                         .ttl = 60,
                         .proto = p->quote_udp ? IP_PROTO_UDP : IP_PROTO_TCP,
                         .src = r->w->our_ip,
                         .dst = r->w->peer_ip};
    uint8_t *l4 = to + IPV4_HDR_MIN;
    ipv4_emit(to, &h);
    put16(l4, f->lport);
    put16(l4 + 2, f->rport);
    if (p->quote_udp)
        put16(l4 + 4, UDP_HDR_LEN + p->len);
    else
        put32(l4 + 4, flow_to_live(f, p->seq));
    return IPV4_HDR_MIN + 8;
}

/* Errors come from the gateway, the rest from the peer. */
static void inject_icmp(struct run *r, const struct spec *p) {
    uint8_t l4[ICMP_HDR_LEN + IPV4_HDR_MAX + 8] = {0};
    int type = icmp_type_of(p->icmp_type);
    int code = type < 0 ? -1 : icmp_code_of(type, p->icmp_code);
    if (code < 0)
        unsupported(r, "icmp %s %s", p->icmp_type,
                    p->icmp_code ? p->icmp_code : "");
    struct icmp_hdr h = {.type = (uint8_t)type,
                         .code = (uint8_t)code,
                         .mtu = (uint16_t)p->mtu,
                         .id = (uint16_t)p->icmp_id};
    uint32_t len = ICMP_HDR_LEN;
    icmp_emit(l4, &h);
    if (icmp_is_error((uint8_t)type))
        len += quote(r, p, l4 + ICMP_HDR_LEN);
    icmp_set_csum(l4, csum_finish(csum_add(0, l4, len)));
    send_ip(r, p, IP_PROTO_ICMP,
            icmp_is_error((uint8_t)type) ? r->w->gateway_ip : r->w->peer_ip, l4,
            len);
}

/* A packet of the script, now. */
void inject_packet(struct run *r, const struct spec *p) {
    if (p->proto == P_TCP)
        inject_tcp(r, p);
    else if (p->proto == P_UDP)
        inject_udp(r, p);
    else
        inject_icmp(r, p);
}
