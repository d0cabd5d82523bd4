/* guard.h: tells AddressSanitizer which bytes of the arena are handed out, so
 * that builds for tests see use after free and reads beyond an object there
 * as they do in the C library's heap. Empty in every other build.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define STACK_GUARD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STACK_GUARD 1
#endif
#endif

#ifdef STACK_GUARD
void __asan_poison_memory_region(const volatile void *p, size_t n);
void __asan_unpoison_memory_region(const volatile void *p, size_t n);
void *__asan_region_is_poisoned(void *p, size_t n);
#endif

/* [p, p + n) may be used from now on. */
static inline void guard_open(const void *p, size_t n) {
#ifdef STACK_GUARD
    __asan_unpoison_memory_region(p, n);
#endif
}

/* Nobody may touch [p, p + n). */
static inline void guard_close(const void *p, size_t n) {
#ifdef STACK_GUARD
    __asan_poison_memory_region(p, n);
#endif
}

/* Is all of it open? Always true without the sanitizer. */
static inline bool guard_is_open(void *p, size_t n) {
#ifdef STACK_GUARD
    return !__asan_region_is_poisoned(p, n);
#else
    return true;
#endif
}
