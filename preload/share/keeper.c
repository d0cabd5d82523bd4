/* keeper.c: the launcher's life after it started the program.
 *
 * The keeper serves the stack when nobody else does, notices processes that
 * die without a word, and finishes what a kernel would finish for a program
 * that is gone: unsent data and the FIN of its connections.
 *
 * Its thread serves (wait_service); the main thread waits for the child. When
 * the child is gone and something is left to do for longer than a moment (other
 * processes of the stack, data that the peer has not taken), a copy of the
 * keeper stays behind to do it, so that the caller gets the exit status at
 * once.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netio/sys.h"
#include "preload/share/guard.h"
#include "preload/share/inner.h"
#include "preload/share/wait.h"

#define MS 1000000u
#define PATIENCE 200       /* ms in the foreground for what is left */
#define LOOK_ROUND 250     /* ms between looks for dead processes */
#define ORPHAN_LIMIT 60000 /* ms that undelivered data is kept trying */

static volatile int stop_service, stop_guard;
static pthread_t guard_thread;
static bool guarding;

static void *serve(void *arg) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    wait_service(&stop_service);
    return arg;
}

static void *guard(void *arg) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    guard_run(&stop_guard);
    return arg;
}

/* Be the keeper, unless another launcher of this stack is: then it notices
 * deaths for us, and when it goes, everybody looks. `after` is the slot of a
 * keeper that we follow. Lock held. */
static void become_keeper(uint32_t after) {
    struct share *sh = self.sh;
    sh->procs[self.slot].keeper = true;
    if (sh->keeper_slot && sh->keeper_slot != after + 1)
        return;
    sh->keeper_slot = self.slot + 1;
    stop_guard = 0;
    guarding = pthread_create(&guard_thread, NULL, guard, NULL) == 0;
    if (!guarding)
        sh->keeper_slot = 0;
}

static void end_guard(void) {
    if (!guarding)
        return;
    stop_guard = 1;
    guard_ring();
    pthread_join(guard_thread, NULL);
    guarding = false;
}

static void sleep_ms(unsigned ms) {
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    sys_clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* Processes that are no keepers (two keepers would wait for each other), and
 * connections still being delivered. */
static void whats_left(unsigned *procs, unsigned *orphans) {
    share_enter();
    share_reap();
    *procs = 0;
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        *procs += self.sh->procs[i].pid != 0 && !self.sh->procs[i].keeper;
    *orphans = stack_orphans(self.st);
    share_leave();
}

/* Until nothing is left, or `limit` ms have passed without any process. */
static bool wait_for_rest(unsigned limit, bool processes_too) {
    unsigned procs, orphans, alone = 0;
    for (;;) {
        whats_left(&procs, &orphans);
        if (procs == 0 && orphans == 0)
            return true;
        if (procs > 0 && processes_too)
            alone = 0;
        if (alone >= limit)
            return false;
        unsigned step = processes_too ? LOOK_ROUND : 5;
        sleep_ms(step);
        alone += step;
    }
}

/* A copy of us without a terminal, which waits for the rest. */
static void stay_behind(struct keeper_result *out) {
    pthread_t t;
    uint32_t before = self.slot;
    end_guard();
    share_enter();
    int slot = share_fork_prepare();
    share_leave();
    pid_t pid = fork();
    if (pid != 0) {
        share_enter();
        share_fork_parent(slot, pid);
        share_leave();
        out->stays = pid > 0;
        return;
    }
    lock_forked();
    setsid();
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    share_enter();
    share_fork_child(slot, false);
    become_keeper(before);
    share_leave();
    stop_service = 0;
    if (pthread_create(&t, NULL, serve, NULL) == 0)
        wait_for_rest(ORPHAN_LIMIT, true);
    if (out->finish)
        out->finish();
    _exit(0);
}

/* Asleep in waitpid, with the lock that tells of the keeper's own death. */
static void wait_for_child(pid_t child, int *status) {
    bool first = guarding;
    if (first)
        lock_take(&self.sh->keeper_life);
    for (;;) {
        pid_t pid = waitpid(child, status, 0);
        if (pid == child || (pid < 0 && errno == ECHILD))
            break;
    }
    if (first)
        lock_give(&self.sh->keeper_life);
}

void share_keep(pid_t child, struct keeper_result *out) {
    pthread_t t;
    share_enter();
    become_keeper(self.slot);
    share_leave();
    bool serving = pthread_create(&t, NULL, serve, NULL) == 0;
    wait_for_child(child, &out->status);
    if (!wait_for_rest(PATIENCE, false))
        stay_behind(out);
    (void)serving; /* that thread ends with the process */
    end_guard();
    share_enter();
    if (self.sh->keeper_slot == self.slot + 1)
        self.sh->keeper_slot = 0;
    wait_retire(true); /* its service thread as well */
    self.sh->procs_seq++;
    share_leave();
    share_close_gate();
}
