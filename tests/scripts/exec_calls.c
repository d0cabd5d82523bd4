/* exec_calls.c: socket calls: dispatch, results, and the calls that make and
 * end connections. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/scripts/exec.h"

/* ---- arguments ------------------------------------------------------------ */

/* Argument i, counted from 0; fails the script when there are fewer. */
const struct expr *arg(struct run *r, const struct attempt *a, int i) {
    const struct expr *e = a->e->call.args;
    for (; e && i > 0; i--)
        e = e->next;
    if (!e)
        fail(r, "%s: too few arguments", a->e->call.name);
    return e;
}

/* A number, a constant, flags joined by |, htons(n), or the one element of a
 * list. */
int64_t int_value(struct run *r, const struct expr *e) {
    int64_t v = 0;
    switch (e->kind) {
    case E_INT:
        return e->num;
    case E_OR:
        return int_value(r, e->first) | int_value(r, e->first->next);
    case E_WORD:
        if (!symbol_value(e->text, &v))
            unsupported(r, "constant %s", e->text);
        return v;
    case E_CALL:
        if (strcmp(e->text, "htons") == 0 && e->first)
            return int_value(r, e->first);
        break;
    case E_LIST:
        if (e->first)
            return int_value(r, e->first);
        break;
    default:
        break;
    }
    fail(r, "expected a number");
}

/* Argument i as a number. */
int64_t int_arg(struct run *r, const struct attempt *a, int i) {
    return int_value(r, arg(r, a, i));
}

/* NULL: no such descriptor. */
struct file *file_arg(struct run *r, const struct attempt *a, int i) {
    int64_t fd = int_arg(r, a, i);
    if (fd < 0 || fd >= FD_MAX || !r->files[fd].used)
        return NULL;
    return &r->files[fd];
}

/* A descriptor with the number that the script expects. */
struct file *new_file(struct run *r, const struct attempt *a) {
    int64_t fd = int_value(r, a->e->call.result);
    if (fd < 0 || fd >= FD_MAX)
        fail(r, "%s gave a descriptor", a->e->call.name);
    if (r->files[fd].used && r->strict)
        fail(r, "descriptor %d is in use", (int)fd);
    r->files[fd] = (struct file){.used = true};
    return &r->files[fd];
}

/* The value of a field of a struct; NULL: it has none of that name. */
const struct expr *field(const struct expr *e, const char *name) {
    for (const struct expr *f = e->first; f; f = f->next)
        if (f->kind == E_FIELD && strcmp(f->text, name) == 0)
            return f->first;
    return NULL;
}

/* sockaddr_in as a script writes it; only IPv4. */
bool address(struct run *r, const struct expr *e, struct endpoint *out,
             int64_t *family) {
    const struct expr *ip, *port, *fam;
    struct in_addr in = {0};
    *out = (struct endpoint){.port = BOUND_PORT};
    *family = AF_INET;
    if (e->kind == E_ANY)
        return false;
    fam = field(e, "sa_family");
    port = field(e, "sin_port");
    ip = field(e, "sin_addr");
    if (!fam)
        fail(r, "expected an address");
    *family = int_value(r, fam);
    if (port)
        out->port = (uint16_t)int_value(r, port);
    if (ip && ip->first && inet_pton(AF_INET, ip->first->text, &in) == 1)
        out->ip = ip_from_v4(ntohl(in.s_addr));
    return true;
}

/* ---- socket, bind, listen, accept, connect ------------------------------------ */

/* socket(2): the domain may be `...`, which is IPv4. */
static int64_t call_socket(struct run *r, struct attempt *a) {
    const struct expr *domain = arg(r, a, 0);
    int64_t af = domain->kind == E_ANY ? AF_INET : int_value(r, domain);
    int64_t type = int_arg(r, a, 1), proto = int_arg(r, a, 2);
    static const enum stack_type types[] = {[SOCK_STREAM] = STACK_STREAM,
                                            [SOCK_DGRAM] = STACK_DGRAM,
                                            [SOCK_RAW] = STACK_RAW};
    struct sock *so = NULL;
    int base = (int)(type & 0xf);
    if (base < SOCK_STREAM || base > SOCK_RAW)
        unsupported(r, "socket type %d", base);
    int e = stack_socket(r->w->st, af == AF_INET6 ? 6 : 4, types[base],
                         (int)proto, &so);
    if (e < 0)
        return e;
    if (base == SOCK_STREAM && !r->cubic)
        stack_setopt(r->w->st, so, STACK_OPT_CONGESTION, stack_cc_find("reno"));
    struct file *f = new_file(r, a);
    f->so = so;
    f->nonblock = type & SOCK_NONBLOCK;
    return f - r->files;
}

/* bind(2); `...` is any address and BOUND_PORT. */
static int64_t call_bind(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    struct endpoint at;
    int64_t family;
    if (!f)
        return -EBADF;
    address(r, arg(r, a, 1), &at, &family);
    int e = stack_bind(r->w->st, f->so, &at);
    if (e == 0)
        r->listen_port = at.port;
    return e;
}

/* From here on a packet without ports belongs to a new connection. */
static int64_t call_listen(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    struct endpoint at;
    if (!f)
        return -EBADF;
    int e = stack_listen(r->w->st, f->so, (int)int_arg(r, a, 1));
    if (e == 0) {
        stack_getsockname(f->so, &at);
        r->listen_port = at.port;
        r->cur = NULL;
    }
    return e;
}

/* accept(2), accept4(2). */
static int64_t call_accept(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    struct sock *so = NULL;
    bool four = strcmp(a->e->call.name, "accept4") == 0;
    if (!f)
        return -EBADF;
    int e = stack_accept(r->w->st, f->so, &so);
    if (e == -EAGAIN && !f->nonblock)
        return WOULD_BLOCK;
    if (e < 0)
        return e;
    struct file *n = new_file(r, a);
    n->so = so;
    n->nonblock = four && int_arg(r, a, 3) & SOCK_NONBLOCK;
    return n - r->files;
}

/* connect(2). When tried again it asks how the attempt went. */
static int64_t call_connect(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    struct endpoint to, at;
    int64_t family;
    if (!f)
        return -EBADF;
    int e;
    if (a->again) {
        e = stack_connect_result(r->w->st, f->so);
    } else {
        if (!address(r, arg(r, a, 1), &to, &family))
            to.ip = ip_from_v4(r->w->peer_ip);
        e = stack_connect(r->w->st, f->so, family == AF_UNSPEC ? NULL : &to);
        stack_getsockname(f->so, &at);
        if ((e == 0 || e == -EINPROGRESS) && family != AF_UNSPEC)
            flow_new(r, at.port, to.port);
    }
    bool wait = e == -EINPROGRESS || (e == -EALREADY && !a->again);
    return wait && !f->nonblock ? WOULD_BLOCK : e;
}

/* ---- shutdown, close, fcntl, names ------------------------------------------------ */

/* shutdown(2); the three ways have the same numbers in the stack. */
static int64_t call_shutdown(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    int64_t how = int_arg(r, a, 1);
    if (!f)
        return -EBADF;
    if (how < 0 || how > 2)
        return -EINVAL;
    return stack_shutdown(r->w->st, f->so, (enum stack_how)how);
}

/* SO_LINGER with a time: wait until all is acknowledged. */
static bool lingers(struct run *r, struct attempt *a, struct file *f) {
    int64_t s = -1, unread = 0;
    if (f->nonblock || stack_sock_type(f->so) != STACK_STREAM ||
        stack_is_listening(f->so) ||
        stack_getopt(r->w->st, f->so, STACK_OPT_LINGER, &s) < 0 || s <= 0)
        return false;
    stack_getopt(r->w->st, f->so, STACK_OPT_INQ, &unread);
    if (unread)
        return false;
    if (!a->again)
        stack_shutdown(r->w->st, f->so, STACK_SHUT_RDWR);
    r->w->alarm = a->began + (nstime_t)s * SEC;
    return stack_unsent(r->w->st, f->so) && r->w->now < r->w->alarm;
}

/* close(2), of a socket or of an epoll descriptor. */
static int64_t call_close(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    if (!f)
        return -EBADF;
    if (f->so && lingers(r, a, f))
        return WOULD_BLOCK;
    if (f->so)
        stack_close(r->w->st, f->so);
    else
        stack_pollset_free(r->w->st, f->ps);
    f->used = false;
    return 0;
}

/* fcntl(2): O_NONBLOCK is the only flag that can change. */
static int64_t call_fcntl(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    int64_t op = int_arg(r, a, 1);
    if (!f)
        return -EBADF;
    if (op == F_GETFL)
        return O_RDWR | (f->nonblock ? O_NONBLOCK : 0);
    if (op != F_SETFL)
        unsupported(r, "fcntl operation %d", (int)op);
    f->nonblock = int_arg(r, a, 2) & O_NONBLOCK;
    return 0;
}

/* getsockname(2), getpeername(2): an address given is compared. */
static int64_t call_getsockname(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    bool peer = strcmp(a->e->call.name, "getpeername") == 0;
    struct endpoint at = {0}, want;
    int64_t family;
    int e = 0;
    if (!f)
        return -EBADF;
    if (peer)
        e = stack_getpeername(f->so, &at);
    else
        stack_getsockname(f->so, &at);
    if (e == 0 && address(r, arg(r, a, 1), &want, &family) &&
        (want.port != at.port || !ip_equal(&want.ip, &at.ip)))
        fail(r, "another address, port %u", at.port);
    return e;
}

/* ---- dispatch --------------------------------------------------------------------- */

static const struct {
    const char *name;
    call_fn *fn;
} calls[] = {
    {"socket", call_socket},
    {"bind", call_bind},
    {"listen", call_listen},
    {"accept", call_accept},
    {"accept4", call_accept},
    {"connect", call_connect},
    {"shutdown", call_shutdown},
    {"close", call_close},
    {"fcntl", call_fcntl},
    {"getsockname", call_getsockname},
    {"getpeername", call_getsockname},
    {"ioctl", call_ioctl},
    {"read", call_recv},
    {"readv", call_recv},
    {"recv", call_recv},
    {"recvfrom", call_recv},
    {"recvmsg", call_recv},
    {"write", call_send},
    {"writev", call_send},
    {"send", call_send},
    {"sendto", call_send},
    {"sendmsg", call_send},
    {"setsockopt", call_setsockopt},
    {"getsockopt", call_getsockopt},
    {"poll", call_poll},
    {"epoll_create", call_epoll_create},
    {"epoll_create1", call_epoll_create},
    {"epoll_ctl", call_epoll_ctl},
    {"epoll_wait", call_epoll_wait},
};

/* The function behind a name. */
static call_fn *find_call(struct run *r, const char *name) {
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (strcmp(calls[i].name, name) == 0)
            return calls[i].fn;
    unsupported(r, "call %s", name);
}

/* A result in words. Two results can be told in one message. */
static const char *result_text(int64_t v) {
    static char both[2][80];
    static int which;
    char *s = both[which ^= 1];
    if (v < 0)
        snprintf(s, 80, "-1 %s", errno_name((int)-v));
    else
        snprintf(s, 80, "%lld", (long long)v);
    return s;
}

/* Did the call end as the script says? */
static void check_result(struct run *r, struct attempt *a, int64_t got) {
    struct call *c = &a->e->call;
    r->e = a->e;
    if (r->verbose)
        printf("    %.6f %s = %s\n", (double)run_us(r) / 1e6, c->name,
               result_text(got));
    if (c->result->kind == E_ANY)
        return;
    int64_t want = int_value(r, c->result), err = 0;
    if (c->err && !symbol_value(c->err, &err))
        unsupported(r, "error %s", c->err);
    bool any_error = !c->err && want == -1 && got < 0;
    if (!any_error && got != (c->err ? -err : want))
        fail(r, "%s: expected %s, came %s", c->name,
             c->err ? c->err : result_text(want), result_text(got));
}

/* A call with a time range must end at the end of it. */
static void check_end(struct run *r, struct attempt *a) {
    int64_t end = a->e->at.end, now = run_us(r);
    if (end >= 0 && (now < end - r->tolerance || now > end + r->tolerance))
        fail(r, "%s: expected to end at %.6f, ended at %.6f", a->e->call.name,
             (double)end / 1e6, (double)now / 1e6);
}

/* Make the call once, between what every locked section does. */
static int64_t attempt(struct run *r, struct attempt *a) {
    world_enter(r->w);
    int64_t v = find_call(r, a->e->call.name)(r, a);
    stack_flush(r->w->st);
    a->again = true;
    return v;
}

/* Messages name the line of the call, not of the present event. */
bool try_pending(struct run *r) {
    if (!r->is_pending)
        return true;
    struct event *now = r->e;
    r->e = r->pending.e;
    int64_t v = attempt(r, &r->pending);
    if (v == WOULD_BLOCK) {
        r->e = now;
        return false;
    }
    r->is_pending = false;
    check_result(r, &r->pending, v);
    check_end(r, &r->pending);
    r->e = now;
    return true;
}

/* A call of the script, at its time. */
void make_call(struct run *r, struct event *e) {
    finish_pending(r);
    struct attempt a = {.e = e, .began = r->w->now};
    int64_t v = attempt(r, &a);
    world_leave(r->w);
    if (v == WOULD_BLOCK) {
        if (e->at.end < 0)
            fail(r, "%s blocks", e->call.name);
        r->is_pending = true;
        r->pending = a;
        return;
    }
    check_result(r, &a, v);
    check_end(r, &a);
}
