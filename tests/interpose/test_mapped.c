/* AF_INET6 sockets with IPv4-mapped addresses. */
#include "t.h"

static struct sockaddr_in6 mapped(const char *ip, int port) {
    char text6[64];
    struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                             .sin6_port = htons((uint16_t)port)};
    snprintf(text6, sizeof(text6), "%s%s",
             strchr(ip, ':') ? "" : "::ffff:", ip);
    inet_pton(AF_INET6, text6, &a.sin6_addr);
    return a;
}

static void print_addr(const char *what, const struct sockaddr_in6 *a,
                       socklen_t len) {
    char ip[INET6_ADDRSTRLEN] = "?";
    inet_ntop(AF_INET6, &a->sin6_addr, ip, sizeof(ip));
    printf("%s family %d ip %s port %s len %u\n", what, a->sin6_family, ip,
           a->sin6_port ? "set" : "0", (unsigned)len);
}

static void client(void) {
    struct sockaddr_in6 a = mapped(getenv("PEER"), P_HELLO);
    socklen_t len = sizeof(a);
    char buf[16];
    section("client");
    int fd = NEED(socket(AF_INET6, SOCK_STREAM, 0));
    SHOW(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("before", &a, len);
    a = mapped(getenv("PEER"), P_HELLO);
    SHOW(connect(fd, SA(a)));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    SHOW(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("own", &a, len);
    SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
    print_addr("peer", &a, len);
    int v = 0;
    len = sizeof(v);
    SHOW(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &v, &len));
    printf("domain %d\n", v);
    close(fd);
}

static void server(void) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    socklen_t len = sizeof(a);
    char buf[16];
    section("server on all addresses");
    int fd = NEED(socket(AF_INET6, SOCK_STREAM, 0));
    SHOW(bind(fd, SA(a)));
    SHOW(listen(fd, 5));
    SHOW(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("own", &a, len);
    control("dial %d close", ntohs(a.sin6_port));
    int c = accept(fd, (struct sockaddr *)&a, &len);
    SHOW_OK(c);
    print_addr("peer", &a, len);
    text("got", buf, read_all(c, buf, 3));
    SHOW(getsockname(c, (struct sockaddr *)&a, &len));
    print_addr("own", &a, len);
    close(c);
    close(fd);

    section("server on a mapped address");
    a = mapped(getenv("SELF"), 0);
    fd = NEED(socket(AF_INET6, SOCK_STREAM, 0));
    SHOW(bind(fd, SA(a)));
    SHOW(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("own", &a, len);
    close(fd);
}

static void datagrams(void) {
    struct sockaddr_in6 a = mapped(getenv("PEER"), P_ECHO);
    struct sockaddr_in four = peer(P_ECHO);
    socklen_t len = sizeof(a);
    char buf[16];
    section("UDP");
    int fd = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
    SHOW(sendto(fd, "six", 3, 0, SA(a)));
    long n =
        SHOW(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&a, &len));
    text("got", buf, n);
    print_addr("from", &a, len);
    SHOW(sendto(fd, "four", 4, 0, SA(four))); /* Linux takes AF_INET here */
    len = sizeof(a);
    SHOW(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&a, &len));
    print_addr("from", &a, len);
    a = mapped(getenv("PEER"), P_ECHO);
    SHOW(connect(fd, SA(a)));
    SHOW(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("own", &a, len);
    SHOW(send(fd, "x", 1, 0));
    int one = 1;
    char ctl[128];
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    SHOW(send(fd, "y", 1, 0));
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = ctl,
                       .msg_controllen = sizeof(ctl)};
    SHOW(recvmsg(fd, &h, 0));
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    if (c) {
        struct in6_pktinfo *p = (void *)CMSG_DATA(c);
        char ip[INET6_ADDRSTRLEN];
        inet_ntop(AF_INET6, &p->ipi6_addr, ip, sizeof(ip));
        printf("control %d %d len %zu addr %s\n", c->cmsg_level, c->cmsg_type,
               c->cmsg_len, ip);
    }
    close(fd);
}

static void errors(void) {
    struct sockaddr_in6 a = mapped("2001:db8::99", 80);
    struct sockaddr_in four = peer(P_HELLO);
    int v = 1;
    socklen_t len = sizeof(v);
    section("errors");
    int fd = NEED(socket(AF_INET6, SOCK_STREAM, 0));
    SHOW(connect(fd, SA(a)));
    SHOW(connect(fd, SA(four)));
    SHOW(connect(fd, (struct sockaddr *)&a, 24));
    SHOW(connect(fd, (struct sockaddr *)&a, 20));
    SHOW(bind(fd, SA(four)));
    SHOW(bind(fd, (struct sockaddr *)&a, 20));
    SHOW(bind(fd, SA(a)));
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v, sizeof(v)));
    SHOW(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v, &len));
    printf("v6only %d\n", v);
    a = mapped(getenv("PEER"), P_HELLO);
    SHOW(connect(fd, SA(a)));
    a = mapped(getenv("SELF"), 0);
    SHOW(bind(fd, SA(a)));
    close(fd);
    fd = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
    a = mapped("2001:db8::99", 80);
    SHOW(sendto(fd, "x", 1, 0, SA(a)));
    close(fd);
}

#define OPT(fd, name, value)                                                   \
    do {                                                                       \
        int v_ = (value);                                                      \
        socklen_t l_ = sizeof(v_);                                             \
        int r_ = setsockopt(fd, IPPROTO_IPV6, name, &v_, l_);                  \
        printf("set %s %d: %s\n", #name, value,                                \
               r_ ? strerrorname_np(errno) : "ok");                            \
        v_ = -99;                                                              \
        r_ = getsockopt(fd, IPPROTO_IPV6, name, &v_, &l_);                     \
        printf("get %s: %d\n", #name, r_ ? -errno : v_);                       \
    } while (0)

static void options(void) {
    section("options");
    int fd = NEED(socket(AF_INET6, SOCK_STREAM, 0));
    OPT(fd, IPV6_V6ONLY, 0);
    OPT(fd, IPV6_UNICAST_HOPS, 10);
    OPT(fd, IPV6_UNICAST_HOPS, -1);
    OPT(fd, IPV6_UNICAST_HOPS, 256);
    OPT(fd, IPV6_TCLASS, 8);
    OPT(fd, IPV6_TCLASS, 256);
    OPT(fd, IPV6_RECVPKTINFO, 1);
    OPT(fd, IPV6_RECVPKTINFO, 0);
    OPT(fd, IPV6_RECVHOPLIMIT, 1);
    OPT(fd, IPV6_RECVERR, 1);
    OPT(fd, IPV6_MTU_DISCOVER, 2);
    OPT(fd, IPV6_DONTFRAG, 1);
    OPT(fd, 9999, 1);
    int v = 20;
    SHOW(setsockopt(fd, IPPROTO_IP, IP_TTL, &v, sizeof(v)));
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &v, 1));
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    client();
    server();
    datagrams();
    errors();
    options();
    return 0;
}
