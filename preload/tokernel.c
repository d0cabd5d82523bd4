/* tokernel.c: a stack socket becomes a kernel socket.
 *
 * socket() cannot know whom the socket will talk to; bind, connect or the
 * first sendto may tell that it is the kernel's after all (policy.c). Then a
 * kernel socket of the same kind takes its place under the same number, with
 * all that was set before: options, O_NONBLOCK, the owner, close-on-exec of
 * each number, and the port of an earlier bind to "any". Numbers of the same
 * file in this process (dup) follow; other processes that share a socket
 * before its first address keep the stack's.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "preload/addr.h"
#include "preload/sockopt.h"

/* A kernel socket of the kind of f, or -errno. */
static int twin(struct file *f) {
    static const int types[] = {[STACK_STREAM] = SOCK_STREAM,
                                [STACK_DGRAM] = SOCK_DGRAM,
                                [STACK_RAW] = SOCK_RAW};
    int type = types[stack_sock_type(f->so)];
    int family = stack_sock_family(f->so) == 6 ? AF_INET6 : AF_INET;
    return (int)sys_socket(family, type | SOCK_CLOEXEC,
                           stack_sock_protocol(f->so));
}

/* Options the kernel refuses (a size over its limit) are left at its default:
 * they were granted by the stack under its own rules. */
static void replay_options(struct file *f, int k) {
    char buf[16];
    int64_t v;
    for (int i = 0; i < opt_nrows; i++) {
        const struct opt_row *d = &opt_rows[i];
        enum stack_opt opt = (enum stack_opt)d->id;
        if (d->class == OPT_KEPT && f->kept[d->id])
            v = opt_kept_value(f, d);
        else if (d->class != OPT_STACK || !file_opt_noted(f, opt) ||
                 stack_getopt(self.st, f->so, opt, &v) < 0)
            continue;
        sys_setsockopt(k, d->level, d->name, buf, opt_encode(d, v, buf));
    }
    opt_call_replay(f, k);
}

/* Status flags live in the description: k's own, shared by its copies. */
static void replay_flags(struct file *f, int k) {
    if (f->nonblock || f->async)
        sys_fcntl(k, F_SETFL,
                  (f->nonblock ? O_NONBLOCK : 0) | (f->async ? O_ASYNC : 0));
    if (f->owner)
        sys_fcntl(k, F_SETOWN, f->owner);
    if (f->owner_sig)
        sys_fcntl(k, F_SETSIG, f->owner_sig);
}

/* A bind to "any" with a port is repeated. 0 or -errno. */
static int replay_bind(struct file *f, int k) {
    struct endpoint at = {0};
    struct sockaddr_storage ss;
    stack_getsockname(f->so, &at);
    if (!at.port)
        return 0;
    if (!ip_is_any(&at.ip))
        return -EINVAL; /* bound to the stack's own address */
    socklen_t len = addr_make(stack_sock_family(f->so), &at, &ss);
    return (int)sys_bind(k, &ss, len);
}

/* Put k under every number of f. The caller holds a reference to f. */
static void replace(struct file *f, int k) {
    int limit = file_limit();
    for (int fd = 0; fd < limit; fd++) {
        if (file_of(fd) != f)
            continue;
        bool cloexec = sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC;
        sys_dup3(k, fd, cloexec ? O_CLOEXEC : 0);
        file_unmap(fd);
    }
}

/* Lock held; afterwards f may be gone. */
int file_to_kernel(int fd, struct file *f) {
    int k = twin(f);
    if (k < 0)
        return k;
    replay_options(f, k);
    replay_flags(f, k);
    int r = replay_bind(f, k);
    if (r == 0) {
        file_get(f);
        replace(f, k);
        file_put(f);
    }
    sys_close(k);
    return r;
}
