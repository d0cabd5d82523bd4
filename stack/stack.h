/* stack.h: the one public header of the TCP/IP stack.
 *
 * Theory of operation
 *
 * All that the stack must remember lies in one shared mapping, the arena, at
 * one address in every process that uses it (`struct shared`, internal). Each
 * process has a private handle, `struct stack`, with nothing in it that could
 * not be rebuilt: the netio to send with, the time of the current call, a
 * batch of frames not yet sent.
 *
 * The stack is pure: it reads no clock, makes no system call, never sleeps and
 * takes no lock. Its caller holds the arena's lock around every call below,
 * tells the time with stack_now() first, and calls stack_flush() before it
 * lets the lock go. Then it wakes whoever stack_next_wake() names.
 *
 *     lock; stack_now(st, t); stack_...(); stack_flush(st); collect wakes;
 *     unlock; ring them
 *
 * Errors come back as negative errno values (constants only: errno itself is
 * made in preload/). "Blocking" does not exist here: a call that would block
 * returns -EAGAIN (connect: -EINPROGRESS); the caller registers a
 * watch and waits for the waiter to be named.
 *
 * Objects: `struct sock` one socket; `struct pollset` an epoll set; `struct
 * watch` ties either to whoever is interested in it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "netio/netio.h"
#include "stack/addr.h"
#include "stack/list.h"
#include "stack/options.h"
#include "stack/tune.h"

struct stack;
struct sock;
struct pollset;

/* ---- the arena and the handle -------------------------------------- */

struct stack_config {
    uint8_t mac[6];
    uint32_t mtu;           /* of the link, IP packet bytes; >= 576 */
    uint32_t superframe;    /* longest TCP superframe the link cuts, bytes
                               of frame; 0: 65,535 */
    struct ip_addr addr;    /* our address (IPv4-mapped) */
    uint8_t prefix_len;     /* of the IPv4 address, 0..32 */
    struct ip_addr gateway; /* all zero: none */
    uint8_t seed[32];       /* secret randomness: ISN, ports, hash keys */
    nstime_t now;           /* time of creation */
    const char *tune;       /* for stack_tunes_set; NULL: the defaults */
};

/* Format [base, base + size) as a new stack. base must be page aligned and the
 * address at which every process will map it; the memory must be zero.
 * Returns 0, -EINVAL (configuration that makes no sense), -ENOMEM. */
int stack_create(void *base, size_t size, const struct stack_config *cfg);

/* Change settings of a running stack; as stack_tunes_set. */
const char *stack_tune(struct stack *st, const char *text);

/* Bytes of private memory a handle needs (page aligned memory, zeroed). */
size_t stack_handle_size(void);

/* Make `mem` a handle on the stack at `base`. io may be NULL for observers.
 * Returns NULL when base does not hold a stack of this build. */
struct stack *stack_attach(void *mem, void *base, struct netio *io);

/* Send and receive through another netio from now on (a wrapper). */
void stack_set_netio(struct stack *st, struct netio *io);

/* What the first page of an arena, mapped anywhere, says of where it belongs.
 * False when it is not a stack of this build. */
bool stack_locate(const void *first_page, void **base, size_t *size);

/* The application root: one pointer into the arena for the layer above. */
void stack_set_app(struct stack *st, void *app);
void *stack_app(struct stack *st);

/* A holder of the lock died: make everything whole again that can be, and
 * reset what cannot (repair.c). Then name all sockets that programs have, and
 * all poll sets; the end drops connections that nobody has, and returns how
 * many. All waiters count as not woken: wake them all. */
void stack_repair(struct stack *st);
void stack_repair_hold(struct sock *so);
void stack_pollset_mend(struct stack *st, struct pollset *ps);
unsigned stack_repair_end(struct stack *st);
/* Make a list in the arena consistent again, trusting its forward pointers.
 * Returns the number of its nodes. */
unsigned list_mend(struct stack *st, struct list *l);

/* Memory of the arena, 16-byte aligned, zeroed. NULL when it is full. */
void *stack_alloc(struct stack *st, size_t size);
void stack_free(struct stack *st, void *p, size_t size);

/* ---- time, frames, wakes -------------------------------------------- */

/* Every locked section starts with this. Time never goes backwards: an
 * earlier value is taken as the latest one seen. */
void stack_now(struct stack *st, nstime_t now);

/* Drain the netio (at most `budget` frames), run due timers, send what is due
 * and flush. Returns the number of frames taken, or -errno of the netio. */
int stack_poll(struct stack *st, unsigned budget);
/* The same for a thread that waits for bytes of a stream: frames are received
 * straight into its buffer where that can be (place.c), and the call ends when
 * it is full. */
struct stack_place {
    struct sock *so;
    const struct iovec *iov;
    int niov;
    size_t got; /* out: bytes of the stream that were read there */
};
int stack_poll_into(struct stack *st, unsigned budget,
                    struct stack_place *place);
/* Is that likely to come to something just now? */
bool stack_place_wanted(struct sock *so);
/* The same for a thread that waits for readiness: a long frame that the stream
 * expects stays at the interface (*left), and the stream counts as readable.
 */
int stack_poll_lazy(struct stack *st, unsigned budget, bool *left);

/* Send what the calls since the last flush produced. */
void stack_flush(struct stack *st);

/* In place of a flush: what TCP has to send may wait for the next one, by
 * anybody; the rest is sent. True when something waits. */
bool stack_flush_later(struct stack *st);

/* The time of the last stack_now. */
nstime_t stack_time(const struct stack *st);

/* When must stack_poll be called although no frame arrived? Includes the
 * netio's own deadline. NSTIME_NEVER: nothing is due. */
nstime_t stack_deadline(struct stack *st);

/* When did something last go from this stack to itself? 0: never. */
nstime_t stack_inside(struct stack *st);

/* Addresses and routes of the running stack. */
bool stack_is_local(struct stack *st, const struct ip_addr *ip);
/* 0, or -ENETUNREACH: does a route exist, and which source would be used? */
int stack_route_source(struct stack *st, const struct ip_addr *dst,
                       struct ip_addr *src);
/* Link facts for getifaddrs and friends. */
struct stack_link {
    uint8_t mac[6];
    uint8_t prefix_len;
    uint32_t mtu;
    struct ip_addr addr, gateway;
};
void stack_link_info(struct stack *st, struct stack_link *out);
/* The link went down or came up (netio returned -ENETDOWN). */
void stack_link_state(struct stack *st, bool up);

/* ---- interest -------------------------------------------------------- */

/* Readiness bits; the values of poll(2) and epoll(7). */
#define STACK_IN 0x001u
#define STACK_PRI 0x002u
#define STACK_OUT 0x004u
#define STACK_ERR 0x008u
#define STACK_HUP 0x010u
#define STACK_RDHUP 0x2000u
/* flags of a pollset item; the values of epoll(7) */
#define STACK_EXCLUSIVE (1u << 28)
#define STACK_ONESHOT (1u << 30)
#define STACK_ET (1u << 31)

/* A source of readiness: the first member of struct sock and struct pollset. */
struct source {
    struct list watchers; /* struct watch */
};

/* One sleeping thread, somewhere. The layer above embeds it in its own struct
 * in the arena. `fired` is set, and the waiter queued for stack_next_wake, by
 * the first watch of it that sees one of its events. */
struct waiter {
    struct list_node wake_link;
    uint32_t fired; /* union of the events seen; reset by the owner */
};

enum watch_kind { WATCH_WAITER, WATCH_ITEM };

/* Interest of one owner in one source. In the arena. */
struct watch {
    struct list_node link; /* in source.watchers */
    /* STACK_* bits; ERR and HUP are always included. With STACK_EXCLUSIVE one
     * sleeping waiter is woken per event; one that was and does not take the
     * event (a time-out) passes it on by stack_source_kick. */
    uint32_t events;
    uint8_t kind; /* enum watch_kind: what `owner` is */
    void *owner;  /* struct waiter or (internal) pollset item */
};

void stack_watch_add(struct source *src, struct watch *w);
void stack_watch_del(struct watch *w);
/* The next waiter to be woken, or NULL. A waiter comes once per firing. */
struct waiter *stack_next_wake(struct stack *st);
/* Wake everybody who watches src, whatever they watch for (close, dup2). */
void stack_source_kick(struct stack *st, struct source *src, uint32_t events);

struct source *stack_sock_source(struct sock *so);
struct source *stack_pollset_source(struct pollset *ps);

/* ---- sockets --------------------------------------------------------- */

enum stack_type { STACK_STREAM, STACK_DGRAM, STACK_RAW };

/* family: 4 or 6 (what the program asked for; a 6 socket carries IPv4-mapped
 * addresses unless V6ONLY is set). protocol: IP protocol number or 0.
 * Returns 0; -EPROTONOSUPPORT; -ENOMEM (-ENOBUFS). */
int stack_socket(struct stack *st, int family, enum stack_type type,
                 int protocol, struct sock **out);

/* The last description is gone. Orderly release as close(2): unread data ->
 * RST, linger as the options say (0 -> RST), unsent data goes on. */
void stack_close(struct stack *st, struct sock *so);
/* True while data or the FIN of a connection has not been acknowledged; valid
 * for a socket that is not yet closed (for SO_LINGER) */
bool stack_unsent(struct stack *st, struct sock *so);
/* How many closed connections still have data or a FIN to deliver? */
unsigned stack_orphans(struct stack *st);

int stack_bind(struct stack *st, struct sock *so, const struct endpoint *at);
/* TCP: -EINPROGRESS once the SYN is on its way, then -EALREADY, -EISCONN.
 * UDP: sets the peer and returns 0; `to` NULL dissolves the association.
 * -ENETUNREACH, -EADDRNOTAVAIL (no port), -EAFNOSUPPORT, -ECONNREFUSED... */
int stack_connect(struct stack *st, struct sock *so, const struct endpoint *to);
/* After OUT, ERR or HUP: 0 connected, -EINPROGRESS, or the error that ended
 * the attempt (which is then consumed, as SO_ERROR does). */
int stack_connect_result(struct stack *st, struct sock *so);
int stack_listen(struct stack *st, struct sock *so, int backlog);
int stack_accept(struct stack *st, struct sock *so, struct sock **out);

/* send and recv flags; own values */
#define STACK_MSG_OOB 0x01u
#define STACK_MSG_PEEK 0x02u
#define STACK_MSG_DONTROUTE 0x04u
#define STACK_MSG_TRUNC 0x08u /* recv: return the real length; out: cut */
#define STACK_MSG_MORE 0x10u
#define STACK_MSG_ERRQUEUE 0x20u
#define STACK_MSG_CTRUNC 0x40u /* out only */
#define STACK_MSG_CONFIRM 0x80u
#define STACK_MSG_FASTOPEN 0x100u /* TCP: connect to m->peer with it */

/* stack_icmp_error.origin; the values of SO_EE_ORIGIN_* */
#define STACK_ORIGIN_LOCAL 1
#define STACK_ORIGIN_ICMP 2
#define STACK_ORIGIN_ZEROCOPY 5
#define STACK_ZEROCOPY_COPIED 1 /* code of it */

/* What comes with a message besides its bytes. */
struct stack_msg {
    struct endpoint peer; /* send: destination (if has_peer); recv: source */
    bool has_peer;
    struct ip_addr local; /* send: source (if has_local); recv: dest of it */
    bool has_local;
    int ttl, tos;       /* send: -1 = the socket's own; recv: as received */
    uint32_t out_flags; /* recv: STACK_MSG_TRUNC, OOB, ERRQUEUE */
    nstime_t arrived;   /* recv: when the frame was taken */
    struct stack_icmp_error { /* recv with ERRQUEUE */
        int err;              /* positive errno */
        uint8_t origin;       /* STACK_ORIGIN_* */
        uint8_t type, code;   /* of the ICMP message */
        uint32_t info;        /* MTU of a fragmentation-needed message */
        uint32_t data;        /* ZEROCOPY: sends from info to data are over */
        struct ip_addr offender;
    } error;
};

/* Returns bytes taken (may be fewer than given for TCP), or -EAGAIN, -EPIPE,
 * -ENOTCONN, -EDESTADDRREQ, -EMSGSIZE, -ECONNRESET, -ENETUNREACH, ... m may be
 * NULL. */
ssize_t stack_send(struct stack *st, struct sock *so, const struct iovec *iov,
                   int niov, uint32_t flags, const struct stack_msg *m);
/* MSG_ZEROCOPY (tcp/zerocopy.c, udp_error.c). Bytes are copied as ever, so the
 * call is the usual one, between these two. Is the next send to be one: 1, 0
 * (SO_ZEROCOPY is not set) or -ENOBUFS (too many are under way)? And: it was,
 * and took n bytes; the error queue will tell. */
int stack_zerocopy(struct stack *st, struct sock *so);
void stack_zerocopy_sent(struct stack *st, struct sock *so, size_t n);
/* The pending error, positive errno or 0, which stays: ERR may also stand for
 * an entry of the error queue. */
int stack_error(const struct sock *so);
/* Returns bytes, 0 at the end of the stream, or -EAGAIN, -ENOTCONN, ... m may
 * be NULL. A TCP receiver sends its window update itself. */
ssize_t stack_recv(struct stack *st, struct sock *so, const struct iovec *iov,
                   int niov, uint32_t flags, struct stack_msg *m);

/* Loans: long copies between two sockets of this stack, made by the caller
 * outside the lock (tcp/fuse.c). A loan lies in the arena, all zero when it
 * holds nothing; one that is dropped (its process died) is freed.
 *
 * Sending: stack_loan says how many bytes of `want` may be given, 0: use
 * stack_send; stack_loan_fill writes them, outside the lock; stack_repay sends
 * them, as stack_send would.
 * Receiving: stack_take takes bytes off the stream, 0: use stack_recv;
 * stack_loan_read copies them, outside the lock; stack_loan_drop. */
#define STACK_LOAN_MIN 16384u
struct bufq { /* a byte queue: see buf.h */
    struct chunk *head, *tail;
    uint32_t len; /* bytes in the queue */
    uint32_t mem; /* arena bytes it holds */
};
uint32_t stack_loan(struct stack *st, struct sock *so, size_t want,
                    struct bufq *l);
void stack_loan_fill(struct bufq *l, const struct iovec *iov, int niov,
                     size_t skip);
ssize_t stack_repay(struct stack *st, struct sock *so, struct bufq *l);
uint32_t stack_take(struct stack *st, struct sock *so, size_t want,
                    struct bufq *l);
void stack_loan_read(const struct bufq *l, const struct iovec *iov, int niov);
void stack_loan_drop(struct stack *st, struct bufq *l);

enum stack_how { STACK_SHUT_RD, STACK_SHUT_WR, STACK_SHUT_RDWR };
int stack_shutdown(struct stack *st, struct sock *so, enum stack_how how);

void stack_getsockname(struct sock *so, struct endpoint *out);
/* 0 or -ENOTCONN */
int stack_getpeername(struct sock *so, struct endpoint *out);
uint32_t stack_ready(struct stack *st, struct sock *so);
enum stack_type stack_sock_type(struct sock *so);
int stack_sock_family(struct sock *so);
int stack_sock_protocol(struct sock *so);
bool stack_is_listening(struct sock *so);

/* Options (stack/options.def). Values are 64-bit; structured ones have calls
 * of their own. -ENOPROTOOPT, -EINVAL, -EDOM, -ENOTCONN... as Linux answers. */
int stack_setopt(struct stack *st, struct sock *so, enum stack_opt opt,
                 int64_t value);
int stack_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
                 int64_t *value);
/* TCP_FASTOPEN_KEY, of the whole stack: 16 bytes, or 32 with an old key that is
 * still honoured; -EINVAL. */
int stack_fastopen_key(struct stack *st, const uint8_t *key, size_t len);
size_t stack_fastopen_key_get(struct stack *st, uint8_t out[32]);
/* TCP_SAVED_SYN: its length, 0 without; copied, and gone, if there is room. */
int stack_saved_syn(struct stack *st, struct sock *so, void *buf, size_t room);
/* IP_OPTIONS (ip(7)): at most 40 bytes, 0 for none; -EINVAL, -ENOBUFS. What is
 * read is also a source route that the peer's packets came along. */
int stack_set_ip_options(struct stack *st, struct sock *so, const void *p,
                         size_t len);
size_t stack_get_ip_options(struct sock *so, uint8_t buf[40]);
/* The congestion control of that name, as STACK_OPT_CONGESTION wants it, or
 * -ENOENT; and the name of such a number (NULL: there is none). */
int stack_cc_find(const char *name);
const char *stack_cc_name(int64_t kind);

/* ---- poll sets (epoll) ----------------------------------------------- */

struct pollset *stack_pollset_new(struct stack *st);
void stack_pollset_free(struct stack *st, struct pollset *ps);
enum stack_ctl { STACK_CTL_ADD = 1, STACK_CTL_DEL = 2, STACK_CTL_MOD = 3 };
/* Items are named by (key, src): key is the descriptor number the program
 * used. events: STACK_* bits and flags. -EEXIST, -ENOENT, -ENOMEM; -EINVAL
 * (a set in itself, EXCLUSIVE where epoll_ctl(2) forbids it), -ELOOP (sets in
 * a circle, or more than 5 deep). */
int stack_pollset_ctl(struct stack *st, struct pollset *ps, enum stack_ctl op,
                      uint32_t key, struct source *src, uint32_t events,
                      uint64_t data);
struct stack_pollev {
    uint32_t events;
    uint64_t data;
};
/* Take up to max ready items, with level, edge and one-shot rules of epoll(7),
 * fairly (a level-triggered item goes to the end of the line). */
int stack_pollset_collect(struct stack *st, struct pollset *ps,
                          struct stack_pollev *ev, int max);
/* Anything that collect would return? */
bool stack_pollset_ready(struct stack *st, struct pollset *ps);
unsigned stack_pollset_count(struct pollset *ps);
/* The i-th item, in no particular order; false: there are fewer. */
bool stack_pollset_item(struct pollset *ps, unsigned i, uint32_t *key,
                        uint32_t *events, uint64_t *data);
