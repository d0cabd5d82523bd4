/* UDP as traffic: RFC 768, RFC 1122 section 4.1, udp(7), ip(7). */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/traffic/lib_wire.h"

static uint8_t big[65535], in[65535];

static struct wire *setup(void) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_meet(w, OTHER_IP, OTHER_MAC);
    wire_pattern(big, 0, sizeof(big));
    return w;
}

static ssize_t send_flags(struct wire *w, struct sock *so, const void *data,
                          size_t len, uint32_t flags, struct stack_msg *m) {
    struct iovec iov = {(void *)(uintptr_t)data, len};
    return CALL(w, stack_send(w->st, so, &iov, 1, flags, m));
}

static ssize_t recv_flags(struct wire *w, struct sock *so, size_t len,
                          uint32_t flags, struct stack_msg *m) {
    struct iovec iov = {in, len};
    return CALL(w, stack_recv(w->st, so, &iov, 1, flags, m));
}

/* ---- in --------------------------------------------------------------- */

/* What comes with a datagram: ends, TTL, TOS, time. */
Test(udp, receive) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct stack_msg m = {0};
    cr_assert_eq(stack_ready(w->st, so), STACK_OUT);
    wire_udp(w,
             (struct dgram){.data = "hello", .len = 5, .ttl = 9, .tos = 0x2e});
    nstime_t at = w->now;
    wire_run(w, SEC);
    cr_assert_eq(stack_ready(w->st, so), STACK_IN | STACK_OUT);
    cr_assert_eq(wire_recv(w, so, in, 100, &m), 5);
    cr_assert_arr_eq(in, "hello", 5);
    cr_assert_eq(ip_to_v4(&m.peer.ip), PEER_IP);
    cr_assert_eq(m.peer.port, PEER_PORT);
    cr_assert_eq(ip_to_v4(&m.local), OUR_IP);
    cr_assert(m.ttl == 9 && m.tos == 0x2e && m.arrived == at);
    cr_assert_eq(m.out_flags, 0);
    cr_assert_eq(wire_recv(w, so, in, 100, &m), -EAGAIN);
    wire_close(w, so);
    wire_end(w);
}

/* Checksums: right, none (accepted), wrong (dropped without a word), vouched
 * for by the device (not looked at). */
Test(udp, checksums) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_udp(w, (struct dgram){.data = "1", .len = 1});
    wire_udp(w, (struct dgram){.data = "2", .len = 1, .no_csum = true});
    wire_udp(w, (struct dgram){.data = "3", .len = 1, .bad_csum = true});
    cr_assert_eq(counter(w, drop_udp_checksum), 1);
    w->rx_meta.flags = NETIO_CSUM_PARTIAL;
    wire_udp(w, (struct dgram){.data = "4", .len = 1, .bad_csum = true});
    w->rx_meta.flags = NETIO_CSUM_VALID;
    wire_udp(w, (struct dgram){.data = "5", .len = 1, .bad_csum = true});
    for (const char *c = "1245"; *c; c++) {
        cr_assert_eq(wire_recv(w, so, in, 100, NULL), 1);
        cr_assert_eq(in[0], *c);
    }
    /* A damaged datagram to a closed port gets no answer either. */
    wire_udp(w, (struct dgram){.dport = 9, .len = 1, .bad_csum = true});
    expect_nothing(w);
    wire_close(w, so);
    wire_end(w);
}

/* Lengths that lie. */
Test(udp, malformed) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct ipv4_hdr h = {.proto = IP_PROTO_UDP};
    uint8_t p[32];
    wire_build_udp(p, (struct dgram){.len = 20, .no_csum = true});
    wire_ip(w, h, p, 7);
    wire_ip(w, h, p, 27);
    p[5] = 7;
    wire_ip(w, h, p, 28);
    cr_assert_eq(counter(w, drop_udp_length), 3);
    p[5] = 18; /* shorter than what IP carries: the rest is not data */
    wire_ip(w, h, p, 28);
    cr_assert_eq(wire_recv(w, so, in, 100, NULL), 10);
    wire_close(w, so);
    wire_end(w);
}

/* An empty datagram is one. */
Test(udp, empty) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_udp(w, (struct dgram){0});
    cr_assert(stack_ready(w->st, so) & STACK_IN);
    cr_assert_eq(wire_recv(w, so, in, 100, NULL), 0);
    cr_assert_eq(stack_ready(w->st, so) & STACK_IN, 0);
    cr_assert_eq(wire_sendto(w, so, PEER_IP, PEER_PORT, NULL, 0), 0);
    expect_udp(w, (struct dgram){.len = 0});
    wire_close(w, so);
    wire_end(w);
}

/* A superframe of equal datagrams (UDP_SEGMENT at the sender). */
Test(udp, superframe_in) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    w->rx_meta = (struct netio_meta){.flags = NETIO_CSUM_PARTIAL,
                                     .gso = NETIO_GSO_UDP,
                                     .gso_size = 1000};
    wire_udp(w, (struct dgram){.data = big, .len = 2500});
    for (uint32_t at = 0; at < 2500; at += 1000) {
        ssize_t n = at < 2000 ? 1000 : 500;
        cr_assert_eq(wire_recv(w, so, in, sizeof(in), NULL), n);
        cr_assert_arr_eq(in, big + at, (size_t)n);
    }
    wire_close(w, so);
    wire_end(w);
}

/* Peeking, short room, real length. */
Test(udp, peek_and_trunc) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct stack_msg m = {0};
    int64_t v;
    wire_udp(w, (struct dgram){.data = "0123456789", .len = 10});
    wire_udp(w, (struct dgram){.data = "abc", .len = 3});
    cr_assert_eq(stack_getopt(w->st, so, STACK_OPT_INQ, &v), 0);
    cr_assert_eq(v, 10, "the next datagram alone");
    cr_assert_eq(recv_flags(w, so, 4, STACK_MSG_PEEK, &m), 4);
    cr_assert_eq(m.out_flags, STACK_MSG_TRUNC);
    cr_assert_eq(recv_flags(w, so, 4, STACK_MSG_PEEK | STACK_MSG_TRUNC, &m),
                 10);
    cr_assert_eq(recv_flags(w, so, 4, STACK_MSG_TRUNC, &m), 10);
    cr_assert_arr_eq(in, "0123", 4);
    cr_assert_eq(recv_flags(w, so, 0, 0, &m), 0);
    cr_assert_eq(m.out_flags, STACK_MSG_TRUNC);
    cr_assert_eq(recv_flags(w, so, 4, 0, &m), -EAGAIN);
    wire_close(w, so);
    wire_end(w);
}

/* The receive buffer bounds what waits; drops are counted and end when the
 * program reads. */
Test(udp, rcvbuf) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    unsigned n = 0;
    stack_setopt(w->st, so, STACK_OPT_RCVBUF, 8192); /* doubled */
    for (int i = 0; i < 100; i++)
        wire_udp(w, (struct dgram){.len = 1000});
    while (wire_recv(w, so, in, 2000, NULL) == 1000)
        n++;
    cr_assert(n >= 12 && n <= 17, "%u", n);
    cr_assert_eq(counter(w, drop_udp_rcvbuf), 100 - n);
    wire_udp(w, (struct dgram){.len = 1000});
    cr_assert_eq(wire_recv(w, so, in, 2000, NULL), 1000);
    wire_close(w, so);
    wire_end(w);
}

/* Who gets it: the connected socket, then the exact address, then any. */
Test(udp, demux) {
    struct wire *w = setup();
    struct sock *any = wire_socket(w, STACK_DGRAM, 0);
    struct sock *exact = wire_socket(w, STACK_DGRAM, 0);
    struct sock *conn = wire_socket(w, STACK_DGRAM, 0);
    struct endpoint at = wire_at(0, OUR_PORT), peer = wire_at(PEER_IP, 7);
    struct sock *all[3] = {any, exact, conn};
    for (int i = 0; i < 3; i++)
        stack_setopt(w->st, all[i], STACK_OPT_REUSEADDR, 1);
    cr_assert_eq(CALL(w, stack_bind(w->st, any, &at)), 0);
    at = wire_at(OUR_IP, OUR_PORT);
    cr_assert_eq(CALL(w, stack_bind(w->st, exact, &at)), 0);
    cr_assert_eq(CALL(w, stack_bind(w->st, conn, &at)), 0);
    cr_assert_eq(CALL(w, stack_connect(w->st, conn, &peer)), 0);
    wire_udp(w, (struct dgram){.sport = 7, .data = "c", .len = 1});
    wire_udp(w, (struct dgram){.sport = 8, .data = "e", .len = 1});
    cr_assert(wire_recv(w, conn, in, 9, NULL) == 1 && in[0] == 'c');
    cr_assert_eq(wire_recv(w, conn, in, 9, NULL), -EAGAIN);
    cr_assert(wire_recv(w, exact, in, 9, NULL) == 1 && in[0] == 'e');
    cr_assert_eq(wire_recv(w, any, in, 9, NULL), -EAGAIN);
    wire_close(w, exact);
    wire_udp(w, (struct dgram){.sport = 8, .data = "a", .len = 1});
    cr_assert(wire_recv(w, any, in, 9, NULL) == 1 && in[0] == 'a');
    /* A broadcast goes to everybody who could take it. */
    wire_udp(w, (struct dgram){.dst = SUBNET_BROADCAST, .data = "b", .len = 1});
    cr_assert(wire_recv(w, any, in, 9, NULL) == 1 && in[0] == 'b');
    cr_assert_eq(wire_recv(w, conn, in, 9, NULL), -EAGAIN);
    wire_close(w, any);
    wire_close(w, conn);
    wire_end(w);
}

Test(udp, broadcast_to_all) {
    struct wire *w = setup();
    struct sock *s[3];
    struct endpoint at = wire_at(0, OUR_PORT);
    for (int i = 0; i < 3; i++) {
        s[i] = wire_socket(w, STACK_DGRAM, 0);
        stack_setopt(w->st, s[i], STACK_OPT_REUSEADDR, 1);
        cr_assert_eq(CALL(w, stack_bind(w->st, s[i], &at)), 0);
    }
    wire_udp(w, (struct dgram){.dst = 0xffffffff, .data = "b", .len = 1});
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(wire_recv(w, s[i], in, 9, NULL), 1);
        wire_close(w, s[i]);
    }
    wire_end(w);
}

/* ---- out -------------------------------------------------------------- */

/* An unbound socket gets a port; no destination is an error of its own. */
Test(udp, destinations) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, 0);
    struct endpoint me;
    cr_assert_eq(wire_sendto(w, so, 0, 0, "x", 1), -EDESTADDRREQ);
    cr_assert_eq(wire_sendto(w, so, PEER_IP, 0, "x", 1), -EINVAL);
    cr_assert_eq(wire_sendto(w, so, PEER_IP, 5, "x", 1), 1);
    stack_getsockname(so, &me);
    cr_assert(me.port >= 32768 && me.port < 61000);
    expect_udp(
        w, (struct dgram){.sport = me.port, .dport = 5, .data = "x", .len = 1});
    wire_close(w, so);
    wire_end(w);
}

/* connect sets peer and source, again and again; NULL dissolves. */
Test(udp, connect) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, 0);
    struct endpoint to = wire_at(PEER_IP, 5), me, him;
    cr_assert_eq(stack_getpeername(so, &him), -ENOTCONN);
    cr_assert_eq(CALL(w, stack_connect(w->st, so, &to)), 0);
    cr_assert_eq(stack_getpeername(so, &him), 0);
    stack_getsockname(so, &me);
    cr_assert_eq(ip_to_v4(&me.ip), OUR_IP);
    cr_assert_eq(wire_sendto(w, so, 0, 0, "x", 1), 1);
    expect_udp(
        w, (struct dgram){.sport = me.port, .dport = 5, .data = "x", .len = 1});
    cr_assert_eq(wire_sendto(w, so, OTHER_IP, 6, "y", 1), 1);
    expect_udp(w, (struct dgram){.dst = OTHER_IP,
                                 .sport = me.port,
                                 .dport = 6,
                                 .data = "y",
                                 .len = 1});
    to = wire_at(OTHER_IP, 6);
    cr_assert_eq(CALL(w, stack_connect(w->st, so, &to)), 0);
    wire_udp(w, (struct dgram){.sport = 5, .dport = me.port});
    expect_icmp(w, ICMP_UNREACHABLE, ICMP_UNREACH_PORT);
    cr_assert_eq(CALL(w, stack_connect(w->st, so, NULL)), 0);
    cr_assert_eq(stack_getpeername(so, &him), -ENOTCONN);
    stack_getsockname(so, &me);
    cr_assert(ip_is_any(&me.ip) && me.port == 0);
    wire_close(w, so);
    wire_end(w);
}

/* TTL, TOS and source of one datagram (IP_PKTINFO and friends). */
Test(udp, ancillary) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    stack_setopt(w->st, so, STACK_OPT_TTL, 33);
    stack_setopt(w->st, so, STACK_OPT_TOS, 0x10);
    wire_sendto(w, so, PEER_IP, PEER_PORT, "x", 1);
    expect_udp(w,
               (struct dgram){.data = "x", .len = 1, .ttl = 33, .tos = 0x10});
    struct stack_msg m = {.peer = wire_at(PEER_IP, PEER_PORT),
                          .has_peer = true,
                          .local = ip_from_v4(OUR_IP),
                          .has_local = true,
                          .ttl = 5,
                          .tos = 4};
    cr_assert_eq(send_flags(w, so, "x", 1, 0, &m), 1);
    expect_udp(w, (struct dgram){.data = "x", .len = 1, .ttl = 5, .tos = 4});
    m.local = ip_from_v4(OTHER_IP);
    cr_assert_eq(send_flags(w, so, "x", 1, 0, &m), -ENETUNREACH);
    wire_close(w, so);
    wire_end(w);
}

/* Gather lists of any shape; the device completes the checksum. */
Test(udp, gather) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct stack_msg m = {.peer = wire_at(PEER_IP, PEER_PORT),
                          .has_peer = true,
                          .ttl = -1,
                          .tos = -1};
    struct iovec iov[40];
    static const uint32_t piece[] = {7, 70}; /* copied; joined */
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < 40; i++)
            iov[i] = (struct iovec){big + i * piece[k], piece[k]};
        iov[3].iov_len = 0; /* an empty one among them */
        iov[4].iov_base = big + 3 * piece[k];
        iov[4].iov_len = 2 * piece[k];
        ssize_t n = 40 * piece[k];
        cr_assert_eq(CALL(w, stack_send(w->st, so, iov, 40, 0, &m)), n);
        if (k == 0) {
            const struct got *g =
                expect_udp(w, (struct dgram){.len = (uint32_t)n});
            cr_assert_eq(g->meta.flags, NETIO_CSUM_PARTIAL);
            continue;
        }
        uint8_t whole[3000];
        for (int f = 0; f < 2; f++) {
            const struct got *g = expect_ip(w, IP_PROTO_UDP);
            memcpy(whole + g->ip.frag_off, g->data, g->data_len);
        }
        cr_assert_arr_eq(whole + 8, big, (size_t)n);
    }
    wire_close(w, so);
    wire_end(w);
}

/* A batch of datagrams keeps each payload apart, past the batch's size. */
Test(udp, many_before_a_flush) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct stack_msg m = {.peer = wire_at(PEER_IP, PEER_PORT),
                          .has_peer = true,
                          .ttl = -1,
                          .tos = -1};
    for (uint32_t i = 0; i < 100; i++) {
        struct iovec iov = {&i, 4};
        cr_assert_eq(stack_send(w->st, so, &iov, 1, 0, &m), 4);
    }
    stack_flush(w->st);
    for (uint32_t i = 0; i < 100; i++)
        expect_udp(w, (struct dgram){.data = &i, .len = 4});
    wire_close(w, so);
    wire_end(w);
}

/* MSG_MORE: several calls, one datagram, to where the first said. */
Test(udp, cork) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct stack_msg m = {.peer = wire_at(PEER_IP, PEER_PORT),
                          .has_peer = true,
                          .ttl = -1,
                          .tos = -1};
    cr_assert_eq(send_flags(w, so, big, 1000, STACK_MSG_MORE, &m), 1000);
    expect_nothing(w);
    cr_assert_eq(send_flags(w, so, big + 1000, 400, STACK_MSG_MORE, NULL), 400);
    cr_assert_eq(send_flags(w, so, big + 1400, 10, 0, NULL), 10);
    expect_udp(w, (struct dgram){.len = 1410});
    cr_assert_eq(send_flags(w, so, big, 60000, STACK_MSG_MORE, &m), 60000);
    cr_assert_eq(send_flags(w, so, big, 6000, 0, NULL), -EMSGSIZE);
    cr_assert_eq(send_flags(w, so, big, 3, 0, &m), 3);
    expect_udp(w, (struct dgram){.len = 3});
    wire_close(w, so);
    wire_end(w);
}

/* shutdown as Linux has it. */
Test(udp, shutdown) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    cr_assert_eq(stack_shutdown(w->st, so, STACK_SHUT_RD), -ENOTCONN);
    cr_assert(stack_ready(w->st, so) & STACK_IN);
    cr_assert_eq(wire_recv(w, so, in, 9, NULL), 0);
    cr_assert_eq(CALL(w, stack_connect(w->st, so, &to)), 0);
    cr_assert_eq(stack_shutdown(w->st, so, STACK_SHUT_WR), 0);
    cr_assert_eq(wire_sendto(w, so, 0, 0, "x", 1), -EPIPE);
    cr_assert(stack_ready(w->st, so) & STACK_HUP);
    wire_close(w, so);
    wire_end(w);
}

/* Calls that make no sense for datagrams. */
Test(udp, refused_calls) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT), *out;
    int64_t v;
    cr_assert_eq(stack_listen(w->st, so, 1), -EOPNOTSUPP);
    cr_assert_neq(stack_accept(w->st, so, &out), 0);
    cr_assert_eq(send_flags(w, so, "x", 1, STACK_MSG_OOB, NULL), -EOPNOTSUPP);
    cr_assert_eq(stack_getopt(w->st, so, STACK_OPT_MTU, &v), -ENOTCONN);
    wire_close(w, so);
    wire_end(w);
}

/* A local refusal for length is in the error queue too, with the MTU. */
Test(udp, local_error) {
    struct wire *w = setup();
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct stack_msg m = {0};
    stack_setopt(w->st, so, STACK_OPT_RECVERR, 1);
    stack_setopt(w->st, so, STACK_OPT_MTU_DISCOVER, 2);
    cr_assert_eq(wire_sendto(w, so, PEER_IP, PEER_PORT, big, 1473), -EMSGSIZE);
    cr_assert_eq(recv_flags(w, so, 10, STACK_MSG_ERRQUEUE, &m), 0);
    cr_assert_eq(m.error.origin, STACK_ORIGIN_LOCAL);
    cr_assert_eq(m.error.err, EMSGSIZE);
    cr_assert_eq(m.error.info, 1500);
    cr_assert_eq(m.peer.port, PEER_PORT);
    wire_close(w, so);
    wire_end(w);
}

/* Closing gives everything back. */
Test(udp, close_frees) {
    struct wire *w = setup();
    struct stack_memory before, after;
    stack_memory(w->st, &before);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    struct stack_msg m = {.peer = wire_at(PEER_IP, PEER_PORT),
                          .has_peer = true,
                          .ttl = -1,
                          .tos = -1};
    stack_setopt(w->st, so, STACK_OPT_RECVERR, 1);
    for (int i = 0; i < 20; i++)
        wire_udp(w, (struct dgram){.len = 1000});
    wire_sendto(w, so, PEER_IP, 5, "x", 1);
    wire_icmp_about(w, 0, (struct icmp_hdr){.type = 3, .code = 1}, take(w), 0);
    send_flags(w, so, big, 30000, STACK_MSG_MORE, &m);
    wire_close(w, so);
    stack_memory(w->st, &after);
    cr_assert_eq(after.used, before.used);
    wire_end(w);
}
