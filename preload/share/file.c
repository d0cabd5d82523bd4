/* file.c: descriptors and open file descriptions. See file.h. */
#include "preload/share/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "netio/sys.h"
#include "preload/share/inner.h"

struct file *file_table[FILE_TABLE];

struct file *file_new(enum file_kind kind, struct sock *so,
                      struct pollset *ps) {
    struct file *f = stack_alloc(self.st, sizeof(*f));
    if (!f)
        return NULL;
    f->kind = (uint8_t)kind;
    f->so = so;
    f->ps = ps;
    f->opened = share_clock();
    return f;
}

static struct proc *me(void) { return &self.sh->procs[self.slot]; }

/* Room for fd in the map of this process: doubled, so that a program that
 * opens one after the other does not copy each time. */
static int map_reserve(int fd) {
    struct proc *p = me();
    if ((unsigned)fd >= FILE_TABLE)
        return -EMFILE;
    if ((uint32_t)fd < p->map_len)
        return 0;
    uint32_t want = p->map_len ? p->map_len : 32;
    while (want <= (uint32_t)fd)
        want *= 2;
    struct file **map = stack_alloc(self.st, want * sizeof(map[0]));
    if (!map)
        return -ENOMEM;
    if (p->map_len) /* memcpy from NULL is undefined, even of nothing */
        memcpy(map, p->map, p->map_len * sizeof(map[0]));
    struct file **old = p->map;
    uint32_t old_len = p->map_len;
    p->map = map; /* a whole map at each moment: we may be killed */
    p->map_len = want;
    stack_free(self.st, old, old_len * sizeof(map[0]));
    return 0;
}

int file_map(int fd, struct file *f) {
    int r = map_reserve(fd);
    if (r < 0)
        return r;
    file_unmap(fd);
    me()->map[fd] = f;
    me()->nfiles++;
    file_table[fd] = f;
    f->refs++;
    return 0;
}

int file_install(struct file *f, bool cloexec) {
    int cmd = cloexec ? F_DUPFD_CLOEXEC : F_DUPFD;
    int fd = (int)sys_fcntl(self.fd.proto, cmd, 0);
    if (fd < 0)
        return fd;
    int r = file_map(fd, f);
    if (r < 0) {
        sys_close(fd);
        return r;
    }
    return fd;
}

void file_unmap(int fd) {
    struct file *f = file_of(fd);
    if (!f)
        return;
    file_table[fd] = NULL;
    struct proc *p = me();
    if ((uint32_t)fd < p->map_len)
        p->map[fd] = NULL;
    p->nfiles--;
    file_put(f);
}

void file_get(struct file *f) { f->refs++; }

/* Read before it is written: for a read fault the kernel maps the neighbouring
 * pages too, which a forked child has not mapped yet. */
void file_put(struct file *f) {
    uint32_t left = __atomic_load_n(&f->refs, __ATOMIC_RELAXED) - 1;
    __atomic_store_n(&f->refs, left, __ATOMIC_RELAXED);
    if (left > 0)
        return;
    if (f->so)
        stack_close(self.st, f->so);
    if (f->ps)
        stack_pollset_free(self.st, f->ps);
    stack_free(self.st, f, sizeof(*f));
}

/* Is fd still a descriptor of the stack's making? Descriptors that were
 * CLOEXEC are gone, and their numbers may have been used again. */
static bool still_ours(int fd, const struct file *f) {
    struct stat st;
    if (sys_fstat(fd, &st) < 0)
        return false;
    if (f->kind == FILE_EPOLL) /* -EINVAL: not an epoll set */
        return sys_epoll_ctl(fd, EPOLL_CTL_DEL, self.fd.proto, NULL) == -ENOENT;
    uint64_t want = f->twin_ino ? f->twin_ino : self.proto_ino;
    return (uint64_t)st.st_ino == want;
}

/* What a vfork child did between vfork and exec, where it must not touch the
 * stack: it left a note of each copy it made. */
static void apply_moves(struct proc *p) {
    for (uint32_t i = 0; i < p->nmoves; i++) {
        struct file *f = file_of(p->moves[i].from);
        if (f && p->moves[i].to != p->moves[i].from)
            file_map(p->moves[i].to, f);
    }
    p->nmoves = 0;
}

void file_restore(void) {
    struct proc *p = me();
    file_forked();
    apply_moves(p);
    for (uint32_t i = 0; i < p->map_len && i < FILE_TABLE; i++) {
        struct file *f = p->map[i];
        if (f && !still_ours((int)i, f))
            file_unmap((int)i);
    }
}

void file_forked(void) {
    struct proc *p = me();
    for (uint32_t i = 0; i < p->map_len && i < FILE_TABLE; i++)
        if (file_table[i] != p->map[i])
            file_table[i] = p->map[i];
}

int file_limit(void) {
    if (!self.sh)
        return 0;
    return (int)me()->map_len;
}
