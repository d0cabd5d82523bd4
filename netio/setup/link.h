/* link.h: devices and addresses of the kernel, through libnl. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "stack/addr.h"

struct nl_sock;

/* What the kernel says of a device. */
struct link_info {
    unsigned ifindex, master;
    char name[16];
    char kind[16]; /* "veth", "macvlan", "tun", ...; "" for hardware */
    uint8_t mac[6];
    uint32_t mtu;
    bool ethernet, up;
};

/* All return 0 or -errno unless stated otherwise. */
int link_open(struct nl_sock **out);
void link_close(struct nl_sock *nl);
int link_get(struct nl_sock *nl, const char *name, struct link_info *out);
int link_set_up(struct nl_sock *nl, unsigned ifindex, bool up);
/* Wait (up to a second) until a device that has a carrier is ready to send:
 * the kernel activates its queue some time after the link came up. */
void link_wait_ready(struct nl_sock *nl, unsigned ifindex);
int link_set_mtu(struct nl_sock *nl, unsigned ifindex, uint32_t mtu);
/* Let the device take IPv4 superframes of up to `bytes` (frame), Linux 6.3.
 * -EOPNOTSUPP on older kernels. */
int link_set_superframe(struct nl_sock *nl, unsigned ifindex, uint32_t bytes);
/* Give the device an address of the kernel's. */
int link_add_addr(struct nl_sock *nl, unsigned ifindex,
                  const struct ip_addr *addr, uint8_t prefix_len);
/* Let frames leave at once: a queue before a queue only delays. */
int link_set_noqueue(struct nl_sock *nl, unsigned ifindex);
int link_delete(struct nl_sock *nl, unsigned ifindex);
/* A macvlan in bridge mode with this MAC. */
int link_add_macvlan(struct nl_sock *nl, const char *name, unsigned parent,
                     const uint8_t mac[6]);
int link_add_veth(struct nl_sock *nl, const char *name, const char *peer);
/* 1 with the device's name in dev (16 bytes) when the kernel has the address
 * on some device, else 0. */
int link_find_addr(struct nl_sock *nl, const struct ip_addr *addr, char *dev);
