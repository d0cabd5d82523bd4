/* fcntl.c: fcntl(). Status flags and the owner live in the file, since the
 * kernel descriptors behind are copies of one; the close-on-exec flag is the
 * kernel descriptor's own. */
#include <fcntl.h>
#include <stdarg.h>

#include "preload/async.h"
#include "preload/fork.h"
#include "preload/io.h"

/* F_DUPFD, F_DUPFD_CLOEXEC: the lowest free number from `least` on. Also of
 * epoll sets. The number or -errno. */
static int dup_from(int fd, int cmd, long least) {
    struct file *f = file_of(fd);
    int r = (int)sys_fcntl(fd, cmd, (int)least);
    if (r < 0)
        return r;
    int e = file_map(r, f);
    if (e < 0)
        sys_close(r);
    return e < 0 ? e : r;
}

/* F_GETOWN_EX (fcntl(2)): a process, or a group as a negative number. */
static int get_owner_ex(struct file *f, struct f_owner_ex *ex) {
    if (user_writable(ex, sizeof(*ex)) < 0)
        return -EFAULT;
    ex->type = f->owner < 0 ? F_OWNER_PGRP : F_OWNER_PID;
    ex->pid = f->owner < 0 ? -f->owner : f->owner;
    return 0;
}

/* F_SETOWN_EX: threads are kept as their number. */
static int set_owner_ex(int fd, struct file *f, const struct f_owner_ex *ex) {
    if (user_readable(ex, sizeof(*ex)) < 0)
        return -EFAULT;
    if (ex->type != F_OWNER_TID && ex->type != F_OWNER_PID &&
        ex->type != F_OWNER_PGRP)
        return -EINVAL;
    f->owner = ex->type == F_OWNER_PGRP ? -ex->pid : ex->pid;
    return async_update(fd, f);
}

/* Commands on a socket of ours, lock held. */
static int fcntl_file(int fd, struct file *f, int cmd, long arg) {
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return dup_from(fd, cmd, arg);
    case F_GETFL:
        return O_RDWR | (f->nonblock ? O_NONBLOCK : 0) |
               (f->async ? O_ASYNC : 0);
    case F_SETFL:
        f->nonblock = arg & O_NONBLOCK;
        f->async = arg & O_ASYNC;
        return async_update(fd, f);
    case F_GETOWN:
        return f->owner;
    case F_SETOWN:
        if ((int)arg == INT32_MIN)
            return -EINVAL;
        f->owner = (int32_t)arg;
        return async_update(fd, f);
    case F_GETOWN_EX:
        return get_owner_ex(f, (struct f_owner_ex *)arg);
    case F_SETOWN_EX:
        return set_owner_ex(fd, f, (const struct f_owner_ex *)arg);
    case F_GETSIG:
        return f->owner_sig;
    case F_SETSIG:
        if (arg < 0 || arg > 64)
            return -EINVAL;
        f->owner_sig = (int32_t)arg;
        return 0; /* the next signal is of that kind */
    default:      /* F_GETFD, F_SETFD, and what no socket can do */
        return (int)sys_fcntl(fd, cmd, arg);
    }
}

/* An epoll set is a kernel descriptor that only its copies need follow. */
static int fcntl_epoll(int fd, int cmd, long arg) {
    if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
        return dup_from(fd, cmd, arg);
    return (int)sys_fcntl(fd, cmd, arg);
}

/* fcntl(2). The third argument, if there is one, fills a register on the
 * ABIs we run on, whatever its type. */
EXPORT int fcntl(int fd, int cmd, ...) {
    va_list ap;
    va_start(ap, cmd);
    long arg = va_arg(ap, long);
    va_end(ap);
    if (!stack_file(fd)) {
        int to = real.fcntl(fd, cmd, arg);
        if (preload_vforked && to >= 0 &&
            (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC))
            fork_note_dup(fd, to);
        return to;
    }
    share_enter();
    struct file *f = file_of(fd);
    int r = !f                     ? -EBADF
            : f->kind == FILE_SOCK ? fcntl_file(fd, f, cmd, arg)
                                   : fcntl_epoll(fd, cmd, arg);
    share_leave();
    if (cmd == F_SETFL || cmd == F_SETOWN || cmd == F_SETOWN_EX)
        async_start();
    RETURN(r);
}

#define FAMILY_fcntl 1
#include "preload/alias.h"
