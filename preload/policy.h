/* policy.h: who serves an address (policy.c). */
#pragma once
#include "preload/preload.h"
#include "preload/share/rules.h"
#include "preload/share/why.h"

enum policy { POLICY_STACK, POLICY_KERNEL, POLICY_REFUSE };

struct verdict {
    enum policy policy;
    enum why why;
    int rule; /* index into share.rules, with WHY_RULE; else -1 */
};

/* At start: the rules of the settings. */
void policy_start(const struct settings *s);
/* What about this address? */
struct verdict policy_ask(struct file *f, enum rule_role role,
                          const struct endpoint *at);
/* Ask, and act: 0 the socket stays the stack's, IO_KERNEL (io.h) it has become
 * the kernel's, or -errno. "Any" as a destination is made plain. */
int policy_apply(int fd, struct file *f, enum rule_role role,
                 struct endpoint *at);
/* What would fall back to the kernel is forbidden: counted, said once.
 * -EACCES. */
int policy_strict(const char *what);
