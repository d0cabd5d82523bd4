/* counters.h: the counters as a struct, from counters.def. */
#pragma once
#include <stdint.h>

struct stack_counters {
#define COUNTER(name, sentence) uint64_t name;
#include "stack/counters.def"
#undef COUNTER
};
