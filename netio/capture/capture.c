/* capture.c: frames into a pcap file, by libpcap.
 *
 * Theory of operation
 *
 * What the stack and the device exchange are superframes with unfinished
 * checksums; a reader of the file wants what was on the wire. So each frame is
 * put through netio_segment for the file alone, while the frame itself passes
 * untouched.
 *
 * Several processes may share one file (one stack in a process tree): each has
 * it open for appending and hands the kernel whole records in single writes,
 * at the end of each burst: after every tx and when rx has nothing more. The
 * file header is written once, under a file lock, by whoever finds it empty.
 *
 * libpcap's dumper writes to a stdio stream. Ours is a cookie stream
 * (fopencookie(3)) over a descriptor that can be exchanged: the program must
 * not find it among its own, so the layer above moves it out of the way. A
 * dumper starts with the file's header; the stream swallows it, for the file
 * has one.
 *
 * `now` is monotonic; the difference to the wall clock is read once, when the
 * wrapper is made, so the times in one file are consistent although the clock
 * may be set meanwhile. Precision is nanoseconds.
 *
 * libpcap uses stdio and malloc. In libstack.so this file is loaded with
 * dlmopen into a namespace of its own, so its C library is not the program's
 * and nothing of it comes back into our wrappers.
 */
#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "netio/capture/capture.h"
#include "netio/frame.h"
#include "netio/segment.h"

#define CAPTURE_SNAPLEN 262144
#define CAPTURE_BUFFER (1u << 20) /* stdio's; flushed before it is full */
#define CAPTURE_FRAME (256u << 10)

struct capture {
    struct netio io;
    struct netio *inner;
    pcap_t *pcap;
    pcap_dumper_t *dump; /* NULL after a write error: capture has ended */
    int out;             /* the file, for appending */
    bool header_seen;    /* the dumper's own header has been swallowed */
    int64_t offset;      /* wall clock minus `now`, ns */
    size_t pending;      /* bytes in stdio's buffer */
    nstime_t now;
    char buffer[CAPTURE_BUFFER];
    uint8_t flat[CAPTURE_FRAME];
};

/* The wrapper behind a netio, which is its first member. */
static struct capture *capture_of(struct netio *io) {
    return (struct capture *)io;
}

/* Hand all records to the kernel in one write. */
static void flush(struct capture *c) {
    if (!c->dump || !c->pending)
        return;
    c->pending = 0;
    if (pcap_dump_flush(c->dump) < 0) {
        pcap_dump_close(c->dump);
        c->dump = NULL;
    }
}

/* Write one plain frame (a netio_emit_fn). */
static int dump_plain(void *ctx, struct netio_frame *f) {
    struct capture *c = ctx;
    uint64_t t = c->now + (uint64_t)c->offset;
    uint32_t n = frame_copy(f, 0, c->flat, sizeof(c->flat));
    struct pcap_pkthdr h = {
        .ts = {.tv_sec = (time_t)(t / 1000000000u),
               .tv_usec = (suseconds_t)(t % 1000000000u)}, /* ns */
        .caplen = n,
        .len = f->len,
    };

    /* stdio would write part of a record when its buffer is full */
    if (c->pending + sizeof(h) + n > CAPTURE_BUFFER)
        flush(c);
    if (!c->dump)
        return -EIO;
    pcap_dump((u_char *)c->dump, &h, c->flat);
    c->pending += sizeof(h) + n;
    return 0;
}

/* Write any frame. One that cannot be segmented is written as it is. */
static void record(struct capture *c, const struct netio_frame *f,
                   nstime_t now) {
    if (!c->dump)
        return;
    c->now = now;
    if (netio_segment(f, dump_plain, c) == -EINVAL) {
        /* show nonsense rather than hide it */
        struct netio_frame raw = *f;
        dump_plain(c, &raw);
    }
}

/* netio_ops.rx. An empty queue ends the burst: time to write. */
static int capture_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct capture *c = capture_of(io);
    int r = netio_rx(c->inner, f, now);

    if (r > 0) {
        io->count.rx_frames++;
        io->count.rx_bytes += f->len;
        record(c, f, now);
    } else {
        flush(c);
    }
    return r;
}

/* netio_ops.tx. Only what the device took was on the wire. */
static int capture_tx(struct netio *io, struct netio_frame *f, unsigned n,
                      nstime_t now) {
    struct capture *c = capture_of(io);
    int r = netio_tx(c->inner, f, n, now);

    for (int i = 0; i < r; i++) {
        io->count.tx_frames++;
        io->count.tx_bytes += f[i].len;
        record(c, &f[i], now);
    }
    flush(c);
    return r;
}

/* netio_ops.deadline: nothing is held back here. */
static nstime_t capture_deadline(struct netio *io) {
    return netio_deadline(capture_of(io)->inner);
}

/* netio_ops.renumber. */
static void capture_renumber(struct netio *io, int from, int to) {
    struct capture *c = capture_of(io);

    if (c->out == from)
        c->out = to;
    netio_renumber(c->inner, from, to);
}

/* netio_ops.close. Whatever is pending is written first. */
static void capture_close(struct netio *io) {
    struct capture *c = capture_of(io);

    netio_close(c->inner);
    flush(c);
    if (c->dump)
        pcap_dump_close(c->dump);
    close(c->out);
    pcap_close(c->pcap);
    free(c);
}

static const struct netio_ops capture_ops = {
    .name = "capture",
    .rx = capture_rx,
    .tx = capture_tx,
    .deadline = capture_deadline,
    .renumber = capture_renumber,
    .close = capture_close,
};

/* Wall clock minus monotonic clock, ns. */
static int64_t clock_offset(void) {
    struct timespec wall, mono;

    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    return (wall.tv_sec - mono.tv_sec) * (int64_t)1000000000 +
           (wall.tv_nsec - mono.tv_nsec);
}

/* Give an empty file its header. False with errno or pcap's error text. */
static bool write_header(struct capture *c, const char *path, int fd) {
    struct stat st;
    pcap_dumper_t *d;

    if (fstat(fd, &st) == 0 && st.st_size > 0)
        return true;
    d = pcap_dump_open(c->pcap, path);
    if (!d)
        return false; /* pcap_geterr says why */
    bool ok = pcap_dump_flush(d) == 0;
    int why = errno;
    pcap_dump_close(d);
    errno = why;
    return ok;
}

/* The cookie stream's write: straight to the file, except for the header. */
static ssize_t cookie_write(void *cookie, const char *buf, size_t n) {
    struct capture *c = cookie;
    ssize_t r;

    if (!c->header_seen) {
        c->header_seen = true;
        return (ssize_t)n;
    }
    do
        r = write(c->out, buf, n);
    while (r < 0 && errno == EINTR);
    return r < 0 ? 0 : r; /* 0 is this interface's word for an error */
}

/* A dumper that appends to c->out. */
static pcap_dumper_t *open_dumper(struct capture *c) {
    FILE *f = fopencookie(c, "w",
                          (cookie_io_functions_t){
                              .write = cookie_write,
                          });

    if (!f)
        return NULL;
    setvbuf(f, c->buffer, _IOFBF, sizeof(c->buffer));
    pcap_dumper_t *d = pcap_dump_fopen(c->pcap, f);
    if (!d) {
        fclose(f);
        return NULL;
    }
    pcap_dump_flush(d); /* the header, into nowhere */
    return d;
}

/* Is the file one that libpcap would continue? */
static bool check_file(struct capture *c, const char *path) {
    pcap_dumper_t *d = pcap_dump_open_append(c->pcap, path);

    if (d)
        pcap_dump_close(d);
    return d != NULL;
}

/* Open for appending; the lock keeps two starters from writing two headers. */
static int open_file(struct capture *c, const char *path, char *err,
                     size_t errlen) {
    c->out = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (c->out < 0) {
        snprintf(err, errlen, "%s: %s: choose a place that can be written",
                 path, strerror(errno));
        return -errno;
    }
    flock(c->out, LOCK_EX);
    if (write_header(c, path, c->out) && check_file(c, path))
        c->dump = open_dumper(c);
    if (!c->dump) {
        const char *why = pcap_geterr(c->pcap);
        snprintf(err, errlen, "%s: %s: choose another file", path,
                 *why ? why : strerror(errno));
        close(c->out);
        return -EINVAL;
    }
    flock(c->out, LOCK_UN);
    return 0;
}

int libstack_capture_move_fd(struct netio *io, int (*move)(int fd)) {
    struct capture *c = capture_of(io);

    c->out = move(c->out);
    return c->out;
}

struct netio *libstack_capture_wrap(struct netio *inner, const char *path,
                                    char *err, size_t errlen) {
    struct capture *c = calloc(1, sizeof(*c));

    if (c)
        c->pcap =
            pcap_open_dead_with_tstamp_precision(DLT_EN10MB, CAPTURE_SNAPLEN,
                                                 PCAP_TSTAMP_PRECISION_NANO);
    if (!c || !c->pcap) {
        snprintf(err, errlen, "%s: out of memory", path);
        free(c);
        return NULL;
    }
    c->io =
        (struct netio){.ops = &capture_ops, .fd = inner->fd, .mtu = inner->mtu};
    c->inner = inner;
    c->offset = clock_offset();
    if (open_file(c, path, err, errlen) < 0) {
        pcap_close(c->pcap);
        free(c);
        return NULL;
    }
    return &c->io;
}
