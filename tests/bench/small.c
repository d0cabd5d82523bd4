/* small.c: small messages: round trips, connections, many idle ones. */
#include "tests/bench/load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SAMPLES (1 << 21)
#define EVENTS 256
#define CLOSE_AFTER 'c' /* first byte of a request: answer, then close */

static bool is_spin(int argc, char **argv, int at) {
    return argc > at && !strcmp(argv[at], "spin");
}

int cmd_echo(int argc, char **argv) {
    char buf[MSG];
    bool spin = is_spin(argc, argv, 1);
    int lfd = listen_on(argv[0]);
    ready();
    int fd = accept_one(lfd);
    no_delay(fd);
    congestion_control(fd);
    while (read_all(fd, buf, MSG, spin) && write_all(fd, buf, MSG))
        ;
    return 0;
}

/* One request and its answer; the time it took, in ns. */
static uint32_t ask(int fd, bool spin) {
    char buf[MSG] = "k";
    uint64_t t = now_ns();
    if (!write_all(fd, buf, MSG) || !read_all(fd, buf, MSG, spin))
        die("round trip");
    t = now_ns() - t;
    return t < UINT32_MAX ? (uint32_t)t : UINT32_MAX;
}

int cmd_rr(int argc, char **argv) {
    bool spin = is_spin(argc, argv, 3);
    int fd = connect_to(argv[0], argv[1]);
    no_delay(fd);
    uint32_t *ns = malloc(SAMPLES * sizeof(*ns));
    uint64_t until = now_ns() + (uint64_t)(strtod(argv[2], NULL) * 1e9);
    size_t n = 0;
    congestion_control(fd);
    for (int i = 0; i < 100; i++)
        ask(fd, spin);
    while (n < SAMPLES && now_ns() < until)
        ns[n++] = ask(fd, spin);
    percentiles("", ns, n);
    free(ns);
    return 0;
}

/* ---- the server ---------------------------------------------------------- */

static void watch(int ep, int fd) {
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("epoll_ctl");
}

static void accept_all(int ep, int lfd) {
    for (;;) {
        int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        no_delay(fd);
        watch(ep, fd);
    }
}

/* A request comes in one piece, since it is one small segment. */
static void answer(int fd) {
    char buf[MSG];
    ssize_t r = recv(fd, buf, sizeof(buf), 0);
    if (r < 0 && errno == EAGAIN)
        return;
    if (r != MSG || send(fd, buf, MSG, MSG_NOSIGNAL) != MSG ||
        buf[0] == CLOSE_AFTER)
        close(fd);
}

int cmd_serve(int argc, char **argv) {
    struct epoll_event ev[EVENTS];
    want_files();
    int lfd = listen_on(argv[0]), ep = epoll_create1(0);
    fcntl(lfd, F_SETFL, O_NONBLOCK);
    watch(ep, lfd);
    ready();
    for (;;) {
        int n = epoll_wait(ep, ev, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.fd == lfd)
                accept_all(ep, lfd);
            else
                answer(ev[i].data.fd);
        }
    }
}

/* ---- connect, ask, close ------------------------------------------------ */

struct client {
    int ep;
    struct sockaddr_in to;
    uint64_t done, failed;
};

static void start(struct client *c) {
    struct epoll_event ev = {.events = EPOLLOUT};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    no_delay(fd);
    if (connect(fd, (struct sockaddr *)&c->to, sizeof(c->to)) < 0 &&
        errno != EINPROGRESS)
        die("connect");
    ev.data.fd = fd;
    epoll_ctl(c->ep, EPOLL_CTL_ADD, fd, &ev);
}

/* One step of a connection: connected -> ask; answered -> wait for the end;
 * ended -> the next one. */
static void step(struct client *c, const struct epoll_event *e) {
    int fd = e->data.fd;
    char buf[MSG] = {CLOSE_AFTER};
    if (e->events & EPOLLOUT) {
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
        if (send(fd, buf, MSG, MSG_NOSIGNAL) == MSG) {
            epoll_ctl(c->ep, EPOLL_CTL_MOD, fd, &ev);
            return;
        }
    } else {
        ssize_t r = recv(fd, buf, sizeof(buf), 0);
        if (r > 0 || (r < 0 && errno == EAGAIN))
            return;
        c->done += r == 0;
        c->failed += r < 0;
        close(fd);
        start(c);
        return;
    }
    c->failed++;
    close(fd);
    start(c);
}

int cmd_conn(int argc, char **argv) {
    struct epoll_event ev[EVENTS];
    struct client c = {.ep = epoll_create1(0), .to = address(argv[0], argv[1])};
    long parallel = number(argv[3], 1, 1024);
    uint64_t from = now_ns(), t = from;
    uint64_t until = from + (uint64_t)(strtod(argv[2], NULL) * 1e9);
    for (long i = 0; i < parallel; i++)
        start(&c);
    while (t < until) {
        int n = epoll_wait(c.ep, ev, EVENTS, 1000);
        for (int i = 0; i < n; i++)
            step(&c, &ev[i]);
        t = now_ns();
    }
    result("done", (double)c.done);
    result("failed", (double)c.failed);
    result("rate", (double)c.done * 1e9 / (double)(t - from));
    return 0;
}

/* ---- many connections ---------------------------------------------------- */

/* The i-th of n connections: from the program's own addresses in turn
 * (ADDRS: "198.18.0.10+4" is four of them), 30,000 ports each. */
static int hold(struct sockaddr_in *to, const char *addrs, long i) {
    int fd = tcp_socket(), one = 1;
    if (addrs) {
        char ip[32];
        int count = 1;
        if (sscanf(addrs, "%31[0-9.]+%d", ip, &count) < 1)
            die(addrs);
        struct sockaddr_in from = address(ip, "1");
        from.sin_port = 0;
        from.sin_addr.s_addr =
            htonl(ntohl(from.sin_addr.s_addr) + (uint32_t)(i % count));
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
            die("bind");
    }
    if (connect(fd, (struct sockaddr *)to, sizeof(*to)) < 0)
        die("connect");
    no_delay(fd);
    return fd;
}

/* Opens N connections, says so, waits for a line, then asks random ones of
 * them for some time. */
int cmd_idle(int argc, char **argv) {
    long n = number(argv[2], 1, 200000);
    int *fd = malloc((size_t)n * sizeof(*fd));
    struct sockaddr_in to = address(argv[0], argv[1]);
    want_files();
    for (long i = 0; i < n; i++)
        fd[i] = hold(&to, argc > 4 ? argv[4] : NULL, i);
    for (long i = 0; i<n; i += n> 100 ? n / 100 : 1)
        ask(fd[i], false);
    ready();
    if (getchar() == EOF)
        return 1;
    uint32_t *ns = malloc(SAMPLES * sizeof(*ns));
    uint64_t until = now_ns() + (uint64_t)(strtod(argv[3], NULL) * 1e9);
    size_t done = 0;
    uint64_t x = 88172645463325252u; /* xorshift: the same each time */
    while (done < SAMPLES && now_ns() < until) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        ns[done++] = ask(fd[x % (uint64_t)n], false);
    }
    percentiles("", ns, done);
    return 0;
}
