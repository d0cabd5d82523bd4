/* Processes of one stack are killed or stopped at random moments; the others
 * go on.
 *
 * Several processes with three threads each talk to each other through the
 * stack's own address: datagrams, and connections to a listener that all of
 * them share. The test kills one after another, wherever it happens to be
 * (often inside the lock, since they do little else), and starts a new one in
 * its place. Now and then it lets them be, and demands that every one of them
 * makes progress and that frames from outside are answered. In the end all are
 * killed, and nothing of them may be left.
 *
 * LIBSTACK_KILLS sets the number of kills (default 2,000, about 10 s; one in
 * twelve comes inside the lock).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/share/file.h"
#include "preload/share/guard.h"
#include "preload/share/share.h"
#include "preload/share/wait.h"
#include "stack/stats.h"

#define WORKERS 4
#define OURS 0xc6120001u
#define PORT 80
#define MS 1000000ull

static int wire[2];

/* What the workers tell us: rounds that each kind of thread has finished. */
struct progress {
    volatile uint64_t echo, ask, dial;
};
static struct progress *progress;
static struct file *listener;

/* ---- the stack, and its keeper ------------------------------------------ */

static void make_stack(void) {
    char err[256] = "", name[40];
    snprintf(name, sizeof(name), "kill%d/198.18.0.1", (int)getpid());
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, wire), 0);
    struct share_new how = {
        .name = name,
        .packet_fd = wire[0],
        .arena_size = 64 << 20,
        .cfg = {.mac = {2, 0, 0, 0, 0, 1},
                .mtu = 1500,
                .addr = ip_from_v4(OURS),
                .prefix_len = 24},
    };
    cr_assert_eq(share_create(&how, err, sizeof(err)), 0, "%s", err);
}

static volatile int stop;
static void *service(void *arg) {
    wait_service(&stop);
    return arg;
}
static void *guard(void *arg) {
    guard_run(&stop);
    return arg;
}

static void be_keeper(void) {
    pthread_t t;
    share_enter();
    self.sh->procs[self.slot].keeper = true;
    self.sh->keeper_slot = self.slot + 1;
    share_leave();
    pthread_create(&t, NULL, guard, NULL);
    pthread_create(&t, NULL, service, NULL);
}

/* ---- the wire's other end ------------------------------------------------ */

static volatile uint64_t answers;

/* Ask for the stack's MAC (RFC 826) again and again, and count the answers:
 * each of them needs somebody who watches. */
static void *ask_arp(void *arg) {
    /* behind the 10 bytes of a struct virtio_net_hdr */
    static const uint8_t question[52] = {
        0,    0,    0,    0, 0, 0, 0, 0, 0, 0,   0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8,   6,    0,    1,
        8,    0,    6,    4, 0, 1, 2, 0, 0, 0,   0,    9,    198,
        18,   0,    9,    0, 0, 0, 0, 0, 0, 198, 18,   0,    1};
    uint8_t room[2048];
    for (;;) {
        send(wire[1], question, sizeof(question), MSG_DONTWAIT);
        usleep(2000);
        ssize_t n;
        while ((n = recv(wire[1], room, sizeof(room), MSG_DONTWAIT)) > 0)
            answers +=
                n >= 52 && room[22] == 8 && room[23] == 6 && room[31] == 2;
    }
    return arg;
}

/* ---- a worker ------------------------------------------------------------ */

static nstime_t in_ms(unsigned ms) { return share_clock() + ms * MS; }

/* Lock held: a socket behind a descriptor of this process. */
static struct file *open_sock(enum stack_type type, int *fd) {
    struct sock *so;
    if (stack_socket(self.st, 4, type, 0, &so) < 0)
        return NULL;
    struct file *f = file_new(FILE_SOCK, so, NULL);
    if (!f) {
        stack_close(self.st, so);
        return NULL;
    }
    *fd = file_install(f, true);
    return *fd < 0 ? NULL : f;
}

static void drop(int fd) {
    file_unmap(fd);
    share_leave();
    close(fd);
}

/* Until data comes or `ms` are over. Bytes, 0 or an error. */
static ssize_t read_some(struct file *f, void *p, size_t n, unsigned ms,
                         struct stack_msg *m) {
    nstime_t end = in_ms(ms);
    struct iovec iov = {p, n};
    for (;;) {
        ssize_t r = stack_recv(self.st, f->so, &iov, 1, 0, m);
        if (r != -EAGAIN)
            return r;
        r = wait_source(stack_sock_source(f->so), f, STACK_IN, end);
        if (r < 0)
            return r;
    }
}

static ssize_t send_to(struct file *f, uint16_t port, const void *p, size_t n) {
    struct stack_msg m = {.peer = {.ip = ip_from_v4(OURS), .port = port},
                          .has_peer = true,
                          .ttl = -1,
                          .tos = -1};
    struct iovec iov = {(void *)p, n};
    return stack_send(self.st, f->so, &iov, 1, 0, &m);
}

static int my_index;

/* A datagram service on a port of our own; it also asks the others. */
static void *ask_others(void *arg) {
    unsigned seed = (unsigned)getpid();
    for (;;) {
        int fd;
        char c[200] = "x";
        share_enter();
        struct file *f = open_sock(STACK_DGRAM, &fd);
        if (f) {
            uint16_t to = (uint16_t)(1000 + rand_r(&seed) % WORKERS);
            send_to(f, to, c, sizeof(c));
            if (read_some(f, c, sizeof(c), 20, NULL) > 0)
                progress[my_index].ask++;
            drop(fd);
        } else {
            share_leave();
        }
    }
    return arg;
}

static void *answer_others(void *arg) {
    int fd;
    struct endpoint at = {.ip = IP_ANY, .port = (uint16_t)(1000 + my_index)};
    share_enter();
    struct file *f = open_sock(STACK_DGRAM, &fd);
    /* the one before us may not be buried yet */
    while (f && stack_bind(self.st, f->so, &at) == -EADDRINUSE) {
        share_leave();
        usleep(1000);
        share_enter();
    }
    for (;;) {
        struct stack_msg m = {0};
        char c[200];
        ssize_t n = read_some(f, c, sizeof(c), 1000, &m);
        if (n > 0)
            send_to(f, m.peer.port, c, (size_t)n);
        progress[my_index].echo++;
    }
    return arg;
}

/* Take connections from the listener that everybody shares. */
static void *accept_all(void *arg) {
    for (;;) {
        struct sock *so;
        share_enter();
        if (stack_accept(self.st, listener->so, &so) < 0) {
            wait_source(stack_sock_source(listener->so), listener, STACK_IN,
                        in_ms(500));
            share_leave();
            continue;
        }
        struct file *f = file_new(FILE_SOCK, so, NULL);
        int fd = f ? file_install(f, true) : -1;
        if (fd < 0) {
            stack_close(self.st, so);
            share_leave();
            continue;
        }
        char c[4000];
        struct iovec iov = {c, sizeof(c)};
        ssize_t n = read_some(f, c, sizeof(c), 300, NULL);
        if (n > 0) {
            iov.iov_len = (size_t)n;
            stack_send(self.st, so, &iov, 1, 0, NULL);
            read_some(f, c, sizeof(c), 300, NULL); /* the end */
        }
        drop(fd);
    }
    return arg;
}

/* Connections to it, ended by a reset so that no TIME-WAIT is left. */
static void dial(void) {
    int fd;
    char c[3000] = "hello";
    struct endpoint to = {.ip = ip_from_v4(OURS), .port = PORT};
    struct iovec iov = {c, sizeof(c)};
    share_enter();
    struct file *f = open_sock(STACK_STREAM, &fd);
    if (!f) {
        share_leave();
        return;
    }
    stack_setopt(self.st, f->so, STACK_OPT_LINGER, 0);
    if (stack_connect(self.st, f->so, &to) == -EINPROGRESS)
        wait_source(stack_sock_source(f->so), f, STACK_OUT, in_ms(300));
    if (stack_send(self.st, f->so, &iov, 1, 0, NULL) > 0 &&
        read_some(f, c, sizeof(c), 300, NULL) > 0)
        progress[my_index].dial++;
    drop(fd);
}

/* Sections without a pause, so that death comes inside one often enough: a
 * connection that nobody waits for, a datagram, and an end. */
static void *hurry(void *arg) {
    struct endpoint to = {.ip = ip_from_v4(OURS), .port = PORT};
    for (;;) {
        int fd;
        share_enter();
        struct file *f = open_sock(STACK_STREAM, &fd);
        if (f) {
            stack_setopt(self.st, f->so, STACK_OPT_LINGER, 0);
            stack_connect(self.st, f->so, &to);
            drop(fd);
            share_enter();
        }
        f = open_sock(STACK_DGRAM, &fd);
        if (f) {
            send_to(f, (uint16_t)(1000 + my_index), "y", 1);
            drop(fd);
        } else {
            share_leave();
        }
    }
    return arg;
}

static void worker(int index) {
    pthread_t t;
    my_index = index;
    if (index == 0)
        pthread_create(&t, NULL, hurry, NULL);
    pthread_create(&t, NULL, answer_others, NULL);
    pthread_create(&t, NULL, ask_others, NULL);
    pthread_create(&t, NULL, accept_all, NULL);
    for (;;)
        dial();
}

/* ---- birth and death ------------------------------------------------------ */

static pid_t pids[WORKERS];

static void start(int index) {
    share_enter();
    int slot = share_fork_prepare();
    cr_assert_geq(slot, 0, "no slot: %d", slot);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        share_inside = 0;
        lock_forked();
        share_enter();
        share_fork_child(slot, true);
        file_forked();
        share_leave();
        worker(index);
    }
    share_leave();
    share_enter();
    share_fork_parent(slot, pid);
    share_leave();
    pids[index] = pid;
}

static void stop_one(int index) {
    kill(pids[index], SIGKILL);
    waitpid(pids[index], NULL, 0);
}

/* What a stalled worker does, for the reader of a failure: the lock, the
 * watch, who sleeps, and where the kernel has each of its threads. */
static void describe(int index) {
    struct share *sh = self.sh;
    char cmd[200];
    fprintf(stderr, "lock %08x, watcher %d/%d asleep %d\n", sh->lock.word,
            sh->watcher ? sh->watcher->pid : 0,
            sh->watcher ? sh->watcher->tid : 0,
            sh->watcher ? sh->watcher->asleep : 0);
    list_for_each(n, &sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        fprintf(stderr,
                "sleeper %d/%d asleep %d polling %d fired %x rung %u bell %d "
                "service %d\n",
                s->pid, s->tid, s->asleep, s->polling, s->w.fired, s->rung,
                s->bell, s->service);
    }
    snprintf(cmd, sizeof(cmd),
             "for t in /proc/%d/task/*; do echo $t $(cut -d' ' -f3,14,15 "
             "$t/stat) $(cat $t/syscall); done >&2",
             pids[index]);
    cr_assert_geq(system(cmd), 0);
}

/* Everybody must get on within `ms`. */
static void all_progress(unsigned ms, unsigned killed) {
    struct progress before[WORKERS];
    uint64_t answered = answers;
    nstime_t end = in_ms(ms);
    memcpy(before, (void *)progress, sizeof(before));
    for (int i = 0; i < WORKERS; i++)
        while (progress[i].ask < before[i].ask + 3 ||
               progress[i].dial < before[i].dial + 3 ||
               progress[i].echo < before[i].echo + 1 ||
               answers < answered + 3) {
            if (share_clock() >= end)
                describe(i);
            cr_assert_lt(share_clock(), end,
                         "worker %d stalls after %u kills: asked %d, dialled "
                         "%d, answered %d; arp %d",
                         i, killed, (int)(progress[i].ask - before[i].ask),
                         (int)(progress[i].dial - before[i].dial),
                         (int)(progress[i].echo - before[i].echo),
                         (int)(answers - answered));
            usleep(500);
        }
}

/* proc(5): the state letter of a process. */
static char state_of(pid_t pid) {
    char path[40], line[300] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    cr_assert(f && fgets(line, sizeof(line), f));
    fclose(f);
    return *(strrchr(line, ')') + 2);
}

/* While worker `but` is stopped the others must get on, and frames be answered;
 * it must still be stopped afterwards. */
static void others_progress(int but, unsigned stops) {
    struct progress before[WORKERS];
    uint64_t answered = answers;
    nstime_t end = in_ms(15000);
    memcpy(before, (void *)progress, sizeof(before));
    for (int i = 0; i < WORKERS; i++)
        while ((i != but && progress[i].ask == before[i].ask) ||
               answers == answered) {
            if (share_clock() >= end)
                describe(but);
            cr_assert_lt(share_clock(), end,
                         "worker %d stalls: %d was stopped, %u stops", i, but,
                         stops);
            usleep(200);
        }
    /* who was continued for a moment stops again */
    while (state_of(pids[but]) != 'T' || self.sh->thawer) {
        cr_assert_lt(share_clock(), end, "worker %d runs", but);
        usleep(200);
    }
}

/* ---- what is left ---------------------------------------------------------- */

struct left {
    unsigned procs, socks, sleepers;
    size_t used;
};

static struct left look(void) {
    struct stack_memory m;
    struct left l = {0};
    struct stack_sock_info info;
    struct sock *at = NULL;
    share_enter();
    share_reap();
    struct sock *so;
    while (stack_accept(self.st, listener->so, &so) == 0)
        stack_close(self.st, so); /* nobody is left to take it */
    stack_memory(self.st, &m);
    l.procs = self.sh->nprocs;
    l.used = m.used;
    while (stack_each_sock(self.st, &at, &info))
        l.socks++;
    list_for_each(n, &self.sh->sleepers) l.sleepers +=
        container_of(n, struct sleeper, link)->pid != getpid();
    share_leave();
    return l;
}

static void list_socks(void) {
    struct stack_sock_info i;
    struct sock *at = NULL;
    share_enter();
    while (stack_each_sock(self.st, &at, &i))
        fprintf(stderr, "left: proto %d %s port %d to %d, %s, age %d ms\n",
                i.proto, stack_tcp_state_name(i.tcp.state), i.local.port,
                i.remote.port, i.orphan ? "closed" : "open", (int)(i.age / MS));
    share_leave();
}

static void run(unsigned kills, unsigned patience) {
    unsigned seed = 1;
    pthread_t t;
    struct left before = look(), after;
    progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_create(&t, NULL, ask_arp, NULL);
    for (int i = 0; i < WORKERS; i++)
        start(i);
    all_progress(patience, 0);
    for (unsigned k = 1; k <= kills; k++) {
        int i = rand_r(&seed) % WORKERS;
        usleep((useconds_t)(rand_r(&seed) % 4000));
        stop_one(i);
        start(i);
        if (k % 20 == 0)
            all_progress(patience, k);
    }
    for (int i = 0; i < WORKERS; i++)
        stop_one(i);
    nstime_t end = in_ms(3000);
    do {
        usleep(20000);
        after = look();
    } while (share_clock() < end &&
             (after.socks > before.socks || after.procs > before.procs));
    const struct stack_counters *c = stack_counters(self.st);
    fprintf(stderr,
            "kill: %u kills, %d inside the lock, %d sockets reset, %d lost, "
            "%d lists cut, %d bytes in them; %zu bytes more than before\n",
            kills, (int)self.sh->count.lock_died, (int)c->repair_reset,
            (int)c->repair_lost, (int)c->repair_cut, (int)c->repair_leaked,
            after.used - before.used);
    if (after.socks > before.socks)
        list_socks();
    cr_assert_eq(after.procs, before.procs);
    cr_assert_eq(after.sleepers, 0);
    cr_assert_eq(after.socks, before.socks);
    cr_assert_eq(c->bad_free, 0);
    /* Each death inside the lock may lose what was in the dead one's hands. */
    cr_assert_leq(after.used, before.used + (1 << 16) + c->repair_leaked +
                                  self.sh->count.lock_died * 8192);
}

static void make_listener(void) {
    struct sock *so;
    struct endpoint at = {.ip = IP_ANY, .port = PORT};
    share_enter();
    cr_assert_eq(stack_socket(self.st, 4, STACK_STREAM, 0, &so), 0);
    cr_assert_eq(stack_bind(self.st, so, &at), 0);
    cr_assert_eq(stack_listen(self.st, so, 100), 0);
    listener = file_new(FILE_SOCK, so, NULL);
    cr_assert_geq(file_install(listener, true), 0);
    share_leave();
}

Test(kill, with_a_keeper, .timeout = 300) {
    const char *n = getenv("LIBSTACK_KILLS");
    make_stack();
    make_listener();
    be_keeper();
    run(n ? (unsigned)atoi(n) : 2000, 15000);
}

/* Stopped wherever they are, inside the lock too. */
static void stop_and_go(unsigned stops) {
    unsigned seed = 2;
    pthread_t t;
    progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_create(&t, NULL, ask_arp, NULL);
    for (int i = 0; i < WORKERS; i++)
        start(i);
    all_progress(15000, 0);
    for (unsigned k = 1; k <= stops; k++) {
        int i = rand_r(&seed) % 2 ? 0 : rand_r(&seed) % WORKERS;
        usleep((useconds_t)(rand_r(&seed) % 4000));
        kill(pids[i], SIGSTOP);
        waitpid(pids[i], NULL, WUNTRACED);
        others_progress(i, k);
        kill(pids[i], SIGCONT);
    }
    for (int i = 0; i < WORKERS; i++)
        stop_one(i);
    fprintf(stderr, "kill: %u stops, %d inside the lock\n", stops,
            (int)self.sh->count.lock_thawed);
}

Test(kill, stopped_holders, .timeout = 300) {
    const char *n = getenv("LIBSTACK_STOPS");
    make_stack();
    make_listener();
    be_keeper();
    stop_and_go(n ? (unsigned)atoi(n) : 200);
}

/* Nobody is told of a death: everybody looks once a second. */
Test(kill, without_a_keeper, .timeout = 300) {
    make_stack();
    make_listener();
    run(40, 15000);
}
