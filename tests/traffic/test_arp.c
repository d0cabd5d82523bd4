/* ARP as traffic: RFC 826, RFC 1122 section 2.3.2, RFC 5227. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/traffic/lib_wire.h"

/* A packet of the peer's: what it asks or answers. */
static struct arp_pkt from_peer(uint16_t op, uint32_t target) {
    struct arp_pkt a = {.op = op, .sender_ip = PEER_IP, .target_ip = target};
    memcpy(a.sender_mac, PEER_MAC, 6);
    if (op == ARP_REPLY)
        memcpy(a.target_mac, OUR_MAC, 6);
    return a;
}

/* How an entry looks from outside; NULL when there is none. */
static const char *state_of(struct wire *w, uint32_t ip) {
    static struct stack_neighbour n;
    stack_now(w->st, w->now);
    for (unsigned i = 0; stack_each_neighbour(w->st, i, &n); i++)
        if (ip_to_v4(&n.ip) == ip)
            return n.state;
    return NULL;
}

/* First use: one broadcast request, the packet waits, the answer lets it go.
 */
Test(arp, resolve) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    cr_assert_eq(wire_sendto(w, so, PEER_IP, PEER_PORT, "hello", 5), 5);
    const struct got *g = expect_arp(w, ARP_REQUEST, PEER_IP);
    cr_assert_arr_eq(g->eth.dst, ALL_MAC, 6);
    cr_assert_arr_eq(g->arp.target_mac, ((uint8_t[6]){0}), 6);
    expect_nothing(w);
    cr_assert_str_eq(state_of(w, PEER_IP), "asking");
    wire_run(w, 300 * MSEC);
    wire_arp(w, from_peer(ARP_REPLY, OUR_IP), OUR_MAC);
    g = expect_udp(w, (struct dgram){.data = "hello", .len = 5});
    cr_assert_arr_eq(g->eth.dst, PEER_MAC, 6);
    cr_assert_str_eq(state_of(w, PEER_IP), "reachable");
    cr_assert_eq(stack_deadline(w->st), NSTIME_NEVER, "no timer when idle");
    wire_close(w, so);
    wire_end(w);
}

/* RFC 1122 2.3.2.1: at most one request a second; after the third second what
 * waits comes back as EHOSTUNREACH (to those who listen to such errors). */
Test(arp, nobody_answers) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    char quoted[10];
    cr_assert_eq(CALL(w, stack_setopt(w->st, so, STACK_OPT_RECVERR, 1)), 0);
    nstime_t start = w->now;
    for (int i = 0; i < 3; i++)
        wire_sendto(w, so, PEER_IP, PEER_PORT, "hello", 5);
    for (nstime_t at = 0; at < 3 * SEC; at += SEC) {
        const struct got *g = expect_arp(w, ARP_REQUEST, PEER_IP);
        cr_assert_eq(g->at - start, at);
        expect_nothing(w);
        if (at < 2 * SEC)
            cr_assert_eq(wire_run_to_frame(w, 5 * SEC), SEC);
    }
    cr_assert_eq(stack_ready(w->st, so) & STACK_ERR, 0);
    wire_run(w, SEC);
    expect_nothing_for(w, 60 * SEC);
    cr_assert_null(state_of(w, PEER_IP));
    cr_assert_eq(counter(w, arp_failed), 1);
    cr_assert_eq(counter(w, drop_arp_unreachable), 3);
    cr_assert(stack_ready(w->st, so) & STACK_ERR);
    cr_assert_eq(wire_recv(w, so, quoted, 10, NULL), -EHOSTUNREACH);
    struct stack_msg m = {0};
    struct iovec iov = {quoted, sizeof(quoted)};
    cr_assert_eq(CALL(w,
                      stack_recv(w->st, so, &iov, 1, STACK_MSG_ERRQUEUE, &m)),
                 5);
    cr_assert_arr_eq(quoted, "hello", 5);
    cr_assert_eq(m.error.err, EHOSTUNREACH);
    cr_assert_eq(m.peer.port, PEER_PORT);
    wire_close(w, so);
    wire_end(w);
}

/* The next attempt after a failure starts anew, without delay. */
Test(arp, asks_again_after_failure) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_sendto(w, so, PEER_IP, PEER_PORT, "a", 1);
    wire_run(w, 10 * SEC);
    for (int i = 0; i < 3; i++)
        expect_arp(w, ARP_REQUEST, PEER_IP);
    wire_sendto(w, so, PEER_IP, PEER_PORT, "b", 1);
    expect_arp(w, ARP_REQUEST, PEER_IP);
    wire_arp(w, from_peer(ARP_REPLY, OUR_IP), OUR_MAC);
    expect_udp(w, (struct dgram){.data = "b", .len = 1});
    wire_close(w, so);
    wire_end(w);
}

/* Beyond the subnet the gateway is asked for. */
Test(arp, gateway) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_sendto(w, so, FAR_IP, PEER_PORT, "x", 1);
    expect_arp(w, ARP_REQUEST, GATEWAY_IP);
    struct arp_pkt a = {.op = ARP_REPLY,
                        .sender_ip = GATEWAY_IP,
                        .target_ip = OUR_IP};
    memcpy(a.sender_mac, GATEWAY_MAC, 6);
    wire_arp(w, a, OUR_MAC);
    const struct got *g =
        expect_udp(w, (struct dgram){.dst = FAR_IP, .data = "x", .len = 1});
    cr_assert_arr_eq(g->eth.dst, GATEWAY_MAC, 6);
    wire_close(w, so);
    wire_end(w);
}

/* The waiting line is bounded, by what Linux's is (212,992 bytes of truesize): the
 * oldest go, and are counted. */
Test(arp, line_is_bounded) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    for (uint32_t i = 0; i < 400; i++)
        wire_sendto(w, so, PEER_IP, PEER_PORT, &i, 4);
    expect_arp(w, ARP_REQUEST, PEER_IP);
    wire_arp(w, from_peer(ARP_REPLY, OUR_IP), OUR_MAC);
    cr_assert_eq(counter(w, drop_arp_held), 123);
    for (uint32_t i = 123; i < 400; i++)
        expect_udp(w, (struct dgram){.data = &i, .len = 4});
    wire_close(w, so);
    wire_end(w);
}

/* After 30 s without proof the entry is used and asked about by unicast. */
Test(arp, stale_is_probed_by_unicast) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_run(w, 29 * SEC);
    wire_sendto(w, so, PEER_IP, PEER_PORT, "1", 1);
    expect_udp(w, (struct dgram){.data = "1", .len = 1});
    expect_nothing(w);
    wire_run(w, SEC);
    cr_assert_str_eq(state_of(w, PEER_IP), "stale");
    wire_sendto(w, so, PEER_IP, PEER_PORT, "2", 1);
    expect_udp(w, (struct dgram){.data = "2", .len = 1});
    const struct got *g = expect_arp(w, ARP_REQUEST, PEER_IP);
    cr_assert_arr_eq(g->eth.dst, PEER_MAC, 6);
    wire_arp(w, from_peer(ARP_REPLY, OUR_IP), OUR_MAC);
    cr_assert_str_eq(state_of(w, PEER_IP), "reachable");
    cr_assert_eq(stack_deadline(w->st), NSTIME_NEVER);
    wire_close(w, so);
    wire_end(w);
}

/* Three unicast probes in vain, then everybody is asked while packets wait,
 * then the entry is gone. */
Test(arp, probe_falls_back_to_broadcast) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_run(w, 31 * SEC);
    wire_sendto(w, so, PEER_IP, PEER_PORT, "1", 1);
    expect_udp(w, (struct dgram){.data = "1", .len = 1});
    nstime_t start = w->now;
    for (int i = 0; i < 6; i++) {
        const struct got *g = expect_arp(w, ARP_REQUEST, PEER_IP);
        cr_assert_eq(g->at - start, (nstime_t)i * SEC);
        cr_assert_arr_eq(g->eth.dst, i < 3 ? PEER_MAC : ALL_MAC, 6);
        if (i == 1) { /* still used */
            wire_sendto(w, so, PEER_IP, PEER_PORT, "2", 1);
            expect_udp(w, (struct dgram){.data = "2", .len = 1});
        }
        if (i == 4) /* not any more */
            wire_sendto(w, so, PEER_IP, PEER_PORT, "3", 1);
        expect_nothing(w);
        wire_run(w, SEC);
    }
    expect_nothing_for(w, 10 * SEC);
    cr_assert_null(state_of(w, PEER_IP));
    cr_assert_eq(counter(w, drop_arp_unreachable), 1);
    wire_close(w, so);
    wire_end(w);
}

/* A request for our address is answered, and teaches the sender's. */
Test(arp, request_is_answered) {
    struct wire *w = wire_new(NULL);
    wire_arp(w, from_peer(ARP_REQUEST, OUR_IP), ALL_MAC);
    const struct got *g = expect_arp(w, ARP_REPLY, PEER_IP);
    cr_assert_arr_eq(g->eth.dst, PEER_MAC, 6);
    cr_assert_arr_eq(g->arp.target_mac, PEER_MAC, 6);
    cr_assert_str_eq(state_of(w, PEER_IP), "reachable");
    wire_end(w);
}

/* Requests for others are neither answered nor learned from; nor are answers
 * nobody asked for. */
Test(arp, nothing_learned_from_others) {
    struct wire *w = wire_new(NULL);
    wire_arp(w, from_peer(ARP_REQUEST, OTHER_IP), ALL_MAC);
    wire_arp(w, from_peer(ARP_REQUEST, PEER_IP), ALL_MAC); /* gratuitous */
    wire_arp(w, from_peer(ARP_REPLY, OUR_IP), OUR_MAC);
    expect_nothing(w);
    cr_assert_null(state_of(w, PEER_IP));
    wire_end(w);
}

/* A gratuitous packet corrects an entry that exists; being hearsay, it is
 * asked about at the next use. */
Test(arp, gratuitous_corrects) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_meet(w, PEER_IP, PEER_MAC);
    struct arp_pkt a = from_peer(ARP_REQUEST, PEER_IP);
    memcpy(a.sender_mac, OTHER_MAC, 6);
    wire_arp(w, a, ALL_MAC);
    expect_nothing(w);
    wire_sendto(w, so, PEER_IP, PEER_PORT, "x", 1);
    const struct got *g = expect_udp(w, (struct dgram){.data = "x", .len = 1});
    cr_assert_arr_eq(g->eth.dst, OTHER_MAC, 6);
    g = expect_arp(w, ARP_REQUEST, PEER_IP);
    cr_assert_arr_eq(g->eth.dst, OTHER_MAC, 6);
    wire_close(w, so);
    wire_end(w);
}

/* RFC 5227 2.4: another host with our address is told, at most every 10 s. */
Test(arp, clash_is_defended) {
    struct wire *w = wire_new(NULL);
    struct arp_pkt a = from_peer(ARP_REQUEST, OUR_IP);
    a.sender_ip = OUR_IP;
    wire_arp(w, a, ALL_MAC);
    const struct got *g = expect_arp(w, ARP_REQUEST, OUR_IP);
    cr_assert_arr_eq(g->eth.dst, ALL_MAC, 6);
    for (int i = 0; i < 9; i++) {
        wire_run(w, SEC);
        wire_arp(w, a, ALL_MAC);
    }
    expect_nothing(w);
    wire_run(w, SEC);
    wire_arp(w, a, ALL_MAC);
    expect_arp(w, ARP_REQUEST, OUR_IP);
    cr_assert_eq(counter(w, arp_clash), 11);
    cr_assert_eq(counter(w, arp_defended), 2);
    wire_end(w);
}

/* RFC 5227 2.1.1: a probe for our address is answered and teaches nothing. */
Test(arp, probe_for_our_address) {
    struct wire *w = wire_new(NULL);
    struct arp_pkt a = from_peer(ARP_REQUEST, OUR_IP);
    a.sender_ip = 0;
    wire_arp(w, a, ALL_MAC);
    expect_arp(w, ARP_REPLY, 0);
    cr_assert_null(state_of(w, 0));
    wire_end(w);
}

/* Senders that cannot be: counted, without effect. */
Test(arp, impossible_senders) {
    struct wire *w = wire_new(NULL);
    struct arp_pkt a = from_peer(ARP_REQUEST, OUR_IP);
    memcpy(a.sender_mac, ALL_MAC, 6);
    wire_arp(w, a, ALL_MAC); /* group source MAC: Ethernet drops it */
    cr_assert_eq(counter(w, drop_eth_source), 1);
    a = from_peer(ARP_REQUEST, OUR_IP);
    a.sender_ip = SUBNET_BROADCAST;
    wire_arp(w, a, ALL_MAC);
    a.sender_ip = IP4(224, 0, 0, 1);
    wire_arp(w, a, ALL_MAC);
    a.sender_ip = IP4(127, 0, 0, 1);
    wire_arp(w, a, ALL_MAC);
    memcpy(a.sender_mac, OUR_MAC, 6);
    wire_arp(w, a, ALL_MAC);
    cr_assert_eq(counter(w, drop_arp_sender), 4);
    a = from_peer(ARP_REQUEST, OUR_IP);
    a.op = 3;
    wire_arp(w, a, ALL_MAC);
    wire_eth(w, PEER_MAC, ALL_MAC, ETH_TYPE_ARP, &a, 20);
    cr_assert_eq(counter(w, drop_arp_malformed), 2);
    expect_nothing(w);
    wire_end(w);
}

/* Somebody off the subnet is answered but takes no place. */
Test(arp, off_link_sender) {
    struct wire *w = wire_new(NULL);
    struct arp_pkt a = from_peer(ARP_REQUEST, OUR_IP);
    a.sender_ip = FAR_IP;
    wire_arp(w, a, ALL_MAC);
    expect_arp(w, ARP_REPLY, FAR_IP);
    cr_assert_null(state_of(w, FAR_IP));
    cr_assert_eq(counter(w, arp_off_link), 1);
    wire_end(w);
}

/* The table is bounded; the least recently used entry makes place. */
Test(arp, table_is_bounded) {
    struct wire *w = wire_new(&(struct wire_config){.prefix_len = 16});
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    uint8_t mac[6] = {0x02, 1};
    wire_meet(w, IP4(198, 18, 1, 0), mac);
    for (uint32_t i = 1; i < 1024; i++)
        wire_meet(w, IP4(198, 18, 1, 0) + i, mac);
    wire_sendto(w, so, IP4(198, 18, 1, 0), PEER_PORT, "x", 1); /* in use */
    expect_ip(w, IP_PROTO_UDP);
    cr_assert_eq(counter(w, arp_evicted), 0);
    wire_meet(w, IP4(198, 18, 9, 9), mac);
    cr_assert_eq(counter(w, arp_evicted), 1);
    cr_assert_not_null(state_of(w, IP4(198, 18, 1, 0)));
    cr_assert_null(state_of(w, IP4(198, 18, 1, 1)));
    wire_close(w, so);
    wire_end(w);
}

/* A link that comes back: nothing is believed any more, and everybody hears
 * that we are here (RFC 5227 2.3). */
Test(arp, link_down_and_up) {
    struct wire *w = wire_new(NULL);
    struct sock *so = wire_socket(w, STACK_DGRAM, OUR_PORT);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_sendto(w, so, OTHER_IP, PEER_PORT, "x", 1);
    expect_arp(w, ARP_REQUEST, OTHER_IP);
    stack_link_state(w->st, false);
    cr_assert_null(state_of(w, PEER_IP));
    cr_assert_eq(counter(w, drop_arp_held), 1);
    cr_assert_eq(stack_deadline(w->st), NSTIME_NEVER);
    stack_link_state(w->st, true);
    stack_flush(w->st);
    expect_arp(w, ARP_REQUEST, OUR_IP);
    wire_sendto(w, so, PEER_IP, PEER_PORT, "x", 1);
    expect_arp(w, ARP_REQUEST, PEER_IP);
    wire_close(w, so);
    wire_end(w);
}
