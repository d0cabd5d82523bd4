/* send.c: send, sendto, sendmsg, sendmmsg, write, writev. */
#include <string.h>
#include <unistd.h>

#include "preload/addr.h"
#include "preload/msg.h"
#include "preload/rights.h"

/* Send one buffer to `addr` (NULL: the connected peer). */
static ssize_t send_buffer(int fd, const void *buf, size_t n, int flags,
                           const struct sockaddr *addr, socklen_t len) {
    struct iovec iov = {(void *)buf, n};
    struct msghdr h = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_name = (void *)addr,
        .msg_namelen = len,
    };
    return user_readable(buf, n) < 0 ? -EFAULT : io_send(fd, &h, flags);
}

/* send(2). */
EXPORT ssize_t send(int fd, const void *buf, size_t n, int flags) {
    if (!sock_file(fd))
        return real.send(fd, buf, n, flags);
    RETURN(send_buffer(fd, buf, n, flags, NULL, 0));
}

/* write(2): on a datagram socket a write of nothing sends an empty one. */
EXPORT ssize_t write(int fd, const void *buf, size_t n) {
    if (!sock_file(fd))
        return real.write(fd, buf, n);
    RETURN(send_buffer(fd, buf, n, 0, NULL, 0));
}

/* writev(2): one message, however many pieces. */
EXPORT ssize_t writev(int fd, const struct iovec *iov, int n) {
    if (!sock_file(fd))
        return real.writev(fd, iov, n);
    struct msghdr h = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    ssize_t r = iov_check(iov, n, -EINVAL);
    if (r > 0 && user_readable_iov(iov, n, (size_t)r) < 0)
        r = -EFAULT;
    RETURN(r < 0 ? r : io_send(fd, &h, 0));
}

/* sendto(2). The address is looked at before the socket knows whether it
 * needs one. */
EXPORT ssize_t sendto(int fd, const void *buf, size_t n, int flags,
                      const struct sockaddr *addr, socklen_t len) {
    if (!sock_file(fd))
        return real.sendto(fd, buf, n, flags, addr, len);
    int r = addr ? addr_check(addr, len) : 0;
    ssize_t sent = r < 0 ? r : send_buffer(fd, buf, n, flags, addr, len);
    if (sent == IO_KERNEL)
        return real.sendto(fd, buf, n, flags, addr, len);
    RETURN(sent);
}

/* One message; bytes, -errno or IO_KERNEL. */
static ssize_t send_one(int fd, const struct msghdr *h, int flags) {
    struct msghdr copy;
    if (user_read(&copy, h, sizeof(copy)) < 0)
        return -EFAULT;
    ssize_t r = iov_check(copy.msg_iov, (long)copy.msg_iovlen, -EMSGSIZE);
    if (r < 0)
        return r;
    if (user_readable_iov(copy.msg_iov, (int)copy.msg_iovlen, (size_t)r) < 0 ||
        user_readable(copy.msg_control, copy.msg_controllen) < 0)
        return -EFAULT;
    if ((int)copy.msg_namelen < 0 && copy.msg_name)
        return -EINVAL;
    if (copy.msg_namelen > sizeof(struct sockaddr_storage))
        copy.msg_namelen = sizeof(struct sockaddr_storage);
    return io_send(fd, &copy, flags);
}

/* A message of a kernel socket that carries stack sockets. */
static ssize_t send_rights(int fd, const struct msghdr *h, int flags) {
    struct rights rights;
    struct msghdr copy = *h;
    int r = rights_pack(&copy, &rights);
    if (r < 0)
        RETURN(r);
    ssize_t sent = real.sendmsg(fd, &copy, flags);
    int saved = errno;
    rights_sent(&rights);
    errno = saved;
    return sent;
}

/* sendmsg(2). */
EXPORT ssize_t sendmsg(int fd, const struct msghdr *h, int flags) {
    if (!sock_file(fd)) {
        if (!bad_pointer(h) && h->msg_controllen && rights_sends(h))
            return send_rights(fd, h, flags);
        return real.sendmsg(fd, h, flags);
    }
    ssize_t r = send_one(fd, h, flags);
    if (r == IO_KERNEL)
        return real.sendmsg(fd, h, flags);
    RETURN(r);
}

/* Several, one by one: the error of a later one is not told. */
static int send_many_rights(int fd, struct mmsghdr *mm, unsigned n, int flags) {
    unsigned done = 0;
    for (; done < n; done++) {
        ssize_t r = sendmsg(fd, &mm[done].msg_hdr, flags);
        if (r < 0)
            break;
        mm[done].msg_len = (unsigned)r;
    }
    return done ? (int)done : -1;
}

/* sendmmsg(2): how many were sent; the error of a later one is not told. */
EXPORT int sendmmsg(int fd, struct mmsghdr *mm, unsigned n, int flags) {
    if (!sock_file(fd)) {
        for (unsigned i = 0; i < n && !bad_pointer(mm); i++)
            if (mm[i].msg_hdr.msg_controllen && rights_sends(&mm[i].msg_hdr))
                return send_many_rights(fd, mm, n, flags);
        return real.sendmmsg(fd, mm, n, flags);
    }
    if (n > IO_IOV_MAX)
        n = IO_IOV_MAX;
    unsigned done = 0;
    for (; done < n; done++) {
        ssize_t r = user_writable(&mm[done], sizeof(mm[done]));
        if (r == 0)
            r = send_one(fd, &mm[done].msg_hdr, flags);
        if (r == IO_KERNEL)
            return real.sendmmsg(fd, mm, n, flags);
        if (r < 0 && done == 0)
            RETURN(r);
        if (r < 0)
            break;
        mm[done].msg_len = (unsigned)r;
    }
    return (int)done;
}

#define FAMILY_send 1
#include "preload/alias.h"
