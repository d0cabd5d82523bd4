/* guard.h: noticing who no longer runs (guard.c). */
#pragma once
#include "preload/share/share.h"

/* Body of the guard's thread in the keeper: until *stop and the next ring. */
void guard_run(volatile int *stop);
/* Must the guard know what this section did? Lock held; then guard_ring. */
bool guard_wanted(void);
void guard_ring(void);
