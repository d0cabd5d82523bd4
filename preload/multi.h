/* multi.h: waiting for stack and kernel descriptors together (poll.c). */
#pragma once
#include <poll.h>

#include "preload/preload.h"
#include "preload/user.h"

/* One wait. fds is the program's (or select's) array and gets the results. */
struct multi {
    struct pollfd *fds;
    unsigned n;
    bool strict;          /* select(2): ERR and HUP count for IN, ERR for OUT */
    nstime_t deadline;    /* absolute; NSTIME_NEVER; 0: do not wait */
    const sigset_t *mask; /* or NULL */
};

/* Is one of them the stack's, so that multi_wait has to be asked? */
bool multi_ours(struct pollfd *fds, nfds_t n);
/* How many entries of fds have revents; 0: deadline; -errno. */
int multi_wait(const struct multi *m);

/* Absolute deadlines of relative times. 0 or -EINVAL (not normalised). */
int deadline_timespec(const struct timespec *ts, nstime_t *out);
nstime_t deadline_ms(int ms);

/* Memory for n objects of `size` bytes: `small` if that has room for them, or
 * pages of its own. NULL: none. */
void *scratch_get(void *small, size_t room, size_t n, size_t size);
void scratch_put(void *p, void *small, size_t n, size_t size);
