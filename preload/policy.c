/* policy.c: who serves an address.
 *
 * The user's rules come first (preload/share/rules.c). Where none matches,
 * loopback addresses (127/8, ::1) are the kernel's: services of this host
 * listen there, local resolvers too; or, with loopback=stack, 127/8 is the
 * stack's as well and never leaves it. Everything else is the stack's, which
 * answers for what it cannot reach.
 *
 * The question is asked when an address comes up first: bind, connect, or the
 * first sendto; then the socket has its place. A refusal is asked for with
 * every destination. EACCES is what connect(2) has for "a local firewall rule".
 *
 * "Any" as a destination means this host (RFC 1122, 3.2.1.3 (a)): 127.0.0.1.
 */
#include "preload/policy.h"

#include <fcntl.h>
#include <string.h>

#include "preload/io.h"

static struct rule rules[RULES_MAX];
static int n_rules;
static char path[256];

void policy_start(const struct settings *s) {
    const char *bad;
    n_rules = rules_parse(s->rules, rules, &bad); /* checked when read */
    if (n_rules < 0)
        n_rules = 0;
    long n = sys_readlinkat(AT_FDCWD, "/proc/self/exe", path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
}

/* Where this rule is counted, for all processes that have the same one. */
static int count_rule(const struct rule *r) {
    struct share *sh = self.sh;
    for (int i = 0; i < RULES_MAX; i++) {
        struct share_rule *c = &sh->rules[i];
        if (!c->text[0])
            memcpy(c->text, r->text, sizeof(c->text));
        if (strcmp(c->text, r->text))
            continue;
        c->hits++;
        return i;
    }
    return -1;
}

static enum policy by_default(const struct endpoint *at) {
    bool stays = preload_settings()->loopback == LOOPBACK_STACK;
    if (!ip_is_loopback(&at->ip) || (stays && ip_is_v4(&at->ip)))
        return POLICY_STACK;
    return POLICY_KERNEL;
}

/* Lock held. */
struct verdict policy_ask(struct file *f, enum rule_role role,
                          const struct endpoint *at) {
    static const enum policy as[] = {POLICY_STACK, POLICY_KERNEL,
                                     POLICY_REFUSE};
    struct rule_subject s = {
        .role = role,
        .proto = (uint8_t)stack_sock_protocol(f->so),
        .at = *at,
        .name = program_invocation_short_name,
        .path = path,
    };
    int i = n_rules ? rules_match(rules, n_rules, &s) : -1;
    if (i >= 0)
        return (struct verdict){as[rules[i].action], WHY_RULE,
                                count_rule(&rules[i])};
    return (struct verdict){by_default(at), WHY_LOOPBACK, -1};
}

/* Lock held. 0: the stack's; IO_KERNEL; -errno. */
int policy_apply(int fd, struct file *f, enum rule_role role,
                 struct endpoint *at) {
    if (role == RULE_TO && ip_is_any(&at->ip))
        at->ip = ip_from_v4(0x7f000001);
    if (f->placed && !n_rules)
        return 0;
    struct verdict v = policy_ask(f, role, at);
    if (v.policy == POLICY_REFUSE) {
        self.sh->count.refused++;
        return -EACCES;
    }
    if (v.policy == POLICY_STACK || f->placed)
        return 0;
    int r = file_to_kernel(fd, f);
    if ((r == -EPERM || r == -EACCES) && stack_sock_type(f->so) == STACK_RAW) {
        /* ping has given up its right to raw sockets: we are the host then */
        self.sh->count.raw_loopback++;
        return 0;
    }
    if (r < 0)
        return r;
    self.sh->count.kernel_rule += v.why == WHY_RULE;
    self.sh->count.kernel_loopback += v.why == WHY_LOOPBACK;
    why_note(fd, v.why, v.rule);
    return IO_KERNEL;
}

/* Once for each reason: the user asked for it, and must learn of it. */
int policy_strict(const char *what) {
    static const char *said;
    if (self.sh)
        __atomic_fetch_add(&self.sh->count.strict, 1, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&said, what, __ATOMIC_RELAXED) != what)
        preload_say("%s would go to the kernel, which LIBSTACK_STRICT forbids",
                    what);
    return -EACCES;
}
