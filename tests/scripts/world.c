/* world.c: see world.h. */
#include "tests/scripts/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/checksum.h"
#include "stack/wire/arp.h"
#include "stack/wire/ethernet.h"
#include "tests/scripts/ast.h"

#define ARENA (64u << 20)

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

struct in_frame {
    struct in_frame *next;
    struct netio_meta meta;
    uint32_t len;
    uint8_t data[];
};

/* Transport checksum over the pseudo header, host order. */
uint16_t world_csum(uint32_t src, uint32_t dst, uint8_t proto,
                    const uint8_t *l4, uint32_t len) {
    struct ip_addr s = ip_from_v4(src), d = ip_from_v4(dst);
    return csum_finish(csum_add(csum_pseudo(&s, &d, proto, len), l4, len));
}

/* ---- what the stack sends ------------------------------------------------- */

/* A frame for the stack to take at its next poll. */
static void queue_frame(struct world *w, const uint8_t src[6], uint16_t type,
                        const uint8_t *data, uint32_t len,
                        struct netio_meta meta) {
    struct in_frame *f = keep(sizeof(*f) + ETH_HDR_LEN + len), **end = &w->in;
    struct eth_hdr eh = {.type = type};
    memcpy(eh.src, src, 6);
    memcpy(eh.dst, our_mac, 6);
    eth_emit(f->data, &eh);
    memcpy(f->data + ETH_HDR_LEN, data, len);
    f->len = ETH_HDR_LEN + len;
    f->meta = meta;
    while (*end)
        end = &(*end)->next;
    *end = f;
}

/* Every address on the link belongs to the same Ethernet station. */
static void answer_arp(struct world *w, const uint8_t *p, uint32_t len) {
    struct arp_pkt q, a;
    uint8_t reply[46] = {0};
    if (!arp_parse(p, len, &q) || q.op != ARP_REQUEST ||
        q.target_ip == w->our_ip)
        return;
    a = (struct arp_pkt){.op = ARP_REPLY,
                         .sender_ip = q.target_ip,
                         .target_ip = q.sender_ip};
    memcpy(a.sender_mac, peer_mac, 6);
    memcpy(a.target_mac, q.sender_mac, 6);
    arp_emit(reply, &a);
    queue_frame(w, peer_mac, ETH_TYPE_ARP, reply, sizeof(reply),
                (struct netio_meta){0});
}

/* Find header, options and payload; is the checksum right? */
static void parse_tcp(struct packet *p, bool partial) {
    const uint8_t *l4 = p->ip.payload;
    p->bad_csum |= !tcp_parse(l4, p->ip.payload_len, &p->tcp, NULL);
    if (p->bad_csum)
        return;
    p->opts = l4 + TCP_HDR_MIN;
    p->opts_len = p->tcp.hdr_len - TCP_HDR_MIN;
    p->data = l4 + p->tcp.hdr_len;
    p->data_len = p->ip.payload_len - p->tcp.hdr_len;
    p->bad_csum = !partial && world_csum(p->ip.src, p->ip.dst, IP_PROTO_TCP, l4,
                                         p->ip.payload_len) != 0;
}

/* As far as it goes; nonsense is marked bad_csum. */
static void parse(struct packet *p, bool partial) {
    if (ipv4_parse(p->l3, p->l3_len, false, &p->ip) != IPV4_OK) {
        p->bad_csum = true;
        return;
    }
    const uint8_t *l4 = p->ip.payload;
    uint32_t len = p->ip.payload_len;
    if (p->ip.proto == IP_PROTO_TCP)
        parse_tcp(p, partial);
    else if (p->ip.proto == IP_PROTO_UDP)
        p->bad_csum = !udp_parse(l4, len, false, &p->udp);
    else if (p->ip.proto == IP_PROTO_ICMP)
        p->bad_csum = !icmp_parse(l4, len, &p->icmp);
}

/* One packet for the script to expect. */
static void append(struct world *w, const uint8_t *l3, uint32_t len,
                   bool partial, nstime_t now) {
    struct packet *p = keep(sizeof(*p) + len);
    memcpy(p->l3, l3, len);
    p->l3_len = len;
    p->at = now;
    parse(p, partial);
    if (w->out)
        w->out_end->next = p;
    else
        w->out = p;
    w->out_end = p;
}

/* A superframe as the device would cut it (virtio 1.2, section 5.1.6). */
static void cut(struct world *w, const struct netio_meta *m, uint8_t *frame,
                uint32_t len, nstime_t now) {
    uint8_t *l3 = frame + ETH_HDR_LEN;
    uint32_t hl = m->hdr_len - ETH_HDR_LEN, all = len - m->hdr_len;
    struct ipv4_hdr ih;
    struct tcp_hdr th;
    uint8_t *seg = keep(len);
    if (ipv4_parse(l3, len - ETH_HDR_LEN, true, &ih) != IPV4_OK ||
        !tcp_parse(ih.payload, ih.payload_len, &th, NULL))
        return;
    for (uint32_t at = 0; at < all; at += m->gso_size) {
        uint32_t n = all - at < m->gso_size ? all - at : m->gso_size;
        uint8_t *l4 = seg + ih.hdr_len;
        memcpy(seg, l3, hl);
        memcpy(seg + hl, l3 + hl + at, n);
        ih.total_len = hl + n;
        ipv4_emit(seg, &ih);
        uint32_t seq = th.seq + at;
        for (int i = 0; i < 4; i++)
            l4[4 + i] = (uint8_t)(seq >> (24 - 8 * i));
        if (at + n < all) /* FIN and PSH belong to the last one */
            l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
        append(w, seg, hl + n, true, now);
    }
}

/* A frame of the stack: ARP is answered, the rest kept for the script. */
static void tx_one(struct world *w, const struct netio_frame *f, nstime_t now) {
    uint8_t *frame = keep(f->len);
    uint32_t at = 0;
    for (uint32_t i = 0; i < f->niov; i++) {
        memcpy(frame + at, f->iov[i].iov_base, f->iov[i].iov_len);
        at += (uint32_t)f->iov[i].iov_len;
    }
    struct eth_hdr eh;
    if (at != f->len || !eth_parse(frame, f->len, &eh))
        return;
    uint8_t *l3 = frame + ETH_HDR_LEN;
    if (eh.type == ETH_TYPE_ARP)
        answer_arp(w, l3, f->len - ETH_HDR_LEN);
    else if (f->meta.gso)
        cut(w, &f->meta, frame, f->len, now);
    else
        append(w, l3, f->len - ETH_HDR_LEN, f->meta.flags & NETIO_CSUM_PARTIAL,
               now);
}

/* netio_ops.tx: takes everything. */
static int tx(struct netio *io, struct netio_frame *f, unsigned n,
              nstime_t now) {
    for (unsigned i = 0; i < n; i++)
        tx_one((struct world *)io, &f[i], now);
    return (int)n;
}

/* netio_ops.rx. */
static int rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct world *w = (struct world *)io;
    struct in_frame *q = w->in;
    (void)now;
    if (!q)
        return 0;
    memcpy(f->iov[0].iov_base, q->data, q->len);
    f->len = q->len;
    f->meta = q->meta;
    w->in = q->next;
    return 1;
}

static const struct netio_ops ops = {.name = "script", .rx = rx, .tx = tx};

struct packet *world_take(struct world *w) {
    struct packet *p = w->out;
    if (p)
        w->out = p->next;
    return p;
}

/* ---- life, time -------------------------------------------------------------- */

/* Zeroed and page aligned. */
static void *pages(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

struct world *world_new(uint32_t mtu, uint32_t our_ip, uint32_t peer_ip) {
    struct world *w = keep(sizeof(*w));
    w->now = 1000 * SEC;
    w->our_ip = our_ip;
    w->peer_ip = peer_ip;
    w->gateway_ip = (our_ip & 0xffff0000u) | 2;
    w->arena = pages(ARENA);
    w->handle = pages(stack_handle_size());
    w->io = (struct netio){.ops = &ops, .fd = -1, .mtu = mtu};
    struct stack_config sc = {.mtu = mtu,
                              .addr = ip_from_v4(our_ip),
                              .prefix_len = 16,
                              .gateway = ip_from_v4(w->gateway_ip),
                              .now = w->now};
    memcpy(sc.mac, our_mac, 6);
    memset(sc.seed, 7, sizeof(sc.seed));
    if (stack_create(w->arena, ARENA, &sc) < 0)
        abort();
    w->st = stack_attach(w->handle, w->arena, &w->io);
    if (!w->st)
        abort();
    /* The neighbours are known before the script begins. */
    struct arp_pkt a = {.op = ARP_REQUEST,
                        .sender_ip = w->gateway_ip,
                        .target_ip = our_ip};
    uint8_t p[46] = {0};
    memcpy(a.sender_mac, peer_mac, 6);
    arp_emit(p, &a);
    queue_frame(w, peer_mac, ETH_TYPE_ARP, p, sizeof(p),
                (struct netio_meta){0});
    world_run(w, w->now + SEC, NULL, NULL);
    w->out = NULL;
    w->epoch = w->now;
    return w;
}

/* Before a stack call: the time. */
void world_enter(struct world *w) { stack_now(w->st, w->now); }

/* Poll until nothing is due at the present time. */
static void settle(struct world *w) {
    for (int i = 0; i < 1000; i++) {
        stack_now(w->st, w->now);
        stack_poll(w->st, 64);
        if (!w->in && stack_deadline(w->st) > w->now)
            return;
    }
    fprintf(stderr, "the stack says that something is due and does nothing\n");
    abort();
}

/* After one: send what it produced, and what is due now. */
void world_leave(struct world *w) {
    stack_flush(w->st);
    settle(w);
}

/* What is longer than the MTU comes as the superframe that a device would make
 * of the segments. */
void world_inject(struct world *w, const uint8_t *l3, uint32_t len) {
    struct netio_meta meta = {0};
    if (len > w->io.mtu && l3[9] == IP_PROTO_TCP)
        meta = (struct netio_meta){.flags = NETIO_CSUM_VALID,
                                   .gso = NETIO_GSO_TCP4,
                                   .gso_size = 1000,
                                   .hdr_len =
                                       (uint16_t)(ETH_HDR_LEN + IPV4_HDR_MIN +
                                                  (l3[IPV4_HDR_MIN + 12] >> 4) *
                                                      4)};
    queue_frame(w, peer_mac, ETH_TYPE_IPV4, l3, len, meta);
    settle(w);
}

/* From one deadline of the stack (or of a waiting call) to the next. */
void world_run(struct world *w, nstime_t end, bool (*stop)(void *), void *arg) {
    settle(w);
    while (!(stop && stop(arg)) && w->now < end) {
        nstime_t due = stack_deadline(w->st);
        if (w->alarm > w->now && w->alarm < due)
            due = w->alarm;
        w->now = due < end ? due : end;
        settle(w);
    }
}
