/* ICMP as traffic: RFC 792, RFC 1122 section 3.2.2, RFC 5927. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/traffic/lib_wire.h"

static uint8_t big[65535], in[65535];

static struct wire *setup(void) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_meet(w, GATEWAY_IP, GATEWAY_MAC);
    wire_pattern(big, 0, sizeof(big));
    return w;
}

/* A socket connected to FAR_IP that has sent one datagram of 5 bytes; *g is
 * that. */
static struct sock *connected(struct wire *w, const struct got **g) {
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct endpoint to = wire_at(FAR_IP, PEER_PORT);
    cr_assert_eq(CALL(w, stack_connect(w->st, so, &to)), 0);
    wire_sendto(w, so, 0, 0, "hello", 5);
    *g =
        expect_udp(w, (struct dgram){.dst = FAR_IP, .data = "hello", .len = 5});
    return so;
}

static struct icmp_hdr unreachable(uint8_t code) {
    return (struct icmp_hdr){.type = ICMP_UNREACHABLE, .code = code};
}

/* ---- echo ------------------------------------------------------------- */

Test(icmp, echo) {
    struct wire *w = setup();
    static const uint32_t sizes[] = {0, 1, 56, 1472};
    for (int i = 0; i < 4; i++) {
        struct icmp_hdr h = {.type = ICMP_ECHO, .id = 7, .seq = (uint16_t)i};
        wire_icmp(w, 0, h, big, sizes[i]);
        const struct got *g = expect_icmp(w, ICMP_ECHO_REPLY, 0);
        cr_assert_eq(g->icmp.id, 7);
        cr_assert_eq(g->icmp.seq, i);
        cr_assert_eq(g->data_len, sizes[i]);
        cr_assert_arr_eq(g->data, big, sizes[i]);
        cr_assert_eq(g->ip.dst, PEER_IP);
    }
    wire_end(w);
}

/* The largest ping: reassembled, answered in fragments that sum up right. */
Test(icmp, echo_of_64_kib) {
    struct wire *w = setup();
    static uint8_t msg[65535], whole[65535];
    uint32_t n = 65535 - 20, at = 0;
    struct icmp_hdr h = {.type = ICMP_ECHO, .id = 7, .seq = 9};
    wire_pattern(msg, 0, n);
    icmp_emit(msg, &h);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += i & 1 ? msg[i] : msg[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    icmp_set_csum(msg, (uint16_t)~sum);
    struct ipv4_hdr ip = {.proto = IP_PROTO_ICMP};
    wire_fragments(w, ip, msg, n, 1500, NULL, 0);
    while (wire_pending(w)) {
        const struct got *g = expect_ip(w, IP_PROTO_ICMP);
        cr_assert_eq(g->ip.frag_off, at);
        memcpy(whole + at, g->data, g->data_len);
        at += g->data_len;
    }
    cr_assert_eq(at, n);
    cr_assert(icmp_parse(whole, at, &h));
    cr_assert_eq(h.type, ICMP_ECHO_REPLY);
    cr_assert_eq(h.seq, 9);
    cr_assert_arr_eq(whole + 8, msg + 8, n - 8);
    sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += i & 1 ? whole[i] : whole[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    cr_assert_eq(sum, 0xffff);
    wire_end(w);
}

/* RFC 1122 3.2.2.6: pings to everybody are not answered here; damaged ones
 * never are. */
Test(icmp, echo_not_answered) {
    struct wire *w = setup();
    uint8_t m[8] = {8};
    struct ipv4_hdr ip = {.proto = IP_PROTO_ICMP};
    wire_ip(w, ip, m, 8);
    cr_assert_eq(counter(w, drop_icmp_checksum), 1);
    wire_ip(w, ip, m, 7);
    cr_assert_eq(counter(w, drop_icmp_short), 1);
    m[2] = 0xf7, m[3] = 0xff;
    ip.dst = SUBNET_BROADCAST;
    wire_ip(w, ip, m, 8);
    cr_assert_eq(counter(w, icmp_echo_broadcast), 1);
    expect_nothing(w);
    wire_end(w);
}

/* ---- errors in -------------------------------------------------------- */

/* The errno of each code, as Linux has it; without RECVERR only final ones
 * reach a connected socket. */
Test(icmp, unreachable_codes) {
    static const struct {
        int err;
        bool final;
    } t[16] = {{ENETUNREACH, 0},
               {EHOSTUNREACH, 0},
               {ENOPROTOOPT, 1},
               {ECONNREFUSED, 1},
               {0, 0},
               {EOPNOTSUPP, 0},
               {ENETUNREACH, 1},
               {EHOSTDOWN, 1},
               {ENONET, 1},
               {ENETUNREACH, 1},
               {EHOSTUNREACH, 1},
               {ENETUNREACH, 0},
               {EHOSTUNREACH, 0},
               {EHOSTUNREACH, 1},
               {EHOSTUNREACH, 1},
               {EHOSTUNREACH, 1}};
    for (uint8_t code = 0; code < 16; code++) {
        if (code == ICMP_UNREACH_FRAG)
            continue;
        for (int recverr = 0; recverr < 2; recverr++) {
            struct wire *w = setup();
            const struct got *g;
            struct sock *so = connected(w, &g);
            stack_setopt(w->st, so, STACK_OPT_RECVERR, recverr);
            wire_icmp_about(w, 0, unreachable(code), g, 0);
            int64_t err = -1;
            stack_getopt(w->st, so, STACK_OPT_ERROR, &err);
            cr_assert_eq(err, recverr || t[code].final ? t[code].err : 0,
                         "code %u recverr %d: %d", code, recverr, (int)err);
            wire_close(w, so);
            wire_end(w);
        }
    }
}

/* The other errors. */
Test(icmp, other_errors) {
    struct wire *w = setup();
    const struct got *g;
    struct sock *so = connected(w, &g);
    stack_setopt(w->st, so, STACK_OPT_RECVERR, 1);
    static const struct {
        uint8_t type, code;
        int err;
    } t[] = {{ICMP_TIME_EXCEEDED, 0, EHOSTUNREACH},
             {ICMP_TIME_EXCEEDED, 1, EHOSTUNREACH},
             {ICMP_PARAM_PROBLEM, 0, EPROTO},
             {ICMP_SOURCE_QUENCH, 0, 0},
             {ICMP_REDIRECT, 1, 0},
             {ICMP_UNREACHABLE, 16, 0}};
    for (int i = 0; i < 6; i++) {
        struct icmp_hdr h = {.type = t[i].type, .code = t[i].code};
        int64_t err = -1;
        wire_icmp_about(w, 0, h, g, 8);
        stack_getopt(w->st, so, STACK_OPT_ERROR, &err);
        cr_assert_eq(err, t[i].err, "type %u", t[i].type);
    }
    cr_assert_eq(counter(w, icmp_ignored), 2);
    cr_assert_eq(counter(w, icmp_redirects_refused), 1);
    wire_close(w, so);
    wire_end(w);
}

/* What the error queue tells (ip(7)), entry by entry. */
Test(icmp, error_queue) {
    struct wire *w = setup();
    const struct got *g;
    struct sock *so = connected(w, &g);
    struct stack_msg m = {0};
    struct iovec iov = {in, 100};
    stack_setopt(w->st, so, STACK_OPT_RECVERR, 1);
    wire_icmp_about(w, 0, unreachable(1), g, 0);
    wire_icmp_about(w, FAR_IP, unreachable(3), g, 8);
    cr_assert(stack_ready(w->st, so) & STACK_ERR);
    cr_assert_eq(stack_recv(w->st, so, &iov, 1, STACK_MSG_ERRQUEUE, &m), 5);
    cr_assert_arr_eq(in, "hello", 5);
    cr_assert_eq(m.out_flags, STACK_MSG_ERRQUEUE);
    cr_assert_eq(m.error.err, EHOSTUNREACH);
    cr_assert_eq(m.error.origin, STACK_ORIGIN_ICMP);
    cr_assert(m.error.type == 3 && m.error.code == 1);
    cr_assert_eq(ip_to_v4(&m.error.offender), GATEWAY_IP);
    cr_assert_eq(ip_to_v4(&m.peer.ip), FAR_IP);
    cr_assert_eq(m.peer.port, PEER_PORT);
    /* The pending error is now the next entry's. */
    cr_assert_eq(wire_recv(w, so, in, 10, NULL), -ECONNREFUSED);
    cr_assert(stack_ready(w->st, so) & STACK_ERR);
    cr_assert_eq(stack_recv(w->st, so, &iov, 1, STACK_MSG_ERRQUEUE, &m), 0);
    cr_assert_eq(ip_to_v4(&m.error.offender), FAR_IP);
    cr_assert_eq(stack_ready(w->st, so) & STACK_ERR, 0);
    cr_assert_eq(stack_recv(w->st, so, &iov, 1, STACK_MSG_ERRQUEUE, &m),
                 -EAGAIN);
    wire_close(w, so);
    wire_end(w);
}

/* The queue is bounded by the receive buffer. */
Test(icmp, error_queue_is_bounded) {
    struct wire *w = setup();
    const struct got *g;
    struct sock *so = connected(w, &g);
    stack_setopt(w->st, so, STACK_OPT_RECVERR, 1);
    stack_setopt(w->st, so, STACK_OPT_RCVBUF, 4096);
    for (int i = 0; i < 500; i++)
        wire_icmp_about(w, 0, unreachable(1), g, 0);
    cr_assert_gt(counter(w, drop_udp_errqueue), 300);
    wire_close(w, so);
    wire_end(w);
}

/* "Fragmentation needed" tells its MTU, unless the socket does not care. */
Test(icmp, fragmentation_needed) {
    struct wire *w = setup();
    const struct got *g;
    struct sock *so = connected(w, &g);
    int64_t v = 0;
    stack_setopt(w->st, so, STACK_OPT_MTU_DISCOVER, 2);
    wire_sendto(w, so, 0, 0, big, 1472);
    g = take(w);
    struct icmp_hdr h = unreachable(ICMP_UNREACH_FRAG);
    h.mtu = 1200;
    wire_icmp_about(w, 0, h, g, 8);
    cr_assert_eq(wire_sendto(w, so, 0, 0, big, 1472), -EMSGSIZE, "pending");
    cr_assert_eq(wire_sendto(w, so, 0, 0, big, 1173), -EMSGSIZE, "too long");
    cr_assert_eq(wire_sendto(w, so, 0, 0, big, 1172), 1172);
    expect_udp(w, (struct dgram){.dst = FAR_IP, .len = 1172});
    cr_assert_eq(stack_getopt(w->st, so, STACK_OPT_MTU, &v), 0);
    cr_assert_eq(v, 1200);
    wire_close(w, so);
    wire_end(w);
}

/* RFC 5927: quotes that are not a packet of ours change nothing. */
Test(icmp, forged_quotes) {
    struct wire *w = setup();
    const struct got *g;
    struct sock *so = connected(w, &g);
    int64_t err = -1;
    struct got f = *g;
    uint8_t frame[200];
    memcpy(frame, g->frame, g->len);
    f.frame = frame;
    wire_icmp_about(w, 0, unreachable(3), &f, 7); /* too little */
    cr_assert_eq(counter(w, drop_icmp_quote), 1);
    frame[ETH_HDR_LEN] = 0x46; /* header longer than the quote */
    wire_icmp_about(w, 0, unreachable(3), &f, 8);
    frame[ETH_HDR_LEN] = 0x65;
    wire_icmp_about(w, 0, unreachable(3), &f, 0);
    frame[ETH_HDR_LEN] = 0x45;
    frame[ETH_HDR_LEN + 7] = 1; /* a later fragment has no ports */
    wire_icmp_about(w, 0, unreachable(3), &f, 0);
    cr_assert_eq(counter(w, drop_icmp_quote), 4);
    frame[ETH_HDR_LEN + 7] = 0;
    frame[ETH_HDR_LEN + 15] ^= 5; /* source: not ours */
    wire_icmp_about(w, 0, unreachable(3), &f, 0);
    cr_assert_eq(counter(w, drop_icmp_foreign), 1);
    frame[ETH_HDR_LEN + 15] ^= 5;
    frame[ETH_HDR_LEN + 20] ^= 5; /* a port nobody has */
    wire_icmp_about(w, 0, unreachable(3), &f, 0);
    cr_assert_eq(counter(w, icmp_error_no_socket), 1);
    stack_getopt(w->st, so, STACK_OPT_ERROR, &err);
    cr_assert_eq(err, 0);
    wire_close(w, so);
    wire_end(w);
}

/* ---- errors out ------------------------------------------------------- */

/* RFC 1812 4.3.2.3: as much of the packet as fits 576 bytes. */
Test(icmp, port_unreachable_quotes) {
    struct wire *w = setup();
    wire_udp(w, (struct dgram){.len = 1000, .tos = 0x20});
    const struct got *g = expect_icmp(w, ICMP_UNREACHABLE, ICMP_UNREACH_PORT);
    cr_assert_eq(g->ip.total_len, 576);
    cr_assert_eq(g->ip.tos, 0xc0);
    struct ipv4_hdr q;
    cr_assert(ipv4_parse_quote(g->data, g->data_len, &q));
    cr_assert_eq(q.src, PEER_IP);
    cr_assert_eq(q.dst, OUR_IP);
    cr_assert_eq(q.total_len, 1028);
    wire_udp(w, (struct dgram){.data = "x", .len = 1});
    g = expect_icmp(w, ICMP_UNREACHABLE, ICMP_UNREACH_PORT);
    cr_assert_eq(g->ip.total_len, 20 + 8 + 29);
    wire_end(w);
}

/* RFC 1122 3.2.2: never about broadcasts, errors, later fragments. */
Test(icmp, errors_not_sent) {
    struct wire *w = setup();
    wire_udp(w, (struct dgram){.dst = SUBNET_BROADCAST});
    wire_udp(w, (struct dgram){.dst = 0xffffffff});
    cr_assert_eq(counter(w, drop_udp_port), 2);
    /* unicast IP in a broadcast frame */
    uint8_t p[28];
    struct ipv4_hdr h = {
        .src = PEER_IP, .dst = OUR_IP, .ttl = 9, .proto = 200, .total_len = 28};
    ipv4_emit(p, &h);
    wire_eth(w, PEER_MAC, ALL_MAC, ETH_TYPE_IPV4, p, 28);
    cr_assert_eq(counter(w, drop_ip_proto), 1);
    cr_assert_eq(counter(w, icmp_unsent), 1);
    wire_icmp(w, 0, unreachable(3), big, 0);
    expect_nothing(w);
    wire_end(w);
}

/* The token bucket: 50 at once, then one a millisecond. */
Test(icmp, rate_limit) {
    struct wire *w = setup();
    for (int i = 0; i < 200; i++)
        wire_udp(w, (struct dgram){.len = 1});
    cr_assert_eq(wire_pending(w), 50);
    cr_assert_eq(counter(w, icmp_rate_limited), 150);
    while (wire_pending(w))
        expect_icmp(w, ICMP_UNREACHABLE, ICMP_UNREACH_PORT);
    wire_run(w, 10 * MSEC);
    for (int i = 0; i < 200; i++)
        wire_udp(w, (struct dgram){.len = 1});
    cr_assert_eq(wire_pending(w), 10);
    while (wire_pending(w))
        expect_icmp(w, ICMP_UNREACHABLE, ICMP_UNREACH_PORT);
    wire_end(w);
}

/* The gateway tells of another one; packets that follow go there. */
static void redirect(struct wire *w, uint32_t from, uint32_t to,
                     const struct got *g) {
    struct icmp_hdr h = {.type = ICMP_REDIRECT, .code = 1, .gateway = to};
    wire_icmp_about(w, from, h, g, 8);
}

/* RFC 1122 section 3.2.2.2: believed from the first hop, about a host of the
 * link, for five minutes or until that is found dead. */
Test(icmp, redirect) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_meet(w, GATEWAY_IP, GATEWAY_MAC);
    wire_meet(w, OTHER_IP, OTHER_MAC);
    wire_sendto(w, so, FAR_IP, PEER_PORT, "x", 1);
    struct dgram far = {.dst = FAR_IP, .data = "x", .len = 1};
    const struct got *g = expect_udp(w, far);
    cr_assert_arr_eq(g->eth.dst, GATEWAY_MAC, 6);
    redirect(w, PEER_IP, OTHER_IP, g);  /* not the first hop */
    redirect(w, GATEWAY_IP, FAR_IP, g); /* not on the link */
    redirect(w, GATEWAY_IP, OUR_IP, g); /* ourselves */
    cr_assert_eq(counter(w, icmp_redirects_refused), 3);
    redirect(w, GATEWAY_IP, OTHER_IP, g);
    cr_assert_eq(counter(w, icmp_redirects_taken), 1);
    wire_sendto(w, so, FAR_IP, PEER_PORT, "x", 1);
    cr_assert_arr_eq(expect_udp(w, far)->eth.dst, OTHER_MAC, 6);
    wire_run(w, 301 * SEC);
    wire_meet(w, GATEWAY_IP, GATEWAY_MAC);
    while (take(w))
        ;
    wire_sendto(w, so, FAR_IP, PEER_PORT, "x", 1);
    cr_assert_arr_eq(expect_udp(w, far)->eth.dst, GATEWAY_MAC, 6);
    wire_drop(w);
}

/* accept_redirects=0. */
Test(icmp, redirect_refused) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    stack_tune(w->st, "accept_redirects=0");
    wire_meet(w, GATEWAY_IP, GATEWAY_MAC);
    wire_sendto(w, so, FAR_IP, PEER_PORT, "x", 1);
    struct dgram far = {.dst = FAR_IP, .data = "x", .len = 1};
    redirect(w, GATEWAY_IP, OTHER_IP, expect_udp(w, far));
    cr_assert_eq(counter(w, icmp_redirects_refused), 1);
    wire_drop(w);
}
