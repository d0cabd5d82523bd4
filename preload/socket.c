/* socket.c: socket(). AF_INET and AF_INET6 stream and datagram sockets are the
 * stack's; everything else is the kernel's business. */
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
        if (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6)
            break;
        __attribute__((fallthrough)); /* a ping socket */
    case SOCK_RAW:
        COUNT(kernel_raw);
        return false;
    }
    COUNT(kernel_protocol);
    return false;
}

/* A descriptor for a new stack socket, or -errno. */
static int open_socket(int domain, int type) {
    struct sock *so;
    bool stream = (type & SOCK_TYPE_MASK) == SOCK_STREAM;
    share_enter();
    int r = stack_socket(self.st, domain == AF_INET6 ? 6 : 4,
                         stream ? STACK_STREAM : STACK_DGRAM,
                         stream ? IPPROTO_TCP : IPPROTO_UDP, &so);
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

/* socket(2). The first one makes (or finds) the stack; when that fails, the
 * `fallback` setting says whether its errno or a kernel socket is the
 * answer. */
EXPORT int socket(int domain, int type, int protocol) {
    if (preload_vforked || !wanted(domain, type, protocol))
        return real.socket(domain, type, protocol);
    int r = preload_stack();
    if (r < 0 && preload_settings()->fallback == FALLBACK_KERNEL)
        return real.socket(domain, type, protocol);
    if (r == 0)
        r = open_socket(domain, type);
    if (r >= 0)
        preload_service();
    RETURN(r);
}

#define FAMILY_socket 1
#include "preload/alias.h"
