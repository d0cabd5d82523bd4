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

static nstime_t emptied; /* when this process last saw the interface empty */

bool wait_empty(nstime_t ago) { return stack_time(self.st) - emptied <= ago; }

/* The result of a look at the interface for `budget` frames, with a frame left
 * there for the read that follows, or not. */
static void drained(int r, unsigned budget, bool left) {
    if (left)
        emptied = 0;
    else if (r >= 0 && (unsigned)r < budget)
        emptied = stack_time(self.st);
    if (r == -ENETDOWN)
        stack_link_state(self.st, false);
    self.sh->watch_seq++; /* as good as having watched */
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
    if ((left || (r > 0 && brief)) && !s->w.fired) {
        budget = BURST; /* it was for somebody else */
        r = stack_poll(self.st, budget);
        left = false;
    } else if (!brief) {
        one_by_one = r == 1 && !left;
    }
    drained(r, budget, left);
}

void wait_drain(void) { drained(stack_poll(self.st, BURST), BURST, false); }

void wait_drain_into(struct stack_place *place) {
    drained(stack_poll_into(self.st, BURST, place), BURST, false);
}

void wait_drain_lazy(void) {
    bool left = false;
    int r = stack_poll_lazy(self.st, BURST, &left);
    drained(r, BURST, left);
}
