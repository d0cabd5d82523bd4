/* sendfile.c: sendfile, splice, tee, copy_file_range with a stack socket on
 * one side: reading and writing in bounded pieces.
 *
 * Nothing read may be lost when the other side cannot take it. So:
 *   file -> socket   read at an offset of our own; the file's position (or the
 *                    caller's offset) moves by what was sent;
 *   pipe -> socket   only while the socket is writable, at most PIECE at a
 *                    time; the rest of a piece waits for room even on a
 *                    non-blocking socket;
 *   socket -> pipe   peek, write to the pipe what it takes without waiting,
 *                    then take just that from the socket.
 * What Linux does not do with sockets keeps its errors: EINVAL for a socket as
 * sendfile's or copy_file_range's source, and for tee.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "preload/io.h"

#define CHUNK 32768
#define PIECE 4096 /* a pipe that polls writable takes PIPE_BUF at once */

/* One send(2) without its errno: bytes or -errno. */
static ssize_t send_buf(int fd, const void *buf, size_t n, int flags) {
    struct iovec iov = {(void *)buf, n};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    return io_send(fd, &h, flags);
}

/* One recv(2) without its errno. */
static ssize_t recv_buf(int fd, void *buf, size_t n, int flags) {
    struct iovec iov = {buf, n};
    return io_recv(fd, &iov, 1, flags, NULL);
}

/* ---- file -> socket ------------------------------------------------------------ */

/* From offset `at` of a file; bytes sent, or -errno. */
static ssize_t file_to_sock(int out, int in, off_t at, size_t n) {
    char buf[CHUNK];
    size_t sent = 0;
    ssize_t r = 0;
    while (sent < n) {
        size_t want = n - sent < CHUNK ? n - sent : CHUNK;
        ssize_t got = sys_pread64(in, buf, want, at + (off_t)sent);
        if (got <= 0) {
            r = got;
            break;
        }
        int more = (size_t)got == want && sent + want < n ? MSG_MORE : 0;
        r = send_buf(out, buf, (size_t)got, more);
        if (r > 0)
            sent += (size_t)r;
        if (r < got)
            break;
    }
    return sent ? (ssize_t)sent : r;
}

/* sendfile(2): bytes sent, 0 at the end of the file. */
EXPORT ssize_t sendfile(int out, int in, off_t *at, size_t n) {
    if (!sock_file(out) && !sock_file(in))
        return real.sendfile(out, in, at, n);
    if (sock_file(in) || !sock_file(out))
        RETURN(-EINVAL);
    off_t from = at ? *at : (off_t)sys_lseek(in, 0, SEEK_CUR);
    if (from < 0) /* a pipe or a socket (ESPIPE), or a negative offset */
        RETURN(!at && from == -EBADF ? -EBADF : -EINVAL);
    if (n > INT_MAX)
        n = INT_MAX & ~4095;
    ssize_t r = file_to_sock(out, in, from, n);
    if (r > 0 && at)
        *at = from + r;
    else if (r > 0)
        sys_lseek(in, from + r, SEEK_SET);
    RETURN(r);
}

/* ---- splice ---------------------------------------------------------------------- */

/* Wait until fd is ready; false: it is not, and the caller must not wait. */
static bool kernel_ready(int fd, short events, bool wait) {
    struct pollfd p = {fd, events, 0};
    struct timespec zero = {0, 0};
    return sys_ppoll(&p, 1, wait ? NULL : &zero, NULL) > 0;
}

/* May this call wait for the pipe? */
static bool pipe_waits(int fd, unsigned flags) {
    return !(flags & SPLICE_F_NONBLOCK) &&
           !(sys_fcntl(fd, F_GETFL, 0) & O_NONBLOCK);
}

/* May something be sent now (or, blocking, later)? */
static bool sock_takes(int fd) {
    struct file *f = section_enter(fd);
    if (!f)
        return true; /* the send will say EBADF */
    bool ok = !f->nonblock || stack_error(f->so) ||
              stack_ready(self.st, f->so) & (STACK_OUT | STACK_HUP);
    section_leave(f);
    return ok;
}

/* Everything, whatever O_NONBLOCK says: it has left the pipe already. */
static ssize_t send_all(int fd, const char *buf, size_t n, int flags) {
    size_t sent = 0;
    while (sent < n) {
        ssize_t r = send_buf(fd, buf + sent, n - sent, flags);
        if (r == -EAGAIN || r == -EINTR) {
            struct pollfd p = {fd, POLLOUT, 0};
            poll(&p, 1, -1);
            continue;
        }
        if (r < 0)
            return sent ? (ssize_t)sent : r;
        sent += (size_t)r;
    }
    return (ssize_t)sent;
}

/* Waits for the first piece at most: what came is sent, then it returns. */
static ssize_t pipe_to_sock(int in, int out, size_t n, unsigned flags) {
    char buf[PIECE];
    size_t done = 0;
    ssize_t r = 0;
    bool wait = pipe_waits(in, flags);
    while (done < n) {
        size_t want = n - done < PIECE ? n - done : PIECE;
        r = -EAGAIN;
        if (!kernel_ready(in, POLLIN, wait && !done) || !sock_takes(out))
            break;
        r = sys_read(in, buf, want);
        if (r <= 0)
            break;
        r = send_all(out, buf, (size_t)r, flags & SPLICE_F_MORE ? MSG_MORE : 0);
        if (r < 0)
            break;
        done += (size_t)r;
    }
    return done ? (ssize_t)done : r;
}

/* The same the other way. A peek that the pipe does not take stays in the
 * socket. */
static ssize_t sock_to_pipe(int in, int out, size_t n, unsigned flags) {
    char buf[PIECE];
    size_t done = 0;
    ssize_t r = 0;
    bool wait = pipe_waits(out, flags);
    while (done < n) {
        size_t want = n - done < PIECE ? n - done : PIECE;
        /* SPLICE_F_NONBLOCK is about the pipe: splice(2) */
        r = recv_buf(in, buf, want, MSG_PEEK | (done ? MSG_DONTWAIT : 0));
        if (r <= 0)
            break;
        size_t got = (size_t)r;
        r = -EAGAIN;
        if (!kernel_ready(out, POLLOUT, wait && !done))
            break;
        r = sys_write(out, buf, got);
        if (r <= 0)
            break;
        recv_buf(in, buf, (size_t)r, MSG_DONTWAIT);
        done += (size_t)r;
    }
    return done ? (ssize_t)done : r;
}

/* splice(2) needs a pipe on one side. */
static bool is_pipe(int fd) {
    struct stat st;
    return sys_fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* splice(2): bytes moved, 0 at the end of the stream. */
EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at,
                      size_t n, unsigned flags) {
    bool from = sock_file(in), to = sock_file(out);
    if (!from && !to)
        return real.splice(in, in_at, out, out_at, n, flags);
    int other = from ? out : in;
    if (n == 0)
        return 0;
    if ((from && to) || !is_pipe(other))
        RETURN(-EINVAL);
    if (from ? out_at != NULL : in_at != NULL)
        RETURN(-ESPIPE); /* the pipe's; a socket's is EINVAL */
    if (in_at || out_at)
        RETURN(-EINVAL);
    RETURN(from ? sock_to_pipe(in, out, n, flags)
                : pipe_to_sock(in, out, n, flags));
}

/* tee(2) is between pipes. */
EXPORT ssize_t tee(int in, int out, size_t n, unsigned flags) {
    if (!sock_file(in) && !sock_file(out))
        return real.tee(in, out, n, flags);
    RETURN(-EINVAL);
}

/* copy_file_range(2) is between files. */
EXPORT ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at,
                               size_t n, unsigned flags) {
    if (!sock_file(in) && !sock_file(out))
        return real.copy_file_range(in, in_at, out, out_at, n, flags);
    RETURN(-EINVAL);
}

#define FAMILY_sendfile 1
#include "preload/alias.h"
