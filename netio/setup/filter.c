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
 * libpcap compiles the expression. In front of it stand four instructions of
 * our own: a frame of a VLAN arrives with its tag taken off and kept aside by
 * the kernel (packet(7), PACKET_AUXDATA), so it would look like an untagged
 * one; those with a VLAN ID other than 0 are refused. libpcap compiles that
 * test only for live devices.
 *
 * The value returned is a snap length: all ones, because superframes exceed
 * the usual 262,144.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "netio/setup/filter.h"

#define FILTER_SNAPLEN 0x7fffffff

/* Write the expression. addr, bcast: host order. */
static void expression(char *buf, size_t n, const uint8_t m[6], uint32_t a,
                       uint32_t bcast) {
    snprintf(buf, n,
             "(ether dst %02x:%02x:%02x:%02x:%02x:%02x or ether multicast)"
             " and ((arp and (not ether multicast or arp[14:4] = 0x%08x"
             " or arp[24:4] = 0x%08x or arp[14:4] = arp[24:4]))"
             " or (ip and (ip[16:4] = 0x%08x or ip[16:4] = 0x%08x"
             " or ip[16:4] = 0xffffffff or ip[16] & 0xf0 = 0xe0)))",
             m[0], m[1], m[2], m[3], m[4], m[5], a, a, a, bcast);
}

/* The VLAN test: tag control & 0xfff must be 0. */
static void prologue(struct sock_filter *f) {
    const struct sock_filter p[FILTER_PROLOGUE] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    memcpy(f, p, sizeof(p));
}

/* Copy libpcap's program behind the prologue; accepted frames whole. */
static int take_program(struct filter *out, const struct bpf_program *prog) {
    if (prog->bf_len > FILTER_MAX - FILTER_PROLOGUE)
        return -EINVAL;
    prologue(out->insn);
    for (unsigned i = 0; i < prog->bf_len; i++) {
        const struct bpf_insn *b = &prog->bf_insns[i];
        struct sock_filter *f = &out->insn[FILTER_PROLOGUE + i];
        *f = (struct sock_filter){b->code, b->jt, b->jf, b->k};
        if (f->code == (BPF_RET | BPF_K) && f->k)
            f->k = 0xffffffff;
    }
    out->n = FILTER_PROLOGUE + prog->bf_len;
    return 0;
}

int filter_compile(struct filter *out, const uint8_t mac[6],
                   const struct ip_addr *addr, uint8_t prefix_len, char *err,
                   size_t errlen) {
    uint32_t a = ip_to_v4(addr);
    uint32_t host = prefix_len >= 32 ? 0 : 0xffffffffu >> prefix_len;
    struct bpf_program prog;
    char text[512];
    int r = -EINVAL;
    pcap_t *pc = pcap_open_dead(DLT_EN10MB, FILTER_SNAPLEN);

    if (!pc) {
        snprintf(err, errlen, "libpcap: out of memory");
        return -ENOMEM;
    }
    expression(text, sizeof(text), mac, a, a | host);
    if (pcap_compile(pc, &prog, text, 1, PCAP_NETMASK_UNKNOWN) == 0) {
        r = take_program(out, &prog);
        pcap_freecode(&prog);
        if (r < 0)
            snprintf(err, errlen, "the filter is too long");
    } else {
        snprintf(err, errlen, "%s", pcap_geterr(pc));
    }
    pcap_close(pc);
    return r;
}

int filter_attach(int fd, const struct filter *f) {
    struct sock_fprog prog = {
        .len = (unsigned short)f->n,
        .filter = (struct sock_filter *)(uintptr_t)f->insn,
    };
    int one = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ||
        setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)))
        return -errno;
    return 0;
}
