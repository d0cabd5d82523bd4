/* spawn.c: posix_spawn, system and popen.
 *
 * Theory of operation
 *
 * The C library makes these children inside itself, where no wrapper sees the
 * fork, the file actions or the exec, so stack sockets would not reach the new
 * program. As long as this process holds no stack descriptor that does not
 * matter, and its own functions are called (with an environment that keeps the
 * preload). Else the child is made here: our vfork, which reserves the child's
 * process slot and stops the parent, then attributes and file actions by
 * system calls in the child, copies of stack descriptors noted, and our exec.
 * Doing it by vfork costs the same as the C library's way; fork would cost
 * three times as much (and pre-reserving slots for children that nobody sees
 * could not tell which descriptors the file actions moved where).
 *
 * The file actions object is opaque. Its layout has been the same since
 * glibc 2.15; new kinds of action were appended. Before first use a list with
 * known content, made by the C library's own functions, is compared with what
 * we read; if it differs, the C library spawns, without stack descriptors, and
 * that is counted.
 *
 * The child shares the parent's memory: signals stay blocked until its
 * handlers are reset, and its errors come back in a variable.
 */
#include <fcntl.h>
#include <paths.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/exec.h"
#include "preload/fork.h"
#include "preload/preload.h"
#include "preload/signal.h"

/* ---- file actions, as glibc keeps them ---------------------------------- */

enum action_kind {
    ACTION_CLOSE,
    ACTION_DUP2,
    ACTION_OPEN,
    ACTION_CHDIR,
    ACTION_FCHDIR,
    ACTION_CLOSEFROM,
    ACTION_TCSETPGRP,
};

struct action {
    int kind;
    union {
        int fd; /* close, fchdir, closefrom, tcsetpgrp */
        struct {
            int from, to;
        } dup2;
        struct {
            int fd;
            char *path;
            int flags;
            mode_t mode;
        } open;
        char *dir;
    };
};

static const struct action *actions_of(const posix_spawn_file_actions_t *fa) {
    return (const struct action *)(const void *)fa->__actions;
}

/* Does a list made by the C library look as expected? */
static bool check_layout(void) {
    posix_spawn_file_actions_t fa;
    if (posix_spawn_file_actions_init(&fa) != 0)
        return false;
    bool ok =
        posix_spawn_file_actions_addclose(&fa, 11) == 0 &&
        posix_spawn_file_actions_adddup2(&fa, 12, 13) == 0 &&
        posix_spawn_file_actions_addopen(&fa, 14, "/x", O_APPEND, 0640) == 0 &&
        posix_spawn_file_actions_addchdir_np(&fa, "/y") == 0 &&
        posix_spawn_file_actions_addfchdir_np(&fa, 15) == 0 && fa.__used == 5;
    const struct action *a = ok ? actions_of(&fa) : NULL;
    ok = ok && a[0].kind == ACTION_CLOSE && a[0].fd == 11 &&
         a[1].kind == ACTION_DUP2 && a[1].dup2.from == 12 &&
         a[1].dup2.to == 13 && a[2].kind == ACTION_OPEN && a[2].open.fd == 14 &&
         strcmp(a[2].open.path, "/x") == 0 && a[2].open.flags == O_APPEND &&
         a[2].open.mode == 0640 && a[3].kind == ACTION_CHDIR &&
         strcmp(a[3].dir, "/y") == 0 && a[4].kind == ACTION_FCHDIR &&
         a[4].fd == 15;
    posix_spawn_file_actions_destroy(&fa);
    return ok;
}

static bool layout_known(void) {
    static int known; /* 0: not looked yet; 1: yes; 2: no */
    if (!known)
        known = check_layout() ? 1 : 2;
    return known == 1;
}

/* ---- the child ---------------------------------------------------------- */

struct spawn {
    const char *path;
    bool search; /* in PATH */
    const posix_spawn_file_actions_t *fa;
    const posix_spawnattr_t *attr;
    char *const *argv, *const *envp;
    uint64_t mask; /* of signals, before all were blocked */
};

static int do_open(const struct action *a) {
    sys_close(a->open.fd);
    long fd = sys_openat(AT_FDCWD, a->open.path, a->open.flags | O_LARGEFILE,
                         a->open.mode);
    if (fd < 0 || fd == a->open.fd)
        return fd < 0 ? (int)fd : 0;
    long r = sys_dup3((int)fd, a->open.fd, a->open.flags & O_CLOEXEC);
    sys_close((int)fd);
    return r < 0 ? (int)r : 0;
}

static int do_dup2(int from, int to) {
    if (from == to) { /* meant to survive the exec */
        long flags = sys_fcntl(from, F_GETFD, 0);
        return (int)(flags < 0 ? flags
                               : sys_fcntl(from, F_SETFD, flags & ~FD_CLOEXEC));
    }
    long r = share_owns_fd(to) ? -EBADF : sys_dup3(from, to, 0);
    if (r >= 0)
        fork_note_dup(from, to);
    return r < 0 ? (int)r : 0;
}

static int do_action(const struct action *a) {
    pid_t pgrp;
    switch (a->kind) {
    case ACTION_CLOSE:
        if (!share_owns_fd(a->fd))
            sys_close(a->fd); /* one that is not open is no error */
        return 0;
    case ACTION_DUP2:
        return do_dup2(a->dup2.from, a->dup2.to);
    case ACTION_OPEN:
        return share_owns_fd(a->open.fd) ? -EBADF : do_open(a);
    case ACTION_CHDIR:
        return (int)sys_call1(SYS_chdir, a->dir);
    case ACTION_FCHDIR:
        return share_owns_fd(a->fd) ? -EBADF
                                    : (int)sys_call1(SYS_fchdir, a->fd);
    case ACTION_CLOSEFROM:
        return close_range((unsigned)a->fd, ~0u, 0) < 0 ? -errno : 0;
    case ACTION_TCSETPGRP:
        pgrp = (pid_t)sys_call1(SYS_getpgid, 0);
        return (int)sys_ioctl(a->fd, TIOCSPGRP, &pgrp);
    default:
        return -EINVAL;
    }
}

/* Back to the default: what the attributes name, and what has a handler, since
 * a handler must not run in the parent's memory. */
static void reset_signals(const sigset_t *defaults) {
    struct kernel_sigaction k;
    for (int sig = 1; sig <= 64; sig++) {
        bool named = defaults && sigismember(defaults, sig) == 1;
        if (SIGNAL_INTERNAL(sig) || signal_kernel(sig, NULL, &k) < 0)
            continue;
        if (k.handler == KERNEL_DFL || (k.handler == KERNEL_IGN && !named))
            continue;
        k = (struct kernel_sigaction){0};
        signal_kernel(sig, &k, NULL);
    }
}

static int apply_scheduling(const posix_spawnattr_t *attr, short flags) {
    struct sched_param param;
    int policy;
    long r = 0;
    posix_spawnattr_getschedparam(attr, &param);
    posix_spawnattr_getschedpolicy(attr, &policy);
    if (flags & POSIX_SPAWN_SETSCHEDULER)
        r = sys_call3(SYS_sched_setscheduler, 0, policy, &param);
    else if (flags & POSIX_SPAWN_SETSCHEDPARAM)
        r = sys_call2(SYS_sched_setparam, 0, &param);
    return (int)r;
}

/* Attributes and file actions; *mask: the new program's. 0 or -errno. */
static int prepare(const struct spawn *sp, uint64_t *mask) {
    sigset_t set;
    pid_t pgrp = 0;
    short flags = 0;
    long r = 0;
    if (sp->attr) {
        posix_spawnattr_getflags(sp->attr, &flags);
        posix_spawnattr_getsigdefault(sp->attr, &set);
    }
    reset_signals(flags & POSIX_SPAWN_SETSIGDEF ? &set : NULL);
    if (flags & (POSIX_SPAWN_SETSCHEDULER | POSIX_SPAWN_SETSCHEDPARAM))
        r = apply_scheduling(sp->attr, flags);
    if (r == 0 && flags & POSIX_SPAWN_SETSID)
        r = sys_call0(SYS_setsid) < 0 ? -EPERM : 0;
    if (r == 0 && flags & POSIX_SPAWN_SETPGROUP) {
        posix_spawnattr_getpgroup(sp->attr, &pgrp);
        r = sys_call2(SYS_setpgid, 0, pgrp);
    }
    /* The child's ids alone: not setuid(3), which asks all threads. */
    if (r == 0 && flags & POSIX_SPAWN_RESETIDS)
        r = sys_call3(SYS_setresuid, -1, sys_getuid(), -1);
    if (r == 0 && flags & POSIX_SPAWN_RESETIDS)
        r = sys_call3(SYS_setresgid, -1, sys_call0(SYS_getgid), -1);
    for (int i = 0; r == 0 && sp->fa && i < sp->fa->__used; i++)
        r = do_action(&actions_of(sp->fa)[i]);
    *mask = sp->mask;
    if (flags & POSIX_SPAWN_SETSIGMASK) {
        posix_spawnattr_getsigmask(sp->attr, &set);
        memcpy(mask, &set, sizeof(*mask));
    }
    return (int)r;
}

/* Runs in the vfork child; returns only on failure: -errno. */
static int become(const struct spawn *sp) {
    struct exec_target t = {AT_FDCWD, sp->path, 0};
    uint64_t mask;
    int r = prepare(sp, &mask);
    if (r < 0)
        return r;
    sys_rt_sigprocmask(SIG_SETMASK, &mask, NULL);
    if (sp->search)
        return exec_search(sp->path, sp->argv, sp->envp, false);
    return exec_run(&t, sp->argv, sp->envp);
}

/* The whole spawn. Returns 0 or a positive errno, as posix_spawn does. */
static int spawn_here(pid_t *pid_out, struct spawn *sp) {
    volatile int failed = 0;
    uint64_t all = ~(1ull << 31 | 1ull << 32); /* but the C library's own */
    sys_rt_sigprocmask(SIG_SETMASK, &all, &sp->mask);
    pid_t pid = vfork();
    if (pid == 0) {
        failed = -become(sp);
        sys_exit_group(127);
    }
    int r = pid < 0 ? errno : failed;
    if (pid > 0 && failed)
        sys_call4(SYS_wait4, pid, NULL, 0, NULL);
    sys_rt_sigprocmask(SIG_SETMASK, &sp->mask, NULL);
    if (r == 0 && pid_out)
        *pid_out = pid;
    return r;
}

/* Has this process stack descriptors for a child to inherit, or a stack that
 * the child could not join by name? */
static bool must_spawn_here(void) {
    if (!self.sh || preload_vforked)
        return false;
    if (self.sh->procs[self.slot].nfiles == 0 && !preload_settings()->private)
        return false;
    if (layout_known())
        return true;
    __atomic_fetch_add(&self.sh->count.spawn_plain, 1, __ATOMIC_RELAXED);
    return false;
}

static int spawn(pid_t *pid, struct spawn *sp) {
    int saved = errno, r;
    if (must_spawn_here()) {
        r = spawn_here(pid, sp);
    } else {
        char text[EXEC_TEXT];
        char **env =
            __builtin_alloca((size_t)exec_env_size(sp->envp) * sizeof(*env));
        char *const *envp = exec_env(sp->envp, false, env, text);
        r = sp->search ? real.posix_spawnp(pid, sp->path, sp->fa, sp->attr,
                                           sp->argv, envp)
                       : real.posix_spawn(pid, sp->path, sp->fa, sp->attr,
                                          sp->argv, envp);
    }
    errno = saved;
    return r;
}

EXPORT int posix_spawn(pid_t *pid, const char *path,
                       const posix_spawn_file_actions_t *fa,
                       const posix_spawnattr_t *attr, char *const argv[],
                       char *const envp[]) {
    struct spawn sp = {path, false, fa, attr, argv, envp, 0};
    return spawn(pid, &sp);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file,
                        const posix_spawn_file_actions_t *fa,
                        const posix_spawnattr_t *attr, char *const argv[],
                        char *const envp[]) {
    struct spawn sp = {file, true, fa, attr, argv, envp, 0};
    return spawn(pid, &sp);
}

/* ---- system(3) ---------------------------------------------------------- */

/* Callers at the same time share one "ignored" state of SIGINT and SIGQUIT. */
static pthread_mutex_t system_lock = PTHREAD_MUTEX_INITIALIZER;
static int system_users;
static struct kernel_sigaction system_int, system_quit;

static void ignore_begin(void) {
    struct kernel_sigaction ign = {.handler = KERNEL_IGN};
    pthread_mutex_lock(&system_lock);
    if (system_users++ == 0) {
        signal_kernel(SIGINT, &ign, &system_int);
        signal_kernel(SIGQUIT, &ign, &system_quit);
    }
    pthread_mutex_unlock(&system_lock);
}

static void ignore_end(void) {
    pthread_mutex_lock(&system_lock);
    if (--system_users == 0) {
        signal_kernel(SIGINT, &system_int, NULL);
        signal_kernel(SIGQUIT, &system_quit, NULL);
    }
    pthread_mutex_unlock(&system_lock);
}

struct system_run {
    pid_t pid;
    uint64_t mask;
};

static void system_end(struct system_run *s) {
    ignore_end();
    sys_rt_sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

/* The thread was cancelled while it waited: the command goes, too. */
static void system_cancelled(void *arg) {
    struct system_run *s = arg;
    sys_kill(s->pid, SIGKILL);
    while (sys_call4(SYS_wait4, s->pid, NULL, 0, NULL) == -EINTR)
        ;
    system_end(s);
}

static int spawn_shell(pid_t *pid, const char *command,
                       const posix_spawn_file_actions_t *fa,
                       const posix_spawnattr_t *attr) {
    char *const argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    return posix_spawn(pid, _PATH_BSHELL, fa, attr, argv, environ);
}

static int run_command(const char *command) {
    struct system_run s = {.mask = 0};
    posix_spawnattr_t attr;
    sigset_t set;
    int status = -1;
    uint64_t chld = 1ull << (SIGCHLD - 1);
    ignore_begin();
    sys_rt_sigprocmask(SIG_BLOCK, &chld, &s.mask);
    posix_spawnattr_init(&attr);
    sigemptyset(&set);
    memcpy(&set, &s.mask, sizeof(s.mask));
    posix_spawnattr_setsigmask(&attr, &set);
    sigemptyset(&set);
    if (system_int.handler != KERNEL_IGN)
        sigaddset(&set, SIGINT);
    if (system_quit.handler != KERNEL_IGN)
        sigaddset(&set, SIGQUIT);
    posix_spawnattr_setsigdefault(&attr, &set);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int r = spawn_shell(&s.pid, command, NULL, &attr);
    posix_spawnattr_destroy(&attr);
    if (r == 0) {
        pthread_cleanup_push(system_cancelled, &s);
        while (waitpid(s.pid, &status, 0) < 0 && errno == EINTR)
            ;
        pthread_cleanup_pop(0);
    } else {
        status = W_EXITCODE(127, 0);
    }
    system_end(&s);
    if (r != 0)
        errno = r;
    return status;
}

EXPORT int system(const char *command) {
    if (!must_spawn_here())
        return real.system(command);
    if (!command)
        return run_command("exit 0") == 0;
    return run_command(command);
}

/* ---- popen(3) ----------------------------------------------------------- */

/* Streams that popen made here. */
struct piped {
    struct piped *next;
    FILE *stream;
    pid_t pid;
};
static pthread_mutex_t piped_lock = PTHREAD_MUTEX_INITIALIZER;
static struct piped *piped;

/* "r" or "w", and perhaps "e". False: anything else. */
static bool parse_mode(const char *mode, bool *read, bool *cloexec) {
    bool wr = false;
    *read = *cloexec = false;
    for (; *mode; mode++) {
        if (*mode == 'r')
            *read = true;
        else if (*mode == 'w')
            wr = true;
        else if (*mode == 'e')
            *cloexec = true;
        else
            return false;
    }
    return *read != wr;
}

/* The shell, with `theirs` as its stdin or stdout and without the streams of
 * earlier popens (POSIX). Lock held. 0 or a positive errno. */
static int spawn_piped(struct piped *p, const char *command, int theirs,
                       bool read) {
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    int r = posix_spawn_file_actions_adddup2(&fa, theirs, read ? 1 : 0);
    for (struct piped *q = piped; q && r == 0; q = q->next)
        r = posix_spawn_file_actions_addclose(&fa, fileno(q->stream));
    if (r == 0)
        r = spawn_shell(&p->pid, command, &fa, NULL);
    posix_spawn_file_actions_destroy(&fa);
    return r;
}

EXPORT FILE *popen(const char *command, const char *mode) {
    bool read, cloexec;
    int ends[2];
    if (!must_spawn_here() || !parse_mode(mode, &read, &cloexec))
        return real.popen(command, mode);
    struct piped *p = malloc(sizeof(*p));
    long r = p ? sys_pipe2(ends, O_CLOEXEC) : -ENOMEM;
    if (r < 0) {
        free(p);
        errno = (int)-r;
        return NULL;
    }
    int mine = ends[read ? 0 : 1], theirs = ends[read ? 1 : 0];
    p->stream = fdopen(mine, read ? "r" : "w");
    int e = p->stream ? 0 : errno;
    pthread_mutex_lock(&piped_lock);
    if (e == 0)
        e = spawn_piped(p, command, theirs, read);
    if (e == 0) {
        p->next = piped;
        piped = p;
    }
    pthread_mutex_unlock(&piped_lock);
    sys_close(theirs);
    if (e == 0) {
        if (!cloexec)
            sys_fcntl(mine, F_SETFD, 0);
        return p->stream;
    }
    if (p->stream)
        fclose(p->stream);
    else
        sys_close(mine);
    free(p);
    errno = e;
    return NULL;
}

EXPORT int pclose(FILE *stream) {
    struct piped **at = &piped, *p;
    int status = 0;
    pthread_mutex_lock(&piped_lock);
    while (*at && (*at)->stream != stream)
        at = &(*at)->next;
    p = *at;
    if (p)
        *at = p->next;
    pthread_mutex_unlock(&piped_lock);
    if (!p)
        return real.pclose(stream);
    pid_t pid = p->pid, r;
    free(p);
    fclose(stream);
    while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        ;
    return r < 0 ? -1 : status;
}

#define FAMILY_spawn 1
#include "preload/alias.h"
