/* The watch and its sleepers, over a stack whose interface is one end of a
 * datagram socket pair: nothing arrives unless the test sends it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/share/file.h"
#include "preload/share/guard.h"
#include "preload/share/share.h"
#include "preload/share/wait.h"

static int wire[2];

static void make_stack(void) {
    char err[256] = "", name[40];
    snprintf(name, sizeof(name), "test%d/198.18.0.1", (int)getpid());
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, wire), 0);
    struct share_new how = {
        .name = name,
        .packet_fd = wire[0],
        .arena_size = 64 << 20,
        .cfg = {.mac = {2, 0, 0, 0, 0, 1},
                .mtu = 1500,
                .addr = ip_from_v4(0xc6120001),
                .prefix_len = 24},
    };
    cr_assert_eq(share_create(&how, err, sizeof(err)), 0, "%s", err);
}

static struct file *udp_file(uint16_t port) {
    struct sock *so;
    struct endpoint at = {.ip = IP_ANY, .port = port};
    cr_assert_eq(stack_socket(self.st, 4, STACK_DGRAM, 0, &so), 0);
    cr_assert_eq(stack_bind(self.st, so, &at), 0);
    struct file *f = file_new(FILE_SOCK, so, NULL);
    cr_assert_geq(file_install(f, true), 0);
    return f;
}

/* Datagrams to our own address need no interface. */
static void send_to_self(struct file *f, uint16_t port) {
    struct stack_msg m = {
        .peer = {.ip = ip_from_v4(0xc6120001), .port = port},
        .has_peer = true,
        .ttl = -1,
        .tos = -1,
    };
    struct iovec iov = {"x", 1};
    cr_assert_eq(stack_send(self.st, f->so, &iov, 1, 0, &m), 1);
}

static nstime_t in_ms(unsigned ms) {
    return share_clock() + (nstime_t)ms * 1000000;
}

Test(wait, deadline_ends_a_wait) {
    make_stack();
    share_enter();
    struct file *f = udp_file(7);
    nstime_t t0 = share_clock();
    int r = wait_source(stack_sock_source(f->so), f, STACK_IN, in_ms(30));
    share_leave();
    cr_assert_eq(r, -EAGAIN);
    cr_assert_geq(share_clock() - t0, 30000000);
}

struct task {
    struct file *f;
    int result;
    nstime_t woke;
};

static void *wait_for_data(void *arg) {
    struct task *t = arg;
    share_enter();
    t->result =
        wait_source(stack_sock_source(t->f->so), t->f, STACK_IN, in_ms(5000));
    share_leave();
    t->woke = share_clock();
    return NULL;
}

/* Many threads on many sockets: each is woken by its own datagram, whoever
 * holds the watch. */
Test(wait, each_sleeper_is_woken, .timeout = 30) {
    enum { N = 40 };
    make_stack();
    struct task task[N];
    pthread_t th[N];
    share_enter();
    for (int i = 0; i < N; i++)
        task[i] =
            (struct task){.f = udp_file((uint16_t)(100 + i)), .result = 1};
    struct file *sender = udp_file(99);
    share_leave();
    for (int i = 0; i < N; i++)
        pthread_create(&th[i], NULL, wait_for_data, &task[i]);
    usleep(50000);
    for (int i = N - 1; i >= 0; i--) {
        share_enter();
        send_to_self(sender, (uint16_t)(100 + i));
        share_leave();
        pthread_join(th[i], NULL);
        cr_assert_eq(task[i].result, 0, "sleeper %d: %d", i, task[i].result);
    }
}

/* The same between processes. */
Test(wait, wakes_cross_processes, .timeout = 30) {
    enum { ROUNDS = 200 };
    make_stack();
    share_enter();
    struct file *ping = udp_file(7), *pong = udp_file(8);
    int slot = share_fork_prepare();
    share_leave();
    pid_t pid = fork();
    lock_forked();
    share_enter();
    if (pid == 0)
        share_fork_child(slot, true);
    else
        share_fork_parent(slot, pid);
    struct file *mine = pid ? ping : pong;
    for (int i = 0; i < ROUNDS; i++) {
        char c;
        struct iovec iov = {&c, 1};
        if (pid)
            send_to_self(ping, 8);
        while (stack_recv(self.st, mine->so, &iov, 1, 0, NULL) == -EAGAIN)
            if (wait_source(stack_sock_source(mine->so), mine, STACK_IN,
                            in_ms(3000)) < 0)
                _exit(1);
        if (!pid)
            send_to_self(pong, 7);
    }
    share_leave();
    if (pid == 0)
        _exit(0);
    int status;
    waitpid(pid, &status, 0);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A kernel descriptor ends the wait of its own thread, watcher or not. */
static void *wait_for_eventfd(void *arg) {
    struct pollfd p = {*(int *)arg, POLLIN, 0};
    share_enter();
    struct sleeper *s = sleeper_get();
    enum wait_result r = wait_sleep(s, &p, 1, in_ms(5000), NULL);
    sleeper_put(s);
    share_leave();
    return (void *)(intptr_t)(r == WAIT_KERNEL && p.revents == POLLIN);
}

Test(wait, kernel_descriptors_wake_too, .timeout = 30) {
    enum { N = 30 }; /* more than there are bells */
    make_stack();
    int efd[N];
    pthread_t th[N];
    for (int i = 0; i < N; i++) {
        efd[i] = eventfd(0, 0);
        pthread_create(&th[i], NULL, wait_for_eventfd, &efd[i]);
    }
    usleep(50000);
    for (int i = 0; i < N; i++) {
        void *ok;
        uint64_t one = 1;
        cr_assert_eq(write(efd[i], &one, 8), 8);
        pthread_join(th[i], &ok);
        cr_assert(ok, "thread %d", i);
    }
}

static volatile int stop;
static void *service(void *arg) {
    wait_service(&stop);
    return arg;
}

/* A service thread yields the watch to sleepers and takes it back. */
Test(wait, service_thread_takes_over, .timeout = 30) {
    pthread_t th;
    make_stack();
    pthread_create(&th, NULL, service, NULL);
    usleep(20000);
    share_enter();
    cr_assert(self.sh->watcher && self.sh->watcher->service);
    struct file *f = udp_file(7);
    int r = wait_source(stack_sock_source(f->so), f, STACK_IN, in_ms(20));
    cr_assert_eq(r, -EAGAIN);
    share_leave();
    usleep(50000);
    share_enter();
    cr_assert(self.sh->watcher && self.sh->watcher->service,
              "the watch stayed free");
    share_leave();
}

/* A process that dies with the watch: found by the others, descriptors and
 * sleepers dropped. */
Test(wait, dead_process_is_forgotten, .timeout = 30) {
    make_stack();
    share_enter();
    struct file *f = udp_file(7);
    int slot = share_fork_prepare();
    share_leave();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
        lock_forked();
        share_enter();
        share_fork_child(slot, true);
        wait_source(stack_sock_source(f->so), f, STACK_IN, NSTIME_NEVER);
        _exit(0);
    }
    share_enter();
    share_fork_parent(slot, pid);
    share_leave();
    for (int i = 0; i < 500; i++) {
        usleep(10000);
        share_enter();
        bool has = self.sh->watcher && self.sh->watcher->pid == pid;
        share_leave();
        if (has)
            break;
    }
    cr_assert(self.sh->watcher && self.sh->watcher->pid == pid);
    cr_assert_eq(f->refs, 3); /* two descriptors, one pin */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    share_enter();
    int r = wait_source(stack_sock_source(f->so), f, STACK_IN, in_ms(1500));
    cr_assert_eq(r, -EAGAIN);
    cr_assert_eq(self.sh->count.watch_takeover, 1);
    cr_assert_eq(self.sh->nprocs, 1);
    cr_assert_eq(f->refs, 1);
    share_leave();
}

/* ---- those who die or stop with something to do ------------------------- */

static pid_t fork_sharing(void) {
    share_enter();
    int slot = share_fork_prepare();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        share_inside = 0;
        lock_forked();
        share_enter();
        share_fork_child(slot, true);
        file_forked();
        share_leave();
        return 0;
    }
    share_leave();
    share_enter();
    share_fork_parent(slot, pid);
    share_leave();
    return pid;
}

/* A process collects a sleeper to be woken, gives the lock up, and is killed
 * before it rings. */
Test(wait, ring_that_died_is_made_good, .timeout = 30) {
    make_stack();
    share_enter();
    struct file *f = udp_file(7), *sender = udp_file(8);
    share_leave();
    struct task task = {.f = f, .result = 1};
    pthread_t th[2];
    struct file *other = NULL;
    share_enter();
    other = udp_file(9);
    share_leave();
    /* The first to sleep watches; the one under test dozes. */
    struct task watcher = {.f = other, .result = 1};
    pthread_create(&th[0], NULL, wait_for_data, &watcher);
    usleep(20000);
    pthread_create(&th[1], NULL, wait_for_data, &task);
    usleep(20000);
    nstime_t t0 = share_clock();
    pid_t pid = fork_sharing();
    if (pid == 0) {
        share_enter();
        send_to_self(sender, 7);
        stack_flush(self.st);
        while (stack_next_wake(self.st))
            ;
        lock_give(&self.sh->lock); /* and no ring */
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
    pthread_join(th[1], NULL);
    cr_assert_eq(task.result, 0, "%d", task.result);
    cr_assert_lt(task.woke - t0, 2500 * 1000000ull);
    pthread_join(th[0], NULL);
}

static void *guard(void *arg) {
    guard_run(&stop);
    return arg;
}

static void be_keeper(void) {
    pthread_t th;
    share_enter();
    self.sh->procs[self.slot].keeper = true;
    self.sh->keeper_slot = self.slot + 1;
    share_leave();
    pthread_create(&th, NULL, guard, NULL);
    pthread_create(&th, NULL, service, NULL);
}

/* The watcher is stopped; a frame comes; somebody else must take it in. */
Test(wait, stopped_watcher_is_relieved, .timeout = 30) {
    /* an ARP question behind the 10 bytes of a virtio_net_hdr */
    static const uint8_t question[52] = {
        0,    0,    0,    0, 0, 0, 0, 0, 0, 0,   0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8,   6,    0,    1,
        8,    0,    6,    4, 0, 1, 2, 0, 0, 0,   0,    9,    198,
        18,   0,    9,    0, 0, 0, 0, 0, 0, 198, 18,   0,    1};
    uint8_t room[2048];
    make_stack();
    share_enter();
    struct file *f = udp_file(7);
    share_leave();
    be_keeper();
    pid_t pid = fork_sharing();
    if (pid == 0) {
        share_enter();
        wait_source(stack_sock_source(f->so), f, STACK_IN, NSTIME_NEVER);
        _exit(0);
    }
    while (!self.sh->watcher || self.sh->watcher->pid != pid) {
        send(wire[1], question, sizeof(question), 0); /* ends a robbed sleep */
        usleep(10000);
    }
    usleep(300000); /* the guard rests again */
    kill(pid, SIGSTOP);
    while (recv(wire[1], room, sizeof(room), MSG_DONTWAIT) > 0)
        ;
    nstime_t t0 = share_clock();
    send(wire[1], question, sizeof(question), 0);
    ssize_t n = recv(wire[1], room, sizeof(room), 0);
    nstime_t took = share_clock() - t0;
    cr_assert_geq(n, 52);
    cr_assert_lt(took, 500 * 1000000ull, "%d ms", (int)(took / 1000000));
    cr_assert_geq(self.sh->count.watch_stolen, 1);
    cr_assert_neq(self.sh->watcher->pid, pid);
    /* Awake again, it notices, and can be killed without harm. */
    kill(pid, SIGCONT);
    usleep(50000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    usleep(100000);
    cr_assert_eq(self.sh->nprocs, 1, "the guard was not told of the death");
    cr_assert_eq(f->refs, 1);
}
