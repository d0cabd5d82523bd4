/* spin.h: waiting for another program of the same stack without sleeping
 * (spin.c). */
#pragma once
#include "preload/share/share.h"

/* How long, ns; 0: never (settings: loopspin). */
extern nstime_t spin_inside;

/* Is an event from inside the stack likely to come soon? Lock held. */
bool spin_worthwhile(void);
/* Outside the lock: return when *word is set, a handler is due, or the time is
 * over. */
void spin_for(const uint32_t *word);
/* Did the event come? */
void spin_judge(bool good);
