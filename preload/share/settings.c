/* settings.c: reading the settings.
 *
 * Each type of value has two functions: put_TYPE reads text into the field and
 * returns NULL, or what would have been right ("a number from 576 to 65535");
 * show_TYPE writes it back. The list (settings.def) ties settings to types.
 * Messages have one form: what, why, what to do:
 *
 *     LIBSTACK_MTU=12: want a number from 576 to 65535
 */
#include "preload/share/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "netio/sys.h"
#include "preload/share/rules.h"

#define PREFIX "LIBSTACK_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

const struct setting_info settings_info[SETTINGS_COUNT] = {
#define SETTING(NAME, key, field, type, arg, def, sentence)                    \
    {#NAME, #key, arg, def, sentence, false},
#define SETTING_INTERNAL(NAME, key, field, type, arg, def, sentence)           \
    {#NAME, #key, arg, def, sentence, true},
#include "preload/share/settings.def"
#undef SETTING_INTERNAL
#undef SETTING
};

/* ---- values ------------------------------------------------------------- */

/* A decimal number with an optional fraction, times scale; *end is the first
 * character after it. False: no number, or too large. */
static bool parse_number(const char *text, uint64_t scale, uint64_t *out,
                         const char **end) {
    uint64_t v = 0, unit = scale;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > UINT64_MAX / 16)
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (p == text || v > UINT64_MAX / scale)
        return false;
    v *= scale;
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9'; p++) {
            unit /= 10;
            v += unit * (uint64_t)(*p - '0');
        }
    }
    *out = v;
    *end = p;
    return true;
}

/* A whole number in [min, max], nothing behind it. */
static bool parse_range(const char *text, uint64_t scale, uint64_t min,
                        uint64_t max, uint64_t *out) {
    const char *end;
    return parse_number(text, scale, out, &end) && *end == '\0' &&
           *out >= min && *out <= max;
}

/* An address that a host can have: not 0/8, 127/8, multicast or above. */
static bool parse_host(const char *text, size_t len, struct ip_addr *out) {
    char buf[INET_ADDRSTRLEN];
    struct in_addr in;
    if (len >= sizeof(buf))
        return false;
    memcpy(buf, text, len);
    buf[len] = '\0';
    if (inet_pton(AF_INET, buf, &in) != 1)
        return false;
    uint32_t v = ntohl(in.s_addr);
    if (v >> 24 == 0 || v >> 24 == 127 || v >> 24 >= 224)
        return false;
    *out = ip_from_v4(v);
    return true;
}

static void show_addr(const struct ip_addr *a, char *buf, size_t len) {
    uint32_t v = ip_to_v4(a);
    snprintf(buf, len, "%u.%u.%u.%u", v >> 24, v >> 16 & 255, v >> 8 & 255,
             v & 255);
}

static const char *put_text(char *field, size_t room, const char *text,
                            const char *wanted) {
    size_t n = strlen(text);
    if (n >= room)
        return wanted;
    memcpy(field, text, n + 1);
    return NULL;
}

/* Names of devices: as dev_valid_name in Linux. */
static const char *put_DEV(struct settings *s, char *field, const char *text) {
    if (strpbrk(text, "/: \t\n") || !strcmp(text, ".") || !strcmp(text, ".."))
        return "the name of a device, as `ip link` shows it";
    return put_text(field, sizeof(s->dev), text,
                    "the name of a device, at most 15 characters");
}
static void show_DEV(const struct settings *s, const char *field, char *buf,
                     size_t len) {
    snprintf(buf, len, "%s", field);
}

static const char *put_TEXT(struct settings *s, char *field, const char *text) {
    return put_text(field, SETTINGS_PATH, text, "at most 511 characters");
}
static void show_TEXT(const struct settings *s, const char *field, char *buf,
                      size_t len) {
    snprintf(buf, len, "%s", field);
}
static const char *put_TUNE(struct settings *s, char *field, const char *text) {
    struct stack_tunes t;
    return stack_tunes_set(&t, text)
               ? "names and values as in tcp_ecn=1,tcp_fastopen=3"
               : put_TEXT(s, field, text);
}
#define show_TUNE show_TEXT
#define put_PATH put_TEXT
#define show_PATH show_TEXT

static const char *put_NET(struct settings *s, struct ip_addr *field,
                           const char *text) {
    const char *slash = strchr(text, '/');
    uint64_t len;
    if (!slash || !parse_host(text, (size_t)(slash - text), field) ||
        !parse_range(slash + 1, 1, 1, 32, &len))
        return "an IPv4 address and a prefix length, as 198.18.0.2/24";
    uint32_t host = ip_to_v4(field), mask = len == 32 ? 0 : ~0u >> len;
    if (len < 31 && ((host & mask) == 0 || (host & mask) == mask))
        return "a host's address, not that of the network or its broadcast";
    s->has_addr = true;
    s->prefix_len = (uint8_t)len;
    return NULL;
}
static void show_NET(const struct settings *s, const struct ip_addr *field,
                     char *buf, size_t len) {
    char a[INET_ADDRSTRLEN];
    show_addr(field, a, sizeof(a));
    snprintf(buf, len, "%s/%u", a, s->prefix_len);
    if (!s->has_addr)
        buf[0] = '\0';
}

static const char *put_IP(struct settings *s, struct ip_addr *field,
                          const char *text) {
    return parse_host(text, strlen(text), field)
               ? NULL
               : "the IPv4 address of a host, as 198.18.0.1";
}
static void show_IP(const struct settings *s, const struct ip_addr *field,
                    char *buf, size_t len) {
    show_addr(field, buf, len);
    if (ip_is_any(field))
        buf[0] = '\0';
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static const char *put_MAC(struct settings *s, uint8_t *field,
                           const char *text) {
    static const char wanted[] =
        "an Ethernet address of one host, as 02:00:00:00:00:01";
    uint8_t mac[6], any = 0;
    for (int i = 0; i < 6; i++, text += 3) {
        int hi = hex_digit(text[0]), lo = hi < 0 ? -1 : hex_digit(text[1]);
        if (lo < 0 || text[2] != (i < 5 ? ':' : '\0'))
            return wanted;
        mac[i] = (uint8_t)(hi << 4 | lo);
        any |= mac[i];
    }
    if (!any || mac[0] & 1) /* the group bit: IEEE 802, section 8.2.2 */
        return wanted;
    memcpy(field, mac, 6);
    s->has_mac = true;
    return NULL;
}
static void show_MAC(const struct settings *s, const uint8_t *m, char *buf,
                     size_t len) {
    snprintf(buf, len, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
             m[4], m[5]);
    if (!s->has_mac)
        buf[0] = '\0';
}

static const char *put_MTU(struct settings *s, uint32_t *field,
                           const char *text) {
    uint64_t v;
    if (!parse_range(text, 1, 0, 65535, &v) || (v != 0 && v < 576))
        return "a number from 576 to 65535, or 0 for the device's own";
    *field = (uint32_t)v;
    return NULL;
}
static void show_MTU(const struct settings *s, const uint32_t *field, char *buf,
                     size_t len) {
    snprintf(buf, len, "%u", *field);
}

static const char *put_SIZE(struct settings *s, uint64_t *field,
                            const char *text) {
    static const char units[] = "KMG";
    const char *end, *unit;
    uint64_t v;
    bool ok = parse_number(text, 1, &v, &end) && v < UINT64_C(1) << 33;
    if (ok && *end && (unit = strchr(units, *end & ~0x20)) && !end[1])
        v <<= 10 * (unit - units + 1);
    else if (ok && *end)
        ok = false;
    if (!ok || v < UINT64_C(16) << 20 || v > UINT64_C(64) << 30)
        return "a size from 16M to 64G";
    *field = v;
    return NULL;
}
static void show_SIZE(const struct settings *s, const uint64_t *field,
                      char *buf, size_t len) {
    uint64_t v = *field;
    int shift = v % (1 << 30) == 0 ? 30 : v % (1 << 20) == 0 ? 20 : 0;
    snprintf(buf, len, "%llu%s", (unsigned long long)(v >> shift),
             shift == 30   ? "G"
             : shift == 20 ? "M"
                           : "");
}

static const char *put_SECONDS(struct settings *s, uint32_t *field,
                               const char *text) {
    uint64_t v;
    if (!parse_range(text, 1000, 0, 3600 * 1000, &v))
        return "seconds, 0 to 3600";
    *field = (uint32_t)v;
    return NULL;
}
static void show_SECONDS(const struct settings *s, const uint32_t *field,
                         char *buf, size_t len) {
    if (*field % 1000)
        snprintf(buf, len, "%u.%03u", *field / 1000, *field % 1000);
    else
        snprintf(buf, len, "%u", *field / 1000);
}

static const char *put_MICROS(struct settings *s, uint32_t *field,
                              const char *text) {
    uint64_t v;
    if (!parse_range(text, 1, 0, 1000000, &v))
        return "microseconds, 0 to 1000000";
    *field = (uint32_t)v;
    return NULL;
}
#define show_MICROS show_MTU

static const char *put_FALLBACK(struct settings *s,
                                enum settings_fallback *field,
                                const char *text) {
    if (!strcmp(text, "fail"))
        *field = FALLBACK_FAIL;
    else if (!strcmp(text, "kernel"))
        *field = FALLBACK_KERNEL;
    else
        return "fail or kernel";
    return NULL;
}
static void show_FALLBACK(const struct settings *s,
                          const enum settings_fallback *field, char *buf,
                          size_t len) {
    snprintf(buf, len, "%s", *field == FALLBACK_FAIL ? "fail" : "kernel");
}

static const char *put_LOOPBACK(struct settings *s,
                                enum settings_loopback *field,
                                const char *text) {
    if (strcmp(text, "kernel") && strcmp(text, "stack"))
        return "kernel or stack";
    *field = text[0] == 's' ? LOOPBACK_STACK : LOOPBACK_KERNEL;
    return NULL;
}
static void show_LOOPBACK(const struct settings *s,
                          const enum settings_loopback *field, char *buf,
                          size_t len) {
    snprintf(buf, len, "%s", *field == LOOPBACK_STACK ? "stack" : "kernel");
}

/* What is wrong with a rule is told by the rule itself, and the form. */
static const char *put_RULES(struct settings *s, char *field,
                             const char *text) {
    static char wanted[RULE_TEXT + 120];
    const char *bad;
    if (rules_parse(text, NULL, &bad) >= 0)
        return put_TEXT(s, field, text);
    snprintf(wanted, sizeof(wanted),
             "at most %u rules `stack|kernel|refuse [tcp|udp] [to|at] "
             "[A[/LEN]] [port N[-M]] [prog NAME]`, not `%.*s`",
             RULES_MAX, (int)strnlen(bad, strcspn(bad, ";")), bad);
    return wanted;
}
#define show_RULES show_TEXT

static const char *put_BOOL(struct settings *s, bool *field, const char *text) {
    static const char *const words[] = {"no",  "yes", "0",     "1",
                                        "off", "on",  "false", "true"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (!strcmp(text, words[i])) {
            *field = i & 1;
            return NULL;
        }
    return "yes or no";
}
static void show_BOOL(const struct settings *s, const bool *field, char *buf,
                      size_t len) {
    snprintf(buf, len, "%s", *field ? "yes" : "no");
}

/* &s->field, for arrays their first element. */
#define FIELD(s, f) ((void *)((char *)(s) + offsetof(struct settings, f)))
#define CFIELD(s, f)                                                           \
    ((const void *)((const char *)(s) + offsetof(struct settings, f)))

int settings_set(struct settings *s, enum setting which, const char *text,
                 const char *origin_name, char *err, size_t errlen) {
    const char *wanted = NULL;
    switch (which) {
#define SETTING(NAME, key, field, type, arg, def, sentence)                    \
    case SET_##NAME:                                                           \
        wanted = put_##type(s, FIELD(s, field), text);                         \
        break;
#define SETTING_INTERNAL SETTING
#include "preload/share/settings.def"
#undef SETTING_INTERNAL
#undef SETTING
    case SETTINGS_COUNT:
        return -EINVAL;
    }
    if (!wanted)
        return 0;
    snprintf(err, errlen, "%s=%.60s: want %s", origin_name, text, wanted);
    return -EINVAL;
}

void settings_format(const struct settings *s, enum setting which, char *buf,
                     size_t len) {
    switch (which) {
#define SETTING(NAME, key, field, type, arg, def, sentence)                    \
    case SET_##NAME:                                                           \
        show_##type(s, CFIELD(s, field), buf, len);                            \
        break;
#define SETTING_INTERNAL SETTING
#include "preload/share/settings.def"
#undef SETTING_INTERNAL
#undef SETTING
    case SETTINGS_COUNT:
        buf[0] = '\0';
        break;
    }
}

/* ---- names --------------------------------------------------------------- */

static char to_lower(char c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; }

/* Edit distance that counts a swap of neighbours as one (Damerau), case
 * ignored; names beyond 31 characters are compared by their first 31. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb) {
    uint8_t d[32][32];
    na = na > 31 ? 31 : na;
    nb = nb > 31 ? 31 : nb;
    for (unsigned i = 0; i <= na; i++)
        for (unsigned j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (uint8_t)(i + j);
                continue;
            }
            char x = to_lower(a[i - 1]), y = to_lower(b[j - 1]);
            unsigned best = d[i - 1][j - 1] + (x != y);
            if (d[i - 1][j] + 1u < best)
                best = d[i - 1][j] + 1u;
            if (d[i][j - 1] + 1u < best)
                best = d[i][j - 1] + 1u;
            if (i > 1 && j > 1 && x == to_lower(b[j - 2]) &&
                y == to_lower(a[i - 2]) && d[i - 2][j - 2] + 1u < best)
                best = d[i - 2][j - 2] + 1u;
            d[i][j] = (uint8_t)best;
        }
    return d[na][nb];
}

int settings_find(const char *name, size_t len, enum setting *nearest) {
    unsigned best = ~0u;
    for (int i = 0; i < SETTINGS_COUNT; i++) {
        const char *key = settings_info[i].key;
        unsigned d = distance(name, len, key, strlen(key));
        if (d == 0 && len == strlen(key)) {
            *nearest = (enum setting)i;
            return i;
        }
        if (d < best && !settings_info[i].internal) {
            best = d;
            *nearest = (enum setting)i;
        }
    }
    return -1;
}

/* ---- sources ------------------------------------------------------------- */

/* One `key = value` line, in place. Blank lines and comments pass. */
static int load_line(struct settings *s, char *line, const char *path,
                     unsigned number, char *err, size_t errlen) {
    char origin[64];
    enum setting near;
    line += strspn(line, " \t\r");
    line[strcspn(line, "#")] = '\0';
    size_t n = strlen(line);
    while (n > 0 && strchr(" \t\r", line[n - 1]))
        line[--n] = '\0';
    if (n == 0)
        return 0;
    size_t klen = strcspn(line, " \t=");
    char *value = line + klen + strspn(line + klen, " \t");
    if (*value != '=' || klen == 0) {
        snprintf(err, errlen, "%s:%u: want a line of the form `key = value`",
                 path, number);
        return -EINVAL;
    }
    value += 1 + strspn(value + 1, " \t");
    int which = settings_find(line, klen, &near);
    if (which < 0 || settings_info[which].internal || which == SET_CONFIG) {
        snprintf(err, errlen, "%s:%u: unknown setting %.*s: did you mean %s?",
                 path, number, (int)(klen < 40 ? klen : 40), line,
                 settings_info[near].key);
        return -EINVAL;
    }
    s->origin[which] = ORIGIN_FILE;
    snprintf(origin, sizeof(origin), "%.40s:%u: %s", path, number,
             settings_info[which].key);
    return settings_set(s, (enum setting)which, value, origin, err, errlen);
}

/* Read a settings file; at most 16 KiB. */
static int load_file(struct settings *s, const char *path, char *err,
                     size_t errlen) {
    char buf[16384 + 1];
    long n = 0, got = 0;
    int fd = (int)sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        while (n < (long)sizeof(buf) - 1 &&
               (got = sys_read(fd, buf + n, sizeof(buf) - 1 - (size_t)n)) > 0)
            n += got;
        sys_close(fd);
    }
    if (fd < 0 || got < 0) {
        long e = fd < 0 ? fd : got;
        const char *why = strerrordesc_np((int)-e);
        snprintf(err, errlen,
                 "LIBSTACK_CONFIG=%.60s: %s: name a file that can be read",
                 path, why ? why : "cannot be read");
        return (int)e;
    }
    if (n == (long)sizeof(buf) - 1) {
        snprintf(err, errlen, "LIBSTACK_CONFIG=%.60s: longer than 16 KiB",
                 path);
        return -EFBIG;
    }
    buf[n] = '\0';
    char *line = buf;
    for (unsigned number = 1; line; number++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        int e = load_line(s, line, path, number, err, errlen);
        if (e)
            return e;
        line = end ? end + 1 : NULL;
    }
    return 0;
}

/* One environment entry. Others than ours and empty ones pass. */
static int load_env(struct settings *s, const char *entry, bool config_only,
                    char *err, size_t errlen) {
    char origin[64];
    enum setting near;
    if (strncmp(entry, PREFIX, PREFIX_LEN))
        return 0;
    const char *name = entry + PREFIX_LEN, *eq = strchr(name, '=');
    if (!eq)
        return 0;
    int which = settings_find(name, (size_t)(eq - name), &near);
    /* The environment's spelling is upper case. */
    if (which >= 0 &&
        strncmp(name, settings_info[which].name, (size_t)(eq - name)))
        which = -1;
    if (which < 0) {
        snprintf(err, errlen,
                 "unknown setting " PREFIX "%.*s: did you mean " PREFIX "%s?",
                 (int)(eq - name < 40 ? eq - name : 40), name,
                 settings_info[near].name);
        return -EINVAL;
    }
    if (eq[1] == '\0' || (config_only && which != SET_CONFIG))
        return 0;
    s->origin[which] = ORIGIN_ENV;
    snprintf(origin, sizeof(origin), PREFIX "%s", settings_info[which].name);
    return settings_set(s, (enum setting)which, eq + 1, origin, err, errlen);
}

static void load_defaults(struct settings *s) {
    char none[1];
    memset(s, 0, sizeof(*s));
    for (int i = 0; i < SETTINGS_COUNT; i++)
        if (settings_info[i].def[0])
            settings_set(s, (enum setting)i, settings_info[i].def, "default",
                         none, sizeof(none));
}

int settings_load(struct settings *out, char *const *envp, char *err,
                  size_t errlen) {
    int e = 0;
    load_defaults(out);
    for (char *const *p = envp; p && *p && !e; p++)
        e = load_env(out, *p, true, err, errlen);
    if (!e && out->config[0])
        e = load_file(out, out->config, err, errlen);
    for (char *const *p = envp; p && *p && !e; p++)
        e = load_env(out, *p, false, err, errlen);
    return e;
}

bool settings_no_device(const struct settings *s) {
    return s->loopback == LOOPBACK_STACK && !s->dev[0] && !s->parent[0] &&
           !s->tap[0];
}

int settings_complete(const struct settings *s, char *err, size_t errlen) {
    const char *text = NULL;
    if (settings_no_device(s))
        return 0;
    int devices = (s->dev[0] != 0) + (s->parent[0] != 0) + (s->tap[0] != 0);
    if (!devices)
        text = "no device: set LIBSTACK_DEV (or LIBSTACK_PARENT) to the "
               "Ethernet device to use";
    else if (devices > 1)
        text = "two devices: set one of LIBSTACK_DEV, LIBSTACK_PARENT and "
               "LIBSTACK_TAP";
    else if (!s->has_addr)
        text = "no address: set LIBSTACK_ADDR to the stack's own, as "
               "198.18.0.2/24";
    else if (!ip_is_any(&s->gw)) {
        uint32_t diff = ip_to_v4(&s->gw) ^ ip_to_v4(&s->addr);
        if (diff == 0)
            text = "LIBSTACK_GW is our own address: set it to the gateway's";
        else if (s->prefix_len > 0 && diff >> (32 - s->prefix_len))
            text = "LIBSTACK_GW is not in the network of LIBSTACK_ADDR: "
                   "correct the gateway or the prefix length";
    }
    if (!text)
        return 0;
    snprintf(err, errlen, "%s", text);
    return -EINVAL;
}

int settings_stack_name(const struct settings *s, char *buf, size_t len) {
    char a[INET_ADDRSTRLEN];
    show_addr(&s->addr, a, sizeof(a));
    if (settings_no_device(s))
        return snprintf(buf, len, "none/127.0.0.1");
    if (s->parent[0])
        return snprintf(buf, len, "%s+/%s", s->parent, a);
    return snprintf(buf, len, "%s/%s", s->tap[0] ? s->tap : s->dev, a);
}
