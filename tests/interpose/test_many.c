/* Many descriptors in one wait, and many waits: more than fit on a stack frame,
 * and nothing may pile up. */
#include "t.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

enum { SOCKETS = 300, PIPES = 100, ALL = SOCKETS + PIPES };
static int fds[ALL], other_end[PIPES];

static void open_all(void) {
    struct rlimit lim;
    getrlimit(RLIMIT_NOFILE, &lim);
    lim.rlim_cur = lim.rlim_max < 4096 ? lim.rlim_max : 4096;
    NEED(setrlimit(RLIMIT_NOFILE, &lim));
    for (int i = 0; i < SOCKETS; i++)
        fds[i] = udp_to(P_ECHO);
    char c; /* a round trip: the neighbour is known then */
    NEED(send(fds[0], "x", 1, 0));
    NEED(recv(fds[0], &c, 1, 0));
    for (int i = 0; i < PIPES; i++) {
        int p[2];
        NEED(pipe(p));
        fds[SOCKETS + i] = p[0];
        other_end[i] = p[1];
    }
}

/* Make every third socket and every fifth pipe readable. */
static int stir(void) {
    int n = 0;
    for (int i = 0; i < SOCKETS; i += 3, n++)
        NEED(send(fds[i], "x", 1, 0));
    for (int i = 0; i < PIPES; i += 5, n++)
        NEED(write(other_end[i], "x", 1));
    for (int i = 0; i < SOCKETS; i += 3)
        await(fds[i], POLLIN);
    return n;
}

static void calm(void) {
    char c;
    for (int i = 0; i < ALL; i++) {
        struct pollfd p = {fds[i], POLLIN, 0};
        while (poll(&p, 1, 0) == 1)
            NEED(read(fds[i], &c, 1));
    }
}

static void polled(void) {
    static struct pollfd p[ALL];
    section("poll");
    for (int i = 0; i < ALL; i++)
        p[i] = (struct pollfd){fds[i], POLLIN, 0};
    SHOW(poll(p, ALL, 0));
    long t = now_ms();
    SHOW(poll(p, ALL, 100));
    took(t, 100);
    printf("expected %d\n", stir());
    SHOW(poll(p, ALL, 1000));
    int wrong = 0;
    for (int i = 0; i < ALL; i++) {
        bool want = i < SOCKETS ? i % 3 == 0 : (i - SOCKETS) % 5 == 0;
        wrong += want != (p[i].revents == POLLIN);
    }
    printf("wrong %d\n", wrong);
    calm();
}

static void selected(void) {
    fd_set r;
    int top = 0;
    section("select");
    FD_ZERO(&r);
    for (int i = 0; i < ALL; i++) {
        FD_SET(fds[i], &r);
        top = fds[i] > top ? fds[i] : top;
    }
    stir();
    struct timeval tv = {1, 0};
    SHOW(select(top + 1, &r, NULL, NULL, &tv));
    calm();
}

static void epolled(void) {
    struct epoll_event e[ALL];
    int ep = (int)NEED(epoll_create1(0)), total = 0, n;
    section("epoll");
    for (int i = 0; i < ALL; i++) {
        e[0] = (struct epoll_event){.events = EPOLLIN | EPOLLET};
        e[0].data.u32 = (uint32_t)i;
        NEED(epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e[0]));
    }
    stir();
    while ((n = epoll_wait(ep, e, 7, 100)) > 0)
        total += n;
    printf("total %d\n", total);
    calm();
    close(ep);
}

static volatile int stop;
static void *other(void *arg) {
    while (!stop) {
        struct pollfd p[2] = {{fds[1], POLLIN, 0}, {fds[SOCKETS], POLLIN, 0}};
        poll(p, 2, 1);
    }
    return NULL;
}

/* Waits that time out, beside another thread's; then all still works. */
static void over_and_over(void) {
    pthread_t t;
    struct timespec ts = {0, 20000};
    int wrong = 0;
    char c;
    section("over and over");
    NEED(pthread_create(&t, NULL, other, NULL));
    for (int i = 0; i < 5000; i++) {
        struct pollfd p[3] = {{fds[0], POLLIN, 0},
                              {fds[SOCKETS + 1], POLLIN, 0},
                              {fds[2], POLLIN, 0}};
        wrong += ppoll(p, 3, &ts, NULL) != 0;
    }
    printf("wrong %d\n", wrong);
    for (int i = 0; i < 500; i++) {
        struct pollfd p = {fds[0], POLLIN, 0};
        NEED(send(fds[0], "x", 1, 0));
        wrong += poll(&p, 1, 2000) != 1;
        wrong += recv(fds[0], &c, 1, 0) != 1;
    }
    printf("wrong %d\n", wrong);
    stop = 1;
    pthread_join(t, NULL);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_all();
    polled();
    selected();
    epolled();
    over_and_over();
    return 0;
}
