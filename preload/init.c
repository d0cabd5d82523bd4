/* init.c: start-up, in ordered stages, and the first need for a stack.
 *
 *   1 real functions    any call may be passed on (real.c)
 *     hooks             handlers may be installed, forks and execs are seen
 *                       (signal.c, fork.c, exec.c)
 *   2 settings          what the user asked for is known, good or bad
 *   3 inheritance       exec'ed by a process with a stack: attach, and know
 *                       the descriptors that came along
 *   4 first socket      join the running stack of this name, or open the
 *                       device and create one (preload_stack); never before,
 *                       so that a program without network pays nothing
 *   5 service thread    with the first stack socket (service.c)
 *
 * Set-up that fails never breaks a program that needs no network: bad settings
 * are said when the first socket is asked for, in one line, once.
 */
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "preload/preload.h"
#include "preload/async.h"
#include "preload/exec.h"
#include "preload/fork.h"
#include "preload/policy.h"
#include "preload/share/opener.h"
#include "preload/stdio.h"
#include "preload/signal.h"
#include "preload/user.h"

static struct settings settings;
static int settings_error;
static char settings_text[256];

static int setup_error; /* of the last attempt, said already */
static uint32_t setup_lock;

void preload_say(const char *fmt, ...) {
    char line[512];
    va_list ap;
    int n = snprintf(line, sizeof(line),
                     "libstack: %s: ", program_invocation_short_name);
    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
    va_end(ap);
    if ((size_t)n > sizeof(line) - 2)
        n = sizeof(line) - 2;
    line[n++] = '\n';
    sys_write(2, line, (size_t)n);
}

const struct settings *preload_settings(void) { return &settings; }

static int open_device(void *ctx, struct share_new *out, char *err,
                       size_t errlen) {
    return opener_ask(ctx, out, err, errlen);
}

/* A stack that this process has not: join it, or make it. */
static int obtain_stack(char *err, size_t errlen) {
    char name[SHARE_NAME];
    int r = settings_complete(&settings, err, errlen);
    if (r < 0)
        return r;
    settings_stack_name(&settings, name, sizeof(name));
    r = share_obtain(name, !settings.private, open_device, &settings, err,
                     errlen);
    if (r >= 0)
        r = share_wrap_netio(&settings, err, errlen);
    return r;
}

/* A plain futex: the library must not need pthread mutexes this early, and
 * two threads may ask for their first socket at once. */
static void lock_setup(void) {
    while (__atomic_exchange_n(&setup_lock, 1, __ATOMIC_ACQUIRE))
        sys_futex(&setup_lock, FUTEX_WAIT, 1, NULL, NULL, 0);
}

static void unlock_setup(void) {
    __atomic_store_n(&setup_lock, 0, __ATOMIC_RELEASE);
    sys_futex(&setup_lock, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

void preload_sealed(void) { setup_error = -EACCES; }

bool preload_has_stack(void) {
    char err[256];
    return self.sh || (!settings_error && !setup_error &&
                       settings_complete(&settings, err, sizeof(err)) == 0);
}

int preload_stack(void) {
    char err[400] = "";
    if (self.sh)
        return 0;
    if (setup_error)
        return setup_error;
    lock_setup();
    if (!self.sh && !setup_error) {
        int r = settings_error;
        if (r < 0)
            snprintf(err, sizeof(err), "%s", settings_text);
        else
            r = obtain_stack(err, sizeof(err));
        if (r < 0) {
            setup_error = r;
            preload_say("%s", err[0] ? err : strerror(-r));
        }
    }
    unlock_setup();
    if (self.sh)
        user_start();
    return setup_error;
}

/* Stage 3. What cannot be attached is no error yet: the program may need no
 * network; its first socket will say what is wrong. */
static void inherit(void) {
    char err[256];
    if (share_inherit(settings.inherit, err, sizeof(err)) < 0)
        return;
    user_start();
    if (share_wrap_netio(&settings, err, sizeof(err)) < 0)
        preload_say("%s", err);
    share_enter();
    file_restore();
    bool any = self.sh->procs[self.slot].nfiles > 0;
    share_leave();
    if (any)
        preload_service();
    async_start();
    for (int fd = 0; fd <= 2; fd++)
        stdio_follow(fd);
}

__attribute__((constructor(101))) static void start(void) {
    real_resolve();
    signal_start();
    fork_start();
    exec_start(environ);
    settings_error =
        settings_load(&settings, environ, settings_text, sizeof(settings_text));
    if (settings_error == 0)
        policy_start(&settings);
    if (settings_error == 0 && settings.inherit[0])
        inherit();
}
