/* file.h: open file descriptions of the stack and their descriptors.
 *
 * A `struct file` (in the arena) is what POSIX calls an open file description:
 * dup and fork share it, O_NONBLOCK lives in it. Each descriptor that refers
 * to it is a real kernel descriptor, a dup of one AF_UNIX socket made per
 * process tree (`self.fd.proto`), so that numbers, limits, fstat and
 * inheritance are the kernel's own; that socket is never used.
 *
 * Look-up is one load and one branch: file_table[fd], a private cache of the
 * process's map in the arena.
 */
#pragma once
#include <assert.h>
#include <stdint.h>
#include "preload/share/share.h"

/* The kernel descriptors of one socket may also be ends of socketpairs that a
 * relaying process serves: see relay.h. */
enum file_kind { FILE_SOCK, FILE_EPOLL };

struct file {
    uint32_t refs;    /* descriptors in all processes + pins */
    uint32_t counted; /* the same, counted anew (repair.c) */
    uint8_t kind;     /* enum file_kind */
    bool nonblock, async;
    bool placed;       /* bound or connected: can no longer become a kernel's */
    bool twin_turn;    /* the twin's queue comes first next time */
    uint64_t twin_ino; /* a wildcard listener's kernel side (twin.c); 0: none */
    struct sock *so;   /* FILE_SOCK */
    struct pollset *ps; /* FILE_EPOLL: stack side; the kernel's epoll beside */
    nstime_t rcv_timeout, snd_timeout; /* ns; 0: none */
    int32_t owner, owner_sig;          /* F_SETOWN, F_SETSIG */
    uint64_t opt_set[2];      /* bits of enum stack_opt set by the program */
    int32_t kept[KEPT_COUNT]; /* options of native IPv6 (sockopt.c) */
    uint8_t stamp;            /* SO_TIMESTAMP* in force, by its number */
    bool pktinfo6;            /* IPV6_RECVPKTINFO */
    bool on_device;           /* SO_BINDTODEVICE */
    uint32_t multicast_if;    /* IP_MULTICAST_IF, an address as given */
    int32_t unicast_if;       /* IP_UNICAST_IF */
    uint32_t in_kernel;       /* FILE_EPOLL: threads in epoll_wait(2) itself */
    bool nested;              /* FILE_EPOLL: holds other epoll sets */
    uint16_t relays;          /* that serve it, see relay.h */
    bool twins;               /* ...or listeners that have a twin */
    nstime_t opened;
};

static_assert(STACK_OPT_COUNT <= 128, "struct file.opt_set has a bit for each");

/* Did the program set this option of the stack's? */
static inline bool file_opt_noted(const struct file *f, enum stack_opt opt) {
    return f->opt_set[opt / 64] >> opt % 64 & 1;
}
static inline void file_opt_note(struct file *f, enum stack_opt opt) {
    f->opt_set[opt / 64] |= 1ull << opt % 64;
}

/* Private cache. Index with (unsigned)fd < FILE_TABLE. */
#define FILE_TABLE 65536
extern struct file *file_table[FILE_TABLE];

static inline struct file *file_of(int fd) {
    return (unsigned)fd < FILE_TABLE ? file_table[fd] : NULL;
}

/* All below: lock held. */

/* A file for a socket (refs 0 until a descriptor is installed). */
struct file *file_new(enum file_kind kind, struct sock *so, struct pollset *ps);
/* A new kernel descriptor, the lowest free, that refers to f. Returns the
 * number or -EMFILE, -ENFILE, -ENOMEM. */
int file_install(struct file *f, bool cloexec);
/* fd (already a kernel descriptor: after dup, or an epoll) refers to f. */
int file_map(int fd, struct file *f);
/* fd no longer refers to anything of ours; the kernel descriptor is left to
 * the caller. The last reference closes the socket. */
void file_unmap(int fd);
void file_get(struct file *f);
void file_put(struct file *f);
/* After exec: rebuild the cache from the process's map in the arena, dropping
 * entries whose kernel descriptor was CLOEXEC. */
void file_restore(void);
/* Start of a fork's child: the cache points into the new slot's map. */
void file_forked(void);
/* Highest mapped descriptor + 1, for closefrom-like walks. */
int file_limit(void);
