/* What the trace wrapper prints. */
#include <unistd.h>
#include "netio_build.h"
#include "netio/memwire.h"
#include "netio/text.h"
#include "netio/trace.h"

static struct flat f;

static void shows(const char *want) {
    char buf[512];
    struct iovec iov[3];
    struct netio_frame fr = scatter(&f, iov, f.len > 3 ? 3 : 1);
    size_t n = netio_trace_line(&fr, buf, sizeof(buf));
    cr_expect_str_eq(buf, want);
    cr_expect_eq(n, strlen(want));
}

Test(trace, tcp) {
    build_tcp(&f, 4, 1, 0x10, 0, false);
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [.], seq 1, ack 77, "
          "win 500, options [nop,nop,TS val 1000 ecr 2000], length 0");
    build_tcp(&f, 4, 1, 0x19, 10, true);
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [FP.], seq 1:11, ack "
          "77, win 500, options [nop,nop,TS val 1000 ecr 2000], length 10 "
          "(csum partial)");
    build_tcp(&f, 6, 1, 0x04, 0, false);
    shows("IP6 2001:db8::2.40000 > 2001:db8::1.80: Flags [R], seq 1, win 500, "
          "options [nop,nop,TS val 1000 ecr 2000], length 0");
    build_tcp(&f, 4, 0xffffffffu, 0x18, 2896, true);
    f.meta.gso = NETIO_GSO_TCP4, f.meta.gso_size = 1448;
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [P.], seq "
          "4294967295:2895, ack 77, win 500, options [nop,nop,TS val 1000 ecr "
          "2000], length 2896 (gso 1448)");
}

Test(trace, tcp_options) {
    uint8_t *o = f.b + ETH + 40;
    build_tcp(&f, 4, 9, 0x02, 0, false);
    memcpy(o, "\2\4\5\264\4\2\3\3\7\1\0\0", 12);
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [S], seq 9, win 500, "
          "options [mss 1460,sackOK,wscale 7,nop,eol], length 0");
    memcpy(o, "\1\1\5\12\0\0\0\5\0\0\0\11", 12);
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [S], seq 9, win 500, "
          "options [nop,nop,sack 1 {5:9}], length 0");
    memcpy(o, "\42\4\0\0\1\1\1\1\1\1\1\5", 12);
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [S], seq 9, win 500, "
          "options [unknown-34,nop,nop,nop,nop,nop,nop,nop,bad], length 0");
    memcpy(o, "\2\0\0\0\0\0\0\0\0\0\0\0", 12);
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: Flags [S], seq 9, win 500, "
          "options [bad], length 0");
}

Test(trace, udp_icmp_arp) {
    build_udp(&f, 4, 33, false);
    shows("IP 198.18.0.2.5000 > 198.18.0.1.53: UDP, length 33");
    f.b[ETH + 6] = 0x20;
    shows("IP 198.18.0.2.5000 > 198.18.0.1.53: UDP, length 33 (frag id 65534 "
          "offset 0+)");
    wr16(f.b + ETH + 6, 185);
    shows("IP 198.18.0.2 > 198.18.0.1: proto 17, length 61 (frag id 65534 "
          "offset 1480)");
    build_ip(&f, 4, 1, 64);
    memcpy(f.b + ETH + 20, "\10\0\0\0\0\5\0\3", 8);
    shows("IP 198.18.0.2 > 198.18.0.1: ICMP echo request, id 5, seq 3, "
          "length 64");
    memcpy(f.b + ETH + 20, "\3\4\0\0\0\0\5\170", 8);
    shows("IP 198.18.0.2 > 198.18.0.1: ICMP fragmentation needed, code 4, mtu "
          "1400, length 64");
    build_ip(&f, 6, 58, 32);
    memcpy(f.b + ETH + 40, "\207\0\0\0\0\0\0\0", 8);
    shows("IP6 2001:db8::2 > 2001:db8::1: ICMP6 neighbor solicitation, code "
          "0, length 32");
    build_arp(&f, 1, 0xc6120002, 0xc6120001);
    shows("ARP, Request who-has 198.18.0.1 tell 198.18.0.2");
    build_arp(&f, 2, 0xc6120002, 0xc6120001);
    shows("ARP, Reply 198.18.0.2 is-at 02:00:00:00:00:0a");
}

Test(trace, other_and_broken) {
    build_arp(&f, 1, 1, 2);
    wr16(f.b + 12, 0x88cc);
    shows("02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff, ethertype 0x88cc, length 42");
    wr16(f.b + 12, 0x0806);
    f.len = 30;
    shows("ARP, [|arp]");
    f.len = 10;
    shows("[|ether]");
    build_tcp(&f, 4, 1, 0x10, 0, false);
    f.len = ETH + 20 + 12;
    shows("IP 198.18.0.2.40000 > 198.18.0.1.80: [|tcp]");
    f.len = ETH + 12;
    shows("[|ip] 02:00:00:00:00:0a > 02:00:00:00:00:0b, ethertype 0x0800, "
          "length 26");
}

/* Whatever a frame holds and however small the buffer, the text is bounded. */
Test(trace, random_frames_and_small_buffers) {
    unsigned seed = 3;
    for (int i = 0; i < 100000; i++) {
        char buf[256];
        size_t room = 1 + (size_t)rand_r(&seed) % sizeof(buf);
        f.len = (uint32_t)rand_r(&seed) % 200;
        for (uint32_t k = 0; k < f.len; k++)
            f.b[k] = (uint8_t)rand_r(&seed);
        if (f.len > 60 && i % 3) {
            wr16(f.b + 12, i & 1 ? 0x0800 : 0x86dd);
            f.b[ETH] = i & 1 ? 0x45 : 0x60;
            f.b[ETH + (i & 1 ? 9 : 6)] = (uint8_t[]){6, 17, 1, 58, 0}[i % 5];
        }
        struct iovec iov = {f.b, f.len};
        struct netio_frame fr = {.len = f.len, .niov = 1, .iov = &iov};
        size_t n = netio_trace_line(&fr, buf, room);
        cr_assert_lt(n, room);
        cr_assert_eq(buf[n], 0);
        cr_assert_eq(strlen(buf), n);
    }
}

Test(trace, wrapper_writes_one_line_per_frame) {
    struct netio *end[2];
    int p[2];
    char buf[1024];
    cr_assert_eq(pipe(p), 0);
    cr_assert_eq(netio_memwire_new(end, 1500, 10), 0);
    struct netio *io = netio_trace_new(end[0], p[1]);
    build_arp(&f, 1, 0xc6120002, 0xc6120001);
    cr_assert_eq(tx_flat(io, &f, 1234567890123ull), 1);
    build_arp(&f, 2, 0xc6120001, 0xc6120002);
    tx_flat(end[1], &f, 0);
    cr_assert_eq(netio_deadline(io), 0u);
    cr_assert_eq(rx_flat(io, &f, 5000), 1);
    cr_assert_eq(rx_flat(io, &f, 6000), 0);
    ssize_t n = read(p[0], buf, sizeof(buf) - 1);
    cr_assert_gt(n, 0);
    buf[n] = 0;
    cr_assert_str_eq(buf, "1234.567890 > ARP, Request who-has 198.18.0.1 tell "
                          "198.18.0.2\n"
                          "0.000005 < ARP, Reply 198.18.0.1 is-at "
                          "02:00:00:00:00:0a\n");
    netio_close(io), netio_close(end[1]);
}

Test(text, ipv6_forms) {
    static const struct {
        uint16_t g[8];
        const char *text;
    } t[] = {
        {{0}, "::"},
        {{0, 0, 0, 0, 0, 0, 0, 1}, "::1"},
        {{0x2001, 0xdb8, 0, 0, 1, 0, 0, 1}, "2001:db8::1:0:0:1"},
        {{0x2001, 0xdb8, 0, 1, 1, 1, 1, 1}, "2001:db8:0:1:1:1:1:1"},
        {{0xfe80, 0, 0, 0, 0, 0, 0, 0}, "fe80::"},
        {{1, 2, 3, 4, 5, 6, 7, 8}, "1:2:3:4:5:6:7:8"},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        uint8_t ip[16];
        char buf[64];
        struct text x = text_in(buf, sizeof(buf));
        for (int k = 0; k < 8; k++)
            wr16(ip + 2 * k, t[i].g[k]);
        text_ipv6(&x, ip);
        cr_expect_str_eq(buf, t[i].text);
    }
}
