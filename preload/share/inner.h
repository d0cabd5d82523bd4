/* inner.h: what the files of preload/share/ share among themselves. */
#pragma once
#include "preload/share/share.h"

/* arena.c */
/* Map the arena at its address and make the handle. 0 or -errno. */
int arena_map(int memfd, void *base, size_t size, bool observer, char *err,
              size_t errlen);
/* A new memfd of `size` bytes, mapped at a free random address. */
int arena_new(const char *name, size_t size, int *memfd, void **base, char *err,
              size_t errlen);
/* Undo arena_map and arena_new; self is empty again. */
void arena_unmap(void);
/* The AF_UNIX prototype of stack descriptors, made or (fd >= 0) taken over. */
int arena_proto(int fd);
/* Where an arena wants to be mapped. */
struct arena_head {
    void *base;
    size_t size;
};

/* own.c */
/* Where own descriptors live: moves fd up, CLOEXEC; the new number. */
int arena_hide_fd(int fd);
/* fd is one of them; is none any more. */
void own_mark(int fd);
void own_forget(int fd);
void own_forget_all(void);
void own_close_all(void);

/* repair.c: a holder of the lock died. Lock held. */
void share_repair(void);

/* thaw.c: at attach. */
void thaw_start(void);

/* join.c */
int join_listen(const char *name);

/* proc.c */
/* Start time of a process in clock ticks (proc(5)); 0 when it is not there or
 * a zombie. */
uint64_t proc_start_time(int pid);
/* Stopped by a signal or a debugger? */
bool proc_stopped(int pid);
/* State letter of a process or thread (proc(5)), 'X' when it is not there. */
char proc_state(int pid);
/* Claim a slot for the calling process. Lock held. 0 or -ENOSPC. */
int proc_claim(void);

__attribute__((format(printf, 4, 5))) int
share_fail(int code, char *err, size_t errlen, const char *fmt, ...);
