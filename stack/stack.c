/* stack.c: making a stack, and driving it.
 *
 * Theory of operation
 *
 * stack_create formats the arena: struct shared first, the heap behind it.
 * Only the pages of struct shared, the heap's bitmap and the first few objects
 * are touched. stack_attach makes a private handle; everything in it can be
 * made again.
 *
 * Frames in: stack_poll takes them one by one into the landing chunk of the
 * arena (buf.c), where a long one may stay, and feeds them to ether_input; what
 * is longer than the chunk runs over into a private room. Packets to ourselves
 * that this causes come in before the next frame (loop.c). At the end of the
 * burst timers run, TCP sends what is due, and the batch leaves.
 *
 * Frames out: transports build packets in the batch (pkt_new, ip_output,
 * tx_commit). A full batch is sent at once, the rest by stack_flush; payload is
 * gathered from where it lies. What the interface does not take is lost on
 * the wire, counted, and never retried here: a busy loop would be worse.
 */
#include "stack/stack.h"

#include <errno.h>
#include <string.h>

#include "stack/arp.h"
#include "stack/buf.h"
#include "stack/frag.h"
#include "stack/ip.h"
#include "stack/shared.h"
#include "stack/sock.h"

#define PAGE 4096u
#define MTU_MIN 576u /* RFC 791, section 3.2: every host takes this much */
#define MTU_MAX 65535u
/* What every device takes: IP's longest packet. */
#define SUPERFRAME_MIN 65535u
#define SUPERFRAME_MAX 524288u /* Linux's GSO_MAX_SIZE, 8 * 65535, or less */
#define ARENA_MIN (1u << 20)
/* Rounds of "deliver to ourselves, send what that made due" in one call. */
#define SELF_ROUNDS 64

/* ---- the arena ------------------------------------------------------- */

/* Is this a configuration that can work? */
static bool valid(const void *base, size_t size,
                  const struct stack_config *cfg) {
    return (uintptr_t)base % PAGE == 0 && size >= ARENA_MIN &&
           cfg->mtu >= MTU_MIN && cfg->mtu <= MTU_MAX &&
           (cfg->mac[0] & 1) == 0 &&
           (!cfg->superframe || (cfg->superframe >= SUPERFRAME_MIN &&
                                 cfg->superframe <= SUPERFRAME_MAX));
}

/* Fill in what needs no memory. */
static void format(struct shared *sh, void *base, size_t size,
                   const struct stack_config *cfg) {
    sh->base = base;
    sh->size = size;
    sh->born = sh->now = cfg->now;
    memcpy(sh->mac, cfg->mac, sizeof(sh->mac));
    sh->link_up = true;
    sh->mtu = cfg->mtu;
    sh->superframe = cfg->superframe ? cfg->superframe : SUPERFRAME_MIN;
    random_init(sh, cfg->seed);
    stack_tunes_default(&sh->tune);
    timer_init(&sh->timers, cfg->now);
    list_init(&sh->raw);
    list_init(&sh->socks);
    list_init(&sh->wake);
    list_init(&sh->tcp_due);
    list_init(&sh->loop);
}

/* The tables of each layer; st is a handle for the time of creation. */
static int init_layers(struct stack *st, const struct stack_config *cfg) {
    struct shared *sh = st->sh;
    if (cfg->tune && stack_tunes_set(&sh->tune, cfg->tune))
        return -EINVAL;
    int rc = route_init(st, &cfg->addr, cfg->prefix_len, &cfg->gateway);
    if (rc)
        return rc;
    rc = buf_landing_init(st);
    if (rc == 0)
        rc = demux_init(st, &sh->tcp);
    if (rc == 0)
        rc = demux_init(st, &sh->udp);
    if (rc)
        return rc;
    arp_init(st);
    frag_init(st);
    return 0;
}

/* The magic number is written last: a half-made stack is none. */
int stack_create(void *base, size_t size, const struct stack_config *cfg) {
    struct shared *sh = base;
    if (!valid(base, size, cfg))
        return -EINVAL;
    size &= ~(size_t)(PAGE - 1);
    uint8_t *end = (uint8_t *)base + size;
    /* The end of the arena serves as a handle; only its first and last pages
     * are touched, and cleared again. */
    struct stack *st = (void *)(end - stack_handle_size());
    uint8_t *heap = (uint8_t *)base + ((sizeof(*sh) + PAGE - 1) & ~(PAGE - 1));
    format(sh, base, size, cfg);
    if (heap_init(sh, heap, (uint8_t *)st) < 0)
        return -ENOMEM;
    st->sh = sh;
    st->now = cfg->now;
    list_init(&st->freed);
    int rc = init_layers(st, cfg);
    memset(&st->freed, 0, sizeof(st->freed));
    memset(st, 0, offsetof(struct stack, tx_frames));
    if (rc)
        return rc;
    sh->shared_size = sizeof(*sh);
    sh->abi = SHARED_ABI;
    sh->magic = SHARED_MAGIC;
    return 0;
}

const char *stack_tune(struct stack *st, const char *text) {
    return stack_tunes_set(&st->sh->tune, text);
}

/* Whole pages, so that it can be mapped. */
size_t stack_handle_size(void) {
    return (sizeof(struct stack) + PAGE - 1) & ~(size_t)(PAGE - 1);
}

/* Was it made by this build? */
static bool same_build(const struct shared *sh) {
    return sh->magic == SHARED_MAGIC && sh->abi == SHARED_ABI &&
           sh->shared_size == sizeof(*sh);
}

bool stack_locate(const void *first_page, void **base, size_t *size) {
    const struct shared *sh = first_page;
    if (!same_build(sh))
        return false;
    *base = sh->base;
    *size = sh->size;
    return true;
}

/* Nothing in the arena changes, so observers may attach too. */
struct stack *stack_attach(void *mem, void *base, struct netio *io) {
    struct shared *sh = base;
    struct stack *st = mem;
    if (!same_build(sh) || sh->base != base)
        return NULL;
    st->sh = sh;
    st->io = io;
    st->now = sh->now;
    st->tx_n = 0;
    list_init(&st->freed);
    return st;
}

void stack_set_netio(struct stack *st, struct netio *io) { st->io = io; }

void stack_set_app(struct stack *st, void *app) { st->sh->app = app; }
void *stack_app(struct stack *st) { return st->sh->app; }

void *stack_alloc(struct stack *st, size_t size) { return mem_alloc(st, size); }

void stack_free(struct stack *st, void *p, size_t size) {
    mem_free(st, p, size);
}

/* The gateway is that of the default route. */
void stack_link_info(struct stack *st, struct stack_link *out) {
    const struct shared *sh = st->sh;
    *out = (struct stack_link){
        .prefix_len = sh->routes.prefix_len,
        .mtu = sh->mtu,
        .addr = sh->routes.addr,
    };
    memcpy(out->mac, sh->mac, sizeof(out->mac));
    for (unsigned i = 0; i < sh->routes.n; i++)
        if (!ip_is_any(&sh->routes.route[i].gateway))
            out->gateway = sh->routes.route[i].gateway;
}

/* What neighbours told us may not hold on the other side of a pause, and theirs
 * about us may be gone: forget, and announce ourselves (RFC 5227, 2.3). */
void stack_link_state(struct stack *st, bool up) {
    bool was_up = st->sh->link_up;
    st->sh->link_up = up;
    if (!up)
        arp_flush(st);
    else if (!was_up)
        arp_announce(st);
}

/* ---- out ------------------------------------------------------------- */

/* Only what is read before it is written is cleared. */
struct pkt *pkt_new(struct stack *st) {
    if (st->tx_n == TX_BATCH)
        tx_flush(st);
    struct pkt *p = &st->tx[st->tx_n];
    memset(&p->meta, 0, sizeof(p->meta));
    p->head = PKT_HEADROOM - 1;
    p->niov = 0;
    p->payload = 0;
    return p;
}

/* The caller keeps to PKT_MAX_IOV pieces, headers included. */
void pkt_add_payload(struct pkt *p, const void *d, uint32_t n) {
    if (n == 0)
        return;
    p->niov++;
    p->iov[p->niov].iov_base = (void *)(uintptr_t)d;
    p->iov[p->niov].iov_len = n;
    p->payload += n;
}

/* Slots of the scratch area are used in turn, independent of packets: a
 * fragment of a packet may leave with a later batch than the packet's first
 * fragments, and its slot is not reused before that. */
bool pkt_copy_payload(struct stack *st, struct pkt *p, const void *d,
                      uint32_t n) {
    uint8_t *slot = st->scratch[st->scratch_slot];
    uint8_t *to = slot;
    struct iovec *last = &p->iov[p->niov];
    if (p->niov) {
        uint8_t *end = (uint8_t *)last->iov_base + last->iov_len;
        if (end > slot && end <= slot + sizeof(st->scratch[0]))
            to = end;
    }
    if (n > (size_t)(slot + sizeof(st->scratch[0]) - to) ||
        p->niov + 1 >= PKT_MAX_IOV)
        return false;
    memcpy(to, d, n);
    st->scratch_used = true;
    if (to != slot) {
        last->iov_len += n;
        p->payload += n;
    } else {
        pkt_add_payload(p, to, n);
    }
    return true;
}

/* A packet built elsewhere (a copy held by ARP) moves into the batch. */
void tx_commit(struct stack *st, struct pkt *p) {
    struct pkt *own = &st->tx[st->tx_n];
    if (st->tx_n == TX_BATCH) {
        tx_flush(st);
        own = &st->tx[0];
    }
    if (p != own)
        *own = *p;
    struct netio_frame *f = &st->tx_frames[st->tx_n++];
    own->iov[0].iov_base = pkt_hdr(own);
    own->iov[0].iov_len = pkt_hdr_len(own);
    f->meta = own->meta;
    f->len = pkt_len(own);
    f->niov = own->niov + 1u;
    f->iov = own->iov;
    if (st->scratch_used) {
        st->scratch_slot = (st->scratch_slot + 1) % TX_BATCH;
        st->scratch_used = false;
    }
}

/* Give [at, tx_n) to the interface; returns how many it took. */
static unsigned give(struct stack *st, unsigned at) {
    if (!st->io)
        return 0;
    int n = netio_tx(st->io, st->tx_frames + at, st->tx_n - at, st->now);
    if (n == -ENETDOWN)
        st->sh->link_up = false;
    if (n <= 0)
        return 0;
    st->sh->link_up = true;
    COUNT_ADD(st, tx_frames, n);
    for (unsigned i = at; i < at + (unsigned)n; i++)
        COUNT_ADD(st, tx_bytes, st->tx_frames[i].len);
    return (unsigned)n;
}

/* The interface may take a part; it is asked once more for the rest, until it
 * takes nothing. Memory that waited for this is free now. */
void tx_flush(struct stack *st) {
    unsigned done = 0, n = 1;
    if (st->tx_n) {
        COUNT(st, tx_flushes);
        for (; done < st->tx_n && n; done += n)
            n = give(st, done);
        COUNT_ADD(st, tx_lost, st->tx_n - done);
        st->tx_n = 0;
    }
    mem_free_now(st);
}

/* Deliver packets to ourselves and let TCP send, until both are quiet. The
 * bound keeps one call short; stack_deadline brings the caller back. */
static void settle(struct stack *st) {
    struct shared *sh = st->sh;
    for (int i = 0; i < SELF_ROUNDS; i++) {
        while (loop_run_one(st))
            ;
        if (list_empty(&sh->tcp_due))
            return;
        tcp_send_due(st);
        if (list_empty(&sh->loop))
            return;
    }
}

/* End of a locked section: nothing may be left that could be sent now. */
void stack_flush(struct stack *st) {
    settle(st);
    tx_flush(st);
    st->sh->busy = NULL; /* whoever dies from here on spoils no socket */
}

/* Frames point into the arena and cannot wait; sockets in the list of due ones
 * can. */
bool stack_flush_later(struct stack *st) {
    struct shared *sh = st->sh;
    if (st->tx_n || !list_empty(&sh->loop))
        stack_flush(st);
    else
        mem_free_now(st);
    return !list_empty(&sh->tcp_due);
}

/* ---- time and frames in ---------------------------------------------- */

nstime_t stack_time(const struct stack *st) { return st->now; }

/* All sharers see one clock, which only goes forward. */
void stack_now(struct stack *st, nstime_t now) {
    if (now > st->sh->now)
        st->sh->now = now;
    st->now = st->sh->now;
}

/* One frame in, and the packets to ourselves that it causes. */
static void take_frame(struct stack *st, const struct netio_frame *f) {
    st->sh->link_up = true;
    COUNT(st, rx_frames);
    COUNT_ADD(st, rx_bytes, f->len);
    if (f->len >= PLACE_MIN)
        st->long_frames = PLACE_PATIENCE;
    else if (st->long_frames)
        st->long_frames--;
    ether_input(st, f->iov->iov_base, f->len, &f->meta);
    while (loop_run_one(st))
        ;
}

/* Receive one frame for the reader, and take it in. Returns as netio_rx. */
static int take_placed(struct stack *st, bool *tried) {
    struct iovec iov[16];
    struct netio_frame f = {.iov = iov};
    st->split.len = 0;
    int rc = place_rx(st, &f, tried);
    if (rc > 0)
        take_frame(st, &f);
    st->split.len = 0;
    return rc;
}

/* Receive one frame and take it in. Returns as netio_rx. */
static int take_one(struct stack *st) {
    bool placed;
    uint32_t room;
    int rc = take_placed(st, &placed);
    if (placed)
        return rc;
    uint8_t *at = buf_landing(st, &room);
    struct iovec iov[2] = {
        {at + RX_SKEW, room - RX_SKEW},
        {st->rx_room + room, RX_ROOM - room},
    };
    struct netio_frame f = {.iov = iov, .niov = 2};
    rc = netio_rx(st->io, &f, st->now);
    if (rc <= 0)
        return rc;
    if (f.len > iov[0].iov_len) { /* in one piece, in front of its end */
        memcpy(st->rx_room + RX_SKEW, at + RX_SKEW, iov[0].iov_len);
        iov[0].iov_base = st->rx_room + RX_SKEW;
    }
    take_frame(st, &f);
    return rc;
}

/* Take up to budget frames; with `left`, not those that a reader may want.
 * Returns how many, or -errno if the first failed. */
static int drain(struct stack *st, unsigned budget, bool *left) {
    int taken = 0;
    if (!st->io)
        return 0;
    while ((unsigned)taken < budget && !place_full(st)) {
        if (left && st->long_frames && (*left = place_peek(st)))
            break;
        int rc = take_one(st);
        if (rc == -ENETDOWN)
            st->sh->link_up = false;
        if (rc < 0 && taken == 0)
            return rc;
        if (rc <= 0)
            break;
        taken++;
    }
    return taken;
}

/* Frames before timers: an acknowledgement that came in time stops the
 * retransmission that was due. */
static int poll_all(struct stack *st, unsigned budget, bool *left) {
    int n = drain(st, budget, left);
    timer_run(st);
    stack_flush(st);
    return n;
}

int stack_poll(struct stack *st, unsigned budget) {
    return poll_all(st, budget, NULL);
}

int stack_poll_lazy(struct stack *st, unsigned budget, bool *left) {
    *left = false;
    return poll_all(st, budget, left);
}

int stack_poll_into(struct stack *st, unsigned budget,
                    struct stack_place *place) {
    st->place = place;
    int n = poll_all(st, budget, NULL);
    st->place = NULL;
    return n;
}

nstime_t stack_inside(struct stack *st) { return st->sh->inside; }

/* Work that is left over is due now. */
nstime_t stack_deadline(struct stack *st) {
    struct shared *sh = st->sh;
    if (!list_empty(&sh->tcp_due) || !list_empty(&sh->loop))
        return st->now;
    nstime_t t = timer_next(st);
    nstime_t io = st->io ? netio_deadline(st->io) : NSTIME_NEVER;
    return io < t ? io : t;
}
