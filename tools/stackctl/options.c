/* options.c: settings on the command line.
 *
 * An option --key is the environment variable LIBSTACK_KEY, set for us and for
 * the program we start: there is one way to read settings, and options are
 * above the environment because they replace it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/stackctl/stackctl.h"

/* A switch needs no value: --summary is --summary=yes. */
static bool is_switch(int which) {
    return !strcmp(settings_info[which].arg, "yes|no");
}

/* --rule RULE, as often as needed: together they are --rules. */
static int option_rule(int argc, char **argv, int *i) {
    const char *old = getenv("LIBSTACK_RULES"), *value = argv[*i] + 6;
    char all[SETTINGS_PATH];
    if (!*value && *i + 1 < argc)
        value = argv[++*i];
    else if (*value == '=')
        value++;
    int n = snprintf(all, sizeof(all), "%s%s%s", old ? old : "",
                     old && *old ? "; " : "", value);
    if (!*value || n >= (int)sizeof(all)) {
        complain("--rule: %s", *value ? "the rules are too long together"
                                      : "a rule is missing");
        return -1;
    }
    setenv("LIBSTACK_RULES", all, 1);
    ++*i;
    return 1;
}

int option_setting(int argc, char **argv, int *i) {
    const char *arg = argv[*i];
    enum setting near;
    char name[48];
    if (strncmp(arg, "--", 2) || !arg[2])
        return 0;
    size_t len = strcspn(arg + 2, "=");
    if (len == 4 && !strncmp(arg + 2, "rule", 4))
        return option_rule(argc, argv, i);
    const char *value = arg[2 + len] ? arg + 2 + len + 1 : NULL;
    int which = settings_find(arg + 2, len, &near);
    if (which < 0 || settings_info[which].internal)
        return 0;
    if (!value && is_switch(which))
        value = "yes";
    if (!value && *i + 1 < argc)
        value = argv[++*i];
    if (!value) {
        complain("--%s: a value is missing: give --%s %s",
                 settings_info[which].key, settings_info[which].key,
                 settings_info[which].arg);
        return -1;
    }
    snprintf(name, sizeof(name), "LIBSTACK_%s", settings_info[which].name);
    setenv(name, value, 1);
    ++*i;
    return 1;
}

int option_load(struct settings *out) {
    char err[256];
    int e = settings_load(out, environ, err, sizeof(err));
    return e ? complain("%s", err) : 0;
}

int option_unknown(const char *arg) {
    enum setting near = SET_DEV;
    const char *name = arg + strspn(arg, "-");
    settings_find(name, strcspn(name, "="), &near);
    return complain("unknown option %s: did you mean --%s?", arg,
                    settings_info[near].key);
}

void option_help(FILE *to) {
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting_info *s = &settings_info[i];
        char form[64];
        if (s->internal)
            continue;
        snprintf(form, sizeof(form), "--%s %s", s->key,
                 is_switch(i) ? "" : s->arg);
        fprintf(to, "  %-26s %s", form, s->sentence);
        if (s->def[0])
            fprintf(to, " (default %s)", s->def);
        fputc('\n', to);
    }
}
