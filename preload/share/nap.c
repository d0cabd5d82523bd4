/* nap.c: falling asleep without missing a signal.
 *
 * Theory of operation
 *
 * A handler of the program never runs while its thread is inside the stack or
 * asleep there: the trampoline in signal.c notes it (share_deferred), and the
 * sleep has to end so that the thread leaves and the handler runs. A signal
 * that comes after the last look at the note, but before the kernel is asked
 * to sleep, would be slept over.
 *
 * So the look and the system call are a few instructions with known addresses.
 * A trampoline that finds its thread between them (nap_look <= pc <= nap_call)
 * sends it to nap_eintr. This also ends a call that the kernel is about to
 * restart by itself because of SA_RESTART: it has put the thread back onto the
 * instruction at nap_call. After that instruction the call has ended, and its
 * result counts. No system call is needed for any of this.
 */
#include "preload/share/nap.h"

__thread int share_deferred __attribute__((tls_model("initial-exec")));
__thread const sigset_t *nap_mask __attribute__((tls_model("initial-exec")));

/* Instruction addresses, not functions. */
extern const char nap_look[], nap_call[], nap_eintr[];

#if defined(__x86_64__)
/* The C calling convention's arguments move one place up to the kernel's. */
__asm__(".text\n"
        ".balign 16\n"
        ".hidden nap_syscall, nap_look, nap_call, nap_eintr\n"
        ".globl nap_syscall, nap_look, nap_call, nap_eintr\n"
        ".type nap_syscall, @function\n"
        "nap_syscall:\n"
        "  .cfi_startproc\n"
        "  endbr64\n"
        "  mov %rdi, %rax\n"
        "  mov %rsi, %rdi\n"
        "  mov %rdx, %rsi\n"
        "  mov %rcx, %rdx\n"
        "  mov %r8, %r10\n"
        "  mov %r9, %r8\n"
        "  xor %r9d, %r9d\n"
        "  mov share_deferred@gottpoff(%rip), %rcx\n"
        "nap_look:\n"
        "  cmpl $0, %fs:(%rcx)\n"
        "  jne nap_eintr\n"
        "nap_call:\n"
        "  syscall\n"
        "  ret\n"
        "nap_eintr:\n"
        "  mov $-4, %rax\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size nap_syscall, . - nap_syscall\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".balign 16\n"
        ".hidden nap_syscall, nap_look, nap_call, nap_eintr\n"
        ".globl nap_syscall, nap_look, nap_call, nap_eintr\n"
        ".type nap_syscall, %function\n"
        "nap_syscall:\n"
        "  .cfi_startproc\n"
        "  mov x8, x0\n"
        "  mov x0, x1\n"
        "  mov x1, x2\n"
        "  mov x2, x3\n"
        "  mov x3, x4\n"
        "  mov x4, x5\n"
        "  mov x5, xzr\n"
        "  mrs x9, tpidr_el0\n"
        "  adrp x10, :gottprel:share_deferred\n"
        "  ldr x10, [x10, :gottprel_lo12:share_deferred]\n"
        "  add x9, x9, x10\n"
        "nap_look:\n"
        "  ldr w10, [x9]\n"
        "  cbnz w10, nap_eintr\n"
        "nap_call:\n"
        "  svc #0\n"
        "  ret\n"
        "nap_eintr:\n"
        "  mov x0, #-4\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size nap_syscall, . - nap_syscall\n");
#endif

uintptr_t nap_awake(uintptr_t pc) {
    if (pc >= (uintptr_t)nap_look && pc <= (uintptr_t)nap_call)
        return (uintptr_t)nap_eintr;
    return pc;
}
