/* timer.h: timers of the stack. See timer.c for the wheel.
 *
 * A timer is embedded in its object; what to do when it fires is an index into
 * a table in code (no function pointers in the arena).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "netio/netio.h"
#include "stack/list.h"

struct stack;

enum timer_kind {
    TIMER_NONE,
    TIMER_ARP,      /* struct neighbour */
    TIMER_FRAG,     /* struct frag_queue */
    TIMER_TCP_RTX,  /* tcp: retransmission, persist, or SYN */
    TIMER_TCP_DACK, /* tcp: delayed acknowledgement */
    TIMER_TCP_KEEP, /* tcp: keepalive, FIN-WAIT-2, user time-out */
    TIMER_TCP_WAIT, /* tcp: TIME-WAIT */
    TIMER_TCP_CORK, /* tcp: 200 ms limit of a held partial segment */
    TIMER_TCP_PACE, /* tcp: next allowed departure */
    TIMER_COUNT
};

struct timer {
    struct list_node link;
    nstime_t due; /* 0: not armed */
    uint8_t kind; /* enum timer_kind */
    uint8_t level, slot;
};

#define TIMER_LEVELS 5
#define TIMER_SLOTS 64

struct timer_wheel {
    nstime_t tick;              /* wheel position, in ticks */
    uint32_t armed;             /* number of armed timers */
    uint64_t map[TIMER_LEVELS]; /* occupied slots of each level */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
    /* Of an occupied slot: no timer in it is due earlier. */
    nstime_t soonest[TIMER_LEVELS][TIMER_SLOTS];
    struct list expired; /* due, about to be fired by timer_run */
};

void timer_init(struct timer_wheel *w, nstime_t now);
/* Arm or re-arm. A due time in the past fires at the next run. */
void timer_arm(struct stack *st, struct timer *t, enum timer_kind kind,
               nstime_t due);
void timer_stop(struct stack *st, struct timer *t);
static inline bool timer_armed(const struct timer *t) { return t->due != 0; }
/* Fire everything that is due at st->now, in order of time. The timer is
 * stopped before its handler runs. */
void timer_run(struct stack *st);
/* Earliest due time, never later than the truth; NSTIME_NEVER if none. */
nstime_t timer_next(struct stack *st);
