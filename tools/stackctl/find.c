/* find.c: running stacks.
 *
 * A stack's memory is a memfd named "libstack:dev/address", which every
 * process that uses it keeps open. So the running stacks are found in
 * /proc/PID/fd, without any registry that could go stale; what we may see
 * there is what we may trace (ptrace(2)): our own processes, or all for root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/share/inner.h"
#include "tools/stackctl/stackctl.h"

#define MARK "/memfd:libstack:"
#define MAX_STACKS 64

/* Add what fd `name` of the process is, if it is a stack not yet seen. */
static unsigned look_at(int dir, int pid, const char *name, struct found *out,
                        unsigned n, unsigned max) {
    char link[160];
    struct stat st;
    ssize_t len = readlinkat(dir, name, link, sizeof(link) - 1);
    if (len <= (ssize_t)strlen(MARK))
        return n;
    link[len] = '\0';
    if (strncmp(link, MARK, strlen(MARK)) || fstatat(dir, name, &st, 0) < 0)
        return n;
    for (unsigned i = 0; i < n; i++)
        if (out[i].ino == st.st_ino)
            return n;
    if (n == max)
        return n;
    char *end = strstr(link, " (deleted)");
    if (end)
        *end = '\0';
    snprintf(out[n].name, sizeof(out[n].name), "%.90s", link + strlen(MARK));
    out[n].pid = pid;
    out[n].fd = atoi(name);
    out[n].ino = st.st_ino;
    return n + 1;
}

bool view_option(const char *arg, struct view *v) {
    bool *flag = !strcmp(arg, "--json")   ? &v->json
                 : !strcmp(arg, "--here") ? &v->here
                 : !strcmp(arg, "-a")     ? &v->all
                                          : NULL;
    if (flag)
        *flag = true;
    return flag != NULL;
}

/* The inode of a process's network namespace; 0 when we may not know. */
static uint64_t netns_of(const char *pid) {
    char path[300];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
    return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* All running stacks that we may look into, each once, at most max. *hidden
 * counts processes that we may not look at. */
static unsigned find_stacks(struct found *out, unsigned max, bool here,
                            unsigned *hidden) {
    unsigned n = 0;
    struct dirent *d, *e;
    uint64_t ours = netns_of("self");
    DIR *proc = opendir("/proc");
    *hidden = 0;
    while (proc && (d = readdir(proc))) {
        char path[300];
        int pid = atoi(d->d_name);
        if (pid <= 0 || (here && netns_of(d->d_name) != ours))
            continue;
        snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        DIR *fds = opendir(path);
        *hidden += !fds && errno == EACCES;
        while (fds && (e = readdir(fds)))
            n = look_at(dirfd(fds), pid, e->d_name, out, n, max);
        if (fds)
            closedir(fds);
    }
    if (proc)
        closedir(proc);
    return n;
}

/* Become an observer of one. 0, or -errno after a message (none when the stack
 * has just ended). */
static int attach(const struct found *f) {
    char path[64], err[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", f->pid, f->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        complain("%s: %s: run stackctl as root or as the user of the stack",
                 f->name, strerror(errno));
    if (fd < 0)
        return -errno;
    int e = share_observe(fd, err, sizeof(err));
    if (e) {
        close(fd);
        complain("%s: %s", f->name, err);
    }
    return e;
}

static void detach(void) {
    close(self.fd.arena);
    arena_unmap();
}

int find_each(const struct view *v,
              void (*show)(const struct found *f, const struct view *v)) {
    struct found f[MAX_STACKS];
    unsigned hidden, shown = 0;
    unsigned n = find_stacks(f, MAX_STACKS, v->here, &hidden);
    if (v->json)
        fputc('[', stdout);
    for (unsigned i = 0; i < n; i++) {
        if (attach(&f[i]))
            continue;
        if (v->json && shown)
            fputc(',', stdout);
        show(&f[i], v);
        detach();
        shown++;
    }
    if (v->json)
        fputs("]\n", stdout);
    else if (!shown)
        complain("no stack is running%s",
                 hidden ? " that you may look into: try as root" : "");
    return shown ? 0 : 1;
}
