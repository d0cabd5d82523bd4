/* share.c: the section between share_enter and share_leave.
 *
 * Theory of operation
 *
 * All use of the stack happens inside a section: the arena's lock is held and
 * the stack has been told the time. What a section produced is settled at its
 * end, in this order: frames are given to the device while the lock still
 * protects the send buffers they point into; the threads to be woken are
 * collected; the lock is given back; and only then, so that nobody wakes just
 * to wait for the lock, the collected threads are rung.
 *
 * A thread is collected only while it is asleep (sleeper.asleep, set and
 * cleared under the lock), so that work done for a thread that is awake costs
 * no system call.
 */
#include "preload/share/share.h"

#include <linux/futex.h>
#include <time.h>

#include "netio/sys.h"
#include "preload/share/guard.h"
#include "preload/share/inner.h"
#include "preload/share/wait.h"

struct self self FORKED;
__thread int share_inside;
void (*share_leave_hook)(void);
__thread bool share_async;
void (*share_async_hook)(bool allow);

nstime_t share_clock(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (nstime_t)ts.tv_sec * 1000000000u + (nstime_t)ts.tv_nsec;
}

/* ---- the gate --------------------------------------------------------------
 *
 * exit and exec end the other threads of the process wherever they are. Inside
 * the lock that would be a death like any other: the connection that was being
 * worked on is reset. So before, the gate is closed: threads that come get the
 * lock, find the gate closed and give it back at once, having changed nothing.
 * That look must be under the lock: then whoever takes the lock after closing
 * the gate knows that nobody is inside.
 *
 * A destructor that runs after ours may need what a waiting thread holds: so
 * they do not wait for ever. */

#define GATE_STEP_NS 500000
#define GATE_STEPS 2000
#define PASS_NS 100000 /* for those on their way through the lock */

static bool gate_closed FORKED;
static __thread bool gate_keeper; /* this thread closed it */

static void step(long ns) {
    struct timespec ts = {0, ns};
    sys_clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

static bool must_wait(void) {
    return __builtin_expect(__atomic_load_n(&gate_closed, __ATOMIC_RELAXED),
                            0) &&
           !gate_keeper;
}

/* Lock held on entry and exit, and given up in between. */
static bool wait_at_gate(void) {
    bool died;
    lock_give(&self.sh->lock);
    for (int i = 0; i < GATE_STEPS && must_wait(); i++)
        step(GATE_STEP_NS);
    died = lock_take(&self.sh->lock);
    return died;
}

void share_close_gate(void) {
    if (lock_threads() <= 1)
        return; /* nobody else has ever been inside */
    gate_keeper = true;
    __atomic_store_n(&gate_closed, true, __ATOMIC_SEQ_CST);
    share_enter();
    share_leave();
    if (lock_threads() > 2) /* others than this and the service thread */
        step(PASS_NS);
}

void share_open_gate(void) {
    gate_keeper = false;
    __atomic_store_n(&gate_closed, false, __ATOMIC_SEQ_CST);
}

/* ---- the section --------------------------------------------------------- */

void share_enter(void) {
    if (__builtin_expect(share_async, 0))
        share_async_hook(false);
    share_inside++;
    bool died = lock_take(&self.sh->lock);
    if (must_wait() && !died)
        died = wait_at_gate();
    stack_now(self.st, share_clock());
    if (died)
        share_repair();
}

/* Who is to be rung after the lock is given back. A full list rings early. */
struct rings {
    struct sleeper *who[32];
    unsigned n;
};

static void ring_later(struct rings *r, struct sleeper *s) {
    if (!s->asleep || __atomic_load_n(&s->rung, __ATOMIC_SEQ_CST))
        return;
    if (r->n == sizeof(r->who) / sizeof(r->who[0])) {
        sleeper_ring(s);
        return;
    }
    r->who[r->n++] = s;
}

static void ring_all(struct rings *r) {
    for (unsigned i = 0; i < r->n; i++)
        sleeper_ring(r->who[i]);
    r->n = 0;
}

/* How long this section held the lock, for `stackctl stat`. One section in 16:
 * a look at the clock costs as much as taking the lock. */
static void measure(struct share *sh) {
    nstime_t held = share_clock() - stack_time(self.st);
    uint64_t *at = held < 1000      ? &sh->count.lock_1us
                   : held < 10000   ? &sh->count.lock_10us
                   : held < 100000  ? &sh->count.lock_100us
                   : held < 1000000 ? &sh->count.lock_1ms
                                    : &sh->count.lock_longer;
    ++*at;
    if (held > sh->count.lock_longest)
        sh->count.lock_longest = held;
}

/* The end of a section whose output has been seen to. */
static void leave(void) {
    struct share *sh = self.sh;
    struct rings rings = {.n = 0};
    struct waiter *w;
    struct sleeper *s;

    while ((w = stack_next_wake(self.st)) != NULL)
        ring_later(&rings, container_of(w, struct sleeper, w));
    if ((s = sh->successor) != NULL) {
        sh->successor = NULL;
        ring_later(&rings, s);
    }
    if ((s = wait_retime()) != NULL)
        ring_later(&rings, s);
    bool service = sh->watcher == NULL && sh->svc_armed;
    if (service)
        sh->svc_armed = 0;
    bool guard = guard_wanted();
    if (self.slot >= SHARE_PROCS) /* nobody would notice our death */
        ring_all(&rings);
    if (sh->lock.taken % 16 == 0)
        measure(sh);
    lock_give(&sh->lock);
    ring_all(&rings);
    if (service)
        sys_futex(&sh->svc_armed, FUTEX_WAKE, 1, NULL, NULL, 0);
    if (guard)
        guard_ring();
    share_inside--;
    if (share_leave_hook)
        share_leave_hook();
    if (__builtin_expect(share_async, 0) && !share_inside)
        share_async_hook(true);
}

void share_leave(void) {
    stack_flush(self.st);
    leave();
}

/* Somebody who watches sleeps until a frame comes; with nobody there, a
 * service thread is about to look. */
bool share_leave_later(void) {
    bool owed = false;
    if (self.sh->watcher)
        stack_flush(self.st);
    else
        owed = stack_flush_later(self.st);
    leave();
    return owed;
}
