/* feed.h: the bytes of a fuzz input, handed out one decision at a time. An
 * exhausted feed gives zeros. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct feed {
    const uint8_t *p;
    size_t n;
};

static inline uint8_t feed_u8(struct feed *f) {
    if (f->n == 0)
        return 0;
    f->n--;
    return *f->p++;
}

static inline uint16_t feed_u16(struct feed *f) {
    uint8_t hi = feed_u8(f);
    return (uint16_t)(hi << 8 | feed_u8(f));
}

static inline uint32_t feed_u32(struct feed *f) {
    uint32_t hi = feed_u16(f);
    return hi << 16 | feed_u16(f);
}

/* Up to n bytes; *got says how many there were. */
static inline const uint8_t *feed_take(struct feed *f, size_t n, size_t *got) {
    const uint8_t *p = f->p;
    *got = n < f->n ? n : f->n;
    f->p += *got;
    f->n -= *got;
    return p;
}

/* A property that must hold; the fuzzer keeps the input that breaks it. */
#define MUST(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
