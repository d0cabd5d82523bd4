/* exec.c: the exec family.
 *
 * Theory of operation
 *
 * The new image must be preloaded again and find the stack. So it gets
 *   LD_PRELOAD       with this library in it (by absolute path, since the
 *                    program may have changed its directory), whatever the
 *                    program made of its environment;
 *   LIBSTACK_...     the settings of this process, unless the program gives
 *                    values of its own;
 *   LIBSTACK_INHERIT the numbers of the stack's descriptors, which are kept
 *                    open over this one exec only (share_keep_on_exec), and
 *                    the mark `execing` in the process table, by which the
 *                    slot with the descriptor map waits for the new image.
 *
 * A target that cannot be preloaded gets none of the descriptors: a static
 * program, one for another machine, one that gains privileges (the dynamic
 * loader ignores LD_PRELOAD then: AT_SECURE), or a script whose interpreter is
 * any of these. The stack sockets that it inherits are made kernel sockets
 * before, which another process relays (hand.c); the others are closed by the
 * exec, as usual.
 *
 * In a vfork child everything below runs in the parent's memory: no lock, no
 * allocation, text on the stack (see fork.c).
 *
 * The list forms and the search in PATH follow execvp(3) and POSIX.
 */
#include "preload/exec.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <paths.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/fork.h"
#include "preload/hand.h"
#include "preload/policy.h"

#define INTERPRETERS 4 /* scripts that run scripts: the kernel's limit is 4 */

/* ---- the environment ---------------------------------------------------- */

#define PRELOAD "LD_PRELOAD="
#define OURS "LIBSTACK_"
#define INHERIT "LIBSTACK_INHERIT="
#define KEPT 32

static char own_path[PATH_MAX]; /* of this library, absolute */
static const char *own_name;    /* its last component */
static char kept_text[4096];    /* LIBSTACK_ settings of this process */
static const char *kept[KEPT];  /* into kept_text */
static int nkept;

static bool starts(const char *s, const char *with) {
    return strncmp(s, with, strlen(with)) == 0;
}

/* Copies, since programs write over their environment (setproctitle). */
static void keep_settings(char *const *envp) {
    size_t used = 0;
    for (; envp && *envp; envp++) {
        size_t n = strlen(*envp) + 1;
        if (!starts(*envp, OURS) || starts(*envp, INHERIT) || nkept == KEPT ||
            used + n > sizeof(kept_text))
            continue;
        kept[nkept++] = memcpy(kept_text + used, *envp, n);
        used += n;
    }
}

void exec_start(char *const *envp) {
    Dl_info info;
    keep_settings(envp);
    if (!dladdr((void *)&exec_start, &info) || !info.dli_fname)
        return;
    if (info.dli_fname[0] != '/' && getcwd(own_path, sizeof(own_path) / 2)) {
        size_t n = strlen(own_path);
        const char *rel = info.dli_fname;
        while (starts(rel, "./"))
            rel += 2;
        snprintf(own_path + n, sizeof(own_path) - n, "/%s", rel);
    } else {
        snprintf(own_path, sizeof(own_path), "%s", info.dli_fname);
    }
    own_name = strrchr(own_path, '/') + 1;
}

/* Is there a variable of the same name as `var` (NAME=...) in envp? */
static bool has(char *const *envp, const char *var) {
    size_t n = (size_t)(strchrnul(var, '=') - var) + 1;
    for (; *envp; envp++)
        if (strncmp(*envp, var, n) == 0)
            return true;
    return false;
}

/* One entry of an LD_PRELOAD list; the rest begins behind it. */
static size_t token(const char *list) { return strcspn(list, ": "); }

/* Is the token this library, by whatever path? */
static bool is_own(const char *p, size_t n) {
    const char *slash = memrchr(p, '/', n);
    size_t skip = slash ? (size_t)(slash + 1 - p) : 0;
    return n - skip == strlen(own_name) &&
           strncmp(p + skip, own_name, n - skip) == 0;
}

static bool lists_own_path(const char *p) {
    for (; *p; p += token(p), p += *p != 0)
        if (token(p) == strlen(own_path) && strncmp(p, own_path, token(p)) == 0)
            return true;
    return false;
}

/* "LD_PRELOAD=" with this library first and the rest of `old` behind, without
 * other mentions of it. Returns old if it has this library by its path
 * already, NULL if there is no room. */
static const char *preload_text(const char *old, char *to, size_t room) {
    const char *p = old ? old + strlen(PRELOAD) : "";
    if (lists_own_path(p))
        return old;
    if (strlen(PRELOAD) + strlen(own_path) + strlen(p) + 2 > room)
        return NULL;
    char *end = stpcpy(stpcpy(to, PRELOAD), own_path);
    for (; *p; p += token(p), p += *p != 0)
        if (token(p) && !is_own(p, token(p))) {
            *end++ = ':';
            end = mempcpy(end, p, token(p));
        }
    *end = 0;
    return to;
}

/* Does envp ask for another stack than this process has? */
static bool other_stack(char *const *envp) {
    static const char *const names[] = {OURS "DEV=", OURS "PARENT=",
                                        OURS "ADDR="};
    for (; self.sh && envp && *envp; envp++)
        for (int i = 0; i < 3; i++) {
            bool same = !starts(*envp, names[i]);
            for (int j = 0; j < nkept && !same; j++)
                same = strcmp(*envp, kept[j]) == 0;
            if (!same)
                return true;
        }
    return false;
}

int exec_env_size(char *const *envp) {
    int n = 0;
    while (envp && envp[n])
        n++;
    return n + nkept + 3;
}

char *const *exec_env(char *const *envp, bool inherit, char **env, char *text) {
    static char *const none[] = {NULL};
    const char *preload = NULL;
    bool changed = false;
    int n = 0;
    envp = envp ? envp : none;
    if (!own_name)
        return envp;
    for (char *const *p = envp; *p; p++) {
        if (starts(*p, PRELOAD) && !preload) {
            preload = *p;
            continue;
        }
        if (starts(*p, INHERIT))
            changed = true;
        else
            env[n++] = *p;
    }
    const char *want = preload_text(preload, text, EXEC_TEXT - 512);
    changed |= want != preload;
    if (want)
        env[n++] = (char *)want;
    for (int i = 0; i < nkept; i++)
        if (!has(envp, kept[i])) {
            env[n++] = (char *)kept[i];
            changed = true;
        }
    if (inherit) {
        char *at = text + EXEC_TEXT - 512;
        strcpy(at, INHERIT);
        share_export(at + strlen(INHERIT), 512 - strlen(INHERIT));
        env[n++] = at;
        changed = true;
    }
    env[n] = NULL;
    return changed ? env : envp;
}

/* ---- the target --------------------------------------------------------- */

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#else
#define OWN_MACHINE EM_AARCH64
#endif

/* Does the program get privileges that this process has not? */
static bool gains_privileges(int fd) {
    struct stat st;
    char caps[32];
    if (sys_fstat(fd, &st) < 0)
        return false;
    uid_t uid = st.st_mode & S_ISUID ? st.st_uid : geteuid();
    gid_t gid = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)
                    ? st.st_gid
                    : getegid();
    if (uid != getuid() || gid != getgid())
        return true;
    return uid != 0 && sys_call4(SYS_fgetxattr, fd, "security.capability", caps,
                                 sizeof(caps)) > 0;
}

/* Has an ELF file a dynamic loader (a PT_INTERP entry)? */
static bool is_dynamic(int fd, const Elf64_Ehdr *e) {
    Elf64_Phdr ph;
    for (unsigned i = 0; i < e->e_phnum && i < 64; i++) {
        off_t at = (off_t)(e->e_phoff + i * sizeof(ph));
        if (sys_pread64(fd, &ph, sizeof(ph), at) != (long)sizeof(ph))
            return false;
        if (ph.p_type == PT_INTERP)
            return true;
    }
    return false;
}

/* Why fd cannot be preloaded, or NULL when it can (or is no program). A
 * script: NULL, and its interpreter's path in next. */
static const char *obstacle(int fd, char *next, size_t room) {
    char head[256] = "";
    Elf64_Ehdr e;
    next[0] = 0;
    long n = sys_pread64(fd, head, sizeof(head) - 1, 0);
    if (n > 2 && head[0] == '#' && head[1] == '!') {
        char *p = head + 2 + strspn(head + 2, " \t");
        p[strcspn(p, " \t\n")] = 0;
        snprintf(next, room, "%s", p);
        return NULL;
    }
    if (n < (long)sizeof(e) || memcmp(head, ELFMAG, SELFMAG) != 0)
        return NULL;
    memcpy(&e, head, sizeof(e));
    if (head[EI_CLASS] != ELFCLASS64 || e.e_machine != OWN_MACHINE)
        return "for another machine";
    if (!is_dynamic(fd, &e))
        return "static";
    return gains_privileges(fd) ? "set-uid, set-gid or with capabilities"
                                : NULL;
}

/* The same for a target, through its interpreters. A file that cannot be read
 * gets the benefit of the doubt: execve will say what is wrong. */
static const char *target_obstacle(const struct exec_target *t) {
    char path[PATH_MAX / 4];
    const char *why = NULL;
    long fd = t->path[0] ? sys_openat(t->dir, t->path, O_RDONLY | O_CLOEXEC, 0)
                         : sys_fcntl(t->dir, F_DUPFD_CLOEXEC, 0);
    for (int i = 0; i < INTERPRETERS && fd >= 0; i++) {
        why = obstacle((int)fd, path, sizeof(path));
        sys_close((int)fd);
        if (why || !path[0])
            return why;
        fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    }
    if (fd >= 0)
        sys_close((int)fd);
    return why;
}

/* Would execve find it executable? The program must not lose its sockets to an
 * exec that fails. */
static bool executable(const struct exec_target *t) {
    return !t->path[0] || sys_call3(SYS_faccessat, t->dir, t->path, X_OK) == 0;
}

/* ---- the exec itself ---------------------------------------------------- */

static int kernel_exec(const struct exec_target *t, char *const argv[],
                       char *const envp[]) {
    if (t->dir == AT_FDCWD && t->flags == 0)
        return (int)sys_call3(SYS_execve, t->path, argv, envp);
    return (int)sys_call5(SYS_execveat, t->dir, t->path, argv, envp, t->flags);
}

/* A target that cannot take the stack along: what it inherits is relayed. */
static void leave_stack(const struct exec_target *t, const char *why) {
    if (!executable(t) ||
        (!preload_vforked && self.sh->procs[self.slot].nfiles == 0))
        return;
    __atomic_fetch_add(&self.sh->count.exec_plain, 1, __ATOMIC_RELAXED);
    if (preload_vforked) {
        hand_over_vforked();
        return;
    }
    if (hand_over(true) > 0)
        preload_say("%s is %s: listening sockets of the stack are lost to it",
                    t->path[0] ? t->path : "the program", why);
    preload_settle();
}

/* The image takes the stack over. */
static int exec_attached(const struct exec_target *t, char *const argv[],
                         char *const envp[]) {
    struct proc *p = &self.sh->procs[self.slot];
    if (preload_vforked) {
        fork_vforked_exec(true);
    } else {
        share_enter();
        p->execing = true;
        wait_retire(true);
        share_leave();
        share_close_gate();
    }
    share_keep_on_exec(true);
    int r = kernel_exec(t, argv, envp);
    share_keep_on_exec(false);
    if (preload_vforked) {
        fork_vforked_exec_failed();
    } else {
        share_open_gate();
        share_enter();
        p->execing = false;
        wait_retire(false);
        share_leave();
    }
    return r;
}

int exec_run(const struct exec_target *t, char *const argv[],
             char *const envp[]) {
    char text[EXEC_TEXT];
    char **env = __builtin_alloca((size_t)exec_env_size(envp) * sizeof(*env));
    bool strict = preload_settings()->strict;
    const char *why = self.sh || strict ? target_obstacle(t) : NULL;
    if (why && strict && executable(t))
        return policy_strict("a program that LD_PRELOAD cannot enter");
    if (!why && other_stack(envp))
        why = "meant for another stack";
    bool attach = self.sh && !why;
    envp = exec_env(envp, attach, env, text);
    if (attach)
        return exec_attached(t, argv, envp);
    if (self.sh)
        leave_stack(t, why);
    int r = kernel_exec(t, argv, envp);
    if (!preload_vforked)
        share_open_gate();
    return r;
}

/* ---- the search in PATH ------------------------------------------------- */

/* A file without a known format is a shell's. -errno. */
static int run_shell(const char *path, char *const argv[], char *const envp[]) {
    size_t n = 0;
    while (argv[n])
        n++;
    const char **sh = __builtin_alloca((n + 3) * sizeof(*sh));
    struct exec_target t = {AT_FDCWD, _PATH_BSHELL, 0};
    sh[0] = _PATH_BSHELL;
    sh[1] = path;
    for (size_t i = 1; i <= n; i++)
        sh[i + 1] = argv[i];
    if (n == 0)
        sh[2] = NULL;
    return exec_run(&t, (char *const *)sh, envp);
}

static int try_path(const char *path, char *const argv[], char *const envp[],
                    bool shell) {
    struct exec_target t = {AT_FDCWD, path, 0};
    /* Cheaper than a whole attempt, and most of PATH fails here. */
    long r = sys_call3(SYS_faccessat, AT_FDCWD, path, F_OK);
    if (r == 0)
        r = exec_run(&t, argv, envp);
    if (r == -ENOEXEC && shell)
        r = run_shell(path, argv, envp);
    return (int)r;
}

/* Errors that let the search go on (execvp(3)). */
static bool goes_on(int r) {
    return r == -ENOENT || r == -ESTALE || r == -ENOTDIR || r == -ENODEV ||
           r == -ETIMEDOUT || r == -EACCES;
}

int exec_search(const char *file, char *const argv[], char *const envp[],
                bool shell) {
    char path[PATH_MAX];
    bool denied = false;
    if (!*file)
        return -ENOENT;
    if (strchr(file, '/'))
        return try_path(file, argv, envp, shell);
    const char *p = getenv("PATH");
    if (!p)
        p = "/bin:/usr/bin"; /* confstr(_CS_PATH) */
    if (strlen(file) > NAME_MAX)
        return -ENAMETOOLONG;
    for (;; p++) {
        int n = (int)strcspn(p, ":");
        int len =
            snprintf(path, sizeof(path), "%.*s%s%s", n, p, n ? "/" : "", file);
        if (len > 0 && (size_t)len < sizeof(path)) {
            int r = try_path(path, argv, envp, shell);
            if (!goes_on(r))
                return r;
            denied |= r == -EACCES;
        }
        p += n;
        if (!*p)
            return denied ? -EACCES : -ENOENT;
    }
}

/* ---- exported ----------------------------------------------------------- */

EXPORT int execve(const char *path, char *const argv[], char *const envp[]) {
    struct exec_target t = {AT_FDCWD, path, 0};
    RETURN(exec_run(&t, argv, envp));
}

EXPORT int execv(const char *path, char *const argv[]) {
    return execve(path, argv, environ);
}

EXPORT int execveat(int dir, const char *path, char *const argv[],
                    char *const envp[], int flags) {
    struct exec_target t = {dir, path, flags};
    RETURN(exec_run(&t, argv, envp));
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[]) {
    if (fd < 0)
        RETURN(-EINVAL);
    return execveat(fd, "", argv, envp, AT_EMPTY_PATH);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[]) {
    RETURN(exec_search(file, argv, envp, true));
}

EXPORT int execvp(const char *file, char *const argv[]) {
    return execvpe(file, argv, environ);
}

/* The arguments of a list form, up to and with the NULL. */
#define COUNT_ARGS(n, last)                                                    \
    do {                                                                       \
        va_list count;                                                         \
        va_start(count, last);                                                 \
        for (n = 2; va_arg(count, char *);)                                    \
            n++;                                                               \
        va_end(count);                                                         \
    } while (0)

/* argv from the rest of a list form; ap stands behind the NULL then. */
static void list_args(const char **argv, const char *first, va_list *ap) {
    *argv = first;
    while (*argv)
        *++argv = va_arg(*ap, char *);
}

EXPORT int execl(const char *path, const char *arg, ...) {
    size_t n;
    va_list ap;
    COUNT_ARGS(n, arg);
    const char **argv = __builtin_alloca(n * sizeof(*argv));
    va_start(ap, arg);
    list_args(argv, arg, &ap);
    va_end(ap);
    return execve(path, (char *const *)argv, environ);
}

EXPORT int execle(const char *path, const char *arg, ...) {
    size_t n;
    va_list ap;
    COUNT_ARGS(n, arg);
    const char **argv = __builtin_alloca(n * sizeof(*argv));
    va_start(ap, arg);
    list_args(argv, arg, &ap);
    char *const *envp = va_arg(ap, char *const *);
    va_end(ap);
    return execve(path, (char *const *)argv, envp);
}

EXPORT int execlp(const char *file, const char *arg, ...) {
    size_t n;
    va_list ap;
    COUNT_ARGS(n, arg);
    const char **argv = __builtin_alloca(n * sizeof(*argv));
    va_start(ap, arg);
    list_args(argv, arg, &ap);
    va_end(ap);
    return execvpe(file, (char *const *)argv, environ);
}

#define FAMILY_exec 1
#include "preload/alias.h"
