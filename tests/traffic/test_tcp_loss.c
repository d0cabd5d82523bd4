/* Loss: RFC 5681, 6298, 6582, 6675, 2883, 3522, 8985 section 7; time-outs as
 * Linux limits them. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/traffic/lib_tcp.h"

#define DATA (TCP_ACK | TCP_PSH)
#define MSS 1460u

/* The numbers here are NewReno's: half a window. */
static void reno(struct wire *w, struct sock *so) {
    int kind = stack_cc_find("reno");
    CALL(w, stack_setopt(w->st, so, STACK_OPT_CONGESTION, kind));
}

static const struct peer_syn PLAIN = {.prepare = reno};
static const struct peer_syn SACK = {.sack = true, .prepare = reno};

/* n segments are out and nothing is left to send. */
static struct conn flight(const struct peer_syn *p, uint32_t n) {
    struct conn c = conn_connected(p);
    uint32_t mss = conn_info(&c).snd_mss;
    conn_send(&c, n * mss);
    to_peer(&c, DATA, 1, 1, n * mss);
    return c;
}

/* RFC 6298: first time-out after 1 s or SRTT + 200 ms (Linux's floor), then
 * doubling, up to 120 s; ETIMEDOUT after 924 s of it. */
Test(tcp_loss, time_out) {
    struct conn c = flight(&PLAIN, 1);
    stack_tune(c.w->st, "tcp_mtu_probing=0"); /* segments stay as they are */
    nstime_t want = 200 * MSEC;
    nstime_t start = c.w->now;
    for (int i = 0; i < 15; i++) {
        nstime_t t = conn_run_to_segment(&c, 200 * SEC);
        cr_assert(t >= want - MSEC && t <= want + 3 * MSEC, "%d: %lu", i, t);
        to_peer(&c, DATA, 1, 1, MSS);
        want = 2 * want < 120 * SEC ? 2 * want : 120 * SEC;
    }
    cr_assert_eq(conn_state(&c), ESTABLISHED);
    conn_run_to_segment(&c, 200 * SEC);
    to_peer(&c, TCP_RST | TCP_ACK, 1461, 1, 0);
    cr_assert_eq(conn_error(&c), ETIMEDOUT);
    nstime_t t = c.w->now - start;
    cr_assert(t > 920 * SEC && t < 930 * SEC, "%lu", t / SEC);
    conn_end(&c);
}

/* After a time-out: one segment, slow start, nothing forgotten. */
Test(tcp_loss, slow_start_after_time_out) {
    struct conn c = flight(&PLAIN, 8);
    conn_run_to_segment(&c, SEC);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    expect_nothing(c.w);
    cr_assert_eq(conn_info(&c).ca_state, 4);
    cr_assert_eq(conn_info(&c).snd_cwnd, 1);
    cr_assert_eq(conn_info(&c).snd_ssthresh, 4);
    from_peer(&c, TCP_ACK, 1, 1 + MSS, 0);
    to_peer(&c, TCP_ACK, 1 + MSS, 1, 2 * MSS);
    from_peer(&c, TCP_ACK, 1, 1 + 3 * MSS, 0);
    to_peer(&c, TCP_ACK, 1 + 3 * MSS, 1, 4 * MSS);
    from_peer(&c, TCP_ACK, 1, 1 + 8 * MSS, 0);
    cr_assert_eq(conn_info(&c).ca_state, 0);
    expect_quiet_for(&c, 10 * SEC);
    conn_end(&c);
}

/* Karn: no sample from what was sent twice; the doubled RTO stays until there
 * is one. */
Test(tcp_loss, karn) {
    struct conn c = flight(&PLAIN, 1);
    uint32_t srtt = conn_info(&c).srtt_us;
    conn_run_to_segment(&c, SEC);
    to_peer(&c, DATA, 1, 1, MSS);
    wire_run(c.w, 100 * MSEC);
    from_peer(&c, TCP_ACK, 1, 1 + MSS, 0);
    cr_assert_eq(conn_info(&c).srtt_us, srtt);
    conn_end(&c);
}

/* SRTT follows the delay (RFC 6298 rule 2.3). */
Test(tcp_loss, srtt) {
    struct conn c = conn_connected(&PLAIN);
    for (uint32_t i = 0; i < 40; i++) {
        conn_send(&c, 100);
        to_peer(&c, DATA, 1 + 100 * i, 1, 100);
        wire_run(c.w, 50 * MSEC);
        from_peer(&c, TCP_ACK, 1, 101 + 100 * i, 0);
    }
    struct stack_tcp_info i = conn_info(&c);
    cr_assert(i.srtt_us > 45000 && i.srtt_us < 55000, "%u", i.srtt_us);
    cr_assert(i.rto_us >= 245000 && i.rto_us < 300000, "%lu", i.rto_us);
    conn_end(&c);
}

/* Three duplicate ACKs: the first segment again, half the window (RFC 5681
 * section 3.2). */
Test(tcp_loss, fast_retransmit) {
    struct conn c = flight(&PLAIN, 8);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    expect_nothing(c.w);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    cr_assert_eq(conn_info(&c).ca_state, 3);
    cr_assert_eq(conn_info(&c).snd_ssthresh, 4);
    from_peer(&c, TCP_ACK, 1, 1 + 8 * MSS, 0);
    cr_assert_eq(conn_info(&c).ca_state, 0);
    cr_assert_leq(conn_info(&c).snd_cwnd, 4);
    conn_end(&c);
}

/* RFC 3042: the first two duplicates each let a new segment go. */
Test(tcp_loss, limited_transmit) {
    struct conn c = conn_connected(&PLAIN);
    conn_send(&c, 20 * MSS);
    to_peer(&c, TCP_ACK, 1, 1, 10 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1 + 10 * MSS, 1, MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1 + 11 * MSS, 1, MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    conn_end(&c);
}

/* What is no duplicate: data, a window change, nothing in flight (RFC 5681
 * section 2). */
Test(tcp_loss, not_a_duplicate) {
    struct conn c = flight(&PLAIN, 8);
    for (uint32_t i = 0; i < 5; i++)
        from_peer(&c, TCP_ACK, 1 + i, 1, 1);
    for (uint16_t i = 0; i < 5; i++) {
        c.wnd = 60000 + i;
        from_peer(&c, TCP_ACK, 6, 1, 0);
    }
    cr_assert_eq(conn_info(&c).ca_state, 0);
    cr_assert_eq(counter(c.w, tcp_retransmitted), 0);
    conn_end(&c);
}

/* NewReno without SACK: a partial ACK retransmits the next hole at once
 * (RFC 6582 section 3.2, step 3). */
Test(tcp_loss, newreno_partial_ack) {
    struct conn c = flight(&PLAIN, 10);
    for (int i = 0; i < 3; i++)
        from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    from_peer(&c, TCP_ACK, 1, 1 + 4 * MSS, 0); /* segment 5 is lost too */
    to_peer(&c, TCP_ACK, 1 + 4 * MSS, 1, MSS);
    cr_assert_eq(conn_info(&c).ca_state, 3);
    from_peer(&c, TCP_ACK, 1, 1 + 10 * MSS, 0);
    cr_assert_eq(conn_info(&c).ca_state, 0);
    expect_nothing(c.w);
    cr_assert_eq(counter(c.w, tcp_fast_recoveries), 1);
    conn_end(&c);
}

/* SACK: all holes are filled without a word of the ones that arrived
 * (RFC 6675). Segments 1, 3 and 5 of 12 are lost. */
Test(tcp_loss, sack_fills_holes) {
    struct conn c = conn_connected(&SACK);
    conn_send(&c, 10 * MSS);
    to_peer(&c, DATA, 1, 1, 10 * MSS);
    peer_sacks(&c, 1 + 5 * MSS, 1 + 10 * MSS);
    peer_sacks(&c, 1 + 3 * MSS, 1 + 4 * MSS);
    peer_sacks(&c, 1 + MSS, 1 + 2 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    to_peer(&c, TCP_ACK, 1 + 2 * MSS, 1, MSS);
    to_peer(&c, TCP_ACK, 1 + 4 * MSS, 1, MSS);
    expect_nothing(c.w);
    struct stack_tcp_info i = conn_info(&c);
    cr_assert_eq(i.sacked, 7);
    cr_assert_eq(i.lost, 3);
    from_peer(&c, TCP_ACK, 1, 1 + 10 * MSS, 0);
    cr_assert_eq(conn_info(&c).ca_state, 0);
    cr_assert_eq(conn_info(&c).total_retrans, 3);
    conn_end(&c);
}

/* One SACKed segment above is not enough (DupThresh 3). */
Test(tcp_loss, sack_threshold) {
    struct conn c = flight(&SACK, 8);
    peer_sacks(&c, 1 + MSS, 1 + 2 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    peer_sacks(&c, 1 + MSS, 1 + 3 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    expect_nothing(c.w);
    peer_sacks(&c, 1 + MSS, 1 + 4 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    conn_end(&c);
}

/* New data goes out while holes are repaired (pipe < cwnd). */
Test(tcp_loss, sack_and_new_data) {
    struct conn c = conn_connected(&SACK);
    conn_send(&c, 30 * MSS);
    to_peer(&c, TCP_ACK, 1, 1, 10 * MSS);
    peer_sacks(&c, 1 + MSS, 1 + 9 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    /* ssthresh 5: in the network are segment 1 again and 10 */
    to_peer(&c, TCP_ACK, 1 + 10 * MSS, 1, 3 * MSS);
    expect_nothing(c.w);
    conn_end(&c);
}

/* A retransmission that is lost as well is noticed by what was sent after it
 * and arrived. */
Test(tcp_loss, lost_retransmission) {
    struct conn c = conn_connected(&SACK);
    conn_send(&c, 30 * MSS);
    to_peer(&c, TCP_ACK, 1, 1, 10 * MSS);
    peer_sacks(&c, 1 + MSS, 1 + 9 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    to_peer(&c, TCP_ACK, 1 + 10 * MSS, 1, 3 * MSS);
    wire_run(c.w, MSEC);
    peer_sacks(&c, 1 + MSS, 1 + 13 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    cr_assert_eq(counter(c.w, tcp_lost_again), 1);
    cr_assert_eq(counter(c.w, tcp_timeouts), 0);
    conn_end(&c);
}

/* SACK blocks beyond what was sent, or backwards, are ignored. */
Test(tcp_loss, sack_nonsense) {
    struct conn c = flight(&SACK, 4);
    peer_sacks(&c, 1 + 8 * MSS, 1 + 9 * MSS);
    peer_sacks(&c, 1 + 3 * MSS, 1 + 2 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(counter(c.w, tcp_sack_invalid), 2);
    cr_assert_eq(conn_info(&c).sacked, 0);
    conn_end(&c);
}

/* Tail loss: two round trips later the last segment goes again and draws the
 * SACK that tells what is missing; no time-out (RFC 8985 section 7). */
Test(tcp_loss, tail_loss_probe) {
    struct conn c = conn_connected(&SACK);
    conn_send(&c, 100);
    to_peer(&c, DATA, 1, 1, 100);
    wire_run(c.w, 30 * MSEC);
    from_peer(&c, TCP_ACK, 1, 101, 0);
    conn_send(&c, 5 * MSS);
    to_peer(&c, DATA, 101, 1, 5 * MSS);
    nstime_t t = conn_run_to_segment(&c, SEC);
    cr_assert_lt(t, 150 * MSEC, "%lu", t);
    to_peer(&c, DATA, 101 + 4 * MSS, 1, MSS);
    peer_sacks(&c, 101 + MSS, 101 + 5 * MSS);
    from_peer(&c, TCP_ACK, 1, 101, 0);
    to_peer(&c, TCP_ACK, 101, 1, MSS);
    cr_assert_eq(counter(c.w, tcp_timeouts), 0);
    conn_end(&c);
}

/* The probe itself repaired the loss: that is a loss, and the window shrinks;
 * had the original arrived (D-SACK), it would not. */
Test(tcp_loss, tail_loss_repaired) {
    for (int duplicate = 0; duplicate < 2; duplicate++) {
        struct conn c = flight(&SACK, 4);
        conn_run_to_segment(&c, SEC);
        to_peer(&c, DATA, 1 + 3 * MSS, 1, MSS);
        if (duplicate)
            peer_sacks(&c, 1 + 3 * MSS, 1 + 4 * MSS);
        from_peer(&c, TCP_ACK, 1, 1 + 4 * MSS, 0);
        cr_assert_eq(conn_info(&c).snd_cwnd, duplicate ? 10 : 5);
        conn_end(&c);
    }
}

/* Eifel: the echoed timestamp is older than the retransmission, so the original
 * had only been late; window and threshold come back (RFC 3522, RFC 4015). */
Test(tcp_loss, spurious_time_out) {
    struct conn c = flight(&(struct peer_syn){.ts = true, .prepare = reno}, 6);
    uint32_t mss = conn_info(&c).snd_mss;
    uint32_t old = c.last_tsval;
    conn_run_to_segment(&c, SEC);
    to_peer(&c, TCP_ACK, 1, 1, mss);
    cr_assert_eq(conn_info(&c).snd_cwnd, 1);
    c.last_tsval = old;
    from_peer(&c, TCP_ACK, 1, 1 + 6 * mss, 0);
    cr_assert_eq(counter(c.w, tcp_undone), 1);
    cr_assert_geq(conn_info(&c).snd_cwnd, 10);
    conn_end(&c);
}

/* D-SACK for all that was retransmitted: the same (RFC 3708). */
Test(tcp_loss, spurious_by_dsack) {
    struct conn c = flight(&SACK, 8);
    peer_sacks(&c, 1 + MSS, 1 + 5 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, MSS);
    cr_assert_leq(conn_info(&c).snd_ssthresh, 4);
    from_peer(&c, TCP_ACK, 1, 1 + 8 * MSS, 0); /* it had been reordered */
    peer_sacks(&c, 1, 1 + MSS);
    from_peer(&c, TCP_ACK, 1, 1 + 8 * MSS, 0);
    cr_assert_eq(counter(c.w, tcp_undone), 1);
    cr_assert_geq(conn_info(&c).snd_cwnd, 10);
    conn_end(&c);
}

/* Holes that fill by themselves raise the threshold. */
Test(tcp_loss, reordering) {
    struct conn c = flight(&SACK, 10);
    peer_sacks(&c, 1 + MSS, 1 + 3 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    from_peer(&c, TCP_ACK, 1, 1 + 3 * MSS, 0);
    cr_assert_eq(counter(c.w, tcp_reordering), 1);
    cr_assert_eq(conn_info(&c).reordering, 4);
    cr_assert_eq(counter(c.w, tcp_retransmitted), 0);
    conn_end(&c);
}

/* A peer that takes its SACK back is not believed after a time-out (RFC 2018
 * section 8). */
Test(tcp_loss, reneging) {
    struct conn c = flight(&SACK, 4);
    peer_sacks(&c, 1 + MSS, 1 + 3 * MSS);
    from_peer(&c, TCP_ACK, 1, 1, 0);
    from_peer(&c, TCP_ACK, 1, 1 + MSS, 0); /* but segment 2 was reported */
    while (counter(c.w, tcp_timeouts) == 0 &&
           conn_run_to_segment(&c, SEC) != NSTIME_NEVER)
        take(c.w);
    cr_assert_eq(counter(c.w, tcp_sack_reneged), 1);
    from_peer(&c, TCP_ACK, 1, 1 + 2 * MSS, 0);
    to_peer(&c, DATA, 1 + 2 * MSS, 1, 2 * MSS);
    conn_end(&c);
}

/* The persist state and loss: a window that shuts with data in flight. */
Test(tcp_loss, window_shuts_in_flight) {
    struct conn c = flight(&PLAIN, 4);
    c.wnd = 0;
    from_peer(&c, TCP_ACK, 1, 1 + 2 * MSS, 0);
    nstime_t t = conn_run_to_segment(&c, SEC);
    cr_assert_lt(t, SEC);
    to_peer(&c, TCP_ACK, 1 + 2 * MSS, 1, MSS);
    c.wnd = 10000;
    from_peer(&c, TCP_ACK, 1, 1 + 3 * MSS, 0);
    to_peer(&c, DATA, 1 + 3 * MSS, 1, MSS);
    from_peer(&c, TCP_ACK, 1, 1 + 4 * MSS, 0);
    expect_quiet_for(&c, 10 * SEC);
    conn_end(&c);
}

/* TCP_USER_TIMEOUT (RFC 5482) instead of 924 s. */
Test(tcp_loss, user_timeout) {
    struct conn c = flight(&PLAIN, 1);
    conn_opt(&c, STACK_OPT_USER_TIMEOUT, 5000);
    nstime_t start = c.w->now, end = 0;
    while (conn_run_to_segment(&c, 100 * SEC) != NSTIME_NEVER)
        end = take(c.w)->at;
    cr_assert(end - start >= 4900 * MSEC && end - start <= 5100 * MSEC,
              "given up after %lu ms", (end - start) / MSEC);
    cr_assert_eq(conn_error(&c), ETIMEDOUT);
    conn_end(&c);
}
