/* UDP, connected and not. */
// differs: ^limited broadcast: the stack needs no default route for it
#include "t.h"

static void print_addr(const char *what, const struct sockaddr_in *a,
                       socklen_t len) {
    printf("%s ip %s port %s len %u\n", what, inet_ntoa(a->sin_addr),
           a->sin_port ? "set" : "0", (unsigned)len);
}

static void unconnected(void) {
    struct sockaddr_in to = peer(P_ECHO), from;
    socklen_t len = sizeof(from);
    char buf[32];
    section("unconnected");
    int fd = udp();
    SHOW(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
    SHOW(send(fd, "x", 1, 0));
    SHOW(write(fd, "x", 1));
    SHOW(sendto(fd, "hello", 5, 0, SA(to)));
    long n =
        SHOW(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len));
    text("got", buf, n);
    printf("from ip %s port %d len %u\n", inet_ntoa(from.sin_addr),
           ntohs(from.sin_port), (unsigned)len);
    len = sizeof(from);
    SHOW(getsockname(fd, (struct sockaddr *)&from, &len));
    print_addr("own", &from, len);
    SHOW(getpeername(fd, (struct sockaddr *)&from, &len));
    to.sin_port = 0;
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    to.sin_port = htons(P_ECHO), to.sin_family = AF_INET6;
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    to.sin_family = AF_UNSPEC;
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    to.sin_family = AF_INET;
    SHOW(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, 8));
    SHOW(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, 1000));
    SHOW(sendto(fd, NULL, 1, 0, SA(to)));
    to = addr_of("203.0.113.9", 9);
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    to = addr_of("255.255.255.255", 9);
    show("limited broadcast", sendto(fd, "x", 1, 0, SA(to)));
    to = addr_of("198.18.77.255", 9);
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    close(fd);
}

static void connected(void) {
    struct sockaddr_in a;
    struct sockaddr un = {.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(a);
    char buf[32];
    section("connected");
    int fd = udp_to(P_ECHO);
    NEED(getsockname(fd, (struct sockaddr *)&a, &len));
    print_addr("own", &a, len);
    len = sizeof(a);
    SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
    SHOW(send(fd, "abc", 3, 0));
    long n = SHOW(recv(fd, buf, sizeof(buf), 0));
    text("got", buf, n);
    SHOW(connect(fd, &un, sizeof(un)));
    len = sizeof(a);
    SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
    SHOW(send(fd, "x", 1, 0));
    a = peer(P_ECHO);
    SHOW(connect(fd, SA(a)));
    SHOW(send(fd, "again", 5, 0));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    a = peer(P_NOBODY);
    SHOW(connect(fd, SA(a)));
    a.sin_family = 77;
    SHOW(connect(fd, SA(a)));
    a.sin_family = AF_INET;
    SHOW(connect(fd, (struct sockaddr *)&a, 8));
    close(fd);
}

static void refused(void) {
    char c;
    int err;
    socklen_t len = sizeof(err);
    section("refused");
    int fd = udp_to(P_NOBODY);
    SHOW(send(fd, "x", 1, 0));
    SHOW(recv(fd, &c, 1, 0));
    SHOW(recv(fd, &c, 1, MSG_DONTWAIT));
    SHOW(send(fd, "x", 1, 0));
    printf("poll %x\n", await(fd, POLLIN));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
    printf("SO_ERROR %s\n", strerrorname_np(err));
    SHOW(send(fd, "x", 1, 0));
    sleep_ms(100);
    SHOW(send(fd, "x", 1, 0)); /* reports the error of the one before */
    close(fd);
}

static void lengths(void) {
    static char big[70000];
    struct sockaddr_in to = peer(P_ECHO);
    char buf[32];
    section("lengths");
    int fd = udp_to(P_ECHO);
    SHOW(send(fd, "", 0, 0));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    SHOW(write(fd, "", 0));
    printf("poll %x\n", await(fd, POLLIN));
    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(send(fd, "0123456789", 10, 0));
    SHOW(recv(fd, buf, 4, MSG_PEEK));
    SHOW(recv(fd, buf, 4, MSG_TRUNC | MSG_PEEK));
    SHOW(recv(fd, buf, 4, 0));
    SHOW(recv(fd, buf, 4, MSG_DONTWAIT));
    SHOW(send(fd, "0123456789", 10, 0));
    await(fd, POLLIN);
    SHOW(recv(fd, buf, 0, 0));
    SHOW(recv(fd, buf, 4, MSG_DONTWAIT));
    SHOW(send(fd, big, 9000, 0)); /* in fragments */
    SHOW(recv(fd, big, sizeof(big), 0));
    SHOW(send(fd, big, 65507, 0));
    SHOW(recv(fd, big, sizeof(big), 0));
    SHOW(send(fd, big, 65508, 0));
    SHOW(send(fd, big, sizeof(big), 0));
    SHOW(sendto(fd, "to", 2, 0, SA(to)));
    SHOW(recv(fd, buf, 4, 0));
    close(fd);
}

static void bound(void) {
    struct sockaddr_in a = own(0), b;
    socklen_t len = sizeof(a);
    char buf[32];
    section("bound");
    int fd = udp(), other = udp();
    SHOW(bind(fd, SA(a)));
    NEED(getsockname(fd, (struct sockaddr *)&a, &len));
    SHOW(bind(other, SA(a)));
    control("udp %d hi there", ntohs(a.sin_port));
    len = sizeof(b);
    long n =
        SHOW(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&b, &len));
    text("got", buf, n);
    printf("from %s\n", inet_ntoa(b.sin_addr));
    SHOW(sendto(other, "self", 4, 0, SA(a))); /* to our own address */
    len = sizeof(b);
    n = SHOW(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&b, &len));
    text("got", buf, n);
    printf("from %s\n", inet_ntoa(b.sin_addr));
    SHOW(shutdown(fd, SHUT_RD));
    close(fd);
    close(other);
    fd = udp_to(P_ECHO);
    SHOW(shutdown(fd, SHUT_WR));
    SHOW(send(fd, "x", 1, 0));
    SHOW(shutdown(fd, SHUT_RD));
    SHOW(recv(fd, buf, 1, 0));
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    unconnected();
    connected();
    refused();
    lengths();
    bound();
    return 0;
}
