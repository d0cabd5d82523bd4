/* fault_pipe.c: one direction of a bad link: chance, the stations that a frame
 * passes, and the ring in which it waits. See fault.c for how they fit. */
#include <sys/mman.h>

#include "netio/fault_pipe.h"
#include "netio/frame.h"
#include "netio/segment.h"
#include "netio/sys.h"

#define HELD_NS 5000000ull /* how long a frame stands aside at most */
/* Preamble, FCS and gap of Ethernet, which cost time on a wire too */
#define WIRE_EXTRA 24u
#define WIRE_MIN 60u

/* ---- chance ------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t random_next(struct fault_pipe *p) {
    uint64_t z = p->random += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* 0..n-1 */
static uint64_t random_below(struct fault_pipe *p, uint64_t n) {
    return (uint64_t)((unsigned __int128)random_next(p) * n >> 64);
}

/* True with this probability (a fraction of FAULT_ONE). Draws nothing for
 * never, so that a fault which is off does not change the others' luck. */
static bool chance(struct fault_pipe *p, uint64_t probability) {
    return probability && random_next(p) >> 32 < probability;
}

/* Is this frame lost? */
static bool is_lost(struct fault_pipe *p, const struct fault_spec *s) {
    if (s->burst <= 1)
        return chance(p, s->loss);
    /* leave the bad state once in `burst` frames; enter it so often that the
     * share of time in it is `loss` */
    uint64_t leave = FAULT_ONE / s->burst;
    uint64_t enter = s->loss >= FAULT_ONE
                         ? FAULT_ONE
                         : (uint64_t)((unsigned __int128)leave * s->loss /
                                      (FAULT_ONE - s->loss));
    p->losing = p->losing ? s->loss >= FAULT_ONE || !chance(p, leave)
                          : chance(p, enter);
    return p->losing;
}

/* ---- the ring ----------------------------------------------------------- */

/* A free slot; the most recently freed one, whose memory is warm. */
static uint32_t slot_get(struct fault_pipe *p) {
    uint32_t i = p->free_slots;

    if (i != PIPE_NO_SLOT)
        p->free_slots = p->slot[i].next_free;
    else if (p->used_slots < p->nslots)
        i = p->used_slots++;
    return i;
}

/* Back to the list of free slots. */
static void slot_put(struct fault_pipe *p, uint32_t i) {
    p->slot[i].next_free = p->free_slots;
    p->free_slots = i;
}

/* Append to the ring; due times never decrease along it. */
static void ring_push(struct fault_pipe *p, uint32_t i, nstime_t due) {
    if (due < p->last_due)
        due = p->last_due;
    p->last_due = due;
    p->slot[i].due = due;
    p->ring[p->tail++ % PIPE_MAX_SLOTS] = i;
}

uint32_t fault_pipe_due(const struct fault_pipe *p, nstime_t now) {
    if (p->head == p->tail)
        return PIPE_NO_SLOT;
    uint32_t i = p->ring[p->head % PIPE_MAX_SLOTS];
    return p->slot[i].due <= now ? i : PIPE_NO_SLOT;
}

void fault_pipe_pop(struct fault_pipe *p) {
    slot_put(p, p->ring[p->head++ % PIPE_MAX_SLOTS]);
}

/* Let frame h of those aside join the ring. */
static void held_join(struct fault_pipe *p, unsigned h, nstime_t due) {
    ring_push(p, p->held[h].slot, due);
    p->held[h] = p->held[--p->nheld];
}

/* A frame has just joined: one more has passed those aside. */
static void held_passed(struct fault_pipe *p) {
    for (unsigned h = p->nheld; h-- > 0;)
        if (--p->held[h].after == 0)
            held_join(p, h, p->last_due);
}

void fault_pipe_expire(struct fault_pipe *p, nstime_t now) {
    for (unsigned h = p->nheld; h-- > 0;)
        if (p->held[h].until <= now)
            held_join(p, h, p->held[h].until);
}

nstime_t fault_pipe_deadline(const struct fault_pipe *p) {
    nstime_t t = NSTIME_NEVER;

    if (!p)
        return t;
    if (p->head != p->tail)
        t = p->slot[p->ring[p->head % PIPE_MAX_SLOTS]].due;
    for (unsigned h = 0; h < p->nheld; h++)
        if (p->held[h].until < t)
            t = p->held[h].until;
    return t;
}

/* ---- the stations ------------------------------------------------------- */

/* One frame entering one pipe. */
struct entry {
    struct fault_pipe *p;
    const struct fault_spec *s;
    nstime_t now;
};

/* Flip one bit of an IP frame. */
static void corrupt(struct fault_pipe *p, uint8_t *data, uint32_t len) {
    uint16_t type = get16(data + 12);
    uint64_t bit;

    if ((type != FRAME_IPV4 && type != FRAME_IPV6) || len <= FRAME_ETH_HLEN)
        return;
    bit = random_below(p, (len - FRAME_ETH_HLEN) * 8ull);
    data[FRAME_ETH_HLEN + bit / 8] ^= (uint8_t)(1u << bit % 8);
    p->count.corrupted++;
}

/* Congestion experienced: an IPv4 packet that says ECT leaves as CE, its header
 * checksum brought up to date (RFC 3168 section 5, RFC 1624). */
static void mark(struct fault_pipe *p, uint8_t *data, uint32_t len) {
    if (len < FRAME_ETH_HLEN + 20 || get16(data + 12) != FRAME_IPV4)
        return;
    uint8_t *ip = data + FRAME_ETH_HLEN;
    uint16_t before = get16(ip);
    if (!(ip[1] & 3) || (ip[1] & 3) == 3)
        return;
    ip[1] |= 3;
    uint32_t sum = (uint16_t)~get16(ip + 10);
    sum += (uint16_t)~before;
    sum += get16(ip);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = (uint8_t)(~sum >> 8);
    ip[11] = (uint8_t)~sum;
    p->count.marked++;
}

/* When would a frame of this length have left the line of limited rate?
 * NSTIME_NEVER: the queue is full. */
static nstime_t line_departure(struct entry *e, uint32_t len) {
    struct fault_pipe *p = e->p;
    uint64_t wire = (len < WIRE_MIN ? WIRE_MIN : len);
    uint64_t full = (p->slot_size + WIRE_EXTRA) * 8ull * 1000000000ull;

    if (!e->s->rate)
        return e->now;
    if (p->line_free < e->now)
        p->line_free = e->now;
    /* the backlog is a time: how long the line is busy with what it has */
    if (p->line_free - e->now > full / e->s->rate * e->s->queue)
        return NSTIME_NEVER;
    p->line_free += (wire + WIRE_EXTRA) * 8 * 1000000000ull / e->s->rate;
    return p->line_free;
}

/* Delay with jitter. */
static nstime_t transit(struct entry *e) {
    const struct fault_spec *s = e->s;

    if (!s->jitter)
        return s->delay;
    /* uniform in [delay - jitter, delay + jitter]; the parser has seen to it
     * that this is not negative */
    return s->delay - s->jitter + random_below(e->p, 2 * s->jitter + 1);
}

/* Put a filled slot into the ring, or aside. */
static void schedule(struct entry *e, uint32_t i, nstime_t due) {
    struct fault_pipe *p = e->p;

    /* when all places aside are taken, the frame keeps its turn */
    if (p->nheld < PIPE_HELD && chance(p, e->s->reorder)) {
        p->held[p->nheld++] =
            (struct held){i, 1 + (uint32_t)random_below(p, 3), due + HELD_NS};
        p->count.reordered++;
        return;
    }
    ring_push(p, i, due);
    held_passed(p);
}

/* Copy a frame into a slot and schedule it. */
static void store(struct entry *e, const struct netio_frame *f, bool spoil) {
    struct fault_pipe *p = e->p;
    nstime_t left = line_departure(e, f->len);
    uint32_t i;

    if (left == NSTIME_NEVER) {
        p->count.queue_full++;
        return;
    }
    i = f->len <= p->slot_size ? slot_get(p) : PIPE_NO_SLOT;
    if (i == PIPE_NO_SLOT) {
        p->count.no_room++;
        return;
    }
    p->slot[i].len = frame_copy(f, 0, fault_pipe_data(p, i), f->len);
    if (chance(p, e->s->ce))
        mark(p, fault_pipe_data(p, i), p->slot[i].len);
    if (spoil)
        corrupt(p, fault_pipe_data(p, i), f->len);
    schedule(e, i, left + transit(e));
}

/* A plain frame enters (a netio_emit_fn). */
static int enter_plain(void *ctx, struct netio_frame *f) {
    struct entry *e = ctx;
    struct fault_pipe *p = e->p;

    /* every station draws from the generator in a fixed order: that is what
     * makes a run repeatable */
    p->count.seen++;
    if (e->s->mtu && f->len > e->s->mtu + FRAME_ETH_HLEN) {
        p->count.too_big++;
        return 0;
    }
    if (is_lost(p, e->s)) {
        p->count.lost++;
        return 0;
    }
    store(e, f, chance(p, e->s->corrupt));
    if (chance(p, e->s->dup)) { /* the copy is of the frame as it came */
        p->count.duplicated++;
        store(e, f, false);
    }
    return 0;
}

void fault_pipe_enter(struct fault_pipe *p, const struct fault_spec *spec,
                      const struct netio_frame *f, nstime_t now) {
    struct entry e = {p, spec, now};

    if (netio_segment(f, enter_plain, &e) < 0)
        p->count.bad_frame++;
}

/* ---- making ------------------------------------------------------------- */

struct fault_pipe *fault_pipe_new(const struct fault_spec *spec, unsigned dir,
                                  uint32_t mtu) {
    /* room for a VLAN tag, whole cache lines */
    uint32_t slot = (mtu + FRAME_ETH_HLEN + 4 + 63) & ~63u;
    uint32_t n = PIPE_MAX_BYTES / slot;
    size_t size;
    struct fault_pipe *p;

    if (n > PIPE_MAX_SLOTS)
        n = PIPE_MAX_SLOTS;
    size = sizeof(*p) + (size_t)n * slot;
    p = sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_is_err(p))
        return NULL;
    p->size = size;
    p->random = spec->seed * 2 + (dir == FAULT_TX);
    p->slot_size = slot;
    p->nslots = n;
    p->free_slots = PIPE_NO_SLOT;
    return p;
}

void fault_pipe_free(struct fault_pipe *p) {
    if (p)
        sys_munmap(p, p->size);
}
