/* Every row of stack/options.def, set and read in all ways: values, lengths,
 * pointers; sockets of six kinds. Where the table says that the stack refuses
 * what the kernel grants, the run on the kernel prints what the table
 * promises, so that the stack is held to it. */
#include "t.h"

enum kind { STACK_ROW, CALL_ROW, KEPT_ROW, FIXED_ROW, NONE_ROW };

struct row {
    int level, number;
    const char *name;
    enum kind kind;
    bool writable;
    int value, set_err, get_err;
    const char *sentence;
};

#define RW true
#define RO false
static const struct row rows[] = {
#define OPTION(id, level, name, number, kind, access, sentence)                \
    {level, number, #name, STACK_ROW, access, 0, 0, 0, sentence},
#define OPTION_CALL(level, name, number, how, access, sentence)                \
    {level, number, #name, CALL_ROW, access, 0, 0, 0, sentence},
#define OPTION_KEPT(level, name, number, min, max, initial, sentence)          \
    {level, number, #name, KEPT_ROW, true, 0, 0, 0, sentence},
#define OPTION_FIXED(level, name, number, access, value, error, sentence)      \
    {level, number, #name, FIXED_ROW, access, value, error, 0, sentence},
#define OPTION_NONE(level, name, number, set, get, sentence)                   \
    {level, number, #name, NONE_ROW, false, 0, set, get, sentence},
#include "../../stack/options.def"
};

static const struct {
    const char *name, *cases;
} differs[] = {
#define OPTION_DIFFERS(name, cases, reason) {#name, cases},
#include "../../stack/options.def"
};

static bool on_stack;
static const struct row *row; /* being tested */
static const char *where;     /* on which socket */

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return true;
    return false;
}

/* Does the table say that the kernel's answer is another? */
static bool explained(const char *what) {
    for (size_t i = 0; i < sizeof(differs) / sizeof(differs[0]); i++)
        if (strcmp(differs[i].name, row->name) == 0 &&
            (has_word(differs[i].cases, "*") ||
             has_word(differs[i].cases, what) ||
             has_word(differs[i].cases, where)))
            return true;
    return false;
}

/* A name that the running kernel does not have yet says nothing. */
static bool newer(void) {
    int major = 0, minor = 0;
    return sscanf(row->sentence, "%d.%d:", &major, &minor) == 2;
}

static const char *err(int r) { return r < 0 ? strerrorname_np(errno) : "ok"; }

/* A fresh socket of one of the kinds. */
static int fresh(const char *kind) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    int six = strchr(kind, '6') ? AF_INET6 : AF_INET;
    if (strcmp(kind, "udp") == 0 || strcmp(kind, "udp6") == 0)
        return NEED(socket(six, SOCK_DGRAM, 0));
    if (strcmp(kind, "tcp") == 0 || strcmp(kind, "tcp6") == 0)
        return NEED(socket(six, SOCK_STREAM, 0));
    if (strcmp(kind, "udpc") == 0)
        return udp_to(P_ECHO);
    if (strcmp(kind, "tcpc") == 0)
        return tcp_to(P_STUCK);
    int fd = tcp();
    NEED(bind(fd, SA(any)));
    NEED(listen(fd, 5));
    return fd;
}

/* What getsockopt says, as text. */
static void got(int fd, socklen_t room, char *out, size_t n) {
    unsigned char buf[300];
    socklen_t len = room;
    memset(buf, 0xa5, sizeof(buf));
    int r = getsockopt(fd, row->level, row->number, buf, &len);
    int used = snprintf(out, n, "%s", err(r));
    if (r < 0)
        return;
    used += snprintf(out + used, n - used, " %u:", len);
    for (socklen_t i = 0; i < len && i < 40; i++)
        used += snprintf(out + used, n - used, "%02x", buf[i]);
    for (socklen_t i = len; i < sizeof(buf); i++)
        if (buf[i] != 0xa5) {
            snprintf(out + used, n - used, " wrote beyond");
            break;
        }
}

static void line(const char *what, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void line(const char *what, const char *fmt, ...) {
    va_list ap;
    if (explained(what))
        return;
    printf("%s %s %s: ", row->name, where, what);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

/* A promise is printed in place of the kernel's answer. */
static const char *promised(const char *real, int e) {
    return on_stack ? real : strerrorname_np(e);
}

/* ---- the cases ---------------------------------------------------------------- */

static void defaults(int fd) {
    char text[200];
    got(fd, 64, text, sizeof(text));
    if (row->kind == NONE_ROW)
        line("default", "%s",
             row->get_err ? promised(text, row->get_err)
             : on_stack   ? text
                          : "ok 0:");
    else
        line("default", "%s", text);
}

static void lengths(const char *kind) {
    static const int lens[] = {0, 1, 3, 4, 5, 8, 100, -1, -4};
    char text[200], what[40];
    unsigned char buf[128] = {1};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        int fd = fresh(kind);
        snprintf(what, sizeof(what), "len%d", lens[i]);
        if (row->kind != NONE_ROW) {
            got(fd, (socklen_t)lens[i], text, sizeof(text));
            if (!explained("default"))
                line(what, "get %s", text);
        }
        int r =
            setsockopt(fd, row->level, row->number, buf, (socklen_t)lens[i]);
        if (row->kind == STACK_ROW || row->kind == CALL_ROW ||
            row->kind == KEPT_ROW)
            line(what, "set %s", err(r));
        close(fd);
    }
}

static void pointers(const char *kind) {
    int fd = fresh(kind), v = 1;
    socklen_t len = 4;
    bool same = row->kind != NONE_ROW && row->kind != FIXED_ROW;
    int r = getsockopt(fd, row->level, row->number, NULL, &len);
    if (row->kind != NONE_ROW)
        line("pointer", "get to NULL %s", err(r));
    r = getsockopt(fd, row->level, row->number, &v, NULL);
    line("pointer", "get without length %s", err(r));
    r = setsockopt(fd, row->level, row->number, NULL, 4);
    if (same)
        line("pointer", "set from NULL %s", err(r));
    r = setsockopt(fd, row->level, row->number, (void *)8, 4);
    if (same)
        line("pointer", "set from 8 %s", err(r));
    close(fd);
}

static void values(const char *kind, bool few) {
    static const struct {
        int v;
        const char *what;
    } all[] = {
        {0, "0"},
        {1, "1"},
        {2, "2"},
        {3, "3"},
        {4, "4"},
        {7, "7"},
        {64, "64"},
        {100, "100"},
        {255, "255"},
        {256, "256"},
        {1000, "1000"},
        {9000, "9000"},
        {20000, "20000"},
        {65535, "65535"},
        {1 << 20, "big"},
        {INT32_MAX, "big"},
        {-1, "negative"},
        {-2, "negative"},
        {INT32_MIN, "negative"},
    };
    char text[200];
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (few && i % 6)
            continue;
        int fd = fresh(kind);
        int r = setsockopt(fd, row->level, row->number, &all[i].v, 4);
        const char *e = err(r);
        if (row->kind == NONE_ROW || (row->kind == FIXED_ROW && row->writable &&
                                      all[i].v != row->value)) {
            line(all[i].what, "set %d %s", all[i].v, promised(e, row->set_err));
        } else {
            got(fd, 64, text, sizeof(text));
            line(all[i].what, "set %d %s get %s", all[i].v, e, text);
        }
        close(fd);
    }
}

/* Structures: linger and time-outs. */
static void structures(const char *kind) {
    static const struct {
        long a, b;
    } times[] = {{1, 500000}, {0, 0}, {0, 20000}, {-1, 0}, {1, 1000000}};
    char text[200];
    bool time =
        strstr(row->name, "O_RCVTIMEO") || strstr(row->name, "O_SNDTIMEO");
    if (!time && strcmp(row->name, "SO_LINGER"))
        return;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        int fd = fresh(kind);
        struct timeval tv = {times[i].a, times[i].b};
        struct linger l = {(int)times[i].a, (int)times[i].b};
        int r = time ? setsockopt(fd, row->level, row->number, &tv, sizeof(tv))
                     : setsockopt(fd, row->level, row->number, &l, sizeof(l));
        const char *e = err(r);
        got(fd, 64, text, sizeof(text));
        line("struct", "set %ld %ld %s get %s", times[i].a, times[i].b, e,
             text);
        if (!time) { /* close at once */
            l.l_onoff = l.l_linger = 0;
            setsockopt(fd, row->level, row->number, &l, sizeof(l));
        }
        close(fd);
    }
}

/* Names of other levels on this socket answer alike. */
static bool fits(const char *kind) {
    bool stream = kind[0] == 't' || kind[0] == 'l';
    if (row->level == IPPROTO_TCP)
        return stream;
    if (row->level == IPPROTO_UDP)
        return !stream;
    if (row->level == SOL_RAW)
        return false;
    return row->level != IPPROTO_IPV6 || strchr(kind, '6');
}

int main(void) {
    static const char *const kinds[] = {"tcp",  "listen", "tcpc", "udp",
                                        "udpc", "tcp6",   "udp6"};
    static char out[1 << 16];
    const char *preload = getenv("LD_PRELOAD");
    const char *only = getenv("ONLY");
    on_stack = preload && strstr(preload, "libstack");
    setvbuf(stdout, out, _IOFBF, sizeof(out));
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        where = kinds[k];
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            row = &rows[i];
            if (newer() || !fits(where) || (only && strcmp(only, row->name)))
                continue;
            int fd = fresh(where);
            defaults(fd);
            close(fd);
            if (k == 1 || k == 2 || k == 4) { /* states: values will do */
                values(where, true);
                continue;
            }
            lengths(where);
            pointers(where);
            values(where, false);
            structures(where);
        }
        fflush(stdout);
    }
    return 0;
}
