/* cancel.c: cancelled threads, and the stack's lock.
 *
 * Theory of operation
 *
 * A thread with deferred cancellation (the default) ends at cancellation points
 * only, and ours are outside the lock (io.h, share/wait.c). But a thread may ask
 * to be cancelled at any instruction, and glibc asks for it itself around each
 * system call that is a cancellation point; a handler that interrupts such a
 * call is in that window, too, and may call us. Ended inside the lock, the
 * thread would hold it for ever, since nobody dies.
 *
 * So what the program wants is kept in share_async, and for as long as such a
 * thread is in a section, cancellation is deferred (share.c); the end of the
 * section acts on one that came meanwhile. A handler of the program runs with
 * cancellation deferred if the program has not asked otherwise (signal.c).
 */
#include <pthread.h>

#include "preload/preload.h"

static void allow(bool at_any_time) {
    real.pthread_setcanceltype(at_any_time ? PTHREAD_CANCEL_ASYNCHRONOUS
                                           : PTHREAD_CANCEL_DEFERRED,
                               NULL);
}

/* The flag is set before cancellation can come, and taken back after. */
EXPORT int pthread_setcanceltype(int type, int *old) {
    bool was = share_async;
    share_async_hook = allow;
    if (type == PTHREAD_CANCEL_ASYNCHRONOUS)
        share_async = true;
    int r = real.pthread_setcanceltype(type, NULL);
    if (r == 0) {
        share_async = type == PTHREAD_CANCEL_ASYNCHRONOUS;
        if (old)
            *old = was ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
    }
    return r;
}

/* A thread that waits in the stack is not in one of the C library's own
 * cancellation points, and gets no signal: have it look. */
EXPORT int pthread_cancel(pthread_t t) {
    int r = real.pthread_cancel(t);
    if (r == 0 && self.sh && !preload_vforked) {
        share_enter();
        wait_poke();
        share_leave();
    }
    return r;
}

#define FAMILY_cancel 1
#include "preload/alias.h"
