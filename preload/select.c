/* select.c: select and pselect, by way of multi_wait.
 *
 * The sets become an array of descriptors, one entry per number that is in
 * any of them, and the answers become sets again. The sets are read and
 * written as the kernel does, in whole longs up to the given count, so that a
 * program which allocated larger ones than fd_set (as many do) is served, and
 * one with smaller ones is not overrun.
 *
 * select's time-out comes back with what is left of it, as Linux does and
 * programs have come to expect; pselect's does not.
 */
#include "preload/batch.h"
#include "preload/multi.h"

#include <pthread.h>

#define SMALL 64
#define LONG_BITS ((int)(8 * sizeof(long)))

/* What the three sets mean (fs/select.c). */
#define IN_EVENTS (POLLIN | POLLRDNORM | POLLRDBAND)
#define OUT_EVENTS (POLLOUT | POLLWRNORM | POLLWRBAND)
#define EX_EVENTS POLLPRI
#define IN_RESULT (IN_EVENTS | POLLHUP | POLLERR)
#define OUT_RESULT (OUT_EVENTS | POLLERR)

struct sets {
    int n;
    unsigned long *rd, *wr, *ex; /* may be NULL */
};

static unsigned long word(const unsigned long *set, int i) {
    return set ? set[i] : 0;
}

/* Numbers in any of the sets; *ours: is one of them the stack's? */
static int count_fds(const struct sets *s, bool *ours) {
    int n = 0;
    *ours = false;
    for (int i = 0; i * LONG_BITS < s->n; i++) {
        unsigned long w = word(s->rd, i) | word(s->wr, i) | word(s->ex, i);
        for (; w; w &= w - 1) {
            int fd = i * LONG_BITS + __builtin_ctzl(w);
            if (fd >= s->n)
                break;
            n++;
            if (stack_file(fd))
                *ours = true;
        }
    }
    return n;
}

static bool in(const unsigned long *set, int fd) {
    return set && set[fd / LONG_BITS] >> (fd % LONG_BITS) & 1;
}

static void to_fds(const struct sets *s, struct pollfd *p) {
    for (int fd = 0; fd < s->n; fd++) {
        int events = (in(s->rd, fd) ? IN_EVENTS : 0) |
                     (in(s->wr, fd) ? OUT_EVENTS : 0) |
                     (in(s->ex, fd) ? EX_EVENTS : 0);
        if (events)
            *p++ = (struct pollfd){fd, (short)events, 0};
    }
}

static void clear(unsigned long *set, int n) {
    for (int i = 0; set && i * LONG_BITS < n; i++)
        set[i] = 0;
}

/* Write the answer. Returns how many bits are set, or -EBADF (nothing is
 * written then). */
static int from_fds(const struct sets *s, const struct pollfd *p, int n) {
    struct sets in_sets = *s;
    int bits = 0;
    for (int i = 0; i < n; i++)
        if (p[i].revents & POLLNVAL)
            return -EBADF;
    clear(s->rd, s->n);
    clear(s->wr, s->n);
    clear(s->ex, s->n);
    for (int i = 0; i < n; i++, p++) {
        unsigned long bit = 1ul << (p->fd % LONG_BITS);
        int w = p->fd / LONG_BITS;
        if (p->events & POLLIN && p->revents & IN_RESULT)
            in_sets.rd[w] |= bit, bits++;
        if (p->events & POLLOUT && p->revents & OUT_RESULT)
            in_sets.wr[w] |= bit, bits++;
        if (p->events & POLLPRI && p->revents & EX_EVENTS)
            in_sets.ex[w] |= bit, bits++;
    }
    return bits;
}

/* Can the sets be looked at? If not, the kernel says why. */
static bool sets_there(const struct sets *s) {
    size_t bytes = ((size_t)s->n + LONG_BITS - 1) / LONG_BITS * sizeof(long);
    if (!self.sh || s->n <= 0)
        return false;
    return (!s->rd || user_readable(s->rd, bytes) == 0) &&
           (!s->wr || user_readable(s->wr, bytes) == 0) &&
           (!s->ex || user_readable(s->ex, bytes) == 0);
}

/* ...and written? 0 or -EFAULT. */
static int sets_writable(const struct sets *s) {
    size_t bytes = ((size_t)s->n + LONG_BITS - 1) / LONG_BITS * sizeof(long);
    if ((s->rd && user_writable(s->rd, bytes) < 0) ||
        (s->wr && user_writable(s->wr, bytes) < 0) ||
        (s->ex && user_writable(s->ex, bytes) < 0))
        return -EFAULT;
    return 0;
}

/* The whole call, n descriptors in the sets. Bits set, or -errno. */
static int select_mixed(const struct sets *s, int n, nstime_t deadline,
                        const sigset_t *mask) {
    struct pollfd small[SMALL];
    if (sets_writable(s) < 0)
        return -EFAULT;
    struct pollfd *p = scratch_get(small, sizeof(small), (size_t)n, sizeof(*p));
    if (!p)
        return -ENOMEM;
    to_fds(s, p);
    struct multi m = {p, (unsigned)n, true, deadline, mask};
    int r = multi_wait(&m);
    if (r >= 0)
        r = from_fds(s, p, n);
    scratch_put(p, small, (size_t)n, sizeof(*p));
    return r;
}

/* What is left until deadline, for the caller of select(2). */
static void time_left(nstime_t deadline, struct timeval *tv) {
    nstime_t now = share_clock();
    nstime_t left = deadline > now ? (deadline - now) / 1000 : 0;
    tv->tv_sec = (time_t)(left / 1000000);
    tv->tv_usec = (suseconds_t)(left % 1000000);
}

EXPORT int select(int n, fd_set *rd, fd_set *wr, fd_set *ex,
                  struct timeval *timeout) {
    struct sets s = {n < FILE_TABLE ? n : FILE_TABLE, (unsigned long *)rd,
                     (unsigned long *)wr, (unsigned long *)ex};
    bool ours = false;
    int count = sets_there(&s) ? count_fds(&s, &ours) : 0;
    if (!ours) {
        batch_before_sleep();
        return real.select(n, rd, wr, ex, timeout);
    }
    nstime_t deadline = NSTIME_NEVER;
    if (timeout) {
        /* Microseconds may be a million and more here, as in the C library. */
        if (user_readable(timeout, sizeof(*timeout)) < 0)
            RETURN(-EFAULT);
        if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
            RETURN(-EINVAL);
        struct timespec ts = {
            timeout->tv_sec + timeout->tv_usec / 1000000,
            timeout->tv_usec % 1000000 * 1000,
        };
        deadline_timespec(&ts, &deadline);
    }
    int r = select_mixed(&s, count, deadline, NULL);
    if (timeout && deadline != NSTIME_NEVER)
        time_left(deadline, timeout);
    RETURN(r);
}

EXPORT int pselect(int n, fd_set *rd, fd_set *wr, fd_set *ex,
                   const struct timespec *timeout, const sigset_t *mask) {
    struct sets s = {n < FILE_TABLE ? n : FILE_TABLE, (unsigned long *)rd,
                     (unsigned long *)wr, (unsigned long *)ex};
    bool ours = false;
    int count = sets_there(&s) ? count_fds(&s, &ours) : 0;
    if (!ours) {
        batch_before_sleep();
        return real.pselect(n, rd, wr, ex, timeout, mask);
    }
    nstime_t deadline;
    int r = deadline_timespec(timeout, &deadline);
    if (r == 0)
        r = select_mixed(&s, count, deadline, mask);
    RETURN(r);
}

#define FAMILY_select 1
#include "preload/alias.h"
