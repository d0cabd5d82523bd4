/* close.c: close, closefrom, close_range.
 *
 * The kernel's descriptor is closed together with our mapping, under the lock,
 * so that another thread's new descriptor never falls between the two.
 *
 * The stack's own descriptors look closed already to programs that close
 * everything: close says EBADF, the ranges step over them.
 */
#include <linux/close_range.h>
#include <unistd.h>

#include "preload/io.h"
#include "preload/stdio.h"

/* SO_LINGER with a time: close waits until everything is acknowledged (or the
 * time is over), unless somebody else holds the socket: one reference is the
 * descriptor's, one the caller's. Lock held. */
static void linger(struct file *f) {
    int64_t seconds = -1, unread = 0;
    if (f->kind != FILE_SOCK || f->refs != 2 || !sock_is_stream(f) ||
        !file_opt_noted(f, STACK_OPT_LINGER) ||
        stack_getopt(self.st, f->so, STACK_OPT_LINGER, &seconds) < 0 ||
        seconds <= 0 || stack_is_listening(f->so))
        return;
    if (stack_getopt(self.st, f->so, STACK_OPT_INQ, &unread) < 0 || unread)
        return; /* ends in a reset: nothing to wait for */
    nstime_t end = share_clock() + (nstime_t)seconds * 1000000000u;
    stack_shutdown(self.st, f->so, STACK_SHUT_RDWR);
    while (stack_unsent(self.st, f->so)) {
        /* An acknowledged FIN is no event of its own: look now and then. */
        nstime_t step = share_clock() + 10000000u;
        int r = section_wait(f, STACK_OUT, step < end ? step : end);
        if (r == -EINTR || share_clock() >= end)
            return;
    }
}

/* 0 or -EBADF. */
static int close_ours(int fd) {
    long r = -EBADF;
    share_enter();
    struct file *f = file_of(fd);
    if (f) {
        file_get(f);
        linger(f);
        if (file_of(fd) == f) { /* no other thread was faster */
            file_unmap(fd);
            r = sys_close(fd);
        }
        file_put(f);
    }
    share_leave();
    if (fd <= STDERR_FILENO)
        stdio_follow(fd);
    return (int)r;
}

/* close(2). A connection's unsent data goes on behind the program's back, or
 * SO_LINGER says otherwise. */
EXPORT int close(int fd) {
    if (stack_file(fd))
        RETURN(close_ours(fd));
    if (self.sh && share_owns_fd(fd))
        RETURN(-EBADF);
    return real.close(fd);
}

/* close_range on what is the kernel's, in pieces around our own. */
static int close_kernel(unsigned first, unsigned last, int flags) {
    for (;;) {
        unsigned own = share_next_own(first, last);
        int r = 0;
        if (own > first)
            r = real.close_range(first, own - 1, flags);
        if (r < 0 || own > last)
            return r;
        if (own == last)
            return 0;
        first = own + 1;
    }
}

/* close_range(2). The kernel's part may be shared out over several calls;
 * CLOSE_RANGE_CLOEXEC closes nothing, so it is the kernel's alone (our own
 * descriptors have the flag anyway). */
EXPORT int close_range(unsigned first, unsigned last, int flags) {
    if (!self.sh)
        return real.close_range(first, last, flags);
    if (first > last || flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC))
        RETURN(-EINVAL);
    if (!preload_vforked && !(flags & CLOSE_RANGE_CLOEXEC)) {
        unsigned limit = (unsigned)file_limit();
        for (unsigned fd = first; fd <= last && fd < limit; fd++)
            if (file_of((int)fd))
                close_ours((int)fd);
    }
    return close_kernel(first, last > INT32_MAX ? INT32_MAX : last, flags);
}

/* closefrom(3): never fails, errno stays. */
EXPORT void closefrom(int first) {
    if (!self.sh) {
        real.closefrom(first);
        return;
    }
    int saved = errno;
    close_range(first > 0 ? (unsigned)first : 0, INT32_MAX, 0);
    errno = saved;
}

#define FAMILY_close 1
#include "preload/alias.h"
