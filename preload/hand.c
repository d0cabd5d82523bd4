/* hand.c: all stack sockets of a process become kernel descriptors.
 *
 * For a program image that cannot be preloaded (exec.c) and for a sandbox that
 * forbids what the stack needs (sandbox.c). Numbers, copies (dup) and
 * close-on-exec flags stay as they are; a socket under several numbers gets
 * one pair. An epoll set that holds stack sockets gets their new descriptors
 * as ordinary items of the kernel's set that lies under it.
 */
#include "preload/hand.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "preload/fork.h"
#include "preload/share/relay.h"
#include "preload/stdio.h"

/* Put `far` under every number of f from `first` on; with `inherited`, only
 * those that survive an exec. Lock held. */
static void replace(struct file *f, int far, int first, bool inherited) {
    int limit = file_limit();
    for (int fd = first; fd < limit; fd++) {
        if (file_of(fd) != f)
            continue;
        bool cloexec = sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC;
        if (inherited && cloexec)
            continue;
        sys_dup3(far, fd, cloexec ? O_CLOEXEC : 0);
        file_unmap(fd);
    }
}

/* The first of f's numbers is fd. False: it cannot be relayed. Lock held. */
static bool hand_file(int fd, struct file *f, bool inherited) {
    int far = relay_open(f, false);
    if (far < 0) {
        self.sh->count.not_relayed++;
        return false;
    }
    file_get(f);
    replace(f, far, fd, inherited);
    file_put(f);
    sys_close(far);
    return true;
}

/* Stack items of a set, as items of the kernel's set. Lock held. */
static void hand_items(int ep, struct file *set) {
    uint32_t key, events;
    uint64_t data;
    for (unsigned i = 0; stack_pollset_item(set->ps, i, &key, &events, &data);
         i++) {
        struct epoll_event ev = {events, {.u64 = data}};
        if (!file_of((int)key)) /* handed over: a kernel's descriptor now */
            sys_epoll_ctl(ep, EPOLL_CTL_ADD, (int)key, &ev);
    }
}

unsigned hand_over(bool inherited) {
    unsigned lost = 0;
    share_enter();
    int limit = file_limit();
    for (int fd = 0; fd < limit; fd++) {
        struct file *f = file_of(fd);
        if (!f || f->kind != FILE_SOCK ||
            (inherited && sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC))
            continue;
        lost += !hand_file(fd, f, inherited);
    }
    for (int fd = 0; fd < limit && !inherited; fd++) {
        struct file *f = file_of(fd);
        if (f && f->kind == FILE_EPOLL) {
            hand_items(fd, f);
            file_unmap(fd);
        }
    }
    bool any = !list_empty(&self.sh->relays);
    share_leave();
    for (int fd = 0; fd <= 2; fd++)
        stdio_follow(fd);
    if (any && relay_start() < 0)
        preload_say("no process could be made to relay sockets");
    return lost;
}

/* ---- in a vfork child ----------------------------------------------------- */

#define VFORKED 64 /* descriptors that it can hand on */

/* Is fd, in this child, a stack socket that survives the exec? */
static struct file *inherited_file(int fd) {
    struct stat st;
    struct file *f = fork_vforked_file(fd);
    if (!f || f->kind != FILE_SOCK || stack_is_listening(f->so) ||
        sys_fstat(fd, &st) < 0 || (uint64_t)st.st_ino != self.proto_ino ||
        sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC)
        return NULL;
    return f;
}

void hand_over_vforked(void) {
    uint32_t slot;
    struct file *files[VFORKED];
    int n = 0, last = 0, limit = file_limit() + PROC_MOVES;
    int first[VFORKED]; /* the lowest number of the same socket */
    int fds[VFORKED];
    for (int fd = 0; fd < limit && n < VFORKED; fd++) {
        if (!(files[n] = inherited_file(fd)))
            continue;
        int i = 0;
        while (files[i] != files[n])
            i++;
        first[n] = i;
        last = i == n ? n : last;
        fds[n++] = fd;
    }
    if (n == 0 || !fork_vforked_hand(&slot))
        return;
    for (int i = 0; i < n; i++) {
        if (first[i] < i) {
            sys_dup3(fds[first[i]], fds[i], 0);
            continue;
        }
        /* The last letter says that the slot has done its duty. */
        int far = relay_open_vforked(files[i], slot, i == last);
        if (far >= 0) {
            sys_dup3(far, fds[i], 0);
            sys_close(far);
        }
    }
    relay_start();
}
