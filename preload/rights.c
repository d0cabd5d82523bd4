/* rights.c: stack sockets in SCM_RIGHTS messages (unix(7)), both ways.
 *
 * Who will receive a message cannot be known when it is sent: a process of the
 * stack, one that could join it, or one that never heard of it. So each stack
 * socket in it is replaced by the far end of a relay (share/relay.h), which
 * holds a reference while it is under way, whoever closes or dies, and works
 * for every receiver. A process of the stack recognises it when it arrives,
 * and makes it a stack socket again before the program sees it; one that is
 * preloaded and has no stack yet joins the one that the relay's name tells.
 *
 * Rooms that are too small (MSG_CTRUNC), MSG_PEEK, MSG_CMSG_CLOEXEC and the
 * descriptor limit are the kernel's business: we look at what it delivered.
 */
#include "preload/rights.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "preload/share/relay.h"
#include "preload/stdio.h"
#include "preload/twin.h"

#define MAX_FDS 253 /* SCM_MAX_FD of Linux */

/* A control message with descriptors: how many, 0 if it is none. */
static size_t rights_count(const struct cmsghdr *c) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len < CMSG_LEN(0))
        return 0;
    return (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
}

/* The i-th descriptor of c; CMSG_DATA may be unaligned. */
static int rights_get(const struct cmsghdr *c, size_t i) {
    int fd;
    memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
    return fd;
}

/* Is all of c inside h's control buffer? The kernel says EINVAL if not. */
static bool whole(const struct msghdr *h, const struct cmsghdr *c) {
    size_t at = (size_t)((const char *)c - (const char *)h->msg_control);
    return c->cmsg_len >= sizeof(*c) && c->cmsg_len <= h->msg_controllen - at;
}

/* ---- sending ---------------------------------------------------------------- */

static bool is_socket(int fd) {
    struct file *f = stack_file(fd);
    return f && f->kind == FILE_SOCK;
}

bool rights_sends(const struct msghdr *h) {
    if (!self.sh || (uintptr_t)h->msg_control < 4096 ||
        h->msg_controllen > RIGHTS_ROOM)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c && whole(h, c);
         c = CMSG_NXTHDR((struct msghdr *)h, c))
        for (size_t i = 0; i < rights_count(c); i++)
            if (is_socket(rights_get(c, i)) || share_owns_fd(rights_get(c, i)))
                return true;
    return false;
}

/* One descriptor of c: a far end in its place. 0 or -errno. */
static int replace(struct cmsghdr *c, size_t i, struct rights *r) {
    struct file *f = file_of(rights_get(c, i));
    if (share_owns_fd(rights_get(c, i)))
        return -EBADF; /* closed, as far as the program knows */
    if (!f || f->kind != FILE_SOCK)
        return 0;
    if (r->n == MAX_FDS)
        return -EINVAL;
    if (f->twin_ino)
        twin_drop(f);
    int far = relay_open(f, true);
    if (far < 0)
        return far == -ENOMEM || far == -EAGAIN ? -ENOBUFS : far;
    r->far[r->n++] = far;
    memcpy(CMSG_DATA(c) + i * sizeof(far), &far, sizeof(far));
    return 0;
}

int rights_pack(struct msghdr *h, struct rights *r) {
    int e = 0;
    r->n = 0;
    memcpy(r->control, h->msg_control, h->msg_controllen);
    h->msg_control = r->control;
    share_enter();
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c && whole(h, c) && e == 0;
         c = CMSG_NXTHDR(h, c))
        for (size_t i = 0; i < rights_count(c) && e == 0; i++)
            e = replace(c, i, r);
    share_leave();
    if (e == 0 && r->n > 0 && relay_start() < 0)
        e = -ENOBUFS;
    if (e < 0)
        rights_sent(r);
    return e;
}

void rights_sent(struct rights *r) {
    while (r->n > 0)
        sys_close(r->far[--r->n]);
}

/* ---- receiving ---------------------------------------------------------------- */

/* No stack yet: is fd a socket of the one we would have? Then join it. */
static bool join(int fd) {
    char theirs[SHARE_NAME], ours[SHARE_NAME];
    uint64_t id;
    if (!relay_name(fd, theirs, sizeof(theirs), &id) || !preload_has_stack())
        return false;
    settings_stack_name(preload_settings(), ours, sizeof(ours));
    return strcmp(ours, theirs) == 0 && preload_stack() == 0;
}

static void receive(int fd) {
    if (!self.sh && !join(fd))
        return;
    share_enter();
    struct relay *relay = relay_of(fd);
    bool ours = relay && relay_claim(relay, fd);
    share_leave();
    if (!ours)
        return;
    preload_service();
    if (fd <= 2)
        stdio_follow(fd);
}

void rights_arrived(struct msghdr *h) {
    int saved = errno;
    if (preload_vforked || !h->msg_control)
        return;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c && whole(h, c);
         c = CMSG_NXTHDR(h, c))
        for (size_t i = 0; i < rights_count(c); i++)
            receive(rights_get(c, i));
    errno = saved;
}
