/* obtain.c: a stack for those who have none: join the running one, or make it.
 *
 * Several programs may do this at the same moment, each finding no stack and
 * opening the device. One of them gets the name (join_listen); to the others
 * the address is in use, by the name or by the answers of the first to their
 * ARP probes. They try again, and then there is one to join; unless it has
 * ended meanwhile, which starts it all over.
 */
#include <errno.h>

#include "preload/share/share.h"

#define TRIES 32
#define PROBE_COST 12 /* tries: most likely another host has the address */

int share_obtain(const char *name, bool join, share_open_fn *open, void *ctx,
                 char *err, size_t errlen) {
    struct share_new how = {0};
    int tries = TRIES, r;
    do {
        r = join ? share_join(name, err, errlen) : -ENOENT;
        if (r != -ENOENT)
            return r == 0 ? 1 : r;
        r = open(ctx, &how, err, errlen);
        if (r == -EADDRINUSE)
            tries -= PROBE_COST;
        else if (r == 0)
            r = share_create(&how, err, errlen);
    } while (join && r == -EADDRINUSE && --tries > 0);
    return r;
}
