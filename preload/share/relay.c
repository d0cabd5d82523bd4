/* relay.c: making, finding and ending relays. See relay.h. */
#include "preload/share/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "netio/sys.h"
#include "preload/share/inner.h"
#include "preload/share/nap.h"
#include "preload/share/wait.h"

#define PREFIX "libstack-relay/"

int relay_mailbox(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(a);
    int fd =
        (int)sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    /* Only the family: the kernel chooses an abstract name (unix(7)). */
    long r = sys_bind(fd, &a, sizeof(a.sun_family));
    if (r == 0)
        r = sys_getsockname(fd, &a, &len);
    if (r == 0)
        r = sys_connect(fd, &a, len);
    if (r < 0) {
        sys_close(fd);
        return (int)r;
    }
    self.fd.mail = arena_hide_fd(fd);
    return 0;
}

/* ---- the list in the arena ----------------------------------------------- */

struct relay *relay_new(struct file *f) {
    struct relay *r = stack_alloc(self.st, sizeof(*r));
    if (!r)
        return NULL;
    r->f = f;
    r->id = ++self.sh->relay_seq;
    r->exact = f->kind == FILE_SOCK && stack_sock_type(f->so) == STACK_STREAM;
    f->relays++;
    file_get(f);
    list_push_back(&self.sh->relays, &r->link);
    self.sh->count.relays++;
    return r;
}

void relay_drop(struct relay *r) {
    struct file *f = r->f;
    list_remove(&r->link);
    stack_free(self.st, r, sizeof(*r));
    f->relays--;
    file_put(f);
}

void relay_forget_process(uint32_t slot) {
    struct share *sh = self.sh;
    if (sh->relay_slot != slot + 1)
        return;
    sh->relay_slot = 0;
    list_for_each_safe(n, &sh->relays) {
        struct relay *r = container_of(n, struct relay, link);
        if (r->slot == slot + 1)
            relay_drop(r);
    }
    struct file *set = sh->relay_set;
    sh->relay_set = NULL;
    if (set)
        file_put(set);
}

/* ---- a pair -------------------------------------------------------------- */

/* A connected pair; the near end's name tells what it is. 0 or -errno. */
static int make_pair(struct file *f, uint64_t id, int pair[2]) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    bool stream = stack_sock_type(f->so) == STACK_STREAM;
    long r =
        sys_socketpair(AF_UNIX,
                       (stream ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC,
                       0, pair);
    if (r < 0)
        return (int)r;
    int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, PREFIX "%llx/%s",
                     (unsigned long long)id, self.sh->name);
    /* Without a name nobody can claim it, which is all. */
    sys_bind(pair[0], &a,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                         (size_t)n));
    sys_fcntl(pair[0], F_SETFL, O_NONBLOCK);
    if (f->nonblock)
        sys_fcntl(pair[1], F_SETFL, O_NONBLOCK);
    struct timeval tv = {(time_t)(f->rcv_timeout / 1000000000u),
                         (suseconds_t)(f->rcv_timeout / 1000 % 1000000)};
    if (f->rcv_timeout)
        sys_setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    tv = (struct timeval){(time_t)(f->snd_timeout / 1000000000u),
                          (suseconds_t)(f->snd_timeout / 1000 % 1000000)};
    if (f->snd_timeout)
        sys_setsockopt(pair[1], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    return 0;
}

/* The near end goes to the mailbox. 0 or -errno. */
static int post(const struct relay_mail *mail, int near) {
    struct iovec iov = {(void *)mail, sizeof(*mail)};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } u;
    memset(&u, 0, sizeof(u));
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = u.room,
                       .msg_controllen = sizeof(u.room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &near, sizeof(near));
    long r = sys_sendmsg(self.fd.mail, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    return r < 0 ? (int)r : 0;
}

static int open_pair(struct file *f, struct relay_mail *mail, uint64_t id) {
    int pair[2];
    int r = make_pair(f, id, pair);
    if (r < 0)
        return r;
    r = post(mail, pair[0]);
    sys_close(pair[0]);
    if (r == 0)
        return pair[1];
    sys_close(pair[1]);
    return r;
}

int relay_open(struct file *f, bool passed) {
    if (f->kind != FILE_SOCK || (!passed && stack_is_listening(f->so)))
        return -EOPNOTSUPP;
    struct relay *relay = relay_new(f);
    if (!relay)
        return -ENOMEM;
    struct relay_mail mail = {.relay = relay};
    int r = open_pair(f, &mail, relay->id);
    if (r < 0)
        relay_drop(relay);
    return r;
}

/* Nobody but the relaying process will know the name: id 0 is never claimed. */
int relay_open_vforked(struct file *f, uint32_t slot, bool last) {
    struct relay_mail mail = {.f = f, .slot = slot, .last = last};
    if (f->kind != FILE_SOCK || stack_is_listening(f->so))
        return -EOPNOTSUPP;
    return open_pair(f, &mail, 0);
}

/* ---- together with other holders ------------------------------------------ */

#define SYNC_STEP 20000000 /* ns */
#define SYNC_TRIES 10 /* a relaying process that does not run is left out */

void relay_sync(struct file *f) {
    struct share *sh = self.sh;
    if (list_empty(&sh->relays)) {
        f->relays = 0; /* a count that a killed process left behind */
        return;
    }
    struct relay_mail mail = {.f = f, .sync = ++sh->relay_asked};
    struct iovec iov = {&mail, sizeof(mail)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (sys_sendmsg(self.fd.mail, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
    for (int i = 0; i < SYNC_TRIES; i++) {
        uint32_t done = sh->relay_done;
        if ((int32_t)(done - mail.sync) >= 0 || !f->relays)
            return;
        struct timespec ts = {0, SYNC_STEP};
        share_leave();
        sys_futex(&sh->relay_done, FUTEX_WAIT, done, &ts, NULL, 0);
        share_enter();
    }
    sh->count.relay_late++;
}

/* ---- claiming ------------------------------------------------------------ */

bool relay_name(int fd, char *name, size_t len, uint64_t *id) {
    struct sockaddr_un a = {0};
    socklen_t alen = sizeof(a) - 1;
    if (sys_getpeername(fd, &a, &alen) < 0 || a.sun_family != AF_UNIX ||
        strncmp(a.sun_path + 1, PREFIX, strlen(PREFIX)) != 0)
        return false;
    char *end;
    *id = strtoull(a.sun_path + 1 + strlen(PREFIX), &end, 16);
    if (*end != '/' || strlen(end + 1) >= len)
        return false;
    strcpy(name, end + 1);
    return true;
}

struct relay *relay_of(int fd) {
    char name[SHARE_NAME];
    uint64_t id;
    if (list_empty(&self.sh->relays) ||
        !relay_name(fd, name, sizeof(name), &id) || id == 0 ||
        strcmp(name, self.sh->name) != 0)
        return NULL;
    list_for_each(n, &self.sh->relays) {
        struct relay *r = container_of(n, struct relay, link);
        if (r->id == id)
            return r;
    }
    return NULL;
}

/* The copies in the pair are thrown away; what others have read of them is
 * taken from the stack as well. */
static void take_back(struct relay *r, int fd) {
    char scrap[4096];
    int left = 0;
    sys_ioctl(fd, FIONREAD, &left);
    uint32_t unread = left > 0 ? (uint32_t)left : 0;
    struct iovec iov = {NULL, r->pushed > unread ? r->pushed - unread : 0};
    if (iov.iov_len)
        stack_recv(self.st, r->f->so, &iov, 1, STACK_MSG_TRUNC, NULL);
    while (unread > 0) {
        size_t n = unread < sizeof(scrap) ? unread : sizeof(scrap);
        long got = sys_recvfrom(fd, scrap, n, MSG_DONTWAIT, NULL, NULL);
        if (got <= 0)
            break;
        unread -= (uint32_t)got;
    }
    r->pushed = 0;
}

bool relay_claim(struct relay *r, int fd) {
    bool stream = stack_sock_type(r->f->so) == STACK_STREAM;
    if (stream && !r->exact)
        return false;
    bool cloexec = sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC;
    if (stream)
        take_back(r, fd);
    if (file_map(fd, r->f) < 0)
        return false;
    r->claimed = true;
    self.sh->count.relay_claimed++;
    sys_dup3(self.fd.proto, fd, cloexec ? O_CLOEXEC : 0);
    return true;
}

/* ---- the process --------------------------------------------------------- */

/* Only what the stack needs stays open; 0 to 2 lead nowhere. */
static void shed_descriptors(void) {
    unsigned first = 0;
    while (first < INT32_MAX) {
        unsigned own = share_next_own(first, INT32_MAX - 1);
        if (own > first)
            sys_close_range(first, own - 1, 0);
        first = own + 1;
    }
    for (int fd = 0; fd < 3; fd++)
        if (!share_owns_fd(fd))
            sys_dup3(self.fd.proto, fd, 0);
    struct rlimit lim;
    if (sys_prlimit64(0, RLIMIT_NOFILE, NULL, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        sys_prlimit64(0, RLIMIT_NOFILE, &lim, NULL);
    }
}

/* A copy of some process of the stack, by a bare clone(2): no fork handler ran
 * and the kernel knows of no robust list. `robust` is this thread's. */
static void become_relay(void *robust, size_t len) {
    sys_set_robust_list(robust, len);
    lock_forked();
    share_inside = 0;
    share_deferred = 0;
    share_leave_hook = NULL;
    sys_call0(SYS_setsid);
    sys_call1(SYS_chdir, "/");
    sys_prctl(PR_SET_NAME, (long)"libstack-relay", 0, 0, 0);
    sys_prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    shed_descriptors();
    memset(file_table, 0, sizeof(file_table));
    self.slot = SHARE_PROCS;
    share_enter();
    share_fork_child(-1, false);
    relay_run();
    share_leave();
}

/* Is there one? Without the lock, which a vfork child may not take: one that
 * is about to leave looks for mail after it cleared relay_slot. */
static bool served(void) {
    uint32_t slot = __atomic_load_n(&self.sh->relay_slot, __ATOMIC_SEQ_CST);
    return slot && share_proc_alive(&self.sh->procs[slot - 1]);
}

/* Twice a clone without a signal at its end: the program's wait(2) never sees
 * the first, and init has the second. */
static int spawn(void) {
    uint64_t all = ~0ull, old;
    void *robust = NULL;
    size_t len = 0;
    sys_get_robust_list(0, &robust, &len);
    sys_rt_sigprocmask(SIG_SETMASK, &all, &old);
    long pid = sys_call5(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0) {
        long r = sys_call5(SYS_clone, 0, 0, 0, 0, 0);
        if (r == 0)
            become_relay(robust, len);
        sys_exit_group(r < 0);
    }
    int status = 0;
    if (pid > 0)
        sys_call4(SYS_wait4, pid, &status, __WCLONE, NULL);
    sys_rt_sigprocmask(SIG_SETMASK, &old, NULL);
    return pid < 0 ? (int)pid : status ? -EAGAIN : 0;
}

int relay_start(void) { return served() ? 0 : spawn(); }
