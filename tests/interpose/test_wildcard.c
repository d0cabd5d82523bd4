/* A listener on "any" is reached by its own address and by 127.0.0.1. */
#include "t.h"

#include <sys/epoll.h>
#include <sys/select.h>

static int port;

/* Bound to any address and listening; the port in `port`. */
static int any_listener(int family, int wanted) {
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
    struct sockaddr_in a4 = {.sin_family = AF_INET};
    struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
    socklen_t len = family == AF_INET ? sizeof(a4) : sizeof(a6);
    int fd = NEED(socket(family, SOCK_STREAM, 0)), one = 1;
    NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
    a4.sin_port = a6.sin6_port = htons((uint16_t)wanted);
    NEED(bind(fd, a, len));
    NEED(listen(fd, 8));
    NEED(getsockname(fd, a, &len));
    port = ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
    return fd;
}

static int to(const char *ip) {
    struct sockaddr_in a = addr_of(ip, port);
    int fd = tcp();
    NEED(connect(fd, SA(a)));
    return fd;
}

/* Accept one, say whose it is, and exchange a word with the client. */
static void serve(int l, int client, const char *text) {
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    char name[INET6_ADDRSTRLEN] = "?", buf[8];
    int fd = accept(l, (struct sockaddr *)&from, &len);
    SHOW_OK(fd);
    if (from.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&from)->sin_addr, name,
                  sizeof(name));
    else
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&from)->sin6_addr, name,
                  sizeof(name));
    printf("%s from %s\n", text, name);
    NEED(write(client, "ping", 4));
    SHOW(read(fd, buf, sizeof(buf)));
    NEED(write(fd, "pong!", 5));
    SHOW(read(client, buf, sizeof(buf)));
    close(fd);
    SHOW(read(client, buf, sizeof(buf)));
    close(client);
}

/* Both ways in, with each way to wait. */
static void waiting(int l) {
    static const char *const names[] = {"127.0.0.1", NULL};
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = l}, got[4];
    int ep = NEED(epoll_create1(0));
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev));
    SHOW(epoll_wait(ep, got, 4, 0));
    for (int i = 0; i < 2; i++) {
        const char *ip = names[i] ? names[i] : getenv("SELF");
        struct pollfd p = {l, POLLIN, 0};
        fd_set set;
        struct timeval tv = {3, 0};
        int c = to(ip);
        SHOW(poll(&p, 1, 3000));
        SHOW(p.revents);
        SHOW(epoll_wait(ep, got, 4, 3000));
        SHOW(got[0].events);
        FD_ZERO(&set);
        FD_SET(l, &set);
        SHOW(select(l + 1, &set, NULL, NULL, &tv));
        serve(l, c, ip);
        SHOW(poll(&p, 1, 0));
        SHOW(epoll_wait(ep, got, 4, 0));
    }
    int a = to("127.0.0.1"), b = to(getenv("SELF"));
    SHOW(epoll_wait(ep, got, 4, 3000)); /* one descriptor, one event */
    close(NEED(accept(l, NULL, NULL)));
    close(NEED(accept(l, NULL, NULL)));
    close(a);
    close(b);
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, l, NULL));
    close(ep);
}

/* Both in turn, not one side for ever. */
static void fair(int l) {
    struct sockaddr_in from;
    int c[8], local = 0;
    for (int i = 0; i < 4; i++) {
        c[2 * i] = to("127.0.0.1");
        c[2 * i + 1] = to(getenv("SELF"));
    }
    for (int i = 0; i < 8; i++) {
        socklen_t len = sizeof(from);
        int fd = NEED(accept(l, (struct sockaddr *)&from, &len));
        if (i < 4)
            local += from.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
        close(fd);
    }
    printf("half of the first four %s\n", local == 2 ? "yes" : "no");
    for (int i = 0; i < 8; i++)
        close(c[i]);
}

/* A child that sleeps in accept, woken from either side. */
static void forked(int l) {
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            int fd = accept(l, NULL, NULL);
            _exit(fd < 0 || write(fd, "child", 5) != 5);
        }
        sleep_ms(100);
        char buf[8];
        int c = to(i ? getenv("SELF") : "127.0.0.1"), status;
        text("child", buf, read_all(c, buf, 5));
        close(c);
        NEED(waitpid(pid, &status, 0));
        SHOW(status);
    }
}

/* Nobody is there after the last close; the port can be used again. */
static void gone(int l) {
    int d = NEED(dup(l)), was = port;
    close(l);
    close(to("127.0.0.1"));
    struct sockaddr_in local = addr_of("127.0.0.1", was);
    SHOW(shutdown(d, SHUT_RD));
    int c = tcp();
    SHOW(connect(c, SA(local)));
    close(c);
    close(d);
    l = any_listener(AF_INET, was);
    close(to("127.0.0.1"));
    close(l);
    c = tcp();
    SHOW(connect(c, SA(local)));
    close(c);
}

/* Another socket has the port on the loopback. */
static void taken(void) {
    struct sockaddr_in a = addr_of("127.0.0.1", 0), any = {.sin_family = 2};
    socklen_t len = sizeof(a);
    int l = tcp(), m = tcp();
    NEED(bind(l, SA(a)));
    NEED(listen(l, 1));
    NEED(getsockname(l, (struct sockaddr *)&a, &len));
    any.sin_port = a.sin_port;
    /* which of the two calls says so may differ */
    int r = bind(m, SA(any));
    SHOW(r < 0 ? r : listen(m, 1));
    close(l);
    close(m);
}

static void nonblocking(void) {
    int l = any_listener(AF_INET, 0);
    nonblock(l, true);
    SHOW(accept(l, NULL, NULL));
    int c = to("127.0.0.1");
    SHOW(await(l, POLLIN));
    SHOW_OK(accept4(l, NULL, NULL, SOCK_NONBLOCK));
    SHOW(accept(l, NULL, NULL));
    close(c);
    close(l);
}

int main(void) {
    section("IPv4");
    int l = any_listener(AF_INET, 7351);
    waiting(l);
    section("in turn");
    fair(l);
    section("fork");
    forked(l);
    section("close");
    gone(l);
    section("IPv6, dual stack");
    l = any_listener(AF_INET6, 7352);
    waiting(l);
    close(l);
    section("not blocking");
    nonblocking();
    section("in use");
    taken();
    return 0;
}
