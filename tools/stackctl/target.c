/* target.c: can libstack.so enter this program?
 *
 * LD_PRELOAD is a request to the dynamic linker, and there are programs that
 * pass it by without a word: static ones have no dynamic linker; programs in
 * Go have one at times, but make their system calls themselves; set-uid
 * programs and those with file capabilities ignore it for safety (AT_SECURE,
 * ld.so(8)). Such a program would run on the kernel's network while its user
 * believes otherwise, so the launcher refuses it, and says why.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tools/stackctl/stackctl.h"

#define MAX_SCRIPTS 4 /* interpreters that are scripts themselves; Linux: 4 */

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr Ehdr;
typedef Elf64_Phdr Phdr;
#define OUR_CLASS ELFCLASS64
#else
#error "64-bit machines only"
#endif
#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#else
#define OUR_MACHINE EM_AARCH64
#endif

static int check_path(const char *path, int depth);

static int refuse(const char *path, const char *why, const char *cure) {
    complain("%s: %s: %s", path, why, cure);
    return EXIT_CANNOT;
}

/* Where execvp would find it. False: nowhere. */
static bool find_program(const char *name, char *out, size_t len) {
    struct stat st;
    if (strchr(name, '/'))
        return (size_t)snprintf(out, len, "%s", name) < len;
    const char *p = getenv("PATH");
    for (p = p ? p : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        int need =
            snprintf(out, len, "%.*s/%s", n ? (int)n : 1, n ? p : ".", name);
        if ((size_t)need < len && stat(out, &st) == 0 && S_ISREG(st.st_mode) &&
            access(out, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

/* Rights that make the dynamic linker ignore LD_PRELOAD. */
static int check_rights(const char *path, const struct stat *st) {
    static const char cure[] = "run it as the user whose rights it would take";
    char caps[64];
    if ((st->st_mode & S_ISUID) && st->st_uid != getuid())
        return refuse(path, "is set-uid and ignores LD_PRELOAD", cure);
    if ((st->st_mode & S_ISGID) && st->st_gid != getgid())
        return refuse(path, "is set-gid and ignores LD_PRELOAD", cure);
    if (getuid() != 0 &&
        getxattr(path, "security.capability", caps, sizeof(caps)) > 0)
        return refuse(path, "has file capabilities and ignores LD_PRELOAD",
                      "run a copy of it without them (cp drops them)");
    return 0;
}

/* "#!interpreter [arg]": the interpreter is the program; and for env(1), what
 * it looks up. */
static int check_script(const char *path, const char *head, int depth) {
    char line[256], found[512];
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(head + 2, "\n"),
             head + 2);
    char *save, *interp = strtok_r(line, " \t", &save);
    if (!interp)
        return refuse(path, "has an empty #! line", "name an interpreter");
    int e = check_path(interp, depth + 1);
    const char *base = strrchr(interp, '/');
    if (e || !base || strcmp(base, "/env"))
        return e;
    char *prog = strtok_r(NULL, " \t", &save);
    if (prog && !strcmp(prog, "-S"))
        prog = strtok_r(NULL, " \t", &save);
    if (!prog || strchr(prog, '=') || prog[0] == '-' ||
        !find_program(prog, found, sizeof(found)))
        return 0; /* env's own business */
    return check_path(found, depth + 1);
}

/* A PT_NOTE segment with the name that the Go linker writes. */
static bool has_go_note(int fd, const Phdr *ph) {
    char note[256];
    ssize_t n = pread(fd, note, sizeof(note), (off_t)ph->p_offset);
    for (ssize_t i = 12; i + 4 <= n; i += 4)
        if (!memcmp(note + i, "Go\0\0", 4))
            return true;
    return false;
}

static int check_elf(int fd, const char *path, const Ehdr *eh) {
    static const char static_cure[] = "use a dynamically linked build of it";
    bool interp = false, go = false, glibc = false;
    char ld[128] = "";
    if (eh->e_ident[EI_CLASS] != OUR_CLASS || eh->e_machine != OUR_MACHINE)
        return refuse(path, "is for another kind of machine than libstack.so",
                      "use a build for this machine (64 bit)");
    for (unsigned i = 0; i < eh->e_phnum; i++) {
        Phdr ph;
        if (pread(fd, &ph, sizeof(ph),
                  (off_t)(eh->e_phoff + i * eh->e_phentsize)) != sizeof(ph))
            break;
        if (ph.p_type == PT_INTERP) {
            size_t n =
                ph.p_filesz < sizeof(ld) - 1 ? ph.p_filesz : sizeof(ld) - 1;
            interp = pread(fd, ld, n, (off_t)ph.p_offset) == (ssize_t)n;
            glibc = strstr(ld, "/ld-linux") != NULL;
        } else if (ph.p_type == PT_NOTE) {
            go = go || has_go_note(fd, &ph);
        }
    }
    if (go)
        return refuse(path, "is a Go program, which calls the kernel by itself",
                      "libstack cannot serve it; use another program");
    if (!interp)
        return refuse(path, "is statically linked and ignores LD_PRELOAD",
                      static_cure);
    if (!glibc)
        return refuse(path, "uses another C library than libstack.so",
                      "use a build of it for the GNU C library");
    return 0;
}

/* One file: an ELF program or a script. */
static int check_path(const char *path, int depth) {
    union {
        Ehdr eh;
        char text[256];
    } head;
    struct stat st;
    memset(&head, 0, sizeof(head));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && access(path, X_OK) == 0)
        return 0; /* may be run but not read: nothing to go by */
    if (fd < 0 || fstat(fd, &st) < 0) {
        int code = errno == ENOENT ? EXIT_MISSING : EXIT_CANNOT;
        complain("%s: %s: check the name", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return code;
    }
    int e = 0;
    ssize_t n = pread(fd, &head, sizeof(head) - 1, 0);
    if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
        e = refuse(path, "is no program that you may run", "check the name");
    else if (depth > MAX_SCRIPTS)
        e = refuse(path, "too many interpreters", "check its #! line");
    else if (n > 2 && !memcmp(head.text, "#!", 2))
        e = check_script(path, head.text, depth);
    else if (n < (ssize_t)sizeof(head.eh) ||
             memcmp(head.eh.e_ident, ELFMAG, SELFMAG))
        e = refuse(path, "is neither a program nor a script",
                   "give it a #! line, or name its interpreter");
    else if ((e = check_elf(fd, path, &head.eh)) == 0)
        e = check_rights(path, &st);
    close(fd);
    return e;
}

int target_check(const char *name, char *out, size_t len) {
    if (!find_program(name, out, len)) {
        complain("%s: not found in PATH: check the name", name);
        return EXIT_MISSING;
    }
    return check_path(out, 0);
}
