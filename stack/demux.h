/* demux.h: which socket owns which port and which 4-tuple, for one transport.
 *
 * Two hash tables in the arena: connected sockets by 4-tuple, all of them by
 * local port. They grow in steps without a stall (see demux.c).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "stack/addr.h"
#include "stack/list.h"

struct stack;
struct sock;

/* Ephemeral ports (net.ipv4.ip_local_port_range of Linux). */
#define PORT_FIRST 32768u
#define PORT_LAST 60999u
#define PORT_COUNT (PORT_LAST - PORT_FIRST + 1)

struct demux_table {
    struct list *bucket;
    uint32_t mask, n;
    /* While growing: the table before, of which the first `moved` buckets are
     * in `bucket` already. */
    struct list *old;
    uint32_t old_mask, moved;
};

#define DEMUX_PERTURB 64
struct demux {
    struct demux_table tuples, ports;
    uint16_t perturb[DEMUX_PERTURB]; /* RFC 6056 section 3.3.4, table[] */
};

int demux_init(struct stack *st, struct demux *d);
/* Bind so->local := at (port 0: choose one, RFC 6056, 32768-60999). Checks
 * the address is ours or any (-EADDRNOTAVAIL unless FREEBIND) and conflicts as
 * Linux does, with SO_REUSEADDR, SO_REUSEPORT and V6ONLY (-EADDRINUSE). */
int demux_bind(struct stack *st, struct demux *d, struct sock *so,
               const struct endpoint *at);
/* May so, bound, become a listener? 0 or -EADDRINUSE: SO_REUSEADDR lets bound
 * sockets share a port, but not listeners. */
int demux_check_listen(struct stack *st, struct demux *d, struct sock *so);
/* Enter so into the tuple table with so->local (address and port set here when
 * still open) and so->remote := to. -EADDRNOTAVAIL when no port is free or the
 * tuple is taken; -ENETUNREACH without a route. */
int demux_connect(struct stack *st, struct demux *d, struct sock *so,
                  const struct endpoint *to);
/* Enter an accepted child: local and remote are already set. */
int demux_insert(struct stack *st, struct demux *d, struct sock *so);
/* Leave the tuple table only, forgetting what was chosen and not bound (UDP
 * disconnect, failed connect), or everything: so->local and so->remote then
 * stay as they are, for last segments, until the next demux_connect. */
void demux_disconnect(struct stack *st, struct demux *d, struct sock *so);
void demux_remove(struct stack *st, struct demux *d, struct sock *so);
/* Exact 4-tuple. NULL if none. */
struct sock *demux_tuple(struct stack *st, struct demux *d,
                         const struct endpoint *local,
                         const struct endpoint *remote);
/* Best bound, unconnected match: exact address before any; among
 * SO_REUSEPORT groups by hash of the tuple; TCP: listening ones only. */
struct sock *demux_bound(struct stack *st, struct demux *d,
                         const struct endpoint *local,
                         const struct endpoint *remote);
/* All bound, unconnected matches, one after another (broadcast, multicast):
 * start with prev NULL. The table must not change in between. */
struct sock *demux_next_bound(struct stack *st, struct demux *d,
                              const struct endpoint *local, struct sock *prev);
