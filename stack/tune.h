/* tune.h: settings of a whole stack, from tune.def. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum stack_tune {
#define TUNE(id, ...) STACK_TUNE_##id,
#include "stack/tune.def"
#undef TUNE
    STACK_TUNE_COUNT
};

struct stack_tunes {
    int32_t v[STACK_TUNE_COUNT];
};

/* The defaults. */
void stack_tunes_default(struct stack_tunes *t);
/* Change those that text ("name=value,name=value") names. NULL, or the word
 * that makes no sense: unknown name, no number, out of range. */
const char *stack_tunes_set(struct stack_tunes *t, const char *text);
