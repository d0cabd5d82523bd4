/* options.h: the socket options the stack knows, one enum from options.def. */
#pragma once

enum stack_opt {
#define OPTION(id, ...) STACK_OPT_##id,
#include "stack/options.def"
#undef OPTION
    STACK_OPT_COUNT
};
