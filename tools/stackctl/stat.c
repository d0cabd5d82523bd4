/* stat.c: stackctl stat and stackctl arp: what a stack counts and knows. */
#include <string.h>

#include "preload/share/share.h"
#include "stack/stats.h"
#include "tools/stackctl/stackctl.h"

struct counter {
    const char *name, *sentence;
};

static const struct counter stack_list[] = {
#define COUNTER(name, sentence) {#name, sentence},
#include "stack/counters.def"
#undef COUNTER
};
static const struct counter share_list[] = {
#define SHARE_COUNTER(name, sentence) {#name, sentence},
#include "preload/share/counters.def"
#undef SHARE_COUNTER
};
#define NSTACK (sizeof(stack_list) / sizeof(*stack_list))
#define NSHARE (sizeof(share_list) / sizeof(*share_list))

/* A consistent copy of everything, taken under the lock. */
struct snapshot {
    uint64_t stack[NSTACK], share[NSHARE];
    struct stack_memory mem;
    unsigned procs;
};

_Static_assert(sizeof(struct stack_counters) == NSTACK * sizeof(uint64_t),
               "every stack counter is one 64-bit number");
_Static_assert(sizeof(struct share_counters) == NSHARE * sizeof(uint64_t),
               "every share counter is one 64-bit number");

static void take(struct snapshot *s) {
    share_enter();
    memcpy(s->stack, stack_counters(self.st), sizeof(s->stack));
    memcpy(s->share, &self.sh->count, sizeof(s->share));
    stack_memory(self.st, &s->mem);
    s->procs = self.sh->nprocs;
    share_leave();
}

static void show_list(const struct counter *list, const uint64_t *v, size_t n,
                      bool all) {
    for (size_t i = 0; i < n; i++)
        if (all || v[i])
            printf("%16llu  %-20s %s\n", (unsigned long long)v[i], list[i].name,
                   list[i].sentence);
}

static void json_list(struct json *j, const struct counter *list,
                      const uint64_t *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        json_number(j, list[i].name, v[i]);
}

/* The user's rules, and how often each decided. */
static void show_rules(struct json *j) {
    for (unsigned i = 0; i < 32 && self.sh->rules[i].text[0]; i++) {
        const struct share_rule *r = &self.sh->rules[i];
        if (j)
            json_number(j, r->text, r->hits);
        else
            printf("  %12llu rule `%s`\n", (unsigned long long)r->hits,
                   r->text);
    }
}

static void show_stat(const struct found *f, const struct view *view) {
    struct snapshot s;
    take(&s);
    if (!view->json) {
        printf("stack %s: %u processes, memory %.1f MiB in use, %.1f at "
               "most, of %.0f\n",
               f->name, s.procs, (double)s.mem.used / 0x100000,
               (double)s.mem.peak / 0x100000, (double)s.mem.arena / 0x100000);
        show_list(stack_list, s.stack, NSTACK, view->all);
        show_list(share_list, s.share, NSHARE, view->all);
        show_rules(NULL);
        return;
    }
    struct json j = {stdout, false};
    json_open(&j, '{');
    json_text(&j, "stack", f->name);
    json_number(&j, "processes", s.procs);
    json_number(&j, "memory_used", s.mem.used);
    json_number(&j, "memory_peak", s.mem.peak);
    json_number(&j, "memory_arena", s.mem.arena);
    json_list(&j, stack_list, s.stack, NSTACK);
    json_list(&j, share_list, s.share, NSHARE);
    json_key(&j, "rules");
    json_open(&j, '{');
    show_rules(&j);
    json_close(&j, '}');
    json_close(&j, '}');
}

static void explain(const struct counter *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        printf("  %-20s %s\n", list[i].name, list[i].sentence);
}

int cmd_stat(int argc, char **argv) {
    struct view view = {0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            puts("usage: stackctl stat [-a] [--here] [--json]\n"
                 "Counters of each running stack; -a: those at 0 too.\n");
            explain(stack_list, NSTACK);
            explain(share_list, NSHARE);
            return 0;
        }
        if (!view_option(argv[i], &view)) {
            complain("stat: unknown option %s: see stackctl stat --help",
                     argv[i]);
            return 2;
        }
    }
    return find_each(&view, show_stat);
}

/* ---- neighbours ------------------------------------------------------------ */

#define MAX_NEIGHBOURS 1024

static void show_arp(const struct found *f, const struct view *view) {
    static struct stack_neighbour nb[MAX_NEIGHBOURS];
    unsigned n = 0;
    share_enter();
    while (n < MAX_NEIGHBOURS && stack_each_neighbour(self.st, n, &nb[n]))
        n++;
    share_leave();
    struct json j = {stdout, false};
    if (view->json) {
        json_open(&j, '{');
        json_text(&j, "stack", f->name);
        json_key(&j, "neighbours");
        json_open(&j, '[');
    } else {
        printf("stack %s\n", f->name);
    }
    for (unsigned i = 0; i < n; i++) {
        char ip[32], mac[20];
        const uint8_t *m = nb[i].mac;
        uint32_t v = ip_to_v4(&nb[i].ip);
        snprintf(ip, sizeof(ip), "%u.%u.%u.%u", v >> 24, v >> 16 & 255,
                 v >> 8 & 255, v & 255);
        snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1],
                 m[2], m[3], m[4], m[5]);
        if (!view->json) {
            printf("  %-15s  %s  %-10s %.1f s\n", ip, mac, nb[i].state,
                   (double)nb[i].age / 1e9);
            continue;
        }
        json_open(&j, '{');
        json_text(&j, "address", ip);
        json_text(&j, "mac", mac);
        json_text(&j, "state", nb[i].state);
        json_number(&j, "age_ms", nb[i].age / 1000000);
        json_close(&j, '}');
    }
    if (view->json) {
        json_close(&j, ']');
        json_close(&j, '}');
    }
}

int cmd_arp(int argc, char **argv) {
    struct view view = {0};
    for (int i = 1; i < argc; i++)
        if (!view_option(argv[i], &view)) {
            complain("arp: unknown option %s: --here, --json are known",
                     argv[i]);
            return 2;
        }
    return find_each(&view, show_arp);
}
