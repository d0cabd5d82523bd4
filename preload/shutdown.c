/* shutdown.c: shutdown(). */
#include "preload/io.h"
#include "preload/share/relay.h"

/* shutdown(2): EINVAL for a bad `how` comes before ENOTCONN. */
EXPORT int shutdown(int fd, int how) {
    if (!sock_file(fd))
        return real.shutdown(fd, how);
    static const enum stack_how hows[] = {
        [SHUT_RD] = STACK_SHUT_RD,
        [SHUT_WR] = STACK_SHUT_WR,
        [SHUT_RDWR] = STACK_SHUT_RDWR,
    };
    if ((unsigned)how > SHUT_RDWR)
        RETURN(-EINVAL);
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    if (f->relays)
        relay_sync(f);
    int r = stack_shutdown(self.st, f->so, hows[how]);
    if (f->twin_ino)
        sys_shutdown(fd, how);
    section_leave(f);
    RETURN(r);
}
