/* sys.h: raw system calls.
 *
 * Theory of operation
 *
 * Code that is linked into libstack.so must not call socket(), read(),
 * close() and friends by name: libstack.so itself exports those, so the call
 * would come back to us. Nor may it touch the program's errno or become a
 * cancellation point. The wrappers below enter the kernel directly and return
 * what the kernel returns: a value, or -errno (-4095..-1).
 *
 * They follow the manual pages of the calls they are named after, with the
 * differences of the raw interface stated where there are any. A result of
 * -EINTR is the caller's to handle. Structures are those of the C library's
 * 64-bit headers, which on these machines are the kernel's.
 */
#pragma once
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#if defined(__x86_64__)
/* System V AMD64 ABI, A.2.1: number in rax; rcx and r11 are lost. */
static inline long sys_call6(long nr, long a, long b, long c, long d, long e,
                             long f) {
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
                       "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
/* syscall(2), "Architecture calling conventions": number in x8. */
static inline long sys_call6(long nr, long a, long b, long c, long d, long e,
                             long f) {
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}
#else
#error "sys.h: x86-64 and aarch64 only"
#endif

/* An unused argument is 0: the kernel does not look at it. */
#define sys_call0(nr) sys_call6(nr, 0, 0, 0, 0, 0, 0)
#define sys_call1(nr, a) sys_call6(nr, (long)(a), 0, 0, 0, 0, 0)
#define sys_call2(nr, a, b) sys_call6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys_call3(nr, a, b, c)                                                 \
    sys_call6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys_call4(nr, a, b, c, d)                                              \
    sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys_call5(nr, a, b, c, d, e)                                           \
    sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* True for the error range of a call that returns an address. */
static inline int sys_is_err(const void *p) {
    return (unsigned long)p >= (unsigned long)-4095L;
}

/* Bytes of a signal set as the kernel sees it (glibc's sigset_t is longer). */
#define SYS_SIGSET_SIZE 8

/* ---- files and descriptors -------------------------------------------- */

static inline long sys_close(int fd) { return sys_call1(SYS_close, fd); }
static inline long sys_close_range(unsigned first, unsigned last,
                                   unsigned flags) {
    return sys_call3(SYS_close_range, first, last, flags);
}
static inline long sys_read(int fd, void *buf, size_t n) {
    return sys_call3(SYS_read, fd, buf, n);
}
static inline long sys_write(int fd, const void *buf, size_t n) {
    return sys_call3(SYS_write, fd, buf, n);
}
static inline long sys_readv(int fd, const struct iovec *iov, int n) {
    return sys_call3(SYS_readv, fd, iov, n);
}
static inline long sys_writev(int fd, const struct iovec *iov, int n) {
    return sys_call3(SYS_writev, fd, iov, n);
}
static inline long sys_pread64(int fd, void *buf, size_t n, off_t at) {
    return sys_call4(SYS_pread64, fd, buf, n, at);
}
static inline long sys_lseek(int fd, off_t off, int whence) {
    return sys_call3(SYS_lseek, fd, off, whence);
}
static inline long sys_fstat(int fd, struct stat *st) {
    return sys_call2(SYS_fstat, fd, st);
}
static inline long sys_openat(int dir, const char *path, int flags,
                              unsigned mode) {
    return sys_call4(SYS_openat, dir, path, flags, mode);
}
static inline long sys_readlinkat(int dir, const char *path, char *buf,
                                  size_t n) {
    return sys_call4(SYS_readlinkat, dir, path, buf, n);
}
static inline long sys_unlinkat(int dir, const char *path, int flags) {
    return sys_call3(SYS_unlinkat, dir, path, flags);
}
static inline long sys_getdents64(int fd, void *buf, size_t n) {
    return sys_call3(SYS_getdents64, fd, buf, n);
}
static inline long sys_fcntl(int fd, int cmd, long arg) {
    return sys_call3(SYS_fcntl, fd, cmd, arg);
}
static inline long sys_ioctl(int fd, unsigned long req, void *arg) {
    return sys_call3(SYS_ioctl, fd, req, arg);
}
static inline long sys_dup(int fd) { return sys_call1(SYS_dup, fd); }
/* -EINVAL when both numbers are equal, as dup3(2). */
static inline long sys_dup3(int from, int to, int flags) {
    return sys_call3(SYS_dup3, from, to, flags);
}
static inline long sys_pipe2(int fds[2], int flags) {
    return sys_call2(SYS_pipe2, fds, flags);
}
static inline long sys_eventfd2(unsigned value, int flags) {
    return sys_call2(SYS_eventfd2, value, flags);
}
static inline long sys_memfd_create(const char *name, unsigned flags) {
    return sys_call2(SYS_memfd_create, name, flags);
}
static inline long sys_ftruncate(int fd, off_t size) {
    return sys_call2(SYS_ftruncate, fd, size);
}

/* ---- memory ------------------------------------------------------------ */

/* Check the result with sys_is_err(). */
static inline void *sys_mmap(void *at, size_t size, int prot, int flags, int fd,
                             off_t off) {
    return (void *)sys_call6(SYS_mmap, (long)at, (long)size, prot, flags, fd,
                             (long)off);
}
static inline long sys_munmap(void *at, size_t size) {
    return sys_call2(SYS_munmap, at, size);
}
static inline long sys_mprotect(void *at, size_t size, int prot) {
    return sys_call3(SYS_mprotect, at, size, prot);
}
static inline long sys_madvise(void *at, size_t size, int advice) {
    return sys_call3(SYS_madvise, at, size, advice);
}

/* ---- sockets ------------------------------------------------------------ */

static inline long sys_socket(int family, int type, int protocol) {
    return sys_call3(SYS_socket, family, type, protocol);
}
static inline long sys_socketpair(int family, int type, int protocol,
                                  int fds[2]) {
    return sys_call4(SYS_socketpair, family, type, protocol, fds);
}
static inline long sys_bind(int fd, const void *addr, socklen_t len) {
    return sys_call3(SYS_bind, fd, addr, len);
}
static inline long sys_connect(int fd, const void *addr, socklen_t len) {
    return sys_call3(SYS_connect, fd, addr, len);
}
static inline long sys_listen(int fd, int backlog) {
    return sys_call2(SYS_listen, fd, backlog);
}
static inline long sys_accept4(int fd, void *addr, socklen_t *len, int flags) {
    return sys_call4(SYS_accept4, fd, addr, len, flags);
}
static inline long sys_shutdown(int fd, int how) {
    return sys_call2(SYS_shutdown, fd, how);
}
static inline long sys_getsockname(int fd, void *addr, socklen_t *len) {
    return sys_call3(SYS_getsockname, fd, addr, len);
}
static inline long sys_getpeername(int fd, void *addr, socklen_t *len) {
    return sys_call3(SYS_getpeername, fd, addr, len);
}
static inline long sys_setsockopt(int fd, int level, int opt, const void *val,
                                  socklen_t len) {
    return sys_call5(SYS_setsockopt, fd, level, opt, val, len);
}
static inline long sys_getsockopt(int fd, int level, int opt, void *val,
                                  socklen_t *len) {
    return sys_call5(SYS_getsockopt, fd, level, opt, val, len);
}
static inline long sys_sendto(int fd, const void *buf, size_t n, int flags,
                              const void *addr, socklen_t len) {
    return sys_call6(SYS_sendto, fd, (long)buf, (long)n, flags, (long)addr,
                     (long)len);
}
static inline long sys_recvfrom(int fd, void *buf, size_t n, int flags,
                                void *addr, socklen_t *len) {
    return sys_call6(SYS_recvfrom, fd, (long)buf, (long)n, flags, (long)addr,
                     (long)len);
}
static inline long sys_sendmsg(int fd, const struct msghdr *m, int flags) {
    return sys_call3(SYS_sendmsg, fd, m, flags);
}
static inline long sys_recvmsg(int fd, struct msghdr *m, int flags) {
    return sys_call3(SYS_recvmsg, fd, m, flags);
}
static inline long sys_sendmmsg(int fd, struct mmsghdr *m, unsigned n,
                                int flags) {
    return sys_call4(SYS_sendmmsg, fd, m, n, flags);
}
static inline long sys_recvmmsg(int fd, struct mmsghdr *m, unsigned n,
                                int flags, struct timespec *timeout) {
    return sys_call5(SYS_recvmmsg, fd, m, n, flags, timeout);
}

/* ---- waiting and waking ------------------------------------------------ */

/* timeout NULL: for ever; the kernel writes the time left into it. mask NULL
 * (keep), or SYS_SIGSET_SIZE bytes. */
static inline long sys_ppoll(struct pollfd *fds, unsigned n,
                             struct timespec *timeout, const void *mask) {
    return sys_call5(SYS_ppoll, fds, n, timeout, mask, SYS_SIGSET_SIZE);
}
static inline long sys_epoll_create1(int flags) {
    return sys_call1(SYS_epoll_create1, flags);
}
static inline long sys_epoll_ctl(int ep, int op, int fd,
                                 struct epoll_event *ev) {
    return sys_call4(SYS_epoll_ctl, ep, op, fd, ev);
}
/* timeout in milliseconds; -1: for ever. */
static inline long sys_epoll_pwait(int ep, struct epoll_event *ev, int max,
                                   int timeout, const void *mask) {
    return sys_call6(SYS_epoll_pwait, ep, (long)ev, max, timeout, (long)mask,
                     SYS_SIGSET_SIZE);
}
/* -EAGAIN, -EINTR and -ETIMEDOUT are normal answers. */
static inline long sys_futex(void *word, int op, uint32_t val,
                             const struct timespec *timeout, void *word2,
                             uint32_t val3) {
    return sys_call6(SYS_futex, (long)word, op, (long)val, (long)timeout,
                     (long)word2, (long)val3);
}
static inline long sys_sched_yield(void) { return sys_call0(SYS_sched_yield); }
static inline long sys_clock_gettime(clockid_t clock, struct timespec *ts) {
    return sys_call2(SYS_clock_gettime, clock, ts);
}
static inline long sys_clock_nanosleep(clockid_t clock, int flags,
                                       const struct timespec *req,
                                       struct timespec *rem) {
    return sys_call4(SYS_clock_nanosleep, clock, flags, req, rem);
}

/* ---- processes, signals ------------------------------------------------ */

static inline long sys_getpid(void) { return sys_call0(SYS_getpid); }
static inline long sys_getppid(void) { return sys_call0(SYS_getppid); }
static inline long sys_gettid(void) { return sys_call0(SYS_gettid); }
static inline long sys_getuid(void) { return sys_call0(SYS_getuid); }
static inline long sys_geteuid(void) { return sys_call0(SYS_geteuid); }
static inline long sys_kill(pid_t pid, int sig) {
    return sys_call2(SYS_kill, pid, sig);
}
static inline long sys_tgkill(pid_t pid, pid_t tid, int sig) {
    return sys_call3(SYS_tgkill, pid, tid, sig);
}
static inline long sys_pidfd_open(pid_t pid, unsigned flags) {
    return sys_call2(SYS_pidfd_open, pid, flags);
}
/* set, old: SYS_SIGSET_SIZE bytes, or NULL. */
static inline long sys_rt_sigprocmask(int how, const void *set, void *old) {
    return sys_call4(SYS_rt_sigprocmask, how, set, old, SYS_SIGSET_SIZE);
}
static inline long sys_prctl(int op, long a, long b, long c, long d) {
    return sys_call5(SYS_prctl, op, a, b, c, d);
}
static inline long sys_prlimit64(pid_t pid, int what, const struct rlimit *set,
                                 struct rlimit *old) {
    return sys_call4(SYS_prlimit64, pid, what, set, old);
}
static inline long sys_getrandom(void *buf, size_t n, unsigned flags) {
    return sys_call3(SYS_getrandom, buf, n, flags);
}
/* head: struct robust_list_head ** */
static inline long sys_get_robust_list(pid_t tid, void *head, size_t *len) {
    return sys_call3(SYS_get_robust_list, tid, head, len);
}
static inline long sys_set_robust_list(void *head, size_t len) {
    return sys_call2(SYS_set_robust_list, head, len);
}
static inline _Noreturn void sys_exit_group(int status) {
    for (;;)
        sys_call1(SYS_exit_group, status);
}
