/* optother.c: socket options that do not live in the stack.
 *
 *   time-outs          SO_RCVTIMEO, SO_SNDTIMEO: in the file, since the stack
 *                      never waits
 *   what it is         SO_TYPE, SO_DOMAIN, SO_PROTOCOL, TCP_INFO
 *   SO_BINDTODEVICE    there is one device: its own name is accepted
 *   TCP_CONGESTION     names here, numbers in the stack
 *   IPv6 settings      hop limits, traffic class...: on an AF_INET6 socket
 *                      they concern native IPv6 packets only, never
 *                      IPv4-mapped ones. As in Linux they are kept and read
 *                      back.
 */
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "preload/sockopt.h"

/* ---- IPv6 settings ----------------------------------------------------------- */

static const struct {
    int name, def, min, max;
} v6_opts[FILE_V6_OPTS] = {
    {IPV6_RECVPKTINFO, 0, 0, 1},       {IPV6_UNICAST_HOPS, 64, -1, 255},
    {IPV6_MULTICAST_HOPS, 1, -1, 255}, {IPV6_MULTICAST_LOOP, 1, 0, 1},
    {IPV6_TCLASS, 0, -1, 255},         {IPV6_RECVHOPLIMIT, 0, 0, 1},
    {IPV6_RECVTCLASS, 0, 0, 1},        {IPV6_RECVERR, 0, 0, 1},
    {IPV6_MTU_DISCOVER, 1, 0, 5},      {IPV6_DONTFRAG, 0, 0, 1},
};
#define V6_RECVPKTINFO 0

/* The place of an option in v6_opts and in struct file.v6, or -1. */
static int v6_index(int name) {
    for (int i = 0; i < FILE_V6_OPTS; i++)
        if (v6_opts[i].name == name)
            return i;
    return -1;
}

/* Stored with one bit on top, so that 0 means "never set". */
#define V6_IS_SET 0x10000

/* As set, or the default of Linux. */
static int v6_value(struct file *f, int i) {
    int32_t v = f->v6[i];
    return v ? (int16_t)(v & 0xffff) : v6_opts[i].def;
}

/* Booleans take any value; -1 means the default where it is allowed. */
static int v6_set(struct file *f, int i, const void *val, socklen_t len) {
    int v;
    if (len < sizeof(v))
        return -EINVAL;
    if (bad_pointer(val))
        return -EFAULT;
    memcpy(&v, val, sizeof(v));
    bool flag = v6_opts[i].min == 0 && v6_opts[i].max == 1;
    if (flag && v6_opts[i].name != IPV6_MULTICAST_LOOP)
        v = v != 0;
    if (v < v6_opts[i].min || v > v6_opts[i].max)
        return -EINVAL;
    if (v < 0)
        v = v6_opts[i].def;
    if (i == V6_RECVPKTINFO)
        stack_setopt(self.st, f->so, STACK_OPT_PKTINFO,
                     v || f->opt_set & 1ull << STACK_OPT_PKTINFO);
    f->v6[i] = V6_IS_SET | v;
    return 0;
}

/* The stack has one switch for both families; this says which of the two
 * control messages was asked for. */
bool opt_pktinfo6(struct file *f) { return v6_value(f, V6_RECVPKTINFO); }

/* ---- time-outs ---------------------------------------------------------------- */

/* Negative: no waiting at all, which 1 ns is near enough to (socket(7)). */
static int timeout_in(const void *val, socklen_t len, nstime_t *out) {
    struct timeval tv;
    if (len < sizeof(tv))
        return -EINVAL;
    if (bad_pointer(val))
        return -EFAULT;
    memcpy(&tv, val, sizeof(tv));
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
        return -EDOM;
    if (tv.tv_sec < 0)
        *out = 1;
    else if (tv.tv_sec > 1000000000)
        *out = 0;
    else
        *out = (nstime_t)tv.tv_sec * 1000000000u + (nstime_t)tv.tv_usec * 1000u;
    return 0;
}

/* socket(7): no time-out reads as 0, 0. */
static int timeout_out(nstime_t t, void *val, socklen_t *len) {
    struct timeval tv = {
        .tv_sec = (time_t)(t / 1000000000u),
        .tv_usec = (suseconds_t)(t % 1000000000u / 1000u),
    };
    return opt_copy_out(&tv, sizeof(tv), val, len);
}

/* ---- names --------------------------------------------------------------------- */

#define CA_NAME_MAX 16 /* TCP_CA_NAME_MAX of Linux */

/* The text of an option value that need not end in NUL. */
static int text_in(const void *val, socklen_t len, char *buf, socklen_t max) {
    if (bad_buffer(val, len))
        return -EFAULT;
    socklen_t n = len < max - 1 ? len : max - 1;
    memset(buf, 0, max);
    if (n)
        memcpy(buf, val, n);
    return 0;
}

/* tcp(7): the name need not end in NUL; an algorithm that is not there is
 * ENOENT. */
static int set_congestion(struct file *f, const void *val, socklen_t len) {
    char name[CA_NAME_MAX];
    if (len < 1)
        return -EINVAL;
    int r = text_in(val, len, name, sizeof(name));
    if (r < 0)
        return r;
    r = stack_cc_find(name);
    return r < 0 ? r : stack_setopt(self.st, f->so, STACK_OPT_CONGESTION, r);
}

/* TCP_CA_NAME_MAX bytes, padded with NUL. */
static int get_congestion(struct file *f, void *val, socklen_t *len) {
    char name[CA_NAME_MAX] = "";
    int64_t kind = 0;
    int r = stack_getopt(self.st, f->so, STACK_OPT_CONGESTION, &kind);
    if (r < 0)
        return r;
    snprintf(name, sizeof(name), "%s", stack_cc_name(kind));
    return opt_copy_out(name, sizeof(name), val, len);
}

/* socket(7), SO_BINDTODEVICE: the stack has one device, so its own name (or
 * none) asks for nothing more; another is not there. */
static int set_device(const void *val, socklen_t len) {
    char name[16];
    const struct settings *s = preload_settings();
    int r = text_in(val, len, name, sizeof(name));
    if (r < 0)
        return r;
    if (!*name || strcmp(name, s->dev) == 0 || strcmp(name, s->parent) == 0)
        return 0;
    return -ENODEV;
}

/* ---- entry ----------------------------------------------------------------------- */

#define KEY(level, name) ((level) << 16 | (name))
#ifndef SO_RCVTIMEO_NEW
#define SO_RCVTIMEO_NEW 66
#define SO_SNDTIMEO_NEW 67
#endif

/* The level has been found to fit the socket already. */
int opt_other_set(struct file *f, int level, int name, const void *val,
                  socklen_t len) {
    if (name < 0 || name > 0xffff)
        return 1;
    switch (KEY(level, name)) {
    case KEY(SOL_SOCKET, SO_RCVTIMEO):
    case KEY(SOL_SOCKET, SO_RCVTIMEO_NEW):
        return timeout_in(val, len, &f->rcv_timeout);
    case KEY(SOL_SOCKET, SO_SNDTIMEO):
    case KEY(SOL_SOCKET, SO_SNDTIMEO_NEW):
        return timeout_in(val, len, &f->snd_timeout);
    case KEY(SOL_SOCKET, SO_BINDTODEVICE):
        return set_device(val, len);
    case KEY(IPPROTO_TCP, TCP_CONGESTION):
        return set_congestion(f, val, len);
    }
    int i = level == IPPROTO_IPV6 ? v6_index(name) : -1;
    return i < 0 ? 1 : v6_set(f, i, val, len);
}

/* An answer of the usual kind. */
static int int_out(int v, void *val, socklen_t *len) {
    return opt_copy_out(&v, sizeof(v), val, len);
}

/* *len has been found to be no negative number already. */
int opt_other_get(struct file *f, int level, int name, void *val,
                  socklen_t *len) {
    bool stream = sock_is_stream(f);
    if (name < 0 || name > 0xffff)
        return 1;
    switch (KEY(level, name)) {
    case KEY(SOL_SOCKET, SO_RCVTIMEO):
    case KEY(SOL_SOCKET, SO_RCVTIMEO_NEW):
        return timeout_out(f->rcv_timeout, val, len);
    case KEY(SOL_SOCKET, SO_SNDTIMEO):
    case KEY(SOL_SOCKET, SO_SNDTIMEO_NEW):
        return timeout_out(f->snd_timeout, val, len);
    case KEY(SOL_SOCKET, SO_TYPE):
        return int_out(stream ? SOCK_STREAM : SOCK_DGRAM, val, len);
    case KEY(SOL_SOCKET, SO_DOMAIN):
        return int_out(stack_sock_family(f->so) == 6 ? AF_INET6 : AF_INET, val,
                       len);
    case KEY(SOL_SOCKET, SO_PROTOCOL):
        return int_out(stack_sock_protocol(f->so), val, len);
    case KEY(IPPROTO_TCP, TCP_CONGESTION):
        return get_congestion(f, val, len);
    case KEY(IPPROTO_TCP, TCP_INFO):
        return opt_tcp_info(f, val, len);
    }
    int i = level == IPPROTO_IPV6 ? v6_index(name) : -1;
    return i < 0 ? 1 : int_out(v6_value(f, i), val, len);
}

/* Best effort: the kernel knows all of these. */
void opt_other_replay(struct file *f, int k) {
    const struct {
        int name;
        nstime_t t;
    } times[] = {{SO_RCVTIMEO, f->rcv_timeout}, {SO_SNDTIMEO, f->snd_timeout}};
    for (int i = 0; i < 2; i++) {
        struct timeval tv;
        socklen_t len = sizeof(tv);
        if (times[i].t && timeout_out(times[i].t, &tv, &len) == 0)
            sys_setsockopt(k, SOL_SOCKET, times[i].name, &tv, len);
    }
    for (int i = 0; i < FILE_V6_OPTS; i++) {
        int v = v6_value(f, i);
        if (f->v6[i])
            sys_setsockopt(k, IPPROTO_IPV6, v6_opts[i].name, &v, sizeof(v));
    }
}
