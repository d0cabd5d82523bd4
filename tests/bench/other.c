/* other.c: datagrams, start-up of programs, waiting for a server. */
#include "tests/bench/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END_AFTER 300000 /* us without a datagram: the sender is done */

/* Counts what arrives between the first datagram and the last. */
int cmd_usink(int argc, char **argv) {
    char buf[65536];
    struct timeval tv = {0, END_AFTER};
    struct sockaddr_in a = address(NULL, argv[0]);
    size_t size = (size_t)number(argv[1], 1, 65507);
    uint64_t n = 0, first = 0, last = 0;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("bind");
    ready();
    for (;;) {
        ssize_t r = recv(fd, buf, sizeof(buf), 0);
        if (r < 0 && errno != EAGAIN)
            die("recv");
        if (r < 0)
            break;
        if (n++ == 0) {
            first = now_ns();
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        }
        if ((n & 15) == 0)
            last = now_ns();
        if ((size_t)r != size)
            die("a datagram of another size");
    }
    result("received", (double)n);
    if (last > first)
        result("rate", (double)n * 1e9 / (double)(last - first));
    return 0;
}

int cmd_usend(int argc, char **argv) {
    struct sockaddr_in a = address(argv[0], argv[1]);
    size_t size = (size_t)number(argv[2], 1, 65507);
    uint64_t n = 0, from = now_ns(), t = from;
    uint64_t until = from + (uint64_t)(strtod(argv[3], NULL) * 1e9);
    char *buf = calloc(1, size);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("connect");
    while (t < until) {
        for (int i = 0; i < 16; i++)
            n += send(fd, buf, size, 0) == (ssize_t)size;
        t = now_ns();
    }
    free(buf);
    result("sent", (double)n);
    result("rate", (double)n * 1e9 / (double)(t - from));
    return 0;
}

/* Wall time of a whole process, from fork to its end. */
int cmd_spawn(int argc, char **argv) {
    long n = number(argv[0], 1, 100000);
    uint32_t *ns = malloc((size_t)n * sizeof(*ns));
    for (long i = 0; i < n; i++) {
        uint64_t t = now_ns();
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            if (strcmp(argv[1], "-") != 0)
                setenv("LD_PRELOAD", argv[1], 1);
            execvp(argv[2], argv + 2);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            die("a run that failed");
        ns[i] = (uint32_t)(now_ns() - t);
    }
    percentiles("", ns, (size_t)n);
    free(ns);
    return 0;
}

int cmd_probe(int argc, char **argv) {
    struct sockaddr_in a = address(argv[0], argv[1]);
    struct timespec ms = {0, 10000000};
    for (int i = 0; i < 1000; i++) {
        int fd = tcp_socket();
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
            return 0;
        close(fd);
        nanosleep(&ms, NULL);
    }
    die("nobody accepts");
}
