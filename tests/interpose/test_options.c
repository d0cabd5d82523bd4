/* getsockopt and setsockopt: values, defaults, lengths, errors. */
// differs: TCP_CONGESTION: the kernel may not offer both, its default is a setting
// differs: ^TCP_QUICKACK: Linux reports its mood of the moment
// differs: ^SO_(SND|RCV)BUF default: the kernel's is a setting
#include "t.h"

static void get(int fd, int level, int opt, const char *name) {
    int v[4] = {-99, -99, -99, -99};
    socklen_t len = sizeof(v);
    int r = getsockopt(fd, level, opt, v, &len);
    if (r < 0)
        printf("%s: %s\n", name, strerrorname_np(errno));
    else
        printf("%s: %d len %u\n", name, v[0], (unsigned)len);
}

static void set(int fd, int level, int opt, const char *name, int v) {
    int r = setsockopt(fd, level, opt, &v, sizeof(v));
    printf("set %s %d: %s\n", name, v, r < 0 ? strerrorname_np(errno) : "ok");
    if (r == 0)
        get(fd, level, opt, name);
}

#define GET(fd, level, opt) get(fd, level, opt, #opt)
#define SET(fd, level, opt, v) set(fd, level, opt, #opt, v)

static void defaults(int fd) {
    GET(fd, SOL_SOCKET, SO_TYPE);
    GET(fd, SOL_SOCKET, SO_DOMAIN);
    GET(fd, SOL_SOCKET, SO_PROTOCOL);
    GET(fd, SOL_SOCKET, SO_ERROR);
    GET(fd, SOL_SOCKET, SO_ACCEPTCONN);
    GET(fd, SOL_SOCKET, SO_REUSEADDR);
    GET(fd, SOL_SOCKET, SO_REUSEPORT);
    GET(fd, SOL_SOCKET, SO_KEEPALIVE);
    GET(fd, SOL_SOCKET, SO_BROADCAST);
    GET(fd, SOL_SOCKET, SO_OOBINLINE);
    GET(fd, SOL_SOCKET, SO_RCVLOWAT);
    GET(fd, SOL_SOCKET, SO_PRIORITY);
    GET(fd, SOL_SOCKET, SO_LINGER);
    GET(fd, SOL_SOCKET, SO_TIMESTAMP);
    GET(fd, SOL_SOCKET, SO_RCVTIMEO);
    GET(fd, SOL_SOCKET, SO_SNDTIMEO);
    GET(fd, IPPROTO_IP, IP_TTL);
    GET(fd, IPPROTO_IP, IP_TOS);
    GET(fd, IPPROTO_IP, IP_MTU_DISCOVER);
    GET(fd, IPPROTO_IP, IP_MTU);
    GET(fd, IPPROTO_IP, IP_RECVERR);
    GET(fd, IPPROTO_IP, IP_PKTINFO);
    GET(fd, IPPROTO_IP, IP_FREEBIND);
    GET(fd, IPPROTO_TCP, TCP_NODELAY);
    GET(fd, IPPROTO_TCP, TCP_CORK);
    GET(fd, IPPROTO_TCP, TCP_KEEPIDLE);
    GET(fd, IPPROTO_TCP, TCP_KEEPINTVL);
    GET(fd, IPPROTO_TCP, TCP_KEEPCNT);
    GET(fd, IPPROTO_TCP, TCP_SYNCNT);
    GET(fd, IPPROTO_TCP, TCP_LINGER2);
    GET(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT);
    GET(fd, IPPROTO_TCP, TCP_USER_TIMEOUT);
    GET(fd, IPPROTO_TCP, TCP_QUICKACK);
    GET(fd, IPPROTO_TCP, TCP_MAXSEG);
    GET(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    GET(fd, SOL_SOCKET, 9999);
    GET(fd, IPPROTO_TCP, 9999);
    GET(fd, IPPROTO_IP, 9999);
    GET(fd, 12345, 1);
}

static void values(int fd) {
    SET(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    SET(fd, SOL_SOCKET, SO_REUSEADDR, 7);
    SET(fd, SOL_SOCKET, SO_REUSEADDR, 0);
    SET(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    SET(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    SET(fd, SOL_SOCKET, SO_BROADCAST, 1);
    SET(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    SET(fd, SOL_SOCKET, SO_SNDBUF, 50000);
    SET(fd, SOL_SOCKET, SO_SNDBUF, 1);
    SET(fd, SOL_SOCKET, SO_RCVBUF, 60000);
    SET(fd, SOL_SOCKET, SO_RCVBUF, 1);
    SET(fd, SOL_SOCKET, SO_RCVLOWAT, 10);
    SET(fd, SOL_SOCKET, SO_RCVLOWAT, 0);
    SET(fd, SOL_SOCKET, SO_PRIORITY, 5);
    SET(fd, SOL_SOCKET, SO_ERROR, 1);
    SET(fd, SOL_SOCKET, SO_TYPE, 1);
    SET(fd, SOL_SOCKET, SO_ACCEPTCONN, 1);
    SET(fd, IPPROTO_IP, IP_TTL, 33);
    SET(fd, IPPROTO_IP, IP_TTL, 0);
    SET(fd, IPPROTO_IP, IP_TTL, 256);
    SET(fd, IPPROTO_IP, IP_TTL, -1);
    SET(fd, IPPROTO_IP, IP_TOS, 0x10);
    SET(fd, IPPROTO_IP, IP_MTU_DISCOVER, 2);
    SET(fd, IPPROTO_IP, IP_MTU_DISCOVER, 9);
    SET(fd, IPPROTO_IP, IP_RECVERR, 1);
    SET(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    SET(fd, IPPROTO_TCP, TCP_NODELAY, 0);
    SET(fd, IPPROTO_TCP, TCP_CORK, 1);
    SET(fd, IPPROTO_TCP, TCP_CORK, 0);
    SET(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    SET(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0);
    SET(fd, IPPROTO_TCP, TCP_KEEPIDLE, 40000);
    SET(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    SET(fd, IPPROTO_TCP, TCP_KEEPINTVL, 0);
    SET(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    SET(fd, IPPROTO_TCP, TCP_KEEPCNT, 200);
    SET(fd, IPPROTO_TCP, TCP_SYNCNT, 3);
    SET(fd, IPPROTO_TCP, TCP_SYNCNT, 0);
    SET(fd, IPPROTO_TCP, TCP_LINGER2, 10);
    SET(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
    SET(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, -1);
    SET(fd, IPPROTO_TCP, TCP_MAXSEG, 1000);
    SET(fd, IPPROTO_TCP, TCP_MAXSEG, 10);
    SET(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 20000);
    SET(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
    SET(fd, SOL_SOCKET, 9999, 1);
    SET(fd, IPPROTO_TCP, 9999, 1);
    SET(fd, IPPROTO_IP, 9999, 1);
    SET(fd, 12345, 1, 1);
}

static void lengths(int fd) {
    unsigned char buf[32];
    int one = 1;
    section("lengths");
    for (int n = 0; n <= 4; n++) {
        printf("set %d bytes: SOCKET %d", n,
               setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, (socklen_t)n));
        printf(" TCP %d",
               setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, (socklen_t)n));
        printf(" IP %d\n",
               setsockopt(fd, IPPROTO_IP, IP_TTL, &one, (socklen_t)n));
    }
    one = 64;
    setsockopt(fd, IPPROTO_IP, IP_TTL, &one, sizeof(one));
    for (int n = 0; n <= 8; n += n < 5 ? 1 : 3) {
        socklen_t a = (socklen_t)n, b = a, c = a;
        int ra = getsockopt(fd, SOL_SOCKET, SO_TYPE, buf, &a);
        int rb = getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, buf, &b);
        int rc = getsockopt(fd, IPPROTO_IP, IP_TTL, buf, &c);
        printf("get %d bytes: SOCKET %d %u TCP %d %u IP %d %u\n", n, ra, a, rb,
               b, rc, c);
    }
    socklen_t len = (socklen_t)-1;
    SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, buf, &len));
    len = (socklen_t)-1;
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, buf, &len));
    len = 4;
    SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, NULL, &len));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, buf, NULL));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, (socklen_t)-1));
    SHOW(setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &one, 4));
}

static void structured(int fd) {
    struct linger l = {1, 5};
    struct timeval tv = {1, 500000};
    socklen_t len;
    section("structures");
    SHOW(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 4));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    len = sizeof(l), memset(&l, 0, sizeof(l));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("linger %d %d\n", l.l_onoff, l.l_linger);
    l.l_onoff = 0;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, 8));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    len = sizeof(tv), memset(&tv, 0, sizeof(tv));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
    printf("timeout %ld %ld len %u\n", (long)tv.tv_sec, (long)tv.tv_usec, len);
    tv.tv_usec = 1000000;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    tv.tv_usec = -1;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    tv.tv_sec = -1, tv.tv_usec = 0;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    tv.tv_sec = 0;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
}

static void congestion(int fd) {
    char name[32] = "";
    socklen_t len = sizeof(name);
    section("TCP_CONGESTION");
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
    printf("%s len %u\n", name, (unsigned)len);
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5));
    len = sizeof(name);
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
    printf("%s len %u\n", name, (unsigned)len);
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nothing", 7));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 0));
}

static void info(void) {
    struct tcp_info t;
    socklen_t len = sizeof(t);
    section("TCP_INFO");
    int fd = tcp();
    memset(&t, 0xff, sizeof(t));
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len));
    printf("state %d len %u\n", t.tcpi_state, (unsigned)len);
    close(fd);
    fd = tcp_to(P_HELLO);
    len = sizeof(t);
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len));
    printf("state %d options %d pmtu %u mss %u rtt %s cwnd %u\n", t.tcpi_state,
           t.tcpi_options & 7, t.tcpi_pmtu, t.tcpi_snd_mss,
           t.tcpi_rtt ? "known" : "0", t.tcpi_snd_cwnd);
    GET(fd, IPPROTO_TCP, TCP_MAXSEG);
    GET(fd, IPPROTO_IP, IP_MTU);
    len = 10;
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len));
    printf("len %u\n", (unsigned)len);
    shutdown(fd, SHUT_WR);
    await(fd, POLLRDHUP);
    sleep_ms(100);
    char c[8];
    read_all(fd, c, 8);
    len = sizeof(t);
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len));
    printf("state %d\n", t.tcpi_state);
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int fd = tcp();
    section("TCP");
    defaults(fd);
    values(fd);
    lengths(fd);
    structured(fd);
    congestion(fd);
    close(fd);
    section("UDP");
    fd = udp();
    defaults(fd);
    SET(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    SET(fd, IPPROTO_IP, IP_PKTINFO, 1);
    SET(fd, IPPROTO_IP, IP_RECVTTL, 1);
    SET(fd, IPPROTO_IP, IP_RECVTOS, 1);
    SET(fd, SOL_SOCKET, SO_BROADCAST, 1);
    close(fd);
    info();
    return 0;
}
