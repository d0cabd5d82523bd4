/* What a segment must pass before it counts: RFC 9293 section 3.10.7.4 first
 * to fourth, RFC 5961, RFC 7323 section 5. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_tcp.h"

#define DATA (TCP_ACK | TCP_PSH)

/* Beyond the window, or old: an ACK, nothing else. */
Test(tcp_check, outside_the_window) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, DATA, 1 + 2000000, 1, 10);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    from_peer(&c, DATA, 1, 1, 10);
    conn_run_to_segment(&c, SEC);
    to_peer(&c, TCP_ACK, 1, 11, 0);
    from_peer(&c, DATA, 1, 1, 10);
    to_peer(&c, TCP_ACK, 1, 11, 0);
    cr_assert_eq(counter(c.w, drop_tcp_sequence), 2);
    cr_assert_eq(conn_recv(&c, 100), 10);
    conn_end(&c);
}

/* Partly old, partly beyond: the middle is taken. */
Test(tcp_check, trimmed) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, DATA, 1, 1, 100);
    from_peer(&c, DATA, 51, 1, 100);
    to_peer(&c, TCP_ACK, 1, 151, 0);
    cr_assert_eq(conn_recv(&c, 1000), 150);
    conn_end(&c);
}

/* A segment without ACK is dropped (fifth, "if the ACK bit is off"). */
Test(tcp_check, no_ack_bit) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, TCP_PSH, 1, 0, 10);
    expect_quiet_for(&c, SEC);
    cr_assert_eq(counter(c.w, drop_tcp_no_ack), 1);
    conn_end(&c);
}

/* RFC 5961 section 3.2: in the window but not exact: a challenge ACK; exact:
 * reset; outside: nothing. */
Test(tcp_check, resets) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, TCP_RST, 2, 0, 0);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    from_peer(&c, TCP_RST, 70000, 0, 0);
    from_peer(&c, TCP_RST, 0, 0, 0);
    expect_nothing(c.w);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    from_peer(&c, TCP_RST, 1, 0, 0);
    cr_assert_eq(conn_error(&c), ECONNRESET);
    conn_end(&c);
}

/* RFC 5961 section 4.2: a SYN is asked about; a peer that has restarted
 * answers with a RST that fits. */
Test(tcp_check, syn) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, TCP_SYN, 5, 0, 0);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    from_peer(&c, TCP_RST, 1, 0, 0);
    cr_assert_eq(conn_state(&c), CLOSED);
    conn_end(&c);
}

/* The same for a SYN outside the window (a half-open connection, figure 9). */
Test(tcp_check, half_open_peer) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, TCP_SYN, 3000000, 0, 0);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    conn_end(&c);
}

/* RFC 5961 section 7: such answers are limited, two a second. */
Test(tcp_check, challenge_limit) {
    struct conn c = conn_connected(NULL);
    for (uint32_t i = 0; i < 10; i++)
        from_peer(&c, TCP_RST, 2 + i, 0, 0);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    expect_nothing(c.w);
    cr_assert_eq(counter(c.w, tcp_challenge_limited), 9);
    wire_run(c.w, 600 * MSEC);
    from_peer(&c, TCP_RST, 2, 0, 0);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    conn_end(&c);
}

/* ACK of what was not sent, and too old an ACK (RFC 5961 section 5.2): an
 * answer, and the text is not taken. */
Test(tcp_check, wild_acks) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 1000});
    conn_send(&c, 10);
    to_peer(&c, DATA, 1, 1, 10);
    from_peer(&c, DATA, 1, 12, 10);
    to_peer(&c, TCP_ACK, 11, 1, 0);
    from_peer(&c, DATA, 1, (uint32_t)-5000, 10);
    to_peer(&c, TCP_ACK, 11, 1, 0);
    cr_assert_eq(counter(c.w, drop_tcp_ack), 2);
    cr_assert_eq(conn_recv(&c, 100), -EAGAIN);
    from_peer(&c, DATA, 1, 0, 10); /* old, but not by more than a window */
    cr_assert_eq(conn_recv(&c, 100), 10);
    conn_end(&c);
}

/* The window of an old segment is not taken (SND.WL1, SND.WL2). */
Test(tcp_check, old_window) {
    struct conn c = conn_connected(NULL);
    c.wnd = 5000;
    from_peer(&c, TCP_ACK, 1, 1, 10);
    from_peer(&c, TCP_ACK, 11, 1, 10);
    take(c.w);
    c.wnd = 60000;
    from_peer(&c, TCP_ACK, 1, 1, 15);
    cr_assert_eq(conn_info(&c).snd_wnd, 5000);
    conn_end(&c);
}

/* Keepalive probes of the peer are answered. */
Test(tcp_check, keepalive_of_the_peer) {
    struct conn c = conn_connected(NULL);
    from_peer(&c, TCP_ACK, 0, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, 0);
    wire_run(c.w, SEC);
    from_peer(&c, TCP_ACK, 0, 1, 1); /* with a byte of garbage */
    to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_recv(&c, 10), -EAGAIN);
    conn_end(&c);
}

/* PAWS: an older timestamp makes even a fitting segment a stranger (RFC 7323
 * section 5.3, R1). */
Test(tcp_check, paws) {
    struct conn c = conn_connected(&(struct peer_syn){.ts = true});
    c.tsval = 2000;
    from_peer(&c, DATA, 1, 1, 10);
    c.tsval = 1998;
    from_peer(&c, DATA, 11, 1, 10);
    to_peer(&c, TCP_ACK, 1, 11, 0);
    cr_assert_eq(counter(c.w, drop_tcp_paws), 1);
    c.tsval = 1999; /* overtaken by a tick: two CPUs carry the frames */
    from_peer(&c, DATA, 11, 1, 10);
    cr_assert_eq(conn_recv(&c, 100), 20);
    cr_assert_eq(counter(c.w, drop_tcp_paws), 1);
    c.tsval = 1; /* a reset need not pass */
    from_peer(&c, TCP_RST, 21, 0, 0);
    cr_assert_eq(conn_state(&c), CLOSED);
    conn_end(&c);
}

/* After 24 days of silence any timestamp is news (section 5.5). */
Test(tcp_check, paws_after_24_days) {
    struct conn c = conn_connected(&(struct peer_syn){.ts = true});
    wire_run(c.w, 25ull * 24 * 3600 * SEC);
    c.tsval = 999;
    from_peer(&c, DATA, 1, 1, 10);
    cr_assert_eq(conn_recv(&c, 100), 10);
    conn_end(&c);
}

/* TSecr: of the segment that last advanced the left edge, not of one beyond a
 * hole (section 4.3). */
Test(tcp_check, timestamp_echo) {
    struct conn c = conn_connected(&(struct peer_syn){.ts = true});
    c.tsval = 2000;
    from_peer(&c, DATA, 101, 1, 100);
    cr_assert_eq(to_peer(&c, TCP_ACK, 1, 1, 0)->opts.tsecr, 1000);
    c.tsval = 2001;
    from_peer(&c, DATA, 1, 1, 100);
    cr_assert_eq(to_peer(&c, TCP_ACK, 1, 201, 0)->opts.tsecr, 2001);
    conn_end(&c);
}

/* Broadcast and multicast are for others (RFC 9293 MUST-57). */
Test(tcp_check, broadcast) {
    struct wire *w = wire_new(NULL);
    wire_meet(w, PEER_IP, PEER_MAC);
    wire_tcp(w, (struct seg){.dst = SUBNET_BROADCAST, .flags = TCP_SYN});
    expect_nothing(w);
    cr_assert_eq(counter(w, drop_tcp_multicast), 1);
    wire_end(w);
}
