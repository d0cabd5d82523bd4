/* fault_spec.c: the text form of a bad link.
 *
 * A list of key=value, parsed by two tables: `keys` says which field a key
 * sets, in which unit its value is written and what is allowed; `suffixes`
 * says how units are spelled. A number without its unit is an error, because
 * delay=20 would be seconds to some and milliseconds to others.
 *
 * Errors are one line for the user. Part of libstack.so: no stdio, no malloc.
 */
#include <errno.h>

#include "netio/fault.h"
#include "netio/frame.h"
#include "netio/text.h"

/* How a value is written. */
enum unit { UNIT_PERCENT, UNIT_TIME, UNIT_RATE, UNIT_COUNT, UNIT_DIR };

#define WIDE(field) offsetof(struct fault_spec, field), true
#define NARROW(field) offsetof(struct fault_spec, field), false

/* One key of the text form, and the field it sets (64 or 32 bits). */
static const struct key {
    const char *name;
    enum unit unit;
    size_t offset;
    bool wide;
    uint64_t min, max;
} keys[] = {
    {"loss", UNIT_PERCENT, WIDE(loss), 0, FAULT_ONE},
    {"burst", UNIT_COUNT, NARROW(burst), 1, 1000000},
    {"dup", UNIT_PERCENT, WIDE(dup), 0, FAULT_ONE},
    {"reorder", UNIT_PERCENT, WIDE(reorder), 0, FAULT_ONE},
    {"corrupt", UNIT_PERCENT, WIDE(corrupt), 0, FAULT_ONE},
    {"ce", UNIT_PERCENT, WIDE(ce), 0, FAULT_ONE},
    {"delay", UNIT_TIME, WIDE(delay), 0, 60000000000ull},
    {"jitter", UNIT_TIME, WIDE(jitter), 0, 60000000000ull},
    {"rate", UNIT_RATE, WIDE(rate), 1000, 1000000000000ull},
    {"queue", UNIT_COUNT, NARROW(queue), 1, 1000000},
    {"mtu", UNIT_COUNT, NARROW(mtu), 68, 65535},
    {"dir", UNIT_DIR, NARROW(dir), 1, FAULT_RX | FAULT_TX},
    {"seed", UNIT_COUNT, WIDE(seed), 0, UINT64_MAX},
};
#define FAULT_QUEUE 1000
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

/* Suffixes and their factors. */
static const struct suffix {
    enum unit unit;
    const char *text;
    uint64_t factor;
} suffixes[] = {
    {UNIT_PERCENT, "%", FAULT_ONE / 100},
    {UNIT_TIME, "ns", 1},
    {UNIT_TIME, "us", 1000},
    {UNIT_TIME, "ms", 1000000},
    {UNIT_TIME, "s", 1000000000},
    {UNIT_RATE, "bit", 1},
    {UNIT_RATE, "kbit", 1000},
    {UNIT_RATE, "mbit", 1000000},
    {UNIT_RATE, "gbit", 1000000000},
    {UNIT_COUNT, "", 1},
};

static const char *const unit_help[] = {
    [UNIT_PERCENT] = "a percentage, such as 3% or 0.1%",
    [UNIT_TIME] = "a time, such as 20ms, 500us or 1s",
    [UNIT_RATE] = "a rate, such as 512kbit, 10mbit or 1gbit",
    [UNIT_COUNT] = "a whole number",
    [UNIT_DIR] = "rx, tx or both",
};

/* A piece of the text being parsed. */
struct span {
    const char *p;
    size_t n;
};

/* Is this piece exactly that word? */
static bool span_is(struct span s, const char *text) {
    return strlen(text) == s.n && !memcmp(s.p, text, s.n);
}

/* Append a piece to an error text. */
static void text_span(struct text *t, struct span s) {
    for (size_t i = 0; i < s.n; i++)
        text_char(t, s.p[i]);
}

/* Levenshtein distance of two short words. */
static unsigned distance(struct span a, const char *b) {
    unsigned row[32], n = (unsigned)strlen(b);

    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; i < a.n; i++) {
        unsigned diag = row[0];
        row[0] = (unsigned)i + 1;
        for (unsigned j = 1; j <= n; j++) {
            /* exchange, or leave out, or put in: whichever is cheapest */
            unsigned swap = diag + (a.p[i] != b[j - 1]);
            diag = row[j];
            unsigned gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = swap < gap ? swap : gap;
        }
    }
    return row[n];
}

/* The key of this name, or NULL. */
static const struct key *find_key(struct span name) {
    for (size_t i = 0; i < NKEYS; i++)
        if (span_is(name, keys[i].name))
            return &keys[i];
    return NULL;
}

/* The error for a key that does not exist. */
static int unknown_key(struct span name, struct text *err) {
    const struct key *best = &keys[0];

    for (size_t i = 1; i < NKEYS; i++)
        if (distance(name, keys[i].name) < distance(name, best->name))
            best = &keys[i];
    text_span(err, name);
    text_str(err, ": no such fault: did you mean ");
    text_str(err, best->name);
    text_char(err, '?');
    return -EINVAL;
}

/* The error for a value that makes no sense. */
static int bad_value(const struct key *k, struct span value, const char *why,
                     struct text *err) {
    text_str(err, k->name);
    text_char(err, '=');
    text_span(err, value);
    text_str(err, why);
    text_str(err, unit_help[k->unit]);
    return -EINVAL;
}

/* Take decimal digits from the front of s: their value, and how many of them
 * count (all for a whole number; 9 for a fraction). False on overflow. */
static bool take_digits(struct span *s, unsigned most, uint64_t *v,
                        unsigned *count) {
    *v = 0;
    *count = 0;
    for (; s->n && *s->p >= '0' && *s->p <= '9'; s->p++, s->n--) {
        if (*count == most) /* digits too small to matter */
            continue;
        if (__builtin_mul_overflow(*v, 10, v) ||
            __builtin_add_overflow(*v, (uint64_t)(*s->p - '0'), v))
            return false;
        ++*count;
    }
    return true;
}

/* Decimal number, with a fraction where the unit has one, times the factor of
 * its suffix. False when it is not one, or does not fit 64 bits. */
static bool parse_number(struct span s, enum unit unit, uint64_t *out) {
    uint64_t whole, frac = 0, scale = 1;
    unsigned count;

    if (!take_digits(&s, 20, &whole, &count) || !count)
        return false;
    if (s.n && *s.p == '.' && unit != UNIT_COUNT) {
        s.p++, s.n--;
        if (!take_digits(&s, 9, &frac, &count) || !count)
            return false;
        while (count--)
            scale *= 10;
    }
    for (size_t k = 0; k < sizeof(suffixes) / sizeof(suffixes[0]); k++) {
        const struct suffix *x = &suffixes[k];
        if (x->unit == unit && span_is(s, x->text))
            return !__builtin_mul_overflow(whole, x->factor, out) &&
                   !__builtin_add_overflow(*out, frac * x->factor / scale, out);
    }
    return false;
}

/* rx, tx or both. */
static bool parse_dir(struct span s, uint64_t *out) {
    *out = span_is(s, "rx")     ? FAULT_RX
           : span_is(s, "tx")   ? FAULT_TX
           : span_is(s, "both") ? FAULT_RX | FAULT_TX
                                : 0;
    return *out != 0;
}

/* Put a value into its field. */
static void store(struct fault_spec *s, const struct key *k, uint64_t v) {
    uint32_t v32 = (uint32_t)v;

    if (k->unit == UNIT_PERCENT && v == FAULT_ONE / 100 * 100)
        v = FAULT_ONE; /* the factor of "%" is rounded down */
    memcpy((char *)s + k->offset, k->wide ? (void *)&v : (void *)&v32,
           k->wide ? sizeof(v) : sizeof(v32));
}

/* One "key=value". */
static int parse_item(struct span item, struct fault_spec *s,
                      struct text *err) {
    const char *eq = memchr(item.p, '=', item.n);
    struct span name = {item.p, eq ? (size_t)(eq - item.p) : item.n};
    struct span value = {eq ? eq + 1 : "", eq ? item.n - name.n - 1 : 0};
    const struct key *k = find_key(name);
    uint64_t v;

    if (!item.n) {
        text_str(err, "nothing between two commas: write loss=3%,delay=20ms");
        return -EINVAL;
    }
    if (!k)
        return unknown_key(name, err);
    bool ok = k->unit == UNIT_DIR ? parse_dir(value, &v)
                                  : parse_number(value, k->unit, &v);
    if (!ok)
        return bad_value(k, value, ": must be ", err);
    if (v < k->min || v > k->max)
        return bad_value(k, value, ": out of range for ", err);
    store(s, k, v);
    return 0;
}

/* Settings that contradict each other. */
static int check_spec(struct fault_spec *s, struct text *err) {
    if (s->jitter > s->delay) {
        text_str(err, "jitter is more than delay: a frame cannot arrive "
                      "before it was sent: raise delay");
        return -EINVAL;
    }
    if (s->queue && !s->rate) {
        text_str(err, "queue without rate does nothing: add rate=10mbit");
        return -EINVAL;
    }
    if (!s->queue)
        s->queue = FAULT_QUEUE;
    return 0;
}

int fault_parse(const char *text, struct fault_spec *out, char *err,
                size_t errlen) {
    struct text t = text_in(err, errlen);

    *out = (struct fault_spec){.dir = FAULT_RX | FAULT_TX, .seed = 1};
    for (const char *p = text; *p;) {
        const char *end = strchrnul(p, ',');
        int r = parse_item((struct span){p, (size_t)(end - p)}, out, &t);
        if (r < 0)
            return r;
        p = *end ? end + 1 : end;
    }
    return check_spec(out, &t);
}
