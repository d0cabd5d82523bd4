/* own.h: a MAC and an address of our own on a link. */
#pragma once
#include <stdint.h>
#include "netio/netio.h"
#include "stack/addr.h"

/* A stable, locally administered MAC from the device's and our address, never
 * the device's. */
void own_mac(const uint8_t dev[6], const struct ip_addr *ip, uint8_t out[6]);

/* Does anybody on the link have `addr` (RFC 5227, 2.1.1)? One probe; waits
 * half a millisecond. 0, -EADDRINUSE with the owner's MAC, or -errno. */
int own_probe(struct netio *io, const uint8_t mac[6],
              const struct ip_addr *addr, uint8_t owner[6]);
