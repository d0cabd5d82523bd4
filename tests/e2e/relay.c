/* relay.c: a bad link between two devices.
 *
 *     relay DEV_A DEV_B FAULTSPEC
 *
 * Forwards every frame between the two devices through the fault wrapper until
 * SIGTERM or SIGINT. Put it in a namespace between two others, one veth to
 * each: kernel and libstack then meet the same link. FAULTSPEC as in
 * netio/fault.h; "dir=tx" spoils A to B only, "dir=rx" B to A only, "" nothing.
 *
 * Prints "ready" when frames flow, and a line of counts per direction at the
 * end, both on stdout. Exit status 0 after a signal, 1 on an error.
 *
 * One wrapper around device B serves both directions: what A receives is sent
 * through its tx side, what its rx side delivers is sent to A. A direction
 * without faults passes superframes whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "netio/fault.h"
#include "netio/packet.h"

#define ROOM (256u << 10)
#define BURST 64 /* frames from one side before the other is looked at */

static volatile sig_atomic_t stop;

static void on_signal(int sig) { stop = 1; }

static nstime_t clock_now(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (nstime_t)ts.tv_sec * 1000000000u + (nstime_t)ts.tv_nsec;
}

static _Noreturn void die(const char *what, const char *why) {
    fprintf(stderr, "relay: %s: %s\n", what, why);
    exit(1);
}

/* The kernel must not speak on the devices by itself. */
static void silence(const char *dev) {
    char path[128];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6",
             dev);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "1", 1) != 1)
        fprintf(stderr, "relay: %s: IPv6 stays on\n", dev);
    close(fd);
}

/* A promiscuous netio over a device, which is set up if it is down. */
static struct netio *open_dev(const char *dev) {
    unsigned index = if_nametoindex(dev);
    int fd = netio_packet_socket(), r;
    struct ifreq req = {0};

    if (!index)
        die(dev, "no such device");
    if (fd < 0)
        die("packet socket", strerror(-fd));
    silence(dev);
    snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", dev);
    int inet = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(inet, SIOCGIFFLAGS, &req) == 0 && !(req.ifr_flags & IFF_UP)) {
        req.ifr_flags |= IFF_UP;
        if (ioctl(inet, SIOCSIFFLAGS, &req))
            die(dev, strerror(errno));
    }
    if (ioctl(inet, SIOCGIFMTU, &req))
        die(dev, strerror(errno));
    close(inet);
    r = netio_packet_bind(fd, index);
    if (r == 0)
        r = netio_packet_promisc(fd, index);
    if (r < 0)
        die(dev, strerror(-r));
    struct netio *io = netio_packet_new(fd, (uint32_t)req.ifr_mtu);
    if (!io)
        die(dev, "out of memory");
    return io;
}

/* Move up to BURST frames. True when there may be more. */
static bool forward(struct netio *from, struct netio *to, nstime_t now) {
    static uint8_t room[ROOM];

    for (int i = 0; i < BURST; i++) {
        struct iovec iov = {room, sizeof(room)};
        struct netio_frame f = {.niov = 1, .iov = &iov};
        int r = netio_rx(from, &f, now);
        if (r <= 0)
            return false;
        iov.iov_len = f.len;
        netio_tx(to, &f, 1, now);
    }
    return true;
}

/* Sleep until a frame arrives, the wrapper is due, or a signal comes; at once
 * when busy. Signals are let in only here. */
static void wait_work(struct netio *a, struct netio *b, bool busy,
                      const sigset_t *open) {
    struct pollfd pfd[2] = {{.fd = a->fd, .events = POLLIN},
                            {.fd = b->fd, .events = POLLIN}};
    nstime_t due = netio_deadline(b), now = clock_now();
    nstime_t wait = busy || due <= now ? 0 : due - now;
    struct timespec ts = {(time_t)(wait / 1000000000u),
                          (long)(wait % 1000000000u)};

    ppoll(pfd, 2, due == NSTIME_NEVER && !busy ? NULL : &ts, open);
}

static void report(const struct netio *io, unsigned dir, const char *name) {
    const struct fault_counters *c = netio_fault_counters(io, dir);

    printf("%s: seen %llu passed %llu lost %llu duplicated %llu reordered "
           "%llu corrupted %llu queue_full %llu too_big %llu no_room %llu\n",
           name, (unsigned long long)c->seen, (unsigned long long)c->passed,
           (unsigned long long)c->lost, (unsigned long long)c->duplicated,
           (unsigned long long)c->reordered, (unsigned long long)c->corrupted,
           (unsigned long long)c->queue_full, (unsigned long long)c->too_big,
           (unsigned long long)c->no_room);
}

int main(int argc, char **argv) {
    struct sigaction sa = {.sa_handler = on_signal};
    struct fault_spec spec;
    sigset_t block, open;
    char err[256], name[64];

    if (argc != 4) {
        fprintf(stderr, "usage: relay DEV_A DEV_B FAULTSPEC\n");
        return 1;
    }
    if (fault_parse(argv[3], &spec, err, sizeof(err)) < 0)
        die(argv[3], err);
    if (!argv[3][0])
        spec.dir = 0;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigaddset(&block, SIGINT);
    sigprocmask(SIG_BLOCK, &block, &open);

    struct netio *a = open_dev(argv[1]);
    struct netio *b = netio_fault_new(open_dev(argv[2]), &spec);
    if (!b)
        die(argv[2], "out of memory");
    printf("ready\n");
    fflush(stdout);
    while (!stop) {
        nstime_t now = clock_now();
        bool busy = forward(a, b, now);
        busy |= forward(b, a, now);
        wait_work(a, b, busy, &open);
    }
    snprintf(name, sizeof(name), "%s>%s", argv[1], argv[2]);
    report(b, FAULT_TX, name);
    snprintf(name, sizeof(name), "%s>%s", argv[2], argv[1]);
    report(b, FAULT_RX, name);
    netio_close(b);
    netio_close(a);
    return 0;
}
