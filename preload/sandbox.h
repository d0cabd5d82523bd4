/* sandbox.h: for syscall(2) users (sandbox.c). */
#pragma once

#include <stdbool.h>

struct rlimit;

/* A filter is in force: only calls that sandbox.c lists may be made. */
extern bool sandbox_filtered;

/* seccomp(2) is about to be called with a filter (struct sock_fprog), or for
 * strict mode. */
void sandbox_filter(const void *fprog);
void sandbox_strict(void);
/* A limit of this process is about to be set (limit.c). */
void sandbox_limit(int what, const struct rlimit *lim);
