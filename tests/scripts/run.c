/* run: packet scripts against the stack, in virtual time.
 *
 *   run [--verbose] [--strict] [--results FILE] FILE|FOLDER...
 *
 * Each script runs in a process of its own, so that a crash is a failure of one
 * script. For each a line: "ok FILE", "not ok FILE" with the reason below, or
 * "skip FILE" when it uses something this runner or the stack does not have;
 * what that was is listed at the end with counts. The exit status is 1 if any
 * script failed, or if there was none.
 *
 *   --strict   packets that a script leaves unexpected at its end fail it, and
 *              skipped scripts make the exit status 1
 *   --verbose  each packet and call
 *   --results  write "ok|fail|skip FILE" lines there
 *
 * Not supported, and said so by name: IPv6 and other options at the head that
 * change the network; encapsulation (ipv4, ipv6, gre, mpls), flow labels and
 * header mutation; the TCP option of AccECN; shell blocks other than those that
 * set sysctls that the stack has (stack/tune.def) or set others to what it does
 * anyway; in code blocks what exec_code.c does not list; calls beyond those in
 * exec_calls.c (sendfile, splice, select, ...); msg_control but for what
 * MSG_ERRQUEUE returns, and options the stack does not have.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scripts/exec.h"

#define FILES_MAX 4000
#define REASONS_MAX 400

static const char *files[FILES_MAX];
static int n_files;

static struct reason {
    char *text;
    int count;
} reasons[REASONS_MAX];
static int n_reasons;

static int passed, failed, skipped;

/* ---- which files ---------------------------------------------------------- */

/* Beyond FILES_MAX they are left out. */
static void add_file(const char *path) {
    if (n_files < FILES_MAX)
        files[n_files++] = keep_text(path, strlen(path));
}

/* nftw(3): scripts by their ending. */
static int visit(const char *path, const struct stat *st, int type,
                 struct FTW *ftw) {
    size_t n = strlen(path);
    (void)st, (void)ftw;
    if (type == FTW_F && n > 4 && strcmp(path + n - 4, ".pkt") == 0)
        add_file(path);
    return 0;
}

/* For qsort(3). */
static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A file, or all scripts below a folder in the order of their names. */
static void collect(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        int first = n_files;
        nftw(path, visit, 20, 0);
        qsort(files + first, (size_t)(n_files - first), sizeof(*files),
              by_name);
    } else
        add_file(path);
}

/* ---- one script -------------------------------------------------------------- */

/* In the child: 0 passed, 1 failed, 2 not supported. */
_Noreturn static void child(const char *file, bool verbose, bool strict,
                            int out) {
    char why[300] = "";
    struct run *r = keep(sizeof(*r));
    dup2(out, 1);
    dup2(out, 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    r->verbose = verbose;
    r->strict = strict;
    r->any_wscale = !strict; /* depends on the largest buffer */
    alarm(60);               /* of real time; a script takes milliseconds */
    r->script = parse_file(file, why, sizeof(why));
    if (!r->script) {
        bool known = !strstr(why, "unsupported: ");
        printf("%s%s:%s\n", known ? "  " : "?", file, why);
        fflush(stdout);
        _exit(known ? 1 : 2);
    }
    run_script(r);
    fflush(stdout);
    _exit(0);
}

/* Until the child closes its end; more than a megabyte is cut. */
static char *read_all(int fd) {
    size_t room = 1 << 20, size = 0;
    char *text = calloc(1, room);
    ssize_t n;
    while (size + 1 < room &&
           (n = read(fd, text + size, room - size - 1)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        size += n > 0 ? (size_t)n : 0;
    }
    return text;
}

/* "?FILE:LINE: what" -> what */
static void count_reason(char *text) {
    char *at = strstr(text, "?");
    char *what = at ? strstr(at, ": ") : NULL;
    if (!what)
        return;
    what += 2;
    if (strncmp(what, "unsupported: ", 13) == 0)
        what += 13;
    what[strcspn(what, "\n")] = 0;
    for (int i = 0; i < n_reasons; i++)
        if (strcmp(reasons[i].text, what) == 0) {
            reasons[i].count++;
            return;
        }
    if (n_reasons < REASONS_MAX)
        reasons[n_reasons++] = (struct reason){strdup(what), 1};
}

/* Returns the status and what the child said. */
static int run_one(const char *file, bool verbose, bool strict, char **text) {
    int fds[2], status = 0;
    if (pipe(fds) < 0)
        exit(2);
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        exit(2);
    if (pid == 0) {
        close(fds[0]);
        child(file, verbose, strict, fds[1]);
    }
    close(fds[1]);
    *text = read_all(fds[0]);
    close(fds[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Run a script and say how it went. */
static void report(const char *file, bool verbose, bool strict, FILE *results) {
    char *text;
    int status = run_one(file, verbose, strict, &text);
    const char *mark = status == 0 ? "ok" : status == 2 ? "skip" : "not ok";
    passed += status == 0;
    skipped += status == 2;
    failed += status != 0 && status != 2;
    printf("%s %s\n", mark, file);
    if (status == 128)
        printf("  the script crashed or hung\n");
    if (status != 2)
        fputs(text, stdout);
    else {
        if (verbose)
            fputs(text, stdout);
        count_reason(text);
    }
    if (results)
        fprintf(results, "%s %s\n", status == 1 || status > 2 ? "fail" : mark,
                file);
    free(text);
}

/* See the head of the file. */
int main(int argc, char **argv) {
    bool verbose = false, strict = false;
    FILE *results = NULL;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--strict") == 0)
            strict = true;
        else if (strcmp(argv[i], "--results") == 0 && i + 1 < argc)
            results = fopen(argv[++i], "w");
        else
            collect(argv[i]);
    for (int i = 0; i < n_files; i++)
        report(files[i], verbose, strict, results);
    if (results)
        fclose(results);
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    for (int i = 0; i < n_reasons; i++)
        printf("  not supported, %d times: %s\n", reasons[i].count,
               reasons[i].text);
    return failed || !n_files || (strict && skipped);
}
