/* buf.c: byte queues made of chunks of the arena.
 *
 * Theory of operation
 *
 * A queue is a doubly linked list of chunks; each holds a run of bytes behind
 * a short header. Appending fills the room left in the last chunk, then adds
 * chunks: as large as what is to be stored, at least half of what the
 * queue holds already, between 512 bytes and 64 KiB, headers included. So a
 * small message costs a small chunk, and a queue of n bytes never has more
 * than about 12 + n / 32 KiB chunks however it was filled: finding an offset
 * walks from the nearer end, about 32 steps at worst for 2 MiB.
 *
 * Frames are received into a chunk of their own, the arena's landing chunk.
 * Appending most of a long frame (a superframe in bulk) does not copy: the
 * landing chunk itself becomes the last of the queue, and a new one takes its
 * place. There is always one, so the death of a process cannot lose it.
 *
 * Bytes do not move once stored, so that frames of the batch can point at
 * them; dropped chunks are freed only after the batch is sent
 * (mem_free_later). An empty queue holds no memory.
 */
#include "stack/buf.h"

#include <errno.h>
#include <string.h>

#include "stack/shared.h"

#define CHUNK_MIN 512u
#define CHUNK_MAX 65536u
#define ADOPT_MIN 32768u /* below, copying is cheaper than half a chunk */

struct chunk {
    struct mem_later later; /* room for mem_free_later: nobody points here */
    struct chunk *next, *prev;
    uint32_t off; /* of the first byte still wanted, in data[] */
    uint32_t end; /* of the last byte stored, plus 1 */
    uint32_t cap; /* of data[] */
    uint32_t pad;
    uint8_t data[];
};

/* Bytes still wanted; arena bytes of the whole chunk. */
static uint32_t chunk_len(const struct chunk *c) { return c->end - c->off; }
static size_t chunk_mem(const struct chunk *c) { return sizeof(*c) + c->cap; }

/* Arena bytes of the next chunk when n more bytes are to be stored. */
static size_t chunk_size(const struct bufq *q, uint32_t n) {
    size_t want = (size_t)n + sizeof(struct chunk);
    size_t least = q->len / 2;
    if (want < least)
        want = least;
    if (want < CHUNK_MIN)
        want = CHUNK_MIN;
    if (want >= CHUNK_MAX)
        return CHUNK_MAX;
    return mem_good_size(want);
}

/* Bytes are off to end of c, now the last chunk. */
static void link_last(struct bufq *q, struct chunk *c) {
    c->next = NULL;
    c->prev = q->tail;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
    q->mem += (uint32_t)chunk_mem(c);
}

/* A new last chunk for n bytes; when memory is short, of any size that there is:
 * blocks of the heap belong to one size each (alloc.c). */
static struct chunk *chunk_add(struct stack *st, struct bufq *q, uint32_t n) {
    size_t size = chunk_size(q, n);
    struct chunk *c = mem_alloc_raw(st, size);
    for (size_t s = CHUNK_MIN; !c && s <= CHUNK_MAX; s *= 2)
        c = mem_alloc_raw(st, size = s);
    if (!c)
        return NULL;
    c->off = c->end = 0;
    c->cap = (uint32_t)(size - sizeof(*c));
    link_last(q, c);
    return c;
}

/* Unlink and free the first chunk. */
static void chunk_pop(struct stack *st, struct bufq *q) {
    struct chunk *c = q->head;
    q->head = c->next;
    if (q->head)
        q->head->prev = NULL;
    else
        q->tail = NULL;
    q->mem -= (uint32_t)chunk_mem(c);
    mem_free_later(st, c, chunk_mem(c));
}

/* Append n bytes; `more` of the same call will follow and may share the
 * chunk. */
static uint32_t append(struct stack *st, struct bufq *q, const uint8_t *p,
                       uint32_t n, uint32_t more) {
    uint32_t done = 0;
    while (done < n) {
        struct chunk *c = q->tail;
        if (!c || c->end == c->cap)
            c = chunk_add(st, q, n - done + more);
        if (!c)
            break;
        uint32_t take = c->cap - c->end;
        if (take > n - done)
            take = n - done;
        memcpy(c->data + c->end, p + done, take);
        c->end += take;
        q->len += take;
        done += take;
    }
    return done;
}

int buf_landing_init(struct stack *st) {
    struct chunk *c = mem_alloc_raw(st, CHUNK_MAX);
    if (!c)
        return -ENOMEM;
    c->cap = CHUNK_MAX - sizeof(*c);
    st->sh->landing = c;
    return 0;
}

uint8_t *buf_landing(struct stack *st, uint32_t *room) {
    *room = st->sh->landing->cap;
    return st->sh->landing->data;
}

/* Make the landing chunk the last of q, if [p, p + n) fills most of it. In an
 * arena that is half full the bytes are copied, which packs them tighter, and
 * so they are when there is no memory for the next landing chunk. */
static bool adopt(struct stack *st, struct bufq *q, const uint8_t *p,
                  uint32_t n) {
    struct chunk *c = st->sh->landing;
    const struct heap *h = &st->sh->heap;
    if (h->used > (size_t)(h->end - h->start) / 2)
        return false;
    if (n < ADOPT_MIN || p < c->data || p >= c->data + c->cap ||
        n > (size_t)(c->data + c->cap - p) || buf_landing_init(st) < 0)
        return false;
    c->off = (uint32_t)(p - c->data);
    c->end = c->off + n;
    link_last(q, c);
    q->len += n;
    return true;
}

uint32_t bufq_append(struct stack *st, struct bufq *q, const void *p,
                     uint32_t n) {
    if (adopt(st, q, p, n))
        return n;
    return append(st, q, p, n, 0);
}

/* One chunk for all pieces of a call where that is possible: the first piece
 * allocates for the rest too. */
uint32_t bufq_append_iov(struct stack *st, struct bufq *q,
                         const struct iovec *iov, int niov, size_t skip,
                         uint32_t n) {
    uint32_t left = n;
    for (int i = 0; i < niov && left; i++) {
        size_t len = iov[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        const uint8_t *p = (const uint8_t *)iov[i].iov_base + skip;
        len -= skip;
        skip = 0;
        uint32_t want = len < left ? (uint32_t)len : left;
        uint32_t got = append(st, q, p, want, left - want);
        left -= got;
        if (got < want)
            break;
    }
    return n - left;
}

/* The chunk that holds offset off < q->len; *within: bytes of it before. */
static const struct chunk *find(const struct bufq *q, uint32_t off,
                                uint32_t *within) {
    const struct chunk *c;
    if (off < q->len / 2) {
        for (c = q->head; off >= chunk_len(c); c = c->next)
            off -= chunk_len(c);
        *within = off;
        return c;
    }
    uint32_t back = q->len - off; /* bytes from off to the end */
    for (c = q->tail; back > chunk_len(c); c = c->prev)
        back -= chunk_len(c);
    *within = chunk_len(c) - back;
    return c;
}

/* Pieces point into the chunks and stay valid until they are dropped, and
 * beyond that until the next flush. */
int bufq_peek(const struct bufq *q, uint32_t off, uint32_t n, struct iovec *iov,
              int max, uint32_t *got) {
    int i = 0;
    *got = 0;
    if (off >= q->len || n == 0)
        return 0;
    if (n > q->len - off)
        n = q->len - off;
    uint32_t within;
    const struct chunk *c = find(q, off, &within);
    for (; i < max && *got < n; i++, c = c->next) {
        uint32_t take = chunk_len(c) - within;
        if (take > n - *got)
            take = n - *got;
        iov[i].iov_base = (void *)(uintptr_t)(c->data + c->off + within);
        iov[i].iov_len = take;
        *got += take;
        within = 0;
    }
    return i;
}

/* From any offset into any pieces; both ends may be cut anywhere. */
uint32_t bufq_copy_iov(const struct bufq *q, uint32_t off,
                       const struct iovec *iov, int niov, uint32_t n) {
    uint32_t done = 0, within;
    if (off >= q->len)
        return 0;
    if (n > q->len - off)
        n = q->len - off;
    if (n == 0)
        return 0;
    const struct chunk *c = find(q, off, &within);
    for (int i = 0; i < niov && done < n; i++) {
        uint8_t *to = iov[i].iov_base;
        size_t room = iov[i].iov_len;
        while (room && done < n) {
            if (within == chunk_len(c)) {
                c = c->next;
                within = 0;
            }
            size_t take = chunk_len(c) - within;
            if (take > room)
                take = room;
            if (take > n - done)
                take = n - done;
            memcpy(to, c->data + c->off + within, take);
            to += take;
            room -= take;
            within += (uint32_t)take;
            done += (uint32_t)take;
        }
    }
    return done;
}

uint32_t bufq_copy(const struct bufq *q, uint32_t off, void *dst, uint32_t n) {
    struct iovec iov = {dst, n};
    return bufq_copy_iov(q, off, &iov, 1, n);
}

/* Whole chunks go back, the first of the rest is only cut. */
void bufq_drop(struct stack *st, struct bufq *q, uint32_t n) {
    if (n > q->len)
        n = q->len;
    q->len -= n;
    while (n) {
        struct chunk *c = q->head;
        uint32_t take = chunk_len(c) < n ? chunk_len(c) : n;
        c->off += take;
        n -= take;
        if (c->off == c->end)
            chunk_pop(st, q);
    }
}

/* The first chunk of `from` becomes the last of `to`. */
static void relink(struct bufq *from, struct bufq *to) {
    struct chunk *c = from->head;
    from->head = c->next;
    if (from->head)
        from->head->prev = NULL;
    else
        from->tail = NULL;
    from->mem -= (uint32_t)chunk_mem(c);
    from->len -= chunk_len(c);
    to->len += chunk_len(c);
    link_last(to, c);
}

/* A chunk that is to be split, or that would fit into the room behind the last
 * one, is copied: small ones must not pile up. */
uint32_t bufq_move(struct stack *st, struct bufq *from, struct bufq *to,
                   uint32_t n) {
    uint32_t done = 0;
    while (done < n && from->head) {
        struct chunk *c = from->head, *last = to->tail;
        uint32_t len = chunk_len(c);
        if (len <= n - done && (!last || last->cap - last->end < len)) {
            relink(from, to);
            done += len;
            continue;
        }
        uint32_t take = len < n - done ? len : n - done;
        uint32_t got = append(st, to, c->data + c->off, take, 0);
        bufq_drop(st, from, got);
        done += got;
        if (got < take)
            break;
    }
    return done;
}

void bufq_join(struct bufq *to, struct bufq *from) {
    while (from->head)
        relink(from, to);
}

/* Chunks are as full as can be. */
uint32_t bufq_reserve(struct stack *st, struct bufq *q, uint32_t n) {
    while (q->len < n) {
        uint32_t left = n - q->len;
        struct chunk *c = chunk_add(st, q, left);
        if (!c)
            break;
        c->end = left < c->cap ? left : c->cap;
        q->len += c->end;
    }
    return q->len;
}

/* Pieces of the list and chunks may end anywhere. */
void bufq_fill(struct bufq *q, const struct iovec *iov, int niov, size_t skip) {
    struct chunk *c = q->head;
    uint32_t at = 0;
    for (int i = 0; i < niov && c; i++) {
        const uint8_t *p = iov[i].iov_base;
        size_t len = iov[i].iov_len, off = skip < len ? skip : len;
        skip -= off;
        while (off < len && c) {
            size_t take = c->end - at;
            if (take > len - off)
                take = len - off;
            memcpy(c->data + at, p + off, take);
            off += take;
            at += (uint32_t)take;
            if (at == c->end) {
                c = c->next;
                at = 0;
            }
        }
    }
}

/* As dropping everything, without looking at lengths. */
void bufq_clear(struct stack *st, struct bufq *q) {
    while (q->head)
        chunk_pop(st, q);
    q->len = 0;
}
