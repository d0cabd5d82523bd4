/* cycles.c: a server that forks for each connection, and the client that makes
 * them, for handed.sh.
 *
 *   cycles serve PORT N      accept N connections; a child each echoes one byte
 *                            and ends; prints what it has open at the end
 *   cycles call ADDR PORT N  N connections, a byte there and back on each
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many descriptors does this process have? */
static int open_now(void) {
    DIR *d = opendir("/proc/self/fd");
    int n = -3; /* ".", "..", the directory itself */
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static int child(int c) {
    char byte; /* the client closes first, and has the TIME-WAIT */
    return read(c, &byte, 1) != 1 || write(c, &byte, 1) != 1 ||
           read(c, &byte, 1) != 0;
}

static int serve(int port, int n) {
    int one = 1, failed = 0, before = 0;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int l = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l, 64) < 0)
        return 1;
    for (int i = 0; i < n; i++) {
        int status, c = accept(l, NULL, NULL);
        if (i == 100)
            before = open_now();
        if (c < 0)
            return 1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(child(c));
        close(c);
        while (waitpid(-1, &status, WNOHANG) > 0)
            failed += status != 0;
    }
    int status;
    while (waitpid(-1, &status, 0) > 0)
        failed += status != 0;
    printf("failed %d, descriptors more %d\n", failed,
           n > 100 ? open_now() + 1 - before : 0);
    fflush(stdout);
    getchar(); /* until the caller has looked */
    return failed != 0;
}

static int call(const char *addr, int port, int n) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, addr, &a.sin_addr);
    for (int i = 0; i < n; i++) {
        char byte = 'x';
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0 ||
            write(s, &byte, 1) != 1 || read(s, &byte, 1) != 1)
            return 1;
        close(s);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "serve"))
        return serve(atoi(argv[2]), atoi(argv[3]));
    if (argc == 5 && !strcmp(argv[1], "call"))
        return call(argv[2], atoi(argv[3]), atoi(argv[4]));
    return 2;
}
