/* random.c: SipHash and the generator.
 *
 * Theory of operation
 *
 * The stack is given 32 secret bytes once (stack_config.seed). They key a
 * ChaCha20 generator (RFC 8439, section 2.3) with "fast key erasure": each
 * block of 64 bytes gives the next key (32 bytes) and 32 bytes of output, so
 * that whoever reads the arena later cannot compute what came before. The
 * same seed gives the same sequence: tests replay.
 *
 * Hash tables and initial sequence numbers use SipHash under a key of their
 * own (shared.key), drawn from the generator at creation.
 */
#include "stack/random.h"

#include <string.h>

#include "stack/shared.h"

#define OUT_WORDS 4

/* Rotations, as both ciphers count them. */
static uint64_t rotl64(uint64_t v, int n) { return v << n | v >> (64 - n); }

/* One SipHash round. */
static void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotl64(v[1], 13), v[1] ^= v[0];
    v[0] = rotl64(v[0], 32);
    v[2] += v[3], v[3] = rotl64(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = rotl64(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = rotl64(v[1], 17), v[1] ^= v[2];
    v[2] = rotl64(v[2], 32);
}

/* Compress one word: two rounds (the 2 of SipHash-2-4). */
static void sip_word(uint64_t v[4], uint64_t m) {
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

/* Little-endian load of n <= 8 bytes. */
static uint64_t le64(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    memcpy(&v, p, n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* Whole words, then the last with the length in its top byte, then four rounds
 * (the 4). */
uint64_t siphash(const uint8_t key[16], const void *data, size_t len) {
    const uint8_t *p = data;
    uint64_t k0 = le64(key, 8), k1 = le64(key + 8, 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull,
                     k0 ^ 0x6c7967656e657261ull, k1 ^ 0x7465646279746573ull};
    for (size_t left = len; left >= 8; left -= 8, p += 8)
        sip_word(v, le64(p, 8));
    sip_word(v, (uint64_t)len << 56 | le64(p, len & 7));
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint32_t rotl32(uint32_t v, int n) { return v << n | v >> (32 - n); }

/* ChaCha quarter round (RFC 8439, section 2.1). */
static void quarter(uint32_t *x, int a, int b, int c, int d) {
    x[a] += x[b], x[d] = rotl32(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = rotl32(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = rotl32(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = rotl32(x[b] ^ x[c], 7);
}

/* Key, counter and nonce in the layout of RFC 8439, section 2.3; ten double
 * rounds; the input added again. */
void chacha20_block(const uint32_t key[8], uint32_t counter,
                    const uint32_t nonce[3], uint32_t out[16]) {
    uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(in + 4, key, 32);
    in[12] = counter;
    memcpy(in + 13, nonce, 12);
    memcpy(out, in, sizeof(in));
    for (int i = 0; i < 10; i++) {
        quarter(out, 0, 4, 8, 12), quarter(out, 1, 5, 9, 13);
        quarter(out, 2, 6, 10, 14), quarter(out, 3, 7, 11, 15);
        quarter(out, 0, 5, 10, 15), quarter(out, 1, 6, 11, 12);
        quarter(out, 2, 7, 8, 13), quarter(out, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++)
        out[i] += in[i];
}

/* The next key and the next output, in place of the old ones. */
static void refill(struct random_state *r) {
    static const uint32_t nonce[3];
    uint32_t key[8], out[16];
    memcpy(key, r->key, sizeof(key));
    chacha20_block(key, 0, nonce, out);
    memcpy(r->key, out, 32);
    memcpy(r->out, out + 8, 32);
    r->left = OUT_WORDS;
}

/* The first output becomes the keys and is never given away otherwise. */
void random_init(struct shared *sh, const uint8_t seed[32]) {
    memcpy(sh->random.key, seed, 32);
    refill(&sh->random);
    memcpy(sh->key, sh->random.out, sizeof(sh->key));
    memcpy(sh->cookie_key, sh->random.out + 2, sizeof(sh->cookie_key));
    refill(&sh->random);
}

/* Words are given away once and wiped. */
uint64_t random_u64(struct stack *st) {
    struct random_state *r = &st->sh->random;
    if (r->left == 0)
        refill(r);
    uint64_t v = r->out[--r->left];
    r->out[r->left] = 0;
    return v;
}

uint32_t random_u32(struct stack *st) { return (uint32_t)random_u64(st); }

uint32_t random_below(struct stack *st, uint32_t n) {
    /* Multiply and shift; the few values that would favour small results are
     * drawn again. */
    uint32_t skip = (uint32_t)(-n) % n;
    for (;;) {
        uint64_t m = (uint64_t)random_u32(st) * n;
        if ((uint32_t)m >= skip)
            return (uint32_t)(m >> 32);
    }
}
