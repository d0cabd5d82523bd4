/* relay_run.c: the relaying process. See relay.h.
 *
 * One thread, all inside the section but for its sleeps. Two sets tell it what
 * to do, both edge-triggered: a poll set of the stack for the sockets, an
 * epoll of the kernel for the near ends and the mailbox. An edge means: move
 * bytes until that side has no more, or the other takes no more.
 *
 * A `pump` is one pair. Towards the program it copies from the socket's
 * receive buffer; the bytes are taken out of that buffer at once, or (exact)
 * when the pair is empty again, which SIOCOUTQ tells and the kernel reports as
 * an edge of EPOLLOUT. From the program it reads into the pump's own buffer,
 * since what has left the pair must wait somewhere for the peer's window.
 *
 * The end: the far end is closed (EPOLLHUP), or the connection is. Closing the
 * near end shows the program the end of the stream, EPIPE, and ECONNRESET if
 * it had written something that nobody will get.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "netio/sys.h"
#include "preload/share/inner.h"
#include "preload/share/relay.h"
#include "preload/share/wait.h"

#define PUMPS 65536
#define CHUNK 65536       /* from the program, at a time */
#define EXACT_CHUNK 16384 /* copied ahead of the program */
#define BATCH 64
#define MS 1000000u
#define LINGER (250 * MS)           /* after the last pump */
#define ORPHANS (60ull * 1000 * MS) /* for data that nobody takes */

/* Private memory of the relaying process. */
struct pump {
    struct relay *r;
    int near;
    bool in_done;         /* the peer's FIN was passed on */
    bool out_done;        /* the program's was */
    bool reset;           /* the far end was closed with bytes unread */
    uint32_t at, len;     /* in out: from the program, not yet sent */
    struct endpoint last; /* datagrams: where the last one came from */
    bool has_last;
    char out[CHUNK];
};

static struct pump **pumps; /* by near end */
static unsigned npumps;
static int epfd;
static char scratch[CHUNK];

static bool is_stream(const struct pump *p) {
    return stack_sock_type(p->r->f->so) == STACK_STREAM;
}

static void pump_end(struct pump *p) {
    struct file *set = self.sh->relay_set;
    struct file *f = p->r->f;
    stack_pollset_ctl(self.st, set->ps, STACK_CTL_DEL, (uint32_t)p->near,
                      stack_sock_source(f->so), 0, 0);
    pumps[p->near] = NULL;
    npumps--;
    self.sh->procs[self.slot].nfiles--;
    sys_close(p->near);
    relay_drop(p->r);
    sys_munmap(p, sizeof(*p));
}

/* The program closed its end without reading all: the peer must not think
 * that everything arrived (RFC 1122, section 4.2.2.13). */
static void abandon(struct pump *p) {
    struct file *f = p->r->f;
    if (f->refs == 1 && is_stream(p) && !p->r->exact)
        stack_setopt(self.st, f->so, STACK_OPT_LINGER, 0);
    pump_end(p);
}

/* ---- socket -> program ------------------------------------------------------ */

/* Take n bytes out of the receive buffer that the program has got. */
static void discard(struct pump *p, size_t n) {
    struct iovec iov = {NULL, n};
    stack_recv(self.st, p->r->f->so, &iov, 1, STACK_MSG_TRUNC, NULL);
    p->r->used = true;
}

/* Has the program read what was copied ahead? An empty pair may also mean that
 * it was closed with the copies in it; looked at afterwards, so that nothing
 * is missed in between. */
static bool read_up(struct pump *p) {
    int unread = 0, err = 0;
    socklen_t len = sizeof(err);
    if (p->r->pushed == 0)
        return true;
    if (p->reset || sys_ioctl(p->near, SIOCOUTQ, &unread) < 0 || unread > 0)
        return false;
    sys_getsockopt(p->near, SOL_SOCKET, SO_ERROR, &err, &len);
    if ((p->reset = err != 0))
        return false;
    discard(p, p->r->pushed);
    p->r->pushed = 0;
    return true;
}

/* May what is written be forgotten here? Not while another holder of the
 * socket could want to read it. */
static void settle_mode(struct relay *r) {
    if (r->exact && r->used && r->f->refs == 1)
        r->exact = false;
}

/* False: the pump is no more. */
static bool stream_in(struct pump *p) {
    struct relay *r = p->r;
    bool drained = false;
    for (;;) {
        if (!read_up(p) || p->in_done || r->claimed)
            return true;
        settle_mode(r);
        struct iovec iov = {scratch, r->exact ? EXACT_CHUNK : CHUNK};
        ssize_t n =
            stack_recv(self.st, r->f->so, &iov, 1, STACK_MSG_PEEK, NULL);
        if (n == -EAGAIN && !drained) { /* announced, not taken (drain.c) */
            drained = true;
            wait_drain();
            continue;
        }
        if (n == -EAGAIN || n == -ENOTCONN)
            return true;
        if (n < 0) {
            pump_end(p);
            return false;
        }
        if (n == 0) {
            p->in_done = true;
            sys_shutdown(p->near, SHUT_WR);
            return true;
        }
        long w = sys_sendto(p->near, scratch, (size_t)n,
                            MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
        if (w <= 0) /* full; or the program reads no more */
            return true;
        if (r->exact)
            r->pushed = (uint32_t)w;
        else
            discard(p, (size_t)w);
    }
}

static bool datagrams_in(struct pump *p) {
    struct iovec iov = {scratch, sizeof(scratch)};
    struct stack_msg m = {0};
    while (!p->r->claimed) {
        ssize_t n =
            stack_recv(self.st, p->r->f->so, &iov, 1, STACK_MSG_PEEK, &m);
        if (n == -EAGAIN)
            return true;
        if (n < 0)
            continue; /* an error of the past (ICMP), told by now */
        p->last = m.peer;
        p->has_last = true;
        if (sys_sendto(p->near, scratch, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT,
                       NULL, 0) == -EAGAIN)
            return true;
        stack_recv(self.st, p->r->f->so, &iov, 1, 0, NULL);
    }
    return true;
}

/* ---- program -> socket ------------------------------------------------------ */

/* Nothing more comes from the far end. False: the pump is no more. The far end
 * may be shut down for writing only, and closed later; or both directions are
 * shut down, and it stays until the program has read what lies in the pair. */
static bool far_ended(struct pump *p) {
    struct pollfd fd = {p->near, POLLIN, 0};
    struct timespec none = {0, 0};
    sys_ppoll(&fd, 1, &none, NULL);
    if (!(fd.revents & POLLHUP)) {
        if (!p->out_done)
            stack_shutdown(self.st, p->r->f->so, STACK_SHUT_WR);
        p->out_done = true;
        return true;
    }
    bool all_read = read_up(p);
    if (p->out_done && !all_read && !p->reset)
        return true;
    if (p->reset)
        abandon(p);
    else
        pump_end(p);
    return false;
}

/* One send of what is in p->out. 1: go on, 0: no room, -1: over. */
static int push(struct pump *p) {
    struct iovec iov = {p->out + p->at, p->len};
    struct stack_msg m = {.ttl = -1, .tos = -1};
    struct endpoint peer;
    if (!is_stream(p) && p->has_last &&
        stack_getpeername(p->r->f->so, &peer) < 0) {
        m.peer = p->last;
        m.has_peer = true;
    }
    ssize_t n = stack_send(self.st, p->r->f->so, &iov, 1, 0, &m);
    if (n == -EAGAIN)
        return 0;
    if (!is_stream(p)) {
        p->len = 0; /* sent or not: datagrams promise nothing */
        return 1;
    }
    if (n < 0)
        return n == -ENOTCONN ? 0 : -1;
    p->at += (uint32_t)n;
    p->len -= (uint32_t)n;
    return 1;
}

/* False: the pump is no more. */
static bool pump_out(struct pump *p) {
    for (;;) {
        while (p->len > 0) {
            int r = push(p);
            if (r == 0)
                return true;
            if (r < 0) {
                pump_end(p);
                return false;
            }
        }
        if (p->out_done)
            return far_ended(p);
        long n = sys_recvfrom(p->near, p->out, CHUNK, MSG_DONTWAIT, NULL, NULL);
        if (n == -EAGAIN || n == -EINTR)
            return true;
        if (n == 0)
            return far_ended(p);
        if (n < 0) { /* ECONNRESET: closed with bytes unread */
            abandon(p);
            return false;
        }
        p->r->used = true;
        p->at = 0;
        p->len = (uint32_t)n;
    }
}

static void pump_both(struct pump *p) {
    if (pump_out(p)) {
        if (is_stream(p))
            stream_in(p);
        else
            datagrams_in(p);
    }
}

/* ---- the mailbox ------------------------------------------------------------ */

/* A new pump on this pair. False: no room; the relay is no more. */
static bool pump_new(struct relay *r, int near) {
    struct pump *p = sys_mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct epoll_event ev = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                             {.fd = near}};
    if (sys_is_err(p) || near >= PUMPS ||
        sys_epoll_ctl(epfd, EPOLL_CTL_ADD, near, &ev) < 0)
        return false;
    p->r = r;
    p->near = near;
    if (stack_pollset_ctl(self.st, self.sh->relay_set->ps, STACK_CTL_ADD,
                          (uint32_t)near, stack_sock_source(r->f->so),
                          STACK_IN | STACK_OUT | STACK_RDHUP | STACK_ET,
                          (uint64_t)near) < 0) {
        sys_munmap(p, sizeof(*p));
        return false;
    }
    r->slot = self.slot + 1;
    r->near = near;
    pumps[near] = p;
    npumps++;
    self.sh->procs[self.slot].nfiles++;
    pump_both(p);
    return true;
}

/* A vfork child's file: its references become ours. */
static struct relay *adopt(const struct relay_mail *mail) {
    struct relay *r = relay_new(mail->f);
    if (mail->last)
        share_proc_gone(mail->slot);
    return r;
}

/* Another holder is about to use f. */
static void answer(const struct relay_mail *mail) {
    struct share *sh = self.sh;
    list_for_each_safe(n, &sh->relays) {
        struct relay *r = container_of(n, struct relay, link);
        if (r->f == mail->f && r->slot == self.slot + 1)
            pump_both(pumps[r->near]);
    }
    __atomic_store_n(&sh->relay_done, mail->sync, __ATOMIC_SEQ_CST);
    sys_futex(&sh->relay_done, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* One letter. False: there is none. */
static bool mail_take(void) {
    struct relay_mail mail;
    struct iovec iov = {&mail, sizeof(mail)};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } u;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = u.room,
                       .msg_controllen = sizeof(u.room)};
    long n = sys_recvmsg(self.fd.mail, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return false;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int near = -1;
    if (c)
        memcpy(&near, CMSG_DATA(c), sizeof(near));
    if (mail.sync) {
        answer(&mail);
        return true;
    }
    struct relay *r = mail.relay ? mail.relay : adopt(&mail);
    if (r && near >= 0 && pump_new(r, near))
        return true;
    self.sh->count.relay_failed++; /* of descriptors, or of memory */
    if (near >= 0)
        sys_close(near);
    if (r)
        relay_drop(r);
    return true;
}

/* ---- the loop --------------------------------------------------------------- */

static bool work(void) {
    struct stack_pollev ev[BATCH];
    struct epoll_event kev[BATCH];
    int n = stack_pollset_collect(self.st, self.sh->relay_set->ps, ev, BATCH);
    for (int i = 0; i < n; i++)
        if (pumps[ev[i].data])
            pump_both(pumps[ev[i].data]);
    long k = sys_epoll_pwait(epfd, kev, BATCH, 0, NULL);
    for (long i = 0; i < k; i++) {
        if (kev[i].data.fd == self.fd.mail)
            while (mail_take())
                ;
        else if (pumps[kev[i].data.fd])
            pump_both(pumps[kev[i].data.fd]);
    }
    return n > 0 || k > 0;
}

/* Sleep until there is something to do, or `until`. */
static enum wait_result doze(nstime_t until) {
    struct file *set = self.sh->relay_set;
    struct pollfd k = {epfd, POLLIN, 0};
    struct sleeper *s = sleeper_get();
    if (!s)
        return WAIT_TIMEOUT;
    s->one = (struct watch){
        .events = STACK_IN,
        .kind = WATCH_WAITER,
        .owner = &s->w,
    };
    stack_watch_add(stack_pollset_source(set->ps), &s->one);
    enum wait_result r = wait_sleep(s, &k, 1, until, NULL);
    stack_watch_del(&s->one);
    sleeper_put(s);
    return r;
}

/* No pump for a while: may we go? Whoever posts looks for us afterwards, and
 * we look for mail after we said that we are gone. */
static bool may_leave(nstime_t idle_since) {
    struct share *sh = self.sh;
    char c;
    if (npumps > 0 ||
        (stack_orphans(self.st) > 0 && share_clock() - idle_since < ORPHANS))
        return false;
    __atomic_store_n(&sh->relay_slot, 0, __ATOMIC_SEQ_CST);
    if (sys_recvfrom(self.fd.mail, &c, 1, MSG_PEEK | MSG_DONTWAIT, NULL,
                     NULL) == -EAGAIN)
        return true;
    __atomic_store_n(&sh->relay_slot, self.slot + 1, __ATOMIC_SEQ_CST);
    return false;
}

static void serve(void) {
    nstime_t idle = share_clock();
    for (;;) {
        if (work()) {
            share_leave(); /* others have work, too */
            share_enter();
            continue;
        }
        nstime_t now = share_clock();
        if (npumps > 0)
            idle = now;
        enum wait_result r = doze(npumps ? NSTIME_NEVER : now + LINGER);
        if (r == WAIT_TIMEOUT && may_leave(idle))
            return;
    }
}

/* A slot, the two sets. 0, or -errno: somebody else relays, or no room. */
static int set_up(void) {
    struct share *sh = self.sh;
    int r = proc_claim();
    if (r < 0)
        return r;
    share_reap();
    if (sh->relay_slot)
        return -EEXIST;
    pumps = sys_mmap(NULL, PUMPS * sizeof(*pumps), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    epfd = (int)sys_epoll_create1(O_CLOEXEC);
    struct pollset *ps = stack_pollset_new(self.st);
    struct file *set = ps ? file_new(FILE_EPOLL, NULL, ps) : NULL;
    struct epoll_event ev = {EPOLLIN, {.fd = self.fd.mail}};
    if (sys_is_err(pumps) || epfd < 0 || !set)
        return -ENOMEM;
    file_get(set);
    sh->relay_set = set;
    sh->relay_slot = self.slot + 1;
    return (int)sys_epoll_ctl(epfd, EPOLL_CTL_ADD, self.fd.mail, &ev);
}

void relay_run(void) {
    struct share *sh = self.sh;
    npumps = 0;
    if (set_up() == 0)
        serve();
    wait_retire(true);
    if (self.slot < SHARE_PROCS) {
        if (sh->relay_slot == self.slot + 1 || sh->relay_slot == 0) {
            sh->relay_slot = self.slot + 1; /* ours to forget */
            relay_forget_process(self.slot);
        }
        share_proc_gone(self.slot);
    }
    self.slot = SHARE_PROCS;
}
