/* arp.c: which MAC has a neighbour (RFC 826, RFC 1122 section 2.3.2).
 *
 * Theory of operation
 *
 * One entry (struct neighbour) for each address that we talk to or that asked
 * for ours. An entry is in one of these states:
 *
 *   ASKING    no MAC yet: packets wait here, bounded; a request is broadcast
 *             at once and again each second, three in all. Then the waiting
 *             packets come back to their sockets as "host unreachable" and the
 *             entry is gone (it takes 3 s, as on Linux).
 *   KNOWN     packets go out. Once the last proof of life (an ARP packet to
 *             us, or arp_confirm by a transport that made progress) is older
 *             than 30 s the entry is stale: the packet still goes out, and ...
 *   PROBING   ... a request is sent to that MAC alone (RFC 1122 section
 *             2.3.2.1, method 2), each second, three in all. An answer leads
 *             back to KNOWN, silence to ASKING.
 *
 * Age is looked at only when an entry is used, so a timer (TIMER_ARP) is armed
 * only while a question is open: an idle stack has none. Entries are bounded
 * and the least recently used one makes place for a new one.
 *
 * Learning: a packet that is meant for us (a request for our address, an
 * answer) makes or confirms an entry; any other merely corrects the MAC of an
 * entry that exists (RFC 826, "merge flag"), so nobody can fill the table.
 *
 * Another host that uses our address (RFC 5227 section 2.4) is counted and
 * answered with an announcement, at most every 10 s; the address is kept
 * (option (c) of that section: connections depend on it).
 */
#include "stack/arp.h"

#include <errno.h>
#include <string.h>

#include "stack/icmp.h"
#include "stack/ip.h"
#include "stack/random.h"
#include "stack/route.h"
#include "stack/repair.h"
#include "stack/shared.h"
#include "stack/stats.h"
#include "stack/wire/arp.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmpv4.h"

#define SECOND 1000000000ull
#define ARP_MAX 1024 /* entries */
#define ARP_REACHABLE (30 * SECOND)
#define ARP_RETRY SECOND /* RFC 1122 section 2.3.2.1: 1 a second */
#define ARP_TRIES 3
#define ARP_DEFEND (10 * SECOND) /* RFC 5227: DEFEND_INTERVAL */
#define HELD_BYTES 212992u       /* waiting for one neighbour (Linux) */
#define HELD_TOTAL (1u << 20)    /* bytes waiting for all */

enum neighbour_state { ASKING, KNOWN, PROBING };

struct neighbour {
    struct list_node age_link, hash_link;
    struct timer timer; /* armed in ASKING and PROBING */
    struct ip_addr ip;
    uint8_t mac[6];
    uint8_t state; /* enum neighbour_state */
    uint8_t tries; /* requests sent in this state */
    bool doubted;  /* MAC changed by hearsay: ask at the next use */
    nstime_t confirmed;
    struct list held;   /* struct held */
    uint32_t held_cost; /* of all of them, held_cost() */
};

/* A packet that waits: IP header and all. */
struct held {
    struct list_node link;
    struct netio_meta meta;
    uint32_t size; /* of this allocation */
    uint32_t hdr;  /* bytes that were headers */
    uint32_t len;
    uint8_t data[];
};

/* Empty lists for a fresh arena; called once by stack_create. */
void arp_init(struct stack *st) {
    struct arp_table *t = &st->sh->arp;
    list_init(&t->entries);
    for (unsigned i = 0; i < ARP_BUCKETS; i++)
        list_init(&t->bucket[i]);
}

/* ---- packets that wait ---------------------------------------------- */

/* Later, since the frame may be in the batch; it points at data[] only. */
static void held_free(struct stack *st, struct held *h) {
    st->sh->arp.held_bytes -= h->size;
    mem_free_later(st, h, h->size);
}
_Static_assert(offsetof(struct held, data) >= sizeof(struct mem_later),
               "mem_free_later leaves data[] alone");

/* What Linux would charge its unres_qlen_bytes for a packet of len bytes (its
 * truesize): bookkeeping, and data with headroom and trailer rounded up to a
 * power of two; of large ones pages. So as many may wait as there: about 90 of
 * 1000 bytes, 270 small ones. */
static uint32_t held_cost(uint32_t len) {
    uint32_t room = 512;
    while (room < len + 384 && room < 4096)
        room *= 2;
    return 256 + (room < len + 384 ? len + 384 : room);
}

/* The packet that has waited longest, out of the line; NULL if none waits.
 * The caller frees or sends it. */
static struct held *held_pop(struct neighbour *n) {
    struct list_node *l = list_pop_front(&n->held);
    if (!l)
        return NULL;
    struct held *h = container_of(l, struct held, link);
    n->held_cost -= held_cost(h->len);
    return h;
}

/* Copy p and let it wait; the oldest makes place (RFC 1122 section 2.3.2.2
 * asks to save at least the latest). */
static void hold(struct stack *st, struct neighbour *n, const struct pkt *p) {
    struct arp_table *t = &st->sh->arp;
    uint32_t hdr = pkt_hdr_len(p), len = pkt_len(p);
    uint32_t size = (uint32_t)sizeof(struct held) + len;
    uint32_t cost = held_cost(len);
    while (!list_empty(&n->held) && (n->held_cost + cost > HELD_BYTES ||
                                     t->held_bytes + size > HELD_TOTAL)) {
        COUNT(st, drop_arp_held);
        held_free(st, held_pop(n));
    }
    struct held *h = NULL;
    if (t->held_bytes + size <= HELD_TOTAL)
        h = mem_alloc_raw(st, size);
    if (!h) {
        COUNT(st, drop_arp_held);
        return;
    }
    *h = (struct held){.meta = p->meta, .size = size, .hdr = hdr, .len = len};
    memcpy(h->data, p->room + p->head, hdr);
    for (unsigned i = 1, at = hdr; i <= p->niov; i++) {
        memcpy(h->data + at, p->iov[i].iov_base, p->iov[i].iov_len);
        at += (unsigned)p->iov[i].iov_len;
    }
    t->held_bytes += size;
    list_push_back(&n->held, &h->link);
    n->held_cost += cost;
}

/* Send what waited, now that the MAC is known. */
static void release_held(struct stack *st, struct neighbour *n) {
    struct held *h;
    while ((h = held_pop(n))) {
        struct pkt *p = pkt_new(st);
        memcpy(pkt_push(p, h->hdr), h->data, h->hdr);
        pkt_add_payload(p, h->data + h->hdr, h->len - h->hdr);
        p->meta = h->meta;
        ether_output(st, p, n->mac, ETH_TYPE_IPV4);
        held_free(st, h);
    }
}

/* ---- the table ------------------------------------------------------ */

/* Keyed hash, so that nobody on the link can choose addresses that all fall
 * into one bucket. */
static struct list *bucket_of(struct stack *st, const struct ip_addr *ip) {
    return &st->sh->arp
                .bucket[siphash(st->sh->key, ip, sizeof(*ip)) % ARP_BUCKETS];
}

/* NULL if there is none. */
static struct neighbour *find(struct stack *st, const struct ip_addr *ip) {
    struct arp_table *t = &st->sh->arp;
    if (t->last && ip_equal(&t->last->ip, ip))
        return t->last;
    list_for_each(l, bucket_of(st, ip)) {
        struct neighbour *n = container_of(l, struct neighbour, hash_link);
        if (ip_equal(&n->ip, ip))
            return t->last = n;
    }
    return NULL;
}

/* Out of the table. What waited must have been dealt with. */
static void neighbour_free(struct stack *st, struct neighbour *n) {
    struct arp_table *t = &st->sh->arp;
    struct held *h;
    while ((h = held_pop(n))) {
        COUNT(st, drop_arp_held);
        held_free(st, h);
    }
    timer_stop(st, &n->timer);
    list_remove(&n->age_link);
    list_remove(&n->hash_link);
    if (t->last == n)
        t->last = NULL;
    t->n--;
    mem_free(st, n, sizeof(*n));
}

/* A new entry in state ASKING that has asked nothing yet. NULL: no memory. */
static struct neighbour *neighbour_new(struct stack *st,
                                       const struct ip_addr *ip) {
    struct arp_table *t = &st->sh->arp;
    if (t->n >= ARP_MAX) {
        COUNT(st, arp_evicted);
        neighbour_free(st, container_of(list_first(&t->entries),
                                        struct neighbour, age_link));
    }
    struct neighbour *n = mem_alloc(st, sizeof(*n));
    if (!n)
        return NULL;
    n->ip = *ip;
    n->state = ASKING;
    list_init(&n->held);
    list_push_back(&t->entries, &n->age_link);
    list_push_back(bucket_of(st, ip), &n->hash_link);
    t->n++;
    return n;
}

/* Used now: to the end of the line. */
static void touch(struct stack *st, struct neighbour *n) {
    struct list *l = &st->sh->arp.entries;
    if (l->head.prev == &n->age_link)
        return;
    list_remove(&n->age_link);
    list_push_back(l, &n->age_link);
}

/* Is the last proof of life too old to go on without asking? RFC 1122 section
 * 2.3.2.1 wants entries timed out on the order of a minute. */
static bool is_stale(struct stack *st, const struct neighbour *n) {
    return n->doubted || st->now - n->confirmed >= ARP_REACHABLE;
}

/* ---- packets of our own --------------------------------------------- */

/* Put one ARP packet into the batch. to: the Ethernet destination; target_mac:
 * zero in a request (RFC 826 leaves it open, RFC 5227 section 1.1 does not). */
static void send_arp(struct stack *st, uint16_t op, const uint8_t to[6],
                     const uint8_t target_mac[6], uint32_t target_ip) {
    struct arp_pkt a = {.op = op,
                        .sender_ip = ip_to_v4(&st->sh->routes.addr),
                        .target_ip = target_ip};
    memcpy(a.sender_mac, st->sh->mac, 6);
    memcpy(a.target_mac, target_mac, 6);
    struct pkt *p = pkt_new(st);
    arp_emit(pkt_push(p, ARP_PKT_LEN), &a);
    ether_output(st, p, to, ETH_TYPE_ARP);
}

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t nobody[6];

/* Ask for n: everybody, or in PROBING the MAC that we know. */
static void ask(struct stack *st, struct neighbour *n) {
    const uint8_t *to = n->state == PROBING ? n->mac : everybody;
    n->tries++;
    COUNT(st, arp_requests_out);
    timer_arm(st, &n->timer, TIMER_ARP, st->now + ARP_RETRY);
    send_arp(st, ARP_REQUEST, to, nobody, ip_to_v4(&n->ip));
}

/* An ARP announcement (RFC 5227 section 1.1): a request in which sender and
 * target are both us. Peers that had another MAC for our address correct it. */
void arp_announce(struct stack *st) {
    send_arp(st, ARP_REQUEST, everybody, nobody,
             ip_to_v4(&st->sh->routes.addr));
}

/* ---- out ------------------------------------------------------------ */

/* Called for every unicast packet, so the common case comes first: a MAC is
 * known and the packet leaves. An entry in PROBING has asked already and is not
 * asked for again here; one in ASKING only makes the line longer. */
void arp_output(struct stack *st, struct pkt *p,
                const struct ip_addr *next_hop) {
    struct neighbour *n = find(st, next_hop);
    if (n && n->state != ASKING) {
        touch(st, n);
        ether_output(st, p, n->mac, ETH_TYPE_IPV4);
        if (n->state == KNOWN && is_stale(st, n)) {
            n->state = PROBING;
            n->tries = 0;
            ask(st, n);
        }
        return;
    }
    bool created = !n;
    if (created && !(n = neighbour_new(st, next_hop))) {
        COUNT(st, drop_arp_held);
        return;
    }
    hold(st, n, p); /* before ask, which takes p's place in the batch */
    if (created)
        ask(st, n);
}

/* Nobody answers: what waited goes back to its sockets. They may send again at
 * once, which makes a new entry, so this one is removed first. */
static void give_up(struct stack *st, struct neighbour *n) {
    struct icmp_error e = {.err = EHOSTUNREACH,
                           .hard = true,
                           .local = true,
                           .type = ICMP_UNREACHABLE,
                           .code = ICMP_UNREACH_HOST,
                           .offender = st->sh->routes.addr};
    struct list_node *l;
    struct list held;
    route_gateway_dead(st, &n->ip);
    list_init(&held);
    while ((l = list_pop_front(&n->held)))
        list_push_back(&held, l);
    n->held_cost = 0;
    neighbour_free(st, n);
    COUNT(st, arp_failed);
    while ((l = list_pop_front(&held))) {
        struct held *h = container_of(l, struct held, link);
        icmp_local_error(st, h->data, h->len, &e);
        COUNT(st, drop_arp_unreachable);
        held_free(st, h);
    }
}

/* A second passed without an answer. Each phase asks ARP_TRIES times; probing
 * a known MAC falls back to asking everybody, since the host may have got a new
 * card, and that ends with give_up. */
void arp_timer(struct stack *st, struct timer *t) {
    struct neighbour *n = container_of(t, struct neighbour, timer);
    if (n->tries < ARP_TRIES) {
        ask(st, n);
    } else if (n->state == PROBING) {
        n->state = ASKING;
        n->tries = 0;
        ask(st, n);
    } else {
        give_up(st, n);
    }
}

/* ---- in ------------------------------------------------------------- */

/* Alive: no question is open any more. */
static void confirm(struct stack *st, struct neighbour *n) {
    n->confirmed = st->now;
    n->doubted = false;
    n->state = KNOWN;
    timer_stop(st, &n->timer);
}

/* Forward progress of a connection proves the path to its next hop in both
 * directions (RFC 1122 section 2.3.2.1, method 3). Nothing happens for a hop
 * that is not in the table or has no MAC yet. */
void arp_confirm(struct stack *st, const struct ip_addr *peer) {
    struct ip_addr hop;
    if (stack_is_local(st, peer) || route_lookup(st, peer, &hop) < 0)
        return;
    struct neighbour *n = find(st, &hop);
    if (n && n->state != ASKING)
        confirm(st, n);
}

/* RFC 5227 section 2.4: somebody else sends from our address. */
static void clash(struct stack *st) {
    struct arp_table *t = &st->sh->arp;
    COUNT(st, arp_clash);
    if (t->last_defence && st->now - t->last_defence < ARP_DEFEND)
        return;
    t->last_defence = st->now;
    COUNT(st, arp_defended);
    arp_announce(st);
}

/* What a packet says about its sender. to_us: it was meant for us, which is
 * proof of life in both directions. */
static void learn(struct stack *st, const struct arp_pkt *a, bool to_us) {
    struct ip_addr ip = ip_from_v4(a->sender_ip), hop;
    if (route_lookup(st, &ip, &hop) < 0 || !ip_equal(&ip, &hop)) {
        COUNT(st, arp_off_link);
        return;
    }
    struct neighbour *n = find(st, &ip);
    if (!n && !(to_us && a->op == ARP_REQUEST && (n = neighbour_new(st, &ip))))
        return;
    bool changed = memcmp(n->mac, a->sender_mac, 6) != 0;
    memcpy(n->mac, a->sender_mac, 6);
    if (to_us || n->state == ASKING)
        confirm(st, n);
    else if (changed)
        n->doubted = true;
    release_held(st, n);
}

/* Count and refuse what no honest host sends. */
static bool check(struct stack *st, const struct rxpkt *rx, struct arp_pkt *a) {
    if (!arp_parse(rx->l3, rx->l3_len, a) ||
        (a->op != ARP_REQUEST && a->op != ARP_REPLY)) {
        COUNT(st, drop_arp_malformed);
        return false;
    }
    struct ip_addr ip = ip_from_v4(a->sender_ip);
    if (eth_is_group(a->sender_mac) || memcmp(a->sender_mac, nobody, 6) == 0 ||
        memcmp(a->sender_mac, st->sh->mac, 6) == 0 || ip_is_multicast(&ip) ||
        ip_is_loopback(&ip) || route_is_broadcast(st, &ip)) {
        COUNT(st, drop_arp_sender);
        return false;
    }
    return true;
}

/* RFC 826, "Packet Reception": first merge what it says about the sender,
 * then answer if it asks for us. The order matters: what waited for the sender
 * leaves before the answer. */
void arp_input(struct stack *st, const struct rxpkt *rx) {
    struct arp_pkt a;
    uint32_t ours = ip_to_v4(&st->sh->routes.addr);
    if (!check(st, rx, &a))
        return;
    COUNT(st, arp_in);
    if (a.sender_ip == ours) {
        clash(st);
        return;
    }
    bool to_us = a.target_ip == ours;
    if (a.sender_ip != 0) /* 0: a probe (RFC 5227, 2.1.1), teaches nothing */
        learn(st, &a, to_us);
    if (to_us && a.op == ARP_REQUEST) {
        COUNT(st, arp_replies_out);
        send_arp(st, ARP_REPLY, a.sender_mac, a.sender_mac, a.sender_ip);
    }
}

/* ---- the outside ---------------------------------------------------- */

/* Packets that wait are dropped and counted: there is no link to send them
 * over, and their owners will try again. */
void arp_flush(struct stack *st) {
    struct list_node *l;
    while ((l = list_first(&st->sh->arp.entries)))
        neighbour_free(st, container_of(l, struct neighbour, age_link));
}

static const char *state_name(struct stack *st, const struct neighbour *n) {
    static const char *const name[] = {
        [ASKING] = "asking", [KNOWN] = "reachable", [PROBING] = "probing"};
    _Static_assert(sizeof(name) / sizeof(name[0]) == PROBING + 1, "all named");
    return n->state == KNOWN && is_stale(st, n) ? "stale" : name[n->state];
}

/* For tools: the entry at `index`, least recently used first. The numbering
 * holds as long as the lock is held. age: since the last proof of life,
 * NSTIME_NEVER without one. */
bool stack_each_neighbour(struct stack *st, unsigned index,
                          struct stack_neighbour *out) {
    list_for_each(l, &st->sh->arp.entries) {
        const struct neighbour *n = container_of(l, struct neighbour, age_link);
        if (index--)
            continue;
        out->ip = n->ip;
        memcpy(out->mac, n->mac, 6);
        out->state = state_name(st, n);
        out->age = n->confirmed ? st->now - n->confirmed : NSTIME_NEVER;
        return true;
    }
    return false;
}

/* After a death inside the lock: who has which MAC is asked for again. */
void arp_reset(struct stack *st) {
    struct arp_table *t = &st->sh->arp;
    list_mend(st, &t->entries);
    for (unsigned i = 0; i < ARP_BUCKETS; i++)
        list_mend(st, &t->bucket[i]);
    list_for_each(l, &t->entries) {
        struct neighbour *n = container_of(l, struct neighbour, age_link);
        timer_disown(&n->timer);
        list_mend(st, &n->held);
    }
    arp_flush(st);
    t->n = 0;
    t->held_bytes = 0;
    t->last = NULL;
}
