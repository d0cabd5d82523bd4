/* resolve_sud.h: catching the system calls of the C library's resolver. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* One section of code whose system calls are caught. */
struct sud {
    bool on;
    bool sigsys_blocked; /* by the program; so again at the end */
    char selector;       /* what was there before */
};

/* From here to sud_end, on this thread, socket calls made by other code than
 * this library go to our wrappers. May be nested. False: the kernel cannot. */
bool sud_begin(struct sud *s);
void sud_end(struct sud *s);
/* In the child of a fork: dispatch is not inherited. */
void sud_forked(void);
