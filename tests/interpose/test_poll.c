/* poll, select, epoll: one socket in its states, and mixed with a pipe. */
#include "t.h"
#include <sys/epoll.h>
#include <sys/select.h>

static void states(void) {
    char buf[16];
    section("poll states");
    int fd = tcp();
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    printf("%d %x\n", poll(&p, 1, 0), p.revents);
    close(fd);
    printf("%d %x\n", poll(&p, 1, 0), p.revents);
    p.fd = -1;
    long t = now_ms();
    printf("%d %x\n", poll(&p, 1, 200), p.revents);
    took(t, 200);
    p.fd = fd = tcp_to(P_ECHO);
    printf("%d %x\n", poll(&p, 1, 0), p.revents);
    p.events = POLLIN;
    t = now_ms();
    printf("%d %x\n", poll(&p, 1, 200), p.revents);
    took(t, 200);
    NEED(write(fd, "x", 1));
    printf("%d %x\n", poll(&p, 1, -1), p.revents);
    SHOW(read(fd, buf, 1));
    shutdown(fd, SHUT_WR);
    p.events = POLLIN | POLLRDHUP;
    printf("%d %x\n", poll(&p, 1, 2000), p.revents);
    SHOW(read(fd, buf, 1));
    sleep_ms(100);
    p.events = POLLIN | POLLOUT | POLLRDHUP;
    printf("%d %x\n", poll(&p, 1, 2000), p.revents);
    close(fd);
    p.fd = fd = udp_to(P_ECHO);
    printf("%d %x\n", poll(&p, 1, 0), p.revents);
    NEED(send(fd, "u", 1, 0));
    p.events = POLLIN;
    printf("%d %x\n", poll(&p, 1, 2000), p.revents);
    close(fd);
}

static void mixed(void) {
    int p[2];
    char c;
    section("mixed poll");
    NEED(pipe(p));
    int fd = tcp_to(P_ECHO), u = udp_to(P_ECHO);
    struct pollfd f[4] = {{p[0], POLLIN, 0},
                          {fd, POLLIN, 0},
                          {-1, POLLIN, 9},
                          {u, POLLIN, 0}};
    printf("%d\n", poll(f, 4, 50));
    NEED(write(p[1], "p", 1));
    printf("%d: %x %x %x %x\n", poll(f, 4, 1000), f[0].revents, f[1].revents,
           f[2].revents, f[3].revents);
    NEED(write(fd, "s", 1));
    sleep_ms(100);
    printf("%d: %x %x %x %x\n", poll(f, 4, 1000), f[0].revents, f[1].revents,
           f[2].revents, f[3].revents);
    NEED(read(p[0], &c, 1));
    NEED(read(fd, &c, 1));
    NEED(send(u, "s", 1, 0));
    printf("%d: %x %x %x %x\n", poll(f, 4, 1000), f[0].revents, f[1].revents,
           f[2].revents, f[3].revents);
    close(p[1]);
    printf("%d: %x\n", poll(f, 1, 1000), f[0].revents);
    close(fd), close(u), close(p[0]);
}

static void selects(void) {
    struct timeval tv = {0, 200000};
    fd_set r, w, x;
    section("select");
    int fd = tcp_to(P_ECHO);
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&x);
    FD_SET(fd, &r);
    FD_SET(fd, &w);
    FD_SET(fd, &x);
    SHOW(select(fd + 1, &r, &w, &x, &tv));
    printf("%d %d %d\n", FD_ISSET(fd, &r), FD_ISSET(fd, &w) != 0,
           FD_ISSET(fd, &x));
    FD_SET(fd, &r);
    tv = (struct timeval){0, 200000};
    long t = now_ms();
    SHOW(select(fd + 1, &r, NULL, NULL, &tv));
    took(t, 200);
    printf("%d left %ld\n", FD_ISSET(fd, &r), (long)tv.tv_sec);
    NEED(write(fd, "x", 1));
    FD_SET(fd, &r);
    SHOW(select(fd + 1, &r, NULL, NULL, NULL));
    printf("%d\n", FD_ISSET(fd, &r) != 0);
    close(fd);
    FD_SET(fd, &r);
    tv = (struct timeval){0, 0};
    SHOW(select(fd + 1, &r, NULL, NULL, &tv));
}

static void wait_and_print(int ep, int ms) {
    struct epoll_event e[4];
    int n = epoll_wait(ep, e, 4, ms);
    printf("epoll %d", n);
    for (int i = 0; i < n; i++)
        printf(" (%x, %d)", e[i].events, (int)e[i].data.u32);
    printf("%s\n", n < 0 ? strerrorname_np(errno) : "");
}

static void ctl(int ep, int op, int fd, uint32_t events, uint32_t data) {
    struct epoll_event e = {.events = events, .data.u32 = data};
    int r = epoll_ctl(ep, op, fd, &e);
    printf("ctl %d %x: %s\n", op, events, r ? strerrorname_np(errno) : "ok");
}

static void epolls(void) {
    int p[2], ep = (int)NEED(epoll_create1(0));
    char buf[8];
    section("epoll");
    NEED(pipe(p));
    int fd = tcp_to(P_ECHO);
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 1);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
    ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 2);
    wait_and_print(ep, 0);
    NEED(write(p[1], "x", 1));
    wait_and_print(ep, 1000);
    NEED(read(p[0], buf, 1));
    NEED(write(fd, "abc", 3));
    wait_and_print(ep, 1000);
    wait_and_print(ep, 1000); /* level: again */
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 3);
    wait_and_print(ep, 1000);
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 4);
    wait_and_print(ep, 1000);
    wait_and_print(ep, 50); /* edge: once */
    NEED(write(fd, "d", 1));
    wait_and_print(ep, 1000);
    wait_and_print(ep, 50);
    SHOW(read(fd, buf, 8));
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 5);
    NEED(write(fd, "e", 1));
    wait_and_print(ep, 1000);
    wait_and_print(ep, 50);
    ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP, 6);
    wait_and_print(ep, 1000);
    NEED(read(fd, buf, 1));
    shutdown(fd, SHUT_WR);
    wait_and_print(ep, 1000);
    sleep_ms(100);
    wait_and_print(ep, 1000);
    ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
    ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
    wait_and_print(ep, 0);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 7);
    close(fd); /* takes it out of the set */
    wait_and_print(ep, 50);
    ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 8);
    ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 8);
    ctl(ep, 9, p[0], EPOLLIN, 8);
    struct epoll_event e;
    SHOW(epoll_wait(ep, &e, 0, 0));
    SHOW(epoll_wait(p[0], &e, 1, 0));
    close(ep), close(p[0]), close(p[1]);
}

static void accepting(void) {
    int port, ep = (int)NEED(epoll_create1(0));
    section("epoll and accept");
    int l = tcp_listen(5, &port);
    ctl(ep, EPOLL_CTL_ADD, l, EPOLLIN, 1);
    wait_and_print(ep, 50);
    control("dial %d echo", port);
    wait_and_print(ep, 2000);
    int c = accept(l, NULL, NULL);
    ctl(ep, EPOLL_CTL_ADD, c, EPOLLIN | EPOLLOUT | EPOLLET, 2);
    wait_and_print(ep, 1000);
    NEED(write(c, "ping", 4));
    wait_and_print(ep, 1000);
    close(c);
    close(l);
    wait_and_print(ep, 50);
    close(ep);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    states();
    mixed();
    selects();
    epolls();
    accepting();
    return 0;
}
