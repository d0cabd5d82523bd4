/* lib_pair_calls.c: the calls of stack.h on a pair, waiting where a program
 * would wait; see lib_pair.h. */
#include "tests/traffic/lib_pair.h"

#include <errno.h>

struct endpoint pair_at(struct pair *p, int side, uint16_t port) {
    return (struct endpoint){.ip = p->side[side].addr, .port = port};
}

struct sock *pair_socket(struct pair *p, int side, enum stack_type type) {
    struct sock *so = NULL;
    struct stack *st = pair_lock(p, side);
    int r = stack_socket(st, 4, type, 0, &so);
    pair_unlock(p, side);
    if (r || !so)
        pair_fail(p, "stack_socket: %d", r);
    return so;
}

struct sock *pair_bound(struct pair *p, int side, uint16_t port) {
    struct sock *so = pair_socket(p, side, STACK_DGRAM);
    struct endpoint at = pair_at(p, side, port);
    int r = stack_bind(pair_lock(p, side), so, &at);
    pair_unlock(p, side);
    if (r)
        pair_fail(p, "bind to port %u: %d", port, r);
    return so;
}

struct sock *pair_listen(struct pair *p, int side, uint16_t port, int backlog) {
    struct sock *so = pair_socket(p, side, STACK_STREAM);
    struct endpoint at = {.port = port};
    struct stack *st = pair_lock(p, side);
    int r = stack_setopt(st, so, STACK_OPT_REUSEADDR, 1);
    r = r ? r : stack_bind(st, so, &at);
    r = r ? r : stack_listen(st, so, backlog);
    pair_unlock(p, side);
    if (r)
        pair_fail(p, "listen on port %u: %d", port, r);
    return so;
}

int pair_connect_start(struct pair *p, int side, struct sock *so,
                       const struct endpoint *to) {
    int r = stack_connect(pair_lock(p, side), so, to);
    pair_unlock(p, side);
    return r;
}

int pair_connect(struct pair *p, int side, struct sock *so,
                 const struct endpoint *to) {
    int r = pair_connect_start(p, side, so, to);
    while (r == -EINPROGRESS) {
        if (!pair_wait(p, side, so, STACK_OUT))
            return -ETIME;
        r = stack_connect_result(pair_lock(p, side), so);
        pair_unlock(p, side);
    }
    return r;
}

struct sock *pair_accept(struct pair *p, int side, struct sock *listener) {
    for (;;) {
        struct sock *so = NULL;
        int r = stack_accept(pair_lock(p, side), listener, &so);
        pair_unlock(p, side);
        if (r == 0)
            return so;
        if (r != -EAGAIN || !pair_wait(p, side, listener, STACK_IN))
            pair_fail(p, "accept: %d", r);
    }
}

void pair_connected(struct pair *p, uint16_t port, struct sock *so[2]) {
    struct sock *l = pair_listen(p, B, port, 8);
    struct endpoint to = pair_at(p, B, port);
    so[A] = pair_socket(p, A, STACK_STREAM);
    int r = pair_connect(p, A, so[A], &to);
    if (r)
        pair_fail(p, "connect to port %u: %d", port, r);
    so[B] = pair_accept(p, B, l);
    pair_close(p, B, l);
}

ssize_t pair_try_send(struct pair *p, int side, struct sock *so,
                      const void *buf, size_t n) {
    struct iovec v = {(void *)buf, n};
    ssize_t r = stack_send(pair_lock(p, side), so, &v, 1, 0, NULL);
    pair_unlock(p, side);
    return r;
}

ssize_t pair_try_recv(struct pair *p, int side, struct sock *so, void *buf,
                      size_t n) {
    struct iovec v = {buf, n};
    struct stack *st = pair_lock(p, side);
    ssize_t r = stack_recv(st, so, &v, 1, 0, NULL);
    bool part = r > 0 && (size_t)r < n && stack_place_wanted(so);
    if ((r == -EAGAIN || part) && stack_sock_type(so) == STACK_STREAM &&
        p->cfg.place) {
        struct stack_place place = {.so = so, .iov = &v, .niov = 1};
        place.got = part ? (size_t)r : 0;
        stack_poll_into(st, 64, &place);
        r = place.got ? (ssize_t)place.got : stack_recv(st, so, &v, 1, 0, NULL);
    }
    pair_unlock(p, side);
    return r;
}

ssize_t pair_send(struct pair *p, int side, struct sock *so, const void *buf,
                  size_t n) {
    size_t done = 0;
    do {
        ssize_t r =
            pair_try_send(p, side, so, (const uint8_t *)buf + done, n - done);
        if (r == -EAGAIN) {
            if (!pair_wait(p, side, so, STACK_OUT))
                return done ? (ssize_t)done : -ETIME;
        } else if (r < 0) {
            return done ? (ssize_t)done : r;
        } else {
            done += (size_t)r;
        }
    } while (done < n);
    return (ssize_t)done;
}

ssize_t pair_recv(struct pair *p, int side, struct sock *so, void *buf,
                  size_t n) {
    for (;;) {
        ssize_t r = pair_try_recv(p, side, so, buf, n);
        if (r != -EAGAIN)
            return r;
        if (!pair_wait(p, side, so, STACK_IN | STACK_RDHUP))
            return -ETIME;
    }
}

ssize_t pair_recv_all(struct pair *p, int side, struct sock *so, void *buf,
                      size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t r = pair_recv(p, side, so, (uint8_t *)buf + done, n - done);
        if (r < 0)
            return done ? (ssize_t)done : r;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

ssize_t pair_sendto(struct pair *p, int side, struct sock *so,
                    const struct endpoint *to, const void *buf, size_t n) {
    struct iovec v = {(void *)buf, n};
    struct stack_msg m = {.has_peer = to != NULL, .ttl = -1, .tos = -1};
    if (to)
        m.peer = *to;
    ssize_t r = stack_send(pair_lock(p, side), so, &v, 1, 0, &m);
    pair_unlock(p, side);
    return r;
}

ssize_t pair_recvfrom(struct pair *p, int side, struct sock *so,
                      struct stack_msg *m, void *buf, size_t n) {
    for (;;) {
        struct iovec v = {buf, n};
        ssize_t r = stack_recv(pair_lock(p, side), so, &v, 1, 0, m);
        pair_unlock(p, side);
        if (r != -EAGAIN)
            return r;
        if (!pair_wait(p, side, so, STACK_IN))
            return -ETIME;
    }
}

int pair_shutdown(struct pair *p, int side, struct sock *so,
                  enum stack_how how) {
    int r = stack_shutdown(pair_lock(p, side), so, how);
    pair_unlock(p, side);
    return r;
}

void pair_close(struct pair *p, int side, struct sock *so) {
    stack_close(pair_lock(p, side), so);
    pair_unlock(p, side);
}

int pair_setopt(struct pair *p, int side, struct sock *so, enum stack_opt opt,
                int64_t value) {
    int r = stack_setopt(pair_lock(p, side), so, opt, value);
    pair_unlock(p, side);
    return r;
}

int64_t pair_getopt(struct pair *p, int side, struct sock *so,
                    enum stack_opt opt) {
    int64_t value = 0;
    int r = stack_getopt(pair_lock(p, side), so, opt, &value);
    pair_unlock(p, side);
    if (r)
        pair_fail(p, "getopt %d: %d", (int)opt, r);
    return value;
}

uint32_t pair_ready(struct pair *p, int side, struct sock *so) {
    return stack_ready(pair_lock(p, side), so);
}

int pair_state(struct pair *p, int side, struct sock *so) {
    struct stack_tcp_info i;
    int r = stack_tcp_info(pair_lock(p, side), so, &i);
    return r ? r : i.state;
}
