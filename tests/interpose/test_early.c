/* Company before main: other allocators, another preloaded library that calls
 * from its constructor and wraps the same names, ASan, malloc that looks names
 * up. The program runs itself under each and echoes some bytes. */
#include "t.h"

#include <netdb.h>
#include <pthread.h>

static const char second[] =
    "#include <dlfcn.h>\n"
    "#include <stdio.h>\n"
    "#include <stdlib.h>\n"
    "#include <sys/socket.h>\n"
    "#include <unistd.h>\n"
    "static int calls;\n"
    "ssize_t send(int fd, const void *b, size_t n, int f) {\n"
    "    static ssize_t (*next)(int, const void *, size_t, int);\n"
    "    if (!next)\n"
    "        *(void **)&next = dlsym(RTLD_NEXT, \"send\");\n"
    "    calls++;\n"
    "    return next(fd, b, n, f);\n"
    "}\n"
    "__attribute__((constructor(101))) static void start(void) {\n"
    "    int fd = socket(AF_INET, SOCK_DGRAM, 0);\n"
    "    if (write(fd, \"\", 1) >= 0 || close(fd) < 0)\n"
    "        abort();\n"
    "}\n"
    "__attribute__((destructor)) static void stop(void) {\n"
    "    printf(\"%d sends seen\\n\", calls);\n"
    "    fflush(stdout);\n"
    "}\n";

static void *worker(void *arg) {
    char c[8] = "";
    int s = tcp_to(P_ECHO);
    for (int i = 0; i < 20; i++) {
        char *p = malloc(1000 + (size_t)i * 100);
        memset(p, 1, 1000);
        NEED(send(s, "ping", 4, 0));
        NEED(recv(s, c, 4, MSG_WAITALL));
        free(p);
    }
    close(s);
    return NULL;
}

/* What each variant runs. */
static int child(void) {
    pthread_t t[4];
    struct addrinfo *a = NULL;
    printf("name %d\n", getaddrinfo("localhost", "80", NULL, &a));
    freeaddrinfo(a);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, worker, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    pid_t pid = fork();
    if (pid == 0) {
        worker(NULL);
        exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    printf("child %d\n", status);
    return 0;
}

/* Run ourselves with LD_PRELOAD = `first`, then what there was. */
static void variant(const char *title, const char *first, const char *self) {
    char cmd[2000];
    const char *old = getenv("LD_PRELOAD");
    section(title);
    fflush(stdout);
    snprintf(cmd, sizeof(cmd),
             "LD_PRELOAD='%s%s%s' ASAN_OPTIONS=detect_leaks=0 %s child 2>&1",
             first, *first && old ? ":" : "", old ? old : "", self);
    printf("status %d\n", system(cmd));
}

/* Where the dynamic linker finds a library. */
static const char *library(const char *name) {
    static char path[300];
    char cmd[200];
    snprintf(cmd, sizeof(cmd), "ldconfig -p | sed -n 's/.*%s.* => //p'", name);
    FILE *f = popen(cmd, "r");
    path[0] = 0;
    if (!fgets(path, sizeof(path), f))
        printf("FAILED: no %s\n", name);
    pclose(f);
    path[strcspn(path, "\n")] = 0;
    return path;
}

int main(int argc, char **argv) {
    char dir[] = "/tmp/early-XXXXXX", cmd[2000], lib[100], asan[300];
    if (argc > 1)
        return child();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!mkdtemp(dir))
        return 1;
    snprintf(lib, sizeof(lib), "%s/second.so", dir);
    snprintf(cmd, sizeof(cmd), "gcc -shared -fPIC -xc - -o %s", lib);
    FILE *f = popen(cmd, "w");
    fputs(second, f);
    NEED(-pclose(f));
    variant("alone", "", argv[0]);
    variant("jemalloc", library("libjemalloc.so.2"), argv[0]);
    variant("tcmalloc", library("libtcmalloc_minimal.so.4"), argv[0]);
    variant("another preload before", lib, argv[0]);
    snprintf(asan, sizeof(asan), "%s", library("libasan.so.8"));
    snprintf(lib, sizeof(lib), "%s/asan", dir);
    snprintf(cmd, sizeof(cmd),
             "LD_PRELOAD= gcc -std=gnu11 -D_GNU_SOURCE -fsanitize=address "
             "-pthread %s -o %s",
             __FILE__, lib);
    NEED(-system(cmd));
    variant("AddressSanitizer", asan, lib);
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    NEED(-system(cmd));
    section("a cleaned environment");
    fflush(stdout);
    execle(argv[0], argv[0], "child", NULL,
           (char *[]){(char *)"LC_ALL=C",
                      (cmd[sprintf(cmd, "PEER=%s", getenv("PEER"))] = 0, cmd),
                      NULL});
    return 1;
}
