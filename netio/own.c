/* own.c: a MAC and an address of our own on a link.
 *
 * Address conflict detection as RFC 5227 section 2.1.1 describes it, with one
 * probe and half a millisecond instead of three over several seconds: each
 * start of a program waits for it, and a host on the same LAN answers sooner.
 * One that answers later, also to the announcements which follow, is noticed
 * by the running stack (stack/arp.c, section 2.4).
 */
#include "netio/own.h"

#include <errno.h>

#include "netio/frame.h"
#include "netio/sys.h"

#define PROBE_WAIT 500000u /* ns */
#define ARP_LEN 42u /* Ethernet header and an IPv4 ARP packet (RFC 826) */

/* FNV-1a hash (RFC 9923) of both, so that the same station has the same MAC
 * from run to run and neighbours' ARP caches stay right. */
void own_mac(const uint8_t dev[6], const struct ip_addr *ip, uint8_t out[6]) {
    uint64_t h = 0xcbf29ce484222325ull;

    for (int i = 0; i < 6; i++)
        h = (h ^ dev[i]) * 0x100000001b3ull;
    for (int i = 0; i < 16; i++)
        h = (h ^ ip->b[i]) * 0x100000001b3ull;
    out[0] = 0x02;
    for (int i = 1; i < 6; i++)
        out[i] = (uint8_t)(h >> (8 * i));
    if (!memcmp(out, dev, 6)) /* the device has one of ours already */
        out[5] ^= 1;
}

/* Monotonic time, ns. */
static nstime_t clock_now(void) {
    struct timespec ts;

    sys_clock_gettime(CLOCK_MONOTONIC, &ts);
    return (nstime_t)ts.tv_sec * 1000000000ull + (nstime_t)ts.tv_nsec;
}

/* ARP Probe: sender address 0, target address the one we want. */
static void build_probe(uint8_t p[ARP_LEN], const uint8_t mac[6],
                        const uint8_t want[4]) {
    static const uint8_t fixed[] = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};

    memset(p, 0, ARP_LEN);
    memset(p, 0xff, 6);
    memcpy(p + 6, mac, 6);
    memcpy(p + 12, fixed, sizeof(fixed));
    memcpy(p + 22, mac, 6);
    memcpy(p + 38, want, 4);
}

/* Does this frame say that somebody else has, or is about to take, the
 * address (RFC 5227, 2.1.1, both conditions)? */
static bool is_conflict(const uint8_t *p, uint32_t n, const uint8_t mac[6],
                        const uint8_t want[4]) {
    static const uint8_t none[4];

    /* ours, reflected by something on the way, is no conflict */
    if (n < ARP_LEN || get16(p + 12) != FRAME_ARP || get16(p + 14) != 1 ||
        get16(p + 16) != FRAME_IPV4 || !memcmp(p + 22, mac, 6))
        return false;
    if (!memcmp(p + 28, want, 4))
        return true;
    return get16(p + 20) == 1 && !memcmp(p + 28, none, 4) &&
           !memcmp(p + 38, want, 4);
}

/* Read what is there. 1: conflict, with the owner's MAC; 0; or -errno. */
static int look(struct netio *io, const uint8_t mac[6], const uint8_t want[4],
                uint8_t owner[6]) {
    uint8_t buf[2048];
    struct iovec iov = {buf, sizeof(buf)};
    struct netio_frame f = {.niov = 1, .iov = &iov};
    int r;

    while ((r = netio_rx(io, &f, clock_now())) > 0) {
        if (!is_conflict(buf, f.len, mac, want))
            continue;
        memcpy(owner, buf + 22, 6);
        return 1;
    }
    return r;
}

/* Listen until `until`. */
static int listen_for(struct netio *io, const uint8_t mac[6],
                      const uint8_t want[4], uint8_t owner[6], nstime_t until) {
    struct pollfd pfd = {.fd = io->fd, .events = POLLIN};
    nstime_t now;

    while ((now = clock_now()) < until) {
        struct timespec left = {0, (long)(until - now)};
        sys_ppoll(&pfd, 1, &left, NULL);
        int r = look(io, mac, want, owner);
        if (r)
            return r;
    }
    return 0;
}

int own_probe(struct netio *io, const uint8_t mac[6],
              const struct ip_addr *addr, uint8_t owner[6]) {
    uint8_t p[ARP_LEN];
    struct iovec iov = {p, sizeof(p)};

    build_probe(p, mac, addr->b + 12);
    struct netio_frame f = {.len = ARP_LEN, .niov = 1, .iov = &iov};
    int r = netio_tx(io, &f, 1, clock_now());
    if (r < 0)
        return r;
    r = listen_for(io, mac, addr->b + 12, owner, clock_now() + PROBE_WAIT);
    return r > 0 ? -EADDRINUSE : r;
}
