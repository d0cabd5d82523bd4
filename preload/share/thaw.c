/* thaw.c: a holder of the lock that was stopped, not killed.
 *
 * Theory of operation
 *
 * A process can be stopped at any instruction (SIGSTOP, SIGTSTP at a terminal),
 * also inside the lock, and then every process that shares the stack waits.
 * Stops cannot be put off: SIGSTOP cannot be blocked, and to block the others
 * would cost two system calls a section. So whoever has waited in vain for a
 * while, and may send the holder signals, continues it, waits until it has the
 * lock itself, and stops the process again. It does so while it holds the lock,
 * and until the process is seen to be stopped: so it stops outside.
 *
 * One waiter at a time does this (share.thawer), and goes first for the lock,
 * so that the process runs for as short as possible. Another one takes its place
 * if it dies or is stopped itself, and then it leaves the holder running.
 *
 * What can be seen from outside: the parent is told of a process that went on
 * and stopped again, a handler for SIGCONT runs, and the other threads run for
 * that moment as well. Somebody who sends SIGCONT within this moment sends it
 * in vain.
 *
 * A debugger's stop cannot be ended by others; nor can the freezer's. Then the
 * sharers wait, which is counted.
 */
#include <signal.h>
#include <time.h>

#include "netio/sys.h"
#include "preload/share/inner.h"

#define STEP_NS 50000
#define STOP_STEPS 100 /* how long a stop may take until we go on */

/* Is it for us to act? */
static bool claim(struct share *sh, uint32_t me) {
    uint32_t was = __atomic_load_n(&sh->thawer, __ATOMIC_RELAXED);
    char state = was ? proc_state((int)was) : 'X';
    if (state != 'X' && state != 'Z' && state != 'T')
        return was == me;
    return __atomic_compare_exchange_n(&sh->thawer, &was, me, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static bool thaw(struct lock *l, uint32_t tid) {
    struct share *sh = self.sh;
    if (!sh || l != &sh->lock)
        return false;
    char state = proc_state((int)tid);
    if (state == 't')
        __atomic_fetch_add(&sh->count.lock_traced, 1, __ATOMIC_RELAXED);
    uint32_t me = (uint32_t)sys_gettid();
    if (state != 'T' || !claim(sh, me))
        return false;
    bool ok = (l->word & LOCK_TID) == tid && sys_kill((pid_t)tid, SIGCONT) == 0;
    if (ok)
        __atomic_fetch_add(&sh->count.lock_thawed, 1, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&sh->thawer, 0, __ATOMIC_SEQ_CST);
    return ok;
}

/* Lock held: no thread of that process is inside. */
static void freeze(uint32_t tid) {
    struct timespec step = {0, STEP_NS};
    struct share *sh = self.sh;
    uint32_t me = sh->lock.word & LOCK_TID;
    if (__atomic_load_n(&sh->thawer, __ATOMIC_SEQ_CST) != me)
        return; /* somebody else has taken that over */
    if (sys_kill((pid_t)tid, SIGSTOP) == 0)
        for (int i = 0; i < STOP_STEPS && !proc_stopped((int)tid); i++)
            sys_clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
    __atomic_store_n(&sh->thawer, 0, __ATOMIC_SEQ_CST);
}

void thaw_start(void) {
    lock_stuck = thaw;
    lock_unstuck = freeze;
}
