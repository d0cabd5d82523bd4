/* twin.c: a wildcard listener also listens on the kernel's loopback.
 *
 * Theory of operation
 *
 * Where the policy leaves 127/8 to the kernel, a server on "any" address would
 * not be reached by programs of this host through 127.0.0.1. So listen() gives
 * it a twin: a kernel socket that listens on 127.0.0.1 and the same port, or,
 * for AF_INET6, on ::ffff:127.0.0.1 (with IPV6_V6ONLY, ::1).
 *
 * The twin takes the place of the AF_UNIX prototype under the listener's own
 * descriptor numbers. So it needs no number of its own, and what happens to
 * them happens to it: dup, fork, exec, close. It never blocks; O_NONBLOCK of
 * the listener is kept in struct file as ever. accept() takes from both queues
 * in turn; poll() and epoll look at both sides, as they do at an epoll set
 * (poll.c, epoll.c). What the twin accepts is a kernel socket like any other.
 *
 * If another socket of the kernel's has the port, listen() says EADDRINUSE, as
 * the kernel would; if the stack itself has chosen the port, or the kernel has
 * no loopback to bind to, the listener goes without a twin (counted).
 *
 * Limits: processes that share the socket since before listen(), and epoll sets
 * it was put into before, see the stack's side alone. A listener that is passed
 * on (SCM_RIGHTS) loses its twin. ::1 does not reach a dual-stack listener.
 */
#include "preload/twin.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "preload/addr.h"
#include "preload/policy.h"
#include "preload/sockopt.h"

/* 127.0.0.1, or ::1 for a socket that speaks nothing but IPv6. */
static struct endpoint loopback(struct file *f, uint16_t port) {
    int64_t v6only = 0;
    struct endpoint at = {.ip = ip_from_v4(0x7f000001), .port = port};
    stack_getopt(self.st, f->so, STACK_OPT_V6ONLY, &v6only);
    if (v6only)
        at.ip = (struct ip_addr){{[15] = 1}};
    return at;
}

/* A kernel socket that listens there, or -errno. */
static int make(struct file *f, const struct endpoint *at, int backlog) {
    struct sockaddr_storage ss;
    int family = stack_sock_family(f->so), one = 1;
    int64_t v;
    int k = (int)sys_socket(family == 6 ? AF_INET6 : AF_INET,
                            SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (k < 0)
        return k;
    if (stack_getopt(self.st, f->so, STACK_OPT_REUSEADDR, &v) == 0 && v)
        sys_setsockopt(k, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (stack_getopt(self.st, f->so, STACK_OPT_REUSEPORT, &v) == 0 && v)
        sys_setsockopt(k, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    socklen_t len = addr_make(family, at, &ss);
    int r = (int)sys_bind(k, &ss, len);
    if (r == 0)
        r = (int)sys_listen(k, backlog);
    if (r < 0)
        sys_close(k);
    return r < 0 ? r : k;
}

/* Put k under every number of f. */
static void put(struct file *f, int k) {
    struct stat st;
    int limit = file_limit();
    if (sys_fstat(k, &st) == 0)
        f->twin_ino = st.st_ino;
    for (int fd = 0; fd < limit; fd++) {
        if (file_of(fd) != f)
            continue;
        bool cloexec = sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC;
        sys_dup3(k, fd, cloexec ? O_CLOEXEC : 0);
    }
    sys_close(k);
}

int twin_listen(int fd, struct file *f, int backlog) {
    struct endpoint at = {0};
    stack_getsockname(f->so, &at);
    if (f->twin_ino)
        return (int)sys_listen(fd, backlog);
    if (!sock_is_stream(f) || stack_is_listening(f->so) || !at.port ||
        !ip_is_any(&at.ip))
        return 0;
    at = loopback(f, at.port);
    if (policy_ask(f, RULE_AT, &at).policy != POLICY_KERNEL)
        return 0;
    int k = make(f, &at, backlog);
    if (k >= 0) {
        put(f, k);
        self.sh->count.twins++;
    } else {
        self.sh->count.twins_failed++;
    }
    return k == -EADDRINUSE ? k : 0;
}

void twin_drop(struct file *f) {
    int limit = file_limit();
    f->twin_ino = 0;
    self.sh->count.twins_failed++;
    for (int fd = 0; fd < limit; fd++) {
        if (file_of(fd) != f)
            continue;
        bool cloexec = sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC;
        sys_dup3(self.fd.proto, fd, cloexec ? O_CLOEXEC : 0);
    }
}

int twin_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags) {
    int r = (int)sys_accept4(fd, addr, len, flags);
    if (r >= 0) {
        self.sh->count.kernel_accepted++;
        why_note(r, WHY_ACCEPTED, -1);
    }
    return r;
}
