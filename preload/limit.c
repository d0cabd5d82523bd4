/* limit.c: setrlimit(), getrlimit(), prlimit() and their 64-bit names.
 *
 * The arena counts against RLIMIT_AS, and a daemon that allows itself 200 MiB
 * of address space (vsftpd, dovecot) means its own: with so low a limit the
 * next program that it executes could not map the arena. So the limit that the
 * kernel gets is higher by the arena, and what the program reads is lower again
 * by as much. RLIMIT_DATA does not count shared mappings (setrlimit(2)).
 *
 * A limit set before the stack was started is left alone if it has no room for
 * the arena: then there is no stack either, which its start has said.
 */
#include <sys/resource.h>

#include "preload/io.h"
#include "preload/sandbox.h"

/* Besides the arena: the library, the service thread, rings. */
#define SLACK ((rlim_t)16 << 20)

/* What of this process's address space is not the program's. */
static rlim_t own_share(void) {
    size_t arena = self.sh ? self.size : preload_settings()->arena;
    return preload_has_stack() ? (rlim_t)arena + SLACK : 0;
}

static rlim_t raised(rlim_t limit, rlim_t by) {
    return limit < RLIM_INFINITY - by ? limit + by : RLIM_INFINITY;
}

static rlim_t lowered(rlim_t limit, rlim_t by) {
    return limit != RLIM_INFINITY && limit >= by ? limit - by : limit;
}

/* RLIMIT_AS of this process. */
static int address_space(const struct rlimit *lim, struct rlimit *old) {
    rlim_t by = own_share();
    struct rlimit set;
    if (lim && !bad_pointer(lim)) {
        set.rlim_cur = raised(lim->rlim_cur, by);
        set.rlim_max = raised(lim->rlim_max, by);
        lim = &set;
    }
    int r = real.prlimit(0, RLIMIT_AS, lim, old);
    if (r == 0 && old) {
        old->rlim_cur = lowered(old->rlim_cur, by);
        old->rlim_max = lowered(old->rlim_max, by);
    }
    return r;
}

/* prlimit(2): 0 and our own pid mean this process. */
EXPORT int prlimit(pid_t pid, __rlimit_resource_t what,
                   const struct rlimit *lim, struct rlimit *old) {
    bool own = pid == 0 || pid == (pid_t)sys_getpid();
    if (own && what == RLIMIT_AS)
        return address_space(lim, old);
    if (own)
        sandbox_limit((int)what, lim);
    return real.prlimit(pid, what, lim, old);
}

/* setrlimit(2). */
EXPORT int setrlimit(__rlimit_resource_t what, const struct rlimit *lim) {
    if (what == RLIMIT_AS)
        return address_space(lim, NULL);
    sandbox_limit((int)what, lim);
    return real.setrlimit(what, lim);
}

/* getrlimit(2). */
EXPORT int getrlimit(__rlimit_resource_t what, struct rlimit *old) {
    if (what == RLIMIT_AS)
        return address_space(NULL, old);
    return real.getrlimit(what, old);
}

/* The structures are the same where long has 64 bits; the headers say not. */
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "");

EXPORT int setrlimit64(__rlimit_resource_t what, const struct rlimit64 *lim) {
    return setrlimit(what, (const struct rlimit *)lim);
}

EXPORT int getrlimit64(__rlimit_resource_t what, struct rlimit64 *old) {
    return getrlimit(what, (struct rlimit *)old);
}

EXPORT int prlimit64(pid_t pid, __rlimit_resource_t what,
                     const struct rlimit64 *lim, struct rlimit64 *old) {
    return prlimit(pid, what, (const struct rlimit *)lim, (struct rlimit *)old);
}

#define FAMILY_limit 1
#include "preload/alias.h"
