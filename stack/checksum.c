/* checksum.c: the Internet checksum (RFC 1071).
 *
 * Theory of operation
 *
 * The one's-complement sum does not depend on byte order (RFC 1071, section
 * 2(B)) nor on word size (2(C)): words are added as they lie in memory, 32
 * bits at a time into 64-bit lanes that cannot overflow, and the result is
 * folded and put into host order once, by csum_fold. Running sums stay below
 * 2^48 per 64 KiB, so that callers may add them up freely.
 *
 * A piece that starts at an odd offset of the whole contributes its sum with
 * the two bytes swapped (2(B) again); csum_add_iov does that.
 */
#include "stack/checksum.h"

#include <stdbool.h>
#include <string.h>

/* Two 64-bit lanes; SSE2 and NEON add them in one instruction. */
typedef uint64_t lanes __attribute__((vector_size(16), aligned(1), may_alias));

/* Sum of n bytes, n a multiple of 32. */
static uint64_t sum_blocks(const uint8_t *p, size_t n) {
    const lanes low = {0xffffffffu, 0xffffffffu};
    lanes a = {0, 0}, b = {0, 0}, c = {0, 0}, d = {0, 0};
    for (const uint8_t *end = p + n; p != end; p += 32) {
        lanes v = *(const lanes *)p;
        lanes w = *(const lanes *)(p + 16);
        a += v & low;
        b += v >> 32;
        c += w & low;
        d += w >> 32;
    }
    a += b + c + d;
    return a[0] + a[1];
}

/* 32 bytes at a time, then 4, then what is left, padded with zeroes (RFC 1071,
 * section 4.1). */
uint64_t csum_add(uint64_t sum, const void *data, size_t len) {
    const uint8_t *p = data;
    size_t blocks = len & ~(size_t)31;
    if (blocks) {
        sum += sum_blocks(p, blocks);
        p += blocks;
        len -= blocks;
    }
    while (len >= 4) {
        uint32_t v;
        memcpy(&v, p, 4);
        sum += v;
        p += 4;
        len -= 4;
    }
    if (len) {
        uint32_t v = 0;
        memcpy(&v, p, len);
        sum += v;
    }
    return sum;
}

/* Fold to 16 bits, as the words lie in memory. */
static uint16_t fold(uint64_t sum) {
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffu) + (sum >> 16);
    sum = (sum & 0xffffu) + (sum >> 16);
    return (uint16_t)sum;
}

/* `odd`: an odd number of bytes came before the current piece. */
uint64_t csum_add_iov(uint64_t sum, const struct iovec *iov, int niov,
                      size_t skip, size_t len) {
    bool odd = false;
    for (int i = 0; i < niov && len; i++) {
        size_t n = iov[i].iov_len;
        if (skip >= n) {
            skip -= n;
            continue;
        }
        const uint8_t *p = (const uint8_t *)iov[i].iov_base + skip;
        n -= skip;
        skip = 0;
        if (n > len)
            n = len;
        if (odd)
            sum += __builtin_bswap16(fold(csum_add(0, p, n)));
        else
            sum = csum_add(sum, p, n);
        odd ^= n & 1;
        len -= n;
    }
    return sum;
}

/* IPv4 sums 4 bytes of each address, IPv6 all 16; length and protocol take 4
 * bytes each in both, zeroes in front. */
uint64_t csum_pseudo(const struct ip_addr *src, const struct ip_addr *dst,
                     uint8_t protocol, uint32_t len) {
    uint8_t tail[8] = {len >> 24, len >> 16, len >> 8, len, 0, 0, 0, protocol};
    uint64_t sum = csum_add(0, tail, sizeof(tail));
    bool v4 =
        (ip_is_v4(src) || ip_is_any(src)) && (ip_is_v4(dst) || ip_is_any(dst));
    unsigned skip = v4 ? 12 : 0;
    sum = csum_add(sum, src->b + skip, 16 - skip);
    return csum_add(sum, dst->b + skip, 16 - skip);
}

/* Into host order here, once, and nowhere else. */
uint16_t csum_fold(uint64_t sum) {
    uint16_t v = fold(sum);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap16(v);
#endif
    return v;
}
