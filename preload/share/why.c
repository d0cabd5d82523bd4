/* why.c: why the kernel serves a descriptor.
 *
 * A ring in the arena remembers the last sockets that went to the kernel, by
 * inode: that is the same for all copies of the descriptor in all processes,
 * and /proc shows it. Nobody reads it but stackctl ss; so an entry is written
 * without the lock, and a lost one means an "unknown" there.
 */
#include "preload/share/why.h"

#include <sys/stat.h>

#include "netio/sys.h"
#include "preload/share/share.h"

void why_note(int fd, enum why why, int rule) {
    struct stat st;
    if (!self.sh || sys_fstat(fd, &st) < 0)
        return;
    uint32_t i = __atomic_fetch_add(&self.sh->n_whys, 1, __ATOMIC_RELAXED);
    struct share_why *w = &self.sh->whys[i % SHARE_WHYS];
    w->rule = (int8_t)rule;
    w->why = (uint8_t)why;
    __atomic_store_n(&w->ino, st.st_ino, __ATOMIC_RELEASE);
}

/* The newest first: inode numbers are used again. */
enum why why_of(uint64_t ino, int *rule) {
    uint32_t n = self.sh->n_whys, max = n < SHARE_WHYS ? n : SHARE_WHYS;
    for (uint32_t k = 1; k <= max; k++) {
        const struct share_why *w = &self.sh->whys[(n - k) % SHARE_WHYS];
        if (w->ino != ino)
            continue;
        *rule = w->rule;
        return (enum why)w->why;
    }
    return WHY_UNKNOWN;
}

const char *why_text(enum why why) {
    static const char *const text[WHY_COUNT] = {
        [WHY_UNKNOWN] = "no record",
        [WHY_LOOPBACK] = "loopback address",
        [WHY_RULE] = "rule",
        [WHY_RAW] = "raw or ping socket",
        [WHY_PROTOCOL] = "neither TCP nor UDP",
        [WHY_ACCEPTED] = "accepted on the kernel's loopback",
    };
    return text[why];
}
