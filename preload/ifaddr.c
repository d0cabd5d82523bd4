/* ifaddr.c: getifaddrs, freeifaddrs: the stack's address among the kernel's.
 *
 * The stack's link is a device of the kernel, so the C library lists it, and
 * if_nametoindex and its kin need no help; what it lacks is the stack's IPv4
 * address, and its MAC may be another. The list is the C library's own, in one
 * piece of memory; an entry of ours is put behind the device's others, and
 * taken out again before the C library frees the rest. It is known by its
 * name lying inside itself.
 */
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "preload/addr.h"

/* One entry with all it points to. */
struct own_entry {
    struct ifaddrs ifa;
    char name[IFNAMSIZ];
    struct sockaddr_in addr, mask, broadcast;
};

static bool is_own(const struct ifaddrs *i) {
    return i->ifa_name == ((const struct own_entry *)i)->name;
}

/* What is told of the link: by the running stack, or by the settings. */
static bool link_facts(struct stack_link *link) {
    const struct settings *s = preload_settings();
    if (self.sh) {
        share_enter();
        stack_link_info(self.st, link);
        share_leave();
        return true;
    }
    *link = (struct stack_link){.addr = s->addr, .prefix_len = s->prefix_len};
    return s->has_addr && preload_has_stack();
}

static void put(struct sockaddr_in *sa, uint32_t ip) {
    *sa = (struct sockaddr_in){.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(ip)};
}

/* Our address as an entry like those of the device. NULL: no memory. */
static struct own_entry *make(const char *dev, const struct stack_link *link,
                              unsigned flags) {
    struct own_entry *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    uint32_t ip = ip_to_v4(&link->addr);
    uint32_t mask = link->prefix_len ? ~0u << (32 - link->prefix_len) : 0;
    memcpy(e->name, dev, strnlen(dev, IFNAMSIZ - 1));
    put(&e->addr, ip);
    put(&e->mask, mask);
    put(&e->broadcast, ip | ~mask);
    e->ifa.ifa_name = e->name;
    e->ifa.ifa_flags = flags;
    e->ifa.ifa_addr = (struct sockaddr *)&e->addr;
    e->ifa.ifa_netmask = (struct sockaddr *)&e->mask;
    e->ifa.ifa_broadaddr = (struct sockaddr *)&e->broadcast;
    return e;
}

/* The MAC of frames that the stack sends. */
static void show_mac(struct ifaddrs *i, const struct stack_link *link) {
    struct sockaddr_ll *ll = (struct sockaddr_ll *)i->ifa_addr;
    if (self.sh && ll->sll_halen == sizeof(link->mac))
        memcpy(ll->sll_addr, link->mac, sizeof(link->mac));
}

/* getifaddrs(3). */
EXPORT int getifaddrs(struct ifaddrs **list) {
    struct stack_link link;
    const char *dev = preload_settings()->dev;
    unsigned flags = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST;
    struct ifaddrs **at = list;
    int r = real.getifaddrs(list);
    if (r < 0 || preload_vforked || !*dev || !link_facts(&link))
        return r;
    /* Behind the last of the kernel's IPv4 and link entries. */
    for (struct ifaddrs **p = list; *p; p = &(*p)->ifa_next) {
        struct ifaddrs *i = *p;
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        if (family != AF_INET6)
            at = &i->ifa_next;
        if (strcmp(i->ifa_name, dev) != 0)
            continue;
        flags = i->ifa_flags;
        if (family == AF_PACKET)
            show_mac(i, &link);
    }
    struct own_entry *e = make(dev, &link, flags);
    if (!e) {
        real.freeifaddrs(*list);
        RETURN(-ENOMEM);
    }
    e->ifa.ifa_next = *at;
    *at = &e->ifa;
    return 0;
}

/* freeifaddrs(3). */
EXPORT void freeifaddrs(struct ifaddrs *list) {
    for (struct ifaddrs **p = &list; *p;) {
        struct ifaddrs *i = *p;
        if (is_own(i)) {
            *p = i->ifa_next;
            free(i);
        } else {
            p = &i->ifa_next;
        }
    }
    real.freeifaddrs(list);
}
