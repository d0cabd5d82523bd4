/* Ping sockets: identifiers, what may be sent, replies, errors. */
#include <errno.h>
#include <string.h>

#include "stack/wire/icmpv4.h"
#include "tests/traffic/lib_one.h"

static struct one o;
static struct sock *so;

static struct sock *ping_socket(void) {
    struct sock *s = NULL;
    cr_assert_eq(stack_socket(o.st, 4, STACK_DGRAM, 1, &s), 0);
    return s;
}
static void setup(void) {
    one_open(&o, 16u << 20);
    so = ping_socket();
}
static void teardown(void) { one_close(&o); }
TestSuite(ping, .init = setup, .fini = teardown);

static ssize_t request(struct sock *s, const char *to, const void *msg,
                       size_t n) {
    struct iovec iov[2] = {{(void *)(uintptr_t)msg, n / 2},
                           {(char *)(uintptr_t)msg + n / 2, n - n / 2}};
    struct stack_msg m = {.has_peer = to != NULL, .ttl = -1, .tos = -1};
    if (to)
        m.peer = one_at(to, 0);
    ssize_t r = stack_send(o.st, s, iov, 2, 0, &m);
    stack_flush(o.st);
    return r;
}

static ssize_t answer(struct sock *s, void *msg, size_t n) {
    struct iovec iov = {msg, n};
    return stack_recv(o.st, s, &iov, 1, 0, NULL);
}

static const uint8_t echo[12] = {8, 0, 1, 2, 3, 4, 0, 5, 'd', 'a', 't', 'a'};

Test(ping, a_reply_with_our_identifier) {
    uint8_t in[64];
    struct endpoint name;
    cr_assert_eq(request(so, ONE_ADDR, echo, 12), 12);
    stack_getsockname(so, &name);
    cr_assert_neq(name.port, 0, "chosen by the first send");
    cr_assert(stack_ready(o.st, so) & STACK_IN);
    cr_assert_eq(answer(so, in, sizeof(in)), 12);
    cr_assert_eq(in[0], ICMP_ECHO_REPLY);
    cr_assert_eq(in[4] << 8 | in[5], name.port, "not what the program wrote");
    cr_assert_eq(memcmp(in + 6, echo + 6, 6), 0);
    cr_assert_eq(answer(so, in, sizeof(in)), -EAGAIN);
}

Test(ping, each_gets_its_own) {
    struct sock *other = ping_socket();
    struct endpoint at = one_at("", 77);
    uint8_t in[64];
    cr_assert_eq(stack_bind(o.st, other, &at), 0);
    cr_assert_eq(stack_bind(o.st, so, &at), -EADDRINUSE);
    cr_assert_eq(request(other, ONE_ADDR, echo, 12), 12);
    cr_assert_eq(answer(so, in, sizeof(in)), -EAGAIN);
    cr_assert_eq(answer(other, in, sizeof(in)), 12);
    cr_assert_eq(in[4] << 8 | in[5], 77);
    stack_close(o.st, other);
    cr_assert_eq(stack_bind(o.st, so, &at), 0, "given back");
    at = one_at("198.18.0.9", 78);
    cr_assert_eq(stack_bind(o.st, ping_socket(), &at), -EADDRNOTAVAIL);
}

Test(ping, only_echo_requests) {
    uint8_t msg[12];
    memcpy(msg, echo, 12);
    cr_assert_eq(request(so, ONE_ADDR, msg, 7), -EINVAL);
    cr_assert_eq(request(so, NULL, msg, 12), -EDESTADDRREQ);
    msg[1] = 1;
    cr_assert_eq(request(so, ONE_ADDR, msg, 12), -EINVAL);
    msg[0] = ICMP_UNREACHABLE, msg[1] = 0;
    cr_assert_eq(request(so, ONE_ADDR, msg, 12), -EINVAL);
    static uint8_t big[65536] = {8};
    cr_assert_eq(request(so, ONE_ADDR, big, 65516), -EMSGSIZE);
    cr_assert_eq(stack_listen(o.st, so, 1), -EOPNOTSUPP);
}

Test(ping, connected) {
    uint8_t in[64];
    struct endpoint to = one_at(ONE_ADDR, 0), peer;
    cr_assert_eq(stack_connect(o.st, so, &to), 0);
    cr_assert_eq(stack_getpeername(so, &peer), 0);
    cr_assert_eq(request(so, NULL, echo, 12), 12);
    cr_assert_eq(answer(so, in, sizeof(in)), 12);
    cr_assert_eq(stack_connect(o.st, so, NULL), 0);
    cr_assert_eq(stack_getpeername(so, &peer), -ENOTCONN);
    cr_assert_eq(request(so, NULL, echo, 12), -EDESTADDRREQ);
}

/* RFC 1122 section 3.2.2: errors reach the socket whose request they quote. */
Test(ping, errors) {
    struct endpoint to = one_at("198.18.0.9", 0);
    uint8_t quote[12];
    struct icmp_error e = {.err = EHOSTUNREACH,
                           .type = ICMP_UNREACHABLE,
                           .code = ICMP_UNREACH_HOST};
    struct ip_addr own = one_ip(ONE_ADDR);
    cr_assert_eq(stack_connect(o.st, so, &to), 0);
    memcpy(quote, echo, 12);
    quote[4] = (uint8_t)(so->local.port >> 8);
    quote[5] = (uint8_t)so->local.port;
    ping_icmp_error(o.st, &own, &to.ip, quote, 12, &e);
    cr_assert_eq(so->error, 0, "not final");
    e.fatal = true;
    ping_icmp_error(o.st, &own, &to.ip, quote, 12, &e);
    cr_assert_eq(request(so, NULL, echo, 12), -EHOSTUNREACH);
    so->recverr = true;
    ping_icmp_error(o.st, &own, &to.ip, quote, 12, &e);
    uint8_t in[64];
    struct iovec iov = {in, sizeof(in)};
    struct stack_msg m;
    cr_assert_eq(stack_recv(o.st, so, &iov, 1, STACK_MSG_ERRQUEUE, &m), 12);
    cr_assert_eq(m.error.err, EHOSTUNREACH);
    cr_assert_eq(memcmp(in, quote, 12), 0);
    quote[5] ^= 1;
    uint64_t before = o.st->sh->count.icmp_error_no_socket;
    ping_icmp_error(o.st, &own, &to.ip, quote, 12, &e);
    cr_assert_eq(o.st->sh->count.icmp_error_no_socket, before + 1);
}

Test(ping, full_buffer_drops_and_counts) {
    cr_assert_eq(stack_setopt(o.st, so, STACK_OPT_RCVBUF, 1), 0);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(request(so, ONE_ADDR, echo, 12), 12);
    cr_assert_gt(o.st->sh->count.drop_ping_rcvbuf, 50);
    stack_close(o.st, so);
    cr_assert(list_empty(&o.st->sh->raw));
}
