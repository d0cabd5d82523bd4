/* batch.c: answers to several requests leave together.
 *
 * Theory of operation
 *
 * A server's epoll_wait returns, say, twenty requests; the program reads one,
 * answers it, reads the next. A system call per answer is then the dearest
 * thing we do. So while requests of the same turn are still unread, an answer
 * is only put into its socket's send buffer; the socket stays in the stack's
 * list of those that have something to send (shared.tcp_due), and the last
 * answer of the turn, or whatever else ends it, sends them all in one
 * sendmmsg: the next epoll_wait, a call that would block, any other call on
 * the stack, of any thread of any process. TCP_NODELAY is kept: nothing waits
 * for an acknowledgement, only for the program's own next steps.
 *
 * Should the program compute for long amid a turn, a service thread sends: an
 * answer waits only while nobody has the watch, and then a service thread naps
 * 2 ms at most (share/wait.c) and flushes whatever it finds. Calls that sleep
 * in the kernel on other descriptors send first (batch_before_sleep).
 *
 * In a turn the program also tends to read a socket until EAGAIN. When the
 * interface was seen empty a moment ago, it is not asked again for that.
 */
#include "preload/batch.h"

#include "preload/service.h"
#include "preload/share/wait.h"

#define SMALL 16384    /* bytes: a longer send is no answer among many */
#define JUST_NOW 20000 /* ns */

__thread struct batch batch;

void batch_leave(ssize_t sent) {
    bool later = batch.sends > 0 && sent < SMALL;
    if (batch.calls)
        batch.calls--;
    if (sent >= 0 && batch.sends)
        batch.sends--;
    if (!batch.calls)
        batch.sends = 0;
    if (later && preload_service_runs()) {
        batch.owed = share_leave_later();
        return;
    }
    batch.owed = false;
    share_leave();
}

void batch_settle(void) {
    batch = (struct batch){0};
    share_enter();
    share_leave();
}

bool batch_knows_empty(void) { return batch.calls && wait_empty(JUST_NOW); }
