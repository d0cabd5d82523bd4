/* capture.h: frames into a pcap file. */
#pragma once
#include <stddef.h>
#include "netio/netio.h"

/* Wrap inner: every frame received or sent is written to the pcap file `path`
 * as it looks on the wire (superframes cut, checksums complete), with
 * wall-clock time. An existing capture is continued; several processes may
 * write to one file. Returns NULL with one line in err (inner is untouched).
 * Closing the wrapper closes inner. In libstack-capture.so this symbol and the
 * next are exported, no others. */
__attribute__((visibility("default"))) struct netio *
libstack_capture_wrap(struct netio *inner, const char *path, char *err,
                      size_t errlen);

/* The capture's descriptor must not be seen or closed by the program: `move`
 * gets its number and returns the one to use from now on (a duplicate; move
 * closes the old one). Returns that number. */
__attribute__((visibility("default"))) int
libstack_capture_move_fd(struct netio *capture, int (*move)(int fd));
