/* addr.c: socket addresses of the program <-> struct endpoint.
 *
 * Inside there is one kind of address, IPv4 being IPv4-mapped (stack/addr.h).
 * An AF_INET socket shows struct sockaddr_in, an AF_INET6 socket struct
 * sockaddr_in6 with IPv4-mapped addresses, as Linux does (RFC 3493, section
 * 3.7). Lengths and their errors follow Linux (net/socket.c as described by
 * bind(2), connect(2), getsockname(2)), measured by tests/interpose.
 */
#include "preload/addr.h"

#include <netinet/in.h>
#include <string.h>

#include "preload/io.h"

/* struct sockaddr_in6 without its last field, which RFC 2133 did not have. */
#define SIN6_LEN_MIN 24

/* Linux's move_addr_to_kernel: the length is judged before the pointer, and
 * a length of 0 needs no pointer. */
int addr_check(const struct sockaddr *sa, socklen_t len) {
    if ((int)len < 0 || len > sizeof(struct sockaddr_storage))
        return -EINVAL;
    return user_readable(sa, len);
}

/* Unaligned and short addresses are allowed here, so copy. */
int addr_family(const struct sockaddr *sa, socklen_t len) {
    sa_family_t family = AF_UNSPEC;
    if (len >= sizeof(family))
        memcpy(&family, sa, sizeof(family));
    return family;
}

/* struct sockaddr_in; bytes after it are ignored, as Linux does. */
static int in_v4(const struct sockaddr *sa, socklen_t len,
                 struct endpoint *out) {
    struct sockaddr_in in;
    if (len < sizeof(in))
        return -EINVAL;
    memcpy(&in, sa, sizeof(in));
    out->ip = ip_from_v4(ntohl(in.sin_addr.s_addr));
    out->port = ntohs(in.sin_port);
    out->scope = 0;
    return 0;
}

/* struct sockaddr_in6, also without its scope (RFC 2133). The flow label is
 * not looked at. */
static int in_v6(const struct sockaddr *sa, socklen_t len,
                 struct endpoint *out) {
    struct sockaddr_in6 in = {0};
    if (len < SIN6_LEN_MIN)
        return -EINVAL;
    memcpy(&in, sa, len < sizeof(in) ? len : sizeof(in));
    memcpy(out->ip.b, &in.sin6_addr, 16);
    if (ip_is_v4(&out->ip)) /* ::ffff:0.0.0.0 is "any" as well */
        out->ip = ip_from_v4(ip_to_v4(&out->ip));
    out->port = ntohs(in.sin6_port);
    out->scope = in.sin6_scope_id;
    return 0;
}

/* The length that the *socket's* family needs is checked first, then the
 * address's own family: the order that connect(2) and bind(2) show. */
int addr_in(int family, bool loose, const struct sockaddr *sa, socklen_t len,
            struct endpoint *out) {
    int r = addr_check(sa, len);
    if (r < 0)
        return r;
    if (len < sizeof(sa_family_t))
        return -EINVAL;
    int af = addr_family(sa, len);
    if (family == 6 && !(loose && af == AF_INET))
        return af == AF_INET6       ? in_v6(sa, len, out)
               : len < SIN6_LEN_MIN ? -EINVAL
                                    : -EAFNOSUPPORT;
    if (len < sizeof(struct sockaddr_in))
        return -EINVAL;
    return af == AF_INET ? in_v4(sa, len, out) : -EAFNOSUPPORT;
}

/* "Any" is 0.0.0.0 or ::, IPv4 on an AF_INET6 socket IPv4-mapped (RFC 3493,
 * section 3.7). */
socklen_t addr_make(int family, const struct endpoint *ep,
                    struct sockaddr_storage *out) {
    if (family == 4) {
        struct sockaddr_in in = {
            .sin_family = AF_INET,
            .sin_port = htons(ep->port),
            .sin_addr.s_addr = htonl(ip_to_v4(&ep->ip)),
        };
        memcpy(out, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(ep->port),
        .sin6_scope_id = ep->scope,
    };
    memcpy(&in6.sin6_addr, ep->ip.b, 16);
    memcpy(out, &in6, sizeof(in6));
    return sizeof(in6);
}

/* getsockname(2): a buffer that is too small gets the first bytes, and *len
 * tells how long the address would have been. */
int addr_out(int family, const struct endpoint *ep, struct sockaddr *sa,
             socklen_t *len) {
    struct sockaddr_storage ss;
    socklen_t full = ep ? addr_make(family, ep, &ss) : 0;
    socklen_t room = 0;
    if (user_read(&room, len, sizeof(room)) < 0)
        return -EFAULT;
    if ((int)room < 0)
        return -EINVAL;
    if (room > full)
        room = full;
    if (user_write(sa, &ss, room) < 0)
        return -EFAULT;
    return user_write(len, &full, sizeof(full));
}
