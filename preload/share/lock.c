/* lock.c: the arena's lock.
 *
 * Theory of operation
 *
 * A futex word holding the owner's thread id (futex(2), "robust list"). While
 * a thread takes, holds or gives the lock, the `list_op_pending` pointer of
 * its robust list names it. When the thread dies at any of these moments, the
 * kernel looks at that pointer: is the word still the thread's, it sets
 * FUTEX_OWNER_DIED and wakes a waiter; is it zero, it wakes a waiter. So a
 * holder that is killed never blocks the others, without a system call on the
 * way in or out. We share glibc's robust list head, found by
 * get_robust_list(2), instead of setting our own: only the pending pointer is
 * used, and no pthread mutex is touched while the lock is held, so glibc never
 * sees it set.
 *
 * The word lies 32 bytes before the pointer's target, because glibc's
 * futex_offset says so; where it does not, death goes undetected (robust
 * stays NULL) and everything else works.
 *
 * One case the kernel does not cover: a waiter is woken, a third thread takes
 * the lock first (which clears FUTEX_WAITERS), and the woken one is killed
 * before it sets that mark again. The word is then neither the dead thread's
 * nor free, and the other waiters are forgotten; the same when a giver dies
 * between its exchange and its wake. So waiters sleep for a limited time only
 * (tests/model/lock.pml finds both cases without the limit).
 *
 * Waiters spin for a moment before they sleep: sections are a few microseconds
 * long, and pthread mutexes, which do not spin, were half as fast with two
 * processes.
 *
 * A waiter that was woken competes with those who come by and with the giver
 * itself, and on a loaded machine it can lose for most of a second. So one that
 * has lost a few times names itself in `starving`, and newcomers let it pass:
 * they sleep until it has the lock, but for a limited time, since it may be
 * dead or stopped.
 */
#include "preload/share/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include "netio/sys.h"

#define SPINS 400
#define LIMIT_NS 20000000 /* of one sleep: see above */
#define LOSSES 3          /* sleeps in vain that make a waiter starve */
#define ASIDE_NS 5000000  /* how long newcomers let it pass */

/* linux/futex.h's struct robust_list_head, with the fields we touch. */
struct robust {
    void *next;
    long futex_offset;
    void *pending;
};

bool (*lock_stuck)(struct lock *l, uint32_t tid);
void (*lock_unstuck)(uint32_t tid);

static __thread uint32_t my_tid;
static __thread struct robust *my_robust;

static void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static unsigned threads FORKED;

static void learn_thread(void) {
    struct robust *head = NULL;
    size_t len = 0;
    my_tid = (uint32_t)sys_gettid();
    __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
    long r =
        sys_call6(SYS_get_robust_list, 0, (long)&head, (long)&len, 0, 0, 0);
    long want = (long)offsetof(struct lock, word) -
                (long)offsetof(struct lock, list_next);
    my_robust = r == 0 && head && head->futex_offset == want ? head : NULL;
}

static void set_pending(struct lock *l) {
    if (my_robust)
        *(void *volatile *)&my_robust->pending = l ? &l->list_next : NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void lock_init(struct lock *l) { *l = (struct lock){0}; }

unsigned lock_threads(void) {
    return __atomic_load_n(&threads, __ATOMIC_RELAXED);
}

void lock_forked(void) {
    my_tid = 0;
    threads = 0;
    set_pending(NULL);
}

static bool take_if_free(struct lock *l, bool *died, uint32_t waiters) {
    uint32_t v = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
    if (v & FUTEX_TID_MASK)
        return false;
    uint32_t mine = my_tid | (v & FUTEX_WAITERS) | waiters;
    if (!__atomic_compare_exchange_n(&l->word, &v, mine, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    *died = (v & FUTEX_OWNER_DIED) != 0;
    __atomic_store_n(&l->taken, l->taken + 1, __ATOMIC_RELAXED);
    return true;
}

/* Somebody else starves: let it pass. It tells us when it has the lock; if it
 * does not in time, it goes last. */
static void step_aside(struct lock *l) {
    struct timespec limit = {0, ASIDE_NS};
    uint32_t who = __atomic_load_n(&l->starving, __ATOMIC_RELAXED);
    if (who == 0 || who == my_tid)
        return;
    sys_futex(&l->starving, FUTEX_WAIT, who, &limit, NULL, 0);
    __atomic_compare_exchange_n(&l->starving, &who, 0, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
}

static void no_longer_starving(struct lock *l) {
    uint32_t who = my_tid;
    if (__atomic_compare_exchange_n(&l->starving, &who, 0, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        sys_futex(&l->starving, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

bool lock_try(struct lock *l, bool *died) {
    if (!my_tid)
        learn_thread();
    set_pending(l);
    if (take_if_free(l, died, 0))
        return true;
    set_pending(NULL);
    return false;
}

/* A sleep has ended for want of time: did the holder stand still all the while?
 * Then perhaps it is stopped. */
static uint32_t set_going(struct lock *l, uint32_t v, uint64_t taken) {
    uint32_t tid = v & FUTEX_TID_MASK;
    uint64_t now = __atomic_load_n(&l->taken, __ATOMIC_RELAXED);
    uint32_t word = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
    bool still = now == taken && (word & FUTEX_TID_MASK) == tid;
    return still && lock_stuck && lock_stuck(l, tid) ? tid : 0;
}

/* After spinning in vain. The thread that was set going meanwhile, or 0. */
static uint32_t take_asleep(struct lock *l, bool *died) {
    struct timespec limit = {0, LIMIT_NS};
    uint32_t going = 0;
    for (unsigned lost = 0;; lost++) {
        uint64_t taken = __atomic_load_n(&l->taken, __ATOMIC_RELAXED);
        uint32_t v = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
        if (lost >= LOSSES)
            __atomic_store_n(&l->starving, my_tid, __ATOMIC_RELAXED);
        /* We may not be the only sleeper: keep the mark when we get it. */
        if (take_if_free(l, died, FUTEX_WAITERS))
            return going;
        if (!(v & FUTEX_TID_MASK))
            continue;
        if (!(v & FUTEX_WAITERS) &&
            !__atomic_compare_exchange_n(&l->word, &v, v | FUTEX_WAITERS, false,
                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        v |= FUTEX_WAITERS;
        if (sys_futex(&l->word, FUTEX_WAIT, v, &limit, NULL, 0) == -ETIMEDOUT) {
            uint32_t tid = set_going(l, v, taken);
            if (tid) {
                going = tid;
                lost = LOSSES; /* we go first */
            }
        }
    }
}

bool lock_take(struct lock *l) {
    bool died = false;
    if (!my_tid)
        learn_thread();
    if (__builtin_expect(__atomic_load_n(&l->starving, __ATOMIC_RELAXED) != 0,
                         0))
        step_aside(l);
    set_pending(l);
    for (int i = 0; i < SPINS; i++) {
        if (take_if_free(l, &died, 0))
            return died;
        cpu_relax();
    }
    uint32_t going = take_asleep(l, &died);
    l->contended++;
    if (__atomic_load_n(&l->starving, __ATOMIC_RELAXED) == my_tid)
        no_longer_starving(l);
    if (going && lock_unstuck)
        lock_unstuck(going);
    return died;
}

bool lock_orphaned(const struct lock *l) {
    return __atomic_load_n(&l->word, __ATOMIC_RELAXED) & FUTEX_OWNER_DIED;
}

void lock_give(struct lock *l) {
    uint32_t v = __atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE);
    if (v & FUTEX_WAITERS)
        sys_futex(&l->word, FUTEX_WAKE, 1, NULL, NULL, 0);
    set_pending(NULL);
}
