/* SipHash, ChaCha20 and the generator. */
#include <string.h>

#include "stack/random.h"
#include "tests/traffic/lib_one.h"

static struct one o;
static void setup(void) { one_open(&o, 8u << 20); }
static void teardown(void) { one_close(&o); }
TestSuite(random, .init = setup, .fini = teardown);

/* Vectors of the SipHash paper, appendix A, and of its test program. */
Test(random, siphash_vectors) {
    uint8_t key[16], in[15];
    for (unsigned i = 0; i < 16; i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < 15; i++)
        in[i] = (uint8_t)i;
    cr_assert_eq(siphash(key, in, 15), 0xa129ca6149be45e5ull);
    cr_assert_eq(siphash(key, in, 0), 0x726fdb47dd0e0e31ull);
    cr_assert_eq(siphash(key, in, 8), 0x93f5f5799a932462ull);
}

/* RFC 8439, section 2.3.2. */
Test(random, chacha20_vector) {
    uint8_t key[32];
    uint32_t words[8], out[16];
    const uint32_t nonce[3] = {0x09000000, 0x4a000000, 0};
    for (unsigned i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < 8; i++)
        words[i] = key[4 * i] | key[4 * i + 1] << 8 | key[4 * i + 2] << 16 |
                   (uint32_t)key[4 * i + 3] << 24;
    chacha20_block(words, 1, nonce, out);
    cr_assert_eq(out[0], 0xe4e7f110);
    cr_assert_eq(out[1], 0x15593bd1);
    cr_assert_eq(out[7], 0x4e6cd4c3);
    cr_assert_eq(out[8], 0x466482d2);
    cr_assert_eq(out[15], 0x4e3c50a2);
}

Test(random, same_seed_same_sequence) {
    struct one p;
    one_open(&p, 8u << 20);
    cr_assert_eq(memcmp(o.st->sh->key, p.st->sh->key, 16), 0);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(random_u64(o.st), random_u64(p.st));
    uint8_t seed[32] = {1};
    random_init(p.st->sh, seed);
    cr_assert_neq(memcmp(o.st->sh->key, p.st->sh->key, 16), 0);
    cr_assert_neq(random_u64(o.st), random_u64(p.st));
    one_close(&p);
}

Test(random, key_is_erased) {
    struct random_state before = o.st->sh->random;
    for (int i = 0; i < 5; i++)
        random_u64(o.st);
    cr_assert_neq(memcmp(before.key, o.st->sh->random.key, 32), 0);
    /* What was given away is not kept. */
    cr_assert_eq(o.st->sh->random.out[o.st->sh->random.left], 0);
}

Test(random, below_is_even) {
    unsigned hit[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint32_t v = random_below(o.st, 10);
        cr_assert_lt(v, 10);
        hit[v]++;
    }
    for (int i = 0; i < 10; i++)
        cr_assert(hit[i] > 9500 && hit[i] < 10500, "%d: %u", i, hit[i]);
    cr_assert_eq(random_below(o.st, 1), 0);
    uint32_t high = 0;
    for (int i = 0; i < 100; i++)
        high += random_below(o.st, 0xc0000000u) >= 0x80000000u;
    cr_assert(high > 10 && high < 60, "%u", high);
}
