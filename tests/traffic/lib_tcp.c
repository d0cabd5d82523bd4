/* lib_tcp.c: see lib_tcp.h. */
#include "tests/traffic/lib_tcp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/traffic/lib_wire_frame.h"

static const struct peer_syn PLAIN = {0};

/* Answer the stack's ARP requests, if they are next in line: long silences
 * make it ask whether the peer is still there. */
static void answer_arp(struct conn *c) {
    static const uint8_t type[2] = {ETH_TYPE_ARP >> 8, ETH_TYPE_ARP & 255};
    while (c->w->out && memcmp(c->w->out->data + 12, type, 2) == 0) {
        const struct got *g = wire_take(c->w, __LINE__);
        if (g->arp.op != ARP_REQUEST || g->arp.target_ip != PEER_IP)
            continue;
        struct arp_pkt a = {.op = ARP_REPLY,
                            .sender_ip = PEER_IP,
                            .target_ip = OUR_IP};
        memcpy(a.sender_mac, PEER_MAC, 6);
        memcpy(a.target_mac, OUR_MAC, 6);
        wire_arp(c->w, a, OUR_MAC);
    }
}

nstime_t conn_run_to_segment(struct conn *c, nstime_t ns) {
    nstime_t begin = c->w->now, end = begin + ns;
    answer_arp(c);
    while (!c->w->out && c->w->now < end) {
        wire_run_to_frame(c->w, end - c->w->now);
        answer_arp(c);
    }
    return c->w->out ? c->w->out->at - begin : NSTIME_NEVER;
}

void conn_quiet(struct conn *c, nstime_t ns, int line) {
    conn_run_to_segment(c, ns);
    wire_expect_nothing(c->w, 0, line);
}

static struct tcp_opts syn_opts(const struct peer_syn *p, const struct conn *c,
                                uint32_t tsecr) {
    struct tcp_opts o = {.sack_permitted = p->sack,
                         .has_wscale = p->has_wscale,
                         .wscale = (uint8_t)p->wscale,
                         .ts = p->ts,
                         .tsval = c->tsval,
                         .tsecr = tsecr};
    if (!p->no_mss)
        o.mss = p->mss ? p->mss : 1460;
    return o;
}

static struct conn conn_new(const struct peer_syn *p) {
    struct conn c = {.w = wire_new(NULL),
                     .ts = p->ts,
                     .tsval = 1000,
                     .wnd = p->wnd ? p->wnd : 65535};
    wire_meet(c.w, PEER_IP, PEER_MAC);
    return c;
}

struct conn conn_connected(const struct peer_syn *p) {
    p = p ? p : &PLAIN;
    struct conn c = conn_new(p);
    c.so = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    if (p->prepare)
        p->prepare(c.w, c.so);
    struct endpoint to = wire_at(PEER_IP, PEER_PORT);
    cr_assert_eq(CALL(c.w, stack_connect(c.w->st, c.so, &to)), -EINPROGRESS);
    const struct got *g =
        expect_tcp(c.w, (struct seg){.flags = TCP_SYN, .any_seq = true});
    c.iss = g->tcp.seq;
    c.last_tsval = g->opts.tsval;
    wire_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                               .seq = PEER_ISS,
                               .ack = c.iss + 1,
                               .wnd = c.wnd,
                               .opts = syn_opts(p, &c, c.last_tsval)});
    to_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(CALL(c.w, stack_connect_result(c.w->st, c.so)), 0);
    return c;
}

struct conn conn_accepted(const struct peer_syn *p) {
    p = p ? p : &PLAIN;
    struct conn c = conn_new(p);
    c.listener = wire_socket(c.w, STACK_STREAM, OUR_PORT);
    if (p->prepare)
        p->prepare(c.w, c.listener);
    cr_assert_eq(CALL(c.w, stack_listen(c.w->st, c.listener, 5)), 0);
    wire_tcp(c.w, (struct seg){.flags = TCP_SYN,
                               .seq = PEER_ISS,
                               .wnd = c.wnd,
                               .opts = syn_opts(p, &c, 0)});
    const struct got *g =
        expect_tcp(c.w, (struct seg){.flags = TCP_SYN | TCP_ACK,
                                     .any_seq = true,
                                     .ack = PEER_ISS + 1});
    c.iss = g->tcp.seq;
    c.last_tsval = g->opts.tsval;
    from_peer(&c, TCP_ACK, 1, 1, 0);
    cr_assert_eq(CALL(c.w, stack_accept(c.w->st, c.listener, &c.so)), 0);
    return c;
}

/* The states that follow our FIN. */
static void after_our_fin(struct conn *c, int state) {
    cr_assert_eq(conn_shutdown(c, STACK_SHUT_WR), 0);
    to_peer(c, TCP_FIN | TCP_ACK, 1, 1, 0);
    if (state == FIN_WAIT1)
        return;
    if (state == CLOSING) {
        from_peer(c, TCP_FIN | TCP_ACK, 1, 1, 0);
        to_peer(c, TCP_ACK, 2, 2, 0);
        return;
    }
    from_peer(c, TCP_ACK, 1, 2, 0);
    if (state == FIN_WAIT2)
        return;
    from_peer(c, TCP_FIN | TCP_ACK, 1, 2, 0); /* TIME_WAIT */
    to_peer(c, TCP_ACK, 2, 2, 0);
}

struct conn conn_in(int state) {
    struct conn c = conn_connected(NULL);
    switch (state) {
    case ESTABLISHED:
        break;
    case FIN_WAIT1:
    case FIN_WAIT2:
    case CLOSING:
    case TIME_WAIT:
        after_our_fin(&c, state);
        break;
    case CLOSE_WAIT:
    case LAST_ACK:
        from_peer(&c, TCP_FIN | TCP_ACK, 1, 1, 0);
        to_peer(&c, TCP_ACK, 1, 2, 0);
        if (state == LAST_ACK) {
            cr_assert_eq(conn_shutdown(&c, STACK_SHUT_WR), 0);
            to_peer(&c, TCP_FIN | TCP_ACK, 1, 2, 0);
        }
        break;
    default:
        cr_assert_fail("no constructor for state %d", state);
    }
    cr_assert_eq(conn_table_state(&c), state);
    return c;
}

void conn_end(struct conn *c) {
    if (c->so)
        wire_close(c->w, c->so);
    if (c->listener)
        wire_close(c->w, c->listener);
    wire_drop(c->w);
}

void from_peer(struct conn *c, uint16_t flags, uint32_t seq, uint32_t ack,
               uint32_t len) {
    uint8_t *data = malloc(len + 1);
    wire_pattern(data, seq, len);
    c->opts.ts = c->ts;
    c->opts.tsval = c->tsval;
    c->opts.tsecr = c->last_tsval;
    wire_tcp(c->w, (struct seg){.flags = flags,
                                .seq = PEER_ISS + seq,
                                .ack = flags & TCP_ACK ? c->iss + ack : 0,
                                .wnd = c->wnd,
                                .zero_wnd = c->wnd == 0,
                                .opts = c->opts,
                                .data = data,
                                .len = len});
    memset(&c->opts, 0, sizeof(c->opts));
    free(data);
}

const struct got *conn_expect(struct conn *c, uint16_t flags, uint32_t seq,
                              uint32_t ack, uint32_t len, int line) {
    answer_arp(c);
    const struct got *g =
        wire_expect_tcp(c->w,
                        (struct seg){.flags = flags,
                                     .seq = c->iss + seq,
                                     .ack =
                                         flags & TCP_ACK ? PEER_ISS + ack : 0,
                                     .len = len},
                        line);
    uint8_t *want = malloc(len + 1);
    wire_pattern(want, seq, len);
    cr_assert(memcmp(want, g->data, len) == 0, "line %d: payload", line);
    free(want);
    if (g->opts.ts)
        c->last_tsval = g->opts.tsval;
    return g;
}

void peer_sacks(struct conn *c, uint32_t left, uint32_t right) {
    c->opts.sack[c->opts.n_sack++] =
        (struct tcp_sack){c->iss + left, c->iss + right};
}

/* Bytes of ours follow the same pattern as the peer's: byte n of the stream
 * has sequence number n + 1. */
ssize_t conn_send_flags(struct conn *c, uint32_t len, uint32_t flags) {
    struct stack_tcp_info i = conn_info(c);
    int64_t outq = conn_getopt(c, STACK_OPT_OUTQ);
    uint8_t *data = malloc(len + 1);
    wire_pattern(data, (uint32_t)(i.bytes_acked + (uint64_t)outq) + 1, len);
    struct iovec iov = {data, len};
    ssize_t n = CALL(c->w, stack_send(c->w->st, c->so, &iov, 1, flags, NULL));
    free(data);
    return n;
}

ssize_t conn_send(struct conn *c, uint32_t len) {
    return conn_send_flags(c, len, 0);
}

ssize_t conn_recv_flags(struct conn *c, void *buf, uint32_t len,
                        uint32_t flags) {
    struct iovec iov = {buf, len};
    return CALL(c->w, stack_recv(c->w->st, c->so, &iov, 1, flags, NULL));
}

ssize_t conn_recv(struct conn *c, uint32_t len) {
    uint64_t got = conn_info(c).bytes_received;
    int64_t inq = conn_getopt(c, STACK_OPT_INQ);
    uint8_t *buf = malloc(len + 1), *want = malloc(len + 1);
    ssize_t n = conn_recv_flags(c, buf, len, 0);
    if (n > 0) {
        wire_pattern(want, (uint32_t)(got - (uint64_t)inq) + 1, (uint32_t)n);
        cr_assert(memcmp(buf, want, (size_t)n) == 0, "received bytes differ");
    }
    free(buf);
    free(want);
    return n;
}

int conn_opt(struct conn *c, enum stack_opt opt, int64_t v) {
    return CALL(c->w, stack_setopt(c->w->st, c->so, opt, v));
}

int64_t conn_getopt(struct conn *c, enum stack_opt opt) {
    int64_t v = -1;
    int r = CALL(c->w, stack_getopt(c->w->st, c->so, opt, &v));
    return r < 0 ? r : v;
}

void conn_close(struct conn *c) {
    wire_close(c->w, c->so);
    c->so = NULL;
}

int conn_shutdown(struct conn *c, enum stack_how how) {
    return CALL(c->w, stack_shutdown(c->w->st, c->so, how));
}

struct stack_tcp_info conn_info(struct conn *c) {
    struct stack_tcp_info i;
    stack_now(c->w->st, c->w->now);
    cr_assert_eq(stack_tcp_info(c->w->st, c->so, &i), 0);
    return i;
}

int conn_state(struct conn *c) { return conn_info(c).state; }

uint32_t conn_ready(struct conn *c) { return stack_ready(c->w->st, c->so); }

int conn_table_state(struct conn *c) {
    struct sock *cursor = NULL;
    struct stack_sock_info i;
    int state = CLOSED;
    while (stack_each_sock(c->w->st, &cursor, &i))
        if (i.local.port == OUR_PORT && i.remote.port == PEER_PORT &&
            i.tcp.state != CLOSED)
            state = i.tcp.state;
    return state;
}

int conn_error(struct conn *c) { return (int)conn_getopt(c, STACK_OPT_ERROR); }
