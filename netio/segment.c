/* segment.c: what a network card does with a superframe, in software.
 *
 * Theory of operation
 *
 * A superframe is one TCP segment (or one train of equal datagrams) longer
 * than the link allows, with one set of headers. Cutting it means: the payload
 * in pieces of gso_size; before each piece a copy of the headers in which the
 * IP length (and IPv4 ID), the TCP sequence number and flags or the UDP length
 * are those of the piece; all checksums anew. PSH and FIN belong to the last
 * piece, CWR to the first (RFC 3168, 6.1.2). IDs count up, so that pieces
 * which meet a fragmenting router stay distinct (RFC 6864, 4.3).
 *
 * Payload is never copied: emitted frames are gather lists {headers, slices of
 * the superframe}. hdr_len of the meta is not used; the headers themselves
 * say how long they are.
 */
#include <errno.h>

#include "netio/segment.h"
#include "netio/frame.h"

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

/* One superframe being cut. */
struct cut {
    const struct netio_frame *f;
    struct frame_layout at;
    uint8_t hdr[FRAME_MAX_HDR]; /* the superframe's own headers */
    uint8_t out[FRAME_MAX_HDR]; /* those of the current piece */
    struct iovec iov[FRAME_MAX_IOV];
    netio_emit_fn emit;
    void *ctx;
};

/* Checksum field value for a sum; 0 is sent as all ones, which is equal in
 * ones' complement and does not mean "none" in UDP (RFC 768). */
static uint16_t csum_value(uint64_t sum) {
    uint16_t v = (uint16_t)~frame_fold(sum);
    return v ? v : 0xffff;
}

/* Sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1) for len bytes. */
static uint64_t pseudo_sum(const uint8_t *hdr, const struct frame_layout *at,
                           uint32_t len) {
    uint8_t tail[8] = {0};
    bool v4 = at->type == FRAME_IPV4;

    put32(tail, len);
    tail[7] = at->proto;
    return v4 ? frame_sum(frame_sum(0, hdr + at->l3 + 12, 8), tail, 8)
              : frame_sum(frame_sum(0, hdr + at->l3 + 8, 32), tail, 8);
}

/* Emit the first `head` bytes of hdr and bytes [off, off + n) of f. */
static int emit_frame(struct cut *c, const uint8_t *hdr, uint32_t head,
                      uint32_t off, uint32_t n) {
    int k = frame_slice(c->f, off, n, c->iov + 1, FRAME_MAX_IOV - 1);
    struct netio_frame f = {.len = head + n, .iov = c->iov};

    if (k < 0)
        return -EINVAL;
    c->iov[0] = (struct iovec){(void *)(uintptr_t)hdr, head};
    f.niov = (uint32_t)k + 1;
    return c->emit(c->ctx, &f);
}

/* ---- superframes -------------------------------------------------------- */

/* Read the headers; do they fit the meta? */
static bool cut_prepare(struct cut *c) {
    const struct netio_meta *m = &c->f->meta;
    uint32_t n = frame_copy(c->f, 0, c->hdr, sizeof(c->hdr));
    bool v6 = m->gso == NETIO_GSO_TCP6;

    /* headers longer than FRAME_MAX_HDR leave payload unknown: refused */
    if (!frame_parse(c->hdr, n, &c->at) || !c->at.payload || c->at.fragment ||
        !m->gso_size)
        return false;
    if (m->gso == NETIO_GSO_UDP)
        return c->at.proto == FRAME_UDP;
    return c->at.proto == FRAME_TCP &&
           c->at.type == (v6 ? FRAME_IPV6 : FRAME_IPV4);
}

/* Network header of piece i, which has `len` bytes after the Ethernet one. */
static void cut_network(struct cut *c, unsigned i, uint32_t len) {
    uint8_t *ip = c->out + c->at.l3;

    if (c->at.type == FRAME_IPV6) { /* no checksum, no ID */
        put16(ip + 4, len - 40);
        return;
    }
    put16(ip + 2, len);
    put16(ip + 4, get16(c->hdr + c->at.l3 + 4) + i);
    put16(ip + 10, 0);
    uint64_t sum = frame_sum(0, ip, c->at.l4 - c->at.l3);
    put16(ip + 10, (uint16_t)~frame_fold(sum));
}

/* Transport header of the piece with payload [off, off + n). */
static void cut_transport(struct cut *c, uint32_t off, uint32_t n, bool last) {
    uint8_t *th = c->out + c->at.l4;
    uint32_t hlen = c->at.payload - c->at.l4;
    uint8_t *csum = th + (c->at.proto == FRAME_TCP ? 16 : 6);

    if (c->at.proto == FRAME_TCP) {
        put32(th + 4, get32(th + 4) + (off - c->at.payload));
        if (!last)
            th[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
        if (off != c->at.payload)
            th[13] &= (uint8_t)~TCP_CWR;
    } else {
        put16(th + 4, hlen + n);
    }
    put16(csum, 0);
    /* header lengths are even, so the payload starts at an even offset */
    uint64_t sum = pseudo_sum(c->out, &c->at, hlen + n);
    sum = frame_sum(sum, th, hlen);
    put16(csum, csum_value(frame_sum_range(sum, c->f, off, n)));
}

/* Cut and emit. Returns the number of frames or emit's error. */
static int cut_all(struct cut *c) {
    uint32_t off = c->at.payload, end = c->f->len;
    uint32_t head = c->at.payload;
    unsigned i = 0;

    /* a train of no payload is one frame: headers can carry news too */
    do {
        uint32_t n = end - off;
        if (n > c->f->meta.gso_size)
            n = c->f->meta.gso_size;
        memcpy(c->out, c->hdr, head);
        cut_network(c, i, head - c->at.l3 + n);
        cut_transport(c, off, n, off + n == end);
        int r = emit_frame(c, c->out, head, off, n);
        if (r < 0)
            return r;
        off += n;
        i++;
    } while (off < end);
    return (int)i;
}

/* ---- plain frames ------------------------------------------------------- */

/* The finished value for a partial checksum, or -EINVAL. */
static int partial_value(const struct netio_frame *f) {
    uint32_t start = f->meta.csum_start;

    if (start + f->meta.csum_offset + 2u > f->len)
        return -EINVAL;
    return csum_value(frame_sum_range(0, f, start, f->len - start));
}

/* Emit a plain frame with its checksum completed in a copy of the headers. */
static int complete_copy(struct cut *c) {
    uint32_t at = (uint32_t)c->f->meta.csum_start + c->f->meta.csum_offset;
    int v = partial_value(c->f);

    if (v < 0 || at + 2 > sizeof(c->out))
        return -EINVAL;
    frame_copy(c->f, 0, c->out, at);
    put16(c->out + at, (uint32_t)v);
    return emit_frame(c, c->out, at + 2, at + 2, c->f->len - at - 2);
}

/* Emit a complete frame as it is (its room cut to its length). */
static int pass_on(struct cut *c) {
    int k = frame_slice(c->f, 0, c->f->len, c->iov, FRAME_MAX_IOV);
    struct netio_frame f = {.len = c->f->len, .iov = c->iov};

    if (k < 0)
        return -EINVAL;
    f.niov = (uint32_t)k;
    return c->emit(c->ctx, &f);
}

int netio_segment(const struct netio_frame *f, netio_emit_fn emit, void *ctx) {
    struct cut c;

    /* not initialised as a whole: headers and pieces are 1.5 KB that the
     * common case would clear for nothing */
    c.f = f;
    c.emit = emit;
    c.ctx = ctx;
    if (f->meta.gso != NETIO_GSO_NONE)
        return cut_prepare(&c) ? cut_all(&c) : -EINVAL;
    int r =
        f->meta.flags & NETIO_CSUM_PARTIAL ? complete_copy(&c) : pass_on(&c);
    return r < 0 ? r : 1;
}

int netio_complete_csum(struct netio_frame *f) {
    uint8_t b[2];
    int v;

    if (!(f->meta.flags & NETIO_CSUM_PARTIAL))
        return 0;
    v = partial_value(f);
    if (v < 0)
        return v;
    put16(b, (uint32_t)v);
    frame_store(f, (uint32_t)f->meta.csum_start + f->meta.csum_offset, b, 2);
    f->meta.flags &= (uint8_t)~NETIO_CSUM_PARTIAL;
    return 0;
}
