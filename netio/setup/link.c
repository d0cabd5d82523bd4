/* link.c: devices and addresses of the kernel, through libnl.
 *
 * Theory of operation
 *
 * Everything here is a question to, or an order for, the kernel's rtnetlink
 * (rtnetlink(7)): a struct rtnl_link with only those fields set that shall be
 * changed is sent, and libnl waits for the acknowledgement. Devices are named
 * by index once they are found, since names can change. libnl's own error
 * numbers end in this file: callers see -errno.
 */
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/macvlan.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "netio/setup/link.h"

/* linux/if.h, which cannot be included together with net/if.h */
#define IF_OPER_UNKNOWN 0u
#define IF_OPER_DORMANT 5u
#define IF_OPER_UP 6u

/* IFLA_GSO_IPV4_MAX_SIZE, newer than some headers */
#define LINK_GSO_IPV4_MAX_SIZE 63

/* libnl's error numbers (netlink/errno.h) to -errno: those that our callers
 * have words for; the rest are -EINVAL, as most of them mean that the kernel
 * did not like the request. */
static int nl_errno(int r) {
    switch (r < 0 ? -r : r) {
    case NLE_SUCCESS:
        return 0;
    case NLE_PERM:
    case NLE_NOACCESS:
        return -EPERM;
    case NLE_EXIST:
        return -EEXIST;
    case NLE_NODEV:
    case NLE_OBJ_NOTFOUND:
        return -ENODEV;
    case NLE_OPNOTSUPP:
        return -EOPNOTSUPP;
    case NLE_BUSY:
        return -EBUSY;
    case NLE_NOMEM:
        return -ENOMEM;
    case NLE_RANGE:
        return -ERANGE;
    default:
        return -EINVAL;
    }
}

int link_open(struct nl_sock **out) {
    struct nl_sock *nl = nl_socket_alloc();

    if (!nl)
        return -ENOMEM;
    int r = nl_connect(nl, NETLINK_ROUTE);
    if (r < 0) {
        nl_socket_free(nl);
        return nl_errno(r);
    }
    *out = nl;
    return 0;
}

void link_close(struct nl_sock *nl) { nl_socket_free(nl); }

int link_get(struct nl_sock *nl, const char *name, struct link_info *out) {
    struct rtnl_link *l;
    int r = rtnl_link_get_kernel(nl, 0, name, &l);

    if (r < 0)
        return nl_errno(r);
    /* hardware has no kind (IFLA_INFO_KIND), virtual devices have */
    const char *kind = rtnl_link_get_type(l);
    struct nl_addr *mac = rtnl_link_get_addr(l);
    *out = (struct link_info){
        .ifindex = (unsigned)rtnl_link_get_ifindex(l),
        .master = (unsigned)rtnl_link_get_master(l),
        .mtu = rtnl_link_get_mtu(l),
        .ethernet = rtnl_link_get_arptype(l) == ARPHRD_ETHER && mac &&
                    nl_addr_get_len(mac) == 6,
        .up = rtnl_link_get_flags(l) & IFF_UP,
    };
    snprintf(out->name, sizeof(out->name), "%s", rtnl_link_get_name(l));
    snprintf(out->kind, sizeof(out->kind), "%s", kind ? kind : "");
    if (out->ethernet)
        memcpy(out->mac, nl_addr_get_binary_addr(mac), 6);
    rtnl_link_put(l);
    return 0;
}

/* Send a change of the device ifindex; consumes change. */
static int change_link(struct nl_sock *nl, unsigned ifindex,
                       struct rtnl_link *change) {
    struct rtnl_link *orig = rtnl_link_alloc();
    int r = -NLE_NOMEM;

    if (orig && change) {
        rtnl_link_set_ifindex(orig, (int)ifindex);
        r = rtnl_link_change(nl, orig, change, 0);
    }
    rtnl_link_put(orig);
    rtnl_link_put(change);
    return nl_errno(r);
}

int link_set_up(struct nl_sock *nl, unsigned ifindex, bool up) {
    struct rtnl_link *change = rtnl_link_alloc();

    if (change && up)
        rtnl_link_set_flags(change, IFF_UP);
    else if (change)
        rtnl_link_unset_flags(change, IFF_UP);
    return change_link(nl, ifindex, change);
}

/* Has it a carrier, but is not operational (RFC 2863) yet? */
static bool is_waking(struct nl_sock *nl, unsigned ifindex) {
    struct rtnl_link *l;

    if (rtnl_link_get_kernel(nl, (int)ifindex, NULL, &l) < 0)
        return false;
    unsigned state = rtnl_link_get_operstate(l);
    bool waking = rtnl_link_get_carrier(l) && state != IF_OPER_UP &&
                  state != IF_OPER_UNKNOWN && state != IF_OPER_DORMANT;
    rtnl_link_put(l);
    return waking;
}

void link_wait_ready(struct nl_sock *nl, unsigned ifindex) {
    for (int ms = 0; ms < 1000 && is_waking(nl, ifindex); ms += 2)
        usleep(2000);
}

int link_set_mtu(struct nl_sock *nl, unsigned ifindex, uint32_t mtu) {
    struct rtnl_link *change = rtnl_link_alloc();

    if (change)
        rtnl_link_set_mtu(change, mtu);
    return change_link(nl, ifindex, change);
}

/* libnl knows neither attribute (linux/if_link.h, Linux 6.3): by hand. */
static struct nl_msg *link_message(int type, unsigned ifindex) {
    struct ifinfomsg ifi = {.ifi_index = (int)ifindex};
    struct nl_msg *m = nlmsg_alloc_simple(type, 0);

    if (m && nlmsg_append(m, &ifi, sizeof(ifi), NLMSG_ALIGNTO) < 0) {
        nlmsg_free(m);
        m = NULL;
    }
    return m;
}

/* Older kernels ignore attributes they do not know: see what came of it. */
static int read_superframe(struct nl_msg *m, void *out) {
    struct nlattr *a = nlmsg_find_attr(nlmsg_hdr(m), sizeof(struct ifinfomsg),
                                       LINK_GSO_IPV4_MAX_SIZE);

    if (a)
        *(uint32_t *)out = nla_get_u32(a);
    return NL_OK;
}

int link_set_superframe(struct nl_sock *nl, unsigned ifindex, uint32_t bytes) {
    struct nl_msg *set = link_message(RTM_NEWLINK, ifindex);
    struct nl_msg *get = link_message(RTM_GETLINK, ifindex);
    uint32_t now = 0;
    int r = -NLE_NOMEM;

    if (set && get)
        r = nla_put_u32(set, LINK_GSO_IPV4_MAX_SIZE, bytes);
    if (r < 0) {
        nlmsg_free(set);
        nlmsg_free(get);
        return nl_errno(r);
    }
    r = nl_send_sync(nl, set); /* frees it */
    nl_socket_modify_cb(nl, NL_CB_VALID, NL_CB_CUSTOM, read_superframe, &now);
    if (r >= 0)
        r = nl_send_sync(nl, get);
    else
        nlmsg_free(get);
    nl_socket_modify_cb(nl, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
    if (r < 0)
        return nl_errno(r);
    return now == bytes ? 0 : -EOPNOTSUPP;
}

int link_add_addr(struct nl_sock *nl, unsigned ifindex,
                  const struct ip_addr *addr, uint8_t prefix_len) {
    struct rtnl_addr *a = rtnl_addr_alloc();
    struct nl_addr *local = nl_addr_build(AF_INET, addr->b + 12, 4);
    int r = -NLE_NOMEM;

    if (a && local) {
        rtnl_addr_set_ifindex(a, (int)ifindex);
        nl_addr_set_prefixlen(local, prefix_len);
        r = rtnl_addr_set_local(a, local);
        r = r < 0 ? r : rtnl_addr_add(nl, a, 0);
    }
    nl_addr_put(local);
    rtnl_addr_put(a);
    return nl_errno(r);
}

int link_set_noqueue(struct nl_sock *nl, unsigned ifindex) {
    struct rtnl_qdisc *q = rtnl_qdisc_alloc();
    int r = -NLE_NOMEM;

    if (q) {
        rtnl_tc_set_ifindex(TC_CAST(q), (int)ifindex);
        rtnl_tc_set_parent(TC_CAST(q), TC_H_ROOT);
        r = rtnl_tc_set_kind(TC_CAST(q), "noqueue");
        r = r < 0 ? r : rtnl_qdisc_add(nl, q, NLM_F_CREATE | NLM_F_REPLACE);
    }
    rtnl_qdisc_put(q);
    return nl_errno(r);
}

int link_delete(struct nl_sock *nl, unsigned ifindex) {
    struct rtnl_link *l = rtnl_link_alloc();

    if (!l)
        return -ENOMEM;
    rtnl_link_set_ifindex(l, (int)ifindex);
    int r = rtnl_link_delete(nl, l);
    rtnl_link_put(l);
    return nl_errno(r);
}

int link_add_macvlan(struct nl_sock *nl, const char *name, unsigned parent,
                     const uint8_t mac[6]) {
    struct rtnl_link *l = rtnl_link_macvlan_alloc();
    struct nl_addr *addr = nl_addr_build(AF_LLC, mac, 6);
    int r = -NLE_NOMEM;

    if (l && addr) {
        rtnl_link_set_name(l, name);
        rtnl_link_set_link(l, (int)parent);
        rtnl_link_set_addr(l, addr);
        rtnl_link_macvlan_set_mode(l, rtnl_link_macvlan_str2mode("bridge"));
        r = rtnl_link_add(nl, l, NLM_F_CREATE | NLM_F_EXCL);
    }
    nl_addr_put(addr);
    rtnl_link_put(l);
    return nl_errno(r);
}

int link_add_veth(struct nl_sock *nl, const char *name, const char *peer) {
    struct rtnl_link *l = rtnl_link_veth_alloc();

    if (!l)
        return -ENOMEM;
    /* the peer travels inside our end, and is made with it; we hold a
     * reference of our own while we name it */
    struct rtnl_link *other = rtnl_link_veth_get_peer(l);
    rtnl_link_set_name(l, name);
    rtnl_link_set_name(other, peer);
    rtnl_link_put(other);
    int r = rtnl_link_add(nl, l, NLM_F_CREATE | NLM_F_EXCL);
    rtnl_link_put(l);
    return nl_errno(r);
}

int link_find_addr(struct nl_sock *nl, const struct ip_addr *want, char *dev) {
    struct nl_cache *all;
    int found = 0, r = rtnl_addr_alloc_cache(nl, &all);

    if (r < 0)
        return nl_errno(r);
    for (struct nl_object *o = nl_cache_get_first(all); o && !found;
         o = nl_cache_get_next(o)) {
        struct rtnl_addr *a = (struct rtnl_addr *)o;
        struct nl_addr *local = rtnl_addr_get_local(a);
        /* our IPv4 addresses are IPv4-mapped: the last four bytes */
        bool v4 = rtnl_addr_get_family(a) == AF_INET;
        const uint8_t *mine = want->b + (v4 ? 12 : 0);
        if (!local || v4 != ip_is_v4(want) ||
            memcmp(nl_addr_get_binary_addr(local), mine, v4 ? 4 : 16))
            continue;
        if (!if_indextoname((unsigned)rtnl_addr_get_ifindex(a), dev))
            snprintf(dev, 16, "a device");
        found = 1;
    }
    nl_cache_free(all);
    return found;
}
