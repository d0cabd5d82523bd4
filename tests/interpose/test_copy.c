/* sendfile, splice, tee, copy_file_range; and syscall(2). */
#include "t.h"
#include <sys/sendfile.h>
#include <sys/syscall.h>

static int make_file(size_t n) {
    char name[] = "/tmp/interposeXXXXXX";
    int fd = (int)NEED(mkstemp(name));
    unlink(name);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)(i % 251);
        NEED(write(fd, &c, 1));
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void sendfiles(void) {
    char answer[32];
    off_t at = 100;
    int p[2];
    section("sendfile");
    NEED(pipe(p));
    int file = make_file(5000), fd = tcp_to(P_COUNT);
    SHOW(sendfile(fd, file, NULL, 1000));
    SHOW(lseek(file, 0, SEEK_CUR));
    SHOW(sendfile(fd, file, &at, 2000));
    printf("at %ld\n", (long)at);
    SHOW(lseek(file, 0, SEEK_CUR));
    at = 4900;
    SHOW(sendfile(fd, file, &at, 2000));
    SHOW(sendfile(fd, file, &at, 2000));
    at = -1;
    SHOW(sendfile(fd, file, &at, 2000));
    SHOW(sendfile(fd, file, NULL, 0));
    SHOW(sendfile(file, fd, NULL, 10));
    SHOW(sendfile(fd, -1, NULL, 10));
    shutdown(fd, SHUT_WR);
    text("count", answer, read_all(fd, answer, sizeof(answer)));
    SHOW(copy_file_range(file, NULL, fd, NULL, 10, 0));
    SHOW(tee(fd, p[1], 10, 0));
    close(fd), close(file), close(p[0]), close(p[1]);
}

static void splices(void) {
    char buf[32];
    int p[2];
    loff_t off = 0;
    section("splice");
    NEED(pipe(p));
    int fd = tcp_to(P_ECHO);
    NEED(write(p[1], "through", 7));
    SHOW(splice(p[0], NULL, fd, NULL, 100, 0));
    SHOW(splice(fd, NULL, p[1], NULL, 100, 0));
    long n = SHOW(read(p[0], buf, sizeof(buf)));
    text("got", buf, n);
    nonblock(fd, true);
    SHOW(splice(fd, NULL, p[1], NULL, 100, 0));
    nonblock(fd, false);
    SHOW(splice(p[0], NULL, fd, NULL, 100, SPLICE_F_NONBLOCK));
    SHOW(splice(p[0], NULL, fd, &off, 100, 0));
    SHOW(splice(fd, NULL, fd, NULL, 100, 0));
    SHOW(splice(fd, NULL, p[1], NULL, 0, 0));
    shutdown(fd, SHUT_WR);
    SHOW(splice(fd, NULL, p[1], NULL, 100, 0)); /* end of the stream */
    close(fd), close(p[0]), close(p[1]);
}

/* As libuv does some of its calls. */
static void raw(void) {
    struct sockaddr_in a = peer(P_ECHO);
    char buf[8];
    section("syscall()");
    int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    SHOW(syscall(SYS_connect, fd, &a, sizeof(a)));
    SHOW(syscall(SYS_write, fd, "raw", 3));
    SHOW(syscall(SYS_read, fd, buf, 3));
    SHOW(syscall(SYS_sendto, fd, "raw", 3, 0, NULL, 0));
    SHOW(syscall(SYS_recvfrom, fd, buf, 3, 0, NULL, NULL));
    struct iovec iov = {buf, 3};
    SHOW(syscall(SYS_writev, fd, &iov, 1));
    SHOW(syscall(SYS_preadv2, fd, &iov, 1, -1L, -1L, 0));
    SHOW(syscall(SYS_fcntl, fd, F_SETFL, O_NONBLOCK));
    SHOW(syscall(SYS_read, fd, buf, 3));
    SHOW(syscall(SYS_dup3, fd, 90, 0));
    SHOW(syscall(SYS_close, fd));
    SHOW(syscall(SYS_write, 90, "x", 1));
    SHOW(syscall(SYS_close, 90));
    SHOW(syscall(SYS_close, 90));
    SHOW(syscall(99999, 0));
    printf("pid %d\n", syscall(SYS_getpid) == getpid());
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    sendfiles();
    splices();
    raw();
    return 0;
}
