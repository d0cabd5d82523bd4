/* lock.pml: the robust futex lock of preload/share/lock.c.
 *
 * Every access to the futex word is one step, and a thread may be killed
 * before each of them. What the kernel then does for a thread whose
 * list_op_pending names the lock is handle_futex_death() of kernel/futex:
 *   the word is the dead thread's: owner := 0, DIED set, wake one sleeper;
 *   the word has no owner: wake one sleeper;
 *   the word is somebody else's: nothing.
 * The last line is why a sleeper needs a time limit (LIMIT): the one thread
 * that was woken may be killed after a third took the lock without the
 * WAITERS mark, and then nobody remembers the other sleepers.
 *
 * Checked: mutual exclusion; a holder's death is reported to exactly the next
 * holder, until somebody lived to finish the repair; no thread waits for ever
 * (an invalid end state).
 */
#ifndef N
#define N 3
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif

byte owner;            /* tid of the word, 0: free */
bool waiters, died;    /* its two flags */
bool queued[N + 1];    /* asleep in FUTEX_WAIT */
bool dead[N + 1];
bool pending[N + 1];   /* list_op_pending names the lock */
byte inside;           /* threads between take and give */
bool torn;             /* somebody died inside and nobody has repaired */
byte kills;
byte starving;         /* tid of a waiter that goes first, 0: nobody */
bool aside[N + 1];     /* asleep until it has gone */

/* FUTEX_WAKE of one sleeper; which one is the kernel's choice. */
inline futex_wake() {
    if
    :: queued[1] -> queued[1] = false
    :: N >= 2 && queued[2] -> queued[2] = false
    :: N >= 3 && queued[3] -> queued[3] = false
    :: else -> skip
    fi
}

/* take_if_free: the load and the compare-and-swap, of which the latter alone
 * counts (a stale load makes it fail, and it is tried again). */
inline try_take(with_waiters) {
    atomic {
        if
        :: owner == 0 ->
            owner = me;
            waiters = waiters || with_waiters;
            got_died = died;
            died = false;
            got = true
        :: else -> got = false
        fi
    }
}

proctype thread(byte me) {
    bool got, got_died;
    byte v_owner, round;
    bool v_waiters, lost;
    {
        do
        :: round < ROUNDS ->
            round++;
            /* step_aside: newcomers let a starving waiter pass, for a time */
            atomic {
                v_owner = starving;
                aside[me] = (starving != 0)
            };
            do
            :: !aside[me] -> break
            :: atomic { timeout && aside[me] ->
                aside[me] = false;
                if
                :: starving == v_owner -> starving = 0
                :: else -> skip
                fi }
            od;
            lost = 0;
            pending[me] = true;
            try_take(false);          /* the spinning attempts */
            do
            :: got -> break
            :: else ->
                if
                :: lost -> starving = me
                :: else -> skip
                fi;
                try_take(true);
                if
                :: got -> break
                :: else -> skip
                fi;
                /* mark that somebody waits */
                atomic {
                    v_owner = owner;
                    v_waiters = waiters
                };
                if
                :: v_owner == 0 -> skip
                :: else ->
                    atomic {
                        if
                        :: owner == v_owner && !waiters -> waiters = true
                        :: else -> skip
                        fi
                    };
                    /* FUTEX_WAIT compares and sleeps as one */
                    atomic {
                        if
                        :: owner == v_owner && waiters -> queued[me] = true
                        :: else -> skip
                        fi
                    };
                    lost = 1;
                    do
                    :: !queued[me] -> break
#ifndef NO_LIMIT
                    :: atomic { timeout && queued[me] -> queued[me] = false }
#endif
                    od
                fi
            od;
            atomic {
                if
                :: starving == me ->
                    starving = 0;
                    aside[1] = false;
                    aside[2] = false;
                    aside[N] = false
                :: else -> skip
                fi;
                inside++;
                assert(inside == 1);
                assert(!torn || got_died);
            };
            torn = true;              /* lists half changed ... */
            atomic {
                torn = false;         /* ... and whole again */
                inside--
            };
            /* lock_give: exchange, then wake */
            atomic {
                v_waiters = waiters;
                owner = 0;
                waiters = false;
                died = false
            };
            if
            :: v_waiters -> atomic { futex_wake() }
            :: else -> skip
            fi;
            pending[me] = false
        :: else -> break
        od
    } unless {
        dead[me] ->
        atomic {                      /* the kernel, at exit */
            queued[me] = false;
            aside[me] = false;
            if
            :: owner == me ->
                inside = 0;
                owner = 0;
                died = true;
                if
                :: waiters -> futex_wake()
                :: else -> skip
                fi
            :: owner == 0 && pending[me] -> futex_wake()
            :: else -> skip
            fi
        }
    }
}

active proctype killer() {
    do
    :: atomic { kills < KILLS ->
        kills++;
        if
        :: dead[1] = true
        :: N >= 2 -> dead[2] = true
        :: N >= 3 -> dead[3] = true
        fi }
    :: break
    od
}

init {
    atomic {
        run thread(1);
        if :: N >= 2 -> run thread(2) :: else fi;
        if :: N >= 3 -> run thread(3) :: else fi
    }
}
