/* request.c: is the request sensible, and is the kernel out of the way?
 *
 * Steps that change nothing, and the words for what went wrong. A message is
 * one line, "what: why: try this": the thing that the user named, what is the
 * matter with it, and a command or a value that helps. It is the only thing
 * that most users will ever read of this program.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "netio/setup/job.h"
#include "netio/setup/kernel.h"

#define MIN_MTU 576 /* what every IPv4 host must take (RFC 1122, 3.3.2) */

int job_fail(struct job *j, int code, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(j->err, j->errlen, fmt, ap);
    va_end(ap);
    return code;
}

/* IPv4 address as text, for messages. */
static const char *ip_text(const struct ip_addr *a, char buf[16]) {
    snprintf(buf, 16, "%u.%u.%u.%u", a->b[12], a->b[13], a->b[14], a->b[15]);
    return buf;
}

int job_fail_admin(struct job *j, int r, const char *dev, const char *doing) {
    if (r == -EPERM || r == -EACCES)
        return job_fail(j, r,
                        "%s: %s needs CAP_NET_ADMIN: run as root or through "
                        "stackrun under sudo",
                        dev, doing);
    if (r == -EEXIST)
        return job_fail(
            j, r,
            "%s: a device of that name exists: choose another name or "
            "\"ip link del %s\"",
            dev, dev);
    return job_fail(j, r, "%s: %s failed (%s): \"dmesg\" may tell more", dev,
                    doing, strerror(-r));
}

/* ---- the request -------------------------------------------------------- */

/* Host part of an IPv4 address all zero or all one, multicast, loopback...:
 * not the address of a host (RFC 1122, 3.2.1.3). */
static bool is_host_addr(const struct ip_addr *ip, uint8_t prefix_len) {
    uint32_t a = ip_to_v4(ip);
    uint32_t host = prefix_len >= 31 ? 0 : 0xffffffffu >> prefix_len;

    if (!ip_is_v4(ip) || ip_is_loopback(ip) || a >> 28 >= 14 || a >> 24 == 0)
        return false;
    return !host || ((a & host) != 0 && (a & host) != host);
}

/* Address, prefix and gateway: present, of a host, and in one network. */
static int check_addr(struct job *j) {
    const struct setup_request *q = j->req;
    uint32_t mask;
    char gw[16];

    if (ip_is_any(&q->addr))
        return job_fail(j, -EINVAL,
                        "no address given: the stack needs one of its own: "
                        "--addr 192.0.2.7/24");
    if (q->prefix_len < 1 || q->prefix_len > 32)
        return job_fail(
            j, -EINVAL,
            "%s/%u: the prefix length must be 1..32: for example /24", j->addr,
            q->prefix_len);
    if (!is_host_addr(&q->addr, q->prefix_len))
        return job_fail(
            j, -EINVAL,
            "%s/%u: not the address of a host: choose a free one of "
            "that network",
            j->addr, q->prefix_len);
    /* the gateway is a neighbour: ARP must be able to find it. With /32 there
     * are no neighbours by prefix, the gateway is taken at its word. */
    mask = (uint32_t)(0xffffffff00000000ull >> q->prefix_len);
    if (ip_is_any(&q->gateway) || q->prefix_len == 32)
        return 0;
    if ((ip_to_v4(&q->gateway) ^ ip_to_v4(&q->addr)) & mask)
        return job_fail(j, -EINVAL,
                        "gateway %s: not in the network of %s/%u: check both",
                        ip_text(&q->gateway, gw), j->addr, q->prefix_len);
    if (ip_equal(&q->gateway, &q->addr))
        return job_fail(j, -EINVAL,
                        "gateway %s: the same as our own address: check both",
                        j->addr);
    return 0;
}

int job_check_request(struct job *j) {
    const struct setup_request *q = j->req;
    int ways = (q->parent[0] != 0) + (q->veth_peer[0] != 0) + q->tap;
    static const uint8_t zero[6];

    if (ways > 1)
        return job_fail(j, -EINVAL,
                        "macvlan parent, veth peer and TAP exclude each other: "
                        "give one");
    if (!q->dev[0] && !q->parent[0])
        return job_fail(
            j, -EINVAL,
            "no device given: name one with --dev, or --parent for a "
            "macvlan of its own: \"ip link\" lists them");
    if (q->has_mac && (q->mac[0] & 1 || !memcmp(q->mac, zero, 6)))
        return job_fail(
            j, -EINVAL,
            "%02x:%02x:%02x:%02x:%02x:%02x: not the MAC of a station: "
            "for example 02:00:00:00:00:07",
            q->mac[0], q->mac[1], q->mac[2], q->mac[3], q->mac[4], q->mac[5]);
    if (q->has_mtu && (q->mtu < MIN_MTU || q->mtu > 65535))
        return job_fail(
            j, -EINVAL,
            "mtu %u: must be %u..65535: leave it out for the device's", q->mtu,
            MIN_MTU);
    return check_addr(j);
}

/* ---- the kernel --------------------------------------------------------- */

int job_check_kernel_addr(struct job *j) {
    char dev[16];
    int r = link_find_addr(j->nl, &j->req->addr, dev);

    if (r < 0)
        return job_fail(j, r, "%s: cannot list the kernel's addresses (%s)",
                        j->addr, strerror(-r));
    if (r > 0)
        return job_fail(
            j, -EADDRINUSE,
            "%s: address in use by the kernel on %s: choose another "
            "or \"ip addr del %s dev %s\"",
            j->addr, dev, j->addr, dev);
    return 0;
}

/* Will the kernel leave our frames alone? Only a question when it shares the
 * MAC with us. */
int job_check_kernel_quiet(struct job *j) {
    const char *dev = j->dev.name;

    /* frames of a port go to its bridge first, and the bridge may answer */
    if (j->dev.master && !j->made)
        return job_fail(
            j, -EBUSY,
            "%s: is a port of a bridge or bond: use that as --parent, "
            "or a device of its own",
            dev);
    /* to a MAC that is not its own the kernel is deaf */
    if (memcmp(j->out->mac, j->dev.mac, 6))
        return 0;
    if (kernel_ipv4_conf(dev, "forwarding"))
        return job_fail(
            j, -EBUSY,
            "%s: the kernel forwards packets there and would answer "
            "for us: use \"--parent %s\", or \"sysctl "
            "net.ipv4.conf.%s.forwarding=0\"",
            dev, dev, dev);
    if (kernel_ipv4_conf(dev, "proxy_arp") ||
        kernel_ipv4_conf("all", "proxy_arp"))
        return job_fail(j, -EBUSY,
                        "%s: the kernel answers ARP for others there: \"sysctl "
                        "net.ipv4.conf.%s.proxy_arp=0\"",
                        dev, dev);
    return 0;
}
