/* hand.h: handing stack sockets to code that cannot be entered, and taking
 * them back (hand.c, rights.c). */
#pragma once
#include "preload/preload.h"

/* Every descriptor of this process that refers to a stack socket becomes a
 * kernel descriptor, relayed (share/relay.h); with `inherited`, only those
 * without close-on-exec. Sockets that cannot be relayed stay as they are, and
 * are counted. How many there were of them. Outside the section. */
unsigned hand_over(bool inherited);
/* The same in a vfork child about to exec; no lock is taken. */
void hand_over_vforked(void);
