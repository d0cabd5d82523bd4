/* Urgent data: MSG_OOB, SO_OOBINLINE, SIOCATMARK, POLLPRI. */
#include "t.h"

static int ends[2];

static void pair(void) {
    int port;
    int l = tcp_listen(1, &port);
    struct sockaddr_in a = own(port);
    ends[0] = tcp();
    NEED(connect(ends[0], SA(a)));
    ends[1] = (int)NEED(accept(l, NULL, NULL));
    close(l);
}

static void unpair(void) {
    close(ends[0]);
    close(ends[1]);
}

static void apart(void) {
    char buf[16];
    section("out of band");
    pair();
    SHOW(recv(ends[1], buf, 1, MSG_OOB));
    SHOW(send(ends[0], "ab", 2, 0));
    SHOW(send(ends[0], "cU", 2, MSG_OOB));
    SHOW(send(ends[0], "de", 2, 0));
    sleep_ms(100);
    printf("poll %x\n", await(ends[1], POLLIN | POLLPRI));
    SHOW(sockatmark(ends[1]));
    long n = SHOW(recv(ends[1], buf, sizeof(buf), 0)); /* up to the mark */
    text("got", buf, n);
    SHOW(sockatmark(ends[1]));
    n = SHOW(recv(ends[1], buf, 1, MSG_OOB | MSG_PEEK));
    text("urgent", buf, n);
    n = SHOW(recv(ends[1], buf, 1, MSG_OOB));
    text("urgent", buf, n);
    SHOW(recv(ends[1], buf, 1, MSG_OOB));
    n = SHOW(recv(ends[1], buf, sizeof(buf), 0));
    text("got", buf, n);
    SHOW(sockatmark(ends[1]));
    printf("poll %x\n", poll(&(struct pollfd){ends[1], POLLPRI, 0}, 1, 0));
    unpair();
}

static void in_line(void) {
    char buf[16];
    int one = 1;
    section("in line");
    pair();
    NEED(setsockopt(ends[1], SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)));
    SHOW(send(ends[0], "abU", 3, MSG_OOB));
    SHOW(send(ends[0], "cd", 2, 0));
    sleep_ms(100);
    SHOW(recv(ends[1], buf, 1, MSG_OOB));
    long n = SHOW(recv(ends[1], buf, sizeof(buf), 0));
    text("got", buf, n);
    SHOW(sockatmark(ends[1]));
    n = SHOW(recv(ends[1], buf, sizeof(buf), 0));
    text("got", buf, n);
    unpair();
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    apart();
    in_line();
    return 0;
}
