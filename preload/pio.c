/* pio.c: positioned reads and writes. A socket has no position: ESPIPE. The
 * v2 calls take offset -1 for "no position" and then act as readv/writev. */
#include <sys/uio.h>
#include <unistd.h>

#include "preload/io.h"

extern void __chk_fail(void) __attribute__((noreturn));
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room);

/* pread(2): a negative offset is EINVAL before anything else. */
EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t at) {
    if (!sock_file(fd))
        return real.pread(fd, buf, n, at);
    RETURN(at < 0 ? -EINVAL : -ESPIPE);
}

/* pwrite(2). */
EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t at) {
    if (!sock_file(fd))
        return real.pwrite(fd, buf, n, at);
    RETURN(at < 0 ? -EINVAL : -ESPIPE);
}

/* preadv(2); unlike preadv2, -1 is no special offset. */
EXPORT ssize_t preadv(int fd, const struct iovec *iov, int n, off_t at) {
    if (!sock_file(fd))
        return real.preadv(fd, iov, n, at);
    RETURN(at < 0 ? -EINVAL : -ESPIPE);
}

/* pwritev(2). */
EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at) {
    if (!sock_file(fd))
        return real.pwritev(fd, iov, n, at);
    RETURN(at < 0 ? -EINVAL : -ESPIPE);
}

/* RWF_NOWAIT is MSG_DONTWAIT; the other flags ask for nothing that a socket
 * does; unknown ones are refused. */
static int rwf_flags(int flags) {
    int known = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;
    if (flags & ~known)
        return -EOPNOTSUPP;
    return flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
}

/* preadv2(2) with offset -1 reads as readv does. */
EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t at,
                       int flags) {
    if (!sock_file(fd))
        return real.preadv2(fd, iov, n, at, flags);
    if (at != -1)
        RETURN(at < 0 ? -EINVAL : -ESPIPE);
    int mf = rwf_flags(flags);
    ssize_t r = mf < 0 ? mf : iov_check(iov, n, -EINVAL);
    RETURN(r <= 0 ? r : io_recv(fd, iov, n, mf, NULL));
}

/* pwritev2(2) with offset -1 writes as writev does. */
EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t at,
                        int flags) {
    if (!sock_file(fd))
        return real.pwritev2(fd, iov, n, at, flags);
    if (at != -1)
        RETURN(at < 0 ? -EINVAL : -ESPIPE);
    struct msghdr h = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    int mf = rwf_flags(flags);
    ssize_t r = mf < 0 ? mf : iov_check(iov, n, -EINVAL);
    RETURN(r < 0 ? r : io_send(fd, &h, mf));
}

/* What -D_FORTIFY_SOURCE makes of pread. */
EXPORT ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room) {
    if (n > room)
        __chk_fail();
    return pread(fd, buf, n, at);
}

#define FAMILY_pio 1
#include "preload/alias.h"
