/* exec, vfork, posix_spawn, system, popen: what becomes of sockets. The program
 * runs itself as the new image: argv[1] says what to do there. */
#include "t.h"
#include <sched.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const char *self_path;

static void reap(pid_t pid) {
    int status = -1;
    NEED(waitpid(pid, &status, 0));
    printf("child status %x\n", status);
}

/* ---- the new image ------------------------------------------------------ */

static int image(int argc, char **argv) {
    char buf[32];
    int fd = argc > 2 ? atoi(argv[2]) : -1;
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    if (strcmp(argv[1], "echo") == 0) {
        SHOW(write(fd, "image", 5));
        long n = SHOW(read_all(fd, buf, 5));
        text("got", buf, n);
    } else if (strcmp(argv[1], "open?") == 0) {
        SHOW(fcntl(fd, F_GETFD));
        SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
    } else if (strcmp(argv[1], "accept") == 0) {
        int c = (int)NEED(accept(fd, NULL, NULL));
        long n = SHOW(read_all(c, buf, 5));
        text("got", buf, n);
        close(c);
    } else if (strcmp(argv[1], "new") == 0) {
        int s = tcp_to(P_HELLO);
        long n = SHOW(read_all(s, buf, 5));
        text("got", buf, n);
        printf("environment: %s\n", getenv("MARK") ? getenv("MARK") : "none");
        close(s);
    } else if (strcmp(argv[1], "flags") == 0) {
        SHOW((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
        SHOW(recv(fd, buf, 1, 0));
    }
    return 5;
}

/* The list of all forms; each child execs, so that each starts afresh. */
enum form { EXECL, EXECLE, EXECV, EXECVE, EXECVP, EXECVPE, FEXECVE, FORMS };

static void exec_self(enum form form, const char *what, int fd) {
    char num[16];
    snprintf(num, sizeof(num), "%d", fd);
    char *argv[] = {(char *)"image", (char *)what, num, NULL};
    char env_peer[64], env_self[64];
    snprintf(env_peer, sizeof(env_peer), "PEER=%s", getenv("PEER"));
    snprintf(env_self, sizeof(env_self), "SELF=%s", getenv("SELF"));
    char *envp[] = {env_peer, env_self, (char *)"MARK=kept", NULL};
    switch (form) {
    case EXECL:
        execl(self_path, "image", what, num, NULL);
        break;
    case EXECLE:
        execle(self_path, "image", what, num, NULL, envp);
        break;
    case EXECV:
        execv(self_path, argv);
        break;
    case EXECVE:
        execve(self_path, argv, envp);
        break;
    case EXECVP:
        execvp(self_path, argv);
        break;
    case EXECVPE:
        execvpe(self_path, argv, envp);
        break;
    default:
        fexecve(open(self_path, O_RDONLY | O_CLOEXEC), argv, envp);
    }
    printf("exec failed: %s\n", strerror(errno));
    fflush(stdout);
    _exit(9);
}

static void run_image(enum form form, const char *what, int fd) {
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0)
        exec_self(form, what, fd);
    reap(pid);
}

static void every_form(void) {
    section("a connection over each form of exec");
    for (int i = 0; i < FORMS; i++) {
        int fd = tcp_to(P_ECHO);
        printf("form %d\n", i);
        run_image((enum form)i, "echo", fd);
        SHOW(write(fd, "x", 1)); /* ours as well */
        char c;
        SHOW(read(fd, &c, 1));
        close(fd);
    }
}

static void close_on_exec(void) {
    int port;
    section("close-on-exec, flags, listeners");
    int fd = tcp_to(P_ECHO);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    run_image(EXECV, "open?", fd);
    int copy = (int)NEED(dup(fd)); /* without the flag */
    run_image(EXECV, "echo", copy);
    nonblock(copy, true);
    run_image(EXECV, "flags", copy);
    close(fd), close(copy);
    int l = tcp_listen(4, &port);
    control("dial %d hello", port);
    run_image(EXECV, "accept", l);
    close(l);
    run_image(EXECVE, "new", -1);
}

static void failing(void) {
    char *argv[] = {(char *)"x", NULL}, c;
    section("an exec that fails");
    int fd = tcp_to(P_ECHO);
    SHOW(execv("/nonexistent", argv));
    SHOW(execv("/", argv));
    SHOW(execvp("no-such-program-here", argv));
    SHOW(execvp("", argv));
    SHOW(execv("/etc/passwd", argv));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(write(fd, "x", 1));
    SHOW(read(fd, &c, 1));
    close(fd);
}

/* A file without a format, found in PATH, is the shell's. */
static void shell_file(void) {
    char path[] = "/tmp/ls-test-XXXXXX", dir[64];
    section("a shell script without #!");
    int f = (int)NEED(mkstemp(path));
    NEED(write(f, "echo script $1 >&9\n", 19));
    NEED(fchmod(f, 0700));
    close(f);
    int fd = tcp_to(P_ECHO);
    NEED(dup2(fd, 9));
    snprintf(dir, sizeof(dir), "PATH=/nonexistent:/tmp:/bin:%s",
             getenv("PATH"));
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        putenv(dir);
        execlp(strrchr(path, '/') + 1, "name", "argument", NULL);
        _exit(9);
    }
    reap(pid);
    unlink(path);
    char buf[32];
    long n = read_all(fd, buf, 16);
    text("echoed", buf, n);
    close(fd), close(9);
}

/* ---- vfork -------------------------------------------------------------- */

static void vforked(void) {
    char buf[32];
    section("vfork");
    int fd = tcp_to(P_ECHO), other = tcp_to(P_ECHO), p[2];
    NEED(pipe(p));
    pid_t pid = vfork();
    if (pid == 0) { /* must not touch the parent's descriptors */
        close(fd);
        close(other);
        dup2(p[1], fd);
        _exit(4);
    }
    reap(pid);
    SHOW(write(fd, "a", 1));
    SHOW(read(fd, buf, 1));
    /* inetd's way: the socket as 0 and 1 */
    pid = vfork();
    if (pid == 0) {
        dup2(fd, 0);
        dup2(0, 1);
        close(fd);
        close(other);
        execlp("sh", "sh", "-c", "echo from the child; exec 1>&2", NULL);
        _exit(9);
    }
    reap(pid);
    long n = read_all(fd, buf, 15);
    text("echoed", buf, n);
    SHOW(write(other, "b", 1));
    SHOW(read(other, buf, 1));
    /* handlers of the parent stay */
    signal(SIGUSR1, SIG_IGN);
    pid = vfork();
    if (pid == 0) {
        signal(SIGUSR1, SIG_DFL);
        _exit(0);
    }
    reap(pid);
    struct sigaction sa;
    sigaction(SIGUSR1, NULL, &sa);
    printf("still ignored %d\n", sa.sa_handler == SIG_IGN);
    /* an exec that fails in the child */
    pid = vfork();
    if (pid == 0) {
        execl("/nonexistent", "x", NULL);
        _exit(errno == ENOENT ? 7 : 8);
    }
    reap(pid);
    SHOW(write(fd, "c", 1));
    SHOW(read(fd, buf, 1));
    close(fd), close(other), close(p[0]), close(p[1]);
}

/* ---- posix_spawn -------------------------------------------------------- */

extern char **environ;

static void spawned(void) {
    char buf[32];
    pid_t pid;
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t set;
    section("posix_spawn");
    int fd = tcp_to(P_ECHO);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, fd, 0);
    posix_spawn_file_actions_adddup2(&fa, 0, 1);
    posix_spawn_file_actions_addclose(&fa, fd);
    posix_spawn_file_actions_addopen(&fa, 8, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&fa, 9);
    posix_spawnattr_init(&attr);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    posix_spawnattr_setsigdefault(&attr, &set);
    sigaddset(&set, SIGUSR2);
    posix_spawnattr_setsigmask(&attr, &set);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETPGROUP);
    char *argv[] = {(char *)"sh", (char *)"-c",
                    (char *)"read x; grep SigBlk /proc/self/status >&2;"
                            "for i in 0 1 2 3 4 5 6 7 8 9; do"
                            " test -e /proc/$$/fd/$i && echo $i >&2; done;"
                            "echo \"read $x\"",
                    NULL};
    SHOW(posix_spawnp(&pid, "sh", &fa, &attr, argv, environ));
    printf("own group %d\n", getpgid(pid) == pid);
    NEED(write(fd, "line\n", 5));
    reap(pid);
    long n = read_all(fd, buf, 10);
    text("echoed", buf, n);
    SHOW(posix_spawn(&pid, "/nonexistent", &fa, NULL, argv, environ));
    posix_spawn_file_actions_addclose(&fa, -1);
    posix_spawn_file_actions_addfchdir_np(&fa, 999);
    SHOW(posix_spawn(&pid, "/bin/sh", &fa, NULL, argv, environ));
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&attr);
    SHOW(write(fd, "c", 1));
    SHOW(read(fd, buf, 1));
    close(fd);
}

/* ---- system, popen ------------------------------------------------------ */

static void shells(void) {
    char buf[64] = "";
    section("system and popen use a socket");
    int fd = tcp_to(P_ECHO);
    NEED(dup2(fd, 9));
    fflush(stdout);
    SHOW(system(NULL) != 0);
    SHOW(system("echo system >&9; exit 3") >> 8);
    text("echoed", buf, read_all(fd, buf, 7));
    SHOW(system("kill -9 $$"));
    FILE *f = popen("cat >&9", "w");
    fprintf(f, "popen\n");
    SHOW(pclose(f) >> 8);
    text("echoed", buf, read_all(fd, buf, 6));
    f = popen("head -c 4 <&9", "re");
    NEED(write(fd, "head", 4));
    long n = (long)fread(buf, 1, sizeof(buf), f);
    text("head says", buf, n);
    SHOW(pclose(f));
    SHOW(popen("true", "q") == NULL);
    /* cleaned environment: still in the same network */
    clearenv();
    SHOW(system("echo clean >&9"));
    text("echoed", buf, read_all(fd, buf, 6));
    close(fd), close(9);
}

/* ---- other ways to a child ---------------------------------------------- */

static int child_echo(void *arg) {
    char c;
    int fd = *(int *)arg;
    SHOW(write(fd, "q", 1));
    SHOW(read(fd, &c, 1));
    SHOW(close(fd));
    fflush(stdout);
    _exit(2);
}

/* The daemon's own parent is gone; it says by a pipe what it could do. */
static void daemons(void) {
    int p[2];
    char buf[8];
    section("daemon");
    int fd = tcp_to(P_ECHO);
    NEED(pipe(p));
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        NEED(daemon(0, 0));
        sleep_ms(100);
        ssize_t n = write(fd, "d", 1);
        n = n == 1 ? read(fd, buf, 1) : -1;
        n = write(p[1], n == 1 ? "good" : "bad!", 4);
        _exit(n == 4 ? 0 : 1);
    }
    close(p[1]);
    reap(pid);
    long n = read_all(p[0], buf, 4);
    text("daemon", buf, n);
    SHOW(write(fd, "x", 1));
    SHOW(read(fd, buf, 1));
    close(fd), close(p[0]);
}

static void other_ways(void) {
    static char stack[65536] __attribute__((aligned(16)));
    char c;
    section("_Fork, clone, syscall");
    int fd = tcp_to(P_ECHO);
    for (int i = 0; i < 5; i++) {
        fflush(stdout);
        pid_t pid = -1;
        if (i == 0)
            pid = _Fork();
        else if (i == 1)
            pid = clone(child_echo, stack + sizeof(stack), SIGCHLD, &fd);
        else if (i == 2)
            pid = (pid_t)syscall(SYS_fork);
        else if (i == 3)
            pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        else
            pid = clone(child_echo, stack + sizeof(stack),
                        SIGCHLD | CLONE_VFORK, &fd);
        if (pid == 0)
            child_echo(&fd);
        reap(pid);
    }
    SHOW(write(fd, "x", 1));
    SHOW(read(fd, &c, 1));
    close(fd);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        return image(argc, argv);
    self_path = argv[0];
    every_form();
    close_on_exec();
    failing();
    shell_file();
    vforked();
    spawned();
    other_ways();
    daemons();
    shells();
    return 0;
}
