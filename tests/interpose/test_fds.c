/* Sockets as descriptors: dup, fcntl, ioctl, fstat, lseek, close in all its
 * forms. */
#include "t.h"
#include <sys/stat.h>

static void duplicates(void) {
    char buf[16];
    section("dup");
    int fd = tcp_to(P_ECHO);
    int d = (int)NEED(dup(fd));
    SHOW(write(fd, "one", 3));
    SHOW(close(fd));
    long n = SHOW(read_all(d, buf, 3));
    text("got", buf, n);
    printf("dup2 same %d\n", dup2(d, d) == d);
    SHOW(dup3(d, d, 0));
    SHOW(dup2(d, 100));
    SHOW(close(d));
    SHOW(write(100, "two", 3));
    n = SHOW(read_all(100, buf, 3));
    text("got", buf, n);
    d = fcntl(100, F_DUPFD, 200);
    SHOW(d);
    SHOW(fcntl(d, F_GETFD));
    SHOW(close(d));
    d = fcntl(100, F_DUPFD_CLOEXEC, 200);
    SHOW(d);
    SHOW(fcntl(d, F_GETFD));
    SHOW(dup3(100, d, O_CLOEXEC));
    SHOW(dup3(100, d, 0x7));
    nonblock(d, true); /* shared: one description */
    printf("nonblock %d\n", !!(fcntl(100, F_GETFL) & O_NONBLOCK));
    SHOW(read(100, buf, 1));
    nonblock(100, false);
    int p[2];
    NEED(pipe(p));
    SHOW(dup2(p[0], d)); /* a pipe over a socket */
    NEED(write(p[1], "pipe", 4));
    SHOW(read(d, buf, 4));
    SHOW(dup2(100, p[0])); /* a socket over a pipe */
    SHOW(write(p[0], "sock", 4));
    n = SHOW(read_all(100, buf, 4));
    text("got", buf, n);
    SHOW(close(p[0]));
    SHOW(close(100));
    SHOW(dup(100));
    SHOW(dup2(100, 101));
    close(p[1]);
    close(d);
}

static void flags(void) {
    section("fcntl");
    int fd = tcp();
    printf("F_GETFL %x\n", fcntl(fd, F_GETFL));
    SHOW(fcntl(fd, F_SETFL, O_NONBLOCK | O_APPEND));
    printf("F_GETFL %x\n", fcntl(fd, F_GETFL) & ~O_APPEND);
    SHOW(fcntl(fd, F_SETFL, 0));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(fcntl(fd, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(fcntl(fd, F_GETOWN));
    SHOW(fcntl(fd, F_SETOWN, getpid()));
    printf("owner is me %d\n", fcntl(fd, F_GETOWN) == getpid());
    SHOW(fcntl(fd, 9999));
    SHOW(fcntl(fd, F_DUPFD, -1));
    SHOW(fcntl(-1, F_GETFL));
    close(fd);
    fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    printf("F_GETFL %x F_GETFD %d\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    close(fd);
}

static void ioctls(void) {
    int n = -1;
    section("ioctl");
    int fd = tcp_to(P_HELLO);
    await(fd, POLLIN);
    SHOW(ioctl(fd, FIONREAD, &n));
    printf("readable %d\n", n);
    SHOW(ioctl(fd, TIOCOUTQ, &n));
    printf("unsent %d\n", n);
    n = 1;
    SHOW(ioctl(fd, FIONBIO, &n));
    printf("nonblock %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    n = 0;
    SHOW(ioctl(fd, FIONBIO, &n));
    printf("nonblock %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    SHOW(ioctl(fd, FIOCLEX));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(ioctl(fd, FIONCLEX));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(ioctl(fd, 0x5401, &n)); /* TCGETS */
    SHOW(ioctl(fd, FIONREAD, NULL));
    SHOW(isatty(fd) ? 1 : -1);
    SHOW(sockatmark(fd));
    close(fd);
    int port;
    fd = tcp_listen(1, &port);
    SHOW(ioctl(fd, FIONREAD, &n));
    close(fd);
    fd = udp_to(P_ECHO);
    SHOW(send(fd, "12345", 5, 0));
    await(fd, POLLIN);
    SHOW(ioctl(fd, FIONREAD, &n));
    printf("readable %d\n", n);
    close(fd);
    SHOW(ioctl(fd, FIONREAD, &n));
}

static void as_file(void) {
    char buf[8];
    struct stat st;
    struct iovec iov = {buf, sizeof(buf)};
    section("as a file");
    int fd = tcp_to(P_HELLO);
    SHOW(fstat(fd, &st));
    printf("socket %d\n", S_ISSOCK(st.st_mode));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(pread(fd, buf, 4, 0));
    SHOW(pwrite(fd, buf, 4, 0));
    SHOW(pread(fd, buf, 4, -1));
    SHOW(preadv(fd, &iov, 1, 0));
    SHOW(pwritev(fd, &iov, 1, 0));
    SHOW(preadv2(fd, &iov, 1, 0, 0));
    await(fd, POLLIN);
    long n = SHOW(preadv2(fd, &iov, 1, -1, 0));
    text("got", buf, n);
    SHOW(preadv2(fd, &iov, 1, -1, RWF_NOWAIT));
    iov.iov_len = 2;
    SHOW(pwritev2(fd, &iov, 1, -1, 0));
    SHOW(ftruncate(fd, 0));
    SHOW(fsync(fd));
    SHOW(readv(fd, &iov, -1));
    SHOW(readv(fd, &iov, 2000));
    SHOW(writev(fd, &iov, -1));
    SHOW(writev(fd, NULL, 1));
    SHOW(readv(fd, NULL, 0));
    iov.iov_len = (size_t)-1;
    SHOW(writev(fd, &iov, 1));
    SHOW(read(fd, buf, 0));
    SHOW(write(fd, buf, 0));
    SHOW(write(fd, NULL, 1));
    SHOW(send(fd, NULL, 1, 0));
    close(fd);
}

static void ranges(void) {
    section("close ranges");
    int fd = tcp_to(P_ECHO);
    for (int i = 50; i < 54; i++)
        NEED(dup2(fd, i));
    SHOW(close_range(51, 52, 0));
    for (int i = 49; i < 55; i++)
        printf("%d: %d\n", i, fcntl(i, F_GETFD));
    SHOW(close_range(53, 50, 0));
    SHOW(close_range(50, 53, 0x100));
    SHOW(close_range(53, 53, 4)); /* CLOSE_RANGE_CLOEXEC */
    SHOW(fcntl(53, F_GETFD));
    close(fd);
    SHOW(write(50, "x", 1));
    closefrom(40);
    SHOW(write(50, "x", 1));
    SHOW(write(53, "x", 1));
    /* the network goes on */
    char c;
    fd = tcp_to(P_ECHO);
    SHOW(write(fd, "y", 1));
    SHOW(read(fd, &c, 1));
    for (int i = 3; i < 1024; i++)
        close(i);
    SHOW(write(fd, "y", 1));
    fd = tcp_to(P_ECHO);
    SHOW(write(fd, "y", 1));
    SHOW(read(fd, &c, 1));
    close(fd);
}

static void numbers(void) {
    section("numbers");
    int a = tcp(), b = udp();
    int c = open("/dev/null", O_RDONLY);
    printf("in a row %d\n", b == a + 1 && c == b + 1);
    close(a);
    printf("lowest free %d\n", tcp() == a);
    SHOW(socket(AF_INET, 99, 0));
    SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    SHOW(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    SHOW(socket(AF_INET, SOCK_STREAM | 0x4000000, 0));
    SHOW(socket(99, SOCK_STREAM, 0));
    close(a), close(b), close(c);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    duplicates();
    flags();
    ioctls();
    as_file();
    numbers();
    ranges();
    return 0;
}
