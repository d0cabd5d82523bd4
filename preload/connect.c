/* connect.c: connect(), blocking and not.
 *
 * Linux's rules for streams (inet_stream_connect), as seen by programs: the
 * first call starts the attempt; a non-blocking one answers EINPROGRESS, a
 * blocking one waits, at most SO_SNDTIMEO long (EINPROGRESS). A call while the
 * attempt goes on waits as well, and answers EALREADY instead. A signal ends
 * the waiting (EINTR), not the attempt.
 */
#include "preload/addr.h"
#include "preload/io.h"
#include "preload/policy.h"

/* Wait for the end of an attempt that stack_connect answered with `busy`. */
static int wait_connected(struct file *f, int busy) {
    if (f->nonblock)
        return busy;
    nstime_t deadline = deadline_after(f->snd_timeout);
    for (;;) {
        int r = stack_connect_result(self.st, f->so);
        if (r != -EINPROGRESS)
            return r;
        r = section_wait(f, STACK_OUT, deadline);
        if (r == -EAGAIN)
            return busy;
        if (r < 0)
            return r;
    }
}

/* Lock held. 0, -errno or IO_KERNEL. */
static int connect_file(int fd, struct file *f, const struct sockaddr *addr,
                        socklen_t len) {
    struct endpoint to;
    bool stream = sock_is_stream(f);
    int r = addr_check(addr, len);
    if (r < 0)
        return r;
    if (len < sizeof(sa_family_t))
        return -EINVAL;
    if (addr_family(addr, len) == AF_UNSPEC)
        return stack_connect(self.st, f->so, NULL);
    r = addr_in(stack_sock_family(f->so), !stream, addr, len, &to);
    if (r < 0)
        return r;
    r = policy_apply(fd, f, RULE_TO, &to);
    if (r)
        return r;
    r = stack_connect(self.st, f->so, &to);
    if (r == 0 || r == -EINPROGRESS)
        f->placed = true;
    if (r == -EINPROGRESS || r == -EALREADY)
        r = wait_connected(f, r);
    return r;
}

/* connect(2). AF_UNSPEC dissolves an association (UDP) or resets a
 * connection (TCP). */
EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len) {
    if (!sock_file(fd))
        return real.connect(fd, addr, len);
    struct file *f = section_enter_point(fd);
    if (!f)
        RETURN(-EBADF);
    int r = connect_file(fd, f, addr, len);
    section_leave(f);
    if (r == IO_KERNEL)
        return real.connect(fd, addr, len);
    RETURN(r);
}

#define FAMILY_connect 1
#include "preload/alias.h"
