/* lexer.c: from characters to tokens.
 *
 * Two things are peculiar. A '.' may begin a number (.1), be a flag, be part
 * of an IPv4 address or of an ellipsis: a number takes a '.' only when a digit
 * follows, and four numbers in a row are an address. And a word may begin with
 * a digit if letters follow (a cookie in hexadecimal).
 *
 * Words given by --define=NAME=VALUE are replaced here.
 */
#include "tests/scripts/lexer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Goes back to parse_file. */
void lex_fail(struct lexer *x, const char *fmt, ...) {
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(x->why, x->why_size, "%d: %s", x->line, text);
    longjmp(x->bail, 1);
}

/* White space and the three kinds of comments. */
static void skip_space(struct lexer *x) {
    for (;;) {
        if (*x->at == '\n')
            x->next_line++, x->at++;
        else if (isspace((unsigned char)*x->at))
            x->at++;
        else if (*x->at == '#' || strncmp(x->at, "//", 2) == 0)
            x->at += strcspn(x->at, "\n");
        else if (strncmp(x->at, "/*", 2) == 0) {
            const char *end = strstr(x->at, "*/");
            x->line = x->next_line;
            if (!end)
                lex_fail(x, "comment without end");
            for (; x->at < end + 2; x->at++)
                x->next_line += *x->at == '\n';
        } else
            return;
    }
}

/* Everything up to `end`, which is skipped. */
static void take_block(struct lexer *x, enum token token, const char *end) {
    const char *stop = strstr(x->at, end);
    if (!stop)
        lex_fail(x, "no %s follows", end);
    for (const char *p = x->at; p < stop; p++)
        x->next_line += *p == '\n';
    x->text = keep_text(x->at, (size_t)(stop - x->at));
    x->at = stop + strlen(end);
    x->token = token;
}

/* The value of a digit that isxdigit() accepts. */
static int hex_digit(char c) {
    return isdigit((unsigned char)c) ? c - '0' : tolower(c) - 'a' + 10;
}

/* One character of a string, escapes resolved. */
static char take_char(struct lexer *x) {
    char c = *x->at++;
    if (c != '\\')
        return c;
    c = *x->at++;
    if (c == 'n')
        return '\n';
    if (c == 't')
        return '\t';
    if (c == 'r')
        return '\r';
    if (c == '0')
        return '\0';
    if (c != 'x')
        return c;
    int v = 0;
    for (int i = 0; i < 2 && isxdigit((unsigned char)*x->at); i++)
        v = v * 16 + hex_digit(*x->at++);
    return (char)v;
}

/* x->at is behind the opening quote. */
static void take_string(struct lexer *x) {
    x->text = keep(strlen(x->at) + 1);
    x->num = 0;
    while (*x->at != '"') {
        if (!*x->at || *x->at == '\n')
            lex_fail(x, "string without end");
        x->text[x->num++] = take_char(x);
    }
    x->at++;
    x->token = T_STRING;
}

/* Letters, digits, underscore. */
static bool word_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* Four numbers with dots between them: the length, or 0. */
static size_t address_length(const char *s) {
    int a, b, c, d, n = 0;
    if (sscanf(s, "%d.%d.%d.%d%n", &a, &b, &c, &d, &n) != 4)
        return 0;
    return (size_t)n;
}

/* The next len characters are a word. */
static void take_word(struct lexer *x, size_t len) {
    x->token = T_WORD;
    x->text = keep_text(x->at, len);
    x->at += len;
}

/* An integer, a float, an address, or a word that begins with a digit. */
static void take_number(struct lexer *x) {
    const char *s = x->at;
    char *end;
    if (address_length(s)) {
        take_word(x, address_length(s));
        return;
    }
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        x->num = (int64_t)strtoull(s, &end, 16);
        x->token = T_INT;
        x->at = end;
        return;
    }
    size_t n = strspn(s, "0123456789");
    if (s[n] == '.' && isdigit((unsigned char)s[n + 1])) {
        n += 1 + strspn(s + n + 1, "0123456789");
        x->text = keep_text(s, n);
        x->real = strtod(x->text, NULL);
        x->token = T_FLOAT;
        x->at = s + n;
        return;
    }
    if (isalpha((unsigned char)s[n])) {
        while (word_char(s[n]))
            n++;
        take_word(x, n);
        return;
    }
    x->text = keep_text(s, n);
    x->num = (int64_t)strtoull(s, &end, 10);
    x->real = (double)x->num;
    x->token = T_INT;
    x->at = end;
}

/* Replace a word that --define gave a meaning. */
static void expand(struct lexer *x) {
    size_t n = strlen(x->text);
    for (struct option_line *o = x->script->options; o; o = o->next) {
        if (strcmp(o->name, "define") || !o->value ||
            strncmp(o->value, x->text, n) || o->value[n] != '=')
            continue;
        const char *v = o->value + n + 1;
        char *end;
        long long num = strtoll(v, &end, 0);
        if (*v && !*end) {
            x->token = T_INT;
            x->num = num;
        } else if (*v == '"' || *v == '`') {
            x->token = *v == '"' ? T_STRING : T_SHELL;
            x->num = (int64_t)strlen(v) - 2;
            x->text = keep_text(v + 1, (size_t)x->num);
        } else
            x->text = keep_text(v, strlen(v));
        return;
    }
}

/* The longest token that begins here. */
void lex_next(struct lexer *x) {
    skip_space(x);
    const char *s = x->at;
    x->line = x->next_line;
    if (!*s)
        x->token = T_END;
    else if (strncmp(s, "...", 3) == 0)
        x->token = T_ELLIPSIS, x->at += 3;
    else if (strncmp(s, "--", 2) == 0 && isalpha((unsigned char)s[2])) {
        x->at += 2;
        take_word(x, strspn(x->at, "abcdefghijklmnopqrstuvwxyz0123456789_-"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
        x->token = T_OPTION;
    } else if (strncmp(s, "%{", 2) == 0)
        x->at += 2, take_block(x, T_CODE, "}%");
    else if (*s == '`')
        x->at++, take_block(x, T_SHELL, "`");
    else if (*s == '"')
        x->at++, take_string(x);
    else if (isdigit((unsigned char)*s) ||
             (*s == '.' && isdigit((unsigned char)s[1])))
        take_number(x);
    else if (isalpha((unsigned char)*s) || *s == '_') {
        size_t n = 0;
        while (word_char(s[n]))
            n++;
        take_word(x, n);
        expand(x);
    } else
        x->token = T_PUNCT, x->num = *x->at++;
}

/* Is the current token this word? */
bool lex_word(const struct lexer *x, const char *w) {
    return x->token == T_WORD && strcmp(x->text, w) == 0;
}

/* Step over a character if it is the current token. */
bool lex_take(struct lexer *x, int c) {
    bool there = lex_is(x, c);
    if (there)
        lex_next(x);
    return there;
}

/* Step over a word if it is the current token. */
bool lex_take_word(struct lexer *x, const char *w) {
    bool there = lex_word(x, w);
    if (there)
        lex_next(x);
    return there;
}

/* Step over a character or give up. */
void lex_need(struct lexer *x, int c) {
    if (!lex_take(x, c))
        lex_fail(x, "expected '%c'", c);
}

/* A number, perhaps negative. */
int64_t lex_need_int(struct lexer *x) {
    bool minus = lex_take(x, '-');
    int64_t v = x->num;
    if (x->token != T_INT)
        lex_fail(x, "expected a number");
    lex_next(x);
    return minus ? -v : v;
}

/* Any word. */
const char *lex_need_word(struct lexer *x) {
    const char *s = x->text;
    if (x->token != T_WORD)
        lex_fail(x, "expected a word");
    lex_next(x);
    return s;
}
