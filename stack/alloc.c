/* alloc.c: memory of the arena.
 *
 * Theory of operation
 *
 * The arena is a sparse mapping: a page costs nothing until it is touched, and
 * a touched page stays with us (this code makes no system calls). So memory is
 * handed out lowest address first, fresh memory last, and no table is
 * initialised before it is needed: all zero means free.
 *
 * The heap is cut into blocks of 64 KiB. A bit per block says whether it is
 * taken; a `struct heap_block` describes it. Requests up to 32 KiB are
 * rounded up to a size class and served from blocks that hold objects of that
 * class only. Classes are 16 bytes apart up to 256, then 8 per doubling up to
 * 8 KiB (at most 12.5 % waste), then the largest sizes of which 7, 6, 5, 4, 3
 * and 2 fit a block. Longer requests are runs of whole blocks.
 *
 * In a block of a class, freed objects form a chain through their own first
 * bytes; objects that were never handed out are carved from the end of the
 * used part. Blocks with room hang in heap.partial[class]; full ones hang
 * nowhere and come back with their first free; empty ones go back to the
 * bitmap at once. Every step is O(1) but two: finding a free block (a scan of
 * one word per 4 MiB, from a hint) and finding a run.
 *
 * The caller gives the size when it frees, so objects carry no header. A
 * pointer or size that cannot be right is counted (bad_free) and ignored:
 * leaking is the lesser evil in memory that many processes share.
 */
#include "stack/alloc.h"

#include <string.h>

#include "stack/guard.h"
#include "stack/repair.h"
#include "stack/shared.h"

#define SMALL_MAX 32768u
#define LINEAR_MAX 256u /* 16-byte steps up to here */
#define LINEAR_CLASSES 16
#define DOUBLING_MAX 8192u /* 8 steps per doubling up to here */
#define DOUBLING_CLASSES 40

/* The last classes: 64 KiB divided by 7, 6, 5, 4, 3, 2, multiples of 16. */
static const uint16_t top_class[] = {9360, 10912, 13104, 16384, 21840, 32768};

_Static_assert(LINEAR_CLASSES + DOUBLING_CLASSES +
                       sizeof(top_class) / sizeof(top_class[0]) ==
                   HEAP_CLASSES,
               "as many classes as heap.h has lists");

/* Class of a size in (0, SMALL_MAX]. */
static unsigned class_of(size_t size) {
    if (size <= LINEAR_MAX)
        return (unsigned)((size + 15) / 16 - 1);
    if (size <= DOUBLING_MAX) {
        /* 2^k < size <= 2^(k+1), k >= 8: eighths of that interval */
        unsigned k = 63 - (unsigned)__builtin_clzl(size - 1);
        unsigned eighth = (unsigned)((size - 1) >> (k - 3)) & 7;
        return LINEAR_CLASSES + (k - 8) * 8 + eighth;
    }
    unsigned i = 0;
    while (top_class[i] < size)
        i++;
    return LINEAR_CLASSES + DOUBLING_CLASSES + i;
}

/* Bytes of an object of class c. */
static uint32_t class_size(unsigned c) {
    if (c < LINEAR_CLASSES)
        return (c + 1) * 16;
    c -= LINEAR_CLASSES;
    if (c < DOUBLING_CLASSES) {
        unsigned k = 8 + c / 8;
        return (1u << k) + ((c % 8 + 1) << (k - 3));
    }
    return top_class[c - DOUBLING_CLASSES];
}

/* Whole blocks for a long request. */
static uint32_t run_blocks(size_t size) {
    return (uint32_t)((size + HEAP_BLOCK - 1) >> HEAP_BLOCK_SHIFT);
}

/* What mem_alloc would set aside for size bytes. */
size_t mem_good_size(size_t size) {
    if (size == 0)
        size = 1;
    if (size <= SMALL_MAX)
        return class_size(class_of(size));
    return (size_t)run_blocks(size) << HEAP_BLOCK_SHIFT;
}

/* ---- blocks ---------------------------------------------------------- */

/* Is block b in use (or beyond the end)? */
static bool is_taken(const struct heap *h, uint32_t b) {
    return h->taken[b / 64] >> (b % 64) & 1;
}

/* Mark [b, b + n) as in use. */
static void take(struct heap *h, uint32_t b, uint32_t n) {
    for (uint32_t i = b; i < b + n; i++)
        h->taken[i / 64] |= (uint64_t)1 << (i % 64);
    if (b + n > h->fresh)
        h->fresh = b + n;
}

/* Give [b, b + n) back. */
static void untake(struct heap *h, uint32_t b, uint32_t n) {
    for (uint32_t i = b; i < b + n; i++)
        h->taken[i / 64] &= ~((uint64_t)1 << (i % 64));
    if (b / 64 < h->hint)
        h->hint = b / 64;
}

/* The lowest run of n free blocks; h->blocks if there is none. The words
 * below the hint are full. Bits beyond the last block are set, see heap_init,
 * so that a run never leaves the arena. */
static uint32_t find_run(struct heap *h, uint32_t n) {
    uint32_t words = (h->blocks + 63) / 64;
    while (h->hint < words && h->taken[h->hint] == UINT64_MAX)
        h->hint++;
    uint32_t from = h->hint * 64, len = 0;
    for (uint32_t w = h->hint; w < words; w++) {
        uint64_t word = h->taken[w];
        if (word == UINT64_MAX) {
            len = 0;
            continue;
        }
        if (n == 1)
            return w * 64 + (uint32_t)__builtin_ctzll(~word);
        for (uint32_t b = w * 64; b < w * 64 + 64; b++) {
            if (is_taken(h, b)) {
                len = 0;
                continue;
            }
            if (len++ == 0)
                from = b;
            if (len == n)
                return from;
        }
    }
    return h->blocks;
}

/* Count bytes as handed out. */
static void account(struct heap *h, size_t bytes) {
    h->used += bytes;
    if (h->used > h->peak)
        h->peak = h->used;
}

/* A run of blocks for a long request, zeroed if asked: blocks that were never
 * used are zero already, and big tables stay sparse. */
static void *large_alloc(struct heap *h, size_t size, bool zero) {
    uint32_t n = run_blocks(size);
    if (size > (size_t)h->blocks << HEAP_BLOCK_SHIFT)
        return NULL;
    uint32_t b = find_run(h, n);
    if (b == h->blocks)
        return NULL;
    uint8_t *p = h->start + ((size_t)b << HEAP_BLOCK_SHIFT);
    guard_open(p, size);
    if (zero && b < h->fresh) {
        uint32_t used = h->fresh - b < n ? h->fresh - b : n;
        size_t dirty = (size_t)used << HEAP_BLOCK_SHIFT;
        memset(p, 0, dirty < size ? dirty : size);
    }
    take(h, b, n);
    h->block[b].kind = HEAP_LARGE;
    h->block[b].run = n;
    account(h, (size_t)n << HEAP_BLOCK_SHIFT);
    return p;
}

/* ---- small objects --------------------------------------------------- */

/* A block with room for class c: a partial one, or a new one. */
static struct heap_block *block_for(struct heap *h, unsigned c) {
    struct list_node *n = list_first(&h->partial[c]);
    if (n)
        return container_of(n, struct heap_block, link);
    uint32_t b = find_run(h, 1);
    if (b == h->blocks)
        return NULL;
    take(h, b, 1);
    struct heap_block *k = &h->block[b];
    memset(k, 0, sizeof(*k));
    k->kind = (uint8_t)(c + 1);
    list_push_front(&h->partial[c], &k->link);
    return k;
}

/* First byte of the block that k describes. */
static uint8_t *block_start(struct heap *h, const struct heap_block *k) {
    return h->start + ((size_t)(k - h->block) << HEAP_BLOCK_SHIFT);
}

/* One object of class c; not zeroed. */
static void *small_alloc(struct heap *h, unsigned c) {
    struct heap_block *k = block_for(h, c);
    if (!k)
        return NULL;
    uint32_t size = class_size(c);
    uint8_t *p = block_start(h, k);
    if (k->free) {
        p += k->free - 1;
        guard_open(p, sizeof(k->free));
        memcpy(&k->free, p, sizeof(k->free));
    } else {
        p += (size_t)k->carved++ * size;
    }
    k->live++;
    if (!k->free && (k->carved + 1u) * size > HEAP_BLOCK)
        list_remove(&k->link);
    account(h, size);
    return p;
}

/* Back to its block. A full block gets room again: lower blocks go to the
 * front of the line, so that high ones may empty. */
static void small_free(struct heap *h, struct heap_block *k, uint8_t *p,
                       unsigned c) {
    uint32_t size = class_size(c);
    h->used -= size;
    if (--k->live == 0) {
        list_remove(&k->link);
        k->kind = 0;
        untake(h, (uint32_t)(k - h->block), 1);
        guard_close(block_start(h, k), HEAP_BLOCK);
        return;
    }
    guard_open(p, sizeof(k->free)); /* the object may have been shorter */
    memcpy(p, &k->free, sizeof(k->free));
    guard_close(p, size);
    k->free = (uint32_t)(p - block_start(h, k)) + 1;
    if (list_linked(&k->link))
        return;
    struct list_node *front = list_first(&h->partial[c]);
    if (front && container_of(front, struct heap_block, link) < k)
        list_push_back(&h->partial[c], &k->link);
    else
        list_push_front(&h->partial[c], &k->link);
}

/* ---- the calls of alloc.h -------------------------------------------- */

/* Both kinds of request; NULL and a count when the arena is full. */
static void *alloc(struct stack *st, size_t size, bool zero) {
    struct heap *h = &st->sh->heap;
    void *p;
    if (size == 0)
        size = 1;
    if (size <= SMALL_MAX) {
        p = small_alloc(h, class_of(size));
        if (p)
            guard_open(p, size);
        if (p && zero)
            memset(p, 0, size);
    } else {
        p = large_alloc(h, size, zero);
    }
    if (!p)
        COUNT(st, arena_full);
    return p;
}

void *mem_alloc(struct stack *st, size_t size) { return alloc(st, size, true); }

void *mem_alloc_raw(struct stack *st, size_t size) {
    return alloc(st, size, false);
}

/* Find the block by address and check that it can hold such an object, before
 * anything is changed. */
void mem_free(struct stack *st, void *p, size_t size) {
    struct heap *h = &st->sh->heap;
    uint8_t *at = p;
    if (!p)
        return;
    if (size == 0)
        size = 1;
    if (at < h->start || at >= h->end || !guard_is_open(p, size)) {
        COUNT(st, bad_free);
        return;
    }
    uint32_t b = (uint32_t)((size_t)(at - h->start) >> HEAP_BLOCK_SHIFT);
    struct heap_block *k = &h->block[b];
    if (size <= SMALL_MAX) {
        unsigned c = class_of(size);
        if (k->kind != c + 1 ||
            (size_t)(at - block_start(h, k)) % class_size(c) != 0) {
            COUNT(st, bad_free);
            return;
        }
        small_free(h, k, at, c);
        return;
    }
    if (k->kind != HEAP_LARGE || k->run != run_blocks(size) ||
        at != block_start(h, k)) {
        COUNT(st, bad_free);
        return;
    }
    h->used -= (size_t)k->run << HEAP_BLOCK_SHIFT;
    k->kind = 0;
    untake(h, b, k->run);
    guard_close(at, (size_t)k->run << HEAP_BLOCK_SHIFT);
}

/* The list is private to the process: if it dies before the flush, the memory
 * is lost, not the arena. */
void mem_free_later(struct stack *st, void *p, size_t size) {
    struct mem_later *l = p;
    if (!p)
        return;
    if (st->tx_n == 0) {
        mem_free(st, p, size);
        return;
    }
    l->size = size;
    l->link.next = l->link.prev = NULL;
    list_push_back(&st->freed, &l->link);
}

/* The frames that pointed at these are gone. */
void mem_free_now(struct stack *st) {
    struct list_node *n;
    while ((n = list_pop_front(&st->freed)) != NULL) {
        struct mem_later *l = container_of(n, struct mem_later, link);
        mem_free(st, l, l->size);
    }
}

/* The tables take what the largest possible number of blocks needs; the first
 * block starts at the next multiple of 64 KiB, so that an object never crosses
 * more pages than it must. */
int heap_init(struct shared *sh, uint8_t *start, uint8_t *end) {
    struct heap *h = &sh->heap;
    /* Per block: its bytes, its description and its bit; then rounding. */
    size_t each = HEAP_BLOCK + sizeof(struct heap_block) + 1;
    size_t room = (size_t)(end - start);
    if (room < 2 * each)
        return -1;
    size_t n = (room - HEAP_BLOCK) / each;
    size_t words = (n + 63) / 64;
    memset(h, 0, sizeof(*h));
    h->taken = (uint64_t *)start;
    h->block = (struct heap_block *)(h->taken + words);
    uintptr_t first = (uintptr_t)(h->block + n);
    first = (first + HEAP_BLOCK - 1) & ~(uintptr_t)(HEAP_BLOCK - 1);
    if (first >= (uintptr_t)end)
        return -1;
    size_t fit = ((uintptr_t)end - first) >> HEAP_BLOCK_SHIFT;
    h->start = (uint8_t *)first;
    h->blocks = (uint32_t)(fit < n ? fit : n);
    h->end = h->start + ((size_t)h->blocks << HEAP_BLOCK_SHIFT);
    /* Blocks that do not exist count as taken. */
    for (size_t b = h->blocks; b < words * 64; b++)
        h->taken[b / 64] |= (uint64_t)1 << (b % 64);
    for (unsigned c = 0; c < HEAP_CLASSES; c++)
        list_init(&h->partial[c]);
    guard_close(h->start, (size_t)(h->end - h->start));
    return h->blocks ? 0 : -1;
}

/* ---- after a death inside the lock ------------------------------------- */

/* The chain of freed objects as far as it makes sense; how many. */
static uint32_t mend_chain(struct heap *h, struct heap_block *k,
                           uint32_t size) {
    uint8_t *start = block_start(h, k);
    uint32_t n = 0, *at = &k->free;
    while (*at) {
        uint32_t off = *at - 1;
        if (off % size || off / size >= k->carved || n >= k->carved) {
            *at = 0; /* what follows is lost */
            break;
        }
        n++;
        guard_open(start + off, sizeof(*at));
        at = (uint32_t *)(void *)(start + off);
    }
    return n;
}

/* A block of small objects: how many are out, and is there room? */
static void mend_block(struct heap *h, struct heap_block *k) {
    unsigned c = k->kind - 1u;
    uint32_t size = class_size(c), most = (uint32_t)(HEAP_BLOCK / size);
    if (k->carved > most)
        k->carved = (uint16_t)most;
    uint32_t freed = mend_chain(h, k, size);
    k->live = (uint16_t)(k->carved - freed);
    h->used += (size_t)k->live * size;
    k->link = (struct list_node){NULL, NULL};
    if (k->live == 0) {
        k->kind = 0;
        return;
    }
    if (k->free || (k->carved + 1u) * size <= HEAP_BLOCK)
        list_push_back(&h->partial[c], &k->link);
}

/* The descriptions of the blocks are the truth; an allocation that was under
 * way is either complete in them, and lost, or has not happened. */
void heap_mend(struct stack *st) {
    struct heap *h = &st->sh->heap;
    h->used = 0;
    h->hint = 0;
    for (unsigned c = 0; c < HEAP_CLASSES; c++)
        list_init(&h->partial[c]);
    for (uint32_t b = 0; b < h->fresh;) {
        struct heap_block *k = &h->block[b];
        uint32_t n = 1;
        if (k->kind == HEAP_LARGE && k->run > 0 && k->run <= h->fresh - b) {
            n = k->run;
            h->used += (size_t)n << HEAP_BLOCK_SHIFT;
        } else if (k->kind && k->kind <= HEAP_CLASSES) {
            mend_block(h, k);
        } else {
            k->kind = 0;
        }
        if (k->kind)
            take(h, b, n);
        else
            untake(h, b, 1);
        b += n;
    }
}
