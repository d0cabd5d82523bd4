/* lock.h: the arena's lock: process-shared, robust, spinning a little.
 *
 * See lock.c for how it finds out that its holder died.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* For private variables that a fork's child writes at once: they lie together,
 * since the kernel has to copy each page that is written. */
#define FORKED __attribute__((section("forked")))

#define LOCK_TID 0x3fffffffu /* of lock.word: FUTEX_TID_MASK */

/* Laid out like glibc's pthread_mutex_t as far as the kernel's robust list
 * cares: the futex word 32 bytes before the list node's `next`. In the arena.
 */
struct lock {
    uint32_t word;     /* owner tid | FUTEX_WAITERS | FUTEX_OWNER_DIED */
    uint32_t starving; /* tid of a waiter that goes first, 0: nobody */
    uint32_t pad[4];
    void *list_prev, *list_next;
    uint64_t taken, contended; /* statistics, approximate */
};

void lock_init(struct lock *l);
/* Returns false normally, true when the former holder died inside: the caller
 * owns the lock, and must repair what it guards. */
bool lock_take(struct lock *l);
bool lock_try(struct lock *l, bool *died);
void lock_give(struct lock *l);
/* Set by thaw.c. A waiter calls the first when holder tid has not moved for a
 * while; did that set the holder going, it calls the second when it has the
 * lock. */
extern bool (*lock_stuck)(struct lock *l, uint32_t tid);
extern void (*lock_unstuck)(uint32_t tid);
/* Threads of this process that ever wanted the lock. */
unsigned lock_threads(void);
static inline uint32_t lock_owner(const struct lock *l) {
    return __atomic_load_n(&l->word, __ATOMIC_RELAXED) & LOCK_TID;
}
/* Did its holder die, and nobody has taken it since? */
bool lock_orphaned(const struct lock *l);
/* In the child of a fork: forget what was learnt about the thread. */
void lock_forked(void);
