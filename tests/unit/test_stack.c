/* The handle: batch, scratch area, polling, deadlines, link state. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stack/ip.h"
#include "tests/traffic/lib_one.h"

/* An interface that remembers what it was given. */
static struct {
    struct netio io;
    unsigned taken, calls, room; /* room: frames it takes before it is full */
    int tx_error, rx_error;
    uint8_t frame[200][2000];
    uint32_t len[200];
    unsigned rx_left;
    nstime_t deadline;
} dev;

static int dev_tx(struct netio *io, struct netio_frame *f, unsigned n,
                  nstime_t now) {
    unsigned i = 0;
    dev.calls++;
    if (dev.tx_error)
        return dev.tx_error;
    for (; i < n && dev.room; i++, dev.room--) {
        uint32_t at = 0;
        cr_assert_lt(dev.taken, 200);
        for (uint32_t k = 0; k < f[i].niov; k++) {
            memcpy(dev.frame[dev.taken] + at, f[i].iov[k].iov_base,
                   f[i].iov[k].iov_len);
            at += (uint32_t)f[i].iov[k].iov_len;
        }
        cr_assert_eq(at, f[i].len);
        dev.len[dev.taken++] = at;
    }
    return (int)i;
}

/* rx_left frames of a type nobody speaks. */
static int dev_rx(struct netio *io, struct netio_frame *f, nstime_t now) {
    if (dev.rx_error)
        return dev.rx_error;
    if (!dev.rx_left)
        return 0;
    dev.rx_left--;
    size_t room = 0;
    for (uint32_t k = 0; k < f->niov; k++)
        room += f->iov[k].iov_len;
    cr_assert_geq(room, 65536u + 14);
    memset(f->iov->iov_base, 0, 60);
    memcpy(f->iov->iov_base, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
    ((uint8_t *)f->iov->iov_base)[6] = 2;
    ((uint8_t *)f->iov->iov_base)[12] = 0x99;
    f->len = 60;
    return 1;
}

static nstime_t dev_deadline(struct netio *io) { return dev.deadline; }

static const struct netio_ops dev_ops = {.name = "test",
                                         .rx = dev_rx,
                                         .tx = dev_tx,
                                         .deadline = dev_deadline};

static struct one o;
static void setup(void) {
    one_open(&o, 16u << 20);
    memset(&dev, 0, sizeof(dev));
    dev.io.ops = &dev_ops;
    dev.io.mtu = 1500;
    dev.room = 1000;
    dev.deadline = NSTIME_NEVER;
    o.st->io = &dev.io;
}
static void teardown(void) { one_close(&o); }
TestSuite(stack, .init = setup, .fini = teardown);

/* A frame of a header of h bytes and n copied bytes, all of value v. */
static void commit(uint8_t v, unsigned h, unsigned n) {
    static uint8_t d[1536];
    memset(d, v, sizeof(d));
    struct pkt *p = pkt_new(o.st);
    memset(pkt_push(p, h), v, h);
    if (n)
        cr_assert(pkt_copy_payload(o.st, p, d, n));
    tx_commit(o.st, p);
}

static void expect_frame(unsigned i, uint8_t v, uint32_t len) {
    cr_assert_eq(dev.len[i], len, "frame %u: %u", i, dev.len[i]);
    for (uint32_t k = 0; k < len; k++)
        cr_assert_eq(dev.frame[i][k], v, "frame %u byte %u", i, k);
}

Test(stack, frames_leave_in_order_with_the_flush) {
    for (uint8_t i = 0; i < 10; i++)
        commit(i, 34, i * 100);
    cr_assert_eq(dev.taken, 0);
    stack_flush(o.st);
    cr_assert_eq(dev.taken, 10);
    cr_assert_eq(dev.calls, 1);
    for (uint8_t i = 0; i < 10; i++)
        expect_frame(i, i, 34 + i * 100u);
    cr_assert_eq(o.st->sh->count.tx_frames, 10);
    cr_assert_eq(o.st->sh->count.tx_bytes, 340 + 4500);
    stack_flush(o.st);
    cr_assert_eq(dev.calls, 1, "nothing to say");
}

Test(stack, full_batch_leaves_by_itself) {
    for (unsigned i = 0; i < 100; i++)
        commit((uint8_t)i, 14, 1500);
    cr_assert_eq(dev.taken, 96);
    stack_flush(o.st);
    cr_assert_eq(dev.taken, 100);
    for (unsigned i = 0; i < 100; i++)
        expect_frame(i, (uint8_t)i, 1514);
}

Test(stack, what_was_not_committed_is_not_sent) {
    memset(pkt_push(pkt_new(o.st), 20), 1, 20);
    commit(2, 20, 5);
    stack_flush(o.st);
    cr_assert_eq(dev.taken, 1);
    expect_frame(0, 2, 25);
}

Test(stack, copies_append_until_the_room_is_full) {
    static const uint8_t d[1000];
    struct pkt *p = pkt_new(o.st);
    cr_assert(pkt_copy_payload(o.st, p, d, 1000));
    cr_assert(pkt_copy_payload(o.st, p, d, 500));
    cr_assert_eq(p->niov, 1, "one piece");
    cr_assert_eq(p->payload, 1500);
    cr_assert(!pkt_copy_payload(o.st, p, d, 100));
    cr_assert_eq(p->payload, 1500);
}

/* Fragments of a packet share its bytes; the packet's place in the scratch
 * area must survive the flush in between. */
Test(stack, fragments_across_a_flush) {
    uint8_t d[1500];
    memset(d, 0xee, sizeof(d));
    for (unsigned i = 0; i < 31; i++)
        commit((uint8_t)i, 14, 100);
    struct pkt whole = *pkt_new(o.st);
    cr_assert(pkt_copy_payload(o.st, &whole, d, 1500));
    for (unsigned i = 0; i < 3; i++) {
        struct pkt *f = pkt_new(o.st);
        memset(pkt_push(f, 14), 0xee, 14);
        pkt_add_payload(f, (uint8_t *)whole.iov[1].iov_base + i * 500, 500);
        tx_commit(o.st, f);
    }
    for (unsigned i = 0; i < 30; i++)
        commit((uint8_t)i, 14, 1500);
    stack_flush(o.st);
    cr_assert_eq(dev.taken, 64);
    for (unsigned i = 31; i < 34; i++)
        expect_frame(i, 0xee, 514);
    for (unsigned i = 34; i < 64; i++)
        expect_frame(i, (uint8_t)(i - 34), 1514);
}

Test(stack, refused_frames_are_lost_and_counted) {
    dev.room = 3;
    for (uint8_t i = 0; i < 5; i++)
        commit(i, 20, 0);
    stack_flush(o.st);
    cr_assert_eq(dev.taken, 3);
    cr_assert_eq(o.st->sh->count.tx_lost, 2);
    dev.room = 10;
    stack_flush(o.st);
    cr_assert_eq(dev.taken, 3, "not sent again");
    dev.tx_error = -ENETDOWN;
    commit(9, 20, 0);
    stack_flush(o.st);
    cr_assert(!o.st->sh->link_up);
    dev.tx_error = 0;
    commit(9, 20, 0);
    stack_flush(o.st);
    cr_assert(o.st->sh->link_up);
    o.st->io = NULL; /* an observer */
    commit(9, 20, 0);
    stack_flush(o.st);
    cr_assert_eq(o.st->sh->count.tx_lost, 4);
}

Test(stack, poll_takes_its_budget) {
    dev.rx_left = 10;
    cr_assert_eq(stack_poll(o.st, 4), 4);
    cr_assert_eq(stack_poll(o.st, 32), 6);
    cr_assert_eq(stack_poll(o.st, 32), 0);
    cr_assert_eq(o.st->sh->count.rx_frames, 10);
    cr_assert_eq(o.st->sh->count.drop_eth_type, 10);
    dev.rx_error = -ENETDOWN;
    cr_assert_eq(stack_poll(o.st, 32), -ENETDOWN);
    cr_assert(!o.st->sh->link_up);
}

Test(stack, time_never_goes_back) {
    stack_now(o.st, o.now + 5);
    stack_now(o.st, o.now + 3);
    cr_assert_eq(o.st->now, o.now + 5);
    cr_assert_eq(o.st->sh->now, o.now + 5);
}

Test(stack, deadline_is_the_earliest) {
    struct timer t = {0};
    cr_assert_eq(stack_deadline(o.st), NSTIME_NEVER, "nothing is due");
    timer_arm(o.st, &t, TIMER_NONE, o.now + 500);
    cr_assert_eq(stack_deadline(o.st), o.now + 500);
    dev.deadline = o.now + 300;
    cr_assert_eq(stack_deadline(o.st), o.now + 300);
    dev.deadline = o.now + 900;
    cr_assert_eq(stack_deadline(o.st), o.now + 500);
    one_pass(&o, 600);
    stack_poll(o.st, 1);
    cr_assert_eq(stack_deadline(o.st), o.now - 600 + 900);
}

Test(stack, packets_to_ourselves_are_due_now) {
    struct sock *u = one_udp(&o, 4);
    struct endpoint at = one_at("", 7);
    cr_assert_eq(stack_bind(o.st, u, &at), 0);
    struct sock *v = one_udp(&o, 4);
    struct stack_msg m = {.has_peer = true, .ttl = -1, .tos = -1};
    m.peer = one_at(ONE_ADDR, 7);
    struct iovec iov = {"x", 1};
    cr_assert_eq(stack_send(o.st, v, &iov, 1, 0, &m), 1);
    cr_assert_eq(stack_deadline(o.st), o.now);
    cr_assert_eq(one_take(&o, u), 0, "not from inside the call");
    stack_flush(o.st);
    cr_assert_eq(one_take(&o, u), 'x');
    cr_assert_eq(dev.taken, 0, "nothing on the wire");
}

Test(stack, two_handles_one_stack) {
    void *mem = calloc(1, stack_handle_size() + 64);
    struct stack *other = stack_attach(mem, o.base, NULL);
    cr_assert_not_null(other);
    stack_set_app(o.st, o.base);
    cr_assert_eq(stack_app(other), o.base);
    struct stack_link li;
    stack_link_info(other, &li);
    struct ip_addr own = one_ip(ONE_ADDR), gw = one_ip("198.18.0.254");
    cr_assert(ip_equal(&li.addr, &own) && ip_equal(&li.gateway, &gw));
    cr_assert_eq(li.mtu, 1500);
    cr_assert_eq(li.prefix_len, 24);
    o.st->sh->abi++;
    cr_assert_null(stack_attach(mem, o.base, NULL), "another build's");
    free(mem);
}
