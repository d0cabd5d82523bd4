/* world.h: one stack in virtual time, and the wire it is tied to.
 *
 * The script plays every other host. Frames go in by world_inject; what the
 * stack sends is cut into the segments that would appear on the wire (a
 * superframe becomes several) and waits in a queue with its time. ARP is
 * answered here and never seen by a script.
 *
 * Addresses are packetdrill's defaults, so that scripts that spell them out
 * work: we are 192.168.0.1/16, the peer is 192.0.2.1 behind 192.168.0.2.
 */
#pragma once
#include "netio/netio.h"
#include "stack/stack.h"
#include "stack/stats.h"
#include "stack/wire/icmpv4.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"
#include "stack/wire/udp.h"

#define USEC 1000ull
#define MSEC (1000 * USEC)
#define SEC (1000 * MSEC)

/* A packet on the wire, parsed. */
struct packet {
    struct packet *next;
    nstime_t at;
    struct ipv4_hdr ip;
    struct tcp_hdr tcp; /* by ip.proto */
    struct udp_hdr udp;
    struct icmp_hdr icmp;
    const uint8_t *opts, *data; /* TCP options; payload */
    uint32_t opts_len, data_len;
    bool bad_csum;
    uint32_t l3_len;
    uint8_t l3[]; /* from the IP header on */
};

struct world {
    struct netio io; /* first */
    struct stack *st;
    nstime_t now, epoch; /* epoch: when the script began */
    nstime_t alarm; /* a waiting call wants to be asked again then; 0: none */
    uint32_t our_ip, peer_ip, gateway_ip;
    struct packet *out, *out_end;
    struct in_frame *in;
    void *arena, *handle;
};

struct world *world_new(uint32_t mtu, uint32_t our_ip, uint32_t peer_ip);
/* An IP packet from the outside, taken at once. */
void world_inject(struct world *w, const uint8_t *l3, uint32_t len);
/* The oldest packet sent, taken off the queue; NULL: none. */
struct packet *world_take(struct world *w);
/* Let time pass until `end` or the first moment when `stop` says so; it is
 * asked after every step. */
void world_run(struct world *w, nstime_t end, bool (*stop)(void *), void *arg);
/* Say the time, before stack calls; after them: flush. */
void world_enter(struct world *w);
void world_leave(struct world *w);
uint16_t world_csum(uint32_t src, uint32_t dst, uint8_t proto,
                    const uint8_t *l4, uint32_t len);
