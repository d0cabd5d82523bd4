/* settings.h: what the user may choose, from one list (settings.def).
 *
 * Theory of operation
 *
 * Every setting has a default, may be given in a settings file (the one that
 * LIBSTACK_CONFIG names), and in the environment as LIBSTACK_NAME; later ones
 * win. A launcher's option --key is the environment variable, set for the
 * program that is launched. A name that is not in the list is an error that
 * names the nearest one, so that a slip of the pen never passes in silence.
 *
 * This file is part of libstack.so, where it runs before the program's own
 * code: no allocation, no streams, raw system calls only.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/addr.h"
#include "stack/tune.h"

#define SETTINGS_PATH 512

enum setting {
#define SETTING(NAME, key, field, type, arg, def, sentence) SET_##NAME,
#define SETTING_INTERNAL SETTING
#include "preload/share/settings.def"
#undef SETTING_INTERNAL
#undef SETTING
    SETTINGS_COUNT
};

enum settings_origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENV };

/* Who serves 127/8. */
enum settings_loopback { LOOPBACK_KERNEL, LOOPBACK_STACK };

/* What to do with sockets when the stack cannot be had. */
enum settings_fallback { FALLBACK_FAIL, FALLBACK_KERNEL };

struct settings {
    char dev[16];    /* "": not given */
    char parent[16]; /* "": not given */
    char tap[16];    /* "": not given */
    bool has_addr;
    struct ip_addr addr;
    uint8_t prefix_len;
    struct ip_addr gw, dns; /* IP_ANY: none */
    bool has_mac;
    uint8_t mac[6];
    uint32_t mtu; /* 0: the device's */
    char pcap[SETTINGS_PATH], trace[SETTINGS_PATH];
    char weather[SETTINGS_PATH];
    uint64_t arena; /* bytes */
    uint32_t linger_ms;
    enum settings_fallback fallback;
    enum settings_loopback loopback;
    char rules[SETTINGS_PATH];
    bool strict;
    bool summary;
    bool private;
    char tune[SETTINGS_PATH];
    uint32_t spin_us, loopspin_us;
    char config[SETTINGS_PATH];
    char inherit[SETTINGS_PATH];
    char preloaded[SETTINGS_PATH];
    uint8_t origin[SETTINGS_COUNT]; /* enum settings_origin */
};

/* Defaults < file < environment. envp: as main's. Returns 0, or -EINVAL (or
 * the errno of reading the file) with one line in err. */
int settings_load(struct settings *out, char *const *envp, char *err,
                  size_t errlen);

/* Is enough known to open a device? 0, or -EINVAL with one line in err. */
int settings_complete(const struct settings *s, char *err, size_t errlen);

/* A stack for 127/8 alone, without any device (loopback=stack, no dev)? */
bool settings_no_device(const struct settings *s);

/* The stack's name: "dev/address", the same for all who mean the same stack.
 * Returns the length that would have been needed, as snprintf. */
int settings_stack_name(const struct settings *s, char *buf, size_t len);

/* The list itself, for help texts. */
struct setting_info {
    const char *name; /* without LIBSTACK_ */
    const char *key;
    const char *arg, *def, *sentence;
    bool internal;
};
extern const struct setting_info settings_info[SETTINGS_COUNT];

/* Set one from text. origin_name is what messages call it ("LIBSTACK_MTU" or
 * "file:3: mtu"). 0 or -EINVAL. */
int settings_set(struct settings *s, enum setting which, const char *text,
                 const char *origin_name, char *err, size_t errlen);
/* The value as text, as it could be given again. */
void settings_format(const struct settings *s, enum setting which, char *buf,
                     size_t len);
/* The setting called so (either spelling, without LIBSTACK_), or -1; the
 * nearest one in *nearest in any case. */
int settings_find(const char *name, size_t len, enum setting *nearest);
