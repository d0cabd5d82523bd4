/* The name server of the settings, instead of resolv.conf's. */
// on the stack: DNS
#include "t.h"
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>

static void *look(void *arg) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM},
                    *res;
    char ip[64];
    int r = getaddrinfo(arg, NULL, &hints, &res);
    if (r) {
        printf("%s: %s\n", (char *)arg, gai_strerror(r));
        return NULL;
    }
    struct sockaddr_in *a = (struct sockaddr_in *)(void *)res->ai_addr;
    printf("%s %s\n", (char *)arg,
           inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip)));
    freeaddrinfo(res);
    return NULL;
}

int main(void) {
    pthread_t t;
    unsigned char ans[512];
    setvbuf(stdout, NULL, _IOLBF, 0);
    section("each thread has a resolver state of its own");
    look("one.test");
    look("one"); /* the search list stays resolv.conf's */
    for (int i = 0; i < 3; i++) {
        NEED(pthread_create(&t, NULL, look, (void *)"peer.test"));
        pthread_join(t, NULL);
    }
    look("missing.test");
    section("after res_init, and in a child");
    SHOW(res_init());
    look("one.test");
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        look("one.test");
        fflush(stdout);
        _exit(0);
    }
    NEED(waitpid(pid, NULL, 0));
    section("res_query, and a state of the program's own");
    SHOW(res_query("one.test", 1, 1, ans, sizeof(ans)) > 0);
    struct __res_state rs;
    memset(&rs, 0, sizeof(rs));
    SHOW(res_ninit(&rs));
    SHOW(res_nquery(&rs, "one.test", 1, 1, ans, sizeof(ans)) > 0);
    res_nclose(&rs);
    return 0;
}
