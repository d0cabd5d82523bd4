/* Names: the C library's look-ups, through the name server on the peer. */
#include "t.h"
#include <netdb.h>
#include <pthread.h>
#include <arpa/nameser.h>
#include <resolv.h>

/* Sorted where the order is the server's whim. */
static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void lookup(const char *node, const char *service, int family, int flags,
                   bool sorted) {
    struct addrinfo hints = {.ai_family = family,
                             .ai_flags = flags,
                             .ai_socktype = SOCK_STREAM},
                    *res = NULL;
    char host[64], port[16], *line[128];
    int n = 0;
    int r = getaddrinfo(node, service, &hints, &res);
    printf("%s %s %d %x: %s\n", node ? node : "-", service ? service : "-",
           family, flags, r ? gai_strerror(r) : "ok");
    if (r)
        return;
    if (res->ai_canonname)
        printf("  canonical %s\n", res->ai_canonname);
    for (struct addrinfo *p = res; p && n < 128; p = p->ai_next) {
        getnameinfo(p->ai_addr, p->ai_addrlen, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
        if (asprintf(&line[n], "  %s port %s", host, port) > 0)
            n++;
    }
    if (sorted)
        qsort(line, (size_t)n, sizeof(*line), by_text);
    for (int i = 0; i < n; i++) {
        if (i < 4)
            puts(line[i]);
        free(line[i]);
    }
    printf("  %d addresses\n", n);
    freeaddrinfo(res);
}

static void without_network(void) {
    section("literals and files");
    lookup("127.0.0.1", NULL, AF_UNSPEC, 0, false);
    lookup("198.18.77.9", "80", AF_INET, AI_NUMERICHOST, false);
    lookup("2001:db8::1", "80", AF_UNSPEC, AI_NUMERICHOST, false);
    lookup("name", "80", AF_UNSPEC, AI_NUMERICHOST, false);
    lookup("filehost", "http", AF_UNSPEC, 0, false);
    lookup("localhost", "22", AF_INET, 0, false);
    lookup(NULL, "80", AF_INET, AI_PASSIVE, false);
    lookup(NULL, "80", AF_UNSPEC, AI_PASSIVE, true);
    lookup(NULL, "80", AF_UNSPEC, 0, true);
    lookup(NULL, NULL, AF_UNSPEC, 0, false);
    lookup("198.18.77.9", "no-such-service", AF_INET, 0, false);
}

static void dns(void) {
    section("DNS");
    lookup("one.test", "80", AF_INET, 0, false);
    lookup("one.test", "80", AF_INET, AI_ADDRCONFIG, false);
    lookup("one", "80", AF_INET, 0, false); /* search list */
    lookup("one.test.", "80", AF_UNSPEC, AI_CANONNAME, false);
    lookup("alias.test", "80", AF_UNSPEC, AI_CANONNAME, false);
    lookup("six.test", "80", AF_INET6, 0, false);
    lookup("six.test", "80", AF_INET, 0, false);
    lookup("one.test", "80", AF_INET6, AI_V4MAPPED, false);
    lookup("missing.test", "80", AF_UNSPEC, 0, false);
    /* the address that can be reached first */
    for (int i = 0; i < 3; i++)
        lookup("two.test", "80", AF_INET, 0, false);
    lookup("many.test", "80", AF_INET, 0, true); /* truncated, then TCP */
}

static void hosts(void) {
    struct hostent *h, he;
    char buf[8192], host[64], ip[64];
    int err = 0;
    struct sockaddr_in a = peer(80);
    section("gethostby...");
    h = gethostbyname("one.test");
    printf("%s\n", h ? inet_ntop(AF_INET, h->h_addr, ip, sizeof(ip)) : "none");
    h = gethostbyname("missing.test");
    printf("%s %d\n", h ? "found" : "none", h_errno);
    h = gethostbyname2("six.test", AF_INET6);
    printf("%s\n", h ? inet_ntop(AF_INET6, h->h_addr, ip, sizeof(ip)) : "none");
    int r = gethostbyname_r("alias.test", &he, buf, sizeof(buf), &h, &err);
    printf("%d %s\n", r, h ? h->h_name : "none");
    r = gethostbyname_r("many.test", &he, buf, 100, &h, &err);
    printf("%s\n", strerrorname_np(r));
    r = gethostbyname2_r("missing.test", AF_INET, &he, buf, sizeof(buf), &h,
                         &err);
    printf("%d %s %d\n", r, h ? h->h_name : "none", err);
    h = gethostbyaddr(&a.sin_addr, 4, AF_INET);
    printf("%s\n", h ? h->h_name : "none");
    r = gethostbyaddr_r(&a.sin_addr, 4, AF_INET, &he, buf, sizeof(buf), &h,
                        &err);
    printf("%d %s\n", r, h ? h->h_name : "none");
    printf("%d ", getnameinfo(SA(a), host, sizeof(host), NULL, 0, 0));
    printf("%s\n", host);
    a = addr_of("198.18.77.200", 80);
    printf("%d ", getnameinfo(SA(a), host, sizeof(host), NULL, 0, 0));
    printf("%s\n", host);
    r = getnameinfo(SA(a), host, sizeof(host), NULL, 0, NI_NAMEREQD);
    printf("%s\n", gai_strerror(r));
}

static void resolver(void) {
    unsigned char ans[4096];
    section("res_...");
    int n = res_query("text.test", ns_c_in, ns_t_txt, ans, sizeof(ans));
    printf("answers %d\n", n > 12 ? ans[6] << 8 | ans[7] : -1);
    n = res_search("text", ns_c_in, ns_t_txt, ans, sizeof(ans));
    printf("search %d\n", n > 0);
    n = res_query("missing.test", ns_c_in, ns_t_a, ans, sizeof(ans));
    printf("missing %d %d\n", n, h_errno);
    struct __res_state rs;
    memset(&rs, 0, sizeof(rs));
    SHOW(res_ninit(&rs));
    n = res_nquery(&rs, "one.test", ns_c_in, ns_t_a, ans, sizeof(ans));
    printf("nquery %d\n", n > 0);
    unsigned char q[512];
    n = res_mkquery(ns_o_query, "one.test", ns_c_in, ns_t_a, NULL, 0, NULL, q,
                    sizeof(q));
    n = res_send(q, n, ans, sizeof(ans));
    printf("send %d\n", n > 0);
    res_nclose(&rs);
}

static volatile int alarms;
static void on_alarm(int sig) { alarms++; }

static void *look_often(void *arg) {
    struct addrinfo hints = {.ai_family = AF_INET}, *res;
    long good = 0;
    for (int i = 0; i < 25; i++) {
        const char *name = i % 2 ? "one.test" : "many.test";
        if (getaddrinfo(name, "80", &hints, &res) == 0) {
            good++;
            freeaddrinfo(res);
        }
    }
    return (void *)good;
}

static void busy(void) {
    pthread_t t[4];
    long good = 0;
    section("threads, signals, fork");
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval it = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &it, NULL);
    for (int i = 0; i < 4; i++)
        NEED(pthread_create(&t[i], NULL, look_often, NULL));
    for (int i = 0; i < 4; i++) {
        void *r;
        pthread_join(t[i], &r);
        good += (long)r;
    }
    setitimer(ITIMER_REAL, &off, NULL);
    printf("good %ld, signals %d\n", good, alarms > 0);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        lookup("one.test", "80", AF_INET, 0, false);
        fflush(stdout);
        _exit(0);
    }
    NEED(waitpid(pid, NULL, 0));
    /* with everything blocked */
    sigset_t all, was;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &was);
    lookup("one.test", "80", AF_INET, 0, false);
    sigprocmask(SIG_SETMASK, NULL, &all);
    printf("SIGSYS still blocked %d\n", sigismember(&all, SIGSYS));
    sigprocmask(SIG_SETMASK, &was, NULL);
}

/* SIGSYS is the program's, whatever the look-ups use it for. */
static volatile int sys_hits;
static void on_sys(int sig) { sys_hits++; }
static void own_sigsys(void) {
    struct sigaction sa = {.sa_handler = on_sys}, old;
    section("SIGSYS");
    sigaction(SIGSYS, NULL, &old);
    printf("default %d\n", old.sa_handler == SIG_DFL);
    sigaction(SIGSYS, &sa, NULL);
    lookup("one.test", "80", AF_INET, 0, false);
    raise(SIGSYS);
    printf("hits %d\n", sys_hits);
    sigaction(SIGSYS, NULL, &old);
    printf("ours %d %x\n", old.sa_handler == on_sys, old.sa_flags);
    signal(SIGSYS, SIG_IGN);
    raise(SIGSYS);
    printf("hits %d\n", sys_hits);
    signal(SIGSYS, SIG_DFL);
    fflush(stdout);
    pid_t pid = (pid_t)NEED(fork());
    if (pid == 0) {
        lookup("one.test", "80", AF_INET, 0, false);
        fflush(stdout);
        raise(SIGSYS);
        _exit(0);
    }
    int status;
    NEED(waitpid(pid, &status, 0));
    printf("killed by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    without_network();
    dns();
    hosts();
    resolver();
    busy();
    own_sigsys();
    return 0;
}
