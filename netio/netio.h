/* netio: frames in and out, behind one small table of functions.
 *
 * Theory of operation
 *
 * A `struct netio` is a place where whole Ethernet frames come from and go to:
 * an AF_PACKET socket, an in-memory wire between two stacks in a test, or a
 * wrapper (capture, trace, faults) around another netio. The stack calls it
 * through the table below and knows nothing else of the outside. Nothing here
 * reads a clock: `now` comes from the caller, and a netio that holds frames
 * back (a wrapper that delays) says through `deadline` when it wants to be
 * polled again.
 *
 * Each frame carries the facts of the virtio-net header in host form (`struct
 * netio_meta`), because superframes (one TCP segment much longer than the MTU,
 * to be split by whoever needs to) and checksums that are left to the device
 * are the difference between 2 and 30 Gbit/s. A netio must carry `meta`
 * faithfully in both directions; `netio_segment` (netio/segment.h) turns a
 * superframe into plain frames for those that cannot.
 *
 * Instances live in private memory, one per process. They are used under the
 * stack's lock and need no lock themselves. */
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Times are nanoseconds of CLOCK_MONOTONIC, or of a test's virtual clock. */
typedef uint64_t nstime_t;
#define NSTIME_NEVER UINT64_MAX

/* netio_meta.flags */
/* checksum field holds the pseudo-header sum only: [csum_start, end) is still
 * to be summed */
#define NETIO_CSUM_PARTIAL 0x01
/* received, and somebody trusted checked it */
#define NETIO_CSUM_VALID 0x02

enum netio_gso {
    NETIO_GSO_NONE = 0,
    NETIO_GSO_TCP4,
    NETIO_GSO_TCP6,
    NETIO_GSO_UDP, /* UDP_SEGMENT: equal datagrams */
};

/* What the virtio-net header says of a frame (virtio 1.2, section 5.1.6).
 * Offsets count from the Ethernet header. */
struct netio_meta {
    uint8_t flags;        /* NETIO_CSUM_* */
    uint8_t gso;          /* enum netio_gso */
    uint16_t gso_size;    /* payload bytes per segment, when gso is not NONE */
    uint16_t hdr_len;     /* bytes of headers to repeat on each segment */
    uint16_t csum_start;  /* with CSUM_PARTIAL */
    uint16_t csum_offset; /* of the checksum field, from csum_start */
};

/* One frame as a gather list, Ethernet header first, no FCS. rx: iov describes
 * the caller's room, `len` returns the frame's length. tx: iov and len describe
 * the frame; the callee never keeps a reference after it returns. */
struct netio_frame {
    struct netio_meta meta;
    uint32_t len;
    uint32_t niov;
    struct iovec *iov;
};

struct netio;

struct netio_ops {
    const char *name;

    /* Receive one frame without blocking. Returns 1 with *f filled, 0 when
     * there is none, or -errno (-ENETDOWN: the link is down). A frame that does
     * not fit the room is dropped and counted, and the next one is tried. */
    int (*rx)(struct netio *io, struct netio_frame *f, nstime_t now);

    /* Copy the first n bytes of the next frame without taking it. Its length,
     * 0 when there is none, or -errno. NULL: cannot. */
    int (*peek)(struct netio *io, void *buf, uint32_t n);

    /* Send n frames in order. Returns the number taken (0..n), or -errno when
     * the first was refused. */
    int (*tx)(struct netio *io, struct netio_frame *f, unsigned n,
              nstime_t now);

    /* When must rx be called again although fd is not readable? NSTIME_NEVER if
     * there is no such time. */
    nstime_t (*deadline)(struct netio *io);

    /* A descriptor of the process has another number now, which is one of ours
     * besides fd, or of what we wrap. NULL: there are none. */
    void (*renumber)(struct netio *io, int from, int to);

    /* Release everything (a wrapper closes what it wraps). */
    void (*close)(struct netio *io);
};

struct netio_counters {
    uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes;
    uint64_t rx_too_long;   /* dropped: longer than the room given */
    uint64_t rx_bad_meta;   /* dropped: virtio header that makes no sense */
    uint64_t tx_refused;    /* not taken by the device */
    uint64_t tx_queue_full; /* dropped: the device's queue was full */
    uint64_t tx_waits;      /* times a full send buffer was waited for */
    uint64_t rx_missed;     /* the kernel dropped them: nobody read in time */
};

struct netio {
    const struct netio_ops *ops;
    int fd;       /* poll this for POLLIN; -1 if there is nothing to poll */
    uint32_t mtu; /* largest IP packet one plain frame can carry */
    struct netio_counters count;
};

static inline int netio_rx(struct netio *io, struct netio_frame *f,
                           nstime_t now) {
    return io->ops->rx(io, f, now);
}
static inline int netio_peek(struct netio *io, void *buf, uint32_t n) {
    return io->ops->peek ? io->ops->peek(io, buf, n) : -EOPNOTSUPP;
}
static inline int netio_tx(struct netio *io, struct netio_frame *f, unsigned n,
                           nstime_t now) {
    return io->ops->tx(io, f, n, now);
}
static inline nstime_t netio_deadline(struct netio *io) {
    return io->ops->deadline ? io->ops->deadline(io) : NSTIME_NEVER;
}
static inline void netio_renumber(struct netio *io, int from, int to) {
    if (io->fd == from)
        io->fd = to;
    if (io->ops->renumber)
        io->ops->renumber(io, from, to);
}
static inline void netio_close(struct netio *io) {
    if (io && io->ops->close)
        io->ops->close(io);
}
