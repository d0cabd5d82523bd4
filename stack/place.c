/* place.c: payload straight into a waiting reader's buffer.
 *
 * Theory of operation
 *
 * Bulk data is copied twice on its way in, from the kernel into the arena and
 * from there to the program, and the second copy is most of what a receiver
 * does. A thread that is about to wait for bytes of a stream therefore tells
 * where it wants them (struct stack_place), and while that holds, frames are
 * received into the gather list
 *
 *     predicted headers | the reader's buffer | landing chunk | private room
 *
 * The prediction is their length: Ethernet, IPv4 without options, TCP with or
 * without timestamps. It is made only where the stream has nothing that the
 * reader must get first (an empty receive buffer, no gap, no urgent data) and
 * its last segment was long. Then the headers say whether this is the next
 * segment in order; if so the payload is where it belongs already, and what
 * does not fit the buffer lies in the landing chunk, which the receive queue
 * takes over (buf.c). Anything else - another connection, a retransmission, an
 * ACK with SACK blocks - is put together in the private room and goes the usual
 * way: two copies more, once per change of traffic, since the next frames are
 * looked at first.
 *
 * Nothing is believed before TCP has taken the segment: only then `got` moves,
 * so a process killed in between has lost a frame, as on the wire. Bytes of the
 * reader's buffer beyond `got` may have been written to.
 *
 * Whoever only looks (poll, select, epoll) must not take such a frame, or it
 * ends in the arena. He peeks at its headers: the stream is told that data is
 * there (tcp_place_announce) and counts as readable; the frame stays at the
 * interface for the read that follows. Each frame is announced once: who looks
 * again takes it as usual, so nothing behind it has to wait.
 */
#include "stack/place.h"

#include <errno.h>
#include <string.h>

#include "stack/buf.h"
#include "stack/shared.h"
#include "stack/sock.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"

#define PLACE_IOV 8             /* pieces of a reader's buffer */
#define PLACE_MAX (128u * 1024) /* of which a frame uses so much at most */
#define PLACE_WARY 64 /* frames to look at first after a wrong guess */
#define HEAD_IP (ETH_HDR_LEN + IPV4_HDR_MIN)

/* Describe what is left of the reader's buffer. Returns the pieces, and their
 * bytes in *room. */
static uint32_t reader_room(const struct stack_place *pl, struct iovec *out,
                            uint32_t *room) {
    size_t skip = pl->got;
    uint32_t n = 0;
    *room = 0;
    for (int i = 0; i < pl->niov && n < PLACE_IOV && *room < PLACE_MAX; i++) {
        size_t len = pl->iov[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        size_t take = len - skip;
        if (take > PLACE_MAX - *room)
            take = PLACE_MAX - *room;
        out[n].iov_base = (uint8_t *)pl->iov[i].iov_base + skip;
        out[n++].iov_len = take;
        *room += (uint32_t)take;
        skip = 0;
    }
    return n;
}

/* What is read next must not pile up in the arena: as soon as something waits
 * there the reader has to come first, and the next frames wait outside. */
bool place_full(const struct stack *st) {
    const struct stack_place *pl = st->place;
    struct iovec iov[PLACE_IOV];
    uint32_t room;
    if (!pl || !tcp_place_header(pl->so, false))
        return false;
    if (!tcp_place_header(pl->so, true))
        return true;
    reader_room(pl, iov, &room);
    return pl->got && room == 0;
}

/* The headers of a frame of len bytes, read as far as they are simple. False:
 * they are not, or longer or shorter than `head`. */
static bool simple_headers(const uint8_t *frame, uint32_t len, uint32_t head,
                           struct ipv4_hdr *ip, struct tcp_hdr *h) {
    struct eth_hdr eh;
    if (len <= head || !eth_parse(frame, len, &eh) || eh.type != ETH_TYPE_IPV4)
        return false;
    uint32_t l3_len = len - ETH_HDR_LEN;
    return ipv4_parse(frame + ETH_HDR_LEN, l3_len, true, ip) == IPV4_OK &&
           ip->hdr_len == IPV4_HDR_MIN && ip->total_len == l3_len && !ip->mf &&
           !ip->frag_off && ip->proto == IP_PROTO_TCP &&
           tcp_parse(ip->payload, ip->payload_len, h, NULL) &&
           h->hdr_len == head - HEAD_IP;
}

/* Is it what the reader waits for? Its checksum must need no look, and no raw
 * socket may want the packet in one piece. */
static bool predicted(struct stack *st, const struct netio_frame *f,
                      uint32_t head) {
    struct ipv4_hdr ip;
    struct tcp_hdr h;
    return f->meta.flags & (NETIO_CSUM_PARTIAL | NETIO_CSUM_VALID) &&
           list_empty(&st->sh->raw) &&
           simple_headers(st->rx_head + RX_SKEW, f->len, head, &ip, &h) &&
           tcp_place_expects(st->place->so, &ip, &h, f->len - head);
}

/* Put the frame together in the private room, whose last part is in place. */
static void gather(struct stack *st, struct netio_frame *f) {
    uint8_t *to = st->rx_room + RX_SKEW;
    uint32_t left = f->len;
    for (uint32_t i = 0; i + 1 < f->niov && left; i++) {
        size_t n = f->iov[i].iov_len < left ? f->iov[i].iov_len : left;
        memcpy(to, f->iov[i].iov_base, n);
        to += n;
        left -= (uint32_t)n;
    }
    f->iov[0].iov_base = st->rx_room + RX_SKEW;
    st->wary = PLACE_WARY;
    COUNT(st, place_missed);
}

/* Several streams at once take turns at the interface, and a wrong guess costs
 * two copies: for a while after one, look before. */
static bool next_is_for(struct stack *st, const struct sock *so,
                        uint32_t head) {
    struct ipv4_hdr ip;
    struct tcp_hdr h;
    uint8_t *frame = st->rx_head + RX_SKEW;
    int len = netio_peek(st->io, frame, sizeof(st->rx_head) - RX_SKEW);
    st->wary--;
    return len > 0 && simple_headers(frame, (uint32_t)len, head, &ip, &h) &&
           tcp_place_expects(so, &ip, &h, (uint32_t)len - head);
}

int place_rx(struct stack *st, struct netio_frame *f, bool *tried) {
    struct stack_place *pl = st->place;
    uint32_t head = pl ? tcp_place_header(pl->so, true) : 0, direct, room;
    *tried = false;
    if (!head)
        return 0;
    head += HEAD_IP;
    uint32_t n = reader_room(pl, f->iov + 1, &direct);
    if (!direct || (st->wary && !next_is_for(st, pl->so, head)))
        return 0;
    uint8_t *at = buf_landing(st, &room) + RX_SKEW;
    uint32_t before = RX_SKEW + head + direct + room - RX_SKEW;
    f->iov[0] = (struct iovec){st->rx_head + RX_SKEW, head};
    f->iov[n + 1] = (struct iovec){at, room - RX_SKEW};
    f->iov[n + 2] = (struct iovec){st->rx_room + before, RX_ROOM - before};
    f->niov = n + 3;
    *tried = true;
    int rc = netio_rx(st->io, f, st->now);
    if (rc == -EFAULT) { /* the buffer is none: let the copy find out */
        pl->niov = 0;
        COUNT(st, place_faults);
        return 0;
    }
    if (rc <= 0 || f->len <= head)
        return rc;
    uint32_t len = f->len - head;
    if (len > direct + room - RX_SKEW || !predicted(st, f, head)) {
        gather(st, f);
        return rc;
    }
    st->split = (struct rx_split){.direct = len < direct ? len : direct,
                                  .len = len,
                                  .rest = at};
    return rc;
}

bool stack_place_wanted(struct sock *so) {
    return tcp_place_header(so, true) != 0;
}

bool place_peek(struct stack *st) {
    struct ipv4_hdr ip;
    struct tcp_hdr h;
    uint8_t *frame = st->rx_head + RX_SKEW;
    int len = netio_peek(st->io, frame, sizeof(st->rx_head) - RX_SKEW);
    if (len < (int)PLACE_MIN)
        return false;
    /* either length of the TCP header will do: the stream knows which */
    uint32_t head = HEAD_IP + TCP_HDR_MIN + 12;
    if (!simple_headers(frame, (uint32_t)len, head, &ip, &h)) {
        head = HEAD_IP + TCP_HDR_MIN;
        if (!simple_headers(frame, (uint32_t)len, head, &ip, &h))
            return false;
    }
    struct endpoint local = {.ip = ip_from_v4(ip.dst), .port = h.dport};
    struct endpoint remote = {.ip = ip_from_v4(ip.src), .port = h.sport};
    struct sock *so = demux_tuple(st, &st->sh->tcp, &local, &remote);
    return so && so->kind == SOCK_TCP &&
           tcp_place_header(so, false) == head - HEAD_IP &&
           tcp_place_expects(so, &ip, &h, (uint32_t)len - head) &&
           tcp_place_announce(st, so);
}
