/* ip.h: the layer between transports and the link; carries either family
 * (IPv6 answers -ENETUNREACH until it is built). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "stack/addr.h"
#include "stack/pkt.h"

struct stack;
struct icmp_error;
struct ipv4_opts;

enum ip_df { IP_DF_CLEAR, IP_DF_SET };

struct ip_tx {
    struct ip_addr src, dst;
    uint8_t proto, ttl, tos;
    uint8_t df; /* enum ip_df: RFC 6864 lets ID be 0 for atomic datagrams */
    const struct ipv4_opts *opts; /* NULL: none */
    uint16_t id;                  /* 0: chosen by ip_output */
    bool link_mtu; /* the link's MTU counts, not what was learned of the path */
};

/* What IP remembers (in the arena), see ip.c. */
#define IP_PATHS 256
struct ip_path {
    struct ip_addr dst;
    uint32_t mtu; /* 0: free */
    bool locked;  /* below the minimum: do not set DF (as Linux) */
    nstime_t expires;
};
struct ip_state {
    uint16_t id[256];              /* next ID, by hash of destination */
    struct ip_path path[IP_PATHS]; /* path MTU cache, see path.c */
    uint32_t n_paths;              /* entries in use */
};

/* Ethernet dispatch: ARP, IP. */
void ether_input(struct stack *st, const uint8_t *frame, uint32_t len,
                 const struct netio_meta *meta);
/* Push the Ethernet header, complete meta offsets, commit. */
void ether_output(struct stack *st, struct pkt *p, const uint8_t dst[6],
                  uint16_t type);

/* Fills in what the IP header tells about rx (l3, l3_len, meta set). */
void ip_input(struct stack *st, struct rxpkt *rx);
/* Deliver to the transport of rx->proto; false when there is none. */
bool ip_deliver(struct stack *st, const struct rxpkt *rx);
/* Deliver an error about a packet of ours to the transport of proto. */
void ip_deliver_error(struct stack *st, uint8_t proto,
                      const struct ip_addr *src, const struct ip_addr *dst,
                      const uint8_t *l4, uint32_t len,
                      const struct icmp_error *e);
/* p holds the transport header and payload, transport checksum done or left
 * partial (meta.flags/csum_start = transport header start is set by
 * ip_output). Routes, pushes the IP header, fragments when allowed, loops
 * packets to our own addresses. 0, -ENETUNREACH, -EMSGSIZE, -ENOBUFS. */
int ip_output(struct stack *st, struct pkt *p, const struct ip_tx *tx);
/* Largest IP packet towards dst (path MTU cache; link MTU without an entry) */
uint32_t ip_path_mtu(struct stack *st, const struct ip_addr *dst);
/* The path is too narrow to insist on DF (see path.c). */
bool ip_path_locked(struct stack *st, const struct ip_addr *dst);
/* A router reported a smaller MTU. To be called by a transport that has found
 * the quoted packet to be one of its own (RFC 5927, section 7.2). Kept for 10
 * minutes (RFC 1191, 6.3). */
void ip_path_mtu_learn(struct stack *st, const struct ip_addr *dst,
                       uint32_t mtu);

/* Packets to ourselves wait here until the current input is done (loop.c). */
void loop_push(struct stack *st, const struct pkt *p);
/* Returns false when nothing was waiting. */
bool loop_run_one(struct stack *st);
