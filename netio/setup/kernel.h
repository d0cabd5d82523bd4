/* kernel.h: settings of the kernel's own stack that concern us. */
#pragma once
#include <stdbool.h>
#include "netio/setup/link.h"

/* /proc/sys/net/ipv4/conf/DEV/NAME as a number; 0 when it cannot be read. */
int kernel_ipv4_conf(const char *dev, const char *name);

/* Keep the kernel silent on a device that we made: no IPv6 addresses of its
 * own, no forwarding. Failure is not fatal. */
void kernel_silence(const char *dev);

/* Open a TAP device (linux/if_tun.h) with the virtio-net header and all
 * offloads, non-blocking, close-on-exec. Returns the descriptor or -errno. */
int kernel_open_tap(const char *dev);
