/* select and pselect: the three sets, time-outs, sets of odd sizes. */
#include "t.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/select.h>

static long cpu_ms(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static void sets(void) {
    fd_set r, w, x;
    int p[2];
    char buf[8];
    section("three sets");
    NEED(pipe(p));
    int fd = tcp_to(P_ECHO);
    for (int i = 0; i < 4; i++) {
        struct timeval tv = {1, 0};
        FD_ZERO(&r);
        FD_ZERO(&w);
        FD_ZERO(&x);
        FD_SET(fd, &r);
        FD_SET(fd, &w);
        FD_SET(fd, &x);
        FD_SET(p[0], &r);
        FD_SET(p[0], &x);
        FD_SET(p[1], &w);
        if (i == 1)
            NEED(write(p[1], "x", 1));
        if (i == 2) {
            NEED(write(fd, "x", 1));
            await(fd, POLLIN);
        }
        if (i == 3) {
            close(p[1]);
            FD_CLR(p[1], &w);
            NEED(read(p[0], buf, 8));
        }
        SHOW(select((fd > p[1] ? fd : p[1]) + 1, &r, &w, &x, &tv));
        printf("socket %d%d%d pipe %d%d%d\n", !!FD_ISSET(fd, &r),
               !!FD_ISSET(fd, &w), !!FD_ISSET(fd, &x), !!FD_ISSET(p[0], &r),
               !!FD_ISSET(p[1], &w), !!FD_ISSET(p[0], &x));
    }
    close(fd), close(p[0]);
}

/* A peer that is gone makes HUP and IN; the exception set must not hear it. */
static void exceptions(void) {
    fd_set x;
    struct timeval tv = {0, 300000};
    int p[2];
    section("exception set alone");
    NEED(pipe(p));
    close(p[1]);
    int fd = tcp_to(P_CLOSE);
    shutdown(fd, SHUT_WR);
    sleep_ms(100);
    FD_ZERO(&x);
    FD_SET(fd, &x);
    FD_SET(p[0], &x);
    long t = now_ms(), cpu = cpu_ms();
    SHOW(select(64, &x, NULL, NULL, &tv)); /* what it is for reading */
    FD_ZERO(&x);
    FD_SET(fd, &x);
    FD_SET(p[0], &x);
    tv = (struct timeval){0, 300000};
    SHOW(select(64, NULL, NULL, &x, &tv));
    took(t, 300);
    printf("left %ld.%ld, idle %d\n", (long)tv.tv_sec, (long)tv.tv_usec,
           cpu_ms() - cpu < 100);
    close(fd), close(p[0]);
}

static void times(void) {
    fd_set r;
    struct timeval tv;
    struct timespec ts = {0, 150000000}, bad = {0, -1};
    section("time-outs");
    int fd = tcp_to(P_ECHO);
    FD_ZERO(&r);
    FD_SET(fd, &r);
    tv = (struct timeval){0, 150000};
    long t = now_ms();
    SHOW(select(fd + 1, &r, NULL, NULL, &tv));
    took(t, 150);
    printf("left %ld.%ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
    FD_SET(fd, &r);
    t = now_ms();
    SHOW(pselect(fd + 1, &r, NULL, NULL, &ts, NULL));
    took(t, 150);
    printf("untouched %d\n", ts.tv_nsec == 150000000);
    FD_SET(fd, &r);
    SHOW(pselect(fd + 1, &r, NULL, NULL, &bad, NULL));
    tv = (struct timeval){-1, 0};
    SHOW(select(fd + 1, &r, NULL, NULL, &tv));
    SHOW(select(-1, &r, NULL, NULL, NULL));
    NEED(write(fd, "x", 1));
    tv = (struct timeval){5, 0};
    FD_ZERO(&r);
    FD_SET(fd, &r);
    SHOW(select(fd + 1, &r, NULL, NULL, &tv));
    printf("left about %ld\n", (long)tv.tv_sec + (tv.tv_usec > 500000));
    close(fd);
    tv = (struct timeval){0, 0};
    FD_ZERO(&r);
    FD_SET(fd, &r);
    SHOW(select(fd + 1, &r, NULL, NULL, &tv));
    tv = (struct timeval){0, 50000};
    SHOW(select(0, NULL, NULL, NULL, &tv));
}

/* Sets larger than FD_SETSIZE, as programs allocate them. */
static void large(void) {
    enum { HIGH = 1500 };
    static unsigned long r[HIGH / 64 + 2];
    struct rlimit lim;
    section("a high descriptor");
    getrlimit(RLIMIT_NOFILE, &lim);
    if (lim.rlim_cur <= HIGH) {
        lim.rlim_cur = lim.rlim_max > 4096 ? 4096 : lim.rlim_max;
        NEED(setrlimit(RLIMIT_NOFILE, &lim));
    }
    int fd = tcp_to(P_ECHO);
    int high = (int)NEED(fcntl(fd, F_DUPFD, HIGH));
    struct timeval tv = {1, 0};
    NEED(write(fd, "x", 1));
    r[high / 64] |= 1ul << (high % 64);
    r[(high + 1) / 64] |= high % 64 == 63 ? 0 : 2ul << (high % 64);
    SHOW(select(high + 1, (fd_set *)r, NULL, NULL, &tv));
    printf("%lx\n", r[high / 64] >> (high % 64));
    close(fd), close(high);
}

static void *writer(void *arg) {
    sleep_ms(150);
    NEED(write(*(int *)arg, "w", 1));
    return NULL;
}

/* Woken by the one and by the other kind. */
static void woken(void) {
    int p[2];
    char c;
    pthread_t t;
    fd_set r;
    section("woken");
    NEED(pipe(p));
    int fd = tcp_to(P_ECHO);
    for (int i = 0; i < 2; i++) {
        int from = i ? fd : p[0], to = i ? fd : p[1];
        NEED(pthread_create(&t, NULL, writer, &to));
        FD_ZERO(&r);
        FD_SET(fd, &r);
        FD_SET(p[0], &r);
        long since = now_ms();
        SHOW(select((fd > p[0] ? fd : p[0]) + 1, &r, NULL, NULL, NULL));
        took(since, 150);
        printf("the right one %d\n", !!FD_ISSET(from, &r));
        NEED(read(from, &c, 1));
        pthread_join(t, NULL);
    }
    close(fd), close(p[0]), close(p[1]);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    sets();
    exceptions();
    times();
    large();
    woken();
    return 0;
}
