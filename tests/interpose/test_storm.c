/* Storms: handlers that use sockets in a hundred threads, cancellation at
 * random moments, exit and exec while other threads send. What is counted must
 * come out right, and nobody may hang. */
#include "t.h"
#include <pthread.h>
#include <sys/epoll.h>

#define SERVERS 100
#define CLIENTS 8
#define ROUNDS 40

/* ---- a hundred threads under signals ------------------------------------- */

static volatile bool stormy = true;
static volatile long handled, forked;
static int to_self, listener;
static pthread_t server[SERVERS];

/* Sends, opens and closes; now and then forks a child that does the same. */
static void handler(int sig) {
    int saved = errno;
    (void)!send(to_self, "s", 1, MSG_DONTWAIT);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0)
        close(fd);
    if (sig == SIGUSR2) {
        pid_t pid = fork();
        if (pid == 0) {
            (void)!send(to_self, "c", 1, MSG_DONTWAIT);
            _exit(0);
        }
        while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        __atomic_add_fetch(&forked, 1, __ATOMIC_RELAXED);
    }
    __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
    errno = saved;
}

static void *serve(void *arg) {
    for (;;) {
        char buf[300];
        ssize_t n;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            break; /* shut down */
        while ((n = read(fd, buf, sizeof(buf))) > 0)
            if (write(fd, buf, (size_t)n) != n)
                break;
        close(fd);
    }
    return arg;
}

static void *dial(void *port) {
    char out[300], in[300];
    long bad = 0;
    for (int i = 0; i < ROUNDS || handled < 300; i++) {
        struct sockaddr_in a = own((int)(intptr_t)port);
        size_t n = (size_t)(1 + i * 37 % 300);
        int fd = tcp();
        memset(out, i, n);
        bad += connect(fd, SA(a)) < 0 || write(fd, out, n) != (ssize_t)n ||
               read_all(fd, in, n) != (long)n || memcmp(in, out, n) != 0;
        close(fd);
    }
    return (void *)bad;
}

static void *thunder(void *arg) {
    unsigned seed = 1;
    for (int i = 0; stormy; i++) {
        pthread_kill(server[rand_r(&seed) % SERVERS],
                     i % 50 ? SIGUSR1 : SIGUSR2);
        usleep(300);
    }
    return arg;
}

static void signals(void) {
    pthread_t client[CLIENTS], t;
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigset_t both;
    int port;
    long bad = 0;
    section("a hundred threads under signals");
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGUSR2);
    sigaction(SIGUSR1, &sa, NULL);
    sigaction(SIGUSR2, &sa, NULL);
    to_self = udp_to(P_DISCARD);
    listener = tcp_listen(SERVERS, &port);
    for (int i = 0; i < SERVERS; i++)
        pthread_create(&server[i], NULL, serve, NULL);
    pthread_sigmask(SIG_BLOCK, &both, NULL);
    pthread_create(&t, NULL, thunder, NULL);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&client[i], NULL, dial, (void *)(intptr_t)port);
    for (int i = 0; i < CLIENTS; i++) {
        void *r;
        pthread_join(client[i], &r);
        bad += (long)r;
    }
    stormy = false;
    pthread_join(t, NULL);
    shutdown(listener, SHUT_RDWR);
    for (int i = 0; i < SERVERS; i++)
        pthread_join(server[i], NULL);
    close(listener);
    close(to_self);
    printf("wrong %ld, handlers ran %d, and forked %d\n", bad, handled >= 300,
           forked > 0);
}

/* ---- cancellation --------------------------------------------------------- */

static int quiet_fd, quiet_udp, quiet_listener; /* nothing ever comes */
static long cleaned;

static void cleanup(void *arg) {
    __atomic_add_fetch(&cleaned, 1, __ATOMIC_RELAXED);
}

/* Between its blocking calls it does what is no cancellation point. */
static void *victim(void *arg) {
    char buf[16];
    int kind = (int)(intptr_t)arg, old;
    struct pollfd p = {quiet_fd, POLLIN, 0};
    struct epoll_event ev = {.events = EPOLLIN};
    struct msghdr m = {.msg_iov = &(struct iovec){buf, sizeof(buf)},
                       .msg_iovlen = 1};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(quiet_fd, &set);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    int ep = epoll_create1(0);
    epoll_ctl(ep, EPOLL_CTL_ADD, quiet_fd, &ev);
    pthread_cleanup_push(cleanup, NULL);
    if (kind % 16 >= 8)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    for (;;) {
        switch (kind % 8) {
        case 0:
            (void)!recv(quiet_fd, buf, sizeof(buf), 0);
            break;
        case 1:
            (void)!read(quiet_udp, buf, sizeof(buf));
            break;
        case 2:
            accept(quiet_listener, NULL, NULL);
            break;
        case 3:
            poll(&p, 1, -1);
            break;
        case 4:
            epoll_wait(ep, &ev, 1, -1);
            break;
        case 5:
            recvmsg(quiet_fd, &m, 0);
            break;
        case 6:
            select(quiet_fd + 1, &set, NULL, NULL, NULL);
            break;
        default:
            (void)!recvfrom(quiet_udp, buf, sizeof(buf), 0, NULL, NULL);
        }
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancellation(void) {
    enum { N = 320, AT_ONCE = 16 };
    unsigned seed = 3;
    int port;
    section("cancelled at blocking calls");
    quiet_fd = tcp_to(P_STUCK);
    quiet_udp = udp_to(P_DISCARD);
    quiet_listener = tcp_listen(4, &port);
    for (int i = 0; i < N; i += AT_ONCE) {
        pthread_t t[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++)
            pthread_create(&t[k], NULL, victim, (void *)(intptr_t)(i + k));
        usleep((useconds_t)(rand_r(&seed) % 2000));
        for (int k = 0; k < AT_ONCE; k++)
            pthread_cancel(t[(k + i) % AT_ONCE]);
        for (int k = 0; k < AT_ONCE; k++) {
            pthread_join(t[k], NULL);
        }
        closefrom(quiet_listener + 1); /* their epoll sets */
    }
    printf("cleaned %ld\n", cleaned);
    /* No lock is left held. */
    int fd = tcp_to(P_HELLO);
    char buf[5];
    text("got", buf, read_all(fd, buf, 5));
    close(fd), close(quiet_fd), close(quiet_udp), close(quiet_listener);
}

/* ---- exit and exec while others send --------------------------------------- */

static int sending[8];

static void *send_on(void *arg) {
    static char block[3000];
    while (send(*(int *)arg, block, sizeof(block), MSG_NOSIGNAL) > 0)
        ;
    return arg;
}

/* Eight threads send, on connections that this process shares with its parent
 * and with the image to come. */
static void start_senders(unsigned seed) {
    pthread_t t;
    for (int i = 0; i < 8; i++)
        pthread_create(&t, NULL, send_on, &sending[i]);
    usleep(1000 + seed * 977 % 3000);
}

static int alive(void) {
    int n = 0;
    for (int i = 0; i < 8; i++)
        n += send(sending[i], "x", 1, MSG_NOSIGNAL) == 1;
    return n;
}

static int count_alive(char **argv) {
    for (int i = 0; i < 8; i++)
        sending[i] = atoi(argv[2 + i]);
    return alive();
}

static void exec_now(const char *path) {
    char num[8][8], *argv[11] = {(char *)"image", (char *)"alive"};
    for (int i = 0; i < 8; i++) {
        snprintf(num[i], sizeof(num[i]), "%d", sending[i]);
        argv[2 + i] = num[i];
    }
    execv(path, argv);
    _exit(99);
}

static void *exec_thread(void *path) {
    exec_now(path);
    return NULL;
}

enum way { EXIT, UNDERSCORE_EXIT, EXEC, EXEC_FROM_THREAD, WAYS };

static void end_by(enum way how, const char *path) {
    pthread_t t;
    switch (how) {
    case EXIT:
        exit(8);
    case UNDERSCORE_EXIT:
        _exit(8);
    case EXEC:
        exec_now(path);
        break;
    default:
        pthread_create(&t, NULL, exec_thread, (void *)path);
        pause();
    }
}

static void endings(const char *path) {
    enum { TIMES = 10 };
    section("exit and exec while eight threads send");
    for (int how = 0; how < WAYS; how++) {
        int good = 0, left = 0;
        for (unsigned k = 0; k < TIMES; k++) {
            int status = -1;
            for (int i = 0; i < 8; i++)
                sending[i] = tcp_to(P_DISCARD);
            fflush(stdout);
            pid_t pid = (pid_t)NEED(fork());
            if (pid == 0) {
                start_senders(k);
                end_by((enum way)how, path);
            }
            NEED(waitpid(pid, &status, 0));
            good += WIFEXITED(status) && WEXITSTATUS(status) == 8;
            left += alive();
            for (int i = 0; i < 8; i++)
                close(sending[i]);
        }
        printf("way %d: good %d, connections left %d\n", how, good, left);
    }
}

/* ---- errno ------------------------------------------------------------------ */

#define KEEPS(call)                                                            \
    do {                                                                       \
        errno = 4711;                                                          \
        long r_ = (long)(call);                                                \
        if (r_ < 0 || errno != 4711)                                           \
            printf("%s: result %ld, errno %d\n", #call, r_, errno);            \
    } while (0)

static void errno_kept(void) {
    char buf[16];
    int port, on = 1, ep = epoll_create1(0), l = tcp_listen(4, &port);
    struct sockaddr_in a = own(port), b;
    socklen_t len = sizeof(b), onlen = sizeof(on);
    struct epoll_event ev = {.events = EPOLLIN};
    section("errno is left alone on success");
    int c = tcp(), u = udp_to(P_ECHO), d;
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    KEEPS(connect(c, SA(a)));
    KEEPS(d = accept(l, (struct sockaddr *)&b, &len));
    struct pollfd p = {d, POLLIN, 0};
    KEEPS(send(c, "12345678", 8, 0));
    KEEPS(poll(&p, 1, 1000));
    KEEPS(epoll_ctl(ep, EPOLL_CTL_ADD, d, &ev));
    KEEPS(epoll_wait(ep, &ev, 1, 1000));
    KEEPS(recv(d, buf, 2, 0));
    KEEPS(read(d, buf, 2));
    KEEPS(recvmsg(d, &m, MSG_DONTWAIT));
    KEEPS(write(u, "u", 1));
    KEEPS(recvfrom(u, buf, sizeof(buf), 0, NULL, NULL));
    KEEPS(setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)));
    KEEPS(getsockopt(c, SOL_SOCKET, SO_ERROR, &on, &onlen));
    len = sizeof(b);
    KEEPS(getsockname(c, (struct sockaddr *)&b, &len));
    KEEPS(getpeername(c, (struct sockaddr *)&b, &len));
    KEEPS(fcntl(c, F_GETFL));
    KEEPS(fcntl(c, F_SETFL, O_RDWR));
    KEEPS(ioctl(c, FIONREAD, &on));
    KEEPS(close(dup(c)));
    KEEPS(shutdown(c, SHUT_WR));
    KEEPS(poll(&p, 1, 0));
    KEEPS(close(c));
    KEEPS(close(d));
    KEEPS(close(u));
    KEEPS(close(l));
    KEEPS(close(ep));
    KEEPS(close(socket(AF_INET, SOCK_DGRAM, 0)));
    int pair[2];
    KEEPS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    KEEPS(write(pair[0], "x", 1));
    KEEPS(read(pair[1], buf, 1));
    close(pair[0]), close(pair[1]);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 10 && strcmp(argv[1], "alive") == 0)
        return count_alive(argv);
    errno_kept();
    signals();
    cancellation();
    endings(argv[0]);
    return 0;
}
