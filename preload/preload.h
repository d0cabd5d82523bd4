/* preload.h: what the files of preload/ share.
 *
 * calls.def lists every intercepted call. From it come the real functions
 * (`real.read`), the exports, and the counters. A wrapper is thin: find the
 * descriptor, translate, call the stack between share_enter and share_leave,
 * translate back. errno is made here alone: `RETURN(r)`.
 */
#pragma once
#include <errno.h>
#include <stdbool.h>

#include "netio/sys.h"
#include "preload/real.h"
#include "preload/share/file.h"
#include "preload/share/settings.h"
#include "preload/share/share.h"
#include "preload/share/wait.h"
#include "stack/stack.h"

/* Exported under the C library's name. */
#define EXPORT __attribute__((visibility("default")))

/* r >= 0 is the result; r < 0 is -errno. errno untouched on success. */
#define RETURN(r)                                                              \
    do {                                                                       \
        long return_ = (long)(r);                                              \
        if (return_ < 0) {                                                     \
            errno = (int)-return_;                                             \
            return -1;                                                         \
        }                                                                      \
        return return_;                                                        \
    } while (0)

/* Get a stack for this process, if it has none (init.c): join or create, as
 * the settings say. 0, or -errno with one line on stderr (said once). */
int preload_stack(void);
/* This process has left the stack and gets no other (sandbox.c). */
void preload_sealed(void);
/* Has it one, or would it get one, as far as is known without trying? */
bool preload_has_stack(void);
/* Settings of this process, loaded at start (settings.h). */
const struct settings *preload_settings(void);
/* Start the service thread if this process has none (service.c). */
void preload_service(void);
/* What the process owes the network: close everything, and deliver what is
 * unsent, within the linger setting. Once (exit.c). */
void preload_settle(void);
/* One line to stderr: "libstack: program: text". */
void preload_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* True in a vfork child, which runs in its parent's memory: act on kernel
 * descriptors only. */
extern __thread int preload_vforked;

/* file_of, unless this thread must not touch the stack. */
static inline struct file *stack_file(int fd) {
    struct file *f = file_of(fd);
    return __builtin_expect(f != NULL, 0) && !preload_vforked ? f : NULL;
}

/* ns since start for a relative time-out; NSTIME_NEVER for 0 = none. */
static inline nstime_t deadline_after(nstime_t timeout) {
    return timeout ? share_clock() + timeout : NSTIME_NEVER;
}

/* Turn a stack socket, not yet placed, into a kernel socket under the same
 * number, options replayed (tokernel.c). 0 or -errno. */
int file_to_kernel(int fd, struct file *f);
