/* ioctl.c: ioctl on stack sockets, and sockatmark.
 *
 * What concerns the socket is answered by the stack. What concerns the
 * stack's own link (address, mask, broadcast, MAC, MTU by the device's name)
 * is answered from the stack, since the kernel's device may have none of it.
 * Any other interface question goes to the kernel, on a socket opened for the
 * moment, and is counted.
 */
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "preload/addr.h"
#include "preload/async.h"
#include "preload/io.h"

/* An option of the stack as the int that the program gave room for. */
static int get_int(struct file *f, enum stack_opt opt, int *out) {
    int64_t v = 0;
    int r = stack_getopt(self.st, f->so, opt, &v), n = (int)v;
    if (r < 0)
        return r == -ENOPROTOOPT ? -ENOTTY : r;
    return user_write(out, &n, sizeof(n));
}

/* FIONBIO, FIOASYNC: any value but 0 is yes. */
static int set_flag(bool *flag, const int *arg) {
    if (user_readable(arg, sizeof(*arg)) < 0)
        return -EFAULT;
    *flag = *arg != 0;
    return 0;
}

/* The old spellings of F_SETOWN and F_GETOWN. */
static int owner(struct file *f, unsigned long req, int *arg) {
    if (user_writable(arg, sizeof(*arg)) < 0)
        return -EFAULT;
    if (req == FIOSETOWN || req == SIOCSPGRP)
        f->owner = *arg;
    else
        *arg = f->owner;
    return 0;
}

/* As ifreq carries it: a whole struct sockaddr_in, port 0. */
static void put_ip(struct sockaddr *sa, uint32_t v4) {
    struct endpoint ep = {.ip = ip_from_v4(v4)};
    struct sockaddr_storage ss;
    memcpy(sa, &ss, addr_make(4, &ep, &ss));
}

/* Ask the kernel, as an AF_INET socket would. */
static int ask_kernel(unsigned long req, void *arg) {
    int k = (int)sys_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (k < 0)
        return k;
    self.sh->count.kernel_call++;
    int r = (int)sys_ioctl(k, req, arg);
    sys_close(k);
    return r;
}

/* An interface question about the stack's own device; 1: not one of ours. */
static int own_link(unsigned long req, struct ifreq *ifr) {
    struct stack_link link;
    if (user_writable(ifr, sizeof(*ifr)) < 0)
        return -EFAULT;
    const char *dev = preload_settings()->dev;
    if (!*dev || strncmp(ifr->ifr_name, dev, IFNAMSIZ) != 0)
        return 1;
    stack_link_info(self.st, &link);
    uint32_t addr = ip_to_v4(&link.addr);
    uint32_t mask = link.prefix_len ? ~0u << (32 - link.prefix_len) : 0;
    switch (req) {
    case SIOCGIFADDR:
        put_ip(&ifr->ifr_addr, addr);
        return 0;
    case SIOCGIFNETMASK:
        put_ip(&ifr->ifr_netmask, mask);
        return 0;
    case SIOCGIFBRDADDR:
        put_ip(&ifr->ifr_broadaddr, addr | ~mask);
        return 0;
    case SIOCGIFHWADDR:
        ifr->ifr_hwaddr.sa_family = ARPHRD_ETHER;
        memcpy(ifr->ifr_hwaddr.sa_data, link.mac, 6);
        return 0;
    case SIOCGIFMTU:
        ifr->ifr_mtu = (int)link.mtu;
        return 0;
    case SIOCSIFADDR: /* the launcher has set it up, for good */
    case SIOCSIFNETMASK:
    case SIOCSIFBRDADDR:
    case SIOCSIFHWADDR:
    case SIOCSIFMTU:
        return -EPERM;
    case SIOCETHTOOL:
        return -EOPNOTSUPP;
    }
    return 1;
}

/* SIOCGIFCONF: the kernel's devices with addresses, and ours. Without a buffer
 * the length is asked for (netdevice(7)). */
static int interfaces(struct ifconf *user) {
    struct ifconf conf;
    struct stack_link link;
    struct ifreq own = {0};
    int r = user_read(&conf, user, sizeof(conf));
    int room = conf.ifc_len;
    if (r == 0)
        r = ask_kernel(SIOCGIFCONF, &conf);
    if (r < 0)
        return r;
    stack_link_info(self.st, &link);
    memcpy(own.ifr_name, preload_settings()->dev, IFNAMSIZ - 1);
    put_ip(&own.ifr_addr, ip_to_v4(&link.addr));
    int end = conf.ifc_len + (int)sizeof(own);
    if (conf.ifc_buf && end <= room)
        r = user_write(conf.ifc_buf + conf.ifc_len, &own, sizeof(own));
    if (!conf.ifc_buf || end <= room)
        conf.ifc_len = end;
    return r < 0 ? r : user_write(user, &conf, sizeof(conf));
}

/* Lock held. */
static int ioctl_file(int fd, struct file *f, unsigned long req, void *arg) {
    int r;
    switch (req) {
    case FIONREAD:
        wait_drain(); /* what readiness may have promised */
        return get_int(f, STACK_OPT_INQ, arg);
    case TIOCOUTQ:
        return get_int(f, STACK_OPT_OUTQ, arg);
    case SIOCOUTQNSD:
        return get_int(f, STACK_OPT_OUTQNSD, arg);
    case SIOCATMARK:
        return get_int(f, STACK_OPT_ATMARK, arg);
    case FIONBIO:
        return set_flag(&f->nonblock, arg);
    case FIOASYNC:
        r = set_flag(&f->async, arg);
        return r < 0 ? r : async_update(fd, f);
    case FIOSETOWN:
    case FIOGETOWN:
    case SIOCSPGRP:
    case SIOCGPGRP:
        r = owner(f, req, arg);
        return r < 0 ? r : async_update(fd, f);
    }
    if (req == SIOCGIFCONF)
        return interfaces(arg);
    if (req == SIOCGSTAMP_OLD || req == SIOCGSTAMPNS_OLD ||
        req == SIOCGSTAMP_NEW || req == SIOCGSTAMPNS_NEW)
        return -ENOENT;   /* as before the first packet: ask for SO_TIMESTAMP */
    if (req >> 8 != 0x89) /* FIOCLEX, FIONCLEX; ENOTTY for what is left */
        return (int)sys_ioctl(fd, req, arg);
    r = req >= SIOCGIFNAME && req <= SIOCGIFHWADDR ? own_link(req, arg) : 1;
    return r <= 0 ? r : ask_kernel(req, arg);
}

/* ioctl(2). Requests are 32 bits wide in the kernel; programs that keep them
 * in an int sign-extend the larger ones. */
EXPORT int ioctl(int fd, unsigned long req, ...) {
    va_list ap;
    va_start(ap, req);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    if (!sock_file(fd))
        return real.ioctl(fd, req, arg);
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    int r = ioctl_file(fd, f, (unsigned)req, arg);
    section_leave(f);
    async_start();
    RETURN(r);
}

/* sockatmark(3): 1, 0, or -1 (ENOTTY for what has no mark). */
EXPORT int sockatmark(int fd) {
    int mark = 0;
    if (!sock_file(fd))
        return real.sockatmark(fd);
    struct file *f = section_enter(fd);
    if (!f)
        RETURN(-EBADF);
    int r = get_int(f, STACK_OPT_ATMARK, &mark);
    section_leave(f);
    RETURN(r < 0 ? r : mark);
}
