/* The capture file, read back by libpcap. */
#include <fcntl.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "netio_build.h"
#include "netio/capture/capture.h"
#include "netio/memwire.h"

static char dir[] = "/tmp/capture-XXXXXX", path[64];
static struct flat f, g;

static void new_path(void) {
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.pcap", dir);
}
static void remove_path(void) { unlink(path), rmdir(dir); }
TestSuite(capture, .init = new_path, .fini = remove_path);

static struct netio *wrap(struct netio *inner) {
    char err[256] = "";
    struct netio *io = libstack_capture_wrap(inner, path, err, sizeof(err));
    cr_assert_not_null(io, "%s", err);
    return io;
}

static pcap_t *reader(void) {
    char err[PCAP_ERRBUF_SIZE];
    pcap_t *p =
        pcap_open_offline_with_tstamp_precision(path,
                                                PCAP_TSTAMP_PRECISION_NANO,
                                                err);
    cr_assert_not_null(p, "%s", err);
    cr_assert_eq(pcap_datalink(p), DLT_EN10MB);
    return p;
}

/* The next record into f; its time in ns, or 0 at the end. */
static uint64_t next(pcap_t *p) {
    struct pcap_pkthdr *h;
    const u_char *data;
    int r = pcap_next_ex(p, &h, &data);
    cr_assert(r == 1 || r == -2, "%s", pcap_geterr(p));
    if (r != 1)
        return 0;
    cr_assert_eq(h->caplen, h->len);
    memcpy(f.b, data, h->caplen);
    f.len = h->caplen;
    return (uint64_t)h->ts.tv_sec * 1000000000u + (uint64_t)h->ts.tv_usec;
}

Test(capture, both_directions_as_on_the_wire) {
    struct netio *end[2];
    cr_assert_eq(netio_memwire_new(end, 1500, 100), 0);
    struct netio *io = wrap(end[0]);
    struct timespec wall, mono;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    uint64_t now = (uint64_t)mono.tv_sec * 1000000000u + (uint64_t)mono.tv_nsec;

    build_tcp(&g, 4, 7, 0x18, 3000, true);
    g.meta.gso = NETIO_GSO_TCP4, g.meta.gso_size = 1448;
    cr_assert_eq(tx_flat(io, &g, now), 1);
    build_udp(&g, 4, 50, true);
    tx_flat(end[1], &g, 0);
    cr_assert_eq(rx_flat(io, &f, now + 1234567), 1);
    cr_assert_eq(f.meta.flags, NETIO_CSUM_PARTIAL, "passed on untouched");
    cr_assert_neq(l4_sum(&f), 0xffff);
    cr_assert_eq(rx_flat(io, &f, now + 1234567), 0); /* flushes */
    cr_assert_eq(rx_flat(end[1], &f, 0), 1);
    cr_assert_eq(f.meta.gso_size, 1448, "sent whole");

    pcap_t *p = reader();
    uint64_t t0 = 0, t;
    for (uint32_t i = 0; i < 3; i++) {
        t = next(p);
        cr_assert_neq(t, 0u);
        cr_assert(!t0 || t == t0);
        t0 = t;
        cr_assert_eq(f.len, ETH + 52 + (i < 2 ? 1448u : 104u));
        cr_assert_eq(rd32(f.b + ETH + 24), 7 + 1448 * i);
        cr_assert(ip_sum_ok(&f));
        cr_assert_eq(l4_sum(&f), 0xffff);
    }
    cr_assert(t0 / 1000000000u - (uint64_t)wall.tv_sec < 2, "wall clock");
    cr_assert_eq(next(p), t0 + 1234567, "nanoseconds are kept");
    cr_assert_eq(f.len, ETH + 28 + 50);
    cr_assert_eq(l4_sum(&f), 0xffff);
    cr_assert_eq(next(p), 0u);
    pcap_close(p);
    netio_close(io), netio_close(end[1]);
}

/* Only what the device took is in the file. */
Test(capture, refused_frames_are_not_captured) {
    struct netio *end[2];
    cr_assert_eq(netio_memwire_new(end, 1500, 100), 0);
    struct netio *io = wrap(end[0]);
    netio_memwire_set_up(end[0], false);
    build_arp(&g, 1, 1, 2);
    cr_assert_lt(tx_flat(io, &g, 1), 0);
    netio_close(io), netio_close(end[1]);
    pcap_t *p = reader();
    cr_assert_eq(next(p), 0u);
    pcap_close(p);
}

Test(capture, continues_a_file) {
    struct netio *end[2];
    for (unsigned round = 1; round <= 3; round++) {
        cr_assert_eq(netio_memwire_new(end, 1500, 100), 0);
        struct netio *io = wrap(end[0]);
        build_arp(&g, 1, round, 2);
        tx_flat(io, &g, round);
        netio_close(io), netio_close(end[1]);
    }
    pcap_t *p = reader();
    for (unsigned round = 1; round <= 3; round++) {
        cr_assert_neq(next(p), 0u);
        cr_assert_eq(rd32(f.b + ETH + 14), round);
    }
    cr_assert_eq(next(p), 0u);
    pcap_close(p);
}

static int move_up(int fd) {
    int up = fcntl(fd, F_DUPFD_CLOEXEC, 200);
    close(fd);
    return up;
}

/* The descriptor goes where the layer above wants it; nothing else is open. */
Test(capture, descriptor_can_be_moved) {
    struct netio *end[2];
    cr_assert_eq(netio_memwire_new(end, 1500, 100), 0);
    int before = dup(0);
    close(before);
    struct netio *io = wrap(end[0]);
    int fd = libstack_capture_move_fd(io, move_up);
    cr_assert_geq(fd, 200);
    int after = dup(0);
    cr_assert_eq(before, after, "the lowest number is free again");
    close(after);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    build_arp(&g, 1, 5, 2);
    tx_flat(io, &g, 1);
    pcap_t *p = reader();
    cr_assert_neq(next(p), 0u);
    cr_assert_eq(next(p), 0u);
    pcap_close(p);
    netio_close(io), netio_close(end[1]);
    cr_assert_lt(fcntl(fd, F_GETFD), 0, "closed with the wrapper");
}

/* Four processes write superframes to one file at the same time: every record
 * is whole and none is missing. */
#define WRITERS 4
#define EACH 300
static void writer(unsigned who) {
    struct netio *end[2];
    if (netio_memwire_new(end, 1500, 10))
        _exit(1);
    char err[256];
    struct netio *io = libstack_capture_wrap(end[0], path, err, sizeof(err));
    for (uint32_t i = 0; io && i < EACH; i++) {
        build_tcp(&g, 4, who << 24 | i << 12, 0x18, 2000, true);
        g.meta.gso = NETIO_GSO_TCP4, g.meta.gso_size = 1000;
        if (tx_flat(io, &g, i) != 1)
            _exit(1);
        rx_flat(end[1], &f, 0);
    }
    _exit(io == NULL);
}

Test(capture, several_processes) {
    unsigned seen[WRITERS] = {0};
    for (unsigned i = 0; i < WRITERS; i++)
        if (!fork())
            writer(i);
    for (unsigned i = 0; i < WRITERS; i++) {
        int status;
        wait(&status);
        cr_assert_eq(status, 0);
    }
    pcap_t *p = reader();
    while (next(p)) {
        uint32_t seq = rd32(f.b + ETH + 24), who = seq >> 24;
        cr_assert_lt(who, (uint32_t)WRITERS);
        cr_assert_eq(f.len, ETH + 52 + 1000u);
        cr_assert_eq(l4_sum(&f), 0xffff);
        cr_assert_eq(seq,
                     who << 24 | seen[who] / 2 << 12 |
                         (seen[who] % 2 ? 1000u : 0u),
                     "in order within a process");
        seen[who]++;
    }
    for (unsigned i = 0; i < WRITERS; i++)
        cr_assert_eq(seen[i], 2u * EACH);
    pcap_close(p);
}

Test(capture, long_bursts_fit_the_buffer) {
    struct netio *end[2];
    struct netio_frame fr[40];
    struct iovec iov[40];
    cr_assert_eq(netio_memwire_new(end, 1500, 100), 0);
    struct netio *io = wrap(end[0]);
    build_tcp(&g, 4, 1, 0x18, 60000, true);
    g.meta.gso = NETIO_GSO_TCP4, g.meta.gso_size = 1448;
    for (int i = 0; i < 40; i++)
        fr[i] = scatter(&g, &iov[i], 1);
    cr_assert_eq(netio_tx(io, fr, 40, 1), 40); /* 2.4 MB in one call */
    pcap_t *p = reader();
    unsigned n = 0;
    while (next(p))
        n++;
    cr_assert_eq(n, 40 * 42u);
    pcap_close(p);
    netio_close(io), netio_close(end[1]);
}

Test(capture, errors) {
    struct netio *end[2];
    char err[256];
    cr_assert_eq(netio_memwire_new(end, 1500, 10), 0);
    cr_assert_null(
        libstack_capture_wrap(end[0], "/nonexistent/x.pcap", err, sizeof(err)));
    cr_assert_str_eq(err, "/nonexistent/x.pcap: No such file or directory: "
                          "choose a place that can be written");
    FILE *out = fopen(path, "w");
    fputs("this is not a capture, but long enough to look at", out);
    fclose(out);
    cr_assert_null(libstack_capture_wrap(end[0], path, err, sizeof(err)));
    cr_assert_not_null(strstr(err, "choose another file"), "%s", err);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, 49, "somebody's file is left alone");
    netio_close(end[0]), netio_close(end[1]);
}

/* A full disk (here: the limit of file size) ends the capture, not the traffic:
 * the file ends with a whole record or a cut one, which readers report. */
Test(capture, write_errors_do_not_stop_the_traffic) {
    struct netio *end[2];
    struct rlimit lim = {2000, 2000};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(netio_memwire_new(end, 1500, 100), 0);
    struct netio *io = wrap(end[0]);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
    build_udp(&g, 4, 400, false);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(tx_flat(io, &g, 1), 1);
    cr_assert_eq(netio_memwire_pending(end[1]), 20u);
    pcap_t *p = reader();
    for (int i = 0; i < 4; i++)
        cr_assert_neq(next(p), 0u);
    pcap_close(p);
    netio_close(io), netio_close(end[1]);
}

Test(capture, no_room_for_the_header) {
    struct netio *end[2];
    char err[256] = "";
    if (access("/dev/full", W_OK))
        cr_skip_test("no /dev/full");
    cr_assert_eq(netio_memwire_new(end, 1500, 10), 0);
    cr_assert_null(
        libstack_capture_wrap(end[0], "/dev/full", err, sizeof(err)));
    cr_assert_eq(strncmp(err, "/dev/full: ", 11), 0, "%s", err);
    cr_expect_null(strstr(err, ": :"), "%s", err);
    netio_close(end[0]), netio_close(end[1]);
}
