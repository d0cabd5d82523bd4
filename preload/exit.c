/* exit.c: what a process still owes the network when it ends.
 *
 * A kernel goes on sending after exit; here somebody has to. If a keeper (the
 * launcher) or another process of the stack is there, it does, and nothing is
 * done here. Else the last process closes its descriptors (orderly, as exit
 * does) and drives the stack until no closed connection has data or a FIN left
 * to deliver, or the `linger` setting is over.
 *
 * Called from the library's destructor (exit), from at_quick_exit, and from
 * _exit. A process that dies by a signal gets no such chance.
 */
#include <stdlib.h>
#include <unistd.h>

#include "preload/preload.h"
#include "preload/sandbox.h"
#include "preload/stdio.h"

#define MS 1000000u

/* Does somebody else look after the stack? Lock held. */
static bool others(void) {
    struct share *sh = self.sh;
    if (!list_empty(&sh->relays))
        return true;
    if (sh->keeper_slot && !lock_orphaned(&sh->keeper_life))
        return true;
    for (unsigned i = 0; i < SHARE_PROCS; i++) {
        struct proc *p = &self.sh->procs[i];
        if (i != self.slot && p->pid && (p->keeper || p->nfiles) &&
            (p->pid == getppid() || share_proc_alive(p)))
            return true;
    }
    return false;
}

/* Every descriptor of ours in this process. Lock held. */
static void close_all(void) {
    int limit = file_limit();
    for (int fd = 0; fd < limit; fd++)
        if (file_of(fd))
            file_unmap(fd);
}

/* Serve until nothing is owed. The end of a connection is no event, so look
 * after each turn of the watch, and in steps in case another thread has it:
 * short ones first, since most connections need one round trip. */
static void drive(nstime_t end) {
    nstime_t step = MS / 2;
    struct sleeper *s = sleeper_get();
    if (s)
        s->restless = true;
    while (s && stack_orphans(self.st)) {
        nstime_t now = share_clock();
        if (now >= end)
            break;
        nstime_t until = now + step < end ? now + step : end;
        s->w.fired = 0; /* a process has died: see wait_recover */
        if (wait_sleep(s, NULL, 0, until, NULL) == WAIT_EINTR) {
            share_leave(); /* the handler runs here */
            share_enter();
        }
        if (step < 20 * MS)
            step += step / 2;
    }
    if (s)
        sleeper_put(s);
}

/* Once per process; the rest of the exit finds no stack descriptors. */
void preload_settle(void) {
    static bool done FORKED;
    if (!self.sh || preload_vforked || share_inside ||
        __atomic_exchange_n(&done, true, __ATOMIC_SEQ_CST))
        return;
    int saved = errno;
    char line[256];
    share_enter();
    bool last = !others();
    close_all();
    if (last)
        drive(share_clock() + (nstime_t)preload_settings()->linger_ms * MS);
    bool say = last && preload_settings()->summary;
    if (say)
        share_summary(line, sizeof(line));
    wait_retire(true);
    share_leave();
    share_close_gate();
    if (last && !sandbox_filtered)
        share_part();
    if (say)
        preload_say("%s", line);
    errno = saved;
}

/* exit(3), after the program's own handlers. */
__attribute__((destructor)) static void at_exit(void) {
    stdio_flush();
    preload_settle();
}

/* Registered early, so run late: handlers run in reverse order. */
__attribute__((constructor)) static void at_start(void) {
    at_quick_exit(preload_settle);
}

/* _exit(2) ends the process without handlers; what the network is owed stays
 * owed. */
EXPORT void _exit(int status) {
    preload_settle();
    real._exit(status);
    __builtin_unreachable();
}

#define FAMILY_exit 1
#include "preload/alias.h"
