/* packet.h: netio over an AF_PACKET socket (packet(7)). */
#pragma once
#include <stdbool.h>
#include "netio/netio.h"

/* An AF_PACKET SOCK_RAW socket that receives nothing yet (protocol 0), so that
 * a filter can be attached before the first frame arrives: virtio-net header
 * on, own frames not shown, large buffers (what the privileges allow),
 * close-on-exec. Returns the descriptor, or -errno (-EPERM: CAP_NET_RAW). */
int netio_packet_socket(void);

/* Start receiving all protocols from the device. 0 or -errno. */
int netio_packet_bind(int fd, unsigned ifindex);

/* Receive everything on the link, whatever its MAC. 0 or -errno. */
int netio_packet_promisc(int fd, unsigned ifindex);

/* A netio over an open, bound socket made as above (possibly by another
 * process), or over a TAP descriptor with IFF_VNET_HDR and O_NONBLOCK. mtu: of
 * the device. The netio owns fd and closes it. Returns NULL without memory. */
struct netio *netio_packet_new(int fd, uint32_t mtu);

/* Add the kernel's count of frames dropped for lack of reading to
 * count.rx_missed (PACKET_STATISTICS; reading resets it for all sharers). */
void netio_packet_refresh(struct netio *io);
