/* shutdown, close, resets, SIGPIPE, linger. */
#include "t.h"

static volatile int pipes;
static void on_pipe(int sig) { pipes++; }

static void half_close(void) {
    char buf[64];
    section("half close");
    int fd = tcp_to(P_COUNT);
    SHOW(write(fd, "12345678", 8));
    SHOW(shutdown(fd, SHUT_WR));
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
    SHOW(write(fd, "x", 1));
    printf("SIGPIPE %d\n", pipes);
    long n = SHOW(read(fd, buf, sizeof(buf)));
    text("count", buf, n);
    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(shutdown(fd, SHUT_WR));
    SHOW(shutdown(fd, SHUT_RDWR));
    SHOW(shutdown(fd, 3));
    SHOW(shutdown(fd, -1));
    SHOW(close(fd));
    SHOW(shutdown(fd, SHUT_RD));
}

static void shut_read(void) {
    char buf[64];
    section("SHUT_RD");
    int fd = tcp_to(P_HELLO);
    await(fd, POLLIN);
    SHOW(shutdown(fd, SHUT_RD));
    printf("poll %x\n", await(fd, POLLIN | POLLOUT | POLLRDHUP));
    SHOW(read(fd, buf, sizeof(buf))); /* what was there is still there */
    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(write(fd, "x", 1));
    close(fd);
}

static void peer_closes(void) {
    char buf[64];
    section("peer closes");
    int fd = tcp_to(P_CLOSE);
    sleep_ms(100);
    printf("poll %x\n", await(fd, POLLIN | POLLOUT | POLLRDHUP));
    long n = SHOW(recv(fd, buf, sizeof(buf), 0));
    text("got", buf, n);
    SHOW(recv(fd, buf, sizeof(buf), 0));
    printf("poll %x\n", await(fd, POLLIN | POLLOUT | POLLRDHUP));
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL)); /* answered by a reset */
    sleep_ms(200);
    printf("poll %x\n", await(fd, POLLIN | POLLOUT | POLLRDHUP));
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
    SHOW(recv(fd, buf, sizeof(buf), 0));
    close(fd);
}

static void reset(void) {
    char buf[64];
    int err;
    socklen_t len = sizeof(err);
    section("reset");
    int fd = tcp_to(P_RESET);
    SHOW(write(fd, "x", 1));
    SHOW(read(fd, buf, sizeof(buf)));
    SHOW(read(fd, buf, sizeof(buf)));
    pipes = 0;
    SHOW(write(fd, "x", 1));
    printf("SIGPIPE %d\n", pipes);
    printf("poll %x\n", await(fd, POLLIN | POLLOUT | POLLRDHUP));
    SHOW(getpeername(fd, (struct sockaddr *)buf, &len));
    SHOW(shutdown(fd, SHUT_RDWR));
    close(fd);

    fd = tcp_to(P_RESET);
    SHOW(write(fd, "x", 1));
    sleep_ms(200);
    printf("poll %x\n", await(fd, POLLIN | POLLOUT | POLLRDHUP));
    len = sizeof(err);
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
    printf("SO_ERROR %s\n", strerrorname_np(err));
    SHOW(read(fd, buf, sizeof(buf)));
    close(fd);

    fd = tcp_to(P_RESET);
    SHOW(write(fd, "x", 1));
    sleep_ms(200);
    pipes = 0;
    SHOW(write(fd, "x", 1));
    SHOW(write(fd, "x", 1));
    printf("SIGPIPE %d\n", pipes);
    close(fd);
}

/* Closing with unread data, and linger 0, are seen as a reset. */
static void abort_close(void) {
    struct linger l = {1, 0};
    char buf[8];
    int port;
    section("abort");
    int ls = tcp_listen(5, &port);
    struct sockaddr_in a = own(port);
    for (int i = 0; i < 2; i++) {
        int c = tcp();
        NEED(connect(c, SA(a)));
        int s = (int)NEED(accept(ls, NULL, NULL));
        if (i == 0) {
            NEED(write(c, "unread", 6));
            await(s, POLLIN);
        } else {
            NEED(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
        }
        SHOW(close(s));
        sleep_ms(100);
        SHOW(read(c, buf, sizeof(buf)));
        close(c);
    }
    close(ls);
}

static void linger(void) {
    struct linger l = {1, 2};
    section("linger");
    int fd = tcp_to(P_DISCARD);
    NEED(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    NEED(write(fd, "bye", 3));
    long t = now_ms();
    SHOW(close(fd));
    took(t, 0);
    l.l_linger = 1;
    fd = tcp_to(P_STUCK);
    nonblock(fd, true);
    static char junk[65536];
    /* full for a moment only, until the peer's buffer is full as well */
    for (bool more = true; more; sleep_ms(50))
        for (more = false; write(fd, junk, sizeof(junk)) > 0;)
            more = true;
    NEED(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    t = now_ms();
    SHOW(close(fd));
    took(t, 1000);
}

static void twice(void) {
    section("double close");
    int fd = tcp_to(P_HELLO);
    SHOW(close(fd));
    SHOW(close(fd));
    SHOW(read(fd, &fd, 1));
    SHOW(write(-1, &fd, 1));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction sa = {.sa_handler = on_pipe};
    sigaction(SIGPIPE, &sa, NULL);
    half_close();
    shut_read();
    peer_closes();
    reset();
    abort_close();
    linger();
    twice();
    return 0;
}
