/* segment.h: superframes and partial checksums done in software. */
#pragma once
#include "netio/netio.h"

/* Takes one plain frame: meta is empty, all checksums complete. The frame and
 * what it points to are valid during the call only. A negative return ends the
 * segmentation. */
typedef int (*netio_emit_fn)(void *ctx, struct netio_frame *f);

/* Cut a superframe into plain frames (or complete the checksum of a plain one,
 * or pass a complete one on). f is not changed. Returns the number of frames
 * emitted, emit's own negative value, or -EINVAL when the frame's headers and
 * meta make no sense together (nothing was emitted). */
int netio_segment(const struct netio_frame *f, netio_emit_fn emit, void *ctx);

/* Complete a partial checksum in place (RFC 1071) and clear the flag. 0, or
 * -EINVAL when the offsets lie outside the frame. Not for superframes, whose
 * segments have checksums of their own. */
int netio_complete_csum(struct netio_frame *f);
