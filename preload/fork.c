/* fork.c: fork, _Fork, vfork, clone, daemon.
 *
 * Theory of operation
 *
 * Parent and child of a fork share the arena; what has to be copied is the
 * process slot with its descriptor map (share/proc.c). It is made by the
 * parent before the fork, under the lock, and the lock is held until the fork
 * has happened, so that the map and the kernel's descriptor table are of the
 * same moment.
 *
 * This is hooked into the C library's own fork handlers, for two reasons: they
 * see every fork, also those that daemon(), forkpty() and others make inside
 * the C library; and a handler registered first runs last before the fork and
 * first after it, so that the program's own handlers (which may close sockets)
 * run outside the lock. _Fork and clone run no handlers and are wrapped.
 *
 * In the child the other threads are gone, and with them the service thread; a
 * new one is made when the child first waits. The parent's sleepers remain the
 * parent's.
 *
 * vfork: the child runs in the parent's memory, on the parent's stack, while
 * the parent's thread is stopped. Nothing that it does to descriptors may reach
 * our tables, and it must not take the lock (nobody would notice its death).
 * So the parent reserves the child's slot before the fork, too, and while
 * preload_vforked is set, all wrappers act on kernel descriptors alone. Copies
 * that the child makes of stack descriptors (dup2 onto 0 and 1 before exec,
 * say) are noted in the reserved slot, which nobody else uses, and the
 * exec'ed image applies the notes when it attaches (share/file.c). When the
 * parent goes on, the child has exec'ed or is gone: the slot is the new
 * image's, or is dropped.
 *
 * vfork cannot be a C function: the child's return overwrites the frame that
 * the parent still needs. A few instructions keep the return address in a
 * register, as every C library does.
 *
 * clone(2), also by syscall(2), with CLONE_VM|CLONE_VFORK is vfork on another
 * stack; without CLONE_VM it is a fork that runs a function; the rest makes
 * threads and needs nothing of us.
 */
#include "preload/fork.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "preload/async.h"
#include "preload/preload.h"
#include "preload/resolve_sud.h"
#include "preload/service.h"
#include "preload/signal.h"

__thread int preload_vforked;

/* ---- fork --------------------------------------------------------------- */

static __thread int fork_slot;    /* reserved for the child, or -errno */
static __thread bool fork_inside; /* the lock is held over the fork */
static __thread bool fork_told;   /* the parent will tell the child's pid */

static void before_fork(void) {
    if (!self.sh || preload_vforked)
        return;
    share_enter();
    fork_slot = share_fork_prepare();
    fork_inside = true;
}

static void after_in_parent(void) {
    if (self.sh && !preload_vforked)
        share_leave();
}

/* No slot was free: the child has no stack, and its copies of stack
 * descriptors are dead. */
static void lose_stack(int why) {
    self.sh = NULL;
    memset(file_table, 0, sizeof(file_table));
    preload_say("a forked child lost its network: %s", strerror(-why));
}

static void after_in_child(void) {
    if (!self.sh)
        return;
    share_inside = 0;
    preload_vforked = 0;
    lock_forked();
    signal_forked();
    sud_forked();
    preload_service_forked();
    async_forked();
    if (fork_slot < 0) {
        lose_stack(fork_slot);
        return;
    }
    if (fork_told && fork_inside && !share_async) {
        fork_told = false;
        share_fork_child(fork_slot, true);
        return;
    }
    share_enter();
    share_fork_child(fork_slot, fork_inside);
    file_forked();
    share_leave();
}

/* The parent knows the child's pid, or that there is none. The child enters
 * its own pid as well; but it may die before it does. Those whose parent tells
 * it do so without the lock: nothing else has to be done inside, our copies of
 * the tables being of the moment of the fork. A fork inside the C library
 * (forkpty) has a parent that does not. */
static void tell_slot(pid_t pid) {
    int saved = errno;
    share_enter();
    share_fork_parent(fork_slot, pid);
    share_leave();
    errno = saved;
}

EXPORT pid_t fork(void) {
    bool ours = self.sh && !preload_vforked;
    fork_told = ours;
    pid_t pid = real.fork();
    if (ours && pid != 0)
        tell_slot(pid);
    fork_told = false;
    return pid;
}

EXPORT pid_t _Fork(void) {
    bool ours = self.sh && !preload_vforked;
    before_fork();
    pid_t pid = real._Fork();
    if (pid == 0) {
        after_in_child();
        return pid;
    }
    after_in_parent();
    if (ours)
        tell_slot(pid);
    return pid;
}

void fork_start(void) {
    pthread_atfork(before_fork, after_in_parent, after_in_child);
}

/* /dev/null onto 0, 1 and 2. 0 or -errno. */
static int null_stdio(void) {
    struct stat st;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0 && (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)))
        r = -ENODEV;
    for (int i = 0; i < 3 && r == 0; i++)
        if (fd != i && dup2(fd, i) < 0)
            r = -errno;
    if (fd > 2)
        close(fd);
    return r;
}

/* daemon(3), with our own _exit for the parent, which gives its descriptors
 * back at once. */
EXPORT int daemon(int nochdir, int noclose) {
    if (!self.sh)
        return real.daemon(nochdir, noclose);
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid > 0)
        _exit(0);
    if (setsid() < 0)
        return -1;
    if (!nochdir && chdir("/") < 0)
        return -1;
    if (file_limit() > 0)
        preload_service(); /* nobody else may be there to serve */
    int r = noclose ? 0 : null_stdio();
    RETURN(r);
}

/* ---- vfork -------------------------------------------------------------- */

/* vforks in progress in this thread, which may be nested: a vfork child may
 * vfork. Only the outermost reserves a slot. */
#define DEPTH 4
static __thread struct vforking {
    int slot;    /* -1: none */
    bool execed; /* the child's exec is under way, and will attach */
    bool handed; /* the slot is another process's business (hand.c) */
} vforking[DEPTH];

static struct vforking *now_vforking(void) {
    int i = preload_vforked - 1;
    return i >= 0 && i < DEPTH ? &vforking[i] : NULL;
}

/* Called by the instructions below; before and after the system call. */
void fork_vfork_before(void);
pid_t fork_vfork_after(long r);

__attribute__((visibility("hidden"))) void fork_vfork_before(void) {
    int slot = -1;
    if (self.sh && !preload_vforked) {
        share_enter();
        if (self.sh->procs[self.slot].nfiles > 0)
            slot = share_fork_prepare();
        share_leave();
    }
    preload_vforked++;
    struct vforking *v = now_vforking();
    if (v)
        *v = (struct vforking){slot, false, false};
}

__attribute__((visibility("hidden"))) pid_t fork_vfork_after(long r) {
    struct vforking *v = now_vforking();
    preload_vforked--;
    if (v && v->slot >= 0 && !v->handed) {
        share_enter();
        if (r < 0 || !v->execed)
            share_proc_gone((uint32_t)v->slot);
        else
            share_fork_parent(v->slot, (pid_t)r);
        share_leave();
    }
    RETURN(r);
}

#if defined(__x86_64__)
__asm__(".text\n"
        ".balign 16\n"
        ".globl vfork, __vfork\n"
        ".type vfork, @function\n"
        ".type __vfork, @function\n"
        "vfork:\n"
        "__vfork:\n"
        "  .cfi_startproc\n"
        "  endbr64\n"
        "  sub $8, %rsp\n"
        "  .cfi_adjust_cfa_offset 8\n"
        "  call fork_vfork_before\n"
        "  add $8, %rsp\n"
        "  .cfi_adjust_cfa_offset -8\n"
        "  pop %rdi\n" /* the child will overwrite it in memory */
        "  .cfi_adjust_cfa_offset -8\n"
        "  .cfi_register %rip, %rdi\n"
        "  mov $58, %eax\n"
        "  syscall\n"
        "  push %rdi\n"
        "  .cfi_adjust_cfa_offset 8\n"
        "  .cfi_offset %rip, -8\n"
        "  test %rax, %rax\n"
        "  jnz 1f\n"
        "  ret\n" /* the child */
        "1: mov %rax, %rdi\n"
        "  jmp fork_vfork_after\n"
        "  .cfi_endproc\n"
        ".size vfork, . - vfork\n"
        ".size __vfork, . - __vfork\n");
#elif defined(__aarch64__)
/* No vfork(2) there: clone(CLONE_VM | CLONE_VFORK | SIGCHLD, 0). The link
 * register holds the return address anyway, but has to outlive the call. */
__asm__(".text\n"
        ".balign 16\n"
        ".globl vfork, __vfork\n"
        ".type vfork, %function\n"
        ".type __vfork, %function\n"
        "vfork:\n"
        "__vfork:\n"
        "  .cfi_startproc\n"
        "  stp x29, x30, [sp, #-16]!\n"
        "  bl fork_vfork_before\n"
        "  ldp x29, x30, [sp], #16\n"
        "  mov x0, #0x4111\n"
        "  mov x1, #0\n"
        "  mov x2, #0\n"
        "  mov x3, #0\n"
        "  mov x4, #0\n"
        "  mov x8, #220\n"
        "  svc #0\n"
        "  cbnz x0, 1f\n"
        "  ret\n" /* the child */
        "1: b fork_vfork_after\n"
        "  .cfi_endproc\n"
        ".size vfork, . - vfork\n"
        ".size __vfork, . - __vfork\n");
#endif

static struct proc *reserved(void) {
    struct vforking *v = now_vforking();
    return v && v->slot >= 0 ? &self.sh->procs[v->slot] : NULL;
}

void fork_note_dup(int from, int to) {
    struct proc *p = reserved();
    bool ours = file_of(from) != NULL;
    if (!p || from == to)
        return;
    for (uint32_t i = 0; i < p->nmoves && !ours; i++)
        ours = p->moves[i].to == from;
    if (!ours || p->nmoves == PROC_MOVES)
        return;
    p->moves[p->nmoves].from = from;
    p->moves[p->nmoves].to = to;
    p->nmoves++;
}

void fork_vforked_exec(bool attach) {
    struct proc *p = reserved();
    if (!p || !attach)
        return;
    p->start = 0; /* any: the new image fills it in */
    p->execing = true;
    p->pid = (int32_t)sys_getpid();
    now_vforking()->execed = true;
}

void fork_vforked_exec_failed(void) {
    struct proc *p = reserved();
    if (!p)
        return;
    p->pid = -1;
    p->execing = false;
    now_vforking()->execed = false;
}

struct file *fork_vforked_file(int fd) {
    struct proc *p = reserved();
    if (!p)
        return NULL;
    for (uint32_t i = p->nmoves; i-- > 0;)
        if (p->moves[i].to == fd)
            fd = p->moves[i].from;
    return file_of(fd);
}

/* Should the relaying process die, the slot goes with the child. */
bool fork_vforked_hand(uint32_t *slot) {
    struct vforking *v = now_vforking();
    struct proc *p = reserved();
    if (!p)
        return false;
    v->handed = true;
    p->start = 0;
    p->pid = (int32_t)sys_getpid();
    *slot = (uint32_t)v->slot;
    return true;
}

/* ---- clone -------------------------------------------------------------- */

/* What a fork-like clone's child runs. On the parent's stack, of which the
 * child has a copy. */
struct cloned {
    int (*fn)(void *);
    void *arg;
};

/* As around fork; but with CLONE_VFORK this thread stops until the child is
 * gone, which cannot be inside the lock that the child will need. */
static void before_clone(uint64_t flags) {
    before_fork();
    if (flags & CLONE_VFORK) {
        after_in_parent();
        fork_inside = false;
    }
}

static void after_clone(uint64_t flags, pid_t pid) {
    if (!(flags & CLONE_VFORK))
        after_in_parent();
    tell_slot(pid);
}

static int cloned_child(void *arg) {
    struct cloned c = *(struct cloned *)arg;
    after_in_child();
    return c.fn(c.arg);
}

/* Does this system call make a process with a copy of our memory? */
static bool copies_memory(long nr, const long arg[6], uint64_t *flags) {
    *flags = 0;
#ifdef SYS_fork
    if (nr == SYS_fork)
        return true;
#endif
    if (nr == SYS_clone)
        *flags = (uint64_t)arg[0];
    else if (nr == SYS_clone3 && arg[1] >= (long)sizeof(*flags))
        memcpy(flags, (const void *)arg[0], sizeof(*flags));
    else
        return false;
    return !(*flags & CLONE_VM);
}

bool fork_syscall(long nr, const long arg[6], long *result) {
    uint64_t flags;
    if (preload_vforked || !copies_memory(nr, arg, &flags))
        return false;
    before_clone(flags);
    *result = sys_call6(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
    if (*result == 0) {
        after_in_child();
        return true;
    }
    after_clone(flags, (pid_t)(*result < 0 ? -1 : *result));
    return true;
}

EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...) {
    va_list ap;
    va_start(ap, arg);
    void *ptid = va_arg(ap, void *), *tls = va_arg(ap, void *);
    void *ctid = va_arg(ap, void *);
    va_end(ap);
    if (!self.sh)
        return real.clone(fn, stack, flags, arg, ptid, tls, ctid);
    int r;
    if (!(flags & CLONE_VM) && !preload_vforked) {
        struct cloned c = {fn, arg};
        before_clone((uint64_t)flags);
        r = real.clone(cloned_child, stack, flags, &c, ptid, tls, ctid);
        after_clone((uint64_t)flags, r);
        return r;
    }
    if (!(flags & CLONE_VM) || !(flags & CLONE_VFORK))
        return real.clone(fn, stack, flags, arg, ptid, tls, ctid);
    fork_vfork_before();
    r = real.clone(fn, stack, flags, arg, ptid, tls, ctid);
    return fork_vfork_after(r < 0 ? -errno : r);
}

#define FAMILY_fork 1
#include "preload/alias.h"
