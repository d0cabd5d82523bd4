/* Several threads: echo in parallel, one socket used by two, close under a
 * reader, a shared listener. */
#include "t.h"
#include <pthread.h>

#define THREADS 8
#define ROUNDS 100

static void *echo_rounds(void *arg) {
    char out[600], in[600];
    long bad = 0;
    int fd = tcp_to(P_ECHO);
    for (int i = 0; i < ROUNDS; i++) {
        size_t n = (size_t)(1 + (i * 37 + (intptr_t)arg) % 600);
        memset(out, i, n);
        if (write(fd, out, n) != (ssize_t)n || read_all(fd, in, n) != (long)n ||
            memcmp(in, out, n) != 0)
            bad++;
    }
    close(fd);
    return (void *)bad;
}

static void parallel(void) {
    pthread_t t[THREADS];
    void *bad;
    long sum = 0;
    section("echo in parallel");
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, echo_rounds, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], &bad);
        sum += (long)bad;
    }
    printf("wrong %ld\n", sum);
}

static int shared;
static void *sender(void *arg) {
    static char block[1000];
    for (int i = 0; i < 500; i++)
        if (write(shared, block, sizeof(block)) != sizeof(block))
            return (void *)1;
    shutdown(shared, SHUT_WR);
    return NULL;
}

/* One thread sends, another receives, on one socket. */
static void both_ways(void) {
    pthread_t t;
    char buf[4096];
    long sum = 0, n;
    section("one socket, two threads");
    shared = tcp_to(P_ECHO);
    pthread_create(&t, NULL, sender, NULL);
    while ((n = read(shared, buf, sizeof(buf))) > 0)
        sum += n;
    void *bad;
    pthread_join(t, &bad);
    printf("sum %ld end %ld sender %ld\n", sum, n, (long)bad);
    close(shared);
}

static void *blocked_reader(void *arg) {
    char c = 0;
    long n = recv(shared, &c, 1, 0);
    return (void *)(n == 1 ? (long)c : n);
}

/* A close does not end a recv of another thread that sleeps already. */
static void close_under_reader(void) {
    pthread_t t;
    void *got;
    int port;
    section("close under a reader");
    int l = tcp_listen(1, &port);
    struct sockaddr_in a = own(port);
    shared = tcp();
    NEED(connect(shared, SA(a)));
    int s = (int)NEED(accept(l, NULL, NULL));
    pthread_create(&t, NULL, blocked_reader, NULL);
    sleep_ms(100);
    SHOW(close(shared));
    SHOW(write(shared, "x", 1));
    sleep_ms(100);
    NEED(write(s, "A", 1));
    pthread_join(t, &got);
    printf("reader got %ld\n", (long)got);
    sleep_ms(100);
    char c;
    SHOW(read(s, &c, 1)); /* now it is really closed */
    close(s);
    close(l);
}

static void *acceptor(void *arg) {
    int fd = accept(shared, NULL, NULL);
    if (fd < 0)
        return NULL;
    close(fd);
    return (void *)1;
}

static void many_acceptors(void) {
    pthread_t t[4];
    int port;
    long sum = 0;
    void *one;
    section("four threads accept");
    shared = tcp_listen(8, &port);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, acceptor, NULL);
    sleep_ms(50);
    control("dial %d many 4", port);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &one);
        sum += (long)one;
    }
    printf("accepted %ld\n", sum);
    close(shared);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    parallel();
    both_ways();
    close_under_reader();
    many_acceptors();
    return 0;
}
