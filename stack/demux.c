/* demux.c: ports and 4-tuples.
 *
 * Theory of operation
 *
 * Table `tuples` finds the socket of a connection by SipHash over addresses
 * and ports, keyed, so that nobody outside can aim at one bucket. Table
 * `ports` holds every socket that occupies a local port, connected or not:
 * bind looks there for conflicts and input for listeners and bound sockets.
 * In a bucket of `ports` unconnected sockets come first, newest first;
 * connected ones follow, so that a look-up for a listener stops before the
 * ten thousand connections it accepted.
 *
 * Growing: when a table holds more sockets than buckets, one of twice the size
 * is allocated and takes over two buckets per insertion, so no packet waits for
 * a whole rehash. Bucket i splits into i and i + old size. A bucket that has
 * not been moved yet is still served from the old table. The new buckets are
 * initialised as they are filled. Tables never shrink.
 *
 * Ephemeral ports: for connections the double-hash selection of RFC 6056,
 * section 3.3.4, since ports are shared between destinations and only the
 * tuple must be unique; for bind(0) and UDP, whose ports must be unique and
 * whose choice must not be guessed (RFC 5452), section 3.3.2: random start,
 * then upwards.
 *
 * Conflicts follow Linux (inet_csk_get_port): two sockets on one port clash if
 * their addresses overlap, unless both set SO_REUSEPORT, or both set
 * SO_REUSEADDR and neither listens. "Any" overlaps with every address its
 * socket can carry; a dual-stack "any" carries IPv4 too.
 */
#include "stack/demux.h"

#include <errno.h>
#include <string.h>

#include "stack/repair.h"
#include "stack/shared.h"
#include "stack/sock.h"

#define FIRST_BUCKETS 64u
#define PORT_BUCKETS_MAX 65536u
#define TUPLE_BUCKETS_MAX (1u << 24)

/* ---- hash tables ----------------------------------------------------- */

/* A table of the smallest size; the only one that is initialised at once. */
static int table_init(struct stack *st, struct demux_table *t) {
    memset(t, 0, sizeof(*t));
    t->bucket = mem_alloc_raw(st, FIRST_BUCKETS * sizeof(struct list));
    if (!t->bucket)
        return -ENOMEM;
    t->mask = FIRST_BUCKETS - 1;
    for (uint32_t i = 0; i < FIRST_BUCKETS; i++)
        list_init(&t->bucket[i]);
    return 0;
}

/* The bucket in which things of this hash are now. */
static struct list *table_at(struct demux_table *t, uint32_t hash) {
    if (t->old && (hash & t->old_mask) >= t->moved)
        return &t->old[hash & t->old_mask];
    return &t->bucket[hash & t->mask];
}

typedef uint32_t (*hash_fn)(struct stack *st, const struct list_node *n);

/* Split one bucket of the old table; free the table after the last. */
static void table_step(struct stack *st, struct demux_table *t, hash_fn hash) {
    uint32_t size = t->old_mask + 1, i = t->moved;
    struct list_node *n;
    list_init(&t->bucket[i]);
    list_init(&t->bucket[i + size]);
    t->moved++;
    while ((n = list_pop_front(&t->old[i])) != NULL)
        list_push_back(&t->bucket[hash(st, n) & t->mask], n);
    if (t->moved == size) {
        mem_free(st, t->old, size * sizeof(struct list));
        t->old = NULL;
    }
}

/* Before an insertion: begin to grow, or go on with it. Without memory the
 * chains just get longer. */
static void table_grow(struct stack *st, struct demux_table *t, uint32_t max,
                       hash_fn hash) {
    for (int i = 0; i < 2 && t->old; i++)
        table_step(st, t, hash);
    uint32_t size = t->mask + 1;
    if (t->old || t->n < size || size >= max)
        return;
    struct list *b = mem_alloc_raw(st, (size_t)size * 2 * sizeof(*b));
    if (!b)
        return;
    t->old = t->bucket;
    t->old_mask = t->mask;
    t->moved = 0;
    t->bucket = b;
    t->mask = size * 2 - 1;
}

/* Sockets behind the links of the two tables. */
static struct sock *by_port_link(const struct list_node *n) {
    return container_of(n, struct sock, port_link);
}
static struct sock *by_tuple_link(const struct list_node *n) {
    return container_of(n, struct sock, tuple_link);
}

/* Fibonacci hashing: neighbouring ports go to different buckets of any
 * table size, and the result is used from its low bits. */
static uint32_t port_hash(uint16_t port) {
    uint32_t h = port * 0x9e3779b1u;
    return h ^ h >> 16;
}

/* Keyed hash of the four parts, in 12 bytes for IPv4. */
static uint64_t tuple_hash64(struct stack *st, const struct endpoint *local,
                             const struct endpoint *remote) {
    uint8_t in[36];
    memcpy(in, &local->port, 2);
    memcpy(in + 2, &remote->port, 2);
    if (ip_is_v4(&local->ip) && ip_is_v4(&remote->ip)) {
        memcpy(in + 4, local->ip.b + 12, 4);
        memcpy(in + 8, remote->ip.b + 12, 4);
        return siphash(st->sh->key, in, 12);
    }
    memcpy(in + 4, local->ip.b, 16);
    memcpy(in + 20, remote->ip.b, 16);
    return siphash(st->sh->key, in, 36);
}

/* The low half serves as table index. */
static uint32_t tuple_hash(struct stack *st, const struct endpoint *local,
                           const struct endpoint *remote) {
    return (uint32_t)tuple_hash64(st, local, remote);
}

/* Hashes of sockets that are in a table, for growing. */
static uint32_t hash_port_node(struct stack *st, const struct list_node *n) {
    return port_hash(by_port_link(n)->local.port);
}
static uint32_t hash_tuple_node(struct stack *st, const struct list_node *n) {
    const struct sock *so = by_tuple_link(n);
    return tuple_hash(st, &so->local, &so->remote);
}

/* Enter `ports`: unconnected sockets in front. */
static void ports_add(struct stack *st, struct demux *d, struct sock *so) {
    table_grow(st, &d->ports, PORT_BUCKETS_MAX, hash_port_node);
    struct list *b = table_at(&d->ports, port_hash(so->local.port));
    if (so->connected)
        list_push_back(b, &so->port_link);
    else
        list_push_front(b, &so->port_link);
    d->ports.n++;
    so->bound = true;
}

/* Out of `ports`; harmless when it is not there. */
static void ports_del(struct demux *d, struct sock *so) {
    if (!so->bound)
        return;
    list_remove(&so->port_link);
    d->ports.n--;
    so->bound = false;
}

/* Into `tuples`, under its local and remote name. */
static void tuples_add(struct stack *st, struct demux *d, struct sock *so) {
    table_grow(st, &d->tuples, TUPLE_BUCKETS_MAX, hash_tuple_node);
    list_push_back(table_at(&d->tuples,
                            tuple_hash(st, &so->local, &so->remote)),
                   &so->tuple_link);
    d->tuples.n++;
    so->connected = true;
}

/* Out of `tuples`; harmless when it is not there. */
static void tuples_del(struct demux *d, struct sock *so) {
    if (!so->connected)
        return;
    list_remove(&so->tuple_link);
    d->tuples.n--;
    so->connected = false;
}

/* Empty tables and unpredictable first ports (RFC 6056, section 3.3.4). */
int demux_init(struct stack *st, struct demux *d) {
    memset(d, 0, sizeof(*d));
    for (unsigned i = 0; i < DEMUX_PERTURB; i++)
        d->perturb[i] = (uint16_t)random_u32(st);
    int rc = table_init(st, &d->tuples);
    return rc ? rc : table_init(st, &d->ports);
}

/* ---- conflicts ------------------------------------------------------- */

/* Can so carry IPv4? Native IPv6? */
static bool carries(const struct sock *so, bool v4) {
    return v4 ? so->family == 4 || !so->v6only : so->family == 6;
}

/* Do the addresses a (of so) and b (of other) share one? */
static bool overlap(const struct sock *so, const struct ip_addr *a,
                    const struct sock *other) {
    const struct ip_addr *b = &other->local.ip;
    bool any_a = ip_is_any(a), any_b = ip_is_any(b);
    if (any_a && any_b)
        return (carries(so, true) && carries(other, true)) ||
               (carries(so, false) && carries(other, false));
    if (any_a)
        return carries(so, ip_is_v4(b));
    if (any_b)
        return carries(other, ip_is_v4(a));
    return ip_equal(a, b);
}

/* May the two share a port on overlapping addresses? relax false: a port that
 * we choose is never shared by SO_REUSEADDR. */
static bool may_share(const struct sock *so, const struct sock *other,
                      bool relax) {
    if (so->reuseport && other->reuseport)
        return true;
    return relax && so->reuseaddr && other->reuseaddr && !other->listening;
}

/* Is there a socket that keeps so from having ip:port? */
static bool conflict(struct demux *d, const struct sock *so,
                     const struct ip_addr *ip, uint16_t port, bool relax) {
    list_for_each(n, table_at(&d->ports, port_hash(port))) {
        const struct sock *other = by_port_link(n);
        if (other == so || other->local.port != port || !overlap(so, ip, other))
            continue;
        if (!may_share(so, other, relax))
            return true;
    }
    return false;
}

/* Is the port held by somebody's bind()? Connections that merely chose it do
 * not count: they share ports. */
static bool port_owned(struct demux *d, const struct sock *so, uint16_t port) {
    list_for_each(n, table_at(&d->ports, port_hash(port))) {
        const struct sock *other = by_port_link(n);
        if (other->connected)
            return false;
        if (other != so && other->local.port == port)
            return true;
    }
    return false;
}

/* ---- bind ------------------------------------------------------------ */

/* A free port for bind(0) or UDP: random start, then upwards. 0: none. */
static uint16_t choose_port(struct stack *st, struct demux *d,
                            const struct sock *so, const struct ip_addr *ip) {
    uint32_t start = random_below(st, PORT_COUNT);
    for (uint32_t i = 0; i < PORT_COUNT; i++) {
        uint32_t k = (start + i) % PORT_COUNT;
        uint16_t port = (uint16_t)(PORT_FIRST + k);
        if (!conflict(d, so, ip, port, false))
            return port;
    }
    COUNT(st, port_exhausted);
    return 0;
}

/* Is ip one that so may be bound to? Multicast and broadcast are, for
 * receiving (Linux: inet_addr_valid_or_nonlocal). */
static bool bindable(struct stack *st, const struct sock *so,
                     const struct ip_addr *ip) {
    if (ip_is_any(ip) || so->freebind || stack_is_local(st, ip))
        return true;
    return so->kind != SOCK_TCP &&
           (ip_is_multicast(ip) || route_is_broadcast(st, ip));
}

/* A socket may be bound again after its port was given back; the caller refuses
 * what bind(2) forbids. */
int demux_bind(struct stack *st, struct demux *d, struct sock *so,
               const struct endpoint *at) {
    uint16_t port = at->port;
    if (!bindable(st, so, &at->ip))
        return -EADDRNOTAVAIL;
    if (port == 0 && so->bind_no_port && so->kind == SOCK_TCP) {
        so->local.ip = at->ip; /* the port follows at connect, ip(7) */
        return 0;
    }
    if (port == 0)
        port = choose_port(st, d, so, &at->ip);
    else if (conflict(d, so, &at->ip, port, true))
        return -EADDRINUSE;
    if (port == 0)
        return -EADDRINUSE;
    ports_del(d, so);
    so->local.ip = at->ip;
    so->local.port = port;
    so->local.scope = at->scope;
    so->port_chosen = at->port == 0;
    so->addr_chosen = false;
    ports_add(st, d, so);
    return 0;
}

/* The rules of bind once more, since others may listen by now (Linux:
 * inet_csk_listen_start). */
int demux_check_listen(struct stack *st, struct demux *d, struct sock *so) {
    return conflict(d, so, &so->local.ip, so->local.port, true) ? -EADDRINUSE
                                                                : 0;
}

/* ---- connect --------------------------------------------------------- */

/* RFC 6056, section 3.3.4: offset F(addresses, remote port, key), increments
 * kept per G(...): successive ports to one destination differ, and none tells
 * about another. A step of our own: the increment is random, as section 3.3.5
 * allows. 0: none is free. */
static uint16_t choose_tuple_port(struct stack *st, struct demux *d,
                                  const struct sock *so,
                                  const struct endpoint *to) {
    struct endpoint local = {.ip = so->local.ip};
    uint64_t h = tuple_hash64(st, &local, to);
    uint32_t offset = (uint32_t)h;
    uint16_t *table = &d->perturb[(h >> 32) % DEMUX_PERTURB];
    uint32_t step = *table;
    for (uint32_t i = 0; i < PORT_COUNT; i++, step++) {
        uint32_t k = ((offset % PORT_COUNT) + step) % PORT_COUNT;
        local.port = (uint16_t)(PORT_FIRST + k);
        if (port_owned(d, so, local.port) || demux_tuple(st, d, &local, to))
            continue;
        *table = (uint16_t)(step + 1 + random_below(st, 3));
        return local.port;
    }
    COUNT(st, port_exhausted);
    return 0;
}

/* Give a connecting socket its port. TCP shares ports between destinations,
 * other transports have one of their own. */
static int connect_port(struct stack *st, struct demux *d, struct sock *so,
                        const struct endpoint *to) {
    uint16_t port = so->kind == SOCK_TCP
                        ? choose_tuple_port(st, d, so, to)
                        : choose_port(st, d, so, &so->local.ip);
    if (port == 0)
        return so->kind == SOCK_TCP ? -EADDRNOTAVAIL : -EAGAIN;
    so->local.port = port;
    so->port_chosen = true;
    return 0;
}

/* Undo the choice of an address by demux_connect. */
static void forget_address(struct sock *so) {
    if (so->addr_chosen)
        so->local.ip = IP_ANY;
    so->addr_chosen = false;
}

/* Address, then port, then the tuple: nothing is entered before all three are
 * settled, and a failure leaves so as it was. */
int demux_connect(struct stack *st, struct demux *d, struct sock *so,
                  const struct endpoint *to) {
    if (so->connected)
        demux_disconnect(st, d, so);
    /* Left by an attempt that ended in demux_remove. */
    forget_address(so);
    if (!so->bound && so->port_chosen)
        so->local.port = 0;
    if (ip_is_any(&so->local.ip)) {
        int rc = stack_route_source(st, &to->ip, &so->local.ip);
        if (rc)
            return rc;
        so->addr_chosen = true;
    }
    bool had_port = so->local.port != 0;
    int rc = had_port ? 0 : connect_port(st, d, so, to);
    if (rc == 0 && had_port && so->kind == SOCK_TCP &&
        demux_tuple(st, d, &so->local, to))
        rc = -EADDRNOTAVAIL;
    if (rc) {
        forget_address(so);
        return rc;
    }
    ports_del(d, so);
    so->remote = *to;
    tuples_add(st, d, so);
    ports_add(st, d, so);
    return 0;
}

/* Children share their listener's port, so only the tuple can clash. */
int demux_insert(struct stack *st, struct demux *d, struct sock *so) {
    if (demux_tuple(st, d, &so->local, &so->remote))
        return -EADDRINUSE;
    tuples_add(st, d, so);
    ports_add(st, d, so);
    return 0;
}

/* Back to what bind made of it: a port of its own choice stays bound, one that
 * we chose goes (Linux: __udp_disconnect). */
void demux_disconnect(struct stack *st, struct demux *d, struct sock *so) {
    if (!so->connected)
        return;
    bool bound = so->bound;
    ports_del(d, so);
    tuples_del(d, so);
    memset(&so->remote, 0, sizeof(so->remote));
    forget_address(so);
    if (so->port_chosen)
        so->local.port = 0;
    else if (bound)
        ports_add(st, d, so);
}

/* Out of both tables. */
void demux_remove(struct stack *st, struct demux *d, struct sock *so) {
    ports_del(d, so);
    tuples_del(d, so);
}

/* ---- look-up --------------------------------------------------------- */

/* Ports first: they differ most often. */
struct sock *demux_tuple(struct stack *st, struct demux *d,
                         const struct endpoint *local,
                         const struct endpoint *remote) {
    list_for_each(n, table_at(&d->tuples, tuple_hash(st, local, remote))) {
        struct sock *so = by_tuple_link(n);
        if (so->local.port == local->port && so->remote.port == remote->port &&
            ip_equal(&so->remote.ip, &remote->ip) &&
            ip_equal(&so->local.ip, &local->ip))
            return so;
    }
    return NULL;
}

/* How well does a bound socket fit a packet to `local`? 0: not at all. */
static int score(const struct sock *so, const struct endpoint *local) {
    if (so->local.port != local->port)
        return 0;
    if (so->kind == SOCK_TCP && !so->listening)
        return 0;
    bool v4 = ip_is_v4(&local->ip);
    if (!carries(so, v4))
        return 0;
    int own = so->family == (v4 ? 4 : 6);
    if (ip_is_any(&so->local.ip))
        return 1 + own;
    return ip_equal(&so->local.ip, &local->ip) ? 3 + own : 0;
}

/* The socket of a SO_REUSEPORT group (all with this score) that a tuple hashes
 * to: always the same one while the group does not change. */
static struct sock *pick(struct list *bucket, const struct endpoint *local,
                         int best, uint64_t hash) {
    unsigned group = 0;
    list_for_each(n, bucket) {
        struct sock *so = by_port_link(n);
        if (so->connected)
            break;
        group += so->reuseport && score(so, local) == best;
    }
    unsigned which = (unsigned)((hash >> 32) * group >> 32);
    list_for_each(n, bucket) {
        struct sock *so = by_port_link(n);
        if (so->reuseport && score(so, local) == best && which-- == 0)
            return so;
    }
    return NULL;
}

/* One pass finds the best score; a group of equals needs a second one. */
struct sock *demux_bound(struct stack *st, struct demux *d,
                         const struct endpoint *local,
                         const struct endpoint *remote) {
    struct list *bucket = table_at(&d->ports, port_hash(local->port));
    struct sock *found = NULL;
    int best = 0;
    list_for_each(n, bucket) {
        struct sock *so = by_port_link(n);
        if (so->connected)
            break; /* only connected ones follow */
        int s = score(so, local);
        if (s > best) {
            best = s;
            found = so;
        }
    }
    if (found && found->reuseport)
        found = pick(bucket, local, best, tuple_hash64(st, local, remote));
    return found;
}

/* The unconnected part of the bucket, from prev on. */
struct sock *demux_next_bound(struct stack *st, struct demux *d,
                              const struct endpoint *local, struct sock *prev) {
    struct list *bucket = table_at(&d->ports, port_hash(local->port));
    struct list_node *n = prev ? prev->port_link.next : bucket->head.next;
    for (; n != &bucket->head; n = n->next) {
        struct sock *so = by_port_link(n);
        if (so->connected)
            break;
        if (score(so, local))
            return so;
    }
    return NULL;
}

/* ---- after a death inside the lock ------------------------------------- */

/* An empty table of the size it had; one that was growing has grown. */
static void table_empty(struct demux_table *t) {
    t->old = NULL; /* its memory is lost */
    t->n = 0;
    for (uint32_t i = 0; i <= t->mask; i++)
        list_init(&t->bucket[i]);
}

/* Oldest sockets first, so that the newest comes first in its bucket. */
void demux_rebuild(struct stack *st) {
    struct shared *sh = st->sh;
    struct demux *both[] = {&sh->tcp, &sh->udp};
    for (unsigned i = 0; i < 2; i++) {
        table_empty(&both[i]->tuples);
        table_empty(&both[i]->ports);
    }
    list_for_each(n, &sh->socks) {
        struct sock *so = container_of(n, struct sock, all_link);
        if (so->kind != SOCK_TCP && so->kind != SOCK_TCP_TW &&
            so->kind != SOCK_UDP)
            continue;
        struct demux *d = so->kind == SOCK_UDP ? &sh->udp : &sh->tcp;
        so->port_link = so->tuple_link = (struct list_node){NULL, NULL};
        if (so->bound)
            ports_add(st, d, so);
        if (so->connected)
            tuples_add(st, d, so);
    }
}
