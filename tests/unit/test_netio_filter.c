/* The kernel filter's program, run by libpcap's interpreter on sample frames.
 * (The VLAN test in front of it needs the kernel: test_netio_setup.c.) */
#include <pcap/pcap.h>
#include "netio_build.h"
#include "netio/setup/filter.h"

#define US 0xc6120001u /* 198.18.0.1, as netio_build.h's destination */
#define OTHER 0xc6120002u

static struct filter flt;
static struct flat f;

static void compile(uint8_t prefix) {
    char err[256];
    struct ip_addr ip = ip_from_v4(US);
    cr_assert_eq(filter_compile(&flt, MAC_B, &ip, prefix, err, sizeof(err)), 0,
                 "%s", err);
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
