/* resolve.c: name look-ups over the stack.
 *
 * Theory of operation
 *
 * All functions here call the C library's own, inside a section in which its
 * socket calls are caught and given to our wrappers (resolve_sud.c). So the
 * queries leave by the stack (or by the kernel, where policy says so: name
 * servers at 127/8), with the C library's semantics untouched. A look-up that
 * needs no network makes no socket, and no stack.
 *
 * The `dns` setting names another name server than resolv.conf: it is put into
 * the thread's resolver state (resolver(3): _res.nsaddr_list), which is what
 * programs do for that purpose and the C library expects. A program that set
 * servers of its own keeps them.
 *
 * AI_ADDRCONFIG (the default of many callers) drops the answers of a family
 * for which the host has no address. The C library asks the kernel's devices,
 * which may well have none: that host is not the one the program uses. The
 * flag is resolved here, with the stack's families.
 *
 * A look-up is not cancelled half-way, since the catcher has to be switched
 * off; a cancellation acts before or after it.
 *
 * What bypasses the C library's own DNS client, through a unix socket (nscd,
 * nss-resolve), is the kernel's; getaddrinfo_a works in threads of its own and
 * is not caught either.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <string.h>

#include "preload/preload.h"
#include "preload/resolve_sud.h"

/* ---- the name server ---------------------------------------------------- */

static struct sockaddr_in wanted_server(void) {
    const struct ip_addr *dns = &preload_settings()->dns;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(53)};
    sin.sin_addr.s_addr = htonl(ip_to_v4(dns));
    return sin;
}

static bool same_servers(const struct __res_state *a,
                         const struct __res_state *b) {
    return a->nscount == b->nscount &&
           memcmp(a->nsaddr_list, b->nsaddr_list,
                  (size_t)a->nscount * sizeof(a->nsaddr_list[0])) == 0;
}

/* Put the setting's server into rs, unless the program chose others. */
static void use_server(struct __res_state *rs) {
    struct __res_state fresh;
    struct sockaddr_in want = wanted_server();
    if (!(rs->options & RES_INIT) && res_ninit(rs) < 0)
        return;
    if (rs->nscount == 1 &&
        memcmp(&rs->nsaddr_list[0], &want, sizeof(want)) == 0)
        return;
    memset(&fresh, 0, sizeof(fresh));
    if (res_ninit(&fresh) < 0)
        return;
    if (same_servers(rs, &fresh)) {
        rs->nsaddr_list[0] = want;
        rs->nscount = 1;
    }
    res_nclose(&fresh);
}

/* ---- one look-up -------------------------------------------------------- */

struct lookup {
    struct sud sud;
    int cancel_state;
    bool active;
};

static void cannot_catch(void) {
    static int said;
    if (self.sh)
        __atomic_fetch_add(&self.sh->count.dns_kernel, 1, __ATOMIC_RELAXED);
    if (!__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED))
        preload_say("name look-ups go by the kernel's network: this kernel "
                    "has no syscall user dispatch");
}

/* rs: the resolver state that will be used; NULL: none. */
static void begin(struct lookup *l, struct __res_state *rs) {
    l->active = !preload_vforked && preload_has_stack();
    if (!l->active)
        return;
    int saved = errno;
    pthread_testcancel();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &l->cancel_state);
    if (rs && ip_is_v4(&preload_settings()->dns))
        use_server(rs);
    errno = saved;
    if (!sud_begin(&l->sud))
        cannot_catch();
}

static void end(struct lookup *l) {
    if (!l->active)
        return;
    sud_end(&l->sud);
    pthread_setcancelstate(l->cancel_state, NULL);
    if (self.sh)
        __atomic_fetch_add(&self.sh->count.lookups, 1, __ATOMIC_RELAXED);
}

/* The value of `call`, caught. */
#define LOOK_UP(rs, call)                                                      \
    __extension__({                                                            \
        struct lookup l_;                                                      \
        begin(&l_, rs);                                                        \
        __typeof__(call) r_ = (call);                                          \
        end(&l_);                                                              \
        r_;                                                                    \
    })

/* ---- getaddrinfo -------------------------------------------------------- */

/* hints without AI_ADDRCONFIG, for a host with IPv4 addresses only. Returns 0
 * or the error that the flag leads to. */
static int resolve_addrconfig(const struct addrinfo *hints,
                              struct addrinfo *own) {
    *own = (struct addrinfo){.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG};
    if (hints)
        *own = *hints;
    if (!(own->ai_flags & AI_ADDRCONFIG))
        return 0;
    if (own->ai_family == AF_INET6 && !(own->ai_flags & AI_V4MAPPED))
        return EAI_NONAME;
    own->ai_flags &= ~AI_ADDRCONFIG;
    if (own->ai_family == AF_UNSPEC)
        own->ai_family = AF_INET;
    return 0;
}

EXPORT int getaddrinfo(const char *node, const char *service,
                       const struct addrinfo *hints, struct addrinfo **res) {
    struct addrinfo own;
    if (preload_has_stack() && !preload_vforked) {
        int r = resolve_addrconfig(hints, &own);
        if (r != 0)
            return r;
        hints = &own;
    }
    return LOOK_UP(&_res, real.getaddrinfo(node, service, hints, res));
}

EXPORT int getnameinfo(const struct sockaddr *addr, socklen_t len, char *host,
                       socklen_t hostlen, char *serv, socklen_t servlen,
                       int flags) {
    if (flags & NI_NUMERICHOST || !host || !hostlen)
        return real.getnameinfo(addr, len, host, hostlen, serv, servlen, flags);
    return LOOK_UP(&_res, real.getnameinfo(addr, len, host, hostlen, serv,
                                           servlen, flags));
}

/* ---- gethostby... ------------------------------------------------------- */

EXPORT struct hostent *gethostbyname(const char *name) {
    return LOOK_UP(&_res, real.gethostbyname(name));
}

EXPORT struct hostent *gethostbyname2(const char *name, int af) {
    return LOOK_UP(&_res, real.gethostbyname2(name, af));
}

EXPORT struct hostent *gethostbyaddr(const void *addr, socklen_t len, int af) {
    return LOOK_UP(&_res, real.gethostbyaddr(addr, len, af));
}

EXPORT int gethostbyname_r(const char *name, struct hostent *ret, char *buf,
                           size_t n, struct hostent **res, int *herr) {
    return LOOK_UP(&_res, real.gethostbyname_r(name, ret, buf, n, res, herr));
}

EXPORT int gethostbyname2_r(const char *name, int af, struct hostent *ret,
                            char *buf, size_t n, struct hostent **res,
                            int *herr) {
    return LOOK_UP(&_res,
                   real.gethostbyname2_r(name, af, ret, buf, n, res, herr));
}

EXPORT int gethostbyaddr_r(const void *addr, socklen_t len, int af,
                           struct hostent *ret, char *buf, size_t n,
                           struct hostent **res, int *herr) {
    return LOOK_UP(&_res,
                   real.gethostbyaddr_r(addr, len, af, ret, buf, n, res, herr));
}

/* ---- res_... ------------------------------------------------------------ */

/* The C library's header renames these to their __res_ forms, which are the
 * aliases here. */
#undef res_query
#undef res_search
#undef res_querydomain
#undef res_send
#undef res_nquery
#undef res_nsearch
#undef res_nquerydomain
#undef res_nsend

int res_query(const char *, int, int, unsigned char *, int);
int res_search(const char *, int, int, unsigned char *, int);
int res_querydomain(const char *, const char *, int, int, unsigned char *, int);
int res_send(const unsigned char *, int, unsigned char *, int);
int res_nquery(res_state, const char *, int, int, unsigned char *, int);
int res_nsearch(res_state, const char *, int, int, unsigned char *, int);
int res_nquerydomain(res_state, const char *, const char *, int, int,
                     unsigned char *, int);
int res_nsend(res_state, const unsigned char *, int, unsigned char *, int);

EXPORT int res_query(const char *name, int cls, int type, unsigned char *ans,
                     int n) {
    return LOOK_UP(&_res, real.res_query(name, cls, type, ans, n));
}

EXPORT int res_search(const char *name, int cls, int type, unsigned char *ans,
                      int n) {
    return LOOK_UP(&_res, real.res_search(name, cls, type, ans, n));
}

EXPORT int res_querydomain(const char *name, const char *domain, int cls,
                           int type, unsigned char *ans, int n) {
    return LOOK_UP(&_res,
                   real.res_querydomain(name, domain, cls, type, ans, n));
}

EXPORT int res_send(const unsigned char *msg, int len, unsigned char *ans,
                    int n) {
    return LOOK_UP(&_res, real.res_send(msg, len, ans, n));
}

/* A state of the program's own; one that it has not set up is left to fail. */
static struct __res_state *ready_state(struct __res_state *rs) {
    return rs && rs->options & RES_INIT ? rs : NULL;
}

EXPORT int res_nquery(struct __res_state *rs, const char *name, int cls,
                      int type, unsigned char *ans, int n) {
    return LOOK_UP(ready_state(rs),
                   real.res_nquery(rs, name, cls, type, ans, n));
}

EXPORT int res_nsearch(struct __res_state *rs, const char *name, int cls,
                       int type, unsigned char *ans, int n) {
    return LOOK_UP(ready_state(rs),
                   real.res_nsearch(rs, name, cls, type, ans, n));
}

EXPORT int res_nquerydomain(struct __res_state *rs, const char *name,
                            const char *domain, int cls, int type,
                            unsigned char *ans, int n) {
    return LOOK_UP(ready_state(rs),
                   real.res_nquerydomain(rs, name, domain, cls, type, ans, n));
}

EXPORT int res_nsend(struct __res_state *rs, const unsigned char *msg, int len,
                     unsigned char *ans, int n) {
    return LOOK_UP(ready_state(rs), real.res_nsend(rs, msg, len, ans, n));
}

#define FAMILY_resolve 1
#include "preload/alias.h"
