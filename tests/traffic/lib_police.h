/* lib_police.h: a netio wrapper that checks that what a stack sends is lawful.
 *
 * It reads each frame with code of its own (nothing of stack/ is used), keeps
 * what it must know of each TCP connection, and fails the test at the first
 * frame that breaks a rule: lengths, checksums, options where they do not
 * belong, data beyond the peer's window or its own FIN, acknowledgement of what
 * never came, windows that shrink.
 */
#pragma once
#include <stdio.h>

#include "netio/netio.h"

struct pair;
struct police;

/* Where to write a line about each TCP segment; NULL: nowhere. */
extern FILE *police_log;

struct police_count {
    uint64_t frames, tcp, udp, icmp, arp, fragments;
    uint64_t pure_acks, resent, superframes, rst, syn, fin;
};

/* Wraps inner; *out is valid until the wrapper is closed. */
struct netio *police_open(struct netio *inner, struct police **out,
                          struct pair *p, int side);
/* Frames of both directions vanish here. */
enum { MUTE_RX = 1, MUTE_TX = 2 }; /* what does not pass; 0: everything does */
void police_mute(struct police *po, unsigned ways);
/* A raw socket sends what it likes (IP_HDRINCL): IP is not judged from now on. */
void police_raw(struct police *po);
const struct police_count *police_count(const struct police *po);
