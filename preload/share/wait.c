/* wait.c: sleeping until something happens; whoever waits, works.
 *
 * Theory of operation
 *
 * A thread that must wait is a `struct sleeper` in the arena. Of all sleepers
 * of all processes, one holds the *watch*: it sleeps in ppoll on the packet
 * socket (and on the kernel descriptors of its own wait), takes in frames,
 * runs timers, and the others are woken by what it found. The others *doze*:
 * on a futex word when they wait for the stack alone, else in ppoll on their
 * kernel descriptors and a *bell*, an eventfd from a pool that all processes
 * of the stack hold. So a frame costs one wake-up when it is for the watcher,
 * and two when it is for somebody else.
 *
 * All state (who watches, who sleeps, which bell is whose) changes under the
 * arena's lock only. A sleeper sets `asleep` and clears `rung` before it gives
 * the lock up; whoever wants it awake marks its waiter as fired (or makes it
 * the watcher) under the lock and rings after giving it up. The sleeper either
 * sees the ring or finds the changed state at its next look: no wake-up is
 * lost. A ring too many is harmless, since sleepers are never given back to
 * the allocator (type-stable) and look again.
 *
 * Passing the watch on: a watcher that leaves makes one of the dozing sleepers
 * its successor directly, and rings it. With nobody dozing the watch is free,
 * and a service thread (or the keeper) is woken, but not each time: after
 * being woken it first naps 2 ms, and goes on napping while the watch keeps
 * changing hands, a thread too busy to sleep looks at the interface itself, or
 * others use the stack while it watches: a thread that sends
 * reads the ACKs itself when it needs them, and to process each of them on
 * another processor only makes the two fight for the lock. A busy program
 * therefore pays one futex wake per 2 ms for having its connections served
 * while it computes. A service thread that holds
 * the watch is robbed of it by the first sleeper that comes; it notices when
 * the next frame wakes it. Until then it still sleeps on the interface, and
 * gets the watch back for nothing when the robber leaves.
 *
 * Death: the keeper is told of it (guard.c). Without a keeper, while more than
 * one process uses the stack, its threads look once a second whether the
 * others still exist, and whether the watcher was stopped; a single process
 * needs no such look, and makes no system call while it sleeps. What a dead
 * thread had promised, rings above all, is made good by waking everybody
 * (wait_recover). A process that ends in good order gives the watch away
 * before (wait_retire).
 *
 * The protocol is modelled in tests/model/watch.pml: a change here belongs
 * there first.
 */
#include "preload/share/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "netio/sys.h"
#include "preload/share/file.h"
#include "preload/share/inner.h"
#include "preload/share/nap.h"
#include "preload/share/spin.h"

#define MS 1000000u
#define NAP (2 * MS)
#define LOOK_ABOUT (1000 * MS) /* is the watcher alive? */
#define NO_BELL_LIMIT (5 * MS) /* mixed wait without a bell */

bool (*wait_restartable)(void);

/* This process's id, without asking the kernel. */
static int32_t own_pid(void) { return self.sh->procs[self.slot].pid; }

struct sleeper *sleeper_get(void) {
    struct share *sh = self.sh;
    struct list_node *n = list_pop_front(&sh->free_sleepers);
    struct sleeper *s = n ? container_of(n, struct sleeper, link)
                          : stack_alloc(self.st, sizeof(*s));
    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct sleeper, bell));
    __atomic_store_n(&s->bell, -1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->spinning, false, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->rung, 0, __ATOMIC_SEQ_CST);
    s->pid = own_pid();
    s->tid = (int32_t)lock_owner(&sh->lock); /* we hold it */
    list_push_back(&sh->sleepers, &s->link);
    return s;
}

static void bell_put(struct sleeper *s) {
    if (s->bell < 0)
        return;
    self.sh->bells_used &= ~(1u << s->bell);
    __atomic_store_n(&s->bell, -1, __ATOMIC_SEQ_CST);
}

/* A bell may have been left rung by its last owner: one look too many. */
static bool bell_get(struct sleeper *s) {
    struct share *sh = self.sh;
    if (s->bell >= 0)
        return true;
    uint32_t free = ~sh->bells_used & ((1u << SHARE_GUARD_BELL) - 1);
    if (!free)
        return false;
    __atomic_store_n(&s->bell, (int8_t)__builtin_ctz(free), __ATOMIC_SEQ_CST);
    sh->bells_used |= 1u << s->bell;
    return true;
}

struct watch *sleeper_watches(struct sleeper *s, unsigned n) {
    s->many = stack_alloc(self.st, n * sizeof(*s->many));
    s->nmany = s->many ? n : 0;
    return s->many;
}

void sleeper_unwatch(struct sleeper *s) {
    for (unsigned i = 0; i < s->nmany; i++)
        if (list_linked(&s->many[i].link))
            stack_watch_del(&s->many[i]);
    struct watch *many = s->many;
    unsigned n = s->nmany;
    s->many = NULL; /* first: should we die, nobody frees it twice */
    s->nmany = 0;
    stack_free(self.st, many, n * sizeof(*many));
}

void sleeper_put(struct sleeper *s) {
    list_remove(&s->w.wake_link);
    list_remove(&s->link);
    bell_put(s);
    list_push_front(&self.sh->free_sleepers, &s->link);
}

void sleeper_ring(struct sleeper *s) {
    if (__atomic_exchange_n(&s->rung, 1, __ATOMIC_SEQ_CST) ||
        __atomic_load_n(&s->spinning, __ATOMIC_SEQ_CST))
        return;
    /* Read after the exchange: a sleeper takes its bell before it clears
     * `rung`, so a ring that comes late, to a sleeper that sleeps again for
     * another reason, still goes where that one listens. */
    int bell = __atomic_load_n(&s->bell, __ATOMIC_SEQ_CST);
    if (bell >= 0) {
        uint64_t one = 1;
        sys_write(self.fd.bell[bell], &one, sizeof(one));
    } else {
        sys_futex(&s->rung, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

static struct timespec *to_timespec(struct timespec *ts, nstime_t until,
                                    nstime_t now) {
    if (until == NSTIME_NEVER)
        return NULL;
    nstime_t left = until > now ? until - now : 0;
    ts->tv_sec = (time_t)(left / 1000000000u);
    ts->tv_nsec = (long)(left % 1000000000u);
    return ts;
}

/* ---- the watch ---------------------------------------------------------- */

static void watch_take(struct sleeper *s) {
    self.sh->watcher = s;
    self.sh->watch_seq++;
}

/* A service thread that was robbed and has not noticed still sleeps on the
 * interface: the watch is its own again, without a ring. */
static void watch_give_back(void) {
    struct share *sh = self.sh;
    list_for_each(n, &sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        if (!s->service || !s->asleep || !s->polling || s->leaving ||
            s->suspect)
            continue;
        watch_take(s);
        sh->watch_until = s->until;
        return;
    }
}

/* The watch is free: make a sleeper other than `but` the watcher, if one can
 * be. */
static void watch_hand(struct sleeper *but) {
    struct share *sh = self.sh;
    list_for_each(n, &sh->sleepers) {
        struct sleeper *next = container_of(n, struct sleeper, link);
        if (next == but || next->service || !next->asleep || next->w.fired ||
            next->leaving || next->suspect)
            continue;
        watch_take(next);
        sh->watch_until = NSTIME_NEVER;
        sh->successor = next;
        return;
    }
    watch_give_back();
}

/* The watcher leaves: to a successor, or to nobody. */
static void watch_pass(struct sleeper *s) {
    if (self.sh->watcher != s)
        return;
    self.sh->watcher = NULL;
    watch_hand(s);
}

void wait_steal(void) {
    struct share *sh = self.sh;
    if (!sh->watcher)
        return;
    sh->watcher->suspect = true; /* until it wakes */
    sh->watcher = NULL;
    sh->count.watch_stolen++;
    wait_recover();
}

struct sleeper *wait_retime(void) {
    struct share *sh = self.sh;
    struct sleeper *s = sh->watcher;
    if (!s || !s->asleep)
        return NULL;
    nstime_t due = stack_deadline(self.st);
    if (due >= sh->watch_until)
        return NULL;
    sh->watch_until = due;
    return s;
}

/* The owner of the watch died or was stopped: take it from there. */
static void watch_check(void) {
    struct share *sh = self.sh;
    struct sleeper *s = sh->watcher;
    if (!s || s->pid == own_pid())
        return;
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        if (sh->procs[i].pid == s->pid && share_proc_alive(&sh->procs[i]) &&
            sys_tgkill(s->pid, s->tid, 0) != -ESRCH) {
            if (proc_stopped(s->pid))
                wait_steal();
            return; /* a thread may end alone: exec, for one */
        }
    sh->count.watch_takeover++;
    share_reap();
    if (sh->watcher == s) {
        sh->watcher = NULL;
        list_remove(&s->link);
        wait_recover();
    }
}

/* Rung whatever `rung` says: a ring that was promised may be in the hands of a
 * dead thread, between the exchange and the system call. */
static void ring_surely(struct sleeper *s) {
    __atomic_store_n(&s->rung, 0, __ATOMIC_SEQ_CST);
    sleeper_ring(s);
}

/* What a dead process had collected and not yet rung is not known, nor whom it
 * had taken an event from (an exclusive waiter that was woken and did not come
 * to accept): so everybody looks again. The rings are sent inside the lock:
 * should we die among them, the next holder is told and does all of it. */
void wait_recover(void) {
    struct share *sh = self.sh;
    if (!sh->watcher)
        watch_hand(NULL);
    list_for_each(n, &sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        if (!s->asleep)
            continue;
        if (!s->service)
            s->w.fired |= STACK_ERR;
        ring_surely(s);
    }
    sh->svc_armed = 0;
    sys_futex(&sh->svc_armed, FUTEX_WAKE, SHARE_PROCS, NULL, NULL, 0);
}

bool wait_mend_rings(void) {
    bool any = false;
    list_for_each(n, &self.sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        bool late = s->asleep && s->w.fired;
        if (late && s->late)
            ring_surely(s);
        s->late = late;
        any |= late;
    }
    return any;
}

void wait_forget_process(int pid) {
    struct share *sh = self.sh;
    list_for_each_safe(n, &sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        if (s->pid != pid)
            continue;
        if (list_linked(&s->one.link))
            stack_watch_del(&s->one);
        sleeper_unwatch(s);
        if (sh->watcher == s)
            sh->watcher = NULL;
        if (s->pin)
            file_put(s->pin);
        stack_loan_drop(self.st, &s->loan);
        sleeper_put(s);
    }
}

void wait_retire(bool leaving) {
    struct share *sh = self.sh;
    int32_t pid = own_pid();
    list_for_each(n, &sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        if (s->pid == pid)
            __atomic_store_n(&s->leaving, leaving, __ATOMIC_SEQ_CST);
    }
    if (sh->watcher && sh->watcher->leaving)
        watch_pass(sh->watcher);
}

/* Must this process look whether the others are alive? A keeper is told
 * (guard.c); without one, everybody looks while there is more than one. */
static bool must_look(void) {
    struct share *sh = self.sh;
    bool keeper = sh->keeper_slot && !lock_orphaned(&sh->keeper_life);
    return !keeper && sh->nprocs > 1;
}

/* When the next look at the other processes is due: a second after the last
 * one, whoever took it. */
static nstime_t look_time(void) {
    return must_look() ? self.sh->looked + LOOK_ABOUT : NSTIME_NEVER;
}

/* Is it time? Then whoever comes first looks who has died. */
static void look_about(void) {
    nstime_t now = share_clock();
    if (now < look_time())
        return;
    self.sh->looked = now;
    watch_check();
    share_reap();
    wait_mend_rings();
}

/* ---- one sleep ---------------------------------------------------------- */

#define OWN_FDS 3 /* in front of the caller's: interface, bell, join socket */

struct nap {
    struct sleeper *s;
    struct pollfd *fds; /* OWN_FDS + nk entries */
    int nk;
    nstime_t deadline;
    const sigset_t *mask;
    bool kernel_ready, interrupted;
};

/* From here on rings count. Gives the lock up, but counts as inside: handlers
 * wait until the sleeper and its watches are put away (nap.c). */
static void fall_asleep(struct sleeper *s) {
    s->asleep = true;
    __atomic_store_n(&s->rung, 0, __ATOMIC_SEQ_CST);
    share_inside++;
    share_leave();
}

static void nap_for(nstime_t ns) {
    struct timespec ts = {0, (long)ns};
    sys_clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

void wait_outside(struct sleeper *s) {
    share_inside++;
    share_leave();
}

void wait_inside(struct sleeper *s) {
    share_enter();
    share_inside--;
}

static void wake_up(struct sleeper *s) {
    share_enter();
    share_inside--;
    s->asleep = s->suspect = false;
}

nstime_t wait_spin;

/* The `spin` setting: look again and again before sleeping. The result of the
 * last ppoll, 0 when nothing came in time. */
static long spin_poll(struct nap *n, nstime_t until) {
    static const struct timespec none;
    nstime_t end = share_clock() + wait_spin;
    long r;
    do {
        r = nap_syscall(SYS_ppoll, n->fds, OWN_FDS + n->nk, &none, n->mask,
                        SYS_SIGSET_SIZE);
    } while (r == 0 && share_clock() < (end < until ? end : until));
    return r;
}

#define SPLIT_STEP (5 * MS)

/* The program may poll as many descriptors as its limit allows, and ours come
 * on top: EINVAL (poll(2)). Then ours are slept on, and its own looked at. */
static long poll_split(struct nap *n, nstime_t until) {
    struct timespec ts, none = {0, 0};
    nstime_t now = share_clock();
    nstime_t end = until < now + SPLIT_STEP ? until : now + SPLIT_STEP;
    self.sh->count.poll_split++;
    long r = nap_syscall(SYS_ppoll, n->fds, OWN_FDS, to_timespec(&ts, end, now),
                         n->mask, SYS_SIGSET_SIZE);
    if (r < 0)
        return r;
    long k = sys_ppoll(n->fds + OWN_FDS, (unsigned)n->nk, &none, NULL);
    return k < 0 ? k : r + k;
}

/* Give the lock up, ppoll, take it again. The first OWN_FDS entries of fds are
 * set; unused ones are -1. */
static void nap_poll(struct nap *n, nstime_t until) {
    struct timespec ts;
    struct sleeper *s = n->s;
    long r = 0;
    fall_asleep(s);
    nap_mask = n->mask;
    if (wait_spin && n->fds[0].fd >= 0 && !s->service)
        r = spin_poll(n, until);
    struct timespec *tp = to_timespec(&ts, until, share_clock());
    if (r == 0)
        r = nap_syscall(SYS_ppoll, n->fds, OWN_FDS + n->nk, tp, n->mask,
                        SYS_SIGSET_SIZE);
    if (r == -EINVAL)
        r = poll_split(n, until);
    nap_mask = NULL;
    wake_up(s);
    n->interrupted = r == -EINTR;
    if (r <= 0)
        for (int i = 0; i < OWN_FDS + n->nk; i++)
            n->fds[i].revents = 0;
    if (n->fds[1].revents) {
        uint64_t v;
        sys_read(n->fds[1].fd, &v, sizeof(v));
    }
    for (int i = 0; i < n->nk && r > 0 && !n->kernel_ready; i++)
        n->kernel_ready = n->fds[OWN_FDS + i].revents != 0;
}

static void nap_own_fds(struct nap *n, bool watching) {
    bool bell = n->s->bell >= 0;
    n->fds[0] = (struct pollfd){watching ? self.io->fd : -1, POLLIN, 0};
    n->fds[1] =
        (struct pollfd){bell ? self.fd.bell[n->s->bell] : -1, POLLIN, 0};
    n->fds[2] = (struct pollfd){watching ? self.fd.join : -1, POLLIN, 0};
}

/* As the watcher: sleep on the interface, then work. */
static void nap_watching(struct nap *n) {
    struct share *sh = self.sh;
    bool bell = bell_get(n->s);
    nap_own_fds(n, true);
    stack_flush(self.st);
    nstime_t due = stack_deadline(self.st);
    nstime_t until = due < n->deadline ? due : n->deadline;
    if (!bell) { /* nobody could ring us: look about now and then */
        nstime_t limit = share_clock() + NO_BELL_LIMIT;
        until = until < limit ? until : limit;
        sh->count.bell_short++;
    }
    if (n->s->service && must_look()) {
        nstime_t limit = share_clock() + LOOK_ABOUT;
        until = until < limit ? until : limit;
    }
    nstime_t look = look_time();
    sh->watch_until = n->s->until = until;
    n->s->polling = true;
    nap_poll(n, until < look ? until : look);
    n->s->polling = false;
    sh->watch_turns++;
    look_about();
    if (sh->watcher != n->s)
        return; /* robbed: the robber works */
    if (n->fds[2].revents)
        share_serve_join();
    wait_take_in(n->s);
}

/* What comes from inside the stack comes soon. Who rings either sees that we
 * are looking, or we see what it did when we take the lock again. */
static void nap_spinning(struct nap *n) {
    struct sleeper *s = n->s;
    s->spinning = true;
    fall_asleep(s);
    spin_for(&s->rung);
    __atomic_store_n(&s->spinning, false, __ATOMIC_SEQ_CST);
    wake_up(s);
    n->interrupted = share_deferred != 0;
    spin_judge(s->w.fired != 0);
}

/* As anybody else: sleep until rung. */
static void nap_dozing(struct nap *n) {
    struct share *sh = self.sh;
    struct sleeper *s = n->s;
    bool mixed = n->nk > 0 || n->mask;
    nstime_t now = share_clock(), until = n->deadline, look = look_time();
    if (look < until)
        until = look;
    if (mixed && !bell_get(s)) {
        sh->count.bell_short++;
        until = now + NO_BELL_LIMIT < until ? now + NO_BELL_LIMIT : until;
    }
    if (mixed || s->bell >= 0) {
        nap_own_fds(n, false);
        nap_poll(n, until);
    } else {
        struct timespec ts;
        fall_asleep(s);
        struct timespec *tp = to_timespec(&ts, until, share_clock());
        /* With a time limit each signal ends it, SA_RESTART or not. */
        static const struct timespec ever = {1 << 30, 0};
        long r = nap_syscall(SYS_futex, &s->rung, FUTEX_WAIT, NULL,
                             tp ? tp : &ever, 0);
        wake_up(s);
        n->interrupted = r == -EINTR;
    }
    look_about();
}

/* Calls of pthread_cancel in this process, and those that this thread has
 * taken notice of. The C library cannot be asked whether a cancellation is
 * pending, only told to act on it, which must not be inside the section. */
static uint32_t cancels;
static __thread uint32_t cancels_seen;

void wait_poke(void) {
    cancels++;
    wait_again();
}

static enum wait_result nap_until_done(struct nap *n) {
    struct share *sh = self.sh;
    struct sleeper *s = n->s;
    for (;;) {
        if (n->kernel_ready)
            return WAIT_KERNEL;
        if (s->w.fired)
            return WAIT_FIRED;
        if (n->interrupted)
            return WAIT_EINTR;
        if (cancels_seen != cancels) {
            cancels_seen = cancels;
            return WAIT_CANCEL;
        }
        if (n->deadline != NSTIME_NEVER && share_clock() >= n->deadline)
            return WAIT_TIMEOUT;
        if (sh->watcher != s && !s->leaving && spin_worthwhile()) {
            nap_spinning(n);
            continue;
        }
        if (!s->leaving &&
            (!sh->watcher || (sh->watcher->service && sh->watcher != s)))
            watch_take(s);
        if (sh->watcher == s)
            nap_watching(n);
        else
            nap_dozing(n);
        if (s->restless && !s->w.fired && !n->interrupted)
            return WAIT_TIMEOUT;
    }
}

#define ON_STACK 61

enum wait_result wait_sleep(struct sleeper *s, struct pollfd *kfds, int nk,
                            nstime_t deadline, const sigset_t *mask) {
    struct pollfd small[OWN_FDS + ON_STACK], *fds = small;
    size_t bytes = sizeof(*fds) * (size_t)(OWN_FDS + nk);
    if (nk > ON_STACK) {
        fds = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (sys_is_err(fds))
            return WAIT_TIMEOUT;
    }
    if (nk > 0)
        memcpy(fds + OWN_FDS, kfds, sizeof(*fds) * (size_t)nk);
    struct nap n = {s, fds, nk, deadline, mask, false, false};
    enum wait_result r = nap_until_done(&n);
    watch_pass(s);
    bell_put(s);
    if (nk > 0)
        memcpy(kfds, fds + OWN_FDS, sizeof(*fds) * (size_t)nk);
    if (fds != small)
        sys_munmap(fds, bytes);
    return r;
}

/* ---- signals and cancellation ------------------------------------------- */

/* References that this thread's interrupted waits hold, and how deep in the
 * stack each wait is. A handler that leaves by siglongjmp leaves its entry
 * behind; wait_unpark finds it. */
static __thread struct parked {
    struct file *f;
    uintptr_t sp;
} parked[4];
static __thread int nparked;

void wait_unpark(uintptr_t sp) {
    while (nparked > 0 && parked[nparked - 1].sp < sp) {
        struct file *f = parked[--nparked].f;
        share_enter();
        self.sh->parked--;
        file_put(f);
        share_leave();
    }
}

/* The thread is cancelled: its reference goes, as after a siglongjmp. */
static void cancelled(void *at) { wait_unpark(UINTPTR_MAX); }

/* A wait has ended with `why`, and everything is put away. Let the handler
 * run, and a cancellation act, outside the lock. 0: go on waiting; -EINTR. */
static int interrupted(struct file *held, enum wait_result why,
                       nstime_t deadline) {
    bool park = held && nparked < (int)(sizeof(parked) / sizeof(parked[0]));
    if (wait_restartable)
        wait_restartable(); /* forget what ran before */
    if (park) {
        parked[nparked++] = (struct parked){held, (uintptr_t)&park};
        self.sh->parked++;
    }
    pthread_cleanup_push(cancelled, NULL);
    share_leave();
    pthread_testcancel();
    pthread_cleanup_pop(0);
    share_enter();
    if (park) {
        nparked--;
        self.sh->parked--;
    }
    if (why == WAIT_CANCEL)
        return 0; /* it was another thread */
    /* A call with a time-out is not restarted: signal(7). */
    if (deadline == NSTIME_NEVER && wait_restartable && wait_restartable())
        return 0;
    return -EINTR;
}

int wait_held(struct source *src, struct file *held, uint32_t events,
              nstime_t deadline) {
    return wait_twin(src, held, events, -1, deadline);
}

int wait_placed(struct source *src, struct file *held, uint32_t events,
                nstime_t deadline, struct stack_place *place) {
    wait_placing = place;
    return wait_twin(src, held, events, -1, deadline);
}

int wait_twin(struct source *src, struct file *held, uint32_t events, int fd,
              nstime_t deadline) {
    struct stack_place *place = wait_placing;
    struct pollfd k = {fd, POLLIN, 0};
    struct sleeper *s = sleeper_get();
    if (!s) {
        wait_placing = NULL;
        return -ENOMEM;
    }
    s->one = (struct watch){
        .events = events | STACK_ERR | STACK_HUP,
        .kind = WATCH_WAITER,
        .owner = &s->w,
    };
    s->pin = held;
    stack_watch_add(src, &s->one);
    enum wait_result r = wait_sleep(s, &k, fd >= 0, deadline, NULL);
    wait_placing = NULL;
    stack_watch_del(&s->one);
    s->pin = NULL;
    sleeper_put(s);
    if (place && place->got) /* read: whatever else there is comes later */
        return 0;
    if (r == WAIT_EINTR || r == WAIT_CANCEL)
        return interrupted(held, r, deadline);
    return r == WAIT_TIMEOUT ? -EAGAIN : 0;
}

int wait_source(struct source *src, struct file *pin, uint32_t events,
                nstime_t deadline) {
    if (pin)
        file_get(pin);
    int r = wait_held(src, pin, events, deadline);
    if (pin)
        file_put(pin);
    return r;
}

/* ---- service threads and the keeper ------------------------------------- */

/* Does another service thread sleep until the watch is free? */
static bool others_idle(const struct sleeper *me) {
    list_for_each(n, &self.sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        if (s != me && s->service && s->asleep && !s->polling)
            return true;
    }
    return false;
}

/* Somebody else watches: sleep until the watch is free, then nap. A ring wakes
 * one service thread and disarms them all, so the one that woke arms it again
 * for the others: the next free watch is not for it, if it is leaving. */
static void service_idle(struct sleeper *s) {
    struct share *sh = self.sh;
    struct timespec second = {1, 0};
    nstime_t look = look_time();
    sh->svc_armed = 1;
    s->asleep = true;
    share_leave();
    long r = sys_futex(&sh->svc_armed, FUTEX_WAIT, 1,
                       look < NSTIME_NEVER ? &second : NULL, NULL, 0);
    if (r != -ETIMEDOUT)
        nap_for(NAP);
    share_enter();
    s->asleep = s->suspect = false;
    if (others_idle(s))
        sh->svc_armed = 1;
    look_about();
}

void wait_service(volatile int *stop) {
    struct pollfd fds[OWN_FDS];
    share_enter();
    struct sleeper *s = sleeper_get();
    if (!s) {
        share_leave();
        return;
    }
    s->service = true;
    struct share *sh = self.sh;
    uint64_t seen = sh->watch_seq;
    bool busy = false;
    while (!*stop) {
        if (!sh->watcher && (busy || sh->watch_seq != seen)) {
            busy = false; /* not yet */
            seen = sh->watch_seq;
            share_leave();
            nap_for(NAP);
            share_enter();
            continue;
        }
        if (!sh->watcher && !s->leaving)
            watch_take(s);
        if (sh->watcher == s) {
            struct nap n = {s, fds, 0, NSTIME_NEVER, NULL, false, false};
            uint64_t sections = sh->lock.taken;
            nap_watching(&n);
            if (sh->watcher == s && sh->lock.taken - sections > 1) {
                watch_pass(s);
                busy = true;
            }
        } else {
            service_idle(s);
        }
        seen = sh->watch_seq;
    }
    watch_pass(s);
    sleeper_put(s);
    share_leave();
}
