/* Programs that overwrite, close and limit descriptors of which they know
 * nothing: the stack's own lie among them, and nobody may notice. */
#include "t.h"
#include <sys/resource.h>
#include <sys/select.h>

static void talk(int fd, const char *what) {
    char buf[16];
    SHOW(write(fd, what, strlen(what)));
    long n = SHOW(read_all(fd, buf, strlen(what)));
    text("echo", buf, n);
}

/* Every number is the program's to use. */
static void overwrite(void) {
    section("dup2 onto every number");
    int fd = tcp_to(P_ECHO), bad = 0, top = 1024;
    for (int i = fd + 1; i < top; i++)
        bad += dup2(i % 2 ? fd : 0, i) != i;
    printf("bad %d\n", bad);
    talk(fd, "one");
    talk(top - 1, "two");
    for (int i = fd + 1; i < top; i++)
        bad += fcntl(i, F_GETFD) != 0;
    for (int i = fd + 1; i < top; i++)
        bad += close(i) != 0;
    printf("bad %d\n", bad);
    int other = tcp_to(P_ECHO);
    printf("lowest %d\n", other == fd + 1);
    talk(other, "three");
    bad = 0;
    for (int i = 900; i < top; i++)
        bad += dup3(fd, i, O_CLOEXEC) != i;
    printf("bad %d\n", bad);
    SHOW(dup2(999, 999) == 999);
    SHOW(dup2(-1, 1000));
    SHOW(close_range(900, 1023, 0));
    SHOW(write(950, "x", 1));
    talk(other, "four");
    close(fd), close(other);
}

/* A daemon's first act; and its later one. */
static void close_all(void) {
    section("close everything");
    for (int i = 3; i < 65536; i++)
        close(i);
    int fd = tcp_to(P_ECHO);
    printf("number %d\n", fd);
    talk(fd, "again");
    close_range(3, ~0u, 0);
    fd = tcp_to(P_ECHO);
    printf("number %d\n", fd);
    talk(fd, "range");
    closefrom(3);
    fd = tcp_to(P_ECHO);
    printf("number %d\n", fd);
    talk(fd, "from");
    close(fd);
}

static void small_limit(void) {
    struct rlimit old, lim;
    section("a small limit");
    NEED(getrlimit(RLIMIT_NOFILE, &old));
    int port, fd = tcp_to(P_ECHO), l = tcp_listen(1, &port);
    lim = (struct rlimit){12, old.rlim_max};
    NEED(setrlimit(RLIMIT_NOFILE, &lim));
    int fds[20], n = 0;
    while (n < 20 && (fds[n] = socket(AF_INET, SOCK_STREAM, 0)) >= 0)
        n++;
    printf("sockets %d, then %s\n", n, strerrorname_np(errno));
    SHOW(accept(l, NULL, NULL));
    SHOW(dup(fd));
    SHOW(fcntl(fd, F_DUPFD, 12));
    SHOW(dup2(fd, 12));
    SHOW(open("/dev/null", O_RDONLY));
    talk(fd, "full");
    SHOW(close(fds[2]));
    printf("lowest %d\n", socket(AF_INET, SOCK_DGRAM, 0) == fds[2]);
    /* as many as there may be, and wait for one */
    struct pollfd p[12];
    for (int i = 0; i < 12; i++)
        p[i] = (struct pollfd){i == 11 ? fd : 0, i == 11 ? POLLIN : 0, 0};
    SHOW(poll(p, 12, 100));
    SHOW(write(fd, "x", 1));
    SHOW(poll(p, 12, 2000));
    printf("revents %x\n", p[11].revents);
    struct pollfd many[13];
    memset(many, 0, sizeof(many));
    for (int i = 0; i < 13; i++)
        many[i].fd = i == 12 ? fd : -1;
    SHOW(poll(many, 13, 0));
    for (int i = 0; i < n; i++)
        close(fds[i]);
    NEED(setrlimit(RLIMIT_NOFILE, &old));
    close(fd), close(l);
}

int main(void) {
    struct rlimit lim;
    setvbuf(stdout, NULL, _IOLBF, 0);
    NEED(getrlimit(RLIMIT_NOFILE, &lim));
    if (lim.rlim_cur < 1100 && lim.rlim_max >= 1100) {
        lim.rlim_cur = 1100;
        NEED(setrlimit(RLIMIT_NOFILE, &lim));
    }
    overwrite();
    close_all();
    small_limit();
    return 0;
}
