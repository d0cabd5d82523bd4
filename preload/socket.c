/* socket.c: socket(). AF_INET and AF_INET6 stream and datagram sockets are the
 * stack's, and IPv4 raw and ping sockets; everything else is the kernel's
 * business. */
#include <netinet/in.h>

#include "preload/preload.h"

#ifndef SOCK_TYPE_MASK
#define SOCK_TYPE_MASK 0xf
#endif

/* One more of something that went to the kernel. Approximate: no lock. */
#define COUNT(name)                                                            \
    do {                                                                       \
        if (self.sh)                                                           \
            __atomic_fetch_add(&self.sh->count.name, 1, __ATOMIC_RELAXED);     \
    } while (0)

/* Is it ours? Counts what is not, by reason. */
static bool wanted(int domain, int type, int protocol) {
    if (domain != AF_INET && domain != AF_INET6) {
        COUNT(kernel_family);
        return false;
    }
    if (type & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC))
        return false; /* EINVAL, from the kernel itself */
    switch (type & SOCK_TYPE_MASK) {
    case SOCK_STREAM:
        if (protocol == 0 || protocol == IPPROTO_TCP)
            return true;
        break;
    case SOCK_DGRAM:
        if (protocol == 0 || protocol == IPPROTO_UDP)
            return true;
        if (domain == AF_INET && protocol == IPPROTO_ICMP)
            return true; /* a ping socket */
        if (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6)
            break;
        COUNT(kernel_raw);
        return false;
    case SOCK_RAW:
        if (domain == AF_INET && protocol > 0 && protocol <= IPPROTO_RAW)
            return true;
        COUNT(kernel_raw);
        return false;
    }
    COUNT(kernel_protocol);
    return false;
}

/* A descriptor for a new stack socket, or -errno. */
static int open_socket(int domain, int type, int protocol) {
    static const enum stack_type types[] = {[SOCK_STREAM] = STACK_STREAM,
                                            [SOCK_DGRAM] = STACK_DGRAM,
                                            [SOCK_RAW] = STACK_RAW};
    struct sock *so;
    share_enter();
    int r = stack_socket(self.st, domain == AF_INET6 ? 6 : 4,
                         types[type & SOCK_TYPE_MASK], protocol, &so);
    if (r == 0) {
        struct file *f = file_new(FILE_SOCK, so, NULL);
        if (!f) {
            stack_close(self.st, so);
            r = -ENOBUFS;
        } else {
            f->nonblock = type & SOCK_NONBLOCK;
            file_get(f); /* so that a failure below closes it */
            r = file_install(f, type & SOCK_CLOEXEC);
            file_put(f);
        }
    }
    if (r >= 0)
        self.sh->count.sockets++;
    share_leave();
    return r;
}

/* Raw sockets are for those who have CAP_NET_RAW, ping sockets for the groups
 * of net.ipv4.ping_group_range (raw(7), icmp(7)). The kernel is asked, so that
 * the rules are its own. 0 or -errno. */
static int permitted(int domain, int type, int protocol) {
    bool raw = (type & SOCK_TYPE_MASK) == SOCK_RAW;
    if (!raw && protocol != IPPROTO_ICMP)
        return 0;
    int k = (int)sys_socket(domain, type | SOCK_CLOEXEC, protocol);
    if (k >= 0)
        sys_close(k);
    return k < 0 ? k : 0;
}

/* socket(2). The first one makes (or finds) the stack; when that fails, the
 * `fallback` setting says whether its errno or a kernel socket is the
 * answer. */
EXPORT int socket(int domain, int type, int protocol) {
    if (preload_vforked || !wanted(domain, type, protocol))
        return real.socket(domain, type, protocol);
    int r = permitted(domain, type, protocol);
    if (r == 0)
        r = preload_stack();
    else
        RETURN(r);
    if (r < 0 && preload_settings()->fallback == FALLBACK_KERNEL)
        return real.socket(domain, type, protocol);
    if (r == 0)
        r = open_socket(domain, type, protocol);
    if (r >= 0)
        preload_service();
    RETURN(r);
}

#define FAMILY_socket 1
#include "preload/alias.h"
