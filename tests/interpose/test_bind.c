/* Who may share an address: SO_REUSEADDR, SO_REUSEPORT, wildcard and specific,
 * TIME-WAIT, UDP. */
#include "t.h"

static int with(int fd, int opt) {
    int one = 1;
    if (opt)
        NEED(setsockopt(fd, SOL_SOCKET, opt, &one, sizeof(one)));
    return fd;
}

/* Bind two sockets to one port, the second on `ip`; is it allowed? */
static void pair(const char *what, int type, int opt1, int opt2, bool listens,
                 const char *ip1, const char *ip2) {
    struct sockaddr_in a = addr_of(ip1, 0);
    socklen_t len = sizeof(a);
    int one = with((int)NEED(socket(AF_INET, type, 0)), opt1);
    int two = with((int)NEED(socket(AF_INET, type, 0)), opt2);
    NEED(bind(one, SA(a)));
    if (listens)
        NEED(listen(one, 1));
    NEED(getsockname(one, (struct sockaddr *)&a, &len));
    struct sockaddr_in b = addr_of(ip2, ntohs(a.sin_port));
    int r = bind(two, SA(b));
    printf("%s: bind %s", what, r ? strerrorname_np(errno) : "ok");
    if (r == 0 && type == SOCK_STREAM) {
        r = listen(two, 1);
        printf(", listen %s", r ? strerrorname_np(errno) : "ok");
    }
    printf("\n");
    close(one);
    close(two);
}

static void pairs(int type) {
    const char *me = getenv("SELF"), *any = "0.0.0.0";
    bool tcp_ = type == SOCK_STREAM;
    section(tcp_ ? "TCP" : "UDP");
    pair("plain", type, 0, 0, false, me, me);
    pair("reuseaddr both", type, SO_REUSEADDR, SO_REUSEADDR, false, me, me);
    pair("reuseaddr first", type, SO_REUSEADDR, 0, false, me, me);
    pair("reuseaddr second", type, 0, SO_REUSEADDR, false, me, me);
    pair("reuseport both", type, SO_REUSEPORT, SO_REUSEPORT, false, me, me);
    pair("reuseport first", type, SO_REUSEPORT, 0, false, me, me);
    pair("any then own", type, 0, 0, false, any, me);
    pair("own then any", type, 0, 0, false, me, any);
    pair("any then own, reuse", type, SO_REUSEADDR, SO_REUSEADDR, false, any,
         me);
    if (!tcp_)
        return;
    pair("listening, reuseaddr", type, SO_REUSEADDR, SO_REUSEADDR, true, me,
         me);
    pair("listening, reuseport", type, SO_REUSEPORT, SO_REUSEPORT, true, me,
         me);
    pair("listening any, own", type, SO_REUSEADDR, SO_REUSEADDR, true, any, me);
}

/* The side that closes first keeps the address for a while. */
static void time_wait(void) {
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    char c;
    int port;
    section("TIME-WAIT");
    int l = with(tcp(), SO_REUSEADDR);
    a = own(0);
    NEED(bind(l, SA(a)));
    NEED(listen(l, 1));
    NEED(getsockname(l, (struct sockaddr *)&a, &len));
    port = ntohs(a.sin_port);
    control("dial %d echo", port);
    int fd = (int)NEED(accept(l, NULL, NULL));
    NEED(getsockname(fd, (struct sockaddr *)&a, &len));
    shutdown(fd, SHUT_WR);
    SHOW(read(fd, &c, 1));
    close(fd);
    close(l);
    sleep_ms(100);
    fd = tcp();
    SHOW(bind(fd, SA(a)));
    close(fd);
    fd = with(tcp(), SO_REUSEADDR);
    SHOW(bind(fd, SA(a)));
    SHOW(listen(fd, 1));
    control("dial %d close", port);
    int again = accept(fd, NULL, NULL);
    SHOW_OK(again);
    close(again);
    close(fd);
}

/* Connections may share one local port when the peers differ. */
static void shared_port(void) {
    struct sockaddr_in a = own(0), to = peer(P_ECHO);
    socklen_t len = sizeof(a);
    section("one local port, two peers");
    int one = with(tcp(), SO_REUSEADDR), two = with(tcp(), SO_REUSEADDR);
    NEED(bind(one, SA(a)));
    NEED(getsockname(one, (struct sockaddr *)&a, &len));
    SHOW(connect(one, SA(to)));
    SHOW(bind(two, SA(a)));
    SHOW(connect(two, SA(to)));
    to = peer(P_HELLO);
    SHOW(connect(two, SA(to)));
    close(one);
    close(two);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    pairs(SOCK_STREAM);
    pairs(SOCK_DGRAM);
    time_wait();
    shared_port();
    return 0;
}
