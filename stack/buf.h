/* buf.h: byte queues made of chunks of the arena; send and receive buffers.
 *
 * An empty queue owns no memory. Chunks grow with what is in the queue, so an
 * idle connection costs nothing and a bulk one has 64 KiB runs to hand to the
 * kernel as they are.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "stack/stack.h"

struct stack;
struct chunk;

/* Append n bytes; returns how many fitted into memory (n, or fewer when the
 * arena is full). */
uint32_t bufq_append(struct stack *st, struct bufq *q, const void *p,
                     uint32_t n);
/* Room for the next frame from the interface: a chunk that bufq_append takes
 * over as it is when it is asked to store a large part of it. Bytes there are
 * valid until the room is asked for again. */
uint8_t *buf_landing(struct stack *st, uint32_t *room);
/* Allocate it, once, when the arena is made. 0 or -ENOMEM. */
int buf_landing_init(struct stack *st);
/* Append from a gather list, starting `skip` bytes into it. */
uint32_t bufq_append_iov(struct stack *st, struct bufq *q,
                         const struct iovec *iov, int niov, size_t skip,
                         uint32_t n);
/* Move the first n bytes of one queue to the end of another: whole chunks as
 * they are. Returns how many (fewer than n: the arena is full). */
uint32_t bufq_move(struct stack *st, struct bufq *from, struct bufq *to,
                   uint32_t n);
/* Put all of one queue behind another, which takes the memory over. */
void bufq_join(struct bufq *to, struct bufq *from);
/* Make q, empty, a queue of n bytes that are still to be written (bufq_fill).
 * Returns how many there is memory for. */
uint32_t bufq_reserve(struct stack *st, struct bufq *q, uint32_t n);
/* Write them, from a gather list that has as many, `skip` bytes into it. */
void bufq_fill(struct bufq *q, const struct iovec *iov, int niov, size_t skip);
/* Describe [off, off + n) without copying: fills at most max iovecs, returns
 * how many, and in *got how many bytes they cover. */
int bufq_peek(const struct bufq *q, uint32_t off, uint32_t n, struct iovec *iov,
              int max, uint32_t *got);
/* Copy [off, off + n) out; n is cut to what is there. Returns bytes copied. */
uint32_t bufq_copy(const struct bufq *q, uint32_t off, void *dst, uint32_t n);
uint32_t bufq_copy_iov(const struct bufq *q, uint32_t off,
                       const struct iovec *iov, int niov, uint32_t n);
/* Forget the first n bytes, and give their memory back. */
void bufq_drop(struct stack *st, struct bufq *q, uint32_t n);
void bufq_clear(struct stack *st, struct bufq *q);
/* Arena bytes held by the queue. */
static inline uint32_t bufq_memory(const struct bufq *q) { return q->mem; }
