/* parting.c: the end of the last process does not wait for the device.
 *
 * Closing a packet socket costs 10 to 17 ms: the kernel waits until no
 * processor can be delivering a frame to it (synchronize_net(), an RCU grace
 * period). A process that ends waits for that in exit, and whoever started it
 * with it: three times as long as all of `curl` takes.
 *
 * So the socket is left to somebody else to close. A descriptor that travels
 * in a unix socket's queue (SCM_RIGHTS, unix(7)) keeps its file alive, and a
 * queue that holds the only reference to its own socket is found and emptied
 * by the kernel's collector, in a worker thread of its own (Linux 6.10; older
 * kernels collect in the process that closes, which then costs what it cost
 * before). Until that happens, some ms later, the socket still gets a copy of
 * each frame for it. So that programs started in a loop do not pile them up,
 * nothing is left behind where many wait already.
 */
#include "preload/share/share.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "netio/sys.h"

#define LEFT_BEHIND 32 /* packet sockets in this network namespace */
#define LINE 60        /* of /proc/net/packet, at least */

/* How many packet sockets there are, as far as it matters. */
static unsigned packet_sockets(void) {
    char buf[LINE * LEFT_BEHIND * 2];
    unsigned lines = 0;
    int fd =
        (int)sys_openat(AT_FDCWD, "/proc/net/packet", O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? fd : sys_read(fd, buf, sizeof(buf));

    for (long i = 0; i < n; i++)
        lines += buf[i] == '\n';
    if (fd >= 0)
        sys_close(fd);
    return lines;
}

void share_part(void) {
    int pair[2];
    union {
        struct cmsghdr hdr;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } ctl;
    char byte = 0;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &ctl,
                       .msg_controllen = sizeof(ctl)};

    if (packet_sockets() > LEFT_BEHIND)
        return; /* then exit waits */
    if (sys_socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    ctl.hdr = (struct cmsghdr){.cmsg_len = CMSG_LEN(2 * sizeof(int)),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS};
    int sent[2] = {self.fd.packet, pair[1]}; /* the queue holds itself */
    memcpy(CMSG_DATA(&ctl.hdr), sent, sizeof(sent));
    /* The pair is left open: when exit closes it, the other references to the
     * packet socket are gone too. Collected earlier, it would be ours again. */
    sys_sendmsg(pair[0], &m, MSG_DONTWAIT);
}
