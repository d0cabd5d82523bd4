/* stackctl: run programs on libstack, look into running stacks.
 *
 * The subcommands are one table, one file each. Exit status: that of the
 * program for `run`; else 0, 1 when there was nothing to show, 2 for a wrong
 * command line, 125 when something failed.
 */
#include <stdarg.h>
#include <string.h>

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

int main(int argc, char **argv) {
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
