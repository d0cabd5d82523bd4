/* filter.h: the kernel filter that lets only our own frames through. */
#pragma once
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>
#include "stack/addr.h"

/* Room for a compiled program; ours has about 40 instructions. */
#define FILTER_MAX 256
/* Instructions in front that look at the VLAN tag, which only the kernel
 * knows; what follows them can be run by any BPF machine. */
#define FILTER_PROLOGUE 4

struct filter {
    unsigned n;
    struct sock_filter insn[FILTER_MAX];
};

/* Compile the filter for a station with this MAC, IPv4 address and prefix.
 * 0, or -EINVAL with libpcap's message in err. */
int filter_compile(struct filter *out, const uint8_t mac[6],
                   const struct ip_addr *addr, uint8_t prefix_len, char *err,
                   size_t errlen);

/* Attach to a packet socket and lock (SO_LOCK_FILTER): nobody who inherits the
 * descriptor can widen it. 0 or -errno. */
int filter_attach(int fd, const struct filter *f);
