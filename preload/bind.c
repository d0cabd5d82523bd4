/* bind.c: bind(). Decides between stack and kernel when the address does. */
#include "preload/addr.h"
#include "preload/io.h"
#include "preload/policy.h"

/* Lock held. 0, -errno or IO_KERNEL. */
static int bind_file(int fd, struct file *f, const struct sockaddr *addr,
                     socklen_t len) {
    struct endpoint at;
    struct sockaddr_in in;
    int family = stack_sock_family(f->so);
    int r = addr_check(addr, len);
    if (r < 0)
        return r;
    /* bind(2): AF_UNSPEC with INADDR_ANY is taken for AF_INET */
    if (family == 4 && len >= sizeof(in) && addr_family(addr, len) == 0) {
        memcpy(&in, addr, sizeof(in));
        in.sin_family = AF_INET;
        if (in.sin_addr.s_addr == 0)
            addr = (struct sockaddr *)&in;
    }
    r = addr_in(family, false, addr, len, &at);
    if (r < 0)
        return r;
    r = policy_apply(fd, f, RULE_AT, &at);
    if (r)
        return r;
    return stack_bind(self.st, f->so, &at);
}

/* bind(2): 0, or EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EFAULT,
 * EINVAL (bound already, or a bad length). */
EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t len) {
    if (!sock_file(fd))
        return real.bind(fd, addr, len);
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    int r = bind_file(fd, f, addr, len);
    section_leave(f);
    if (r == IO_KERNEL)
        return real.bind(fd, addr, len);
    RETURN(r);
}
