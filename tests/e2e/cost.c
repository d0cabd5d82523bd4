/* cost: what a program pays for being preloaded, next to the bare C library.
 *
 *   cost calls              calls on descriptors that are not ours: the name as
 *                           the program reaches it, next to libc.so.6's own
 *   cost processes ADDR N   fork, exec, posix_spawn and system with N TCP
 *                           sockets open that listen on ADDR
 *   cost killed N           kills N children soon after their fork
 *
 * A line for each: name and nanoseconds, the median of many batches, taken in
 * turns (calls: ours, bare, and the difference of the fastest batches).
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define BATCHES 101
#define CALLS 300

static uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof(*v), by_size);
    return v[n / 2];
}

/* ---- calls ----------------------------------------------------------------- */

/* All are called through one type: six words cover every argument list. */
typedef long fn(long, long, long, long, long, long);

static double batch(fn *f, const long a[6]) {
    uint64_t t = now_ns();
    for (int i = 0; i < CALLS; i++)
        f(a[0], a[1], a[2], a[3], a[4], a[5]);
    return (double)(now_ns() - t) / CALLS;
}

static void compare(void *libc, const char *name, const long a[6]) {
    static double ours[BATCHES], bare[BATCHES];
    fn *x = (fn *)dlsym(RTLD_DEFAULT, name), *y = (fn *)dlsym(libc, name);
    if (!x || !y)
        return;
    batch(x, a), batch(y, a);
    for (int i = 0; i < BATCHES; i++) {
        ours[i] = batch(x, a);
        bare[i] = batch(y, a);
    }
    /* median() sorts. On a busy machine the fastest batches tell more. */
    double m = median(ours, BATCHES), n = median(bare, BATCHES);
    printf("%s %.1f %.1f %.1f\n", name, m, n, ours[0] - bare[0]);
}

/* With arguments that fail early in the kernel, or do nothing: so that the
 * difference is seen. */
static int calls(void) {
    static char buf[16];
    static struct stat st;
    static struct epoll_event ev;
    static struct iovec iov = {buf, 0};
    static struct msghdr m;
    static socklen_t len;
    static int on;
    void *libc = dlopen("libc.so.6", RTLD_LAZY);
    int z = open("/dev/zero", O_RDWR), ep = epoll_create1(0);
    int u = socket(AF_UNIX, SOCK_DGRAM, 0);
    static struct pollfd p;
    static fd_set set;
    static struct timeval none;
    p = (struct pollfd){z, 0, 0};
    long b = (long)buf;
    struct {
        const char *name;
        long a[6];
    } list[] = {
        {"read", {z, b, 0}},
        {"write", {z, b, 0}},
        {"readv", {z, (long)&iov, 1}},
        {"writev", {z, (long)&iov, 1}},
        {"pread", {z, b, 0, 0}},
        {"lseek", {z, 0, SEEK_CUR}},
        {"close", {-1}},
        {"poll", {(long)&p, 1, 0}},
        {"ppoll", {(long)&p, 1, (long)&none, 0}},
        {"select", {0, (long)&set, 0, 0, (long)&none}},
        {"fcntl", {z, F_GETFL}},
        {"ioctl", {z, FIONREAD, (long)&on}},
        {"dup2", {z, z}},
        {"fstat", {z, (long)&st}},
        {"send", {u, b, 0, MSG_DONTWAIT}},
        {"recv", {u, b, 0, MSG_DONTWAIT}},
        {"sendto", {u, b, 0, MSG_DONTWAIT, 0, 0}},
        {"recvfrom", {u, b, 0, MSG_DONTWAIT, 0, 0}},
        {"sendmsg", {u, (long)&m, MSG_DONTWAIT}},
        {"recvmsg", {u, (long)&m, MSG_DONTWAIT}},
        {"getsockopt", {u, SOL_SOCKET, -1, (long)&on, (long)&len}},
        {"setsockopt", {u, SOL_SOCKET, -1, (long)&on, sizeof(on)}},
        {"getsockname", {u, b, 0}},
        {"shutdown", {u, 77}},
        {"accept", {u, 0, 0}},
        {"epoll_wait", {ep, (long)&ev, 1, 0}},
        {"epoll_ctl", {ep, EPOLL_CTL_DEL, u, (long)&ev}},
        {"syscall", {39 /* getpid */}},
    };
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        compare(libc, list[i].name, list[i].a);
    return 0;
}

/* ---- processes --------------------------------------------------------------- */

static char *const true_argv[] = {(char *)"true", NULL};

static void by_fork(void) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
}

static void by_exec(void) {
    pid_t pid = fork();
    if (pid == 0) {
        execv("/bin/true", true_argv);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

static void by_vfork(void) {
    pid_t pid = vfork();
    if (pid == 0) {
        execv("/bin/true", true_argv);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

static void by_spawn(void) {
    pid_t pid;
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, true_argv, environ) == 0)
        waitpid(pid, NULL, 0);
}

static void by_system(void) { (void)!system("exec true"); }

static void measure(const char *name, void (*f)(void), int n) {
    double v[1000];
    for (int i = -3; i < n; i++) {
        uint64_t t = now_ns();
        f();
        if (i >= 0)
            v[i] = (double)(now_ns() - t);
    }
    printf("%s %.0f\n", name, median(v, n));
}

/* The call alone, as the parent sees it. */
static void measure_fork_call(int n) {
    double v[1000];
    for (int i = 0; i < n; i++) {
        uint64_t t = now_ns();
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        v[i] = (double)(now_ns() - t);
        waitpid(pid, NULL, 0);
    }
    printf("fork-call %.0f\n", median(v, n));
}

/* Pages that the child of a fork touches first: most of what it costs. Not a
 * time; printed in the same way. */
static void measure_faults(int n) {
    struct rusage a, b;
    getrusage(RUSAGE_CHILDREN, &a);
    for (int i = 0; i < n; i++)
        by_fork();
    getrusage(RUSAGE_CHILDREN, &b);
    printf("faults %ld\n", (b.ru_minflt - a.ru_minflt) / n);
}

static int processes(const char *addr, int sockets) {
    for (int i = 0; i < sockets; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)(2000 + i))};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        inet_pton(AF_INET, addr, &a.sin_addr);
        if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
            listen(fd, 5) < 0) {
            perror("cost: listen");
            return 1;
        }
    }
    measure_fork_call(300);
    measure_faults(100);
    measure("fork", by_fork, 300);
    measure("exec", by_exec, 100);
    measure("vfork", by_vfork, 100);
    measure("posix_spawn", by_spawn, 100);
    measure("system", by_system, 60);
    return 0;
}

/* Children that are killed from 0 to 200 us after the fork, as strace does to
 * find out what ptrace(2) can do. None of them has touched a socket. */
static int killed(int n) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid == 0)
            for (;;)
                pause();
        uint64_t end = now_ns() + (uint64_t)(i % 100) * 2000;
        while (now_ns() < end)
            ;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return fd < 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "calls") == 0)
        return calls();
    if (argc == 4 && strcmp(argv[1], "processes") == 0)
        return processes(argv[2], atoi(argv[3]));
    if (argc == 3 && strcmp(argv[1], "killed") == 0)
        return killed(atoi(argv[2]));
    fprintf(stderr,
            "usage: cost calls | cost killed N | cost processes ADDR N\n");
    return 2;
}
