/* lib_one.c: see lib_one.h. */
#include "tests/traffic/lib_one.h"

#include <arpa/inet.h>
#include <sys/mman.h>

void one_open(struct one *o, size_t size) {
    struct stack_config cfg = {
        .mac = {2, 0, 0, 0, 0, 1},
        .mtu = 1500,
        .addr = one_ip(ONE_ADDR),
        .prefix_len = 24,
        .gateway = one_ip("198.18.0.254"),
        .now = 1000 * ONE_SEC,
    };
    for (unsigned i = 0; i < sizeof(cfg.seed); i++)
        cfg.seed[i] = (uint8_t)(i * 7 + 1);
    o->size = size;
    o->now = cfg.now;
    o->base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_neq(o->base, MAP_FAILED);
    cr_assert_eq(stack_create(o->base, size, &cfg), 0);
    void *mem = mmap(NULL, stack_handle_size(), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(mem, MAP_FAILED);
    o->st = stack_attach(mem, o->base, NULL);
    cr_assert_not_null(o->st);
    stack_now(o->st, o->now);
}

void one_close(struct one *o) {
    munmap(o->st, stack_handle_size());
    munmap(o->base, o->size);
}

void one_pass(struct one *o, nstime_t ns) {
    o->now += ns;
    stack_now(o->st, o->now);
}

struct ip_addr one_ip(const char *text) {
    struct in_addr a;
    if (!*text)
        return IP_ANY;
    cr_assert_eq(inet_pton(AF_INET, text, &a), 1, "bad address %s", text);
    return ip_from_v4(ntohl(a.s_addr));
}

struct endpoint one_at(const char *text, uint16_t port) {
    return (struct endpoint){.ip = one_ip(text), .port = port};
}

static struct sock *make(struct one *o, int family, enum stack_type type) {
    struct sock *so = NULL;
    int rc = stack_socket(o->st, family, type, 0, &so);
    cr_assert_eq(rc, 0, "stack_socket: %d", rc);
    return so;
}

struct sock *one_tcp(struct one *o, int family) {
    return make(o, family, STACK_STREAM);
}

struct sock *one_udp(struct one *o, int family) {
    return make(o, family, STACK_DGRAM);
}

void one_give(struct one *o, struct sock *udp, char byte) {
    struct sock *from = one_udp(o, 4);
    struct iovec iov = {&byte, 1};
    struct stack_msg m = {.has_peer = true, .ttl = -1, .tos = -1};
    m.peer = one_at(ONE_ADDR, udp->local.port);
    cr_assert_eq(stack_send(o->st, from, &iov, 1, 0, &m), 1);
    stack_flush(o->st);
    stack_close(o->st, from);
}

char one_take(struct one *o, struct sock *udp) {
    char byte = 0;
    struct iovec iov = {&byte, 1};
    ssize_t n = stack_recv(o->st, udp, &iov, 1, 0, NULL);
    return n == 1 ? byte : 0;
}
