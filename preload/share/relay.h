/* relay.h: stack sockets for code that we cannot enter.
 *
 * Theory of operation
 *
 * A static program, a program in a sandbox that forbids what the stack needs,
 * and the unknown receiver of an SCM_RIGHTS message cannot call us: all they
 * have is a kernel descriptor. So such a descriptor is made a real socket: the
 * *far* end of an AF_UNIX socketpair, whose *near* end a relaying process
 * connects with the stack's socket. It moves the bytes both ways and mirrors
 * the state: the end of a stream becomes the end of the stream, the death of
 * one side the death of the other.
 *
 * The relaying process (relay_run.c) is one per stack, made by the first
 * process that needs it, in no way related to it afterwards; it leaves a
 * moment after its last relay. Near ends reach it through the *mailbox*, an
 * AF_UNIX datagram socket connected to itself, which every process of the
 * stack has: so descriptors under way survive whatever happens to the one who
 * sent them. What is relayed is listed in the arena (struct relay, one per
 * pair), and holds a reference to its file.
 *
 * Bytes for the program are copied into the pair, but leave the stack's
 * receive buffer only when the program has read them, as long as anybody else
 * has the socket (`exact`): another holder may go on reading where this one
 * stopped (sshd's monitor after its sandboxed child), and a process that can
 * be entered may *claim* the socket: it finds from the pair's name which file
 * it is, throws the copied bytes away, and uses the stack (SCM_RIGHTS between
 * processes of the stack). Alone with its program the relay streams.
 *
 * What the program wrote must reach the stack before what another holder
 * writes later, and what it read must be gone before another holder reads: so
 * who uses a socket that is relayed as well first has the relaying process
 * look at it (relay_sync).
 *
 * Limits: the socket looks like an AF_UNIX one (getpeername, getsockopt); a
 * reset reads as the end of the stream, though writes tell EPIPE; datagrams
 * have no addresses (answers go where the last one came from); a listening
 * socket cannot be relayed.
 */
#pragma once
#include "preload/share/file.h"
#include "stack/list.h"

struct relay {
    struct list_node link; /* share.relays */
    struct file *f;        /* a reference */
    uint64_t id;           /* in the name of the pair's near end */
    int near;              /* its number, with slot */
    uint32_t slot;         /* slot + 1 of who relays; 0: under way */
    uint32_t pushed;       /* bytes in the pair that the stack still has */
    bool exact;            /* bytes are held until read: see above */
    bool used;             /* the far end has been read or written */
    bool claimed;          /* the stack's own again; only what is left */
};

/* What is sent to the mailbox, with the near end. A vfork child, which must
 * not enter the stack, has no relay made: its file is found in its slot. */
struct relay_mail {
    struct relay *relay;
    struct file *f;
    uint32_t slot; /* with f */
    bool last;     /* the slot is not needed any more */
    uint32_t sync; /* with f alone: an answer is waited for */
};

/* The mailbox of a new stack. 0 or -errno. */
int relay_mailbox(void);
/* A far end for f, close-on-exec. -errno; -EOPNOTSUPP: a listening socket, but
 * for one that is `passed` to somebody who may claim it. relay_start must
 * follow, outside the section. Lock held. */
int relay_open(struct file *f, bool passed);
/* The same for a vfork child, without the lock; see relay_mail. */
int relay_open_vforked(struct file *f, uint32_t slot, bool last);
/* See to it that somebody relays. Outside the section. 0 or -errno. */
int relay_start(void);
/* Before a use of f: whatever its relays have to do is done. Lock held, given up
 * meanwhile; the caller has a reference. */
void relay_sync(struct file *f);
/* Which relay is fd the far end of? NULL: none of this stack. Lock held. */
struct relay *relay_of(int fd);
/* Is fd the far end of a relay at all? The stack's name. */
bool relay_name(int fd, char *name, size_t len, uint64_t *id);
/* fd (a far end) becomes a descriptor of the stack. False: the socket is too
 * far gone in the hands of others, and stays relayed. Lock held. */
bool relay_claim(struct relay *r, int fd);
/* Lock held. */
struct relay *relay_new(struct file *f);
void relay_drop(struct relay *r);
/* The process of this slot is gone, and what it relayed. Lock held. */
void relay_forget_process(uint32_t slot);
/* Body of the relaying process; returns when it is not needed any more. */
void relay_run(void);
