/* fork: one side uses what was opened before; both exit. */
#include "t.h"

static void reap(pid_t pid) {
    int status = -1;
    NEED(waitpid(pid, &status, 0));
    printf("child status %x\n", status);
}

static void child_uses(void) {
    char buf[8];
    section("the child uses it");
    int fd = tcp_to(P_ECHO);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        SHOW(write(fd, "child", 5));
        long n = SHOW(read_all(fd, buf, 5));
        text("got", buf, n);
        fflush(stdout);
        _exit(3);
    }
    reap(pid);
    SHOW(write(fd, "parent", 6)); /* still open here */
    long n = SHOW(read_all(fd, buf, 6));
    text("got", buf, n);
    close(fd);
}

static void parent_closes(void) {
    char buf[32];
    section("the parent closes, the child goes on");
    int fd = tcp_to(P_COUNT);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        sleep_ms(200);
        SHOW(write(fd, "1234", 4));
        SHOW(shutdown(fd, SHUT_WR));
        long n = SHOW(read_all(fd, buf, sizeof(buf)));
        text("count", buf, n);
        fflush(stdout);
        _exit(0);
    }
    SHOW(close(fd));
    reap(pid);
}

static void exit_is_close(void) {
    char buf[8];
    int port;
    section("exit closes");
    int l = tcp_listen(5, &port);
    struct sockaddr_in a = own(port);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        close(l);
        int fd = tcp();
        NEED(connect(fd, SA(a)));
        NEED(write(fd, "bye", 3));
        _exit(0);
    }
    int c = (int)NEED(accept(l, NULL, NULL));
    reap(pid);
    long n = SHOW(read_all(c, buf, sizeof(buf)));
    text("got", buf, n);
    close(c);
    close(l);
}

/* A pre-fork server: whoever is free accepts. */
static void shared_listener(void) {
    char buf[64];
    int port, served = 0;
    pid_t kids[3];
    section("shared listener");
    int l = tcp_listen(16, &port), p[2];
    NEED(pipe(p));
    fflush(stdout);
    for (int i = 0; i < 3; i++) {
        kids[i] = (pid_t)NEED(fork());
        if (kids[i] == 0) {
            int c = (int)NEED(accept(l, NULL, NULL));
            long n = read(c, buf, 5);
            NEED(write(p[1], n == 5 ? "y" : "n", 1));
            _exit(0);
        }
    }
    for (int i = 0; i < 3; i++)
        control("dial %d hello", port);
    for (int i = 0; i < 3; i++)
        reap(kids[i]);
    served = (int)read(p[0], buf, sizeof(buf));
    printf("served %d: %.*s\n", served, served, buf);
    close(l);
}

static volatile int got_child;
static void on_child(int sig) { got_child = 1; }

static void system_and_popen(void) {
    char line[64] = "";
    section("system, popen");
    int fd = tcp_to(P_ECHO);
    signal(SIGCHLD, on_child);
    signal(SIGCHLD, SIG_DFL);
    fflush(stdout);
    SHOW(system("exit 7") >> 8);
    FILE *f = popen("echo from child", "r");
    printf("line %s", fgets(line, sizeof(line), f) ? line : "none\n");
    SHOW(pclose(f));
    SHOW(write(fd, "x", 1));
    SHOW(read(fd, line, 1));
    close(fd);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    child_uses();
    parent_closes();
    exit_is_close();
    shared_listener();
    system_and_popen();
    return 0;
}
