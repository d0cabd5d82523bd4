/* async.c: signals when a socket becomes ready (O_ASYNC, SIGIO, SIGURG).
 *
 * Theory of operation
 *
 * fcntl(2): with O_ASYNC set, the owner (F_SETOWN) gets a signal whenever
 * input or output becomes possible; SIGURG comes for urgent data to every
 * owner, O_ASYNC or not. Here somebody must be awake for that, since a socket
 * of the stack has no kernel behind it: a thread of the process that asked,
 * made by the first such request, which sleeps on a poll set of all sockets in
 * question. Each has up to three edge-triggered items, so that what fired is
 * known: input, output, urgent data.
 *
 * The signal: SIGIO as from the kernel, or (F_SETSIG) the program's choice
 * with si_code, si_band and si_fd (si_fd: the number that was used to ask for
 * it). A thread may not send what looks like the kernel's to another, so it
 * goes as SI_SIGIO, and becomes what the kernel says before a handler of the
 * program sees it (async_polish); sigwaitinfo and signalfd see SI_SIGIO. An
 * owner that is another process or a group gets the plain signal.
 *
 * The set is in the process's slot, so that it survives exec (as O_ASYNC does)
 * and goes with the process. The items go with the socket.
 */
#include "preload/async.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "preload/preload.h"

enum kind { INPUT, OUTPUT, URGENT, KINDS };
#define BATCH 16

static const uint32_t events_of[KINDS] = {
    [INPUT] = STACK_IN | STACK_RDHUP | STACK_ET,
    [OUTPUT] = STACK_OUT | STACK_ET,
    [URGENT] = STACK_PRI | STACK_ET,
};

/* si_band for each si_code, from POLL_IN on (Linux's band_table). */
static const long bands[] = {
    0,
    POLLIN | POLLRDNORM,
    POLLOUT | POLLWRNORM | POLLWRBAND,
    POLLIN | POLLRDNORM | 0x400, /* POLLMSG */
    POLLERR,
    POLLPRI | POLLRDBAND,
    POLLHUP | POLLERR,
};

static volatile int stop;
static bool running FORKED;
static pthread_t thread;

static struct proc *me(void) { return &self.sh->procs[self.slot]; }

/* ---- the signal ----------------------------------------------------------- */

/* What one event calls for; collected inside the section, sent outside. */
struct notice {
    int fd;
    int32_t owner, sig; /* sig: F_SETSIG */
    int code;           /* POLL_IN and so on; 0: SIGURG */
};

/* rt_sigqueueinfo(2) to this process, or to a thread of it. */
static long queue(int32_t owner, int sig, siginfo_t *info) {
    int32_t pid = (int32_t)sys_getpid();
    if (owner == pid)
        return sys_call3(SYS_rt_sigqueueinfo, pid, sig, info);
    return sys_call4(SYS_rt_tgsigqueueinfo, pid, owner, sig, info);
}

static void notify(const struct notice *n) {
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    int sig = n->code == 0 ? SIGURG : n->sig ? n->sig : SIGIO;
    info.si_signo = sig;
    info.si_code = SI_SIGIO;
    if (n->code && n->sig) {
        info.si_band = bands[n->code];
        info.si_fd = n->fd;
    }
    long r = n->owner > 0 ? queue(n->owner, sig, &info) : -ESRCH;
    if (r == -EAGAIN && n->sig) { /* its queue is full: fcntl(2) */
        struct notice plain = {n->fd, n->owner, 0, n->code};
        notify(&plain);
    } else if (r < 0) {
        sys_kill(n->owner, sig);
    }
}

void async_polish(siginfo_t *info) {
    info->si_code = SI_KERNEL;
    for (int code = POLL_IN; code <= POLL_HUP; code++)
        if (info->si_band == bands[code])
            info->si_code = code;
}

/* ---- what fired ----------------------------------------------------------- */

/* si_code of an event; -1: none of this item's business. */
static int code_of(enum kind kind, uint32_t events) {
    if (kind == URGENT)
        return events & STACK_PRI ? POLL_PRI : -1;
    if (kind == OUTPUT)
        return events & STACK_OUT && !(events & (STACK_ERR | STACK_HUP))
                   ? POLL_OUT
                   : -1;
    return events & STACK_ERR   ? POLL_ERR
           : events & STACK_HUP ? POLL_HUP
                                : POLL_IN;
}

/* One event; `got` has room for two. Lock held. */
static unsigned judge(const struct stack_pollev *ev, struct notice *got) {
    int fd = (int)(ev->data / KINDS);
    enum kind kind = (enum kind)(ev->data % KINDS);
    struct file *f = file_of(fd);
    int code = code_of(kind, ev->events);
    if (!f || f->kind != FILE_SOCK || !f->owner || code < 0)
        return 0;
    unsigned n = 0;
    if (kind == URGENT)
        got[n++] = (struct notice){fd, f->owner, f->owner_sig, 0};
    if (f->async && (kind != URGENT || f->owner_sig))
        got[n++] = (struct notice){fd, f->owner, f->owner_sig, code};
    return n;
}

/* What has fired since the last call, without that of descriptor `but`. */
static unsigned collect(int but, struct notice got[2 * BATCH]) {
    struct stack_pollev ev[BATCH];
    unsigned k = 0;
    int n = stack_pollset_collect(self.st, me()->async_set->ps, ev, BATCH);
    for (int i = 0; i < n; i++)
        if ((int)(ev[i].data / KINDS) != but)
            k += judge(&ev[i], got + k);
    return k;
}

/* ---- the thread ----------------------------------------------------------- */

static void doze(void) {
    struct file *set = me()->async_set;
    struct sleeper *s = sleeper_get();
    if (!s)
        return;
    s->one = (struct watch){
        .events = STACK_IN,
        .kind = WATCH_WAITER,
        .owner = &s->w,
    };
    stack_watch_add(stack_pollset_source(set->ps), &s->one);
    wait_sleep(s, NULL, 0, NSTIME_NEVER, NULL);
    stack_watch_del(&s->one);
    sleeper_put(s);
}

static void *serve(void *arg) {
    struct notice got[2 * BATCH];
    share_enter();
    while (!stop) {
        unsigned n = collect(-1, got);
        if (n == 0) {
            doze();
            continue;
        }
        share_leave();
        for (unsigned i = 0; i < n; i++)
            notify(&got[i]);
        share_enter();
    }
    share_leave();
    return arg;
}

void async_start(void) {
    sigset_t all, old;
    pthread_attr_t attr;
    if (!me()->async_set ||
        __atomic_exchange_n(&running, true, __ATOMIC_SEQ_CST))
        return;
    stop = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    if (pthread_create(&thread, &attr, serve, NULL) != 0)
        __atomic_store_n(&running, false, __ATOMIC_SEQ_CST);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void async_stop(void) {
    if (!__atomic_load_n(&running, __ATOMIC_SEQ_CST))
        return;
    stop = 1;
    share_enter();
    stack_source_kick(self.st, stack_pollset_source(me()->async_set->ps),
                      STACK_IN);
    share_leave();
    pthread_join(thread, NULL);
    running = false;
}

void async_forked(void) {
    if (running)
        running = false;
}

/* ---- asking for it -------------------------------------------------------- */

/* The process's set. 0 or -ENOMEM. */
static int have_set(void) {
    if (me()->async_set)
        return 0;
    struct pollset *ps = stack_pollset_new(self.st);
    struct file *set = ps ? file_new(FILE_EPOLL, NULL, ps) : NULL;
    if (!set) {
        if (ps)
            stack_pollset_free(self.st, ps);
        return -ENOMEM;
    }
    file_get(set);
    me()->async_set = set;
    return 0;
}

static void item(int fd, struct file *f, enum kind kind, bool on) {
    uint32_t key = (uint32_t)fd * KINDS + kind;
    stack_pollset_ctl(self.st, me()->async_set->ps,
                      on ? STACK_CTL_ADD : STACK_CTL_DEL, key,
                      stack_sock_source(f->so), events_of[kind], key);
}

/* What is ready already is no event: what the additions found is dropped. */
int async_update(int fd, struct file *f) {
    bool urgent = f->owner != 0, any = urgent && f->async;
    struct notice got[2 * BATCH];
    unsigned n;
    if ((!urgent && !me()->async_set) || have_set() < 0)
        return urgent ? -ENOMEM : 0;
    item(fd, f, INPUT, any);
    item(fd, f, OUTPUT, any);
    item(fd, f, URGENT, urgent);
    do {
        n = collect(fd, got);
        for (unsigned i = 0; i < n; i++)
            notify(&got[i]);
    } while (stack_pollset_ready(self.st, me()->async_set->ps));
    return 0;
}
