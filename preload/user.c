/* user.c: the program's memory, whose addresses may be wrong.
 *
 * Theory of operation
 *
 * The kernel answers EFAULT where a program hands in a bad address. Here the
 * same instructions that read a good address trip over a bad one: SIGSEGV or
 * SIGBUS, which must not reach the program, let alone with the lock held. So
 * whatever comes from a program is touched first by one of three small
 * routines; the handler of these two signals knows them by their addresses
 * (as the kernel's exception table does), and lets them return -EFAULT. Any
 * other fault is the program's own, and goes where it always went (signal.c).
 *
 * Small structures are copied by such a routine. Buffers are touched, one
 * byte a page, right before the stack copies: bytes that are about to be read
 * or written anyway. A page that another thread unmaps in between is not
 * caught; nor is any fault of a thread that has SIGSEGV blocked.
 *
 * Writing touches by an atomic "or" of nothing, since another thread may be
 * writing there.
 */
#include "preload/user.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#include "preload/signal.h"

#define HIDDEN __attribute__((visibility("hidden")))

/* p up to end, a byte of each page; n bytes. 0, or -EFAULT by the fix-up. */
int fault_read(const void *p, const void *end) HIDDEN;
int fault_write(void *p, const void *end) HIDDEN;
int fault_copy(void *to, const void *from, size_t n) HIDDEN;
extern const char fault_first[] HIDDEN, fault_last[] HIDDEN, fault_fix[] HIDDEN;

#define ROUTINE(name)                                                          \
    ".hidden " #name "\n.globl " #name "\n.type " #name ", %function\n" #name  \
    ":\n"

#if defined(__x86_64__)
#define PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
__asm__(".text\n" ROUTINE(fault_first) /* */
        ROUTINE(fault_read) "1: movzbl (%rdi), %eax\n"
                            "  or $4095, %rdi\n"
                            "  inc %rdi\n"
                            "  cmp %rsi, %rdi\n"
                            "  jb 1b\n"
                            "  xor %eax, %eax\n"
                            "  ret\n" /* */
        ROUTINE(fault_write) "2: lock orb $0, (%rdi)\n"
                             "  or $4095, %rdi\n"
                             "  inc %rdi\n"
                             "  cmp %rsi, %rdi\n"
                             "  jb 2b\n"
                             "  xor %eax, %eax\n"
                             "  ret\n" /* */
        ROUTINE(fault_copy) "  mov %rdx, %rcx\n"
                            "  rep movsb\n"
                            "  xor %eax, %eax\n"
                            "  ret\n" /* */
        ROUTINE(fault_last) ROUTINE(fault_fix) "  mov $-14, %eax\n"
                                               "  ret\n");
#else
#define PC(uc) ((uc)->uc_mcontext.pc)
__asm__(".text\n" ROUTINE(fault_first) /* */
        ROUTINE(fault_read) "1: ldrb w2, [x0]\n"
                            "  orr x0, x0, #4095\n"
                            "  add x0, x0, #1\n"
                            "  cmp x0, x1\n"
                            "  b.lo 1b\n"
                            "  mov w0, #0\n"
                            "  ret\n" /* */
        ROUTINE(fault_write) "2: ldxrb w2, [x0]\n"
                             "  stxrb w3, w2, [x0]\n"
                             "  cbnz w3, 2b\n"
                             "  orr x0, x0, #4095\n"
                             "  add x0, x0, #1\n"
                             "  cmp x0, x1\n"
                             "  b.lo 2b\n"
                             "  mov w0, #0\n"
                             "  ret\n" /* */
        ROUTINE(fault_copy) "3: ldrb w3, [x1], #1\n"
                            "  strb w3, [x0], #1\n"
                            "  subs x2, x2, #1\n"
                            "  b.ne 3b\n"
                            "  mov w0, #0\n"
                            "  ret\n" /* */
        ROUTINE(fault_last) ROUTINE(fault_fix) "  mov w0, #-14\n"
                                               "  ret\n");
#endif
_Static_assert(EFAULT == 14, "the fix-up says 14");

/* A fault in one of the routines, which use no stack: go on at the fix-up. */
static bool caught(siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    uintptr_t pc = (uintptr_t)PC(uc);
    (void)info;
    if (pc < (uintptr_t)fault_first || pc >= (uintptr_t)fault_last)
        return false;
    PC(uc) = (typeof(PC(uc)))(uintptr_t)fault_fix;
    return true;
}

void user_start(void) {
    signal_take(SIGSEGV, caught);
    signal_take(SIGBUS, caught);
}

int user_read(void *to, const void *from, size_t n) {
    if (bad_buffer(from, n))
        return -EFAULT;
    return n ? fault_copy(to, from, n) : 0;
}

int user_write(void *to, const void *from, size_t n) {
    if (bad_buffer(to, n))
        return -EFAULT;
    return n ? fault_copy(to, from, n) : 0;
}

/* A range that wraps round is nobody's. */
int user_readable(const void *p, size_t n) {
    if (n == 0)
        return 0;
    if (bad_pointer(p) || (uintptr_t)p + n < (uintptr_t)p)
        return -EFAULT;
    return fault_read(p, (const char *)p + n);
}

int user_writable(void *p, size_t n) {
    if (n == 0)
        return 0;
    if (bad_pointer(p) || (uintptr_t)p + n < (uintptr_t)p)
        return -EFAULT;
    return fault_write(p, (char *)p + n);
}

int user_readable_iov(const struct iovec *iov, int niov, size_t n) {
    int r = 0;
    for (int i = 0; i < niov && n && r == 0; i++) {
        size_t len = iov[i].iov_len < n ? iov[i].iov_len : n;
        r = user_readable(iov[i].iov_base, len);
        n -= len;
    }
    return r;
}

int user_writable_iov(const struct iovec *iov, int niov, size_t n) {
    int r = 0;
    for (int i = 0; i < niov && n && r == 0; i++) {
        size_t len = iov[i].iov_len < n ? iov[i].iov_len : n;
        r = user_writable(iov[i].iov_base, len);
        n -= len;
    }
    return r;
}
