/* fault.h: a bad link, on purpose and repeatable. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "netio/netio.h"

/* Probabilities are fractions of FAULT_ONE. */
#define FAULT_ONE (1ull << 32)

#define FAULT_RX 0x1
#define FAULT_TX 0x2

/* What shall happen to frames. All zero but dir: nothing. */
struct fault_spec {
    uint64_t loss, dup, reorder, corrupt; /* probability per frame */
    uint64_t ce;     /* ...that a packet which allows it is marked (RFC 3168) */
    uint32_t burst;  /* mean length of a loss burst; 0 or 1: independent */
    nstime_t delay;  /* added to every frame */
    nstime_t jitter; /* delay varies by up to this, order is kept */
    uint64_t rate;   /* bits per second on the wire; 0: no limit */
    uint32_t queue;  /* bound of the rate's queue, in frames of full size */
    uint32_t mtu;    /* longer IP packets vanish; 0: none do */
    uint32_t dir;    /* FAULT_RX | FAULT_TX */
    uint64_t seed;
};

/* Parse "loss=3%,burst=4,dup=1%,reorder=5%,corrupt=0.1%,ce=1%,delay=20ms,jitter=2ms,
 * rate=10mbit,queue=100,mtu=1400,dir=both|rx|tx,seed=7". Order is free, every
 * key may be left out (dir=both, queue=1000, seed=1). 0, or -EINVAL with one
 * line in err. */
int fault_parse(const char *text, struct fault_spec *out, char *err,
                size_t errlen);

/* The link changes: longer IP packets vanish from now on (0: none do). */
void netio_fault_set_mtu(struct netio *io, uint32_t mtu);

/* What happened to the frames of one direction (after segmentation). */
struct fault_counters {
    uint64_t seen, passed;
    uint64_t lost, duplicated, reordered, corrupted, marked;
    uint64_t queue_full; /* more than the rate could carry */
    uint64_t too_big;    /* over spec.mtu */
    uint64_t no_room;    /* the wrapper's own memory was full */
    uint64_t bad_frame;  /* could not be segmented */
};

/* Wrap inner. Returns NULL without memory (inner is untouched). Closing the
 * wrapper closes inner. */
struct netio *netio_fault_new(struct netio *inner,
                              const struct fault_spec *spec);

/* dir: FAULT_RX or FAULT_TX. */
const struct fault_counters *netio_fault_counters(const struct netio *io,
                                                  unsigned dir);
