/* msg.c: control messages (cmsg(3), ip(7), ipv6(7), socket(7)).
 *
 * Received ones come in Linux's order: time, packet info, TTL, TOS, extended
 * error. An AF_INET6 socket gets IPV6_PKTINFO with IPv4-mapped addresses.
 */
#include "preload/msg.h"

#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "preload/addr.h"

/* Only options that the program has touched are asked for: most sockets have
 * none. */
uint32_t msg_wanted(struct file *f) {
    static const struct {
        enum stack_opt opt;
        uint32_t want;
    } map[] = {
        {STACK_OPT_PKTINFO, MSG_WANT_PKTINFO},
        {STACK_OPT_RECVTTL, MSG_WANT_TTL},
        {STACK_OPT_RECVTOS, MSG_WANT_TOS},
    };
    uint32_t want =
        (f->pktinfo6 ? MSG_WANT_PKTINFO6 : 0) | (f->stamp ? MSG_WANT_TIME : 0);
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        int64_t on = 0;
        if (file_opt_noted(f, map[i].opt) &&
            stack_getopt(self.st, f->so, map[i].opt, &on) == 0 && on)
            want |= map[i].want;
    }
    return want;
}

/* ---- sending ------------------------------------------------------------------ */

/* Payload of a control message if it is exactly `size` long. */
static bool payload(const struct cmsghdr *c, void *out, size_t size) {
    if (c->cmsg_len != CMSG_LEN(size))
        return false;
    memcpy(out, CMSG_DATA(c), size);
    return true;
}

/* ip(7): IP_PKTINFO names the source, IP_TTL and IP_TOS stand for this
 * message only. 0 or -EINVAL. */
static int in_ip(const struct cmsghdr *c, struct stack_msg *m) {
    struct in_pktinfo info;
    int v = 0;
    uint8_t byte;
    switch (c->cmsg_type) {
    case IP_PKTINFO:
        if (!payload(c, &info, sizeof(info)))
            return -EINVAL;
        m->local = ip_from_v4(ntohl(info.ipi_spec_dst.s_addr));
        m->has_local = !ip_is_any(&m->local);
        return 0;
    case IP_TTL:
        if (!payload(c, &v, sizeof(v)) || v < 1 || v > 255)
            return -EINVAL;
        m->ttl = v;
        return 0;
    case IP_TOS:
        if (payload(c, &byte, 1))
            v = byte;
        else if (!payload(c, &v, sizeof(v)) || v < 0 || v > 255)
            return -EINVAL;
        m->tos = v;
        return 0;
    case IP_RETOPTS: /* IP options are not sent: say so */
    default:
        return -EINVAL;
    }
}

/* On an AF_INET6 socket; hop limit and traffic class concern native IPv6. */
static int in_ipv6(const struct cmsghdr *c, struct stack_msg *m) {
    struct in6_pktinfo info;
    int v;
    switch (c->cmsg_type) {
    case IPV6_PKTINFO:
        if (!payload(c, &info, sizeof(info)))
            return -EINVAL;
        memcpy(m->local.b, &info.ipi6_addr, 16);
        if (ip_is_v4(&m->local))
            m->local = ip_from_v4(ip_to_v4(&m->local));
        m->has_local = !ip_is_any(&m->local);
        return 0;
    case IPV6_HOPLIMIT:
    case IPV6_TCLASS:
        if (!payload(c, &v, sizeof(v)) || v < -1 || v > 255)
            return -EINVAL;
        return 0;
    }
    return -EINVAL;
}

/* A header that does not fit its room is EINVAL; so is a kind we do not
 * know, where Linux would refuse it as well. Streams look at SOL_SOCKET
 * only. */
int msg_control_in(const struct msghdr *h, bool stream, struct stack_msg *m) {
    if (bad_pointer(h->msg_control))
        return -EFAULT;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c;
         c = CMSG_NXTHDR((struct msghdr *)h, c)) {
        int r = 0;
        size_t room =
            h->msg_controllen - (size_t)((char *)c - (char *)h->msg_control);
        if (c->cmsg_len < sizeof(*c) || c->cmsg_len > room)
            return -EINVAL;
        if (c->cmsg_level == SOL_SOCKET)
            r = c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_CREDENTIALS
                    ? 0 /* ignored by Linux as well */
                    : -EINVAL;
        else if (!stream && c->cmsg_level == IPPROTO_IP)
            r = in_ip(c, m);
        else if (!stream && c->cmsg_level == IPPROTO_IPV6)
            r = in_ipv6(c, m);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- receiving ------------------------------------------------------------------ */

/* Where the next control message goes. */
struct out {
    char *at;
    size_t room, used;
    int flags;
};

/* One control message, cut to the room there is (put_cmsg of Linux). */
static void put(struct out *o, int level, int type, const void *data,
                size_t len) {
    struct cmsghdr c = {CMSG_LEN(len), level, type};
    if (!o->at || o->room < sizeof(c)) {
        o->flags |= MSG_CTRUNC;
        return;
    }
    if (o->room < c.cmsg_len) {
        o->flags |= MSG_CTRUNC;
        c.cmsg_len = o->room;
    }
    memcpy(o->at, &c, sizeof(c));
    memcpy(o->at + CMSG_LEN(0), data, c.cmsg_len - CMSG_LEN(0));
    size_t step = CMSG_SPACE(len) < o->room ? CMSG_SPACE(len) : o->room;
    o->at += step;
    o->room -= step;
    o->used += step;
}

#define STAMPNS_NEW 64 /* SO_TIMESTAMPNS_NEW, not in every libc */

/* Arrival by the wall clock; the stack noted it by the monotonic one. */
static void put_time(struct out *o, const struct io_msg *im) {
    struct timespec wall = {0};
    sys_clock_gettime(CLOCK_REALTIME, &wall);
    int64_t ns = (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec -
                 (int64_t)(share_clock() - im->m.arrived);
    struct timeval tv = {ns / 1000000000, ns % 1000000000 / 1000};
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    if (im->stamp == SO_TIMESTAMPNS || im->stamp == STAMPNS_NEW)
        put(o, SOL_SOCKET, im->stamp, &ts, sizeof(ts));
    else
        put(o, SOL_SOCKET, im->stamp, &tv, sizeof(tv));
}

/* The kernel's number of the stack's device; 0 when it is not here. */
int msg_link_index(void) {
    static int index;
    struct ifreq ifr = {0};
    if (index)
        return index;
    memcpy(ifr.ifr_name, preload_settings()->dev, IFNAMSIZ - 1);
    if (sys_ioctl(self.fd.proto, SIOCGIFINDEX, &ifr) == 0)
        index = ifr.ifr_ifindex;
    return index;
}

/* ip(7): the header's destination, and the local address it was for. */
static void put_pktinfo(struct out *o, const struct io_msg *im) {
    if (im->want & MSG_WANT_PKTINFO6) {
        struct in6_pktinfo info = {.ipi6_ifindex = (unsigned)msg_link_index()};
        memcpy(&info.ipi6_addr, im->m.local.b, 16);
        put(o, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
    if (im->want & MSG_WANT_PKTINFO) {
        struct in_pktinfo info = {.ipi_ifindex = msg_link_index()};
        info.ipi_addr.s_addr = htonl(ip_to_v4(&im->m.local));
        info.ipi_spec_dst = info.ipi_addr;
        put(o, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    }
}

/* The ICMP error of MSG_ERRQUEUE and who sent it. */
static void put_error(struct out *o, const struct io_msg *im) {
    struct {
        struct sock_extended_err ee;
        struct sockaddr_storage from;
    } e = {0};
    const struct stack_icmp_error *x = &im->m.error;
    e.ee.ee_errno = (uint32_t)x->err;
    e.ee.ee_origin = x->origin;
    e.ee.ee_type = x->type;
    e.ee.ee_code = x->code;
    e.ee.ee_info = x->info;
    e.ee.ee_data = x->data;
    struct endpoint from = {.ip = x->offender};
    socklen_t len = addr_make(im->family, &from, &e.from);
    bool six = im->family == 6;
    if (x->origin != STACK_ORIGIN_ICMP) /* nobody sent it */
        memset(&e.from, 0, sizeof(e.from));
    put(o, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVERR : IP_RECVERR, &e,
        sizeof(e.ee) + len);
}

/* Streams have none of these but the error. What MSG_ERRQUEUE returns carries
 * that (and the time), not the rest. */
void msg_control_out(struct msghdr *h, const struct io_msg *im,
                     int *out_flags) {
    struct out o = {h->msg_control, h->msg_control ? h->msg_controllen : 0, 0,
                    0};
    bool error = im->m.out_flags & STACK_MSG_ERRQUEUE;
    if (im->want & MSG_WANT_TIME && (error || !im->stream))
        put_time(&o, im);
    if (error) {
        put_error(&o, im);
    } else if (!im->stream) {
        uint8_t tos = (uint8_t)im->m.tos;
        put_pktinfo(&o, im);
        if (im->want & MSG_WANT_TTL)
            put(&o, IPPROTO_IP, IP_TTL, &im->m.ttl, sizeof(int));
        if (im->want & MSG_WANT_TOS)
            put(&o, IPPROTO_IP, IP_TOS, &tos, 1);
    }
    *out_flags |= o.flags;
    h->msg_controllen = o.used;
}
