/* real.c: finding the C library's own functions.
 *
 * Theory of operation
 *
 * The table starts out full of "boot" functions, one per call, generated from
 * calls.def. Whoever calls first (another library's constructor, an allocator
 * starting up, our own constructor) resolves all names at once and is then
 * forwarded. So the wrappers need no "am I ready" test: passing a call on is
 * one indirect jump, before and after.
 *
 * dlsym allocates only when it fails, so names are looked up that exist in
 * the C library we were built for; an allocator that starts from within would
 * come back through a boot function that is already being resolved, and then
 * gets its one name alone. Threads that race store the same values.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "netio/sys.h"
#include "preload/real.h"

static __thread int resolving __attribute__((tls_model("initial-exec")));

/* Reached only when a name is called that the C library does not have. */
static _Noreturn void missing(const char *name) {
    static const char text[] = "libstack: the C library lacks ";
    sys_write(2, text, sizeof(text) - 1);
    sys_write(2, name, strlen(name));
    sys_write(2, "\n", 1);
    sys_exit_group(127);
}

/* The boot functions. Two passes over the list: the table's slots are set
 * only after dlsym has answered, so a slot still holding its boot function
 * means that the name is missing. */
#define CALL(family, ret, name, params, args) static ret boot_##name params;
#include "preload/calls.def"

struct real_calls real = {
#define CALL(family, ret, name, params, args) .name = boot_##name,
#include "preload/calls.def"
};

/* Look one name up into its slot; a missing one leaves the slot alone. */
static void resolve_one(const char *name, void *slot) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found)
        __atomic_store_n((void **)slot, found, __ATOMIC_RELEASE);
}

/* About a hundred look-ups, some 50 us, once. */
void real_resolve(void) {
    if (resolving)
        return;
    resolving = 1;
#define CALL(family, ret, name, params, args) resolve_one(#name, &real.name);
#include "preload/calls.def"
    resolving = 0;
}

/* Make sure that one slot is filled, also when called from inside
 * real_resolve. */
static void boot(const char *name, void *slot, void *self) {
    real_resolve();
    if (*(void **)slot == self)
        resolve_one(name, slot);
    if (*(void **)slot == self)
        missing(name);
}

#define CALL(family, ret, name, params, args)                                  \
    static ret boot_##name params {                                            \
        boot(#name, &real.name, (void *)boot_##name);                          \
        return real.name args;                                                 \
    }
#include "preload/calls.def"
