/* load.c: the load generator of tools/bench.
 *
 * One program with a command for each role, so that both ends of a measurement
 * are the same few lines of plain socket code, whichever stack they run on.
 * A server says "ready" when it listens and ends by itself when its work is
 * done, or is killed; a client prints its results as lines "name value".
 */
#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

long number(const char *s, long min, long max) {
    char *end;
    long v = strtol(s, &end, 10);
    if (*end || end == s || v < min || v > max) {
        fprintf(stderr, "load: %s: a number from %ld to %ld\n", s, min, max);
        exit(2);
    }
    return v;
}

struct sockaddr_in address(const char *ip, const char *port) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_port = htons((uint16_t)number(port, 1, 65535));
    if (ip && inet_pton(AF_INET, ip, &a.sin_addr) != 1)
        die(ip);
    return a;
}

int tcp_socket(void) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return fd;
}

int listen_on(const char *port) {
    struct sockaddr_in a = address(NULL, port);
    int fd = tcp_socket();
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("bind");
    if (listen(fd, 4096) < 0)
        die("listen");
    return fd;
}

int accept_one(int lfd) {
    int fd = accept(lfd, NULL, NULL);
    if (fd < 0)
        die("accept");
    return fd;
}

int connect_to(const char *ip, const char *port) {
    struct sockaddr_in a = address(ip, port);
    int fd = tcp_socket();
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("connect");
    return fd;
}

void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

bool read_all(int fd, void *buf, size_t n, bool spin) {
    for (size_t got = 0; got < n;) {
        ssize_t r =
            recv(fd, (char *)buf + got, n - got, spin ? MSG_DONTWAIT : 0);
        if (r < 0 && errno == EAGAIN && spin)
            continue;
        if (r <= 0)
            return false;
        got += (size_t)r;
    }
    return true;
}

bool write_all(int fd, const void *buf, size_t n) {
    for (size_t put = 0; put < n;) {
        ssize_t r = send(fd, (const char *)buf + put, n - put, MSG_NOSIGNAL);
        if (r <= 0)
            return false;
        put += (size_t)r;
    }
    return true;
}

void ready(void) {
    puts("ready");
    fflush(stdout);
}

void result(const char *name, double value) {
    printf("%s %.6g\n", name, value);
    fflush(stdout);
}

void congestion_control(int fd) {
    char name[16] = "";
    socklen_t len = sizeof(name) - 1;
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0)
        printf("cc %s\n", name);
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void percentiles(const char *prefix, uint32_t *ns, size_t n) {
    char name[32];
    if (n == 0)
        return;
    qsort(ns, n, sizeof(*ns), compare);
    snprintf(name, sizeof(name), "%sp50", prefix);
    result(name, ns[n / 2] / 1e3);
    snprintf(name, sizeof(name), "%sp99", prefix);
    result(name, ns[n - 1 - n / 100] / 1e3);
    snprintf(name, sizeof(name), "%scount", prefix);
    result(name, (double)n);
}

void want_files(void) {
    struct rlimit r = {1 << 18, 1 << 18}, old;
    if (setrlimit(RLIMIT_NOFILE, &r) == 0 || getrlimit(RLIMIT_NOFILE, &old))
        return;
    r.rlim_cur = r.rlim_max = old.rlim_max; /* what this machine allows */
    setrlimit(RLIMIT_NOFILE, &r);
}

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    int args; /* at least */
    const char *form;
} commands[] = {
    {"sink", cmd_sink, 3, "PORT CALL STREAMS: take streams until they end"},
    {"source", cmd_source, 5, "IP PORT CALL STREAMS SECONDS: send them"},
    {"feed", cmd_feed, 4, "PORT CALL STREAMS SECONDS: accept and send"},
    {"drain", cmd_drain, 4, "IP PORT CALL STREAMS: connect and take"},
    {"echo", cmd_echo, 1, "PORT [spin]: one blocking connection"},
    {"rr", cmd_rr, 3, "IP PORT SECONDS [spin]: round trips to it"},
    {"serve", cmd_serve, 1, "PORT: epoll server, 64 bytes for 64 bytes"},
    {"conn", cmd_conn, 4, "IP PORT SECONDS PARALLEL: connect, ask, close"},
    {"idle", cmd_idle, 4, "IP PORT N SECONDS [ADDRS]: hold N, ask some"},
    {"usink", cmd_usink, 2, "PORT BYTES: count datagrams until they end"},
    {"usend", cmd_usend, 4, "IP PORT BYTES SECONDS: send them"},
    {"spawn", cmd_spawn, 3, "N LIBRARY|- CMD...: run it N times"},
    {"flowd", cmd_flowd, 1, "PORT: serve flow"},
    {"flow", cmd_flow, 4, "IP PORT send|recv SECONDS [CC]: one timed stream"},
    {"probe", cmd_probe, 2, "IP PORT: wait until somebody accepts"},
};

int main(int argc, char **argv) {
    size_t n = sizeof(commands) / sizeof(commands[0]);
    for (size_t i = 0; i < n && argc > 1; i++)
        if (!strcmp(argv[1], commands[i].name) && argc - 2 >= commands[i].args)
            return commands[i].run(argc - 2, argv + 2);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "load %s %s\n", commands[i].name, commands[i].form);
    return 2;
}
