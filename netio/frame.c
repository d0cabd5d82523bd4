/* frame.c: looking into frames that are gather lists.
 *
 * Wrappers get frames in pieces: headers here, payload there, cut anywhere.
 * One walker gives the runs of bytes of a range in turn; copying, slicing,
 * storing and summing are loops over it. Headers are looked at in a flat copy
 * of the first FRAME_MAX_HDR bytes (frame_parse), never in place.
 *
 * Nothing here trusts the frame: every length is checked against what is
 * there, and a chain of extension headers ends with the copy.
 */
#include "netio/frame.h"

/* Walks the pieces of a frame from offset `off`: each call of next() returns
 * the next run of bytes, at most `left` in all. */
struct walk {
    const struct iovec *iov, *end;
    size_t skip;
    uint32_t left;
};

/* Begin at [off, off + n), cut at the end of the frame. */
static struct walk walk_from(const struct netio_frame *f, uint32_t off,
                             uint32_t n) {
    struct walk w = {f->iov, f->iov + f->niov, off, 0};

    if (off < f->len)
        w.left = n < f->len - off ? n : f->len - off;
    /* empty pieces are allowed anywhere */
    while (w.iov < w.end && w.skip >= w.iov->iov_len)
        w.skip -= w.iov++->iov_len;
    return w;
}

/* The next run; length 0 at the end. */
static struct iovec walk_next(struct walk *w) {
    struct iovec run = {NULL, 0};

    while (w->left && w->iov < w->end && run.iov_len == 0) {
        run.iov_base = (uint8_t *)w->iov->iov_base + w->skip;
        run.iov_len = w->iov->iov_len - w->skip;
        if (run.iov_len > w->left)
            run.iov_len = w->left;
        w->left -= (uint32_t)run.iov_len;
        w->skip = 0;
        w->iov++;
    }
    return run;
}

uint32_t frame_copy(const struct netio_frame *f, uint32_t off, void *dst,
                    uint32_t n) {
    struct walk w = walk_from(f, off, n);
    uint32_t done = 0;

    for (struct iovec r; (r = walk_next(&w)).iov_len; done += r.iov_len)
        memcpy((uint8_t *)dst + done, r.iov_base, r.iov_len);
    return done;
}

int frame_slice(const struct netio_frame *f, uint32_t off, uint32_t n,
                struct iovec *out, unsigned max) {
    struct walk w = walk_from(f, off, n);
    unsigned used = 0;

    if (off > f->len || n > f->len - off)
        return -1;
    for (struct iovec r; (r = walk_next(&w)).iov_len; n -= r.iov_len) {
        if (used == max)
            return -1;
        out[used++] = r;
    }
    return n ? -1 : (int)used;
}

bool frame_store(struct netio_frame *f, uint32_t off, const void *src,
                 uint32_t n) {
    struct walk w = walk_from(f, off, n);
    const uint8_t *from = src;

    if (off > f->len || n > f->len - off)
        return false;
    for (struct iovec r; (r = walk_next(&w)).iov_len; from += r.iov_len)
        memcpy(r.iov_base, from, r.iov_len);
    return from == (const uint8_t *)src + n;
}

/* Words are added in the machine's order, as RFC 1071 section 2(B) allows;
 * frame_fold swaps once. 64 bits hold the carries of 16 GB. */
uint64_t frame_sum(uint64_t sum, const void *data, size_t n) {
    const uint8_t *p = data;

    for (; n >= 8; n -= 8, p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        sum += (w & 0xffffffffu) + (w >> 32);
    }
    for (; n >= 2; n -= 2, p += 2) {
        uint16_t w;
        memcpy(&w, p, 2);
        sum += w;
    }
    if (n) {
        uint16_t w = 0;
        memcpy(&w, p, 1);
        sum += w;
    }
    return sum;
}

/* Fold to 16 bits in the machine's order. */
static uint16_t fold_native(uint64_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint64_t frame_sum_range(uint64_t sum, const struct netio_frame *f,
                         uint32_t off, uint32_t n) {
    struct walk w = walk_from(f, off, n);
    bool odd = false;

    for (struct iovec r; (r = walk_next(&w)).iov_len;) {
        uint64_t s = frame_sum(0, r.iov_base, r.iov_len);
        /* RFC 1071 2(B): a sum that is off by one byte is swapped */
        sum += odd ? __builtin_bswap16(fold_native(s)) : s;
        odd ^= r.iov_len & 1;
    }
    return sum;
}

uint16_t frame_fold(uint64_t sum) {
    uint16_t v = fold_native(sum);
    uint8_t b[2];

    memcpy(b, &v, 2);
    return get16(b);
}

/* ---- finding the headers ------------------------------------------------ */

/* IPv4 (RFC 791, 3.1). */
static bool parse_ipv4(const uint8_t *p, uint32_t n, struct frame_layout *l) {
    const uint8_t *ip = p + l->l3;
    uint32_t hlen = 0;

    if (n < l->l3 + 20u)
        return false;
    hlen = (ip[0] & 15u) * 4;
    if (ip[0] >> 4 != 4 || hlen < 20 || n < l->l3 + hlen)
        return false;
    l->proto = ip[9];
    /* more fragments, or an offset; only offset 0 has a transport header */
    l->fragment = get16(ip + 6) & 0x3fff;
    if (!(get16(ip + 6) & 0x1fff))
        l->l4 = (uint16_t)(l->l3 + hlen);
    return true;
}

/* Is this IPv6 next-header value an extension header that can be stepped over
 * (RFC 8200, 4.1)? */
static bool is_ext_header(uint8_t next) {
    return next == 0 || next == 43 || next == 44 || next == 60;
}

/* IPv6 (RFC 8200, 3) with its chain of extension headers. */
static bool parse_ipv6(const uint8_t *p, uint32_t n, struct frame_layout *l) {
    uint32_t at = l->l3 + 40u;
    bool first = true;
    uint8_t next;

    if (n < at || p[l->l3] >> 4 != 6)
        return false;
    next = p[l->l3 + 6];
    while (is_ext_header(next)) {
        if (n < at + 8)
            return true; /* headers go on past what we see */
        if (next == 44) {
            l->fragment = true;
            first = !(get16(p + at + 2) & 0xfff8);
        }
        /* lengths count units of 8 bytes beyond the first */
        uint32_t len = next == 44 ? 8 : (p[at + 1] + 1u) * 8;
        next = p[at];
        at += len;
        if (!first)
            break;
    }
    l->proto = next;
    if (first && at < n)
        l->l4 = (uint16_t)at;
    return true;
}

/* The end of the transport header. */
static void find_payload(const uint8_t *p, uint32_t n, struct frame_layout *l) {
    uint32_t end = 0;

    if (!l->l4)
        return;
    if (l->proto == FRAME_UDP) {
        end = l->l4 + 8u;
    } else if (l->proto == FRAME_TCP && n >= l->l4 + 20u) {
        uint32_t hlen = (p[l->l4 + 12] >> 4) * 4u;
        end = hlen >= 20 ? l->l4 + hlen : 0;
    }
    if (end && end <= n)
        l->payload = (uint16_t)end;
}

bool frame_parse(const uint8_t *p, uint32_t n, struct frame_layout *l) {
    uint32_t at = 12;
    bool ok = true;

    *l = (struct frame_layout){0};
    if (n < FRAME_ETH_HLEN)
        return false;
    /* at most two tags (802.1ad); a longer stack is nobody's */
    while ((l->type = get16(p + at)) == FRAME_VLAN) {
        at += 4;
        if (n < at + 2 || at > 20)
            return false;
    }
    l->l3 = (uint16_t)(at + 2);
    if (l->type == FRAME_IPV4)
        ok = parse_ipv4(p, n, l);
    else if (l->type == FRAME_IPV6)
        ok = parse_ipv6(p, n, l);
    if (ok)
        find_payload(p, n, l);
    return ok;
}
