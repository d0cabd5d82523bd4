/* proc.c: the table of processes that use the stack.
 *
 * A slot is claimed at attach (create, join, inherit) or reserved by the
 * parent before a fork, with a copy of the parent's descriptor map, so that
 * the references of the child exist before the child does. It survives exec:
 * the new image finds its slot by its pid. A process that dies without a word
 * is found by share_reap, which drops its descriptors as exit would.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "netio/sys.h"
#include "preload/share/file.h"
#include "preload/share/inner.h"
#include "preload/share/relay.h"
#include "preload/share/wait.h"

int share_fail(int code, char *err, size_t errlen, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, errlen, fmt, ap);
    va_end(ap);
    return code;
}

/* Field `n` (from 1, but not 2) of a line of /proc/PID/stat, or NULL. The
 * second, the name, may hold anything but its last ')'. */
static const char *stat_field(const char *line, int n) {
    const char *p = strrchr(line, ')');
    for (int field = 2; p && field < n; field++)
        if ((p = strchr(p, ' ')) != NULL)
            p++;
    return p;
}

static uint64_t stat_number(const char *line, int n) {
    const char *p = stat_field(line, n);
    uint64_t v = 0;
    for (; p && *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    return v;
}

/* State letter, threads and start time (proc(5)). False: no such process. */
static bool proc_stat(int pid, char *state, uint64_t *threads,
                      uint64_t *start) {
    char path[32], buf[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = (int)sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long n = sys_read(fd, buf, sizeof(buf) - 1);
    sys_close(fd);
    if (n <= 0)
        return false;
    buf[n] = 0;
    const char *p = stat_field(buf, 3);
    *state = p ? *p : 'X';
    *threads = stat_number(buf, 20);
    *start = stat_number(buf, 22);
    return true;
}

/* A first thread that has ended is a zombie while the others run on. */
uint64_t proc_start_time(int pid) {
    char state;
    uint64_t threads, start;
    if (!proc_stat(pid, &state, &threads, &start) || state == 'X' ||
        (state == 'Z' && threads <= 1))
        return 0;
    return start;
}

char proc_state(int pid) {
    char state;
    uint64_t threads, start;
    return proc_stat(pid, &state, &threads, &start) ? state : 'X';
}

bool proc_stopped(int pid) {
    char state = proc_state(pid);
    return state == 'T' || state == 't';
}

/* The start time is asked for here, at the first look from outside, and not by
 * each new process: most are gone again before anybody looks. */
bool share_proc_alive(struct proc *p) {
    /* Without /proc (chroot) the kernel can still tell whether a pid exists;
     * EPERM means that it does. */
    if (sys_kill(p->pid, 0) == -ESRCH)
        return false;
    uint64_t start = proc_start_time(p->pid);
    if (start == 0)
        return proc_start_time((int)sys_getpid()) == 0;
    if (p->start == 0 && !p->execing)
        p->start = start;
    return p->start == 0 || p->start == start;
}

static int find_free(void) {
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        if (self.sh->procs[i].pid == 0)
            return (int)i;
    return -ENOSPC;
}

int share_proc_add(int pid) {
    int slot = find_free();
    if (slot == -ENOSPC && share_reap() > 0)
        slot = find_free();
    if (slot < 0)
        return slot;
    struct proc *p = &self.sh->procs[slot];
    *p = (struct proc){.pid = pid};
    if (pid > 0)
        p->start = proc_start_time(pid);
    self.sh->nprocs++;
    self.sh->procs_seq += pid > 0;
    /* The watcher sleeps without a time limit while it is alone: it is woken,
     * and from now on looks after the others (wait.c). */
    if (self.sh->nprocs == 2 && !self.sh->successor)
        self.sh->successor = self.sh->watcher;
    return slot;
}

int proc_claim(void) {
    int pid = (int)sys_getpid();
    uint64_t start = proc_start_time(pid);
    for (unsigned i = 0; i < SHARE_PROCS; i++) {
        struct proc *p = &self.sh->procs[i];
        if (p->pid == pid && (p->start == start || p->start == 0)) {
            if (p->execing) { /* threads of the image before this one */
                wait_forget_process(pid);
                wait_recover();
            }
            p->execing = false;
            p->start = start;
            self.sh->procs_seq++;
            self.slot = i;
            return 0;
        }
    }
    int slot = share_proc_add(pid);
    if (slot < 0)
        return slot;
    self.slot = (uint32_t)slot;
    return 0;
}

void share_proc_gone(uint32_t slot) {
    struct proc *p = &self.sh->procs[slot];
    if (p->pid == 0)
        return;
    relay_forget_process(slot);
    struct file *set = p->async_set;
    p->async_set = NULL;
    if (set)
        file_put(set);
    struct file **map = p->map;
    uint32_t len = p->map_len;
    for (uint32_t i = 0; i < len; i++) {
        struct file *f = map[i];
        map[i] =
            NULL; /* whoever goes on after our death does not put it twice */
        if (f)
            file_put(f);
    }
    p->map = NULL;
    p->map_len = 0;
    stack_free(self.st, map, len * sizeof(map[0]));
    *p = (struct proc){0};
    self.sh->nprocs--;
    self.sh->procs_seq++;
    if (self.sh->keeper_slot == slot + 1)
        self.sh->keeper_slot = 0;
}

void share_detach(void) {
    share_enter();
    bool alone = wait_none_asleep();
    if (alone) {
        memset(file_table, 0, sizeof(file_table));
        share_proc_gone(self.slot);
        self.slot = SHARE_PROCS;
    }
    share_leave();
    if (!alone)
        return;
    own_close_all();
    arena_unmap();
}

static bool reap(uint32_t slot) {
    struct proc *p = &self.sh->procs[slot];
    if (p->pid <= 0 || slot == self.slot || share_proc_alive(p))
        return false;
    wait_forget_process(p->pid);
    share_proc_gone(slot);
    self.sh->count.reaped++;
    return true;
}

void share_reap_one(uint32_t slot) {
    if (reap(slot))
        wait_recover();
}

unsigned share_reap(void) {
    unsigned n = 0;
    for (uint32_t i = 0; i < SHARE_PROCS; i++)
        n += reap(i);
    if (n > 0)
        wait_recover();
    return n;
}

/* ---- fork ---------------------------------------------------------------- */

int share_fork_prepare(void) {
    struct proc *me = &self.sh->procs[self.slot];
    int slot = share_proc_add(-1); /* reserved: no pid yet */
    if (slot < 0)
        return slot;
    struct proc *p = &self.sh->procs[slot];
    if (me->map_len) {
        p->map = stack_alloc(self.st, me->map_len * sizeof(p->map[0]));
        if (!p->map) {
            share_proc_gone((uint32_t)slot);
            return -ENOMEM;
        }
        memcpy(p->map, me->map, me->map_len * sizeof(p->map[0]));
        p->map_len = me->map_len;
    }
    p->nfiles = me->nfiles;
    for (uint32_t i = 0; i < p->map_len; i++)
        if (p->map[i])
            file_get(p->map[i]);
    return slot;
}

/* Parent and child both enter the child's pid, the child without the lock: it
 * is not to wait for its parent, nor to be killed inside by one that only
 * tried whether it can fork. As long as it lives the slot is its own. */
void share_fork_parent(int slot, pid_t child) {
    if (slot < 0)
        return;
    struct proc *p = &self.sh->procs[slot];
    if (child < 0)
        share_proc_gone((uint32_t)slot);
    else {
        int32_t reserved = -1; /* else the child was quicker, and knows */
        __atomic_compare_exchange_n(&p->pid, &reserved, child, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
        self.sh->procs_seq++;
    }
}

/* Where the parent did not hold the lock over the fork (vfork-like clones),
 * another of its threads may have been inside the stack: the private handle is
 * made anew then (the arena is the parent's and ours, and whole). */
void share_fork_child(int slot, bool was_inside) {
    share_open_gate();
    if (!was_inside) {
        stack_attach(self.st, self.base, self.io);
        stack_now(self.st, share_clock());
    }
    if (slot < 0)
        return;
    __atomic_store_n(&self.sh->procs[slot].pid, (int32_t)sys_getpid(),
                     __ATOMIC_SEQ_CST);
    self.slot = (uint32_t)slot;
    self.sh->procs_seq += share_inside != 0; /* else the parent counts it */
}
