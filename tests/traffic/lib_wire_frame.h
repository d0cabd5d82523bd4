/* lib_wire_frame.h: a frame in the queues of lib_wire. Internal to it. */
#pragma once
#include "netio/netio.h"

struct wire_frame {
    struct wire_frame *next;
    nstime_t at; /* out: when it was sent */
    struct netio_meta meta;
    uint32_t len;
    uint8_t data[];
};
