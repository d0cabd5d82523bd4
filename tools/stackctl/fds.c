/* fds.c: every internet socket that the processes of a stack have open, and who
 * serves it.
 *
 * The stack's side is in the arena: the map of each process. Whatever else is a
 * socket in /proc/PID/fd is the kernel's; its addresses come from
 * /proc/PID/net, and the reason from what libstack.so noted when it let it go
 * (preload/share/why.c). Sockets of other families are not looked at.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/share/file.h"
#include "preload/share/share.h"
#include "preload/share/why.h"
#include "stack/stats.h"
#include "tools/stackctl/stackctl.h"

struct fd_row {
    int pid, fd;
    bool stack;
    const char *proto;
    char local[64], remote[64];
    char why[96];
};

struct fd_list {
    struct fd_row *rows;
    unsigned n, room;
};

/* A blank row at the end; NULL: no memory. */
static struct fd_row *add(struct fd_list *l, int pid, int fd) {
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        struct fd_row *more = realloc(l->rows, l->room * sizeof(*more));
        if (!more)
            return NULL;
        l->rows = more;
    }
    struct fd_row *r = &l->rows[l->n++];
    *r = (struct fd_row){.pid = pid, .fd = fd};
    return r;
}

/* ---- the stack's ----------------------------------------------------------- */

static void stack_row(struct fd_list *l, int pid, int fd,
                      const struct file *f) {
    static const char *const names[] = {"tcp", "udp", "raw"};
    struct endpoint local = {0}, remote = {0};
    struct fd_row *r = add(l, pid, fd);
    if (!r)
        return;
    stack_getsockname(f->so, &local);
    stack_getpeername(f->so, &remote);
    r->stack = true;
    r->proto = names[stack_sock_type(f->so)];
    show_endpoint(&local, r->local, sizeof(r->local));
    show_endpoint(&remote, r->remote, sizeof(r->remote));
    if (f->twin_ino)
        snprintf(r->why, sizeof(r->why), "and the kernel, on its loopback");
}

/* ---- the kernel's ----------------------------------------------------------- */

/* "0100007F:1F90", or 32 digits of IPv6 in four words, as /proc/net has it. */
static void show_hex(const char *text, char *buf, size_t len) {
    char ip[INET6_ADDRSTRLEN] = "?";
    unsigned w[4], port = 0;
    size_t digits = strcspn(text, ":");
    if (digits == 8 && sscanf(text, "%8x:%x", w, &port) == 2)
        inet_ntop(AF_INET, w, ip, sizeof(ip));
    else if (digits == 32 && sscanf(text, "%8x%8x%8x%8x:%x", w, w + 1, w + 2,
                                    w + 3, &port) == 5)
        inet_ntop(AF_INET6, w, ip, sizeof(ip));
    if (port)
        snprintf(buf, len, "%s:%u", ip, port);
    else
        snprintf(buf, len, "%s:*", ip);
}

/* Find a socket by its inode in one table of /proc/PID/net. */
static bool find_in(int pid, const char *table, uint64_t ino,
                    struct fd_row *r) {
    char path[64], line[512], local[80], remote[80];
    unsigned long long at;
    snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, table);
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*s %79s %79s %*s %*s %*s %*s %*s %*s %llu", local,
                   remote, &at) != 3 ||
            at != ino)
            continue;
        show_hex(local, r->local, sizeof(r->local));
        show_hex(remote, r->remote, sizeof(r->remote));
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

static bool find_kernel(int pid, uint64_t ino, struct fd_row *r) {
    static const char *const tables[] = {"tcp", "tcp6", "udp",  "udp6",
                                         "raw", "raw6", "icmp", "icmp6"};
    for (unsigned i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        if (find_in(pid, tables[i], ino, r)) {
            r->proto = tables[i];
            return true;
        }
    return false;
}

/* A socket that was noted but is in no table has no address yet. */
static void kernel_row(struct fd_list *l, int pid, int fd, uint64_t ino) {
    struct fd_row found = {.pid = pid, .fd = fd, .proto = "-"};
    int rule = -1;
    enum why why = why_of(ino, &rule);
    bool listed = find_kernel(pid, ino, &found);
    if (!listed && why == WHY_UNKNOWN)
        return; /* another family */
    struct fd_row *r = add(l, pid, fd);
    if (!r)
        return;
    *r = found;
    if (why == WHY_RULE && rule >= 0)
        snprintf(r->why, sizeof(r->why), "rule `%s`",
                 self.sh->rules[rule].text);
    else
        snprintf(r->why, sizeof(r->why), "%s", why_text(why));
}

/* ---- both -------------------------------------------------------------------- */

/* The rows of one process of the stack: [from, to) in the list, by number. */
struct part {
    int pid;
    unsigned from, to;
};

/* Lock held. Returns the number of processes. */
static unsigned take_stack(struct fd_list *l, struct part part[SHARE_PROCS]) {
    unsigned n = 0;
    for (unsigned i = 0; i < SHARE_PROCS; i++) {
        const struct proc *p = &self.sh->procs[i];
        if (p->pid <= 0)
            continue;
        part[n] = (struct part){p->pid, l->n, 0};
        for (unsigned fd = 0; fd < p->map_len; fd++)
            if (p->map[fd] && p->map[fd]->kind == FILE_SOCK)
                stack_row(l, p->pid, (int)fd, p->map[fd]);
        part[n++].to = l->n;
    }
    return n;
}

static int by_fd(const void *key, const void *row) {
    return *(const int *)key - ((const struct fd_row *)row)->fd;
}

/* What else the process has open. */
static void take_kernel(struct fd_list *l, const struct part *p) {
    char path[300], link[64];
    struct dirent *d;
    unsigned long long ino;
    snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
    DIR *dir = opendir(path);
    while (dir && (d = readdir(dir))) {
        int fd = atoi(d->d_name);
        ssize_t n = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);
        link[n > 0 ? n : 0] = '\0';
        if (sscanf(link, "socket:[%llu]", &ino) != 1 ||
            (p->to > p->from && bsearch(&fd, l->rows + p->from, p->to - p->from,
                                        sizeof(*l->rows), by_fd)))
            continue;
        kernel_row(l, p->pid, fd, ino);
    }
    if (dir)
        closedir(dir);
}

static void print_row(const struct fd_row *r, struct json *j) {
    char prog[32];
    const char *who = r->stack ? "stack" : "kernel";
    program_of(r->pid, prog, sizeof(prog));
    if (!j) {
        printf("  %s/%d fd %d: %s, %s %s > %s%s%s\n", prog, r->pid, r->fd, who,
               r->proto, r->local, r->remote, r->why[0] ? ": " : "", r->why);
        return;
    }
    json_open(j, '{');
    json_text(j, "program", prog);
    json_number(j, "pid", (uint64_t)r->pid);
    json_number(j, "fd", (uint64_t)r->fd);
    json_text(j, "served_by", who);
    json_text(j, "proto", r->proto);
    json_text(j, "local", r->local[0] ? r->local : "-");
    json_text(j, "remote", r->remote[0] ? r->remote : "-");
    json_text(j, "why", r->why);
    json_close(j, '}');
}

void fds_show(bool all, struct json *j) {
    static struct part part[SHARE_PROCS];
    struct fd_list l = {0};
    share_enter();
    unsigned procs = take_stack(&l, part);
    share_leave();
    for (unsigned i = 0; i < procs; i++)
        take_kernel(&l, &part[i]);
    for (unsigned i = 0; i < l.n; i++)
        if (all || j || !l.rows[i].stack)
            print_row(&l.rows[i], j);
    free(l.rows);
}
