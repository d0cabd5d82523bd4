/* run.c: stackctl run, the launcher.
 *
 * Theory of operation
 *
 * The launcher checks that libstack.so can enter the program, gets hold of the
 * stack (joins the one that runs on the same device and address, or opens the
 * device and makes one), and starts the program with LD_PRELOAD and the
 * stack's descriptors. It stays as the keeper (preload/share/keeper.c): it
 * serves the stack when nobody else does, and finishes what a program that was
 * killed has left. When nobody is left, it removes the device that it made.
 *
 * Signals: what somebody sends to us alone (kill, a service manager: TERM, HUP,
 * QUIT, USR1, ...) is passed on to the program. What a terminal sends, it sends
 * to the whole group, and so to the program too.
 * The exit status is the program's; 128 + n when signal n ended it.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/stackctl/device.h"
#include "tools/stackctl/stackctl.h"

struct launch {
    struct settings set;
    const char *user;
    char **argv;              /* of the program */
    char path[512];           /* of the program */
    char name[SHARE_NAME];    /* of the stack */
    char library[512];        /* libstack.so */
    struct setup_result made; /* valid with `opened` */
    bool opened;
};

static struct launch run;
static volatile sig_atomic_t child_pid;

static void usage(void) {
    puts("usage: stackctl run [options] [--] program [args]\n\n"
         "Runs the program on a TCP/IP stack of its own. Options, each also "
         "an\nenvironment variable LIBSTACK_NAME:\n");
    option_help(stdout);
    puts("  --rule RULE                one more of the rules\n"
         "  --user NAME                run the program as this user\n"
         "  --help                     this text");
}

/* 0; 1 after --help; EXIT_SETUP after a complaint. */
static int parse(int argc, char **argv, struct launch *l) {
    int i = 1;
    while (i < argc && argv[i][0] == '-' && strcmp(argv[i], "--")) {
        int e = option_setting(argc, argv, &i);
        if (e < 0)
            return EXIT_SETUP;
        if (e > 0)
            continue;
        if (!strcmp(argv[i], "--help")) {
            usage();
            return 1;
        }
        if (strcmp(argv[i], "--user"))
            return option_unknown(argv[i]);
        if (i + 1 == argc)
            return complain("--user: a name is missing");
        l->user = argv[i + 1];
        i += 2;
    }
    i += i < argc && !strcmp(argv[i], "--");
    if (i == argc)
        return complain("no program: give one after the options, as in "
                        "stackrun --dev eth0 -- curl http://example.org/");
    l->argv = argv + i;
    return 0;
}

/* libstack.so beside us, or where an installation has it. */
static bool find_library(char *out, size_t len) {
    static const char *const places[] = {"", "/../lib",
                                         "/../lib/x86_64-linux-gnu",
                                         "/../lib/aarch64-linux-gnu",
                                         "/../lib64"};
    char self_path[400], file[512];
    ssize_t n = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);
    if (n <= 0)
        return false;
    self_path[n] = '\0';
    *strrchr(self_path, '/') = '\0';
    for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
        char *real;
        snprintf(file, sizeof(file), "%s%s/libstack.so", self_path, places[i]);
        if (access(file, R_OK) == 0 && (real = realpath(file, NULL))) {
            bool fits = (size_t)snprintf(out, len, "%s", real) < len;
            free(real);
            return fits;
        }
    }
    return false;
}

/* LD_PRELOAD with our library first, the user's other entries kept. */
static int set_preload(const char *library) {
    const char *old = getenv("LD_PRELOAD");
    char value[4096];
    size_t n = strlen(library);
    if (strpbrk(library, " :"))
        return complain("%s: a path with a space or colon cannot be "
                        "preloaded: move libstack.so",
                        library);
    if (old && !strncmp(old, library, n) && (!old[n] || strchr(" :", old[n])))
        return 0;
    int used = snprintf(value, sizeof(value), "%s%s%s", library,
                        old && *old ? ":" : "", old ? old : "");
    if (used >= (int)sizeof(value))
        return complain("LD_PRELOAD is too long");
    setenv("LD_PRELOAD", value, 1);
    return 0;
}

/* After the last program: the device that we made goes. */
static void remove_device(void) {
    if (run.opened)
        setup_remove(&run.made);
    run.opened = false;
}

/* An attempt that somebody else was quicker than: the device is in use, but
 * not by us; one that we created is not. */
static void forget_device(void) {
    if (run.made.created)
        remove_device();
    run.opened = false;
}

static int open_device(void *ctx, struct share_new *out, char *err,
                       size_t errlen) {
    struct launch *l = ctx;
    forget_device();
    int e = device_open(&l->set, &l->made, err, errlen);
    if (e)
        return e;
    l->opened = true;
    device_describe(&l->set, &l->made, l->name, out);
    return 0;
}

/* A stack with the wanted name: join it, or make it. */
static int get_stack(struct launch *l) {
    char err[256] = "";
    settings_stack_name(&l->set, l->name, sizeof(l->name));
    int e = share_obtain(l->name, !l->set.private, open_device, l, err,
                         sizeof(err));
    if (e == 1)
        forget_device();
    else if (e < 0)
        remove_device();
    return e < 0 ? complain("%s", err) : 0;
}

/* Become the user that --user names, for good. What this user cannot read
 * ld.so would leave out, and go on with the kernel's network. */
static int become(const char *user, const char *library) {
    struct passwd *pw = getpwnam(user);
    if (!pw)
        return complain("--user %s: no such user", user);
    if (initgroups(pw->pw_name, pw->pw_gid) || setgid(pw->pw_gid) ||
        setuid(pw->pw_uid))
        return complain("--user %s: %s: run as root", user, strerror(errno));
    if (access(library, R_OK))
        return complain("--user %s cannot read %s: %s", user, library,
                        strerror(errno));
    setenv("HOME", pw->pw_dir, 1);
    setenv("USER", user, 1);
    return 0;
}

/* The child: everything the program needs, then the program. */
static _Noreturn void start_program(const struct launch *l) {
    char inherit[SETTINGS_PATH];
    share_export(inherit, sizeof(inherit));
    share_keep_on_exec(true);
    setenv("LIBSTACK_INHERIT", inherit, 1);
    unsetenv("LIBSTACK_SUMMARY"); /* the keeper's business */
    if (set_preload(l->library) || (l->user && become(l->user, l->library)))
        _exit(EXIT_SETUP);
    execv(l->path, l->argv);
    int code = errno == ENOENT ? EXIT_MISSING : EXIT_CANNOT;
    complain("%s: %s", l->path, strerror(errno));
    _exit(code);
}

static const int passed_on[] = {SIGTERM, SIGHUP,  SIGINT,  SIGQUIT,
                                SIGUSR1, SIGUSR2, SIGWINCH};
#define PASSED_ON (sizeof(passed_on) / sizeof(*passed_on))

/* SI_KERNEL marks what the terminal's driver sends (sigaction(2)). */
static void pass_on(int sig, siginfo_t *info, void *context) {
    (void)context;
    if (child_pid > 0 && info->si_code != SI_KERNEL)
        kill((pid_t)child_pid, sig);
}

/* Start the program; signals as the head of this file says. */
static pid_t launch(const struct launch *l) {
    struct sigaction pass = {.sa_flags = SA_RESTART | SA_SIGINFO};
    pass.sa_sigaction = pass_on;
    sigset_t all, old;
    sigemptyset(&all);
    for (size_t i = 0; i < PASSED_ON; i++)
        sigaddset(&all, passed_on[i]);
    sigprocmask(SIG_BLOCK, &all, &old); /* until child_pid is known */
    pid_t pid = fork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        start_program(l);
    }
    child_pid = pid;
    for (size_t i = 0; i < PASSED_ON; i++)
        sigaction(passed_on[i], &pass, NULL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

int cmd_run(int argc, char **argv) {
    struct keeper_result result = {.finish = remove_device};
    char err[256];
    int e = parse(argc, argv, &run);
    if (e)
        return e == 1 ? 0 : e;
    if ((e = option_load(&run.set)))
        return e;
    if (settings_complete(&run.set, err, sizeof(err)))
        return complain("%s", err);
    if ((e = target_check(run.argv[0], run.path, sizeof(run.path))))
        return e;
    if (!find_library(run.library, sizeof(run.library)))
        return complain("libstack.so: not found beside stackctl nor in "
                        "../lib: build or install it");
    if ((e = get_stack(&run)))
        return e;
    if (share_wrap_netio(&run.set, err, sizeof(err)))
        return complain("%s", err);
    pid_t pid = launch(&run);
    if (pid < 0)
        return complain("fork: %s", strerror(errno));
    share_keep(pid, &result);
    if (run.set.summary) {
        char line[256];
        share_enter();
        share_summary(line, sizeof(line));
        share_leave();
        complain("%s", line);
    }
    if (!result.stays)
        remove_device();
    if (WIFSIGNALED(result.status))
        return 128 + WTERMSIG(result.status);
    return WEXITSTATUS(result.status);
}
