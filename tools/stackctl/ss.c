/* ss.c: stackctl ss, the socket table of running stacks.
 *
 * What a socket is, is the control information behind it: the addresses of
 * both ends, the state, what waits in the queues, what has been measured and
 * when something was last sent. The table is copied under the stack's lock and
 * printed after it, so that a slow terminal stops nobody. Below it stand the
 * descriptors and who serves each (fds.c).
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "preload/share/file.h"
#include "preload/share/share.h"
#include "stack/stats.h"
#include "tools/stackctl/stackctl.h"

struct row {
    struct sock *so;
    struct stack_sock_info info;
    int pid, fd; /* of one process that has it open; 0: none */
};

void show_endpoint(const struct endpoint *e, char *buf, size_t len) {
    char port[8];
    uint32_t v = ip_to_v4(&e->ip);
    snprintf(port, sizeof(port), e->port ? "%u" : "*", e->port);
    if (ip_is_any(&e->ip))
        snprintf(buf, len, "*:%s", port);
    else
        snprintf(buf, len, "%u.%u.%u.%u:%s", v >> 24, v >> 16 & 255,
                 v >> 8 & 255, v & 255, port);
}

/* ---- taking the table ------------------------------------------------------- */

/* Lock held. Rows in a malloc'ed array. */
static struct row *take_rows(unsigned *n) {
    struct row *rows = NULL;
    struct sock *cursor = NULL;
    struct stack_sock_info info;
    unsigned used = 0, room = 0;
    while (stack_each_sock(self.st, &cursor, &info)) {
        if (used == room) {
            room = room ? 2 * room : 64;
            struct row *more = realloc(rows, room * sizeof(*rows));
            if (!more)
                break;
            rows = more;
        }
        rows[used++] = (struct row){cursor, info, 0, 0};
    }
    *n = used;
    return rows;
}

static int by_sock(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    return x->so < y->so ? -1 : x->so > y->so;
}

/* Lock held: note for each row who has it open. Leaves rows sorted. */
static void find_owners(struct row *rows, unsigned n) {
    if (n == 0)
        return;
    qsort(rows, n, sizeof(*rows), by_sock);
    for (unsigned p = 0; p < SHARE_PROCS; p++) {
        const struct proc *proc = &self.sh->procs[p];
        for (unsigned fd = 0; proc->pid > 0 && fd < proc->map_len; fd++) {
            const struct file *f = proc->map[fd];
            if (!f || f->kind != FILE_SOCK)
                continue;
            struct row key = {.so = f->so};
            struct row *r = bsearch(&key, rows, n, sizeof(*rows), by_sock);
            if (r && !r->pid) {
                r->pid = proc->pid;
                r->fd = (int)fd;
            }
        }
    }
}

/* The program's name, as ps shows it; "-" when it cannot be read. */
void program_of(int pid, char *buf, size_t len) {
    char path[40];
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    FILE *f = pid ? fopen(path, "re") : NULL;
    snprintf(buf, len, "-");
    if (f) {
        if (fgets(buf, (int)len, f))
            buf[strcspn(buf, "\n")] = '\0';
        fclose(f);
    }
}

/* ---- printing ----------------------------------------------------------------- */

static const char *proto_name(const struct stack_sock_info *i) {
    return i->type == STACK_STREAM  ? "tcp"
           : i->type == STACK_DGRAM ? "udp"
                                    : "raw";
}

static const char *state_name(const struct stack_sock_info *i) {
    return i->type == STACK_STREAM ? stack_tcp_state_name(i->tcp.state)
           : i->remote.port        ? "ESTABLISHED"
                                   : "UNCONNECTED";
}

/* As ss without -a: what listens, is closed, or only waits for its end, is left
 * out. */
static bool wanted(const struct row *r, const struct view *v) {
    static const char *const quiet[] = {"CLOSED", "LISTEN", "TIME-WAIT",
                                        "UNCONNECTED"};
    const char *state = state_name(&r->info);
    for (unsigned i = 0; !v->all && i < sizeof(quiet) / sizeof(*quiet); i++)
        if (!strcmp(state, quiet[i]))
            return false;
    return true;
}

/* Sockets that somebody has open first, by process and descriptor. */
static int by_owner(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (!x->pid != !y->pid)
        return x->pid ? -1 : 1;
    if (x->pid != y->pid)
        return x->pid < y->pid ? -1 : 1;
    return x->fd != y->fd ? (x->fd < y->fd ? -1 : 1) : by_sock(a, b);
}

static void text_row(const struct row *r) {
    const struct stack_tcp_info *t = &r->info.tcp;
    char local[32], remote[32], prog[32], owner[64];
    show_endpoint(&r->info.local, local, sizeof(local));
    show_endpoint(&r->info.remote, remote, sizeof(remote));
    program_of(r->pid, prog, sizeof(prog));
    if (r->pid)
        snprintf(owner, sizeof(owner), "%s/%d fd %d", prog, r->pid, r->fd);
    else
        snprintf(owner, sizeof(owner), "%s", r->info.orphan ? "(orphan)" : "-");
    printf("%-3s %-11s %8u %8u %-21s %-21s", proto_name(&r->info),
           state_name(&r->info), r->info.recvq, r->info.sendq, local, remote);
    if (r->info.type == STACK_STREAM && !r->info.listening)
        printf(" %8.3f %6llu %5u %5u %8llu", t->srtt_us / 1000.0,
               (unsigned long long)t->rto_us / 1000, t->snd_cwnd,
               t->total_retrans, (unsigned long long)t->last_data_sent_ms);
    else
        printf(" %8s %6s %5s %5s %8s", "-", "-", "-", "-", "-");
    printf("  %s\n", owner);
}

static void json_tcp(struct json *j, const struct stack_tcp_info *t) {
    json_number(j, "srtt_us", t->srtt_us);
    json_number(j, "rttvar_us", t->rttvar_us);
    json_number(j, "rto_us", t->rto_us);
    json_number(j, "snd_mss", t->snd_mss);
    json_number(j, "rcv_mss", t->rcv_mss);
    json_number(j, "cwnd", t->snd_cwnd);
    json_number(j, "ssthresh", t->snd_ssthresh);
    json_number(j, "snd_wnd", t->snd_wnd);
    json_number(j, "rcv_wnd", t->rcv_wnd);
    json_number(j, "unacked", t->unacked);
    json_number(j, "retrans", t->total_retrans);
    json_number(j, "bytes_sent", t->bytes_sent);
    json_number(j, "bytes_acked", t->bytes_acked);
    json_number(j, "bytes_received", t->bytes_received);
    json_number(j, "last_sent_ms", t->last_data_sent_ms);
    json_number(j, "last_received_ms", t->last_data_recv_ms);
}

static void json_row(struct json *j, const struct row *r) {
    char local[32], remote[32], prog[32];
    show_endpoint(&r->info.local, local, sizeof(local));
    show_endpoint(&r->info.remote, remote, sizeof(remote));
    program_of(r->pid, prog, sizeof(prog));
    json_open(j, '{');
    json_text(j, "proto", proto_name(&r->info));
    json_text(j, "state", state_name(&r->info));
    json_text(j, "local", local);
    json_text(j, "remote", remote);
    json_number(j, "recvq", r->info.recvq);
    json_number(j, "sendq", r->info.sendq);
    if (r->pid) {
        json_text(j, "program", prog);
        json_number(j, "pid", (uint64_t)r->pid);
        json_number(j, "fd", (uint64_t)r->fd);
    }
    json_number(j, "age_ms", r->info.age / 1000000);
    if (r->info.type == STACK_STREAM && !r->info.listening)
        json_tcp(j, &r->info.tcp);
    json_text(j, "why", "stack");
    json_close(j, '}');
}

/* What went elsewhere: the counters that say so, from their list. */
static const struct {
    const char *name, *sentence;
    size_t at;
} elsewhere[] = {
#define SHARE_COUNTER(name, sentence)                                          \
    {#name, sentence, offsetof(struct share_counters, name)},
#include "preload/share/counters.def"
#undef SHARE_COUNTER
};

static void show_elsewhere(const struct share_counters *c, struct json *j) {
    for (unsigned i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++) {
        uint64_t v;
        memcpy(&v, (const char *)c + elsewhere[i].at, sizeof(v));
        if (strncmp(elsewhere[i].name, "kernel_", 7) || (!j && !v))
            continue;
        if (j)
            json_number(j, elsewhere[i].name, v);
        else
            printf("    %llu %s\n", (unsigned long long)v,
                   elsewhere[i].sentence);
    }
}

static void print_json(const struct found *f, const struct row *rows,
                       unsigned n, const struct share_counters *c,
                       const struct view *v) {
    struct json j = {stdout, false};
    json_open(&j, '{');
    json_text(&j, "stack", f->name);
    show_elsewhere(c, &j);
    json_key(&j, "sockets");
    json_open(&j, '[');
    for (unsigned i = 0; i < n; i++)
        if (wanted(&rows[i], v))
            json_row(&j, &rows[i]);
    json_close(&j, ']');
    json_key(&j, "descriptors");
    json_open(&j, '[');
    fds_show(true, &j);
    json_close(&j, ']');
    json_close(&j, '}');
}

static void show_stack(const struct found *f, const struct view *v) {
    struct share_counters count;
    unsigned n, procs;
    share_enter();
    struct row *rows = take_rows(&n);
    find_owners(rows, n);
    count = self.sh->count;
    procs = self.sh->nprocs;
    share_leave();
    if (n > 0)
        qsort(rows, n, sizeof(*rows), by_owner);
    if (v->json) {
        print_json(f, rows, n, &count, v);
    } else {
        printf("stack %s: %u processes, %u sockets\n", f->name, procs, n);
        printf("%-3s %-11s %8s %8s %-21s %-21s %8s %6s %5s %5s %8s  %s\n", "",
               "State", "Recv-Q", "Send-Q", "Local", "Peer", "srtt ms",
               "rto ms", "cwnd", "retr", "sent ms", "program/pid fd");
        for (unsigned i = 0; i < n; i++)
            if (wanted(&rows[i], v))
                text_row(&rows[i]);
        show_elsewhere(&count, NULL);
        fds_show(v->all, NULL);
    }
    free(rows);
}

int cmd_ss(int argc, char **argv) {
    struct view view = {0};
    bool watch = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--watch")) {
            watch = true;
        } else if (!view_option(argv[i], &view)) {
            complain("ss: unknown option %s: -a, --here, --json, --watch are "
                     "known",
                     argv[i]);
            return 2;
        }
    }
    for (;;) {
        if (watch && !view.json)
            fputs("\033[H\033[2J", stdout);
        int e = find_each(&view, show_stack);
        fflush(stdout);
        if (!watch)
            return e;
        sleep(1);
    }
}
