/* random.h: randomness of the stack, all of it from the seed it was given. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct shared;
struct stack;

/* State of the generator; in the arena. */
struct random_state {
    uint64_t key[4]; /* of the next block */
    uint64_t out[4]; /* drawn but not yet given away: out[0 .. left) */
    uint32_t left;
};

/* Seed the generator and draw shared.key. */
void random_init(struct shared *sh, const uint8_t seed[32]);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) under a 16-byte key. */
uint64_t siphash(const uint8_t key[16], const void *data, size_t len);

/* One ChaCha20 block (RFC 8439, section 2.3), words in host order. */
void chacha20_block(const uint32_t key[8], uint32_t counter,
                    const uint32_t nonce[3], uint32_t out[16]);

/* Unpredictable from outside: a generator keyed with the seed. */
uint32_t random_u32(struct stack *st);
uint64_t random_u64(struct stack *st);
/* Uniform in [0, n), n > 0, without bias. */
uint32_t random_below(struct stack *st, uint32_t n);
