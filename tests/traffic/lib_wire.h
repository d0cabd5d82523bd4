/* lib_wire.h: one stack, and a wire whose other end is the test.
 *
 * Theory of operation
 *
 * `struct wire` holds one stack in virtual time and a netio whose frames the
 * test writes and reads by hand. A test reads like traffic:
 *
 *     struct wire *w = wire_new(NULL);
 *     wire_meet(w, PEER_IP, PEER_MAC);          (the stack knows its MAC)
 *     wire_tcp(w, (struct seg){.flags = TCP_SYN, .seq = 1000});
 *     const struct got *g = expect_tcp(w, (struct seg){
 *         .flags = TCP_SYN | TCP_ACK, .ack = 1001});
 *     expect_nothing(w);
 *     wire_run(w, SEC);                          (timers fire on the way)
 *
 * Frames in are handled at once (stack_poll). Frames out are kept with their
 * time until an expect_* takes them, oldest first. Each is checked when it is
 * taken: lengths, addresses, IP checksum, and transport checksum, complete or
 * partial. A frame nobody took is reported by wire_end.
 *
 * Socket calls go through CALL(w, stack_...(w->st, ...)), which tells the time
 * before and flushes afterwards. A failed expectation says the line of the
 * test and what came instead.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netio/netio.h"
#include "stack/stack.h"
#include "stack/stats.h"
#include "stack/wire/arp.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"
#include "stack/wire/udp.h"

#define USEC 1000ull
#define MSEC (1000ull * 1000)
#define SEC (1000ull * MSEC)

/* The hosts of every test. Ours is 198.18.0.1/24 with a gateway. */
#define IP4(a, b, c, d)                                                        \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))
#define OUR_IP IP4(198, 18, 0, 1)
#define PEER_IP IP4(198, 18, 0, 2)
#define OTHER_IP IP4(198, 18, 0, 3)
#define GATEWAY_IP IP4(198, 18, 0, 254)
#define FAR_IP IP4(198, 19, 7, 7) /* beyond the gateway */
#define SUBNET_BROADCAST IP4(198, 18, 0, 255)
extern const uint8_t OUR_MAC[6], PEER_MAC[6], OTHER_MAC[6], GATEWAY_MAC[6];
extern const uint8_t ALL_MAC[6]; /* broadcast */

/* Where TCP and UDP templates go when they do not say. */
#define OUR_PORT 1000
#define PEER_PORT 2000

struct wire_config {
    uint32_t mtu;       /* 0: 1500 */
    uint8_t prefix_len; /* 0: 24 */
    bool no_gateway;
    size_t arena; /* 0: 32 MiB */
    uint8_t seed; /* first byte of the stack's seed */
};

struct wire {
    struct stack *st;
    nstime_t now;
    bool trace; /* print frames both ways to stderr */
    struct netio io;
    struct wire_frame *in, *in_end, *out, *out_end;
    void *arena, *handle;
    size_t arena_size;
    struct got *got;           /* the frame taken last */
    struct netio_meta rx_meta; /* of the frames injected next; then zero */
    bool refuse_tx;            /* the device takes nothing */
    bool link_down;
    uint16_t ip_id;
};

/* A frame that the stack sent, parsed as far as it goes. Valid until the next
 * one is taken. */
struct got {
    nstime_t at;
    struct netio_meta meta;
    uint8_t *frame;
    uint32_t len;
    struct eth_hdr eth;
    struct arp_pkt arp; /* eth.type ARP */
    struct ipv4_hdr ip; /* eth.type IPv4 */
    struct tcp_hdr tcp; /* unfragmented, by ip.proto */
    struct tcp_opts opts;
    struct udp_hdr udp;
    struct icmp_hdr icmp;
    const uint8_t *data; /* payload of the transport, or of a fragment */
    uint32_t data_len;
};

/* A TCP segment to send or to expect. Zero fields: sent, the defaults of the
 * constants above; expected, addresses and ports likewise, but wnd, opts and
 * data are not compared (set any_data false and len to compare). */
struct seg {
    uint32_t src, dst;
    uint16_t sport, dport;
    uint16_t flags;
    seq_t seq, ack;
    uint16_t wnd; /* sent: 0 means 65535; use zero_wnd for none */
    bool zero_wnd;
    uint16_t urg;
    struct tcp_opts opts;
    const void *data; /* NULL with len: that many bytes of a pattern */
    uint32_t len;
    bool any_len; /* expect: do not compare the length */
    bool any_seq; /* expect: do not compare the sequence number */
    bool any_ack;
};

/* A datagram to send or to expect; src and dst as above. */
struct dgram {
    uint32_t src, dst;
    uint16_t sport, dport;
    const void *data;
    uint32_t len;
    bool no_csum;  /* send without checksum */
    bool bad_csum; /* send with a wrong one */
    uint8_t ttl, tos;
};

struct wire *wire_new(const struct wire_config *c);
/* Free everything; fails when frames are left that nobody expected. */
void wire_end(struct wire *w);
/* The same without looking at what is left. */
void wire_drop(struct wire *w);

/* ---- in ---------------------------------------------------------------- */

/* A whole Ethernet frame, as it is. */
void wire_inject(struct wire *w, const void *frame, uint32_t len);
/* An Ethernet payload from one MAC to another. */
void wire_eth(struct wire *w, const uint8_t src[6], const uint8_t dst[6],
              uint16_t type, const void *data, uint32_t len);
/* An IP packet; zero fields of h: from PEER to us, TTL 64, DF clear. The
 * frame comes from the MAC of src (or the gateway's) to ours or broadcast. */
void wire_ip(struct wire *w, struct ipv4_hdr h, const void *data, uint32_t len);
/* The same cut into fragments of `mtu`. order: NULL, or the order in which to
 * send them, n of them. */
void wire_fragments(struct wire *w, struct ipv4_hdr h, const void *data,
                    uint32_t len, uint32_t mtu, const int *order, int n);
void wire_arp(struct wire *w, struct arp_pkt a, const uint8_t eth_dst[6]);
void wire_udp(struct wire *w, struct dgram d);
void wire_tcp(struct wire *w, struct seg s);
/* An ICMP message with right checksum; src 0: the peer. */
void wire_icmp(struct wire *w, uint32_t src, struct icmp_hdr h,
               const void *data, uint32_t len);
/* An ICMP error about a frame that the stack sent (quotes `quote` bytes behind
 * the IP header; 0: all, up to 548). from 0: the gateway. */
void wire_icmp_about(struct wire *w, uint32_t from, struct icmp_hdr h,
                     const struct got *g, uint32_t quote);
/* A UDP or TCP message as bytes (for fragments): returns its length. */
uint32_t wire_build_udp(uint8_t *to, struct dgram d);
uint32_t wire_build_tcp(uint8_t *to, struct seg s);
/* Let the stack learn a neighbour, by a request to it. */
void wire_meet(struct wire *w, uint32_t ip, const uint8_t mac[6]);
/* A byte pattern for payloads: byte i is a function of i. */
void wire_pattern(uint8_t *to, uint32_t from, uint32_t len);

/* ---- time -------------------------------------------------------------- */

/* Let time pass, stopping at each deadline of the stack on the way. */
void wire_run(struct wire *w, nstime_t ns);
/* Until the next frame is sent, at most ns: how long it took; NSTIME_NEVER:
 * none came. */
nstime_t wire_run_to_frame(struct wire *w, nstime_t ns);

#define CALL(w, expr)                                                          \
    ({                                                                         \
        stack_now((w)->st, (w)->now);                                          \
        __typeof__(expr) call_result_ = (expr);                                \
        stack_flush((w)->st);                                                  \
        call_result_;                                                          \
    })

/* ---- out --------------------------------------------------------------- */

/* The next frame sent, parsed and checked; NULL if there is none. */
const struct got *wire_take(struct wire *w, int line);
unsigned wire_pending(struct wire *w);
const struct got *wire_expect_arp(struct wire *w, uint16_t op,
                                  uint32_t target_ip, int line);
const struct got *wire_expect_tcp(struct wire *w, struct seg s, int line);
const struct got *wire_expect_udp(struct wire *w, struct dgram d, int line);
const struct got *wire_expect_icmp(struct wire *w, uint8_t type, uint8_t code,
                                   int line);
/* Any IPv4 packet of this protocol, fragments too. */
const struct got *wire_expect_ip(struct wire *w, uint8_t proto, int line);
void wire_expect_nothing(struct wire *w, nstime_t ns, int line);

#define take(w) wire_take(w, __LINE__)
#define expect_arp(w, op, target) wire_expect_arp(w, op, target, __LINE__)
#define expect_tcp(w, ...) wire_expect_tcp(w, __VA_ARGS__, __LINE__)
#define expect_udp(w, ...) wire_expect_udp(w, __VA_ARGS__, __LINE__)
#define expect_icmp(w, type, code) wire_expect_icmp(w, type, code, __LINE__)
#define expect_ip(w, proto) wire_expect_ip(w, proto, __LINE__)
/* Nothing was sent; nothing will be for ns nanoseconds. */
#define expect_nothing(w) wire_expect_nothing(w, 0, __LINE__)
#define expect_nothing_for(w, ns) wire_expect_nothing(w, ns, __LINE__)
/* A counter of the stack */
#define counter(w, name) (stack_counters((w)->st)->name)

struct endpoint wire_at(uint32_t ip, uint16_t port);
/* A socket of ours bound to port (0: not bound). */
struct sock *wire_socket(struct wire *w, enum stack_type type, uint16_t port);
ssize_t wire_sendto(struct wire *w, struct sock *so, uint32_t ip, uint16_t port,
                    const void *data, uint32_t len);
ssize_t wire_recv(struct wire *w, struct sock *so, void *data, uint32_t len,
                  struct stack_msg *m);
void wire_close(struct wire *w, struct sock *so);
