/* optcall.c: socket options with a form of their own, the rows OPTION_CALL of
 * stack/options.def.
 *
 *   time-outs          SO_RCVTIMEO, SO_SNDTIMEO: in the file, since the stack
 *                      never waits
 *   time stamps        SO_TIMESTAMP and its kin exclude each other
 *   what it is         SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_COOKIE...
 *   SO_BINDTODEVICE    there is one device: its own name is accepted
 *   TCP_CONGESTION     names here, numbers in the stack
 */
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/time.h>

#include "preload/addr.h"
#include "preload/msg.h"
#include "preload/sockopt.h"
#include "preload/user.h"

/* ---- helpers --------------------------------------------------------------------- */

/* An answer of the usual kind. */
static int int_out(int v, void *val, socklen_t *len) {
    return opt_copy_out(&v, sizeof(v), val, len);
}

/* A read-only stack option, 0 where the socket has none. */
static int64_t figure(struct file *f, enum stack_opt opt) {
    int64_t v = 0;
    return stack_getopt(self.st, f->so, opt, &v) < 0 ? 0 : v;
}

/* A flag of the stack's under a second name. */
static int set_flag(struct file *f, enum stack_opt opt, int64_t v) {
    int r = stack_setopt(self.st, f->so, opt, v != 0);
    if (r == 0)
        file_opt_note(f, opt);
    return r;
}

/* What the kernel takes and forgets. */
int opt_set_obsolete(struct file *f, int name, const void *val, socklen_t len) {
    int64_t v;
    return opt_int_in(SOL_SOCKET, val, len, &v);
}

int opt_get_obsolete(struct file *f, int name, void *val, socklen_t *len) {
    return int_out(0, val, len);
}

/* TCP_THIN_DUPACK: the kernel dropped what it did, not its check. */
int opt_set_thindupack(struct file *f, int name, const void *val,
                       socklen_t len) {
    int64_t v = 0;
    int r = opt_int_in(IPPROTO_TCP, val, len, &v);
    return r == 0 && (v < 0 || v > 1) ? -EINVAL : r;
}

int opt_get_thindupack(struct file *f, int name, void *val, socklen_t *len) {
    return int_out(0, val, len);
}

/* ---- time-outs ---------------------------------------------------------------- */

/* Negative: no waiting at all, which 1 ns is near enough to (socket(7)). */
static int timeout_in(const void *val, socklen_t len, nstime_t *out) {
    struct timeval tv;
    int64_t first;
    int r = opt_int_in(SOL_SOCKET, val, len, &first); /* Linux's order */
    if (r < 0)
        return r;
    if (len < sizeof(tv))
        return -EINVAL;
    r = user_read(&tv, val, sizeof(tv));
    if (r < 0)
        return r;
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

int opt_set_rcvtimeo(struct file *f, int name, const void *val, socklen_t len) {
    return timeout_in(val, len, &f->rcv_timeout);
}

int opt_get_rcvtimeo(struct file *f, int name, void *val, socklen_t *len) {
    return timeout_out(f->rcv_timeout, val, len);
}

int opt_set_sndtimeo(struct file *f, int name, const void *val, socklen_t len) {
    return timeout_in(val, len, &f->snd_timeout);
}

int opt_get_sndtimeo(struct file *f, int name, void *val, socklen_t *len) {
    return timeout_out(f->snd_timeout, val, len);
}

/* ---- time stamps ------------------------------------------------------------------ */

/* One of the four is in force; 0 to any switches off (sock_set_timestamp). */
int opt_set_stamp(struct file *f, int name, const void *val, socklen_t len) {
    int64_t v;
    int r = opt_int_in(SOL_SOCKET, val, len, &v);
    if (r == 0)
        f->stamp = v ? (uint8_t)name : 0;
    return r;
}

int opt_get_stamp(struct file *f, int name, void *val, socklen_t *len) {
    return int_out(f->stamp == name, val, len);
}

/* ---- what it is -------------------------------------------------------------------- */

int opt_get_type(struct file *f, int name, void *val, socklen_t *len) {
    static const int types[] = {[STACK_STREAM] = SOCK_STREAM,
                                [STACK_DGRAM] = SOCK_DGRAM,
                                [STACK_RAW] = SOCK_RAW};
    return int_out(types[stack_sock_type(f->so)], val, len);
}

int opt_get_domain(struct file *f, int name, void *val, socklen_t *len) {
    int family = stack_sock_family(f->so) == 6 ? AF_INET6 : AF_INET;
    return int_out(family, val, len);
}

int opt_get_protocol(struct file *f, int name, void *val, socklen_t *len) {
    return int_out(stack_sock_protocol(f->so), val, len);
}

/* The kernel keeps a raw socket's protocol where others have their port. */
int opt_get_ipprotocol(struct file *f, int name, void *val, socklen_t *len) {
    struct endpoint at = {0};
    stack_getsockname(f->so, &at);
    bool raw = stack_sock_type(f->so) == STACK_RAW;
    return int_out(raw ? stack_sock_protocol(f->so) : at.port, val, len);
}

/* unix(7) has it for AF_UNIX; elsewhere it is nobody's. */
int opt_get_peercred(struct file *f, int name, void *val, socklen_t *len) {
    struct ucred nobody = {0, (uid_t)-1, (gid_t)-1};
    return opt_copy_out(&nobody, sizeof(nobody), val, len);
}

/* All of the room must be filled (sk_getsockopt). */
int opt_get_peername(struct file *f, int name, void *val, socklen_t *len) {
    struct endpoint peer;
    struct sockaddr_storage ss;
    if (stack_getpeername(f->so, &peer) < 0)
        return -ENOTCONN;
    socklen_t full = addr_make(stack_sock_family(f->so), &peer, &ss);
    if (full < *len)
        return -EINVAL;
    return opt_copy_out(&ss, *len, val, len);
}

/* Its place in the arena and its time of birth: never the same twice. */
int opt_get_cookie(struct file *f, int name, void *val, socklen_t *len) {
    uint64_t cookie = (uint64_t)f->opened << 20 ^ (uint64_t)(uintptr_t)f >> 4;
    if (*len < sizeof(cookie))
        return -EINVAL;
    return opt_copy_out(&cookie, sizeof(cookie), val, len);
}

/* SK_MEMINFO_VARS of linux/sock_diag.h, in its order. */
int opt_get_meminfo(struct file *f, int name, void *val, socklen_t *len) {
    uint32_t unread = (uint32_t)figure(f, STACK_OPT_INQ);
    uint32_t unsent = (uint32_t)figure(f, STACK_OPT_OUTQ);
    uint32_t v[9] = {unread, (uint32_t)figure(f, STACK_OPT_RCVBUF),
                     unsent, (uint32_t)figure(f, STACK_OPT_SNDBUF),
                     0,      unsent};
    return opt_copy_out(v, sizeof(v), val, len);
}

/* ---- device ------------------------------------------------------------------------- */

/* socket(7): the stack has one device, so its own name (or none) asks for
 * nothing more; another is not there. */
int opt_set_device(struct file *f, int name, const void *val, socklen_t len) {
    char text[IFNAMSIZ] = "";
    const struct settings *s = preload_settings();
    int r = user_read(text, val, len < IFNAMSIZ - 1 ? len : IFNAMSIZ - 1);
    if (r < 0)
        return r;
    if (*text && strcmp(text, s->dev) != 0 && strcmp(text, s->parent) != 0)
        return -ENODEV;
    f->on_device = *text;
    return 0;
}

int opt_get_device(struct file *f, int name, void *val, socklen_t *len) {
    const char *dev = preload_settings()->dev;
    if (!f->on_device) {
        *len = 0;
        return 0;
    }
    if (*len < IFNAMSIZ)
        return -EINVAL;
    return opt_copy_out(dev, (socklen_t)strlen(dev) + 1, val, len);
}

int opt_set_ifindex(struct file *f, int name, const void *val, socklen_t len) {
    int64_t v;
    int r = opt_int_in(SOL_SOCKET, val, len, &v);
    if (r < 0)
        return r;
    if (v < 0)
        return -EINVAL;
    if (v && v != msg_link_index())
        return -ENODEV;
    f->on_device = v;
    return 0;
}

int opt_get_ifindex(struct file *f, int name, void *val, socklen_t *len) {
    return int_out(f->on_device ? msg_link_index() : 0, val, len);
}

/* ip(7): an address, or struct ip_mreq or ip_mreqn. */
int opt_set_mcastif(struct file *f, int name, const void *val, socklen_t len) {
    struct ip_mreqn m = {0};
    struct stack_link link;
    int r = 0;
    if (sock_is_stream(f) || len < sizeof(m.imr_address))
        return -EINVAL;
    if (len >= sizeof(struct ip_mreq))
        r = user_read(&m, val,
                      len < sizeof(m) ? sizeof(struct ip_mreq) : sizeof(m));
    else
        r = user_read(&m.imr_address, val, sizeof(m.imr_address));
    if (r < 0)
        return r;
    stack_link_info(self.st, &link);
    uint32_t ip = ntohl(m.imr_address.s_addr);
    bool ours = m.imr_ifindex ? m.imr_ifindex == msg_link_index()
                              : !ip || ip == ip_to_v4(&link.addr);
    if (!ours)
        return -EADDRNOTAVAIL;
    f->multicast_if = m.imr_address.s_addr;
    return 0;
}

int opt_get_mcastif(struct file *f, int name, void *val, socklen_t *len) {
    return opt_copy_out(&f->multicast_if, sizeof(f->multicast_if), val, len);
}

/* ip(7): the device's number in network order. */
int opt_set_unicastif(struct file *f, int name, const void *val,
                      socklen_t len) {
    int32_t index;
    if (len != sizeof(index))
        return -EINVAL;
    int r = user_read(&index, val, sizeof(index));
    if (r < 0)
        return r;
    int n = (int)ntohl((uint32_t)index);
    if (n && n != msg_link_index())
        return -EADDRNOTAVAIL;
    f->unicast_if = n;
    return 0;
}

int opt_get_unicastif(struct file *f, int name, void *val, socklen_t *len) {
    uint8_t byte = 0;
    if (*len && *len < sizeof(f->unicast_if) && f->unicast_if == 0)
        return opt_copy_out(&byte, 1, val, len); /* ip(7): small values */
    return opt_copy_out(&f->unicast_if, sizeof(f->unicast_if), val, len);
}

/* ---- TCP ------------------------------------------------------------------------------ */

/* An unsigned long, or an int whose all ones mean no limit (tcp(7)). The stack
 * counts in 32 bits: what is above them is no limit either. */
int opt_set_pacing(struct file *f, int name, const void *val, socklen_t len) {
    int64_t v;
    int r = opt_int_in(SOL_SOCKET, val, len, &v);
    uint64_t rate = (uint32_t)v;
    if (r == 0 && len >= sizeof(rate))
        r = user_read(&rate, val, sizeof(rate));
    if (r < 0)
        return r;
    if (!sock_is_stream(f))
        return opt_refuse(-ENOPROTOOPT);
    rate = rate > UINT32_MAX ? UINT32_MAX : rate;
    return stack_setopt(self.st, f->so, STACK_OPT_MAX_PACING_RATE,
                        (int64_t)rate);
}

int opt_get_pacing(struct file *f, int name, void *val, socklen_t *len) {
    int64_t v = UINT32_MAX;
    stack_getopt(self.st, f->so, STACK_OPT_MAX_PACING_RATE, &v);
    uint64_t rate = v == UINT32_MAX ? UINT64_MAX : (uint64_t)v;
    if (*len >= sizeof(rate))
        return opt_copy_out(&rate, sizeof(rate), val, len);
    return int_out((int)v, val, len);
}

#define CA_NAME_MAX 16 /* TCP_CA_NAME_MAX of Linux */

/* tcp(7): the name need not end in NUL; an algorithm that is not there is
 * ENOENT. */
int opt_set_congestion(struct file *f, int opt, const void *val,
                       socklen_t len) {
    char name[CA_NAME_MAX] = "";
    if (len < 1)
        return -EINVAL;
    int r = user_read(name, val, len < CA_NAME_MAX - 1 ? len : CA_NAME_MAX - 1);
    if (r == 0)
        r = stack_cc_find(name);
    return r < 0 ? r : stack_setopt(self.st, f->so, STACK_OPT_CONGESTION, r);
}

/* TCP_CA_NAME_MAX bytes, padded with NUL. */
int opt_get_congestion(struct file *f, int opt, void *val, socklen_t *len) {
    char name[CA_NAME_MAX] = "";
    int64_t kind = 0;
    int r = stack_getopt(self.st, f->so, STACK_OPT_CONGESTION, &kind);
    if (r < 0)
        return r;
    snprintf(name, sizeof(name), "%s", stack_cc_name(kind));
    return opt_copy_out(name, sizeof(name), val, len);
}

/* ---- IPv6 ------------------------------------------------------------------------------- */

/* The stack has one switch for both families; f->pktinfo6 says which of the
 * two control messages was asked for. */
int opt_set_pktinfo6(struct file *f, int name, const void *val, socklen_t len) {
    int64_t v;
    int r = opt_int_in(IPPROTO_IPV6, val, len, &v);
    if (r == 0) {
        f->pktinfo6 = v != 0;
        stack_setopt(self.st, f->so, STACK_OPT_PKTINFO,
                     v || file_opt_noted(f, STACK_OPT_PKTINFO));
    }
    return r;
}

int opt_get_pktinfo6(struct file *f, int name, void *val, socklen_t *len) {
    return int_out(f->pktinfo6, val, len);
}

int opt_set_freebind(struct file *f, int name, const void *val, socklen_t len) {
    int64_t v;
    int r = opt_int_in(IPPROTO_IPV6, val, len, &v);
    return r < 0 ? r : set_flag(f, STACK_OPT_FREEBIND, v);
}

int opt_get_freebind(struct file *f, int name, void *val, socklen_t *len) {
    return int_out((int)figure(f, STACK_OPT_FREEBIND), val, len);
}

/* ---- for a kernel socket ------------------------------------------------------------------ */

/* Best effort: the kernel knows all of these. */
void opt_call_replay(struct file *f, int k) {
    const struct {
        int name;
        nstime_t t;
    } times[] = {{SO_RCVTIMEO, f->rcv_timeout}, {SO_SNDTIMEO, f->snd_timeout}};
    int on = 1;
    for (int i = 0; i < 2; i++) {
        struct timeval tv;
        socklen_t len = sizeof(tv);
        if (times[i].t && timeout_out(times[i].t, &tv, &len) == 0)
            sys_setsockopt(k, SOL_SOCKET, times[i].name, &tv, len);
    }
    if (f->stamp)
        sys_setsockopt(k, SOL_SOCKET, f->stamp, &on, sizeof(on));
    if (f->pktinfo6)
        sys_setsockopt(k, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}
