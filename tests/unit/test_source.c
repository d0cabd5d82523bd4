/* Watches: who is woken, how often, and what becomes of them. */
#include <string.h>

#include "stack/source.h"
#include "tests/traffic/lib_one.h"

static struct one o;
static struct sock *u;
/* The layer above keeps these in the arena. */
static struct waiter *wt;
static struct watch *w;

static void setup(void) {
    one_open(&o, 16u << 20);
    u = one_udp(&o, 4);
    struct endpoint at = one_at("", 7);
    cr_assert_eq(stack_bind(o.st, u, &at), 0);
    wt = stack_alloc(o.st, 8 * sizeof(*wt));
    w = stack_alloc(o.st, 8 * sizeof(*w));
}
static void teardown(void) { one_close(&o); }
TestSuite(source, .init = setup, .fini = teardown);

static void watch(int i, struct source *src, uint32_t events, int waiter) {
    w[i] = (struct watch){.events = events, .kind = WATCH_WAITER};
    w[i].owner = &wt[waiter];
    stack_watch_add(src, &w[i]);
}

Test(source, only_what_is_asked_for) {
    watch(0, &u->src, STACK_IN, 0);
    watch(1, &u->src, STACK_OUT, 1);
    sock_event(o.st, u, STACK_IN);
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    cr_assert_null(stack_next_wake(o.st));
    cr_assert_eq(wt[0].fired, STACK_IN);
    cr_assert_eq(wt[1].fired, 0);
    sock_event(o.st, u, STACK_ERR);
    cr_assert_eq(wt[1].fired, STACK_ERR, "ERR comes unasked");
    cr_assert_eq(wt[0].fired, STACK_IN | STACK_ERR);
}

Test(source, once_per_firing) {
    watch(0, &u->src, STACK_IN | STACK_OUT, 0);
    sock_event(o.st, u, STACK_IN);
    sock_event(o.st, u, STACK_OUT);
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    sock_event(o.st, u, STACK_IN);
    cr_assert_null(stack_next_wake(o.st), "it was told already");
    cr_assert_eq(wt[0].fired, STACK_IN | STACK_OUT);
    wt[0].fired = 0;
    sock_event(o.st, u, STACK_IN);
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
}

Test(source, first_come_first_woken) {
    for (int i = 0; i < 4; i++)
        watch(i, &u->src, STACK_IN, i);
    sock_event(o.st, u, STACK_IN);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(stack_next_wake(o.st), &wt[i]);
    cr_assert_null(stack_next_wake(o.st));
}

Test(source, datagram_wakes_its_reader) {
    watch(0, &u->src, STACK_IN, 0);
    one_give(&o, u, 'x');
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    cr_assert(stack_ready(o.st, u) & STACK_IN);
    cr_assert_eq(one_take(&o, u), 'x');
    cr_assert(!(stack_ready(o.st, u) & STACK_IN));
}

Test(source, removed_watch_is_silent) {
    watch(0, &u->src, STACK_IN, 0);
    stack_watch_del(&w[0]);
    stack_watch_del(&w[0]); /* harmless */
    sock_event(o.st, u, STACK_IN);
    cr_assert_null(stack_next_wake(o.st));
}

Test(source, kick_wakes_everybody) {
    watch(0, &u->src, STACK_IN, 0);
    watch(1, &u->src, STACK_PRI, 1);
    stack_source_kick(o.st, &u->src, STACK_OUT);
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    cr_assert_eq(stack_next_wake(o.st), &wt[1]);
}

Test(source, close_wakes_and_forgets) {
    watch(0, &u->src, STACK_IN, 0);
    stack_close(o.st, u);
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    cr_assert(wt[0].fired & STACK_HUP);
    stack_watch_del(&w[0]); /* its owner does not know yet */
}

Test(source, exclusive_waiters_take_turns) {
    for (int i = 0; i < 3; i++)
        watch(i, &u->src, STACK_IN | STACK_EXCLUSIVE, i);
    watch(3, &u->src, STACK_IN, 3);
    for (int i = 0; i < 3; i++) {
        sock_event(o.st, u, STACK_IN);
        if (i == 0)
            cr_assert_eq(stack_next_wake(o.st), &wt[3], "all others first");
        cr_assert_eq(stack_next_wake(o.st), &wt[i]);
        cr_assert_null(stack_next_wake(o.st));
    }
    sock_event(o.st, u, STACK_IN);
    cr_assert_null(stack_next_wake(o.st), "all are awake");
    wt[1].fired = 0;
    sock_event(o.st, u, STACK_IN);
    cr_assert_eq(stack_next_wake(o.st), &wt[1], "the one that sleeps");
}
