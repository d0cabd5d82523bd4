/* twin.h: a wildcard listener also listens on the kernel's loopback (twin.c).
 * All with the lock held. */
#pragma once
#include "preload/preload.h"

/* Before listen() of a stream: 0, or -errno that listen() fails with. */
int twin_listen(int fd, struct file *f, int backlog);
/* The listener is passed to others (rights.c), who can have no twin: nobody has
 * any more. */
void twin_drop(struct file *f);
/* One connection that came there: a descriptor of the kernel's, -EAGAIN, or
 * -errno. addr and len as of accept(2). */
int twin_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags);
