/* pollset.c: poll sets with the rules of epoll(7).
 *
 * Theory of operation
 *
 * An item ties a set to a source under a key (the program's descriptor
 * number; the same socket may be in a set under two numbers). An event puts
 * the item at the end of the set's ready list, if it is not there yet, and
 * tells the watchers of the set. The list holds *candidates*: what is reported
 * is what the source says when the program collects.
 *
 * Collecting takes candidates from the front. Nothing to report: the item
 * leaves the list. Else its events are returned, and
 *   - level-triggered: it goes to the end of the list again (so a set with more
 *     ready items than the caller has room for serves all of them in turn);
 *   - edge-triggered: it leaves the list until the next event;
 *   - one-shot: it leaves the list and is disarmed until MOD.
 * ADD and MOD look at the source and make the item a candidate when it is
 * ready at that time already.
 *
 * Who frees: items belong to the set and are freed by DEL, stack_pollset_free
 * and the end of their source (source_gone). Sets may watch sets, at most
 * NEST_MAX deep and never in a circle (-ELOOP), as in Linux.
 */
#include "stack/pollset.h"

#include <errno.h>

#include "stack/shared.h"

#define NEST_MAX 5
/* Bits of watch.events that ask for readiness. */
#define EVENT_MASK 0x0fffffffu
/* Beside an exclusive item epoll_ctl(2) allows these only. */
#define EXCLUSIVE_OK                                                           \
    (STACK_IN | STACK_OUT | STACK_ERR | STACK_HUP | STACK_ET |                 \
     STACK_EXCLUSIVE | 1u << 29)

/* Sets and sockets start alike (source.h). */
static bool is_pollset(const struct source *src) {
    return ((const struct source_head *)src)->kind == SOURCE_POLLSET;
}

/* Watches of this kind belong to items. */
static struct item *item_of(struct watch *w) { return w->owner; }

/* NULL when the arena is full. */
struct pollset *stack_pollset_new(struct stack *st) {
    struct pollset *ps = mem_alloc(st, sizeof(*ps));
    if (!ps)
        return NULL;
    source_init(&ps->src);
    ps->kind = SOURCE_POLLSET;
    list_init(&ps->items);
    list_init(&ps->ready);
    return ps;
}

/* Out of its set, and freed. The watch is out of its source already or goes
 * now. */
static void item_free(struct stack *st, struct item *it) {
    stack_watch_del(&it->watch);
    list_remove(&it->ready_link);
    list_remove(&it->all_link);
    it->ps->count--;
    mem_free(st, it, sizeof(*it));
}

/* The source is going away. */
void pollset_item_drop(struct stack *st, struct watch *w) {
    item_free(st, item_of(w));
}

/* Sets that watch this one forget it first. */
void stack_pollset_free(struct stack *st, struct pollset *ps) {
    source_gone(st, &ps->src);
    list_for_each_safe(n, &ps->items)
        item_free(st, container_of(n, struct item, all_link));
    mem_free(st, ps, sizeof(*ps));
}

/* ---- becoming ready -------------------------------------------------- */

/* The set's watchers hear of every event, even if the item was a candidate
 * before: it may have been a stale one. */
bool pollset_item_event(struct stack *st, struct watch *w, uint32_t events) {
    struct item *it = item_of(w);
    if (it->disarmed)
        return false;
    if (!list_linked(&it->ready_link))
        list_push_back(&it->ps->ready, &it->ready_link);
    return source_fire(st, &it->ps->src, STACK_IN);
}

/* What the item would report now. */
static uint32_t item_level(struct stack *st, struct item *it) {
    if (it->disarmed)
        return 0;
    uint32_t mask = (it->watch.events & EVENT_MASK) | STACK_ERR | STACK_HUP;
    return source_ready(st, it->src) & mask;
}

/* After ADD and MOD: a level that exists already counts as an event. */
static void item_check(struct stack *st, struct item *it) {
    if (item_level(st, it))
        pollset_item_event(st, &it->watch, STACK_IN);
}

/* ---- control --------------------------------------------------------- */

/* The item of ps that watches src under key. A source has few watchers. */
static struct item *find(struct pollset *ps, uint32_t key, struct source *src) {
    list_for_each(n, &src->watchers) {
        struct watch *w = container_of(n, struct watch, link);
        if (w->kind != WATCH_ITEM)
            continue;
        struct item *it = item_of(w);
        if (it->ps == ps && it->key == key)
            return it;
    }
    return NULL;
}

/* Levels of sets below ps; NEST_MAX + 1 or more when `top` is among them. */
static int depth_below(struct pollset *ps, struct pollset *top, int depth) {
    int deepest = depth;
    if (ps == top || depth > NEST_MAX)
        return NEST_MAX + 1;
    list_for_each(n, &ps->items) {
        struct item *it = container_of(n, struct item, all_link);
        if (!is_pollset(it->src))
            continue;
        int d = depth_below((struct pollset *)it->src, top, depth + 1);
        if (d > deepest)
            deepest = d;
    }
    return deepest;
}

/* Levels of sets above ps, itself included. */
static int depth_above(struct pollset *ps, int depth) {
    int highest = depth;
    if (depth > NEST_MAX)
        return depth;
    list_for_each(n, &ps->src.watchers) {
        struct watch *w = container_of(n, struct watch, link);
        if (w->kind != WATCH_ITEM)
            continue;
        int d = depth_above(item_of(w)->ps, depth + 1);
        if (d > highest)
            highest = d;
    }
    return highest;
}

/* May src be watched by ps with these events? (epoll_ctl(2), ERRORS) */
static int check_add(struct pollset *ps, struct source *src, uint32_t events) {
    if (events & STACK_EXCLUSIVE && (events & ~EXCLUSIVE_OK || is_pollset(src)))
        return -EINVAL;
    if (!is_pollset(src))
        return 0;
    struct pollset *inner = (struct pollset *)src;
    if (inner == ps)
        return -EINVAL;
    int below = depth_below(inner, ps, 1);
    return below + depth_above(ps, 1) > NEST_MAX ? -ELOOP : 0;
}

/* Exclusive and nested items have rules of their own (check_add). */
static int ctl_add(struct stack *st, struct pollset *ps, uint32_t key,
                   struct source *src, uint32_t events, uint64_t data) {
    int rc = check_add(ps, src, events);
    if (rc)
        return rc;
    struct item *it = mem_alloc(st, sizeof(*it));
    if (!it)
        return -ENOMEM;
    it->ps = ps;
    it->src = src;
    it->key = key;
    it->data = data;
    it->watch.kind = WATCH_ITEM;
    it->watch.events = events;
    it->watch.owner = it;
    list_push_back(&ps->items, &it->all_link);
    ps->count++;
    stack_watch_add(src, &it->watch);
    item_check(st, it);
    return 0;
}

/* MOD arms a one-shot item again; exclusive ones cannot change. */
static int ctl_mod(struct stack *st, struct item *it, uint32_t events,
                   uint64_t data) {
    if ((events | it->watch.events) & STACK_EXCLUSIVE)
        return -EINVAL;
    it->watch.events = events;
    it->data = data;
    it->disarmed = false;
    item_check(st, it);
    return 0;
}

/* Errors as epoll_ctl(2). */
int stack_pollset_ctl(struct stack *st, struct pollset *ps, enum stack_ctl op,
                      uint32_t key, struct source *src, uint32_t events,
                      uint64_t data) {
    struct item *it = find(ps, key, src);
    switch (op) {
    case STACK_CTL_ADD:
        return it ? -EEXIST : ctl_add(st, ps, key, src, events, data);
    case STACK_CTL_MOD:
        return it ? ctl_mod(st, it, events, data) : -ENOENT;
    case STACK_CTL_DEL:
        if (!it)
            return -ENOENT;
        item_free(st, it);
        return 0;
    }
    return -EINVAL;
}

/* ---- collecting ------------------------------------------------------ */

/* The item was reported: back to the end of the line, or silent. */
static void item_reported(struct item *it) {
    if (it->watch.events & STACK_ONESHOT)
        it->disarmed = true;
    else if (!(it->watch.events & STACK_ET))
        list_push_back(&it->ps->ready, &it->ready_link);
}

/* Each candidate is looked at once per call. */
int stack_pollset_collect(struct stack *st, struct pollset *ps,
                          struct stack_pollev *ev, int max) {
    int n = 0;
    /* Each candidate is looked at once: those put back go behind the last. */
    struct list_node *last = ps->ready.head.prev, *node = NULL;
    while (n < max && node != last && !list_empty(&ps->ready)) {
        node = list_pop_front(&ps->ready);
        struct item *it = container_of(node, struct item, ready_link);
        uint32_t level = item_level(st, it);
        if (!level)
            continue;
        ev[n].events = level;
        ev[n].data = it->data;
        n++;
        item_reported(it);
    }
    /* Still something there: another sleeper's turn, as in Linux. */
    if (!list_empty(&ps->ready))
        source_fire(st, &ps->src, STACK_IN);
    return n;
}

/* Stale candidates are dropped on the way. */
bool stack_pollset_ready(struct stack *st, struct pollset *ps) {
    list_for_each_safe(n, &ps->ready) {
        if (item_level(st, container_of(n, struct item, ready_link)))
            return true;
        list_remove(n);
    }
    return false;
}

unsigned stack_pollset_count(struct pollset *ps) { return ps->count; }

struct source *stack_pollset_source(struct pollset *ps) {
    return &ps->src;
}

bool stack_pollset_item(struct pollset *ps, unsigned i, uint32_t *key,
                        uint32_t *events, uint64_t *data) {
    list_for_each(n, &ps->items) {
        struct item *it = container_of(n, struct item, all_link);
        if (i-- > 0)
            continue;
        *key = it->key;
        *events = it->watch.events;
        *data = it->data;
        return true;
    }
    return false;
}
