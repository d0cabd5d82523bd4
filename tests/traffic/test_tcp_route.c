/* IP options of a connection, source routes above all: RFC 9293 section 3.9.2.1
 * (MUST-51, 52, 53, SHLD-24), RFC 791 section 3.1. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/traffic/lib_tcp.h"

#define HOP_A IP4(203, 0, 113, 1)
#define HOP_B IP4(203, 0, 113, 2)

/* no-operation, loose source route over two hops, nothing gone yet */
static const uint8_t over_other[] = {1, 131, 11,  4, 198, 18,
                                     0, 3,   203, 0, 113, 1};

/* A segment of the peer's that came along a route: what routers recorded. */
static void routed(struct conn *c, uint16_t flags, uint32_t seq, uint32_t ack,
                   const uint8_t *opts, unsigned n) {
    uint8_t p[200] = {0};
    struct ipv4_hdr h = {.src = PEER_IP,
                         .dst = OUR_IP,
                         .ttl = 64,
                         .df = true,
                         .proto = IP_PROTO_TCP};
    uint32_t len =
        wire_build_tcp(p + IPV4_HDR_MIN + n, (struct seg){.flags = flags,
                                                          .seq = PEER_ISS + seq,
                                                          .ack = c->iss + ack});
    ipv4_emit(p, &h);
    memcpy(p + IPV4_HDR_MIN, opts, n);
    p[0] = (uint8_t)(0x40 | (IPV4_HDR_MIN + n) / 4);
    h.total_len = IPV4_HDR_MIN + n + len;
    ipv4_patch(p, &h);
    wire_eth(c->w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, h.total_len);
}

/* A completed route over A, then B. */
static const uint8_t came_a_b[] = {1,   131, 11,  12, 203, 0,
                                   113, 1,   203, 0,  113, 2};
static const uint8_t came_b_a[] = {1,   131, 11,  12, 203, 0,
                                   113, 2,   203, 0,  113, 1};

/* The frame goes to `first`, and its options are these n bytes. */
static void expect_route(struct conn *c, uint16_t flags, uint32_t first,
                         const uint8_t *opts, unsigned n) {
    const struct got *g = expect_tcp(c->w, (struct seg){.flags = flags,
                                                        .dst = first,
                                                        .any_seq = true,
                                                        .any_ack = true,
                                                        .any_len = true});
    if (flags & TCP_SYN)
        c->iss = g->tcp.seq;
    cr_assert_eq(g->ip.hdr_len, IPV4_HDR_MIN + n);
    cr_assert_arr_eq(g->frame + ETH_HDR_LEN + IPV4_HDR_MIN, opts, n);
}

static struct conn listening(const char *tune) {
    struct conn c = {.w = wire_new(NULL), .wnd = 65535};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    wire_meet(c.w, GATEWAY_IP, GATEWAY_MAC);
    stack_tune(c.w->st, tune);
    c.listener = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    cr_assert_eq(CALL(c.w, stack_listen(c.w->st, c.listener, 5)), 0);
    return c;
}

/* MUST-51: every segment goes along the route that the program gave. */
Test(tcp_route, given) {
    struct conn c = {.w = wire_new(NULL), .wnd = 65535};
    static const uint8_t sent[] = {1,   131, 11,  4,  203, 0,
                                   113, 1,   198, 18, 0,   2};
    uint8_t back[40];
    wire_meet(c.w, OTHER_IP, OTHER_MAC);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    cr_assert_eq(stack_set_ip_options(c.w->st, c.so, over_other, 12), 0);
    cr_assert_eq(stack_get_ip_options(c.so, back), 12);
    cr_assert_arr_eq(back, over_other, 12);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    CALL(c.w, stack_connect(c.w->st, c.so, &to));
    expect_route(&c, TCP_SYN, OTHER_IP, sent, 12);
    from_peer(&c, TCP_SYN | TCP_ACK, 0, 1, 0);
    expect_route(&c, TCP_ACK, OTHER_IP, sent, 12);
    cr_assert_eq(conn_info(&c).snd_mss, 536 - 12);
    conn_send(&c, 1000);
    expect_route(&c, TCP_ACK, OTHER_IP, sent, 12);
    expect_route(&c, TCP_ACK | TCP_PSH, OTHER_IP, sent, 12);
    from_peer(&c, TCP_ACK, 1, 1001, 0);
    /* and none any more */
    cr_assert_eq(stack_set_ip_options(c.w->st, c.so, NULL, 0), 0);
    cr_assert_eq(conn_info(&c).snd_mss, 536);
    wire_drop(c.w);
}

/* Options that make no sense are refused. */
Test(tcp_route, nonsense) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_STREAM, OUR_PORT);
    static const uint8_t cut[] = {131, 11, 4, 1},
                         gone[] = {131, 7, 8, 1, 2, 3, 4},
                         odd[] = {131, 6, 4, 1, 2, 3}, zero[] = {7, 0};
    uint8_t big[44] = {0};
    cr_assert_eq(stack_set_ip_options(w->st, so, cut, 4), -EINVAL);
    cr_assert_eq(stack_set_ip_options(w->st, so, gone, 7), -EINVAL);
    cr_assert_eq(stack_set_ip_options(w->st, so, odd, 6), -EINVAL);
    cr_assert_eq(stack_set_ip_options(w->st, so, zero, 2), -EINVAL);
    cr_assert_eq(stack_set_ip_options(w->st, so, big, 44), -EINVAL);
    cr_assert_eq(stack_get_ip_options(so, big), 0);
    stack_close(w->st, so);
    wire_end(w);
}

/* MUST-53: answers go back along the route that the SYN came by; SHLD-24: a
 * later one takes its place. */
Test(tcp_route, returned) {
    struct conn c = listening("accept_source_route=1");
    static const uint8_t over_b_a[] = {1,   131, 11,  4,  203, 0,
                                       113, 1,   198, 18, 0,   2};
    static const uint8_t over_a_b[] = {1,   131, 11,  4,  203, 0,
                                       113, 2,   198, 18, 0,   2};
    routed(&c, TCP_SYN, 0, 0, came_a_b, 12);
    expect_route(&c, TCP_SYN | TCP_ACK, HOP_B, over_b_a, 12);
    routed(&c, TCP_ACK, 1, 1, came_a_b, 12);
    cr_assert_eq(CALL(c.w, stack_accept(c.w->st, c.listener, &c.so)), 0);
    conn_send(&c, 10);
    expect_route(&c, TCP_ACK | TCP_PSH, HOP_B, over_b_a, 12);
    routed(&c, TCP_ACK, 1, 11, came_b_a, 12);
    conn_send(&c, 10);
    expect_route(&c, TCP_ACK | TCP_PSH, HOP_A, over_a_b, 12);
    /* not from a segment that is not acceptable */
    routed(&c, TCP_ACK, 1u << 30, 11, came_a_b, 12);
    expect_route(&c, TCP_ACK, HOP_A, over_a_b, 12);
    wire_drop(c.w);
}

/* MUST-52: what the program gave wins. */
Test(tcp_route, given_wins) {
    struct conn c = listening("accept_source_route=1");
    static const uint8_t sent[] = {1,   131, 11,  4,  203, 0,
                                   113, 1,   198, 18, 0,   2};
    wire_meet(c.w, OTHER_IP, OTHER_MAC);
    stack_set_ip_options(c.w->st, c.listener, over_other, 12);
    routed(&c, TCP_SYN, 0, 0, came_a_b, 12);
    expect_route(&c, TCP_SYN | TCP_ACK, OTHER_IP, sent, 12);
    routed(&c, TCP_ACK, 1, 1, came_a_b, 12);
    cr_assert_eq(CALL(c.w, stack_accept(c.w->st, c.listener, &c.so)), 0);
    conn_send(&c, 10);
    expect_route(&c, TCP_ACK | TCP_PSH, OTHER_IP, sent, 12);
    wire_drop(c.w);
}

/* RFC 7126 section 4.3: not unless asked for; never as a hop on the way. */
Test(tcp_route, refused) {
    struct conn c = listening("accept_source_route=0");
    static const uint8_t pending[] = {1,   131, 11,  8,  203, 0,
                                      113, 1,   198, 18, 0,   9};
    routed(&c, TCP_SYN, 0, 0, came_a_b, 12);
    expect_nothing(c.w);
    stack_tune(c.w->st, "accept_source_route=1");
    routed(&c, TCP_SYN, 0, 0, pending, 12);
    expect_nothing(c.w);
    cr_assert_eq(stack_counters(c.w->st)->drop_ip_source_route, 2);
    wire_drop(c.w);
}

/* MAY-10, MAY-11: record route and timestamps are options like others. */
Test(tcp_route, record) {
    struct conn c = {.w = wire_new(NULL), .wnd = 65535};
    static const uint8_t both[] = {7,  11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                                   68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    cr_assert_eq(stack_set_ip_options(c.w->st, c.so, both, sizeof(both)), 0);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    CALL(c.w, stack_connect(c.w->st, c.so, &to));
    expect_route(&c, TCP_SYN, PEER_IP, both, sizeof(both));
    wire_drop(c.w);
}
