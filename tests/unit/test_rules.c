/* test_rules.c: the user's rules: reading and matching. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "preload/share/rules.h"

static struct rule r[RULES_MAX];
static const char *bad;

Test(rules, syntax) {
    cr_assert_eq(rules_parse("", r, &bad), 0);
    cr_assert_eq(rules_parse(" ; ;", r, &bad), 0);
    cr_assert_eq(rules_parse("kernel to 10.0.0.0/8; refuse udp port 53;\t"
                             "stack at port 1000-2000 prog nginx tcp",
                             r, &bad),
                 3);
    cr_assert_eq(r[0].action, RULE_KERNEL);
    cr_assert_eq(r[0].role, RULE_TO);
    cr_assert_eq(r[0].addr, 0x0a000000u);
    cr_assert_eq(r[0].mask, 0xff000000u);
    cr_assert_eq(r[1].action, RULE_REFUSE);
    cr_assert_eq(r[1].proto, 17);
    cr_assert_eq(r[1].port_lo, 53);
    cr_assert_eq(r[1].port_hi, 53);
    cr_assert_str_eq(r[1].text, "refuse udp port 53");
    cr_assert_eq(r[2].role, RULE_AT);
    cr_assert_eq(r[2].proto, 6);
    cr_assert_eq(r[2].port_hi, 2000);
    cr_assert_str_eq(r[2].prog, "nginx");
    cr_assert_eq(rules_parse("stack 0.0.0.0/0", r, &bad), 1);
    cr_assert_eq(r[0].mask, 0);
}

Test(rules, mistakes) {
    static const char *const wrong[] = {
        "allow tcp",        "tcp kernel",         "stack port",
        "stack port 70000", "stack port 5-4",     "stack port 5-",
        "stack port 5x",    "stack 10.0.0.1/8",   "stack 10.0.0.0/33",
        "stack 10.0.0",     "stack 10.0.0.0/",    "stack prog",
        "stack tcpp",       "kernel 10.0.0.0/8x", "stack 300.1.1.1",
    };
    char both[100];
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        snprintf(both, sizeof(both), "kernel tcp; %s", wrong[i]);
        cr_assert_eq(rules_parse(both, NULL, &bad), -1, "%s", wrong[i]);
        cr_assert_str_eq(bad, wrong[i]);
    }
    char many[40 * 10] = "";
    for (int i = 0; i <= RULES_MAX; i++)
        strcat(many, "stack;");
    cr_assert_eq(rules_parse(many, NULL, &bad), -1);
}

static int match(enum rule_role role, int proto, uint32_t ip, uint16_t port,
                 int n) {
    struct rule_subject s = {role,
                             (uint8_t)proto,
                             {.ip = ip_from_v4(ip), .port = port},
                             "curl",
                             "/usr/bin/curl"};
    return rules_match(r, n, &s);
}

Test(rules, first_match_wins) {
    int n = rules_parse("kernel to 10.1.0.0/16; refuse 10.0.0.0/8 tcp; "
                        "stack udp port 53; refuse prog curl port 80-81; "
                        "kernel prog /usr/bin/curl port 82; kernel prog wget",
                        r, &bad);
    cr_assert_eq(n, 6);
    cr_assert_eq(match(RULE_TO, 6, 0x0a010203, 5, n), 0);
    cr_assert_eq(match(RULE_AT, 6, 0x0a010203, 5, n), 1);
    cr_assert_eq(match(RULE_TO, 6, 0x0a020203, 5, n), 1);
    cr_assert_eq(match(RULE_TO, 17, 0x0a020203, 5, n), -1);
    cr_assert_eq(match(RULE_TO, 17, 0x0a020203, 53, n), 2);
    cr_assert_eq(match(RULE_TO, 6, 0x01020304, 80, n), 3);
    cr_assert_eq(match(RULE_TO, 6, 0x01020304, 82, n), 4);
    cr_assert_eq(match(RULE_TO, 6, 0x01020304, 83, n), -1);
    /* "any" has no address: a rule with one does not speak of it */
    n = rules_parse("refuse 0.0.0.0/0; kernel", r, &bad);
    cr_assert_eq(match(RULE_AT, 6, 0, 80, n), 1);
}
