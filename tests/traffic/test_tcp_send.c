/* Sending: RFC 9293 sections 3.7.4 (Nagle), 3.8.6 (windows), RFC 896,
 * tcp(7) TCP_CORK; superframes. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_tcp.h"

#define DATA (TCP_ACK | TCP_PSH)

/* RFC 896: the second small segment waits for the ACK of the first. */
Test(tcp_send, nagle) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 10);
    to_peer(&c, DATA, 1, 1, 10);
    conn_send(&c, 10);
    conn_send(&c, 10);
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK, 1, 11, 0);
    to_peer(&c, DATA, 11, 1, 20);
    conn_end(&c);
}

/* A full segment never waits; its partial tail goes if no small one is out
 * (Minshall). */
Test(tcp_send, nagle_lets_full_segments_go) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 10);
    to_peer(&c, DATA, 1, 1, 10);
    conn_send(&c, 1470);
    to_peer(&c, TCP_ACK, 11, 1, 1460);
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK, 1, 11, 0);
    to_peer(&c, DATA, 1471, 1, 10);
    conn_end(&c);
}

Test(tcp_send, nodelay) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_NODELAY, 1);
    for (uint32_t i = 0; i < 5; i++) {
        conn_send(&c, 10);
        to_peer(&c, DATA, 1 + 10 * i, 1, 10);
    }
    conn_end(&c);
}

/* Switching Nagle off sends what it held. */
Test(tcp_send, nodelay_flushes) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 10);
    to_peer(&c, DATA, 1, 1, 10);
    conn_send(&c, 10);
    expect_nothing(c.w);
    conn_opt(&c, STACK_OPT_NODELAY, 1);
    to_peer(&c, DATA, 11, 1, 10);
    conn_end(&c);
}

/* TCP_CORK holds partial segments, 200 ms at most. */
Test(tcp_send, cork) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_CORK, 1);
    conn_send(&c, 10);
    expect_quiet_for(&c, 199 * MSEC);
    cr_assert_leq(conn_run_to_segment(&c, SEC), 2 * MSEC);
    to_peer(&c, DATA, 1, 1, 10);
    from_peer(&c, TCP_ACK, 1, 11, 0);
    conn_send(&c, 1500);
    to_peer(&c, TCP_ACK, 11, 1, 1460);
    conn_opt(&c, STACK_OPT_CORK, 0);
    to_peer(&c, DATA, 1471, 1, 40);
    conn_end(&c);
}

/* MSG_MORE likewise, until a send without it. */
Test(tcp_send, msg_more) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_NODELAY, 1);
    conn_send_flags(&c, 10, STACK_MSG_MORE);
    expect_quiet_for(&c, 100 * MSEC);
    conn_send(&c, 10);
    to_peer(&c, DATA, 1, 1, 20);
    conn_end(&c);
}

/* Segments of one call leave as one superframe, in multiples of the MSS. */
Test(tcp_send, superframe) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 14600);
    const struct got *g = to_peer(&c, DATA, 1, 1, 14600);
    cr_assert_eq(g->meta.gso, NETIO_GSO_TCP4);
    cr_assert_eq(g->meta.gso_size, 1460);
    expect_nothing(c.w);
    cr_assert_eq(conn_info(&c).data_segs_out, 10);
    conn_end(&c);
}

/* RFC 6928: ten segments at first; RFC 5681: as much again for each byte
 * acknowledged. */
Test(tcp_send, initial_window_and_slow_start) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 100000);
    to_peer(&c, TCP_ACK, 1, 1, 14600);
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK, 1, 14601, 0);
    to_peer(&c, TCP_ACK, 14601, 1, 29200);
    expect_nothing(c.w);
    cr_assert_eq(conn_info(&c).snd_cwnd, 20);
    conn_end(&c);
}

/* An idle RTO later the window is the initial one again (RFC 5681 4.1). */
Test(tcp_send, restart_after_idle) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 43800);
    to_peer(&c, TCP_ACK, 1, 1, 14600);
    from_peer(&c, TCP_ACK, 1, 14601, 0);
    to_peer(&c, DATA, 14601, 1, 29200);
    from_peer(&c, TCP_ACK, 1, 43801, 0);
    cr_assert_geq(conn_info(&c).snd_cwnd, 20);
    wire_run(c.w, SEC);
    conn_send(&c, 29200);
    to_peer(&c, TCP_ACK, 43801, 1, 14600);
    conn_end(&c);
}

/* Growth only when the window was used (RFC 7661 in spirit). */
Test(tcp_send, no_growth_when_not_limited) {
    struct conn c = conn_connected(NULL);
    for (uint32_t i = 0; i < 20; i++) {
        conn_send(&c, 1460);
        to_peer(&c, DATA, 1 + 1460 * i, 1, 1460);
        from_peer(&c, TCP_ACK, 1, 1 + 1460 * (i + 1), 0);
    }
    cr_assert_eq(conn_info(&c).snd_cwnd, 10);
    conn_end(&c);
}

/* Never beyond the peer's window. */
Test(tcp_send, peer_window) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 4000});
    conn_send(&c, 10000);
    to_peer(&c, TCP_ACK, 1, 1, 2920); /* whole segments */
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK, 1, 1461, 0);
    to_peer(&c, TCP_ACK, 2921, 1, 1460);
    conn_end(&c);
}

/* RFC 9293 section 3.8.6.2.1: less than a segment of window is used only when
 * it is half of the largest window seen. */
Test(tcp_send, silly_window) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 2000});
    conn_send(&c, 5000);
    to_peer(&c, TCP_ACK, 1, 1, 1460);
    c.wnd = 600;
    from_peer(&c, TCP_ACK, 1, 1461, 0);
    expect_nothing(c.w);
    c.wnd = 1000;
    from_peer(&c, TCP_ACK, 1, 1461, 0);
    to_peer(&c, TCP_ACK, 1461, 1, 1000);
    conn_end(&c);
}

/* ... or the override timer has run out. */
Test(tcp_send, silly_window_override) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 2000});
    conn_send(&c, 5000);
    to_peer(&c, TCP_ACK, 1, 1, 1460);
    c.wnd = 600;
    from_peer(&c, TCP_ACK, 1, 1461, 0);
    nstime_t t = conn_run_to_segment(&c, 10 * SEC);
    cr_assert(t >= 100 * MSEC && t <= SEC, "%lu", t);
    to_peer(&c, TCP_ACK, 1461, 1, 600);
    conn_end(&c);
}

/* A shut window: probes that back off, for ever; the window update starts the
 * flow at once (RFC 9293 section 3.8.6.1). */
Test(tcp_send, zero_window_probes) {
    struct conn c = conn_connected(NULL);
    c.wnd = 0;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    conn_send(&c, 100);
    expect_nothing(c.w);
    nstime_t last = 0;
    for (int i = 0; i < 20; i++) {
        nstime_t t = conn_run_to_segment(&c, 200 * SEC);
        cr_assert_geq(t, last);
        cr_assert_leq(t, 120 * SEC);
        last = t;
        to_peer(&c, TCP_ACK, 0, 1, 0);
        from_peer(&c, TCP_ACK, 1, 1, 0);
    }
    cr_assert_eq(last, 120 * SEC, "%lu", last);
    c.wnd = 5000;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, DATA, 1, 1, 100);
    from_peer(&c, TCP_ACK, 1, 101, 0);
    expect_quiet_for(&c, 300 * SEC);
    conn_end(&c);
}

/* A peer that answers no probe is given up at last. */
Test(tcp_send, zero_window_and_silence) {
    struct conn c = conn_connected(NULL);
    c.wnd = 0;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    conn_send(&c, 100);
    nstime_t start = c.w->now;
    while (conn_run_to_segment(&c, 200 * SEC) != NSTIME_NEVER) {
        const struct got *g = take(c.w);
        if (g->tcp.flags & TCP_RST)
            break;
    }
    cr_assert_eq(conn_error(&c), ETIMEDOUT);
    nstime_t t = c.w->now - start;
    cr_assert(t > 900 * SEC && t < 1100 * SEC, "%lu", t / SEC);
    conn_end(&c);
}

/* SO_SNDBUF: what is accepted, EAGAIN, and OUT again when a third is free. */
Test(tcp_send, send_buffer) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_SNDBUF, 15000);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_SNDBUF), 30000);
    c.wnd = 0;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(conn_send(&c, 20000), 15000);
    cr_assert_eq(conn_send(&c, 1), -EAGAIN);
    cr_assert_eq(conn_ready(&c), 0);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_OUTQ), 15000);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_OUTQNSD), 15000);
    c.wnd = 4380;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, 4380);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_OUTQNSD), 10620);
    from_peer(&c, TCP_ACK, 1, 4381, 0);
    cr_assert_eq(conn_ready(&c), 0, "29 %% free");
    to_peer(&c, TCP_ACK, 4381, 1, 4380);
    from_peer(&c, TCP_ACK, 1, 8761, 0);
    cr_assert_eq(conn_ready(&c), STACK_OUT, "58 %% free");
    conn_end(&c);
}

/* TCP_NOTSENT_LOWAT */
Test(tcp_send, notsent_lowat) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_NOTSENT_LOWAT, 1000);
    c.wnd = 0;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    conn_send(&c, 999);
    cr_assert_eq(conn_ready(&c), STACK_OUT);
    conn_send(&c, 1);
    cr_assert_eq(conn_ready(&c), 0);
    conn_end(&c);
}

/* TCP_MAXSEG lowers what we send and what we tell the peer. */
static void maxseg(struct wire *w, struct sock *so) {
    cr_assert_eq(CALL(w, stack_setopt(w->st, so, STACK_OPT_MAXSEG, 1000)), 0);
}
Test(tcp_send, maxseg) {
    struct conn c = conn_connected(&(struct peer_syn){.prepare = maxseg});
    cr_assert_eq(conn_info(&c).advmss, 1000);
    conn_send(&c, 3000);
    cr_assert_eq(to_peer(&c, DATA, 1, 1, 3000)->meta.gso_size, 1000);
    conn_end(&c);
}

/* MSG_OOB: the urgent pointer is behind the byte (RFC 9293 section 3.8.5). */
Test(tcp_send, urgent) {
    struct conn c = conn_connected(NULL);
    conn_opt(&c, STACK_OPT_NODELAY, 1);
    conn_send_flags(&c, 10, STACK_MSG_OOB);
    const struct got *g = to_peer(&c, DATA | TCP_URG, 1, 1, 10);
    cr_assert_eq(g->tcp.urg, 10);
    conn_send(&c, 10);
    g = to_peer(&c, DATA, 11, 1, 10);
    conn_end(&c);
}

/* Urgent data far ahead is announced in every segment before it. */
Test(tcp_send, urgent_ahead) {
    struct conn c = conn_connected(NULL);
    c.wnd = 0;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    conn_send(&c, 5000);
    conn_send_flags(&c, 1, STACK_MSG_OOB);
    c.wnd = 60000;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    for (uint32_t i = 0; i < 3; i++) {
        const struct got *g =
            to_peer(&c, TCP_ACK | TCP_URG, 1 + 1460 * i, 1, 1460);
        cr_assert_eq(g->meta.gso, NETIO_GSO_NONE);
        cr_assert_eq(g->tcp.urg, 5001 - 1460 * i);
    }
    to_peer(&c, DATA | TCP_URG, 4381, 1, 621);
    conn_end(&c);
}

/* Frag-needed: smaller segments from now on, and what was too long again. */
Test(tcp_send, path_mtu) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 4380);
    const struct got *g = to_peer(&c, DATA, 1, 1, 4380);
    struct icmp_hdr h = {.type = 3, .code = 4, .mtu = 1000};
    wire_icmp_about(c.w, 0, h, g, 8);
    g = to_peer(&c, DATA, 1, 1, 4380);
    cr_assert_eq(g->meta.gso_size, 960);
    cr_assert_eq(conn_info(&c).snd_mss, 960);
    cr_assert_eq(conn_info(&c).snd_cwnd, 10 * 1460 / 960, "no fault of ours");
    conn_end(&c);
}

/* The same about bytes that are not in flight: forged (RFC 5927). */
Test(tcp_send, path_mtu_forged) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 1460);
    const struct got *g = to_peer(&c, DATA, 1, 1, 1460);
    struct icmp_hdr h = {.type = 3, .code = 4, .mtu = 1000};
    struct got old = *g;
    uint8_t frame[2000];
    memcpy(frame, g->frame, g->len);
    old.frame = frame;
    from_peer(&c, TCP_ACK, 1, 1461, 0);
    wire_icmp_about(c.w, 0, h, &old, 8);
    cr_assert_eq(conn_info(&c).snd_mss, 1460);
    cr_assert_eq(counter(c.w, tcp_icmp_forged), 1);
    conn_end(&c);
}

/* Errors after the handshake are remembered, not acted upon (RFC 1122
 * section 4.2.3.9, RFC 5927): they explain a time-out later. */
Test(tcp_send, soft_error) {
    struct conn c = conn_connected(NULL);
    conn_send(&c, 100);
    const struct got *g = to_peer(&c, DATA, 1, 1, 100);
    struct icmp_hdr h = {.type = 3, .code = 1};
    wire_icmp_about(c.w, 0, h, g, 8);
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    cr_assert_eq(conn_ready(&c) & STACK_ERR, 0);
    while (conn_run_to_segment(&c, 200 * SEC) != NSTIME_NEVER)
        take(c.w);
    cr_assert_eq(conn_error(&c), EHOSTUNREACH);
    conn_end(&c);
}
