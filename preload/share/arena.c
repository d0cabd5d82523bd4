/* arena.c: making, mapping and handing on the arena.
 *
 * The arena is a memfd called "libstack:NAME", sealed against shrinking and
 * growing, mapped at one address chosen at random when it is made: a range
 * that neither position-independent programs, nor their heaps and libraries,
 * nor sanitizers use (0x5661... to 0x5680..., above every program image; see
 * "The address" in the theory of wait and exec). Every process maps it there
 * or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "netio/packet.h"
#include "netio/sys.h"
#include "preload/share/inner.h"
#include "preload/share/relay.h"
#include "preload/share/wait.h"

#define RANGE_LOW 0x566100000000ull
#define RANGE_HIGH 0x568000000000ull
#define STEP (2ull << 20)
#define TRIES 64

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

int arena_proto(int fd) {
    struct stat st;
    if (fd < 0) {
        fd = (int)sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return fd;
        fd = arena_hide_fd(fd);
    }
    long r = sys_fstat(fd, &st);
    if (r < 0)
        return (int)r;
    self.fd.proto = fd;
    self.proto_ino = st.st_ino;
    return 0;
}

static void *private_memory(size_t size) {
    void *p = sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return sys_is_err(p) ? NULL : p;
}

static void *map_at(int memfd, void *base, size_t size) {
    void *p = sys_mmap(base, size, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_FIXED_NOREPLACE, memfd, 0);
    if (sys_is_err(p))
        return NULL;
    if (p != base) { /* a kernel that does not know NOREPLACE */
        sys_munmap(p, size);
        return NULL;
    }
    return p;
}

int arena_map(int memfd, void *base, size_t size, bool observer, char *err,
              size_t errlen) {
    if (!map_at(memfd, base, size))
        return share_fail(-EADDRINUSE, err, errlen,
                          "cannot map the arena at %p: the address is taken or "
                          "ulimit -v is too small",
                          base);
    self.base = base;
    self.size = size;
    self.fd.arena = memfd;
    self.st = private_memory(stack_handle_size());
    if (!self.st)
        return share_fail(-ENOMEM, err, errlen, "no memory for the stack");
    if (!observer) {
        struct stack_link link;
        uint32_t mtu = 1500;
        self.st = stack_attach(self.st, base, NULL);
        if (self.st) {
            stack_link_info(self.st, &link);
            mtu = link.mtu;
        }
        self.io = netio_packet_new(self.fd.packet, mtu);
        if (!self.io)
            return share_fail(-ENOMEM, err, errlen, "no memory for frames");
    }
    if (self.st)
        self.st = stack_attach(self.st, base, self.io);
    if (!self.st || !stack_app(self.st))
        return share_fail(-EPROTO, err, errlen,
                          "the running stack is of another build of libstack: "
                          "stop its programs first");
    self.sh = stack_app(self.st);
    thaw_start();
    return 0;
}

void arena_unmap(void) {
    if (self.base)
        sys_munmap(self.base, self.size);
    if (self.io)
        netio_close(self.io);
    memset(&self, 0, sizeof(self));
    own_forget_all();
}

int arena_new(const char *name, size_t size, int *memfd, void **base, char *err,
              size_t errlen) {
    char label[SHARE_NAME + 16];
    snprintf(label, sizeof(label), "libstack:%s", name);
    long fd = sys_memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return share_fail((int)fd, err, errlen, "memfd_create: %s",
                          strerror((int)-fd));
    fd = arena_hide_fd((int)fd);
    long r = sys_ftruncate((int)fd, (off_t)size);
    if (r < 0) {
        sys_close((int)fd);
        return share_fail((int)r, err, errlen,
                          "cannot make an arena of %zu bytes: %s", size,
                          strerror((int)-r));
    }
    sys_fcntl((int)fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    for (int i = 0; i < TRIES; i++) {
        uint64_t x = 0;
        sys_getrandom(&x, sizeof(x), 0);
        uint64_t steps = (RANGE_HIGH - RANGE_LOW - size) / STEP;
        void *at = (void *)(uintptr_t)(RANGE_LOW + x % steps * STEP);
        if (map_at((int)fd, at, size)) {
            *memfd = (int)fd;
            *base = at;
            return 0;
        }
    }
    sys_close((int)fd);
    return share_fail(-ENOMEM, err, errlen,
                      "no address space for an arena of %zu bytes: lower "
                      "LIBSTACK_ARENA or raise ulimit -v",
                      size);
}

/* The pool of bells. Non-blocking: silencing one that is silent is no wait. */
static int make_bells(void) {
    for (int i = 0; i < SHARE_BELLS; i++) {
        long fd = sys_eventfd2(0, 0x80000 /* EFD_CLOEXEC */ | O_NONBLOCK);
        if (fd < 0)
            return (int)fd;
        self.fd.bell[i] = arena_hide_fd((int)fd);
    }
    return 0;
}

/* The shared half of the layer above the stack. */
static int make_share(const char *name) {
    struct share *sh = stack_alloc(self.st, sizeof(*sh));
    struct stat st;
    if (!sh)
        return -ENOMEM;
    lock_init(&sh->lock);
    list_init(&sh->sleepers);
    list_init(&sh->free_sleepers);
    list_init(&sh->relays);
    snprintf(sh->name, sizeof(sh->name), "%s", name);
    sh->uid = (uint32_t)sys_geteuid();
    int ns =
        (int)sys_openat(AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    if (ns >= 0 && sys_fstat(ns, &st) == 0)
        sh->netns = st.st_ino;
    if (ns >= 0)
        sys_close(ns);
    stack_set_app(self.st, sh);
    self.sh = sh;
    return 0;
}

int share_create(const struct share_new *how, char *err, size_t errlen) {
    struct stack_config cfg = how->cfg;
    int memfd = -1;
    void *base = NULL;
    int join = join_listen(how->name);
    if (join < 0) {
        sys_close(how->packet_fd);
        return share_fail(join, err, errlen, "%s: %s", how->name,
                          join == -EADDRINUSE ? "a stack of this name runs "
                                                "already, of another user"
                                              : strerror(-join));
    }
    int r = arena_new(how->name, how->arena_size, &memfd, &base, err, errlen);
    if (r < 0) {
        sys_close(join);
        sys_close(how->packet_fd);
        return r;
    }
    sys_getrandom(cfg.seed, sizeof(cfg.seed), 0);
    cfg.now = share_clock();
    r = stack_create(base, how->arena_size, &cfg);
    self.base = base;
    self.size = how->arena_size;
    self.fd.arena = memfd;
    self.fd.join = arena_hide_fd(join);
    self.fd.packet = arena_hide_fd(how->packet_fd);
    void *mem = r < 0 ? NULL : private_memory(stack_handle_size());
    self.io = netio_packet_new(self.fd.packet, cfg.mtu);
    self.st = mem ? stack_attach(mem, base, self.io) : NULL;
    if (self.st && self.io)
        r = make_share(how->name);
    else
        r = r < 0 ? r : -ENOMEM;
    if (r == 0)
        r = make_bells();
    if (r == 0)
        r = arena_proto(-1);
    if (r == 0)
        r = relay_mailbox();
    if (r < 0) {
        arena_unmap();
        return share_fail(r, err, errlen, "cannot make the stack: %s",
                          strerror(-r));
    }
    thaw_start();
    share_enter();
    r = proc_claim();
    /* The link comes up: neighbours that knew the address learn the MAC. */
    stack_link_state(self.st, false);
    stack_link_state(self.st, true);
    share_leave();
    return r;
}

/* ---- over exec ------------------------------------------------------------- */

#define NAMED 5 /* descriptors beside the bells */

static int fd_count(void) { return NAMED + SHARE_BELLS; }

static int *fd_at(int i) {
    int *named[] = {&self.fd.arena, &self.fd.packet, &self.fd.join,
                    &self.fd.proto, &self.fd.mail};
    return i < NAMED ? named[i] : &self.fd.bell[i - NAMED];
}

void share_keep_on_exec(bool keep) {
    for (int i = 0; i < fd_count(); i++)
        sys_fcntl(*fd_at(i), F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void share_export(char *buf, size_t len) {
    int n = snprintf(buf, len, "1,%p,%zx", self.base, self.size);
    for (int i = 0; i < fd_count() && n > 0 && (size_t)n < len; i++)
        n += snprintf(buf + n, len - (size_t)n, ",%d", *fd_at(i));
}

/* "1,base,size,fd,fd,...": as share_export wrote it. */
static bool parse_inherit(const char *env, uint64_t *base, uint64_t *size) {
    char *end;
    if (strncmp(env, "1,", 2) != 0)
        return false;
    *base = strtoull(env + 2, &end, 16);
    if (*end != ',')
        return false;
    *size = strtoull(end + 1, &end, 16);
    for (int i = 0; i < fd_count(); i++) {
        if (*end != ',')
            return false;
        *fd_at(i) = (int)strtol(end + 1, &end, 10);
    }
    return *end == 0;
}

int share_inherit(const char *env, char *err, size_t errlen) {
    uint64_t base = 0, size = 0;
    struct stat st;
    if (!parse_inherit(env, &base, &size)) {
        memset(&self, 0, sizeof(self));
        return share_fail(-EINVAL, err, errlen, "LIBSTACK_INHERIT: malformed");
    }
    /* A program that closed everything before exec: the numbers may be
     * anything now. The arena must be the memfd it claims to be. */
    if (sys_fstat(self.fd.arena, &st) < 0 || (uint64_t)st.st_size != size ||
        sys_fcntl(self.fd.arena, F_GET_SEALS, 0) < 0) {
        memset(&self, 0, sizeof(self));
        return share_fail(-EBADF, err, errlen,
                          "the inherited stack was closed on the way");
    }
    int r = arena_map(self.fd.arena, (void *)(uintptr_t)base, (size_t)size,
                      false, err, errlen);
    if (r == 0)
        r = arena_proto(self.fd.proto);
    if (r < 0) {
        arena_unmap();
        return r;
    }
    share_keep_on_exec(false);
    for (int i = 0; i < fd_count(); i++)
        own_mark(*fd_at(i));
    share_enter();
    r = proc_claim();
    share_leave();
    return r;
}

int share_observe(int memfd, char *err, size_t errlen) {
    struct arena_head head;
    struct stat st;
    if (sys_fstat(memfd, &st) < 0)
        return share_fail(-EBADF, err, errlen, "no arena");
    void *p = sys_mmap(NULL, 4096, PROT_READ, MAP_SHARED, memfd, 0);
    if (sys_is_err(p))
        return share_fail(-EACCES, err, errlen, "cannot map the arena");
    bool ok = stack_locate(p, &head.base, &head.size);
    sys_munmap(p, 4096);
    if (!ok || head.size != (size_t)st.st_size)
        return share_fail(-EPROTO, err, errlen,
                          "made by another build of libstack");
    memset(&self, 0, sizeof(self));
    self.slot = SHARE_PROCS; /* none */
    return arena_map(memfd, head.base, head.size, true, err, errlen);
}
