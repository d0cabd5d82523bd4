/* IPv4 as traffic: RFC 791, RFC 1122 sections 3.2.1 and 3.3, RFC 1191. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/traffic/lib_wire.h"

static uint8_t big[65535], in[65535];

/* A stack that knows its neighbours, and a socket on OUR_PORT. */
static struct wire *setup(struct sock **so) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_meet(w, GATEWAY_IP, GATEWAY_MAC);
    *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_pattern(big, 0, sizeof(big));
    return w;
}

static void teardown(struct wire *w, struct sock *so) {
    wire_close(w, so);
    wire_end(w);
}

static void setopt(struct wire *w, struct sock *so, enum stack_opt o,
                   int64_t v) {
    cr_assert_eq(CALL(w, stack_setopt(w->st, so, o, v)), 0);
}

/* ---- in --------------------------------------------------------------- */

/* Ethernet pads short frames: the IP length wins (RFC 894). */
Test(ip, padding_is_cut) {
    struct sock *so;
    struct wire *w = setup(&so);
    uint8_t p[46] = {0}, udp[20];
    uint32_t n = wire_build_udp(udp, (struct dgram){.data = "abc", .len = 3});
    struct ipv4_hdr h = {.src = PEER_IP,
                         .dst = OUR_IP,
                         .ttl = 1,
                         .proto = IP_PROTO_UDP,
                         .total_len = IPV4_HDR_MIN + n};
    ipv4_emit(p, &h);
    memcpy(p + IPV4_HDR_MIN, udp, n);
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, sizeof(p));
    cr_assert_eq(wire_recv(w, so, in, 10, NULL), 3);
    teardown(w, so);
}

/* Each way of being malformed has its counter and no other effect. */
Test(ip, malformed) {
    struct sock *so;
    struct wire *w = setup(&so);
    uint8_t p[28] = {0};
    struct ipv4_hdr h = {.src = PEER_IP,
                         .dst = OUR_IP,
                         .ttl = 64,
                         .proto = IP_PROTO_UDP,
                         .total_len = 28};
    ipv4_emit(p, &h);
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, 19);
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, 27);
    cr_assert_eq(counter(w, drop_ip_length), 2);
    p[0] = 0x44; /* header of 16 bytes */
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, 28);
    cr_assert_eq(counter(w, drop_ip_length), 3);
    p[0] = 0x65;
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, 28);
    cr_assert_eq(counter(w, drop_ip_version), 1);
    p[0] = 0x45;
    p[8] ^= 1;
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, 28);
    cr_assert_eq(counter(w, drop_ip_checksum), 1);
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, 0);
    wire_inject(w, p, 13);
    cr_assert_eq(counter(w, drop_eth_short), 1);
    expect_nothing(w);
    teardown(w, so);
}

/* Frames and packets for others: dropped, never forwarded, never answered. */
Test(ip, not_for_us) {
    struct sock *so;
    struct wire *w = setup(&so);
    uint8_t p[46] = {0};
    struct ipv4_hdr h = {.dst = OTHER_IP, .proto = IP_PROTO_UDP};
    wire_eth(w, PEER_MAC, OTHER_MAC, ETH_TYPE_IPV4, p, 28);
    cr_assert_eq(counter(w, drop_eth_addr), 1);
    static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 251};
    wire_eth(w, PEER_MAC, group, ETH_TYPE_IPV4, p, 28);
    cr_assert_eq(counter(w, drop_eth_multicast), 1);
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV6, p, 28);
    wire_eth(w, PEER_MAC, OUR_MAC, 46, p, 46); /* 802.3 */
    cr_assert_eq(counter(w, drop_eth_type), 2);
    wire_ip(w, h, big, 8);
    cr_assert_eq(counter(w, drop_ip_addr), 1);
    h.dst = IP4(224, 0, 0, 251);
    wire_ip(w, h, big, 8);
    cr_assert_eq(counter(w, drop_ip_multicast), 1);
    expect_nothing(w);
    teardown(w, so);
}

/* RFC 1122 3.2.1.3: sources that no packet may have. */
Test(ip, martians) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const uint32_t bad[] = {IP4(127, 0, 0, 1), OUR_IP,
                                   IP4(224, 0, 0, 1), 0xffffffff,
                                   SUBNET_BROADCAST,  IP4(0, 1, 2, 3)};
    for (unsigned i = 0; i < 6; i++) {
        wire_udp(w, (struct dgram){.src = bad[i], .data = "x", .len = 1});
        cr_assert_eq(counter(w, drop_ip_martian), i + 1);
    }
    wire_udp(w, (struct dgram){.dst = IP4(127, 0, 0, 1)});
    cr_assert_eq(counter(w, drop_ip_martian), 7);
    cr_assert_eq(wire_recv(w, so, in, 10, NULL), -EAGAIN);
    expect_nothing(w);
    teardown(w, so);
}

/* RFC 1122 3.2.2.1: a protocol we do not speak. */
Test(ip, protocol_unreachable) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct ipv4_hdr h = {.proto = 132};
    wire_ip(w, h, big, 40);
    const struct got *g = expect_icmp(w, ICMP_UNREACHABLE, ICMP_UNREACH_PROTO);
    struct ipv4_hdr q;
    cr_assert(ipv4_parse_quote(g->data, g->data_len, &q));
    cr_assert_eq(q.proto, 132);
    cr_assert_arr_eq(q.payload, big, 40);
    teardown(w, so);
}

/* An IP packet with options: header of 20 + n bytes of `opts`. */
static void send_with_options(struct wire *w, const uint8_t *opts, unsigned n) {
    uint8_t p[80] = {0};
    struct ipv4_hdr h = {.src = PEER_IP,
                         .dst = OUR_IP,
                         .ttl = 64,
                         .proto = IP_PROTO_UDP};
    uint32_t len = wire_build_udp(p + IPV4_HDR_MIN + n,
                                  (struct dgram){.data = "opt", .len = 3});
    ipv4_emit(p, &h);
    memcpy(p + IPV4_HDR_MIN, opts, n);
    p[0] = (uint8_t)(0x40 | (IPV4_HDR_MIN + n) / 4);
    h.total_len = IPV4_HDR_MIN + n + len;
    ipv4_patch(p, &h);
    wire_eth(w, PEER_MAC, OUR_MAC, ETH_TYPE_IPV4, p, h.total_len);
}

/* Options: passed over, refused, or complained about with a pointer to the
 * byte (RFC 1122 3.2.1.8 and 3.2.2.5). */
Test(ip, options) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const uint8_t fine[] = {148, 4, 0, 0, 1, 7, 3, 4};
    static const uint8_t route[] = {131, 7, 4, 1, 2, 3, 4, 0};
    static const uint8_t bad[] = {1, 1, 7, 9};
    send_with_options(w, fine, 8);
    cr_assert_eq(wire_recv(w, so, in, 10, NULL), 3);
    send_with_options(w, route, 8);
    cr_assert_eq(counter(w, drop_ip_source_route), 1);
    expect_nothing(w);
    send_with_options(w, bad, 4);
    cr_assert_eq(counter(w, drop_ip_options), 1);
    cr_assert_eq(expect_icmp(w, ICMP_PARAM_PROBLEM, 0)->icmp.pointer, 23);
    cr_assert_eq(wire_recv(w, so, in, 10, NULL), -EAGAIN);
    teardown(w, so);
}

/* ---- out -------------------------------------------------------------- */

/* RFC 6864: DF and ID 0 for what fits; each fragmented packet an ID of its
 * own, shared by its fragments; offsets in order, checksum complete. */
Test(ip, fragments_out) {
    struct sock *so;
    struct wire *w = setup(&so);
    uint16_t id[2];
    wire_sendto(w, so, PEER_IP, PEER_PORT, big, 1472);
    const struct got *g = expect_udp(w, (struct dgram){.len = 1472});
    cr_assert(g->ip.df && g->ip.id == 0);
    for (int k = 0; k < 2; k++) {
        uint8_t whole[4096];
        uint32_t at = 0;
        wire_sendto(w, so, PEER_IP, PEER_PORT, big, 4000);
        for (int i = 0; i < 3; i++) {
            g = expect_ip(w, IP_PROTO_UDP);
            cr_assert_eq(g->ip.frag_off, at);
            cr_assert_eq(g->ip.mf, i < 2);
            cr_assert_eq(g->data_len, i < 2 ? 1480 : 4008 - 2960);
            cr_assert(i == 0 || g->ip.id == id[k]);
            id[k] = g->ip.id;
            memcpy(whole + at, g->data, g->data_len);
            at += g->data_len;
        }
        cr_assert_arr_eq(whole + UDP_HDR_LEN, big, 4000);
    }
    cr_assert_neq(id[0], id[1]);
    teardown(w, so);
}

/* The largest datagram, in many fragments, comes back whole; one byte more is
 * too long. */
Test(ip, largest_datagram) {
    struct sock *so;
    struct wire *w = setup(&so);
    static uint8_t whole[65535];
    uint32_t at = 0;
    cr_assert_eq(wire_sendto(w, so, PEER_IP, PEER_PORT, big, 65508), -EMSGSIZE);
    cr_assert_eq(wire_sendto(w, so, PEER_IP, PEER_PORT, big, 65507), 65507);
    while (wire_pending(w)) {
        const struct got *g = expect_ip(w, IP_PROTO_UDP);
        memcpy(whole + g->ip.frag_off, g->data, g->data_len);
        at += g->data_len;
    }
    cr_assert_eq(at, 65515);
    cr_assert_arr_eq(whole + UDP_HDR_LEN, big, 65507);
    /* And in again, ends exchanged. */
    memcpy(whole,
           (uint8_t[]){PEER_PORT >> 8, PEER_PORT & 255, OUR_PORT >> 8,
                       OUR_PORT & 255},
           4);
    struct ipv4_hdr h = {.proto = IP_PROTO_UDP};
    wire_fragments(w, h, whole, at, 1500, NULL, 0);
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), NULL), 65507);
    cr_assert_arr_eq(in, big, 65507);
    teardown(w, so);
}

/* ICMP "fragmentation needed" about a datagram of ours lowers the path MTU for
 * ten minutes (RFC 1191 6.3). */
Test(ip, path_mtu_learned_and_forgotten) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct icmp_hdr need = {.type = ICMP_UNREACHABLE,
                            .code = ICMP_UNREACH_FRAG,
                            .mtu = 1000};
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472);
    const struct got *g =
        expect_udp(w, (struct dgram){.dst = FAR_IP, .len = 1472});
    cr_assert_arr_eq(g->eth.dst, GATEWAY_MAC, 6);
    wire_icmp_about(w, 0, need, g, 8);
    cr_assert_eq(counter(w, path_mtu_learned), 1);
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472);
    g = expect_ip(w, IP_PROTO_UDP);
    cr_assert_eq(g->ip.total_len, 996);
    cr_assert(g->ip.mf && !g->ip.df);
    expect_ip(w, IP_PROTO_UDP);
    expect_nothing(w);
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 972); /* what fits has DF */
    cr_assert(expect_udp(w, (struct dgram){.dst = FAR_IP, .len = 972})->ip.df);
    wire_sendto(w, so, PEER_IP, PEER_PORT, big, 1472); /* others are not hit */
    expect_udp(w, (struct dgram){.len = 1472});
    wire_run(w, 600 * SEC);
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472);
    expect_udp(w, (struct dgram){.dst = FAR_IP, .len = 1472});
    wire_drop(w);
}

/* A router that says no MTU: the next plateau (RFC 1191 7.1). One that says
 * less than 552: DF is given up and the path fragments. */
Test(ip, path_mtu_odd_reports) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct icmp_hdr need = {.type = ICMP_UNREACHABLE,
                            .code = ICMP_UNREACH_FRAG};
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472);
    const struct got *g = expect_ip(w, IP_PROTO_UDP);
    need.mtu = 1500; /* not smaller than the packet: a lie */
    wire_icmp_about(w, 0, need, g, 8);
    cr_assert_eq(counter(w, path_mtu_learned), 0);
    need.mtu = 0;
    wire_icmp_about(w, 0, need, g, 8);
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472);
    g = expect_ip(w, IP_PROTO_UDP);
    cr_assert_eq(g->ip.total_len, 1492); /* 20 + 1472: multiple of 8 */
    expect_ip(w, IP_PROTO_UDP);
    need.mtu = 68;
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 500);
    wire_icmp_about(w, 0, need, take(w), 8);
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 500);
    g = expect_udp(w, (struct dgram){.dst = FAR_IP, .len = 500});
    cr_assert(!g->ip.df);
    teardown(w, so);
}

/* ip(7), IP_MTU_DISCOVER: what each mode does with what does not fit. */
Test(ip, mtu_discover_modes) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const struct {
        int mode;
        ssize_t big; /* result of a datagram over the link MTU */
        bool df;     /* of one that fits */
    } t[] = {{0, 2000, false},     {1, 2000, true},       {2, -EMSGSIZE, true},
             {3, -EMSGSIZE, true}, {4, -EMSGSIZE, false}, {5, 2000, false}};
    for (int i = 0; i < 6; i++) {
        setopt(w, so, STACK_OPT_MTU_DISCOVER, t[i].mode);
        cr_assert_eq(wire_sendto(w, so, PEER_IP, PEER_PORT, big, 2000),
                     t[i].big, "mode %d", i);
        for (int k = 0; k < 2 && t[i].big > 0; k++)
            cr_assert(!expect_ip(w, IP_PROTO_UDP)->ip.df);
        wire_sendto(w, so, PEER_IP, PEER_PORT, big, 100);
        cr_assert_eq(expect_udp(w, (struct dgram){.len = 100})->ip.df, t[i].df);
        expect_nothing(w);
    }
    teardown(w, so);
}

/* Modes 3 to 5 look at the link alone. */
Test(ip, probing_ignores_path_mtu) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct icmp_hdr need = {.type = ICMP_UNREACHABLE,
                            .code = ICMP_UNREACH_FRAG,
                            .mtu = 1000};
    wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472);
    wire_icmp_about(w, 0, need, take(w), 8);
    setopt(w, so, STACK_OPT_MTU_DISCOVER, 2);
    cr_assert_eq(wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472), -EMSGSIZE);
    for (int mode = 3; mode <= 5; mode++) {
        setopt(w, so, STACK_OPT_MTU_DISCOVER, mode);
        cr_assert_eq(wire_sendto(w, so, FAR_IP, PEER_PORT, big, 1472), 1472);
        expect_udp(w, (struct dgram){.dst = FAR_IP, .len = 1472});
    }
    teardown(w, so);
}

/* No route: the call says so. */
Test(ip, no_route) {
    struct wire *w = wire_new(&(struct wire_config){.no_gateway = true});
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    cr_assert_eq(wire_sendto(w, so, FAR_IP, PEER_PORT, "x", 1), -ENETUNREACH);
    teardown(w, so);
}

/* ---- ourselves -------------------------------------------------------- */

/* Packets to our own addresses turn round inside, of any size, and never
 * reach the wire; ports nobody has are refused as by any host. */
Test(ip, loop) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct stack_msg m = {0};
    struct sock *a = wire_socket(w, STACK_DGRAM, 77);
    wire_sendto(w, a, OUR_IP, OUR_PORT, big, 60000);
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), &m), 60000);
    cr_assert_arr_eq(in, big, 60000);
    cr_assert_eq(ip_to_v4(&m.peer.ip), OUR_IP);
    cr_assert_eq(m.peer.port, 77);
    wire_sendto(w, a, IP4(127, 0, 0, 1), OUR_PORT, "x", 1);
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), &m), 1);
    cr_assert_eq(ip_to_v4(&m.peer.ip), IP4(127, 0, 0, 1));
    struct endpoint to = wire_at(OUR_IP, 99);
    cr_assert_eq(CALL(w, stack_connect(w->st, a, &to)), 0);
    wire_sendto(w, a, 0, 0, "x", 1);
    cr_assert_eq(wire_recv(w, a, in, 10, NULL), -ECONNREFUSED);
    wire_close(w, a);
    teardown(w, so);
}

/* A broadcast needs permission, goes to every MAC, and comes back to our own
 * sockets. */
Test(ip, broadcast) {
    struct sock *so;
    struct wire *w = setup(&so);
    cr_assert_eq(wire_sendto(w, so, SUBNET_BROADCAST, PEER_PORT, "x", 1),
                 -EACCES);
    setopt(w, so, STACK_OPT_BROADCAST, 1);
    static const uint32_t to[] = {SUBNET_BROADCAST, 0xffffffff};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(wire_sendto(w, so, to[i], OUR_PORT, "x", 1), 1);
        const struct got *g = expect_udp(w, (struct dgram){.dst = to[i],
                                                           .dport = OUR_PORT,
                                                           .data = "x",
                                                           .len = 1});
        cr_assert_arr_eq(g->eth.dst, ALL_MAC, 6);
        cr_assert_eq(wire_recv(w, so, in, 10, NULL), 1);
    }
    teardown(w, so);
}

/* A group: mapped MAC, TTL 1 (RFC 1112). */
Test(ip, multicast_out) {
    struct sock *so;
    struct wire *w = setup(&so);
    uint32_t group = IP4(239, 255, 129, 7);
    wire_sendto(w, so, group, PEER_PORT, "x", 1);
    const struct got *g = expect_udp(
        w, (struct dgram){.dst = group, .data = "x", .len = 1, .ttl = 1});
    cr_assert_arr_eq(g->eth.dst, ((uint8_t[]){1, 0, 0x5e, 0x7f, 129, 7}), 6);
    teardown(w, so);
}

/* The queue to ourselves is bounded, and what is lost is counted. */
Test(ip, loop_is_bounded) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct iovec iov = {big, 60000};
    struct stack_msg m = {.peer = wire_at(OUR_IP, OUR_PORT),
                          .has_peer = true,
                          .ttl = -1,
                          .tos = -1};
    for (int i = 0; i < 200; i++) /* without a flush in between */
        cr_assert_eq(stack_send(w->st, so, &iov, 1, 0, &m), 60000);
    cr_assert_gt(counter(w, drop_loop_full), 50);
    stack_flush(w->st);
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), NULL), 60000);
    teardown(w, so);
}
