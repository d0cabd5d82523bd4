/* io.c: sending and receiving on stack sockets, with waiting.
 *
 * Theory of operation
 *
 * The stack never blocks: it answers -EAGAIN. Here that becomes what the
 * program asked for:
 *   blocking      wait for the event, try again, until the deadline of
 *                 SO_RCVTIMEO/SO_SNDTIMEO (-EAGAIN) or a signal (-EINTR);
 *   non-blocking  take in what lies at the interface, try once more, -EAGAIN.
 *
 * Streams have two rules more. A blocking send returns when all bytes are
 * queued, and a receive with MSG_WAITALL (or SO_RCVLOWAT) when enough came;
 * whatever ends such a call early (signal, time-out, error, end of stream)
 * gives the count so far if there is one. An error that is pending then is
 * left for the next call, as Linux does: so the loops look at readiness before
 * they would consume it.
 *
 * The lock is held across the loops, and released only inside section_wait.
 * The call holds a reference to the file, so a descriptor closed meanwhile by
 * another thread does not end it, as on Linux.
 */
#include "preload/io.h"

#include <netinet/in.h>
#include <signal.h>

#include "preload/addr.h"
#include "preload/batch.h"
#include "preload/msg.h"
#include "preload/policy.h"
#include "preload/share/relay.h"

/* Every wrapper's way in: the look-up before was without the lock. */
struct file *section_enter(int fd) {
    share_enter();
    struct file *f = file_of(fd);
    if (f && f->kind == FILE_SOCK) {
        file_get(f);
        return f;
    }
    share_leave();
    return NULL;
}

/* The last reference may go here: then the socket is closed. */
void section_leave(struct file *f) {
    file_put(f);
    share_leave();
}

/* The reference of section_enter is what keeps the file, and is given back
 * for us should the process be killed in its sleep. */
int section_wait(struct file *f, uint32_t events, nstime_t deadline) {
    return wait_held(stack_sock_source(f->so), f, events, deadline);
}

/* import_iovec of Linux, with its order of errors; the buffers
 * themselves are touched right before they are used. */
ssize_t iov_check(const struct iovec *iov, long n, int too_many) {
    size_t sum = 0;
    if (n < 0 || n > IO_IOV_MAX)
        return too_many;
    if (user_readable(iov, (size_t)n * sizeof(*iov)) < 0)
        return -EFAULT;
    for (long i = 0; i < n; i++) {
        if ((ssize_t)iov[i].iov_len < 0)
            return -EINVAL;
        if (bad_buffer(iov[i].iov_base, iov[i].iov_len))
            return -EFAULT;
        if (__builtin_add_overflow(sum, iov[i].iov_len, &sum))
            return -EINVAL;
    }
    return (ssize_t)sum < 0 ? -EINVAL : (ssize_t)sum;
}

/* ---- a position in an iovec array ----------------------------------------- */

#define WINDOW 8

/* Up to WINDOW entries of the array, from a byte offset on. */
struct window {
    struct iovec iov[WINDOW];
    int n;
};

/* More entries than fit come with the next window. */
static void window_at(struct window *w, const struct iovec *iov, int niov,
                      size_t skip) {
    w->n = 0;
    for (int i = 0; i < niov && w->n < WINDOW; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        w->iov[w->n].iov_base = (char *)iov[i].iov_base + skip;
        w->iov[w->n++].iov_len = iov[i].iov_len - skip;
        skip = 0;
    }
}

/* iov_check has made sure that the sum does not overflow. */
static size_t iov_sum(const struct iovec *iov, int niov) {
    size_t sum = 0;
    for (int i = 0; i < niov; i++)
        sum += iov[i].iov_len;
    return sum;
}

/* ---- waiting --------------------------------------------------------------- */

/* One call's patience. */
struct patience {
    bool block;
    bool drained;      /* non-blocking: the last look was taken */
    nstime_t timeout;  /* 0: none */
    nstime_t deadline; /* 0: not yet computed */
};

/* After -EAGAIN: 0 to try again, or the error that ends the call. */
static int be_patient(struct patience *p, struct file *f, uint32_t events,
                      struct stack_place *place) {
    if (!p->block) {
        if (p->drained)
            return -EAGAIN;
        p->drained = true;
        if (batch_knows_empty())
            return -EAGAIN;
        wait_drain_into(place);
        return 0;
    }
    if (!p->deadline)
        p->deadline = deadline_after(p->timeout);
    return wait_placed(stack_sock_source(f->so), f, events, p->deadline, place);
}

/* ---- loans ----------------------------------------------------------------- */

/* A long send to another socket of this stack: the copy is made outside the
 * lock. 0: not such a send. The file is kept by the caller's reference, which
 * the sleeper gives back should we be killed. */
static ssize_t send_loan(struct file *f, const struct iovec *iov, int niov,
                         size_t skip, size_t want) {
    struct sleeper *s = want < STACK_LOAN_MIN ? NULL : sleeper_get();
    ssize_t r = 0;
    if (!s)
        return 0;
    if (stack_loan(self.st, f->so, want, &s->loan)) {
        s->pin = f;
        wait_outside(s);
        stack_loan_fill(&s->loan, iov, niov, skip);
        wait_inside(s);
        s->pin = NULL;
        r = stack_repay(self.st, f->so, &s->loan);
    }
    sleeper_put(s);
    return r;
}

/* A long receive, likewise. */
static ssize_t recv_loan(struct file *f, const struct iovec *iov, int niov,
                         size_t want) {
    struct sleeper *s = want < STACK_LOAN_MIN ? NULL : sleeper_get();
    ssize_t r = 0;
    if (!s)
        return 0;
    r = stack_take(self.st, f->so, want, &s->loan);
    if (r) {
        s->pin = f;
        wait_outside(s);
        stack_loan_read(&s->loan, iov, niov);
        wait_inside(s);
        s->pin = NULL;
        stack_loan_drop(self.st, &s->loan);
    }
    sleeper_put(s);
    return r;
}

/* ---- receiving ------------------------------------------------------------- */

/* MSG_DONTWAIT, MSG_WAITALL and MSG_NOSIGNAL are about waiting: they end
 * here. Unknown bits are ignored, as Linux does. */
static uint32_t recv_flags(int flags) {
    return (flags & MSG_OOB ? STACK_MSG_OOB : 0) |
           (flags & MSG_PEEK ? STACK_MSG_PEEK : 0) |
           (flags & MSG_TRUNC ? STACK_MSG_TRUNC : 0) |
           (flags & MSG_ERRQUEUE ? STACK_MSG_ERRQUEUE : 0);
}

/* Are the buffers there, as far as the next receive will write? Errors and
 * urgent bytes are short. 0 or -EFAULT. */
static int room_for(struct file *f, const struct iovec *iov, int niov,
                    uint32_t flags) {
    int64_t n = 512;
    if (!(flags & (STACK_MSG_ERRQUEUE | STACK_MSG_OOB)) &&
        stack_getopt(self.st, f->so, STACK_OPT_INQ, &n) < 0)
        return 0; /* nothing will be written */
    if (flags & STACK_MSG_TRUNC && sock_is_stream(f))
        return 0; /* thrown away (tcp(7)) */
    return user_writable_iov(iov, niov, (size_t)n);
}

/* One stack_recv that does not say EAGAIN, or the reason to give up. */
static ssize_t recv_once(struct patience *p, struct file *f,
                         const struct iovec *iov, int niov, uint32_t flags,
                         struct stack_msg *m) {
    bool loan = !flags && sock_is_stream(f);
    for (;;) {
        ssize_t r = room_for(f, iov, niov, flags);
        if (r == 0 && loan)
            r = recv_loan(f, iov, niov, iov_sum(iov, niov));
        if (r == 0)
            r = stack_recv(self.st, f->so, iov, niov, flags, m);
        struct stack_place place = {.so = f->so, .iov = iov, .niov = niov};
        if (r > 0 && loan && stack_place_wanted(f->so)) {
            place.got = (size_t)r; /* bulk: what has come, too */
            wait_drain_into(&place);
            return (ssize_t)place.got;
        }
        if (r != -EAGAIN)
            return r;
        int w = be_patient(p, f, STACK_IN | STACK_RDHUP, flags ? NULL : &place);
        if (place.got)
            return (ssize_t)place.got;
        if (w < 0)
            return w;
    }
}

/* Bytes that a stream's receive has to wait for (socket(7), SO_RCVLOWAT). */
static size_t recv_target(struct file *f, const struct iovec *iov, int niov,
                          int flags) {
    int64_t lowat = 1;
    bool all = flags & MSG_WAITALL;
    if (!all && !file_opt_noted(f, STACK_OPT_RCVLOWAT))
        return 1;
    size_t room = iov_sum(iov, niov);
    stack_getopt(self.st, f->so, STACK_OPT_RCVLOWAT, &lowat);
    return all || (size_t)lowat > room ? room : (size_t)lowat;
}

/* A stream gave `got` bytes, fewer than target: go on. Never an error. */
static ssize_t recv_more(struct patience *p, struct file *f,
                         const struct iovec *iov, int niov, uint32_t flags,
                         size_t got, size_t target) {
    struct window w;
    bool peek = flags & STACK_MSG_PEEK;
    while (got < target) {
        uint32_t ready = stack_ready(self.st, f->so);
        if (stack_error(f->so) || (peek && ready & (STACK_RDHUP | STACK_HUP)))
            break;
        if (peek) {
            if (be_patient(p, f, STACK_IN | STACK_RDHUP, NULL) < 0)
                break;
            ssize_t r = recv_once(p, f, iov, niov, flags, NULL);
            if (r <= 0)
                break;
            got = (size_t)r;
            continue;
        }
        window_at(&w, iov, niov, got);
        ssize_t r = recv_once(p, f, w.iov, w.n, flags, NULL);
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

/* In-band bytes of a stream. A receive of nothing waits for something all the
 * same, and takes none of it. */
static ssize_t recv_stream(struct patience *p, struct file *f,
                           const struct iovec *iov, int niov, int flags,
                           struct io_msg *im) {
    uint32_t sf = recv_flags(flags);
    struct stack_msg *m = im ? &im->m : NULL;
    if (iov_sum(iov, niov) == 0) {
        char c;
        struct iovec one = {&c, 1};
        ssize_t r = recv_once(p, f, &one, 1, sf | STACK_MSG_PEEK, m);
        return r > 0 ? 0 : r;
    }
    ssize_t r = recv_once(p, f, iov, niov, sf, m);
    if (r > 0 && p->block) {
        size_t target = recv_target(f, iov, niov, flags);
        if ((size_t)r < target)
            r = recv_more(p, f, iov, niov, sf, (size_t)r, target);
    }
    return r;
}

/* A datagram is one stack_recv; a stream may need several. MSG_ERRQUEUE
 * never waits (recv(2)). */
ssize_t io_recv(int fd, const struct iovec *iov, int niov, int flags,
                struct io_msg *im) {
    struct file *f = section_enter_point(fd);
    if (!f)
        return -EBADF;
    if (__builtin_expect(f->relays, 0))
        relay_sync(f);
    struct patience p = {
        .block = !f->nonblock && !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE)),
        .timeout = f->rcv_timeout,
    };
    bool stream = sock_is_stream(f);
    if (im) {
        im->family = stack_sock_family(f->so);
        im->stream = stream;
        im->want = msg_wanted(f);
        im->stamp = f->stamp;
    }
    ssize_t r = stream && !(flags & (MSG_OOB | MSG_ERRQUEUE))
                    ? recv_stream(&p, f, iov, niov, flags, im)
                    : recv_once(&p, f, iov, niov, recv_flags(flags),
                                im ? &im->m : NULL);
    file_put(f);
    batch_leave(-1);
    return r;
}

/* ---- sending --------------------------------------------------------------- */

/* MSG_EOR changes nothing on these sockets; for MSG_ZEROCOPY see
 * send_locked. */
static uint32_t send_flags(int flags) {
    return (flags & MSG_OOB ? STACK_MSG_OOB : 0) |
           (flags & MSG_DONTROUTE ? STACK_MSG_DONTROUTE : 0) |
           (flags & MSG_MORE ? STACK_MSG_MORE : 0) |
           (flags & MSG_CONFIRM ? STACK_MSG_CONFIRM : 0);
}

/* Send all of it, or as much as patience allows. */
static ssize_t send_stream(struct patience *p, struct file *f,
                           const struct iovec *iov, int niov, uint32_t flags,
                           const struct stack_msg *m) {
    struct window w;
    size_t total = iov_sum(iov, niov), sent;
    ssize_t r = flags ? 0 : send_loan(f, iov, niov, 0, total);
    if (r == 0)
        r = stack_send(self.st, f->so, iov, niov, flags, m);
    sent = r > 0 ? (size_t)r : 0;
    while ((r == -EAGAIN || r > 0) && sent < total) {
        if (r > 0 && !p->block)
            break; /* partial: what a non-blocking socket took */
        if (r == -EAGAIN) {
            int e = be_patient(p, f, STACK_OUT, NULL);
            if (e < 0)
                return sent ? (ssize_t)sent : e;
        }
        if (sent && stack_error(f->so))
            break;
        window_at(&w, iov, niov, sent);
        r = flags ? 0 : send_loan(f, iov, niov, sent, total - sent);
        if (r == 0)
            r = stack_send(self.st, f->so, w.iov, w.n, flags, m);
        if (r > 0)
            sent += (size_t)r;
    }
    return sent ? (ssize_t)sent : r;
}

/* All or nothing. Having sent one settles that the socket is the stack's. */
static ssize_t send_datagram(struct patience *p, struct file *f,
                             const struct iovec *iov, int niov, uint32_t flags,
                             const struct stack_msg *m) {
    for (;;) {
        ssize_t r = stack_send(self.st, f->so, iov, niov, flags, m);
        if (r >= 0)
            f->placed = true;
        if (r != -EAGAIN)
            return r;
        int e = be_patient(p, f, STACK_OUT, NULL);
        if (e < 0)
            return e;
    }
}

/* The destination of a message. Streams ignore it; Linux's UDP takes
 * AF_UNSPEC for AF_INET or, on AF_INET6, for "as connected". */
static int destination(struct file *f, const struct msghdr *h,
                       struct stack_msg *m) {
    struct sockaddr_in in;
    const void *sa = h->msg_name;
    socklen_t len = h->msg_namelen;
    int family = stack_sock_family(f->so);
    int r = addr_check(sa, len);
    if (r < 0)
        return r;
    if (len >= sizeof(sa_family_t) && addr_family(sa, len) == AF_UNSPEC) {
        if (family == 6)
            return 0;
        if (len >= sizeof(in)) {
            memcpy(&in, sa, sizeof(in));
            in.sin_family = AF_INET;
            sa = &in;
        }
    }
    r = addr_in(family, true, sa, len, &m->peer);
    if (r == 0 && m->peer.port == 0 &&
        stack_sock_protocol(f->so) == IPPROTO_UDP)
        r = -EINVAL;
    m->has_peer = r == 0;
    return r;
}

/* MSG_FASTOPEN (tcp(7)): connect, with as much data as the SYN takes, and send
 * the rest as usual. What connect(2) would leave to the kernel this does too. */
static ssize_t send_opening(int fd, struct patience *p, struct file *f,
                            const struct msghdr *h, uint32_t flags,
                            struct stack_msg *m) {
    struct window w;
    int r = 0, niov = (int)h->msg_iovlen;
    if (h->msg_name && h->msg_namelen)
        r = destination(f, h, m);
    if (r < 0)
        return r;
    if (m->has_peer && (r = policy_apply(fd, f, RULE_TO, &m->peer)))
        return r;
    ssize_t n = stack_send(self.st, f->so, h->msg_iov, niov,
                           flags | STACK_MSG_FASTOPEN, m);
    if (n >= 0 || n == -EINPROGRESS)
        f->placed = true;
    if (!p->block || (n < 0 && n != -EINPROGRESS))
        return n;
    size_t sent = n > 0 ? (size_t)n : 0;
    while ((r = stack_connect_result(self.st, f->so)) == -EINPROGRESS) {
        r = be_patient(p, f, STACK_OUT, NULL);
        if (r < 0)
            return sent ? (ssize_t)sent : r;
    }
    if (r < 0 || sent == iov_sum(h->msg_iov, niov))
        return r < 0 ? r : (ssize_t)sent;
    window_at(&w, h->msg_iov, niov, sent);
    n = send_stream(p, f, w.iov, w.n, flags, m);
    return sent ? (ssize_t)sent + (n > 0 ? n : 0) : n;
}

/* Lock held. */
static ssize_t send_message(int fd, struct file *f, const struct msghdr *h,
                            int flags) {
    struct patience p = {
        .block = !f->nonblock && !(flags & MSG_DONTWAIT),
        .timeout = f->snd_timeout,
    };
    struct stack_msg m = {.ttl = -1, .tos = -1};
    bool stream = sock_is_stream(f);
    int r = 0, niov = (int)h->msg_iovlen;
    if (h->msg_controllen)
        r = msg_control_in(h, stream, &m);
    if (r == 0 && stream && flags & MSG_FASTOPEN)
        return send_opening(fd, &p, f, h, send_flags(flags), &m);
    if (r == 0 && stream)
        return send_stream(&p, f, h->msg_iov, niov, send_flags(flags), &m);
    if (r == 0 && h->msg_name && h->msg_namelen)
        r = destination(f, h, &m);
    if (r < 0)
        return r;
    if (m.has_peer && (r = policy_apply(fd, f, RULE_TO, &m.peer)))
        return r;
    return send_datagram(&p, f, h->msg_iov, niov, send_flags(flags), &m);
}

/* Lock held. A call with MSG_ZEROCOPY has a number when it has taken something,
 * in however many pieces (msg_zerocopy.rst); an empty datagram has one, too. */
static ssize_t send_locked(int fd, struct file *f, const struct msghdr *h,
                           int flags) {
    bool stream = sock_is_stream(f);
    int told = flags & MSG_ZEROCOPY ? stack_zerocopy(self.st, f->so) : 0;
    if (told < 0 && !(stream && iov_sum(h->msg_iov, (int)h->msg_iovlen) == 0))
        return told;
    ssize_t r = send_message(fd, f, h, flags);
    if (told > 0 && r >= !!stream)
        stack_zerocopy_sent(self.st, f->so, (size_t)r);
    return r;
}

/* The signal is raised outside the section: its handler may do anything. */
ssize_t io_send(int fd, const struct msghdr *h, int flags) {
    struct file *f = section_enter_point(fd);
    if (!f)
        return -EBADF;
    if (__builtin_expect(f->relays, 0))
        relay_sync(f);
    bool stream = sock_is_stream(f);
    ssize_t r = send_locked(fd, f, h, flags);
    file_put(f);
    if (stream && r > 0)
        batch_leave(r);
    else
        share_leave();
    if (r == -EPIPE && stream && !(flags & MSG_NOSIGNAL))
        sys_tgkill((pid_t)sys_getpid(), (pid_t)sys_gettid(), SIGPIPE);
    return r;
}
