/* sockopt.c: getsockopt, setsockopt for the stack's own options.
 *
 * stack/options.def is the list: from it comes the table that translates
 * (level, name) and the form of the value. The rules on lengths are Linux's
 * and differ by level:
 *   SOL_SOCKET, TCP, IPV6  at least an int, else EINVAL;
 *   IPPROTO_IP             an int, or one byte if there is less room, both
 *                          ways.
 * An option that is in no list answers ENOPROTOOPT and is counted: never a
 * silent yes.
 */
#include "preload/sockopt.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define KIND_BOOL OPT_BOOL
#define KIND_INT OPT_INT
#define KIND_LINGER OPT_LINGER
#define ACCESS_RW true
#define ACCESS_RO false

const struct opt_def opt_defs[STACK_OPT_COUNT] = {
#define OPTION(id, level, name, kind, access, sentence)                        \
    [STACK_OPT_##                                                              \
        id] = {level, name, KIND_##kind, ACCESS_##access, STACK_OPT_##id},
#include "stack/options.def"
#undef OPTION
};

static_assert(STACK_OPT_COUNT <= 64, "struct file.opt_set holds one bit each");

/* A short table, and no call that is made often. */
static const struct opt_def *find(int level, int name) {
    for (int i = 0; i < STACK_OPT_COUNT; i++)
        if (opt_defs[i].name == name && opt_defs[i].level == level)
            return &opt_defs[i];
    return NULL;
}

/* Does this socket have options of that level at all? */
static bool level_fits(struct file *f, int level) {
    switch (level) {
    case SOL_SOCKET:
    case IPPROTO_IP:
        return true;
    case IPPROTO_TCP:
        return sock_is_stream(f);
    case IPPROTO_IPV6:
        return stack_sock_family(f->so) == 6;
    }
    return false;
}

/* ---- values ----------------------------------------------------------------- */

/* The int of a setsockopt; 0, -EINVAL, -EFAULT. */
static int int_in(int level, const void *val, socklen_t len, int64_t *out) {
    int v = 0;
    unsigned char byte = 0;
    if (level != IPPROTO_IP && len < sizeof(v))
        return -EINVAL;
    if (bad_buffer(val, len))
        return -EFAULT;
    if (len >= sizeof(v))
        memcpy(&v, val, sizeof(v));
    else if (len >= 1)
        v = (memcpy(&byte, val, 1), byte);
    *out = v;
    return 0;
}

/* struct linger becomes seconds, -1 for off (stack/options.def). */
static int linger_in(const void *val, socklen_t len, int64_t *out) {
    struct linger l;
    if (len < sizeof(l))
        return -EINVAL;
    if (bad_pointer(val))
        return -EFAULT;
    memcpy(&l, val, sizeof(l));
    *out = l.l_onoff ? (int64_t)(unsigned)l.l_linger : -1;
    return 0;
}

/* socket(7): the answer is cut to the room there is, without an error. */
int opt_copy_out(const void *src, socklen_t full, void *val, socklen_t *len) {
    socklen_t n = *len < full ? *len : full;
    if ((int)*len < 0)
        return -EINVAL;
    if (bad_buffer(val, n))
        return -EFAULT;
    if (n)
        memcpy(val, src, n);
    *len = n;
    return 0;
}

/* Linux doubles the sizes it is given, so they go in halved. */
socklen_t opt_encode(const struct opt_def *d, int64_t value, void *buf) {
    int v = (int)value;
    struct linger l = {value >= 0, value >= 0 ? (int)value : 0};
    if (d->kind == OPT_LINGER) {
        memcpy(buf, &l, sizeof(l));
        return sizeof(l);
    }
    if (d->id == STACK_OPT_SNDBUF || d->id == STACK_OPT_RCVBUF)
        v /= 2; /* reads back doubled */
    memcpy(buf, &v, sizeof(v));
    return sizeof(v);
}

/* The answer of getsockopt, by kind and level. */
static int value_out(const struct opt_def *d, int64_t value, void *val,
                     socklen_t *len) {
    int v = (int)value;
    unsigned char byte = (unsigned char)v;
    struct linger l = {value >= 0, value >= 0 ? (int)value : 0};
    if (d->kind == OPT_LINGER)
        return opt_copy_out(&l, sizeof(l), val, len);
    if (d->level == IPPROTO_IP && *len > 0 && *len < sizeof(v) && v >= 0 &&
        v <= 255)
        return opt_copy_out(&byte, 1, val, len);
    return opt_copy_out(&v, sizeof(v), val, len);
}

/* ---- the calls --------------------------------------------------------------- */

/* Counted, so that the summary can say which programs missed something. */
static int refuse(int err) {
    self.sh->count.opt_unknown++;
    return err;
}

/* Lock held. */
static int set_file(struct file *f, int level, int name, const void *val,
                    socklen_t len) {
    int64_t v = 0;
    if ((int)len < 0)
        return -EINVAL;
    if (!level_fits(f, level))
        return refuse(-ENOPROTOOPT);
    int r = opt_other_set(f, level, name, val, len);
    if (r <= 0)
        return r;
    const struct opt_def *d = find(level, name);
    r = d && d->kind == OPT_LINGER ? linger_in(val, len, &v)
                                   : int_in(level, val, len, &v);
    if (r < 0)
        return r;
    if (!d || !d->writable)
        return refuse(-ENOPROTOOPT);
    if (d->kind == OPT_BOOL)
        v = v != 0;
    r = stack_setopt(self.st, f->so, d->id, v);
    if (r == 0)
        f->opt_set |= 1ull << d->id;
    return r;
}

/* Lock held. */
static int get_file(struct file *f, int level, int name, void *val,
                    socklen_t *len) {
    int64_t v = 0;
    if (bad_pointer(len))
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    if (!level_fits(f, level))
        return refuse(-EOPNOTSUPP); /* setsockopt says ENOPROTOOPT */
    int r = opt_other_get(f, level, name, val, len);
    if (r <= 0)
        return r;
    const struct opt_def *d = find(level, name);
    if (!d)
        return refuse(-ENOPROTOOPT);
    r = stack_getopt(self.st, f->so, d->id, &v);
    return r < 0 ? r : value_out(d, v, val, len);
}

/* setsockopt(2). */
EXPORT int setsockopt(int fd, int level, int opt, const void *val,
                      socklen_t len) {
    if (!sock_file(fd))
        return real.setsockopt(fd, level, opt, val, len);
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    int r = set_file(f, level, opt, val, len);
    section_leave(f);
    RETURN(r);
}

/* getsockopt(2). */
EXPORT int getsockopt(int fd, int level, int opt, void *restrict val,
                      socklen_t *restrict len) {
    if (!sock_file(fd))
        return real.getsockopt(fd, level, opt, val, len);
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    int r = get_file(f, level, opt, val, len);
    section_leave(f);
    RETURN(r);
}
