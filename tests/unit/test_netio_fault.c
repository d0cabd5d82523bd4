/* The fault wrapper over an in-memory wire, in virtual time. */
#include "netio_build.h"
#include "netio/fault.h"
#include "netio/memwire.h"

#define MS 1000000ull
#define N 20000

static struct flat a, b;
static struct netio *bad, *far; /* bad: with the faults; far: the other end */

static void link_with(const char *spec_text) {
    struct fault_spec spec;
    struct netio *end[2];
    char err[128];
    cr_assert_eq(fault_parse(spec_text, &spec, err, sizeof(err)), 0, "%s", err);
    cr_assert_eq(netio_memwire_new(end, 1500, 1u << 20), 0);
    bad = netio_fault_new(end[0], &spec);
    far = end[1];
    cr_assert_not_null(bad);
}
static void unlink_all(void) { netio_close(bad), netio_close(far); }

static const struct fault_counters *count(unsigned dir) {
    return netio_fault_counters(bad, dir);
}

/* Let time pass up to `until`, as an owner that obeys deadlines does. Frames
 * that arrive at far are counted and their sequence numbers kept. */
static uint32_t seqs[4 * N];
static nstime_t times[4 * N];
static unsigned got;
static void drain_far(nstime_t now) {
    while (rx_flat(far, &b, now) > 0) {
        cr_assert_lt(got, 4u * N);
        times[got] = now;
        seqs[got++] = rd32(b.b + ETH + 24);
    }
}
static void run_until(nstime_t until) {
    nstime_t due;
    while ((due = netio_deadline(bad)) <= until) {
        while (rx_flat(bad, &b, due) > 0)
            ;
        cr_assert(netio_deadline(bad) > due, "deadline must move on");
        drain_far(due);
    }
}

/* Send n TCP frames with sequence numbers 0..n-1, `gap` apart. */
static nstime_t send_train(unsigned n, uint32_t payload, nstime_t gap) {
    nstime_t now = 0;
    for (unsigned i = 0; i < n; i++, now += gap) {
        run_until(now);
        build_tcp(&a, 4, i, 0x10, payload, false);
        cr_assert_eq(tx_flat(bad, &a, now), 1);
        drain_far(now);
    }
    return now;
}

Test(fault, nothing_asked_nothing_done) {
    link_with("");
    send_train(100, 10, 0);
    cr_assert_eq(got, 100u);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(seqs[i], i);
    cr_assert_eq(netio_deadline(bad), NSTIME_NEVER);
    unlink_all();
}

Test(fault, loss_rate) {
    link_with("loss=3%,seed=5");
    send_train(N, 10, 0);
    cr_assert_eq(count(FAULT_TX)->lost + got, (unsigned)N);
    cr_assert(got > N * .965 && got < N * .975, "%u of %u", got, N);
    unlink_all();
}

Test(fault, total_loss) {
    link_with("loss=100%");
    send_train(500, 10, 0);
    cr_assert_eq(got, 0u);
    unlink_all();
    link_with("loss=100%,burst=5");
    send_train(500, 10, 0);
    cr_assert_lt(got, 30u, "only before the first burst");
    unlink_all();
}

Test(fault, bursts) {
    unsigned bursts = 0;
    link_with("loss=5%,burst=8,seed=2");
    send_train(N, 10, 0);
    for (unsigned i = 1; i < got; i++)
        bursts += seqs[i] != seqs[i - 1] + 1;
    double lost = N - got, mean = lost / bursts;
    cr_assert(lost > N * .03 && lost < N * .07, "lost %g", lost);
    cr_assert(mean > 6 && mean < 10, "mean burst %g", mean);
    unlink_all();
}

Test(fault, duplicates) {
    unsigned twice = 0;
    link_with("dup=10%");
    send_train(N, 10, 0);
    for (unsigned i = 1; i < got; i++)
        twice += seqs[i] == seqs[i - 1];
    cr_assert_eq(twice, count(FAULT_TX)->duplicated);
    cr_assert_eq(got, N + twice);
    cr_assert(twice > N * .09 && twice < N * .11, "%u", twice);
    unlink_all();
}

Test(fault, reorders_without_loss) {
    static uint8_t seen[N];
    unsigned late = 0, top = 0;
    link_with("reorder=5%,delay=1ms");
    nstime_t end = send_train(N, 10, MS / 100);
    run_until(end + 100 * MS);
    cr_assert_eq(got, (unsigned)N);
    for (unsigned i = 0; i < got; i++) {
        cr_assert_not(seen[seqs[i]]++);
        if (seqs[i] < top) {
            late++;
            cr_assert_lt(top - seqs[i], 64u, "not far");
        } else {
            top = seqs[i];
        }
    }
    cr_assert(late > N * .04 && late < N * .06, "%u late", late);
    cr_assert_eq(netio_deadline(bad), NSTIME_NEVER);
    unlink_all();
}

/* The last frame steps aside and nothing follows: it comes after 5 ms. */
Test(fault, reordered_last_frame_comes) {
    link_with("reorder=100%,delay=2ms");
    send_train(1, 10, 0);
    cr_assert_eq(netio_deadline(bad), 7 * MS);
    run_until(7 * MS);
    cr_assert_eq(got, 1u);
    unlink_all();
}

Test(fault, corruption_is_one_bit_and_noticed) {
    unsigned wrong = 0;
    link_with("corrupt=20%");
    for (unsigned i = 0; i < 3000; i++) {
        build_tcp(&a, 4, i, 0x10, 333, false);
        tx_flat(bad, &a, 0);
        cr_assert_eq(rx_flat(far, &b, 0), 1);
        unsigned bits = 0;
        for (uint32_t k = 0; k < a.len; k++)
            bits += (unsigned)__builtin_popcount(a.b[k] ^ b.b[k]);
        cr_assert_leq(bits, 1u);
        cr_assert_arr_eq(a.b, b.b, ETH);
        wrong += bits;
        bool header = memcmp(a.b + ETH, b.b + ETH, 20) != 0;
        if (bits && header)
            cr_assert_not(ip_sum_ok(&b));
        else if (bits)
            cr_assert_neq(l4_sum(&b), 0xffff);
    }
    cr_assert_eq(wrong, count(FAULT_TX)->corrupted);
    cr_assert(wrong > 500 && wrong < 700, "%u", wrong);
    build_arp(&a, 1, 1, 2);
    for (unsigned i = 0; i < 200; i++) {
        tx_flat(bad, &a, 0);
        rx_flat(far, &b, 0);
        cr_assert_arr_eq(a.b, b.b, 42, "ARP is spared");
    }
    unlink_all();
}

Test(fault, delay_is_exact) {
    link_with("delay=20ms");
    build_arp(&a, 1, 1, 2);
    tx_flat(bad, &a, 100);
    cr_assert_eq(netio_deadline(bad), 20 * MS + 100);
    cr_assert_eq(rx_flat(bad, &b, 20 * MS + 99), 0);
    cr_assert_eq(netio_memwire_pending(far), 0u);
    rx_flat(bad, &b, 20 * MS + 100);
    cr_assert_eq(netio_memwire_pending(far), 1u);
    cr_assert_eq(netio_deadline(bad), NSTIME_NEVER);
    unlink_all();
}

Test(fault, delay_of_what_is_received) {
    link_with("delay=20ms,dir=rx");
    build_arp(&a, 1, 1, 2);
    tx_flat(far, &a, 0);
    cr_assert_eq(netio_deadline(bad), 0u, "inner has a frame");
    cr_assert_eq(rx_flat(bad, &b, 1000), 0);
    cr_assert_eq(netio_deadline(bad), 20 * MS + 1000);
    cr_assert_eq(rx_flat(bad, &b, 20 * MS + 1000), 1);
    cr_assert_arr_eq(a.b, b.b, 42);
    tx_flat(bad, &a, 0);
    cr_assert_eq(netio_memwire_pending(far), 1u, "the other way is clean");
    unlink_all();
}

Test(fault, jitter_keeps_order) {
    nstime_t least = NSTIME_NEVER, most = 0;
    link_with("delay=10ms,jitter=4ms");
    nstime_t gap = 5 * MS, end = send_train(2000, 10, gap);
    run_until(end + 100 * MS);
    cr_assert_eq(got, 2000u);
    for (unsigned i = 0; i < got; i++) {
        cr_assert_eq(seqs[i], i);
        nstime_t d = times[i] - i * gap;
        least = d < least ? d : least, most = d > most ? d : most;
    }
    cr_assert(least >= 6 * MS && least < 6.2 * MS);
    cr_assert(most > 13.8 * MS && most <= 14 * MS);
    unlink_all();
}

Test(fault, rate_and_queue) {
    /* 1,000 frames of 1,000 bytes at once over 10 Mbit/s */
    link_with("rate=10mbit,queue=100");
    for (uint32_t i = 0; i < 1000; i++) {
        build_tcp(&a, 4, i, 0x10, 1000 - ETH - 20 - 32, false);
        tx_flat(bad, &a, 0);
    }
    run_until(10000 * MS);
    const struct fault_counters *c = count(FAULT_TX);
    cr_assert_eq(c->queue_full + got, 1000u);
    cr_assert(got > 140 && got < 170, "100 full-size frames: %u", got);
    /* (1000 + 24) * 8 bits at 10 Mbit/s */
    for (unsigned i = 0; i < got; i++)
        cr_assert_eq(times[i], (i + 1) * 819200ull);
    unlink_all();
}

Test(fault, black_hole) {
    link_with("mtu=1400");
    build_udp(&a, 4, 1400 - 28, false);
    tx_flat(bad, &a, 0);
    build_udp(&a, 4, 1401 - 28, false);
    tx_flat(bad, &a, 0);
    cr_assert_eq(netio_memwire_pending(far), 1u);
    cr_assert_eq(count(FAULT_TX)->too_big, 1u);
    unlink_all();
}

Test(fault, superframes_are_cut_first) {
    link_with("delay=1ms");
    build_tcp(&a, 4, 1, 0x18, 14480, true);
    a.meta.gso = NETIO_GSO_TCP4, a.meta.gso_size = 1448;
    tx_flat(bad, &a, 0);
    tx_flat(far, &a, 0);
    cr_assert_eq(count(FAULT_TX)->seen, 10u);
    cr_assert_eq(rx_flat(bad, &b, 0), 0);
    cr_assert_eq(count(FAULT_RX)->seen, 10u);
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(rx_flat(bad, &b, MS), 1);
        cr_assert_eq(b.meta.flags | b.meta.gso, 0);
        cr_assert_eq(l4_sum(&b), 0xffff);
        cr_assert_eq(rx_flat(far, &b, MS), 1);
        cr_assert_eq(rd32(b.b + ETH + 24), 1 + i * 1448u);
        cr_assert_eq(l4_sum(&b), 0xffff);
    }
    unlink_all();
}

Test(fault, superframes_pass_whole_where_nothing_is_bad) {
    link_with("loss=50%,dir=rx");
    build_tcp(&a, 4, 1, 0x18, 14480, true);
    a.meta.gso = NETIO_GSO_TCP4, a.meta.gso_size = 1448;
    tx_flat(bad, &a, 0);
    cr_assert_eq(rx_flat(far, &b, 0), 1);
    cr_assert_eq(b.len, a.len);
    cr_assert_eq(b.meta.gso_size, 1448u);
    unlink_all();
}

static const char *const everything =
    "loss=3%,burst=2,dup=2%,reorder=5%,corrupt=1%,delay=5ms,jitter=1ms,"
    "rate=20mbit,queue=50,seed=";

/* What arrives, as one number. */
static uint64_t fingerprint(const char *seed) {
    uint64_t h = 0;
    char spec[256];
    snprintf(spec, sizeof(spec), "%s%s", everything, seed);
    link_with(spec);
    got = 0;
    nstime_t end = send_train(3000, 700, MS / 4);
    run_until(end + 1000 * MS);
    for (unsigned i = 0; i < got; i++)
        h = (h ^ seqs[i] ^ times[i]) * 0x100000001b3ull;
    const struct fault_counters *c = count(FAULT_TX);
    cr_assert(c->lost && c->duplicated && c->reordered && c->corrupted &&
              c->queue_full);
    cr_assert_eq(c->seen + c->duplicated,
                 c->passed + c->lost + c->queue_full + c->too_big);
    unlink_all();
    return h;
}

Test(fault, a_seed_repeats) {
    cr_assert_eq(fingerprint("7"), fingerprint("7"));
    cr_assert_neq(fingerprint("7"), fingerprint("8"));
}

/* More frames than the wrapper's memory holds: counted, none lost silently. */
Test(fault, own_memory_is_bounded) {
    link_with("delay=1s");
    build_arp(&a, 1, 1, 2);
    for (int i = 0; i < 40000; i++)
        tx_flat(bad, &a, 0);
    cr_assert_gt(count(FAULT_TX)->no_room, 0u);
    rx_flat(bad, &b, 1000 * MS);
    cr_assert_eq(netio_memwire_pending(far) + count(FAULT_TX)->no_room, 40000u);
    unlink_all();
}

Test(fault, room_too_small) {
    uint8_t small[50];
    struct iovec iov = {small, sizeof(small)};
    struct netio_frame f = {.niov = 1, .iov = &iov};
    link_with("delay=1ms");
    build_udp(&a, 4, 100, false);
    tx_flat(far, &a, 0);
    build_arp(&a, 1, 1, 2);
    tx_flat(far, &a, 0);
    cr_assert_eq(netio_rx(bad, &f, 0), 0);
    cr_assert_eq(netio_rx(bad, &f, MS), 1);
    cr_assert_eq(f.len, 42u);
    cr_assert_eq(bad->count.rx_too_long, 1u);
    unlink_all();
}

/* ---- the text form ------------------------------------------------------- */

static struct fault_spec spec_of(const char *text) {
    struct fault_spec s;
    char err[128];
    cr_assert_eq(fault_parse(text, &s, err, sizeof(err)), 0, "%s: %s", text,
                 err);
    return s;
}

Test(fault_spec, all_keys) {
    struct fault_spec s =
        spec_of("loss=3%,burst=4,dup=1%,reorder=5%,corrupt=0.1%,delay=20ms,"
                "jitter=2ms,rate=10mbit,queue=100,mtu=1400,dir=rx,seed=7");
    double one = (double)FAULT_ONE;
    cr_assert_float_eq((double)s.loss / one, .03, 1e-6);
    cr_assert_float_eq((double)s.dup / one, .01, 1e-6);
    cr_assert_float_eq((double)s.reorder / one, .05, 1e-6);
    cr_assert_float_eq((double)s.corrupt / one, .001, 1e-6);
    cr_assert_eq(s.burst, 4u);
    cr_assert_eq(s.delay, 20 * MS);
    cr_assert_eq(s.jitter, 2 * MS);
    cr_assert_eq(s.rate, 10000000u);
    cr_assert_eq(s.queue, 100u);
    cr_assert_eq(s.mtu, 1400u);
    cr_assert_eq(s.dir, (uint32_t)FAULT_RX);
    cr_assert_eq(s.seed, 7u);
}

Test(fault_spec, units_and_defaults) {
    cr_assert_eq(spec_of("").dir, (uint32_t)(FAULT_RX | FAULT_TX));
    cr_assert_eq(spec_of("").seed, 1u);
    cr_assert_eq(spec_of("loss=100%").loss, FAULT_ONE);
    cr_assert_eq(spec_of("delay=1s").delay, 1000 * MS);
    cr_assert_eq(spec_of("delay=1.5ms").delay, 1500000u);
    cr_assert_eq(spec_of("delay=250us").delay, 250000u);
    cr_assert_eq(spec_of("delay=7ns").delay, 7u);
    cr_assert_eq(spec_of("rate=1.5gbit").rate, 1500000000u);
    cr_assert_eq(spec_of("rate=64kbit").rate, 64000u);
    cr_assert_eq(spec_of("seed=18446744073709551615").seed, UINT64_MAX);
    cr_assert_eq(spec_of("dir=tx").dir, (uint32_t)FAULT_TX);
}

Test(fault_spec, errors_say_what_and_why) {
    static const struct {
        const char *text, *error;
    } t[] = {
        {"los=3%", "los: no such fault: did you mean loss?"},
        {"delay=1ms,jiter=1ms", "jiter: no such fault: did you mean jitter?"},
        {"recorder=1%", "recorder: no such fault: did you mean reorder?"},
        {"loss", "loss=: must be a percentage, such as 3% or 0.1%"},
        {"loss=3", "loss=3: must be a percentage, such as 3% or 0.1%"},
        {"loss=%", "loss=%: must be a percentage, such as 3% or 0.1%"},
        {"loss=-1%", "loss=-1%: must be a percentage, such as 3% or 0.1%"},
        {"loss=3.%", "loss=3.%: must be a percentage, such as 3% or 0.1%"},
        {"loss=101%",
         "loss=101%: out of range for a percentage, such as 3% or 0.1%"},
        {"delay=20", "delay=20: must be a time, such as 20ms, 500us or 1s"},
        {"delay=20min",
         "delay=20min: must be a time, such as 20ms, 500us or 1s"},
        {"rate=10m", "rate=10m: must be a rate, such as 512kbit, 10mbit or "
                     "1gbit"},
        {"mtu=1400.5", "mtu=1400.5: must be a whole number"},
        {"mtu=20", "mtu=20: out of range for a whole number"},
        {"seed=18446744073709551616",
         "seed=18446744073709551616: must be a whole number"},
        {"dir=up", "dir=up: must be rx, tx or both"},
        {"loss=1%,,dup=1%",
         "nothing between two commas: write loss=3%,delay=20ms"},
        {"jitter=2ms", "jitter is more than delay: a frame cannot arrive "
                       "before it was sent: raise delay"},
        {"queue=5", "queue without rate does nothing: add rate=10mbit"},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct fault_spec s;
        char err[128];
        cr_expect_lt(fault_parse(t[i].text, &s, err, sizeof(err)), 0, "%s",
                     t[i].text);
        cr_expect_str_eq(err, t[i].error);
    }
}

Test(fault_spec, error_is_cut_to_its_buffer) {
    struct fault_spec s;
    char err[8] = "xxxxxxx";
    cr_assert_lt(fault_parse("nonsense=1", &s, err, sizeof(err)), 0);
    cr_assert_str_eq(err, "nonsens");
}
