/* memwire.c: a wire in memory, for tests.
 *
 * Theory of operation
 *
 * One object holds two queues, one per direction, and the two ends. A frame is
 * copied when it is sent, and copied again into the receiver's room. There is
 * no time in it: a frame can be received as soon as it was sent, and an end
 * with something to receive says so by a deadline of 0. Delay and loss come
 * from the fault wrapper around an end.
 *
 * The object lives until both ends are closed. Only tests link this file, so
 * malloc is allowed.
 */
#include <errno.h>
#include <stdlib.h>

#include "netio/memwire.h"
#include "netio/frame.h"

/* A frame on its way. */
struct flight {
    struct flight *next;
    struct netio_meta meta;
    uint32_t len;
    uint8_t data[];
};

struct end {
    struct netio io;
    struct wire *wire;
    unsigned peer; /* index of the other end */
    bool closed;
    struct flight *head, **tail; /* to be received here */
    unsigned n;
};

struct wire {
    struct end end[2];
    unsigned limit;
    bool up;
};

/* The end behind a netio, which is its first member. */
static struct end *end_of(const struct netio *io) { return (struct end *)io; }

/* Take the first frame off the queue of an end. */
static struct flight *take(struct end *e) {
    struct flight *fl = e->head;

    if (!fl)
        return NULL;
    e->head = fl->next;
    if (!e->head)
        e->tail = &e->head;
    e->n--;
    return fl;
}

/* Copy into the receiver's room; false when it does not fit. */
static bool deliver(struct netio_frame *f, const struct flight *fl) {
    f->len = fl->len;
    f->meta = fl->meta;
    return frame_store(f, 0, fl->data, fl->len);
}

/* netio_ops.rx. -ENETDOWN while the wire is cut. */
static int memwire_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct end *e = end_of(io);
    struct flight *fl;

    if (!e->wire->up)
        return -ENETDOWN;
    while ((fl = take(e))) {
        bool ok = deliver(f, fl);
        free(fl);
        if (ok) {
            io->count.rx_frames++;
            io->count.rx_bytes += f->len;
            return 1;
        }
        io->count.rx_too_long++;
    }
    return 0;
}

/* netio_ops.peek. */
static int memwire_peek(struct netio *io, void *buf, uint32_t n) {
    struct end *e = end_of(io);

    if (!e->wire->up)
        return -ENETDOWN;
    if (!e->head)
        return 0;
    memcpy(buf, e->head->data, n < e->head->len ? n : e->head->len);
    return (int)e->head->len;
}

/* Would a device take this frame? */
static bool acceptable(const struct end *e, const struct netio_frame *f) {
    size_t total = 0;

    for (uint32_t i = 0; i < f->niov; i++)
        total += f->iov[i].iov_len;
    return total >= f->len && f->len >= FRAME_ETH_HLEN &&
           (f->meta.gso || f->len <= e->io.mtu + FRAME_ETH_HLEN);
}

/* Queue a copy at the other end. */
static int send_copy(struct end *e, const struct netio_frame *f) {
    struct end *to = &e->wire->end[e->peer];
    struct flight *fl;

    /* a bound, like any queue: a test that forgets to read must not eat the
     * machine's memory */
    if (to->closed || to->n >= e->wire->limit) {
        e->io.count.tx_queue_full++;
        return 0;
    }
    fl = malloc(sizeof(*fl) + f->len);
    if (!fl)
        return -ENOMEM;
    *fl = (struct flight){.meta = f->meta, .len = f->len};
    frame_copy(f, 0, fl->data, f->len);
    *to->tail = fl;
    to->tail = &fl->next;
    to->n++;
    e->io.count.tx_frames++;
    e->io.count.tx_bytes += f->len;
    return 0;
}

/* netio_ops.tx. A frame dropped for want of room counts as taken, as a full
 * switch would have it; one that no device would take is counted and skipped. */
static int memwire_tx(struct netio *io, struct netio_frame *f, unsigned n,
                      nstime_t now) {
    struct end *e = end_of(io);

    if (!e->wire->up)
        return -ENETDOWN;
    for (unsigned i = 0; i < n; i++) {
        if (!acceptable(e, &f[i])) {
            io->count.tx_refused++;
            continue;
        }
        int r = send_copy(e, &f[i]);
        if (r < 0)
            return i ? (int)i : r;
    }
    return (int)n;
}

/* netio_ops.deadline: at once, when something waits. */
static nstime_t memwire_deadline(struct netio *io) {
    struct end *e = end_of(io);

    return e->head && e->wire->up ? 0 : NSTIME_NEVER;
}

/* netio_ops.close. The last one to leave frees the wire. */
static void memwire_close(struct netio *io) {
    struct end *e = end_of(io);
    struct flight *fl;

    while ((fl = take(e)))
        free(fl);
    e->closed = true;
    if (e->wire->end[e->peer].closed)
        free(e->wire);
}

static const struct netio_ops memwire_ops = {
    .name = "memwire",
    .rx = memwire_rx,
    .peek = memwire_peek,
    .tx = memwire_tx,
    .deadline = memwire_deadline,
    .close = memwire_close,
};

int netio_memwire_new(struct netio *ends[2], uint32_t mtu, unsigned limit) {
    struct wire *w = calloc(1, sizeof(*w));

    if (!w)
        return -ENOMEM;
    w->limit = limit;
    w->up = true;
    for (unsigned i = 0; i < 2; i++) {
        struct end *e = &w->end[i];
        e->io = (struct netio){.ops = &memwire_ops, .fd = -1, .mtu = mtu};
        e->wire = w;
        e->peer = !i;
        e->tail = &e->head;
        ends[i] = &e->io;
    }
    return 0;
}

unsigned netio_memwire_pending(const struct netio *end) {
    return end_of(end)->n;
}

void netio_memwire_set_up(struct netio *end, bool up) {
    end_of(end)->wire->up = up;
}
