/* timer.c: a hierarchical timing wheel (Varghese and Lauck, 1987).
 *
 * Theory of operation
 *
 * Time is cut into ticks of 2^20 ns (1.05 ms). Level 0 has a slot for each of
 * the next 64 ticks, level 1 for each of the next 64 groups of 64 ticks, and
 * so on: 5 levels reach 2^30 ticks (13 days); later timers wait in the last
 * slot of the top level and are sorted in again. Arming and stopping are O(1);
 * a timer is moved at most four times.
 *
 * A timer keeps its exact due time. It fires at the first timer_run at or
 * after that time, never before it: in the slot of the current tick only what
 * is due fires. timer_run does not step through empty ticks: a bitmap per
 * level finds the next occupied slot, and the wheel jumps there.
 *
 * timer_next takes the minimum over the first occupied slot of each level.
 * Slots remember the earliest due time that was put into them; a timer that
 * was stopped since makes that too early, never too late, and the wake-up
 * that follows corrects it.
 *
 * timer_run first advances the wheel to st->now, collecting what is due in
 * wheel.expired, sorts that by time, and only then calls handlers, so that
 * these may arm and stop any timer. Whatever they arm, even in the past, waits
 * for the next run.
 */
#include "stack/timer.h"

#include "stack/arp.h"
#include "stack/frag.h"
#include "stack/repair.h"
#include "stack/shared.h"
#include "stack/sock.h"

#define TICK_SHIFT 20
#define SLOT_SHIFT 6
#define SLOT_MASK (TIMER_SLOTS - 1)
#define LEVEL_EXPIRED 0xff /* timer.level: in wheel.expired */

/* Shift from a tick number to a slot number of a level. */
static unsigned shift_of(unsigned level) { return SLOT_SHIFT * level; }

/* An empty wheel at `now`. */
void timer_init(struct timer_wheel *w, nstime_t now) {
    memset(w, 0, sizeof(*w));
    w->tick = now >> TICK_SHIFT;
    list_init(&w->expired);
    for (unsigned l = 0; l < TIMER_LEVELS; l++)
        for (unsigned s = 0; s < TIMER_SLOTS; s++)
            list_init(&w->slots[l][s]);
}

/* Put t into the slot of its due time, seen from the wheel's position. */
static void place(struct timer_wheel *w, struct timer *t) {
    nstime_t tick = t->due >> TICK_SHIFT;
    if (tick < w->tick)
        tick = w->tick;
    nstime_t delta = tick - w->tick;
    unsigned l = 0;
    while (l < TIMER_LEVELS - 1 && delta >> shift_of(l + 1))
        l++;
    if (delta >> shift_of(TIMER_LEVELS)) /* beyond the horizon */
        tick = w->tick + ((nstime_t)SLOT_MASK << shift_of(l));
    unsigned s = tick >> shift_of(l) & SLOT_MASK;
    t->level = (uint8_t)l;
    t->slot = (uint8_t)s;
    if (!(w->map[l] >> s & 1) || t->due < w->soonest[l][s])
        w->soonest[l][s] = t->due;
    w->map[l] |= (uint64_t)1 << s;
    list_push_back(&w->slots[l][s], &t->link);
}

/* Take t out of whatever list it is in. */
static void unplace(struct timer_wheel *w, struct timer *t) {
    list_remove(&t->link);
    if (t->level != LEVEL_EXPIRED && list_empty(&w->slots[t->level][t->slot]))
        w->map[t->level] &= ~((uint64_t)1 << t->slot);
}

/* An empty wheel may stand far behind: bring it to the present first, so that
 * nothing is placed higher than it must be. */
void timer_arm(struct stack *st, struct timer *t, enum timer_kind kind,
               nstime_t due) {
    struct timer_wheel *w = &st->sh->timers;
    if (due == 0)
        due = 1; /* 0 means stopped */
    if (timer_armed(t)) {
        if (t->due == due && t->kind == kind)
            return;
        timer_stop(st, t);
    }
    if (w->armed == 0 && list_empty(&w->expired))
        w->tick = st->now >> TICK_SHIFT;
    t->due = due;
    t->kind = (uint8_t)kind;
    place(w, t);
    w->armed++;
}

/* O(1); the slot's `soonest` may now be too early, which is harmless. */
void timer_stop(struct stack *st, struct timer *t) {
    struct timer_wheel *w = &st->sh->timers;
    if (!timer_armed(t))
        return;
    unplace(w, t);
    t->due = 0;
    w->armed--;
}

/* ---- advancing the wheel --------------------------------------------- */

/* Slots from the wheel's position to the first occupied one of a level, in the
 * order in which they come up; -1 if all are empty. The slot of the current
 * position comes first on level 0; above, what lies there is a full turn
 * away (the current turn's timers were moved down on entry). */
static int distance(const struct timer_wheel *w, unsigned l) {
    unsigned at = w->tick >> shift_of(l) & SLOT_MASK;
    unsigned first = l == 0 ? at : (at + 1) & SLOT_MASK;
    uint64_t map = w->map[l];
    if (map == 0)
        return -1;
    if (first)
        map = map >> first | map << (TIMER_SLOTS - first);
    return __builtin_ctzll(map) + (l != 0);
}

/* Tick at which the next occupied slot after the current position comes up. */
static nstime_t next_tick(const struct timer_wheel *w) {
    nstime_t best = NSTIME_NEVER;
    for (unsigned l = 0; l < TIMER_LEVELS; l++) {
        int d = distance(w, l);
        if (d < 0)
            continue;
        nstime_t t = ((w->tick >> shift_of(l)) + (nstime_t)d) << shift_of(l);
        if (t < best)
            best = t;
    }
    return best;
}

/* Sort the timers of an upper slot into the levels below. */
static void cascade(struct timer_wheel *w, unsigned l) {
    unsigned s = w->tick >> shift_of(l) & SLOT_MASK;
    struct list moved;
    struct list_node *n;
    if (!(w->map[l] >> s & 1))
        return;
    list_init(&moved);
    while ((n = list_pop_front(&w->slots[l][s])) != NULL)
        list_push_back(&moved, n);
    w->map[l] &= ~((uint64_t)1 << s);
    while ((n = list_pop_front(&moved)) != NULL)
        place(w, container_of(n, struct timer, link));
}

/* Move what is due at now from the current slot of level 0 to expired. */
static void expire_slot(struct timer_wheel *w, nstime_t now) {
    unsigned s = w->tick & SLOT_MASK;
    nstime_t soonest = NSTIME_NEVER;
    if (!(w->map[0] >> s & 1) || w->soonest[0][s] > now)
        return;
    list_for_each_safe(n, &w->slots[0][s]) {
        struct timer *t = container_of(n, struct timer, link);
        if (t->due <= now) {
            list_remove(n);
            t->level = LEVEL_EXPIRED;
            list_push_back(&w->expired, n);
        } else if (t->due < soonest) {
            soonest = t->due;
        }
    }
    w->soonest[0][s] = soonest;
    if (list_empty(&w->slots[0][s]))
        w->map[0] &= ~((uint64_t)1 << s);
}

/* Bring the wheel to now, collecting what is due. */
static void advance(struct timer_wheel *w, nstime_t now) {
    nstime_t target = now >> TICK_SHIFT;
    for (;;) {
        expire_slot(w, now);
        if (w->tick >= target)
            return;
        nstime_t next = next_tick(w);
        /* Whatever is left in the current slot was just expired. */
        w->tick = next < target ? next : target;
        for (unsigned l = TIMER_LEVELS - 1; l > 0; l--)
            if ((w->tick & (((nstime_t)1 << shift_of(l)) - 1)) == 0)
                cascade(w, l);
    }
}

/* ---- firing ---------------------------------------------------------- */

/* When the timer of this link is due. */
static nstime_t due_of(const struct list_node *n) {
    return container_of(n, const struct timer, link)->due;
}

/* Merge sorted list b into sorted list a; equal times keep a's first. */
static void merge(struct list *a, struct list *b) {
    struct list_node *at = a->head.next, *n;
    while ((n = list_pop_front(b)) != NULL) {
        while (at != &a->head && due_of(at) <= due_of(n))
            at = at->next;
        list_insert(at, n);
    }
}

/* Stable merge sort by due time: runs of 2^i timers meet in bin i. */
static void sort(struct list *l) {
    struct list bin[32], carry;
    struct list_node *n;
    unsigned top = 0;
    if (list_empty(l) || l->head.next == l->head.prev)
        return;
    while ((n = list_pop_front(l)) != NULL) {
        list_init(&carry);
        list_push_back(&carry, n);
        unsigned i = 0;
        for (; i < top && !list_empty(&bin[i]); i++) {
            merge(&bin[i], &carry);
            while ((n = list_pop_front(&bin[i])) != NULL)
                list_push_back(&carry, n);
        }
        if (i == top)
            list_init(&bin[top++]);
        while ((n = list_pop_front(&carry)) != NULL)
            list_push_back(&bin[i], n);
    }
    for (unsigned i = top; i-- > 0;)
        merge(l, &bin[i]);
}

/* The table from kinds to code. */
static void fire(struct stack *st, struct timer *t) {
    switch ((enum timer_kind)t->kind) {
    case TIMER_ARP:
        arp_timer(st, t);
        break;
    case TIMER_FRAG:
        frag_timer(st, t);
        break;
    case TIMER_TCP_RTX:
    case TIMER_TCP_DACK:
    case TIMER_TCP_KEEP:
    case TIMER_TCP_WAIT:
    case TIMER_TCP_CORK:
    case TIMER_TCP_PACE:
        tcp_timer(st, t);
        break;
    case TIMER_NONE:
    case TIMER_COUNT:
        break;
    }
}

/* A timer is taken off the list before its handler runs, which may free the
 * object around it. */
void timer_run(struct stack *st) {
    struct timer_wheel *w = &st->sh->timers;
    struct list_node *n;
    if (w->armed == 0)
        return;
    advance(w, st->now);
    sort(&w->expired);
    /* Handlers may stop timers in the list, but never add to it. */
    while ((n = list_first(&w->expired)) != NULL) {
        struct timer *t = container_of(n, struct timer, link);
        timer_stop(st, t);
        fire(st, t);
    }
}

/* At most one slot per level is looked at, and no list is walked. */
nstime_t timer_next(struct stack *st) {
    struct timer_wheel *w = &st->sh->timers;
    nstime_t best = NSTIME_NEVER;
    if (w->armed == 0)
        return NSTIME_NEVER;
    if (!list_empty(&w->expired))
        return st->now;
    for (unsigned l = 0; l < TIMER_LEVELS; l++) {
        int d = distance(w, l);
        if (d < 0)
            continue;
        unsigned s = ((w->tick >> shift_of(l)) + (unsigned)d) & SLOT_MASK;
        if (w->soonest[l][s] < best)
            best = w->soonest[l][s];
    }
    return best;
}

/* ---- after a death inside the lock ------------------------------------- */

void timer_rebuild(struct stack *st) { timer_init(&st->sh->timers, st->now); }

void timer_adopt(struct stack *st, struct timer *t) {
    nstime_t due = t->due;
    timer_disown(t);
    if (due && t->kind > TIMER_NONE && t->kind < TIMER_COUNT)
        timer_arm(st, t, (enum timer_kind)t->kind, due);
}

void timer_disown(struct timer *t) {
    t->due = 0;
    t->link = (struct list_node){NULL, NULL};
}
