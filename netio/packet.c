/* packet.c: frames through an AF_PACKET socket, or a TAP device.
 *
 * Theory of operation
 *
 * The socket carries a virtio-net header in front of each frame
 * (PACKET_VNET_HDR): on the way in it says which frames are superframes and
 * whose checksum is only the pseudo-header sum (every frame of a local peer
 * is like that, because no wire was crossed), on the way out it lets us leave
 * both jobs to the device. There is no ring: recvmsg straight into the
 * caller's buffers is one copy, and sendmmsg of a batch amortises the system
 * call.
 *
 * Receiving never blocks. What makes no sense is dropped, counted, and the
 * next frame tried; a bounded number of times, so that a flood of nonsense
 * cannot hold the caller's lock.
 *
 * Sending keeps the order. A full send buffer is waited for, at most
 * PACKET_WAITS ms in a call: dropping would cost the sender a retransmission,
 * waiting for ever would freeze everybody who shares the stack. A full device
 * queue (ENOBUFS) cannot be waited for; the frame is lost as it would be in a
 * router. A frame that the kernel refuses for its form is counted and skipped,
 * the others go on. UDP superframes need Linux 6.2; older kernels refuse them,
 * then they are cut here.
 *
 * A TAP descriptor (linux/if_tun.h, opened with IFF_VNET_HDR and
 * non-blocking) speaks the same format through readv and writev; only the
 * three functions that enter the kernel differ.
 *
 * This file is part of libstack.so: system calls are raw (netio/sys.h), memory
 * comes from mmap, errno is never touched.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <sys/mman.h>

#include "netio/packet.h"
#include "netio/frame.h"
#include "netio/segment.h"
#include "netio/sys.h"

#define PACKET_BATCH 32    /* frames in one sendmmsg */
#define PACKET_IOV 512     /* pieces in one sendmmsg, virtio headers too */
#define PACKET_RX_TRIES 64 /* frames dropped in a row before giving up */
#define PACKET_WAITS 20    /* waits of 1 ms for a full send buffer */
#define PACKET_RCVBUF (32 << 20)
#define PACKET_SNDBUF (8 << 20)
#define PACKET_MIN_FRAME 14u

/* Values newer than some kernel headers */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

struct packet {
    struct netio io;
    bool tap;
    bool sees_own; /* the kernel cannot hide our own frames from us */
    struct virtio_net_hdr hdr[PACKET_BATCH];
    struct mmsghdr msg[PACKET_BATCH];
    struct iovec iov[PACKET_IOV];
};

/* The object behind a netio, which is its first member. */
static struct packet *packet_of(struct netio *io) {
    return (struct packet *)io;
}

/* Does this result say that the device is down or gone? (A TAP that is down
 * answers EIO, one that is gone EBADFD.) */
static bool is_down(long r) {
    return r == -ENETDOWN || r == -ENXIO || r == -ENODEV || r == -EIO ||
           r == -EBADFD;
}

/* ---- receiving ---------------------------------------------------------- */

/* virtio-net header to host form (virtio 1.2, 5.1.6.4). False when it
 * contradicts the frame. hdr_len is a hint of how the kernel laid the frame
 * out, not the headers' length: it is not passed on. */
static bool meta_from_virtio(const struct virtio_net_hdr *h, uint32_t len,
                             struct netio_meta *m) {
    *m = (struct netio_meta){0};
    if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        if ((uint32_t)h->csum_start + h->csum_offset + 2 > len ||
            h->csum_start < PACKET_MIN_FRAME)
            return false;
        m->flags = NETIO_CSUM_PARTIAL;
        m->csum_start = h->csum_start;
        m->csum_offset = h->csum_offset;
    } else if (h->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
        m->flags = NETIO_CSUM_VALID;
    }
    switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        return true;
    case VIRTIO_NET_HDR_GSO_TCPV4:
        m->gso = NETIO_GSO_TCP4;
        break;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        m->gso = NETIO_GSO_TCP6;
        break;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        m->gso = NETIO_GSO_UDP;
        break;
    default: /* UFO and whatever comes later */
        return false;
    }
    m->gso_size = h->gso_size;
    return h->gso_size != 0;
}

/* readv has no way to say that it cut a frame: one that fills the room to the
 * last byte counts as cut. */
static long receive_tap(struct packet *p, struct msghdr *m) {
    long n = sys_readv(p->io.fd, m->msg_iov, (int)m->msg_iovlen);
    size_t room = 0;

    for (size_t i = 0; i < m->msg_iovlen; i++)
        room += m->msg_iov[i].iov_len;
    m->msg_flags = n > 0 && (size_t)n == room ? MSG_TRUNC : 0;
    return n;
}

/* Enter the kernel for one frame. */
static long receive_raw(struct packet *p, struct msghdr *m) {
    m->msg_flags = 0;
    return p->tap ? receive_tap(p, m)
                  : sys_recvmsg(p->io.fd, m, MSG_DONTWAIT | MSG_TRUNC);
}

/* One frame. Returns 1 taken, 0 nothing there, -EAGAIN this one was dropped,
 * or another -errno. */
static int receive_one(struct packet *p, struct msghdr *m,
                       struct netio_frame *f) {
    struct netio_counters *c = &p->io.count;
    struct sockaddr_ll from;

    if (p->sees_own) {
        m->msg_name = &from;
        m->msg_namelen = sizeof(from);
    }
    long n = receive_raw(p, m);
    if (n == -EAGAIN) /* the only "nothing there" */
        return 0;
    if (n == -EINTR)
        return -EAGAIN;
    if (n == -EINVAL) { /* a kind of superframe the kernel cannot describe */
        c->rx_bad_meta++;
        return -EAGAIN;
    }
    if (n < 0)
        return is_down(n) ? -ENETDOWN : (int)n;
    if (p->sees_own && from.sll_pkttype == PACKET_OUTGOING)
        return -EAGAIN;
    if (m->msg_flags & MSG_TRUNC) {
        c->rx_too_long++;
        return -EAGAIN;
    }
    if (n < (long)(sizeof(p->hdr[0]) + PACKET_MIN_FRAME)) {
        c->rx_bad_meta++;
        return -EAGAIN;
    }
    f->len = (uint32_t)n - (uint32_t)sizeof(p->hdr[0]);
    if (!meta_from_virtio(&p->hdr[0], f->len, &f->meta)) {
        c->rx_bad_meta++;
        return -EAGAIN;
    }
    c->rx_frames++;
    c->rx_bytes += f->len;
    return 1;
}

/* netio_ops.rx. The virtio header goes in front of the caller's room. */
static int packet_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct packet *p = packet_of(io);
    struct msghdr m = {.msg_iov = p->iov, .msg_iovlen = f->niov + 1};

    if (f->niov >= PACKET_IOV)
        return -EINVAL;
    p->iov[0] = (struct iovec){&p->hdr[0], sizeof(p->hdr[0])};
    memcpy(p->iov + 1, f->iov, f->niov * sizeof(*f->iov));
    for (int i = 0; i < PACKET_RX_TRIES; i++) {
        int r = receive_one(p, &m, f);
        if (r != -EAGAIN)
            return r;
    }
    return 0;
}

/* netio_ops.peek. A TAP has no way to look. */
static int packet_peek(struct netio *io, void *buf, uint32_t n) {
    struct packet *p = packet_of(io);
    struct iovec iov[2] = {{&p->hdr[0], sizeof(p->hdr[0])}, {buf, n}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};

    if (p->tap || p->sees_own)
        return -EOPNOTSUPP;
    long r = sys_recvmsg(io->fd, &m, MSG_DONTWAIT | MSG_TRUNC | MSG_PEEK);
    if (r < (long)sizeof(p->hdr[0]))
        return r == -EAGAIN ? 0 : r < 0 ? (int)r : -EINVAL;
    return (int)(r - (long)sizeof(p->hdr[0]));
}

/* ---- sending ------------------------------------------------------------ */

/* Does this TCP superframe carry CWR (RFC 3168, 6.1.2)? The device must know,
 * because the flag belongs to the first segment only. */
static bool has_cwr(const struct netio_frame *f) {
    uint8_t flags = 0;
    frame_copy(f, f->meta.csum_start + 13u, &flags, 1);
    return flags & 0x80;
}

/* Host form to virtio-net header. */
static void meta_to_virtio(const struct netio_frame *f,
                           struct virtio_net_hdr *h) {
    static const uint8_t type[] = {
        [NETIO_GSO_NONE] = VIRTIO_NET_HDR_GSO_NONE,
        [NETIO_GSO_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
        [NETIO_GSO_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
        [NETIO_GSO_UDP] = VIRTIO_NET_HDR_GSO_UDP_L4,
    };
    const struct netio_meta *m = &f->meta;

    *h = (struct virtio_net_hdr){0};
    if (m->flags & NETIO_CSUM_PARTIAL) {
        h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        h->csum_start = m->csum_start;
        h->csum_offset = m->csum_offset;
    }
    if (m->gso == NETIO_GSO_NONE)
        return;
    h->gso_type = type[m->gso];
    h->gso_size = m->gso_size;
    h->hdr_len = m->hdr_len;
    if (m->gso != NETIO_GSO_UDP && has_cwr(f))
        h->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
}

/* Lay out as many of the n frames as one sendmmsg takes. Returns how many; 0:
 * the first has too many pieces. */
static unsigned fill_batch(struct packet *p, const struct netio_frame *f,
                           unsigned n) {
    unsigned used = 0, k = 0;

    for (; k < n && k < PACKET_BATCH; k++) {
        if (f[k].niov + 1 > PACKET_IOV - used)
            break;
        struct iovec *iov = p->iov + used;
        meta_to_virtio(&f[k], &p->hdr[k]);
        iov[0] = (struct iovec){&p->hdr[k], sizeof(p->hdr[k])};
        memcpy(iov + 1, f[k].iov, f[k].niov * sizeof(*iov));
        p->msg[k].msg_hdr =
            (struct msghdr){.msg_iov = iov, .msg_iovlen = f[k].niov + 1};
        used += f[k].niov + 1;
    }
    return k;
}

/* Wait up to 1 ms for room in the send buffer. */
static void wait_room(struct packet *p) {
    struct pollfd pfd = {.fd = p->io.fd, .events = POLLOUT};
    struct timespec ms = {0, 1000000};

    p->io.count.tx_waits++;
    sys_ppoll(&pfd, 1, &ms, NULL);
}

/* Enter the kernel with one frame. */
static long send_raw(struct packet *p, const struct msghdr *m) {
    return p->tap ? sys_writev(p->io.fd, m->msg_iov, (int)m->msg_iovlen)
                  : sys_sendmsg(p->io.fd, m, MSG_DONTWAIT);
}

/* Enter the kernel with k frames. Returns how many were taken or -errno. */
static long send_raw_batch(struct packet *p, unsigned k) {
    if (!p->tap)
        return sys_sendmmsg(p->io.fd, p->msg, k, MSG_DONTWAIT);
    for (unsigned i = 0; i < k; i++) {
        long r = send_raw(p, &p->msg[i].msg_hdr);
        if (r < 0)
            return i ? (long)i : r;
    }
    return k;
}

/* Send one plain frame of a superframe that the kernel does not know. */
static int send_plain(void *ctx, struct netio_frame *f) {
    struct packet *p = ctx;
    struct virtio_net_hdr none = {0};
    struct iovec iov[FRAME_MAX_IOV + 1];
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = f->niov + 1};

    iov[0] = (struct iovec){&none, sizeof(none)};
    memcpy(iov + 1, f->iov, f->niov * sizeof(*iov));
    for (int waits = 0; waits < PACKET_WAITS; waits++) {
        long r = send_raw(p, &m);
        if (r >= 0)
            return 0;
        if (r != -EAGAIN && r != -EINTR)
            return (int)r;
        wait_room(p);
    }
    return -EAGAIN;
}

/* The kernel refused the form of this frame: cut it, or count it. */
static void refused(struct packet *p, const struct netio_frame *f) {
    struct netio_counters *c = &p->io.count;

    if (f->meta.gso == NETIO_GSO_UDP && netio_segment(f, send_plain, p) > 0) {
        c->tx_frames++;
        c->tx_bytes += f->len;
        return;
    }
    c->tx_refused++;
}

/* Send k frames laid out by fill_batch. Returns the frames sent or
 * -errno for the first. */
static int send_batch(struct packet *p, const struct netio_frame *f,
                      unsigned k) {
    /* sendmmsg stops at the first error and tells it only if that was the
     * first frame; packet_tx comes again with the rest */
    long r = send_raw_batch(p, k);

    for (long i = 0; i < r; i++) {
        p->io.count.tx_frames++;
        p->io.count.tx_bytes += f[i].len;
    }
    return (int)r;
}

/* netio_ops.tx. Each round lays out what is left and enters the kernel once;
 * an error concerns the first frame of the round, the rest is laid out anew. */
static int packet_tx(struct netio *io, struct netio_frame *f, unsigned n,
                     nstime_t now) {
    struct packet *p = packet_of(io);
    unsigned done = 0, waits = 0;

    while (done < n) {
        unsigned k = fill_batch(p, f + done, n - done);
        int r = k ? send_batch(p, f + done, k) : -EMSGSIZE;
        if (r > 0) {
            done += (unsigned)r;
            continue;
        }
        if (is_down(r))
            return done ? (int)done : -ENETDOWN;
        switch (-r) {
        case EINTR:
            break;
        case EAGAIN:
            if (++waits > PACKET_WAITS)
                return (int)done;
            wait_room(p);
            break;
        case ENOBUFS:
            p->io.count.tx_queue_full++;
            done++;
            break;
        case EINVAL:
        case EMSGSIZE:
            refused(p, f + done);
            done++;
            break;
        default:
            return done ? (int)done : r;
        }
    }
    return (int)done;
}

/* ---- opening and closing ------------------------------------------------ */

/* netio_ops.close: gives up the descriptor too. */
static void packet_close(struct netio *io) {
    sys_close(io->fd);
    sys_munmap(packet_of(io), sizeof(struct packet));
}

static const struct netio_ops packet_ops = {
    .name = "packet",
    .rx = packet_rx,
    .peek = packet_peek,
    .tx = packet_tx,
    .close = packet_close,
};

/* Set a buffer size past the system's limit if we may, else up to it. */
static void set_buffer(int fd, int force, int plain, int bytes) {
    if (sys_setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof(bytes)) < 0)
        sys_setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof(bytes));
}

int netio_packet_socket(void) {
    int one = 1;
    int fd = (int)sys_socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    int r =
        (int)sys_setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one));
    if (r < 0) {
        sys_close(fd);
        return r;
    }
    /* Linux 4.20; older ones show our own frames, packet_rx skips them. */
    sys_setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, PACKET_RCVBUF);
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, PACKET_SNDBUF);
    return fd;
}

int netio_packet_bind(int fd, unsigned ifindex) {
    /* ETH_P_ALL, not one protocol: the filter chooses, and IPv4, ARP and
     * later IPv6 come through one socket in the order of the wire */
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET,
        .sll_protocol = __builtin_bswap16(ETH_P_ALL),
        .sll_ifindex = (int)ifindex,
    };
    return (int)sys_bind(fd, &at, sizeof(at));
}

int netio_packet_promisc(int fd, unsigned ifindex) {
    struct packet_mreq m = {
        .mr_ifindex = (int)ifindex,
        .mr_type = PACKET_MR_PROMISC,
    };
    return (int)sys_setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m,
                               sizeof(m));
}

struct netio *netio_packet_new(int fd, uint32_t mtu) {
    int ignored = 0, type;
    socklen_t len = sizeof(ignored), tlen = sizeof(type);
    struct packet *p = sys_mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (sys_is_err(p))
        return NULL;
    /* the socket may have been made by another process: ask it */
    if (sys_getsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &ignored, &len) <
        0)
        ignored = 0;
    p->tap = sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &tlen) == -ENOTSOCK;
    p->sees_own = !p->tap && !ignored;
    p->io.ops = &packet_ops;
    p->io.fd = fd;
    p->io.mtu = mtu;
    return &p->io;
}

void netio_packet_refresh(struct netio *io) {
    struct tpacket_stats st;
    socklen_t len = sizeof(st);

    if (sys_getsockopt(io->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) >= 0)
        io->count.rx_missed += st.tp_drops;
}
