/* shared.h: everything the stack remembers (in the arena) and the private
 * handle. Internal to stack/.
 *
 * No pointer leads out of the arena and there is no function pointer in it:
 * behaviour is chosen by small enums that index tables in code.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "netio/netio.h"
#include "stack/addr.h"
#include "stack/alloc.h"
#include "stack/arp.h"
#include "stack/counters.h"
#include "stack/demux.h"
#include "stack/frag.h"
#include "stack/heap.h"
#include "stack/icmp.h"
#include "stack/ip.h"
#include "stack/list.h"
#include "stack/pkt.h"
#include "stack/place.h"
#include "stack/random.h"
#include "stack/route.h"
#include "stack/stack.h"
#include "stack/tcp/fastopen.h"
#include "stack/timer.h"

#define SHARED_MAGIC 0x6c69627374616b31ull /* "libstak1" */
/* Refuses an arena made by another build: raised with every layout change. */
#define SHARED_ABI 1u

/* Connections in TIME-WAIT, oldest first, and the timer of the oldest
 * (tcp/timewait.c). */
struct tcp_waits {
    struct list list;
    uint32_t n;
    struct timer timer;
};

struct shared {
    uint64_t magic;
    uint32_t abi;
    uint32_t shared_size; /* sizeof(struct shared): a second belt to abi */
    void *base;
    size_t size;
    void *app; /* the layer above */

    nstime_t born, now;
    uint8_t key[16];        /* siphash key for hash tables and ISNs */
    uint8_t cookie_key[16]; /* for SYN and Fast Open cookies */
    struct random_state random;
    struct stack_tunes tune;

    uint8_t mac[6];
    bool link_up;
    uint32_t mtu;
    uint32_t superframe; /* longest frame to be cut by the device */

    struct heap heap;
    struct chunk *landing; /* where frames are received, see buf.c */
    struct timer_wheel timers;
    struct route_table routes;
    struct arp_table arp;
    struct frag_table frags;
    struct icmp_state icmp;
    struct ip_state ip;
    struct demux tcp, udp; /* who owns which port and 4-tuple */
    struct list raw;       /* raw and ping sockets */
    struct list socks;     /* every struct sock, by sock.all_link */
    struct list wake;      /* struct waiter, to be woken */
    struct sock *busy;     /* being changed; see repair.c */
    struct sock *moving;   /* by close, between two places in socks */
    struct tcp_waits waits;
    struct tcp_fastopen fastopen;
    struct list tcp_due; /* TCP sockets with something to send */
    struct list loop;    /* packets to ourselves, see loop.c */
    uint32_t loop_bytes; /* arena memory they hold */
    nstime_t inside;     /* when something last went to ourselves */
    struct stack_counters count;
};

/* Private, per process. */
#define TX_BATCH 32
#define RX_ROOM (256 * 1024)
/* Frames start here in their room, so that IP headers are aligned. */
#define RX_SKEW 2
struct stack {
    struct shared *sh;
    struct netio *io;
    nstime_t now; /* of the current call */
    unsigned tx_n;
    struct netio_frame tx_frames[TX_BATCH];
    struct pkt tx[TX_BATCH + 1];
    unsigned scratch_slot; /* the one pkt_copy_payload writes to */
    bool scratch_used;     /* it holds bytes of the packet being built */
    uint8_t scratch[TX_BATCH][1536]; /* pkt_copy_payload */
    struct list freed;         /* struct mem_later: to free after the flush */
    struct stack_place *place; /* of the reader that polls; or NULL */
    struct rx_split split;     /* of the frame at hand */
    uint8_t long_frames;       /* one came, so many short ones ago at most */
    uint8_t wary;              /* frames not to be guessed, see place.c */
    uint8_t rx_head[256];      /* headers of a frame in pieces */
    uint8_t rx_room[RX_ROOM];
};

/* A setting of tune.def. */
#define TUNED(st, id) ((st)->sh->tune.v[STACK_TUNE_##id])
/* From here on so may be half changed. */
#define BUSY(st, so) ((st)->sh->busy = (so))
#define COUNT(st, name) ((st)->sh->count.name++)
#define COUNT_ADD(st, name, n) ((st)->sh->count.name += (uint64_t)(n))
