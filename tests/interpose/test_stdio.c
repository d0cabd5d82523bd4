/* Streams on sockets: fdopen, dprintf, standard streams, programs that were
 * started with a socket on 0, 1 and 2. */
#include "t.h"

static void streams(void) {
    char line[64] = "";
    section("fdopen");
    int fd = tcp_to(P_ECHO);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    printf("streams %d %d same number %d\n", in != NULL, out != NULL,
           in && fileno(in) == fd);
    SHOW(fprintf(out, "line %d\n", 1));
    SHOW(fputs("line 2\n", out) < 0 ? -1 : 0);
    SHOW(fflush(out));
    printf("%s", fgets(line, sizeof(line), in) ? line : "nothing\n");
    printf("%s", fgets(line, sizeof(line), in) ? line : "nothing\n");
    SHOW(dprintf(fd, "by number %s\n", "7"));
    printf("%s", fgets(line, sizeof(line), in) ? line : "nothing\n");
    SHOW(fputc('x', out) == 'x' ? 0 : -1);
    SHOW(fclose(out)); /* writes the x */
    shutdown(fd, SHUT_WR);
    SHOW(fgetc(in) == 'x' ? 0 : -1);
    SHOW(fgetc(in) == EOF ? 0 : -1);
    printf("eof %d error %d\n", feof(in), ferror(in));
    SHOW(ftell(in));
    SHOW(fseek(in, 0, SEEK_SET));
    SHOW(fclose(in));
    SHOW(write(fd, "x", 1)); /* fclose closed it */
    fd = tcp();
    SHOW(fdopen(fd, "q") ? 0 : -1);
    close(fd);
    SHOW(fdopen(fd, "r") ? 0 : -1);
    fd = tcp_to(P_ECHO);
    out = fdopen(fd, "w");
    shutdown(fd, SHUT_WR);
    SHOW(fputs("late", out) < 0 ? -1 : 0);
    SHOW(fflush(out));
    printf("error %d\n", ferror(out) != 0);
    fclose(out);
}

/* A shell's redirection: 1 is a socket for a while. */
static void redirected(void) {
    char buf[128];
    section("stdout on a socket");
    int fd = tcp_to(P_ECHO);
    fflush(stdout);
    int keep = dup(1);
    NEED(dup2(fd, 1));
    printf("to the socket %d\n", 1);
    fflush(stdout);
    puts("and again");
    fflush(stdout);
    NEED(dup2(keep, 1));
    close(keep);
    printf("back\n");
    sleep_ms(100);
    long n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    text("echoed", buf, n);
    close(fd);
}

/* inetd style: the program knows nothing of sockets. */
static void run_on_socket(char *const argv[], const char *input) {
    char buf[256];
    int port;
    int l = tcp_listen(1, &port);
    struct sockaddr_in a = own(port);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        close(l);
        int fd = tcp();
        if (connect(fd, SA(a)) < 0)
            _exit(9);
        dup2(fd, 0);
        dup2(fd, 1);
        dup2(fd, 2);
        close(fd);
        execvp(argv[0], argv);
        _exit(10);
    }
    int c = (int)NEED(accept(l, NULL, NULL)), status;
    close(l);
    NEED(write(c, input, strlen(input)));
    shutdown(c, SHUT_WR);
    text(argv[0], buf, read_all(c, buf, sizeof(buf)));
    waitpid(pid, &status, 0);
    printf("status %x\n", status);
    close(c);
}

static void programs(void) {
    section("programs on a socket");
    run_on_socket((char *[]){"cat", NULL}, "for cat\n");
    run_on_socket((char *[]){"sort", NULL}, "b\nc\na\n");
    run_on_socket((char *[]){"sh", "-c", "read a; echo sh got $a; echo e >&2",
                             NULL},
                  "words\n");
    run_on_socket((char *[]){"bash", "-c", "read a; echo bash got $a", NULL},
                  "words\n");
    run_on_socket((char *[]){"tr", "a-z", "A-Z", NULL}, "upper\n");
    run_on_socket((char *[]){"grep", "-c", "x", NULL}, "x\ny\nx\n");
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    streams();
    redirected();
    programs();
    return 0;
}
