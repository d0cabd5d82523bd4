/* summary.c: what went through the stack, in one line (LIBSTACK_SUMMARY). */
#include <stdio.h>

#include "preload/share/settings.h"
#include "preload/share/share.h"
#include "stack/stats.h"

/* "12.3 MiB", with the unit that leaves one to four digits before the point. */
static void show_bytes(uint64_t n, char *buf, size_t len) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    unsigned unit = 0;
    for (; v >= 1024 && unit < 4; unit++)
        v /= 1024;
    snprintf(buf, len, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

void share_summary(char *buf, size_t len) {
    const struct stack_counters *c = stack_counters(self.st);
    const struct share_counters *s = &self.sh->count;
    uint64_t kernel = s->kernel_loopback + s->kernel_raw + s->kernel_protocol +
                      s->kernel_call;
    char in[24], out[24];
    show_bytes(c->rx_bytes, in, sizeof(in));
    show_bytes(c->tx_bytes, out, sizeof(out));
    snprintf(buf, len,
             "%s: %llu sockets; %llu frames (%s) in, %llu (%s) out; %llu "
             "left to the kernel",
             self.sh->name, (unsigned long long)s->sockets,
             (unsigned long long)c->rx_frames, in,
             (unsigned long long)c->tx_frames, out, (unsigned long long)kernel);
}
