/* source.c: who is interested in what, and who must be woken.
 *
 * Theory of operation
 *
 * A source (socket or poll set) has a list of watches. An event, told by the
 * protocol through sock_event, goes to each watch that asks for it: a waiter
 * (a sleeping thread) is marked and queued in shared.wake, an item marks
 * itself ready in its poll set, which is a source again and tells its own
 * watchers. Nothing is called outside the stack: the caller of the stack
 * collects the waiters with stack_next_wake when it is done.
 *
 * Exclusive watches (EPOLLEXCLUSIVE of epoll_ctl(2), and threads that wait in
 * epoll_wait on one set): all others are told; of the exclusive ones only as
 * many as it takes to wake one waiter that is still asleep. The one that was
 * told goes to the end of the line, so that the work is spread. A thread that
 * was woken exclusively and does not take the event must pass it on: a
 * collect that leaves ready items behind wakes the next one by itself
 * (pollset.c); for one that gave up, the layer above calls stack_source_kick.
 */
#include "stack/source.h"

#include "stack/shared.h"
#include "stack/sock.h"

_Static_assert(offsetof(struct sock, kind) ==
                   offsetof(struct source_head, kind),
               "a sock starts like a source_head");

/* Reported whether asked for or not (poll(2)). */
#define ALWAYS (STACK_ERR | STACK_HUP)

/* Nobody watches. */
void source_init(struct source *src) { list_init(&src->watchers); }

/* Last in line, so that exclusive watchers take turns. */
void stack_watch_add(struct source *src, struct watch *w) {
    list_push_back(&src->watchers, &w->link);
}

void stack_watch_del(struct watch *w) { list_remove(&w->link); }

/* Queued by its first event since the owner reset it. */
bool waiter_fire(struct stack *st, struct waiter *wt, uint32_t events) {
    bool first = wt->fired == 0;
    wt->fired |= events;
    if (first && !list_linked(&wt->wake_link))
        list_push_back(&st->sh->wake, &wt->wake_link);
    return first;
}

/* Tell one watch. True when a sleeping waiter was woken. */
static bool tell(struct stack *st, struct watch *w, uint32_t events) {
    uint32_t seen = events & (w->events | ALWAYS);
    if (!seen)
        return false;
    if (w->kind == WATCH_WAITER)
        return waiter_fire(st, w->owner, seen);
    return pollset_item_event(st, w, seen);
}

/* All others before the exclusive ones, as Linux's wait queues. */
bool source_fire(struct stack *st, struct source *src, uint32_t events) {
    bool woke = false, exclusive = false;
    list_for_each_safe(n, &src->watchers) {
        struct watch *w = container_of(n, struct watch, link);
        if (w->events & STACK_EXCLUSIVE)
            exclusive = true;
        else
            woke |= tell(st, w, events);
    }
    if (!exclusive)
        return woke;
    list_for_each_safe(n, &src->watchers) {
        struct watch *w = container_of(n, struct watch, link);
        if (!(w->events & STACK_EXCLUSIVE) || !tell(st, w, events))
            continue;
        list_remove(n);
        list_push_back(&src->watchers, n);
        return true;
    }
    return woke;
}

/* A poll set is readable while it has something to report. */
uint32_t source_ready(struct stack *st, struct source *src) {
    struct source_head *h = (struct source_head *)src;
    if (h->kind == SOURCE_POLLSET)
        return stack_pollset_ready(st, (struct pollset *)src) ? STACK_IN : 0;
    return stack_ready(st, (struct sock *)src);
}

/* Whatever they wait for, and exclusive or not. */
void stack_source_kick(struct stack *st, struct source *src, uint32_t events) {
    list_for_each_safe(n, &src->watchers) {
        struct watch *w = container_of(n, struct watch, link);
        if (w->kind == WATCH_WAITER)
            waiter_fire(st, w->owner, events);
        else
            pollset_item_event(st, w, events);
    }
}

/* Their owners may still call stack_watch_del: an unlinked watch is
 * harmless. */
void source_gone(struct stack *st, struct source *src) {
    struct list_node *n;
    while ((n = list_pop_front(&src->watchers)) != NULL) {
        struct watch *w = container_of(n, struct watch, link);
        if (w->kind == WATCH_WAITER)
            waiter_fire(st, w->owner, STACK_HUP);
        else
            pollset_item_drop(st, w);
    }
}

/* In the order in which they fired. */
struct waiter *stack_next_wake(struct stack *st) {
    struct list_node *n = list_pop_front(&st->sh->wake);
    return n ? container_of(n, struct waiter, wake_link) : NULL;
}
