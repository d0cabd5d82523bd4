/* join.c: a second program of the same host.
 *
 * A stack listens on an abstract socket (unix(7)) called "libstack/NAME".
 * Abstract names belong to the network namespace, as devices do, so the name
 * "dev/address" means one stack. The listening socket is one of the stack's
 * own descriptors, held by every process of it: whoever watches the interface
 * answers callers too, and no process in particular must stay alive. The name
 * vanishes with the last of them.
 *
 * Both ends check each other's user: a stack is shared by programs of one
 * user only (root may join anybody's and is trusted by nobody else).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "netio/sys.h"
#include "preload/share/inner.h"

#define JOIN_MAGIC 0x6a6f696eu /* "join" */
#define JOIN_FDS (4 + SHARE_BELLS)
#define JOIN_WAIT_MS 2000

struct join_reply {
    uint32_t magic, bells;
    void *base;
    size_t size;
};

static socklen_t join_address(struct sockaddr_un *a, const char *name) {
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    int n =
        snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "libstack/%s", name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int join_listen(const char *name) {
    struct sockaddr_un a;
    socklen_t len = join_address(&a, name);
    long fd =
        sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return (int)fd;
    long r = sys_bind((int)fd, &a, len);
    if (r == 0)
        r = sys_listen((int)fd, 16);
    if (r < 0) {
        sys_close((int)fd);
        return (int)r;
    }
    return (int)fd;
}

static bool peer_uid(int fd, uint32_t *uid) {
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return false;
    *uid = cred.uid;
    return true;
}

/* Everything a process of this stack needs, in one message. */
static long send_stack(int fd) {
    struct join_reply reply = {JOIN_MAGIC, SHARE_BELLS, self.base, self.size};
    struct iovec iov = {&reply, sizeof(reply)};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * JOIN_FDS)];
    } u;
    memset(&u, 0, sizeof(u));
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = u.room,
                       .msg_controllen = sizeof(u.room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * JOIN_FDS);
    int fds[JOIN_FDS] = {self.fd.arena, self.fd.packet, self.fd.join,
                         self.fd.mail};
    memcpy(fds + 4, self.fd.bell, sizeof(self.fd.bell));
    memcpy(CMSG_DATA(c), fds, sizeof(fds));
    return sys_sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void share_serve_join(void) {
    uint32_t uid;
    long fd = sys_accept4(self.fd.join, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (peer_uid((int)fd, &uid) && (uid == self.sh->uid || uid == 0)) {
        if (send_stack((int)fd) > 0)
            self.sh->count.joins++;
    } else {
        self.sh->count.join_refused++;
    }
    sys_close((int)fd);
}

/* The reply and its descriptors, into self. */
static int receive_stack(int fd, struct join_reply *reply) {
    struct iovec iov = {reply, sizeof(*reply)};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * JOIN_FDS)];
    } u;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = u.room,
                       .msg_controllen = sizeof(u.room)};
    struct pollfd p = {fd, POLLIN, 0};
    struct timespec ts = {JOIN_WAIT_MS / 1000, 0};
    if (sys_ppoll(&p, 1, &ts, NULL) <= 0)
        return -ETIMEDOUT;
    long n = sys_recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n == 0)
        return -EACCES; /* hung up on: another user */
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (n != sizeof(*reply) || reply->magic != JOIN_MAGIC || !c ||
        c->cmsg_len != CMSG_LEN(sizeof(int) * JOIN_FDS) ||
        reply->bells != SHARE_BELLS)
        return n < 0 ? (int)n : -EPROTO;
    int fds[JOIN_FDS];
    memcpy(fds, CMSG_DATA(c), sizeof(fds));
    for (int i = 0; i < JOIN_FDS; i++)
        fds[i] = arena_hide_fd(fds[i]);
    self.fd.arena = fds[0];
    self.fd.packet = fds[1];
    self.fd.join = fds[2];
    self.fd.mail = fds[3];
    memcpy(self.fd.bell, fds + 4, sizeof(self.fd.bell));
    return 0;
}

int share_join(const char *name, char *err, size_t errlen) {
    struct sockaddr_un a;
    struct join_reply reply = {0};
    uint32_t uid = 0;
    socklen_t len = join_address(&a, name);
    long fd = sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return (int)fd;
    long r = sys_connect((int)fd, &a, len);
    if (r == -ECONNREFUSED || r == -ENOENT) {
        sys_close((int)fd);
        return share_fail(-ENOENT, err, errlen, "no stack %s runs here", name);
    }
    if (r == 0 &&
        (!peer_uid((int)fd, &uid) ||
         (uid != (uint32_t)sys_geteuid() && uid != 0 && sys_geteuid() != 0)))
        r = -EACCES;
    if (r == 0)
        r = receive_stack((int)fd, &reply);
    sys_close((int)fd);
    if (r == -ECONNRESET) /* its last process went away meanwhile */
        return share_fail(-ENOENT, err, errlen, "%s has just ended", name);
    if (r < 0)
        return share_fail((int)r, err, errlen,
                          "%s is in use by a running stack that cannot be "
                          "joined: %s",
                          name, strerror((int)-r));
    r = arena_map(self.fd.arena, reply.base, reply.size, false, err, errlen);
    if (r == 0)
        r = arena_proto(-1);
    if (r < 0) {
        arena_unmap();
        return (int)r;
    }
    share_enter();
    r = proc_claim();
    share_leave();
    return (int)r;
}
