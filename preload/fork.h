/* fork.h: what exec.c and the descriptor wrappers need of fork.c. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct file;

/* Start-up: from now on every fork of the C library is seen. */
void fork_start(void);

/* syscall(2) with fork, or clone without CLONE_VM: the system call, with the
 * child made known. False: nr is neither; nothing was done. */
bool fork_syscall(long nr, const long arg[6], long *result);

/* In a vfork child (preload_vforked): `to` is now a copy of `from`, after the
 * kernel did it. Remembered for the program that will be exec'ed. */
void fork_note_dup(int from, int to);

/* In a vfork child, around its execve(2): the new image may (attach) or cannot
 * take the stack's descriptors over; `failed`: the exec did not happen. */
void fork_vforked_exec(bool attach);
void fork_vforked_exec_failed(void);
/* In a vfork child: what stack file, if any, fd refers to now (NULL: none), and
 * the slot whose references are handed on with it. False: no slot. */
struct file *fork_vforked_file(int fd);
bool fork_vforked_hand(uint32_t *slot);
