/* rules.h: which addresses, ports and programs go where (rules.c). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/addr.h"

#define RULES_MAX 32
#define RULE_TEXT 64
#define RULE_PROG 48

enum rule_action { RULE_STACK, RULE_KERNEL, RULE_REFUSE };
/* TO: connect and datagrams sent; AT: bind. */
enum rule_role { RULE_ANY, RULE_TO, RULE_AT };

struct rule {
    uint8_t action; /* enum rule_action */
    uint8_t role;   /* enum rule_role */
    uint8_t proto;  /* IP protocol number; 0: any */
    bool has_addr;
    uint32_t addr, mask;
    uint16_t port_lo, port_hi;
    char prog[RULE_PROG]; /* "": any */
    char text[RULE_TEXT]; /* as given */
};

/* One question. */
struct rule_subject {
    enum rule_role role;
    uint8_t proto;
    struct endpoint at;
    const char *name, *path; /* of the program: last part, and whole */
};

/* Read "rule; rule; ...". Returns the number of rules, or -1: *bad is where
 * the rule that makes no sense begins. out may be NULL. */
int rules_parse(const char *text, struct rule out[RULES_MAX], const char **bad);
/* The first that matches, or -1. */
int rules_match(const struct rule *rules, int n, const struct rule_subject *s);
