/* SO_ZEROCOPY and the notifications of MSG_ZEROCOPY. */
#include "t.h"
#include <linux/errqueue.h>
#include <sys/epoll.h>

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

/* What the error queue says next; false: nothing. */
static bool told(int fd) {
    char buf[8], ctl[256];
    struct sockaddr_in6 name;
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_name = &name,
                       .msg_namelen = sizeof(name),
                       .msg_control = ctl,
                       .msg_controllen = sizeof(ctl)};
    long n = SHOW(recvmsg(fd, &h, MSG_ERRQUEUE));
    if (n < 0)
        return false;
    printf("flags %x name %u", h.msg_flags, (unsigned)h.msg_namelen);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
        struct sock_extended_err *e = (void *)CMSG_DATA(c);
        printf(" [%d %d len %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
        if (c->cmsg_level != SOL_SOCKET)
            printf(" errno %u origin %d type %d code %d info %u data %u "
                   "family %d",
                   e->ee_errno, e->ee_origin, e->ee_type, e->ee_code,
                   e->ee_info, e->ee_data, SO_EE_OFFENDER(e)->sa_family);
        printf("]");
    }
    printf("\n");
    return true;
}

/* Notifications of `n` calls, in however many ranges they come. */
static void told_of(int fd, unsigned n) {
    unsigned next = 0;
    while (next < n && await(fd, 0) & POLLERR) {
        char ctl[256];
        struct msghdr h = {.msg_control = ctl, .msg_controllen = sizeof(ctl)};
        if (recvmsg(fd, &h, MSG_ERRQUEUE) < 0)
            break;
        struct sock_extended_err *e = (void *)CMSG_DATA(CMSG_FIRSTHDR(&h));
        if (e->ee_info != next)
            printf("from %u, not %u\n", e->ee_info, next);
        next = e->ee_data + 1;
    }
    printf("told of %u\n", next);
}

static void option(const char *what, int fd) {
    static const int values[] = {1, 0, 2, -1, 1};
    int v = 7;
    socklen_t len = sizeof(v);
    section(what);
    for (int i = 0; i < 5; i++) {
        SHOW(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &values[i], 4));
        SHOW(getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &v, &len));
        printf("%d len %u\n", v, (unsigned)len);
    }
}

static void set(int fd) {
    int one = 1;
    NEED(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
}

static void tcp_notes(void) {
    static char big[300000];
    int fd = tcp_to(P_COUNT), one = 1;
    section("without the option");
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
    sleep_ms(100);
    printf("poll %x\n", poll(&(struct pollfd){fd, 0, 0}, 1, 0));
    told(fd);
    section("tcp");
    set(fd);
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
    printf("poll %x\n", await(fd, 0));
    told(fd);
    told(fd);
    printf("poll %d\n", poll(&(struct pollfd){fd, 0, 0}, 1, 0));
    SHOW(send(fd, "", 0, MSG_ZEROCOPY));
    SHOW(send(fd, "abc", 3, 0));
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
    sleep_ms(100);
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
    sleep_ms(100);
    told(fd);
    told(fd);
    section("with a time");
    NEED(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof(one)));
    SHOW(send(fd, big, sizeof(big), MSG_ZEROCOPY));
    sleep_ms(300);
    told(fd);
    told(fd);
    section("after shutdown");
    SHOW(shutdown(fd, SHUT_WR));
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY | MSG_NOSIGNAL));
    told(fd);
    char answer[20];
    long n = SHOW(recv(fd, answer, sizeof(answer), MSG_WAITALL));
    text("count", answer, n);
    close(fd);
}

static void tcp_closed(void) {
    int fd = tcp();
    section("not connected");
    set(fd);
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY | MSG_NOSIGNAL));
    told(fd);
    struct sockaddr_in a = peer(P_ECHO);
    SHOW(connect(fd, SA(a)));
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
    sleep_ms(100);
    told(fd);
    close(fd);
}

static void many(void) {
    static char part[20000];
    int fd = tcp_to(P_DISCARD);
    unsigned n = 0;
    section("many");
    set(fd);
    for (; n < 100; n++)
        if (send(fd, part, sizeof(part), MSG_ZEROCOPY) != sizeof(part))
            break;
    printf("sent %u\n", n);
    told_of(fd, n);
    close(fd);
}

static void edge(void) {
    struct epoll_event ev = {.events = EPOLLET};
    int fd = tcp_to(P_DISCARD), ep = (int)NEED(epoll_create1(0));
    section("epoll");
    set(fd);
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
    for (int i = 0; i < 2; i++) {
        SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
        SHOW(epoll_wait(ep, &ev, 1, 3000));
        printf("events %x\n", ev.events);
        SHOW(epoll_wait(ep, &ev, 1, 50));
    }
    told(fd);
    close(ep);
    close(fd);
}

/* Accepted sockets have the option, and numbers of their own. */
static void inherited(void) {
    int port, l, v = 0;
    socklen_t len = sizeof(v);
    section("accepted");
    l = tcp_listen(5, &port);
    set(l);
    struct sockaddr_in a = own(port);
    int c = tcp();
    NEED(connect(c, SA(a)));
    int s = (int)NEED(accept(l, NULL, NULL));
    SHOW(getsockopt(s, SOL_SOCKET, SO_ZEROCOPY, &v, &len));
    printf("%d\n", v);
    SHOW(send(s, "abc", 3, MSG_ZEROCOPY));
    char buf[4];
    SHOW(recv(c, buf, sizeof(buf), 0));
    printf("poll %x\n", await(s, 0));
    told(s);
    SHOW(close(c));
    SHOW(close(s));
    SHOW(close(l));
}

static void udp_notes(void) {
    struct sockaddr_in nobody = peer(P_NOBODY);
    int fd = udp_to(P_ECHO), one = 1;
    section("udp");
    set(fd);
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
    printf("poll %x\n", await(fd, 0));
    told(fd);
    SHOW(send(fd, "", 0, MSG_ZEROCOPY));
    SHOW(send(fd, "abc", 3, 0));
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY));
    sleep_ms(50);
    told(fd);
    told(fd);
    section("udp, collected");
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY | MSG_MORE));
    SHOW(send(fd, "abc", 3, MSG_ZEROCOPY | MSG_MORE));
    told(fd);
    SHOW(send(fd, "abc", 3, 0));
    sleep_ms(50);
    told(fd);
    section("udp, among errors");
    NEED(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)));
    SHOW(sendto(fd, "abc", 3, MSG_ZEROCOPY, SA(nobody)));
    sleep_ms(100);
    printf("poll %x\n", await(fd, 0));
    told(fd);
    told(fd);
    told(fd);
    printf("poll %d\n", poll(&(struct pollfd){fd, 0, 0}, 1, 0));
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    option("tcp option", tcp());
    option("udp option", udp());
    option("tcp6 option", (int)NEED(socket(AF_INET6, SOCK_STREAM, 0)));
    tcp_notes();
    tcp_closed();
    many();
    edge();
    inherited();
    udp_notes();
    return 0;
}
