/* fuzz_frame.c: frames of a hostile network into one stack.
 *
 * Theory of operation
 *
 * The stack is 198.18.0.1, the fuzzer plays everybody else. Before the input
 * runs, the stack gets what makes it interesting: a listener with one
 * established connection (the first byte says with which options), an attempt
 * under way, UDP sockets bound and connected, a ping socket. The input then is
 * a program: each step is a frame (from raw bytes up to a nearly correct
 * segment of the connection, with numbers relative to what the stack last
 * sent), a call of a program, or a jump in time.
 *
 * At the end the programs leave and an hour passes. Then nothing may be left:
 * no socket, no timer, no memory, no bad free. Frames are handed over in
 * memory of exactly their length, freed as soon as the stack has seen them.
 */
#include <errno.h>
#include <sys/mman.h>

#include "stack/checksum.h"
#include "stack/guard.h"
#include "stack/ip.h"
#include "stack/shared.h"
#include "stack/stack.h"
#include "stack/stats.h"
#include "tests/fuzz/feed.h"
#include "tests/traffic/lib_pair.h"

#define ARENA (8u << 20)
#define NSOCK 8
#define OUR_IP 0xc6120001u
#define PEER_IP 0xc6120002u

/* What the stack last said on a connection, by the peer's low port bits. */
struct said {
    uint32_t next, ack, tsval;
    uint16_t port; /* the stack's */
};

static struct world {
    struct netio io;
    struct stack *st;
    void *base, *handle;
    nstime_t now;
    size_t used; /* bytes of the arena at the start, tables left out */
    struct sock *so[NSOCK];
    struct said said[4];
    uint8_t room[66000];
} w;

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

static void put16(uint8_t *b, uint32_t v) {
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}
static void put32(uint8_t *b, uint32_t v) {
    put16(b, v >> 16);
    put16(b + 2, v);
}
static uint32_t get32(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
           b[3];
}

/* ---- the netio: listens to what is sent, delivers nothing ---------------- */

static int script_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    return 0;
}

/* Remember the numbers of TCP segments to the peer's four ports. */
static void listen_to(const uint8_t *f, uint32_t len, uint32_t total) {
    if (len < 54 || f[12] != 8 || f[13] != 0 || f[23] != 6)
        return;
    const uint8_t *t = f + 34;
    struct said *s = &w.said[t[3] & 3];
    uint32_t data = total - 34 - (t[12] >> 4) * 4u;
    s->port = (uint16_t)(t[0] << 8 | t[1]);
    s->next = get32(t + 4) + data + !!(t[13] & 2) + !!(t[13] & 1);
    if (t[13] & 16)
        s->ack = get32(t + 8);
    if (t[12] >> 4 >= 8 && get32(t + 20) == 0x0101080a)
        s->tsval = get32(t + 24);
}

static int script_tx(struct netio *io, struct netio_frame *f, unsigned n,
                     nstime_t now) {
    for (unsigned i = 0; i < n; i++) {
        uint8_t head[128];
        uint32_t k = 0, total = 0;
        for (uint32_t j = 0; j < f[i].niov; j++) {
            const uint8_t *b = f[i].iov[j].iov_base;
            uint32_t m = (uint32_t)f[i].iov[j].iov_len;
            /* Touch all of it: a stale pointer is seen. */
            for (uint32_t x = 0; x < m; x++)
                if (k < sizeof(head))
                    head[k++] = b[x];
                else
                    w.room[0] ^= b[x];
            total += m;
        }
        MUST(total == f[i].len && total >= 14);
        MUST(f[i].meta.gso || total <= 1514);
        listen_to(head, k, total);
    }
    return (int)n;
}

static const struct netio_ops script_ops = {.name = "script",
                                            .rx = script_rx,
                                            .tx = script_tx};

/* ---- frames ------------------------------------------------------------------ */

static void turn(void) {
    struct waiter *wt;
    MUST(stack_poll(w.st, 64) >= 0);
    while ((wt = stack_next_wake(w.st)))
        ;
}

static void inject(const uint8_t *frame, size_t len,
                   const struct netio_meta *meta) {
    uint8_t *copy = malloc(len ? len : 1);
    MUST(copy);
    memcpy(copy, frame, len);
    stack_now(w.st, w.now);
    ether_input(w.st, copy, (uint32_t)len, meta);
    free(copy);
    turn();
}

/* Ethernet and IPv4 headers in front of l4 bytes at w.room + 34. */
static void inject_ip(uint8_t proto, uint32_t src, uint32_t l4, uint16_t frag,
                      struct netio_meta meta) {
    uint8_t *f = w.room, *ip = f + 14;
    memcpy(f, our_mac, 6);
    memcpy(f + 6, peer_mac, 6);
    put16(f + 12, 0x0800);
    memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, 20 + l4);
    put16(ip + 4, 77);
    put16(ip + 6, frag);
    ip[8] = 64;
    ip[9] = proto;
    put32(ip + 12, src);
    put32(ip + 16, OUR_IP);
    put16(ip + 10, csum_finish(csum_add(0, ip, 20)));
    inject(f, 34 + l4, &meta);
}

static void step_raw(struct feed *in) {
    size_t n;
    struct netio_meta meta = {0};
    uint8_t how = feed_u8(in);
    const uint8_t *p = feed_take(in, feed_u16(in) % 2048, &n);
    memcpy(w.room, p, n);
    if ((how & 1) && n >= 6)
        memcpy(w.room, our_mac, 6);
    if (how & 2)
        meta.flags = NETIO_CSUM_VALID;
    inject(w.room, n, &meta);
}

static void step_ip(struct feed *in) {
    size_t n;
    uint8_t proto = feed_u8(in);
    uint16_t frag = feed_u16(in);
    const uint8_t *p = feed_take(in, feed_u16(in) % 2048, &n);
    if (proto < 8) /* the known ones are more rewarding */
        proto = (const uint8_t[]){1, 6, 17, 17}[proto % 4];
    memcpy(w.room + 34, p, n);
    inject_ip(proto, PEER_IP, (uint32_t)n, frag & 0x3fff,
              (struct netio_meta){.flags = NETIO_CSUM_VALID});
}

/* Options that make sense: timestamps (if the connection has them) and SACK
 * blocks about what is in flight. Returns their length, a multiple of 4. */
static size_t good_options(struct feed *in, const struct said *s, uint8_t *o) {
    size_t n = 0;
    uint8_t blocks = feed_u8(in) % 4;
    if (s->tsval) {
        put32(o, 0x0101080a);
        put32(o + 4, 1000 + (uint32_t)(w.now / 1000000));
        put32(o + 8, s->tsval);
        n = 12;
    }
    if (!blocks)
        return n;
    put16(o + n, 0x0101);
    o[n + 2] = 5;
    o[n + 3] = (uint8_t)(2 + 8 * blocks);
    n += 4;
    for (; blocks; blocks--, n += 8) {
        uint32_t left = s->next - feed_u8(in) * 100u;
        put32(o + n, left);
        put32(o + n + 4, left + feed_u8(in) * 100u);
    }
    return n;
}

/* A segment with numbers near those of a connection. */
static void step_tcp(struct feed *in) {
    uint8_t who = feed_u8(in), flags = feed_u8(in), how = feed_u8(in);
    struct said *s = &w.said[who & 3];
    uint32_t seq = s->ack + (uint32_t)(int8_t)feed_u8(in);
    uint32_t ack = s->next + (uint32_t)(int8_t)feed_u8(in);
    size_t nopt, n;
    uint8_t *t = w.room + 34;
    struct netio_meta meta = {.flags = NETIO_CSUM_VALID};
    if (how & 1)
        seq = s->ack;
    if (how & 2)
        ack = s->next;
    if (how & 4)
        seq += (uint32_t)feed_u16(in) << (who >> 6) * 4;
    const uint8_t *o = feed_take(in, how & 8 ? feed_u8(in) % 41 : 0, &nopt);
    uint8_t good[40];
    if (how & 128) {
        nopt = good_options(in, s, good);
        o = good;
    }
    memset(t, 0, 60);
    put16(t, 4000u + (who & 3));
    put16(t + 2, who & 4 ? 80 : s->port);
    put32(t + 4, seq);
    put32(t + 8, ack);
    t[13] = flags;
    put16(t + 14, how & 16 ? feed_u16(in) : 8192);
    put16(t + 18, flags & 32 ? feed_u8(in) : 0);
    memcpy(t + 20, o, nopt);
    nopt = (nopt + 3) & ~(size_t)3;
    t[12] = (uint8_t)((5 + nopt / 4) << 4);
    const uint8_t *p = feed_take(in, how & 32 ? feed_u16(in) % 3000 : 0, &n);
    memcpy(t + 20 + nopt, p, n);
    if ((how & 64) && n < 30000) { /* much more of the same */
        memset(t + 20 + nopt + n, 'x', 30000);
        n += 30000;
    }
    if (n > 1400) {
        meta.gso = NETIO_GSO_TCP4;
        meta.gso_size = 1400;
        meta.hdr_len = (uint16_t)(54 + nopt);
        meta.flags = NETIO_CSUM_PARTIAL;
        meta.csum_start = 34;
        meta.csum_offset = 16;
    }
    inject_ip(6, PEER_IP, (uint32_t)(20 + nopt + n), 0, meta);
}

static void step_udp(struct feed *in) {
    size_t n;
    uint8_t *u = w.room + 34, how = feed_u8(in);
    const uint8_t *p = feed_take(in, feed_u8(in), &n);
    memcpy(u + 8, p, n);
    put16(u, 53);
    put16(u + 2, how & 1 ? 53 : how & 2 ? 54 : 55);
    put16(u + 4, (uint32_t)(how & 4 ? feed_u16(in) : 8 + n));
    put16(u + 6, 0);
    inject_ip(17, how & 8 ? PEER_IP : PEER_IP + 1, (uint32_t)(8 + n), 0,
              (struct netio_meta){0});
}

/* An ICMP message; errors quote a packet of ours. */
static void step_icmp(struct feed *in) {
    uint8_t *m = w.room + 34, type = feed_u8(in), who = feed_u8(in);
    struct said *s = &w.said[who & 3];
    size_t n;
    m[0] = type & 64 ? 3 : type & 31;
    m[1] = feed_u8(in) & 15;
    put16(m + 2, 0);
    put32(m + 4, feed_u16(in));
    uint8_t *q = m + 8;
    memset(q, 0, 28);
    q[0] = 0x45;
    put16(q + 2, 500);
    q[8] = 60;
    q[9] = who & 16 ? 17 : who & 32 ? 1 : 6;
    put32(q + 12, OUR_IP);
    put32(q + 16, PEER_IP);
    put16(q + 20, q[9] == 6 ? s->port : 54);
    put16(q + 22, q[9] == 6 ? 4000u + (who & 3) : 53);
    put32(q + 24, s->next - feed_u8(in));
    const uint8_t *p = feed_take(in, feed_u8(in), &n);
    memcpy(q + (who & 64 ? 0 : 28), p, n);
    n += who & 64 ? 8 : 36;
    put16(m + 2, csum_finish(csum_add(0, m, n)));
    inject_ip(1, PEER_IP, (uint32_t)n, 0, (struct netio_meta){0});
}

static void inject_arp(uint16_t op, const uint8_t *mac, uint32_t from,
                       uint32_t to) {
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    uint8_t *f = w.room;
    memcpy(f, our_mac, 6);
    memcpy(f + 6, mac, 6);
    put16(f + 12, 0x0806);
    memcpy(f + 14, head, 6);
    put16(f + 20, op);
    memcpy(f + 22, mac, 6);
    put32(f + 28, from);
    memcpy(f + 32, our_mac, 6);
    put32(f + 38, to);
    inject(f, 42, &(struct netio_meta){0});
}

static void step_arp(struct feed *in) {
    uint8_t how = feed_u8(in);
    inject_arp(how >> 6, how & 1 ? peer_mac : our_mac, OUR_IP + (how >> 1 & 7),
               OUR_IP + (how >> 4 & 3));
}

/* ---- calls --------------------------------------------------------------------- */

static void step_call(struct feed *in) {
    uint8_t call = feed_u8(in), which = feed_u8(in) % NSOCK, arg = feed_u8(in);
    static uint8_t buf[70000];
    struct iovec v = {buf, (size_t)arg << (which & 7)};
    struct sock *so = w.so[which], *child = NULL;
    struct endpoint to = {.ip = ip_from_v4(PEER_IP),
                          .port = (uint16_t)(4000 + (arg & 3))};
    struct stack_msg m = {.ttl = -1, .tos = -1};
    int64_t value;
    stack_now(w.st, w.now);
    if (!so) {
        if (stack_socket(w.st, 4, call & 1 ? STACK_STREAM : STACK_DGRAM, 0,
                         &so) == 0)
            w.so[which] = so;
        return;
    }
    switch (call % 10) {
    case 0:
        stack_send(w.st, so, &v, 1, arg & 1 ? STACK_MSG_OOB : 0, NULL);
        break;
    case 1:
    case 2:
        stack_recv(w.st, so, &v, 1, arg & 0x2f, &m);
        break;
    case 3:
        stack_shutdown(w.st, so, arg % 3);
        break;
    case 4:
        stack_close(w.st, so);
        w.so[which] = NULL;
        break;
    case 5:
        if (stack_is_listening(so) && stack_accept(w.st, so, &child) == 0) {
            if (w.so[7])
                stack_close(w.st, w.so[7]);
            w.so[7] = child;
        }
        break;
    case 6:
        stack_connect(w.st, so, &to);
        break;
    case 7:
        stack_setopt(w.st, so, arg % STACK_OPT_COUNT, feed_u16(in));
        break;
    case 8:
        stack_getopt(w.st, so, arg % STACK_OPT_COUNT, &value);
        stack_connect_result(w.st, so);
        break;
    case 9:
        stack_listen(w.st, so, arg % 8);
        break;
    }
    stack_flush(w.st);
    turn();
}

/* Time passes, with a poll at each deadline on the way. */
static void pass(nstime_t span) {
    nstime_t until = w.now + span;
    for (unsigned i = 0;; i++) {
        nstime_t due = stack_deadline(w.st);
        MUST(i < 100000);
        if (due >= until)
            break;
        w.now = due > w.now ? due : w.now;
        stack_now(w.st, w.now);
        turn();
    }
    w.now = until;
    stack_now(w.st, w.now);
    turn();
}

/* ---- one run --------------------------------------------------------------------- */

static void *memory(size_t n) {
    void *m = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    MUST(m != MAP_FAILED);
    return m;
}

static struct sock *make(enum stack_type type, int proto, uint16_t port) {
    struct sock *so = NULL;
    struct endpoint at = {.port = port};
    MUST(stack_socket(w.st, 4, type, proto, &so) == 0);
    if (port)
        MUST(stack_bind(w.st, so, &at) == 0);
    return so;
}

/* A segment of the handshake, by the book; offer: bits of SACK, timestamps
 * and window scale. */
static void peer_says(uint8_t flags, uint32_t seq, uint32_t ack,
                      uint8_t offer) {
    uint8_t *t = w.room + 34, *o = t + 20;
    memset(t, 0, 60);
    put16(t, 4000);
    put16(t + 2, 80);
    put32(t + 4, seq);
    put32(t + 8, ack);
    t[13] = flags;
    put16(t + 14, 20000);
    if (flags & 2) {
        put32(o, 0x020405b4); /* MSS 1460 */
        o += 4;
    }
    if ((flags & 2) && (offer & 1)) {
        put32(o, 0x01010402);
        o += 4;
    }
    if (offer & 2) {
        put32(o, 0x0101080a);
        put32(o + 4, 1000 + (uint32_t)(w.now / 1000000));
        put32(o + 8, w.said[0].tsval);
        o += 12;
    }
    if ((flags & 2) && (offer & 4)) {
        put32(o, 0x01030302);
        o += 4;
    }
    t[12] = (uint8_t)((o - t) / 4 << 4);
    inject_ip(6, PEER_IP, (uint32_t)(o - t), 0,
              (struct netio_meta){.flags = NETIO_CSUM_VALID});
}

static void begin(uint8_t offer) {
    struct stack_config c = {.mtu = 1500, .prefix_len = 24, .seed = {1, 2, 3}};
    struct endpoint dns = {.ip = ip_from_v4(PEER_IP), .port = 53};
    struct endpoint web = {.ip = ip_from_v4(PEER_IP), .port = 4001};
    memcpy(c.mac, our_mac, 6);
    c.addr = ip_from_v4(OUR_IP);
    memset(&w.io, 0, sizeof(w.io));
    memset(w.said, 0, sizeof(w.said));
    memset(w.so, 0, sizeof(w.so));
    w.io.ops = &script_ops;
    w.io.fd = -1;
    w.io.mtu = 1500;
    w.now = c.now = 5 * SEC;
    w.base = memory(ARENA);
    w.handle = memory(stack_handle_size());
    MUST(stack_create(w.base, ARENA, &c) == 0);
    w.st = stack_attach(w.handle, w.base, &w.io);
    MUST(w.st);
    w.used = w.st->sh->heap.used - arena_kept(w.base);
    inject_arp(1, peer_mac, PEER_IP, OUR_IP);
    w.so[0] = make(STACK_STREAM, 0, 80);
    MUST(stack_listen(w.st, w.so[0], 4) == 0);
    peer_says(2, 999, 0, offer);
    peer_says(16, 1000, w.said[0].next, offer);
    MUST(stack_accept(w.st, w.so[0], &w.so[1]) == 0);
    w.so[2] = make(STACK_DGRAM, 0, 53);
    w.so[3] = make(STACK_DGRAM, 0, 54);
    MUST(stack_connect(w.st, w.so[3], &dns) == 0);
    w.so[4] = make(STACK_STREAM, 0, 0);
    MUST(stack_connect(w.st, w.so[4], &web) == -EINPROGRESS);
    stack_socket(w.st, 4, STACK_DGRAM, 1, &w.so[5]);
    stack_flush(w.st);
    turn();
}

static void end(void) {
    struct sock *cursor = NULL;
    struct stack_sock_info info;
    stack_now(w.st, w.now);
    for (unsigned i = 0; i < NSOCK; i++)
        if (w.so[i])
            stack_close(w.st, w.so[i]);
    stack_flush(w.st);
    turn();
    pass(3600 * SEC);
    MUST(!stack_each_sock(w.st, &cursor, &info));
    MUST(stack_orphans(w.st) == 0);
    MUST(w.st->sh->count.bad_free == 0);
    MUST(w.st->sh->heap.used <= w.used + arena_kept(w.base));
    MUST(list_empty(&w.st->sh->tcp_due) && list_empty(&w.st->sh->loop));
    guard_open(w.base, ARENA);
    munmap(w.base, ARENA);
    munmap(w.handle, stack_handle_size());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct feed in = {data, size};
    begin(feed_u8(&in));
    for (unsigned i = 0; in.n && i < 400; i++) {
        uint8_t op = feed_u8(&in);
        switch (op % 11) {
        case 0:
            step_raw(&in);
            break;
        case 1:
            step_ip(&in);
            break;
        case 2:
        case 3:
        case 4:
            step_tcp(&in);
            break;
        case 5:
            step_udp(&in);
            break;
        case 6:
            step_icmp(&in);
            break;
        case 7:
            step_arp(&in);
            break;
        case 8:
            pass(1000ull << (feed_u8(&in) % 28));
            break;
        default:
            step_call(&in);
        }
    }
    end();
    return 0;
}
