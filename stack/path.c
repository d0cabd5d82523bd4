/* path.c: path MTU cache (RFC 1191).
 *
 * One entry for each destination from which a router refused a packet for its
 * size. The cache is a 4-way hash in the arena: fixed memory, an attacker can
 * only displace entries, and what is displaced is learned again. Entries end
 * after 10 minutes (RFC 1191 section 6.3 gives 10 minutes as the time before a
 * larger size may be tried), found out when they are used: no timer.
 *
 * A report below 552 bytes is not believed in full (RFC 5927 section 7.2 tells
 * what forged ones do): as Linux does, the entry stays at 552 and packets go
 * out with DF clear, to be fragmented on the way.
 */
#include "stack/ip.h"

#include "stack/random.h"
#include "stack/shared.h"
#include "stack/wire/ipv4.h"

#define PATH_WAYS 4
#define PATH_MIN_MTU 552u
#define PATH_LIFETIME (600ull * 1000000000)

/* The PATH_WAYS places where dst may be, chosen by keyed hash. */
static struct ip_path *path_set(struct stack *st, const struct ip_addr *dst) {
    uint64_t h = siphash(st->sh->key, dst, sizeof(*dst));
    return &st->sh->ip.path[h % (IP_PATHS / PATH_WAYS) * PATH_WAYS];
}

/* The live entry of dst, or NULL. */
static struct ip_path *path_find(struct stack *st, const struct ip_addr *dst) {
    if (!st->sh->ip.n_paths)
        return NULL;
    struct ip_path *set = path_set(st, dst);
    for (int i = 0; i < PATH_WAYS; i++) {
        struct ip_path *e = &set[i];
        if (!e->mtu || !ip_equal(&e->dst, dst))
            continue;
        if (e->expires > st->now)
            return e;
        e->mtu = 0;
        st->sh->ip.n_paths--;
    }
    return NULL;
}

/* A free place of dst's set, or the one that would end first. */
static struct ip_path *path_place(struct stack *st, const struct ip_addr *dst) {
    struct ip_path *set = path_set(st, dst), *best = set;
    for (int i = 0; i < PATH_WAYS; i++) {
        if (!set[i].mtu)
            return &set[i];
        if (set[i].expires < best->expires)
            best = &set[i];
    }
    return best;
}

/* Our own addresses are behind no link: a packet to them may be as long as IP
 * can say. */
uint32_t ip_path_mtu(struct stack *st, const struct ip_addr *dst) {
    if (stack_is_local(st, dst))
        return IPV4_MAX;
    const struct ip_path *e = path_find(st, dst);
    return e ? e->mtu : st->sh->mtu;
}

/* False for destinations without an entry. */
bool ip_path_locked(struct stack *st, const struct ip_addr *dst) {
    const struct ip_path *e = path_find(st, dst);
    return e && e->locked;
}

/* Only ever downwards: what grows again is found out when the entry ends. A
 * second report about a locked path cannot lower it further. */
void ip_path_mtu_learn(struct stack *st, const struct ip_addr *dst,
                       uint32_t mtu) {
    uint32_t old = ip_path_mtu(st, dst);
    bool locked = mtu < PATH_MIN_MTU;
    if (mtu >= old) {
        COUNT(st, path_mtu_ignored);
        return;
    }
    if (locked)
        mtu = old < PATH_MIN_MTU ? old : PATH_MIN_MTU;
    struct ip_path *e = path_find(st, dst);
    if (!e) {
        e = path_place(st, dst);
        if (!e->mtu)
            st->sh->ip.n_paths++;
    }
    *e = (struct ip_path){.dst = *dst,
                          .mtu = mtu,
                          .locked = locked,
                          .expires = st->now + PATH_LIFETIME};
    COUNT(st, path_mtu_learned);
}
