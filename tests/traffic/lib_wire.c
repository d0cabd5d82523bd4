/* lib_wire.c: the netio, building and injecting frames, time. What comes out
 * is looked at in lib_wire_expect.c. */
#include "tests/traffic/lib_wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/checksum.h"
#include "tests/traffic/lib_wire_frame.h"

const uint8_t OUR_MAC[6] = {0x02, 0, 0, 0, 0, 0x01};
const uint8_t PEER_MAC[6] = {0x02, 0, 0, 0, 0, 0x02};
const uint8_t OTHER_MAC[6] = {0x02, 0, 0, 0, 0, 0x03};
const uint8_t GATEWAY_MAC[6] = {0x02, 0, 0, 0, 0, 0xfe};
const uint8_t ALL_MAC[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* ---- netio ------------------------------------------------------------ */

static struct wire *wire_of(struct netio *io) {
    return (struct wire *)((char *)io - offsetof(struct wire, io));
}

static void append(struct wire_frame **head, struct wire_frame **end,
                   struct wire_frame *f) {
    f->next = NULL;
    if (*head)
        (*end)->next = f;
    else
        *head = f;
    *end = f;
}

static int rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct wire *w = wire_of(io);
    struct wire_frame *q = w->in;
    if (w->link_down)
        return -ENETDOWN;
    if (!q)
        return 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < f->niov && at < q->len; i++) {
        uint32_t left = q->len - at, n = (uint32_t)f->iov[i].iov_len;
        n = n < left ? n : left;
        memcpy(f->iov[i].iov_base, q->data + at, n);
        at += n;
    }
    cr_assert_eq(at, q->len, "rx room");
    f->len = q->len;
    f->meta = q->meta;
    w->in = q->next;
    free(q);
    return 1;
}

static void tx_one(struct wire *w, const struct netio_frame *f, nstime_t now) {
    struct wire_frame *q = malloc(sizeof(*q) + f->len);
    uint32_t at = 0;
    for (uint32_t i = 0; i < f->niov; i++) {
        cr_assert(at + f->iov[i].iov_len <= f->len, "gather list too long");
        memcpy(q->data + at, f->iov[i].iov_base, f->iov[i].iov_len);
        at += (uint32_t)f->iov[i].iov_len;
    }
    cr_assert_eq(at, f->len, "gather list too short");
    q->at = now;
    q->meta = f->meta;
    q->len = f->len;
    if (w->trace)
        fprintf(stderr, "%9.6f out %u bytes\n", (double)now / 1e9, q->len);
    append(&w->out, &w->out_end, q);
}

static int tx(struct netio *io, struct netio_frame *f, unsigned n,
              nstime_t now) {
    struct wire *w = wire_of(io);
    if (w->link_down)
        return -ENETDOWN;
    if (w->refuse_tx)
        return -ENOBUFS;
    for (unsigned i = 0; i < n; i++)
        tx_one(w, &f[i], now);
    return (int)n;
}

static const struct netio_ops ops = {.name = "script", .rx = rx, .tx = tx};

/* ---- life ------------------------------------------------------------- */

static void *pages(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(p, MAP_FAILED, "no memory");
    return p;
}

struct wire *wire_new(const struct wire_config *c) {
    static const struct wire_config none;
    if (!c)
        c = &none;
    struct wire *w = calloc(1, sizeof(*w));
    w->now = 1000 * SEC;
    w->arena_size = c->arena ? c->arena : 32u << 20;
    w->arena = pages(w->arena_size);
    w->handle = pages(stack_handle_size());
    w->io.ops = &ops;
    w->io.fd = -1;
    w->io.mtu = c->mtu ? c->mtu : 1500;
    struct stack_config sc = {.mtu = w->io.mtu,
                              .addr = ip_from_v4(OUR_IP),
                              .prefix_len = c->prefix_len ? c->prefix_len : 24,
                              .now = w->now};
    memcpy(sc.mac, OUR_MAC, 6);
    memset(sc.seed, c->seed, sizeof(sc.seed));
    if (!c->no_gateway)
        sc.gateway = ip_from_v4(GATEWAY_IP);
    cr_assert_eq(stack_create(w->arena, w->arena_size, &sc), 0);
    w->st = stack_attach(w->handle, w->arena, &w->io);
    cr_assert_not_null(w->st);
    stack_now(w->st, w->now);
    return w;
}

static void free_frames(struct wire_frame *f) {
    while (f) {
        struct wire_frame *next = f->next;
        free(f);
        f = next;
    }
}

void wire_drop(struct wire *w) {
    free_frames(w->in);
    free_frames(w->out);
    if (w->got)
        free(w->got->frame);
    free(w->got);
    munmap(w->arena, w->arena_size);
    munmap(w->handle, stack_handle_size());
    free(w);
}

void wire_end(struct wire *w) {
    expect_nothing(w);
    cr_assert_eq(counter(w, bad_free), 0, "memory was freed wrongly");
    wire_drop(w);
}

/* ---- frames in -------------------------------------------------------- */

void wire_inject(struct wire *w, const void *frame, uint32_t len) {
    struct wire_frame *q = malloc(sizeof(*q) + len);
    memcpy(q->data, frame, len);
    q->len = len;
    q->meta = w->rx_meta;
    memset(&w->rx_meta, 0, sizeof(w->rx_meta));
    if (w->trace)
        fprintf(stderr, "%9.6f in %u bytes\n", (double)w->now / 1e9, len);
    append(&w->in, &w->in_end, q);
    stack_now(w->st, w->now);
    stack_poll(w->st, 64);
}

void wire_eth(struct wire *w, const uint8_t src[6], const uint8_t dst[6],
              uint16_t type, const void *data, uint32_t len) {
    uint32_t size = ETH_HDR_LEN + len;
    uint8_t *frame = malloc(size);
    struct eth_hdr eh = {.type = type};
    memcpy(eh.src, src, 6);
    memcpy(eh.dst, dst, 6);
    eth_emit(frame, &eh);
    if (len)
        memcpy(frame + ETH_HDR_LEN, data, len);
    wire_inject(w, frame, size);
    free(frame);
}

static const uint8_t *mac_of(uint32_t ip) {
    if (ip == PEER_IP)
        return PEER_MAC;
    return ip == OTHER_IP ? OTHER_MAC : GATEWAY_MAC;
}

void wire_ip(struct wire *w, struct ipv4_hdr h, const void *data,
             uint32_t len) {
    uint8_t *p = malloc(IPV4_HDR_MIN + len);
    h.src = h.src ? h.src : PEER_IP;
    h.dst = h.dst ? h.dst : OUR_IP;
    h.ttl = h.ttl ? h.ttl : 64;
    h.id = h.id ? h.id : ++w->ip_id;
    h.total_len = IPV4_HDR_MIN + len;
    ipv4_emit(p, &h);
    if (len)
        memcpy(p + IPV4_HDR_MIN, data, len);
    bool all = h.dst == 0xffffffff || h.dst == SUBNET_BROADCAST;
    wire_eth(w, mac_of(h.src), all ? ALL_MAC : OUR_MAC, ETH_TYPE_IPV4, p,
             IPV4_HDR_MIN + len);
    free(p);
}

void wire_fragments(struct wire *w, struct ipv4_hdr h, const void *data,
                    uint32_t len, uint32_t mtu, const int *order, int n) {
    uint32_t chunk = (mtu - IPV4_HDR_MIN) & ~7u;
    int count = (int)((len + chunk - 1) / chunk);
    h.id = h.id ? h.id : ++w->ip_id;
    for (int i = 0; i < (order ? n : count); i++) {
        uint32_t off = (uint32_t)(order ? order[i] : i) * chunk;
        uint32_t take = len - off < chunk ? len - off : chunk;
        h.frag_off = (uint16_t)off;
        h.mf = off + take < len;
        wire_ip(w, h, (const uint8_t *)data + off, take);
    }
}

void wire_arp(struct wire *w, struct arp_pkt a, const uint8_t eth_dst[6]) {
    uint8_t p[46] = {0}; /* padded as on a real wire (IEEE 802.3, 4A.2.3.3) */
    arp_emit(p, &a);
    wire_eth(w, a.sender_mac, eth_dst, ETH_TYPE_ARP, p, sizeof(p));
}

void wire_meet(struct wire *w, uint32_t ip, const uint8_t mac[6]) {
    struct arp_pkt a = {.op = ARP_REQUEST,
                        .sender_ip = ip,
                        .target_ip = OUR_IP};
    memcpy(a.sender_mac, mac, 6);
    wire_arp(w, a, ALL_MAC);
    expect_arp(w, ARP_REPLY, ip);
}

void wire_pattern(uint8_t *to, uint32_t from, uint32_t len) {
    for (uint32_t i = 0; i < len; i++)
        to[i] = (uint8_t)((from + i) * 31 + ((from + i) >> 8) * 7 + 5);
}

/* Payload of a template: its bytes, or the pattern. */
static void put_data(uint8_t *to, const void *data, uint32_t len) {
    if (data)
        memcpy(to, data, len);
    else
        wire_pattern(to, 0, len);
}

static uint16_t checksum(uint32_t src, uint32_t dst, uint8_t proto,
                         const uint8_t *l4, uint32_t len) {
    struct ip_addr s = ip_from_v4(src), d = ip_from_v4(dst);
    return csum_finish(csum_add(csum_pseudo(&s, &d, proto, len), l4, len));
}

uint32_t wire_build_udp(uint8_t *to, struct dgram d) {
    uint32_t len = UDP_HDR_LEN + d.len;
    struct udp_hdr h = {.sport = d.sport ? d.sport : PEER_PORT,
                        .dport = d.dport ? d.dport : OUR_PORT,
                        .len = len};
    udp_emit(to, &h);
    put_data(to + UDP_HDR_LEN, d.data, d.len);
    uint16_t sum = checksum(d.src ? d.src : PEER_IP, d.dst ? d.dst : OUR_IP,
                            IP_PROTO_UDP, to, len);
    if (!d.no_csum)
        udp_set_csum(to, d.bad_csum ? (uint16_t)(sum ^ 0x5555) : sum);
    return len;
}

void wire_udp(struct wire *w, struct dgram d) {
    uint8_t *l4 = malloc(UDP_HDR_LEN + d.len);
    uint32_t len = wire_build_udp(l4, d);
    struct ipv4_hdr h = {.src = d.src,
                         .dst = d.dst,
                         .proto = IP_PROTO_UDP,
                         .ttl = d.ttl,
                         .tos = d.tos};
    wire_ip(w, h, l4, len);
    free(l4);
}

uint32_t wire_build_tcp(uint8_t *to, struct seg s) {
    struct tcp_hdr h = {.sport = s.sport ? s.sport : PEER_PORT,
                        .dport = s.dport ? s.dport : OUR_PORT,
                        .seq = s.seq,
                        .ack = s.ack,
                        .flags = s.flags,
                        .wnd = s.wnd || s.zero_wnd ? s.wnd : 65535,
                        .urg = s.urg};
    uint32_t hl = tcp_emit(to, &h, &s.opts);
    put_data(to + hl, s.data, s.len);
    tcp_set_csum(to, checksum(s.src ? s.src : PEER_IP, s.dst ? s.dst : OUR_IP,
                              IP_PROTO_TCP, to, hl + s.len));
    return hl + s.len;
}

void wire_tcp(struct wire *w, struct seg s) {
    uint8_t *l4 = malloc(TCP_HDR_MAX + s.len);
    uint32_t len = wire_build_tcp(l4, s);
    struct ipv4_hdr h = {.src = s.src,
                         .dst = s.dst,
                         .proto = IP_PROTO_TCP,
                         .df = true};
    wire_ip(w, h, l4, len);
    free(l4);
}

void wire_icmp(struct wire *w, uint32_t src, struct icmp_hdr h,
               const void *data, uint32_t len) {
    uint8_t *l4 = malloc(ICMP_HDR_LEN + len);
    icmp_emit(l4, &h);
    put_data(l4 + ICMP_HDR_LEN, data, len);
    icmp_set_csum(l4, csum_finish(csum_add(0, l4, ICMP_HDR_LEN + len)));
    struct ipv4_hdr ip = {.src = src, .proto = IP_PROTO_ICMP};
    wire_ip(w, ip, l4, ICMP_HDR_LEN + len);
    free(l4);
}

void wire_icmp_about(struct wire *w, uint32_t from, struct icmp_hdr h,
                     const struct got *g, uint32_t quote) {
    uint32_t all = g->len - ETH_HDR_LEN, n = 548;
    if (quote)
        n = g->ip.hdr_len + quote;
    wire_icmp(w, from ? from : GATEWAY_IP, h, g->frame + ETH_HDR_LEN,
              n < all ? n : all);
}

/* ---- time ------------------------------------------------------------- */

/* Poll until nothing is due at the present time. */
static void settle(struct wire *w) {
    stack_now(w->st, w->now);
    for (int i = 0; i < 1000; i++) {
        stack_poll(w->st, 64);
        if (stack_deadline(w->st) > w->now)
            return;
    }
    cr_assert_fail("the stack says that something is due and does nothing");
}

/* One step towards `end`: to the next deadline, or there. */
static void step(struct wire *w, nstime_t end) {
    nstime_t due = stack_deadline(w->st);
    w->now = due < end ? (due > w->now ? due : w->now) : end;
    settle(w);
}

void wire_run(struct wire *w, nstime_t ns) {
    nstime_t end = w->now + ns;
    do
        step(w, end);
    while (w->now < end);
}

nstime_t wire_run_to_frame(struct wire *w, nstime_t ns) {
    nstime_t begin = w->now, end = begin + ns;
    while (!w->out && w->now < end)
        step(w, end);
    return w->out ? w->out->at - begin : NSTIME_NEVER;
}

/* ---- sockets ---------------------------------------------------------- */

struct endpoint wire_at(uint32_t ip, uint16_t port) {
    return (struct endpoint){.ip = ip_from_v4(ip), .port = port};
}

struct sock *wire_socket(struct wire *w, enum stack_type type, uint16_t port) {
    struct sock *so = NULL;
    cr_assert_eq(CALL(w, stack_socket(w->st, 4, type, 0, &so)), 0);
    struct endpoint at = wire_at(0, port);
    if (port)
        cr_assert_eq(CALL(w, stack_bind(w->st, so, &at)), 0);
    return so;
}

ssize_t wire_sendto(struct wire *w, struct sock *so, uint32_t ip, uint16_t port,
                    const void *data, uint32_t len) {
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct stack_msg m = {.peer = wire_at(ip, port),
                          .has_peer = true,
                          .ttl = -1,
                          .tos = -1};
    return CALL(w, stack_send(w->st, so, &iov, 1, 0, ip ? &m : NULL));
}

ssize_t wire_recv(struct wire *w, struct sock *so, void *data, uint32_t len,
                  struct stack_msg *m) {
    struct iovec iov = {data, len};
    return CALL(w, stack_recv(w->st, so, &iov, 1, 0, m));
}

void wire_close(struct wire *w, struct sock *so) {
    stack_now(w->st, w->now);
    stack_close(w->st, so);
    stack_flush(w->st);
}
