/* Programs that give up system calls or descriptors while their connections
 * are open: they go on. Each case is a child of its own. */
#include "t.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>

/* No stdio inside a sandbox: it may want to fstat or to allocate. */
static void say(const char *what, long r) {
    char line[80];
    int n = snprintf(line, sizeof(line), "%s = %ld\n", what, r);
    if (write(1, line, (size_t)n) < 0)
        syscall(SYS_exit, 9);
}

/* A filter that allows these calls, and kills for all others. */
static int allow(const int *nr, int n, bool by_prctl) {
    struct sock_filter code[80];
    int k = 0;
    code[k++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             offsetof(struct seccomp_data, nr));
    for (int i = 0; i < n; i++) {
        code[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                 (unsigned)nr[i], 0, 1);
        code[k++] =
            (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[k++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog prog = {(unsigned short)k, code};
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    return by_prctl
               ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0)
               : (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

static const int tight[] = {
    SYS_read,  SYS_write,    SYS_select,          SYS_poll,       SYS_pselect6,
    SYS_ppoll, SYS_close,    SYS_exit_group,      SYS_epoll_wait, SYS_brk,
    SYS_exit,  SYS_shutdown, SYS_restart_syscall, SYS_epoll_pwait};
static const int wide[] = {SYS_read,          SYS_write,   SYS_ppoll,
                           SYS_poll,          SYS_close,   SYS_futex,
                           SYS_recvmsg,       SYS_sendmsg, SYS_fcntl,
                           SYS_sendmmsg,      SYS_mmap,    SYS_munmap,
                           SYS_exit_group,    SYS_exit,    SYS_clock_nanosleep,
                           SYS_recvfrom,      SYS_sendto,  SYS_accept,
                           SYS_dup,           SYS_madvise, SYS_rt_sigprocmask,
                           SYS_clock_gettime, SYS_accept4, SYS_epoll_wait,
                           SYS_gettid,        SYS_getpid,  SYS_select,
                           SYS_pselect6};
#define N(a) (int)(sizeof(a) / sizeof((a)[0]))

/* Ask and be answered. */
static void talk(int fd, const char *what) {
    char buf[8] = "";
    say("write", write(fd, what, 4));
    say("read", read_all(fd, buf, 4));
    say("right", memcmp(buf, what, 4));
}

/* Much in both directions, in turn. */
static void bulk(int fd) {
    static char out[30000], in[30000];
    long bad = 0;
    for (int i = 0; i < 40; i++) {
        memset(out, 'a' + i % 26, sizeof(out));
        for (size_t n = 0; n < sizeof(out);)
            n += (size_t)write(fd, out + n, sizeof(out) - n);
        bad += read_all(fd, in, sizeof(in)) != sizeof(in);
        bad += memcmp(in, out, sizeof(in)) != 0;
    }
    say("bulk", bad);
}

static void body_tight(void) {
    int fd = tcp_to(P_ECHO);
    talk(fd, "befo");
    allow(tight, N(tight), true);
    talk(fd, "afte");
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    say("poll", poll(&p, 1, 1000));
    say("revents", p.revents);
    fd_set rd;
    FD_ZERO(&rd);
    FD_SET(fd, &rd);
    struct timeval tv = {0, 50000};
    say("select", select(fd + 1, &rd, NULL, NULL, &tv));
    bulk(fd);
    say("close", close(fd));
}

static void body_end(void) {
    char c;
    int fd = tcp_to(P_CLOSE), half = tcp_to(P_COUNT);
    allow(tight, N(tight), false);
    char buf[8];
    say("bye", read_all(fd, buf, 3));
    say("end", read(fd, &c, 1));
    say("write", write(half, "12345", 5));
    say("shutdown", shutdown(half, SHUT_WR));
    memset(buf, 0, sizeof(buf));
    say("answer", read_all(half, buf, 8));
    say("count", buf[0]);
}

static void body_strict(void) {
    int fd = tcp_to(P_ECHO);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
    talk(fd, "stri");
    syscall(SYS_exit, 0);
}

static void body_wide(void) {
    int port, l = tcp_listen(4, &port);
    control("dial %d hello", port);
    int fd = tcp_to(P_ECHO);
    allow(wide, N(wide), true);
    talk(fd, "wide");
    bulk(fd);
    int c = accept(l, NULL, NULL); /* the listener stays the stack's */
    char buf[8];
    say("accepted", c >= 0);
    say("hello", read_all(c, buf, 5));
}

static void body_nofile(void) {
    struct rlimit none = {0, 0};
    int fd = tcp_to(P_ECHO);
    NEED(setrlimit(RLIMIT_NOFILE, &none));
    talk(fd, "nofi");
    say("socket", socket(AF_INET, SOCK_STREAM, 0) < 0);
    say("dup", dup(fd) < 0);
    bulk(fd);
}

static void body_epoll(void) {
    int fd = tcp_to(P_ECHO), d = dup(fd), ep = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {.u64 = 77}};
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, d, &e));
    allow(tight, N(tight), true);
    say("write", write(fd, "epol", 4));
    memset(&e, 0, sizeof(e));
    say("epoll_wait", epoll_wait(ep, &e, 1, 2000));
    say("events", (long)e.events);
    say("data", (long)e.data.u64);
    char buf[8];
    say("read", read_all(d, buf, 4));
    say("epoll_wait", epoll_wait(ep, &e, 1, 50));
}

/* Non-blocking stays non-blocking; close-on-exec and numbers are kept. */
static void body_flags(void) {
    char c;
    int fd = tcp_to(P_ECHO);
    nonblock(fd, true);
    allow(tight, N(tight), true);
    say("read", read(fd, &c, 1));
    say("eagain", errno == EAGAIN);
}

/* Chroot and another user, as daemons do before. */
static void body_nobody(void) {
    int fd = tcp_to(P_ECHO);
    char dir[] = "/tmp/ls-empty-XXXXXX";
    NEED(mkdtemp(dir) ? 0 : -1);
    NEED(chroot(dir));
    NEED(chdir("/"));
    NEED(setgid(65534));
    NEED(setuid(65534));
    talk(fd, "nobo");
    struct rlimit none = {0, 0};
    NEED(setrlimit(RLIMIT_FSIZE, &none));
    allow(tight, N(tight), true);
    talk(fd, "body");
    bulk(fd);
}

/* The monitor goes on where the sandboxed child stopped (sshd). */
static void shared(void) {
    char buf[16];
    section("parent after sandboxed child");
    int fd = tcp_to(P_ECHO);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        allow(tight, N(tight), true);
        say("write", write(fd, "abcdef", 6));
        say("read", read_all(fd, buf, 6));
        syscall(SYS_exit_group, 0);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("status %x\n", status);
    SHOW(write(fd, "ghi", 3));
    long n = SHOW(read_all(fd, buf, 3));
    text("got", buf, n);
    close(fd);
}

static void in_child(const char *name, void (*body)(void)) {
    int status = -1;
    section(name);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        body();
        syscall(SYS_exit_group, 0);
    }
    NEED(waitpid(pid, &status, 0));
    printf("status %x\n", status);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    in_child("tight filter", body_tight);
    in_child("ends of streams", body_end);
    in_child("strict mode", body_strict);
    in_child("wide filter", body_wide);
    in_child("no descriptors", body_nofile);
    in_child("epoll", body_epoll);
    in_child("flags", body_flags);
    in_child("nobody in an empty root", body_nobody);
    shared();
    return 0;
}
