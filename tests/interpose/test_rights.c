/* SCM_RIGHTS: sockets that travel between processes, in every state. */
#include "t.h"
#include <spawn.h>
#include <sys/resource.h>
#include <sys/un.h>

#define MANY 5

static long pass_to(int over, const int *fds, int n, int flags) {
    char room[CMSG_SPACE(sizeof(int) * 64)] = "", c = 'x';
    struct iovec iov = {&c, 1};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = room,
                       .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
    struct cmsghdr *cm = CMSG_FIRSTHDR(&h);
    cm->cmsg_level = SOL_SOCKET;
    cm->cmsg_type = SCM_RIGHTS;
    cm->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
    memcpy(CMSG_DATA(cm), fds, sizeof(int) * (size_t)n);
    return sendmsg(over, &h, flags);
}

/* How many came; their numbers in fds. */
static int take(int over, int *fds, int room_for, int flags, int *out) {
    char room[CMSG_SPACE(sizeof(int) * 64)] = "", c;
    struct iovec iov = {&c, 1};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = room,
                       .msg_controllen =
                           CMSG_SPACE(sizeof(int) * (size_t)room_for)};
    if (recvmsg(over, &h, flags) < 0)
        return -1;
    *out = h.msg_flags & (MSG_CTRUNC | MSG_CMSG_CLOEXEC);
    struct cmsghdr *cm = CMSG_FIRSTHDR(&h);
    if (!cm || cm->cmsg_type != SCM_RIGHTS)
        return 0;
    int n = (int)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(cm), sizeof(int) * (size_t)n);
    return n;
}

static void talk(int fd, const char *what) {
    char buf[16];
    SHOW(write(fd, what, strlen(what)));
    long n = SHOW(read_all(fd, buf, strlen(what)));
    text("echo", buf, n);
}

static void who(int fd) {
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    SHOW(getpeername(fd, (struct sockaddr *)&a, &len));
    printf("family %d port %d\n", a.sin_family, ntohs(a.sin_port));
}

/* To ourselves, then to a child that was forked before the socket was made. */
static void connection(void) {
    int sp[2], got[MANY], fl = 0;
    section("a connection");
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sp));
    int fd = tcp_to(P_ECHO);
    talk(fd, "before");
    SHOW(pass_to(sp[0], &fd, 1, 0));
    SHOW(take(sp[1], got, 1, 0, &fl));
    who(got[0]);
    SHOW(fcntl(got[0], F_GETFD));
    talk(got[0], "copy");
    talk(fd, "first");
    nonblock(got[0], true);
    printf("shared %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    nonblock(got[0], false);
    close(got[0]);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(fd);
        SHOW(take(sp[1], got, 1, MSG_CMSG_CLOEXEC, &fl));
        printf("cloexec %d\n", fcntl(got[0], F_GETFD));
        talk(got[0], "child");
        fflush(stdout);
        _exit(0);
    }
    int d = tcp_to(P_ECHO);
    close(fd);
    NEED(pass_to(sp[0], &d, 1, 0));
    NEED(close(d)); /* in flight it lives */
    waitpid(pid, NULL, 0);
    close(sp[0]), close(sp[1]);
}

/* What had arrived unread goes to the receiver. */
static void with_data(void) {
    int sp[2], got[MANY], fl = 0;
    char buf[32];
    section("data under way");
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, sp));
    int fd = tcp_to(P_ECHO);
    NEED(write(fd, "unread bytes", 12));
    await(fd, POLLIN);
    sleep_ms(50);
    SHOW(pass_to(sp[0], &fd, 1, 0));
    close(fd);
    sleep_ms(50);
    SHOW(take(sp[1], got, 1, 0, &fl));
    long n = SHOW(read_all(got[0], buf, 12));
    text("got", buf, n);
    talk(got[0], "more");
    close(got[0]);
    close(sp[0]), close(sp[1]);
}

/* The sender dies, the receiver is the only one. */
static void dead_sender(void) {
    int sp[2], got[MANY], fl = 0;
    section("the sender is gone");
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sp));
    pid_t pid = fork();
    if (pid == 0) {
        int fd = tcp_to(P_ECHO);
        NEED(write(fd, "12345", 5));
        pass_to(sp[0], &fd, 1, 0);
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
    SHOW(take(sp[1], got, 1, 0, &fl));
    char buf[8];
    long n = SHOW(read_all(got[0], buf, 5));
    text("got", buf, n);
    talk(got[0], "alone");
    close(got[0]);
    close(sp[0]), close(sp[1]);
}

static void listener(void) {
    int sp[2], got[MANY], fl = 0, port;
    section("a listener, a datagram socket");
    NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sp));
    int l = tcp_listen(4, &port), u = udp_to(P_ECHO);
    int both[2] = {l, u};
    SHOW(pass_to(sp[0], both, 2, 0));
    close(l), close(u);
    SHOW(take(sp[1], got, 2, 0, &fl));
    control("dial %d hello", port);
    int c = (int)NEED(accept(got[0], NULL, NULL));
    char buf[8];
    long n = SHOW(read_all(c, buf, 5));
    text("accepted", buf, n);
    SHOW(send(got[1], "datagram", 8, 0));
    SHOW(recv(got[1], buf, 8, 0));
    close(c), close(got[0]), close(got[1]);
    close(sp[0]), close(sp[1]);
}

/* One that listens on all addresses, as haproxy hands them on. */
static void wildcard(void) {
    int sp[2], got[MANY], fl = 0;
    struct sockaddr_in a = addr_of("0.0.0.0", 0);
    socklen_t len = sizeof(a);
    section("a wildcard listener");
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sp));
    int l = tcp();
    NEED(bind(l, SA(a)));
    NEED(listen(l, 4));
    NEED(getsockname(l, (struct sockaddr *)&a, &len));
    SHOW(pass_to(sp[0], &l, 1, 0));
    close(l);
    SHOW(take(sp[1], got, 1, 0, &fl));
    SHOW(poll(&(struct pollfd){got[0], POLLIN, 0}, 1, 50));
    control("dial %d hello", ntohs(a.sin_port));
    printf("poll %x\n", await(got[0], POLLIN));
    int c = (int)NEED(accept(got[0], NULL, NULL));
    char buf[8];
    long n = SHOW(read_all(c, buf, 5));
    text("accepted", buf, n);
    close(c), close(got[0]), close(sp[0]), close(sp[1]);
}

static void limits(void) {
    int sp[2], got[MANY], fds[3], fl = 0;
    section("peek, truncation, limits");
    NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sp));
    for (int i = 0; i < 3; i++)
        fds[i] = tcp_to(P_ECHO);
    SHOW(pass_to(sp[0], fds, 3, 0));
    SHOW(take(sp[1], got, 3, MSG_PEEK, &fl));
    talk(got[1], "peeked");
    for (int i = 0; i < 3; i++)
        close(got[i]);
    SHOW(take(sp[1], got, 1, 0, &fl)); /* room for two by alignment */
    printf("truncated %d\n", fl == MSG_CTRUNC);
    talk(got[0], "taken");
    close(got[0]), close(got[1]);
    int mixed[3] = {fds[0], sp[0], fds[1]};
    SHOW(pass_to(sp[0], mixed, 3, 0));
    SHOW(take(sp[1], got, 3, 0, &fl));
    talk(got[0], "mixed");
    close(got[0]), close(got[1]), close(got[2]);
    int bad[2] = {fds[0], 999};
    SHOW(pass_to(sp[0], bad, 2, 0));
    SHOW(pass_to(fds[1], fds, 1, 0)); /* over TCP: ignored */
    char c;
    SHOW(read(fds[1], &c, 1));
    SHOW(pass_to(sp[0], fds, 3, 0));
    struct rlimit lim, old;
    NEED(getrlimit(RLIMIT_NOFILE, &old));
    int top = dup(0);
    lim = (struct rlimit){(rlim_t)top + 1, old.rlim_max};
    close(top);
    NEED(setrlimit(RLIMIT_NOFILE, &lim));
    SHOW(take(sp[1], got, 3, 0, &fl));
    printf("truncated %d\n", fl == MSG_CTRUNC);
    talk(got[0], "limit");
    SHOW(dup(0)); /* EMFILE */
    SHOW(socket(AF_INET, SOCK_STREAM, 0));
    NEED(setrlimit(RLIMIT_NOFILE, &old));
    close(got[0]);
    for (int i = 0; i < 3; i++)
        talk(fds[i], "still"), close(fds[i]);
    close(sp[0]), close(sp[1]);
}

/* A message that nobody takes: the connection ends with the last holder. */
static void unreceived(void) {
    int sp[2], port;
    section("never received");
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sp));
    int l = tcp_listen(1, &port);
    int a = tcp();
    struct sockaddr_in at = own(port);
    NEED(connect(a, SA(at)));
    int b = (int)NEED(accept(l, NULL, NULL));
    NEED(pass_to(sp[0], &a, 1, 0));
    close(a);
    printf("open %d\n", await(b, POLLIN) == 0);
    close(sp[0]), close(sp[1]);
    printf("ended %d\n", await(b, POLLIN) != 0);
    char c;
    SHOW(read(b, &c, 1));
    close(b), close(l);
}

static void several(void) {
    int sp[2], got[MANY], fl = 0;
    section("sendmmsg, recvmmsg");
    NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sp));
    int fd = tcp_to(P_ECHO);
    char room[2][CMSG_SPACE(sizeof(int))], c[2] = "ab";
    struct iovec iov[2] = {{c, 1}, {c + 1, 1}};
    struct mmsghdr mm[2];
    memset(mm, 0, sizeof(mm));
    for (int i = 0; i < 2; i++) {
        mm[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
                                        .msg_iovlen = 1,
                                        .msg_control = room[i],
                                        .msg_controllen = sizeof(room[i])};
        struct cmsghdr *cm = CMSG_FIRSTHDR(&mm[i].msg_hdr);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cm), &fd, sizeof(int));
    }
    SHOW(sendmmsg(sp[0], mm, 2, 0));
    SHOW(take(sp[1], got, 1, 0, &fl));
    talk(got[0], "one");
    SHOW(recvmmsg(sp[1], mm, 1, 0, NULL));
    int d;
    memcpy(&d, CMSG_DATA(CMSG_FIRSTHDR(&mm[0].msg_hdr)), sizeof(int));
    talk(d, "two");
    close(d), close(got[0]), close(fd);
    close(sp[0]), close(sp[1]);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    connection();
    with_data();
    dead_sender();
    listener();
    wildcard();
    limits();
    several();
    unreceived();
    return 0;
}
