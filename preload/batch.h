/* batch.h: answers to several requests leave together (batch.c). */
#pragma once
#include "preload/preload.h"

/* One thread's turn of its event loop. */
struct batch {
    uint32_t sends; /* that may still wait for the rest of the turn */
    uint32_t calls; /* after which the turn is thought to be over */
    bool owed;      /* something waits to be sent */
};
extern __thread struct batch batch;

/* epoll_wait and its like give the program n events. */
static inline void batch_open(int n) {
    batch.sends = n > 1 ? (uint32_t)n - 1 : 0;
    batch.calls = n > 0 ? 4 * (uint32_t)n : 0;
}

/* End of a section in which a stream was read (sent < 0: no send) or written
 * (bytes). In place of share_leave. */
void batch_leave(ssize_t sent);

/* Send what waits: before a call that may sleep in the kernel. */
void batch_settle(void);
static inline void batch_before_sleep(void) {
    if (__builtin_expect(batch.owed, 0))
        batch_settle();
}

/* Has this process just seen, in this turn, that the interface has nothing? */
bool batch_knows_empty(void);
