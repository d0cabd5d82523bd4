/* epoll.c: epoll sets of stack and kernel descriptors.
 *
 * Theory of operation
 *
 * The program's epoll descriptor is a real epoll of the kernel, which holds
 * the kernel's descriptors. Beside it stands a pollset of the stack, for the
 * stack's sockets; both hang on one `struct file`, so that dup, fork and exec
 * keep them together. A set gets its stack side when it is made, if the
 * process has a stack by then, or with its first stack socket (then copies
 * made of the descriptor before do not know of it).
 *
 * epoll_wait takes what both sides have, the stack's first or the kernel's
 * first in turn when there is more than the caller has room for. With nothing
 * ready it sleeps on the kernel's epoll as one more descriptor, and on a watch
 * of the pollset. Level, edge and one-shot rules are each side's own.
 *
 * A set without stack items waits in the kernel. When another thread then adds
 * the first stack socket, the sleepers in the kernel have to come back: an
 * always-ready descriptor (a prototype of ours, never seen by the program) is
 * put into the kernel's set, which wakes them one after the other; the last
 * one takes it out again. `in_kernel` says how many there are.
 *
 * An epoll set inside another is a kernel item and a stack item of the outer
 * one under the same data; an event of both is reported once.
 */
#include <pthread.h>
#include <sys/epoll.h>

#include "preload/batch.h"
#include "preload/multi.h"

#define STACK_BATCH 128   /* stack events of one call */
#define KERNEL_LOOK 50000 /* ns, see kernel_due */
#define WAKE_TRIES 1000   /* a waiter may have been killed */

/* What epoll_ctl(2) allows beside EPOLLEXCLUSIVE. */
#define EXCLUSIVE_OK                                                           \
    ((uint32_t)(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP |       \
                EPOLLET | EPOLLEXCLUSIVE))

/* Marks the event that calls sleepers back; no pointer or descriptor of the
 * program is this address. */
static char wake_mark;
static unsigned wake_seen; /* times since the last waiter left; a limit */

/* Sets without a stack side yet: threads in epoll_wait(2), by descriptor. */
static uint32_t in_kernel[FILE_TABLE];

static struct file *set_of(int ep) {
    struct file *f = stack_file(ep);
    return f && f->kind == FILE_EPOLL ? f : NULL;
}

static uint32_t *waiters_of(int ep) {
    struct file *set = set_of(ep);
    if (set)
        return &set->in_kernel;
    return (unsigned)ep < FILE_TABLE ? &in_kernel[ep] : NULL;
}

/* ---- making ------------------------------------------------------------- */

/* Give ep, an epoll descriptor, its stack side. Lock held. */
static int adopt(int ep) {
    struct pollset *ps = stack_pollset_new(self.st);
    struct file *f = ps ? file_new(FILE_EPOLL, NULL, ps) : NULL;
    if (!f) {
        if (ps)
            stack_pollset_free(self.st, ps);
        return -ENOMEM;
    }
    file_get(f); /* so that a failure below frees it */
    int r = file_map(ep, f);
    if (r == 0)
        f->in_kernel = __atomic_load_n(&in_kernel[ep], __ATOMIC_SEQ_CST);
    file_put(f);
    return r;
}

/* A new epoll of the kernel; ours from the start if there is a stack. */
static int created(int ep) {
    if (ep < 0 || ep >= FILE_TABLE || !self.sh || preload_vforked)
        return ep;
    share_enter();
    int r = adopt(ep);
    share_leave();
    if (r < 0) {
        sys_close(ep);
        errno = -r;
        return -1;
    }
    return ep;
}

EXPORT int epoll_create(int size) { return created(real.epoll_create(size)); }

EXPORT int epoll_create1(int flags) {
    return created(real.epoll_create1(flags));
}

/* ---- epoll_ctl ---------------------------------------------------------- */

static void call_back(int ep, struct file *set) {
    struct epoll_event e = {EPOLLOUT | EPOLLHUP, {.ptr = &wake_mark}};
    if (__atomic_load_n(&set->in_kernel, __ATOMIC_SEQ_CST)) {
        wake_seen = 0;
        sys_epoll_ctl(ep, EPOLL_CTL_ADD, self.fd.proto, &e);
    }
}

/* One operation on the stack side of ep, which is an epoll. Lock held. */
static int ctl_stack(int ep, int op, int fd, struct source *src,
                     const struct epoll_event *ev) {
    struct file *set = set_of(ep);
    if (!set) {
        if (op != EPOLL_CTL_ADD)
            return -ENOENT;
        int r = adopt(ep);
        if (r < 0)
            return r;
        set = set_of(ep);
    }
    if (op != EPOLL_CTL_DEL && ev->events & EPOLLEXCLUSIVE &&
        (op == EPOLL_CTL_MOD || ev->events & ~EXCLUSIVE_OK))
        return -EINVAL;
    bool first = stack_pollset_count(set->ps) == 0;
    int r =
        stack_pollset_ctl(self.st, set->ps, (enum stack_ctl)op, (uint32_t)fd,
                          src, ev ? ev->events : 0, ev ? ev->data.u64 : 0);
    if (r == 0 && first && op == EPOLL_CTL_ADD)
        call_back(ep, set);
    return r;
}

/* Is ep an epoll at all? 0, or what the kernel says of it: EBADF, EINVAL. fd
 * is a stack descriptor, never registered with the kernel. */
static int check_epoll(int ep, int fd) {
    struct epoll_event e = {0};
    long r = sys_epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
    return r == -ENOENT ? 0 : (int)r;
}

static int ctl_sock(int ep, int op, int fd, struct epoll_event *ev) {
    int r = set_of(ep) ? 0 : check_epoll(ep, fd);
    if (r < 0)
        return r;
    share_enter();
    struct file *f = file_of(fd);
    r = !f ? -EBADF : ctl_stack(ep, op, fd, stack_sock_source(f->so), ev);
    share_leave();
    return r;
}

/* fd is an epoll set itself: the kernel's side first, which checks for loops
 * and everything else. */
static int ctl_nested(int ep, int op, int fd, struct epoll_event *ev) {
    int r = (int)sys_epoll_ctl(ep, op, fd, ev);
    if (r < 0)
        return r;
    share_enter();
    struct file *f = set_of(fd);
    r = f ? ctl_stack(ep, op, fd, stack_pollset_source(f->ps), ev) : 0;
    if (r == -ENOENT)
        r = 0; /* added before it had a stack side */
    else if (r == 0 && f)
        set_of(ep)->nested = true;
    share_leave();
    if (r < 0 && op == EPOLL_CTL_ADD)
        sys_epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
    return r;
}

/* fd is a listener with a twin (twin.c): on the kernel's side as well, unless
 * it was put into the set before it had one. */
static int ctl_twin(int ep, int op, int fd, struct epoll_event *ev) {
    int k = (int)sys_epoll_ctl(ep, op, fd, ev);
    if (k < 0 && (op == EPOLL_CTL_ADD || k != -ENOENT))
        return k;
    share_enter();
    struct file *f = file_of(fd);
    int r = f && f->twin_ino
                ? ctl_stack(ep, op, fd, stack_sock_source(f->so), ev)
                : -EBADF;
    if (r == 0)
        set_of(ep)->twins = true;
    share_leave();
    if (r < 0 && op == EPOLL_CTL_ADD)
        sys_epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
    return r;
}

EXPORT int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev) {
    struct file *f = stack_file(fd);
    if (!f)
        return real.epoll_ctl(ep, op, fd, ev);
    if (op != EPOLL_CTL_DEL && user_readable(ev, sizeof(*ev)) < 0)
        RETURN(-EFAULT);
    if (op < EPOLL_CTL_ADD || op > EPOLL_CTL_MOD)
        RETURN(-EINVAL);
    if (f->kind == FILE_EPOLL)
        RETURN(ctl_nested(ep, op, fd, ev));
    RETURN(f->twin_ino ? ctl_twin(ep, op, fd, ev) : ctl_sock(ep, op, fd, ev));
}

/* ---- collecting --------------------------------------------------------- */

static int from_stack(struct file *set, struct epoll_event *ev, int max) {
    struct stack_pollev got[STACK_BATCH];
    int n = stack_pollset_collect(self.st, set->ps, got,
                                  max < STACK_BATCH ? max : STACK_BATCH);
    for (int i = 0; i < n; i++) {
        ev[i].events = got[i].events;
        ev[i].data.u64 = got[i].data;
    }
    return n;
}

/* Take the call to come back out of ev. The last sleeper takes it out of the
 * kernel's set as well. Returns how many events are left. */
static int drop_wake(int ep, struct file *set, struct epoll_event *ev, int n) {
    for (int i = 0; i < n; i++) {
        if (ev[i].data.ptr != &wake_mark)
            continue;
        if (__atomic_load_n(&set->in_kernel, __ATOMIC_SEQ_CST) == 0 ||
            ++wake_seen > WAKE_TRIES) {
            sys_epoll_ctl(ep, EPOLL_CTL_DEL, self.fd.proto, NULL);
            set->in_kernel = 0;
        } else {
            sys_sched_yield();
        }
        ev[i] = ev[--n];
        i--;
    }
    return n;
}

static int from_kernel(int ep, struct file *set, struct epoll_event *ev,
                       int max) {
    long n = sys_epoll_pwait(ep, ev, max, 0, NULL);
    return n > 0 ? drop_wake(ep, set, ev, (int)n) : (int)n;
}

/* Events that both sides of nested sets report, once. ev: a of one side, then
 * b of the other. */
static int merge(struct epoll_event *ev, int a, int b) {
    int n = a;
    for (int i = a; i < a + b; i++) {
        int j = 0;
        while (j < a && ev[j].data.u64 != ev[i].data.u64)
            j++;
        if (j < a)
            ev[j].events |= ev[i].events;
        else
            ev[n++] = ev[i];
    }
    return n;
}

/* Is it time to ask the kernel, too? A server that is busy with stack sockets
 * need not at each turn; a set inside others must, for its events are merged.
 * The kernel's descriptors wait at most KERNEL_LOOK longer. */
static bool kernel_due(const struct file *set) {
    static __thread nstime_t looked;
    nstime_t now = share_clock();
    if (!set->nested && now - looked < KERNEL_LOOK)
        return false;
    looked = now;
    return true;
}

/* What both sides have, without waiting. Lock held. Events or -errno. */
static int collect(int ep, struct file *set, struct epoll_event *ev, int max) {
    static __thread bool kernel_first;
    int a, b = 0;
    a = kernel_first ? from_kernel(ep, set, ev, max) : from_stack(set, ev, max);
    if (a < 0)
        return a;
    if (a < max)
        b = kernel_first ? from_stack(set, ev + a, max - a)
                         : from_kernel(ep, set, ev + a, max - a);
    else
        kernel_first = !kernel_first; /* the other side's turn next time */
    if (b < 0)
        return a ? a : b;
    return (set->nested || set->twins) && a && b ? merge(ev, a, b) : a + b;
}

/* ---- waiting ------------------------------------------------------------ */

/* Sleep until either side may have something. Lock held. */
static int sleep_on(int ep, struct file *set, nstime_t deadline,
                    const sigset_t *mask) {
    struct pollfd k = {ep, POLLIN, 0};
    struct sleeper *s = sleeper_get();
    if (!s)
        return -ENOMEM;
    s->one = (struct watch){
        .events = STACK_IN,
        .kind = WATCH_WAITER,
        .owner = &s->w,
    };
    s->pin = set;
    file_get(set);
    stack_watch_add(stack_pollset_source(set->ps), &s->one);
    int r = (int)wait_sleep(s, &k, 1, deadline, mask);
    stack_watch_del(&s->one);
    s->pin = NULL;
    sleeper_put(s);
    file_put(set);
    return r;
}

/* Events, 0 at the deadline, or -errno. */
static int wait_set(int ep, struct epoll_event *ev, int max, nstime_t deadline,
                    const sigset_t *mask) {
    bool late = deadline == 0, kernel = late;
    for (;;) {
        struct file *set = set_of(ep);
        if (!set)
            return -EBADF;
        kernel = kernel || kernel_due(set);
        int n = kernel ? collect(ep, set, ev, max) : from_stack(set, ev, max);
        if (n == 0 && (late || !wait_sparse())) {
            wait_drain_lazy();
            n = set->nested ? collect(ep, set, ev, max)
                            : from_stack(set, ev, max);
        }
        if (n || late)
            return n;
        int r = sleep_on(ep, set, deadline, mask);
        if (r < 0)
            return r;
        if (r == WAIT_EINTR)
            return -EINTR;
        if (r == WAIT_CANCEL) {
            share_leave();
            pthread_testcancel();
            share_enter();
        }
        late = r == WAIT_TIMEOUT;
        kernel = r != WAIT_FIRED; /* else the sleep saw nothing of its side */
    }
}

/* A set with stack items. */
static int wait_mixed(int ep, struct epoll_event *ev, int max,
                      nstime_t deadline, const sigset_t *mask) {
    if (max <= 0)
        return -EINVAL;
    pthread_testcancel();
    if (deadline)
        preload_service();
    share_enter();
    int r = wait_set(ep, ev, max, deadline, mask);
    share_leave();
    batch_open(r);
    if (r == -EINTR)
        pthread_testcancel();
    return r;
}

/* ms or ts: the time-out, for the kernel's call. */
struct timeout {
    int ms;
    const struct timespec *ts;
    bool ns; /* epoll_pwait2: ts counts */
    nstime_t deadline;
};

static bool has_stack_items(int ep) {
    struct file *set = set_of(ep);
    return set && stack_pollset_count(set->ps) > 0;
}

/* One waiter less; never below zero, should the count have been lost. */
static void leave_kernel(uint32_t *waiters) {
    uint32_t n = __atomic_load_n(waiters, __ATOMIC_SEQ_CST);
    while (n &&
           !__atomic_compare_exchange_n(waiters, &n, n - 1, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

/* A set without stack items, in the kernel; counted, so that it is called back
 * if it gets one. *mixed: it did, nothing was returned. */
static int wait_kernel(int ep, struct epoll_event *ev, int max,
                       const struct timeout *t, const sigset_t *mask,
                       bool *mixed) {
    uint32_t *waiters = waiters_of(ep);
    if (waiters)
        __atomic_fetch_add(waiters, 1, __ATOMIC_SEQ_CST);
    int n = 0;
    batch_before_sleep();
    *mixed = has_stack_items(ep); /* looked at after being counted */
    if (!*mixed)
        n = t->ns ? real.epoll_pwait2(ep, ev, max, t->ts, mask)
                  : real.epoll_pwait(ep, ev, max, t->ms, mask);
    int saved = errno;
    struct file *set = set_of(ep);
    if (waiters)
        leave_kernel(waiters);
    if (set && waiters != &set->in_kernel) /* adopted meanwhile */
        leave_kernel(&set->in_kernel);
    if (n > 0 && set) {
        n = drop_wake(ep, set, ev, n);
        *mixed = n == 0;
    }
    errno = saved;
    return n;
}

/* All three calls. -1 with errno, or events. */
static int wait_any(int ep, struct epoll_event *ev, int max, struct timeout *t,
                    const sigset_t *mask) {
    bool mixed = has_stack_items(ep);
    if (!mixed) {
        int n = wait_kernel(ep, ev, max, t, mask, &mixed);
        if (!mixed)
            return n;
    }
    if (max > 0 && user_writable(ev, sizeof(*ev)) < 0)
        RETURN(-EFAULT);
    RETURN(wait_mixed(ep, ev, max, t->deadline, mask));
}

EXPORT int epoll_pwait(int ep, struct epoll_event *ev, int max, int timeout,
                       const sigset_t *mask) {
    struct timeout t = {.ms = timeout, .deadline = deadline_ms(timeout)};
    return wait_any(ep, ev, max, &t, mask);
}

EXPORT int epoll_wait(int ep, struct epoll_event *ev, int max, int timeout) {
    /* Before the clock is asked. A sleep in a set that may yet get a socket of
     * ours has to be counted. */
    if (!self.sh || (timeout == 0 && !file_of(ep)))
        return real.epoll_wait(ep, ev, max, timeout);
    struct timeout t = {.ms = timeout, .deadline = deadline_ms(timeout)};
    return wait_any(ep, ev, max, &t, NULL);
}

EXPORT int epoll_pwait2(int ep, struct epoll_event *ev, int max,
                        const struct timespec *timeout, const sigset_t *mask) {
    struct timeout t = {.ts = timeout, .ns = true};
    int r = deadline_timespec(timeout, &t.deadline);
    if (r < 0)
        RETURN(r);
    return wait_any(ep, ev, max, &t, mask);
}

#define FAMILY_epoll 1
#include "preload/alias.h"
