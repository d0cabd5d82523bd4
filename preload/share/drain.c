/* drain.c: taking in what lies at the interface.
 *
 * Who takes it decides how: a thread that waits for bytes has long frames
 * received straight into its buffer; one that asks for readiness alone leaves
 * them for the read that follows; a service thread, and whoever needs room,
 * takes everything (stack/place.c).
 */
#include "preload/share/inner.h"
#include "preload/share/wait.h"

#define BURST 64 /* frames per turn of the watch */

__thread struct stack_place *wait_placing;

static bool one_by_one; /* how frames came to this process lately */

bool wait_sparse(void) { return one_by_one; }

/* The result of a look at the interface. */
static void drained(int r) {
    if (r == -ENETDOWN)
        stack_link_state(self.st, false);
}

/* Where frames come one by one (a request, its answer), the look that finds
 * nothing more is a system call in vain: then only each 16th turn has it, to
 * notice a change. */
void wait_take_in(struct sleeper *s) {
    static unsigned turn;
    bool brief = one_by_one && ++turn % 16, left = false;
    unsigned budget = brief ? 1 : BURST;
    int r = wait_placing ? stack_poll_into(self.st, budget, wait_placing)
            : s->service ? stack_poll(self.st, budget)
                         : stack_poll_lazy(self.st, budget, &left);
    if ((left || (r > 0 && brief)) && !s->w.fired)
        r = stack_poll(self.st, BURST); /* it was for somebody else */
    else if (!brief)
        one_by_one = r == 1 && !left;
    drained(r);
}

void wait_drain(void) { drained(stack_poll(self.st, BURST)); }

void wait_drain_into(struct stack_place *place) {
    drained(stack_poll_into(self.st, BURST, place));
}

void wait_drain_lazy(void) {
    bool left;
    drained(stack_poll_lazy(self.st, BURST, &left));
}
