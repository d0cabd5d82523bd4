/* The wire in memory. */
#include <errno.h>
#include "netio_build.h"
#include "netio/memwire.h"

static struct flat a, b;
static struct netio *end[2];

static void wire(unsigned limit) {
    cr_assert_eq(netio_memwire_new(end, 1500, limit), 0);
}
static void unwire(void) { netio_close(end[0]), netio_close(end[1]); }

Test(memwire, carries_frames_and_meta_in_order) {
    wire(100);
    cr_assert_eq(netio_deadline(end[1]), NSTIME_NEVER);
    for (uint32_t i = 0; i < 5; i++) {
        build_tcp(&a, 4, i, 0x10, 3000 + i, true);
        a.meta.gso = NETIO_GSO_TCP4, a.meta.gso_size = 1448;
        a.meta.hdr_len = 66;
        cr_assert_eq(tx_flat(end[0], &a, 0), 1);
    }
    cr_assert_eq(netio_deadline(end[1]), 0u);
    cr_assert_eq(netio_deadline(end[0]), NSTIME_NEVER);
    cr_assert_eq(netio_memwire_pending(end[1]), 5u);
    for (uint32_t i = 0; i < 5; i++) {
        build_tcp(&a, 4, i, 0x10, 3000 + i, true);
        cr_assert_eq(rx_flat(end[1], &b, 0), 1);
        cr_assert_eq(b.len, a.len);
        cr_assert_arr_eq(b.b, a.b, a.len);
        cr_assert_eq(b.meta.gso_size, 1448u);
        cr_assert_eq(b.meta.hdr_len, 66u);
        cr_assert_eq(b.meta.csum_offset, 16u);
        cr_assert_eq(b.meta.flags, NETIO_CSUM_PARTIAL);
    }
    cr_assert_eq(rx_flat(end[1], &b, 0), 0);
    cr_assert_eq(rx_flat(end[0], &b, 0), 0);
    cr_assert_eq(end[0]->count.tx_frames, 5u);
    cr_assert_eq(end[1]->count.rx_frames, 5u);
    cr_assert_eq(end[1]->count.rx_bytes, end[0]->count.tx_bytes);
    unwire();
}

Test(memwire, both_directions_are_apart) {
    wire(10);
    build_arp(&a, 1, 1, 2);
    tx_flat(end[0], &a, 0);
    build_arp(&a, 2, 3, 4);
    tx_flat(end[1], &a, 0);
    cr_assert_eq(rx_flat(end[0], &b, 0), 1);
    cr_assert_eq(b.b[ETH + 7], 2);
    cr_assert_eq(rx_flat(end[1], &b, 0), 1);
    cr_assert_eq(b.b[ETH + 7], 1);
    unwire();
}

Test(memwire, bounded_and_counted) {
    wire(3);
    build_arp(&a, 1, 1, 2);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(tx_flat(end[0], &a, 0), 1);
    cr_assert_eq(netio_memwire_pending(end[1]), 3u);
    cr_assert_eq(end[0]->count.tx_queue_full, 2u);
    unwire();
}

Test(memwire, small_room_and_long_frames) {
    uint8_t small[50];
    struct iovec iov = {small, sizeof(small)};
    struct netio_frame f = {.niov = 1, .iov = &iov};
    wire(10);
    build_udp(&a, 4, 100, false);
    tx_flat(end[0], &a, 0);
    build_arp(&a, 1, 1, 2);
    tx_flat(end[0], &a, 0);
    cr_assert_eq(netio_rx(end[1], &f, 0), 1);
    cr_assert_eq(f.len, 42u, "the long one is skipped");
    cr_assert_eq(end[1]->count.rx_too_long, 1u);
    build_udp(&a, 4, 1473, false); /* 1,501 bytes of IP */
    cr_assert_eq(tx_flat(end[0], &a, 0), 1);
    cr_assert_eq(end[0]->count.tx_refused, 1u);
    cr_assert_eq(netio_memwire_pending(end[1]), 0u);
    unwire();
}

Test(memwire, cut_and_mended) {
    wire(10);
    build_arp(&a, 1, 1, 2);
    tx_flat(end[0], &a, 0);
    netio_memwire_set_up(end[0], false);
    cr_assert_eq(tx_flat(end[0], &a, 0), -ENETDOWN);
    cr_assert_eq(rx_flat(end[1], &b, 0), -ENETDOWN);
    cr_assert_eq(netio_deadline(end[1]), NSTIME_NEVER);
    netio_memwire_set_up(end[1], true);
    cr_assert_eq(rx_flat(end[1], &b, 0), 1);
    unwire();
}

Test(memwire, one_end_closed) {
    wire(10);
    build_arp(&a, 1, 1, 2);
    tx_flat(end[0], &a, 0);
    netio_close(end[1]);
    cr_assert_eq(tx_flat(end[0], &a, 0), 1);
    cr_assert_eq(end[0]->count.tx_queue_full, 1u);
    netio_close(end[0]);
}
