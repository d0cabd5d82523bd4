/* symbols.c: the constants a script may name, with Linux's values. */
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/scripts/ast.h"

#define S(name)                                                                \
    { #name, name }

static const struct symbol {
    const char *name;
    int64_t value;
} symbols[] = {
    S(AF_INET),
    S(AF_INET6),
    S(AF_UNSPEC),
    S(PF_INET),
    S(PF_INET6),
    S(SOCK_STREAM),
    S(SOCK_DGRAM),
    S(SOCK_RAW),
    S(SOCK_NONBLOCK),
    S(SOCK_CLOEXEC),
    S(IPPROTO_IP),
    S(IPPROTO_TCP),
    S(IPPROTO_UDP),
    S(IPPROTO_ICMP),
    S(IPPROTO_IPV6),
    S(SHUT_RD),
    S(SHUT_WR),
    S(SHUT_RDWR),
    S(F_GETFL),
    S(F_SETFL),
    S(F_GETFD),
    S(F_SETFD),
    S(FD_CLOEXEC),
    S(O_RDWR),
    S(O_RDONLY),
    S(O_WRONLY),
    S(O_NONBLOCK),
    S(POLLIN),
    S(POLLOUT),
    S(POLLERR),
    S(POLLHUP),
    S(POLLPRI),
    S(POLLRDHUP),
    S(POLLNVAL),
    S(EPOLLIN),
    S(EPOLLOUT),
    S(EPOLLERR),
    S(EPOLLHUP),
    S(EPOLLPRI),
    S(EPOLLRDHUP),
    S(EPOLLET),
    S(EPOLLONESHOT),
    S(EPOLLEXCLUSIVE),
    S(EPOLL_CTL_ADD),
    S(EPOLL_CTL_DEL),
    S(EPOLL_CTL_MOD),
    S(FIONREAD),
    S(SIOCINQ),
    S(SIOCOUTQ),
    S(SIOCOUTQNSD),
    S(TIOCOUTQ),
    S(FIONBIO),
    S(SIOCATMARK),
    S(MSG_PEEK),
    S(MSG_OOB),
    S(MSG_DONTWAIT),
    S(MSG_MORE),
    S(MSG_NOSIGNAL),
    S(MSG_TRUNC),
    S(MSG_WAITALL),
    S(MSG_ERRQUEUE),
    S(MSG_FASTOPEN),
    S(MSG_ZEROCOPY),
    S(MSG_EOR),
    S(MSG_CTRUNC),
    S(MSG_DONTROUTE),
    S(SOL_SOCKET),
    S(SOL_TCP),
    S(SOL_IP),
    {"SOL_UDP", 17},
    S(SO_REUSEADDR),
    S(SO_REUSEPORT),
    S(SO_KEEPALIVE),
    S(SO_SNDBUF),
    S(SO_RCVBUF),
    S(SO_SNDLOWAT),
    S(SO_RCVLOWAT),
    S(SO_LINGER),
    S(SO_ERROR),
    S(SO_OOBINLINE),
    S(SO_ACCEPTCONN),
    S(SO_PRIORITY),
    S(SO_BROADCAST),
    S(SO_TYPE),
    S(SO_DOMAIN),
    S(SO_PROTOCOL),
    S(SO_TIMESTAMP),
    S(SO_TIMESTAMPING),
    S(SO_ZEROCOPY),
    S(SO_MARK),
    S(SO_INCOMING_CPU),
    S(SO_MAX_PACING_RATE),
    S(SO_SNDTIMEO),
    S(SO_RCVTIMEO),
    S(SO_SNDBUFFORCE),
    S(SO_RCVBUFFORCE),
    S(SO_BUSY_POLL),
    S(TCP_NODELAY),
    S(TCP_MAXSEG),
    S(TCP_CORK),
    S(TCP_KEEPIDLE),
    S(TCP_KEEPINTVL),
    S(TCP_KEEPCNT),
    S(TCP_SYNCNT),
    S(TCP_LINGER2),
    S(TCP_DEFER_ACCEPT),
    S(TCP_WINDOW_CLAMP),
    S(TCP_INFO),
    S(TCP_QUICKACK),
    S(TCP_CONGESTION),
    S(TCP_USER_TIMEOUT),
    S(TCP_FASTOPEN),
    S(TCP_FASTOPEN_CONNECT),
    S(TCP_NOTSENT_LOWAT),
    S(TCP_TIMESTAMP),
    S(TCP_SAVE_SYN),
    S(TCP_SAVED_SYN),
    S(TCP_INQ),
    S(TCP_TX_DELAY),
    S(TCP_REPAIR),
    S(TCP_MD5SIG),
    S(TCP_THIN_LINEAR_TIMEOUTS),
    S(TCP_ZEROCOPY_RECEIVE),
    S(TCP_CM_INQ),
    S(IP_TTL),
    S(IP_TOS),
    S(IP_MTU),
    S(IP_MTU_DISCOVER),
    S(IP_RECVERR),
    S(IP_PKTINFO),
    S(IP_RECVTTL),
    S(IP_RECVTOS),
    S(IP_FREEBIND),
    S(IP_BIND_ADDRESS_NO_PORT),
    S(IP_TRANSPARENT),
    S(IP_PMTUDISC_WANT),
    S(IP_PMTUDISC_DONT),
    S(IP_PMTUDISC_DO),
    S(IP_PMTUDISC_PROBE),
    S(IPV6_V6ONLY),
    S(INADDR_ANY),
    S(TCP_ESTABLISHED),
    S(TCP_SYN_SENT),
    S(TCP_SYN_RECV),
    S(TCP_FIN_WAIT1),
    S(TCP_FIN_WAIT2),
    S(TCP_TIME_WAIT),
    S(TCP_CLOSE),
    S(TCP_CLOSE_WAIT),
    S(TCP_LAST_ACK),
    S(TCP_LISTEN),
    S(TCP_CLOSING),
    S(TCP_CA_Open),
    S(TCP_CA_Disorder),
    S(TCP_CA_CWR),
    S(TCP_CA_Recovery),
    S(TCP_CA_Loss),
    S(TCPI_OPT_TIMESTAMPS),
    S(TCPI_OPT_SACK),
    S(TCPI_OPT_WSCALE),
    S(TCPI_OPT_ECN),
    S(TCPI_OPT_ECN_SEEN),
    S(TCPI_OPT_SYN_DATA),
    S(SO_EE_ORIGIN_LOCAL),
    S(SO_EE_ORIGIN_ICMP),
    S(SO_EE_ORIGIN_ZEROCOPY),
    S(SO_EE_CODE_ZEROCOPY_COPIED),
    {"CMSG_LEVEL_IP", IPPROTO_IP},
    {"CMSG_TYPE_RECVERR", IP_RECVERR},
    {"INFINITE_TIMEOUT", -1},
    {"IP_ECN_NONE", 0},
};

/* The errors that a socket call can give, and some more. */
static const struct symbol errors[] = {
    S(EPERM),        S(ENOENT),       S(EINTR),        S(EIO),
    S(EBADF),        S(EAGAIN),       S(ENOMEM),       S(EACCES),
    S(EFAULT),       S(EBUSY),        S(EEXIST),       S(EINVAL),
    S(ENFILE),       S(EMFILE),       S(EPIPE),        S(EDOM),
    S(ERANGE),       S(EPROTO),       S(ENOTSOCK),     S(EDESTADDRREQ),
    S(EMSGSIZE),     S(EPROTOTYPE),   S(ENOPROTOOPT),  S(EPROTONOSUPPORT),
    S(EOPNOTSUPP),   S(EAFNOSUPPORT), S(EADDRINUSE),   S(EADDRNOTAVAIL),
    S(ENETDOWN),     S(ENETUNREACH),  S(ENETRESET),    S(ECONNABORTED),
    S(ECONNRESET),   S(ENOBUFS),      S(EISCONN),      S(ENOTCONN),
    S(ESHUTDOWN),    S(ETIMEDOUT),    S(ECONNREFUSED), S(EHOSTDOWN),
    S(EHOSTUNREACH), S(EALREADY),     S(EINPROGRESS),  S(ENONET),
    S(ENOSYS),       S(ELOOP),
};

/* Linear: a script has few names. */
static bool find(const struct symbol *t, size_t n, const char *name,
                 int64_t *value) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i].name, name) == 0) {
            *value = t[i].value;
            return true;
        }
    return false;
}

/* Options, flags, states first; then errors. */
bool symbol_value(const char *name, int64_t *value) {
    return find(symbols, sizeof(symbols) / sizeof(symbols[0]), name, value) ||
           find(errors, sizeof(errors) / sizeof(errors[0]), name, value);
}

/* The first name of a number. */
const char *errno_name(int err) {
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].value == err)
            return errors[i].name;
    return "unknown error";
}
