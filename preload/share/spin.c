/* spin.c: waiting for another program of the same stack without sleeping.
 *
 * Theory of operation
 *
 * Two programs of one stack hand bytes to each other by a copy, in less than a
 * microsecond; to wake one that sleeps takes 5 (same processor) to 45 (another
 * one, asleep itself). So a thread that waits first looks at its ring word for
 * a while (setting: loopspin), and who rings it sees `spinning` and saves the
 * system call. The lock is not held and the watch is not taken meanwhile: what
 * comes from the network is served by others, or a little later.
 *
 * Between looks it offers its processor to others (sched_yield(2)). Whether the
 * peer runs on this processor or on another one, it goes on at once; with more
 * threads than processors the time passes while they work, and the spin fails.
 *
 * How long: 60 us, more than it takes to wake a peer that has just fallen
 * asleep. With less (30 us were tried), the time in which it wakes is a spin
 * that fails, and two programs that have fallen out of step stay so: 48 us a
 * round trip instead of 2.3.
 *
 * It is tried only when something went to ourselves within the last
 * millisecond, and a spin that failed is followed by sleeps without one: one,
 * three, seven, up to 31. A program whose peer is slow, or a server of the
 * network, therefore spins next to never, and an idle one not at all.
 */
#include "preload/share/spin.h"

#include "netio/sys.h"
#include "preload/share/nap.h"

#define RECENT 1000000u /* ns */
#define LOOKS 16        /* between two offers of the processor */
#define SKIP_MAX 31u

nstime_t spin_inside;

static __thread unsigned skip, penalty;

bool spin_worthwhile(void) {
    nstime_t last = stack_inside(self.st);
    if (!spin_inside || !last || share_clock() - last > RECENT)
        return false;
    if (!skip)
        return true;
    skip--;
    return false;
}

static void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void spin_for(const uint32_t *word) {
    nstime_t end = share_clock() + spin_inside;
    do {
        for (int i = 0; i < LOOKS; i++) {
            if (__atomic_load_n(word, __ATOMIC_SEQ_CST) || share_deferred)
                return;
            cpu_relax();
        }
        sys_sched_yield();
    } while (share_clock() < end);
}

void spin_judge(bool good) {
    penalty = good ? 0 : penalty < SKIP_MAX ? 2 * penalty + 1 : SKIP_MAX;
    skip = penalty;
}
