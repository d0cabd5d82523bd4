/* connect(): what it answers, blocking and not. */
#include "t.h"

static void blocking(void) {
    char buf[64];
    section("blocking");
    struct sockaddr_in a = peer(P_HELLO);
    int fd = tcp();
    SHOW(connect(fd, SA(a)));
    SHOW(connect(fd, SA(a)));
    long n = SHOW(read(fd, buf, sizeof(buf)));
    text("got", buf, n);
    SHOW(close(fd));

    a = peer(P_NOBODY);
    fd = tcp();
    SHOW(connect(fd, SA(a)));
    a = peer(P_HELLO); /* Linux lets the same socket try again */
    SHOW(connect(fd, SA(a)));
    close(fd);

    a = addr_of("203.0.113.9", 80); /* no gateway */
    fd = tcp();
    SHOW(connect(fd, SA(a)));
    close(fd);
}

static void nonblocking(void) {
    int err = -1;
    socklen_t len = sizeof(err);
    section("non-blocking");
    struct sockaddr_in a = addr_of("198.18.77.99", 80); /* nobody: no answer */
    int fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    SHOW(connect(fd, SA(a)));
    SHOW(connect(fd, SA(a)));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
    printf("SO_ERROR %d\n", err);
    SHOW(send(fd, "x", 1, 0));
    SHOW(recv(fd, &err, 1, 0));
    len = sizeof(a);
    SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
    close(fd);

    a = peer(P_HELLO);
    fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    SHOW(connect(fd, SA(a)));
    printf("poll %x\n", await(fd, POLLOUT));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
    printf("SO_ERROR %d\n", err);
    SHOW(connect(fd, SA(a)));
    SHOW(connect(fd, SA(a)));
    close(fd);

    a = peer(P_NOBODY);
    fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    SHOW(connect(fd, SA(a)));
    printf("poll %x\n", await(fd, POLLOUT));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
    printf("SO_ERROR %s\n", strerrorname_np(err));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
    printf("SO_ERROR %d\n", err);
    close(fd);

    a = peer(P_NOBODY);
    fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    SHOW(connect(fd, SA(a)));
    printf("poll %x\n", await(fd, POLLOUT));
    SHOW(connect(fd, SA(a))); /* the second call fetches the error */
    close(fd);
}

static void timeouts(void) {
    struct timeval tv = {0, 300000};
    section("SO_SNDTIMEO");
    struct sockaddr_in a = addr_of("198.18.77.99", 80);
    int fd = tcp();
    SHOW(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
    long t = now_ms();
    SHOW(connect(fd, SA(a)));
    took(t, 300);
    close(fd);
}

static void bad_addresses(void) {
    section("bad addresses");
    struct sockaddr_in a = peer(P_HELLO);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(13)};
    int fd = tcp();
    SHOW(connect(fd, (struct sockaddr *)&a, 1));
    SHOW(connect(fd, (struct sockaddr *)&a, 8));
    SHOW(connect(fd, (struct sockaddr *)&a, 0));
    SHOW(connect(fd, (struct sockaddr *)&a, -1));
    SHOW(connect(fd, (struct sockaddr *)&a, 1000));
    SHOW(connect(fd, NULL, 16));
    SHOW(connect(fd, SA(six)));
    a.sin_family = AF_UNIX;
    SHOW(connect(fd, SA(a)));
    a.sin_family = AF_UNSPEC;
    SHOW(connect(fd, SA(a)));
    a = addr_of("255.255.255.255", 80);
    SHOW(connect(fd, SA(a)));
    a = addr_of("224.0.0.1", 80);
    SHOW(connect(fd, SA(a)));
    close(fd);
    SHOW(connect(fd, SA(a)));
    SHOW(connect(-1, SA(a)));
    SHOW(connect(1, SA(a)));
}

/* AF_UNSPEC resets a connection; the socket can be used again. */
static void dissolve(void) {
    struct sockaddr un = {.sa_family = AF_UNSPEC};
    struct sockaddr_in a = peer(P_HELLO);
    char buf[16];
    section("AF_UNSPEC");
    int fd = tcp_to(P_HELLO);
    SHOW(connect(fd, &un, sizeof(un)));
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
    SHOW(connect(fd, SA(a)));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    close(fd);
}

static void before(void) {
    char c;
    section("not connected");
    int fd = tcp();
    SHOW(recv(fd, &c, 1, 0));
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
    SHOW(shutdown(fd, SHUT_WR));
    SHOW(shutdown(fd, 7));
    printf("poll %x\n", await(fd, POLLIN | POLLOUT));
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    blocking();
    nonblocking();
    timeouts();
    bad_addresses();
    dissolve();
    before();
    return 0;
}
