/* trace.h: one line of text per frame. */
#pragma once
#include <stddef.h>
#include "netio/netio.h"

/* Wrap inner: each frame received or sent becomes a line on fd, written in one
 * piece so that processes can share a file. Superframes are shown as such. The
 * fd stays the caller's. NULL without memory. */
struct netio *netio_trace_new(struct netio *inner, int fd);

/* The line for one frame, without newline. Returns its length (less than n).
 * Manner of tcpdump -n:
 *   IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [S], seq 1, win 65535, ... */
size_t netio_trace_line(const struct netio_frame *f, char *buf, size_t n);
