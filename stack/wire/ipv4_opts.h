/* wire/ipv4_opts.h: IPv4 options on their way out (RFC 791 section 3.1). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "stack/wire/ipv4.h"

/* A source route is kept as it leaves: the packet goes to `hop` first, and the
 * option lists the others, the destination last (filled in by ipv4_emit_opts).
 * All zero: no options. */
struct ipv4_opts {
    uint8_t len;      /* a multiple of 4, up to 40 */
    uint8_t route_at; /* where the source route is in data, if hop is set */
    uint32_t hop;     /* host order; 0: no source route */
    uint8_t data[40];
};

/* Take the options that a program gives in the form of ip(7): a source route
 * lists the hops, the first one first. False: they make no sense. */
bool ipv4_opts_take(struct ipv4_opts *o, const uint8_t *p, unsigned len);
/* The same form back; room for 40 bytes. Returns the length. */
unsigned ipv4_opts_show(const struct ipv4_opts *o, uint8_t *to);
/* The way back along the source route of a received packet (RFC 1122 section
 * 3.2.1.8). False: it has none that is complete. */
bool ipv4_opts_return(struct ipv4_opts *o, const uint8_t *l3,
                      const struct ipv4_hdr *h);
/* Those that belong in every fragment (the copied flag). */
void ipv4_opts_copied(struct ipv4_opts *to, const struct ipv4_opts *from);
/* Write header and options at buf (20 + o->len bytes); o may be NULL. */
void ipv4_emit_opts(uint8_t *buf, const struct ipv4_hdr *h,
                    const struct ipv4_opts *o);
