/* Limits: the stack's own memory is none of the program's. */
#include "t.h"

#include <sys/mman.h>
#include <sys/resource.h>

/* What 300 MiB of address space still give. */
static void room(size_t mib) {
    void *p =
        mmap(NULL, mib << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%zu MiB: %s\n", mib,
           p == MAP_FAILED ? strerrorname_np(errno) : "mapped");
    if (p != MAP_FAILED)
        munmap(p, mib << 20);
}

static void show_limit(void) {
    struct rlimit l = {0};
    SHOW(getrlimit(RLIMIT_AS, &l));
    printf("%lu %lu\n", (unsigned long)l.rlim_cur, (unsigned long)l.rlim_max);
    l = (struct rlimit){0};
    SHOW(prlimit(getpid(), RLIMIT_AS, NULL, &l));
    printf("%lu %lu\n", (unsigned long)l.rlim_cur, (unsigned long)l.rlim_max);
}

/* A connection works. */
static int ask(void) {
    char b[8] = "";
    int fd = tcp_to(P_HELLO);
    SHOW(recv(fd, b, sizeof(b), 0));
    text("got", b, 5);
    return fd;
}

static void limit_of(rlim_t soft, rlim_t hard) {
    struct rlimit l = {soft, hard}, old;
    SHOW(setrlimit(RLIMIT_AS, &l));
    SHOW(prlimit(0, RLIMIT_AS, &l, &old));
    printf("before %lu\n", (unsigned long)old.rlim_cur);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1) { /* executed by the run below */
        char b[8] = "";
        int fd = atoi(argv[1]);
        show_limit();
        SHOW(send(fd, "x", 1, 0));
        SHOW(recv(fd, b, sizeof(b), MSG_DONTWAIT));
        ask();
        room(400);
        return 0;
    }
    show_limit();
    SHOW(setrlimit(RLIMIT_AS, NULL));
    limit_of(300 << 20, RLIM_INFINITY);
    show_limit();
    int fd = ask();
    room(200);
    room(400);
    limit_of(300 << 20, 400 << 20);
    limit_of(500 << 20, 400 << 20);
    char number[12];
    snprintf(number, sizeof(number), "%d", fd);
    execl("/proc/self/exe", "limits", number, NULL);
    return 1;
}
