/* Blocking: time-outs, signals, MSG_PEEK, MSG_WAITALL, full buffers. */
#include "t.h"
#include <pthread.h>

static volatile int alarms;
static void on_alarm(int sig) { alarms++; }

static void arm(int ms, int flags) {
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = flags};
    struct itimerval it = {.it_value = {ms / 1000, ms % 1000 * 1000}};
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &it, NULL);
    alarms = 0;
}

static void recv_timeout(int fd, int ms) {
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
}

static void timeouts(void) {
    char buf[16];
    section("SO_RCVTIMEO");
    int fd = tcp_to(P_ECHO);
    recv_timeout(fd, 200);
    long t = now_ms();
    SHOW(recv(fd, buf, sizeof(buf), 0));
    took(t, 200);
    SHOW(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
    SHOW(recv(fd, buf, 0, MSG_DONTWAIT));
    SHOW(send(fd, buf, 0, 0));
    SHOW(write(fd, "abc", 3));
    await(fd, POLLIN);
    SHOW(recv(fd, buf, 0, 0));
    SHOW(recv(fd, buf, 0, MSG_PEEK));
    SHOW(recv(fd, buf, 3, MSG_WAITALL));
    SHOW(write(fd, "de", 2));
    t = now_ms();
    SHOW(recv(fd, buf, 8, MSG_WAITALL)); /* the part that came */
    took(t, 200);
    close(fd);
    fd = udp_to(P_ECHO);
    recv_timeout(fd, 200);
    t = now_ms();
    SHOW(recv(fd, buf, sizeof(buf), 0));
    took(t, 200);
    close(fd);
}

static void interrupted(void) {
    char buf[16];
    section("signals");
    int fd = tcp_to(P_ECHO);
    arm(150, 0);
    SHOW(recv(fd, buf, sizeof(buf), 0));
    printf("handlers %d\n", alarms);
    /* with SA_RESTART the call goes on until the data of the other end */
    arm(100, SA_RESTART);
    int port, drip = tcp_to(P_DRIP);
    SHOW(recv(drip, buf, 9, MSG_WAITALL) > 0 ? 0 : -1);
    printf("handlers %d\n", alarms);
    close(drip);
    /* a time-out makes even those end */
    recv_timeout(fd, 1000);
    arm(150, SA_RESTART);
    SHOW(recv(fd, buf, sizeof(buf), 0));
    printf("handlers %d\n", alarms);
    recv_timeout(fd, 0);
    int l = tcp_listen(1, &port);
    arm(150, 0);
    SHOW(accept(l, NULL, NULL));
    close(l);
    /* partial count */
    NEED(write(fd, "abc", 3));
    await(fd, POLLIN);
    arm(150, 0);
    SHOW(recv(fd, buf, 8, MSG_WAITALL));
    struct sockaddr_in a = addr_of("198.18.77.99", 80);
    int c = tcp();
    arm(150, 0);
    SHOW(connect(c, SA(a)));
    SHOW(connect(c, SA(a)) < 0 && errno == EALREADY ? 0 : 0);
    close(c);
    close(fd);
}

static void peeking(void) {
    char buf[16];
    section("MSG_PEEK");
    int fd = tcp_to(P_DRIP);
    long n = SHOW(recv(fd, buf, sizeof(buf), MSG_PEEK));
    text("peek", buf, n);
    n = SHOW(recv(fd, buf, 2, MSG_PEEK));
    text("peek", buf, n);
    n = SHOW(recv(fd, buf, 2, 0));
    text("read", buf, n);
    n = SHOW(recv(fd, buf, 4, MSG_PEEK | MSG_WAITALL));
    text("peek all", buf, n);
    n = SHOW(recv(fd, buf, 7, MSG_WAITALL));
    text("all", buf, n);
    SHOW(shutdown(fd, SHUT_WR));
    SHOW(recv(fd, buf, 4, MSG_PEEK));
    SHOW(recv(fd, buf, 4, MSG_WAITALL));
    close(fd);
    fd = tcp_to(P_CLOSE);
    n = SHOW(recv(fd, buf, 8, MSG_WAITALL));
    text("to the end", buf, n);
    close(fd);
    fd = tcp_to(P_HELLO);
    await(fd, POLLIN);
    SHOW(recv(fd, NULL, 2, MSG_TRUNC)); /* throws away */
    n = SHOW(recv(fd, buf, 8, 0));
    text("rest", buf, n);
    close(fd);
}

static void lowat(void) {
    char buf[16];
    int low = 6;
    section("SO_RCVLOWAT");
    int fd = tcp_to(P_DRIP);
    NEED(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
    long t = now_ms();
    long n = recv(fd, buf, sizeof(buf), 0);
    printf("enough %d\n", n >= low); /* more on a slow machine */
    took(t, 200);
    close(fd);
}

static void full(void) {
    static char junk[1 << 20];
    struct timeval tv = {0, 300000};
    section("full send buffer");
    int fd = tcp_to(P_STUCK);
    nonblock(fd, true);
    long n, sum = 0;
    for (int idle = 0; idle < 3; idle++) {
        while ((n = write(fd, junk, idle ? 1 : sizeof(junk))) > 0) {
            sum += n;
            idle = 0;
        }
        sleep_ms(200);
    }
    printf("much %d, then %s\n", sum > 10000, strerrorname_np(errno));
    printf("poll %x\n", await(fd, POLLIN | POLLOUT));
    nonblock(fd, false);
    NEED(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
    long t = now_ms();
    SHOW(write(fd, junk, 100));
    took(t, 300);
    SHOW(send(fd, junk, 100, MSG_DONTWAIT));
    close(fd);
}

/* A blocking send returns when everything is queued. */
static void bulk(void) {
    static unsigned char buf[1000000];
    char answer[32];
    section("bulk");
    int fd = tcp_to(P_COUNT);
    struct iovec iov[3] = {{buf, 333333}, {buf, 0}, {buf, 666667}};
    SHOW(writev(fd, iov, 3));
    SHOW(send(fd, buf, sizeof(buf), 0));
    shutdown(fd, SHUT_WR);
    long n = read_all(fd, answer, sizeof(answer));
    text("counted", answer, n);
    close(fd);
    fd = tcp_to(P_SOURCE);
    SHOW(recv(fd, buf, sizeof(buf), MSG_WAITALL));
    int bad = 0;
    for (int i = 0; i < 1000000; i++)
        bad += buf[i] != i % 251;
    printf("wrong bytes %d\n", bad);
    SHOW(recv(fd, buf, 1, 0));
    close(fd);
}

static int shared;
static void *closer(void *arg) {
    sleep_ms(150);
    shutdown(shared, SHUT_RDWR);
    return NULL;
}

static void other_thread(void) {
    char c;
    pthread_t t;
    section("shutdown from another thread");
    shared = tcp_to(P_ECHO);
    pthread_create(&t, NULL, closer, NULL);
    SHOW(recv(shared, &c, 1, 0));
    pthread_join(t, NULL);
    close(shared);
    int port;
    shared = tcp_listen(1, &port);
    pthread_create(&t, NULL, closer, NULL);
    SHOW(accept(shared, NULL, NULL));
    pthread_join(t, NULL);
    close(shared);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    timeouts();
    interrupted();
    peeking();
    lowat();
    full();
    bulk();
    other_thread();
    return 0;
}
