/* opener.c: the plain LD_PRELOAD form has its device opened by stackctl.
 *
 * The helper is started with a raw clone, not with fork: no atfork handlers,
 * no wrappers of our own, and no copy of the program's page tables: the child
 * runs in our memory, on a stack of its own, while this thread stands still
 * (CLONE_VM | CLONE_VFORK). execve(2) puts the exit signal back to SIGCHLD, for
 * the parent of whoever execs: so that is a process in between, with exit
 * signal 0, which the program's SIGCHLD handler and wait() calls never see
 * (clone(2), __WALL). It ends as soon as the helper runs; init reaps the
 * helper, whose answer is all that we wait for. Where orphans come back to this
 * very process (init of a container, PR_SET_CHILD_SUBREAPER), it waits for
 * the helper first.
 *
 * stackctl is looked for beside the library, then where an installation puts
 * it, then in PATH. The library's own path comes from /proc/self/maps, which
 * stays right after a chdir, unlike a relative LD_PRELOAD.
 */
#include "preload/share/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "netio/sys.h"

#define MAX_ARGS (SETTINGS_COUNT + 5)
#define ARG_ROOM 4096
#define STACK_ROOM 16384
#define HELPER_FD 3 /* where the child finds the socket */

/* What the child needs, all made before the clone. */
struct launch {
    char *argv[MAX_ARGS];
    char args[ARG_ROOM];
    char dir[SETTINGS_PATH]; /* of the library, "" when unknown */
    char path_var[2048];     /* "PATH=..." */
    char *envp[2];
    int fd;
    bool patient; /* orphans would be this process's own */
    _Alignas(16) char room[2][STACK_ROOM]; /* stacks of the two processes */
};

/* The line of /proc/self/maps that holds addr ends with a path: copy it. */
static bool path_of_line(char *line, uintptr_t addr, char *out, size_t len) {
    uintptr_t lo = 0, hi = 0;
    char *p = line;
    for (; *p && *p != '-'; p++)
        lo = lo << 4 | (uintptr_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
    for (p += *p == '-'; *p && *p != ' '; p++)
        hi = hi << 4 | (uintptr_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
    char *path = strchr(p, '/');
    if (addr < lo || addr >= hi || !path || strlen(path) >= len)
        return false;
    memcpy(out, path, strlen(path) + 1);
    return true;
}

/* The file that this code was loaded from, from /proc/self/maps. False when
 * /proc cannot be read. */
static bool own_path(char *out, size_t len) {
    char buf[4096];
    size_t have = 0;
    bool found = false;
    int fd =
        (int)sys_openat(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    while (!found) {
        long n = sys_read(fd, buf + have, sizeof(buf) - 1 - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        buf[have] = '\0';
        char *line = buf, *end;
        while (!found && (end = strchr(line, '\n'))) {
            *end = '\0';
            found = path_of_line(line, (uintptr_t)&own_path, out, len);
            line = end + 1;
        }
        have -= (size_t)(line - buf);
        memmove(buf, line, have);
        if (have == sizeof(buf) - 1)
            have = 0; /* no sane line is this long */
    }
    sys_close(fd);
    return found;
}

/* The command line: every setting that is not the default. */
static int make_args(struct launch *l, const struct settings *s) {
    size_t used = 0;
    int n = 0;
    char value[SETTINGS_PATH];
    l->argv[n++] = "stackctl";
    l->argv[n++] = "open";
    l->argv[n++] = "--socket=3";
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        if (s->origin[i] == ORIGIN_DEFAULT || settings_info[i].internal ||
            i == SET_CONFIG)
            continue;
        settings_format(s, (enum setting)i, value, sizeof(value));
        char *at = l->args + used;
        int len = snprintf(at, ARG_ROOM - used, "--%s=%s", settings_info[i].key,
                           value);
        if (len < 0 || (size_t)len >= ARG_ROOM - used)
            return -E2BIG;
        used += (size_t)len + 1;
        l->argv[n++] = at;
    }
    l->argv[n] = NULL;
    return 0;
}

static void make_paths(struct launch *l) {
    const char *path = getenv("PATH");
    int n =
        snprintf(l->path_var, sizeof(l->path_var), "PATH=%s", path ? path : "");
    if (!path || n >= (int)sizeof(l->path_var))
        strcpy(l->path_var, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    l->envp[0] = l->path_var;
    l->envp[1] = NULL;
    l->dir[0] = '\0';
    if (own_path(l->dir, sizeof(l->dir)))
        *strrchr(l->dir, '/') = '\0';
}

static void try_exec(struct launch *l, const char *dir, size_t len,
                     const char *rest) {
    char file[SETTINGS_PATH + 64];
    snprintf(file, sizeof(file), "%.*s%s/stackctl", (int)len, dir, rest);
    sys_call3(SYS_execve, file, l->argv, l->envp);
}

/* In the child: only the socket and the three standard descriptors stay. */
static void child(struct launch *l) {
    static const char *const places[] = {"", "/../bin", "/../../bin"};
    if (l->fd == HELPER_FD)
        sys_fcntl(l->fd, F_SETFD, 0);
    else
        sys_dup3(l->fd, HELPER_FD, 0);
    sys_close_range(HELPER_FD + 1, ~0u, 0);
    for (unsigned i = 0; l->dir[0] && i < 3; i++)
        try_exec(l, l->dir, strlen(l->dir), places[i]);
    for (const char *p = l->path_var + 5; *p;) {
        size_t n = strcspn(p, ":");
        if (n > 0)
            try_exec(l, p, n, "");
        p += n + (p[n] == ':');
    }
    sys_exit_group(127);
}

/* Run fn(l), which does not return, in a process that borrows our memory, on
 * the stack that ends at `top`. Returns its id, or -errno, when it has ended or
 * called exec. */
static long borrow(void (*fn)(struct launch *), struct launch *l, char *top) {
    const long flags = CLONE_VM | CLONE_VFORK; /* exit signal 0 */
#if defined(__x86_64__)
    long r = SYS_clone;
    register void (*f)(struct launch *) __asm__("r12") = fn;
    register struct launch *a __asm__("r13") = l;
    __asm__ volatile("xor %%r10d, %%r10d\n\t"
                     "syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "+a"(r)
                     : "D"(flags), "S"(top), "d"(0L), "r"(f), "r"(a)
                     : "rcx", "r8", "r10", "r11", "memory");
    return r;
#elif defined(__aarch64__)
    register long r __asm__("x0") = flags;
    register char *sp __asm__("x1") = top;
    register long nr __asm__("x8") = SYS_clone;
    register void (*f)(struct launch *) __asm__("x19") = fn;
    register struct launch *a __asm__("x20") = l;
    __asm__ volatile("mov x2, xzr\n\t"
                     "mov x3, xzr\n\t"
                     "mov x4, xzr\n\t"
                     "svc 0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x0, x20\n\t"
                     "blr x19\n\t"
                     "brk 0\n"
                     "1:"
                     : "+r"(r)
                     : "r"(sp), "r"(nr), "r"(f), "r"(a)
                     : "x2", "x3", "x4", "x30", "memory");
    return r;
#else
#error "borrow: not written for this processor"
#endif
}

static void between(struct launch *l) {
    long pid = borrow(child, l, l->room[1] + STACK_ROOM);
    if (l->patient && pid > 0)
        sys_call4(SYS_wait4, pid, 0, __WALL, 0);
    sys_exit_group(0);
}

/* The one message. Returns the packet socket or -errno; *r valid if r->err or
 * the result is >= 0. */
static int take_reply(int fd, struct setup_reply *r) {
    union {
        struct cmsghdr hdr;
        char room[CMSG_SPACE(sizeof(int))];
    } ctl;
    struct iovec iov = {r, sizeof(*r)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &ctl,
                       .msg_controllen = sizeof(ctl)};
    long n;
    memset(r, 0, sizeof(*r));
    do {
        n = sys_recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    } while (n == -EINTR);
    if (n != (long)sizeof(*r))
        return n < 0 ? (int)n : -ECHILD;
    r->text[sizeof(r->text) - 1] = r->dev[sizeof(r->dev) - 1] = '\0';
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (r->err || !c || c->cmsg_type != SCM_RIGHTS)
        return r->err > 0 ? -r->err : -EPROTO;
    int got;
    memcpy(&got, CMSG_DATA(c), sizeof(got));
    return got;
}

/* Would the kernel give this process the orphans of its descendants? */
static bool adopts_orphans(void) {
    int subreaper = 0;
    sys_call2(SYS_prctl, PR_GET_CHILD_SUBREAPER, &subreaper);
    return subreaper || sys_getpid() == 1;
}

/* Run the helper, every signal blocked meanwhile: no handler of the program
 * may run in the child. Returns as take_reply. */
static int run_helper(struct launch *l, int ours, struct setup_reply *r) {
    uint64_t all = ~UINT64_C(0), old;
    sys_rt_sigprocmask(SIG_SETMASK, &all, &old);
    l->patient = adopts_orphans();
    long pid = borrow(between, l, l->room[0] + STACK_ROOM), e;
    sys_rt_sigprocmask(SIG_SETMASK, &old, NULL);
    sys_close(l->fd);
    l->fd = -1;
    if (pid < 0)
        return (int)pid;
    do { /* it has ended */
        e = sys_call4(SYS_wait4, pid, 0, __WALL, 0);
    } while (e == -EINTR);
    return take_reply(ours, r);
}

/* The stack's configuration as the helper found it. */
static void fill_config(struct stack_config *cfg, const struct setup_reply *r) {
    memset(cfg, 0, sizeof(*cfg));
    memcpy(cfg->mac, r->mac, sizeof(cfg->mac));
    cfg->mtu = r->mtu;
    cfg->superframe = r->superframe;
    cfg->addr = r->addr;
    cfg->prefix_len = r->prefix_len;
    cfg->gateway = r->gw;
}

/* Have the device opened by stackctl. */
static int ask_helper(const struct settings *s, struct share_new *out,
                      char *err, size_t errlen) {
    static struct launch l; /* the caller's stack may be small */
    struct setup_reply r = {0};
    int pair[2];
    int e = make_args(&l, s);
    if (e) {
        snprintf(err, errlen, "the settings are too long together");
        return e;
    }
    make_paths(&l);
    e = (int)sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
    if (e < 0) {
        snprintf(err, errlen, "no socket to talk to stackctl: %s",
                 strerrordesc_np(-e));
        return e;
    }
    l.fd = pair[1];
    int fd = run_helper(&l, pair[0], &r);
    sys_close(pair[0]);
    if (fd < 0) {
        if (r.text[0])
            snprintf(err, errlen, "%s", r.text);
        else
            snprintf(err, errlen,
                     "cannot run stackctl to open the device: install it "
                     "beside libstack.so or in PATH");
        return fd;
    }
    out->packet_fd = fd;
    fill_config(&out->cfg, &r);
    return 0;
}

int opener_ask(const struct settings *s, struct share_new *out, char *err,
               size_t errlen) {
    static char name[SHARE_NAME];
    int e = settings_complete(s, err, errlen);
    if (e == 0 && !lean_open(s, out))
        e = ask_helper(s, out, err, errlen);
    if (e)
        return e;
    settings_stack_name(s, name, sizeof(name));
    out->name = name;
    out->arena_size = s->arena;
    out->cfg.tune = s->tune;
    return 0;
}
