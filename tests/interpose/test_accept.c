/* bind, listen, accept, accept4, and the names of both ends. */
#include "t.h"

static void print_addr(const char *what, const struct sockaddr_in *a,
                       socklen_t len) {
    char ip[INET_ADDRSTRLEN] = "?";
    inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip));
    printf("%s family %d ip %s port %s len %u\n", what, a->sin_family, ip,
           a->sin_port ? "set" : "0", (unsigned)len);
}

static void basics(void) {
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    char buf[32];
    int port;
    section("accept");
    int l = tcp_listen(5, &port);
    control("dial %d hello", port);
    int fd = accept(l, (struct sockaddr *)&a, &len);
    SHOW_OK(fd);
    print_addr("peer", &a, len);
    long n = SHOW(recv(fd, buf, sizeof(buf), 0));
    text("got", buf, n);
    len = sizeof(a);
    SHOW(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("own", &a, len);
    printf("same port %d\n", ntohs(a.sin_port) == port);
    len = sizeof(a);
    SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
    print_addr("peer", &a, len);
    printf("flags %x cloexec %d\n", fcntl(fd, F_GETFL) & O_NONBLOCK,
           fcntl(fd, F_GETFD));
    SHOW(close(fd));
    len = sizeof(a);
    SHOW(getpeername(l, (struct sockaddr *)&a, &len));
    SHOW(close(l));
}

/* The kernel writes at most the room there is, and tells the full length. */
static void truncation(void) {
    unsigned char buf[32];
    int port;
    section("short addresses");
    int l = tcp_listen(5, &port);
    for (int room = 0; room <= 24; room += 4) {
        socklen_t len = (socklen_t)room;
        memset(buf, 0xee, sizeof(buf));
        int r = getsockname(l, (struct sockaddr *)buf, &len);
        int touched = sizeof(buf);
        while (touched > 0 && buf[touched - 1] == 0xee)
            touched--;
        printf("room %d: %d len %u touched <= %d: %d\n", room, r, (unsigned)len,
               room, touched <= room);
    }
    socklen_t len = (socklen_t)-1;
    SHOW(getsockname(l, (struct sockaddr *)buf, &len));
    SHOW(getsockname(l, (struct sockaddr *)buf, NULL));
    len = 16;
    SHOW(getsockname(l, NULL, &len));
    SHOW(getsockname(-1, (struct sockaddr *)buf, &len));
    control("dial %d hello", port);
    len = 4;
    memset(buf, 0xee, sizeof(buf));
    SHOW_OK(accept(l, (struct sockaddr *)buf, &len));
    printf("len %u, fifth byte %x\n", (unsigned)len, buf[4]);
    close(l);
}

static void flags(void) {
    int port;
    section("accept4");
    int l = tcp_listen(5, &port);
    nonblock(l, true);
    SHOW(accept(l, NULL, NULL));
    SHOW(accept4(l, NULL, NULL, 0x40000000));
    printf("poll %x\n", await(l, POLLIN) ? 1 : 0);
    control("dial %d hello", port);
    printf("poll %x\n", await(l, POLLIN));
    int fd = accept(l, NULL, NULL);
    SHOW_OK(fd); /* does not inherit O_NONBLOCK */
    printf("nonblock %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    close(fd);
    control("dial %d hello", port);
    await(l, POLLIN);
    fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    SHOW_OK(fd);
    printf("nonblock %d cloexec %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK),
           fcntl(fd, F_GETFD));
    close(fd);
    close(l);
}

static void errors(void) {
    struct sockaddr_in a = own(0), b;
    socklen_t len = sizeof(b);
    section("errors");
    int fd = tcp();
    SHOW(accept(fd, NULL, NULL));
    SHOW(bind(fd, SA(a)));
    SHOW(bind(fd, SA(a)));
    SHOW(accept(fd, NULL, NULL));
    SHOW(listen(fd, 3));
    SHOW(listen(fd, 7)); /* changes the backlog */
    NEED(getsockname(fd, (struct sockaddr *)&b, &len));
    int other = tcp();
    SHOW(bind(other, SA(b)));
    SHOW(connect(fd, SA(b)));
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
    SHOW(recv(fd, &a, 1, 0));
    close(fd);
    SHOW(bind(other, SA(b)));
    close(other);
    other = tcp();
    b = addr_of("203.0.113.5", 0);
    SHOW(bind(other, SA(b)));
    SHOW(bind(other, (struct sockaddr *)&a, 8));
    SHOW(bind(other, (struct sockaddr *)&a, 0));
    SHOW(bind(other, NULL, 16));
    a.sin_family = AF_INET6;
    SHOW(bind(other, SA(a)));
    a = own(0);
    a.sin_family = AF_UNSPEC;
    SHOW(bind(other, SA(a)));
    a = addr_of("0.0.0.0", 0);
    a.sin_family = AF_UNSPEC;
    SHOW(bind(other, SA(a)));
    close(other);
    fd = udp();
    SHOW(listen(fd, 1));
    SHOW(accept(fd, NULL, NULL));
    close(fd);
    SHOW(listen(fd, 1));
    SHOW(accept(0, NULL, NULL));
}

/* listen() without bind() takes a free port on all addresses. */
static void unbound(void) {
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    section("listen without bind");
    int fd = tcp();
    NEED(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("before", &a, len);
    SHOW(listen(fd, 3));
    NEED(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("after", &a, len);
    control("dial %d close", ntohs(a.sin_port));
    int c = accept(fd, NULL, NULL);
    SHOW_OK(c);
    char buf[8];
    text("got", buf, read_all(c, buf, 8));
    close(c);
    close(fd);
}

/* Connections wait in the queue, their data too; a reset one stays. */
static void queue(void) {
    char buf[8];
    int port;
    section("queue");
    int l = tcp_listen(8, &port);
    control("dial %d many 4", port);
    sleep_ms(300);
    nonblock(l, true);
    int n = 0, fd[8];
    while (n < 8 && (fd[n] = accept(l, NULL, NULL)) >= 0)
        n++;
    printf("%d waiting, then %s\n", n, strerrorname_np(errno));
    while (n > 0)
        close(fd[--n]);
    nonblock(l, false);
    control("dial %d reset", port);
    sleep_ms(300);
    int c = accept(l, NULL, NULL);
    SHOW_OK(c);
    SHOW(recv(c, buf, 1, 0));
    SHOW(recv(c, buf, 1, 0));
    SHOW(recv(c, buf, 1, 0));
    close(c);
    close(l);
}

static void timeout(void) {
    struct timeval tv = {0, 300000};
    int port;
    section("SO_RCVTIMEO");
    int l = tcp_listen(5, &port);
    setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    long t = now_ms();
    SHOW(accept(l, NULL, NULL));
    took(t, 300);
    control("dial %d hello", port);
    int fd = accept(l, NULL, NULL);
    SHOW_OK(fd);
    socklen_t len = sizeof(tv);
    memset(&tv, 0, sizeof(tv));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
    printf("inherited %ld.%06ld len %u\n", (long)tv.tv_sec, (long)tv.tv_usec,
           (unsigned)len);
    close(fd);
    close(l);
}

/* An end of one's own: both on this host. */
static void own_address(void) {
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    char buf[8];
    int port;
    section("to oneself");
    int l = tcp_listen(5, &port);
    a = own(port);
    int c = tcp();
    SHOW(connect(c, SA(a)));
    int s = accept(l, (struct sockaddr *)&a, &len);
    SHOW_OK(s);
    print_addr("peer", &a, len);
    SHOW(write(c, "ping", 4));
    long n = SHOW(read(s, buf, sizeof(buf)));
    text("got", buf, n);
    close(c);
    SHOW(read(s, buf, sizeof(buf)));
    close(s);
    close(l);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    basics();
    truncation();
    flags();
    errors();
    unbound();
    queue();
    timeout();
    own_address();
    return 0;
}
