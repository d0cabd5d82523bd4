/* why.h: why the kernel serves a descriptor (why.c). */
#pragma once
#include <stdint.h>

enum why {
    WHY_UNKNOWN,
    WHY_LOOPBACK, /* a loopback address */
    WHY_RULE,     /* a rule of the user */
    WHY_RAW,      /* a raw or ping socket */
    WHY_PROTOCOL, /* neither TCP nor UDP */
    WHY_ACCEPTED, /* accepted on the kernel's loopback */
    WHY_COUNT
};

/* Remember it of a kernel's socket, by its inode. rule: index into share.rules,
 * or -1. Without a stack nothing is remembered. */
void why_note(int fd, enum why why, int rule);
/* What is remembered of this inode. */
enum why why_of(uint64_t ino, int *rule);
/* In a few words. */
const char *why_text(enum why why);
