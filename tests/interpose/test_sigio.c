/* O_ASYNC, F_SETOWN, F_SETSIG, SIGURG: what comes, when, with what in it. */
#include "t.h"
#include <linux/sockios.h>
#include <sys/syscall.h>

struct got {
    volatile int n, signo, code, fd;
    volatile long band;
};
static struct got io, rt, urg;
static int watched;

static void note(struct got *g, int sig, const siginfo_t *info) {
    g->signo = sig;
    g->code = info->si_code;
    g->fd = info->si_fd == watched;
    g->band = info->si_band;
    g->n++;
}
static void on_io(int sig, siginfo_t *info, void *c) { note(&io, sig, info); }
static void on_rt(int sig, siginfo_t *info, void *c) { note(&rt, sig, info); }
static void on_urg(int sig, siginfo_t *info, void *c) { note(&urg, sig, info); }

/* Wait for the first, show it; more of them may come or not. */
static void shows(const char *name, struct got *g, bool full) {
    for (int i = 0; i < 100 && !g->n; i++)
        sleep_ms(20);
    printf("%s: came %d", name, g->n > 0);
    if (g->n && full)
        printf(" code %d band %lx fd %d", g->code, g->band, g->fd);
    printf("\n");
    sleep_ms(60);
    memset((void *)g, 0, sizeof(*g));
}

static void quiet(const char *name, struct got *g) {
    sleep_ms(150);
    printf("%s: came %d\n", name, g->n > 0);
}

static int ends[2];

static void pair(void) {
    int port, l = tcp_listen(1, &port);
    struct sockaddr_in a = own(port);
    ends[0] = tcp();
    NEED(connect(ends[0], SA(a)));
    ends[1] = (int)NEED(accept(l, NULL, NULL));
    close(l);
}

static void plain(void) {
    char buf[100];
    section("SIGIO");
    pair();
    watched = ends[1];
    NEED(fcntl(ends[1], F_SETOWN, getpid()));
    SHOW(write(ends[0], "x", 1));
    quiet("no O_ASYNC", &io);
    SHOW(read(ends[1], buf, 1));
    NEED(fcntl(ends[1], F_SETFL, O_ASYNC | O_NONBLOCK));
    quiet("nothing new", &io);
    SHOW(write(ends[0], "x", 1));
    shows("data", &io, false);
    SHOW(write(ends[0], "y", 1)); /* unread or not */
    shows("more data", &io, false);
    SHOW(read(ends[1], buf, sizeof(buf)));
    SHOW(shutdown(ends[0], SHUT_WR));
    shows("end", &io, false);
    NEED(fcntl(ends[1], F_SETFL, 0));
    printf("O_ASYNC %d\n", !!(fcntl(ends[1], F_GETFL) & O_ASYNC));
    close(ends[0]), close(ends[1]);
    quiet("closed", &io);
}

static void queued(void) {
    char buf[100];
    section("F_SETSIG");
    pair();
    watched = ends[1];
    NEED(fcntl(ends[1], F_SETSIG, SIGRTMIN + 3));
    NEED(fcntl(ends[1], F_SETOWN, getpid()));
    NEED(fcntl(ends[1], F_SETFL, O_ASYNC | O_NONBLOCK));
    SHOW(write(ends[0], "x", 1));
    shows("data", &rt, true);
    SHOW(read(ends[1], buf, sizeof(buf)));
    struct linger hard = {1, 0};
    NEED(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(ends[0]);
    shows("reset", &rt, true);
    close(ends[1]);
    printf("SIGIO %d\n", io.n);
}

static void listener(void) {
    int port, l = tcp_listen(4, &port), on = 1, me = getpid();
    section("a listener, by ioctl");
    watched = l;
    NEED(ioctl(l, FIOASYNC, &on));
    NEED(ioctl(l, SIOCSPGRP, &me));
    NEED(fcntl(l, F_SETSIG, SIGRTMIN + 3));
    control("dial %d hello", port);
    shows("connection", &rt, true);
    int c = (int)NEED(accept(l, NULL, NULL));
    printf("inherited %d %d\n", !!(fcntl(c, F_GETFL) & O_ASYNC),
           fcntl(c, F_GETOWN));
    close(c), close(l);
}

static void connecting(void) {
    section("connect");
    int fd = tcp();
    struct sockaddr_in a = peer(P_ECHO);
    watched = fd;
    NEED(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
    NEED(fcntl(fd, F_SETOWN, getpid()));
    NEED(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK));
    SHOW(connect(fd, SA(a)));
    shows("established", &rt, true);
    close(fd);
}

static void datagrams(void) {
    section("datagrams");
    int fd = udp_to(P_ECHO);
    watched = fd;
    NEED(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
    NEED(fcntl(fd, F_SETOWN, getpid()));
    NEED(fcntl(fd, F_SETFL, O_ASYNC));
    SHOW(send(fd, "a", 1, 0));
    for (int i = 0; i < 50 && rt.code != POLL_IN; i++)
        sleep_ms(20); /* the kernel tells of the send's end as well */
    shows("datagram", &rt, true);
    close(fd);
}

static void urgent(void) {
    char c;
    section("SIGURG");
    pair();
    watched = ends[1];
    SHOW(send(ends[0], "u", 1, MSG_OOB));
    quiet("no owner", &urg);
    NEED(fcntl(ends[1], F_SETOWN, getpid()));
    SHOW(send(ends[0], "v", 1, MSG_OOB));
    shows("urgent", &urg, false);
    SHOW(recv(ends[1], &c, 1, MSG_OOB));
    printf("byte %c, SIGIO %d\n", c, io.n);
    NEED(fcntl(ends[1], F_SETOWN, 0));
    SHOW(send(ends[0], "w", 1, MSG_OOB));
    quiet("owner gone", &urg);
    close(ends[0]), close(ends[1]);
}

/* The owner is a group, and another process. */
static void others(void) {
    section("other owners");
    pair();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]), close(ends[1]);
        for (int i = 0; i < 150 && !io.n; i++)
            sleep_ms(20);
        _exit(io.n ? 0 : 1);
    }
    int status;
    sleep_ms(50);
    NEED(fcntl(ends[1], F_SETOWN, pid));
    NEED(fcntl(ends[1], F_SETFL, O_ASYNC));
    SHOW(write(ends[0], "x", 1));
    waitpid(pid, &status, 0);
    printf("child %x own %d\n", status, io.n);
    setpgid(0, 0);
    NEED(fcntl(ends[1], F_SETOWN, -getpgrp()));
    SHOW(write(ends[0], "x", 1));
    shows("group", &io, false);
    struct f_owner_ex ex = {F_OWNER_TID, (pid_t)syscall(SYS_gettid)};
    NEED(fcntl(ends[1], F_SETOWN_EX, &ex));
    SHOW(write(ends[0], "x", 1));
    shows("thread", &io, false);
    close(ends[0]), close(ends[1]);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction sa = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
    sa.sa_flags |= SA_RESTART;
    NEED(sigaction(SIGIO, &sa, NULL));
    sa.sa_sigaction = on_rt;
    NEED(sigaction(SIGRTMIN + 3, &sa, NULL));
    sa.sa_sigaction = on_urg;
    NEED(sigaction(SIGURG, &sa, NULL));
    plain();
    queued();
    listener();
    connecting();
    datagrams();
    urgent();
    others();
    return 0;
}
