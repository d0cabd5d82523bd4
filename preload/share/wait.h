/* wait.h: sleeping until something happens; whoever waits, works (wait.c). */
#pragma once
#include <poll.h>
#include <signal.h>
#include "preload/share/share.h"

/* One sleeping thread, in the arena, type-stable. */
struct sleeper {
    struct waiter w; /* first: stack_next_wake names it */
    struct list_node link;
    struct watch one;   /* for waits on a single source */
    struct watch *many; /* for waits on several; sleeper_watches */
    unsigned nmany;
    struct file *pin; /* a file this thread is using */
    struct bufq loan; /* bytes in the hands of this thread (stack.h) */
    int32_t pid, tid;
    bool service;   /* a service thread or keeper: may be robbed */
    bool asleep;    /* between giving the lock up and taking it again */
    bool polling;   /* asleep on the interface, watcher or robbed */
    bool leaving;   /* its process ends: never the watcher again */
    bool restless;  /* returns after each turn, fired or not */
    bool suspect;   /* did not do its turn (stopped?): until it wakes */
    bool late;      /* seen asleep although fired: its ring may be lost */
    nstime_t until; /* ...and when that sleep ends by itself */
    /* Last: late rings look at these even when the sleeper has gone and is
     * used again, so they are set atomically. */
    _Alignas(8) int8_t bell; /* index of an eventfd, or -1: futex */
    bool spinning; /* asleep, but looks at rung all the time (spin.c) */
    uint32_t rung; /* futex word */
};

/* A sleeper for one wait; lock held. NULL: arena full. */
struct sleeper *sleeper_get(void);
void sleeper_put(struct sleeper *s);
/* Room for n watches, blank; sleeper_unwatch removes and frees them, also
 * should the process die asleep. NULL: arena full. */
struct watch *sleeper_watches(struct sleeper *s, unsigned n);
void sleeper_unwatch(struct sleeper *s);

enum wait_result {
    WAIT_FIRED,  /* s->w.fired has events */
    WAIT_KERNEL, /* kfds has revents (fired may be set as well) */
    WAIT_TIMEOUT,
    WAIT_EINTR,  /* a signal came */
    WAIT_CANCEL, /* a thread was cancelled, perhaps this one: leave the
                     section, pthread_testcancel(), and wait again */
};

/* Sleep until s fires, one of the kernel's descriptors is ready, or the
 * deadline (absolute, NSTIME_NEVER for none). Lock held on entry and exit,
 * released in between. kfds may be NULL. mask: signal mask during the sleep
 * (as ppoll), or NULL. Watches are the caller's: add them before, remove them
 * after.
 * WAIT_EINTR: a handler is due. It runs when the caller leaves the section, so
 * put everything away before. */
enum wait_result wait_sleep(struct sleeper *s, struct pollfd *kfds, int nk,
                            nstime_t deadline, const sigset_t *mask);

/* Wait until src shows one of events (or ERR/HUP). 0; -EAGAIN at the
 * deadline; -EINTR; -ENOMEM. pin is kept alive meanwhile. */
int wait_source(struct source *src, struct file *pin, uint32_t events,
                nstime_t deadline);

/* The same for a caller that already holds a reference to `held`, which is
 * given back for it should the process die asleep. */
int wait_held(struct source *src, struct file *held, uint32_t events,
              nstime_t deadline);
/* ...or until the kernel's descriptor fd is readable. */
int wait_twin(struct source *src, struct file *held, uint32_t events, int fd,
              nstime_t deadline);

/* The same for a reader: frames may come straight into its buffer. */
int wait_placed(struct source *src, struct file *held, uint32_t events,
                nstime_t deadline, struct stack_place *place);

/* Work outside the lock that still counts as inside, on s->loan: between these
 * two no handler runs, and s belongs to the caller. */
void wait_outside(struct sleeper *s);
void wait_inside(struct sleeper *s);

/* pthread_cancel was called: all waits of this process look whether it was
 * for them. Lock held. */
void wait_poke(void);

/* *stop was set: this process's service thread looks. Lock held. */
void wait_end_service(void);
/* Does no thread of this process sleep in the stack? Lock held. */
bool wait_none_asleep(void);

/* Every sleeper of this process looks again. Lock held. */
void wait_again(void);

/* Give back what waits deeper in this thread's stack than sp held when a
 * handler left them by siglongjmp. Outside the section. */
void wait_unpark(uintptr_t sp);

/* Take in what has arrived, without sleeping; for calls that would otherwise
 * say EAGAIN. Lock held. */
void wait_drain(void);
void wait_drain_into(struct stack_place *place);
/* The same for calls that only ask for readiness. */
void wait_drain_lazy(void);

/* For a watcher that was woken. */
void wait_take_in(struct sleeper *s);
/* Where the thread that is asleep wants its bytes; or NULL. */
extern __thread struct stack_place *wait_placing
    __attribute__((tls_model("initial-exec")));
/* Was the interface seen empty by this process, at most `ago` ns before this
 * section began? */
bool wait_empty(nstime_t ago);

/* Do frames come one by one? Then a sleep finds the next as soon as a look. */
bool wait_sparse(void);

/* How long a watcher polls before it sleeps (settings: spin), ns. */
extern nstime_t wait_spin;

/* Body of a service thread, and the keeper's turn: serve until *stop. */
void wait_service(volatile int *stop);

/* The stack's next deadline moved closer: tell the watcher if it must know.
 * Called by share_leave. Returns the sleeper to ring, or NULL. */
struct sleeper *wait_retime(void);
void sleeper_ring(struct sleeper *s);
/* A process died: its sleepers go, the watch is free. wait_recover must follow
 * when all are gone. Lock held. */
void wait_forget_process(int pid);
/* After a death: the watch goes to somebody, and every sleeper looks again,
 * since wake-ups may have died with their sender. Lock held. */
void wait_recover(void);
/* Ring who was fired, but sleeps at this look and slept at the one before: the
 * ring is in the hands of a thread that was stopped. True if somebody may have
 * to be rung at the next look. Lock held. */
bool wait_mend_rings(void);
/* The watcher does not run: the watch goes to somebody else. Lock held. */
void wait_steal(void);
/* This process's threads are about to vanish (exit, exec): they give the watch
 * away while they can; or not after all (an exec that failed). Lock held. */
void wait_retire(bool leaving);

/* Set by signal.c: did only SA_RESTART handlers run since the last call? */
extern bool (*wait_restartable)(void);
