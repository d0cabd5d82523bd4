/* Poll sets: level, edge, one-shot, exclusive, nested, and the end of what
 * they watch; as epoll(7) says. */
#include <errno.h>
#include <string.h>

#include "stack/pollset.h"
#include "tests/traffic/lib_one.h"

#define IN STACK_IN
#define OUT STACK_OUT
#define ET STACK_ET

static struct one o;
static struct sock *u[4];
static struct pollset *ps;
static struct stack_pollev ev[8];
static size_t idle;

static void setup(void) {
    one_open(&o, 16u << 20);
    for (uint16_t i = 0; i < 4; i++) {
        struct endpoint at = one_at("", (uint16_t)(7 + i));
        u[i] = one_udp(&o, 4);
        cr_assert_eq(stack_bind(o.st, u[i], &at), 0);
    }
    idle = o.st->sh->heap.used;
    ps = stack_pollset_new(o.st);
    cr_assert_not_null(ps);
    memset(ev, 0, sizeof(ev));
}
static void teardown(void) { one_close(&o); }
TestSuite(pollset, .init = setup, .fini = teardown);

static int ctl(enum stack_ctl op, int i, uint32_t events) {
    return stack_pollset_ctl(o.st, ps, op, (uint32_t)i, &u[i]->src, events,
                             (uint64_t)(100 + i));
}
static int add(int i, uint32_t events) { return ctl(STACK_CTL_ADD, i, events); }
static int collect(int max) { return stack_pollset_collect(o.st, ps, ev, max); }

Test(pollset, names) {
    cr_assert_eq(add(0, IN), 0);
    cr_assert_eq(add(0, IN), -EEXIST);
    cr_assert_eq(ctl(STACK_CTL_MOD, 1, IN), -ENOENT);
    cr_assert_eq(ctl(STACK_CTL_DEL, 1, IN), -ENOENT);
    /* the same socket under another number: dup(2) */
    cr_assert_eq(stack_pollset_ctl(o.st, ps, STACK_CTL_ADD, 9, &u[0]->src, IN,
                                   109),
                 0);
    cr_assert_eq(stack_pollset_count(ps), 2);
    one_give(&o, u[0], 'a');
    cr_assert_eq(collect(8), 2);
    cr_assert_eq(ev[0].data + ev[1].data, 209);
    cr_assert_eq(ctl(STACK_CTL_DEL, 0, 0), 0);
    cr_assert_eq(collect(8), 1);
    cr_assert_eq(ev[0].data, 109);
}

Test(pollset, level) {
    add(0, IN);
    cr_assert_eq(collect(8), 0);
    cr_assert(!stack_pollset_ready(o.st, ps));
    one_give(&o, u[0], 'a');
    for (int i = 0; i < 3; i++) {
        cr_assert(stack_pollset_ready(o.st, ps));
        cr_assert_eq(collect(8), 1, "as long as it is there");
        cr_assert_eq(ev[0].events, IN);
        cr_assert_eq(ev[0].data, 100);
    }
    one_take(&o, u[0]);
    cr_assert(!stack_pollset_ready(o.st, ps));
    cr_assert_eq(collect(8), 0);
    one_give(&o, u[0], 'b');
    cr_assert_eq(collect(8), 1);
}

Test(pollset, edge) {
    add(0, IN | ET);
    one_give(&o, u[0], 'a');
    cr_assert_eq(collect(8), 1);
    cr_assert_eq(collect(8), 0, "told once");
    one_give(&o, u[0], 'b');
    cr_assert_eq(collect(8), 1, "new data, although some was there");
    one_give(&o, u[0], 'c');
    one_take(&o, u[0]), one_take(&o, u[0]), one_take(&o, u[0]);
    cr_assert_eq(collect(8), 0, "nothing left to report");
}

Test(pollset, edge_reports_the_whole_level) {
    add(0, IN | OUT | ET);
    cr_assert_eq(collect(8), 1);
    cr_assert_eq(ev[0].events, OUT);
    one_give(&o, u[0], 'a');
    cr_assert_eq(collect(8), 1);
    cr_assert_eq(ev[0].events, IN | OUT);
}

Test(pollset, oneshot) {
    add(0, IN | STACK_ONESHOT);
    one_give(&o, u[0], 'a');
    cr_assert_eq(collect(8), 1);
    one_give(&o, u[0], 'b');
    cr_assert_eq(collect(8), 0, "disarmed");
    cr_assert(!stack_pollset_ready(o.st, ps));
    cr_assert_eq(ctl(STACK_CTL_MOD, 0, IN | STACK_ONESHOT), 0);
    cr_assert_eq(collect(8), 1, "armed again, and ready already");
    cr_assert_eq(collect(8), 0);
}

Test(pollset, add_and_mod_of_what_is_ready) {
    one_give(&o, u[0], 'a');
    add(0, IN | ET);
    cr_assert_eq(collect(8), 1);
    cr_assert_eq(collect(8), 0);
    cr_assert_eq(ctl(STACK_CTL_MOD, 0, IN | ET), 0);
    cr_assert_eq(collect(8), 1, "MOD looks again");
    cr_assert_eq(ctl(STACK_CTL_MOD, 0, 0), 0);
    one_give(&o, u[0], 'b');
    cr_assert_eq(collect(8), 0, "no interest left");
}

Test(pollset, fair_to_all) {
    unsigned hits[4] = {0};
    for (int i = 0; i < 4; i++) {
        add(i, IN);
        one_give(&o, u[i], 'x');
    }
    for (int round = 0; round < 8; round++) {
        cr_assert_eq(collect(2), 2);
        hits[ev[0].data - 100]++;
        hits[ev[1].data - 100]++;
    }
    for (int i = 0; i < 4; i++)
        cr_assert_eq(hits[i], 4, "item %d: %u", i, hits[i]);
}

static struct waiter wt[3];
static struct watch w[3];
static void wait_on(int i, struct pollset *set, uint32_t flags) {
    memset(&wt[i], 0, sizeof(wt[i]));
    w[i] = (struct watch){.events = IN | flags, .kind = WATCH_WAITER};
    w[i].owner = &wt[i];
    stack_watch_add(stack_pollset_source(set), &w[i]);
}

Test(pollset, wakes_its_waiter) {
    add(0, IN | ET);
    wait_on(0, ps, 0);
    one_give(&o, u[0], 'a');
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    /* A candidate that is stale must not hide the next event. */
    one_take(&o, u[0]);
    wt[0].fired = 0;
    one_give(&o, u[0], 'b');
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
}

Test(pollset, leftovers_wake_the_next_thread) {
    for (int i = 0; i < 2; i++) {
        add(i, IN | ET);
        wait_on(i, ps, STACK_EXCLUSIVE);
    }
    one_give(&o, u[0], 'a');
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    cr_assert_null(stack_next_wake(o.st), "one event, one thread");
    stack_watch_del(&w[0]);
    one_give(&o, u[1], 'b');
    stack_next_wake(o.st);
    wt[1].fired = 0;
    cr_assert_eq(collect(1), 1);
    cr_assert_eq(stack_next_wake(o.st), &wt[1], "one more is ready");
}

Test(pollset, exclusive_sets) {
    struct pollset *other = stack_pollset_new(o.st);
    uint32_t ex = IN | STACK_EXCLUSIVE;
    cr_assert_eq(add(0, ex), 0);
    cr_assert_eq(stack_pollset_ctl(o.st, other, STACK_CTL_ADD, 0, &u[0]->src,
                                   ex, 7),
                 0);
    wait_on(0, ps, 0);
    wait_on(1, other, 0);
    one_give(&o, u[0], 'a');
    cr_assert_not_null(stack_next_wake(o.st));
    cr_assert_null(stack_next_wake(o.st), "one of the two");
    one_give(&o, u[0], 'b');
    cr_assert_not_null(stack_next_wake(o.st), "the first one is awake");
    cr_assert_eq(ctl(STACK_CTL_MOD, 0, IN), -EINVAL);
    cr_assert_eq(add(1, ex | STACK_ONESHOT), -EINVAL);
}

Test(pollset, nested) {
    struct pollset *outer = stack_pollset_new(o.st);
    cr_assert_eq(stack_pollset_ctl(o.st, outer, STACK_CTL_ADD, 5, &ps->src, IN,
                                   55),
                 0);
    add(0, IN);
    cr_assert_eq(stack_pollset_collect(o.st, outer, ev, 8), 0);
    wait_on(0, outer, 0);
    one_give(&o, u[0], 'a');
    cr_assert_eq(stack_next_wake(o.st), &wt[0]);
    cr_assert_eq(stack_pollset_collect(o.st, outer, ev, 8), 1);
    cr_assert_eq(ev[0].data, 55);
    one_take(&o, u[0]);
    cr_assert_eq(stack_pollset_collect(o.st, outer, ev, 8), 0);
    cr_assert_eq(stack_pollset_ctl(o.st, ps, STACK_CTL_ADD, 6, &outer->src, IN,
                                   0),
                 -ELOOP);
    cr_assert_eq(stack_pollset_ctl(o.st, ps, STACK_CTL_ADD, 6, &ps->src, IN, 0),
                 -EINVAL);
    stack_pollset_free(o.st, ps);
    cr_assert_eq(stack_pollset_count(outer), 0, "an inner set that dies");
}

Test(pollset, nesting_has_a_limit) {
    struct pollset *chain[6];
    for (int i = 0; i < 6; i++)
        chain[i] = stack_pollset_new(o.st);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(stack_pollset_ctl(o.st, chain[i], STACK_CTL_ADD, 0,
                                       &chain[i + 1]->src, IN, 0),
                     0, "%d", i);
    cr_assert_eq(stack_pollset_ctl(o.st, chain[4], STACK_CTL_ADD, 0,
                                   &chain[5]->src, IN, 0),
                 -ELOOP);
    cr_assert_eq(stack_pollset_ctl(o.st, chain[5], STACK_CTL_ADD, 0,
                                   &chain[0]->src, IN, 0),
                 -ELOOP);
}

Test(pollset, closed_socket_leaves) {
    add(0, IN);
    add(1, IN);
    one_give(&o, u[0], 'a');
    one_give(&o, u[1], 'b');
    stack_close(o.st, u[0]);
    cr_assert_eq(stack_pollset_count(ps), 1);
    cr_assert_eq(collect(8), 1);
    cr_assert_eq(ev[0].data, 101);
}

Test(pollset, free_gives_everything_back) {
    for (int i = 0; i < 4; i++)
        add(i, IN);
    one_give(&o, u[2], 'x');
    one_take(&o, u[2]);
    stack_pollset_free(o.st, ps);
    cr_assert_eq(o.st->sh->heap.used, idle);
    one_give(&o, u[2], 'y'); /* nobody watches any more */
    cr_assert_null(stack_next_wake(o.st));
}
