/* sockopt.h: what the socket option files share (sockopt.c, optcall.c). */
#pragma once
#include "preload/io.h"

/* Who answers; the kinds of rows in stack/options.def. */
enum opt_class { OPT_STACK, OPT_CALL, OPT_KEPT, OPT_FIXED, OPT_NONE };
/* How a value travels. */
enum opt_kind { OPT_BOOL, OPT_INT, OPT_LINGER };

/* Values with a form of their own. name: one function may serve several.
 * Lock held; len has been found to be no negative number. 0 or -errno. */
typedef int opt_set_fn(struct file *f, int name, const void *val,
                       socklen_t len);
typedef int opt_get_fn(struct file *f, int name, void *val, socklen_t *len);

/* One row of stack/options.def. */
struct opt_row {
    int level, name;
    uint8_t class, kind; /* enum opt_class, opt_kind */
    bool writable;
    int id;          /* enum stack_opt or kept_opt, by class */
    int value;       /* FIXED: the value; KEPT: the initial one */
    int low, high;   /* KEPT: range */
    int no_set;      /* NONE, FIXED: the error of setting, positive */
    int no_get;      /* NONE */
    opt_set_fn *set; /* CALL */
    opt_get_fn *get;
};

extern const struct opt_row opt_rows[];
extern const int opt_nrows;

/* A value as the kernel's setsockopt would take it: its bytes in buf (at
 * least 16), the length returned. For replaying options (tokernel.c). */
socklen_t opt_encode(const struct opt_row *d, int64_t value, void *buf);
/* What an option of class KEPT reads as. */
int opt_kept_value(const struct file *f, const struct opt_row *d);

/* The int of a setsockopt, by the rules of its level; 0, -EINVAL, -EFAULT. */
int opt_int_in(int level, const void *val, socklen_t len, int64_t *out);
/* Copy an answer out, cut to *len; *len becomes what was copied. 0 or
 * -EFAULT. */
int opt_copy_out(const void *src, socklen_t full, void *val, socklen_t *len);

/* An option that is refused, counted. */
int opt_refuse(int err);

/* Set on the kernel socket k what rows of class CALL have stored. */
void opt_call_replay(struct file *f, int k);

#define OPTION_CALL(level, name, number, how, ...)                             \
    opt_set_fn opt_set_##how;                                                  \
    opt_get_fn opt_get_##how;
#include "stack/options.def"
