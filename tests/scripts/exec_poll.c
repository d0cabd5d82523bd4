/* exec_poll.c: poll and epoll. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tests/scripts/exec.h"

/* Is a time-out of ms (-1: none) over? */
static bool over(struct run *r, const struct attempt *a, int64_t ms) {
    r->w->alarm = ms > 0 ? a->began + (nstime_t)ms * MSEC : 0;
    return ms >= 0 && r->w->now >= a->began + (nstime_t)ms * MSEC;
}

/* What one entry {fd=4, events=POLLIN, revents=POLLIN} has to say. */
static int64_t poll_one(struct run *r, const struct expr *e) {
    const struct expr *fd = field(e, "fd"), *ev = field(e, "events");
    if (!fd || !ev)
        fail(r, "expected {fd=..., events=...}");
    int64_t n = int_value(r, fd);
    if (n < 0 || n >= FD_MAX || !r->files[n].used)
        return POLLNVAL;
    return stack_ready(r->w->st, r->files[n].so) &
           (int_value(r, ev) | POLLERR | POLLHUP);
}

/* poll(2): revents are compared when it returns. */
int64_t call_poll(struct run *r, struct attempt *a) {
    const struct expr *list = arg(r, a, 0);
    int64_t ready = 0, ms = int_arg(r, a, 2);
    for (const struct expr *e = list->first; e; e = e->next)
        ready += poll_one(r, e) != 0;
    if (!ready && !over(r, a, ms))
        return WOULD_BLOCK;
    for (const struct expr *e = list->first; e; e = e->next) {
        const struct expr *want = field(e, "revents");
        int64_t got = poll_one(r, e);
        if (want && want->kind != E_ANY && int_value(r, want) != got)
            fail(r, "expected revents 0x%x, came 0x%x",
                 (unsigned)int_value(r, want), (unsigned)got);
    }
    return ready;
}

/* epoll_create(2), epoll_create1(2). */
int64_t call_epoll_create(struct run *r, struct attempt *a) {
    struct pollset *ps = stack_pollset_new(r->w->st);
    if (!ps)
        return -ENOMEM;
    struct file *f = new_file(r, a);
    f->ps = ps;
    return f - r->files;
}

/* {events=EPOLLIN, fd=4}: the data may also be called ptr, u32, u64. */
static int64_t event_data(struct run *r, const struct expr *e) {
    static const char *const names[] = {"fd", "ptr", "u32", "u64"};
    for (int i = 0; i < 4; i++)
        if (field(e, names[i]))
            return int_value(r, field(e, names[i]));
    return 0;
}

/* epoll_ctl(2) on sockets. */
int64_t call_epoll_ctl(struct run *r, struct attempt *a) {
    struct file *ep = file_arg(r, a, 0), *f = file_arg(r, a, 2);
    const struct expr *e = arg(r, a, 3), *ev = field(e, "events");
    if (!ep || !f)
        return -EBADF;
    if (!ep->ps || !f->so)
        return -EINVAL;
    return stack_pollset_ctl(r->w->st, ep->ps, (enum stack_ctl)int_arg(r, a, 1),
                             (uint32_t)int_arg(r, a, 2),
                             stack_sock_source(f->so),
                             ev ? (uint32_t)int_value(r, ev) : 0,
                             (uint64_t)event_data(r, e));
}

/* epoll_wait(2): one event, or a list of them, is compared. */
int64_t call_epoll_wait(struct run *r, struct attempt *a) {
    struct file *ep = file_arg(r, a, 0);
    struct stack_pollev got[FD_MAX];
    int64_t max = int_arg(r, a, 2), ms = int_arg(r, a, 3);
    if (!ep || !ep->ps)
        return -EBADF;
    int n = stack_pollset_collect(r->w->st, ep->ps, got,
                                  max < FD_MAX ? (int)max : FD_MAX);
    if (n == 0 && !over(r, a, ms))
        return WOULD_BLOCK;
    const struct expr *e = arg(r, a, 1);
    if (e->kind == E_LIST)
        e = e->first;
    for (int i = 0; i < n && e && e->kind == E_STRUCT; i++, e = e->next) {
        const struct expr *ev = field(e, "events");
        if (ev && ev->kind != E_ANY &&
            (uint32_t)int_value(r, ev) != got[i].events)
            fail(r, "expected events 0x%x, came 0x%x",
                 (unsigned)int_value(r, ev), got[i].events);
        if ((uint64_t)event_data(r, e) != got[i].data)
            fail(r, "expected the event of another descriptor");
    }
    return n;
}
