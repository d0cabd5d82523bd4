/* Bad pointers: EFAULT in every call, never a crash, and the stack works on.
 * Three kinds: unmapped, read-only (where the call writes), and a page that
 * was good a moment ago. */
#include "t.h"

#include <net/if.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>

static char *none, *ro, *rw; /* a page each */

#define BAD(p) ((void *)(p))

static void buffers(int s, int u) {
    struct iovec in_none = {BAD(none), 10}, iov_ro = {BAD(ro), 10};
    struct sockaddr_in a = peer(P_ECHO);
    char c[64] = "hello";
    section("buffers");
    SHOW(send(s, BAD(none), 10, 0));
    SHOW(write(s, BAD(none), 10));
    SHOW(writev(s, &in_none, 1));
    SHOW(writev(s, BAD(none), 1));
    SHOW(sendto(u, BAD(none), 10, 0, SA(a)));
    SHOW(sendto(u, c, 5, 0, BAD(none), sizeof(a)));
    SHOW(write(s, c, 5));
    NEED(await(s, POLLIN));
    SHOW(read(s, BAD(none), 10));
    SHOW(read(s, BAD(ro), 10));
    SHOW(recv(s, BAD(ro), 10, MSG_PEEK));
    SHOW(readv(s, &iov_ro, 1));
    SHOW(readv(s, BAD(none), 1));
    SHOW(recv(s, c, 64, 0));
    NEED(sendto(u, c, 5, 0, SA(a)));
    NEED(await(u, POLLIN));
    SHOW(recvfrom(u, BAD(ro), 10, MSG_PEEK, NULL, NULL));
    SHOW(recv(u, rw, 10, 0));
}

static void messages(int s, int u) {
    char c[64] = "hello";
    struct iovec iov = {c, 5};
    struct sockaddr_in a = peer(P_ECHO);
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    struct mmsghdr mm = {.msg_hdr = h};
    section("messages");
    SHOW(sendmsg(s, BAD(none), 0));
    h.msg_iov = BAD(none);
    SHOW(sendmsg(s, &h, 0));
    SHOW(recvmsg(s, &h, MSG_DONTWAIT));
    h.msg_iov = &iov;
    h.msg_name = BAD(none), h.msg_namelen = sizeof(a);
    SHOW(sendmsg(u, &h, 0));
    h.msg_name = &a;
    h.msg_control = BAD(none), h.msg_controllen = 32;
    SHOW(sendmsg(u, &h, 0));
    SHOW(sendmmsg(u, BAD(none), 1, 0));
    SHOW(recvmsg(s, BAD(none), MSG_DONTWAIT));
    SHOW(recvmmsg(u, BAD(none), 1, MSG_DONTWAIT, NULL));
    SHOW(recvmmsg(u, &mm, 1, MSG_DONTWAIT, BAD(none)));
    NEED(sendto(u, c, 5, 0, SA(a)));
    NEED(await(u, POLLIN));
    h.msg_name = BAD(ro), h.msg_control = NULL, h.msg_controllen = 0;
    SHOW(recvmsg(u, &h, 0));
}

static void addresses(int s, int u) {
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int port, l = tcp_listen(1, &port);
    section("addresses");
    SHOW(bind(u, BAD(none), sizeof(a)));
    SHOW(connect(u, BAD(none), sizeof(a)));
    SHOW(getsockname(s, BAD(none), &len));
    SHOW(getsockname(s, BAD(ro), &len));
    SHOW(getsockname(s, (void *)&a, BAD(none)));
    SHOW(getsockname(s, (void *)&a, BAD(ro)));
    SHOW(getpeername(s, BAD(none), &len));
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, BAD(none), &len));
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, BAD(ro), &len));
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, &port, BAD(none)));
    SHOW(getsockopt(s, IPPROTO_TCP, TCP_INFO, BAD(ro), &len));
    SHOW(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, BAD(none), 4));
    SHOW(setsockopt(s, SOL_SOCKET, SO_LINGER, BAD(none), 8));
    SHOW(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, BAD(none), 16));
    SHOW(setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, BAD(none), 4));
    SHOW(ioctl(s, FIONREAD, BAD(ro)));
    SHOW(ioctl(s, FIONBIO, BAD(none)));
    SHOW(ioctl(s, SIOCGIFADDR, BAD(none)));
    SHOW(fcntl(s, F_SETOWN_EX, BAD(none)));
    close(l);
}

static void waiting(int s) {
    struct pollfd p = {s, POLLOUT, 0};
    struct epoll_event ev = {.events = EPOLLOUT};
    fd_set set;
    int ep = NEED(epoll_create1(0));
    section("waiting");
    SHOW(poll(BAD(none), 1, 0));
    SHOW(select(s + 1, BAD(none), NULL, NULL, NULL));
    FD_ZERO(&set);
    FD_SET(s, &set);
    memcpy(rw, &set, sizeof(set));
    NEED(mprotect(rw, 4096, PROT_READ));
    SHOW(select(s + 1, NULL, BAD(rw), NULL, NULL));
    memset(&set, 0, sizeof(set));
    NEED(mprotect(rw, 4096, PROT_READ | PROT_WRITE));
    memcpy(rw, &p, sizeof(p));
    NEED(mprotect(rw, 4096, PROT_READ));
    SHOW(poll(BAD(rw), 1, 0));
    NEED(mprotect(rw, 4096, PROT_READ | PROT_WRITE));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, s, BAD(none)));
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev));
    SHOW(epoll_wait(ep, BAD(none), 1, 0));
    SHOW(epoll_wait(ep, BAD(ro), 1, 0));
    SHOW(epoll_wait(ep, &ev, 1, 0));
    close(ep);
}

/* The page goes away between two calls. */
static void gone(int s) {
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    section("a page that was there");
    memcpy(p, "hello", 5);
    SHOW(write(s, p, 5));
    NEED(await(s, POLLIN));
    SHOW(read(s, p, 5));
    munmap(p, 4096);
    SHOW(write(s, p, 5));
}

static volatile int faults;

static void on_fault(int sig, siginfo_t *info, void *context) {
    faults++;
    mprotect(ro, 4096, PROT_READ | PROT_WRITE);
    printf("signal %d, address %s\n", sig,
           info->si_addr == ro ? "right" : "wrong");
}

/* The program's own faults are still its own. */
static void own_faults(int s) {
    struct sigaction act = {.sa_flags = SA_SIGINFO}, old;
    act.sa_sigaction = on_fault;
    section("the program's own faults");
    SHOW(sigaction(SIGSEGV, &act, &old));
    printf("old %s\n", old.sa_handler == SIG_DFL ? "default" : "other");
    SHOW(write(s, BAD(none), 10));
    *(volatile char *)ro = 1;
    printf("faults %d\n", faults);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL);
            if (i)
                raise(SIGSEGV);
            *(volatile char *)none = 1;
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        printf("killed by %d\n", WTERMSIG(status));
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    none = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    rw = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
              -1, 0);
    int s = tcp_to(P_ECHO), u = udp();
    buffers(s, u);
    messages(s, u);
    addresses(s, u);
    waiting(s);
    gone(s);
    own_faults(s);
    return 0;
}
