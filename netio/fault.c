/* fault.c: a bad link, on purpose and repeatable.
 *
 * Theory of operation
 *
 * Each direction that is to be bad has a pipe. A frame that enters it is cut
 * into plain frames with complete checksums first (faults happen on the wire,
 * where there are no superframes), and each of those passes these stations:
 *
 *   mtu      longer IP packets vanish without a word: a path MTU black hole
 *   loss     independent, or in bursts: a two-state (Gilbert) model whose
 *            stationary loss is the loss asked for, mean stay in the bad state
 *            `burst` frames
 *   corrupt  one bit behind the Ethernet header of an IP frame flips, which a
 *            16-bit Internet checksum always notices (RFC 1071; two flips
 *            might cancel, and a test that compares bytes would blame TCP);
 *            ARP, which has no checksum, is spared: a real link would catch it
 *   ce       a packet that may be marked instead of dropped is marked
 *   dup      the frame is stored twice
 *   rate     the time of departure is that of a serial line with so many bits
 *            per second and a queue in front, its bound counted in bytes of
 *            full-size frames; what does not fit is dropped
 *   delay    plus or minus jitter, but never before the frame ahead
 *   reorder  the frame steps aside and joins behind one of the next three
 *            frames, or after 5 ms if there are no such frames
 *
 * Frames then wait in a ring ordered by due time. The pipe for receiving is
 * filled from the inner netio and emptied into rx; the pipe for sending is
 * filled by tx and emptied into the inner netio whenever anybody calls: so
 * deadline() speaks for both, and the owner must call rx when it is due.
 *
 * All choices come from one generator per direction, seeded by the spec: the
 * same frames at the same times meet the same fate.
 *
 * Memory is one mapping, shared with children made by fork (they go on with
 * the same ring under the stack's lock, so no frame comes out twice); its
 * pages are taken when first used. What is in the pipes of a process that dies
 * or execs is lost, as on a wire.
 */
#include <errno.h>
#include <sys/mman.h>

#include "netio/fault.h"
#include "netio/fault_pipe.h"
#include "netio/frame.h"
#include "netio/sys.h"

#define FAULT_ROOM (256u << 10) /* largest superframe */
#define FAULT_BATCH 16          /* frames in one call of the inner tx */
#define FAULT_TAKE 256          /* frames taken from inner in one rx */

struct fault {
    struct netio io;
    struct netio *inner;
    struct fault_spec spec;
    struct fault_pipe *rx, *tx; /* NULL: that direction is left alone */
    nstime_t now;               /* of the current call */
    uint8_t room[FAULT_ROOM];   /* superframes from inner */
};

/* The wrapper behind a netio, which is its first member. */
static struct fault *fault_of(struct netio *io) { return (struct fault *)io; }

/* ---- the table ---------------------------------------------------------- */

/* Send what is due. What inner does not take is lost. Returns 0 or inner's
 * -errno. */
static int pump_tx(struct fault *t) {
    struct fault_pipe *p = t->tx;
    struct netio_frame f[FAULT_BATCH];
    struct iovec iov[FAULT_BATCH];
    uint32_t i;
    int r = 0;

    if (!p)
        return 0;
    fault_pipe_expire(p, t->now);
    while ((i = fault_pipe_due(p, t->now)) != PIPE_NO_SLOT) {
        unsigned n = 0;
        uint32_t first = p->head;
        do {
            iov[n] = (struct iovec){fault_pipe_data(p, i), p->slot[i].len};
            f[n] = (struct netio_frame){.len = p->slot[i].len,
                                        .niov = 1,
                                        .iov = &iov[n]};
            n++;
            p->head++;
            i = fault_pipe_due(p, t->now);
        } while (n < FAULT_BATCH && i != PIPE_NO_SLOT);
        /* the slots stay ours until inner has read them */
        r = netio_tx(t->inner, f, n, t->now);
        unsigned sent = r > 0 ? (unsigned)r : 0;
        p->count.passed += sent;
        t->io.count.tx_refused += n - sent;
        for (p->head = first; n; n--)
            fault_pipe_pop(p);
    }
    return r < 0 ? r : 0;
}

/* Fill the receiving pipe with what inner has. Returns 0 or -errno. */
static int pump_rx(struct fault *t) {
    struct iovec iov = {t->room, sizeof(t->room)};
    int r = 0;

    for (int i = 0; i < FAULT_TAKE; i++) {
        struct netio_frame f = {.niov = 1, .iov = &iov};
        r = netio_rx(t->inner, &f, t->now);
        if (r <= 0)
            break;
        fault_pipe_enter(t->rx, &t->spec, &f, t->now);
    }
    fault_pipe_expire(t->rx, t->now);
    return r < 0 ? r : 0;
}

/* Hand out the first due frame that fits the caller's room. */
static int take_due(struct fault *t, struct netio_frame *f) {
    struct fault_pipe *p = t->rx;
    uint32_t i;

    while ((i = fault_pipe_due(p, t->now)) != PIPE_NO_SLOT) {
        /* the receiver must check: the frame may have been corrupted */
        f->meta = (struct netio_meta){0};
        f->len = p->slot[i].len;
        bool ok = frame_store(f, 0, fault_pipe_data(p, i), f->len);
        fault_pipe_pop(p);
        if (ok) {
            p->count.passed++;
            return 1;
        }
        t->io.count.rx_too_long++;
    }
    return 0;
}

/* netio_ops.rx. Frames already due come before new ones are taken from inner,
 * so that a busy sender cannot starve the ring; what was sent and is due leaves
 * first. */
static int fault_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct fault *t = fault_of(io);
    int r, err = 0;

    t->now = now;
    pump_tx(t);
    if (!t->rx) {
        r = netio_rx(t->inner, f, now);
    } else {
        r = take_due(t, f);
        if (!r) {
            err = pump_rx(t);
            r = take_due(t, f);
        }
        r = r ? r : err;
    }
    if (r > 0) {
        io->count.rx_frames++;
        io->count.rx_bytes += f->len;
    }
    return r;
}

/* netio_ops.tx. A frame that enters the pipe is taken, whatever its fate; the
 * sender learns of nothing but a link that is down. */
static int fault_tx(struct netio *io, struct netio_frame *f, unsigned n,
                    nstime_t now) {
    struct fault *t = fault_of(io);
    int r = (int)n;

    t->now = now;
    if (t->tx) {
        for (unsigned i = 0; i < n; i++)
            fault_pipe_enter(t->tx, &t->spec, &f[i], now);
        int err = pump_tx(t);
        r = err == -ENETDOWN ? err : r;
    } else {
        r = netio_tx(t->inner, f, n, now);
    }
    for (int i = 0; i < r; i++) {
        io->count.tx_frames++;
        io->count.tx_bytes += f[i].len;
    }
    return r;
}

/* netio_ops.deadline: the first of either pipe's and inner's. */
static nstime_t fault_deadline(struct netio *io) {
    struct fault *t = fault_of(io);
    nstime_t a = fault_pipe_deadline(t->rx), b = fault_pipe_deadline(t->tx);
    nstime_t c = netio_deadline(t->inner);

    a = a < b ? a : b;
    return a < c ? a : c;
}

/* Give all memory back. */
static void release(struct fault *t) {
    fault_pipe_free(t->rx);
    fault_pipe_free(t->tx);
    sys_munmap(t, sizeof(*t));
}

/* netio_ops.renumber. */
static void fault_renumber(struct netio *io, int from, int to) {
    netio_renumber(fault_of(io)->inner, from, to);
}

/* netio_ops.close. What still waits in the pipes is lost. */
static void fault_close(struct netio *io) {
    netio_close(fault_of(io)->inner);
    release(fault_of(io));
}

static const struct netio_ops fault_ops = {
    .name = "fault",
    .rx = fault_rx,
    .tx = fault_tx,
    .deadline = fault_deadline,
    .renumber = fault_renumber,
    .close = fault_close,
};

struct netio *netio_fault_new(struct netio *inner,
                              const struct fault_spec *spec) {
    struct fault *t = sys_mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (sys_is_err(t))
        return NULL;
    t->io =
        (struct netio){.ops = &fault_ops, .fd = inner->fd, .mtu = inner->mtu};
    t->inner = inner;
    t->spec = *spec;
    if (spec->dir & FAULT_RX)
        t->rx = fault_pipe_new(spec, FAULT_RX, inner->mtu);
    if (spec->dir & FAULT_TX)
        t->tx = fault_pipe_new(spec, FAULT_TX, inner->mtu);
    if ((spec->dir & FAULT_RX && !t->rx) || (spec->dir & FAULT_TX && !t->tx)) {
        release(t);
        return NULL;
    }
    return &t->io;
}

void netio_fault_set_mtu(struct netio *io, uint32_t mtu) {
    fault_of(io)->spec.mtu = mtu;
}

const struct fault_counters *netio_fault_counters(const struct netio *io,
                                                  unsigned dir) {
    static const struct fault_counters none;
    const struct fault *t = (const struct fault *)io;
    const struct fault_pipe *p = dir == FAULT_TX ? t->tx : t->rx;

    return p ? &p->count : &none;
}
