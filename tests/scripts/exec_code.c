/* exec_code.c: blocks of assertions, %{ assert tcpi_snd_cwnd == 10 }%.
 *
 * Of Python only this much is understood: `assert EXPRESSION[, message]`,
 * `print ...` (ignored) and `name = EXPRESSION`, one or more per line with ';'.
 * Expressions have Python's operators and levels: or, and, not, comparisons
 * (which may be chained), | ^ & << >> + - * / // %, unary minus, brackets,
 * abs, min, max, True, False, numbers and names. A name is a field of TCP_INFO
 * (tcpi_*) of the connection that the last packet or call was about, a constant
 * of symbols.c, or one assigned before. Anything else is reported by name.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scripts/exec.h"

struct code {
    struct run *r;
    const char *at;
    struct stack_tcp_info info;
    bool has_info;
    struct {
        const char *name;
        double value;
    } vars[20];
    int n_vars;
};

static double either(struct code *c);

/* ---- names ------------------------------------------------------------------ */

#define FIELD(name, member)                                                    \
    if (strcmp(s, "tcpi_" name) == 0) {                                        \
        *v = (double)i->member;                                                \
        return true;                                                           \
    }

/* The rest of the fields; split to keep functions short. */
static bool counted_field(const struct stack_tcp_info *i, const char *s,
                          double *v) {
    FIELD("total_retrans", total_retrans)
    FIELD("bytes_acked", bytes_acked)
    FIELD("bytes_received", bytes_received)
    FIELD("bytes_sent", bytes_sent)
    FIELD("bytes_retrans", bytes_retrans)
    FIELD("segs_out", segs_out)
    FIELD("segs_in", segs_in)
    FIELD("data_segs_in", data_segs_in)
    FIELD("data_segs_out", data_segs_out)
    FIELD("notsent_bytes", notsent_bytes)
    FIELD("snd_wnd", snd_wnd)
    FIELD("rcv_wnd", rcv_wnd)
    FIELD("delivered_ce", delivered_ce)
    FIELD("delivery_rate", delivery_rate)
    FIELD("last_data_sent", last_data_sent_ms)
    FIELD("last_data_recv", last_data_recv_ms)
    FIELD("last_ack_recv", last_ack_recv_ms)
    return false;
}

/* A field of TCP_INFO by name; false: unknown here. */
static bool info_field(const struct stack_tcp_info *i, const char *s,
                       double *v) {
    FIELD("state", state)
    FIELD("ca_state", ca_state)
    FIELD("retransmits", retransmits)
    FIELD("probes", probes)
    FIELD("backoff", backoff)
    FIELD("options", options)
    FIELD("snd_wscale", snd_wscale)
    FIELD("rcv_wscale", rcv_wscale)
    FIELD("rto", rto_us)
    FIELD("ato", ato_us)
    FIELD("snd_mss", snd_mss)
    FIELD("rcv_mss", rcv_mss)
    FIELD("unacked", unacked)
    FIELD("sacked", sacked)
    FIELD("lost", lost)
    FIELD("retrans", retrans)
    FIELD("pmtu", pmtu)
    FIELD("rcv_ssthresh", rcv_ssthresh)
    FIELD("rtt", srtt_us)
    FIELD("rttvar", rttvar_us)
    FIELD("min_rtt", min_rtt_us)
    FIELD("snd_ssthresh", snd_ssthresh)
    FIELD("snd_cwnd", snd_cwnd)
    FIELD("advmss", advmss)
    FIELD("reordering", reordering)
    FIELD("rcv_rtt", rcv_rtt_us)
    FIELD("rcv_space", rcv_space)
    return counted_field(i, s, v);
}

/* The descriptor that TCP_INFO is about: the present connection's, or the
 * newest there is. */
static struct file *subject(struct run *r) {
    struct file *f = r->cur ? flow_file(r, r->cur) : NULL;
    for (int i = FD_MAX - 1; i >= 0 && !f; i--)
        if (r->files[i].used && r->files[i].so)
            f = &r->files[i];
    return f;
}

/* Ask the stack once for each block. */
static void get_info(struct code *c) {
    struct file *f = subject(c->r);
    if (c->has_info)
        return;
    c->has_info = true;
    world_enter(c->r->w);
    if (!f || stack_tcp_info(c->r->w->st, f->so, &c->info) < 0)
        fail(c->r, "there is no connection to ask for TCP_INFO");
}

/* What a name means, in the order: TCP_INFO, assigned, constant. */
static double name_value(struct code *c, const char *s) {
    double v = 0;
    int64_t n;
    if (strncmp(s, "tcpi_", 5) == 0) {
        get_info(c);
        if (!info_field(&c->info, s, &v))
            unsupported(c->r, "TCP_INFO field %s", s);
        if (c->r->verbose)
            printf("    %s = %.0f\n", s, v);
        return v;
    }
    for (int i = c->n_vars - 1; i >= 0; i--)
        if (strcmp(c->vars[i].name, s) == 0)
            return c->vars[i].value;
    if (strcmp(s, "True") == 0 || strcmp(s, "False") == 0)
        return s[0] == 'T';
    if (!symbol_value(s, &n))
        unsupported(c->r, "name %s in a code block", s);
    return (double)n;
}

/* ---- expressions --------------------------------------------------------------- */

/* Blanks, and line ends behind a backslash. */
static void skip(struct code *c) {
    while (*c->at == ' ' || *c->at == '\t' ||
           (*c->at == '\\' && c->at[1] == '\n'))
        c->at += *c->at == '\\' ? 2 : 1;
}

/* Take an operator if it is next; words must end there. */
static bool op(struct code *c, const char *s) {
    size_t n = strlen(s);
    skip(c);
    if (strncmp(c->at, s, n))
        return false;
    if (isalpha((unsigned char)*s) &&
        (isalnum((unsigned char)c->at[n]) || c->at[n] == '_'))
        return false;
    c->at += n;
    return true;
}

/* abs(a), min(a, b), max(a, b) */
static double function(struct code *c, const char *name) {
    double a = either(c), b = a;
    while (op(c, ","))
        b = either(c);
    if (!op(c, ")"))
        fail(c->r, "expected ')' at: %.20s", c->at);
    if (strcmp(name, "abs") == 0)
        return a < 0 ? -a : a;
    if (strcmp(name, "min") == 0)
        return a < b ? a : b;
    if (strcmp(name, "max") == 0)
        return a > b ? a : b;
    if (strcmp(name, "int") == 0)
        return (double)(int64_t)a;
    unsupported(c->r, "function %s in a code block", name);
}

/* Number, name, call, brackets, unary minus. */
static double primary(struct code *c) {
    skip(c);
    if (op(c, "-"))
        return -primary(c);
    if (op(c, "(")) {
        double v = either(c);
        while (isspace((unsigned char)*c->at))
            c->at++;
        if (!op(c, ")"))
            fail(c->r, "expected ')' at: %.20s", c->at);
        return v;
    }
    if (isdigit((unsigned char)*c->at)) {
        char *end;
        double v = strtod(c->at, &end);
        c->at = end;
        return v;
    }
    size_t n = 0;
    while (isalnum((unsigned char)c->at[n]) || c->at[n] == '_')
        n++;
    if (n == 0)
        fail(c->r, "expected a value at: %.20s", c->at);
    const char *name = keep_text(c->at, n);
    c->at += n;
    return op(c, "(") ? function(c, name) : name_value(c, name);
}

/* * // / % */
static double product(struct code *c) {
    double v = primary(c);
    for (;;)
        if (op(c, "*"))
            v *= primary(c);
        else if (op(c, "//"))
            v = (double)(int64_t)(v / primary(c));
        else if (op(c, "/"))
            v /= primary(c);
        else if (op(c, "%"))
            v = (double)((int64_t)v % (int64_t)primary(c));
        else
            return v;
}

/* + - */
static double sum(struct code *c) {
    double v = product(c);
    for (;;)
        if (op(c, "+"))
            v += product(c);
        else if (op(c, "-"))
            v -= product(c);
        else
            return v;
}

/* << >> & | ^ on one level; scripts use brackets where it matters. */
static double bits(struct code *c) {
    double v = sum(c);
    for (;;)
        if (op(c, "<<"))
            v = (double)((int64_t)v << (int64_t)sum(c));
        else if (op(c, ">>"))
            v = (double)((int64_t)v >> (int64_t)sum(c));
        else if (op(c, "&"))
            v = (double)((int64_t)v & (int64_t)sum(c));
        else if (op(c, "|"))
            v = (double)((int64_t)v | (int64_t)sum(c));
        else if (op(c, "^"))
            v = (double)((int64_t)v ^ (int64_t)sum(c));
        else
            return v;
}

/* a < b <= c: all of them. */
static double comparison(struct code *c) {
    double left = bits(c), right;
    bool any = false, all = true, holds;
    for (;; left = right, all = all && holds, any = true)
        if (op(c, "=="))
            holds = left == (right = bits(c));
        else if (op(c, "!="))
            holds = left != (right = bits(c));
        else if (op(c, "<="))
            holds = left <= (right = bits(c));
        else if (op(c, ">="))
            holds = left >= (right = bits(c));
        else if (op(c, "<"))
            holds = left < (right = bits(c));
        else if (op(c, ">"))
            holds = left > (right = bits(c));
        else
            return any ? all : left;
}

/* not */
static double negation(struct code *c) {
    return op(c, "not") ? !negation(c) : comparison(c);
}

/* and; both sides are evaluated. */
static double both(struct code *c) {
    double v = negation(c);
    while (op(c, "and")) {
        double w = negation(c);
        v = v && w;
    }
    return v;
}

/* or; the whole expression. */
static double either(struct code *c) {
    double v = both(c);
    while (op(c, "or")) {
        double w = both(c);
        v = v || w;
    }
    return v;
}

/* ---- statements ------------------------------------------------------------------ */

/* To the end of the line; a backslash joins it with the next. */
static void skip_line(struct code *c) {
    for (; *c->at && *c->at != '\n'; c->at++)
        if (c->at[0] == '\\' && c->at[1] == '\n')
            c->at++;
}

/* name = EXPRESSION; anything else is reported with its first word. */
static void assignment(struct code *c, const char *word, size_t n) {
    if (!n || !op(c, "=") || c->n_vars == 20)
        unsupported(c->r, "code statement %.*s", (int)n, word);
    c->vars[c->n_vars].name = keep_text(word, n);
    c->vars[c->n_vars].value = either(c);
    c->n_vars++;
}

/* One statement, up to the end of the line or ';'. */
static void statement(struct code *c) {
    const char *start = c->at;
    if (op(c, "assert")) {
        const char *text = c->at;
        double v = either(c);
        if (!v)
            fail(c->r, "does not hold: assert%.*s", (int)(c->at - text), text);
        if (op(c, ","))
            skip_line(c);
    } else if (op(c, "print") || *c->at == '#') {
        skip_line(c);
    } else {
        size_t n = 0;
        skip(c);
        start = c->at;
        while (isalnum((unsigned char)c->at[n]) || c->at[n] == '_')
            n++;
        c->at += n;
        assignment(c, start, n);
    }
    skip(c);
    if (*c->at == '#')
        c->at += strcspn(c->at, "\n");
    if (*c->at && *c->at != '\n' && *c->at != ';')
        unsupported(c->r, "code at: %.30s", c->at);
}

/* All statements of a block, with one TCP_INFO for them all. */
void run_code(struct run *r, const char *text) {
    struct code *c = keep(sizeof(*c));
    c->r = r;
    c->at = text;
    for (;;) {
        while (isspace((unsigned char)*c->at) || *c->at == ';')
            c->at++;
        if (!*c->at)
            return;
        statement(c);
    }
}
