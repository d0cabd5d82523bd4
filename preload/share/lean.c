/* lean.c: the quick way to open a device, for the case that is nearly always.
 *
 * To start stackctl costs a program 2 to 3 ms, as long as the rest of a short
 * run. Where nothing is to be made or changed - a veth device that is there
 * and up, a program that may open packet sockets - a dozen system calls of our
 * own do the same as `stackctl open` (netio/setup/setup.c, whose checks and
 * order these are). Whatever is not plain is left to stackctl, which also has
 * the words for it: this file never reports an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

#include "netio/filter.h"
#include "netio/own.h"
#include "netio/packet.h"
#include "netio/sys.h"
#include "preload/share/opener.h"

/* IFLA_GSO_IPV4_MAX_SIZE (Linux 6.3), and what netio/setup makes of it. */
#define SUPERFRAME_ATTR 63
#define SUPERFRAME_BIG 196608u

#define MIN_MTU 576u /* RFC 791: what every host must take */

/* Do the settings ask for nothing but an existing device? */
static bool asks_little(const struct settings *s) {
    return s->dev[0] && !s->parent[0] && s->has_addr && !s->has_mac && !s->mtu;
}

/* A host's address in a network with others; a gateway in the same one. */
static bool plain_address(const struct settings *s) {
    uint32_t a = ip_to_v4(&s->addr), gw = ip_to_v4(&s->gw);
    if (s->prefix_len < 8 || s->prefix_len > 30)
        return false;
    uint32_t host = 0xffffffffu >> s->prefix_len;
    if (a >> 24 == 0 || a >> 24 == 127 || a >> 24 >= 224 || !(a & host) ||
        (a & host) == host)
        return false;
    return gw == 0 || (gw != a && !((gw ^ a) & ~host));
}

/* What rtnetlink(7) says of a device. */
struct facts {
    struct ifinfomsg info;
    char kind[16]; /* "" for hardware */
    uint8_t mac[6];
    uint32_t mtu;
    uint32_t superframe; /* longest one it takes; 0: an older kernel */
    bool has_master;     /* a port of a bridge gives its frames to that first */
};

/* Copy an attribute's payload, as much as there is room for. */
static void take(void *to, size_t room, const struct rtattr *a) {
    size_t n = RTA_PAYLOAD(a);
    memcpy(to, RTA_DATA(a), n < room ? n : room);
}

/* The kind is nested one level down (IFLA_LINKINFO). */
static void take_kind(struct facts *f, const struct rtattr *nest) {
    int left = (int)RTA_PAYLOAD(nest);
    for (struct rtattr *a = RTA_DATA(nest); RTA_OK(a, left);
         a = RTA_NEXT(a, left))
        if (a->rta_type == IFLA_INFO_KIND)
            take(f->kind, sizeof(f->kind) - 1, a);
}

static void read_facts(struct facts *f, struct nlmsghdr *h) {
    int left = (int)IFLA_PAYLOAD(h);
    f->info = *(struct ifinfomsg *)NLMSG_DATA(h);
    for (struct rtattr *a = IFLA_RTA(NLMSG_DATA(h)); RTA_OK(a, left);
         a = RTA_NEXT(a, left)) {
        switch (a->rta_type) {
        case IFLA_ADDRESS:
            take(f->mac, sizeof(f->mac), a);
            break;
        case IFLA_MTU:
            take(&f->mtu, sizeof(f->mtu), a);
            break;
        case SUPERFRAME_ATTR:
            take(&f->superframe, sizeof(f->superframe), a);
            break;
        case IFLA_MASTER:
            f->has_master = true;
            break;
        case IFLA_LINKINFO:
            take_kind(f, a);
            break;
        }
    }
}

/* Ask for one device by its name. False: there is no such device. */
static bool look_up(const char *dev, struct facts *f) {
    struct {
        struct nlmsghdr h;
        struct ifinfomsg info;
        struct rtattr a;
        char name[16];
    } q = {
        .h = {.nlmsg_len = sizeof(q),
              .nlmsg_type = RTM_GETLINK,
              .nlmsg_flags = NLM_F_REQUEST},
        .a = {.rta_len = RTA_LENGTH(sizeof(q.name)), .rta_type = IFLA_IFNAME},
    };
    _Alignas(struct nlmsghdr) char buf[8192];
    struct nlmsghdr *h = (struct nlmsghdr *)buf;

    memset(f, 0, sizeof(*f));
    memcpy(q.name, dev, sizeof(q.name));
    int fd = (int)sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
    long n = fd < 0 ? fd : sys_write(fd, &q, sizeof(q));
    if (n == (long)sizeof(q))
        n = sys_read(fd, buf, sizeof(buf));
    if (fd >= 0)
        sys_close(fd);
    if (n <= 0 || !NLMSG_OK(h, (unsigned long)n) ||
        h->nlmsg_type != RTM_NEWLINK)
        return false;
    read_facts(f, h);
    return true;
}

/* As raise_superframe of netio/setup: no failure if it cannot be. */
static void raise_superframe(struct facts *f) {
    struct {
        struct nlmsghdr h;
        struct ifinfomsg info;
        struct rtattr a;
        uint32_t bytes;
    } q = {
        .h = {.nlmsg_len = sizeof(q),
              .nlmsg_type = RTM_NEWLINK,
              .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .info = {.ifi_index = f->info.ifi_index},
        .a = {.rta_len = RTA_LENGTH(sizeof(q.bytes)),
              .rta_type = SUPERFRAME_ATTR},
        .bytes = SUPERFRAME_BIG,
    };
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
        char more[256];
    } answer;

    if (!f->superframe || f->superframe >= SUPERFRAME_BIG)
        return;
    int fd = (int)sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
    long n = fd < 0 ? fd : sys_write(fd, &q, sizeof(q));
    if (n == (long)sizeof(q))
        n = sys_read(fd, &answer, sizeof(answer));
    if (fd >= 0)
        sys_close(fd);
    if (n >= (long)(sizeof(answer.h) + sizeof(answer.e)) &&
        answer.h.nlmsg_type == NLMSG_ERROR && answer.e.error == 0)
        f->superframe = SUPERFRAME_BIG;
}

/* veth delivers frames to any MAC, so that we can have our own, to which the
 * kernel is deaf. */
static bool is_plain(const struct facts *f) {
    const unsigned up = IFF_UP | IFF_RUNNING;
    return !strcmp(f->kind, "veth") && f->info.ifi_type == ARPHRD_ETHER &&
           (f->info.ifi_flags & up) == up && !f->has_master &&
           f->mtu >= MIN_MTU;
}

/* Is this an address of the kernel's? Only then it can be bound to. */
static bool is_kernels(const struct ip_addr *ip) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    memcpy(&a.sin_addr, ip->b + 12, 4);
    int fd = (int)sys_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is = fd < 0 || sys_bind(fd, &a, sizeof(a)) != -EADDRNOTAVAIL;
    if (fd >= 0)
        sys_close(fd);
    return is;
}

/* Does nobody on the link answer for the address? */
static bool is_free(int packet, const struct stack_config *cfg) {
    uint8_t owner[6];
    int fd = (int)sys_fcntl(packet, F_DUPFD_CLOEXEC, 0);
    struct netio *io = fd < 0 ? NULL : netio_packet_new(fd, cfg->mtu);
    if (!io) {
        if (fd >= 0)
            sys_close(fd);
        return false;
    }
    bool free = own_probe(io, cfg->mac, &cfg->addr, owner) == 0;
    netio_close(io);
    return free;
}

/* A socket with its filter, bound to the device; or -errno. */
static int open_socket(const struct settings *s, const uint8_t mac[6],
                       unsigned ifindex) {
    struct filter filter;
    int fd = netio_packet_socket();
    if (fd < 0)
        return fd;
    filter_make(&filter, mac, &s->addr, s->prefix_len);
    int r = filter_attach(fd, &filter);
    if (r == 0)
        r = netio_packet_bind(fd, ifindex);
    if (r == 0)
        return fd;
    sys_close(fd);
    return r;
}

bool lean_open(const struct settings *s, struct share_new *out) {
    struct stack_config *cfg = &out->cfg;
    struct facts f;

    if (!asks_little(s) || !plain_address(s) || !look_up(s->dev, &f) ||
        !is_plain(&f) || is_kernels(&s->addr))
        return false;
    memset(cfg, 0, sizeof(*cfg));
    cfg->tune = s->tune;
    own_mac(f.mac, &s->addr, cfg->mac);
    cfg->mtu = f.mtu;
    raise_superframe(&f);
    if (f.superframe >= SUPERFRAME_BIG)
        cfg->superframe = SUPERFRAME_BIG - 1; /* the kernel wants less */
    cfg->addr = s->addr;
    cfg->prefix_len = s->prefix_len;
    cfg->gateway = s->gw;
    int fd = open_socket(s, cfg->mac, (unsigned)f.info.ifi_index);
    if (fd < 0)
        return false;
    if (is_free(fd, cfg)) {
        out->packet_fd = fd;
        return true;
    }
    sys_close(fd);
    return false;
}
