/* sockopt.c: getsockopt, setsockopt.
 *
 * Theory of operation
 *
 * stack/options.def has a row for every name of the kernel's headers; here
 * the rows become a table, and each kind of row one short function. What no
 * row has answers ENOPROTOOPT, as the kernel does. Whatever is refused is
 * counted: never a silent yes.
 *
 * The rules on lengths are Linux's and differ by level:
 *   SOL_SOCKET, TCP, UDP  at least an int, else EINVAL;
 *   IPPROTO_IP            an int, or one byte if there is less room, both
 *                         ways; no room at all sets 0;
 *   IPPROTO_IPV6          at least an int; NULL stands for 0.
 */
#include "preload/sockopt.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "preload/user.h"

#define ACCESS_RW true
#define ACCESS_RO false
#define CALL_RW(how) .set = opt_set_##how, .get = opt_get_##how
#define CALL_RO(how) .get = opt_get_##how

const struct opt_row opt_rows[] = {
#define OPTION(opt, level_, name_, number, kind_, access, ...)                 \
    {.level = level_,                                                          \
     .name = number,                                                           \
     .class = OPT_STACK,                                                       \
     .kind = OPT_##kind_,                                                      \
     .writable = ACCESS_##access,                                              \
     .no_set = ENOPROTOOPT,                                                    \
     .id = STACK_OPT_##opt},
#define OPTION_CALL(level_, name_, number, how, access, ...)                   \
    {.level = level_,                                                          \
     .name = number,                                                           \
     .class = OPT_CALL,                                                        \
     .no_set = ENOPROTOOPT,                                                    \
     CALL_##access(how)},
#define OPTION_KEPT(level_, name_, number, min, max, initial, ...)             \
    {.level = level_,                                                          \
     .name = number,                                                           \
     .class = OPT_KEPT,                                                        \
     .id = KEPT_##name_,                                                       \
     .low = min,                                                               \
     .high = max,                                                              \
     .value = initial},
#define OPTION_FIXED(level_, name_, number, access, value_, error, ...)        \
    {.level = level_,                                                          \
     .name = number,                                                           \
     .class = OPT_FIXED,                                                       \
     .writable = ACCESS_##access,                                              \
     .value = value_,                                                          \
     .no_set = error},
#define OPTION_NONE(level_, name_, number, set_, get_, ...)                    \
    {.level = level_,                                                          \
     .name = number,                                                           \
     .class = OPT_NONE,                                                        \
     .no_set = set_,                                                           \
     .no_get = get_},
#include "stack/options.def"
};

const int opt_nrows = sizeof(opt_rows) / sizeof(opt_rows[0]);

enum row_index {
#define OPTION(id, level, name, ...) ROW_##name,
#define OPTION_CALL(level, name, ...) ROW_##name,
#define OPTION_KEPT(level, name, ...) ROW_##name,
#define OPTION_FIXED(level, name, ...) ROW_##name,
#define OPTION_NONE(level, name, ...) ROW_##name,
#include "stack/options.def"
};

#define KEY(level, name) ((unsigned)(level) << 16 | (unsigned)(name))
#define KEY_OF(level, number, row)                                             \
    case KEY(level, number):                                                   \
        return &opt_rows[row];

/* A switch, so that the compiler refuses two rows for one number. */
static const struct opt_row *find(int level, int name) {
    if ((unsigned)level > 0xff || (unsigned)name > 0xffff)
        return NULL;
    switch (KEY(level, name)) {
#define OPTION(id, level, name, number, ...) KEY_OF(level, number, ROW_##name)
#define OPTION_CALL(level, name, number, ...) KEY_OF(level, number, ROW_##name)
#define OPTION_KEPT(level, name, number, ...) KEY_OF(level, number, ROW_##name)
#define OPTION_FIXED(level, name, number, ...) KEY_OF(level, number, ROW_##name)
#define OPTION_NONE(level, name, number, ...) KEY_OF(level, number, ROW_##name)
#include "stack/options.def"
    }
    return NULL;
}

/* Does this socket have options of that level at all? */
static bool level_fits(struct file *f, int level) {
    switch (level) {
    case SOL_SOCKET:
    case IPPROTO_IP:
        return true;
    case IPPROTO_TCP:
    case IPPROTO_UDP:
        return stack_sock_protocol(f->so) == level;
    case IPPROTO_IPV6:
        return stack_sock_family(f->so) == 6;
    case SOL_RAW:
        return stack_sock_type(f->so) == STACK_RAW;
    }
    return false;
}

/* ---- values ----------------------------------------------------------------- */

int opt_int_in(int level, const void *val, socklen_t len, int64_t *out) {
    int v = 0;
    unsigned char byte = 0;
    int r = 0;
    if (level != IPPROTO_IP && len < sizeof(v))
        return -EINVAL;
    if (len >= sizeof(v) && (val || level != IPPROTO_IPV6))
        r = user_read(&v, val, sizeof(v));
    else if (len >= 1 && len < sizeof(v)) {
        r = user_read(&byte, val, 1);
        v = byte;
    }
    *out = v;
    return r;
}

/* struct linger becomes seconds, -1 for off (stack/options.def). */
static int linger_in(const void *val, socklen_t len, int64_t *out) {
    struct linger l;
    int64_t first;
    int r = opt_int_in(SOL_SOCKET, val, len, &first); /* Linux's order */
    if (r < 0)
        return r;
    if (len < sizeof(l))
        return -EINVAL;
    r = user_read(&l, val, sizeof(l));
    if (r == 0)
        *out = l.l_onoff ? (int64_t)(unsigned)l.l_linger : -1;
    return r;
}

int opt_copy_out(const void *src, socklen_t full, void *val, socklen_t *len) {
    socklen_t n = *len < full ? *len : full;
    int r = user_write(val, src, n);
    if (r == 0)
        *len = n;
    return r;
}

/* Linux doubles the sizes it is given, so they go in halved. */
socklen_t opt_encode(const struct opt_row *d, int64_t value, void *buf) {
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
static int value_out(const struct opt_row *d, int64_t value, void *val,
                     socklen_t *len) {
    int v = (int)value;
    unsigned char byte = (unsigned char)v;
    struct linger l = {value >= 0, value >= 0 ? (int)value : 0};
    if (d->class == OPT_STACK && d->kind == OPT_LINGER)
        return opt_copy_out(&l, sizeof(l), val, len);
    if (d->level == IPPROTO_IP && *len > 0 && *len < sizeof(v) && v >= 0 &&
        v <= 255)
        return opt_copy_out(&byte, 1, val, len);
    return opt_copy_out(&v, sizeof(v), val, len);
}

/* ---- by class ------------------------------------------------------------------ */

/* Counted, so that the summary can say which programs missed something. */
int opt_refuse(int err) {
    self.sh->count.opt_unknown++;
    return err;
}

/* Noted in the file, so that a kernel socket can be given the same. */
static int set_stack(struct file *f, const struct opt_row *d, int64_t v) {
    if (d->kind == OPT_BOOL)
        v = v != 0;
    int r = stack_setopt(self.st, f->so, (enum stack_opt)d->id, v);
    if (r == 0)
        file_opt_note(f, (enum stack_opt)d->id);
    return r;
}

/* One bit on top, so that 0 means "never set". */
#define KEPT_IS_SET 0x10000

int opt_kept_value(const struct file *f, const struct opt_row *d) {
    int32_t v = f->kept[d->id];
    return v ? (int16_t)(v & 0xffff) : d->value;
}

/* Flags take any value, but for three; -1 means the initial one
 * where it is allowed. */
static int set_kept(struct file *f, const struct opt_row *d, int64_t v) {
    bool flag = d->low == 0 && d->high == 1;
    bool strict = d->id == KEPT_IPV6_MULTICAST_LOOP ||
                  d->id == KEPT_IPV6_RECVERR_RFC4884 ||
                  d->id == KEPT_IP_MULTICAST_ALL;
    if (flag && !strict)
        v = v != 0;
    if (v < d->low || v > d->high)
        return -EINVAL;
    f->kept[d->id] = KEPT_IS_SET | (uint16_t)(v < 0 ? d->value : v);
    return 0;
}

/* Of IPPROTO_IP, Linux takes no value for 0 but with these. */
static bool wants_byte(int name) {
    return name == IP_FREEBIND || name == IP_MULTICAST_TTL ||
           name == IP_MULTICAST_LOOP || name == IP_MULTICAST_ALL;
}

/* Can any value of it be set? */
static bool settable(const struct opt_row *d) {
    return d && (d->class == OPT_KEPT || d->writable);
}

/* Lock held. */
static int set_file(struct file *f, int level, int name, const void *val,
                    socklen_t len) {
    int64_t v = 0;
    if ((int)len < 0)
        return -EINVAL;
    if (!level_fits(f, level))
        return opt_refuse(-ENOPROTOOPT);
    const struct opt_row *d = find(level, name);
    if (d && d->set)
        return d->set(f, name, val, len);
    if (level == IPPROTO_IP && !settable(d)) /* the value is not looked at */
        return opt_refuse(d ? -d->no_set : -ENOPROTOOPT);
    if (level == IPPROTO_IP && len == 0 && wants_byte(d->name))
        return -EINVAL;
    int r = d && d->class == OPT_STACK && d->kind == OPT_LINGER
                ? linger_in(val, len, &v)
                : opt_int_in(level, val, len, &v);
    if (r < 0)
        return r;
    if (d && d->class == OPT_STACK && d->writable)
        return set_stack(f, d, v);
    if (d && d->class == OPT_KEPT)
        return set_kept(f, d, v);
    if (d && d->class == OPT_FIXED && d->writable && v == d->value)
        return 0;
    return opt_refuse(d ? -d->no_set : -ENOPROTOOPT);
}

/* Lock held. */
static int get_row(struct file *f, const struct opt_row *d, void *val,
                   socklen_t *len) {
    int64_t v = d->value;
    switch ((enum opt_class)d->class) {
    case OPT_CALL:
        return d->get(f, d->name, val, len);
    case OPT_NONE:
        *len = d->no_get ? *len : 0;
        return d->no_get ? opt_refuse(-d->no_get) : 0;
    case OPT_KEPT:
        v = opt_kept_value(f, d);
        break;
    case OPT_STACK: {
        int r = stack_getopt(self.st, f->so, (enum stack_opt)d->id, &v);
        if (r < 0)
            return r;
        break;
    }
    case OPT_FIXED:
        break;
    }
    return value_out(d, v, val, len);
}

/* Lock held. The program's length is read once and written at the end. */
static int get_file(struct file *f, int level, int name, void *val,
                    socklen_t *len) {
    socklen_t room = 0;
    int r = user_read(&room, len, sizeof(room));
    if (r < 0)
        return r;
    if ((int)room < 0 && level != IPPROTO_IPV6) /* unsigned there */
        return -EINVAL;
    if (!level_fits(f, level))
        return opt_refuse(-EOPNOTSUPP); /* setsockopt says ENOPROTOOPT */
    const struct opt_row *d = find(level, name);
    if (!d)
        return opt_refuse(-ENOPROTOOPT);
    r = get_row(f, d, val, &room);
    return r < 0 ? r : user_write(len, &room, sizeof(room));
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
