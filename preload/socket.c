/* socket.c: socket(). AF_INET and AF_INET6 stream and datagram sockets are the
 * stack's, and IPv4 raw and ping sockets; everything else is the kernel's
 * business. */
#include <netinet/in.h>

#include "preload/policy.h"

#ifndef SOCK_TYPE_MASK
#define SOCK_TYPE_MASK 0xf
#endif

/* One more of something that went to the kernel. Approximate: no lock. */
#define COUNT(name)                                                            \
    do {                                                                       \
        if (self.sh)                                                           \
            __atomic_fetch_add(&self.sh->count.name, 1, __ATOMIC_RELAXED);     \
    } while (0)

/* The kernel's business, whatever the policy says? A bad type is judged by the
 * kernel itself. */
static bool foreign(int domain, int type) {
    if (domain == AF_INET || domain == AF_INET6)
        return type & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC);
    COUNT(kernel_family);
    return true;
}

/* Can the stack serve it? If not, what is it, in words and in `why`? */
static const char *obstacle(int domain, int type, int protocol, enum why *why) {
    bool v4 = domain == AF_INET;
    *why = WHY_PROTOCOL;
    switch (type & SOCK_TYPE_MASK) {
    case SOCK_STREAM:
        if (protocol == 0 || protocol == IPPROTO_TCP)
            return NULL;
        break;
    case SOCK_DGRAM:
        if (protocol == 0 || protocol == IPPROTO_UDP ||
            (v4 && protocol == IPPROTO_ICMP))
            return NULL;
        if (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6)
            break;
        *why = WHY_RAW;
        return "an IPv6 ping socket";
    case SOCK_RAW:
        if (v4 && protocol > 0 && protocol <= IPPROTO_RAW)
            return NULL;
        *why = WHY_RAW;
        return "an IPv6 raw socket";
    }
    return "a socket of another protocol";
}

/* A kernel socket in the place of one that the stack cannot serve. */
static int from_kernel(int domain, int type, int protocol, enum why why) {
    int fd = real.socket(domain, type, protocol);
    if (fd >= 0)
        why_note(fd, why, -1);
    if (why == WHY_RAW)
        COUNT(kernel_raw);
    else
        COUNT(kernel_protocol);
    return fd;
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
    const struct settings *set = preload_settings();
    enum why why;
    if (preload_vforked || foreign(domain, type))
        return real.socket(domain, type, protocol);
    const char *what = obstacle(domain, type, protocol, &why);
    if (what && set->strict)
        RETURN(policy_strict(what));
    if (what)
        return from_kernel(domain, type, protocol, why);
    int r = permitted(domain, type, protocol);
    if (r == 0)
        r = preload_stack();
    else
        RETURN(r);
    if (r < 0 && set->fallback == FALLBACK_KERNEL && !set->strict)
        return real.socket(domain, type, protocol);
    if (r == 0)
        r = open_socket(domain, type, protocol);
    if (r >= 0)
        preload_service();
    RETURN(r);
}

#define FAMILY_socket 1
#include "preload/alias.h"
