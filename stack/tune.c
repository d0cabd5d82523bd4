/* tune.c: settings of a whole stack, as text and as numbers. */
#include "stack/tune.h"

#include <stdbool.h>
#include <string.h>

static const struct {
    const char *name;
    int32_t def, least, most;
} rows[STACK_TUNE_COUNT] = {
#define TUNE(id, name, def, least, most, sentence)                             \
    [STACK_TUNE_##id] = {#name, def, least, most},
#include "stack/tune.def"
#undef TUNE
};

void stack_tunes_default(struct stack_tunes *t) {
    for (int i = 0; i < STACK_TUNE_COUNT; i++)
        t->v[i] = rows[i].def;
}

/* Digits, decimal or after 0x hexadecimal, up to `end` and nothing else. */
static bool number(const char *p, const char *end, int64_t *out) {
    int base = 10;
    if (end - p > 2 && p[0] == '0' && p[1] == 'x')
        p += 2, base = 16;
    if (p == end || end - p > 9)
        return false;
    for (*out = 0; p < end; p++) {
        int d = *p >= '0' && *p <= '9'   ? *p - '0'
                : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
                                         : 99;
        if (d >= base)
            return false;
        *out = *out * base + d;
    }
    return true;
}

/* name=value, `n` bytes of it. */
static bool set_one(struct stack_tunes *t, const char *word, size_t n) {
    const char *eq = memchr(word, '=', n);
    int64_t v;
    if (!eq || !number(eq + 1, word + n, &v))
        return false;
    for (int i = 0; i < STACK_TUNE_COUNT; i++) {
        size_t len = strlen(rows[i].name);
        if (len != (size_t)(eq - word) || memcmp(rows[i].name, word, len))
            continue;
        if (v < rows[i].least || v > rows[i].most)
            return false;
        t->v[i] = (int32_t)v;
        return true;
    }
    return false;
}

const char *stack_tunes_set(struct stack_tunes *t, const char *text) {
    while (*text) {
        size_t n = strcspn(text, ", ");
        if (n && !set_one(t, text, n))
            return text;
        text += n;
        text += strspn(text, ", ");
    }
    return NULL;
}
