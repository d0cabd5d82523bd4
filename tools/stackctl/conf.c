/* conf.c: stackctl conf, the settings and where each comes from. */
#include <string.h>

#include "tools/stackctl/stackctl.h"

static const char *const origins[] = {"default", "file", "environment"};

static const struct {
    const char *name;
    int def;
    const char *sentence;
} tunes[] = {
#define TUNE(id, name, def, least, most, sentence) {#name, def, sentence},
#include "stack/tune.def"
#undef TUNE
};

static void show(const struct settings *s) {
    char value[SETTINGS_PATH];
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        if (settings_info[i].internal)
            continue;
        settings_format(s, (enum setting)i, value, sizeof(value));
        printf("%-10s %-24s %s\n", settings_info[i].key, value[0] ? value : "-",
               origins[s->origin[i]]);
    }
}

static void explain(void) {
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting_info *t = &settings_info[i];
        if (t->internal)
            continue;
        printf("%s = %s\n    LIBSTACK_%s, --%s\n    %s", t->key, t->arg,
               t->name, t->key, t->sentence);
        if (t->def[0])
            printf(" (default %s)", t->def);
        fputs("\n\n", stdout);
    }
    puts("what `tune` may name:");
    for (size_t i = 0; i < sizeof(tunes) / sizeof(tunes[0]); i++)
        printf("    %s=%d: %s\n", tunes[i].name, tunes[i].def,
               tunes[i].sentence);
}

/* The settings as they stand in the manual page (man(7), tagged lists). */
static void man(void) {
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting_info *t = &settings_info[i];
        if (t->internal)
            continue;
        printf(".TP\n.BR LIBSTACK_%s \", \" \\-\\-%s \" \\fI%s\\fR\"\n%s",
               t->name, t->key, t->arg, t->sentence);
        if (t->def[0])
            printf(" (default %s)", t->def);
        fputs(".\n", stdout);
    }
    puts(".PP\nWhat\n.B tune\nmay name:");
    for (size_t i = 0; i < sizeof(tunes) / sizeof(tunes[0]); i++)
        printf(".TP\n.BR %s \" (%d)\"\n%s.\n", tunes[i].name, tunes[i].def,
               tunes[i].sentence);
}

int cmd_conf(int argc, char **argv) {
    struct settings s;
    const char *what = "--show";
    for (int i = 1; i < argc;) {
        int e = option_setting(argc, argv, &i);
        if (e < 0)
            return 2;
        if (e == 0)
            what = argv[i++];
    }
    if (!strcmp(what, "--explain")) {
        explain();
    } else if (!strcmp(what, "--man")) {
        man();
    } else if (!strcmp(what, "--show")) {
        if (option_load(&s))
            return EXIT_SETUP;
        show(&s);
    } else {
        option_unknown(what);
        return 2;
    }
    return 0;
}
