/* stdio.c: streams of the C library on stack sockets.
 *
 * Theory of operation
 *
 * Inside libc, stdio reads and writes descriptors by system calls that no
 * wrapper sees. So a stream on a stack socket is made with fopencookie(3),
 * whose functions call our wrappers, and is given the descriptor's number, so
 * that fileno() is right:
 *   fdopen    returns such a stream;
 *   dprintf   formats, then writes;
 *   stdin, stdout, stderr   are variables: while a stack socket lies on 0, 1
 *             or 2 (inetd style, a shell's redirection) the variable points to
 *             a stream of ours, and back to libc's own afterwards. What was
 *             written and not yet flushed moves along, as it would have stayed
 *             in the stream of an ordinary program.
 * A program's data in such streams is written at exit before the sockets go.
 */
#define _GNU_SOURCE 1
#include "preload/stdio.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/io.h"

int __dprintf_chk(int fd, int flag, const char *fmt, ...);
int __vdprintf_chk(int fd, int flag, const char *fmt, va_list ap);

static bool made; /* any stream of ours, ever */

/* errno is the wrapper's. */
static ssize_t cookie_read(void *cookie, char *buf, size_t n) {
    return read((int)(intptr_t)cookie, buf, n);
}

/* All of it, as libc's own streams; 0 means an error (fopencookie(3)). */
static ssize_t cookie_write(void *cookie, const char *buf, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t r = write((int)(intptr_t)cookie, buf + done, n - done);
        if (r < 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

/* As lseek(2) on a socket. */
static int cookie_seek(void *cookie, off64_t *at, int whence) {
    errno = ESPIPE;
    return -1;
}

/* fclose closes the descriptor. */
static int cookie_close(void *cookie) { return close((int)(intptr_t)cookie); }

/* NULL with errno: ENOMEM, EINVAL. */
static FILE *open_stream(int fd, const char *mode) {
    static const cookie_io_functions_t io = {cookie_read, cookie_write,
                                             cookie_seek, cookie_close};
    FILE *f = fopencookie((void *)(intptr_t)fd, mode, io);
    if (f) {
        f->_fileno = fd;
        made = true;
    }
    return f;
}

/* fdopen(3). */
EXPORT FILE *fdopen(int fd, const char *mode) {
    if (!sock_file(fd))
        return real.fdopen(fd, mode);
    return open_stream(fd, mode); /* EINVAL for a mode that makes no sense */
}

/* ---- dprintf ----------------------------------------------------------------- */

/* The number of bytes, or -1 with errno. */
static int format_to(int fd, const char *fmt, va_list ap) {
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    if (n < 0)
        return -1;
    ssize_t r = cookie_write((void *)(intptr_t)fd, text, (size_t)n);
    free(text);
    return r == n ? n : -1;
}

/* vdprintf(3). */
EXPORT int vdprintf(int fd, const char *restrict fmt, va_list ap) {
    if (!sock_file(fd))
        return real.vdprintf(fd, fmt, ap);
    return format_to(fd, fmt, ap);
}

/* dprintf(3). */
EXPORT int dprintf(int fd, const char *restrict fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int r = vdprintf(fd, fmt, ap);
    va_end(ap);
    return r;
}

/* The flag asks libc to refuse %n in writable memory; it stays libc's. */
EXPORT int __vdprintf_chk(int fd, int flag, const char *fmt, va_list ap) {
    if (!sock_file(fd))
        return real.__vdprintf_chk(fd, flag, fmt, ap);
    return format_to(fd, fmt, ap);
}

/* What -D_FORTIFY_SOURCE makes of dprintf. */
EXPORT int __dprintf_chk(int fd, int flag, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int r = __vdprintf_chk(fd, flag, fmt, ap);
    va_end(ap);
    return r;
}

/* ---- stdin, stdout, stderr ------------------------------------------------------ */

static struct standard {
    FILE *own;    /* libc's, while ours is in place */
    FILE *stream; /* ours, once made; kept for the next time */
} standard[3];

/* glibc documents the three as variables that may be assigned to. */
static FILE **variable(int fd) {
    return fd == 0 ? &stdin : fd == 1 ? &stdout : &stderr;
}

/* Output that `from` still holds goes on in `to`. */
static void move_pending(FILE *from, FILE *to) {
    size_t n = __fpending(from);
    if (n == 0)
        return;
    fwrite(from->_IO_write_base, 1, n, to);
    __fpurge(from);
}

/* Idempotent. stderr is unbuffered, whatever it is on. */
static void put_in_place(int fd) {
    struct standard *s = &standard[fd];
    FILE **var = variable(fd);
    if (s->own)
        return;
    if (!s->stream) {
        s->stream = open_stream(fd, fd == 0 ? "r" : "w");
        if (!s->stream)
            return; /* no memory: as without us */
        if (fd == 2)
            setvbuf(s->stream, NULL, _IONBF, 0);
    }
    s->own = *var;
    if (fd == 1)
        move_pending(s->own, s->stream);
    *var = s->stream;
}

/* libc's own stream again, which writes to the number itself. */
static void put_back(int fd) {
    struct standard *s = &standard[fd];
    if (!s->own)
        return;
    if (fd == 1)
        move_pending(s->stream, s->own);
    *variable(fd) = s->own;
    s->own = NULL;
}

/* Called after each change of 0, 1 or 2. */
void stdio_follow(int fd) {
    int saved = errno;
    if (sock_file(fd))
        put_in_place(fd);
    else
        put_back(fd);
    errno = saved;
}

/* A process without such streams leaves flushing to libc. */
void stdio_flush(void) {
    if (made)
        fflush(NULL);
}

#define FAMILY_stdio 1
#include "preload/alias.h"
