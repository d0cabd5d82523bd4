/* What the simulation and the fuzz targets have found, one test each, reduced
 * to the segments that matter. */
#include <criterion/criterion.h>

#include "tests/traffic/lib_tcp.h"

/* A segment that the peer sends again has an old sequence number and yet the
 * newest ACK. If its window is not taken, the old one slides along with
 * SND.UNA, and more is sent than was ever offered. */
Test(pair_found, window_of_a_retransmission) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 1000});
    conn_send(&c, 3000);
    to_peer(&c, TCP_ACK, 1, 1, 1000);
    from_peer(&c, TCP_ACK, 11, 1, 0); /* bytes 1 to 10 were lost */
    c.wnd = 600;
    from_peer(&c, TCP_ACK | TCP_PSH, 1, 1001, 10);
    to_peer(&c, TCP_ACK, 1001, 11, 600);
    expect_nothing(c.w);
    conn_end(&c);
}

/* Of equal ACKs the larger window counts: frames overtake each other, windows
 * do not shrink. */
Test(pair_found, window_updates_overtake) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 1000});
    conn_send(&c, 1000);
    to_peer(&c, TCP_ACK | TCP_PSH, 1, 1, 1000);
    c.wnd = 2000;
    from_peer(&c, TCP_ACK, 1, 1001, 0);
    c.wnd = 500; /* said earlier */
    from_peer(&c, TCP_ACK, 1, 1001, 0);
    conn_send(&c, 1000);
    to_peer(&c, TCP_ACK | TCP_PSH, 1001, 1, 1000);
    conn_end(&c);
}

/* Fast retransmit with less than a segment in flight sends that again and not
 * a byte of what was never sent. */
Test(pair_found, retransmission_ends_at_snd_nxt) {
    struct conn c = conn_connected(&(struct peer_syn){.wnd = 500});
    conn_opt(&c, STACK_OPT_NODELAY, 1);
    for (uint32_t i = 0; i < 5; i++) {
        conn_send(&c, 100);
        to_peer(&c, TCP_ACK | TCP_PSH, 1 + 100 * i, 1, 100);
    }
    conn_send(&c, 3000); /* the window is full */
    expect_nothing(c.w);
    for (int i = 0; i < 3; i++)
        from_peer(&c, TCP_ACK, 1, 1, 0);
    to_peer(&c, TCP_ACK, 1, 1, 500);
    expect_nothing(c.w);
    conn_end(&c);
}
