/* nap.h: one system call that sleeps and loses no signal (nap.c). */
#pragma once
#include <signal.h>
#include <stdint.h>

/* Set while a program's signal handler waits for this thread to leave the
 * stack; signal.c sets it, the end of share_leave clears it. */
extern __thread int share_deferred;

/* The signal mask of the sleep in progress, NULL: the thread's own. */
extern __thread const sigset_t *nap_mask;

/* The system call nr, unless share_deferred is set: then -EINTR, also when it
 * gets set between the look at it and the kernel's taking over. Returns what
 * the kernel returns. */
long nap_syscall(long nr, const void *a, long b, const void *c, const void *d,
                 long e) __attribute__((visibility("hidden")));

/* For the signal trampoline: where to go on instead of at pc, the interrupted
 * instruction, so that nap_syscall does not fall asleep. */
uintptr_t nap_awake(uintptr_t pc);
