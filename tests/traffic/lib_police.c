/* lib_police.c: what a lawful stack may send.
 *
 * Theory of operation
 *
 * The wrapper sees both directions of one stack: `sent` is judged, `received`
 * is only learnt from, and only if its checksums hold (the link may corrupt).
 * A TCP connection is a `struct conn`, found by ports and peer address in a
 * small hash; it is made by our SYN or SYN-ACK and begun anew by the next one.
 *
 * The rules, each with its source:
 *   RFC 894, 791, 1122   lengths agree, header checksum, own source address
 *   RFC 9293 3.1, 3.8    checksum; ACK on all but the first SYN; the
 *                        acknowledged was received; nothing beyond the window
 *                        (one byte of a zero window probe excepted), nothing
 *                        beyond FIN
 *   RFC 9293 3.8.6       the right edge of our window never moves left
 *   RFC 9293 3.7.1, 6691 no segment larger than the peer's MSS
 *   RFC 7323             scale on SYN only, <= 14; timestamps on all or none,
 *                        never going back, echoing what was received
 *   RFC 2018             SACK only if permitted, each block inside what was
 *                        received above the ACK (the first may be a D-SACK)
 *   RFC 768, 792, 826    UDP, ICMP and ARP lengths and checksums
 *   virtio 5.1.6         partial checksums and segmentation say the truth
 */
#include "tests/traffic/lib_police.h"

#include <stdlib.h>
#include <string.h>

#include "tests/traffic/lib_pair.h"

#define HASH 4096

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

struct conn {
    struct conn *next;
    uint32_t peer;
    uint16_t lport, rport;
    bool our_syn, their_syn, their_ack, our_fin, our_rst;
    bool ts_sent, ts_got, sack_sent, sack_got, ws_sent, ws_got;
    uint8_t our_shift, their_shift;
    uint16_t our_mss, their_mss;
    uint32_t iss, snd_max, fin_seq; /* ours */
    uint32_t irs, rcv_max;          /* theirs: highest byte seen, plus one */
    uint32_t ack_sent, edge_sent;   /* the highest of each */
    uint32_t ack_got, edge_got;
    uint32_t tsval_sent, tsval_got;
    bool edge_known;
};

struct police {
    struct netio io;
    struct netio *inner;
    struct pair *p;
    int side;
    unsigned mute; /* MUTE_* */
    bool raw;      /* IP packets are not judged */
    struct police_count count;
    struct conn *hash[HASH];
    uint8_t flat[1 << 18];
};

/* One TCP segment, read. */
struct seg {
    uint32_t peer;
    uint16_t lport, rport;
    uint32_t seq, ack, len; /* len: payload bytes */
    uint8_t flags;
    uint16_t wnd, urg;
    const uint8_t *data;
    uint16_t mss;
    int shift; /* -1: no window scale option */
    bool sack_ok, ts;
    uint32_t tsval, tsecr;
    unsigned nsack, optlen;
    uint32_t sack[4][2];
};

static uint16_t rd16(const uint8_t *b) { return (uint16_t)(b[0] << 8 | b[1]); }
static uint32_t rd32(const uint8_t *b) {
    return (uint32_t)rd16(b) << 16 | rd16(b + 2);
}
static int32_t diff(uint32_t a, uint32_t b) { return (int32_t)(a - b); }

#define LAW(po, cond, format, ...)                                             \
    do {                                                                       \
        if (!(cond))                                                           \
            pair_fail((po)->p, "police of %c: %s: " format, 'A' + (po)->side,  \
                      #cond, ##__VA_ARGS__);                                   \
    } while (0)

/* RFC 1071 over n bytes, started with `sum`; folded, not complemented. */
static uint16_t sum16(uint64_t sum, const uint8_t *b, uint32_t n) {
    for (; n > 1; n -= 2, b += 2)
        sum += rd16(b);
    if (n)
        sum += (uint64_t)b[0] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static uint64_t pseudo(const uint8_t *ip, uint32_t len) {
    return (uint64_t)rd16(ip + 12) + rd16(ip + 14) + rd16(ip + 16) +
           rd16(ip + 18) + ip[9] + len;
}

/* ---- reading ---------------------------------------------------------------- */

/* Fill the options of s; false: malformed. */
static bool read_options(const uint8_t *o, unsigned n, struct seg *s) {
    s->shift = -1;
    for (unsigned i = 0; i < n && o[i] != 0;) {
        if (o[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= n || o[i + 1] < 2 || i + o[i + 1] > n)
            return false;
        unsigned kind = o[i], len = o[i + 1];
        const uint8_t *v = o + i + 2;
        if (kind == 2 && len == 4)
            s->mss = rd16(v);
        else if (kind == 3 && len == 3)
            s->shift = v[0];
        else if (kind == 4 && len == 2)
            s->sack_ok = true;
        else if (kind == 8 && len == 10)
            s->ts = true, s->tsval = rd32(v), s->tsecr = rd32(v + 4);
        else if (kind == 5 && len % 8 == 2 && len <= 34)
            for (s->nsack = 0; s->nsack < (len - 2) / 8; s->nsack++) {
                s->sack[s->nsack][0] = rd32(v + 8 * s->nsack);
                s->sack[s->nsack][1] = rd32(v + 8 * s->nsack + 4);
            }
        else
            return false;
        i += len;
    }
    return true;
}

/* ip: a whole IPv4 packet with a TCP segment; out: was it sent by us? */
static bool read_segment(const uint8_t *ip, uint32_t len, bool out,
                         struct seg *s) {
    uint32_t ihl = (ip[0] & 15) * 4u;
    const uint8_t *t = ip + ihl;
    len -= ihl;
    *s = (struct seg){0};
    if (len < 20 || (t[12] >> 4) * 4u < 20 || (t[12] >> 4) * 4u > len)
        return false;
    uint32_t hl = (t[12] >> 4) * 4u;
    s->peer = rd32(ip + (out ? 16 : 12));
    s->lport = rd16(t + (out ? 0 : 2));
    s->rport = rd16(t + (out ? 2 : 0));
    s->seq = rd32(t + 4);
    s->ack = rd32(t + 8);
    s->flags = t[13] & 0x3f;
    s->wnd = rd16(t + 14);
    s->urg = rd16(t + 18);
    s->data = t + hl;
    s->len = len - hl;
    s->optlen = hl - 20;
    return read_options(t + 20, hl - 20, s);
}

static struct conn *conn_find(struct police *po, const struct seg *s,
                              bool make) {
    uint32_t h = (s->peer * 31u + s->lport) * 65599u + s->rport;
    struct conn **at = &po->hash[(h ^ h >> 13) % HASH];
    for (struct conn *c = *at; c; c = c->next)
        if (c->peer == s->peer && c->lport == s->lport && c->rport == s->rport)
            return c;
    if (!make)
        return NULL;
    struct conn *c = calloc(1, sizeof(*c));
    if (!c)
        pair_fail(po->p, "no memory");
    *c = (struct conn){.next = *at,
                       .peer = s->peer,
                       .lport = s->lport,
                       .rport = s->rport};
    return *at = c;
}

/* ---- telling ------------------------------------------------------------------- */

FILE *police_log;

/* One line about a segment, sent or received; numbers count from the first. */
static void tell(const struct police *po, const struct conn *c,
                 const struct seg *s, bool out) {
    if (!police_log)
        return;
    uint32_t iss = c ? c->iss : 0, irs = c ? c->irs : 0;
    unsigned shift = (s->flags & SYN) || !c || !c->ws_got || !c->ws_sent ? 0
                     : out ? c->our_shift
                           : c->their_shift;
    fprintf(police_log,
            "%.6f %c %s %u>%u %s%s%s%s%s%s seq %u len %u ack %u wnd %u",
            (double)po->p->now / 1e9, po->side ? 'B' : 'A', out ? "->" : "<-",
            out ? s->lport : s->rport, out ? s->rport : s->lport,
            s->flags & SYN ? "S" : "", s->flags & FIN ? "F" : "",
            s->flags & RST ? "R" : "", s->flags & PSH ? "P" : "",
            s->flags & URG ? "U" : "", s->flags & ACK ? "." : "",
            s->seq - (out ? iss : irs), s->len, s->ack - (out ? irs : iss),
            (uint32_t)s->wnd << shift);
    if (s->ts)
        fprintf(police_log, " ts %u/%u", s->tsval, s->tsecr);
    for (unsigned i = 0; i < s->nsack; i++)
        fprintf(police_log, " sack %u-%u", s->sack[i][0] - (out ? irs : iss),
                s->sack[i][1] - (out ? irs : iss));
    fputc('\n', police_log);
}

/* ---- learning from what is received ------------------------------------------- */

static void learn_syn(struct conn *c, const struct seg *s) {
    if (c->our_syn && (s->flags & ACK) && s->ack != c->iss + 1)
        return; /* answers something else */
    if (c->their_syn && c->irs == s->seq)
        return; /* sent again */
    if (c->their_syn && !(s->flags & ACK)) {
        /* A new connection on old ports; ours begins with our SYN-ACK. */
        struct conn *next = c->next;
        *c = (struct conn){.next = next,
                           .peer = c->peer,
                           .lport = c->lport,
                           .rport = c->rport};
    }
    c->their_syn = true;
    c->irs = s->seq;
    c->rcv_max = s->seq + 1;
    c->their_mss = s->mss ? s->mss : 536;
    c->ts_got = s->ts;
    c->sack_got = s->sack_ok;
    c->ws_got = s->shift >= 0;
    c->their_shift = s->shift < 0 ? 0 : s->shift > 14 ? 14 : (uint8_t)s->shift;
    c->tsval_got = s->tsval;
}

/* A segment with good checksums reached us. */
static void learn_segment(struct police *po, const struct seg *s) {
    struct conn *c = conn_find(po, s, (s->flags & SYN) && !(s->flags & RST));
    tell(po, c, s, false);
    if (!c || (s->flags & RST))
        return;
    if (s->flags & SYN)
        learn_syn(c, s);
    if (!c->their_syn)
        return;
    uint32_t end = s->seq + s->len + !!(s->flags & FIN) + !!(s->flags & SYN);
    if (diff(end, c->rcv_max) > 0)
        c->rcv_max = end;
    if (s->ts && diff(s->tsval, c->tsval_got) > 0)
        c->tsval_got = s->tsval;
    if (!(s->flags & ACK))
        return;
    bool scaled = !(s->flags & SYN) && c->ws_got && c->ws_sent;
    uint32_t edge =
        s->ack + ((uint32_t)s->wnd << (scaled ? c->their_shift : 0));
    if (!c->their_ack || diff(s->ack, c->ack_got) > 0)
        c->ack_got = s->ack;
    if (!c->their_ack || diff(edge, c->edge_got) > 0)
        c->edge_got = edge;
    c->their_ack = true;
}

/* Bytes of an IP packet: 0 in the header stands for more than it can say. */
static uint32_t ip_length(const uint8_t *ip, uint32_t len, uint8_t gso) {
    uint32_t total = rd16(ip + 2);
    return !total && gso && len > 65535 ? len : total;
}

static void learn(struct police *po, const uint8_t *f, uint32_t len,
                  const struct netio_meta *m) {
    struct seg s;
    if (len < 34 || rd16(f + 12) != 0x0800)
        return;
    const uint8_t *ip = f + 14;
    uint32_t hl = (ip[0] & 15) * 4u, total = ip_length(ip, len - 14, m->gso);
    if (ip[0] >> 4 != 4 || hl < 20 || total < hl || total > len - 14 ||
        sum16(0, ip, hl) != 0xffff || ip[9] != 6 || (rd16(ip + 6) & 0x3fff))
        return;
    if (!(m->flags & (NETIO_CSUM_PARTIAL | NETIO_CSUM_VALID)) &&
        sum16(pseudo(ip, total - hl), ip + hl, total - hl) != 0xffff)
        return;
    if (read_segment(ip, total, false, &s))
        learn_segment(po, &s);
}

/* ---- judging what is sent --------------------------------------------------------- */

static void judge_syn(struct police *po, struct conn *c, const struct seg *s) {
    LAW(po, s->len == 0, "%u", s->len);
    LAW(po, !(s->flags & (FIN | RST)), "flags %#x", s->flags);
    LAW(po, s->shift <= 14, "%d", s->shift);
    LAW(po, s->mss >= 64, "%u", s->mss);
    bool again = c->our_syn && c->iss == s->seq;
    if (!again) {
        /* A new connection. What the peer's SYN said stays if we answer. */
        if (!(s->flags & ACK)) {
            struct conn *next = c->next;
            *c = (struct conn){.next = next,
                               .peer = c->peer,
                               .lport = c->lport,
                               .rport = c->rport};
        }
        c->our_syn = true;
        c->our_fin = c->our_rst = c->edge_known = c->their_ack = false;
        c->iss = s->seq;
        c->snd_max = s->seq + 1;
        c->tsval_sent = s->tsval;
    }
    c->our_mss = s->mss;
    c->ts_sent = s->ts;
    c->sack_sent = s->sack_ok;
    c->ws_sent = s->shift >= 0;
    c->our_shift = s->shift < 0 ? 0 : (uint8_t)s->shift;
    if (!(s->flags & ACK))
        return;
    LAW(po, c->their_syn, "SYN-ACK without a SYN");
    LAW(po, !s->ts || c->ts_got, "timestamps not offered");
    LAW(po, !s->sack_ok || c->sack_got, "SACK not offered");
    LAW(po, s->shift < 0 || c->ws_got, "window scale not offered");
}

/* Sequence space: inside the peer's window, nothing after FIN. */
static void judge_seq(struct police *po, struct conn *c, const struct seg *s) {
    uint32_t end = s->seq + s->len;
    if (c->our_fin && s->len)
        LAW(po, diff(end, c->fin_seq) <= 0, "data after FIN");
    if ((s->flags & FIN) && c->our_fin)
        LAW(po, end == c->fin_seq, "FIN moved from %u to %u",
            c->fin_seq - c->iss, end - c->iss);
    if (s->flags & FIN) {
        c->our_fin = true;
        c->fin_seq = end;
        end++;
    }
    LAW(po, diff(s->seq, c->snd_max) <= 0, "a hole: seq %u after %u",
        s->seq - c->iss, c->snd_max - c->iss);
    if (end != s->seq && c->their_ack) {
        int32_t over = diff(end, c->edge_got);
        bool probe = s->len + !!(s->flags & FIN) == 1;
        LAW(po, over <= 0 || (probe && over == 1),
            "%d bytes beyond the window (seq %u len %u edge %u)", over,
            s->seq - c->iss, s->len, c->edge_got - c->iss);
    }
    if (end != s->seq && diff(s->seq, c->snd_max) < 0)
        po->count.resent++;
    if (diff(end, c->snd_max) > 0)
        c->snd_max = end;
}

/* What we acknowledge and how much we are willing to take. */
static void judge_ack(struct police *po, struct conn *c, const struct seg *s) {
    LAW(po, c->their_syn, "ACK of nothing");
    LAW(po, diff(s->ack, c->rcv_max) <= 0, "acknowledges %u, received %u",
        s->ack - c->irs, c->rcv_max - c->irs);
    bool scaled = !(s->flags & SYN) && c->ws_got && c->ws_sent;
    uint32_t shift = scaled ? c->our_shift : 0;
    uint32_t edge = s->ack + ((uint32_t)s->wnd << shift);
    if (c->edge_known) {
        LAW(po, diff(s->ack, c->ack_sent) >= 0, "ACK went back by %d",
            diff(c->ack_sent, s->ack));
        /* A SYN-ACK sent again can say no more than 64 KiB. */
        LAW(po, (s->flags & SYN) || diff(edge, c->edge_sent) > -(1 << shift),
            "window shrank by %d", diff(c->edge_sent, edge));
    }
    if (!c->edge_known || diff(edge, c->edge_sent) > 0)
        c->edge_sent = edge;
    c->ack_sent = s->ack;
    c->edge_known = true;
    LAW(po, !s->nsack || (c->sack_got && c->sack_sent), "SACK not permitted");
    for (unsigned i = 0; i < s->nsack; i++) {
        uint32_t l = s->sack[i][0], r = s->sack[i][1];
        LAW(po, diff(r, l) > 0, "block %u is [%u, %u)", i, l - c->irs,
            r - c->irs);
        LAW(po, diff(r, c->rcv_max) <= 0, "block %u beyond what came", i);
        LAW(po, i == 0 || diff(l, s->ack) > 0, "block %u below the ACK", i);
    }
}

static void judge_stamps(struct police *po, struct conn *c,
                         const struct seg *s) {
    bool want = c->ts_sent && c->ts_got;
    if (!(s->flags & SYN))
        LAW(po, s->ts == want, "%d, flags %#x", s->ts, s->flags);
    if (!s->ts)
        return;
    LAW(po, diff(s->tsval, c->tsval_sent) >= 0, "time went back by %d",
        diff(c->tsval_sent, s->tsval));
    c->tsval_sent = s->tsval;
    if (s->flags & ACK)
        LAW(po, diff(s->tsecr, c->tsval_got) <= 0, "echo of the future");
}

static void judge_size(struct police *po, struct conn *c, const struct seg *s,
                       const struct netio_meta *m) {
    if (!c->their_syn || !s->len)
        return;
    uint32_t mss = c->their_mss - s->optlen;
    LAW(po, m->gso || s->len <= mss, "%u, mss %u", s->len, mss);
    LAW(po, m->gso_size <= mss, "%u, mss %u", m->gso_size, mss);
    LAW(po, !m->gso || s->len > m->gso_size, "segmentation of one segment");
}

static void judge_segment(struct police *po, const struct seg *s,
                          const struct netio_meta *m) {
    po->count.tcp++;
    tell(po, conn_find(po, s, false), s, true);
    LAW(po, s->urg == 0 || (s->flags & URG), "%u", s->urg);
    if (s->flags & RST) {
        struct conn *c = conn_find(po, s, false);
        LAW(po, s->len == 0 && !(s->flags & (SYN | FIN)), "%#x", s->flags);
        po->count.rst++;
        if (c && c->our_syn && s->seq == c->snd_max)
            c->our_rst = true;
        return;
    }
    struct conn *c = conn_find(po, s, s->flags & SYN);
    LAW(po, c, "segment of no connection, flags %#x", s->flags);
    if (s->flags & SYN)
        judge_syn(po, c, s);
    else
        LAW(po, !s->mss && s->shift < 0 && !s->sack_ok,
            "SYN's options on flags %#x", s->flags);
    LAW(po, (s->flags & (SYN | ACK)), "neither SYN nor ACK: %#x", s->flags);
    LAW(po, !(s->flags & SYN) || !(s->flags & FIN), "SYN and FIN");
    /* TIME-WAIT and closed ends answer too: with ACK or RST, never data. */
    LAW(po, !c->our_rst || !s->len, "data after RST");
    judge_size(po, c, s, m);
    if (!(s->flags & SYN))
        judge_seq(po, c, s);
    if (s->flags & ACK)
        judge_ack(po, c, s);
    judge_stamps(po, c, s);
    po->count.syn += !!(s->flags & SYN);
    po->count.fin += !!(s->flags & FIN);
    po->count.pure_acks += s->flags == ACK && !s->len;
}

/* The checksum at l4[at]: complete, or partial and said so. */
static void judge_sum(struct police *po, const uint8_t *f, uint32_t total,
                      unsigned at, const struct netio_meta *m) {
    const uint8_t *ip = f + 14;
    uint32_t hl = (ip[0] & 15) * 4u, len = total - hl;
    const uint8_t *l4 = ip + hl;
    LAW(po, len > at + 1, "%u", len);
    if (m->flags & NETIO_CSUM_PARTIAL) {
        LAW(po, m->csum_start == 14 + hl, "%u", m->csum_start);
        LAW(po, m->csum_offset == at, "%u", m->csum_offset);
        LAW(po, rd16(l4 + at) == sum16(pseudo(ip, len), NULL, 0),
            "pseudo-header sum %#x", rd16(l4 + at));
    } else if (ip[9] == 1) {
        LAW(po, sum16(0, l4, len) == 0xffff, "ICMP checksum");
    } else if (!(ip[9] == 17 && rd16(l4 + at) == 0)) {
        LAW(po, sum16(pseudo(ip, len), l4, len) == 0xffff,
            "checksum, protocol %u", ip[9]);
    }
}

static void judge_ip(struct police *po, const uint8_t *f, uint32_t len,
                     const struct netio_meta *m) {
    const uint8_t *ip = f + 14;
    uint32_t hl = (ip[0] & 15) * 4u, total = ip_length(ip, len - 14, m->gso);
    uint32_t mtu = po->p->cfg.mtu;
    if (po->raw)
        return;
    LAW(po, len >= 34 && ip[0] >> 4 == 4 && hl >= 20, "%u", len);
    LAW(po, total == len - 14, "IP length %u in a frame of %u", total, len);
    LAW(po, m->gso || total <= mtu, "%u, mtu %u", total, mtu);
    LAW(po, sum16(0, ip, hl) == 0xffff, "IP header checksum");
    LAW(po, ip[8] > 0, "TTL 0");
    LAW(po, (rd32(ip + 12) & 0xff) == (uint32_t)po->side + 1, "source %#x",
        rd32(ip + 12));
    if (m->gso)
        LAW(po, m->flags & NETIO_CSUM_PARTIAL, "segmentation, full checksum");
    if (rd16(ip + 6) & 0x3fff) {
        po->count.fragments++;
        LAW(po, !(rd16(ip + 6) & 0x4000), "a fragment with DF");
        LAW(po, !(rd16(ip + 6) & 0x2000) || (total - hl) % 8 == 0,
            "fragment of %u", total - hl);
        return;
    }
    const uint8_t *l4 = ip + hl;
    if (ip[9] == 6) {
        struct seg s;
        judge_sum(po, f, total, 16, m);
        LAW(po, read_segment(ip, total, true, &s), "malformed TCP");
        if (m->gso) {
            LAW(po, m->gso == NETIO_GSO_TCP4, "%u", m->gso);
            LAW(po, m->hdr_len == 14 + hl + 20 + s.optlen, "%u", m->hdr_len);
            LAW(po, !(s.flags & (SYN | RST | URG)), "%#x", s.flags);
            po->count.superframes++;
        }
        judge_segment(po, &s, m);
    } else if (ip[9] == 17) {
        po->count.udp++;
        judge_sum(po, f, total, 6, m);
        LAW(po, rd16(l4 + 4) == total - hl, "UDP length %u of %u", rd16(l4 + 4),
            total - hl);
    } else if (ip[9] == 1) {
        po->count.icmp++;
        judge_sum(po, f, total, 2, m);
    }
}

static void judge_arp(struct police *po, const uint8_t *f, uint32_t len) {
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    po->count.arp++;
    LAW(po, len >= 42, "%u", len);
    LAW(po, memcmp(f + 14, head, 6) == 0, "ARP header");
    LAW(po, rd16(f + 20) == 1 || rd16(f + 20) == 2, "op %u", rd16(f + 20));
    LAW(po, memcmp(f + 6, f + 22, 6) == 0, "ARP sender is not the frame's");
}

static void judge(struct police *po, const uint8_t *f, uint32_t len,
                  const struct netio_meta *m) {
    po->count.frames++;
    LAW(po, len >= 14, "%u", len);
    LAW(po, f[11] == po->side + 1, "source MAC");
    if (rd16(f + 12) == 0x0800)
        judge_ip(po, f, len, m);
    else if (rd16(f + 12) == 0x0806)
        judge_arp(po, f, len);
    else
        LAW(po, false, "ethertype %#x", rd16(f + 12));
}

/* ---- the wrapper ----------------------------------------------------------------- */

static uint32_t flatten(struct police *po, const struct netio_frame *f) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->niov && n < f->len; i++) {
        uint32_t m = (uint32_t)f->iov[i].iov_len;
        m = m < f->len - n ? m : f->len - n;
        LAW(po, n + m <= sizeof(po->flat), "frame of %u", f->len);
        memcpy(po->flat + n, f->iov[i].iov_base, m);
        n += m;
    }
    LAW(po, n == f->len, "frame says %u, holds %u", f->len, n);
    return n;
}

static int police_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    struct police *po = (struct police *)io;
    int r;
    do
        r = netio_rx(po->inner, f, now);
    while (r == 1 && po->mute & MUTE_RX);
    if (r == 1) {
        io->count.rx_frames++;
        learn(po, po->flat, flatten(po, f), &f->meta);
    }
    return r;
}

static int police_tx(struct netio *io, struct netio_frame *f, unsigned n,
                     nstime_t now) {
    struct police *po = (struct police *)io;
    for (unsigned i = 0; i < n; i++)
        judge(po, po->flat, flatten(po, &f[i]), &f[i].meta);
    return po->mute & MUTE_TX ? (int)n : netio_tx(po->inner, f, n, now);
}

static nstime_t police_deadline(struct netio *io) {
    return netio_deadline(((struct police *)io)->inner);
}

static void police_close(struct netio *io) {
    struct police *po = (struct police *)io;
    netio_close(po->inner);
    for (unsigned i = 0; i < HASH; i++)
        while (po->hash[i]) {
            struct conn *c = po->hash[i];
            po->hash[i] = c->next;
            free(c);
        }
    free(po);
}

static int police_peek(struct netio *io, void *buf, uint32_t n) {
    return netio_peek(((struct police *)io)->inner, buf, n);
}

static const struct netio_ops ops = {
    .name = "police",
    .rx = police_rx,
    .peek = police_peek,
    .tx = police_tx,
    .deadline = police_deadline,
    .close = police_close,
};

struct netio *police_open(struct netio *inner, struct police **out,
                          struct pair *p, int side) {
    struct police *po = calloc(1, sizeof(*po));
    if (!po)
        pair_fail(p, "no memory");
    po->io = (struct netio){.ops = &ops, .fd = inner->fd, .mtu = inner->mtu};
    po->inner = inner;
    po->p = p;
    po->side = side;
    *out = po;
    return &po->io;
}

void police_mute(struct police *po, unsigned ways) { po->mute = ways; }

void police_raw(struct police *po) { po->raw = true; }

const struct police_count *police_count(const struct police *po) {
    return &po->count;
}
