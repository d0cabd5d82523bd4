/* The small deciders: RTT estimator, congestion control, sequence numbers,
 * ISN. */
#include "stack/tcp/cc.h"
#include "tests/traffic/lib_one.h"

#define MSS 1000u

/* RFC 6298 section 2 by hand: first sample, then the filters. */
Test(tcp_math, rtt_estimator) {
    struct tcp_sock tp = {.rto = TCP_RTO_INIT_US};
    tcp_rtt_sample(&tp, 100000);
    cr_assert_eq(tp.srtt8 >> 3, 100000);
    cr_assert_eq(tp.rttvar4 >> 2, 50000);
    cr_assert_eq(tp.rto, 300000);
    tcp_rtt_sample(&tp, 180000);
    cr_assert_eq(tp.srtt8 >> 3, 110000, "7/8 of the old, 1/8 of the new");
    cr_assert_eq(tp.rttvar4 >> 2, 57500, "3/4 of 50, 1/4 of 80");
    cr_assert_eq(tp.rto, 340000);
    cr_assert_eq(tp.min_rtt, 100000);
}

/* Linux's floor: SRTT + 200 ms at least; 120 s at most. */
Test(tcp_math, rto_bounds) {
    struct tcp_sock tp = {0};
    for (int i = 0; i < 100; i++)
        tcp_rtt_sample(&tp, 50);
    cr_assert_eq(tp.rto, 200050);
    tcp_rtt_sample(&tp, UINT32_MAX);
    cr_assert_eq(tp.rto, TCP_RTO_MAX_US);
    tp.backoff = 20;
    cr_assert_eq(tcp_rto_ns(&tp), 120 * SEC);
}

/* It converges within 10 % from far away. */
Test(tcp_math, rtt_converges) {
    struct tcp_sock tp = {0};
    tcp_rtt_sample(&tp, 500000);
    for (int i = 0; i < 40; i++)
        tcp_rtt_sample(&tp, 20000);
    cr_assert(tp.srtt8 / 8 < 24000 && tp.srtt8 / 8 >= 20000);
}

Test(tcp_math, slow_start) {
    struct tcp_sock tp = {.cwnd = 10 * MSS, .ssthresh = 25 * MSS};
    tcp_cc(&tp)->init(NULL, &tp);
    tcp_cc(&tp)->acked(&tp, 10 * MSS, MSS, 0);
    cr_assert_eq(tp.cwnd, 20 * MSS);
    /* across the threshold: 5 in slow start, the rest counts for avoidance */
    tcp_cc(&tp)->acked(&tp, 20 * MSS, MSS, 0);
    cr_assert_eq(tp.cwnd, 25 * MSS);
    cr_assert_eq(tp.cwnd_acc, 15 * MSS);
}

/* One segment for each window acknowledged (RFC 5681 section 3.1). */
Test(tcp_math, congestion_avoidance) {
    struct tcp_sock tp = {.cwnd = 10 * MSS, .ssthresh = 10 * MSS};
    for (int i = 0; i < 9; i++)
        tcp_cc(&tp)->acked(&tp, MSS, MSS, 0);
    cr_assert_eq(tp.cwnd, 10 * MSS);
    tcp_cc(&tp)->acked(&tp, MSS, MSS, 0);
    cr_assert_eq(tp.cwnd, 11 * MSS);
    tcp_cc(&tp)->acked(&tp, 11 * MSS, MSS, 0);
    cr_assert_eq(tp.cwnd, 12 * MSS);
}

Test(tcp_math, ssthresh) {
    struct tcp_sock tp = {0};
    cr_assert_eq(tcp_cc(&tp)->ssthresh(&tp, 40 * MSS, MSS), 20 * MSS);
    cr_assert_eq(tcp_cc(&tp)->ssthresh(&tp, MSS, MSS), 2 * MSS);
}

/* No window ever wraps. */
Test(tcp_math, cwnd_is_bounded) {
    struct tcp_sock tp = {.cwnd = 0x3ffffff0, .ssthresh = UINT32_MAX};
    for (int i = 0; i < 10; i++)
        tcp_cc(&tp)->acked(&tp, 0x7fffffff, MSS, 0);
    cr_assert_leq(tp.cwnd, 0x40000000u);
}

Test(tcp_math, sequence_numbers) {
    cr_assert(seq_lt(0xfffffff0u, 5) && seq_gt(5, 0xfffffff0u));
    cr_assert(seq_leq(7, 7) && seq_geq(7, 7) && !seq_lt(7, 7));
    cr_assert(seq_in_window(3, 0xfffffffeu, 10));
    cr_assert_not(seq_in_window(8, 0xfffffffeu, 10));
    cr_assert_not(seq_in_window(0, 0, 0));
    cr_assert_eq(seq_max(0xfffffff0u, 5), 5);
    cr_assert_eq(seq_min(0xfffffff0u, 5), 0xfffffff0u);
}

/* RFC 6528: the same tuple's number grows by one each 4 us; tuples differ. */
Test(tcp_math, isn) {
    struct one o;
    one_open(&o, 4u << 20);
    struct endpoint a = {.ip = ip_from_v4(0xc6120001), .port = 80}, b = a;
    b.ip = ip_from_v4(0xc6120002);
    seq_t first = tcp_isn(o.st, &a, &b);
    uint64_t ticks = o.st->now / 4096;
    o.st->now += SEC;
    cr_assert_eq(tcp_isn(o.st, &a, &b) - first, o.st->now / 4096 - ticks);
    seq_t one_port_on = (a.port = 81, tcp_isn(o.st, &a, &b));
    cr_assert_gt((one_port_on - first) % 0xfff00000u, 0x1000u);
    cr_assert_neq(tcp_ts_offset(o.st, &a.ip, &b.ip),
                  tcp_ts_offset(o.st, &b.ip, &a.ip));
    one_close(&o);
}

/* A TIME-WAIT is small, and so is an idle connection. */
Test(tcp_math, sizes) {
    cr_assert_leq(mem_good_size(sizeof(struct tcp_sock)), 1024);
    cr_assert_leq(mem_good_size(tcp_tw_proto.size), 288);
}
