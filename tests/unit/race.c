/* race: threads of one process at the stack all at once: the lock, sleeping,
 * ringing and the watch. Made for the tsan preset, where any access to shared
 * memory without the lock or an atomic ends the program; so it is no Criterion
 * program, whose processes ThreadSanitizer cannot follow. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "preload/share/file.h"
#include "preload/share/guard.h"
#include "preload/share/share.h"
#include "preload/share/wait.h"

#define THREADS 6
#define ROUNDS 300
#define OURS 0xc6120001u
#define MS 1000000ull

static struct file *mine[THREADS];
static volatile int stop;

static void need(int ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "race: %s\n", what);
    exit(1);
}

static void make_stack(void) {
    char err[256] = "", name[40];
    int wire[2];
    snprintf(name, sizeof(name), "race%d/198.18.0.1", (int)getpid());
    need(socketpair(AF_UNIX, SOCK_DGRAM, 0, wire) == 0, "socketpair");
    struct share_new how = {
        .name = name,
        .packet_fd = wire[0],
        .arena_size = 64 << 20,
        .cfg = {.mac = {2, 0, 0, 0, 0, 1},
                .mtu = 1500,
                .addr = ip_from_v4(OURS),
                .prefix_len = 24},
    };
    need(share_create(&how, err, sizeof(err)) == 0, err);
}

static void make_socket(int i) {
    struct sock *so;
    struct endpoint at = {.ip = IP_ANY, .port = (uint16_t)(1000 + i)};
    share_enter();
    need(stack_socket(self.st, 4, STACK_DGRAM, 0, &so) == 0, "socket");
    need(stack_bind(self.st, so, &at) == 0, "bind");
    mine[i] = file_new(FILE_SOCK, so, NULL);
    need(mine[i] && file_install(mine[i], true) >= 0, "install");
    share_leave();
}

/* To the next thread, and back from the one before: a ring of all. */
static void *pass_on(void *arg) {
    int me = (int)(intptr_t)arg;
    struct file *f = mine[me];
    for (int i = 0; i < ROUNDS; i++) {
        char c[100] = "x";
        struct iovec iov = {c, sizeof(c)};
        struct stack_msg m = {
            .peer = {.ip = ip_from_v4(OURS),
                     .port = (uint16_t)(1000 + (me + 1) % THREADS)},
            .has_peer = true,
            .ttl = -1,
            .tos = -1,
        };
        share_enter();
        stack_send(self.st, f->so, &iov, 1, 0, &m);
        nstime_t end = share_clock() + 2000 * MS;
        while (stack_recv(self.st, f->so, &iov, 1, 0, NULL) < 0)
            need(wait_source(stack_sock_source(f->so), f, STACK_IN, end) == 0,
                 "a datagram is late");
        share_leave();
    }
    return NULL;
}

static void *service(void *arg) {
    wait_service(&stop);
    return arg;
}
static void *guard(void *arg) {
    guard_run(&stop);
    return arg;
}

int main(void) {
    pthread_t t[THREADS], other;
    make_stack();
    for (int i = 0; i < THREADS; i++)
        make_socket(i);
    pthread_create(&other, NULL, service, NULL);
    pthread_create(&other, NULL, guard, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, pass_on, (void *)(intptr_t)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    puts("ok race");
    fflush(stdout);
    _exit(0); /* the two others serve on */
}
