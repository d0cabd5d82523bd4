/* exec.h: what spawn.c needs of exec.c. */
#pragma once
#include <stdbool.h>

/* Start-up: remember what must survive a cleaned environment. */
void exec_start(char *const *envp);

/* What to execute: execveat(2)'s first two arguments and its flags. */
struct exec_target {
    int dir;
    const char *path;
    int flags;
};

/* execve(2) with the stack handed on. Returns only on failure: -errno. */
int exec_run(const struct exec_target *t, char *const argv[],
             char *const envp[]);
/* execvpe(3): `file` is looked for in PATH. `shell`: a file that is neither
 * binary nor script is given to /bin/sh. -errno. */
int exec_search(const char *file, char *const argv[], char *const envp[],
                bool shell);

/* The environment that a program started by other means has to get: room for
 * exec_env_size(envp) pointers and EXEC_TEXT characters. */
#define EXEC_TEXT 6144
int exec_env_size(char *const *envp);
/* inherit: with the stack's descriptors. Returns env, or envp itself when
 * nothing has to change. */
char *const *exec_env(char *const *envp, bool inherit, char **env, char *text);
