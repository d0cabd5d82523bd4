/* sandbox.c: a process that gives up the system calls the stack needs.
 *
 * Theory of operation
 *
 * A program that has its connections open may enter a sandbox: strict mode or
 * a filter of seccomp(2), or a limit of no more descriptors (setrlimit(2)).
 * sshd's child before authentication is left with little more than read, write
 * and poll on what it has. Whatever it may call, it may call on its own
 * descriptors; so before the door closes they are made what it takes them for,
 * kernel sockets (hand.c), and this process leaves the stack for good: its
 * service thread ends, the stack's descriptors are closed and the arena is
 * unmapped, so that the sandbox holds nothing of the other processes either.
 *
 * A filter that lets the stack's own calls through (most servers' do) changes
 * nothing: the filter is run here, as the kernel would run it, on each of
 * those calls (classic BPF, linux/seccomp.h).
 *
 * Limits: a listening socket cannot be relayed, and is lost to a sandbox that
 * forbids the stack (counted, and said). While other threads sleep in a call of
 * the stack, the process hands its descriptors over but stays in the stack.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "preload/async.h"
#include "preload/hand.h"
#include "preload/sandbox.h"
#include "preload/service.h"

/* Descriptors of the stack's own in one poll(2) (wait.c). */
#define FEW_DESCRIPTORS 3

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#else
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

/* ---- what would the filter say? ------------------------------------------- */

/* One arithmetic or logical instruction. */
static uint32_t alu(uint16_t op, uint32_t a, uint32_t v) {
    switch (op) {
    case BPF_ADD:
        return a + v;
    case BPF_SUB:
        return a - v;
    case BPF_MUL:
        return a * v;
    case BPF_DIV:
        return v ? a / v : 0;
    case BPF_OR:
        return a | v;
    case BPF_AND:
        return a & v;
    case BPF_XOR:
        return a ^ v;
    case BPF_LSH:
        return v < 32 ? a << v : 0;
    case BPF_RSH:
        return v < 32 ? a >> v : 0;
    default: /* BPF_NEG */
        return -a;
    }
}

static bool jumps(uint16_t op, uint32_t a, uint32_t v) {
    switch (op) {
    case BPF_JEQ:
        return a == v;
    case BPF_JGT:
        return a > v;
    case BPF_JGE:
        return a >= v;
    default: /* BPF_JSET */
        return (a & v) != 0;
    }
}

/* Registers and scratch memory of the machine. */
struct machine {
    uint32_t a, x, mem[BPF_MEMWORDS];
    const struct seccomp_data *data;
};

/* Loads and stores; false: not one that seccomp allows. */
static bool load(struct machine *m, const struct sock_filter *i) {
    uint32_t v;
    bool memory = BPF_MODE(i->code) == BPF_MEM;
    switch (BPF_MODE(i->code)) {
    case BPF_ABS:
        if (i->k > sizeof(*m->data) - sizeof(v))
            return false;
        memcpy(&v, (const char *)m->data + i->k, sizeof(v));
        break;
    case BPF_IMM:
        v = i->k;
        break;
    case BPF_LEN:
        v = sizeof(*m->data);
        break;
    default:
        if (!memory || i->k >= BPF_MEMWORDS)
            return false;
        v = m->mem[i->k];
    }
    if (BPF_CLASS(i->code) == BPF_LD)
        m->a = v;
    else
        m->x = v;
    return true;
}

/* The filter's answer, SECCOMP_RET_KILL_THREAD if it makes no sense. */
static uint32_t run(const struct sock_fprog *prog,
                    const struct seccomp_data *data) {
    struct machine m = {.data = data};
    for (uint32_t pc = 0; pc < prog->len; pc++) {
        const struct sock_filter *i = &prog->filter[pc];
        uint32_t v = BPF_SRC(i->code) == BPF_X ? m.x : i->k;
        switch (BPF_CLASS(i->code)) {
        case BPF_LD:
        case BPF_LDX:
            if (!load(&m, i))
                return SECCOMP_RET_KILL_THREAD;
            break;
        case BPF_ST:
        case BPF_STX:
            if (i->k >= BPF_MEMWORDS)
                return SECCOMP_RET_KILL_THREAD;
            m.mem[i->k] = BPF_CLASS(i->code) == BPF_ST ? m.a : m.x;
            break;
        case BPF_ALU:
            m.a = alu(BPF_OP(i->code), m.a, v);
            break;
        case BPF_JMP:
            if (BPF_OP(i->code) == BPF_JA)
                pc += i->k;
            else
                pc += jumps(BPF_OP(i->code), m.a, v) ? i->jt : i->jf;
            break;
        case BPF_RET:
            return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
        default: /* BPF_MISC */
            if (BPF_MISCOP(i->code) == BPF_TAX)
                m.x = m.a;
            else
                m.a = m.x;
        }
    }
    return SECCOMP_RET_KILL_THREAD;
}

/* Does the filter let all through that a process of the stack calls while it
 * uses sockets? */
static bool lets_the_stack_live(const struct sock_fprog *prog) {
    static const int needed[] = {
        SYS_ppoll,   SYS_futex,    SYS_read,  SYS_write, SYS_recvmsg,
        SYS_sendmsg, SYS_sendmmsg, SYS_close, SYS_fcntl, SYS_clock_nanosleep,
    };
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        struct seccomp_data data = {.nr = needed[i], .arch = OWN_ARCH};
        uint32_t answer = run(prog, &data) & SECCOMP_RET_ACTION_FULL;
        if (answer != SECCOMP_RET_ALLOW && answer != SECCOMP_RET_LOG)
            return false;
    }
    return true;
}

/* ---- leaving the stack ------------------------------------------------------ */

/* Once; afterwards this process has plain descriptors and no stack. */
static void seal(void) {
    int saved = errno;
    __atomic_fetch_add(&self.sh->count.sealed, 1, __ATOMIC_RELAXED);
    unsigned lost = hand_over(false);
    if (lost)
        preload_say("%u sockets are lost in a sandbox that forbids the stack",
                    lost);
    preload_sealed();
    preload_service_stop();
    async_stop();
    share_detach();
    errno = saved;
}

static bool in_stack(void) { return self.sh && !preload_vforked; }

bool sandbox_filtered;

void sandbox_filter(const void *fprog) {
    if (fprog)
        sandbox_filtered = true;
    if (in_stack() && fprog && !lets_the_stack_live(fprog))
        seal();
}

void sandbox_strict(void) {
    if (in_stack())
        seal();
}

/* Fewer descriptors than a wait of the stack needs: poll(2) refuses it. */
void sandbox_limit(int what, const struct rlimit *lim) {
    if (what == RLIMIT_NOFILE && lim && lim->rlim_cur < FEW_DESCRIPTORS &&
        in_stack())
        seal();
}

/* ---- exported ----------------------------------------------------------------- */

/* prctl(2). */
EXPORT int prctl(int op, ...) {
    va_list ap;
    va_start(ap, op);
    long a = va_arg(ap, long), b = va_arg(ap, long), c = va_arg(ap, long),
         d = va_arg(ap, long);
    va_end(ap);
    if (op == PR_SET_SECCOMP && a == SECCOMP_MODE_STRICT)
        sandbox_strict();
    else if (op == PR_SET_SECCOMP && a == SECCOMP_MODE_FILTER)
        sandbox_filter((const void *)b);
    return real.prctl(op, a, b, c, d);
}

#define FAMILY_sandbox 1
#include "preload/alias.h"
