/* stdio.h: streams of the C library on stack sockets (stdio.c). */
#pragma once

/* fd, 0 to 2, refers to something else since just now: dup2, close, or the
 * start of a program. Outside the section. */
void stdio_follow(int fd);
/* Write out what streams of ours hold back; before the sockets go. */
void stdio_flush(void);
