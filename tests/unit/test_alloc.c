/* The arena allocator: classes, reuse, exhaustion, sparseness. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/traffic/lib_one.h"

#define MIB (1024u * 1024u)

static struct one o;
static void setup(void) { one_open(&o, 64 * MIB); }
static void teardown(void) { one_close(&o); }
TestSuite(alloc, .init = setup, .fini = teardown);

Test(alloc, classes_waste_little) {
    for (size_t n = 1; n <= 32768; n++) {
        size_t got = mem_good_size(n);
        cr_assert_geq(got, n);
        cr_assert_eq(got % 16, 0, "class of %zu", n);
        if (n <= 256)
            cr_assert_lt(got - n, 16, "%zu -> %zu", n, got);
        else if (n <= 8192)
            cr_assert_leq((got - n) * 8, n, "%zu -> %zu", n, got);
        else
            cr_assert_leq((got - n) * 8, n * 5, "%zu -> %zu", n, got);
        cr_assert_eq(mem_good_size(got), got, "a class is its own class");
    }
    cr_assert_eq(mem_good_size(32769), 65536);
    cr_assert_eq(mem_good_size(65537), 131072);
}

Test(alloc, aligned_zeroed_and_reused) {
    for (size_t n = 1; n < 200000; n = n * 3 / 2 + 1) {
        uint8_t *p = mem_alloc_raw(o.st, n);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % 16, 0);
        memset(p, 0xa5, n);
        mem_free(o.st, p, n);
        uint8_t *q = mem_alloc(o.st, n);
        cr_assert_eq(p, q, "the lowest place is used again (%zu)", n);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(q[i], 0, "byte %zu of %zu", i, n);
        mem_free(o.st, q, n);
    }
}

Test(alloc, random_traffic_never_overlaps) {
    enum { N = 2000 };
    static struct {
        uint8_t *p;
        size_t n;
        uint8_t tag;
    } live[N];
    size_t before = o.st->sh->heap.used;
    memset(live, 0, sizeof(live));
    srand(7);
    for (int step = 0; step < 60000; step++) {
        int i = rand() % N;
        if (live[i].p) {
            for (size_t k = 0; k < live[i].n; k += 1 + live[i].n / 64)
                cr_assert_eq(live[i].p[k], live[i].tag);
            cr_assert_eq(live[i].p[live[i].n - 1], live[i].tag);
            mem_free(o.st, live[i].p, live[i].n);
            live[i].p = NULL;
            continue;
        }
        size_t n = 1 + (size_t)rand() % (rand() % 20 ? 2000 : 100000);
        live[i].p = mem_alloc_raw(o.st, n);
        if (!live[i].p)
            continue;
        live[i].n = n;
        live[i].tag = (uint8_t)step;
        memset(live[i].p, live[i].tag, n);
    }
    for (int i = 0; i < N; i++)
        if (live[i].p)
            mem_free(o.st, live[i].p, live[i].n);
    cr_assert_eq(o.st->sh->heap.used, before, "all of it came back");
    cr_assert_eq(o.st->sh->count.bad_free, 0);
}

Test(alloc, full_then_usable_again) {
    static void *p[4096];
    unsigned n = 0;
    while (n < 4096 && (p[n] = mem_alloc_raw(o.st, 60000)) != NULL)
        n++;
    cr_assert_gt(n, 900, "64 MiB hold about a thousand blocks, got %u", n);
    cr_assert_lt(n, 1024);
    cr_assert_gt(o.st->sh->count.arena_full, 0);
    cr_assert_null(mem_alloc(o.st, 65536));
    mem_free(o.st, p[3], 60000);
    cr_assert_eq(mem_alloc_raw(o.st, 65536), p[3]);
    for (unsigned i = 0; i < n; i++)
        mem_free(o.st, p[i], 60000);
    void *big = mem_alloc(o.st, 50 * MIB);
    cr_assert_not_null(big, "free blocks join into runs");
    cr_assert_null(mem_alloc(o.st, 50 * MIB));
    cr_assert_null(mem_alloc(o.st, (size_t)1 << 40));
    mem_free(o.st, big, 50 * MIB);
}

Test(alloc, wrong_frees_are_counted_and_refused) {
    uint8_t *p = mem_alloc(o.st, 100), *q = mem_alloc(o.st, 100000);
    size_t used = o.st->sh->heap.used;
    int local;
    mem_free(o.st, p, 200);      /* another class */
    mem_free(o.st, p + 8, 100);  /* inside an object */
    mem_free(o.st, q, 300000);   /* another length */
    mem_free(o.st, &local, 100); /* not ours */
    cr_assert_eq(o.st->sh->count.bad_free, 4);
    cr_assert_eq(o.st->sh->heap.used, used);
    mem_free(o.st, p, 100);
    mem_free(o.st, q, 100000);
    mem_free(o.st, NULL, 5);
    cr_assert_eq(o.st->sh->count.bad_free, 4);
}

Test(alloc, memory_of_the_batch_is_freed_later) {
    size_t used = o.st->sh->heap.used;
    uint8_t *p = mem_alloc(o.st, 1000);
    p[999] = 77;
    struct pkt *k = pkt_new(o.st);
    pkt_push(k, 14);
    pkt_add_payload(k, p + 100, 900);
    tx_commit(o.st, k);
    mem_free_later(o.st, p, 1000);
    cr_assert_gt(o.st->sh->heap.used, used, "a frame points at it");
    cr_assert_eq(p[999], 77);
    stack_flush(o.st);
    cr_assert_eq(o.st->sh->heap.used, used);
    p = mem_alloc(o.st, 1000);
    mem_free_later(o.st, p, 1000);
    cr_assert_eq(o.st->sh->heap.used, used, "no frame: at once");
}

/* Pages of the arena that exist. */
static size_t resident(const struct one *a) {
    static unsigned char vec[1u << 19];
    size_t pages = a->size / 4096, n = 0;
    cr_assert_leq(pages, sizeof(vec));
    cr_assert_eq(mincore(a->base, a->size, vec), 0);
    for (size_t i = 0; i < pages; i++)
        n += vec[i] & 1;
    return n;
}

Test(alloc, creation_touches_few_pages) {
    struct one big;
    one_open(&big, (size_t)2048 * MIB);
    size_t n = resident(&big);
    cr_assert_lt(n, 64, "%zu pages after stack_create", n);
    void *p = mem_alloc(big.st, 512 * MIB); /* fresh: zero already */
    cr_assert_not_null(p);
    cr_assert_lt(resident(&big), n + 8);
    one_close(&big);
}

Test(alloc, refuses_what_cannot_work) {
    struct stack_config cfg = {.mac = {2},
                               .mtu = 1500,
                               .addr = one_ip(ONE_ADDR),
                               .prefix_len = 24};
    char *mem = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_eq(stack_create(mem + 8, 4 * MIB, &cfg), -22);
    cr_assert_eq(stack_create(mem, 4096, &cfg), -22);
    cfg.mtu = 500;
    cr_assert_eq(stack_create(mem, 8 * MIB, &cfg), -22);
    cfg.mtu = 1500;
    cfg.mac[0] = 1; /* a group address is no source */
    cr_assert_eq(stack_create(mem, 8 * MIB, &cfg), -22);
    cr_assert_null(stack_attach(o.st, mem, NULL), "nothing there");
    munmap(mem, 8 * MIB);
}
