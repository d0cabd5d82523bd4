/* fault_pipe.h: one direction of a bad link. Internal to fault.c; the theory of
 * operation is there. */
#pragma once
#include "netio/fault.h"

#define PIPE_MAX_SLOTS 16384u      /* frames in one pipe */
#define PIPE_MAX_BYTES (32u << 20) /* memory of one pipe */
#define PIPE_HELD 8                /* frames stepping aside at a time */
#define PIPE_NO_SLOT UINT32_MAX

/* A frame in a pipe. */
struct slot {
    nstime_t due;
    uint32_t len;
    uint32_t next_free;
};

/* A frame that stepped aside: `after` more frames pass it, or time does. */
struct held {
    uint32_t slot;
    uint32_t after;
    nstime_t until;
};

struct fault_pipe {
    struct fault_counters count;
    size_t size; /* of the mapping */
    uint64_t random;
    bool losing;        /* in a burst */
    nstime_t line_free; /* when the rate's line has sent what it was given */
    nstime_t last_due;
    uint32_t nslots, slot_size;
    uint32_t used_slots; /* slots ever used */
    uint32_t free_slots; /* list of those free again */
    uint32_t head, tail; /* of the ring; free running */
    uint32_t nheld;
    struct held held[PIPE_HELD];
    struct slot slot[PIPE_MAX_SLOTS];
    uint32_t ring[PIPE_MAX_SLOTS];
    uint8_t data[];
};

/* A pipe for frames of IP packets up to mtu, in memory that children made by
 * fork share. dir picks the generator. NULL without memory. */
struct fault_pipe *fault_pipe_new(const struct fault_spec *spec, unsigned dir,
                                  uint32_t mtu);
void fault_pipe_free(struct fault_pipe *p);

/* Any frame enters: it is cut into plain ones, and those meet their fate. */
void fault_pipe_enter(struct fault_pipe *p, const struct fault_spec *spec,
                      const struct netio_frame *f, nstime_t now);

/* Let frames whose time aside is over join the others. */
void fault_pipe_expire(struct fault_pipe *p, nstime_t now);

/* The slot of the first frame if it is due, else PIPE_NO_SLOT. It stays in
 * the pipe until fault_pipe_pop. */
uint32_t fault_pipe_due(const struct fault_pipe *p, nstime_t now);
void fault_pipe_pop(struct fault_pipe *p);

static inline uint8_t *fault_pipe_data(struct fault_pipe *p, uint32_t slot) {
    return p->data + (size_t)slot * p->slot_size;
}

/* When does the next thing happen? p may be NULL. */
nstime_t fault_pipe_deadline(const struct fault_pipe *p);
