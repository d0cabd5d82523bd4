/* exec_io.c: reading and writing, and ioctl's queue lengths.
 *
 * One function sends for write, writev, send, sendto and sendmsg, one receives;
 * `struct io` is what they have in common. */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/scripts/exec.h"

/* What the arguments say, whatever the call. */
struct io {
    struct file *f;
    const struct expr *data; /* buffer: `...` or a string */
    const struct expr *to;   /* address, or NULL */
    int64_t len, flags;
    const struct expr *msg_flags; /* recvmsg: expected */
    const struct expr *control;   /* likewise; NULL: not looked at */
};

/* [{..., 10}, {"abc", 3}]: bytes in all. */
static int64_t iov_length(struct run *r, const struct expr *list) {
    int64_t n = 0;
    for (const struct expr *v = list->first; v; v = v->next)
        if (v->kind == E_LIST && v->first && v->first->next)
            n += int_value(r, v->first->next);
    return n;
}

/* The message header of sendmsg(2), recvmsg(2). */
static void message(struct run *r, struct attempt *a, struct io *io) {
    const struct expr *m = arg(r, a, 1), *iov = field(m, "msg_iov");
    if (!iov)
        fail(r, "a message without msg_iov");
    io->data = iov->first && iov->first->first ? iov->first->first : iov;
    io->len = iov_length(r, iov);
    io->flags = int_arg(r, a, 2);
    io->to = field(m, "msg_name");
    io->msg_flags = field(m, "msg_flags");
    io->control = field(m, "msg_control");
    if (io->control && io->control->first && !(io->flags & MSG_ERRQUEUE))
        unsupported(r, "msg_control");
}

/* The five forms of arguments. */
static struct io arguments(struct run *r, struct attempt *a) {
    const char *name = a->e->call.name;
    struct io io = {.f = file_arg(r, a, 0)};
    if (strstr(name, "msg")) {
        message(r, a, &io);
        return io;
    }
    io.data = arg(r, a, 1);
    if (name[strlen(name) - 1] == 'v' && strcmp(name, "recv")) {
        io.len = iov_length(r, io.data);
        io.data = io.data->first->first;
        return io;
    }
    io.len = int_arg(r, a, 2);
    if (strcmp(name, "read") && strcmp(name, "write"))
        io.flags = int_arg(r, a, 3);
    if (strcmp(name, "sendto") == 0 || strcmp(name, "recvfrom") == 0)
        io.to = arg(r, a, 4);
    return io;
}

/* MSG_* to STACK_MSG_*; MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL are for us. */
static uint32_t flags_of(struct run *r, int64_t flags) {
    static const struct {
        int theirs;
        uint32_t ours;
    } map[] = {{MSG_OOB, STACK_MSG_OOB},
               {MSG_PEEK, STACK_MSG_PEEK},
               {MSG_DONTROUTE, STACK_MSG_DONTROUTE},
               {MSG_TRUNC, STACK_MSG_TRUNC},
               {MSG_MORE, STACK_MSG_MORE},
               {MSG_ERRQUEUE, STACK_MSG_ERRQUEUE},
               {MSG_CONFIRM, STACK_MSG_CONFIRM},
               {MSG_FASTOPEN, STACK_MSG_FASTOPEN}};
    uint32_t out = 0;
    int64_t known = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL | MSG_ZEROCOPY;
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        known |= map[i].theirs;
        if (flags & map[i].theirs)
            out |= map[i].ours;
    }
    if (flags & ~known)
        unsupported(r, "message flag 0x%x", (unsigned)(flags & ~known));
    return out;
}

/* ---- sending -------------------------------------------------------------- */

/* Bytes to send: the pattern, or those of a string with zeros behind. */
static void fill(struct io *io, uint8_t *to, int64_t from, int64_t len) {
    if (io->data->kind != E_STRING) {
        fill_pattern(to, io->f->sent, (size_t)len);
        return;
    }
    io->f->strange_data = true;
    for (int64_t i = 0; i < len; i++)
        to[i] =
            from + i < io->data->num ? (uint8_t)io->data->text[from + i] : 0;
}

/* A blocking MSG_FASTOPEN waits for the handshake, too. */
static int64_t connected(struct run *r, struct io *io, struct attempt *a) {
    int e = stack_connect_result(r->w->st, io->f->so);
    if (e == -EINPROGRESS)
        return WOULD_BLOCK;
    return e < 0 ? e : a->done;
}

/* A blocking stream takes everything, in as many attempts as needed. */
static int64_t transmit(struct run *r, struct attempt *a, struct io io) {
    struct stack_msg m = {.ttl = -1, .tos = -1}, *mp = NULL;
    int64_t family, left = io.len - a->done;
    uint32_t flags = flags_of(r, io.flags);
    if (io.to && io.to->kind != E_ANY) {
        m.has_peer = address(r, io.to, &m.peer, &family);
        mp = &m;
    } else if (io.to && stack_sock_type(io.f->so) != STACK_STREAM) {
        m.peer = (struct endpoint){.ip = ip_from_v4(r->w->peer_ip),
                                   .port = BOUND_PORT};
        m.has_peer = true;
        mp = &m;
    }
    bool stream = stack_sock_type(io.f->so) == STACK_STREAM, opening = false;
    if (!stream)
        io.f->sent = 0;
    if (flags & STACK_MSG_FASTOPEN && a->again)
        flags &= ~STACK_MSG_FASTOPEN; /* connecting goes on */
    else if (flags & STACK_MSG_FASTOPEN) {
        r->cur = NULL;
        opening = true;
    }
    if (flags & STACK_MSG_FASTOPEN && !m.has_peer && io.to) {
        m.peer = (struct endpoint){.ip = ip_from_v4(r->w->peer_ip),
                                   .port = BOUND_PORT};
        m.has_peer = true;
        mp = &m;
    }
    if (a->again && io.flags & MSG_FASTOPEN && left == 0)
        return connected(r, &io, a); /* all is in the SYN, or behind it */
    uint8_t *buf = keep((size_t)left);
    fill(&io, buf, a->done, left);
    struct iovec iov = {buf, (size_t)left};
    int64_t n = stack_send(r->w->st, io.f->so, &iov, 1, flags, mp);
    if (n > 0) {
        a->done += n;
        io.f->sent += (uint64_t)n;
    }
    bool wait = !io.f->nonblock && !(io.flags & MSG_DONTWAIT);
    bool later = n >= 0 || n == -EAGAIN || n == -EINPROGRESS;
    if (stream && (a->done < io.len || opening) && later && wait)
        return WOULD_BLOCK;
    return a->done ? a->done : n;
}

/* MSG_ZEROCOPY: what the call has taken when it ends is one notification. */
int64_t call_send(struct run *r, struct attempt *a) {
    struct io io = arguments(r, a);
    int told = 0;
    if (!io.f)
        return -EBADF;
    if (io.flags & MSG_ZEROCOPY)
        told = stack_zerocopy(r->w->st, io.f->so);
    if (told < 0)
        return told;
    int64_t n = transmit(r, a, io);
    if (told && n > 0)
        stack_zerocopy_sent(r->w->st, io.f->so, (size_t)n);
    return n;
}

/* ---- receiving ------------------------------------------------------------ */

/* Are these the bytes of the stream at this place? */
static void check_bytes(struct run *r, struct io *io, const uint8_t *got,
                        int64_t n) {
    uint8_t *want = keep((size_t)n);
    if (io->f->strange_data || n <= 0)
        return;
    fill_pattern(want, io->f->read, (size_t)n);
    if (memcmp(want, got, (size_t)n))
        fail(r, "the bytes read are not the bytes sent");
}

/* msg_flags as recvmsg(2) returns them. */
static void check_msg_flags(struct run *r, struct io *io,
                            const struct stack_msg *m) {
    if (!io->msg_flags || io->msg_flags->kind == E_ANY)
        return;
    int64_t want = int_value(r, io->msg_flags);
    int64_t got = (m->out_flags & STACK_MSG_TRUNC ? MSG_TRUNC : 0) |
                  (m->out_flags & STACK_MSG_OOB ? MSG_OOB : 0) |
                  (m->out_flags & STACK_MSG_ERRQUEUE ? MSG_ERRQUEUE : 0);
    if (want != got)
        fail(r, "expected msg_flags 0x%x, came 0x%x", (unsigned)want,
             (unsigned)got);
}

/* The one control message of MSG_ERRQUEUE. */
static void check_control(struct run *r, const struct io *io,
                          const struct stack_icmp_error *e) {
    const struct expr *c = io->control, *data;
    if (!c || c->kind == E_ANY)
        return;
    data = c->first ? field(c->first, "cmsg_data") : NULL;
    if (!data || c->first->next)
        fail(r, "expected one control message with its data");
    const struct {
        const char *name;
        int64_t got;
    } fields[] = {{"ee_errno", e->err}, {"ee_origin", e->origin},
                  {"ee_type", e->type}, {"ee_code", e->code},
                  {"ee_info", e->info}, {"ee_data", e->data}};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const struct expr *want = field(data, fields[i].name);
        if (want && int_value(r, want) != fields[i].got)
            fail(r, "expected %s %lld, came %lld", fields[i].name,
                 (long long)int_value(r, want), (long long)fields[i].got);
    }
}

/* MSG_WAITALL collects over several attempts. */
int64_t call_recv(struct run *r, struct attempt *a) {
    struct io io = arguments(r, a);
    struct stack_msg m = {0};
    if (!io.f)
        return -EBADF;
    bool stream = stack_sock_type(io.f->so) == STACK_STREAM;
    bool oob = io.flags & (MSG_OOB | MSG_ERRQUEUE);
    uint8_t *buf = keep((size_t)io.len);
    struct iovec iov = {buf, (size_t)(io.len - a->done)};
    int64_t n =
        stack_recv(r->w->st, io.f->so, &iov, 1, flags_of(r, io.flags), &m);
    bool wait = !io.f->nonblock && !(io.flags & MSG_DONTWAIT) && !oob;
    if (n == -EAGAIN && wait)
        return WOULD_BLOCK;
    if (n < 0)
        return a->done ? a->done : n;
    check_msg_flags(r, &io, &m);
    if (io.flags & MSG_ERRQUEUE)
        check_control(r, &io, &m.error);
    if (io.data->kind == E_STRING &&
        memcmp(io.data->text, buf,
               (size_t)(n < io.data->num ? n : io.data->num)))
        fail(r, "other bytes were read");
    if (!(io.flags & (MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE)))
        check_bytes(r, &io, buf, stream ? n : 0);
    if (stream && !(io.flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)))
        io.f->read += (uint64_t)n;
    a->done += n;
    if (stream && io.flags & MSG_WAITALL && n > 0 && a->done < io.len && wait)
        return WOULD_BLOCK;
    return a->done;
}

/* ---- ioctl ------------------------------------------------------------------- */

/* ioctl(2): queue lengths, the urgent mark, FIONBIO. */
int64_t call_ioctl(struct run *r, struct attempt *a) {
    struct file *f = file_arg(r, a, 0);
    int64_t op = int_arg(r, a, 1), v = 0;
    enum stack_opt opt = STACK_OPT_COUNT;
    if (!f)
        return -EBADF;
    if (op == FIONBIO) {
        f->nonblock = int_arg(r, a, 2) != 0;
        return 0;
    }
    if (op == SIOCINQ) /* FIONREAD is the same number */
        opt = STACK_OPT_INQ;
    else if (op == SIOCOUTQ)
        opt = STACK_OPT_OUTQ;
    else if (op == SIOCOUTQNSD)
        opt = STACK_OPT_OUTQNSD;
    else if (op == SIOCATMARK)
        opt = STACK_OPT_ATMARK;
    else
        unsupported(r, "ioctl 0x%x", (unsigned)op);
    int e = stack_getopt(r->w->st, f->so, opt, &v);
    const struct expr *want = arg(r, a, 2);
    if (e == 0 && want->kind != E_ANY && int_value(r, want) != v)
        fail(r, "ioctl: expected [%lld], came [%lld]",
             (long long)int_value(r, want), (long long)v);
    return e;
}
