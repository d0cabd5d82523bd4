/* watch.pml: sleeping, ringing and the watch of preload/share/{share,wait}.c.
 *
 * Threads of several operating system processes share one stack. Sleepers
 * (threads of programs that wait for data) and service threads take turns at
 * the watch. A peer puts frames on the wire; timers are armed; any process may
 * be killed at any step, or be stopped, and others must go on.
 *
 * The lock is one step here (lock.pml has its details); what happens under it
 * is one step up to the point where rings have been collected, one to unlock,
 * and two for each ring; a thread may die between any two, a holder included.
 * The kernel's part: FUTEX and eventfd sleeps, and the lock's hand-over after
 * a death. Names are those of the C code.
 *
 * The property, checked whenever nothing can move any more (every lost wake-up
 * and every deadlock ends there): among the living,
 *   - nobody sleeps who has been fired, or whose data is there;
 *   - no frame lies on the wire while somebody could watch;
 *   - no timer is armed while somebody could watch;
 *   - nobody waits for the lock; no dead process is left unnoticed.
 *
 * The shape of a run is set by -D: T sleepers, S service threads, the process
 * of each (P1..P4), KEEPER (process 0 lives and has pidfds of the others; else
 * sleepers look round), KILLS, STOPS, LEAVES, FRAMES, ROUNDS. Defects, to see
 * that the model finds them: NO_RECOVER, ARM_ONCE (with LEAVE_QUIETLY),
 * NO_HANDOVER, NO_STEAL.
 */
#ifndef T
#define T 2
#endif
#ifndef S
#define S 1
#endif
#define N (T + S)
#ifndef P1
#define P1 1
#endif
#ifndef P2
#define P2 2
#endif
#ifndef P3
#define P3 0
#endif
#ifndef P4
#define P4 0
#endif
#ifndef KEEPER
#define KEEPER 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef FRAMES
#define FRAMES 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#define NP 3                       /* processes 0, 1, 2 */
#define GUARD (N + 1)              /* the keeper's guard, process 0 */

/* of processes */
bool dead[NP], reaped[NP], stopped[NP];
byte kills, stops;
#define unnoticed ((dead[0] && !reaped[0]) || (dead[1] && !reaped[1]) || \
                   (dead[2] && !reaped[2]))

/* struct share */
byte lock;                         /* the holder, 0: free */
bool lock_died;
byte watcher, successor;
bool svc_armed, watch_until;       /* watch_until: a finite time */
bool timer;                        /* armed */
bool inwake[N + 3];                /* queued for stack_next_wake */

/* struct sleeper, by thread */
byte proc[N + 3];
bool listed[N + 3], service[N + 3], asleep[N + 3], polling[N + 3];
bool fired[N + 3], rung[N + 3], hasbell[N + 3], until[N + 3], suspect[N + 3];

/* the kernel and the network */
bool bell[N + 3];                  /* the eventfd is readable */
bool queued[N + 3];                /* in FUTEX_WAIT on rung */
bool squeued[N + 3];               /* in FUTEX_WAIT on svc_armed */
bool looks[N + 3];                 /* asleep with a time limit for a look */
bool ready[N + 3];                 /* data for this sleeper */
byte wire, sent;
bool ringing[N + 3];              /* between lock_give and its last ring */

/* A stopped thread stays where it is, except inside the lock and with rings in
 * its hands (stops there are a documented limit); a dead one for ever. */
#define RUN (!dead[proc[me]] && (!stopped[proc[me]] || lock == me || \
                                 ringing[me]))
#define LIVE(x) (!dead[proc[x]])

/* Who may be made the watcher while asleep. */
#define eligible(x) (listed[x] && !service[x] && asleep[x] && !fired[x] && \
                     !suspect[x])
/* A service thread that was robbed and still sleeps on the interface. */
#define robbed(x) (service[x] && listed[x] && asleep[x] && polling[x] && \
                   !suspect[x])

/* watch_hand: the watch is free: to a sleeper, or back to a robbed one. */
inline watch_hand(but) {
    if
    :: but != 1 && eligible(1) -> watcher = 1
#if T > 1
    :: but != 2 && eligible(2) -> watcher = 2
#endif
#if T > 2
    :: but != 3 && eligible(3) -> watcher = 3
#endif
    :: else ->
        if
#if S > 0
        :: robbed(T + 1) -> watcher = T + 1
#endif
#if S > 1
        :: robbed(N) -> watcher = N
#endif
        :: else -> skip
        fi
    fi;
    if
    :: watcher != 0 && !service[watcher] ->
        watch_until = false;
        successor = watcher
    :: watcher != 0 && service[watcher] -> watch_until = until[watcher]
    :: else -> skip
    fi
}

/* watch_pass: the thread gives the watch up, if it has it. */
inline watch_pass() {
    if
    :: watcher == me ->
        watcher = 0;
#ifndef NO_HANDOVER
        watch_hand(me)
#endif
    :: else -> skip
    fi
}

/* lock_take, and share_reap when the former holder died. */
inline take() {
    lock = me;
    if
    :: lock_died -> lock_died = false; forget()
    :: else -> skip
    fi
}

/* share_reap, first half: wait_forget_process of every dead one. */
inline forget() {
    i = 1;
    do
    :: i <= N ->
        if
        :: dead[proc[i]] ->
            listed[i] = false; asleep[i] = false; fired[i] = false;
            inwake[i] = false; hasbell[i] = false; polling[i] = false;
            suspect[i] = false; rung[i] = false; until[i] = false;
            ready[i] = false; bell[i] = false;
            if :: watcher == i -> watcher = 0 :: else fi;
            if :: successor == i -> successor = 0 :: else fi
        :: else -> skip
        fi;
        i++
    :: else -> break
    od;
    reaped[0] = dead[0];
    reaped[1] = dead[1];
    reaped[2] = dead[2];
    i = 0;
    need = true
}

/* wait_recover: everybody looks again. Rung inside the lock: should we die,
 * the next holder repeats it. Also those that have been rung already: the
 * ring may be in a dead thread's hands. */
inline recover() {
    need = false;
#ifndef NO_RECOVER
    if
    :: watcher == 0 -> watch_hand(0)
    :: else -> skip
    fi;
    i = 1;
    do
    :: i <= N ->
        if
        :: listed[i] && asleep[i] ->
            if :: !service[i] -> fired[i] = true :: else fi;
            rung[i] = true;
            if
            :: hasbell[i] -> bell[i] = true
            :: else -> queued[i] = false
            fi
        :: else -> skip
        fi;
        squeued[i] = false;
        i++
    :: else -> break
    od;
    svc_armed = false;
    i = 0
#endif
}

inline ring_later(x) {
    if
    :: asleep[x] && !rung[x] -> r = r | (1 << x)
    :: else -> skip
    fi
}

/* share_leave, up to the unlocking: who is to be rung? */
inline collect() {
    r = 0;
    i = 1;
    do
    :: i <= N ->
        if
        :: inwake[i] -> inwake[i] = false; ring_later(i)
        :: else -> skip
        fi;
        i++
    :: else -> break
    od;
    i = 0;
    if
    :: successor != 0 -> ring_later(successor); successor = 0
    :: else -> skip
    fi;
    /* wait_retime */
    if
    :: watcher != 0 && asleep[watcher] && timer && !watch_until ->
        watch_until = true;
        ring_later(watcher)
    :: else -> skip
    fi;
    if
    :: watcher == 0 && svc_armed -> svc = true; svc_armed = false
    :: else -> skip
    fi
}

/* share_leave, the rest: sleeper_ring is an exchange, then a system call. */
inline unlock_and_ring() {
    atomic { RUN -> ringing[me] = true; lock = 0; i = 1 };
    do
    :: atomic { RUN && r != 0 ->
        do
        :: !(r & (1 << i)) -> i++
        :: else -> break
        od;
        r = r & ~(1 << i);
        if
        :: rung[i] -> call = 0
        :: else -> rung[i] = true; call = (hasbell[i] -> 2 : 1)
        fi };
        if
        :: atomic { call == 0 -> skip }
        :: atomic { RUN && call != 0 ->
            if
            :: call == 2 -> bell[i] = true
            :: else -> queued[i] = false
            fi;
            call = 0 }
        fi
    :: atomic { RUN && r == 0 && svc ->
        svc = false;               /* FUTEX_WAKE of one */
        if
#if S > 0
        :: squeued[T + 1] -> squeued[T + 1] = false
#endif
#if S > 1
        :: squeued[N] -> squeued[N] = false
#endif
        :: else -> skip
        fi }
    :: atomic { RUN && r == 0 && !svc -> i = 0; ringing[me] = false; break }
    od
}

/* Frames in, timers run. Whose frame it is, is the peer's choice. */
inline stack_poll() {
    do
    :: wire > 0 ->
        wire--;
        if
        :: i = 1
#if T > 1
        :: i = 2
#endif
#if T > 2
        :: i = 3
#endif
        fi;
        ready[i] = true;
        if
        :: listed[i] && !fired[i] -> fired[i] = true; inwake[i] = true
        :: else -> skip
        fi;
        i = 0
    :: else -> break
    od
}

/* nap_watching: ready to sleep on the interface, then asleep there. */
inline watch_prepare() {
    hasbell[me] = true;
    until[me] = timer;
    watch_until = timer;
    polling[me] = true;
    asleep[me] = true;
    rung[me] = false;
    collect()
}
inline watch_woken() {
    bell[me] = false;
    asleep[me] = false;
    suspect[me] = false;
    polling[me] = false;
    if
    :: watcher == me ->
        if :: until[me] -> timer = false :: else fi;
        stack_poll()
    :: else -> skip
    fi;
    until[me] = false
}

/* A sleep with a time limit, for the look at other processes. */
#define LOOK (!KEEPER && timeout && unnoticed)

proctype sleeper(byte me) {
    byte i, r, round, call;
    bool svc, need;
compute:
    atomic { RUN && lock == 0 && round < ROUNDS ->
        round++;
        take();
        if
        :: timer = true            /* what was sent wants an answer */
        :: skip
        fi;
        goto again
    };
again:                             /* inside the lock */
    if
    :: atomic { RUN && need -> recover(); goto again }
    :: atomic { RUN && !need ->
        if
        :: listed[me] && fired[me] ->
            listed[me] = false;
            inwake[me] = false;
            watch_pass();
            hasbell[me] = false
        :: else -> skip
        fi;
        if
        :: !listed[me] && ready[me] -> ready[me] = false; goto finish
        :: !listed[me] && !ready[me] -> fired[me] = false; listed[me] = true
        :: else -> skip
        fi;
        if
        :: watcher == 0 || (watcher != me && service[watcher]) -> watcher = me
        :: else -> skip
        fi;
        if
        :: watcher == me -> watch_prepare()
        :: else -> asleep[me] = true; rung[me] = false; collect()
        fi }
    fi;
    unlock_and_ring();
    if
    :: polling[me] ->              /* ppoll, bell and interface */
        looks[me] = true;
        if
        :: atomic { RUN && lock == 0 && (wire > 0 || bell[me] || until[me]) ->
            take(); watch_woken() }
        :: atomic { LOOK && RUN && lock == 0 ->
            take(); watch_woken(); forget() }
        fi
    :: !polling[me] && hasbell[me] -> /* ppoll, bell alone */
        looks[me] = true;
        if
        :: atomic { RUN && lock == 0 && bell[me] ->
            bell[me] = false; take() }
        :: atomic { LOOK && RUN && lock == 0 -> take(); forget() }
        fi
    :: !polling[me] && !hasbell[me] -> /* FUTEX_WAIT(rung, 0) */
        atomic { RUN -> queued[me] = !rung[me]; looks[me] = true };
        if
        :: atomic { RUN && lock == 0 && !queued[me] -> take() }
        :: atomic { LOOK && RUN && lock == 0 ->
            queued[me] = false; take(); forget() }
        fi
    fi;
    atomic { asleep[me] = false; suspect[me] = false; looks[me] = false;
        goto again };
finish:
    atomic { RUN -> collect() };
    unlock_and_ring();
    goto compute
}

proctype servant(byte me) {
    byte i, r, call;
    bool svc, need;
    atomic { RUN && lock == 0 -> take(); listed[me] = true };
again:                             /* inside the lock */
    if
    :: atomic { RUN && need -> recover(); goto again }
    :: atomic { RUN && !need ->
        if
        :: watcher == 0 -> watcher = me
        :: else -> skip
        fi;
        if
        :: watcher == me -> watch_prepare()
        :: else ->                 /* service_idle */
            svc_armed = true;
            asleep[me] = true;
            rung[me] = false;
            collect()
        fi }
    fi;
    unlock_and_ring();
    if
    :: polling[me] ->
        looks[me] = true;
        if
        :: atomic { RUN && lock == 0 && (wire > 0 || bell[me] || until[me]) ->
            take(); watch_woken() }
        :: atomic { LOOK && RUN && lock == 0 ->
            take(); watch_woken(); forget() }
        fi
    :: !polling[me] ->             /* FUTEX_WAIT(svc_armed, 1) */
        atomic { RUN -> squeued[me] = svc_armed; looks[me] = true };
        if
        :: atomic { RUN && lock == 0 && !squeued[me] -> take() }
        :: atomic { LOOK && RUN && lock == 0 ->
            squeued[me] = false; take(); forget() }
        fi;
        atomic { RUN -> asleep[me] = false; suspect[me] = false;
            hasbell[me] = false;
#ifndef ARM_ONCE
            /* we are up; the next free watch is for another one */
            if
            :: S > 1 && ((me == N && asleep[T + 1] && !polling[T + 1]) ||
                (me == T + 1 && asleep[N] && !polling[N])) -> svc_armed = true
            :: else -> skip
            fi
#endif
        }
    fi;
    atomic { looks[me] = false; goto again }
}

/* Something is still to come: a look, a pidfd, the guard's time limit. */
#define LOOKS(x) (x <= N && LIVE(x) && !stopped[proc[x]] && looks[x])
#define noticing (unnoticed && (KEEPER || LOOKS(1) || LOOKS(2) || \
                  LOOKS(3) || LOOKS(4)))
#define stuck (watcher != 0 && stopped[proc[watcher]] && (wire > 0 || timer))

/* The keeper's guard (guard.c): told of deaths by pidfds; takes the watch from
 * a thread that does not run (frames or a due timer, and no turn of the watch
 * was finished for a while). */
proctype guard(byte me) {
    byte i, r, call;
    bool svc, need;
wait:
    if
    :: atomic { unnoticed && lock == 0 -> take(); forget() }
#ifndef NO_STEAL
    :: atomic { timeout && stuck && lock == 0 ->
        take();
        suspect[watcher] = true;
        watcher = 0;
        need = true }
#endif
    fi;
    atomic { recover(); collect() };
    unlock_and_ring();
    goto wait
}

/* A process leaves the stack in order (exec of a program without it): its
 * threads are gone, and nobody will notice a death. */
proctype leaver(byte me) {
    byte i, r, call;
    bool svc, need;
    atomic { lock == 0 && !dead[1] ->
        take();
        dead[1] = true;
        i = 1;
        do
        :: i <= N && proc[i] == 1 -> queued[i] = false; squeued[i] = false; i++
        :: i <= N && proc[i] != 1 -> i++
        :: else -> break
        od;
        forget();
#ifdef LEAVE_QUIETLY
        need = false
#else
        recover()
#endif
        ;
        if :: watcher == 0 -> watch_hand(0) :: else fi;
        collect() };
    unlock_and_ring()
}

active proctype peer() {
    do
    :: atomic { sent < FRAMES -> sent++; wire++ }
    :: else -> break
    od
}

/* Death: the kernel empties the queues and hands the lock on. */
inline kill(p) {
    dead[p] = true;
    k = 1;
    do
    :: k <= N ->
        if
        :: proc[k] == p -> queued[k] = false; squeued[k] = false
        :: else -> skip
        fi;
        k++
    :: else -> break
    od;
    if
    :: lock != 0 && proc[lock] == p -> lock = 0; lock_died = true
    :: else -> skip
    fi;
    k = 0
}

active proctype killer() {
    byte k;
    do
    :: atomic { kills < KILLS ->
        kills++;
        if
        :: kill(1)
        :: kill(2)
#if !KEEPER
        :: kill(0)
#endif
        fi }
    :: atomic { stops < STOPS ->
        stops++;
        if
        :: stopped[1] = true
        :: stopped[2] = true
        fi }
    :: break
    od
}

#define WAITS(x) (x <= T && LIVE(x) && !stopped[proc[x]] && listed[x])
#define SERVES(x) (x > T && x <= N && LIVE(x) && !stopped[proc[x]])
#define somebody (WAITS(1) || WAITS(2) || WAITS(3) || SERVES(2) || \
                  SERVES(3) || SERVES(4))

#ifdef NO_STEAL
#define stealing false
#else
#define stealing (stuck && KEEPER)
#endif

active proctype monitor() {
    atomic {
        timeout && !noticing && !stealing ->
        assert(lock == 0);
        assert(!(WAITS(1) && (fired[1] || ready[1])));
        assert(!(WAITS(2) && (fired[2] || ready[2])));
#if T > 2
        assert(!(WAITS(3) && (fired[3] || ready[3])));
#endif
        assert(!(somebody && wire > 0));
        assert(!(somebody && timer));
        assert(!(somebody && unnoticed))
    }
}

init {
    atomic {
        proc[1] = P1;
        proc[2] = P2;
#if N > 2
        proc[3] = P3;
#endif
#if N > 3
        proc[4] = P4;
#endif
        run sleeper(1);
#if T > 1
        run sleeper(2);
#endif
#if T > 2
        run sleeper(3);
#endif
#if S > 0
        service[T + 1] = true;
        run servant(T + 1);
#endif
#if S > 1
        service[N] = true;
        run servant(N);
#endif
#if KEEPER
        run guard(GUARD);
#endif
#ifdef LEAVES
        run leaver(N + 2);
#endif
        skip
    }
}
