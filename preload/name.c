/* name.c: getsockname, getpeername. */
#include "preload/addr.h"
#include "preload/io.h"

/* getsockname(2): an unbound socket has the address "any", port 0. */
EXPORT int getsockname(int fd, struct sockaddr *addr, socklen_t *len) {
    if (!sock_file(fd))
        return real.getsockname(fd, addr, len);
    struct endpoint ep = {0};
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    stack_getsockname(f->so, &ep);
    int family = stack_sock_family(f->so);
    section_leave(f);
    RETURN(addr_out(family, &ep, addr, len));
}

/* getpeername(2): ENOTCONN without a peer. */
EXPORT int getpeername(int fd, struct sockaddr *addr, socklen_t *len) {
    if (!sock_file(fd))
        return real.getpeername(fd, addr, len);
    struct endpoint ep = {0};
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    int r = stack_getpeername(f->so, &ep);
    int family = stack_sock_family(f->so);
    section_leave(f);
    RETURN(r < 0 ? r : addr_out(family, &ep, addr, len));
}
