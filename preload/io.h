/* io.h: sending and receiving with waiting, and what the wrappers of the
 * socket calls share (io.c).
 */
#pragma once
#include <pthread.h>

#include "preload/preload.h"
#include "preload/user.h"

/* Answer of io_send: the socket has just become a kernel socket under the
 * same number (policy); call the C library's function. Outside -4095..0. */
#define IO_KERNEL (-5000)

/* IOV_MAX of Linux. */
#define IO_IOV_MAX 1024

/* One message with its surroundings, for recvfrom and recvmsg. */
struct io_msg {
    struct stack_msg m;
    int family;    /* of the socket: 4 or 6 */
    bool stream;   /* no addresses on streams */
    uint32_t want; /* MSG_WANT_* (msg.h): control messages asked for */
    int stamp;     /* struct file.stamp */
};

/* The file behind fd if it is a stack *socket* (not an epoll set) and this
 * thread may use it; a hint until the lock is held. */
static inline struct file *sock_file(int fd) {
    struct file *f = stack_file(fd);
    return f && f->kind == FILE_SOCK ? f : NULL;
}

/* Enter the section, look again, and hold the file. NULL: another thread
 * closed it; the section is left, the answer is -EBADF. */
struct file *section_enter(int fd);
/* The same for calls that are cancellation points (pthreads(7)). */
static inline struct file *section_enter_point(int fd) {
    pthread_testcancel();
    return section_enter(fd);
}
/* Let go of the file and leave. */
void section_leave(struct file *f);
/* Wait inside the section for one of events: 0, -EAGAIN (deadline), -EINTR. */
int section_wait(struct file *f, uint32_t events, nstime_t deadline);

static inline bool sock_is_stream(struct file *f) {
    return stack_sock_type(f->so) == STACK_STREAM;
}

/* Sum of the lengths, or -EINVAL (a length that is negative), -EFAULT, or
 * `too_many` for a count out of 0..IO_IOV_MAX. */
ssize_t iov_check(const struct iovec *iov, long n, int too_many);

/* recv family. flags: MSG_* as the program gave them; errors in flags are not
 * refused (as Linux). Returns bytes or -errno. im may be NULL. */
ssize_t io_recv(int fd, const struct iovec *iov, int niov, int flags,
                struct io_msg *im);
/* send family: bytes, -errno, or IO_KERNEL. SIGPIPE is raised here. The
 * message's iov has been checked. */
ssize_t io_send(int fd, const struct msghdr *h, int flags);
