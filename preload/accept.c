/* accept.c: listen, accept, accept4.
 *
 * Linux reserves the new descriptor before it takes a connection off the
 * queue, so that running out of descriptors (EMFILE) loses no connection.
 * Here: when the queue is not empty, a descriptor for an empty file is made,
 * then the connection is taken and put into it.
 */
#include <fcntl.h>
#include <string.h>

#include "preload/batch.h"
#include "preload/addr.h"
#include "preload/io.h"
#include "preload/twin.h"

/* listen(2): 0, or EADDRINUSE, EDESTADDRREQ, EINVAL, EOPNOTSUPP (not a
 * stream). An unbound socket gets a free port of all addresses. */
EXPORT int listen(int fd, int backlog) {
    if (!sock_file(fd))
        return real.listen(fd, backlog);
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    int r = twin_listen(fd, f, backlog);
    if (r == 0)
        r = stack_listen(self.st, f->so, backlog);
    if (r == 0)
        f->placed = true;
    section_leave(f);
    RETURN(r);
}

/* Take one connection, which is known to be there. Descriptor or -errno;
 * -EAGAIN when it went away. What a Linux socket inherits from its listener
 * outside the protocol are the time-outs. */
static int take_one(struct file *l, int flags) {
    struct file *f = file_new(FILE_SOCK, NULL, NULL);
    if (!f)
        return -ENOBUFS;
    file_get(f);
    int fd = file_install(f, flags & SOCK_CLOEXEC);
    if (fd >= 0) {
        int r = stack_accept(self.st, l->so, &f->so);
        if (r < 0) {
            f->so = NULL;
            file_unmap(fd);
            sys_close(fd);
            fd = r;
        }
    }
    f->nonblock = flags & SOCK_NONBLOCK;
    f->placed = true;
    f->rcv_timeout = l->rcv_timeout;
    f->snd_timeout = l->snd_timeout;
    memcpy(f->opt_set, l->opt_set, sizeof(f->opt_set));
    memcpy(f->kept, l->kept, sizeof(f->kept));
    f->stamp = l->stamp;
    f->pktinfo6 = l->pktinfo6;
    file_put(f);
    if (fd >= 0)
        self.sh->count.sockets++;
    return fd;
}

/* What is there now, of the queue itself or its twin's, in turn. Descriptor or
 * -errno. */
static int take_any(int fd, struct file *f, struct sockaddr *addr,
                    socklen_t *len, int flags) {
    struct sock *none;
    int r = -EAGAIN;
    if (!stack_is_listening(f->so))
        return stack_accept(self.st, f->so, &none); /* why not */
    bool twin = f->twin_ino && file_of(fd) == f;    /* not closed meanwhile */
    bool first = twin && f->twin_turn;
    f->twin_turn = !f->twin_turn;
    if (first)
        r = twin_accept(fd, addr, len, flags);
    if (r == -EAGAIN && stack_ready(self.st, f->so) & STACK_IN)
        r = take_one(f, flags);
    if (r == -EAGAIN && twin && !first)
        r = twin_accept(fd, addr, len, flags);
    return r;
}

/* Lock held. Descriptor or -errno. */
static int accept_wait(int fd, struct file *f, struct sockaddr *addr,
                       socklen_t *len, int flags) {
    bool drained = false;
    nstime_t deadline = 0;
    if (!sock_is_stream(f))
        return -EOPNOTSUPP;
    for (;;) {
        int r = take_any(fd, f, addr, len, flags);
        if (r != -EAGAIN)
            return r;
        if (f->nonblock) {
            if (drained)
                return -EAGAIN;
            drained = true;
            wait_drain();
            continue;
        }
        if (!deadline) {
            int room = (int)sys_fcntl(self.fd.proto, F_DUPFD_CLOEXEC, 0);
            if (room < 0)
                return room; /* no number: Linux does not wait then either */
            sys_close(room);
            deadline = deadline_after(f->rcv_timeout);
        }
        r = wait_twin(stack_sock_source(f->so), f, STACK_IN,
                      f->twin_ino ? fd : -1, deadline);
        if (r < 0)
            return r;
    }
}

/* accept4(2) on a socket of ours: the new descriptor, or -errno. The address
 * is written by the rules of getsockname(2). */
static int accept_common(int fd, struct sockaddr *addr, socklen_t *len,
                         int flags) {
    if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
        return -EINVAL;
    struct file *f = section_enter_point(fd);
    if (!f)
        return -EBADF;
    int got = accept_wait(fd, f, addr, len, flags);
    if (got >= 0 && addr && file_of(got)) {
        struct endpoint peer = {0};
        struct file *n = file_of(got);
        stack_getpeername(n->so, &peer);
        int r = addr_out(stack_sock_family(n->so), &peer, addr, len);
        if (r < 0) { /* as Linux: the connection is lost */
            file_unmap(got);
            sys_close(got);
            got = r;
        }
    }
    section_leave(f);
    return got;
}

/* accept(2): nothing is inherited but what lies in the protocol; O_NONBLOCK
 * and close-on-exec start cleared. */
EXPORT int accept(int fd, struct sockaddr *addr, socklen_t *len) {
    if (!sock_file(fd)) {
        batch_before_sleep();
        return real.accept(fd, addr, len);
    }
    RETURN(accept_common(fd, addr, len, 0));
}

/* accept4(2): SOCK_NONBLOCK and SOCK_CLOEXEC, any other flag is EINVAL. */
EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags) {
    if (!sock_file(fd)) {
        batch_before_sleep();
        return real.accept4(fd, addr, len, flags);
    }
    RETURN(accept_common(fd, addr, len, flags));
}
