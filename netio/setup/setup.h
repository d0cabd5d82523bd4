/* setup.h: make a link ready for libstack. For the privileged tool only: it
 * uses libnl, libpcap, malloc and stdio, and none of it is in libstack.so. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "stack/addr.h"

struct netio;

/* What the user asked for. Zero the struct, then fill in. One of:
 *   dev                use this device
 *   parent (+ dev)     create a macvlan in bridge mode on parent
 *   dev + veth_peer    create a veth pair; we take dev
 *   dev + tap          create a TAP device; the kernel has dev, we its fd */
struct setup_request {
    char dev[16];       /* name to use or to give; may be empty with parent */
    char parent[16];    /* macvlan parent */
    char veth_peer[16]; /* name of the other end of a veth pair */
    bool tap;
    uint8_t mac[6]; /* with has_mac; otherwise see setup.c */
    bool has_mac;
    struct ip_addr addr;    /* IPv4-mapped; must be given */
    uint8_t prefix_len;     /* 1..32 */
    struct ip_addr gateway; /* all zero: none */
    uint32_t mtu;           /* with has_mtu: 576..device's */
    bool has_mtu;
    bool probe; /* ask the LAN first whether the address is taken */
};

/* A link ready for use. The caller owns packet_fd. */
struct setup_result {
    int packet_fd; /* for netio_packet_new; bound, filtered and locked */
    char dev[16];
    unsigned ifindex;
    uint8_t mac[6]; /* to send from */
    uint32_t mtu;
    uint32_t superframe; /* longest frame the device takes to be cut */
    struct ip_addr addr;
    uint8_t prefix_len;
    struct ip_addr gateway;
    bool created;    /* setup_remove deletes the device */
    bool brought_up; /* setup_remove sets it down again */
};

/* Make or take the device, check that nobody else has the address, open the
 * packet socket with its filter. Returns 0, or -errno with one line in err:
 * "what: why: try this" (no newline). On failure nothing is left behind. */
int setup_open(const struct setup_request *req, struct setup_result *out,
               char *err, size_t errlen);

/* Undo what setup_open did to devices; does not close packet_fd. 0 or -errno;
 * a device that is gone already is fine. */
int setup_remove(const struct setup_result *res);
