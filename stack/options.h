/* options.h: the enums of options.def: what the stack itself knows, and what
 * is only kept (struct file). */
#pragma once

enum stack_opt {
#define OPTION(id, ...) STACK_OPT_##id,
#define OPTION_INNER(id, ...) STACK_OPT_##id,
#include "stack/options.def"
    STACK_OPT_COUNT
};

enum kept_opt {
#define OPTION_KEPT(level, name, ...) KEPT_##name,
#include "stack/options.def"
    KEPT_COUNT
};
