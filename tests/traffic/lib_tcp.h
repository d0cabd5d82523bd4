/* lib_tcp.h: one TCP connection of the stack under test, and its peer, played
 * by the test.
 *
 * Sequence numbers are relative: 0 is the SYN, 1 the first byte, of the peer
 * (seq of from_peer, ack of to_peer) or of ours (ack of from_peer, seq of
 * to_peer). A test reads:
 *
 *     struct conn c = conn_connected(NULL);
 *     conn_send(&c, 100);
 *     to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 100);
 *     from_peer(&c, TCP_ACK, 1, 101, 0);
 *     expect_nothing(c.w);
 *     conn_end(&c);
 */
#pragma once
#include "stack/stats.h"
#include "tests/traffic/lib_wire.h"

#define PEER_ISS 5000u

/* RFC 9293 states, as stack_tcp_info tells them. */
enum {
    ESTABLISHED = 1,
    SYN_SENT,
    SYN_RECV,
    FIN_WAIT1,
    FIN_WAIT2,
    TIME_WAIT,
    CLOSED,
    CLOSE_WAIT,
    LAST_ACK,
    LISTENING,
    CLOSING
};

/* What the peer's SYN (or SYN-ACK) offers. */
struct peer_syn {
    uint16_t mss; /* 0: 1460 */
    bool no_mss;  /* leave the option out */
    bool sack, ts;
    int8_t wscale; /* -1 or 0 with !has_wscale: none */
    bool has_wscale;
    uint16_t wnd; /* of every segment; 0: 65535 */
    void (*prepare)(struct wire *w, struct sock *so); /* options, before */
};

struct conn {
    struct wire *w;
    struct sock *so; /* NULL once closed */
    struct sock *listener;
    seq_t iss; /* ours */
    bool ts;
    uint32_t tsval;       /* of the peer's next segments */
    uint32_t last_tsval;  /* ours, seen last; echoed */
    uint16_t wnd;         /* of the peer's next segments */
    struct tcp_opts opts; /* SACK blocks of the next segment; then cleared */
};

/* Our side connects; the handshake is over and nothing is pending. */
struct conn conn_connected(const struct peer_syn *p);
/* Our side listens, the peer connects, the child is accepted. */
struct conn conn_accepted(const struct peer_syn *p);
/* A connection in any state of the table above but LISTENING. Our FIN is sent
 * where it should be (sequence number 1), the peer's likewise. In TIME_WAIT
 * and LAST_ACK c.so is NULL where the stack has no socket any more. */
struct conn conn_in(int state);
/* Closes what is open, ignores what is sent then, and frees all. */
void conn_end(struct conn *c);

/* A segment of the peer's. len bytes of the pattern. */
void from_peer(struct conn *c, uint16_t flags, uint32_t seq, uint32_t ack,
               uint32_t len);
const struct got *conn_expect(struct conn *c, uint16_t flags, uint32_t seq,
                              uint32_t ack, uint32_t len, int line);
#define to_peer(c, flags, seq, ack, len)                                       \
    conn_expect(c, flags, seq, ack, len, __LINE__)
/* Let time pass up to the next TCP segment of ours, at most ns; how long it
 * took, or NSTIME_NEVER. ARP requests are answered on the way. */
nstime_t conn_run_to_segment(struct conn *c, nstime_t ns);
/* No TCP segment for ns nanoseconds. */
void conn_quiet(struct conn *c, nstime_t ns, int line);
#define expect_quiet_for(c, ns) conn_quiet(c, ns, __LINE__)

/* The peer reports [left, right) with its next segment. */
void peer_sacks(struct conn *c, uint32_t left, uint32_t right);

ssize_t conn_send_flags(struct conn *c, uint32_t len, uint32_t flags);
ssize_t conn_send(struct conn *c, uint32_t len);
/* Read at most len bytes; the bytes are compared with the peer's pattern when
 * `check` is set. */
ssize_t conn_recv(struct conn *c, uint32_t len);
ssize_t conn_recv_flags(struct conn *c, void *buf, uint32_t len,
                        uint32_t flags);
int conn_opt(struct conn *c, enum stack_opt opt, int64_t v);
int64_t conn_getopt(struct conn *c, enum stack_opt opt);
void conn_close(struct conn *c);
int conn_shutdown(struct conn *c, enum stack_how how);
struct stack_tcp_info conn_info(struct conn *c);
int conn_state(struct conn *c);
uint32_t conn_ready(struct conn *c);
/* State of the connection's tuple in the stack, the socket closed or not;
 * CLOSED when there is none. */
int conn_table_state(struct conn *c);
/* The pending error, as SO_ERROR; consumed. */
int conn_error(struct conn *c);
