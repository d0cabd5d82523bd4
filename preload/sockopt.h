/* sockopt.h: what the socket option files share (sockopt.c, optother.c). */
#pragma once
#include "preload/io.h"

/* How a value travels; the kinds of stack/options.def. */
enum opt_kind { OPT_BOOL, OPT_INT, OPT_LINGER };

struct opt_def {
    int level, name;
    uint8_t kind; /* enum opt_kind */
    bool writable;
    enum stack_opt id;
};

/* The stack's options, in the order of enum stack_opt. */
extern const struct opt_def opt_defs[STACK_OPT_COUNT];

/* A value as the kernel's setsockopt would take it: its bytes in buf (at
 * least 16), the length returned. For replaying options (tokernel.c). */
socklen_t opt_encode(const struct opt_def *d, int64_t value, void *buf);

/* Copy an answer out, cut to *len; *len becomes what was copied. 0, -EINVAL
 * (negative *len), -EFAULT. */
int opt_copy_out(const void *src, socklen_t full, void *val, socklen_t *len);

/* Options that are no stack option: time-outs, type, TCP_INFO, IPv6 settings
 * that IPv4-mapped traffic never uses... Lock held. 1: not one of these. */
int opt_other_set(struct file *f, int level, int name, const void *val,
                  socklen_t len);
int opt_other_get(struct file *f, int level, int name, void *val,
                  socklen_t *len);
/* Set on the kernel socket k what opt_other_set had stored (tokernel.c). */
void opt_other_replay(struct file *f, int k);

/* IPV6_RECVPKTINFO is on. */
bool opt_pktinfo6(struct file *f);

/* TCP_INFO (tcpinfo.c). */
int opt_tcp_info(struct file *f, void *val, socklen_t *len);
