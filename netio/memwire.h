/* memwire.h: a wire in memory, for tests. */
#pragma once
#include "netio/netio.h"

/* Two netios joined back to back: what one sends, the other receives, in
 * order, at once, meta and all. Each direction holds at most `limit` frames;
 * what is sent beyond that is dropped and counted (tx_queue_full). A frame
 * whose IP packet is longer than mtu is refused unless it is a superframe.
 * fd is -1: poll by deadline(). Close both ends. 0 or -ENOMEM. */
int netio_memwire_new(struct netio *ends[2], uint32_t mtu, unsigned limit);

/* Frames waiting to be received at this end. */
unsigned netio_memwire_pending(const struct netio *end);

/* Cut or mend the wire: while it is cut, tx and rx answer -ENETDOWN at both
 * ends (frames in flight are kept). */
void netio_memwire_set_up(struct netio *end, bool up);
