/* lexer.h: the words of a packet script. Internal to the parser. */
#pragma once
#include <setjmp.h>
#include "tests/scripts/ast.h"

enum token {
    T_END,
    T_INT,      /* num */
    T_FLOAT,    /* text as written, real */
    T_WORD,     /* text */
    T_STRING,   /* text, num: length; escapes resolved */
    T_ELLIPSIS, /* ... */
    T_OPTION,   /* --name: text */
    T_CODE,     /* %{ text }% */
    T_SHELL,    /* `text` */
    T_PUNCT,    /* num: the character */
};

struct lexer {
    const char *file, *at;
    int line; /* of the current token */
    int next_line;
    enum token token; /* the current one */
    int64_t num;
    double real;
    char *text;
    char *why;
    size_t why_size;
    jmp_buf bail;
    struct script *script;
};

/* Step to the next token. */
void lex_next(struct lexer *x);
/* Give up: the message goes to x->why with the line. */
_Noreturn void lex_fail(struct lexer *x, const char *fmt, ...) ADHERE;

static inline bool lex_is(const struct lexer *x, int c) {
    return x->token == T_PUNCT && x->num == c;
}
bool lex_word(const struct lexer *x, const char *w);
/* Take it if it is there. */
bool lex_take(struct lexer *x, int c);
bool lex_take_word(struct lexer *x, const char *w);
/* It must be there. */
void lex_need(struct lexer *x, int c);
int64_t lex_need_int(struct lexer *x);
const char *lex_need_word(struct lexer *x);

/* parse_packet.c */
void parse_packet(struct lexer *x, struct spec *p);
