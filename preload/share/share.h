/* share.h: what processes share besides the stack itself, and how a process
 * gets hold of it.
 *
 * Theory of operation
 *
 * The arena (memfd) holds the stack (stack/shared.h, opaque here) and, as its
 * application root, one `struct share`: the lock, the table of processes with
 * the descriptors of each, the sleeping threads and the watch. `self` is the
 * private side: mapped address, handle, descriptor numbers.
 *
 * A process obtains the arena in one of four ways, tried in this order:
 *   inherit  exec'ed by a process that has it: LIBSTACK_INHERIT names the
 *            descriptors (share_inherit);
 *   fork     nothing to do but a process slot (share_fork_*);
 *   join     a stack with the same name runs in this network namespace: ask
 *            the abstract socket of that name (share_join);
 *   create   open the device, make the arena (share_create).
 *
 * The lock is taken by share_enter and given back by share_leave; between them
 * self.st may be used. Nothing may sleep there; wait.h has the way to sleep.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "netio/netio.h"
#include "preload/share/lock.h"
#include "stack/list.h"
#include "stack/stack.h"

#define SHARE_BELLS 24
#define SHARE_GUARD_BELL (SHARE_BELLS - 1) /* not for sleepers */
#define SHARE_PROCS 512
#define SHARE_NAME 80
#define SHARE_WHYS 1024
#define PROC_MOVES 16

struct file;

/* One process of the stack, in the arena: its slot survives exec. */
struct proc {
    int32_t pid;       /* 0: free slot */
    uint64_t start;    /* start time, to tell reused pids apart */
    bool execing;      /* between exec and the new image's start */
    bool keeper;       /* the launcher: has no sockets, finishes for others */
    uint32_t nfiles;   /* descriptors of the stack it has open */
    uint32_t map_len;  /* entries of map */
    struct file **map; /* by descriptor number; NULL: not ours */
    /* Descriptors that a vfork child copied before its exec, in order: `to`
     * refers to what `from` did. Applied by file_restore. */
    struct file *async_set; /* poll set of sockets that signal, or NULL */
    uint32_t nmoves;
    struct {
        int32_t from, to;
    } moves[PROC_MOVES];
};

struct share {
    struct lock lock;
    char name[SHARE_NAME]; /* of the stack: "dev/addr" */
    uint32_t uid;
    uint64_t netns;
    struct proc procs[SHARE_PROCS];
    uint32_t nprocs;
    uint32_t keeper_slot;    /* slot + 1 of the keeper; 0: there is none */
    struct lock keeper_life; /* held by its main thread: tells of its death */
    uint64_t procs_seq;      /* changes with each pid that comes or goes */

    /* The keeper's guard (guard.c). */
    bool guard_asleep;
    uint64_t guard_procs; /* procs_seq that it has seen */
    bool guard_rung;      /* to look at the table of processes */
    nstime_t guard_until; /* when it wakes by itself */

    /* The watch: who polls the interface (wait.c). */
    struct sleeper *watcher;   /* NULL: nobody */
    struct sleeper *successor; /* was given the watch: ring at leave */
    nstime_t watch_until;      /* when the watcher wakes by itself */
    uint64_t watch_seq;        /* changes when the interface is looked after */
    uint64_t watch_turns;      /* ...and with each turn at it */
    nstime_t looked;           /* last look at the other processes */
    struct list sleepers;      /* every sleeping thread */
    struct list free_sleepers; /* type-stable: never given back */
    struct list relays;     /* struct relay: files served by kernel sockets */
    struct file *relay_set; /* the relaying process's poll set */
    uint32_t relay_slot;    /* its slot + 1; 0: there is none */
    uint64_t relay_seq;     /* names relays */
    uint32_t relay_asked, relay_done; /* of relay_sync; the second a futex */
    uint32_t parked;     /* file references of threads in handlers */
    uint32_t thawer;     /* tid of who runs a stopped holder (thaw.c) */
    uint32_t bells_used; /* bitmap of the eventfd pool */
    uint32_t svc_armed;  /* futex: service threads sleep on it */

    /* what went elsewhere, and why (why.c); the user's rules, counted */
    struct share_why {
        uint64_t ino;
        uint8_t why;
        int8_t rule;
    } whys[SHARE_WHYS];
    uint32_t n_whys;
    struct share_rule {
        char text[64];
        uint64_t hits;
    } rules[32];
#define SHARE_COUNTER(name, sentence) uint64_t name;
    struct share_counters {
#include "preload/share/counters.def"
    } count;
#undef SHARE_COUNTER
};

/* Descriptors of the stack in this process, all at high numbers, CLOEXEC. */
struct share_fds {
    int arena, packet, join, proto; /* proto: AF_UNIX prototype, see file.h */
    int mail;                       /* to whoever relays, see relay.c */
    int bell[SHARE_BELLS];
};

/* The private side: one per process, rebuilt at attach. */
struct self {
    struct share *sh; /* NULL: this process has no stack (yet) */
    struct stack *st;
    struct netio *io;
    void *base;
    size_t size;
    struct share_fds fd;
    uint32_t slot;      /* in sh->procs */
    uint64_t proto_ino; /* inode of fd.proto: recognises our descriptors */
};
extern struct self self;

/* CLOCK_MONOTONIC, ns. */
nstime_t share_clock(void);

/* All return 0 or -errno and leave a one-line reason in err. */
int share_inherit(const char *env, char *err, size_t errlen);
int share_join(const char *name, char *err, size_t errlen);
struct share_new {
    const char *name;
    int packet_fd; /* opened, filtered and locked by netio/setup; taken */
    struct stack_config cfg;
    size_t arena_size;
};
int share_create(const struct share_new *how, char *err, size_t errlen);
/* Join the stack called `name` (if `join`), or open a device with `open` and
 * create it. 0 created, 1 joined, or -errno. */
typedef int share_open_fn(void *ctx, struct share_new *out, char *err,
                          size_t errlen);
int share_obtain(const char *name, bool join, share_open_fn *open, void *ctx,
                 char *err, size_t errlen);
/* Wrap self.io as the settings say (capture, faults, trace). */
struct settings;
int share_wrap_netio(const struct settings *set, char *err, size_t errlen);
/* Attach as an observer (stackctl): no packet socket, no process slot. */
int share_observe(int memfd, char *err, size_t errlen);

/* The value of LIBSTACK_INHERIT for a program about to be exec'ed, and whether
 * its descriptors survive (clears or sets CLOEXEC on them). */
void share_export(char *buf, size_t len);
void share_keep_on_exec(bool keep);
/* This process leaves the stack for good, and its files are closed; unless a
 * thread of it sleeps in the stack. Outside the section. */
void share_detach(void);
/* True when fd is one of the stack's own (never to be closed by programs). */
bool share_owns_fd(int fd);
/* The lowest of them in first..last, or last + 1. */
unsigned share_next_own(unsigned first, unsigned last);
/* A program wants that number: the own one gets another, which is returned, or
 * -errno. Lock held. */
int share_move_fd(int fd);

/* The last process ends: leave the packet socket to the kernel's collector,
 * since to close it takes 10 ms and more (parting.c). */
void share_part(void);

/* Lock, set the stack's time; repairs after a dead holder. */
void share_enter(void);
/* Flush, unlock, ring whoever is to be woken. */
void share_leave(void);
/* The same, but what TCP has to send may wait for the next flush by anybody,
 * as long as a service thread is sure to come soon. True when it does. */
bool share_leave_later(void);
/* The process is about to lose its threads (exit, exec): from now on no other
 * thread of it gets into a section, and none is in one when this returns. They
 * wait, but not for ever. Outside the section. */
void share_close_gate(void);
void share_open_gate(void); /* the exec has failed; or a fork's child */
/* The program lets this thread be cancelled at any instruction: not inside. The
 * hook forbids it, and allows it again. */
extern __thread bool share_async;
extern void (*share_async_hook)(bool allow);
/* Is the calling thread between enter and leave? */
extern __thread int share_inside;
/* Run at the end of share_leave, outside the lock (deferred signals). */
extern void (*share_leave_hook)(void);

/* Process slots. Lock held. */
int share_proc_add(int pid);         /* slot or -ENOSPC */
void share_proc_gone(uint32_t slot); /* drop its descriptors, free the slot */
/* Is the process behind the slot alive (not a zombie)? */
bool share_proc_alive(struct proc *p);
/* Drop every dead process; returns how many. */
unsigned share_reap(void);
void share_reap_one(uint32_t slot); /* this one, if it is dead */
/* fork: parent, before: reserve a slot with a copy of our map. Lock held. */
int share_fork_prepare(void);
void share_fork_parent(int slot, pid_t child); /* child < 0: undo */
/* was_inside: the forking thread held the lock; then the child need not. */
void share_fork_child(int slot, bool was_inside);

/* Answer one caller on the join socket; called by whoever watches. */
void share_serve_join(void);

/* The keeper's life: returns when no process and no orphan is left. */
struct keeper_result {
    int status;           /* of the main child, as waitpid gives it */
    bool stays;           /* a copy of us stays behind; it will call finish */
    void (*finish)(void); /* in: what to do after the last; may be NULL */
};
void share_keep(pid_t child, struct keeper_result *out);

/* What went through the stack, as one line. Lock held. */
void share_summary(char *buf, size_t len);
