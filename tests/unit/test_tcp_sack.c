/* The scoreboard (sack.c) against a flat model, and RACK on it. */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp/board.h"
#include "tests/traffic/lib_one.h"

#define START 0xfffff000u /* numbers wrap in the middle of every test */
#define SPAN 8192u
#define MSS 100u

static struct one o;
static struct tcp_sock *tp;

/* n bytes leave now. */
static void send(uint32_t n) {
    tcp_board_sent(o.st, tp, tp->snd_nxt + n);
    tp->snd_nxt += n;
}

static void setup(void) {
    one_open(&o, 4u << 20);
    tp = tcp_of(sock_new(o.st, SOCK_TCP, 4, 6));
    tp->snd_una = tp->snd_nxt = START;
    tp->sack_ok = true;
    tp->mss_base = MSS;
    cr_assert_null(tp->board, "an idle connection has no scoreboard");
    send(SPAN);
}
static void teardown(void) {
    tcp_board_free(o.st, tp);
    sock_free(o.st, &tp->so);
    one_close(&o);
}
TestSuite(tcp_sack, .init = setup, .fini = teardown);

/* An ACK at una that reports [l, r); bytes newly known. */
static uint32_t report(uint32_t l, uint32_t r) {
    struct tcp_seg seg = {.h.ack = tp->snd_una,
                          .o = {.n_sack = 1, .sack = {{START + l, START + r}}}};
    struct tcp_news news = {.fack = tcp_board_highest(tp)};
    return tcp_board_update(o.st, tp, &seg, &news);
}

/* Everything up to una is acknowledged; bytes that are news. */
static uint32_t acknowledge(uint32_t una) {
    struct tcp_news news = {.fack = tcp_board_highest(tp)};
    tp->snd_una = START + una;
    tcp_board_ack(o.st, tp, &news);
    return news.delivered;
}

/* What the board must never be. */
static void check(void) {
    const struct tcp_board *b = tp->board;
    uint32_t sacked = 0, lost = 0;
    cr_assert_eq(b->start, tp->snd_una);
    cr_assert_eq(b->r[b->n - 1].end, tp->snd_nxt);
    for (uint32_t i = b->gone; i < b->n; i++) {
        cr_assert(seq_lt(sent_start(b, i), b->r[i].end), "empty or backwards");
        sacked += b->r[i].flags & SENT_SACKED ? sent_len(b, i) : 0;
        lost += b->r[i].flags & SENT_LOST ? sent_len(b, i) : 0;
        cr_assert_neq(b->r[i].flags & 3, 3, "lost and here");
    }
    cr_assert_eq(sacked, b->sacked);
    cr_assert_eq(lost, b->lost);
}

/* Bytes of [l, r) that nobody has reported. */
static uint32_t unsacked(uint32_t l, uint32_t r) {
    uint32_t sum = 0;
    const struct tcp_board *b = tp->board;
    for (uint32_t i = b->gone; i < b->n; i++) {
        seq_t lo = seq_max(START + l, sent_start(b, i));
        seq_t hi = seq_min(START + r, b->r[i].end);
        if (!(b->r[i].flags & SENT_SACKED) && seq_lt(lo, hi))
            sum += hi - lo;
    }
    return sum;
}

Test(tcp_sack, nothing_known) {
    seq_t lo, hi;
    cr_assert_eq(tcp_board_bytes(tp), 0);
    cr_assert_eq(tcp_board_lost(tp), 0);
    cr_assert_eq(tcp_board_highest(tp), START);
    cr_assert_not(tcp_board_hole(tp, &lo, &hi));
    cr_assert_eq(acknowledge(SPAN), SPAN);
    cr_assert_null(tp->board, "nor has one with nothing in flight");
}

Test(tcp_sack, merges) {
    cr_assert_eq(report(100, 200), 100);
    cr_assert_eq(report(300, 400), 100);
    cr_assert_eq(report(100, 200), 0, "known");
    cr_assert_eq(report(150, 350), 100, "only the gap");
    cr_assert_eq(report(400, 450), 50, "touching");
    cr_assert_eq(tcp_board_bytes(tp), 350);
    cr_assert_eq(tcp_board_highest(tp), START + 450);
    cr_assert_eq(unsacked(0, 500), 150);
}

/* What lies outside [snd_una, snd_nxt), or backwards, is no report. */
Test(tcp_sack, refuses) {
    cr_assert_eq(report(200, 100), 0);
    cr_assert_eq(report(100, 100), 0);
    cr_assert_eq(report(100, SPAN + 1), 0);
    cr_assert_eq(o.st->sh->count.tcp_sack_invalid, 3);
    cr_assert_eq(tp->board->n, 1);
    cr_assert_eq(report(0, SPAN), SPAN);
}

/* RFC 2883: below the ACK, or inside the second block. */
Test(tcp_sack, dsack) {
    acknowledge(500);
    tp->undo_una = START;
    tp->high_rxt = START + 500;
    tp->undo_bytes = 100;
    tp->total_retrans = 4;
    cr_assert_eq(report(300, 400), 0);
    cr_assert(tp->dsack_seen);
    cr_assert_eq(tp->undo_bytes, 0);
    struct tcp_seg seg = {.h.ack = tp->snd_una,
                          .o = {.n_sack = 2,
                                .sack = {{START + 700, START + 800},
                                         {START + 600, START + 900}}}};
    tp->dsack_seen = false;
    struct tcp_news news = {0};
    cr_assert_eq(tcp_board_update(o.st, tp, &seg, &news), 300);
    cr_assert(tp->dsack_seen);
    cr_assert_eq(tp->undo_bytes, 0, "not of this recovery");
}

Test(tcp_sack, holes) {
    seq_t lo, hi;
    report(100, 200);
    report(300, 400);
    tcp_board_mark_lost(o.st, tp, START + 350);
    check();
    cr_assert_eq(tcp_board_lost(tp), 200);
    cr_assert(tcp_board_hole(tp, &lo, &hi));
    cr_assert(lo == START && hi == START + 100);
    tcp_board_resent(o.st, tp, START, START + 60); /* not all of it */
    cr_assert(tcp_board_hole(tp, &lo, &hi));
    cr_assert(lo == START + 60 && hi == START + 100);
    tcp_board_resent(o.st, tp, lo, hi);
    cr_assert(tcp_board_hole(tp, &lo, &hi));
    cr_assert(lo == START + 200 && hi == START + 300);
    tcp_board_resent(o.st, tp, lo, hi);
    cr_assert_not(tcp_board_hole(tp, &lo, &hi));
    cr_assert_eq(tcp_board_again(tp), 200);
    cr_assert_eq(report(0, 100), 100);
    cr_assert_eq(tcp_board_again(tp), 100);
    check();
}

/* What arrived is not lost any more; forgetting takes all marks away. */
Test(tcp_sack, late) {
    tcp_board_mark_lost(o.st, tp, START + 1000);
    cr_assert_eq(report(400, 600), 200);
    cr_assert_eq(tcp_board_lost(tp), 800);
    check();
    cr_assert_eq(acknowledge(500), 400);
    cr_assert_eq(tcp_board_lost(tp), 400);
    check();
    tcp_board_forget(tp, true);
    cr_assert_eq(tcp_board_lost(tp) + tcp_board_bytes(tp), 0);
    check();
}

/* ---- RACK ---------------------------------------------------------------- */

/* Ten segments, 1 ms apart, of which the first ones arrive 20 ms later. */
static void ten(void) {
    acknowledge(SPAN);
    for (int i = 0; i < 10; i++) {
        send(MSS);
        o.st->now += MSEC;
    }
    o.st->now += 10 * MSEC;
    tp->min_rtt = 20000;
    tp->srtt8 = 20000 * 8;
}
#define AT(n) (SPAN + (n)*MSS)

/* Segment 1 of 0, 1, 2 arrives alone: 0 is lost a quarter of the round trip
 * after it should have come (RFC 8985 section 6.2 step 5). */
Test(tcp_sack, rack_window) {
    uint32_t wait;
    ten();
    o.st->now += 1 * MSEC; /* segment 1's round trip is 20 ms now */
    report(AT(1), AT(2));
    cr_assert_eq(tcp_rack_detect(o.st, tp, &wait), 0);
    cr_assert_eq(wait, 4000, "sent 1 ms before: 5 ms - 1 ms, not %u", wait);
    o.st->now += 4 * MSEC;
    cr_assert_eq(tcp_rack_detect(o.st, tp, &wait), MSS);
    cr_assert_eq(wait, 0);
    check();
}

/* Three segments above, and no reordering known: at once; with it, not. */
Test(tcp_sack, rack_threshold) {
    uint32_t wait;
    ten();
    o.st->now += 3 * MSEC;
    report(AT(1), AT(4));
    tp->reordering_seen = true;
    cr_assert_eq(tcp_rack_detect(o.st, tp, &wait), 0);
    cr_assert_gt(wait, 0);
    tp->reordering_seen = false;
    cr_assert_eq(tcp_rack_detect(o.st, tp, &wait), MSS);
    check();
}

/* D-SACKs widen the window up to SRTT; 16 recoveries without make it small. */
Test(tcp_sack, rack_adapts) {
    uint32_t wait, last = 0;
    ten();
    o.st->now += MSEC;
    report(AT(1), AT(2));
    for (int i = 0; i < 6; i++) {
        tcp_rack_detect(o.st, tp, &wait);
        cr_assert(wait > last || wait == 19000, "%u after %u", wait, last);
        last = wait;
        tp->dsack_seen = true;
        tp->dsack_round_set = false; /* a round trip later */
        tcp_rack_dsack(tp);
        tcp_rack_dsack(tp); /* once in it */
        cr_assert_eq(tp->reo_more, i + 1);
    }
    cr_assert_eq(last, 19000, "SRTT, 1 ms ago");
    for (int i = 0; i < 16; i++)
        tcp_rack_recovered(tp);
    tcp_rack_detect(o.st, tp, &wait);
    cr_assert_eq(wait, 4000);
}

/* A retransmission that was overtaken by later data is lost again; one whose
 * ACK may be the original's says nothing (section 6.2 step 2). */
Test(tcp_sack, rack_retransmission) {
    uint32_t wait;
    tp->ca_state = TCP_CA_RECOVERY;
    ten();
    tcp_board_mark_lost(o.st, tp, START + AT(2));
    tcp_board_resent(o.st, tp, START + AT(0), START + AT(2));
    o.st->now += 5 * MSEC;
    send(MSS);
    report(AT(1), AT(2)); /* after 5 of 20 ms: the original */
    cr_assert_eq(tcp_rack_detect(o.st, tp, &wait), 0);
    o.st->now += 20 * MSEC;
    report(AT(10), AT(11)); /* the new data */
    cr_assert_eq(tcp_rack_detect(o.st, tp, &wait), 9 * MSS);
    cr_assert_eq(o.st->sh->count.tcp_lost_again, 1);
    check();
}

/* Upon a time-out, what has just been sent is not lost (section 6.3). */
Test(tcp_sack, rack_time_out) {
    ten();
    o.st->now += 300 * MSEC;
    send(MSS);
    tcp_rack_timeout(o.st, tp);
    cr_assert_eq(tcp_board_lost(tp), 10 * MSS);
    check();
}

/* ---- the board's own life ------------------------------------------------- */

Test(tcp_sack, ack_forgets) {
    report(100, 200);
    report(300, 400);
    cr_assert_eq(acknowledge(350), 200, "the rest was known");
    cr_assert_eq(tcp_board_bytes(tp), 50);
    cr_assert(tcp_board_reneged(tp), "snd_una is said to have arrived");
    acknowledge(400);
    cr_assert_not(tcp_board_reneged(tp));
    check();
}

/* More islands than the board holds: no harm, no growth without end. */
Test(tcp_sack, bounded) {
    send(100000 - SPAN);
    for (uint32_t i = 0; i < 40000; i += 2)
        report(i + 1, i + 2);
    cr_assert_gt(o.st->sh->count.tcp_sack_full, 0);
    cr_assert_leq(tcp_board_bytes(tp), 2048);
    check();
    cr_assert_leq(o.st->sh->heap.used, 1u << 20);
}

/* Ten thousand random reports and ACKs against an array of flags. */
Test(tcp_sack, model) {
    static bool have[SPAN];
    uint32_t una = 0;
    srand(5);
    for (int n = 0; n < 10000; n++) {
        uint32_t l = una + 1 + (uint32_t)rand() % 600;
        uint32_t r = l + 1 + (uint32_t)rand() % 90, fresh = 0;
        if (r >= SPAN)
            break;
        for (uint32_t i = l; i < r; i++) {
            fresh += !have[i];
            have[i] = true;
        }
        cr_assert_eq(report(l, r), fresh);
        if (rand() % 8 == 0) {
            una += (uint32_t)rand() % 20;
            while (have[una])
                una++;
            acknowledge(una);
            check();
        }
        uint32_t a = una + (uint32_t)rand() % 400, b = a + 300, miss = 0;
        for (uint32_t i = a; i < b && i < SPAN; i++)
            miss += !have[i];
        if (b < SPAN)
            cr_assert_eq(unsacked(a, b), miss);
    }
    cr_assert_gt(una, 1000);
}
