/* user.h: the program's memory, whose addresses may be wrong (user.c). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* Pages that no program has: catches NULL and small offsets from it, also
 * before the process has a stack. */
static inline bool bad_pointer(const void *p) { return (uintptr_t)p < 4096; }
static inline bool bad_buffer(const void *p, size_t n) {
    return n && bad_pointer(p);
}

/* Catch faults from now on. Idempotent. */
void user_start(void);

/* Copy n bytes from the program, or to it. 0 or -EFAULT. */
int user_read(void *to, const void *from, size_t n);
int user_write(void *to, const void *from, size_t n);

/* Is all of it there, and writable? Touches each page once. 0 or -EFAULT. */
int user_readable(const void *p, size_t n);
int user_writable(void *p, size_t n);
/* The same of the first n bytes of an array of buffers. */
int user_readable_iov(const struct iovec *iov, int niov, size_t n);
int user_writable_iov(const struct iovec *iov, int niov, size_t n);
