/* Link set-up and the packet netio, in a network namespace of the test's own,
 * which ends with the test's process. Needs root; skipped otherwise. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "netio_build.h"
#include "netio/packet.h"
#include "netio/setup/setup.h"
#include "preload/share/opener.h"

#define US 0xc6120002u   /* 198.18.0.2 */
#define PEER 0xc6120001u /* 198.18.0.1, the kernel's */

static struct flat a, b;
static struct setup_request req;
static struct setup_result res;
static char err[256];
static struct netio *io;

/* Run a shell command; it must succeed. */
static void sh(const char *fmt, ...) {
    char cmd[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    cr_assert_eq(system(cmd), 0, "%s", cmd);
}

/* A namespace with a veth pair: ls0 for us, lsk with the kernel's address. */
static void enter(void) {
    if (unshare(CLONE_NEWNET))
        cr_skip_test("needs root");
    sh("ip link set lo up; ip link add ls0 type veth peer name lsk");
    sh("test ! -e /proc/sys/net/ipv6 || echo 1 >"
       "/proc/sys/net/ipv6/conf/all/disable_ipv6");
    sh("ip addr add 198.18.0.1/24 dev lsk; ip link set lsk up");
    req = (struct setup_request){.dev = "ls0", .prefix_len = 24};
    req.addr = ip_from_v4(US);
}

/* Open. The kernel's end of the pair, whose carrier came with ours, takes a
 * moment until it can send. */
static void opened(void) {
    int r = setup_open(&req, &res, err, sizeof(err));
    cr_assert_eq(r, 0, "%d: %s", r, err);
    sh("for i in $(seq 100); do ip -br link show lsk | grep -qv LOWERLAYER && "
       "break; sleep 0.02; done");
    io = netio_packet_new(res.packet_fd, res.mtu);
    cr_assert_not_null(io);
}

static void refused(int code, const char *text) {
    err[0] = 0;
    cr_expect_eq(setup_open(&req, &res, err, sizeof(err)), code);
    cr_expect_str_eq(err, text);
    cr_expect_eq(res.packet_fd, -1);
}

/* Receive the next frame, waiting up to ms. */
static int rx_wait(struct netio *from, int ms) {
    struct pollfd p = {.fd = from->fd, .events = POLLIN};
    poll(&p, 1, ms);
    return rx_flat(from, &b, 0);
}

/* Answer ARP requests for us; true when a frame of this EtherType came. */
static bool answer_until(unsigned type, int ms) {
    for (int i = 0; i < 50; i++) {
        if (rx_wait(io, ms) <= 0)
            return false;
        if (rd16(b.b + 12) == type)
            return true;
        cr_assert_eq(rd16(b.b + 12), 0x0806u);
        build_arp(&a, 2, US, PEER);
        memcpy(a.b, b.b + 6, 6);
        memcpy(a.b + 6, res.mac, 6);
        memcpy(a.b + ETH + 8, res.mac, 6);
        memcpy(a.b + ETH + 18, b.b + 6, 6);
        cr_assert_eq(tx_flat(io, &a, 0), 1);
    }
    return false;
}

/* The kernel pings us once. */
static pid_t ping(void) {
    pid_t pid = fork();
    if (!pid) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execlp("ping", "ping", "-q", "-c1", "-W1", "198.18.0.2", NULL);
        _exit(127);
    }
    return pid;
}

static void kernel_mac(const char *dev, uint8_t mac[6]) {
    struct ifreq r = {0};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    strcpy(r.ifr_name, dev);
    cr_assert_eq(ioctl(fd, SIOCGIFHWADDR, &r), 0, "%s", dev);
    memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    close(fd);
}

/* ---- a device that exists ------------------------------------------------ */

Test(setup, veth_end) {
    uint8_t dev_mac[6], first[6];
    enter();
    req.gateway = ip_from_v4(PEER);
    opened(); /* it was down: it is brought up */
    cr_assert_str_eq(res.dev, "ls0");
    cr_assert_eq(res.ifindex, if_nametoindex("ls0"));
    cr_assert_eq(res.mtu, 1500u);
    /* Linux 6.3 and later let it be raised */
    cr_assert(res.superframe == 65535 || res.superframe == 196607, "%u",
              res.superframe);
    cr_assert(ip_equal(&res.addr, &req.addr));
    cr_assert(ip_equal(&res.gateway, &req.gateway));
    cr_assert(res.brought_up);
    cr_assert_not(res.created);
    kernel_mac("ls0", dev_mac);
    cr_assert_eq(res.mac[0], 2);
    cr_assert_neq(memcmp(res.mac, dev_mac, 6), 0, "a MAC of our own");
    memcpy(first, res.mac, 6);
    netio_close(io);
    cr_assert_eq(setup_remove(&res), 0);
    sh("ip link show ls0 | grep -q DOWN");
    opened();
    cr_assert_arr_eq(first, res.mac, 6, "the same every time");
    netio_close(io);
}

/* The kernel's ping finds us by ARP, its echo request arrives whole, and our
 * answer reaches it. */
static void ping_works(void) {
    int status;
    pid_t pid = ping();
    cr_assert(answer_until(0x0800, 3000));
    cr_assert_arr_eq(b.b, res.mac, 6);
    cr_assert_eq(b.b[ETH + 9], 1, "ICMP");
    memcpy(a.b, b.b, b.len); /* echo reply: swap, change the type */
    a.len = b.len, a.meta = (struct netio_meta){0};
    memcpy(a.b, b.b + 6, 6), memcpy(a.b + 6, res.mac, 6);
    wr32(a.b + ETH + 12, US), wr32(a.b + ETH + 16, PEER);
    a.b[ETH + 20] = 0;
    wr16(a.b + ETH + 22, 0);
    wr16(a.b + ETH + 22, ~plain_sum(a.b + ETH + 20, a.len - ETH - 20, 0));
    cr_assert_eq(tx_flat(io, &a, 0), 1);
    waitpid(pid, &status, 0);
    cr_assert_eq(status, 0, "ping got the answer");
}

Test(setup, kernel_reaches_us) {
    enter();
    opened();
    ping_works();
    netio_close(io);
}

/* Frames for others do not reach us; nor does the VLAN in disguise. */
Test(setup, filter_in_the_kernel) {
    uint8_t mac[6];
    enter();
    opened();
    int fd = netio_packet_socket();
    cr_assert_geq(fd, 0);
    cr_assert_eq(netio_packet_bind(fd, if_nametoindex("lsk")), 0);
    struct netio *peer = netio_packet_new(fd, 1500);
    build_udp(&a, 4, 20, false);
    memcpy(mac, a.b, 6);
    wr32(a.b + ETH + 16, US);
    cr_assert_eq(tx_flat(peer, &a, 0), 1); /* another MAC */
    memcpy(a.b, res.mac, 6);
    wr32(a.b + ETH + 16, US + 7);
    cr_assert_eq(tx_flat(peer, &a, 0), 1); /* another address */
    wr32(a.b + ETH + 16, US);
    memmove(a.b + 16, a.b + 12, a.len - 12);
    wr16(a.b + 12, 0x8100), wr16(a.b + 14, 5);
    a.len += 4;
    cr_assert_eq(tx_flat(peer, &a, 0), 1); /* VLAN 5 */
    cr_assert_eq(rx_wait(io, 50), 0);
    wr16(a.b + 14, 0xe000);
    cr_assert_eq(tx_flat(peer, &a, 0), 1); /* VLAN 0: priority only */
    cr_assert_eq(rx_wait(io, 500), 1);
    build_udp(&a, 4, 20, false);
    memcpy(a.b, res.mac, 6);
    wr32(a.b + ETH + 16, US);
    cr_assert_eq(tx_flat(peer, &a, 0), 1);
    cr_assert_eq(rx_wait(io, 500), 1);
    cr_assert_eq(b.len, a.len);
    cr_assert_arr_eq(a.b, b.b, a.len);
    cr_assert_eq(rx_wait(io, 20), 0, "our own frames are not shown either");
    struct sock_fprog none = {0};
    cr_assert_lt(setsockopt(io->fd, SOL_SOCKET, SO_DETACH_FILTER, &none,
                            sizeof(none)),
                 0, "the filter is locked");
    cr_assert_eq(errno, EPERM);
    netio_close(io), netio_close(peer);
}

/* The kernel connects to a port of ours and we keep silent: nobody else may
 * answer for us, so the SYN comes again and the connection stays open. */
static void kernel_keeps_silent(void) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(81),
                             .sin_addr.s_addr = htonl(US)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), e = 0;
    socklen_t len = sizeof(e);
    cr_assert_lt(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    cr_assert_eq(errno, EINPROGRESS);
    cr_assert(answer_until(0x0800, 1000), "the SYN");
    cr_assert_eq(b.b[ETH + 33], 2);
    cr_assert(answer_until(0x0800, 2500), "and again");
    cr_assert_eq(b.b[ETH + 33], 2);
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len), 0);
    cr_assert_eq(e, 0, "neither refused nor unreachable");
    close(fd);
}

Test(setup, kernel_silent_with_our_mac) {
    enter();
    opened();
    kernel_keeps_silent();
    netio_close(io);
}

Test(setup, kernel_silent_with_shared_mac) {
    enter();
    sh("ip link set ls0 up; ip link add lm0 link ls0 type macvlan mode bridge");
    strcpy(req.dev, "lm0");
    opened();
    kernel_keeps_silent();
    netio_close(io);
}

/* ---- superframes through the kernel -------------------------------------- */

/* The kernel sends bulk to us: superframes with partial checksums arrive, with
 * meta that lets netio_segment make sense of them. */
static int kernel_listener(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(listen(fd, 5), 0);
    return fd;
}

/* Send one TCP frame of ours to the kernel, checksum left to the device. */
static void send_tcp(uint32_t seq, uint32_t ack, uint8_t flags,
                     uint32_t payload, uint16_t gso_size) {
    build_tcp(&a, 4, seq, flags, payload, true);
    kernel_mac("lsk", a.b);
    memcpy(a.b + 6, res.mac, 6);
    wr32(a.b + ETH + 28, ack);
    wr16(a.b + ETH + 34, 65000);
    if (!(flags & 2))
        memset(a.b + ETH + 40, 1, 12); /* no options: NOPs */
    else
        memcpy(a.b + ETH + 40, "\2\4\5\264\1\3\3\7\1\1\1\1", 12);
    if (gso_size) {
        a.meta.gso = NETIO_GSO_TCP4;
        a.meta.gso_size = gso_size;
        a.meta.hdr_len = ETH + 52;
    }
    cr_assert_eq(tx_flat(io, &a, 0), 1);
}

Test(setup, superframes_both_ways) {
    uint32_t iss;
    static char data[40000];
    enter();
    opened();
    int lfd = kernel_listener();
    send_tcp(100, 0, 0x02, 0, 0);
    cr_assert(answer_until(0x0800, 1000));
    cr_assert_eq(b.b[ETH + 33], 0x12, "SYN-ACK");
    iss = rd32(b.b + ETH + 24);
    send_tcp(101, iss + 1, 0x10, 0, 0);
    int fd = accept(lfd, NULL, NULL);
    cr_assert_geq(fd, 0);
    /* ours to the kernel: 40,000 bytes in one frame */
    send_tcp(101, iss + 1, 0x18, 40000, 1400);
    size_t have = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (have < sizeof(data) && poll(&p, 1, 1000) > 0) {
        ssize_t n = recv(fd, data + have, sizeof(data) - have, 0);
        cr_assert_gt(n, 0);
        have += (size_t)n;
    }
    cr_assert_eq(have, sizeof(data));
    static uint8_t want[40000];
    pattern(want, sizeof(want), 0);
    cr_assert_arr_eq(data, want, sizeof(want));
    /* the kernel's to us: some frame must be a superframe */
    cr_assert_eq(send(fd, data, sizeof(data), 0), (ssize_t)sizeof(data));
    bool super = false;
    for (int i = 0; i < 20 && !super; i++)
        if (rx_wait(io, 200) > 0 && b.meta.gso == NETIO_GSO_TCP4) {
            super = true;
            cr_assert_eq(b.meta.flags, NETIO_CSUM_PARTIAL);
            cr_assert_eq(b.meta.csum_start, ETH + 20);
            cr_assert_eq(b.meta.csum_offset, 16);
            cr_assert_eq(b.meta.gso_size, 1460);
            cr_assert_gt(b.len, 3000u);
        }
    cr_assert(super);
    close(fd), close(lfd);
    netio_close(io);
}

/* ---- the packet netio's own rules ---------------------------------------- */

Test(setup, refused_frames_are_skipped) {
    struct netio_frame f[3];
    struct iovec iov[3];
    static struct flat s[3];
    enter();
    opened();
    build_udp(&s[0], 4, 20, false);
    build_udp(&s[1], 4, 3000, false); /* longer than the MTU, not GSO */
    build_udp(&s[2], 4, 30, false);
    for (int i = 0; i < 3; i++)
        f[i] = scatter(&s[i], &iov[i], 1);
    cr_assert_eq(netio_tx(io, f, 3, 0), 3);
    cr_assert_eq(io->count.tx_refused, 1u);
    cr_assert_eq(io->count.tx_frames, 2u);
    sh("ip link set ls0 down");
    cr_assert_eq(netio_tx(io, f, 3, 0), -ENETDOWN);
    cr_assert_eq(netio_rx(io, f, 0), -ENETDOWN);
    sh("ip link set ls0 up");
    cr_assert_eq(netio_tx(io, f, 1, 0), 1);
    sh("ip link del ls0");
    cr_assert_eq(netio_tx(io, f, 1, 0), -ENETDOWN);
    netio_close(io);
}

/* A short queue in front of a slow line: frames are lost, counted, and the
 * call does not stop. */
Test(setup, full_device_queue) {
    struct netio_frame f[40];
    struct iovec iov[40];
    enter();
    opened();
    if (system("tc qdisc add dev ls0 root tbf rate 1mbit burst 2000 limit "
               "6000 2>/dev/null"))
        cr_skip_test("no tbf");
    build_udp(&a, 4, 1400, false);
    for (int i = 0; i < 40; i++)
        f[i] = scatter(&a, &iov[i], 1);
    cr_assert_eq(netio_tx(io, f, 40, 0), 40);
    cr_assert_geq(io->count.tx_queue_full, 30u);
    cr_assert_eq(io->count.tx_queue_full + io->count.tx_frames, 40u);
    cr_assert_eq(io->count.tx_waits, 0u);
    netio_close(io);
}

/* A full send buffer is waited for, but not for ever. */
Test(setup, full_send_buffer) {
    struct netio_frame f[40];
    struct iovec iov[40];
    struct timespec t0, t1;
    int small = 4000;
    enter();
    opened();
    if (system("tc qdisc add dev ls0 root tbf rate 100kbit burst 2000 limit "
               "1000000 2>/dev/null"))
        cr_skip_test("no tbf");
    setsockopt(io->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    build_udp(&a, 4, 1400, false);
    for (int i = 0; i < 40; i++)
        f[i] = scatter(&a, &iov[i], 1);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    int r = netio_tx(io, f, 40, 0);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    cr_assert(r > 0 && r < 40, "%d", r);
    cr_assert_eq(io->count.tx_frames, (uint64_t)r);
    cr_assert_gt(io->count.tx_waits, 0u);
    cr_assert_eq(io->count.tx_queue_full, 0u);
    double ms = (double)(t1.tv_sec - t0.tv_sec) * 1e3 +
                (double)(t1.tv_nsec - t0.tv_nsec) / 1e6;
    cr_assert(ms > 10 && ms < 500, "%g ms", ms);
    netio_close(io);
}

Test(setup, room_too_small_for_a_frame) {
    uint8_t small[60];
    struct iovec iov = {small, sizeof(small)};
    struct netio_frame f = {.niov = 1, .iov = &iov};
    enter();
    opened();
    int fd = netio_packet_socket();
    cr_assert_eq(netio_packet_bind(fd, if_nametoindex("lsk")), 0);
    struct netio *peer = netio_packet_new(fd, 1500);
    build_udp(&a, 4, 200, false);
    memcpy(a.b, res.mac, 6);
    wr32(a.b + ETH + 16, US);
    tx_flat(peer, &a, 0);
    build_arp(&a, 1, PEER, US);
    tx_flat(peer, &a, 0);
    struct pollfd p = {.fd = io->fd, .events = POLLIN};
    poll(&p, 1, 500);
    cr_assert_eq(netio_rx(io, &f, 0), 1);
    cr_assert_eq(f.len, 42u);
    cr_assert_eq(io->count.rx_too_long, 1u);
    netio_close(io), netio_close(peer);
}

/* A UDP superframe arrives as equal datagrams, cut by the kernel or by us. */
Test(setup, udp_superframe) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
    char buf[2000];
    enter();
    opened();
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    build_udp(&a, 4, 2500, true);
    kernel_mac("lsk", a.b);
    memcpy(a.b + 6, res.mac, 6);
    a.meta.gso = NETIO_GSO_UDP, a.meta.gso_size = 1000;
    a.meta.hdr_len = ETH + 28;
    cr_assert_eq(tx_flat(io, &a, 0), 1);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(poll(&p, 1, 1000), 1);
        cr_assert_eq(recv(fd, buf, sizeof(buf), 0), i < 2 ? 1000 : 500);
    }
    netio_close(io);
    close(fd);
}

/* ---- devices made for us ------------------------------------------------- */

Test(setup, macvlan) {
    uint8_t mac[6];
    enter();
    sh("ip link set ls0 up");
    req.dev[0] = 0;
    strcpy(req.parent, "ls0");
    req.mtu = 1400, req.has_mtu = true;
    opened();
    cr_assert(res.created);
    cr_assert_eq(res.mtu, 1400u);
    kernel_mac(res.dev, mac);
    cr_assert_arr_eq(mac, res.mac, 6, "a macvlan has our MAC");
    sh("ip -d link show %s | grep -q 'macvlan mode bridge'", res.dev);
    ping_works();
    netio_close(io);
    cr_assert_eq(setup_remove(&res), 0);
    cr_assert_eq(if_nametoindex(res.dev), 0u);
    cr_assert_eq(setup_remove(&res), 0, "gone already is fine");
}

Test(setup, veth_pair) {
    enter();
    strcpy(req.dev, "lsa"), strcpy(req.veth_peer, "lsb");
    opened();
    cr_assert(res.created);
    cr_assert_neq(if_nametoindex("lsb"), 0u);
    netio_close(io);
    cr_assert_eq(setup_remove(&res), 0);
    cr_assert_eq(if_nametoindex("lsa"), 0u);
    cr_assert_eq(if_nametoindex("lsb"), 0u);
}

Test(setup, tap) {
    enter();
    if (access("/dev/net/tun", R_OK))
        cr_skip_test("no /dev/net/tun");
    sh("ip addr flush dev lsk");
    strcpy(req.dev, "lst"), req.tap = true;
    opened();
    cr_assert(ip_equal(&res.gateway, &(struct ip_addr){0}) == false);
    sh("ip addr show dev lst | grep -q 198.18.0.1/24");
    sh("ip link show dev lst | grep -q noqueue");
    ping_works();
    netio_close(io);
    cr_assert_eq(if_nametoindex("lst"), 0u, "it goes with its descriptor");
}

Test(setup, bridge_with_own_mac) {
    enter();
    sh("ip link add br7 type bridge; ip link set ls0 master br7 up");
    strcpy(req.dev, "br7");
    opened();
    ping_works();
    netio_close(io);
}

Test(setup, mac_of_the_users_choice) {
    static const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};
    enter();
    memcpy(req.mac, mac, 6), req.has_mac = true;
    opened();
    cr_assert_arr_eq(res.mac, mac, 6);
    netio_close(io);
}

/* ---- what goes wrong ----------------------------------------------------- */

Test(setup, errors_of_the_request) {
    enter();
    strcpy(req.dev, "lan9");
    refused(-ENODEV, "lan9: no such device: \"ip link\" lists them");
    strcpy(req.dev, "lo");
    refused(-EINVAL, "lo: not an Ethernet device: choose one that \"ip link\" "
                     "shows as link/ether");
    strcpy(req.dev, "ls0");
    req.addr = IP_ANY;
    refused(-EINVAL, "no address given: the stack needs one of its own: "
                     "--addr 192.0.2.7/24");
    req.addr = ip_from_v4(US & ~0xffu);
    refused(-EINVAL, "198.18.0.0/24: not the address of a host: choose a "
                     "free one of that network");
    req.addr = ip_from_v4(US);
    req.prefix_len = 0;
    refused(-EINVAL, "198.18.0.2/0: the prefix length must be 1..32: for "
                     "example /24");
    req.prefix_len = 24;
    req.gateway = ip_from_v4(0xc6130001);
    refused(-EINVAL, "gateway 198.19.0.1: not in the network of "
                     "198.18.0.2/24: check both");
    req.gateway = req.addr;
    refused(-EINVAL, "gateway 198.18.0.2: the same as our own address: check "
                     "both");
    req.gateway = IP_ANY;
    req.has_mtu = true, req.mtu = 100;
    refused(-EINVAL, "mtu 100: must be 576..65535: leave it out for the "
                     "device's");
    req.mtu = 9000;
    refused(-EINVAL, "mtu 9000: more than the 1500 of ls0: choose less or "
                     "\"ip link set ls0 mtu 9000\"");
    req.has_mtu = false;
    req.has_mac = true;
    refused(-EINVAL, "00:00:00:00:00:00: not the MAC of a station: for "
                     "example 02:00:00:00:00:07");
    req.has_mac = false;
    req.dev[0] = 0;
    refused(-EINVAL, "no device given: name one with --dev, or --parent for "
                     "a macvlan of its own: \"ip link\" lists them");
    strcpy(req.dev, "x"), strcpy(req.parent, "ls0"), req.tap = true;
    refused(-EINVAL, "macvlan parent, veth peer and TAP exclude each other: "
                     "give one");
}

Test(setup, errors_of_the_system) {
    enter();
    req.addr = ip_from_v4(PEER);
    refused(-EADDRINUSE, "198.18.0.1: address in use by the kernel on lsk: "
                         "choose another or \"ip addr del 198.18.0.1 dev "
                         "lsk\"");
    req.addr = ip_from_v4(US);
    strcpy(req.parent, "ls0"), strcpy(req.dev, "lsk");
    refused(-ENETDOWN, "ls0: is down: \"ip link set ls0 up\"");
    sh("ip link set ls0 up");
    refused(-EEXIST, "lsk: a device of that name exists: choose another name "
                     "or \"ip link del lsk\"");
    req.parent[0] = 0;
    sh("ip link add br8 type bridge; ip link set ls0 master br8");
    strcpy(req.dev, "ls0");
    refused(-EBUSY, "ls0: is a port of a bridge or bond: use that as "
                    "--parent, or a device of its own");
    sh("ip link set ls0 nomaster; ip link add lm0 link ls0 type macvlan");
    sh("echo 1 >/proc/sys/net/ipv4/conf/lm0/forwarding");
    strcpy(req.dev, "lm0");
    refused(-EBUSY,
            "lm0: the kernel forwards packets there and would answer for us: "
            "use \"--parent lm0\", or \"sysctl "
            "net.ipv4.conf.lm0.forwarding=0\"");
    sh("cd /proc/sys/net/ipv4/conf/lm0; echo 0 >forwarding; echo 1 "
       ">proxy_arp");
    refused(-EBUSY, "lm0: the kernel answers ARP for others there: \"sysctl "
                    "net.ipv4.conf.lm0.proxy_arp=0\"");
}

Test(setup, without_privileges) {
    enter();
    sh("ip link set ls0 up");
    cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    refused(-EPERM, "opening a packet socket needs CAP_NET_RAW: run as root "
                    "or through stackrun under sudo");
    strcpy(req.parent, "ls0"), strcpy(req.dev, "lsx");
    refused(-EPERM, "lsx: creating a macvlan needs CAP_NET_ADMIN: run as root "
                    "or through stackrun under sudo");
}

Test(setup, down_and_not_ours_to_change) {
    enter();
    cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    refused(-ENETDOWN, "ls0: is down and we may not change it: \"ip link set "
                       "ls0 up\"");
}

/* Somebody on the LAN has the address (here a second kernel, in a namespace
 * behind a bridge that the first one's end is part of). */
Test(setup, address_taken_on_the_lan) {
    char want[160];
    uint8_t mac[6];
    enter();
    sh("ip link set ls0 up; ip addr flush dev lsk");
    sh("ip link add lsp link lsk type macvlan mode bridge; ip link set lsp up");
    kernel_mac("lsp", mac);
    pid_t pid = fork();
    if (!pid) { /* a host with that address, and nothing else */
        if (unshare(CLONE_NEWNET))
            _exit(1);
        pause();
        _exit(0);
    }
    usleep(100000);
    sh("ip link set lsp netns %d", pid);
    sh("nsenter -t %d -n sh -c 'ip addr add 198.18.0.2/24 dev lsp; ip link "
       "set lsp up'",
       pid);
    req.probe = true;
    snprintf(want, sizeof(want),
             "198.18.0.2: address in use by %02x:%02x:%02x:%02x:%02x:%02x on "
             "ls0: choose another",
             mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    refused(-EADDRINUSE, want);
    req.addr = ip_from_v4(US + 1);
    opened();
    netio_close(io);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- the quick way (preload/share/lean.c) ------------------------------- */

static struct settings lean;
static struct share_new made;

static bool lean_opens(void) {
    strcpy(lean.dev, "ls0");
    lean.has_addr = true;
    lean.addr = req.addr;
    lean.prefix_len = req.prefix_len;
    return lean_open(&lean, &made);
}

Test(setup, the_quick_way_finds_the_same) {
    enter();
    opened(); /* sets the device up */
    netio_close(io);
    cr_assert(lean_opens());
    cr_expect_arr_eq(made.cfg.mac, res.mac, 6);
    cr_expect_eq(made.cfg.mtu, res.mtu);
    cr_expect(ip_equal(&made.cfg.addr, &res.addr));
    cr_expect_eq(made.cfg.prefix_len, res.prefix_len);
    io = netio_packet_new(made.packet_fd, made.cfg.mtu);
    pid_t pid = ping();
    cr_expect(answer_until(0x0800, 1000), "the kernel's echo request");
    waitpid(pid, NULL, 0);
    netio_close(io);
}

/* Everything that is not plain is stackctl's, which has the words for it. */
Test(setup, the_quick_way_leaves_the_rest) {
    enter();
    cr_expect_not(lean_opens(), "down");
    opened();
    netio_close(io);
    sh("ip addr add 198.18.0.2/24 dev lsk");
    cr_expect_not(lean_opens(), "the kernel has the address");
    sh("ip addr del 198.18.0.2/24 dev lsk");
    lean.has_mac = true;
    cr_expect_not(lean_opens(), "a MAC asked for");
    lean.has_mac = false;
    lean.gw = ip_from_v4(0xc6130001);
    cr_expect_not(lean_opens(), "a gateway that is no neighbour");
    lean.gw = IP_ANY;
    sh("ip link add lsb type bridge; ip link set ls0 master lsb");
    cr_expect_not(lean_opens(), "a bridge's port");
    sh("ip link set ls0 nomaster");
    cr_assert(lean_opens());
    close(made.packet_fd);
    cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    cr_expect_not(lean_opens(), "no privilege");
}
