/* opener.c: the plain LD_PRELOAD form has its device opened by stackctl.
 *
 * The helper is started with a raw clone, not with fork: no atfork handlers,
 * no wrappers of our own. Its exit signal is 0, so that the program's SIGCHLD
 * handler and its wait() calls never see it (clone(2), __WALL). The child has
 * a copy of our memory rather than sharing it (CLONE_VM): a child that returns
 * from a C function in shared memory would spoil its parent's stack, and this
 * happens at most once in a program's life.
 *
 * stackctl is looked for beside the library, then where an installation puts
 * it, then in PATH. The library's own path comes from /proc/self/maps, which
 * stays right after a chdir, unlike a relative LD_PRELOAD.
 */
#include "preload/share/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "netio/sys.h"

#define MAX_ARGS (SETTINGS_COUNT + 5)
#define ARG_ROOM 4096
#define HELPER_FD 3 /* where the child finds the socket */

/* What the child needs, all made before the clone. */
struct launch {
    char *argv[MAX_ARGS];
    char args[ARG_ROOM];
    char dir[SETTINGS_PATH]; /* of the library, "" when unknown */
    char path_var[2048];     /* "PATH=..." */
    char *envp[2];
    int fd;
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
static _Noreturn void child(struct launch *l) {
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

/* execve(2) puts the exit signal back to SIGCHLD, for the parent of whoever
 * execs: so that is a process in between, which does nothing else. */
static _Noreturn void between(struct launch *l) {
    long pid = sys_call5(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0)
        child(l);
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

/* Run the helper and wait for its end, every signal blocked meanwhile: no
 * handler of the program may run in the child. Returns as take_reply. */
static int run_helper(struct launch *l, int ours, struct setup_reply *r) {
    uint64_t all = ~UINT64_C(0), old;
    sys_rt_sigprocmask(SIG_SETMASK, &all, &old);
    long pid = sys_call5(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0)
        between(l);
    sys_rt_sigprocmask(SIG_SETMASK, &old, NULL);
    sys_close(l->fd);
    l->fd = -1;
    if (pid < 0)
        return (int)pid;
    int fd = take_reply(ours, r);
    long e;
    do {
        e = sys_call4(SYS_wait4, pid, 0, __WALL, 0);
    } while (e == -EINTR);
    return fd;
}

/* The stack's configuration as the helper found it. */
static void fill_config(struct stack_config *cfg, const struct setup_reply *r) {
    memset(cfg, 0, sizeof(*cfg));
    memcpy(cfg->mac, r->mac, sizeof(cfg->mac));
    cfg->mtu = r->mtu;
    cfg->addr = r->addr;
    cfg->prefix_len = r->prefix_len;
    cfg->gateway = r->gw;
    cfg->now = share_clock();
    sys_getrandom(cfg->seed, sizeof(cfg->seed), 0);
}

int opener_ask(const struct settings *s, struct share_new *out, char *err,
               size_t errlen) {
    static char name[SHARE_NAME];
    struct launch l;
    struct setup_reply r = {0};
    int pair[2];
    int e = settings_complete(s, err, errlen);
    if (e)
        return e;
    e = make_args(&l, s);
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
    settings_stack_name(s, name, sizeof(name));
    out->name = name;
    out->packet_fd = fd;
    out->arena_size = s->arena;
    fill_config(&out->cfg, &r);
    out->cfg.tune = s->tune;
    return 0;
}
