/* Interfaces: getifaddrs and the SIOCG* questions about the stack's link. */
// differs: ^mac: the stack has an Ethernet address of its own
#include "t.h"

#include <ifaddrs.h>
#include <linux/sockios.h>
#include <net/if.h>

static void list(void) {
    struct ifaddrs *all = NULL;
    section("getifaddrs");
    SHOW(getifaddrs(&all));
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        char a[64] = "", m[64] = "", b[64] = "";
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
            continue;
        struct sockaddr_in *in = (void *)i->ifa_addr;
        inet_ntop(AF_INET, &in->sin_addr, a, sizeof(a));
        in = (void *)i->ifa_netmask;
        inet_ntop(AF_INET, &in->sin_addr, m, sizeof(m));
        in = (void *)i->ifa_broadaddr;
        if (in && i->ifa_flags & IFF_BROADCAST)
            inet_ntop(AF_INET, &in->sin_addr, b, sizeof(b));
        printf("%s %s %s %s up %d\n", i->ifa_name, a, m,
               strcmp(b, "0.0.0.0") ? "broadcast" : "none",
               !!(i->ifa_flags & IFF_UP));
    }
    freeifaddrs(all);
    freeifaddrs(NULL);
    printf("index %d\n", if_nametoindex("ipt0") > 0);
    char name[IF_NAMESIZE];
    printf("name %s\n", if_indextoname(if_nametoindex("ipt0"), name));
    struct if_nameindex *ni = if_nameindex();
    for (int i = 0; ni[i].if_index; i++)
        printf("nameindex %s\n", ni[i].if_name);
    if_freenameindex(ni);
}

static void question(int fd, const char *what, unsigned long req) {
    struct ifreq r = {0};
    strcpy(r.ifr_name, "ipt0");
    if (show(what, ioctl(fd, req, &r)) < 0)
        return;
    struct sockaddr_in *in = (void *)&r.ifr_addr;
    if (req == SIOCGIFADDR || req == SIOCGIFNETMASK)
        printf("%s\n", inet_ntoa(in->sin_addr));
    else if (req == SIOCGIFMTU)
        printf("%d\n", r.ifr_mtu);
    else if (req == SIOCGIFFLAGS)
        printf("up %d\n", r.ifr_flags & IFF_UP);
    else if (req == SIOCGIFHWADDR)
        printf("mac %02x\n", (unsigned char)r.ifr_hwaddr.sa_data[5]);
}

static void questions(int fd) {
    question(fd, "SIOCGIFADDR", SIOCGIFADDR);
    question(fd, "SIOCGIFNETMASK", SIOCGIFNETMASK);
    question(fd, "SIOCGIFHWADDR", SIOCGIFHWADDR);
    question(fd, "SIOCGIFFLAGS", SIOCGIFFLAGS);
    question(fd, "SIOCGIFMTU", SIOCGIFMTU);
    question(fd, "SIOCGIFINDEX", SIOCGIFINDEX);
    question(fd, "SIOCGIFMETRIC", SIOCGIFMETRIC);
    struct ifreq r = {0};
    strcpy(r.ifr_name, "nosuch0");
    SHOW(ioctl(fd, SIOCGIFADDR, &r));
    char buf[4096];
    struct ifconf c = {.ifc_len = sizeof(buf), .ifc_buf = buf};
    SHOW(ioctl(fd, SIOCGIFCONF, &c));
    for (int i = 0; i < c.ifc_len / (int)sizeof(r); i++) {
        memcpy(&r, buf + i * sizeof(r), sizeof(r));
        struct sockaddr_in *in = (void *)&r.ifr_addr;
        printf("conf %s %s\n", r.ifr_name, inet_ntoa(in->sin_addr));
    }
    struct ifconf ask = {0};
    SHOW(ioctl(fd, SIOCGIFCONF, &ask));
    printf("length %d\n", ask.ifc_len == c.ifc_len);
    struct timeval tv;
    SHOW(ioctl(fd, SIOCGSTAMP, &tv));
    SHOW(ioctl(fd, 0x89ff, &tv));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    list();
    int fd = tcp();
    section("TCP");
    questions(fd);
    close(fd);
    fd = udp();
    section("UDP");
    questions(fd);
    close(fd);
    list(); /* with a running stack */
    return 0;
}
