/* rules.c: which addresses, ports and programs go where.
 *
 * A rule is an action and conditions, in any order, all of which must hold:
 *
 *     ACTION [tcp|udp] [to|at] [A[/LEN]] [port N[-M]] [prog NAME]
 *
 * ACTION is stack, kernel or refuse. "to" speaks of destinations, "at" of
 * addresses that are bound, neither of both. NAME is the last part of the
 * program's file name, or all of it when it has a slash. Rules are separated
 * by semicolons; the first that matches decides.
 *
 * Part of libstack.so: no allocation, no streams.
 */
#include "preload/share/rules.h"

#include <arpa/inet.h>
#include <string.h>

/* One word of a rule. */
struct word {
    const char *p;
    size_t n;
};

static bool next_word(const char **at, const char *end, struct word *w) {
    while (*at < end && strchr(" \t", **at))
        ++*at;
    w->p = *at;
    while (*at < end && !strchr(" \t", **at))
        ++*at;
    w->n = (size_t)(*at - w->p);
    return w->n > 0;
}

static bool is(const struct word *w, const char *text) {
    return strlen(text) == w->n && !memcmp(w->p, text, w->n);
}

/* A number up to max at *p; moves *p behind it. */
static bool number(const char **p, const char *end, unsigned max,
                   unsigned *out) {
    unsigned v = 0;
    const char *from = *p;
    for (; *p < end && **p >= '0' && **p <= '9' && v <= max; ++*p)
        v = v * 10 + (unsigned)(**p - '0');
    *out = v;
    return *p > from && v <= max;
}

static bool parse_ports(const struct word *w, struct rule *r) {
    const char *p = w->p, *end = p + w->n;
    unsigned lo, hi;
    if (!number(&p, end, 65535, &lo))
        return false;
    hi = lo;
    if (p < end && (*p++ != '-' || !number(&p, end, 65535, &hi)))
        return false;
    r->port_lo = (uint16_t)lo;
    r->port_hi = (uint16_t)hi;
    return p == end && lo <= hi;
}

/* "A" or "A/LEN"; bits beyond LEN are a slip, not a host. */
static bool parse_addr(const struct word *w, struct rule *r) {
    char buf[INET_ADDRSTRLEN];
    struct in_addr in;
    const char *slash = memchr(w->p, '/', w->n), *end = w->p + w->n;
    size_t n = slash ? (size_t)(slash - w->p) : w->n;
    unsigned len = 32;
    if (n >= sizeof(buf))
        return false;
    memcpy(buf, w->p, n);
    buf[n] = '\0';
    if (inet_pton(AF_INET, buf, &in) != 1)
        return false;
    if (slash++ && (!number(&slash, end, 32, &len) || slash != end))
        return false;
    r->has_addr = true;
    r->addr = ntohl(in.s_addr);
    r->mask = len ? ~0u << (32 - len) : 0;
    return (r->addr & ~r->mask) == 0;
}

static bool parse_prog(const struct word *w, struct rule *r) {
    if (w->n >= sizeof(r->prog))
        return false;
    memcpy(r->prog, w->p, w->n);
    return true;
}

static bool parse_action(const struct word *w, struct rule *r) {
    static const char *const actions[] = {"stack", "kernel", "refuse"};
    for (uint8_t i = 0; i < 3; i++)
        if (is(w, actions[i])) {
            r->action = i;
            return true;
        }
    return false;
}

/* One condition; words that introduce another one are followed by it. */
static bool parse_condition(const struct word *w, const char **at,
                            const char *end, struct rule *r) {
    struct word v;
    if (is(w, "tcp") || is(w, "udp"))
        r->proto = w->p[0] == 't' ? 6 : 17;
    else if (is(w, "to") || is(w, "at"))
        r->role = w->p[0] == 't' ? RULE_TO : RULE_AT;
    else if (is(w, "port"))
        return next_word(at, end, &v) && parse_ports(&v, r);
    else if (is(w, "prog"))
        return next_word(at, end, &v) && parse_prog(&v, r);
    else
        return parse_addr(w, r);
    return true;
}

static bool parse_rule(const char *at, const char *end, struct rule *r) {
    struct word w;
    *r = (struct rule){.port_hi = 65535};
    while (end > at && strchr(" \t", end[-1]))
        end--;
    size_t n = (size_t)(end - at);
    if (n >= sizeof(r->text))
        return false;
    memcpy(r->text, at, n);
    if (!next_word(&at, end, &w) || !parse_action(&w, r))
        return false;
    while (next_word(&at, end, &w))
        if (!parse_condition(&w, &at, end, r))
            return false;
    return true;
}

int rules_parse(const char *text, struct rule out[RULES_MAX],
                const char **bad) {
    struct rule r;
    int n = 0;
    for (const char *p = text; *p;) {
        p += strspn(p, " \t;");
        if (!*p)
            break;
        const char *end = p + strcspn(p, ";");
        *bad = p;
        if (n == RULES_MAX || !parse_rule(p, end, out ? &out[n] : &r))
            return -1;
        n++;
        p = end;
    }
    return n;
}

static bool matches(const struct rule *r, const struct rule_subject *s) {
    if ((r->role && r->role != s->role) || (r->proto && r->proto != s->proto))
        return false;
    if (r->has_addr &&
        (!ip_is_v4(&s->at.ip) || (ip_to_v4(&s->at.ip) & r->mask) != r->addr))
        return false;
    if (s->at.port < r->port_lo || s->at.port > r->port_hi)
        return false;
    if (!r->prog[0])
        return true;
    return !strcmp(r->prog, strchr(r->prog, '/') ? s->path : s->name);
}

int rules_match(const struct rule *rules, int n, const struct rule_subject *s) {
    for (int i = 0; i < n; i++)
        if (matches(&rules[i], s))
            return i;
    return -1;
}
