/* Raw and ping sockets, and Debian's ping and traceroute on them. */
#include "t.h"

#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

static uint16_t sum(const void *data, size_t n) {
    const uint8_t *p = data;
    uint32_t s = 0;
    for (size_t i = 0; i + 1 < n; i += 2)
        s += (uint32_t)(p[i] << 8 | p[i + 1]);
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return htons((uint16_t)~s);
}

static size_t echo(unsigned char *m, int seq) {
    memset(m, 0, 64);
    m[0] = ICMP_ECHO;
    m[4] = 0x12, m[5] = 0x34, m[7] = (unsigned char)seq;
    memcpy(m + 8, "abcdefgh", 8);
    uint16_t c = sum(m, 16);
    memcpy(m + 2, &c, 2);
    return 16;
}

static void describe(const unsigned char *b, long n) {
    const struct iphdr *ip = (const void *)b;
    if (n < 28)
        return;
    printf("ip %d len %d proto %d ttl %d type %d code %d id %02x%02x: %.8s\n",
           ip->version, ntohs(ip->tot_len) == n, ip->protocol, ip->ttl, b[20],
           b[21], b[24], b[25], b + 28);
}

static void raw_icmp(void) {
    unsigned char m[64], in[256];
    struct sockaddr_in a = peer(0), from = {0};
    socklen_t len = sizeof(from);
    int v = 0;
    section("raw ICMP");
    int fd = NEED(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    len = sizeof(v);
    SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &len));
    printf("type %d\n", v);
    SHOW(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &len));
    printf("protocol %d\n", v);
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, 4));
    SHOW(send(fd, m, echo(m, 1), 0));
    SHOW(sendto(fd, m, echo(m, 1), 0, SA(a)));
    printf("ready %d\n", await(fd, POLLIN) & POLLIN);
    len = sizeof(from);
    long n = SHOW(recvfrom(fd, in, sizeof(in), 0, (void *)&from, &len));
    describe(in, n);
    printf("from %s %d\n", inet_ntoa(from.sin_addr), from.sin_port);
    len = sizeof(from);
    SHOW(getsockname(fd, (void *)&from, &len));
    printf("name %s %d\n", inet_ntoa(from.sin_addr), ntohs(from.sin_port));
    SHOW(connect(fd, SA(a)));
    SHOW(write(fd, m, echo(m, 2)));
    n = SHOW(read(fd, in, sizeof(in)));
    describe(in, n);
    uint32_t filter = 1u << ICMP_ECHOREPLY;
    SHOW(setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)));
    SHOW(write(fd, m, echo(m, 3)));
    struct timeval tv = {0, 200000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    SHOW(read(fd, in, sizeof(in)));
    SHOW(listen(fd, 1));
    SHOW(bind(fd, SA(a)));
    close(fd);
}

static void header_included(void) {
    unsigned char m[64] = {0}, in[256];
    struct sockaddr_in a = peer(P_ECHO), self = own(0);
    struct iphdr *ip = (void *)m;
    struct udphdr *u = (void *)(m + 20);
    section("IP_HDRINCL");
    int fd = NEED(socket(AF_INET, SOCK_RAW, IPPROTO_RAW)), v = 0;
    socklen_t len = sizeof(v);
    SHOW(getsockopt(fd, IPPROTO_IP, IP_HDRINCL, &v, &len));
    printf("hdrincl %d\n", v);
    int answers = udp();
    self.sin_port = htons(4321);
    NEED(bind(answers, SA(self)));
    *ip = (struct iphdr){.version = 4,
                         .ihl = 5,
                         .ttl = 9,
                         .protocol = IPPROTO_UDP,
                         .daddr = a.sin_addr.s_addr};
    *u = (struct udphdr){.source = htons(4321),
                         .dest = htons(P_ECHO),
                         .len = htons(12)};
    memcpy(m + 28, "raw!", 4);
    SHOW(sendto(fd, m, 32, 0, SA(a)));
    await(answers, POLLIN);
    long n = SHOW(recv(answers, in, sizeof(in), MSG_DONTWAIT));
    text("echoed", in, n);
    SHOW(sendto(fd, m, 10, 0, SA(a)));
    SHOW(recv(fd, in, sizeof(in), MSG_DONTWAIT));
    close(fd);
    close(answers);
}

static void errors(void) {
    unsigned char m[64];
    char control[256];
    struct sockaddr_in a = peer(P_NOBODY), from;
    struct iovec iov = {m, sizeof(m)};
    struct msghdr h = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    int on = 1;
    section("raw UDP to nobody, error queue");
    int fd = NEED(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
    SHOW(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)));
    struct udphdr *u = (void *)m;
    *u = (struct udphdr){.source = htons(4322),
                         .dest = htons(P_NOBODY),
                         .len = htons(12)};
    memcpy(m + 8, "lost", 4);
    SHOW(sendto(fd, m, 12, 0, SA(a)));
    printf("ready %d\n", await(fd, 0) & POLLERR);
    long n = SHOW(recvmsg(fd, &h, MSG_ERRQUEUE));
    text("quoted", m + 8, n - 8);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
        struct sock_extended_err *e = (void *)CMSG_DATA(c);
        if (c->cmsg_type == IP_RECVERR)
            printf("%s origin %d type %d code %d from %s\n",
                   strerrorname_np((int)e->ee_errno), e->ee_origin, e->ee_type,
                   e->ee_code,
                   inet_ntoa(
                       ((struct sockaddr_in *)SO_EE_OFFENDER(e))->sin_addr));
    }
    close(fd);
    section("refused kinds");
    SHOW(socket(AF_INET, SOCK_RAW, 0));
    SHOW(socket(AF_INET, SOCK_RAW, 300));
    SHOW(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
}

static void ping(void) {
    unsigned char m[64], in[64];
    struct sockaddr_in a = peer(0);
    section("ping socket");
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    show("socket", fd < 0 ? fd : 0);
    if (fd < 0)
        return;
    SHOW(sendto(fd, m, echo(m, 1), 0, SA(a)));
    await(fd, POLLIN);
    long n = SHOW(recv(fd, in, sizeof(in), 0));
    printf("type %d seq %d %.8s\n", in[0], in[7], in + 8);
    m[0] = ICMP_ECHOREPLY;
    SHOW(sendto(fd, m, 16, 0, SA(a)));
    (void)n;
    close(fd);
}

/* The output without what differs from run to run. */
static void program(const char *fmt, const char *arg) {
    char cmd[300];
    snprintf(cmd, sizeof(cmd), fmt, arg);
    section(cmd);
    fflush(stdout);
    strcat(cmd, " 2>&1 | sed -E 's/[0-9.]+ ?ms/T ms/g; /^rtt/d; /^$/d'");
    printf("status %d\n", system(cmd));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    raw_icmp();
    header_included();
    errors();
    ping();
    program("ping -n -c 2 -i 0.2 %s", getenv("PEER"));
    program("ping -n -c 1 -s 4000 %s", getenv("PEER"));
    program("ping -n -c 1 -W 1 %s", "127.0.0.1");
    program("traceroute -n -q 1 -w 2 %s", getenv("PEER"));
    program("traceroute -n -q 1 -w 2 -I %s", getenv("PEER"));
    program("traceroute -n -q 1 -w 2 -T -p 7 %s", getenv("PEER"));
    return 0;
}
