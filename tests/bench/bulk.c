/* bulk.c: streams of data, one way, each on a thread of its own. */
#include "tests/bench/load.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAMS 64

/* One stream's work, and what came of it. */
struct stream {
    pthread_t thread;
    int fd;
    size_t call;
    uint64_t until;       /* sender: when to stop */
    uint64_t bytes, last; /* ...and when the last bytes came */
};

static void *take(void *arg) {
    struct stream *s = arg;
    char *buf = malloc(s->call);
    for (;;) {
        ssize_t r = recv(s->fd, buf, s->call, 0);
        if (r < 0)
            die("recv");
        if (r == 0)
            break;
        s->bytes += (size_t)r;
    }
    s->last = now_ns();
    free(buf);
    close(s->fd);
    return NULL;
}

static void *give(void *arg) {
    struct stream *s = arg;
    char *buf = malloc(s->call);
    memset(buf, 'x', s->call);
    /* the clock is read once per 64 KiB, not once per call */
    unsigned calls = s->call < 65536 ? (unsigned)(65536 / s->call) : 1;
    while (now_ns() < s->until)
        for (unsigned i = 0; i < calls; i++) {
            if (!write_all(s->fd, buf, s->call))
                die("send");
            s->bytes += s->call;
        }
    free(buf);
    close(s->fd);
    return NULL;
}

/* Run `body` on n connected streams; print what the receivers got. */
static int run(struct stream *s, int n, void *(*body)(void *), uint64_t from) {
    uint64_t bytes = 0, last = from;
    for (int i = 0; i < n; i++)
        if (pthread_create(&s[i].thread, NULL, body, &s[i]))
            die("thread");
    for (int i = 0; i < n; i++) {
        pthread_join(s[i].thread, NULL);
        bytes += s[i].bytes;
        if (s[i].last > last)
            last = s[i].last;
    }
    if (body != take)
        return 0;
    result("bytes", (double)bytes);
    result("gbit", (double)bytes * 8 / (double)(last - from));
    return 0;
}

static int accepted(char **argv, int n, struct stream *s, uint64_t seconds,
                    size_t call) {
    int lfd = listen_on(argv[0]);
    ready();
    for (int i = 0; i < n; i++)
        s[i] = (struct stream){.fd = accept_one(lfd), .call = call};
    uint64_t until = now_ns() + seconds;
    for (int i = 0; i < n; i++)
        s[i].until = until;
    close(lfd);
    return n;
}

static int connected(char **argv, int n, struct stream *s, uint64_t seconds,
                     size_t call) {
    for (int i = 0; i < n; i++)
        s[i] =
            (struct stream){.fd = connect_to(argv[0], argv[1]), .call = call};
    uint64_t until = now_ns() + seconds;
    for (int i = 0; i < n; i++)
        s[i].until = until;
    return n;
}

static uint64_t seconds_of(const char *s) {
    return (uint64_t)(strtod(s, NULL) * 1e9);
}

int cmd_sink(int argc, char **argv) {
    struct stream s[STREAMS];
    size_t call = (size_t)number(argv[1], 1, MAX_CALL);
    int n = accepted(argv, (int)number(argv[2], 1, STREAMS), s, 0, call);
    return run(s, n, take, now_ns());
}

int cmd_source(int argc, char **argv) {
    struct stream s[STREAMS];
    size_t call = (size_t)number(argv[2], 1, MAX_CALL);
    int n = connected(argv, (int)number(argv[3], 1, STREAMS), s,
                      seconds_of(argv[4]), call);
    return run(s, n, give, 0);
}

int cmd_feed(int argc, char **argv) {
    struct stream s[STREAMS];
    size_t call = (size_t)number(argv[1], 1, MAX_CALL);
    int n = accepted(argv, (int)number(argv[2], 1, STREAMS), s,
                     seconds_of(argv[3]), call);
    return run(s, n, give, 0);
}

int cmd_drain(int argc, char **argv) {
    struct stream s[STREAMS];
    size_t call = (size_t)number(argv[2], 1, MAX_CALL);
    int n = connected(argv, (int)number(argv[3], 1, STREAMS), s, 0, call);
    return run(s, n, take, now_ns());
}
