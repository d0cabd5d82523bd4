/* signal.c: the program's signal handlers, and the stack's lock.
 *
 * Theory of operation
 *
 * A handler may interrupt its thread at any instruction, also while that
 * thread is inside the stack and holds the lock; and it may call send, close
 * or fork, which need the lock. So every handler that the program installs is
 * reached through a trampoline. Outside the stack it calls the handler at
 * once: same signal frame, same mask, same alternate stack. Inside (and while
 * the thread sleeps there, wait.c), it defers:
 *
 *   - all signals but the synchronous ones are blocked, in the interrupted
 *     context too, so that nothing else happens until the thread leaves;
 *   - the very same siginfo is queued to the thread again, and stays pending;
 *   - share_deferred is set, which ends a sleep (nap.c).
 *
 * The end of share_leave then puts the mask back, and the kernel delivers the
 * signal a second time, now outside, with all the rules of sigaction(2) for
 * masks, stacks and queues applied by the kernel itself. When the sleep was
 * one of ppoll, pselect or epoll_pwait, the signal may be blocked but for the
 * sleep's own mask, so that mask is used for a moment first.
 *
 * Nested deferrals (a second signal hitting the trampoline before it blocked
 * all): the outermost runs last, and its context has the right mask, so the
 * last one to write it is right.
 *
 * A handler may leave by siglongjmp: nothing of ours is held when it runs.
 *
 * What the kernel is told differs from what the program said in three flags.
 * SA_SIGINFO is always set (the trampoline needs it). SA_RESETHAND is never
 * set, since the kernel would forget the trampoline at the first, deferred
 * delivery: we reset by hand. SA_RESTORER points to a sigreturn in our own
 * text, which the resolver's catcher lets pass (resolve_sud.c). `table` holds
 * the program's own function and these flags in one word, so that a reader
 * never sees half of a change.
 *
 * SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP and SIGSYS are never deferred.
 */
#include "preload/signal.h"

#include <pthread.h>
#include <string.h>
#include <ucontext.h>

#include "preload/async.h"
#include "preload/preload.h"
#include "preload/share/nap.h"

#define NSIGNALS 65
#define BIT(sig) (1ull << ((sig)-1))

#define SYNCHRONOUS                                                            \
    (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGILL) | BIT(SIGTRAP) |   \
     BIT(SIGSYS))
/* What is blocked while a handler is deferred. */
#define DEFERRABLE (~(SYNCHRONOUS | BIT(32) | BIT(33)))

/* Flags of a table entry, above any user address. */
#define ENTRY_SIGINFO (1ull << 63)
#define ENTRY_RESETHAND (1ull << 62)
#define ENTRY_RESTART (1ull << 61)
#define ENTRY_FUNCTION (ENTRY_RESTART - 1)

typedef void handler_fn(int, siginfo_t *, void *);

static uint64_t table[NSIGNALS]; /* the program's handlers; atomic */

__thread volatile char signal_sud_selector;

static __thread bool interrupting; /* a handler without SA_RESTART ran */
static __thread uint64_t mask_before, mask_asleep; /* of the deferred one */
static __thread uintptr_t altstack, altstack_end;

/* The C library's sigreturn, byte for byte, because unwinders and debuggers
 * know a signal frame by it. The nop keeps pc - 1 out of other functions. */
#if defined(__x86_64__)
__asm__(".text\n"
        ".balign 16\n"
        "  nop\n"
        ".hidden signal_return\n"
        ".globl signal_return\n"
        ".type signal_return, @function\n"
        "signal_return:\n"
        "  mov $15, %rax\n"
        "  syscall\n"
        ".size signal_return, . - signal_return\n");
void signal_return(void) __attribute__((visibility("hidden")));
/* rt_sigprocmask(SIG_SETMASK, mask): a handler that this lets through is
 * known by the address that it interrupts. */
__asm__(".text\n"
        ".balign 16\n"
        ".hidden signal_unmask, signal_unmasked\n"
        ".globl signal_unmask, signal_unmasked\n"
        ".type signal_unmask, @function\n"
        "signal_unmask:\n"
        "  .cfi_startproc\n"
        "  mov %rdi, %rsi\n"
        "  mov $2, %edi\n"
        "  xor %edx, %edx\n"
        "  mov $8, %r10d\n"
        "  mov $14, %eax\n"
        "  syscall\n"
        "signal_unmasked:\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size signal_unmask, . - signal_unmask\n");
#define RESTORER_FLAG SIGNAL_RESTORER
#define PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
#else
#define signal_return NULL /* the kernel's own, in the vdso */
__asm__(".text\n"
        ".balign 16\n"
        ".hidden signal_unmask, signal_unmasked\n"
        ".globl signal_unmask, signal_unmasked\n"
        ".type signal_unmask, %function\n"
        "signal_unmask:\n"
        "  .cfi_startproc\n"
        "  mov x1, x0\n"
        "  mov x0, #2\n"
        "  mov x2, #0\n"
        "  mov x3, #8\n"
        "  mov x8, #135\n"
        "  svc #0\n"
        "signal_unmasked:\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size signal_unmask, . - signal_unmask\n");
#define RESTORER_FLAG 0
#define PC(uc) ((uc)->uc_mcontext.pc)
#endif

long signal_unmask(const uint64_t *mask) __attribute__((visibility("hidden")));
extern const char signal_unmasked[] __attribute__((visibility("hidden")));

long signal_kernel(int sig, const struct kernel_sigaction *act,
                   struct kernel_sigaction *old) {
    return sys_call4(SYS_rt_sigaction, sig, act, old, SYS_SIGSET_SIZE);
}

/* ---- the trampoline ----------------------------------------------------- */

/* SA_RESETHAND: back to the default, with the rest as it was. */
static void reset_hand(int sig, uint64_t entry) {
    struct kernel_sigaction k;
    if (signal_kernel(sig, NULL, &k) < 0)
        return;
    k.handler = NULL; /* SIG_DFL */
    k.flags |= (unsigned long)SA_RESETHAND;
    if (!(entry & ENTRY_SIGINFO))
        k.flags &= ~(unsigned long)SA_SIGINFO;
    signal_kernel(sig, &k, NULL);
}

/* Call the program's handler. It may not come back. */
static void run(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    uint64_t entry = __atomic_load_n(&table[sig], __ATOMIC_ACQUIRE);
    handler_fn *fn = (handler_fn *)(uintptr_t)(entry & ENTRY_FUNCTION);
    if (!fn)
        return;
    if (entry & ENTRY_RESETHAND)
        reset_hand(sig, entry);
    if (!(entry & ENTRY_RESTART))
        interrupting = true;
    altstack = (uintptr_t)uc->uc_stack.ss_sp;
    altstack_end = uc->uc_stack.ss_flags & SS_DISABLE
                       ? altstack
                       : altstack + uc->uc_stack.ss_size;
    /* Deferred from a sleep with a mask of its own: that mask is for the
     * delivery only; the handler returns to the one of before. */
    if ((uintptr_t)PC(uc) == (uintptr_t)signal_unmasked)
        memcpy(&uc->uc_sigmask, &mask_before, sizeof(mask_before));
    if (info->si_code == SI_SIGIO)
        async_polish(info);
    char selector = signal_sud_selector;
    int cancel = PTHREAD_CANCEL_DEFERRED; /* see cancel.c */
    if (!share_async)
        real.pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &cancel);
    signal_sud_selector = 0;
    fn(sig, info, context);
    signal_sud_selector = selector;
    if (cancel == PTHREAD_CANCEL_ASYNCHRONOUS)
        real.pthread_setcanceltype(cancel, NULL);
}

/* Not now: see the theory of operation. */
static void defer(int sig, siginfo_t *info, ucontext_t *uc) {
    uint64_t block = DEFERRABLE, asleep, before;
    sys_rt_sigprocmask(SIG_BLOCK, &block, NULL);
    long pid = sys_getpid(), tid = sys_gettid();
    if (sys_call4(SYS_rt_tgsigqueueinfo, pid, tid, sig, info) < 0)
        sys_tgkill((pid_t)pid, (pid_t)tid, sig); /* queue full: no siginfo */
    memcpy(&before, &uc->uc_sigmask, sizeof(before));
    if (nap_mask)
        memcpy(&asleep, nap_mask, sizeof(asleep));
    else
        asleep = before;
    mask_before = before;
    mask_asleep = asleep;
    share_deferred = 1;
    before |= DEFERRABLE;
    memcpy(&uc->uc_sigmask, &before, sizeof(before));
    PC(uc) = (typeof(PC(uc)))nap_awake((uintptr_t)PC(uc));
}

static void trampoline(int sig, siginfo_t *info, void *context) {
    if (share_inside && !(BIT(sig) & SYNCHRONOUS))
        defer(sig, info, context);
    else
        run(sig, info, context);
}

/* The end of share_leave. */
static void leave_hook(void) {
    if (share_inside)
        return;
    if (share_deferred) {
        uint64_t asleep = mask_asleep, before = mask_before;
        share_deferred = 0;
        signal_unmask(&asleep);
        if (asleep != before)
            sys_rt_sigprocmask(SIG_SETMASK, &before, NULL);
    }
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    if (!signal_on_altstack(sp))
        wait_unpark(sp);
}

static bool restartable(void) {
    bool r = !interrupting;
    interrupting = false;
    return r;
}

bool signal_on_altstack(uintptr_t sp) {
    return sp >= altstack && sp < altstack_end;
}

void signal_forked(void) {
    share_deferred = 0;
    signal_sud_selector = 0;
}

void signal_start(void) {
    share_leave_hook = leave_hook;
    wait_restartable = restartable;
}

/* ---- sigaction ---------------------------------------------------------- */

static bool is_handler(const struct sigaction *act) {
    return act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN;
}

static uint64_t entry_of(const struct sigaction *act) {
    return ((uint64_t)(uintptr_t)act->sa_sigaction & ENTRY_FUNCTION) |
           (act->sa_flags & SA_SIGINFO ? ENTRY_SIGINFO : 0) |
           (act->sa_flags & (int)SA_RESETHAND ? ENTRY_RESETHAND : 0) |
           (act->sa_flags & SA_RESTART ? ENTRY_RESTART : 0);
}

static void to_kernel(struct kernel_sigaction *k, const struct sigaction *act) {
    k->handler = (handler_fn *)act->sa_sigaction;
    k->flags = (unsigned int)act->sa_flags | RESTORER_FLAG;
    k->restorer = signal_return;
    memcpy(&k->mask, &act->sa_mask, sizeof(k->mask));
    if (is_handler(act)) {
        k->handler = trampoline;
        k->flags |= SA_SIGINFO;
        k->flags &= ~(unsigned long)SA_RESETHAND;
    }
}

/* What the program may see of k, given the entry of that time. */
static void from_kernel(struct sigaction *old, const struct kernel_sigaction *k,
                        uint64_t entry) {
    memset(old, 0, sizeof(*old));
    old->sa_sigaction = k->handler;
    old->sa_flags = (int)k->flags;
    old->sa_restorer = k->restorer;
    memcpy(&old->sa_mask, &k->mask, sizeof(k->mask));
    if (k->handler != trampoline)
        return;
    old->sa_sigaction = (handler_fn *)(uintptr_t)(entry & ENTRY_FUNCTION);
    if (!(entry & ENTRY_SIGINFO))
        old->sa_flags &= ~SA_SIGINFO;
    if (entry & ENTRY_RESETHAND)
        old->sa_flags |= (int)SA_RESETHAND;
}

/* A vfork child shares our table but not the kernel's: leave the table, and
 * install its handlers, if it has any, without the trampoline. */
static int vforked_sigaction(int sig, const struct sigaction *act,
                             struct sigaction *old) {
    struct kernel_sigaction k, o;
    if (act) {
        to_kernel(&k, act);
        k.handler = (handler_fn *)act->sa_sigaction;
        k.flags |= (unsigned int)act->sa_flags;
    }
    long r = signal_kernel(sig, act ? &k : NULL, &o);
    if (r == 0 && old)
        from_kernel(old, &o, table[sig]);
    return (int)r;
}

/* 0 or -errno. The table is written before the kernel knows, so that the
 * first signal finds its handler; a disposition that is no handler leaves the
 * table alone, for trampolines that are already on their way. */
static int plain_sigaction(int sig, const struct sigaction *act,
                           struct sigaction *old) {
    struct kernel_sigaction k, o;
    bool handler = act && is_handler(act);
    uint64_t entry = __atomic_load_n(&table[sig], __ATOMIC_ACQUIRE);
    if (act)
        to_kernel(&k, act);
    if (handler)
        entry =
            __atomic_exchange_n(&table[sig], entry_of(act), __ATOMIC_ACQ_REL);
    long r = signal_kernel(sig, act ? &k : NULL, &o);
    if (r < 0) {
        if (handler)
            __atomic_store_n(&table[sig], entry, __ATOMIC_RELEASE);
        return (int)r;
    }
    if (old)
        from_kernel(old, &o, entry);
    return 0;
}

/* ---- signals that are ours first ---------------------------------------- */

/* SIGSYS, SIGSEGV and SIGBUS: who sees it first, and what the program wants. */
static struct {
    bool (*entry)(siginfo_t *info, void *context); /* NULL: not taken */
    int taken;
    struct sigaction program;
} ours[NSIGNALS];

/* A fault that the program wants the default of happens again at once, and
 * then ends it; what was sent (or trapped) is sent once more. */
static void ours_handler(int sig, siginfo_t *info, void *context) {
    struct kernel_sigaction k = {0};
    const struct sigaction *program = &ours[sig].program;
    if (ours[sig].entry(info, context))
        return;
    if (is_handler(program)) {
        run(sig, info, context);
        return;
    }
    /* A trap cannot be ignored: force_sig(9). */
    if (program->sa_handler == SIG_IGN && info->si_code <= 0)
        return;
    signal_kernel(sig, &k, NULL);
    if (sig == SIGSYS || info->si_code <= 0)
        sys_tgkill((pid_t)sys_getpid(), (pid_t)sys_gettid(), sig);
}

/* Our handler with what the program asked for around it. */
static long ours_install(int sig) {
    struct kernel_sigaction k;
    to_kernel(&k, &ours[sig].program);
    if (!is_handler(&ours[sig].program))
        k.mask = 0;
    k.handler = ours_handler;
    k.flags |= SA_SIGINFO;
    return signal_kernel(sig, &k, NULL);
}

static int ours_sigaction(int sig, const struct sigaction *act,
                          struct sigaction *old) {
    struct sigaction was = ours[sig].program;
    if (act) {
        if (is_handler(act))
            __atomic_store_n(&table[sig], entry_of(act), __ATOMIC_RELEASE);
        ours[sig].program = *act;
        /* as the kernel says */
        ours[sig].program.sa_flags |= (int)RESTORER_FLAG;
        ours[sig].program.sa_restorer = signal_return;
        ours_install(sig);
    }
    if (old)
        *old = was;
    return 0;
}

void signal_take(int sig, bool (*entry)(siginfo_t *info, void *context)) {
    if (__atomic_exchange_n(&ours[sig].taken, 1, __ATOMIC_ACQ_REL))
        return;
    plain_sigaction(sig, NULL, &ours[sig].program);
    ours[sig].entry = entry;
    ours_install(sig);
}

/* ---- exported ----------------------------------------------------------- */

static int do_sigaction(int sig, const struct sigaction *act,
                        struct sigaction *old) {
    if (sig < 1 || sig >= NSIGNALS || SIGNAL_INTERNAL(sig))
        return -EINVAL;
    if (preload_vforked)
        return vforked_sigaction(sig, act, old);
    if (ours[sig].entry)
        return ours_sigaction(sig, act, old);
    return plain_sigaction(sig, act, old);
}

EXPORT int sigaction(int sig, const struct sigaction *act,
                     struct sigaction *old) {
    struct sigaction copy; /* act and old may be the same */
    if (act)
        copy = *act;
    RETURN(do_sigaction(sig, act ? &copy : NULL, old));
}

/* signal(2) and its kin: the handler with these flags and mask. */
static sighandler_t install(int sig, sighandler_t handler, int flags,
                            uint64_t mask) {
    struct sigaction act = {.sa_flags = flags}, old;
    act.sa_handler = handler;
    memcpy(&act.sa_mask, &mask, sizeof(mask));
    int r = handler == SIG_ERR ? -EINVAL : do_sigaction(sig, &act, &old);
    if (r < 0) {
        errno = -r;
        return SIG_ERR;
    }
    return old.sa_handler;
}

static uint64_t no_restart; /* siginterrupt(3) was called for these */

EXPORT sighandler_t signal(int sig, sighandler_t handler) {
    if (sig < 1 || sig >= NSIGNALS)
        return install(0, handler, 0, 0);
    bool interrupt = __atomic_load_n(&no_restart, __ATOMIC_RELAXED) & BIT(sig);
    return install(sig, handler, interrupt ? 0 : SA_RESTART, BIT(sig));
}

EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler) {
    return install(sig, handler,
                   (int)SA_RESETHAND | SA_NODEFER | (int)SA_INTERRUPT, 0);
}

/* sigset(3): like signal, but the old and new state of blocking count too. */
EXPORT sighandler_t sigset(int sig, sighandler_t handler) {
    struct sigaction now;
    if (sig < 1 || sig >= NSIGNALS || SIGNAL_INTERNAL(sig))
        return install(0, handler, 0, 0);
    uint64_t one = BIT(sig), was = 0;
    sighandler_t old;
    if (handler == SIG_HOLD) {
        sys_rt_sigprocmask(SIG_BLOCK, &one, &was);
        do_sigaction(sig, NULL, &now);
        old = now.sa_handler;
    } else {
        old = install(sig, handler, 0, 0);
        if (old == SIG_ERR)
            return old;
        sys_rt_sigprocmask(SIG_UNBLOCK, &one, &was);
    }
    return was & one ? SIG_HOLD : old;
}

EXPORT int siginterrupt(int sig, int on) {
    struct sigaction act;
    int r = do_sigaction(sig, NULL, &act);
    if (r == 0) {
        if (on)
            __atomic_fetch_or(&no_restart, BIT(sig), __ATOMIC_RELAXED);
        else
            __atomic_fetch_and(&no_restart, ~BIT(sig), __ATOMIC_RELAXED);
        act.sa_flags =
            on ? act.sa_flags & ~SA_RESTART : act.sa_flags | SA_RESTART;
        r = do_sigaction(sig, &act, NULL);
    }
    RETURN(r);
}

#define FAMILY_signal 1
#include "preload/alias.h"
