/* alias.h: further names of the wrappers in one file, from calls.def.
 *
 * A wrapper file that ends with
 *     #define FAMILY_recv 1
 *     #include "preload/alias.h"
 * exports every ALIAS(recv, ...) of calls.def; an alias has to live in the
 * translation unit of its target.
 */

/* ALIAS_PICK(1, x) is x; ALIAS_PICK(FAMILY_other, x) is nothing: only the 1
 * pastes to a macro whose comma moves x into second place. */
#define ALIAS_SHIFT_1 ~,
#define ALIAS_SECOND(a, b, ...) b
#define ALIAS_PICK2(shift, x) ALIAS_SECOND(shift x, , )
#define ALIAS_PICK1(on, x) ALIAS_PICK2(ALIAS_SHIFT_##on, x)
#define ALIAS_PICK(on, x) ALIAS_PICK1(on, x)

#define ALIAS_EXPORT(alias_, name)                                             \
    extern __typeof__(name) alias_                                             \
        __attribute__((alias(#name), copy(name), visibility("default")));
#define ALIAS(family, alias_, name)                                            \
    ALIAS_PICK(FAMILY_##family, ALIAS_EXPORT(alias_, name))
#include "preload/calls.def"
