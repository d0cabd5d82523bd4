/* Signals: masks of the waiting calls, handlers that use the network, flags of
 * sigaction, handlers that leave by siglongjmp. */
#include "t.h"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <pthread.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <ucontext.h>

static volatile int hits, seen_code, on_alt, used_fd = -1;
static volatile long handler_result;
static sigjmp_buf out;
static char altstack[65536];

static void count(int sig) { hits++; }
static void detail(int sig, siginfo_t *info, void *context) {
    char here;
    ucontext_t *uc = context;
    hits++;
    seen_code = info->si_code;
    on_alt = &here >= altstack && &here < altstack + sizeof(altstack);
    handler_result = sigismember(&uc->uc_sigmask, SIGUSR2);
}
static void jump(int sig) { siglongjmp(out, 1); }
static void use_network(int sig) {
    hits++;
    handler_result = send(used_fd, "h", 1, MSG_NOSIGNAL);
}

static void install(int sig, void (*f)(int), int flags) {
    struct sigaction sa = {.sa_handler = f, .sa_flags = flags};
    sigemptyset(&sa.sa_mask);
    NEED(sigaction(sig, &sa, NULL));
    hits = 0;
}
static void alarm_in(int ms) {
    struct itimerval it = {.it_value = {ms / 1000, ms % 1000 * 1000}};
    NEED(setitimer(ITIMER_REAL, &it, NULL));
}

/* SIGALRM blocked but for the wait: pending before, and coming during it. */
static void atomic_masks(void) {
    sigset_t block, none, was;
    struct timespec no_time = {0, 0}, second = {1, 0};
    struct epoll_event e;
    fd_set r;
    section("masks of the wait");
    int fd = tcp_to(P_ECHO), ep = (int)NEED(epoll_create1(0));
    struct pollfd p = {fd, POLLIN, 0};
    e = (struct epoll_event){.events = EPOLLIN};
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    install(SIGALRM, count, SA_RESTART);
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    NEED(sigprocmask(SIG_BLOCK, &block, &was));
    for (int round = 0; round < 2; round++) {
        hits = 0;
        if (round == 0)
            raise(SIGALRM);
        else
            alarm_in(150);
        SHOW(poll(&p, 1, round ? 250 : 0));
        printf("handlers %d\n", hits);
        SHOW(ppoll(&p, 1, &second, &none));
        printf("handlers %d\n", hits);
        if (round == 0)
            raise(SIGALRM);
        else
            alarm_in(150);
        FD_ZERO(&r);
        FD_SET(fd, &r);
        SHOW(pselect(fd + 1, &r, NULL, NULL, &second, &none));
        printf("handlers %d\n", hits);
        if (round == 0)
            raise(SIGALRM);
        else
            alarm_in(150);
        SHOW(epoll_pwait(ep, &e, 1, 1000, &none));
        printf("handlers %d\n", hits);
    }
    hits = 0;
    raise(SIGALRM);
    SHOW(ppoll(&p, 1, &no_time, &none));
    printf("handlers %d\n", hits);
    /* ready: the signal waits */
    raise(SIGALRM);
    NEED(write(fd, "x", 1));
    await(fd, POLLIN);
    hits = 0;
    SHOW(ppoll(&p, 1, &second, &none));
    printf("handlers %d\n", hits);
    NEED(sigprocmask(SIG_SETMASK, &was, NULL));
    printf("handlers %d\n", hits);
    NEED(sigprocmask(SIG_BLOCK, NULL, &was));
    printf("blocked afterwards %d\n", sigismember(&was, SIGALRM));
    close(fd), close(ep);
}

static void never_restarted(void) {
    struct timeval tv = {1, 0};
    struct epoll_event e = {.events = EPOLLIN};
    fd_set r;
    section("SA_RESTART and waiting calls");
    int fd = tcp_to(P_ECHO), ep = (int)NEED(epoll_create1(0));
    struct pollfd p = {fd, POLLIN, 0};
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    install(SIGALRM, count, SA_RESTART);
    alarm_in(100);
    SHOW(poll(&p, 1, -1));
    alarm_in(100);
    SHOW(poll(&p, 1, 2000));
    alarm_in(100);
    FD_ZERO(&r);
    FD_SET(fd, &r);
    SHOW(select(fd + 1, &r, NULL, NULL, &tv));
    printf("time left %d\n", tv.tv_sec == 0 && tv.tv_usec > 500000);
    alarm_in(100);
    SHOW(epoll_wait(ep, &e, 1, -1));
    printf("handlers %d\n", hits);
    close(fd), close(ep);
}

/* The handler sends, on the socket that the call waits on. The echo of it ends
 * the restarted call. */
static void handler_sends(void) {
    char buf[8];
    section("the handler sends");
    used_fd = tcp_to(P_ECHO);
    install(SIGALRM, use_network, SA_RESTART);
    alarm_in(100);
    long n = SHOW(recv(used_fd, buf, sizeof(buf), 0));
    text("got", buf, n);
    printf("handlers %d, send %ld\n", hits, handler_result);
    struct pollfd p = {used_fd, POLLIN, 0};
    alarm_in(100);
    SHOW(poll(&p, 1, 1000));
    SHOW(poll(&p, 1, 1000));
    close(used_fd);
}

/* Many signals, while the thread is busy in the stack: none is lost that the
 * kernel would not merge, and nothing hangs. */
static volatile int storming, sent_by_handler;
static void storm_handler(int sig) {
    hits++;
    if (send(used_fd, "h", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
        sent_by_handler++;
}
static void *storm(void *main_thread) {
    /* signals that wait already do not count twice: go on until some ran */
    for (int i = 0; i < 3000 || (hits <= 100 && i < 1000000); i++) {
        pthread_kill(*(pthread_t *)main_thread, i % 2 ? SIGUSR1 : SIGUSR2);
        if (i % 8 == 0)
            sched_yield();
    }
    storming = 0;
    return NULL;
}
static void handlers_in_a_storm(void) {
    pthread_t me = pthread_self(), t;
    char buf[512];
    long sent = 0, got = 0;
    section("a storm of signals");
    used_fd = tcp_to(P_ECHO);
    install(SIGUSR1, storm_handler, SA_RESTART);
    install(SIGUSR2, storm_handler, SA_RESTART);
    storming = 1;
    NEED(pthread_create(&t, NULL, storm, &me));
    while (storming) {
        ssize_t n = send(used_fd, "0123456789", 10, 0);
        if (n > 0)
            sent += n;
        n = recv(used_fd, buf, sizeof(buf), 0);
        if (n > 0)
            got += n;
    }
    pthread_join(t, NULL);
    shutdown(used_fd, SHUT_WR);
    ssize_t n;
    while ((n = recv(used_fd, buf, sizeof(buf), 0)) > 0)
        got += n;
    printf("all echoed %d, handlers ran %d\n", got == sent + sent_by_handler,
           hits > 100);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    close(used_fd);
}

static void leaves_by_jump(void) {
    char buf[8];
    section("siglongjmp out of a wait");
    int fd = tcp_to(P_ECHO);
    struct pollfd p = {fd, POLLIN, 0};
    install(SIGALRM, jump, 0);
    for (volatile int i = 0; i < 4; i++) {
        alarm_in(100);
        if (sigsetjmp(out, 1) == 0) {
            if (i % 2)
                poll(&p, 1, 3000);
            else
                recv(fd, buf, sizeof(buf), 0);
            printf("came back\n");
        } else {
            printf("jumped\n");
        }
    }
    NEED(write(fd, "abc", 3));
    SHOW(recv(fd, buf, 3, MSG_WAITALL));
    close(fd);
    /* the socket that the jump left: closed means closed */
    fd = tcp_to(P_COUNT);
    alarm_in(100);
    if (sigsetjmp(out, 1) == 0)
        recv(fd, buf, sizeof(buf), 0);
    int port, l = tcp_listen(1, &port);
    control("dial %d echo", port);
    int c = (int)NEED(accept(l, NULL, NULL));
    alarm_in(100);
    if (sigsetjmp(out, 1) == 0)
        recv(c, buf, sizeof(buf), 0);
    SHOW(close(c));
    SHOW(close(l));
    close(fd);
}

static void flags(void) {
    struct sigaction sa = {.sa_sigaction = detail,
                           .sa_flags = SA_SIGINFO | SA_ONSTACK},
                     old;
    stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
    section("sigaction");
    NEED(sigaltstack(&ss, NULL));
    sigemptyset(&sa.sa_mask);
    sigaddset(&sa.sa_mask, SIGHUP);
    SHOW(sigaction(SIGUSR1, &sa, NULL));
    hits = 0;
    NEED(kill(getpid(), SIGUSR1));
    printf("hits %d, code %d, alternate stack %d\n", hits, seen_code, on_alt);
    SHOW(sigaction(SIGUSR1, NULL, &old));
    printf("ours %d, flags %x, mask %d %d\n", old.sa_sigaction == detail,
           old.sa_flags, sigismember(&old.sa_mask, SIGHUP),
           sigismember(&old.sa_mask, SIGUSR1));
    install(SIGUSR1, count, (int)SA_RESETHAND);
    sigaction(SIGUSR1, NULL, &old);
    printf("flags %x\n", old.sa_flags);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &old);
    printf("hits %d, default %d\n", hits, old.sa_handler == SIG_DFL);
    printf("%d\n", signal(SIGUSR1, count) == SIG_DFL);
    printf("%d\n", signal(SIGUSR1, SIG_IGN) == count);
    sigaction(SIGUSR1, NULL, &old);
    printf("ignored %d\n", old.sa_handler == SIG_IGN);
    signal(SIGUSR1, count);
    sigaction(SIGUSR1, NULL, &old);
    printf("flags %x, mask %d\n", old.sa_flags,
           sigismember(&old.sa_mask, SIGUSR1));
    SHOW(siginterrupt(SIGUSR1, 1));
    signal(SIGUSR1, count);
    sigaction(SIGUSR1, NULL, &old);
    printf("flags %x\n", old.sa_flags);
    SHOW(siginterrupt(SIGUSR1, 0));
    SHOW(sigaction(SIGKILL, &sa, NULL));
    SHOW(sigaction(0, &sa, NULL));
    SHOW(sigaction(65, NULL, &old));
    SHOW(sigaction(32, NULL, &old));
    printf("%d\n", signal(SIGSTOP, count) == SIG_ERR);
    union sigval v = {.sival_int = 42};
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGRTMIN + 1, &sa, NULL);
    hits = 0;
    SHOW(sigqueue(getpid(), SIGRTMIN + 1, v));
    printf("hits %d, code %d\n", hits, seen_code);
}

/* A handler's mask, with the wait's own mask in force. */
static volatile int inner_order, inner_at;
static void first(int sig) {
    raise(SIGUSR2);
    inner_order = inner_order * 10 + 1;
}
static void second(int sig) { inner_order = inner_order * 10 + 2; }
static void handler_mask(void) {
    sigset_t block, none;
    struct timespec ts = {1, 0};
    section("a handler's own mask");
    int fd = tcp_to(P_ECHO);
    struct pollfd p = {fd, POLLIN, 0};
    struct sigaction sa = {.sa_handler = first};
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigaddset(&block, SIGUSR2);
    sigaction(SIGUSR1, &sa, NULL);
    sa.sa_handler = second;
    sigaction(SIGUSR2, &sa, NULL);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    SHOW(ppoll(&p, 1, &ts, &none));
    printf("order %d\n", inner_order);
    inner_order = 0;
    sa.sa_handler = first;
    sigaddset(&sa.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    SHOW(ppoll(&p, 1, &ts, &none));
    printf("order %d\n", inner_order);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    close(fd);
}

static void crash(int sig) { siglongjmp(out, sig); }
static void synchronous(void) {
    section("SIGSEGV");
    install(SIGSEGV, crash, SA_NODEFER);
    int sig = sigsetjmp(out, 1);
    if (sig == 0)
        *(volatile int *)8 = 1;
    printf("%d\n", sig == SIGSEGV);
    signal(SIGSEGV, SIG_DFL);
}

static volatile int cleaned;
static void cleanup(void *arg) { cleaned++; }
static void *to_cancel(void *arg) {
    char c;
    int fd = *(int *)arg;
    struct pollfd p = {fd, POLLIN, 0};
    pthread_cleanup_push(cleanup, NULL);
    if (arg == (void *)&used_fd)
        poll(&p, 1, -1);
    else
        recv(fd, &c, 1, 0);
    pthread_cleanup_pop(1);
    return NULL;
}
/* Never blocks, so that only the call itself can act on it. */
static void *busy_thread(void *arg) {
    for (;;)
        send(*(int *)arg, "z", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    return NULL;
}
static void cancelled(void) {
    pthread_t t;
    void *ret;
    char c;
    section("cancellation");
    int fd = used_fd = tcp_to(P_ECHO);
    for (int i = 0; i < 2; i++) {
        NEED(pthread_create(&t, NULL, to_cancel,
                            i ? (void *)&used_fd : (void *)&fd));
        sleep_ms(100);
        SHOW(pthread_cancel(t));
        SHOW(pthread_join(t, &ret));
        printf("cancelled %d, cleaned %d\n", ret == PTHREAD_CANCELED, cleaned);
    }
    NEED(write(fd, "x", 1));
    SHOW(read(fd, &c, 1));
    SHOW(close(fd));
    used_fd = udp_to(P_NOBODY);
    NEED(pthread_create(&t, NULL, busy_thread, (void *)&used_fd));
    sleep_ms(20);
    SHOW(pthread_cancel(t));
    SHOW(pthread_join(t, &ret));
    printf("cancelled %d\n", ret == PTHREAD_CANCELED);
    SHOW(close(used_fd));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    flags();
    atomic_masks();
    never_restarted();
    handler_sends();
    handlers_in_a_storm();
    leaves_by_jump();
    handler_mask();
    synchronous();
    cancelled();
    return 0;
}
