/* recv.c: recv, recvfrom, recvmsg, recvmmsg, read, readv and their fortified
 * twins. */
#include <string.h>
#include <unistd.h>

#include "preload/batch.h"
#include "preload/addr.h"
#include "preload/msg.h"
#include "preload/rights.h"

extern void __chk_fail(void) __attribute__((noreturn));
/* What -D_FORTIFY_SOURCE makes of the calls; no header declares them. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags,
                       struct sockaddr *addr, socklen_t *len);

/* Receive into one buffer. A stream with MSG_TRUNC throws the bytes away and
 * never looks at the buffer (tcp(7)); io_recv checks it for the others. */
static ssize_t recv_buffer(int fd, void *buf, size_t n, int flags,
                           struct io_msg *im) {
    struct iovec iov = {buf, n};
    return io_recv(fd, &iov, 1, flags, im);
}

/* Into one buffer, no address asked for. */
static ssize_t recv_plain(int fd, void *buf, size_t n, int flags) {
    RETURN(recv_buffer(fd, buf, n, flags, NULL));
}

/* recv(2). A receive of no bytes still waits for some on a stream. */
EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags) {
    if (!sock_file(fd)) {
        batch_before_sleep();
        return real.recv(fd, buf, n, flags);
    }
    return recv_plain(fd, buf, n, flags);
}

/* A read of nothing returns 0 at once (unlike recv). */
EXPORT ssize_t read(int fd, void *buf, size_t n) {
    if (!sock_file(fd)) {
        batch_before_sleep();
        return real.read(fd, buf, n);
    }
    if (n == 0)
        return 0;
    return recv_plain(fd, buf, n, 0);
}

/* readv(2): room for nothing returns 0 at once, as read. */
EXPORT ssize_t readv(int fd, const struct iovec *iov, int n) {
    if (!sock_file(fd)) {
        batch_before_sleep();
        return real.readv(fd, iov, n);
    }
    ssize_t r = iov_check(iov, n, -EINVAL);
    RETURN(r <= 0 ? r : io_recv(fd, iov, n, 0, NULL));
}

/* Where it came from; NULL: streams, and notifications of MSG_ZEROCOPY, come
 * from nowhere. */
static const struct endpoint *im_peer(const struct io_msg *im) {
    bool told = im->m.error.origin == STACK_ORIGIN_ZEROCOPY;
    return im->stream || told ? NULL : &im->m.peer;
}

/* recvfrom(2). A stream has no addresses to tell: *len becomes 0. */
EXPORT ssize_t recvfrom(int fd, void *buf, size_t n, int flags,
                        struct sockaddr *addr, socklen_t *len) {
    if (!sock_file(fd)) {
        batch_before_sleep();
        return real.recvfrom(fd, buf, n, flags, addr, len);
    }
    if (!addr)
        return recv_plain(fd, buf, n, flags);
    struct io_msg im = {0};
    ssize_t r = recv_buffer(fd, buf, n, flags, &im);
    if (r >= 0) {
        int e = addr_out(im.family, im_peer(&im), addr, len);
        r = e < 0 ? e : r;
    }
    RETURN(r);
}

/* One message; bytes or -errno. */
static ssize_t recv_one(int fd, struct msghdr *h, int flags) {
    struct io_msg im = {0};
    if (user_writable(h, sizeof(*h)) < 0)
        return -EFAULT;
    if (h->msg_name && (int)h->msg_namelen < 0)
        return -EINVAL;
    ssize_t r = iov_check(h->msg_iov, (long)h->msg_iovlen, -EMSGSIZE);
    if (r < 0)
        return r;
    r = io_recv(fd, h->msg_iov, (int)h->msg_iovlen, flags, &im);
    if (r < 0)
        return r;
    uint32_t got = im.m.out_flags;
    int out = (got & STACK_MSG_TRUNC ? MSG_TRUNC : 0) |
              (got & STACK_MSG_OOB ? MSG_OOB : 0) |
              (got & STACK_MSG_ERRQUEUE ? MSG_ERRQUEUE : 0);
    if (h->msg_name) {
        int e = addr_out(im.family, im_peer(&im), h->msg_name, &h->msg_namelen);
        if (e < 0)
            return e;
    }
    if (user_writable(h->msg_control, h->msg_controllen) < 0)
        h->msg_controllen = 0; /* as if there was no room (put_cmsg) */
    msg_control_out(h, &im, &out);
    h->msg_flags = out | (flags & MSG_CMSG_CLOEXEC);
    return r;
}

/* recvmsg(2). */
EXPORT ssize_t recvmsg(int fd, struct msghdr *h, int flags) {
    if (!sock_file(fd)) {
        batch_before_sleep();
        ssize_t got = real.recvmsg(fd, h, flags);
        if (got >= 0 && h->msg_controllen)
            rights_arrived(h);
        return got;
    }
    RETURN(recv_one(fd, h, flags));
}

/* ns of a relative time; -EINVAL when it makes no sense. */
static int64_t timespec_ns(const struct timespec *ts) {
    if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec > 999999999)
        return -EINVAL;
    if (ts->tv_sec > 1000000000)
        return 1000000000ll * 1000000000ll;
    return (int64_t)ts->tv_sec * 1000000000ll + ts->tv_nsec;
}

/* The time-out is looked at after each message only, and what is left of it
 * is written back: recvmmsg(2), BUGS. */
static int recv_many(int fd, struct mmsghdr *mm, unsigned n, int flags,
                     struct timespec *timeout) {
    nstime_t end = NSTIME_NEVER;
    unsigned done = 0;
    ssize_t r = 0;
    if (timeout) {
        if (user_writable(timeout, sizeof(*timeout)) < 0)
            return -EFAULT;
        int64_t ns = timespec_ns(timeout);
        if (ns < 0)
            return (int)ns;
        end = share_clock() + (nstime_t)ns;
    }
    while (done < n) {
        r = user_writable(&mm[done], sizeof(mm[done]));
        if (r == 0)
            r = recv_one(fd, &mm[done].msg_hdr, flags & ~MSG_WAITFORONE);
        if (r < 0)
            break;
        mm[done++].msg_len = (unsigned)r;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (timeout && share_clock() >= end)
            break;
    }
    if (timeout) {
        nstime_t now = share_clock(), left = end > now ? end - now : 0;
        timeout->tv_sec = (time_t)(left / 1000000000u);
        timeout->tv_nsec = (long)(left % 1000000000u);
    }
    return done ? (int)done : (int)r;
}

/* recvmmsg(2): the number of messages; an error after the first one is not
 * told. */
EXPORT int recvmmsg(int fd, struct mmsghdr *mm, unsigned n, int flags,
                    struct timespec *timeout) {
    if (!sock_file(fd)) {
        int got = real.recvmmsg(fd, mm, n, flags, timeout);
        for (int i = 0; i < got; i++)
            if (mm[i].msg_hdr.msg_controllen)
                rights_arrived(&mm[i].msg_hdr);
        return got;
    }
    RETURN(recv_many(fd, mm, n, flags, timeout));
}

/* ---- fortified twins: the compiler knew the room -------------------------- */

/* read, when the compiler knew how much room there is. */
EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t room) {
    if (n > room)
        __chk_fail();
    return read(fd, buf, n);
}

/* The same of recv. */
EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags) {
    if (n > room)
        __chk_fail();
    return recv(fd, buf, n, flags);
}

/* The same of recvfrom. */
EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room,
                              int flags, struct sockaddr *addr,
                              socklen_t *len) {
    if (n > room)
        __chk_fail();
    return recvfrom(fd, buf, n, flags, addr, len);
}

#define FAMILY_recv 1
#include "preload/alias.h"
