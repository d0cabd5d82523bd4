/* exec_options.c: setsockopt and getsockopt, by the stack's own list. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/scripts/exec.h"

enum { KIND_INT, KIND_BOOL, KIND_LINGER };

static const struct {
    int level, name, kind;
} options[STACK_OPT_COUNT] = {
#define OPTION(id, level, name, number, kind, ...)                             \
    [STACK_OPT_##id] = {level, number, KIND_##kind},
#include "stack/options.def"
    [STACK_OPT_MAX_PACING_RATE] = {SOL_SOCKET, SO_MAX_PACING_RATE, KIND_INT},
};

/* STACK_OPT_COUNT: the stack does not know it. */
static enum stack_opt find(int64_t level, int64_t name) {
    for (int i = 0; i < STACK_OPT_COUNT; i++)
        if (options[i].name && options[i].level == level &&
            options[i].name == name)
            return (enum stack_opt)i;
    return STACK_OPT_COUNT;
}

/* An option that the stack does not have: fine if the script expects so. */
static int64_t unknown(struct run *r, struct attempt *a) {
    const struct expr *name = arg(r, a, 2);
    const char *err = a->e->call.err;
    if (!err || strcmp(err, "ENOPROTOOPT"))
        unsupported(r, "%s %s", a->e->call.name,
                    name->kind == E_WORD ? name->text : "of a number");
    return -ENOPROTOOPT;
}

/* -1: off; also as the list {1, 0}. */
static int64_t linger_value(struct run *r, const struct expr *e) {
    const struct expr *on = field(e, "onoff"), *s = field(e, "linger");
    if (!on && e->first) {
        on = e->first;
        s = on->next;
    }
    if (!on || !s)
        fail(r, "expected {onoff=..., linger=...}");
    return int_value(r, on) ? int_value(r, s) : -1;
}

/* The value of an option, by its kind. */
static int64_t value(struct run *r, enum stack_opt opt, const struct expr *e) {
    if (options[opt].kind == KIND_LINGER)
        return linger_value(r, e->kind == E_LIST && e->first &&
                                       e->first->kind == E_STRUCT
                                   ? e->first
                                   : e);
    return int_value(r, e);
}

/* TCP_CONGESTION has a name as its value. */
static bool is_congestion(struct run *r, struct attempt *a) {
    return int_arg(r, a, 1) == IPPROTO_TCP &&
           int_arg(r, a, 2) == TCP_CONGESTION;
}

/* A string, bare or in a list. */
static int64_t set_congestion(struct run *r, struct attempt *a,
                              struct file *f) {
    const struct expr *e = arg(r, a, 3);
    if (e->kind == E_LIST && e->first)
        e = e->first;
    int n = e->kind == E_STRING ? stack_cc_find(e->text) : -ENOENT;
    return n < 0 ? n : stack_setopt(r->w->st, f->so, STACK_OPT_CONGESTION, n);
}

/* setsockopt(2). */
int64_t call_setsockopt(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    enum stack_opt opt = find(int_arg(r, a, 1), int_arg(r, a, 2));
    if (!f)
        return -EBADF;
    if (is_congestion(r, a))
        return set_congestion(r, a, f);
    if (opt == STACK_OPT_COUNT)
        return unknown(r, a);
    return stack_setopt(r->w->st, f->so, opt, value(r, opt, arg(r, a, 3)));
}

/* getsockopt(2): the value given is compared. */
int64_t call_getsockopt(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    enum stack_opt opt = find(int_arg(r, a, 1), int_arg(r, a, 2));
    const struct expr *e = arg(r, a, 3);
    int64_t v = 0;
    if (!f)
        return -EBADF;
    if (opt == STACK_OPT_COUNT)
        return unknown(r, a);
    int err = stack_getopt(r->w->st, f->so, opt, &v);
    if (err < 0 || e->kind == E_ANY)
        return err;
    if (value(r, opt, e) != v)
        fail(r, "getsockopt: expected [%lld], came [%lld]",
             (long long)value(r, opt, e), (long long)v);
    return 0;
}
