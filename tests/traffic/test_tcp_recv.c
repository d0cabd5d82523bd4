/* Receiving: RFC 9293 sections 3.8.6.2.2 and 3.8.6.3, RFC 5681 section 4.2,
 * RFC 2018, RFC 2883; urgent data as tcp(7) and RFC 6093 have it. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_tcp.h"

#define DATA (TCP_ACK | TCP_PSH)

static const struct peer_syn SACK = {.sack = true};

/* The ACK of a lone segment waits 40 ms for company. */
Test(tcp_recv, delayed_ack) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, DATA, 1, 1, 100);
    expect_nothing(c.w);
    nstime_t t = conn_run_to_segment(&c, SEC);
    cr_assert(t > 38 * MSEC && t <= 41 * MSEC, "%lu", t);
    to_peer(&c, TCP_ACK, 1, 101, 0);
    expect_quiet_for(&c, SEC);
    conn_end(&c);
}

/* Every second full segment is acknowledged at once (RFC 5681 section 4.2). */
Test(tcp_recv, second_segment) {
    struct conn c = conn_connected(NULL);
    for (uint32_t i = 0; i < 4; i++) {
        from_peer(&c, TCP_ACK, 1 + 2920 * i, 1, 1460);
        expect_nothing(c.w);
        from_peer(&c, TCP_ACK, 1461 + 2920 * i, 1, 1460);
        to_peer(&c, TCP_ACK, 1, 2921 + 2920 * i, 0);
    }
    conn_end(&c);
}

/* An answer takes the ACK along: an echo server sends no bare one. */
Test(tcp_recv, piggyback) {
    struct conn c = conn_connected(NULL);
    for (uint32_t i = 0; i < 5; i++) {
        from_peer(&c, DATA, 1 + 10 * i, 1 + 10 * i, 10);
        cr_assert_eq(conn_recv(&c, 100), 10);
        conn_send(&c, 10);
        to_peer(&c, DATA, 1 + 10 * i, 11 + 10 * i, 10);
    }
    expect_nothing(c.w);
    conn_end(&c);
}

Test(tcp_recv, quickack) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_QUICKACK, 1);
    from_peer(&c, DATA, 1, 1, 100);
    to_peer(&c, TCP_ACK, 1, 101, 0);
    conn_end(&c);
}

/* A superframe counts as the segments it is made of. */
Test(tcp_recv, superframe) {
    struct conn c = conn_connected(NULL);
    c.w->rx_meta = (struct netio_meta){.gso = NETIO_GSO_TCP4,
                                       .gso_size = 1460,
                                       .hdr_len = 54,
                                       .flags = NETIO_CSUM_VALID};
    from_peer(&c, DATA, 1, 1, 14600);
    to_peer(&c, TCP_ACK, 1, 14601, 0);
    cr_assert_eq(conn_info(&c).data_segs_in, 10);
    cr_assert_eq(conn_recv(&c, 20000), 14600);
    conn_end(&c);
}

/* Data out of order: an ACK at once, with the newest block first; the gap's
 * filler is acknowledged at once too (RFC 2018 section 4). */
Test(tcp_recv, out_of_order) {
    struct conn c = conn_connected(&SACK);
    from_peer(&c, DATA, 101, 1, 100);
    const struct got *g = to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(g->opts.n_sack, 1);
    cr_assert_eq(g->opts.sack[0].left, PEER_ISS + 101);
    cr_assert_eq(g->opts.sack[0].right, PEER_ISS + 201);
    from_peer(&c, DATA, 301, 1, 100);
    g = to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(g->opts.n_sack, 2);
    cr_assert_eq(g->opts.sack[0].left, PEER_ISS + 301);
    cr_assert_eq(g->opts.sack[1].left, PEER_ISS + 101);
    cr_assert_eq(conn_recv(&c, 1000), -EAGAIN);
    from_peer(&c, DATA, 1, 1, 100);
    g = to_peer(&c, TCP_ACK, 1, 201, 0);
    cr_assert_eq(g->opts.n_sack, 1);
    from_peer(&c, DATA, 201, 1, 100);
    g = to_peer(&c, TCP_ACK, 1, 401, 0);
    cr_assert_eq(g->opts.n_sack, 0);
    cr_assert_eq(conn_recv(&c, 1000), 400);
    conn_end(&c);
}

/* A block that grows to meet another is reported as one. */
Test(tcp_recv, blocks_join) {
    struct conn c = conn_connected(&SACK);
    from_peer(&c, DATA, 101, 1, 100);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    from_peer(&c, DATA, 301, 1, 100);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    from_peer(&c, DATA, 201, 1, 100);
    const struct got *g = to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(g->opts.n_sack, 1);
    cr_assert_eq(g->opts.sack[0].left, PEER_ISS + 101);
    cr_assert_eq(g->opts.sack[0].right, PEER_ISS + 401);
    conn_end(&c);
}

/* Overlaps of every kind: bytes once, in order. */
Test(tcp_recv, overlaps) {
    struct conn c = conn_connected(NULL);
    static const uint32_t pieces[][2] = {{50, 100},  {120, 100}, {10, 500},
                                         {300, 10},  {700, 50},  {600, 300},
                                         {650, 100}, {1, 5},     {3, 30}};
    for (unsigned i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
        from_peer(&c, DATA, pieces[i][0], 1, pieces[i][1]);
    cr_assert_eq(conn_recv(&c, 2000), 509);
    from_peer(&c, DATA, 400, 1, 250);
    cr_assert_eq(conn_recv(&c, 2000), 390);
    cr_assert_eq(conn_info(&c).bytes_received, 899);
    conn_end(&c);
}

/* RFC 2883: what came twice is reported first. */
Test(tcp_recv, dsack) {
    struct conn c = conn_connected(&SACK);
    from_peer(&c, DATA, 1, 1, 100);
    from_peer(&c, DATA, 1, 1, 100);
    const struct got *g = to_peer(&c, TCP_ACK, 1, 101, 0);
    cr_assert_eq(g->opts.n_sack, 1);
    cr_assert_eq(g->opts.sack[0].left, PEER_ISS + 1);
    cr_assert_eq(g->opts.sack[0].right, PEER_ISS + 101);
    from_peer(&c, DATA, 301, 1, 100);
    to_peer(&c, TCP_ACK, 1, 101, 0);
    from_peer(&c, DATA, 301, 1, 100);
    g = to_peer(&c, TCP_ACK, 1, 101, 0);
    cr_assert_eq(g->opts.n_sack, 2);
    cr_assert_eq(g->opts.sack[0].left, g->opts.sack[1].left);
    conn_end(&c);
}

/* A FIN ahead of its data waits for it. */
Test(tcp_recv, early_fin) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, DATA | TCP_FIN, 101, 1, 50);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    from_peer(&c, DATA, 1, 1, 100);
    to_peer(&c, TCP_ACK, 1, 152, 0);
    cr_assert_eq(conn_state(&c), CLOSE_WAIT);
    cr_assert_eq(conn_recv(&c, 1000), 150);
    cr_assert_eq(conn_recv(&c, 1000), 0);
    conn_end(&c);
}

/* SO_RCVBUF bounds the window; it shuts, and opens again by one update when
 * the program reads (RFC 9293 section 3.8.6.2.2). */
static void small_buffer(struct wire *w, struct sock *so) {
    CALL(w, stack_setopt(w->st, so, STACK_OPT_RCVBUF, 4380));
}
Test(tcp_recv, window_shuts_and_opens) {
    struct conn c = conn_connected(&(struct peer_syn){.prepare = small_buffer,
                                                      .has_wscale = true,
                                                      .wscale = 0});
    from_peer(&c, TCP_ACK, 1, 1, 1460);
    from_peer(&c, TCP_ACK, 1461, 1, 1460);
    const struct got *g = to_peer(&c, TCP_ACK, 1, 2921, 0);
    cr_assert_leq(g->tcp.wnd << 7, 1460 + 127);
    from_peer(&c, TCP_ACK, 2921, 1, 1460);
    conn_run_to_segment(&c, SEC);
    g = to_peer(&c, TCP_ACK, 1, 4381, 0);
    cr_assert_leq(g->tcp.wnd << 7, 127);
    cr_assert_eq(conn_recv(&c, 100), 100);
    expect_nothing(c.w); /* not worth a word */
    cr_assert_eq(conn_recv(&c, 5000), 4280);
    g = to_peer(&c, TCP_ACK, 1, 4381, 0);
    cr_assert_geq(g->tcp.wnd << 7, 4200);
    conn_end(&c);
}

/* A probe of the shut window is answered, its byte not taken. */
Test(tcp_recv, probe_of_a_shut_window) {
    struct conn c = conn_connected(&(struct peer_syn){.prepare = small_buffer});
    from_peer(&c, TCP_ACK, 1, 1, 1460);
    from_peer(&c, TCP_ACK, 1461, 1, 1460);
    to_peer(&c, TCP_ACK, 1, 2921, 0);
    from_peer(&c, TCP_ACK, 2921, 1, 1460);
    conn_run_to_segment(&c, SEC);
    to_peer(&c, TCP_ACK, 1, 4381, 0);
    from_peer(&c, TCP_ACK, 4381, 1, 1);
    cr_assert_eq(to_peer(&c, TCP_ACK, 1, 4381, 0)->tcp.wnd, 0);
    cr_assert_eq(conn_recv(&c, 5000), 4380);
    conn_end(&c);
}

/* MUST-66: a shut window does not keep ACKs from being used. */
Test(tcp_recv, ack_at_a_shut_window) {
    struct conn c = conn_connected(&(struct peer_syn){.prepare = small_buffer});
    conn_send(&c, 10);
    to_peer(&c, DATA, 1, 1, 10);
    from_peer(&c, TCP_ACK, 1, 1, 1460);
    from_peer(&c, TCP_ACK, 1461, 1, 1460);
    to_peer(&c, TCP_ACK, 11, 2921, 0);
    from_peer(&c, TCP_ACK, 2921, 1, 1460);
    conn_run_to_segment(&c, 100 * MSEC);
    take(c.w);
    from_peer(&c, TCP_ACK, 4381, 11, 100);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_OUTQ), 0);
    conn_end(&c);
}

/* MSG_PEEK leaves the bytes, MSG_TRUNC throws them away (tcp(7)). */
Test(tcp_recv, peek_and_trunc) {
    struct conn c = conn_connected(NULL);
    char b[100];
    from_peer(&c, DATA, 1, 1, 50);
    cr_assert_eq(conn_recv_flags(&c, b, 100, STACK_MSG_PEEK), 50);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_INQ), 50);
    cr_assert_eq(conn_recv_flags(&c, NULL, 30, STACK_MSG_TRUNC), 30);
    cr_assert_eq(conn_recv(&c, 100), 20);
    cr_assert_eq(conn_recv(&c, 100), -EAGAIN);
    conn_end(&c);
}

/* SO_RCVLOWAT */
Test(tcp_recv, low_water) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_RCVLOWAT, 20);
    from_peer(&c, DATA, 1, 1, 19);
    cr_assert_eq(conn_ready(&c), STACK_OUT);
    from_peer(&c, DATA, 20, 1, 1);
    cr_assert_eq(conn_ready(&c), STACK_IN | STACK_OUT);
    cr_assert_eq(conn_recv(&c, 100), 20);
    conn_end(&c);
}

/* A peer's segment with the byte before `urg` marked urgent. */
static void urgent_segment(struct conn *c, uint32_t seq, uint32_t len,
                           uint16_t urg) {
    uint8_t data[2000];
    wire_pattern(data, seq, len);
    wire_tcp(c->w, (struct seg){.flags = DATA | TCP_URG,
                                .seq = PEER_ISS + seq,
                                .ack = c->iss + 1,
                                .urg = urg,
                                .data = data,
                                .len = len});
}

/* The urgent byte: PRI, MSG_OOB, the mark; plain reads go round it. */
Test(tcp_recv, urgent) {
    struct conn c = conn_connected(NULL);
    uint8_t want[20], b[20];
    wire_pattern(want, 1, 20);
    cr_assert_eq(conn_recv_flags(&c, b, 1, STACK_MSG_OOB), -EINVAL);
    urgent_segment(&c, 1, 10, 5); /* byte 5 */
    cr_assert_eq(conn_ready(&c), STACK_IN | STACK_OUT | STACK_PRI);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_INQ), 4);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_ATMARK), 0);
    cr_assert_eq(conn_recv_flags(&c, b, 20, 0), 4, "up to the mark");
    cr_assert_eq(conn_getopt(&c, STACK_OPT_ATMARK), 1);
    cr_assert_eq(conn_recv_flags(&c, b, 20, STACK_MSG_OOB), 1);
    cr_assert_eq(b[0], want[4]);
    cr_assert_eq(conn_recv_flags(&c, b, 20, STACK_MSG_OOB), -EINVAL);
    cr_assert_eq(conn_ready(&c) & STACK_PRI, 0);
    cr_assert_eq(conn_recv_flags(&c, b, 20, 0), 5);
    cr_assert_arr_eq(b, want + 5, 5);
    conn_end(&c);
}

/* Announced, but the byte is still to come. */
Test(tcp_recv, urgent_ahead) {
    struct conn c = conn_connected(NULL);
    char b;
    urgent_segment(&c, 1, 10, 20);
    cr_assert_eq(conn_recv_flags(&c, &b, 1, STACK_MSG_OOB), -EAGAIN);
    urgent_segment(&c, 11, 10, 10);
    cr_assert_eq(conn_recv_flags(&c, &b, 1, STACK_MSG_OOB), 1);
    conn_end(&c);
}

/* SO_OOBINLINE: in the stream, a read stops before it. */
Test(tcp_recv, urgent_inline) {
    struct conn c = conn_connected(NULL);
    uint8_t want[20], b[20];
    wire_pattern(want, 1, 20);
    conn_opt(&c, STACK_OPT_OOBINLINE, 1);
    urgent_segment(&c, 1, 10, 5);
    cr_assert_eq(conn_recv_flags(&c, b, 1, STACK_MSG_OOB), -EINVAL);
    cr_assert_eq(conn_recv_flags(&c, b, 20, 0), 4);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_ATMARK), 1);
    cr_assert_eq(conn_recv_flags(&c, b, 20, 0), 6);
    cr_assert_arr_eq(b, want + 4, 6);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_ATMARK), 0);
    conn_end(&c);
}

/* Wrong checksums and other nonsense: dropped, counted, not answered. */
Test(tcp_recv, nonsense) {
    struct conn c = conn_connected(NULL);
    uint8_t l4[100];
    struct ipv4_hdr ip = {.proto = IP_PROTO_TCP};
    struct seg s = {.flags = TCP_ACK,
                    .seq = PEER_ISS + 1,
                    .ack = c.iss + 1,
                    .len = 10};
    uint32_t n = wire_build_tcp(l4, s);
    l4[17] ^= 1;
    wire_ip(c.w, ip, l4, n);
    cr_assert_eq(counter(c.w, drop_tcp_checksum), 1);
    wire_build_tcp(l4, s);
    l4[12] = 0x40; /* data offset 4 words */
    wire_ip(c.w, ip, l4, n);
    l4[12] = 0xf0; /* beyond the end */
    wire_ip(c.w, ip, l4, n);
    wire_ip(c.w, ip, l4, 19);
    cr_assert_eq(counter(c.w, drop_tcp_header), 3);
    expect_quiet_for(&c, SEC);
    cr_assert_eq(conn_recv(&c, 10), -EAGAIN);
    conn_end(&c);
}
