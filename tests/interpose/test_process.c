/* What goes on while a process computes, and after it ended. */
#include "t.h"

/* Nobody of this process waits: data is taken in and acknowledged all the
 * same, until the receive buffer is full. */
static void computing(void) {
    section("a program that computes");
    int s = tcp_to(P_SOURCE), n = 0;
    volatile unsigned long work = 0;
    /* long enough for a peer that has to share the processor */
    for (long end = now_ms() + 2000; now_ms() < end;)
        for (int i = 0; i < 100000; i++)
            work += (unsigned long)i;
    NEED(ioctl(s, FIONREAD, &n));
    printf("more than a window came: %d\n", n > 60000);
    close(s);
}

/* What the peer counted, once there are n counts since the last question. */
static void counted(const char *n, char *answer, size_t room) {
    int fd = tcp_to(P_CONTROL);
    dprintf(fd, "counted %s\n", n);
    memset(answer, 0, room);
    NEED(read(fd, answer, room - 1));
    close(fd);
}

/* The only process that has the socket ends with bytes unsent: they arrive,
 * and the end behind them. */
static void ending(const char *how) {
    static char data[300000];
    char c[32];
    section(how);
    counted("0", c, sizeof(c));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int s = tcp_to(P_COUNT);
        for (size_t n = 0; n < sizeof(data);)
            n += (size_t)NEED(write(s, data + n, sizeof(data) - n));
        if (strcmp(how, "exit") == 0)
            exit(3);
        if (strcmp(how, "_exit") == 0)
            _exit(3);
        raise(SIGKILL);
    }
    int status = 0;
    NEED(waitpid(child, &status, 0));
    printf("status %x\n", (unsigned)status);
    counted("1", c, sizeof(c));
    printf("the peer counted: %s\n", c);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    computing();
    ending("exit");
    ending("_exit");
    ending("a signal");
    return 0;
}
