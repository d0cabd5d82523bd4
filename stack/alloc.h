/* alloc.h: memory of the arena. See alloc.c for how it works. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "stack/list.h"

struct heap; /* at a fixed place in the arena, see shared.h */
struct stack;

/* 16-byte aligned, zeroed; NULL when the arena is full (counted). */
void *mem_alloc(struct stack *st, size_t size);
/* Not zeroed: for buffers about to be filled. */
void *mem_alloc_raw(struct stack *st, size_t size);
/* size is what was asked for. p may be NULL. */
void mem_free(struct stack *st, void *p, size_t size);
/* Bytes the allocator would hand out for this size (to use the slack). */
size_t mem_good_size(size_t size);

/* Overlays the first bytes of memory that waits to be freed. */
struct mem_later {
    struct list_node link; /* in stack.freed */
    size_t size;
};
/* Free memory into which frames of the batch may still point: at once when
 * the batch is empty, else after it was sent. The first sizeof(struct
 * mem_later) bytes are overwritten now: no frame may point at those. */
void mem_free_later(struct stack *st, void *p, size_t size);
/* Free all of it: the batch is gone. */
void mem_free_now(struct stack *st);
