/* sendmsg, recvmsg, sendmmsg, recvmmsg, control messages. */
#include "t.h"
#include <linux/errqueue.h>

static void print_name(const struct msghdr *h) {
    const struct sockaddr_in *a = h->msg_name;
    printf("name len %u", (unsigned)h->msg_namelen);
    if (h->msg_namelen)
        printf(" family %d ip %s port %d", a->sin_family,
               inet_ntoa(a->sin_addr), ntohs(a->sin_port));
    printf("\n");
}

static void stream(void) {
    struct sockaddr_in from = {0};
    char a[3], b[20], ctl[64];
    section("stream");
    int fd = tcp_to(P_ECHO);
    struct iovec out[3] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
    struct msghdr h = {.msg_iov = out, .msg_iovlen = 3};
    SHOW(sendmsg(fd, &h, 0));
    sleep_ms(100);
    struct iovec in[2] = {{a, sizeof(a)}, {b, sizeof(b)}};
    h = (struct msghdr){.msg_iov = in,
                        .msg_iovlen = 2,
                        .msg_name = &from,
                        .msg_namelen = sizeof(from),
                        .msg_control = ctl,
                        .msg_controllen = sizeof(ctl),
                        .msg_flags = 99};
    long n = SHOW(recvmsg(fd, &h, 0));
    text("first", a, 3);
    text("second", b, n - 3);
    printf("flags %x control %zu ", h.msg_flags, h.msg_controllen);
    print_name(&h);
    h.msg_iovlen = 2000;
    SHOW(sendmsg(fd, &h, 0));
    SHOW(recvmsg(fd, &h, 0));
    h = (struct msghdr){.msg_iov = NULL, .msg_iovlen = 1};
    SHOW(sendmsg(fd, &h, 0));
    SHOW(sendmsg(fd, NULL, 0));
    SHOW(recvmsg(fd, NULL, 0));
    h = (struct msghdr){0};
    SHOW(sendmsg(fd, &h, 0));
    /* a destination is ignored on a connected stream */
    struct sockaddr_in to = peer(P_DISCARD);
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    socklen_t len = sizeof(from);
    SHOW(recvfrom(fd, b, 1, 0, (struct sockaddr *)&from, &len));
    printf("len %u\n", (unsigned)len);
    close(fd);
}

/* The time in it changes; that it is of this moment does not. */
static void print_stamp(const struct cmsghdr *c) {
    struct timeval tv, *got = (void *)CMSG_DATA(c);
    gettimeofday(&tv, NULL);
    printf(" type %d recent %d", c->cmsg_type,
           labs(tv.tv_sec - got->tv_sec) < 3);
}

static void datagram(void) {
    struct sockaddr_in to = peer(P_ECHO), from;
    char a[4], b[4], ctl[256];
    section("datagram");
    int fd = udp(), one = 1;
    NEED(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)));
    NEED(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one)));
    NEED(setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one)));
    NEED(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof(one)));
    struct iovec out[2] = {{"hello", 5}, {" world", 6}};
    struct msghdr h = {.msg_iov = out,
                       .msg_iovlen = 2,
                       .msg_name = &to,
                       .msg_namelen = sizeof(to)};
    SHOW(sendmsg(fd, &h, 0));
    struct iovec in[2] = {{a, 4}, {b, 4}};
    h = (struct msghdr){.msg_iov = in,
                        .msg_iovlen = 2,
                        .msg_name = &from,
                        .msg_namelen = sizeof(from),
                        .msg_control = ctl,
                        .msg_controllen = sizeof(ctl)};
    long n = SHOW(recvmsg(fd, &h, 0));
    text("a", a, 4);
    text("b", b, 4);
    printf("%ld flags %x ", n, h.msg_flags);
    print_name(&h);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
        printf("control %d %d len %zu", c->cmsg_level, c->cmsg_type,
               c->cmsg_len);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo *p = (void *)CMSG_DATA(c);
            printf(" addr %s index %d", inet_ntoa(p->ipi_addr),
                   p->ipi_ifindex > 0);
            printf(" spec %s", inet_ntoa(p->ipi_spec_dst));
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) {
            printf(" ttl %d", *(int *)CMSG_DATA(c));
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            printf(" tos %d", *CMSG_DATA(c));
        } else if (c->cmsg_level == SOL_SOCKET) {
            print_stamp(c);
        }
        printf("\n");
    }
    /* room for one control message only */
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    h.msg_control = ctl, h.msg_controllen = 36;
    SHOW(recvmsg(fd, &h, 0));
    printf("flags %x control %zu\n", h.msg_flags, h.msg_controllen);
    SHOW(sendto(fd, "x", 1, 0, SA(to)));
    h.msg_control = NULL, h.msg_controllen = 0;
    SHOW(recvmsg(fd, &h, 0));
    printf("flags %x control %zu\n", h.msg_flags, h.msg_controllen);
    close(fd);
}

static void control_out(void) {
    struct sockaddr_in to = peer(P_ECHO);
    union {
        struct cmsghdr c;
        char room[128];
    } u = {0};
    char buf[16];
    section("control messages out");
    int fd = udp();
    struct iovec iov = {"ttl", 3};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_name = &to,
                       .msg_namelen = sizeof(to),
                       .msg_control = &u};
    u.c.cmsg_level = IPPROTO_IP, u.c.cmsg_type = IP_TTL;
    u.c.cmsg_len = CMSG_LEN(sizeof(int));
    h.msg_controllen = CMSG_SPACE(sizeof(int));
    *(int *)CMSG_DATA(&u.c) = 9;
    SHOW(sendmsg(fd, &h, 0));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    *(int *)CMSG_DATA(&u.c) = 300;
    SHOW(sendmsg(fd, &h, 0));
    u.c.cmsg_type = 9999;
    SHOW(sendmsg(fd, &h, 0));
    u.c.cmsg_len = 3;
    SHOW(sendmsg(fd, &h, 0));
    struct in_pktinfo *p = (void *)CMSG_DATA(&u.c);
    u.c.cmsg_type = IP_PKTINFO, u.c.cmsg_len = CMSG_LEN(sizeof(*p));
    h.msg_controllen = CMSG_SPACE(sizeof(*p));
    memset(p, 0, sizeof(*p));
    p->ipi_spec_dst = own(0).sin_addr;
    SHOW(sendmsg(fd, &h, 0));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    p->ipi_spec_dst = addr_of("203.0.113.1", 0).sin_addr;
    SHOW(sendmsg(fd, &h, 0));
    close(fd);
}

static void many(void) {
    struct sockaddr_in to = peer(P_ECHO);
    char in[4][8];
    struct mmsghdr mm[4];
    struct iovec iov[4];
    struct timespec ts = {0, 300000000};
    section("sendmmsg, recvmmsg");
    int fd = udp_to(P_ECHO);
    memset(mm, 0, sizeof(mm));
    for (int i = 0; i < 3; i++) {
        iov[i] = (struct iovec){"message", (size_t)i * 3};
        mm[i].msg_hdr.msg_iov = &iov[i], mm[i].msg_hdr.msg_iovlen = 1;
    }
    SHOW(sendmmsg(fd, mm, 3, 0));
    printf("lengths %u %u %u\n", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
    sleep_ms(200);
    memset(mm, 0, sizeof(mm));
    for (int i = 0; i < 4; i++) {
        iov[i] = (struct iovec){in[i], sizeof(in[i])};
        mm[i].msg_hdr.msg_iov = &iov[i], mm[i].msg_hdr.msg_iovlen = 1;
    }
    SHOW(recvmmsg(fd, mm, 4, MSG_WAITFORONE, NULL));
    printf("lengths %u %u %u\n", mm[0].msg_len, mm[1].msg_len, mm[2].msg_len);
    SHOW(recvmmsg(fd, mm, 4, MSG_DONTWAIT, NULL));
    SHOW(recvmmsg(fd, mm, 0, 0, NULL));
    ts.tv_nsec = -1;
    SHOW(recvmmsg(fd, mm, 4, 0, &ts));
    SHOW(sendmmsg(fd, mm, 0, 0));
    close(fd);
    fd = udp();
    SHOW(sendmmsg(fd, mm, 1, 0));
    mm[0].msg_hdr.msg_name = &to, mm[0].msg_hdr.msg_namelen = sizeof(to);
    iov[0].iov_len = 4;
    SHOW(sendmmsg(fd, mm, 2, 0)); /* the second has no destination */
    close(fd);
}

static void error_queue(void) {
    struct sockaddr_in to = peer(P_NOBODY), name;
    char buf[32], ctl[256];
    int fd = udp(), one = 1;
    section("MSG_ERRQUEUE");
    NEED(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)));
    NEED(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof(one)));
    SHOW(sendto(fd, "lost", 4, 0, SA(to)));
    printf("poll %x\n", await(fd, POLLIN));
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_name = &name,
                       .msg_namelen = sizeof(name),
                       .msg_control = ctl,
                       .msg_controllen = sizeof(ctl)};
    long n = SHOW(recvmsg(fd, &h, MSG_ERRQUEUE));
    text("quoted", buf, n);
    printf("flags %x ", h.msg_flags);
    print_name(&h);
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    if (c && c->cmsg_level == SOL_SOCKET) {
        print_stamp(c);
        c = CMSG_NXTHDR(&h, c);
    }
    if (c) {
        struct sock_extended_err *e = (void *)CMSG_DATA(c);
        struct sockaddr_in *o = (void *)SO_EE_OFFENDER(e);
        printf("%d %d len %zu errno %s origin %d type %d code %d from %s\n",
               c->cmsg_level, c->cmsg_type, c->cmsg_len,
               strerrorname_np((int)e->ee_errno), e->ee_origin, e->ee_type,
               e->ee_code, inet_ntoa(o->sin_addr));
    }
    SHOW(recvmsg(fd, &h, MSG_ERRQUEUE));
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    stream();
    datagram();
    control_out();
    many();
    error_queue();
    return 0;
}
