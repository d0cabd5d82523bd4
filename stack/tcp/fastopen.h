/* fastopen.h: what TCP Fast Open remembers (in the arena), see fastopen.c. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "stack/addr.h"

#define TCP_FO_ENTRIES 128
#define TCP_FO_COOKIE_MAX 16

/* A server, as a client knows it; an address of zero: unused. */
struct tcp_fo_entry {
    struct ip_addr ip;
    uint16_t mss;
    uint8_t len; /* of the cookie; 0: none */
    bool exp;    /* it came in the experimental option */
    uint8_t cookie[TCP_FO_COOKIE_MAX];
    uint8_t losses;   /* SYNs with data that had to be sent again, in a row */
    uint32_t loss_ms; /* when that was last */
};

struct tcp_fastopen {
    uint8_t key[2][16]; /* TCP_FASTOPEN_KEY; else shared.cookie_key */
    bool own_key, two_keys;
    struct tcp_fo_entry entry[TCP_FO_ENTRIES];
};
