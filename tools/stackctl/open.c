/* open.c: opening the device, for `stackctl run` and for libstack.so.
 *
 * `stackctl open --socket FD` is started by libstack.so in a program that was
 * run with plain LD_PRELOAD (preload/share/opener.c). It opens, filters and
 * locks the packet socket, sends it over FD with one struct setup_reply, and
 * is gone: the program never holds more than that one locked descriptor.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "preload/share/opener.h"
#include "tools/stackctl/device.h"
#include "tools/stackctl/stackctl.h"

/* A stack for 127/8 alone: in the place of the packet socket, one that nobody
 * is at the other end of. Its own address is the one that RFC 7600 reserves for
 * hosts without any. Needs no privilege. */
static int no_device(const struct settings *s, struct setup_result *out,
                     char *err, size_t errlen) {
    *out = (struct setup_result){
        .packet_fd =
            socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        .dev = "none",
        .mac = {2, 0, 0, 0, 0, 1},
        .mtu = s->mtu ? s->mtu : 65535,
        .addr = ip_from_v4(0xc0000008), /* 192.0.0.8 */
        .prefix_len = 32,
    };
    if (out->packet_fd >= 0)
        return 0;
    int e = -errno;
    snprintf(err, errlen, "socket: %s", strerror(-e));
    return e;
}

int device_open(const struct settings *s, struct setup_result *out, char *err,
                size_t errlen) {
    struct setup_request req;
    int e = settings_complete(s, err, errlen);
    if (e)
        return e;
    if (settings_no_device(s))
        return no_device(s, out, err, errlen);
    memset(&req, 0, sizeof(req));
    memcpy(req.dev, s->dev, sizeof(req.dev));
    memcpy(req.parent, s->parent, sizeof(req.parent));
    req.tap = s->tap[0] != 0;
    if (req.tap)
        memcpy(req.dev, s->tap, sizeof(req.dev));
    memcpy(req.mac, s->mac, sizeof(req.mac));
    req.has_mac = s->has_mac;
    req.addr = s->addr;
    req.prefix_len = s->prefix_len;
    req.gateway = s->gw;
    req.mtu = s->mtu;
    req.has_mtu = s->mtu != 0;
    req.probe = true;
    return setup_open(&req, out, err, errlen);
}

void device_describe(const struct settings *s, const struct setup_result *res,
                     const char *name, struct share_new *out) {
    memset(out, 0, sizeof(*out));
    out->name = name;
    out->packet_fd = res->packet_fd;
    out->arena_size = s->arena;
    memcpy(out->cfg.mac, res->mac, sizeof(res->mac));
    out->cfg.mtu = res->mtu;
    out->cfg.superframe = res->superframe;
    out->cfg.addr = res->addr;
    out->cfg.prefix_len = res->prefix_len;
    out->cfg.gateway = res->gateway;
    out->cfg.tune = s->tune;
}

/* One message, with the packet socket if there is one. */
static int send_reply(int fd, const struct setup_reply *r, int packet_fd) {
    union {
        struct cmsghdr hdr;
        char room[CMSG_SPACE(sizeof(int))];
    } ctl;
    struct iovec iov = {(void *)r, sizeof(*r)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    memset(&ctl, 0, sizeof(ctl));
    if (r->err == 0) {
        m.msg_control = &ctl;
        m.msg_controllen = sizeof(ctl);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &packet_fd, sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(*r) ? 0 : -errno;
}

/* Open and fill in the reply; the result is the packet socket. */
static int open_for_reply(const struct settings *s, struct setup_result *res,
                          struct setup_reply *r) {
    int e;
    if (s->parent[0]) {
        /* Nobody would be left to remove the device. */
        snprintf(r->text, sizeof(r->text),
                 "LIBSTACK_PARENT=%s: only the launcher makes devices: use "
                 "stackrun --parent %s",
                 s->parent, s->parent);
        e = -EINVAL;
    } else {
        e = device_open(s, res, r->text, sizeof(r->text));
    }
    if (e) {
        r->err = -e;
        return -1;
    }
    memcpy(r->dev, res->dev, sizeof(r->dev));
    memcpy(r->mac, res->mac, sizeof(r->mac));
    r->prefix_len = res->prefix_len;
    r->mtu = res->mtu;
    r->superframe = res->superframe;
    r->addr = res->addr;
    r->gw = res->gateway;
    return res->packet_fd;
}

int cmd_open(int argc, char **argv) {
    struct settings s;
    struct setup_result res;
    struct setup_reply r;
    sigset_t none;
    int to = -1, packet = -1;
    memset(&r, 0, sizeof(r));
    for (int i = 1; i < argc;) {
        if (!strncmp(argv[i], "--socket=", 9)) {
            to = atoi(argv[i++] + 9);
            continue;
        }
        int e = option_setting(argc, argv, &i);
        if (e <= 0)
            return e < 0 ? 2 : (option_unknown(argv[i]), 2);
    }
    if (to < 0) {
        complain("open: --socket=FD is missing: libstack.so gives it");
        return 2;
    }
    sigemptyset(&none); /* all were blocked when we were started */
    sigprocmask(SIG_SETMASK, &none, NULL);
    int e = settings_load(&s, environ, r.text, sizeof(r.text));
    if (e)
        r.err = -e;
    else
        packet = open_for_reply(&s, &res, &r);
    e = send_reply(to, &r, packet);
    if (e && packet >= 0)
        setup_remove(&res);
    return e || r.err ? EXIT_SETUP : 0;
}
