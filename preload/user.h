/* user.h: reading and writing the program's memory.
 *
 * Addresses that a program hands in may be wrong, and then the answer is
 * EFAULT, not a crash. Whatever is small and not on the hot path is copied by
 * these; bulk data goes through iov_check (io.h).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Pages that no program has: catches NULL and small offsets from it. */
static inline bool bad_pointer(const void *p) { return (uintptr_t)p < 4096; }
static inline bool bad_buffer(const void *p, size_t n) {
    return n && bad_pointer(p);
}

/* n bytes from the program, or to it. 0 or -EFAULT. */
int user_read(void *to, const void *from, size_t n);
int user_write(void *to, const void *from, size_t n);
