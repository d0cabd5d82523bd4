/* flow.c: one stream for a given time over a path with losses, and what its
 * sender had to do for it.
 *
 * The client says in 16 bytes of text which way the data goes and for how long.
 * Whoever receives counts from the first byte, stops after that time and closes
 * at once, which resets the connection: a queue of seconds' length does not
 * count, and nobody waits for it. The sender tells what it had to repeat.
 */
#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ORDER 16 /* bytes of "S 2500", as text */

/* Linux's struct tcp_info of 6.7, which the headers may not have yet. */
struct info {
    struct tcp_info base;
    uint32_t rcv_wnd, rehash;
    uint16_t total_rto, total_rto_recoveries;
    uint32_t total_rto_time;
};

/* Read for `ms` from the first byte on; print bytes, those of the second half
 * of the time, and the rate. */
static void count(int fd, unsigned ms) {
    char *buf = malloc(MAX_CALL);
    struct timeval tv = {30, 0};
    uint64_t bytes = 0, from = 0, now = 0, early = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    for (;;) {
        ssize_t r = recv(fd, buf, MAX_CALL, 0);
        now = now_ns();
        if (r <= 0)
            break;
        if (!from)
            from = now;
        bytes += (uint64_t)r;
        if (now - from < ms * 500000ull)
            early = bytes;
        if (now - from >= ms * 1000000ull)
            break;
    }
    free(buf);
    result("bytes", (double)bytes);
    result("late_bytes", (double)(bytes - early));
    if (now > from && from)
        result("mbit", (double)bytes * 8e3 / (double)(now - from));
}

/* Write until the receiver has enough, or would have if its word for it was
 * not lost; print what had to be repeated. */
static void stream(int fd, unsigned ms) {
    struct timeval tv = {0, 100000};
    uint64_t until = now_ns() + (ms + 200) * 1000000ull;
    struct info info = {0};
    socklen_t len = sizeof(info);
    char *buf = calloc(1, MAX_CALL);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    while (now_ns() < until &&
           (send(fd, buf, MAX_CALL, MSG_NOSIGNAL) > 0 || errno == EAGAIN))
        continue;
    free(buf);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        die("TCP_INFO");
    result("retrans", info.base.tcpi_total_retrans);
    result("timeouts", info.total_rto);
    result("reordering", info.base.tcpi_reordering);
}

/* One connection of the server; its own process. */
static void answer(int fd) {
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    char order[ORDER + 1] = "";
    unsigned ms = 0;
    char way = 0;
    if (!read_all(fd, order, ORDER, false) ||
        sscanf(order, "%c %u", &way, &ms) != 2)
        die("order");
    if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
        die("getpeername");
    printf("peer %s:%u\n", inet_ntoa(peer.sin_addr), ntohs(peer.sin_port));
    congestion_control(fd);
    if (way == 'S')
        count(fd, ms);
    else
        stream(fd, ms);
    puts("end");
}

/* PORT: a process for each connection, until it is killed. */
int cmd_flowd(int argc, char **argv) {
    int lfd = listen_on(argv[0]);
    signal(SIGCHLD, SIG_IGN);
    ready();
    for (;;) {
        int fd = accept_one(lfd);
        fflush(stdout);
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid == 0) {
            answer(fd);
            exit(0);
        }
        close(fd);
    }
}

/* By this name the server knows the flow as its peer. */
static void tell_local(int fd) {
    struct sockaddr_in me;
    socklen_t len = sizeof(me);
    if (getsockname(fd, (struct sockaddr *)&me, &len) < 0)
        die("getsockname");
    printf("local %s:%u\n", inet_ntoa(me.sin_addr), ntohs(me.sin_port));
}

/* IP PORT send|recv SECONDS [CC]: what the receiver counted is on its side. */
int cmd_flow(int argc, char **argv) {
    char order[ORDER + 1] = "";
    bool send_it = !strcmp(argv[2], "send");
    unsigned ms = (unsigned)(strtod(argv[3], NULL) * 1e3);
    int fd = connect_to(argv[0], argv[1]);
    if (argc > 4 && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, argv[4],
                               (socklen_t)strlen(argv[4])) < 0)
        die(argv[4]);
    snprintf(order, sizeof(order), "%c %u", send_it ? 'S' : 'R', ms);
    if (!write_all(fd, order, ORDER))
        die("order");
    congestion_control(fd);
    tell_local(fd);
    if (send_it)
        stream(fd, ms);
    else
        count(fd, ms);
    close(fd);
    return 0;
}
