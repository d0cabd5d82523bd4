/* netwrap.c: faults, capture and trace around the packet socket.
 *
 * From the device outwards in: faults, then capture, then trace, so that both
 * show what the stack sent and what it got, as the bad link let it through.
 *
 * Capture needs libpcap, which uses the C library's sockets and allocator: it
 * is loaded with dlmopen(3) into a namespace of its own, where its calls do not
 * come back to us.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "netio/fault.h"
#include "netio/sys.h"
#include "netio/trace.h"
#include "preload/share/inner.h"
#include "preload/share/settings.h"
#include "preload/share/spin.h"
#include "preload/share/wait.h"

typedef struct netio *capture_wrap(struct netio *, const char *, char *,
                                   size_t);
typedef int move_fd(struct netio *, int (*)(int));

/* libstack-capture.so lies beside libstack.so (or the tool). */
static struct netio *wrap_capture(struct netio *io, const char *path, char *err,
                                  size_t errlen) {
    char file[512];
    Dl_info info;
    file[0] = 0;
    if (dladdr((void *)wrap_capture, &info) && info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');
        int dir = slash ? (int)(slash - info.dli_fname + 1) : 0;
        snprintf(file, sizeof(file), "%.*slibstack-capture.so", dir,
                 info.dli_fname);
    }
    void *so = dlmopen(LM_ID_NEWLM, file, RTLD_NOW | RTLD_LOCAL);
    if (!so) {
        snprintf(err, errlen, "capture: %s", dlerror());
        return NULL;
    }
    capture_wrap *wrap = (capture_wrap *)dlsym(so, "libstack_capture_wrap");
    if (!wrap) {
        snprintf(err, errlen, "capture: %s is of another build", file);
        return NULL;
    }
    struct netio *capture = wrap(io, path, err, errlen);
    move_fd *move = (move_fd *)dlsym(so, "libstack_capture_move_fd");
    if (capture && move)
        move(capture, arena_hide_fd);
    return capture;
}

static struct netio *wrap_trace(struct netio *io, const char *path, char *err,
                                size_t errlen) {
    long fd = sys_openat(AT_FDCWD, path,
                         O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        snprintf(err, errlen, "%s: %s", path, strerror((int)-fd));
        return NULL;
    }
    return netio_trace_new(io, arena_hide_fd((int)fd));
}

int share_wrap_netio(const struct settings *set, char *err, size_t errlen) {
    struct netio *io = self.io;
    wait_spin = (nstime_t)set->spin_us * 1000;
    spin_inside = (nstime_t)set->loopspin_us * 1000;
    snprintf(err, errlen, "no memory");
    if (set->weather[0]) {
        struct fault_spec spec;
        int r = fault_parse(set->weather, &spec, err, errlen);
        if (r < 0)
            return r;
        io = netio_fault_new(io, &spec);
    }
    if (io && set->pcap[0])
        io = wrap_capture(io, set->pcap, err, errlen);
    if (io && set->trace[0])
        io = wrap_trace(io, set->trace, err, errlen);
    if (!io)
        return -EINVAL;
    self.io = io;
    stack_set_netio(self.st, io);
    return 0;
}
