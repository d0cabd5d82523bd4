/* checksum.h: the Internet checksum (RFC 1071). */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "stack/addr.h"

/* Running sums are 64 bit and not folded; they add up in any order as long as
 * each piece starts at an even offset of the whole. */
uint64_t csum_add(uint64_t sum, const void *p, size_t len);
/* Gather list of any piece lengths (odd ones too). */
uint64_t csum_add_iov(uint64_t sum, const struct iovec *iov, int niov,
                      size_t skip, size_t len);
/* Pseudo header of either family (RFC 9293, 3.1; RFC 8200, 8.1). */
uint64_t csum_pseudo(const struct ip_addr *src, const struct ip_addr *dst,
                     uint8_t protocol, uint32_t len);
/* Fold to 16 bit, host order, not complemented. */
uint16_t csum_fold(uint64_t sum);
/* The value for the checksum field: ~fold, host order. */
static inline uint16_t csum_finish(uint64_t sum) {
    return (uint16_t)~csum_fold(sum);
}
