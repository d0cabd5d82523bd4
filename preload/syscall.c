/* syscall.c: syscall(2) users. Numbers whose library functions we have taken
 * over go through those, so that a descriptor of ours is known there as well
 * (libuv closes and sends this way); the library function passes on what is
 * not ours. io_uring could carry socket calls past us: its set-up says ENOSYS,
 * and programs fall back to the calls we see. Everything else is the
 * kernel's.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/fork.h"
#include "preload/preload.h"
#include "preload/user.h"
#include "preload/sandbox.h"

/* One syscall's arguments. */
struct args {
    long a, b, c, d, e, f;
};

#define FD ((int)x->a)
#define PTR(v) ((void *)x->v)
#define INT(v) ((int)x->v)
#define LEN(v) ((size_t)x->v)

/* Data in and out. Returns false when nr is none of these. */
static bool io_call(long nr, const struct args *x, long *r) {
    switch (nr) {
    case SYS_read:
        *r = read(FD, PTR(b), LEN(c));
        break;
    case SYS_write:
        *r = write(FD, PTR(b), LEN(c));
        break;
    case SYS_readv:
        *r = readv(FD, PTR(b), INT(c));
        break;
    case SYS_writev:
        *r = writev(FD, PTR(b), INT(c));
        break;
    case SYS_pread64:
        *r = pread(FD, PTR(b), LEN(c), x->d);
        break;
    case SYS_pwrite64:
        *r = pwrite(FD, PTR(b), LEN(c), x->d);
        break;
    case SYS_preadv:
        *r = preadv(FD, PTR(b), INT(c), x->d);
        break;
    case SYS_pwritev:
        *r = pwritev(FD, PTR(b), INT(c), x->d);
        break;
    case SYS_preadv2:
        *r = preadv2(FD, PTR(b), INT(c), x->d, INT(f));
        break;
    case SYS_pwritev2:
        *r = pwritev2(FD, PTR(b), INT(c), x->d, INT(f));
        break;
    case SYS_sendto:
        *r = sendto(FD, PTR(b), LEN(c), INT(d), PTR(e), (socklen_t)x->f);
        break;
    case SYS_recvfrom:
        *r = recvfrom(FD, PTR(b), LEN(c), INT(d), PTR(e), PTR(f));
        break;
    case SYS_sendmsg:
        *r = sendmsg(FD, PTR(b), INT(c));
        break;
    case SYS_recvmsg:
        *r = recvmsg(FD, PTR(b), INT(c));
        break;
    case SYS_sendmmsg:
        *r = sendmmsg(FD, PTR(b), (unsigned)x->c, INT(d));
        break;
    case SYS_recvmmsg:
        *r = recvmmsg(FD, PTR(b), (unsigned)x->c, INT(d), PTR(e));
        break;
    case SYS_sendfile:
        *r = sendfile(FD, INT(b), PTR(c), LEN(d));
        break;
    case SYS_splice:
        *r = splice(FD, PTR(b), INT(c), PTR(d), LEN(e), (unsigned)x->f);
        break;
    case SYS_tee:
        *r = tee(FD, INT(b), LEN(c), (unsigned)x->d);
        break;
    case SYS_copy_file_range:
        *r =
            copy_file_range(FD, PTR(b), INT(c), PTR(d), LEN(e), (unsigned)x->f);
        break;
    default:
        return false;
    }
    return true;
}

/* Sockets and descriptors. */
static bool fd_call(long nr, const struct args *x, long *r) {
    switch (nr) {
    case SYS_socket:
        *r = socket(FD, INT(b), INT(c));
        break;
    case SYS_bind:
        *r = bind(FD, PTR(b), (socklen_t)x->c);
        break;
    case SYS_connect:
        *r = connect(FD, PTR(b), (socklen_t)x->c);
        break;
    case SYS_listen:
        *r = listen(FD, INT(b));
        break;
    case SYS_accept:
        *r = accept(FD, PTR(b), PTR(c));
        break;
    case SYS_accept4:
        *r = accept4(FD, PTR(b), PTR(c), INT(d));
        break;
    case SYS_getsockname:
        *r = getsockname(FD, PTR(b), PTR(c));
        break;
    case SYS_getpeername:
        *r = getpeername(FD, PTR(b), PTR(c));
        break;
    case SYS_shutdown:
        *r = shutdown(FD, INT(b));
        break;
    case SYS_setsockopt:
        *r = setsockopt(FD, INT(b), INT(c), PTR(d), (socklen_t)x->e);
        break;
    case SYS_getsockopt:
        *r = getsockopt(FD, INT(b), INT(c), PTR(d), PTR(e));
        break;
    case SYS_close:
        *r = close(FD);
        break;
    case SYS_close_range:
        *r = close_range((unsigned)x->a, (unsigned)x->b, INT(c));
        break;
    case SYS_dup:
        *r = dup(FD);
        break;
    case SYS_dup3:
        *r = dup3(FD, INT(b), INT(c));
        break;
#ifdef SYS_dup2
    case SYS_dup2:
        *r = dup2(FD, INT(b));
        break;
#endif
    case SYS_fcntl:
        *r = fcntl(FD, INT(b), x->c);
        break;
    case SYS_ioctl:
        *r = ioctl(FD, (unsigned long)x->b, PTR(c));
        break;
    default:
        return false;
    }
    return true;
}

/* The sixth argument points to the signal set and its size (select(2)). */
static long pselect6(const struct args *x) {
    struct {
        const sigset_t *mask;
        size_t size;
    } sixth = {0};
    if (x->f && self.sh && user_read(&sixth, PTR(f), sizeof(sixth)) < 0)
        RETURN(-EFAULT);
    return pselect(FD, PTR(b), PTR(c), PTR(d), PTR(e), sixth.mask);
}

/* Waiting, and the end. The kernel's ppoll and epoll_pwait take the signal
 * set's size as one argument more. */
static bool wait_call(long nr, const struct args *x, long *r) {
    switch (nr) {
#ifdef SYS_poll
    case SYS_poll:
        *r = poll(PTR(a), (nfds_t)x->b, INT(c));
        break;
#endif
#ifdef SYS_select
    case SYS_select:
        *r = select(FD, PTR(b), PTR(c), PTR(d), PTR(e));
        break;
#endif
#ifdef SYS_epoll_wait
    case SYS_epoll_create:
        *r = epoll_create(FD);
        break;
    case SYS_epoll_wait:
        *r = epoll_wait(FD, PTR(b), INT(c), INT(d));
        break;
#endif
    case SYS_pselect6:
        *r = pselect6(x);
        break;
    case SYS_epoll_pwait2:
        *r = epoll_pwait2(FD, PTR(b), INT(c), PTR(d), PTR(e));
        break;
    case SYS_ppoll:
        *r = ppoll(PTR(a), (nfds_t)x->b, PTR(c), PTR(d));
        break;
    case SYS_epoll_create1:
        *r = epoll_create1(FD);
        break;
    case SYS_epoll_ctl:
        *r = epoll_ctl(FD, INT(b), INT(c), PTR(d));
        break;
    case SYS_epoll_pwait:
        *r = epoll_pwait(FD, PTR(b), INT(c), INT(d), PTR(e));
        break;
    case SYS_prctl:
        *r = prctl(FD, x->b, x->c, x->d, x->e);
        break;
    case SYS_prlimit64:
        *r = prlimit(FD, (__rlimit_resource_t)x->b, PTR(c), PTR(d));
        break;
    case SYS_setrlimit:
        *r = setrlimit((__rlimit_resource_t)x->a, PTR(b));
        break;
    case SYS_exit_group:
        _exit(FD);
    case SYS_execve:
        *r = execve(PTR(a), PTR(b), PTR(c));
        break;
    case SYS_execveat:
        *r = execveat(FD, PTR(b), PTR(c), PTR(d), INT(e));
        break;
    default:
        return false;
    }
    return true;
}

/* syscall(2): the wrappers set errno as this function does. */
EXPORT long syscall(long nr, ...) {
    struct args x;
    va_list ap;
    long r;
    va_start(ap, nr);
    x.a = va_arg(ap, long), x.b = va_arg(ap, long), x.c = va_arg(ap, long);
    x.d = va_arg(ap, long), x.e = va_arg(ap, long), x.f = va_arg(ap, long);
    va_end(ap);
    if (nr == SYS_io_uring_setup) {
        if (self.sh)
            __atomic_fetch_add(&self.sh->count.uring_refused, 1,
                               __ATOMIC_RELAXED);
        RETURN(-ENOSYS);
    }
    if (nr == SYS_seccomp && x.a == SECCOMP_SET_MODE_FILTER)
        sandbox_filter((const void *)x.c);
    if (nr == SYS_seccomp && x.a == SECCOMP_SET_MODE_STRICT)
        sandbox_strict();
    if (self.sh || nr == SYS_socket) {
        if (fork_syscall(nr, (const long[]){x.a, x.b, x.c, x.d, x.e, x.f}, &r))
            RETURN(r);
        if (io_call(nr, &x, &r) || fd_call(nr, &x, &r) || wait_call(nr, &x, &r))
            return r;
    }
    return real.syscall(nr, x.a, x.b, x.c, x.d, x.e, x.f);
}
