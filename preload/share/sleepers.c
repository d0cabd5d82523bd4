/* sleepers.c: what concerns all sleeping threads of this process at once. */
#include <linux/futex.h>

#include "netio/sys.h"
#include "preload/share/inner.h"
#include "preload/share/wait.h"

static int32_t own_pid(void) { return self.sh->procs[self.slot].pid; }

void wait_again(void) {
    int32_t pid = own_pid();
    list_for_each(n, &self.sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        if (s->pid == pid)
            sleeper_ring(s);
    }
}

void wait_end_service(void) {
    wait_again();
    self.sh->svc_armed = 0;
    sys_futex(&self.sh->svc_armed, FUTEX_WAKE, SHARE_PROCS, NULL, NULL, 0);
}

bool wait_none_asleep(void) {
    list_for_each(n, &self.sh->sleepers) {
        if (container_of(n, struct sleeper, link)->pid == own_pid())
            return false;
    }
    return true;
}
