/* async.h: SIGIO and SIGURG (async.c). */
#pragma once
#include <signal.h>
#include "preload/share/file.h"

/* The owner, the signal or O_ASYNC of f was changed by way of fd. Lock held;
 * async_start must follow outside. 0 or -ENOMEM. */
int async_update(int fd, struct file *f);
/* The thread runs, if there is anything to tell; ends; was not forked. */
void async_start(void);
void async_stop(void);
void async_forked(void);
/* A signal with SI_SIGIO, as the kernel would have sent it. */
void async_polish(siginfo_t *info);
