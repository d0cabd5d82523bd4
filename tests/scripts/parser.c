/* parser.c: the grammar, by recursive descent: options at the head, then
 * events. Packets are parsed in parse_packet.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scripts/lexer.h"

/* Never fails; never freed. */
void *keep(size_t size) {
    void *p = calloc(1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

/* A copy with a zero behind. */
char *keep_text(const char *s, size_t len) {
    char *p = keep(len + 1);
    memcpy(p, s, len);
    return p;
}

/* ---- expressions -------------------------------------------------------- */

static struct expr *parse_expr(struct lexer *x);

/* A node without children. */
static struct expr *new_expr(enum expr_kind kind, const char *text,
                             int64_t num) {
    struct expr *e = keep(sizeof(*e));
    e->kind = kind;
    e->text = text;
    e->num = num;
    return e;
}

/* Expressions with commas between, up to `end`. */
static struct expr *parse_list(struct lexer *x, int end) {
    struct expr *first = NULL, **tail = &first;
    while (!lex_take(x, end)) {
        *tail = parse_expr(x);
        tail = &(*tail)->next;
        if (!lex_is(x, end))
            lex_need(x, ',');
    }
    return first;
}

/* A word: a constant, a call such as htons(8080), or a field of a struct,
 * msg_iov(1)=[...] among them (the count says nothing new). */
static struct expr *parse_name(struct lexer *x) {
    struct expr *e = new_expr(E_WORD, lex_need_word(x), 0);
    if (lex_take(x, '(')) {
        e->kind = E_CALL;
        e->first = parse_list(x, ')');
    }
    if (lex_take(x, '=')) {
        e->kind = E_FIELD;
        e->first = parse_expr(x);
    }
    return e;
}

/* Adjacent strings are one; an ellipsis behind means nothing. */
static struct expr *parse_string(struct lexer *x) {
    struct expr *e = new_expr(E_STRING, x->text, x->num);
    lex_next(x);
    while (x->token == T_STRING) { /* "a" "b" */
        char *both = keep((size_t)(e->num + x->num) + 1);
        memcpy(both, e->text, (size_t)e->num);
        memcpy(both + e->num, x->text, (size_t)x->num);
        e->text = both;
        e->num += x->num;
        lex_next(x);
    }
    if (x->token == T_ELLIPSIS)
        lex_next(x);
    return e;
}

/* An expression without |. */
static struct expr *parse_one(struct lexer *x) {
    struct expr *e;
    if (x->token == T_ELLIPSIS) {
        lex_next(x);
        return new_expr(E_ANY, NULL, 0);
    }
    if (x->token == T_INT || lex_is(x, '-'))
        return new_expr(E_INT, NULL, lex_need_int(x));
    if (x->token == T_STRING)
        return parse_string(x);
    if (x->token == T_WORD)
        return parse_name(x);
    if (lex_take(x, '[')) {
        e = new_expr(E_LIST, NULL, 0);
        e->first = parse_list(x, ']');
        return e;
    }
    if (lex_take(x, '{')) {
        e = new_expr(E_LIST, NULL, 0);
        e->first = parse_list(x, '}');
        if (e->first && e->first->kind == E_FIELD)
            e->kind = E_STRUCT;
        return e;
    }
    lex_fail(x, "expected an expression");
}

/* Flags joined by | lean to the left. */
static struct expr *parse_expr(struct lexer *x) {
    struct expr *e = parse_one(x);
    while (lex_take(x, '|')) {
        struct expr * or = new_expr(E_OR, NULL, 0);
        or->first = e;
        e->next = parse_one(x);
        e = or ;
    }
    return e;
}

/* ---- calls -------------------------------------------------------------- */

/* (Connection refused): in words what the number said already. */
static void skip_note(struct lexer *x) {
    if (!lex_take(x, '('))
        return;
    while (!lex_take(x, ')')) {
        if (x->token == T_END)
            lex_fail(x, "note without end");
        lex_next(x);
    }
}

/* name(arguments) = result ERROR (note) */
static void parse_call(struct lexer *x, struct call *c) {
    c->name = lex_need_word(x);
    lex_need(x, '(');
    c->args = parse_list(x, ')');
    lex_need(x, '=');
    c->result = parse_expr(x);
    if (x->token == T_WORD)
        c->err = lex_need_word(x);
    skip_note(x);
}

/* ---- events ------------------------------------------------------------- */

/* Seconds to microseconds, rounded. */
static int64_t parse_time(struct lexer *x) {
    if (x->token != T_INT && x->token != T_FLOAT)
        lex_fail(x, "expected a time");
    double t = x->real;
    lex_next(x);
    return (int64_t)(t * 1e6 + 0.5);
}

/* 0.1  +0.1  0.1~0.2  +0.1~+0.2  *  and, before a call, +0...0.1 */
static void parse_when(struct lexer *x, struct when *w) {
    w->end = -1;
    if (lex_take(x, '*')) {
        w->kind = W_ANY;
        return;
    }
    bool rel = lex_take(x, '+');
    w->kind = rel ? W_REL : W_ABS;
    w->us = parse_time(x);
    if (lex_take(x, '~')) {
        w->kind = rel ? W_REL_RANGE : W_ABS_RANGE;
        lex_take(x, '+');
        w->end = parse_time(x);
        if (w->end < w->us)
            lex_fail(x, "the time range is backwards");
    }
}

/* Shell and code blocks may stand without a time: now. */
static struct event *parse_event(struct lexer *x) {
    struct event *e = keep(sizeof(*e));
    e->line = x->line;
    bool timed = x->token != T_SHELL && x->token != T_CODE;
    if (timed)
        parse_when(x, &e->at);
    else
        e->at = (struct when){.kind = W_REL, .end = -1};
    if (x->token == T_SHELL || x->token == T_CODE) {
        e->kind = x->token == T_SHELL ? EV_SHELL : EV_CODE;
        e->text = x->text;
        lex_next(x);
    } else if (lex_is(x, '<') || lex_is(x, '>')) {
        e->kind = EV_PACKET;
        parse_packet(x, &e->spec);
    } else {
        e->kind = EV_CALL;
        if (x->token == T_ELLIPSIS) {
            lex_next(x);
            e->at.end = parse_time(x);
        }
        parse_call(x, &e->call);
    }
    bool out = e->kind == EV_PACKET && !e->spec.in;
    if (!out && (e->at.kind == W_ANY || e->at.kind >= W_ABS_RANGE)) {
        x->line = e->line;
        lex_fail(x, "only an outbound packet may come at such a time");
    }
    return e;
}

/* --name or --name=value; the value is the rest of the word as written. */
static void parse_option(struct lexer *x, struct option_line ***tail) {
    struct option_line *o = keep(sizeof(*o));
    o->line = x->line;
    o->name = x->text;
    if (*x->at == '=') {
        const char *v = x->at + 1;
        size_t n = 0;
        char quote = 0;
        for (; v[n] && v[n] != '\n'; n++) {
            if (!quote && (v[n] == ' ' || v[n] == '\t'))
                break;
            if (v[n] == '"' || v[n] == '`')
                quote = quote ? 0 : v[n];
        }
        o->value = keep_text(v, n);
        x->at = v + n;
    }
    **tail = o;
    *tail = &o->next;
    lex_next(x);
}

/* NULL: cannot be read. A megabyte is enough for any script. */
static char *read_whole(const char *file) {
    FILE *f = fopen(file, "r");
    if (!f)
        return NULL;
    size_t size = 0, room = 1 << 20;
    char *text = keep(room);
    size = fread(text, 1, room - 1, f);
    text[size] = 0;
    fclose(f);
    return text;
}

struct script *parse_file(const char *file, char *why, size_t why_size) {
    struct lexer *x = keep(sizeof(*x));
    struct option_line **otail;
    struct event **etail;
    x->script = keep(sizeof(*x->script));
    x->script->file = x->file = file;
    x->why = why;
    x->why_size = why_size;
    x->line = x->next_line = 1;
    x->at = read_whole(file);
    if (!x->at) {
        snprintf(why, why_size, "0: cannot be read");
        return NULL;
    }
    if (setjmp(x->bail))
        return NULL;
    otail = &x->script->options;
    etail = &x->script->events;
    lex_next(x);
    while (x->token == T_OPTION)
        parse_option(x, &otail);
    while (x->token != T_END) {
        *etail = parse_event(x);
        etail = &(*etail)->next;
    }
    return x->script;
}
