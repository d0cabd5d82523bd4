/* Loss recovery by time: RACK (RFC 8985), PRR (RFC 9937), F-RTO (RFC 5682),
 * and windows that do not last (RFC 7661), over a path of 40 ms. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/traffic/lib_tcp.h"
#include "tests/traffic/lib_wire_frame.h"

#define MSS 1460u
#define RTT (40 * MSEC)

/* A connection of ours whose handshake took a round trip. */
static struct conn far_away(const char *cc, bool sack) {
    struct conn c = {.w = wire_new(NULL), .wnd = 65535};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    CALL(c.w,
         stack_setopt(c.w->st, c.so, STACK_OPT_CONGESTION, stack_cc_find(cc)));
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    CALL(c.w, stack_connect(c.w->st, c.so, &to));
    c.iss = take(c.w)->tcp.seq;
    wire_run(c.w, RTT);
    wire_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                               .seq = PEER_ISS,
                               .ack = c.iss + 1,
                               .wnd = c.wnd,
                               .opts = {.mss = MSS, .sack_permitted = sack}});
    to_peer(&c, TCP_ACK, 1, 1, 0);
    return c;
}

/* What has left: bytes, and in which segments of the stream (0...). */
struct left {
    uint32_t bytes, first, last;
};
static struct left left(struct conn *c) {
    struct left l = {.first = UINT32_MAX};
    while (c->w->out) {
        const struct got *g = take(c->w);
        uint32_t n = (g->tcp.seq - c->iss - 1) / MSS;
        l.bytes += (uint32_t)g->data_len;
        l.first = n < l.first ? n : l.first;
        l.last = n + (uint32_t)(g->data_len + MSS - 1) / MSS - 1;
    }
    return l;
}

/* n segments leave now. */
static struct conn flight(const char *cc, bool sack, uint32_t n) {
    struct conn c = far_away(cc, sack);
    conn_send(&c, n * MSS);
    cr_assert_eq(left(&c).bytes, (n < 10 ? n : 10) * MSS);
    return c;
}

/* The peer acknowledges `ack` segments and reports [from, to). */
static void answer(struct conn *c, uint32_t ack, uint32_t from, uint32_t to) {
    if (to > from)
        peer_sacks(c, 1 + from * MSS, 1 + to * MSS);
    from_peer(c, TCP_ACK, 1, 1 + ack * MSS, 0);
}

/* ---- RACK -------------------------------------------------------------- */

/* RFC 8985 section 6.2: with two segments reported, a quarter of a round trip
 * later the first one counts as lost; no third duplicate is needed. */
Test(tcp_recovery, rack_waits) {
    struct conn c = flight("cubic", true, 3);
    wire_run(c.w, RTT);
    answer(&c, 0, 1, 3);
    expect_nothing(c.w);
    nstime_t t = conn_run_to_segment(&c, SEC);
    cr_assert(t >= 9 * MSEC && t <= 12 * MSEC, "%lu us", t / USEC);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    cr_assert_eq(counter(c.w, tcp_reo_timeouts), 1);
    cr_assert_eq(conn_info(&c).ca_state, 3);
    answer(&c, 3, 0, 0);
    expect_quiet_for(&c, 10 * SEC);
    cr_assert_eq(counter(c.w, tcp_timeouts), 0);
    conn_end(&c);
}

/* ...and when it arrives before that, nothing happened. */
Test(tcp_recovery, rack_bears_reordering) {
    struct conn c = flight("cubic", true, 3);
    wire_run(c.w, RTT);
    answer(&c, 0, 1, 3);
    wire_run(c.w, 8 * MSEC);
    answer(&c, 3, 0, 0);
    expect_quiet_for(&c, 10 * SEC);
    cr_assert_eq(counter(c.w, tcp_retransmitted), 0);
    cr_assert_eq(conn_info(&c).reordering, 4);
    conn_end(&c);
}

/* Once reordering is known, any depth is borne inside the window. */
Test(tcp_recovery, rack_after_reordering) {
    struct conn c = flight("cubic", true, 10);
    wire_run(c.w, RTT);
    answer(&c, 0, 1, 3);
    answer(&c, 3, 0, 0);  /* it had only been overtaken */
    answer(&c, 3, 4, 10); /* six above, and yet no loss */
    expect_nothing(c.w);
    wire_run(c.w, 8 * MSEC);
    answer(&c, 10, 0, 0);
    cr_assert_eq(counter(c.w, tcp_retransmitted), 0);
    cr_assert_eq(counter(c.w, tcp_fast_recoveries), 0);
    conn_end(&c);
}

/* A retransmission that is lost again is found by time, and needs no time-out:
 * what was sent with it has arrived. */
Test(tcp_recovery, rack_lost_again) {
    struct conn c = flight("cubic", true, 30);
    wire_run(c.w, RTT);
    answer(&c, 0, 1, 10);
    struct left l = left(&c);
    cr_assert_eq(l.first, 0);
    cr_assert_gt(l.last, 10);
    wire_run(c.w, RTT);
    answer(&c, 0, 1, l.last + 1);
    cr_assert_eq(left(&c).first, 0);
    cr_assert_eq(counter(c.w, tcp_lost_again), 1);
    wire_run(c.w, RTT);
    answer(&c, l.last + 1, 0, 0);
    cr_assert_eq(counter(c.w, tcp_timeouts), 0);
    conn_end(&c);
}

/* ---- PRR ---------------------------------------------------------------- */

/* RFC 9937 section 6.2: in a recovery one segment leaves for two that were
 * delivered (NewReno: half), from the first ACK on; no silence, no burst. */
Test(tcp_recovery, prr_halves_the_rate) {
    struct conn c = flight("reno", true, 100);
    wire_run(c.w, RTT);
    answer(&c, 10, 0, 0);
    cr_assert_eq(left(&c).bytes, 20 * MSS); /* 10 to 29 */
    wire_run(c.w, RTT);
    answer(&c, 10, 11, 14); /* 10 is lost */
    uint32_t out = left(&c).bytes / MSS;
    cr_assert(out >= 1 && out <= 2, "%u at once", out);
    for (uint32_t n = 15; n <= 30; n++) {
        answer(&c, 10, 11, n);
        uint32_t now = left(&c).bytes / MSS;
        cr_assert_leq(now, 2, "a burst of %u at %u", now, n);
        out += now;
    }
    cr_assert(out >= 9 && out <= 11, "%u segments for 19", out);
    answer(&c, 30 + out - 1, 0, 0);
    cr_assert_eq(conn_info(&c).ca_state, 0);
    cr_assert_eq(conn_info(&c).snd_cwnd, 10, "ssthresh");
    conn_end(&c);
}

/* Heavy losses bring less than ssthresh into flight: then as much leaves as
 * was delivered, and one more while nothing else gets lost. */
Test(tcp_recovery, prr_after_heavy_losses) {
    struct conn c = flight("reno", true, 100);
    wire_run(c.w, RTT);
    answer(&c, 10, 0, 0);
    cr_assert_eq(left(&c).last, 29);
    wire_run(c.w, RTT);
    answer(&c, 10, 26, 30); /* 16 of 20 are lost */
    uint32_t out = left(&c).bytes / MSS;
    cr_assert(out >= 1 && out <= 4, "%u for 4", out);
    wire_run(c.w, RTT);
    answer(&c, 10 + out, 26, 30);
    uint32_t more = left(&c).bytes / MSS;
    cr_assert(more > out && more <= 2 * out + 1, "%u after %u", more, out);
    cr_assert_eq(counter(c.w, tcp_timeouts), 0);
    conn_end(&c);
}

/* ---- F-RTO -------------------------------------------------------------- */

/* RFC 5682 section 3.1: after a time-out an original is reported. */
Test(tcp_recovery, frto_with_sack) {
    struct conn c = flight("cubic", true, 10);
    uint32_t before = conn_info(&c).snd_cwnd;
    wire_run(c.w, RTT);
    wire_run(c.w, 300 * MSEC); /* a tail loss probe and a time-out */
    left(&c);
    cr_assert_eq(counter(c.w, tcp_timeouts), 1);
    cr_assert_eq(conn_info(&c).snd_cwnd, 1);
    answer(&c, 2, 0, 0); /* the delay is over: the first ACK arrives */
    cr_assert_eq(counter(c.w, tcp_frto), 1);
    cr_assert_geq(conn_info(&c).snd_cwnd, before);
    cr_assert_eq(conn_info(&c).ca_state, 0);
    expect_nothing(c.w);
    answer(&c, 9, 0, 0);
    answer(&c, 10, 0, 0);
    cr_assert_leq(conn_info(&c).total_retrans, 2, "the rest was not repeated");
    conn_end(&c);
}

/* Section 2.1 without SACK: the first ACK lets new data go, the second one
 * proves that the old was under way. */
Test(tcp_recovery, frto_without_sack) {
    struct conn c = flight("cubic", false, 20);
    conn_run_to_segment(&c, SEC);
    cr_assert_eq(left(&c).first, 0);
    answer(&c, 2, 0, 0);
    struct left l = left(&c);
    cr_assert_eq(l.first, 10, "new data, not %u", l.first);
    cr_assert_eq(l.bytes, 2 * MSS);
    answer(&c, 4, 0, 0);
    cr_assert_eq(counter(c.w, tcp_frto), 1);
    cr_assert_geq(conn_info(&c).snd_cwnd, 10);
    cr_assert_geq(left(&c).first, 12);
    conn_end(&c);
}

/* Step 3a: a duplicate after the new data: the loss is real. */
Test(tcp_recovery, frto_real_loss) {
    struct conn c = flight("reno", false, 20);
    conn_run_to_segment(&c, SEC);
    left(&c);
    answer(&c, 1, 0, 0);
    cr_assert_eq(left(&c).first, 10);
    answer(&c, 1, 0, 0);
    struct left l = left(&c);
    cr_assert_eq(l.first, 1, "slow start from the hole, not %u", l.first);
    cr_assert_leq(l.bytes, 3 * MSS);
    cr_assert_eq(counter(c.w, tcp_frto), 0);
    cr_assert_eq(conn_info(&c).snd_ssthresh, 5);
    cr_assert_eq(conn_info(&c).ca_state, 4);
    conn_end(&c);
}

/* ---- windows that are not used ------------------------------------------- */

/* RFC 2861 section 3.2: each idle RTO halves, 3/4 are remembered. */
Test(tcp_recovery, idle_window) {
    struct conn c = flight("reno", true, 70);
    uint32_t acked[] = {10, 30, 70};
    for (int i = 0; i < 3; i++) { /* a window of 10, 20, 40 */
        wire_run(c.w, RTT);
        answer(&c, acked[i], 0, 0);
        left(&c);
    }
    uint32_t cwnd = conn_info(&c).snd_cwnd;
    cr_assert_geq(cwnd, 40);
    uint32_t rto = (uint32_t)conn_info(&c).rto_us;
    wire_run(c.w, (nstime_t)rto * 1500); /* one and a half of it */
    conn_send(&c, MSS);
    left(&c);
    struct stack_tcp_info i = conn_info(&c);
    cr_assert_eq(i.snd_cwnd, cwnd / 2);
    conn_end(&c);
}

/* CUBIC is the default, and a listener's choice is its children's. */
Test(tcp_recovery, congestion_option) {
    struct conn c = conn_accepted(NULL);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_CONGESTION), stack_cc_find("cubic"));
    cr_assert_eq(conn_opt(&c, STACK_OPT_CONGESTION, stack_cc_find("reno")), 0);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_CONGESTION), stack_cc_find("reno"));
    cr_assert_eq(conn_opt(&c, STACK_OPT_CONGESTION, 99), -ENOENT);
    conn_end(&c);
}

/* 0.7 of the window after a loss (RFC 9438 section 4.6). */
Test(tcp_recovery, cubic_reduction) {
    struct conn c = flight("cubic", true, 30);
    wire_run(c.w, RTT);
    answer(&c, 0, 1, 10);
    cr_assert_eq(conn_info(&c).snd_ssthresh, 7);
    conn_end(&c);
}

/* ---- pacing -------------------------------------------------------------- */

/* SO_MAX_PACING_RATE: so many bytes a second on average, in small pieces, and
 * no timer once all is sent. */
Test(tcp_recovery, pacing) {
    struct conn c = far_away("cubic", true);
    uint32_t rate = 292000; /* two segments in 10 ms */
    cr_assert_eq(conn_opt(&c, STACK_OPT_MAX_PACING_RATE, rate), 0);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_MAX_PACING_RATE), rate);
    nstime_t start = c.w->now;
    conn_send(&c, 100 * MSS);
    uint32_t sent = 0;
    while (sent < 100 * MSS) {
        uint32_t n = left(&c).bytes;
        cr_assert_leq(n, 2 * MSS);
        sent += n;
        uint64_t passed = c.w->now - start;
        cr_assert_leq(sent, rate * passed / SEC + 4 * MSS, "too fast");
        from_peer(&c, TCP_ACK, 1, 1 + sent, 0);
        cr_assert_neq(conn_run_to_segment(&c, SEC), n ? NSTIME_NEVER : 1);
        if (sent + 2 * MSS >= 100 * MSS) {
            sent += left(&c).bytes;
            break;
        }
    }
    nstime_t took = c.w->now - start;
    cr_assert(took >= 480 * MSEC && took <= 520 * MSEC, "%lu ms", took / MSEC);
    from_peer(&c, TCP_ACK, 1, 1 + 100 * MSS, 0);
    expect_quiet_for(&c, 10 * SEC);
    conn_end(&c);
}

/* Taking the limit away frees what waits. */
Test(tcp_recovery, pacing_off) {
    struct conn c = far_away("cubic", true);
    conn_opt(&c, STACK_OPT_MAX_PACING_RATE, 1000);
    conn_send(&c, 8 * MSS);
    cr_assert_eq(left(&c).bytes, 2 * MSS);
    conn_opt(&c, STACK_OPT_MAX_PACING_RATE, UINT32_MAX);
    cr_assert_eq(left(&c).bytes, 6 * MSS);
    cr_assert_eq(conn_getopt(&c, STACK_OPT_MAX_PACING_RATE), UINT32_MAX);
    conn_end(&c);
}
