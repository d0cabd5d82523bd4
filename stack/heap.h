/* heap.h: state of the arena allocator (alloc.c). In the arena. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "stack/list.h"

struct shared;

#define HEAP_BLOCK_SHIFT 16
#define HEAP_BLOCK ((size_t)1 << HEAP_BLOCK_SHIFT)
#define HEAP_CLASSES 62
/* heap_block.kind of the first block of a run */
#define HEAP_LARGE 0xfe

/* One per 64 KiB block of the arena, outside the block, so that objects of a
 * power of two fill it without waste. */
struct heap_block {
    struct list_node link; /* in heap.partial[class] while it has room */
    uint32_t free;         /* offset + 1 of the first freed object; 0: none */
    uint16_t live;         /* objects handed out */
    uint16_t carved;       /* objects ever handed out: the rest is fresh */
    uint32_t run;          /* HEAP_LARGE: blocks in this allocation */
    uint8_t kind;          /* class + 1, HEAP_LARGE; 0: free */
};

struct heap {
    uint8_t *start, *end;     /* the blocks */
    size_t used, peak;        /* bytes handed out, rounded to classes */
    uint32_t blocks;          /* number of them */
    uint32_t fresh;           /* blocks from here on were never used: zero */
    uint32_t hint;            /* no word of `taken` below is free */
    uint64_t *taken;          /* a bit per block: in use */
    struct heap_block *block; /* a description per block */
    struct list partial[HEAP_CLASSES];
};

/* Make [start, end) the heap of sh: its tables first, then whole blocks.
 * The memory must be zero; nothing beyond the heap's own words is touched.
 * Returns 0, or -1 when there is no room for a single block. */
int heap_init(struct shared *sh, uint8_t *start, uint8_t *end);
