/* seq.h: TCP sequence numbers (RFC 9293, section 3.4): modulo 2^32, compared
 * by signed difference. Raw < on them is a bug. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef uint32_t seq_t;

static inline int32_t seq_diff(seq_t a, seq_t b) { return (int32_t)(a - b); }
static inline bool seq_lt(seq_t a, seq_t b) { return seq_diff(a, b) < 0; }
static inline bool seq_leq(seq_t a, seq_t b) { return seq_diff(a, b) <= 0; }
static inline bool seq_gt(seq_t a, seq_t b) { return seq_diff(a, b) > 0; }
static inline bool seq_geq(seq_t a, seq_t b) { return seq_diff(a, b) >= 0; }
static inline seq_t seq_max(seq_t a, seq_t b) { return seq_lt(a, b) ? b : a; }
static inline seq_t seq_min(seq_t a, seq_t b) { return seq_lt(a, b) ? a : b; }
/* lo <= s < lo + len */
static inline bool seq_in_window(seq_t s, seq_t lo, uint32_t len) {
    return (uint32_t)(s - lo) < len;
}
