/* stackctl.h: what the subcommands have in common. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "preload/share/settings.h"

/* One subcommand. run gets argv[0] = its own name; returns the exit status. */
struct command {
    const char *name, *args, *sentence;
    int (*run)(int argc, char **argv);
};

int cmd_run(int argc, char **argv);
int cmd_open(int argc, char **argv);
int cmd_ss(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_arp(int argc, char **argv);
int cmd_conf(int argc, char **argv);

/* Exit statuses of our own, as env(1) and nohup(1) have them. */
#define EXIT_SETUP 125   /* stackctl itself failed */
#define EXIT_CANNOT 126  /* the program cannot be run */
#define EXIT_MISSING 127 /* the program was not found */

/* "libstack: text" and a newline on stderr; returns EXIT_SETUP. */
int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- options.c: settings on the command line -------------------------- */

/* Take the setting option at argv[*i] (--key value or --key=value) into the
 * environment as LIBSTACK_KEY, and move *i behind it. 1: taken; 0: not a
 * setting; -1: refused, with a message. */
int option_setting(int argc, char **argv, int *i);
/* The settings of the command line, the environment and the file; complains. 0
 * or EXIT_SETUP. */
int option_load(struct settings *out);
/* An option nobody knows: complains, naming the nearest setting. */
int option_unknown(const char *arg);
void option_help(FILE *to);

/* ---- target.c: can libstack.so enter this program? --------------------- */

/* Find `name` as execvp would and check that the dynamic linker will load
 * libstack.so into it. 0 with the path in out, or EXIT_CANNOT or EXIT_MISSING
 * after a message. */
int target_check(const char *name, char *out, size_t len);

/* ---- find.c: running stacks --------------------------------------------- */

struct found {
    char name[96]; /* "dev/address" */
    int pid, fd;   /* /proc/pid/fd/fd is its arena */
    uint64_t ino;
};
/* What the subcommands that look into stacks have in common. */
struct view {
    bool json; /* a JSON list instead of text */
    bool here; /* only stacks of our own network namespace */
    bool all;  /* also what is closed, listening, zero */
};
/* Is it --json, --here or -a? Then it is noted. */
bool view_option(const char *arg, struct view *v);
/* Call `show` for each running stack that the view wants, attached to it
 * (self is set); complains if there is none. Returns the exit status. */
int find_each(const struct view *v,
              void (*show)(const struct found *f, const struct view *v));

/* ---- json.c: writing JSON ------------------------------------------------ */

/* Members of an object under construction; a comma comes by itself. */
struct json {
    FILE *to;
    bool more;
};
void json_open(struct json *j, char bracket);
void json_close(struct json *j, char bracket);
void json_key(struct json *j, const char *key);
void json_text(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, uint64_t value);

/* ---- fds.c ---------------------------------------------------------------- */

/* Every internet socket open in a process of the stack, and who serves it; to
 * j, or as text, then those of the stack only if `all`. */
void fds_show(bool all, struct json *j);
/* ss.c: the program's name, as ps shows it; "-" when it cannot be read. */
void program_of(int pid, char *buf, size_t len);

/* stat.c: "a.b.c.d:port" or "*:port"; room for 32. */
struct endpoint;
void show_endpoint(const struct endpoint *e, char *buf, size_t len);
