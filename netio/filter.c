/* filter.c: the kernel filter that lets only our own frames through.
 *
 * Theory of operation
 *
 * The program that uses libstack holds a packet socket without being root, so
 * the socket must not show it other people's traffic. The filter passes, on
 * the link layer, frames to our MAC or to a group (broadcast, multicast), and
 * of those only
 *   - ARP that concerns us: sent to our MAC, about our address (a question, an
 *     answer, or somebody claiming it, RFC 5227 section 2.4), or an
 *     announcement (sender and target address equal), by which a neighbour
 *     tells its new MAC;
 *   - IPv4 to our address, to the limited or the subnet broadcast address, or
 *     to multicast.
 * ARP between other hosts does not wake us.
 *
 * In front of it stands a look at the VLAN tag: the kernel takes it off a frame
 * and keeps it aside (packet(7), PACKET_AUXDATA), so that a tagged frame would
 * look like an untagged one; those with a VLAN ID other than 0 are refused.
 *
 * A load beyond the end of a frame ends the program with 0: frames that are
 * too short are refused without a test. The value returned for the others is
 * a snap length: all ones, because superframes exceed the usual 262,144.
 *
 * libpcap could compile the same from an expression, and a unit test does, to
 * compare. But to load it, with the thirteen libraries behind it, takes longer
 * than all the rest of opening a device, at each start of a program.
 */
#include <errno.h>
#include <sys/socket.h>

#include "netio/filter.h"
#include "netio/frame.h"
#include "netio/sys.h"

/* Positions in the program (classic BPF, kernel's Documentation/networking/
 * filter.rst), in the order of what comes most often. */
enum { TO_US = 8, TO_GROUP = 11, IPV4 = 16, ARP = 22, PASS = 28, DROP, LENGTH };

/* Offsets in a frame */
enum { ETHERTYPE = 12, IP_DST = 30, ARP_SENDER = 28, ARP_TARGET = 38 };

#define LOAD(at, size, offset) [at] = BPF_STMT(BPF_LD | size | BPF_ABS, offset)
/* If the accumulator is (has) k, go on at yes, else at no. */
#define TEST(at, test, k, yes, no)                                             \
    [at] = BPF_JUMP(BPF_JMP | test | BPF_K, k, (yes) - (at)-1, (no) - (at)-1)
#define ELSE(at) ((at) + 1)

void filter_make(struct filter *out, const uint8_t mac[6],
                 const struct ip_addr *addr, uint8_t prefix_len) {
    uint32_t us = ip_to_v4(addr);
    uint32_t subnet = us | (prefix_len >= 32 ? 0 : 0xffffffffu >> prefix_len);
    uint32_t tag = (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG);
    const struct sock_filter program[LENGTH] = {
        LOAD(0, BPF_W, tag),
        [1] = BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff), /* VLAN ID */
        TEST(2, BPF_JEQ, 0, 4, ELSE(2)),
        [3] = BPF_STMT(BPF_RET | BPF_K, 0),

        LOAD(4, BPF_W, 0), /* the destination MAC, in two parts */
        TEST(5, BPF_JEQ, get32(mac), ELSE(5), TO_GROUP),
        LOAD(6, BPF_H, 4),
        TEST(7, BPF_JEQ, get16(mac + 4), TO_US, TO_GROUP),

        LOAD(TO_US, BPF_H, ETHERTYPE),
        TEST(9, BPF_JEQ, FRAME_IPV4, IPV4, ELSE(9)),
        TEST(10, BPF_JEQ, FRAME_ARP, PASS, DROP),

        LOAD(TO_GROUP, BPF_B, 0),
        TEST(12, BPF_JSET, 1, ELSE(12), DROP), /* the group bit, IEEE 802 */
        LOAD(13, BPF_H, ETHERTYPE),
        TEST(14, BPF_JEQ, FRAME_IPV4, IPV4, ELSE(14)),
        TEST(15, BPF_JEQ, FRAME_ARP, ARP, DROP),

        LOAD(IPV4, BPF_W, IP_DST),
        TEST(17, BPF_JEQ, us, PASS, ELSE(17)),
        TEST(18, BPF_JEQ, subnet, PASS, ELSE(18)),
        TEST(19, BPF_JEQ, 0xffffffff, PASS, ELSE(19)),
        [20] = BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0000000),
        TEST(21, BPF_JEQ, 0xe0000000, PASS, DROP), /* multicast */

        LOAD(ARP, BPF_W, ARP_SENDER),
        TEST(23, BPF_JEQ, us, PASS, ELSE(23)),
        [24] = BPF_STMT(BPF_MISC | BPF_TAX, 0),
        LOAD(25, BPF_W, ARP_TARGET),
        TEST(26, BPF_JEQ, us, PASS, ELSE(26)),
        [27] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, PASS - 28, DROP - 28),

        [PASS] = BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
        [DROP] = BPF_STMT(BPF_RET | BPF_K, 0),
    };
    memcpy(out->insn, program, sizeof(program));
    out->n = LENGTH;
}

int filter_attach(int fd, const struct filter *f) {
    struct sock_fprog prog = {
        .len = (unsigned short)f->n,
        .filter = (struct sock_filter *)(uintptr_t)f->insn,
    };
    int one = 1;
    long r =
        sys_setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));

    if (r == 0)
        r = sys_setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one));
    return (int)r;
}
