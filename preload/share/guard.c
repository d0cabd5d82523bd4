/* guard.c: the keeper's thread that notices who no longer runs.
 *
 * Theory of operation
 *
 * Processes of the stack that die or stop without a word must not take the
 * network of the others with them. The guard sleeps in one ppoll, without a
 * time limit while the network is idle, and is woken by
 *
 *   a pidfd of each process of the stack (pidfd_open(2)): it has died. Its
 *       descriptors are closed for it, as a kernel would, and whatever it had
 *       promised to others is made good (share_reap, wait_recover);
 *   a bell of its own: the table of processes has changed;
 *   the packet socket: a frame has come after a time without any. From now on
 *       the guard looks every STEP whether turns of the watch are finished
 *       (share.watch_turns). If frames wait, or the stack's deadline is over,
 *       and in two looks no turn was finished, the watcher does not run: it
 *       was stopped by a signal, a debugger or a freezer, or starves. The
 *       watch is taken from it (wait_steal). When two looks see no frame, the
 *       guard goes back to sleep on the packet socket.
 *
 * So while frames come the guard costs one wake-up per STEP, and the first
 * frame after a rest wakes it besides the watcher. In the idle state it makes
 * no system call. A deadline that is moved closer while it sleeps is told to
 * it together with the watcher (guard_retime).
 *
 * A thread that was stopped between unlocking and ringing leaves somebody
 * asleep who has been fired: rung by the guard, if that looks (wait_mend_rings).
 * One stopped inside the lock is dealt with by whoever waits (thaw.c).
 *
 * Limits. While the guard rests, a ring lost in a stopped thread is made good
 * at the next frame.
 */
#include "preload/share/guard.h"

#include <poll.h>
#include <string.h>

#include "netio/sys.h"
#include "preload/share/inner.h"
#include "preload/share/wait.h"

#define MS 1000000u
#define STEP (20 * MS)
#define LOOK (1000 * MS)
#define NAP (2 * MS) /* before it looks at who came: many go at once again */
#define REST_LOOKS 5 /* looks without a frame before it rests */

/* Private to the guard's thread. */
struct guard {
    struct pollfd fds[2 + SHARE_PROCS]; /* bell, packet socket, pidfds */
    struct {
        int32_t pid;
        uint64_t start;
    } of[SHARE_PROCS]; /* whose pidfd that is */
    uint64_t turns;
    nstime_t until; /* of this sleep */
    unsigned quiet; /* looks without a frame */
    bool blocked;   /* the last look found work and no turn finished */
    bool blind;     /* a process without a pidfd: look once a second */
};

static void drop(struct guard *g, unsigned i) {
    if (g->fds[2 + i].fd >= 0) {
        own_forget(g->fds[2 + i].fd);
        sys_close(g->fds[2 + i].fd);
    }
    g->fds[2 + i].fd = -1;
    g->of[i].pid = 0;
}

/* A pidfd for each process that has a slot. Lock held. True when one of them
 * has died before we could get it. */
static bool sync_table(struct guard *g) {
    bool died = false;
    g->blind = false;
    self.sh->guard_procs = self.sh->procs_seq;
    self.sh->guard_rung = false;
    for (unsigned i = 0; i < SHARE_PROCS; i++) {
        struct proc *p = &self.sh->procs[i];
        int32_t pid = i == self.slot ? 0 : p->pid;
        if (g->of[i].pid == pid && g->of[i].start == p->start)
            continue;
        drop(g, i);
        if (pid <= 0) /* free, or reserved for a child */
            continue;
        long fd = sys_pidfd_open(pid, 0);
        if (fd >= 0)
            fd = arena_hide_fd((int)fd);
        g->fds[2 + i].fd = (int)fd;
        g->of[i].pid = pid;
        g->of[i].start = p->start;
        /* the number may be another process's by now */
        g->blind |= fd < 0;
        died |= !share_proc_alive(p);
    }
    return died;
}

/* Does work wait for the watcher that it should have done by now? */
static bool work_waits(bool frame) {
    return frame || stack_deadline(self.st) <= share_clock() - STEP;
}

/* Has the watcher done anything since the last look, if it had to? */
static void judge(struct guard *g, bool frame) {
    struct share *sh = self.sh;
    bool turned = sh->watch_turns != g->turns;
    g->turns = sh->watch_turns;
    g->quiet = frame || turned ? 0 : g->quiet + 1;
    if (wait_mend_rings())
        g->quiet = 0;
    bool asleep = sh->watcher && sh->watcher->asleep;
    bool stuck = asleep && !turned && work_waits(frame);
    if (stuck && g->blocked)
        wait_steal();
    g->blocked = stuck;
}

/* Until when to sleep, and whether a frame is to wake us. Lock held. */
static void plan(struct guard *g) {
    nstime_t now = share_clock(), due = stack_deadline(self.st);
    bool rest = g->quiet >= REST_LOOKS && !g->blocked;
    g->fds[1].fd = rest ? self.io->fd : -1;
    g->until = NSTIME_NEVER;
    if (!rest)
        g->until = now + STEP;
    else if (due < NSTIME_NEVER)
        g->until = (due > now ? due : now) + STEP;
    if (g->blind && now + LOOK < g->until)
        g->until = now + LOOK;
    self.sh->guard_until = g->until;
}

/* Sleep. Returns what woke us: bit 0 a frame, bit 1 a death. */
static unsigned sleep_once(struct guard *g) {
    struct timespec ts, *tp = NULL;
    uint64_t v;
    if (g->until < NSTIME_NEVER) {
        nstime_t now = share_clock();
        nstime_t left = g->until > now ? g->until - now : 0;
        ts = (struct timespec){(time_t)(left / 1000000000u),
                               (long)(left % 1000000000u)};
        tp = &ts;
    }
    long r = sys_ppoll(g->fds, 2 + SHARE_PROCS, tp, NULL);
    unsigned what = 0;
    if (r > 0) {
        for (unsigned i = 0; i < SHARE_PROCS; i++)
            if (g->fds[2 + i].revents)
                what |= 2;
    }
    if (r > 0 && g->fds[0].revents) {
        sys_read(g->fds[0].fd, &v, sizeof(v));
        ts = (struct timespec){0, NAP};
        if (!what)
            sys_clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
    }
    struct pollfd frame = {self.io->fd, POLLIN, 0};
    ts = (struct timespec){0, 0};
    if (sys_ppoll(&frame, 1, &ts, NULL) > 0)
        what |= 1;
    return what;
}

/* Lock held. */
static void reap_fired(struct guard *g) {
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        if (g->fds[2 + i].revents)
            share_reap_one(i);
}

void guard_run(volatile int *stop) {
    static struct guard g;
    struct share *sh = self.sh;
    memset(&g, 0, sizeof(g));
    for (unsigned i = 0; i < 2 + SHARE_PROCS; i++)
        g.fds[i] = (struct pollfd){-1, POLLIN, 0};
    share_enter();
    g.fds[0].fd = self.fd.bell[SHARE_GUARD_BELL];
    sh->guard_procs = sh->procs_seq - 1;
    while (!*stop) {
        if (sh->guard_procs != sh->procs_seq && sync_table(&g))
            share_reap();
        plan(&g);
        sh->guard_asleep = true;
        share_leave();
        unsigned what = sleep_once(&g);
        share_enter();
        sh->guard_asleep = false;
        if (what & 2)
            reap_fired(&g);
        if (g.blind)
            share_reap();
        judge(&g, what & 1);
    }
    share_leave();
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        drop(&g, i);
}

bool guard_wanted(void) {
    struct share *sh = self.sh;
    if (!sh->guard_asleep)
        return false;
    if (sh->procs_seq != sh->guard_procs && !sh->guard_rung) {
        sh->guard_rung = true;
        return true;
    }
    if (sh->guard_until < NSTIME_NEVER)
        return false;
    nstime_t due = stack_deadline(self.st);
    if (due == NSTIME_NEVER)
        return false;
    sh->guard_until = due;
    return true;
}

void guard_ring(void) {
    uint64_t one = 1;
    sys_write(self.fd.bell[SHARE_GUARD_BELL], &one, sizeof(one));
}
