/* setup.c: make a link ready for libstack.
 *
 * Theory of operation
 *
 * Steps, each of which can fail with a line for the user: check the request;
 * see that the kernel does not have the address; take or make the device; pick
 * the MAC; see that the kernel will not answer for us; bring the device up;
 * open the socket, filter first, bind last; probe the LAN. A failure undoes
 * what was done before it.
 *
 * Which MAC
 *
 * The best is one of our own, different from the device's: the kernel then
 * drops frames to it as somebody else's before its IP layer looks at them, so
 * nothing of the kernel answers, and it costs less. That needs a device that
 * delivers any MAC: veth and TAP always do; a bridge does when promiscuous. It
 * is derived from the device's MAC and our address, so that it stays the same
 * from run to run and neighbours' ARP caches stay right. On other devices the
 * frames would not arrive (a NIC and a macvlan filter by MAC; a switch port
 * may be limited to one), so we use the device's own. The kernel sees our
 * frames then, and keeps silent because the address is not its own, unless it
 * forwards (then it would send them on, or answer with ICMP) or is an ARP
 * proxy: those are refused on devices that are not ours to change. A user who
 * insists on a MAC (has_mac) gets it added to the NIC's unicast list.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/if_tun.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netio/filter.h"
#include "netio/own.h"
#include "netio/packet.h"
#include "netio/setup/job.h"
#include "netio/setup/kernel.h"

/* Superframes of an untouched device, and of one that we may tell */
#define SUPERFRAME_USUAL 65535u
#define SUPERFRAME_BIG 196608u

/* ---- the device --------------------------------------------------------- */

/* Read the facts of device `name` into j->dev. */
static int look_up(struct job *j, const char *name) {
    int r = link_get(j->nl, name, &j->dev);

    if (r == -ENODEV)
        return job_fail(j, r, "%s: no such device: \"ip link\" lists them",
                        name);
    if (r < 0)
        return job_fail(j, r, "%s: cannot be read (%s)", name, strerror(-r));
    if (!j->dev.ethernet)
        return job_fail(
            j, -EINVAL,
            "%s: not an Ethernet device: choose one that \"ip link\" "
            "shows as link/ether",
            name);
    return 0;
}

/* Create a macvlan; its MAC is stable like all that we derive. */
static int make_macvlan(struct job *j, char name[16]) {
    const struct setup_request *q = j->req;
    uint8_t mac[6];
    int r = look_up(j, q->parent);

    if (r < 0)
        return r;
    if (!j->dev.up)
        return job_fail(j, -ENETDOWN, "%s: is down: \"ip link set %s up\"",
                        q->parent, q->parent);
    own_mac(j->dev.mac, &q->addr, mac);
    if (q->has_mac)
        memcpy(mac, q->mac, 6);
    /* an unnamed macvlan is named after its MAC, so that a second start with
     * the same parent and address finds the name taken */
    if (q->dev[0])
        memcpy(name, q->dev, 16);
    else
        snprintf(name, 16, "ls%02x%02x%02x%02x", mac[2], mac[3], mac[4],
                 mac[5]);
    r = link_add_macvlan(j->nl, name, j->dev.ifindex, mac);
    return r < 0 ? job_fail_admin(j, r, name, "creating a macvlan") : 0;
}

/* Create a TAP device; its descriptor takes the place of the packet socket. */
static int make_tap(struct job *j) {
    int fd = kernel_open_tap(j->req->dev);

    if (fd == -EBUSY)
        return job_fail(j, fd,
                        "%s: another process holds this TAP device: choose "
                        "another name",
                        j->req->dev);
    if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
        return job_fail(j, fd,
                        "/dev/net/tun: not there: \"modprobe tun\" and look "
                        "again");
    if (fd < 0)
        return job_fail_admin(j, fd, j->req->dev, "creating a TAP device");
    j->out->packet_fd = fd;
    return 0;
}

/* Take or make the device and read its facts. */
static int get_device(struct job *j) {
    const struct setup_request *q = j->req;
    char name[16];
    int r = 0;

    memcpy(name, q->dev, sizeof(name));
    if (q->parent[0]) {
        r = make_macvlan(j, name);
    } else if (q->veth_peer[0]) {
        r = link_add_veth(j->nl, name, q->veth_peer);
        if (r < 0)
            return job_fail_admin(j, r, name, "creating a veth pair");
    } else if (q->tap) {
        r = make_tap(j);
    }
    if (r < 0)
        return r;
    r = look_up(j, name);
    if (r < 0)
        return r;
    j->made = q->parent[0] || q->veth_peer[0] || q->tap;
    j->out->created = j->made && !q->tap;
    j->out->ifindex = j->dev.ifindex;
    memcpy(j->out->dev, j->dev.name, sizeof(j->out->dev));
    if (j->made && !q->tap)
        kernel_silence(name);
    return 0;
}

/* Does every frame on this device reach us whatever its MAC? */
static bool takes_any_mac(const struct link_info *d) {
    return !strcmp(d->kind, "veth") || !strcmp(d->kind, "tun") ||
           !strcmp(d->kind, "bridge");
}

/* Which MAC we send from: see the theory above. */
static int choose_mac(struct job *j) {
    const struct setup_request *q = j->req;
    struct link_info *d = &j->dev;

    /* the kernel's end of a TAP is the other party: it needs a MAC too */
    if (!q->has_mac && takes_any_mac(d))
        own_mac(d->mac, &q->addr, j->out->mac);
    else
        memcpy(j->out->mac, q->has_mac ? q->mac : d->mac, 6);
    if (!memcmp(j->out->mac, d->mac, 6)) {
        if (q->tap)
            return job_fail(j, -EINVAL,
                            "%s: the kernel's end has the MAC asked for: leave "
                            "the MAC out",
                            d->name);
        return 0;
    }
    if (!strcmp(d->kind, "macvlan") || !strcmp(d->kind, "ipvlan"))
        return job_fail(j, -EINVAL,
                        "%s: a %s passes only its own MAC: leave the MAC out",
                        d->name, d->kind);
    return 0;
}

/* MTU and state. */
static int bring_up(struct job *j) {
    const struct setup_request *q = j->req;
    struct link_info *d = &j->dev;
    int r;

    if (q->has_mtu && j->made && q->mtu != d->mtu) {
        r = link_set_mtu(j->nl, d->ifindex, q->mtu);
        if (r < 0)
            return job_fail_admin(j, r, d->name, "setting the mtu");
        d->mtu = q->mtu;
    }
    if (q->has_mtu && q->mtu > d->mtu)
        return job_fail(
            j, -EINVAL,
            "mtu %u: more than the %u of %s: choose less or \"ip link "
            "set %s mtu %u\"",
            q->mtu, d->mtu, d->name, d->name, q->mtu);
    j->out->mtu = q->has_mtu ? q->mtu : d->mtu;
    if (d->up) {
        link_wait_ready(j->nl, d->ifindex);
        return 0;
    }
    r = link_set_up(j->nl, d->ifindex, true);
    if (r == -EPERM)
        return job_fail(
            j, -ENETDOWN,
            "%s: is down and we may not change it: \"ip link set %s "
            "up\"",
            d->name, d->name);
    if (r < 0)
        return job_fail_admin(j, r, d->name, "setting it up");
    j->out->brought_up = !j->made;
    link_wait_ready(j->nl, d->ifindex);
    return 0;
}

/* The kernel's end of a TAP: this host, as our gateway. Without an address for
 * it, the network's first that is not ours. */
static int host_end(struct job *j) {
    struct ip_addr *gw = &j->out->gateway;
    uint32_t host = ~0u >> (j->req->prefix_len - 1) >> 1;
    uint32_t us = ip_to_v4(&j->req->addr), first = (us & ~host) + 1;
    uint32_t other = host > 1 ? us + 1 : us - 1;
    int r;

    if (!j->req->tap)
        return 0;
    if (ip_is_any(gw))
        *gw = ip_from_v4(first == us ? other : first);
    r = link_add_addr(j->nl, j->dev.ifindex, gw, j->req->prefix_len);
    if (r < 0 && r != -EEXIST)
        return job_fail_admin(j, r, j->dev.name, "giving it an address");
    /* a shorter way only: without the queue module everything works */
    link_set_noqueue(j->nl, j->dev.ifindex);
    return 0;
}

/* Devices without hardware behind them take any superframe, if they are told
 * to: with fewer, longer ones bulk data costs a third less. What leaves the
 * machine after all is cut by the kernel. Not being allowed to is no failure.
 */
static int raise_superframe(struct job *j) {
    struct link_info *d = &j->dev;
    bool soft = !strcmp(d->kind, "veth") || !strcmp(d->kind, "tun");

    j->out->superframe = SUPERFRAME_USUAL;
    if (soft && link_set_superframe(j->nl, d->ifindex, SUPERFRAME_BIG) == 0)
        j->out->superframe = SUPERFRAME_BIG - 1; /* the kernel wants less */
    return 0;
}

/* ---- the socket --------------------------------------------------------- */

/* Have frames to our MAC delivered where the device would not. */
static int join_mac(int fd, const struct link_info *d, const uint8_t mac[6]) {
    bool bridge = !strcmp(d->kind, "bridge");
    struct packet_mreq m = {
        .mr_ifindex = (int)d->ifindex,
        .mr_type = PACKET_MR_UNICAST,
        .mr_alen = 6,
    };

    if (!memcmp(mac, d->mac, 6) || (takes_any_mac(d) && !bridge))
        return 0;
    if (bridge)
        return netio_packet_promisc(fd, d->ifindex);
    memcpy(m.mr_address, mac, 6);
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)))
        return -errno;
    return 0;
}

/* Filter, membership and bind of a packet socket that receives nothing yet. */
static int ready_socket(struct job *j, int fd, const struct filter *flt) {
    int r = filter_attach(fd, flt);

    if (r < 0)
        return job_fail(j, r, "%s: the kernel refused our filter (%s)",
                        j->dev.name, strerror(-r));
    r = join_mac(fd, &j->dev, j->out->mac);
    if (r < 0)
        return job_fail(j, r,
                        "%s: cannot receive for another MAC (%s): leave the "
                        "MAC out",
                        j->dev.name, strerror(-r));
    r = netio_packet_bind(fd, j->dev.ifindex);
    if (r < 0)
        return job_fail(j, r, "%s: cannot bind to it (%s): is it up?",
                        j->dev.name, strerror(-r));
    return 0;
}

/* The packet socket, or the filter of a TAP, which has no socket. */
static int open_socket(struct job *j) {
    struct filter flt;

    filter_make(&flt, j->out->mac, &j->req->addr, j->req->prefix_len);
    if (j->req->tap) {
        /* a TAP knows no VLAN tags aside, and has no lock for filters */
        struct sock_fprog p = {
            .len = (unsigned short)(flt.n - FILTER_PROLOGUE),
            .filter = flt.insn + FILTER_PROLOGUE,
        };
        if (ioctl(j->out->packet_fd, TUNATTACHFILTER, &p))
            return job_fail(j, -errno, "%s: the kernel refused our filter (%s)",
                            j->dev.name, strerror(errno));
        return 0;
    }
    int fd = netio_packet_socket();
    if (fd == -EPERM || fd == -EACCES)
        return job_fail(
            j, fd,
            "opening a packet socket needs CAP_NET_RAW: run as root "
            "or through stackrun under sudo");
    if (fd == -EAFNOSUPPORT)
        return job_fail(j, fd,
                        "packet sockets: not in this kernel: \"modprobe "
                        "af_packet\"");
    if (fd < 0)
        return job_fail(j, fd, "opening a packet socket failed (%s)",
                        strerror(-fd));
    j->out->packet_fd = fd;
    return ready_socket(j, fd, &flt);
}

/* Ask the LAN for the address, when the user wants that. */
static int probe(struct job *j) {
    struct netio *io;
    uint8_t m[6];
    int fd, r;

    if (!j->req->probe)
        return 0;
    /* a netio of its own for the question; it closes what it is given */
    fd = dup(j->out->packet_fd);
    io = fd < 0 ? NULL : netio_packet_new(fd, j->out->mtu);
    if (!io) {
        close(fd);
        return job_fail(j, -ENOMEM, "%s: out of memory", j->dev.name);
    }
    r = own_probe(io, j->out->mac, &j->req->addr, m);
    netio_close(io);
    if (r == -EADDRINUSE)
        return job_fail(
            j, r,
            "%s: address in use by %02x:%02x:%02x:%02x:%02x:%02x on "
            "%s: choose another",
            j->addr, m[0], m[1], m[2], m[3], m[4], m[5], j->dev.name);
    if (r < 0)
        return job_fail(j, r, "%s: asking for %s failed (%s)", j->dev.name,
                        j->addr, strerror(-r));
    return 0;
}

/* ---- all together ------------------------------------------------------- */

/* The steps in their order; the first that fails ends it. */
static int run(struct job *j) {
    static int (*const step[])(struct job *) = {
        job_check_request, job_check_kernel_addr,
        get_device,        choose_mac,
        bring_up,          host_end,
        raise_superframe,  job_check_kernel_quiet,
        open_socket,       probe,
    };
    int r = 0;

    for (unsigned i = 0; i < sizeof(step) / sizeof(step[0]) && r == 0; i++)
        r = step[i](j);
    return r;
}

int setup_open(const struct setup_request *req, struct setup_result *out,
               char *err, size_t errlen) {
    struct job j = {.req = req, .out = out, .err = err, .errlen = errlen};

    *out = (struct setup_result){
        .packet_fd = -1,
        .addr = req->addr,
        .prefix_len = req->prefix_len,
        .gateway = req->gateway,
    };
    snprintf(j.addr, sizeof(j.addr), "%u.%u.%u.%u", req->addr.b[12],
             req->addr.b[13], req->addr.b[14], req->addr.b[15]);
    int r = link_open(&j.nl);
    if (r < 0)
        return job_fail(&j, r, "netlink: cannot be opened (%s)", strerror(-r));
    r = run(&j);
    link_close(j.nl);
    if (r < 0) {
        if (out->packet_fd >= 0)
            close(out->packet_fd);
        setup_remove(out);
        out->packet_fd = -1;
    }
    return r;
}

int setup_remove(const struct setup_result *res) {
    struct link_info d;
    struct nl_sock *nl;
    int r;

    if (!res->created && !res->brought_up)
        return 0;
    r = link_open(&nl);
    if (r < 0)
        return r;
    r = link_get(nl, res->dev, &d);
    if (r == 0 && d.ifindex == res->ifindex)
        r = res->created ? link_delete(nl, d.ifindex)
                         : link_set_up(nl, d.ifindex, false);
    link_close(nl);
    return r == -ENODEV ? 0 : r;
}
