/* The kernel filter's program, run by libpcap's interpreter on sample frames,
 * and compared with what libpcap compiles from an expression that says the
 * same. (The VLAN test in front of it needs the kernel: test_netio_setup.c.) */
#include <pcap/pcap.h>
#include "netio_build.h"
#include "netio/filter.h"

#define US 0xc6120001u /* 198.18.0.1, as netio_build.h's destination */
#define OTHER 0xc6120002u

static struct filter flt;
static struct flat f;

static void compile(uint8_t prefix) {
    struct ip_addr ip = ip_from_v4(US);
    filter_make(&flt, MAC_B, &ip, prefix);
}

static unsigned run(void) {
    struct bpf_insn insn[FILTER_MAX];
    unsigned n = flt.n - FILTER_PROLOGUE;
    for (unsigned i = 0; i < n; i++) {
        struct sock_filter *s = &flt.insn[FILTER_PROLOGUE + i];
        insn[i] = (struct bpf_insn){s->code, s->jt, s->jf, s->k};
    }
    cr_assert(bpf_validate(insn, (int)n));
    return bpf_filter(insn, f.b, f.len, f.len);
}

static void to_mac(const uint8_t mac[6]) { memcpy(f.b, mac, 6); }
static void to_ip(uint32_t ip) { wr32(f.b + ETH + 16, ip); }
static const uint8_t BROADCAST[6] = {255, 255, 255, 255, 255, 255};
static const uint8_t GROUP[6] = {1, 0, 0x5e, 0, 0, 1};

Test(filter, unicast_ip) {
    compile(24);
    build_tcp(&f, 4, 1, 0x10, 10, false);
    cr_assert_eq(run(), 0xffffffffu, "whole frames, superframes too");
    f.len = 70000;
    cr_assert_eq(run(), 0xffffffffu);
    f.len = 80;
    to_ip(OTHER);
    cr_assert_eq(run(), 0u, "our MAC, another's address");
    to_ip(US);
    to_mac(MAC_A);
    cr_assert_eq(run(), 0u, "our address, another's MAC");
    to_mac(MAC_B);
    wr16(f.b + 12, 0x86dd);
    cr_assert_eq(run(), 0u, "IPv6");
    wr16(f.b + 12, 0x88cc);
    cr_assert_eq(run(), 0u, "LLDP");
}

Test(filter, later_fragments_pass) {
    compile(24);
    build_udp(&f, 4, 100, false);
    wr16(f.b + ETH + 6, 0x00b9);
    cr_assert_neq(run(), 0u);
}

Test(filter, broadcast_ip) {
    compile(24);
    build_udp(&f, 4, 10, false);
    to_mac(BROADCAST);
    to_ip(0xffffffff);
    cr_assert_neq(run(), 0u);
    to_ip(0xc61200ff);
    cr_assert_neq(run(), 0u, "subnet broadcast");
    to_ip(0xc61201ff);
    cr_assert_eq(run(), 0u, "another subnet's");
    to_ip(0xc612ffff);
    cr_assert_eq(run(), 0u);
    compile(16);
    cr_assert_neq(run(), 0u, "with /16 it is ours");
    to_mac(GROUP);
    to_ip(0xe00000fb);
    cr_assert_neq(run(), 0u, "multicast");
    compile(32);
    to_ip(0xc61200ff);
    cr_assert_eq(run(), 0u);
}

Test(filter, arp) {
    compile(24);
    build_arp(&f, 1, OTHER, US);
    cr_assert_neq(run(), 0u, "who has us");
    build_arp(&f, 1, OTHER, 0xc6120009);
    cr_assert_eq(run(), 0u, "who has somebody else");
    to_mac(MAC_B);
    cr_assert_neq(run(), 0u, "asked of us alone");
    build_arp(&f, 2, OTHER, US);
    to_mac(MAC_B);
    cr_assert_neq(run(), 0u, "the answer to us");
    to_mac(MAC_A);
    cr_assert_eq(run(), 0u, "an answer to somebody else");
    build_arp(&f, 1, US, 0xc6120009);
    cr_assert_neq(run(), 0u, "somebody claims our address");
    build_arp(&f, 1, 0, US);
    cr_assert_neq(run(), 0u, "somebody probes for it");
    build_arp(&f, 1, OTHER, OTHER);
    cr_assert_neq(run(), 0u, "an announcement");
}

Test(filter, short_frames_are_refused) {
    compile(24);
    build_tcp(&f, 4, 1, 0x10, 10, false);
    for (f.len = 0; f.len < ETH + 20; f.len++)
        cr_assert_eq(run(), 0u, "%u bytes", f.len);
}

/* libpcap's program for the same filter. */
static void compile_expression(uint8_t prefix, struct bpf_program *out) {
    char text[512];
    pcap_t *pc = pcap_open_dead(DLT_EN10MB, 0x7fffffff);
    snprintf(text, sizeof(text),
             "(ether dst %02x:%02x:%02x:%02x:%02x:%02x or ether multicast)"
             " and ((arp and (not ether multicast or arp[14:4] = 0x%08x"
             " or arp[24:4] = 0x%08x or arp[14:4] = arp[24:4]))"
             " or (ip and (ip[16:4] = 0x%08x or ip[16:4] = 0x%08x"
             " or ip[16:4] = 0xffffffff or ip[16] & 0xf0 = 0xe0)))",
             MAC_B[0], MAC_B[1], MAC_B[2], MAC_B[3], MAC_B[4], MAC_B[5], US, US,
             US, US | (0xffffffffu >> prefix));
    cr_assert_eq(pcap_compile(pc, out, text, 1, PCAP_NETMASK_UNKNOWN), 0, "%s",
                 pcap_geterr(pc));
    pcap_close(pc);
}

/* Each field that the filter looks at takes values that matter, and near
 * ones, in all combinations. */
Test(filter, agrees_with_the_expression) {
    static const uint32_t ips[] = {US,         OTHER,      0xc61200ff,
                                   0xffffffff, 0xe0000001, 0xefffffff,
                                   0xf0000000, 0xdfffffff, 0};
    static const uint16_t types[] = {0x0800, 0x0806, 0x86dd, 0x0801};
    uint8_t near_b[6];
    struct bpf_program want;
    unsigned passed = 0;
    memcpy(near_b, MAC_B, 6);
    near_b[5] ^= 2;
    const uint8_t *macs[] = {MAC_B, near_b, MAC_A, BROADCAST, GROUP};
    compile(24);
    compile_expression(24, &want);
    build_arp(&f, 1, OTHER, US);
    for (unsigned i = 0; i < 5 * 4 * 9 * 9 * 9; i++) {
        to_mac(macs[i % 5]);
        wr16(f.b + 12, types[i / 5 % 4]);
        wr32(f.b + 28, ips[i / 20 % 9]);  /* ARP: sender */
        wr32(f.b + 38, ips[i / 180 % 9]); /* ARP: target */
        if (types[i / 5 % 4] != 0x0806)
            to_ip(ips[i / 1620 % 9]);
        unsigned expected = bpf_filter(want.bf_insns, f.b, f.len, f.len);
        cr_assert_eq(run() != 0, expected != 0, "combination %u", i);
        passed += expected != 0;
    }
    cr_assert_gt(passed, 1000u);
    pcap_freecode(&want);
}
