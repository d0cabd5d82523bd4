/* filter.h: the kernel filter that lets only our own frames through. */
#pragma once
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>
#include "stack/addr.h"

/* Instructions in front that look at the VLAN tag, which only the kernel
 * knows; what follows them can be run by any BPF machine. */
#define FILTER_PROLOGUE 4
#define FILTER_MAX 32

struct filter {
    unsigned n;
    struct sock_filter insn[FILTER_MAX];
};

/* Write the filter for a station with this MAC, IPv4 address and prefix. */
void filter_make(struct filter *out, const uint8_t mac[6],
                 const struct ip_addr *addr, uint8_t prefix_len);

/* Attach to a packet socket and lock (SO_LOCK_FILTER): nobody who inherits the
 * descriptor can widen it. 0 or -errno. */
int filter_attach(int fd, const struct filter *f);
