/* poll.c: poll and ppoll, and the waiting behind select too.
 *
 * Theory of operation
 *
 * Descriptors of the stack are looked at under the lock; the kernel's by one
 * ppoll(2) on a copy of the array in which ours are -1, so that the indices
 * agree. When nothing is ready, each of ours gets a watch, and the thread
 * sleeps on these and on the kernel's descriptors at once (wait_sleep). An
 * epoll set is both: a kernel descriptor, and a source of the stack.
 *
 * Nothing here spins. Each time the sleep ends, everything is looked at anew,
 * and only an event that the program asked for ends the wait. ppoll(2) reports
 * ERR and HUP unasked, which select(2) does not want to hear of in some sets:
 * a kernel descriptor that is ready with nothing but that is muted, or the
 * next sleep would end at once.
 *
 * A descriptor that another thread closes during the wait becomes the kernel's
 * at the next look, which says POLLNVAL.
 *
 * A wait without any descriptor of ours goes to the C library unseen.
 */
#include "preload/batch.h"
#include "preload/multi.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "preload/signal.h"

#define SECOND 1000000000u
#define SMALL 64 /* descriptors without a mapping of their own */

/* ---- helpers ------------------------------------------------------------ */

void *scratch_get(void *small, size_t room, size_t n, size_t size) {
    if (n <= room / size)
        return small;
    void *p = sys_mmap(NULL, n * size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return sys_is_err(p) ? NULL : p;
}

void scratch_put(void *p, void *small, size_t n, size_t size) {
    if (p && p != small)
        sys_munmap(p, n * size);
}

int deadline_timespec(const struct timespec *ts, nstime_t *out) {
    *out = NSTIME_NEVER;
    if (!ts)
        return 0;
    if (self.sh && user_readable(ts, sizeof(*ts)) < 0)
        return -EFAULT;
    if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= SECOND)
        return -EINVAL;
    if (ts->tv_sec == 0 && ts->tv_nsec == 0)
        *out = 0;
    else if ((uint64_t)ts->tv_sec < NSTIME_NEVER / SECOND / 2)
        *out = share_clock() + (nstime_t)ts->tv_sec * SECOND +
               (nstime_t)ts->tv_nsec;
    return 0;
}

nstime_t deadline_ms(int ms) {
    if (ms <= 0)
        return ms == 0 ? 0 : NSTIME_NEVER;
    return share_clock() + (nstime_t)ms * 1000000u;
}

bool multi_ours(struct pollfd *fds, nfds_t n) {
    if (!self.sh || n > FILE_TABLE ||
        user_readable(fds, n * sizeof(*fds)) < 0) /* let the kernel say so */
        return false;
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].fd >= 0 && stack_file(fds[i].fd))
            return true;
    return false;
}

/* ---- what is ready ------------------------------------------------------ */

#define READ_BITS (POLLIN | POLLRDNORM | POLLRDBAND)
#define WRITE_BITS (POLLOUT | POLLWRNORM | POLLWRBAND)

/* The part of `revents` that counts for someone who asked for `events`. */
static short counts(const struct multi *m, short events, short revents) {
    short on = events | POLLERR | POLLHUP | POLLNVAL;
    if (m->strict) { /* fs/select.c: POLLIN_SET, POLLOUT_SET, POLLEX_SET */
        on = (short)(events | POLLNVAL);
        if (events & POLLIN)
            on |= POLLHUP | POLLERR;
        if (events & POLLOUT)
            on |= POLLERR;
    }
    return (short)(revents & on);
}

/* Readiness of a socket or an epoll set in the words of poll(2). */
static short revents_of(struct file *f) {
    if (f->kind == FILE_EPOLL)
        return stack_pollset_ready(self.st, f->ps) ? POLLIN | POLLRDNORM : 0;
    uint32_t ready = stack_ready(self.st, f->so);
    short r = (short)(ready & (POLLIN | POLLPRI | POLLOUT | POLLERR | POLLHUP |
                               POLLRDHUP));
    if (r & POLLIN)
        r |= POLLRDNORM;
    if (r & POLLOUT)
        r |= POLLWRNORM;
    if (r & POLLOUT && stack_sock_type(f->so) == STACK_DGRAM)
        r |= POLLWRBAND;
    return r;
}

/* And what to watch for. */
static uint32_t watch_events(short events) {
    return (uint32_t)(events & (POLLPRI | POLLRDHUP)) |
           (events & READ_BITS ? STACK_IN : 0) |
           (events & WRITE_BITS ? STACK_OUT : 0) | STACK_ERR | STACK_HUP;
}

/* The kernel's part of the wait. */
struct kernel_part {
    struct pollfd *fds; /* as many as the program's */
    unsigned used;      /* entries that are not -1 */
    bool fresh;         /* revents are of now */
};

/* Look at ours: revents of the program's array. Lock held. */
static unsigned look(const struct multi *m, struct kernel_part *k,
                     unsigned *ours) {
    unsigned ready = 0;
    *ours = 0;
    for (unsigned i = 0; i < m->n; i++) {
        struct pollfd *p = &m->fds[i];
        struct file *f = p->fd >= 0 ? stack_file(p->fd) : NULL;
        p->revents = 0;
        if (!f) {
            if (p->fd >= 0 && k->fds[i].fd < 0 && k->fds[i].events >= 0) {
                k->fds[i].fd = p->fd; /* closed meanwhile */
                k->used++;
                k->fresh = false;
            }
            continue;
        }
        ++*ours;
        p->revents = counts(m, p->events, revents_of(f));
        ready += p->revents != 0;
    }
    return ready;
}

/* A muted entry: fd and events both negative (events has no such bit). */
static void mute(struct pollfd *k) {
    k->fd = -1;
    k->events = INT16_MIN;
}

/* How many of the kernel's are ready with something that counts? */
static unsigned kernel_ready(const struct multi *m, struct kernel_part *k) {
    unsigned n = 0;
    for (unsigned i = 0; i < m->n; i++) {
        struct pollfd *p = &k->fds[i];
        if (p->fd < 0 || !p->revents)
            continue;
        if (counts(m, p->events, p->revents))
            n++;
        else
            mute(p);
    }
    return n;
}

static void split(const struct multi *m, struct kernel_part *k) {
    k->used = 0;
    k->fresh = false;
    for (unsigned i = 0; i < m->n; i++) {
        int fd = m->fds[i].fd;
        struct file *f = fd >= 0 ? stack_file(fd) : NULL;
        bool kernel = fd >= 0 && (!f || f->kind == FILE_EPOLL || f->twin_ino);
        k->fds[i] = (struct pollfd){kernel ? fd : -1, m->fds[i].events, 0};
        k->used += kernel;
    }
}

/* ---- waiting ------------------------------------------------------------ */

/* Watch all of ours and sleep. Lock held. */
static int sleep_on(const struct multi *m, struct kernel_part *k,
                    unsigned ours) {
    struct sleeper *s = sleeper_get();
    struct watch *w = s ? sleeper_watches(s, ours ? ours : 1) : NULL;
    if (!w) {
        if (s)
            sleeper_put(s);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < m->n; i++) {
        struct file *f = m->fds[i].fd >= 0 ? stack_file(m->fds[i].fd) : NULL;
        if (!f)
            continue;
        w->events = watch_events(m->fds[i].events);
        w->kind = WATCH_WAITER;
        w->owner = &s->w;
        stack_watch_add(f->kind == FILE_SOCK ? stack_sock_source(f->so)
                                             : stack_pollset_source(f->ps),
                        w++);
    }
    int r = (int)wait_sleep(s, k->used ? k->fds : NULL, k->used ? (int)m->n : 0,
                            m->deadline, m->mask);
    k->fresh = r == WAIT_KERNEL;
    sleeper_unwatch(s);
    sleeper_put(s);
    return r;
}

/* Until one of ours is ready, one of the kernel's seems to be, or the deadline.
 * Returns the number of ours, or -errno. */
static int wait_ours(const struct multi *m, struct kernel_part *k) {
    bool late = m->deadline == 0;
    int r;
    share_enter();
    for (;;) {
        unsigned ours, n = look(m, k, &ours);
        if (n == 0) {
            wait_drain_lazy();
            n = look(m, k, &ours);
        }
        r = (int)n;
        if (n || late)
            break;
        r = sleep_on(m, k, ours);
        if (r == WAIT_EINTR)
            r = -EINTR;
        if (r < 0)
            break;
        if (r == WAIT_CANCEL) {
            share_leave();
            pthread_testcancel();
            share_enter();
            continue;
        }
        if (r == WAIT_KERNEL && kernel_ready(m, k) > 0) {
            r = (int)look(m, k, &ours);
            break;
        }
        late = r == WAIT_TIMEOUT;
    }
    share_leave();
    return r;
}

/* Add what the kernel has to say. n of ours are ready. */
static int gather(const struct multi *m, struct kernel_part *k, int n) {
    struct timespec zero = {0, 0};
    if (!k->fresh && (k->used || (m->mask && n == 0))) {
        long r = sys_ppoll(k->fds, k->used ? m->n : 0, &zero,
                           n == 0 ? m->mask : NULL);
        if (r < 0)
            return n > 0 ? n : (int)r;
    }
    if (!k->used)
        return n;
    n = 0;
    for (unsigned i = 0; i < m->n; i++) {
        struct pollfd *p = &m->fds[i];
        if (k->fds[i].fd >= 0)
            p->revents |= counts(m, p->events, k->fds[i].revents);
        n += p->revents != 0;
    }
    return n;
}

int multi_wait(const struct multi *m) {
    struct pollfd small[SMALL];
    struct kernel_part k;
    pthread_testcancel();
    k.fds = scratch_get(small, sizeof(small), m->n, sizeof(*small));
    if (!k.fds)
        return -ENOMEM;
    split(m, &k);
    if (m->deadline)
        preload_service();
    int n = wait_ours(m, &k);
    if (n >= 0)
        n = gather(m, &k, n);
    scratch_put(k.fds, small, m->n, sizeof(*small));
    if (n == -EINTR)
        pthread_testcancel();
    return n;
}

/* ---- exported ----------------------------------------------------------- */

#define FEW 8 /* no limit is looked at for that many */

/* EINVAL: more descriptors than there may be (poll(2)). */
static bool too_many(nfds_t n) {
    struct rlimit lim;
    return n > FEW && sys_prlimit64(0, RLIMIT_NOFILE, NULL, &lim) == 0 &&
           n > lim.rlim_cur;
}

static int poll_mixed(struct pollfd *fds, nfds_t n, nstime_t deadline,
                      const sigset_t *mask) {
    if (too_many(n))
        return -EINVAL;
    struct multi m = {fds, (unsigned)n, false, deadline, mask};
    if (user_writable(fds, n * sizeof(*fds)) < 0)
        return -EFAULT;
    int r = multi_wait(&m);
    batch_open(r);
    return r;
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout) {
    if (!multi_ours(fds, n)) {
        batch_before_sleep();
        return real.poll(fds, n, timeout);
    }
    RETURN(poll_mixed(fds, n, deadline_ms(timeout), NULL));
}

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
                 const sigset_t *mask) {
    nstime_t deadline;
    if (!multi_ours(fds, n)) {
        batch_before_sleep();
        return real.ppoll(fds, n, timeout, mask);
    }
    int r = deadline_timespec(timeout, &deadline);
    if (r == 0)
        r = poll_mixed(fds, n, deadline, mask);
    RETURN(r);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
                const sigset_t *mask, size_t room);

/* Fortified programs: room is the size of the array in bytes. The C library's
 * own function ends the program when the array is too small. */
EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room) {
    if (room / sizeof(*fds) < n || !multi_ours(fds, n))
        return real.__poll_chk(fds, n, timeout, room);
    return poll(fds, n, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n,
                       const struct timespec *timeout, const sigset_t *mask,
                       size_t room) {
    if (room / sizeof(*fds) < n || !multi_ours(fds, n))
        return real.__ppoll_chk(fds, n, timeout, mask, room);
    return ppoll(fds, n, timeout, mask);
}

#define FAMILY_poll 1
#include "preload/alias.h"
