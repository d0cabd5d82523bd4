/* trace.c: one line of text per frame, in the manner of tcpdump -n.
 *
 *   1234.567890 < IP 198.18.0.1.80 > 198.18.0.2.40000: Flags [S.], seq 7,
 *   ack 2, win 65160, options [mss 1460,nop,wscale 7], length 0
 *
 * (one line in truth): the time as the stack knows it, < for received and >
 * for sent, then the frame. What the device still has to do is shown behind it:
 * (gso 1448) for a superframe, (csum partial) for an unfinished checksum. A
 * frame that is cut short or contradicts itself is shown as far as it goes,
 * followed by [|ip], [|tcp] and so on.
 *
 * Part of libstack.so: no stdio, no malloc.
 */
#include <sys/mman.h>

#include "netio/trace.h"
#include "netio/frame.h"
#include "netio/sys.h"
#include "netio/text.h"

#define TRACE_LINE 512

struct trace {
    struct netio io;
    struct netio *inner;
    int out;
};

/* The wrapper behind a netio, which is its first member. */
static struct trace *trace_of(struct netio *io) { return (struct trace *)io; }

/* The headers of a frame, as far as they were copied. */
struct view {
    uint8_t b[FRAME_MAX_HDR];
    uint32_t n;   /* bytes in b */
    uint32_t end; /* of the network packet, by its own account */
    struct frame_layout at;
};

/* ---- TCP (RFC 9293, 3.1) ------------------------------------------------ */

/* Flags as tcpdump abbreviates them: . is ACK, E is ECE, W is CWR. */
static void tcp_flags(struct text *t, uint8_t flags) {
    static const char letter[] = "FSRP.UEW";

    text_str(t, "Flags [");
    for (int i = 0; i < 8; i++)
        if (flags & 1u << i)
            text_char(t, letter[i]);
    if (!flags)
        text_str(t, "none");
    text_char(t, ']');
}

/* SACK blocks (RFC 2018, 3). */
static void tcp_sack(struct text *t, const uint8_t *o, unsigned len) {
    text_str(t, "sack ");
    text_uint(t, (len - 2) / 8, 1);
    for (unsigned i = 2; i + 8 <= len; i += 8) {
        text_str(t, " {");
        text_uint(t, get32(o + i), 1);
        text_char(t, ':');
        text_uint(t, get32(o + i + 4), 1);
        text_char(t, '}');
    }
}

/* One option of kind o[0] and length len. */
static void tcp_option(struct text *t, const uint8_t *o, unsigned len) {
    if (o[0] == 2 && len == 4) {
        text_str(t, "mss ");
        text_uint(t, get16(o + 2), 1);
    } else if (o[0] == 3 && len == 3) {
        text_str(t, "wscale ");
        text_uint(t, o[2], 1);
    } else if (o[0] == 4 && len == 2) {
        text_str(t, "sackOK");
    } else if (o[0] == 5) {
        tcp_sack(t, o, len);
    } else if (o[0] == 8 && len == 10) {
        text_str(t, "TS val ");
        text_uint(t, get32(o + 2), 1);
        text_str(t, " ecr ");
        text_uint(t, get32(o + 6), 1);
    } else {
        text_str(t, "unknown-");
        text_uint(t, o[0], 1);
    }
}

/* All options; stops at the first that contradicts the length. */
static void tcp_options(struct text *t, const uint8_t *o, unsigned n) {
    text_str(t, ", options [");
    for (unsigned i = 0; i < n;) {
        /* kinds 0 and 1 are single bytes, all others have a length */
        unsigned len = o[i] <= 1 ? 1 : i + 1 < n ? o[i + 1] : 0;
        if (i)
            text_char(t, ',');
        if (o[i] <= 1) {
            text_str(t, o[i] ? "nop" : "eol");
        } else if (len < 2 || len > n - i) {
            text_str(t, "bad");
            break;
        } else {
            tcp_option(t, o + i, len);
        }
        if (o[i] == 0)
            break;
        i += len;
    }
    text_char(t, ']');
}

/* A TCP segment. With payload, seq is first:next as tcpdump prints it. */
static void show_tcp(struct text *t, const struct view *v) {
    const uint8_t *th = v->b + v->at.l4;
    uint32_t len;

    if (!v->at.payload || v->at.payload > v->end) {
        text_str(t, "[|tcp]");
        return;
    }
    len = v->end - v->at.payload;
    tcp_flags(t, th[13]);
    text_str(t, ", seq ");
    text_uint(t, get32(th + 4), 1);
    if (len) {
        text_char(t, ':');
        text_uint(t, (uint32_t)(get32(th + 4) + len), 1);
    }
    if (th[13] & 0x10) {
        text_str(t, ", ack ");
        text_uint(t, get32(th + 8), 1);
    }
    text_str(t, ", win ");
    text_uint(t, get16(th + 14), 1);
    if (th[13] & 0x20) {
        text_str(t, ", urg ");
        text_uint(t, get16(th + 18), 1);
    }
    if (v->at.payload > v->at.l4 + 20)
        tcp_options(t, th + 20, v->at.payload - v->at.l4 - 20u);
    text_str(t, ", length ");
    text_uint(t, len, 1);
}

/* ---- UDP, ICMP ---------------------------------------------------------- */

/* A UDP datagram (RFC 768). */
static void show_udp(struct text *t, const struct view *v) {
    if (!v->at.payload || v->at.payload > v->end) {
        text_str(t, "[|udp]");
        return;
    }
    text_str(t, "UDP, length ");
    text_uint(t, v->end - v->at.payload, 1);
}

/* Names of the ICMP messages (RFC 792, RFC 4443) that are common. */
static const char *icmp_name(const struct view *v) {
    const uint8_t *p = v->b + v->at.l4;

    if (v->at.proto == FRAME_ICMP6)
        switch (p[0]) {
        case 1:
            return "destination unreachable";
        case 2:
            return "packet too big";
        case 3:
            return "time exceeded";
        case 128:
            return "echo request";
        case 129:
            return "echo reply";
        case 135:
            return "neighbor solicitation";
        case 136:
            return "neighbor advertisement";
        default:
            return NULL;
        }
    switch (p[0]) {
    case 0:
        return "echo reply";
    case 3:
        return p[1] == 3   ? "port unreachable"
               : p[1] == 4 ? "fragmentation needed"
                           : "destination unreachable";
    case 5:
        return "redirect";
    case 8:
        return "echo request";
    case 11:
        return "time exceeded";
    default:
        return NULL;
    }
}

/* An ICMP or ICMPv6 message; for echo its id and sequence number. */
static void show_icmp(struct text *t, const struct view *v) {
    const uint8_t *p = v->b + v->at.l4;
    bool v6 = v->at.proto == FRAME_ICMP6;

    text_str(t, v6 ? "ICMP6 " : "ICMP ");
    if (v->n < v->at.l4 + 8u) {
        text_str(t, "[|icmp]");
        return;
    }
    const char *name = icmp_name(v);
    if (name) {
        text_str(t, name);
    } else {
        text_str(t, "type ");
        text_uint(t, p[0], 1);
    }
    if (p[0] == (v6 ? 128 : 8) || p[0] == (v6 ? 129 : 0)) {
        text_str(t, ", id ");
        text_uint(t, get16(p + 4), 1);
        text_str(t, ", seq ");
        text_uint(t, get16(p + 6), 1);
    } else {
        text_str(t, ", code ");
        text_uint(t, p[1], 1);
    }
    if (!v6 && p[0] == 3 && p[1] == 4) {
        text_str(t, ", mtu ");
        text_uint(t, get16(p + 6), 1);
    }
    text_str(t, ", length ");
    text_uint(t, v->end - v->at.l4, 1);
}

/* ---- IP, ARP ------------------------------------------------------------ */

/* One address, with its port when the transport has ports. */
static void show_addr(struct text *t, const struct view *v, unsigned which) {
    const uint8_t *ip = v->b + v->at.l3;
    bool ports =
        v->at.l4 && (v->at.proto == FRAME_TCP || v->at.proto == FRAME_UDP);

    if (v->at.type == FRAME_IPV4)
        text_ipv4(t, ip + 12 + 4 * which);
    else
        text_ipv6(t, ip + 8 + 16 * which);
    if (ports && v->n >= v->at.l4 + 4u) {
        text_char(t, '.');
        text_uint(t, get16(v->b + v->at.l4 + 2 * which), 1);
    }
}

/* End of the packet as the header tells it; superframes that exceed 16 bits
 * say 0. */
static uint32_t packet_end(const struct view *v, uint32_t frame_len) {
    const uint8_t *ip = v->b + v->at.l3;
    bool v4 = v->at.type == FRAME_IPV4;
    uint32_t len = v4 ? get16(ip + 2) : get16(ip + 4) + 40u;

    /* what follows the packet is padding to 60 bytes */
    if (len == (v4 ? 0u : 40u) || v->at.l3 + len > frame_len)
        return frame_len;
    return v->at.l3 + len;
}

/* Which part of a fragmented datagram this is (RFC 791, 3.1). */
static void show_fragment(struct text *t, const struct view *v) {
    uint16_t frag = get16(v->b + v->at.l3 + 6);

    if (v->at.type != FRAME_IPV4 || !v->at.fragment)
        return;
    text_str(t, " (frag id ");
    text_uint(t, get16(v->b + v->at.l3 + 4), 1);
    text_str(t, " offset ");
    text_uint(t, (frag & 0x1fffu) * 8, 1);
    text_str(t, frag & 0x2000 ? "+)" : ")");
}

/* An IP packet: addresses, then what it carries. */
static void show_ip(struct text *t, const struct view *v) {
    text_str(t, v->at.type == FRAME_IPV4 ? "IP " : "IP6 ");
    show_addr(t, v, 0);
    text_str(t, " > ");
    show_addr(t, v, 1);
    text_str(t, ": ");
    if (v->at.l4 && v->at.proto == FRAME_TCP) {
        show_tcp(t, v);
    } else if (v->at.l4 && v->at.proto == FRAME_UDP) {
        show_udp(t, v);
    } else if (v->at.l4 &&
               (v->at.proto == FRAME_ICMP || v->at.proto == FRAME_ICMP6)) {
        show_icmp(t, v);
    } else {
        text_str(t, "proto ");
        text_uint(t, v->at.proto, 1);
        text_str(t, ", length ");
        text_uint(t, v->end - v->at.l3, 1);
    }
    show_fragment(t, v);
}

/* RFC 826, Ethernet and IPv4 only. */
static void show_arp(struct text *t, const struct view *v) {
    const uint8_t *p = v->b + v->at.l3;

    text_str(t, "ARP, ");
    if (v->n < v->at.l3 + 28u || get16(p) != 1 || get16(p + 2) != FRAME_IPV4) {
        text_str(t, "[|arp]");
    } else if (get16(p + 6) == 1) {
        text_str(t, "Request who-has ");
        text_ipv4(t, p + 24);
        text_str(t, " tell ");
        text_ipv4(t, p + 14);
    } else {
        text_str(t, "Reply ");
        text_ipv4(t, p + 14);
        text_str(t, " is-at ");
        text_mac(t, p + 8);
    }
}

/* MAC addresses and type, for what is neither IP nor ARP. */
static void show_ether(struct text *t, const struct view *v) {
    text_mac(t, v->b + 6);
    text_str(t, " > ");
    text_mac(t, v->b);
    text_str(t, ", ethertype 0x");
    text_hex(t, v->at.type, 4);
}

/* What the device has still to do. */
static void show_meta(struct text *t, const struct netio_meta *m) {
    if (m->gso != NETIO_GSO_NONE) {
        text_str(t, " (gso ");
        text_uint(t, m->gso_size, 1);
        text_char(t, ')');
    } else if (m->flags & NETIO_CSUM_PARTIAL) {
        text_str(t, " (csum partial)");
    }
}

size_t netio_trace_line(const struct netio_frame *f, char *buf, size_t n) {
    struct text t = text_in(buf, n);
    struct view v;

    v.n = frame_copy(f, 0, v.b, sizeof(v.b));
    if (v.n < FRAME_ETH_HLEN) {
        text_str(&t, "[|ether]");
        return (size_t)(t.at - buf);
    }
    bool ok = frame_parse(v.b, v.n, &v.at);
    if (!ok)
        text_str(&t, v.at.type == FRAME_IPV4 || v.at.type == FRAME_IPV6
                         ? "[|ip] "
                         : "[|vlan] ");
    if (!ok || (v.at.type != FRAME_IPV4 && v.at.type != FRAME_IPV6 &&
                v.at.type != FRAME_ARP)) {
        show_ether(&t, &v);
        text_str(&t, ", length ");
        text_uint(&t, f->len, 1);
    } else if (v.at.type == FRAME_ARP) {
        show_arp(&t, &v);
    } else {
        v.end = packet_end(&v, f->len);
        show_ip(&t, &v);
    }
    show_meta(&t, &f->meta);
    return (size_t)(t.at - buf);
}

/* ---- the table ---------------------------------------------------------- */

/* Time, direction, frame, newline: one write. A full disk or a closed pipe
 * costs lines, nothing else. */
static void write_line(struct trace *tr, char dir, const struct netio_frame *f,
                       nstime_t now) {
    char buf[TRACE_LINE];
    struct text t = text_in(buf, sizeof(buf) - 1);

    text_uint(&t, now / 1000000000u, 1);
    text_char(&t, '.');
    text_uint(&t, now / 1000 % 1000000, 6);
    text_char(&t, ' ');
    text_char(&t, dir);
    text_char(&t, ' ');
    t.at += netio_trace_line(f, t.at, (size_t)(t.end - t.at) + 1);
    *t.at++ = '\n';
    sys_write(tr->out, buf, (size_t)(t.at - buf));
}

/* netio_ops.rx. */
static int trace_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct trace *t = trace_of(io);
    int r = netio_rx(t->inner, f, now);

    if (r > 0) {
        io->count.rx_frames++;
        io->count.rx_bytes += f->len;
        write_line(t, '<', f, now);
    }
    return r;
}

/* netio_ops.tx. Frames that the device did not take are not shown. */
static int trace_tx(struct netio *io, struct netio_frame *f, unsigned n,
                    nstime_t now) {
    struct trace *t = trace_of(io);
    int r = netio_tx(t->inner, f, n, now);

    for (int i = 0; i < r; i++) {
        io->count.tx_frames++;
        io->count.tx_bytes += f[i].len;
        write_line(t, '>', &f[i], now);
    }
    return r;
}

/* netio_ops.deadline: nothing is held back here. */
static nstime_t trace_deadline(struct netio *io) {
    return netio_deadline(trace_of(io)->inner);
}

/* netio_ops.renumber. */
static void trace_renumber(struct netio *io, int from, int to) {
    if (trace_of(io)->out == from)
        trace_of(io)->out = to;
    netio_renumber(trace_of(io)->inner, from, to);
}

/* netio_ops.close. The output descriptor stays open. */
static void trace_close(struct netio *io) {
    netio_close(trace_of(io)->inner);
    sys_munmap(trace_of(io), sizeof(struct trace));
}

static const struct netio_ops trace_ops = {
    .name = "trace",
    .rx = trace_rx,
    .tx = trace_tx,
    .deadline = trace_deadline,
    .renumber = trace_renumber,
    .close = trace_close,
};

struct netio *netio_trace_new(struct netio *inner, int fd) {
    struct trace *t = sys_mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (sys_is_err(t))
        return NULL;
    t->io =
        (struct netio){.ops = &trace_ops, .fd = inner->fd, .mtu = inner->mtu};
    t->inner = inner;
    t->out = fd;
    return &t->io;
}
