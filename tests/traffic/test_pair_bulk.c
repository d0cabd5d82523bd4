/* Two stacks: many bytes, every one checked, over good and bad links. */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>

#include "tests/traffic/lib_flow.h"
#include "tests/traffic/lib_pair.h"
#include "tests/traffic/lib_police.h"

#define MIB (1u << 20)

/* One connection, `bytes` each way at once. Returns the virtual time taken. */
static nstime_t transfer(const struct pair_config *cfg, uint64_t bytes,
                         struct plan *overlay) {
    struct pair *p = pair_new(cfg);
    struct flows *fs = flows_new(p);
    struct plan plan = {.write_max = 60000, .read_max = 60000};
    if (overlay)
        plan = *overlay;
    plan.tx_bytes = bytes;
    flows_listen(fs, B, 80, 8);
    flow_add(fs, &(struct flow_config){.client = A,
                                       .port = 80,
                                       .plan = {plan, plan}});
    nstime_t start = p->now;
    flows_run(fs, 900 * SEC);
    nstime_t took = p->now - start;
    cr_assert_eq(flows_totals(fs).bytes, 2 * bytes);
    flows_end(fs);
    pair_end(p);
    return took;
}

static nstime_t over(const char *fault, uint64_t bytes) {
    return transfer(&(struct pair_config){.fault = {fault, fault}}, bytes,
                    NULL);
}

Test(pair_bulk, perfect_link) { transfer(NULL, 32 * MIB, NULL); }

Test(pair_bulk, plain_frames) {
    transfer(&(struct pair_config){.plain = true}, 4 * MIB, NULL);
}

Test(pair_bulk, superframes_are_used) {
    struct pair *p = pair_new(NULL);
    struct flows *fs = flows_new(p);
    struct plan plan = {.tx_bytes = 8 * MIB,
                        .write_max = 65536,
                        .read_max = 65536};
    flows_listen(fs, B, 80, 8);
    flow_add(fs, &(struct flow_config){
                     .client = A,
                     .port = 80,
                     .plan = {plan, {.read_max = 65536, .write_max = 1}}});
    flows_run(fs, 10 * SEC);
    const struct police_count *a = police_count(p->side[A].police);
    cr_assert_gt(a->superframes, 100);
    cr_assert_lt(a->frames, 8 * MIB / 1448 / 4);
    cr_assert_eq(a->resent, 0);
    flows_end(fs);
    pair_end(p);
}

/* Straight into the readers' buffers, long and short ones, on good links and
 * bad. */
static void placed(const char *fault, uint64_t bytes, uint32_t read_max) {
    struct pair_config cfg = {.place = true, .fault = {fault, fault}};
    struct plan plan = {.write_max = 300000, .read_max = read_max};
    transfer(&cfg, bytes, &plan);
}

Test(pair_bulk, placed) { placed(NULL, 32 * MIB, 200000); }
Test(pair_bulk, placed_in_parts) { placed(NULL, 8 * MIB, 20000); }
Test(pair_bulk, placed_with_loss) {
    placed("loss=1%,delay=1ms", 8 * MIB, 200000);
}
Test(pair_bulk, placed_with_reordering) {
    placed("reorder=5%,dup=2%,delay=1ms", 8 * MIB, 200000);
}

/* It is really done: most of the bytes of a reader that keeps up. */
Test(pair_bulk, placed_mostly) {
    struct pair *p = pair_new(&(struct pair_config){.place = true});
    static uint8_t data[MIB], got[MIB];
    struct sock *so[2];
    pair_connected(p, 80, so);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    for (int round = 0; round < 16; round++)
        for (size_t at = 0; at < sizeof(data); at += 262144) {
            cr_assert_eq(pair_send(p, A, so[A], data + at, 262144), 262144);
            cr_assert_eq(pair_recv_all(p, B, so[B], got + at, 262144), 262144);
            cr_assert_arr_eq(got + at, data + at, 262144);
        }
    uint64_t n = stack_counters(p->side[B].st)->place_frames;
    cr_assert_gt(n, 16 * MIB / 65160 / 2, "%" PRIu64, n);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* Longer than an IP packet can say: its length field is 0. */
static void big_superframes(bool plain) {
    struct plan plan = {.write_max = 300000, .read_max = 300000};
    transfer(&(struct pair_config){.superframe = 196607, .plain = plain},
             16 * MIB, &plan);
}

Test(pair_bulk, big_superframes) { big_superframes(false); }
Test(pair_bulk, big_superframes_cut) { big_superframes(true); }

Test(pair_bulk, smallest_mtu) {
    transfer(&(struct pair_config){.mtu = 576}, MIB, NULL);
}

Test(pair_bulk, jumbo_mtu) {
    transfer(&(struct pair_config){.mtu = 9000}, 8 * MIB, NULL);
}

/* One byte a call, with and without Nagle's algorithm. */
Test(pair_bulk, small_writes) {
    for (int nodelay = 0; nodelay < 2; nodelay++)
        transfer(&(struct pair_config){.fault = {"delay=1ms", "delay=1ms"}},
                 5000,
                 &(struct plan){.write_max = 3,
                                .read_max = 100,
                                .nodelay = nodelay});
}

/* RFC 896: with Nagle, small writes leave in few segments. */
Test(pair_bulk, nagle_joins_small_writes) {
    uint64_t frames[2];
    for (int nodelay = 0; nodelay < 2; nodelay++) {
        struct pair *p = pair_new(
            &(struct pair_config){.fault = {"delay=10ms", "delay=10ms"}});
        struct sock *so[2];
        char buf[200];
        pair_connected(p, 80, so);
        pair_setopt(p, A, so[A], STACK_OPT_NODELAY, nodelay);
        for (int i = 0; i < 200; i++)
            cr_assert_eq(pair_send(p, A, so[A], "x", 1), 1);
        cr_assert_eq(pair_recv_all(p, B, so[B], buf, 200), 200);
        frames[nodelay] = police_count(p->side[A].police)->tcp;
        pair_close(p, A, so[A]);
        pair_close(p, B, so[B]);
        pair_end(p);
    }
    cr_assert_lt(frames[0], 12, "%lu", frames[0]);
    cr_assert_geq(frames[1], 190, "%lu", frames[1]);
}

/* ---- the matrix of bad links: 2 MiB each way ---------------------------------- */

#define ON_LINK(name, spec, bytes)                                             \
    Test(pair_bulk, name) { over(spec, bytes); }

ON_LINK(delay_20ms, "delay=20ms", 4 * MIB)
ON_LINK(loss_1, "loss=1%,delay=2ms", 2 * MIB)
ON_LINK(loss_3, "loss=3%,delay=2ms", 2 * MIB)
ON_LINK(loss_10, "loss=10%,delay=2ms", MIB)
ON_LINK(loss_30, "loss=30%,delay=2ms", 64 * 1024)
ON_LINK(loss_3_no_delay, "loss=3%", 2 * MIB)
ON_LINK(dup_10, "dup=10%,delay=2ms", 2 * MIB)
ON_LINK(dup_all, "dup=100%,delay=2ms", MIB)
ON_LINK(reorder_10, "reorder=10%,delay=5ms", 2 * MIB)
ON_LINK(reorder_50, "reorder=50%,delay=5ms", MIB)
ON_LINK(corrupt_2, "corrupt=2%,delay=2ms", 2 * MIB)
ON_LINK(rate_10mbit, "rate=10mbit,queue=50", 2 * MIB)
ON_LINK(rate_1mbit_shallow, "rate=1mbit,queue=5", 256 * 1024)
ON_LINK(issue_mix, "loss=3%,dup=1%,reorder=2%,delay=20ms", 4 * MIB)
ON_LINK(everything, "loss=3%,dup=3%,reorder=5%,corrupt=1%,delay=20ms", MIB)
ON_LINK(jittery_slow, "delay=200ms,loss=2%,reorder=3%", MIB)

/* Bad one way only: lost data with good ACKs, and the reverse. */
Test(pair_bulk, loss_of_data_only) {
    transfer(&(struct pair_config){.fault = {"loss=5%,delay=2ms", "delay=2ms"}},
             MIB, NULL);
}

Test(pair_bulk, many_seeds) {
    for (uint64_t seed = 100; seed < 120; seed++)
        transfer(&(struct pair_config){.fault = {"loss=8%,reorder=8%,dup=4%",
                                                 "delay=3ms,loss=8%"},
                                       .seed = seed,
                                       .plain = seed & 1},
                 100000, NULL);
}

/* The same seed gives the same run, frame by frame. */
Test(pair_bulk, replay_is_exact) {
    const char *bad = "loss=5%,dup=2%,reorder=5%,delay=7ms";
    nstime_t t[3];
    for (int i = 0; i < 3; i++)
        t[i] = transfer(&(struct pair_config){.fault = {bad, bad},
                                              .seed = i < 2 ? 7 : 8},
                        300000, NULL);
    cr_assert_eq(t[0], t[1]);
    cr_assert_neq(t[0], t[2]);
}

/* Goodput on a clean long pipe is bounded by the window, not by a stall:
 * 4 MiB each way in a second or so at 40 ms round trip. */
Test(pair_bulk, long_pipe_is_filled) {
    nstime_t took = over("delay=20ms", 16 * MIB);
    cr_assert_lt(took, 5 * SEC, "%f s", (double)took / 1e9);
}

/* A few losses cost a few round trips, not time-outs: fast retransmit. */
Test(pair_bulk, few_losses_are_cheap) {
    nstime_t took = over("delay=10ms,loss=0.1%", 8 * MIB);
    cr_assert_lt(took, 20 * SEC, "%f s", (double)took / 1e9);
}

/* When ACKs are lost, what a duplicate echoes is old. Taken for a round trip,
 * one of them would count a whole time-out (rtt.c, Karn). */
Test(pair_bulk, lost_acks_do_not_inflate_the_rto) {
    struct pair *p = pair_new(&(struct pair_config){
        .fault = {"delay=5ms,loss=20%", "delay=5ms,loss=20%"}});
    struct sock *so[2];
    static uint8_t buf[8192];
    struct stack_tcp_info i;
    uint32_t worst = 0;
    size_t sent = 0, got = 0;
    nstime_t start = p->now;
    pair_connected(p, 80, so);
    while (got < 500000) {
        ssize_t r = pair_try_send(p, A, so[A], buf, sizeof(buf));
        sent += r > 0 ? (size_t)r : 0;
        pair_run(p, 10 * MSEC);
        while ((r = pair_try_recv(p, B, so[B], buf, sizeof(buf))) > 0)
            got += (size_t)r;
        cr_assert_eq(stack_tcp_info(p->side[A].st, so[A], &i), 0);
        worst = i.srtt_us > worst ? i.srtt_us : worst;
    }
    cr_assert_leq(got, sent);
    cr_assert_lt(worst, 100000, "%u us", worst);
    cr_assert_lt(p->now - start, 120 * SEC, "%f s",
                 (double)(p->now - start) / 1e9);
    pair_close(p, A, so[A]);
    pair_close(p, B, so[B]);
    pair_end(p);
}

/* Many at once share the link; all arrive, however their programs sleep. */
static void hundred(enum flow_sleep how) {
    const char *bad = "loss=2%,reorder=2%,dup=1%,delay=10ms";
    struct pair *p = pair_new(&(struct pair_config){.fault = {bad, bad}});
    struct flows *fs = flows_new(p);
    struct plan plan = {.tx_bytes = 50000,
                        .write_max = 20000,
                        .read_max = 20000};
    flows_sleep(fs, how);
    flows_listen(fs, B, 80, 256);
    flows_listen(fs, A, 80, 256);
    for (int i = 0; i < 100; i++)
        flow_add(fs, &(struct flow_config){.client = i % 2,
                                           .port = 80,
                                           .plan = {plan, plan}});
    flows_run(fs, 600 * SEC);
    cr_assert_eq(flows_totals(fs).bytes, 100 * 100000);
    flows_end(fs);
    pair_end(p);
}

Test(pair_bulk, hundred_watching) { hundred(SLEEP_WATCH); }
Test(pair_bulk, hundred_on_level_epoll) { hundred(SLEEP_LEVEL); }
Test(pair_bulk, hundred_on_edge_epoll) { hundred(SLEEP_EDGE); }
