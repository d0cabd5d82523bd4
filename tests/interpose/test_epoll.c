/* epoll beyond the basics: mixed sets, timers, many sets, threads, fork, exec
 * order of creation, nested sets, EPOLLEXCLUSIVE, dup. */
#include "t.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static int by_data(const void *a, const void *b) {
    const struct epoll_event *x = a, *y = b;
    return (int)x->data.u32 - (int)y->data.u32;
}
/* All events of one call, in the order of their data. */
static int take(int ep, int max, int ms) {
    struct epoll_event e[16];
    int n = epoll_wait(ep, e, max, ms);
    if (n > 0)
        qsort(e, (size_t)n, sizeof(*e), by_data);
    printf("epoll %d", n);
    for (int i = 0; i < n; i++)
        printf(" (%x, %d)", e[i].events, (int)e[i].data.u32);
    printf("%s\n", n < 0 ? strerrorname_np(errno) : "");
    return n;
}
static int ctl(int ep, int op, int fd, uint32_t events, uint32_t data) {
    struct epoll_event e = {.events = events, .data.u32 = data};
    int r = epoll_ctl(ep, op, fd, &e);
    if (r < 0)
        printf("ctl %d %x: %s\n", op, events, strerrorname_np(errno));
    return r;
}
static long cpu_ms(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static void mixed(void) {
    int p[2], ep = (int)NEED(epoll_create1(EPOLL_CLOEXEC));
    char buf[8];
    section("sockets, pipe, eventfd, timerfd");
    struct itimerspec its = {.it_value = {0, 150000000}};
    int fd = tcp_to(P_ECHO), u = udp_to(P_ECHO);
    int ev = (int)NEED(eventfd(0, EFD_NONBLOCK));
    int tm = (int)NEED(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    NEED(pipe(p));
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
    ctl(ep, EPOLL_CTL_ADD, u, EPOLLIN, 2);
    ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 3);
    ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN, 4);
    ctl(ep, EPOLL_CTL_ADD, tm, EPOLLIN, 5);
    take(ep, 16, 0);
    NEED(timerfd_settime(tm, 0, &its, NULL));
    long t = now_ms();
    take(ep, 16, 2000);
    took(t, 150);
    uint64_t v;
    NEED(read(tm, &v, sizeof(v)));
    NEED(write(fd, "a", 1));
    NEED(send(u, "b", 1, 0));
    await(fd, POLLIN);
    await(u, POLLIN);
    NEED(write(p[1], "c", 1));
    v = 1;
    NEED(write(ev, &v, sizeof(v)));
    take(ep, 16, 2000);
    /* room for one: each gets its turn */
    unsigned seen = 0;
    for (int i = 0; i < 16; i++) {
        struct epoll_event e;
        if (epoll_wait(ep, &e, 1, 0) == 1)
            seen |= 1u << e.data.u32;
    }
    printf("seen %x\n", seen);
    /* a ready kernel descriptor that nobody asked for does not spin */
    NEED(read(ev, &v, sizeof(v)));
    NEED(read(fd, buf, 1));
    NEED(read(u, buf, 1));
    ctl(ep, EPOLL_CTL_MOD, p[0], 0, 3);
    long cpu = cpu_ms();
    t = now_ms();
    take(ep, 16, 400);
    took(t, 400);
    printf("idle %d\n", cpu_ms() - cpu < 100);
    ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0);
    take(ep, 16, 0);
    close(fd), close(u), close(p[0]), close(p[1]), close(ev), close(tm);
    take(ep, 16, 0);
    close(ep);
}

static void several_sets(void) {
    int a = (int)NEED(epoll_create1(0)), b = (int)NEED(epoll_create1(0));
    char buf[8];
    section("one socket in two sets, twice in one");
    int fd = tcp_to(P_ECHO), copy = (int)NEED(dup(fd));
    ctl(a, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
    ctl(b, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 2);
    ctl(b, EPOLL_CTL_ADD, copy, EPOLLIN | EPOLLOUT, 3);
    take(a, 4, 0);
    take(b, 4, 0);
    NEED(write(fd, "x", 1));
    await(fd, POLLIN);
    take(a, 4, 1000);
    take(b, 4, 1000);
    take(b, 4, 0);
    close(fd); /* the copy keeps the socket, and the items, alive */
    take(a, 4, 0);
    NEED(read(copy, buf, 1));
    NEED(write(copy, "y", 1));
    await(copy, POLLIN);
    take(a, 4, 0);
    take(b, 4, 0);
    ctl(b, EPOLL_CTL_DEL, fd, 0, 0);
    close(copy);
    take(a, 4, 0);
    take(b, 4, 0);
    close(a), close(b);
}

static void oneshot_and_edge(void) {
    int ep = (int)NEED(epoll_create1(0));
    char buf[16];
    section("edge and one-shot");
    int fd = tcp_to(P_ECHO);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 1);
    take(ep, 4, 1000);
    take(ep, 4, 50);
    for (int i = 0; i < 3; i++) {
        NEED(write(fd, "x", 1));
        take(ep, 4, 1000);
        take(ep, 4, 50);
    }
    SHOW(read(fd, buf, 1)); /* the rest is no new edge */
    take(ep, 4, 50);
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 2); /* but MOD looks */
    take(ep, 4, 50);
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 3);
    take(ep, 4, 50);
    take(ep, 4, 50);
    NEED(write(fd, "y", 1));
    take(ep, 4, 100);
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 4);
    take(ep, 4, 100);
    take(ep, 4, 50);
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 5);
    take(ep, 4, 50);
    SHOW(read(fd, buf, sizeof(buf)));
    shutdown(fd, SHUT_WR);
    sleep_ms(100); /* the peer's FIN and its ACK are one edge, or two */
    take(ep, 4, 1000);
    take(ep, 4, 50);
    close(fd), close(ep);
}

struct waiter {
    int ep, n;
    struct epoll_event e;
};
static void *wait_thread(void *arg) {
    struct waiter *w = arg;
    w->n = epoll_wait(w->ep, &w->e, 1, 3000);
    return NULL;
}

/* A thread sleeps in a set that another thread changes. */
static void changed_while_waiting(void) {
    int port, p[2];
    pthread_t t;
    section("changed while a thread waits");
    NEED(pipe(p));
    for (int round = 0; round < 3; round++) {
        struct waiter w = {.ep = (int)NEED(epoll_create1(0))};
        if (round > 0)
            ctl(w.ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 9);
        int fd = tcp_to(P_ECHO);
        if (round > 1)
            ctl(w.ep, EPOLL_CTL_ADD, udp(), EPOLLIN, 8);
        NEED(pthread_create(&t, NULL, wait_thread, &w));
        sleep_ms(100);
        NEED(write(fd, "x", 1));
        await(fd, POLLIN);
        long since = now_ms();
        ctl(w.ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
        pthread_join(t, NULL);
        took(since, 0);
        printf("%d (%x, %d)\n", w.n, w.e.events, (int)w.e.data.u32);
        close(fd), close(w.ep);
    }
    /* and one that another closes */
    struct waiter w = {.ep = (int)NEED(epoll_create1(0))};
    int l = tcp_listen(4, &port);
    ctl(w.ep, EPOLL_CTL_ADD, l, EPOLLIN, 2);
    NEED(pthread_create(&t, NULL, wait_thread, &w));
    sleep_ms(50);
    control("dial %d close", port);
    pthread_join(t, NULL);
    printf("%d (%x, %d)\n", w.n, w.e.events, (int)w.e.data.u32);
    close(l), close(w.ep), close(p[0]), close(p[1]);
}

static void exclusive(void) {
    int port;
    pthread_t t[3];
    struct waiter w[3];
    section("EPOLLEXCLUSIVE");
    int l = tcp_listen(4, &port);
    for (int i = 0; i < 3; i++) {
        w[i] = (struct waiter){.ep = (int)NEED(epoll_create1(0))};
        ctl(w[i].ep, EPOLL_CTL_ADD, l, EPOLLIN | EPOLLEXCLUSIVE, 1);
        ctl(w[i].ep, EPOLL_CTL_MOD, l, EPOLLIN | EPOLLEXCLUSIVE, 1);
        ctl(w[i].ep, EPOLL_CTL_ADD, l, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP,
            1);
        NEED(pthread_create(&t[i], NULL, wait_thread, &w[i]));
    }
    sleep_ms(100);
    control("dial %d echo", port);
    sleep_ms(200);
    int c = (int)NEED(accept(l, NULL, NULL));
    int woken = 0;
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
        woken += w[i].n == 1;
        close(w[i].ep);
    }
    printf("at least one %d\n", woken >= 1);
    close(c), close(l);
}

static void nested(void) {
    int outer = (int)NEED(epoll_create1(0)), p[2];
    char buf[8];
    section("nested");
    int fd = tcp_to(P_ECHO), inner = (int)NEED(epoll_create1(0));
    NEED(pipe(p));
    ctl(inner, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
    ctl(inner, EPOLL_CTL_ADD, p[0], EPOLLIN, 2);
    ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 7);
    take(outer, 4, 50);
    NEED(write(fd, "x", 1));
    take(outer, 4, 1000);
    take(inner, 4, 0);
    NEED(write(p[1], "x", 1));
    take(outer, 4, 1000);
    take(inner, 4, 0);
    NEED(read(fd, buf, 1));
    take(outer, 4, 1000);
    NEED(read(p[0], buf, 1));
    take(outer, 4, 50);
    struct pollfd q = {outer, POLLIN, 0};
    printf("poll %d\n", poll(&q, 1, 0));
    NEED(write(fd, "y", 1));
    printf("poll %d", poll(&q, 1, 1000));
    printf(" %x\n", q.revents);
    fd_set r;
    struct timeval tv = {1, 0};
    FD_ZERO(&r);
    FD_SET(inner, &r);
    SHOW(select(inner + 1, &r, NULL, NULL, &tv));
    ctl(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 1);
    ctl(inner, EPOLL_CTL_ADD, inner, EPOLLIN, 1);
    ctl(outer, EPOLL_CTL_DEL, inner, 0, 0);
    take(outer, 4, 0);
    close(fd), close(inner), close(outer), close(p[0]), close(p[1]);
}

static void copies(void) {
    int port, ep = (int)NEED(epoll_create1(0));
    section("a copy of the set, and a fork");
    int l = tcp_listen(4, &port), ep2 = (int)NEED(dup(ep));
    ctl(ep, EPOLL_CTL_ADD, l, EPOLLIN, 1);
    control("dial %d echo", port);
    take(ep2, 4, 2000);
    close(ep);
    take(ep2, 4, 1000);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        take(ep2, 4, 1000);
        close(NEED(accept(l, NULL, NULL)));
        take(ep2, 4, 0);
        fflush(stdout);
        _exit(0);
    }
    NEED(waitpid(pid, NULL, 0));
    take(ep2, 4, 50);
    control("dial %d echo", port);
    take(ep2, 4, 2000);
    close(l), close(ep2);
}

static void timeouts(void) {
    struct epoll_event e;
    struct timespec ts = {0, 120000000}, bad = {0, 1000000000};
    int ep = (int)NEED(epoll_create1(0));
    section("time-outs and errors");
    int fd = tcp_to(P_ECHO);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
    long t = now_ms();
    SHOW(epoll_wait(ep, &e, 1, 120));
    took(t, 120);
    t = now_ms();
    SHOW(epoll_pwait2(ep, &e, 1, &ts, NULL));
    took(t, 120);
    SHOW(epoll_pwait2(ep, &e, 1, &bad, NULL));
    SHOW(epoll_wait(ep, &e, 0, 0));
    SHOW(epoll_wait(ep, &e, -1, 0));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, -1, &e));
    SHOW(epoll_ctl(-1, EPOLL_CTL_ADD, fd, &e));
    SHOW(epoll_ctl(fd, EPOLL_CTL_ADD, fd, &e));
    SHOW(epoll_ctl(0, EPOLL_CTL_ADD, fd, &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd, NULL));
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e));
    close(fd);
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    close(ep);
    SHOW(epoll_wait(ep, &e, 1, 0));
}

/* Refused and reset, as events. */
static void failures(void) {
    struct sockaddr_in a = peer(P_NOBODY);
    int ep = (int)NEED(epoll_create1(0)), err = 0;
    socklen_t len = sizeof(err);
    section("failures");
    int fd = tcp();
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT, 1);
    take(ep, 4, 0);
    nonblock(fd, true);
    SHOW(connect(fd, SA(a)));
    take(ep, 4, 2000);
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
    printf("%s\n", strerrorname_np(err));
    close(fd);
    fd = tcp();
    nonblock(fd, true);
    a = peer(P_ECHO);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLET, 2);
    take(ep, 4, 0);
    SHOW(connect(fd, SA(a)));
    take(ep, 4, 2000);
    close(fd);
    fd = tcp_to(P_RESET);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP, 3);
    NEED(write(fd, "x", 1));
    take(ep, 4, 2000);
    close(fd), close(ep);
}

/* The echo of one byte on fd, which must have come while we were away. */
static void echoed(int fd, const char *while_) {
    char c = 0;
    printf("%s: ", while_);
    SHOW(recv(fd, &c, 1, MSG_DONTWAIT));
}

/* Answers given amid a turn of the event loop leave also when the program then
 * does something else for long. */
static void amid_a_turn(void) {
    enum { N = 8 };
    int fd[N], p[2], ep = (int)NEED(epoll_create1(0)), n = 0;
    struct epoll_event e[N];
    struct pollfd none = {.fd = -1};
    char c;
    section("amid a turn");
    NEED(pipe(p));
    for (int i = 0; i < N; i++) {
        fd[i] = tcp_to(P_ECHO);
        ctl(ep, EPOLL_CTL_ADD, fd[i], EPOLLIN, (uint32_t)i);
        NEED(write(fd[i], "a", 1));
    }
    for (int tries = 0; n < N && tries < 100; tries++) {
        sleep_ms(20);
        n = epoll_wait(ep, e, N, 1000);
    }
    printf("%d ready\n", n);
    NEED(read(fd[0], &c, 1));
    NEED(write(fd[0], "b", 1));
    sleep_ms(100);
    echoed(fd[0], "sleeping");
    NEED(epoll_wait(ep, e, N, 1000));
    NEED(write(fd[0], "c", 1));
    for (long until = now_ms() + 100; now_ms() < until;)
        ;
    echoed(fd[0], "computing");
    NEED(epoll_wait(ep, e, N, 1000));
    NEED(write(fd[0], "d", 1));
    NEED(poll(&none, 1, 100));
    echoed(fd[0], "polling nothing");
    NEED(epoll_wait(ep, e, N, 1000));
    NEED(write(fd[0], "e", 1));
    if (fork() == 0) {
        sleep_ms(100);
        NEED(write(p[1], "x", 1));
        _exit(0);
    }
    NEED(read(p[0], &c, 1));
    echoed(fd[0], "reading a pipe");
    wait(NULL);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    close(ep), close(p[0]), close(p[1]);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    changed_while_waiting(); /* first: the sets are older than the stack */
    mixed();
    several_sets();
    oneshot_and_edge();
    exclusive();
    nested();
    copies();
    timeouts();
    failures();
    amid_a_turn();
    return 0;
}
