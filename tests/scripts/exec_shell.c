/* exec_shell.c: shell blocks. Nothing is ever run. Sysctls that the stack has
 * are set (stack/tune.def); what only sets others to what it does anyway, or
 * prepares the machine, is let through; the rest is reported by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scripts/exec.h"

/* Settings that the stack does not have (tune.def lists those that it has), and
 * the values under which it behaves like Linux; NULL: any value, it does not
 * matter here. */
static const struct {
    const char *name, *values;
} settings[] = {
    {"tcp_dsack", "1"},
    {"tcp_fack", "0"},
    {"tcp_reordering", "3"},
    {"tcp_early_retrans", "3 4"},
    {"tcp_recovery", "1"},
    {"tcp_frto", NULL},
    {"tcp_fin_timeout", "60"},
    {"tcp_retries2", "15"},
    {"tcp_orphan_retries", "8 0"},
    {"tcp_keepalive_time", "7200"},
    {"tcp_keepalive_intvl", "75"},
    {"tcp_keepalive_probes", "9"},
    {"tcp_moderate_rcvbuf", NULL},
    {"tcp_slow_start_after_idle", NULL},
    {"tcp_min_tso_segs", NULL},
    {"tcp_tso_win_divisor", NULL},
    {"tcp_limit_output_bytes", NULL},
    {"tcp_notsent_lowat", NULL},
    {"tcp_pacing_ss_ratio", NULL},
    {"tcp_pacing_ca_ratio", NULL},
    {"tcp_no_metrics_save", NULL},
    {"tcp_autocorking", NULL},
    {"tcp_fastopen_blackhole_timeout_sec", NULL},
    {"tcp_invalid_ratelimit", "500"},
    {"tcp_challenge_ack_limit", NULL},
    {"tcp_rmem", NULL},
    {"tcp_wmem", NULL},
    {"tcp_adv_win_scale", NULL},
    {"tcp_mtu_probing", "0"},
    {"tcp_congestion_control", "cubic reno"},
    {"icmp_ratelimit", NULL},
    {"ip_forward", NULL},
    {"wmem_max", NULL},
    {"rmem_max", NULL},
    {"somaxconn", NULL},
    {"default_qdisc", NULL},
};

/* Is v one of the words of `values`? */
static bool listed(const char *values, const char *v) {
    size_t n = strlen(v);
    for (const char *p = values; *p; p += strspn(p, " ")) {
        size_t w = strcspn(p, " ");
        if (w == n && strncmp(p, v, n) == 0)
            return true;
        p += w;
    }
    return false;
}

/* tcp_fastopen_key: four numbers in hexadecimal, each stored little-endian. */
static void fastopen_key(struct run *r, const char *text) {
    uint8_t key[16];
    for (int i = 0; i < 16; i += 4) {
        char *end;
        unsigned long v = strtoul(text, &end, 16);
        for (int j = 0; j < 4; j++)
            key[i + j] = (uint8_t)(v >> (8 * j));
        text = *end ? end + 1 : end;
    }
    stack_fastopen_key(r->w->st, key, sizeof(key));
}

/* Does the stack have it? Then it is set. */
static bool tuned(struct run *r, const char *name, const char *v) {
    char text[100];
    snprintf(text, sizeof(text), "%s=%s", name, v);
    return !strpbrk(v, ", ") && !stack_tune(r->w->st, text);
}

/* net.ipv4.tcp_sack=1, /proc/sys/net/ipv4/tcp_sack=1 */
static void setting(struct run *r, char *word) {
    char *eq = strchr(word, '='), *name = word, *v;
    *eq = 0;
    for (char *p = word; *p; p++)
        if (*p == '.' || *p == '/')
            name = p + 1;
    v = eq + 1;
    if (*v == '"') {
        v++;
        v[strcspn(v, "\"")] = 0;
    }
    if (strcmp(name, "tcp_rmem") == 0 || strcmp(name, "tcp_wmem") == 0)
        r->any_wscale = true;
    if (tuned(r, name, v))
        return;
    if (strcmp(name, "tcp_fastopen_key") == 0) {
        fastopen_key(r, v);
        return;
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (strcmp(settings[i].name, name) == 0) {
            if (strcmp(name, "tcp_congestion_control") == 0)
                r->cubic = strcmp(v, "cubic") == 0;
            if (settings[i].values && !listed(settings[i].values, v))
                unsupported(r, "sysctl %s=%s", name, v);
            return;
        }
    unsupported(r, "sysctl %s=%s", name, v);
}

/* Commands that set up what this runner does not have. */
static bool harmless(const char *word) {
    static const char *const names[] = {"sysctl_restore", "ethtool", "tc",
                                        "sleep",          "true",    "echo",
                                        "tcp_metrics",    "ip"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strstr(word, names[i]))
            return true;
    return false;
}

/* One line: a command and its arguments. */
static void command(struct run *r, char *line) {
    char *save, *first = strtok_r(line, " \t", &save);
    if (!first)
        return;
    if (strstr(first, "defaults.sh")) {
        r->any_wscale = r->relative = r->cubic = true;
        stack_tune(r->w->st,
                   "tcp_ecn=0,tcp_fastopen=0x70403,tcp_start_quickacks=16");
        fastopen_key(r, "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4");
        return;
    }
    if (strcmp(first, "sysctl") == 0 || strstr(first, "set_sysctls")) {
        for (char *w; (w = strtok_r(NULL, " \t", &save));)
            if (strchr(w, '='))
                setting(r, w);
        return;
    }
    if (!harmless(first))
        unsupported(r, "shell command %s", first);
}

/* Commands end with a line or a semicolon. */
void run_shell(struct run *r, const char *text) {
    char *all = keep_text(text, strlen(text)), *save;
    for (char *p = all; (p = strstr(p, "\\\n"));)
        p[0] = p[1] = ' ';
    for (char *line = strtok_r(all, "\n;", &save); line;
         line = strtok_r(NULL, "\n;", &save))
        command(r, line);
}
