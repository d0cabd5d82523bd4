/* text.h: putting text together without stdio, in bounded memory. What does
 * not fit is cut; the text is always terminated. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct text {
    char *at, *end; /* end: of the buffer, one byte is kept for the NUL */
};

static inline struct text text_in(char *buf, size_t n) {
    if (n)
        *buf = 0;
    return (struct text){buf, n ? buf + n - 1 : buf};
}

static inline void text_char(struct text *t, char c) {
    if (t->at < t->end) {
        *t->at++ = c;
        *t->at = 0;
    }
}

static inline void text_str(struct text *t, const char *s) {
    while (*s)
        text_char(t, *s++);
}

/* Decimal, at least `width` digits. */
void text_uint(struct text *t, uint64_t v, unsigned width);
/* Hexadecimal, `width` digits. */
void text_hex(struct text *t, uint64_t v, unsigned width);
/* 02:00:5e:00:53:01 */
void text_mac(struct text *t, const uint8_t mac[6]);
/* 198.18.0.1 */
void text_ipv4(struct text *t, const uint8_t ip[4]);
/* RFC 5952 form */
void text_ipv6(struct text *t, const uint8_t ip[16]);
