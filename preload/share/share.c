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

struct self self;
__thread int share_inside;
void (*share_leave_hook)(void);

nstime_t share_clock(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (nstime_t)ts.tv_sec * 1000000000u + (nstime_t)ts.tv_nsec;
}

void share_enter(void) {
    share_inside++;
    bool died = lock_take(&self.sh->lock);
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
    if (!s->asleep || s->rung)
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

void share_leave(void) {
    struct share *sh = self.sh;
    struct rings rings = {.n = 0};
    struct waiter *w;
    struct sleeper *s;

    stack_flush(self.st);
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
    lock_give(&sh->lock);
    ring_all(&rings);
    if (service)
        sys_futex(&sh->svc_armed, FUTEX_WAKE, 1, NULL, NULL, 0);
    if (guard)
        guard_ring();
    share_inside--;
    if (share_leave_hook)
        share_leave_hook();
}
