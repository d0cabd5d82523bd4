/* 127.0.0.1 is the kernel's, whatever was done to the socket before. */
#include "t.h"

static int on_loopback(int *port) {
    struct sockaddr_in a = addr_of("127.0.0.1", 0);
    socklen_t len = sizeof(a);
    int one = 1, fd = tcp();
    NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
    SHOW(bind(fd, SA(a)));
    SHOW(listen(fd, 5));
    NEED(getsockname(fd, (struct sockaddr *)&a, &len));
    *port = ntohs(a.sin_port);
    return fd;
}

static void streams(void) {
    struct timeval tv = {7, 0};
    int v = 0, port;
    char buf[8];
    socklen_t len;
    section("TCP");
    int l = on_loopback(&port);
    struct sockaddr_in a = addr_of("127.0.0.1", port);
    int fd = tcp();
    v = 1;
    NEED(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, sizeof(v)));
    NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    v = 30000;
    NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)));
    int d = (int)NEED(dup(fd));
    NEED(fcntl(fd, F_SETFD, FD_CLOEXEC));
    SHOW(connect(fd, SA(a)));
    int s = accept(l, NULL, NULL);
    SHOW_OK(s);
    SHOW(write(d, "dup", 3)); /* the copy is connected as well */
    SHOW(read(s, buf, 8));
    SHOW(write(s, "back", 4));
    SHOW(read(fd, buf, 8));
    printf("cloexec %d %d\n", fcntl(fd, F_GETFD), fcntl(d, F_GETFD));
    len = sizeof(v);
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, &len);
    printf("nodelay %d\n", v);
    getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, &len);
    printf("sndbuf %d\n", v);
    len = sizeof(tv);
    getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len);
    printf("timeout %ld\n", (long)tv.tv_sec);
    close(s), close(fd), close(d);

    fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    SHOW_OK(connect(fd, SA(a)) < 0 && errno != EINPROGRESS ? -1 : 0);
    printf("poll %x nonblock %d\n", await(fd, POLLOUT),
           !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    close(fd);

    /* bound to all addresses first */
    struct sockaddr_in any = addr_of("0.0.0.0", 0);
    fd = tcp();
    SHOW(bind(fd, SA(any)));
    SHOW(connect(fd, SA(a)));
    close(fd);
    a.sin_addr.s_addr = 0; /* 0.0.0.0 is this host */
    fd = tcp();
    SHOW(connect(fd, SA(a)));
    close(fd);
    close(l);
    a = addr_of("127.0.0.1", 1);
    fd = tcp();
    SHOW(connect(fd, SA(a)));
    close(fd);
}

static void datagrams(void) {
    struct sockaddr_in a = addr_of("127.0.0.1", 0);
    socklen_t len = sizeof(a);
    char buf[8];
    section("UDP");
    int s = udp();
    SHOW(bind(s, SA(a)));
    NEED(getsockname(s, (struct sockaddr *)&a, &len));
    int fd = udp();
    SHOW(sendto(fd, "first", 5, 0, SA(a)));
    SHOW(recvfrom(s, buf, 8, 0, (struct sockaddr *)&a, &len));
    SHOW(sendto(s, "back", 4, 0, SA(a)));
    SHOW(recv(fd, buf, 8, 0));
    close(fd);
    close(s);
}

static void six(void) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                             .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof(a);
    section("::1");
    int l = NEED(socket(AF_INET6, SOCK_STREAM, 0));
    SHOW(bind(l, SA(a)));
    SHOW(listen(l, 1));
    NEED(getsockname(l, (struct sockaddr *)&a, &len));
    int fd = NEED(socket(AF_INET6, SOCK_STREAM, 0));
    SHOW(connect(fd, SA(a)));
    close(fd);
    close(l);
}

static void others(void) {
    int p[2];
    char c;
    section("other families");
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    SHOW(write(p[0], "x", 1));
    SHOW(read(p[1], &c, 1));
    close(p[0]), close(p[1]);
    int fd = socket(AF_NETLINK, SOCK_RAW, 0);
    SHOW_OK(fd);
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    streams();
    datagrams();
    six();
    others();
    return 0;
}
