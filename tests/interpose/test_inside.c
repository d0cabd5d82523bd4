/* All of 127/8 inside the stack: the same as on the kernel. */
// on the stack: LIBSTACK_LOOPBACK=stack
#define main loopback_main
#include "test_loopback.c"
#undef main

/* Any address of 127/8 is this host's, and answers from 127.0.0.1. */
static void anywhere(void) {
    struct sockaddr_in a = addr_of("127.3.2.1", 0), from,
                       any = addr_of("0.0.0.0", 0);
    socklen_t len = sizeof(a);
    char name[INET_ADDRSTRLEN], buf[8];
    section("127/8");
    int l = tcp(), c = tcp();
    SHOW(bind(l, SA(a)));
    SHOW(listen(l, 1));
    NEED(getsockname(l, (struct sockaddr *)&a, &len));
    SHOW(connect(c, SA(a)));
    int s = NEED(accept(l, (struct sockaddr *)&from, &len));
    printf("from %s\n", inet_ntop(AF_INET, &from.sin_addr, name, sizeof(name)));
    NEED(getsockname(c, (struct sockaddr *)&from, &len));
    printf("by %s\n", inet_ntop(AF_INET, &from.sin_addr, name, sizeof(name)));
    close(s), close(c), close(l);

    l = tcp(); /* a wildcard listener */
    any.sin_port = 0;
    SHOW(bind(l, SA(any)));
    SHOW(listen(l, 4));
    NEED(getsockname(l, (struct sockaddr *)&any, &len));
    static const char *const ways[] = {"127.0.0.1", "127.9.9.9", "0.0.0.0",
                                       NULL};
    for (int i = 0; i < 4; i++) {
        a = addr_of(ways[i] ? ways[i] : getenv("SELF"), ntohs(any.sin_port));
        c = tcp();
        SHOW(connect(c, SA(a)));
        s = NEED(accept(l, (struct sockaddr *)&from, &len));
        printf("from %s\n",
               inet_ntop(AF_INET, &from.sin_addr, name, sizeof(name)));
        NEED(write(c, "hello", 5));
        SHOW(read(s, buf, sizeof(buf)));
        SHOW(shutdown(s, SHUT_WR));
        SHOW(read(c, buf, sizeof(buf)));
        SHOW(write(c, "x", 1));
        SHOW(read(s, buf, sizeof(buf)));
        close(s), close(c);
    }
    close(l);
}

/* Bytes of a stream, told by their place in it. */
static unsigned char byte_at(size_t i) {
    return (unsigned char)(i * 2654435761u >> 13);
}

/* A child sends back what it gets, in pieces of its own; the parent sends all
 * before it reads, as far as it is let. */
static void bulk(const char *ip) {
    enum { TOTAL = 6000000 };
    struct sockaddr_in a = addr_of(ip, 0);
    socklen_t len = sizeof(a);
    static unsigned char buf[200000];
    int l = tcp(), status;
    NEED(bind(l, SA(a)));
    NEED(listen(l, 1));
    NEED(getsockname(l, (struct sockaddr *)&a, &len));
    pid_t pid = fork();
    if (pid == 0) {
        int s = accept(l, NULL, NULL);
        ssize_t n;
        unsigned x = 1;
        while ((n = read(s, buf, 1 + (x = x * 1103515245 + 12345) % 150000)) >
               0)
            for (ssize_t o = 0, w; o < n; o += w)
                if ((w = write(s, buf + o, (size_t)(n - o))) < 0)
                    _exit(2);
        _exit(n < 0);
    }
    int c = tcp();
    NEED(connect(c, SA(a)));
    size_t sent = 0, got = 0, wrong = 0;
    unsigned x = 7;
    while (got < TOTAL) {
        struct pollfd p = {c, POLLIN | (sent < TOTAL ? POLLOUT : 0), 0};
        NEED(poll(&p, 1, 5000));
        x = x * 1103515245 + 12345;
        size_t n = 1 + x % (x & 1 ? 150000 : 300);
        if (p.revents & POLLOUT) {
            if (n > TOTAL - sent)
                n = TOTAL - sent;
            for (size_t i = 0; i < n; i++)
                buf[i] = byte_at(sent + i);
            ssize_t r = send(c, buf, n, MSG_DONTWAIT);
            sent += r > 0 ? (size_t)r : 0;
            if (sent == TOTAL && r > 0)
                SHOW(shutdown(c, SHUT_WR));
        }
        if (p.revents & POLLIN) {
            ssize_t r = recv(c, buf, sizeof(buf), 0);
            if (r <= 0)
                break;
            for (ssize_t i = 0; i < r; i++)
                wrong += buf[i] != byte_at(got + (size_t)i);
            got += (size_t)r;
        }
    }
    printf("%zu bytes, %zu wrong\n", got, wrong);
    SHOW(read(c, buf, 1));
    NEED(waitpid(pid, &status, 0));
    SHOW(status);
    close(c);
    close(l);
}

/* A reader that is killed: its peer learns of it at its next call. */
static void killed(const char *ip) {
    struct sockaddr_in a = addr_of(ip, 0);
    socklen_t len = sizeof(a);
    char buf[1000] = {0};
    int l = tcp();
    NEED(bind(l, SA(a)));
    NEED(listen(l, 1));
    NEED(getsockname(l, (struct sockaddr *)&a, &len));
    pid_t pid = fork();
    if (pid == 0) {
        int s = accept(l, NULL, NULL);
        write(s, "ready", 5);
        pause();
    }
    int c = tcp();
    NEED(connect(c, SA(a)));
    SHOW(read_all(c, buf, 5));
    SHOW(write(c, buf, sizeof(buf))); /* never read */
    NEED(kill(pid, SIGKILL));
    NEED(waitpid(pid, NULL, 0));
    SHOW(read(c, buf, 1));
    close(c);
    close(l);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    loopback_main();
    anywhere();
    section("bulk");
    bulk("127.0.0.1");
    bulk(getenv("SELF"));
    section("killed");
    killed("127.0.0.1");
    killed(getenv("SELF"));
    return 0;
}
