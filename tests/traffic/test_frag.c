/* IPv4 reassembly as traffic: RFC 791, RFC 1122 section 3.3.2, RFC 1858,
 * RFC 3128, RFC 3168 section 5.3. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/traffic/lib_wire.h"

#define N 4000 /* payload of the datagram: three fragments at MTU 1500 */
static uint8_t l4[65536], data[65535], in[65535];

static struct ipv4_hdr udp = {.proto = IP_PROTO_UDP};

static struct wire *setup(struct sock **so) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_meet(w, OTHER_IP, OTHER_MAC);
    *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_pattern(data, 0, sizeof(data));
    wire_build_udp(l4, (struct dgram){.len = N});
    return w;
}

static void teardown(struct wire *w, struct sock *so) {
    wire_close(w, so);
    wire_end(w);
}

/* The datagram arrived whole, once. */
static void expect_datagram(struct wire *w, struct sock *so) {
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), NULL), N);
    cr_assert_arr_eq(in, data, N);
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), NULL), -EAGAIN);
}

static void expect_none(struct wire *w, struct sock *so) {
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), NULL), -EAGAIN);
}

/* Memory comes back with the last queue: nothing armed, nothing held. */
static size_t memory(struct wire *w) {
    struct stack_memory m;
    stack_memory(w->st, &m);
    return m.used;
}

/* Any order of three. */
Test(frag, every_order) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    size_t before = memory(w);
    for (int i = 0; i < 6; i++) {
        wire_fragments(w, udp, l4, N + 8, 1500, order[i], 3);
        expect_datagram(w, so);
    }
    cr_assert_eq(counter(w, frag_reassembled), 6);
    cr_assert_eq(stack_deadline(w->st), NSTIME_NEVER);
    cr_assert_eq(memory(w), before);
    teardown(w, so);
}

/* Two datagrams whose fragments are mixed do not mix. */
Test(frag, interleaved) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const int a[] = {0}, b[] = {2, 1};
    struct ipv4_hdr h1 = udp, h2 = udp, h3 = udp;
    h1.id = 7, h2.id = 8, h3.id = 7, h3.src = OTHER_IP;
    wire_fragments(w, h1, l4, N + 8, 1500, a, 1);
    wire_fragments(w, h2, l4, N + 8, 1500, b, 2);
    wire_fragments(w, h3, l4, N + 8, 1500, b, 2);
    expect_none(w, so);
    wire_fragments(w, h1, l4, N + 8, 1500, b, 2);
    expect_datagram(w, so);
    wire_fragments(w, h2, l4, N + 8, 1500, a, 1);
    expect_datagram(w, so);
    wire_run(w, 31 * SEC);
    cr_assert_eq(counter(w, drop_frag_timeout), 1);
    teardown(w, so);
}

/* 30 s after the first fragment, however late the others: the source is told,
 * with the first fragment as quote. */
Test(frag, timeout_with_first) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const int first[] = {0}, last[] = {2};
    struct ipv4_hdr h = udp;
    h.id = 7;
    nstime_t start = w->now;
    wire_fragments(w, h, l4, N + 8, 1500, first, 1);
    wire_run(w, 20 * SEC);
    wire_fragments(w, h, l4, N + 8, 1500, last, 1);
    cr_assert_neq(wire_run_to_frame(w, 60 * SEC), NSTIME_NEVER);
    const struct got *g =
        expect_icmp(w, ICMP_TIME_EXCEEDED, ICMP_TIME_REASSEMBLY);
    cr_assert_geq(g->at - start, 30 * SEC);
    cr_assert_lt(g->at - start, 31 * SEC);
    cr_assert_eq(g->ip.total_len, 576);
    struct ipv4_hdr q;
    cr_assert(ipv4_parse_quote(g->data, g->data_len, &q));
    cr_assert(q.mf && q.frag_off == 0 && q.id == 7);
    cr_assert_arr_eq(q.payload, l4, q.payload_len);
    expect_arp(w, ARP_REQUEST, PEER_IP); /* its MAC was 30 s old */
    wire_meet(w, PEER_IP, PEER_MAC);
    cr_assert_eq(stack_deadline(w->st), NSTIME_NEVER);
    teardown(w, so);
}

/* Without the first fragment nobody is told (RFC 792). */
Test(frag, timeout_without_first) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const int rest[] = {1, 2};
    wire_fragments(w, udp, l4, N + 8, 1500, rest, 2);
    expect_nothing_for(w, 60 * SEC);
    cr_assert_eq(counter(w, drop_frag_timeout), 1);
    teardown(w, so);
}

/* One fragment by hand. */
static void piece(struct wire *w, uint16_t id, uint32_t off, uint32_t len,
                  bool mf, uint8_t tos) {
    struct ipv4_hdr h = udp;
    h.id = id;
    h.frag_off = (uint16_t)off;
    h.mf = mf;
    h.tos = tos;
    wire_ip(w, h, l4 + off, len);
}

/* A repetition is dropped alone; an overlap takes the datagram with it. */
Test(frag, repeated_and_overlapping) {
    struct sock *so;
    struct wire *w = setup(&so);
    piece(w, 1, 0, 1480, true, 0);
    piece(w, 1, 0, 1480, true, 0);
    piece(w, 1, 1480, 1480, true, 0);
    piece(w, 1, 2960, N + 8 - 2960, false, 0);
    expect_datagram(w, so);
    cr_assert_eq(counter(w, drop_frag_repeated), 1);
    static const struct {
        uint32_t off, len;
    } over[] = {{0, 1488}, {8, 1472}, {8, 8}, {1472, 1480}, {0, 8}};
    for (uint16_t i = 0; i < 5; i++) {
        piece(w, (uint16_t)(10 + i), 0, 1480, true, 0);
        piece(w, (uint16_t)(10 + i), over[i].off, over[i].len, true, 0);
        cr_assert_eq(counter(w, drop_frag_overlap), i + 1u, "case %u", i);
        piece(w, (uint16_t)(10 + i), 1480, 1480, true, 0);
        piece(w, (uint16_t)(10 + i), 2960, N + 8 - 2960, false, 0);
        expect_none(w, so);
    }
    wire_run(w, 31 * SEC);
    teardown(w, so);
}

/* Series that contradict themselves. */
Test(frag, contradictions) {
    struct sock *so;
    struct wire *w = setup(&so);
    piece(w, 1, 0, 100, true, 0); /* not a multiple of 8 */
    piece(w, 2, 0, 0, true, 0);   /* empty */
    cr_assert_eq(counter(w, drop_frag_malformed), 2);
    piece(w, 3, 1480, 100, false, 0);
    piece(w, 3, 1480, 108, false, 0); /* two ends */
    cr_assert_eq(counter(w, drop_frag_malformed), 3);
    piece(w, 4, 1480, 100, false, 0);
    piece(w, 4, 2960, 8, true, 0); /* beyond the end */
    cr_assert_eq(counter(w, drop_frag_malformed), 4);
    piece(w, 5, 2960, 8, true, 0);
    piece(w, 5, 1480, 100, false, 0); /* an end before what is there */
    cr_assert_eq(counter(w, drop_frag_malformed), 5);
    piece(w, 6, 65528, 8, false, 0); /* the ping of death */
    cr_assert_eq(counter(w, drop_frag_too_long), 1);
    expect_nothing_for(w, 60 * SEC);
    expect_none(w, so);
    teardown(w, so);
}

/* RFC 3128: TCP headers in pieces. */
Test(frag, tiny) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct ipv4_hdr h = {.proto = IP_PROTO_TCP, .mf = true};
    wire_ip(w, h, data, 16);
    h.frag_off = 8;
    wire_ip(w, h, data, 24);
    cr_assert_eq(counter(w, drop_frag_tiny), 2);
    expect_nothing_for(w, 60 * SEC);
    teardown(w, so);
}

/* RFC 3168 5.3: a mark survives; marks and not-ECT do not mix. */
Test(frag, ecn) {
    struct sock *so;
    struct wire *w = setup(&so);
    struct stack_msg m = {0};
    piece(w, 1, 0, 1480, true, 2);
    piece(w, 1, 1480, 1480, true, 3);
    piece(w, 1, 2960, N + 8 - 2960, false, 2);
    cr_assert_eq(wire_recv(w, so, in, sizeof(in), &m), N);
    cr_assert_eq(m.tos, 3);
    piece(w, 2, 0, 1480, true, 0);
    piece(w, 2, 1480, 1480, true, 3);
    cr_assert_eq(counter(w, drop_frag_ecn), 1);
    teardown(w, so);
}

/* One source cannot hold more than its share: its own oldest goes, another's
 * datagram survives and completes. */
Test(frag, one_source_is_bounded) {
    struct sock *so;
    struct wire *w = setup(&so);
    static const int a[] = {0}, b[] = {2, 1};
    struct ipv4_hdr h = udp;
    h.id = 7;
    wire_fragments(w, h, l4, N + 8, 1500, a, 1);
    size_t before = memory(w);
    struct ipv4_hdr flood = {.proto = IP_PROTO_UDP,
                             .src = OTHER_IP,
                             .mf = true};
    for (uint16_t i = 1; i < 5000; i++) {
        flood.id = i;
        wire_ip(w, flood, data, 1480);
    }
    cr_assert_gt(counter(w, drop_frag_source_limit), 4000);
    cr_assert_eq(counter(w, drop_frag_total_limit), 0);
    cr_assert_lt(memory(w), before + (3u << 20) / 2);
    wire_fragments(w, h, l4, N + 8, 1500, b, 2);
    expect_datagram(w, so);
    wire_close(w, so);
    wire_drop(w);
}

/* Many sources: the oldest of all goes; the newest still completes. */
Test(frag, all_together_are_bounded) {
    struct sock *so;
    struct wire *w = setup(&so);
    size_t before = memory(w);
    struct ipv4_hdr flood = {.proto = IP_PROTO_UDP, .mf = true, .id = 1};
    for (uint32_t i = 0; i < 3000; i++) {
        flood.src = IP4(198, 19, 0, 0) + i + 1;
        wire_ip(w, flood, data, 1480);
    }
    cr_assert_gt(counter(w, drop_frag_total_limit), 500);
    cr_assert_lt(memory(w), before + (5u << 20));
    wire_fragments(w, udp, l4, N + 8, 1500, NULL, 0);
    expect_datagram(w, so);
    wire_close(w, so);
    wire_drop(w);
}

/* One datagram in too many pieces is given up. */
Test(frag, pieces_are_bounded) {
    struct sock *so;
    struct wire *w = setup(&so);
    for (uint32_t i = 0; i < 257; i++)
        piece(w, 1, i * 8, 8, true, 0);
    cr_assert_eq(counter(w, drop_frag_malformed), 1);
    cr_assert_eq(stack_deadline(w->st), NSTIME_NEVER);
    teardown(w, so);
}

/* A reassembled datagram's checksum is verified, whatever the device said of
 * its fragments. */
Test(frag, checksum_is_verified) {
    struct sock *so;
    struct wire *w = setup(&so);
    l4[100] ^= 1;
    for (uint32_t off = 0; off < N + 8; off += 1480) {
        bool mf = off + 1480 < N + 8;
        w->rx_meta.flags = NETIO_CSUM_VALID;
        piece(w, 1, off, mf ? 1480 : N + 8 - off, mf, 0);
    }
    cr_assert_eq(counter(w, drop_udp_checksum), 1);
    expect_none(w, so);
    teardown(w, so);
}
