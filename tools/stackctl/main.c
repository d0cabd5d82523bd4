/* stackctl: run programs on libstack, look into running stacks.
 *
 * The subcommands are one table, one file each. Exit status: that of the
 * program for `run`; else 0, 1 when there was nothing to show, 2 for a wrong
 * command line, 125 when something failed.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "netio/sys.h"
#include "tools/stackctl/stackctl.h"

static const struct command commands[] = {
    {"run", "[options] [--] program [args]",
     "run a program on the stack, and stay as its keeper", cmd_run},
    {"ss", "[-a] [--here] [--json] [--watch]",
     "the sockets of running stacks, with what TCP knows of each", cmd_ss},
    {"stat", "[-a] [--here] [--json] [--help]",
     "what running stacks have counted", cmd_stat},
    {"arp", "[--here] [--json]", "the neighbours of running stacks", cmd_arp},
    {"conf", "[--show|--explain]", "the settings, and where each comes from",
     cmd_conf},
    {"open", "--socket FD [options]",
     "open a device for libstack.so (which calls it by itself)", cmd_open},
};
#define NCOMMANDS (sizeof(commands) / sizeof(*commands))

int complain(const char *fmt, ...) {
    char line[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    fprintf(stderr, "libstack: %s\n", line);
    return EXIT_SETUP;
}

static void usage(FILE *to) {
    fprintf(to, "usage: stackctl COMMAND ...\n");
    for (unsigned i = 0; i < NCOMMANDS; i++)
        fprintf(to, "  %-5s%-34s %s\n", commands[i].name, commands[i].args,
                commands[i].sentence);
    fprintf(to, "stackctl run --help: the options of run.\n");
}

/* LD_PRELOAD without libstack.so; false if it was not there. */
static bool drop_preload(void) {
    const char *old = getenv("LD_PRELOAD");
    char rest[4096] = "", *at;
    bool found = false;
    char *list = old ? strdup(old) : NULL;
    for (char *p = list ? strtok_r(list, " :", &at) : NULL; p;
         p = strtok_r(NULL, " :", &at)) {
        const char *base = strrchr(p, '/');
        size_t n = strlen(rest);
        if (!strcmp(base ? base + 1 : p, "libstack.so"))
            found = true;
        else
            snprintf(rest + n, sizeof(rest) - n, "%s%s", n ? ":" : "", p);
    }
    free(list);
    if (found)
        setenv("LD_PRELOAD", rest, 1);
    return found;
}

/* In a shell on the stack, libstack.so has been loaded here too, and has the
 * arena where we want it. Start again without it; by the system call itself,
 * since its own execve() would put it back. */
static void leave_stack(char **argv) {
    if (!drop_preload())
        return;
    unsetenv("LIBSTACK_INHERIT");
    sys_call3(SYS_execve, "/proc/self/exe", argv, environ);
    complain("cannot start again without libstack.so");
}

int main(int argc, char **argv) {
    leave_stack(argv);
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return 0;
    }
    for (unsigned i = 0; i < NCOMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    complain("unknown command %s: see stackctl --help", argv[1]);
    return 2;
}
