/* own.c: the stack's own descriptors in a program's table.
 *
 * The arena, the packet socket, the bells and the rest are descriptors like
 * any other, and programs close, overwrite and count descriptors. They are
 * kept at the upper end of what the descriptor limit allows (1,024 at most,
 * since a higher one would make every fork copy a large table), so that a
 * program finds its own numbers where it expects them; a bitmap tells the
 * wrappers which ones to step over; and one that lies where a program wants a
 * descriptor of its own (dup2) is moved elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "netio/sys.h"
#include "preload/share/file.h"
#include "preload/share/inner.h"
#include "preload/share/wait.h"

#define TOP 1024
#define ROOM (SHARE_BELLS + 12)

static uint64_t own[FILE_TABLE / 64];

void own_mark(int fd) {
    if ((unsigned)fd < FILE_TABLE)
        own[fd / 64] |= 1ull << fd % 64;
}

void own_forget(int fd) {
    if ((unsigned)fd < FILE_TABLE)
        own[fd / 64] &= ~(1ull << fd % 64);
}

void own_forget_all(void) { memset(own, 0, sizeof(own)); }

void own_close_all(void) {
    for (unsigned fd = share_next_own(0, FILE_TABLE - 1); fd < FILE_TABLE;
         fd = share_next_own(fd, FILE_TABLE - 1)) {
        sys_close((int)fd);
        own_forget((int)fd);
    }
}

bool share_owns_fd(int fd) {
    return (unsigned)fd < FILE_TABLE && own[fd / 64] >> fd % 64 & 1;
}

unsigned share_next_own(unsigned first, unsigned last) {
    for (unsigned fd = first; fd <= last && fd < FILE_TABLE; fd++) {
        uint64_t word = own[fd / 64] >> fd % 64;
        if (word == 0) {
            fd |= 63; /* on to the next word */
            continue;
        }
        fd += (unsigned)__builtin_ctzll(word);
        return fd <= last ? fd : last + 1;
    }
    return last + 1;
}

/* A copy of fd as high as the limit allows, or anywhere. */
static int copy_up(int fd) {
    struct rlimit lim = {TOP, TOP};
    sys_prlimit64(0, RLIMIT_NOFILE, NULL, &lim);
    long top = lim.rlim_cur < TOP ? (long)lim.rlim_cur : TOP;
    long low = top > 2 * ROOM ? top - ROOM : top / 2;
    long up = sys_fcntl(fd, F_DUPFD_CLOEXEC, low);
    return (int)(up < 0 ? sys_fcntl(fd, F_DUPFD_CLOEXEC, 3) : up);
}

int arena_hide_fd(int fd) {
    int up = copy_up(fd);
    if (up >= 0)
        sys_close(fd);
    own_mark(up < 0 ? fd : up);
    return up < 0 ? fd : up;
}

int share_move_fd(int fd) {
    int to = copy_up(fd);
    if (to < 0)
        return to;
    int *named = (int *)&self.fd; /* nothing but descriptors */
    for (size_t i = 0; i < sizeof(self.fd) / sizeof(*named); i++)
        if (named[i] == fd)
            named[i] = to;
    netio_renumber(self.io, fd, to);
    own_forget(fd);
    own_mark(to);
    sys_close(fd);
    wait_again(); /* whoever is about to sleep on the old number */
    return to;
}
