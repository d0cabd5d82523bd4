/* resolve_sud.c: catching the system calls of the C library's resolver.
 *
 * Theory of operation
 *
 * The C library's functions call each other without going through symbols that
 * could be interposed, so the sockets of getaddrinfo never reach our wrappers.
 * Its resolver shall stay what it is (nsswitch, hosts, search lists, EDNS,
 * TCP for truncated answers); so its system calls are caught instead, by the
 * kernel's Syscall User Dispatch (prctl(2), PR_SET_SYSCALL_USER_DISPATCH):
 * while this thread's selector byte says BLOCK, a system call instruction
 * outside this library's own text raises SIGSYS instead.
 *
 * The handler puts ALLOW into the selector, makes the call, stores the result
 * where the interrupted code expects it, and puts BLOCK back. A call that may
 * concern a socket goes through the same wrappers as the program's own; any
 * other is made as it stands. From the point of view of the resolver nothing
 * happened: the signal is synchronous, so the wrappers run as if called from
 * there, and locks, masks and cancellation are as they would be.
 *
 * Special cases: the signal mask is kept in the interrupted context while a
 * handler runs, so rt_sigprocmask works on that, and never blocks SIGSYS
 * (blocked, a trap would kill the process); rt_sigreturn of a handler that the
 * C library installed goes on at our own copy of that instruction; calls that
 * return twice or in another thread are let out with the catcher switched off
 * for the rest of the look-up, which is counted.
 *
 * Handlers of the program run with the selector at ALLOW and return by this
 * library's text (signal.c). Dispatch belongs to one thread, and ends with
 * exec and fork. Cost: about 2 us for each call caught.
 */
#include "preload/resolve_sud.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include "preload/preload.h"
#include "preload/signal.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif
#define ALLOW 0
#define BLOCK 1
#define SYS_USER_DISPATCH 2 /* siginfo.si_code */

#define SIGSYS_BIT (1ull << (SIGSYS - 1))

/* Of this library, from the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

static __thread int depth; /* sections, nested */

/* ---- registers ---------------------------------------------------------- */

#if defined(__x86_64__)
#define REG(uc, n) ((uc)->uc_mcontext.gregs[n])
#define NUMBER(uc) REG(uc, REG_RAX)
#define RESULT(uc) REG(uc, REG_RAX)
#define PC(uc) REG(uc, REG_RIP)
#define INSTRUCTION 2 /* bytes */
static const int arg_regs[6] = {REG_RDI, REG_RSI, REG_RDX,
                                REG_R10, REG_R8,  REG_R9};
#define ARG(uc, i) REG(uc, arg_regs[i])
/* In signal.c: "mov $15, %rax; syscall". */
extern const char signal_return[] __attribute__((visibility("hidden")));
#else
#define REG(uc, n) ((uc)->uc_mcontext.regs[n])
#define NUMBER(uc) REG(uc, 8)
#define RESULT(uc) REG(uc, 0)
#define PC(uc) ((uc)->uc_mcontext.pc)
#define INSTRUCTION 4
#define ARG(uc, i) REG(uc, i)
__asm__(".text\n"
        ".hidden signal_return\n"
        "signal_return:\n"
        "  mov x8, #139\n"
        "  svc #0\n");
extern const char signal_return[] __attribute__((visibility("hidden")));
#endif

/* ---- one call ----------------------------------------------------------- */

/* Calls on a descriptor in the first argument that our wrappers may want. */
static bool is_fd_call(long nr) {
    switch (nr) {
    case SYS_connect:
    case SYS_bind:
    case SYS_listen:
    case SYS_accept:
    case SYS_accept4:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_sendmmsg:
    case SYS_recvmmsg:
    case SYS_setsockopt:
    case SYS_getsockopt:
    case SYS_getsockname:
    case SYS_getpeername:
    case SYS_shutdown:
    case SYS_read:
    case SYS_write:
    case SYS_readv:
    case SYS_writev:
    case SYS_fcntl:
    case SYS_ioctl:
    case SYS_dup:
    case SYS_dup3:
#ifdef SYS_dup2
    case SYS_dup2:
#endif
        return true;
    default:
        return false;
    }
}

/* Is this call to go through the wrappers? */
static bool wanted(long nr, long fd) {
    switch (nr) {
    case SYS_socket:
    case SYS_close:
    case SYS_ppoll:
#ifdef SYS_poll
    case SYS_poll:
#endif
        return true;
    default:
        return is_fd_call(nr) && stack_file((int)fd);
    }
}

/* rt_sigprocmask(2) on the interrupted context. */
static long change_mask(ucontext_t *uc) {
    uint64_t mask, set = 0;
    long how = ARG(uc, 0);
    const void *new = (const void *)ARG(uc, 1);
    void *old = (void *)ARG(uc, 2);
    memcpy(&mask, &uc->uc_sigmask, sizeof(mask));
    uint64_t was = mask;
    if (new) {
        memcpy(&set, new, sizeof(set));
        if (how == SIG_BLOCK)
            mask |= set;
        else if (how == SIG_UNBLOCK)
            mask &= ~set;
        else if (how == SIG_SETMASK)
            mask = set;
        else
            return -EINVAL;
    }
    mask &= ~SIGSYS_BIT;
    memcpy(&uc->uc_sigmask, &mask, sizeof(mask));
    if (old)
        memcpy(old, &was, sizeof(was));
    return 0;
}

/* Let the interrupted code make the call by itself, and all that follow. */
static void let_out(ucontext_t *uc) {
    if (self.sh)
        __atomic_fetch_add(&self.sh->count.dns_kernel, 1, __ATOMIC_RELAXED);
    signal_sud_selector = ALLOW;
    PC(uc) -= INSTRUCTION;
}

static long emulate(ucontext_t *uc, long nr) {
    if (nr == SYS_rt_sigprocmask)
        return change_mask(uc);
    if (wanted(nr, ARG(uc, 0))) {
        int saved = errno;
        long r = syscall(nr, ARG(uc, 0), ARG(uc, 1), ARG(uc, 2), ARG(uc, 3),
                         ARG(uc, 4), ARG(uc, 5));
        if (r == -1)
            r = -errno;
        errno = saved;
        return r;
    }
    return sys_call6(nr, ARG(uc, 0), ARG(uc, 1), ARG(uc, 2), ARG(uc, 3),
                     ARG(uc, 4), ARG(uc, 5));
}

/* SIGSYS. False: not one of ours. */
static bool caught(siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    if (info->si_code != SYS_USER_DISPATCH || depth == 0)
        return false;
    long nr = info->si_syscall;
    signal_sud_selector = ALLOW;
    switch (nr) {
    case SYS_rt_sigreturn:
        PC(uc) = (typeof(PC(uc)))signal_return;
        break;
    case SYS_clone:
    case SYS_clone3:
    case SYS_execve:
    case SYS_execveat:
#ifdef SYS_fork
    case SYS_fork:
    case SYS_vfork:
#endif
        let_out(uc);
        return true;
    default:
        RESULT(uc) = emulate(uc, nr);
    }
    signal_sud_selector = BLOCK;
    return true;
}

/* ---- the section -------------------------------------------------------- */

static long dispatch(int on) {
    if (!on)
        return sys_prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0,
                         0, 0);
    return sys_prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON,
                     (long)__ehdr_start, etext - __ehdr_start,
                     (long)&signal_sud_selector);
}

bool sud_begin(struct sud *s) {
    uint64_t sigsys = SIGSYS_BIT, old = 0;
    s->selector = signal_sud_selector;
    s->sigsys_blocked = false;
    s->on = depth > 0 || dispatch(1) == 0;
    if (!s->on)
        return false;
    depth++;
    signal_take(SIGSYS, caught);
    sys_rt_sigprocmask(SIG_UNBLOCK, &sigsys, &old);
    s->sigsys_blocked = old & SIGSYS_BIT;
    signal_sud_selector = BLOCK;
    return true;
}

void sud_end(struct sud *s) {
    uint64_t sigsys = SIGSYS_BIT;
    if (!s->on)
        return;
    signal_sud_selector = s->selector;
    if (--depth == 0)
        dispatch(0);
    if (s->sigsys_blocked)
        sys_rt_sigprocmask(SIG_BLOCK, &sigsys, NULL);
}

void sud_forked(void) { depth = 0; }
