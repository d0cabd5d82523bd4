/* signal.h: what the rest of preload/ may ask of signal.c. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Signals of the C library's own (SIGCANCEL, SIGSETXID): never touched. */
#define SIGNAL_INTERNAL(sig) ((sig) == 32 || (sig) == 33)

/* The kernel's struct sigaction (linux/signal.h), the same on x86-64 and
 * arm64. */
struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
/* SIG_DFL and SIG_IGN as values of `handler`. */
#define KERNEL_DFL ((void (*)(int, siginfo_t *, void *))0)
#define KERNEL_IGN ((void (*)(int, siginfo_t *, void *))1)

/* rt_sigaction(2) without the C library. 0 or -errno. */
long signal_kernel(int sig, const struct kernel_sigaction *act,
                   struct kernel_sigaction *old);

/* A handler that returns by our own text, for sigreturn at a known place. */
#define SIGNAL_RESTORER 0x04000000ul

/* Start-up: before the program's first handler. */
void signal_start(void);
/* In the child of a fork. */
void signal_forked(void);
/* The thread is, or was until it left by siglongjmp, in a handler that runs on
 * an alternate stack that holds sp. */
bool signal_on_altstack(uintptr_t sp);

/* A synchronous signal is ours from now on: `entry` sees it first, and returns
 * false for what is not its own; the program's disposition then applies.
 * Idempotent. */
void signal_take(int sig, bool (*entry)(siginfo_t *info, void *context));

/* What the system-call catcher of this thread is to do, 0 when it is off; set
 * to 0 while a handler of the program runs (resolve_sud.c). */
extern __thread volatile char signal_sud_selector;
