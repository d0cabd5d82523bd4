/* kernel.c: settings of the kernel's own stack that concern us.
 *
 * Those of a device are files below /proc/sys/net (Documentation/networking/
 * ip-sysctl.rst in the kernel's sources), of the network namespace of whoever
 * opens them. A file that is not there (no IPv6 in this kernel, say) means that
 * there is nothing to be silenced.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "netio/setup/kernel.h"

#define VIRTIO_HDR_LEN 10
#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Path of one per-device setting of a family (ip-sysctl). */
static void conf_path(char *buf, size_t n, const char *family, const char *dev,
                      const char *name) {
    snprintf(buf, n, "/proc/sys/net/%s/conf/%s/%s", family, dev, name);
}

int kernel_ipv4_conf(const char *dev, const char *name) {
    char path[128], text[16] = "";
    FILE *f;

    conf_path(path, sizeof(path), "ipv4", dev, name);
    f = fopen(path, "re");
    if (!f)
        return 0;
    if (!fgets(text, sizeof(text), f))
        text[0] = 0;
    fclose(f);
    return atoi(text);
}

/* Write one setting, as well as we can. */
static void write_conf(const char *family, const char *dev, const char *name,
                       const char *value) {
    char path[128];
    FILE *f;

    conf_path(path, sizeof(path), family, dev, name);
    f = fopen(path, "we");
    if (!f)
        return;
    fputs(value, f);
    fclose(f);
}

void kernel_silence(const char *dev) {
    write_conf("ipv6", dev, "disable_ipv6", "1");
    write_conf("ipv4", dev, "forwarding", "0");
    write_conf("ipv4", dev, "proxy_arp", "0");
}

int kernel_open_tap(const char *dev) {
    unsigned base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    int len = VIRTIO_HDR_LEN, r = 0;
    struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    /* an existing TAP that nobody holds is taken, another is made */
    snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", dev);
    if (ioctl(fd, TUNSETIFF, &req) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &len) < 0)
        r = -errno;
    /* say that we take superframes and partial checksums, UDP ones if known */
    else if (ioctl(fd, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) < 0 &&
             ioctl(fd, TUNSETOFFLOAD, base) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}
