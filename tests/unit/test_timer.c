/* The timing wheel, compiled into this test so that handlers are ours. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#define arp_timer on_arp
#define frag_timer on_frag
#define tcp_timer on_tcp
#include "stack/timer.c" /* its own symbols win over the library's */

#define MS 1000000ull
#define SEC 1000000000ull
#define TICK ((nstime_t)1 << TICK_SHIFT)

static struct shared sh;
static struct stack st;
static struct timer t[4000];

/* What fired, in order. */
static struct timer *fired[8000];
static nstime_t was_due[4000];
static unsigned n_fired;
static struct timer *rearm, *victim;
static unsigned arp_calls, frag_calls;

void on_tcp(struct stack *s, struct timer *x) {
    cr_assert(!timer_armed(x), "stopped before its handler runs");
    fired[n_fired++] = x;
    if (rearm)
        timer_arm(s, rearm, TIMER_TCP_RTX, s->now - 5);
    if (victim)
        timer_stop(s, victim);
}
void on_arp(struct stack *s, struct timer *x) { arp_calls++; }
void on_frag(struct stack *s, struct timer *x) { frag_calls++; }

static void setup(void) {
    memset(&sh, 0, sizeof(sh));
    memset(&st, 0, sizeof(st));
    memset(t, 0, sizeof(t));
    n_fired = arp_calls = frag_calls = 0;
    rearm = victim = NULL;
    st.sh = &sh;
    st.now = 77 * SEC + 12345;
    timer_init(&sh.timers, st.now);
}
TestSuite(timer, .init = setup);

static void at(struct timer *x, nstime_t due) {
    timer_arm(&st, x, TIMER_TCP_RTX, due);
}

static void run_at(nstime_t now) {
    st.now = now;
    timer_run(&st);
}

Test(timer, never_early_never_late) {
    const nstime_t delays[] = {1,          999,         MS,
                               40 * MS,    67 * MS,     200 * MS,
                               SEC,        4 * SEC,     5 * SEC,
                               60 * SEC,   274 * SEC,   275 * SEC,
                               7200 * SEC, 86400 * SEC, 20 * 86400 * SEC};
    for (unsigned i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        nstime_t due = st.now + delays[i];
        at(&t[0], due);
        cr_assert_eq(timer_next(&st), due, "delay %u", i);
        run_at(due - 1);
        cr_assert(timer_armed(&t[0]), "early: delay %u", i);
        run_at(due);
        cr_assert(!timer_armed(&t[0]), "late: delay %u", i);
        cr_assert_eq(timer_next(&st), NSTIME_NEVER);
    }
    cr_assert_eq(n_fired, sizeof(delays) / sizeof(delays[0]));
}

/* A caller that sleeps until timer_next wakes a bounded number of times, and
 * never in vain while nothing changes. */
Test(timer, sleeping_until_next_is_enough) {
    nstime_t due = st.now + 7200 * SEC + 12345678;
    at(&t[0], due);
    unsigned wakes = 0;
    while (timer_armed(&t[0])) {
        nstime_t next = timer_next(&st);
        cr_assert_leq(next, due);
        cr_assert_gt(next, st.now, "no spinning");
        run_at(next);
        wakes++;
    }
    cr_assert_eq(st.now, due);
    cr_assert_eq(wakes, 1);
}

/* A stopped earlier timer may cause wake-ups in vain, but only a few. */
Test(timer, stale_hints_fade) {
    nstime_t due = st.now + 60 * SEC;
    for (unsigned i = 1; i < 1000; i++)
        at(&t[i], due - 5 * SEC + i * MS);
    at(&t[0], due);
    for (unsigned i = 1; i < 1000; i++)
        timer_stop(&st, &t[i]);
    unsigned wakes = 0;
    while (timer_armed(&t[0])) {
        nstime_t next = timer_next(&st);
        cr_assert_gt(next, st.now);
        run_at(next);
        wakes++;
    }
    cr_assert_eq(st.now, due);
    cr_assert_lt(wakes, 6, "%u", wakes);
}

static int by_due(const void *a, const void *b) {
    nstime_t x = *(const nstime_t *)a, y = *(const nstime_t *)b;
    return x < y ? -1 : x > y;
}

Test(timer, fires_in_order_of_time) {
    static nstime_t want[4000];
    srand(5);
    for (unsigned i = 0; i < 4000; i++) {
        nstime_t span = i % 3 ? 3 * MS : 400 * MS;
        was_due[i] = st.now + 1 + (nstime_t)rand() % span;
        want[i] = was_due[i];
        at(&t[i], was_due[i]);
    }
    qsort(want, 4000, sizeof(want[0]), by_due);
    run_at(st.now + SEC);
    cr_assert_eq(n_fired, 4000);
    for (unsigned i = 0; i < 4000; i++)
        cr_assert_eq(was_due[fired[i] - t], want[i], "place %u", i);
    cr_assert_eq(sh.timers.armed, 0);
}

/* Random arming, re-arming, stopping and passing of time against a plain
 * table. */
Test(timer, random_traffic_against_a_table) {
    enum { N = 300 };
    static nstime_t due[N];
    memset(due, 0, sizeof(due));
    srand(9);
    for (int step = 0; step < 100000; step++) {
        unsigned i = (unsigned)rand() % N;
        switch (rand() % 4) {
        case 0:
        case 1: {
            nstime_t d = (nstime_t)rand() << (rand() % 16);
            due[i] = st.now + 1 + d % (rand() % 10 ? SEC : 40000 * SEC);
            at(&t[i], due[i]);
            break;
        }
        case 2:
            timer_stop(&st, &t[i]);
            due[i] = 0;
            break;
        default:
            n_fired = 0;
            run_at(st.now +
                   (nstime_t)rand() % (rand() % 50 ? 5 * MS : 90 * SEC));
            for (unsigned k = 0; k < n_fired; k++) {
                unsigned j = (unsigned)(fired[k] - t);
                cr_assert(due[j] && due[j] <= st.now, "step %d", step);
                due[j] = 0;
            }
        }
        if (step % 16)
            continue;
        nstime_t soonest = NSTIME_NEVER;
        for (unsigned j = 0; j < N; j++) {
            cr_assert_eq(timer_armed(&t[j]), due[j] != 0);
            if (due[j])
                cr_assert_gt(due[j], st.now, "nothing due is left");
            if (due[j] && due[j] < soonest)
                soonest = due[j];
        }
        cr_assert_leq(timer_next(&st), soonest, "step %d", step);
        if (soonest == NSTIME_NEVER)
            cr_assert_eq(timer_next(&st), NSTIME_NEVER);
    }
}

/* After a run nothing that is due is left. */
Test(timer, nothing_due_stays) {
    srand(13);
    for (int round = 0; round < 3000; round++) {
        for (unsigned i = 0; i < 20; i++) {
            nstime_t far = (nstime_t)1 << (10 + rand() % 34);
            at(&t[i], st.now + 1 + ((nstime_t)rand() << 14) % far);
        }
        run_at(st.now + ((nstime_t)rand() << 12) % ((nstime_t)1 << 43));
        for (unsigned i = 0; i < 20; i++)
            if (timer_armed(&t[i]))
                cr_assert_gt(t[i].due, st.now, "round %d", round);
        n_fired = 0;
    }
}

Test(timer, handlers_may_arm_and_stop) {
    at(&t[0], st.now + 1);
    at(&t[1], st.now + 2);
    at(&t[2], st.now + 3);
    victim = &t[1];
    rearm = &t[3];
    run_at(st.now + 10 * MS);
    cr_assert_eq(n_fired, 2, "t[1] was stopped by the handler of t[0]");
    cr_assert(timer_armed(&t[3]), "armed in the past: waits for the next run");
    cr_assert_leq(timer_next(&st), st.now);
    rearm = victim = NULL;
    run_at(st.now);
    cr_assert_eq(n_fired, 3);
    cr_assert_eq(sh.timers.armed, 0);
}

Test(timer, rearming_moves) {
    at(&t[0], st.now + SEC);
    at(&t[0], st.now + 2 * SEC);
    cr_assert_eq(sh.timers.armed, 1);
    run_at(st.now + SEC);
    cr_assert_eq(n_fired, 0);
    at(&t[0], st.now + MS);
    run_at(st.now + MS);
    cr_assert_eq(n_fired, 1);
    timer_stop(&st, &t[0]);
    timer_stop(&st, &t[1]);
    cr_assert_eq(sh.timers.armed, 0);
}

Test(timer, each_kind_has_its_handler) {
    timer_arm(&st, &t[0], TIMER_ARP, st.now + 1);
    timer_arm(&st, &t[1], TIMER_FRAG, st.now + 1);
    timer_arm(&st, &t[2], TIMER_TCP_WAIT, st.now + 1);
    run_at(st.now + 1);
    cr_assert_eq(arp_calls, 1);
    cr_assert_eq(frag_calls, 1);
    cr_assert_eq(n_fired, 1);
}

/* The wheel sleeps for years when nothing is armed. */
Test(timer, long_sleep) {
    st.now += 400 * 86400 * SEC;
    at(&t[0], st.now + 3 * MS);
    run_at(st.now + 3 * MS - 1);
    cr_assert_eq(n_fired, 0);
    run_at(st.now + 1);
    cr_assert_eq(n_fired, 1);
}
