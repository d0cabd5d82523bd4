/* dup.c: dup, dup2, dup3. The new number is the kernel's choice; our map
 * follows, under the lock. A number that one of the stack's own descriptors has
 * is made free first. */
#include <fcntl.h>
#include <unistd.h>

#include "preload/fork.h"
#include "preload/io.h"
#include "preload/stdio.h"

/* `to` (a kernel descriptor since just now) refers to what `from` does, which
 * may be none of ours. Returns to, or -errno with `to` closed. */
static int follow(int from, int to) {
    struct file *f = file_of(from);
    if (to != from)
        file_unmap(to);
    if (!f || to == from)
        return to;
    int r = file_map(to, f);
    if (r < 0)
        sys_close(to);
    return r < 0 ? r : to;
}

/* The kernel has made `to` a copy of `from` (or failed: to < 0), and neither
 * is ours; but in a vfork child they may be the parent's. */
static int kernel_did(int from, int to) {
    if (preload_vforked && to >= 0)
        fork_note_dup(from, to);
    return to;
}

/* dup(2): the lowest free number. */
EXPORT int dup(int fd) {
    if (!stack_file(fd))
        return kernel_did(fd, real.dup(fd));
    share_enter();
    int r = (int)sys_dup(fd);
    if (r >= 0)
        r = follow(fd, r);
    share_leave();
    RETURN(r);
}

/* The common half of dup2 and dup3: what lay on `to` is closed, silently, as
 * the kernel does. A standard stream may have changed sides. */
static int dup_to(int from, int to, int flags) {
    share_enter();
    int r = (int)sys_dup3(from, to, flags);
    if (r >= 0)
        r = follow(from, r);
    share_leave();
    if (r >= 0 && r <= STDERR_FILENO)
        stdio_follow(r);
    return r;
}

/* An own descriptor lies on `to`: it moves. 0, or -EBUSY: no number is free, or
 * this is a vfork child, in whose parent's memory the numbers are noted. */
static int make_way(int from, int to) {
    if (from == to || sys_fcntl(from, F_GETFD, 0) < 0)
        return 0; /* the kernel will refuse, or do nothing */
    if (preload_vforked)
        return -EBUSY;
    share_enter();
    int r = share_move_fd(to);
    share_leave();
    return r < 0 ? -EBUSY : 0;
}

/* dup2(2): equal numbers are only checked. */
EXPORT int dup2(int from, int to) {
    if (self.sh && share_owns_fd(to) && make_way(from, to) < 0)
        RETURN(-EBUSY);
    if ((!stack_file(from) && !stack_file(to)) || from == to)
        return kernel_did(from, real.dup2(from, to));
    RETURN(dup_to(from, to, 0));
}

/* dup3(2): equal numbers are EINVAL, from the kernel. */
EXPORT int dup3(int from, int to, int flags) {
    if (self.sh && share_owns_fd(to) && make_way(from, to) < 0)
        RETURN(-EBUSY);
    if (!stack_file(from) && !stack_file(to))
        return kernel_did(from, real.dup3(from, to, flags));
    RETURN(dup_to(from, to, flags));
}

#define FAMILY_dup 1
#include "preload/alias.h"
