/* t.h: for programs that are run twice, on the kernel and on the stack.
 *
 * Each prints what its calls returned, and nothing that may differ between two
 * runs on the kernel: no port numbers, no times but rounded ones. The runner
 * (tests/interpose/run) compares the two outputs. The peer is described in
 * peer.py; PEER and SELF are the two addresses.
 */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Ports of the peer, see peer.py. */
enum {
    P_ECHO = 7,
    P_DISCARD = 9,
    P_HELLO = 13,  /* sends "hello", waits for the end */
    P_CLOSE = 14,  /* sends "bye", closes at once */
    P_RESET = 15,  /* resets when the first byte comes */
    P_COUNT = 16,  /* reads to the end, answers the count, closes */
    P_SOURCE = 19, /* sends a million bytes, closes */
    P_STUCK = 20,  /* accepts and never reads */
    P_DRIP = 21,   /* "abc", 200 ms, "def", 200 ms, "ghi", waits */
    P_CONTROL = 1000,
    P_NOBODY = 999
};

/* "name = result" or "name = -1 ERRNO" */
static inline long show(const char *name, long r) {
    int e = errno;
    if (r < 0)
        printf("%s = %ld %s\n", name, r, strerrorname_np(e));
    else
        printf("%s = %ld\n", name, r);
    errno = e;
    return r;
}
#define SHOW(call) show(#call, (long)(call))
/* Only whether it worked, for results that differ (descriptors, sizes). */
#define SHOW_OK(call) show(#call, (long)(call) < 0 ? -1 : 0)
/* Must work, or the test makes no sense. */
#define NEED(call)                                                             \
    ({                                                                         \
        long need_ = (long)(call);                                             \
        if (need_ < 0) {                                                       \
            printf("FAILED %s: %s\n", #call, strerror(errno));                 \
            fflush(stdout);                                                    \
            exit(1);                                                           \
        }                                                                      \
        need_;                                                                 \
    })

static inline void section(const char *title) { printf("--- %s\n", title); }

static inline struct sockaddr_in addr_of(const char *ip, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}
static inline struct sockaddr_in peer(int port) {
    return addr_of(getenv("PEER"), port);
}
static inline struct sockaddr_in own(int port) {
    return addr_of(getenv("SELF"), port);
}
#define SA(a) ((struct sockaddr *)&(a)), sizeof(a)

static inline int tcp(void) { return NEED(socket(AF_INET, SOCK_STREAM, 0)); }
static inline int udp(void) { return NEED(socket(AF_INET, SOCK_DGRAM, 0)); }
static inline int tcp_to(int port) {
    struct sockaddr_in a = peer(port);
    int fd = tcp();
    NEED(connect(fd, SA(a)));
    return fd;
}
static inline int udp_to(int port) {
    struct sockaddr_in a = peer(port);
    int fd = udp();
    NEED(connect(fd, SA(a)));
    return fd;
}
/* Listening on a port of its own, whose number is put into *port. */
static inline int tcp_listen(int backlog, int *port) {
    struct sockaddr_in a = own(0);
    socklen_t len = sizeof(a);
    int fd = tcp();
    NEED(bind(fd, SA(a)));
    NEED(listen(fd, backlog));
    NEED(getsockname(fd, (struct sockaddr *)&a, &len));
    *port = ntohs(a.sin_port);
    return fd;
}

static inline void nonblock(int fd, bool on) {
    int fl = fcntl(fd, F_GETFL);
    NEED(fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK));
}
static inline void sleep_ms(int ms) {
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000l};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}
static inline long now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
/* Did something take about `ms`? Generous upwards: machines are busy. */
static inline void took(long since, long ms) {
    long t = now_ms() - since;
    printf("took %s\n", t < ms - 20     ? "too short"
                        : t > ms + 1000 ? "too long"
                                        : "as expected");
}
/* Wait for an event: revents, or 0 after 3 s. */
static inline int await(int fd, short events) {
    struct pollfd p = {fd, events, 0};
    return poll(&p, 1, 3000) > 0 ? p.revents : 0;
}
static inline void text(const char *name, const void *buf, long n) {
    printf("%s: %.*s\n", name, n > 0 ? (int)n : 0, (const char *)buf);
}
/* Tell the peer to do something, see peer.py. */
static inline void control(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
static inline void control(const char *fmt, ...) {
    char buf[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof(buf), fmt, ap);
    va_end(ap);
    int fd = tcp_to(P_CONTROL);
    NEED(write(fd, buf, (size_t)n));
    NEED(write(fd, "\n", 1));
    NEED(read(fd, buf, sizeof(buf)));
    close(fd);
}
/* Exactly n bytes, or fewer at the end. */
static inline long read_all(int fd, void *buf, size_t n) {
    size_t got = 0;
    while (got < n) {
        ssize_t r = read(fd, (char *)buf + got, n - got);
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    return (long)got;
}
