/* Settings: values and their ranges, names and their nearest, the order of
 * sources, and the form of messages. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/share/settings.h"

static struct settings s;
static char err[256];

/* settings_load with up to three environment entries. */
static int load(const char *a, const char *b, const char *c) {
    char *envp[4] = {(char *)a, (char *)b, (char *)c, NULL};
    err[0] = '\0';
    return settings_load(&s, envp, err, sizeof(err));
}

/* One entry that must be refused, with `part` in the message. */
static void refused(const char *entry, const char *part) {
    int e = load(entry, NULL, NULL);
    cr_expect_eq(e, -EINVAL, "%s: %d", entry, e);
    cr_expect(strstr(err, part), "%s: \"%s\" lacks \"%s\"", entry, err, part);
    cr_expect_null(strchr(err, '\n'));
}

static void accepted(const char *entry) {
    cr_expect_eq(load(entry, NULL, NULL), 0, "%s: %s", entry, err);
}

/* A settings file with this text; returns "LIBSTACK_CONFIG=path". */
static const char *file_with(const char *text) {
    static char entry[64];
    strcpy(entry, "LIBSTACK_CONFIG=/tmp/settings.XXXXXX");
    int fd = mkstemp(strchr(entry, '=') + 1);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return entry;
}

static void remove_file(const char *entry) { unlink(strchr(entry, '=') + 1); }

Test(settings, defaults) {
    cr_assert_eq(load("HOME=/", "LIBSTACK=x", NULL), 0);
    cr_expect_str_empty(s.dev);
    cr_expect_not(s.has_addr);
    cr_expect_not(s.has_mac);
    cr_expect(ip_is_any(&s.gw));
    cr_expect_eq(s.arena, UINT64_C(1) << 30);
    cr_expect_eq(s.linger_ms, 5000);
    cr_expect_eq(s.fallback, FALLBACK_FAIL);
    cr_expect_not(s.summary);
    cr_expect_eq(s.spin_us, 0);
    for (int i = 0; i < SETTINGS_COUNT; i++)
        cr_expect_eq(s.origin[i], ORIGIN_DEFAULT);
}

Test(settings, address) {
    cr_assert_eq(load("LIBSTACK_ADDR=198.18.0.2/24", NULL, NULL), 0);
    cr_expect(s.has_addr);
    cr_expect_eq(ip_to_v4(&s.addr), 0xc6120002);
    cr_expect_eq(s.prefix_len, 24);
    accepted("LIBSTACK_ADDR=198.18.0.0/31");
    accepted("LIBSTACK_ADDR=198.18.0.255/16");
    accepted("LIBSTACK_ADDR=198.18.0.1/32");
    refused("LIBSTACK_ADDR=198.18.0.2", "prefix length");
    refused("LIBSTACK_ADDR=198.18.0.2/33", "prefix length");
    refused("LIBSTACK_ADDR=198.18.0.2/0", "prefix length");
    refused("LIBSTACK_ADDR=198.18.0.2/24 ", "prefix length");
    refused("LIBSTACK_ADDR=198.18.0.256/24", "198.18.0.2/24");
    refused("LIBSTACK_ADDR=127.0.0.1/8", "want");
    refused("LIBSTACK_ADDR=224.0.0.1/24", "want");
    refused("LIBSTACK_ADDR=198.18.0.0/24", "not that of the network");
    refused("LIBSTACK_ADDR=198.18.0.255/24", "broadcast");
    refused("LIBSTACK_ADDR=198.18.000000000000000000.2/24", "want");
}

Test(settings, other_values) {
    cr_assert_eq(load("LIBSTACK_DEV=eth0", "LIBSTACK_MTU=9000",
                      "LIBSTACK_MAC=02:00:5E:00:00:0a"),
                 0);
    cr_expect_str_eq(s.dev, "eth0");
    cr_expect_eq(s.mtu, 9000);
    cr_expect(s.has_mac);
    cr_expect_arr_eq(s.mac, "\x02\x00\x5e\x00\x00\x0a", 6);
    refused("LIBSTACK_DEV=abcdefghijklmnop", "15 characters");
    refused("LIBSTACK_DEV=a/b", "name of a device");
    refused("LIBSTACK_MTU=575", "576");
    refused("LIBSTACK_MTU=65536", "65535");
    refused("LIBSTACK_MTU=1500x", "number");
    refused("LIBSTACK_MTU=99999999999999999999999", "number");
    refused("LIBSTACK_MAC=01:00:00:00:00:01", "one host");
    refused("LIBSTACK_MAC=00:00:00:00:00:00", "one host");
    refused("LIBSTACK_MAC=02:00:00:00:00", "one host");
    refused("LIBSTACK_MAC=02:00:00:00:00:0g", "one host");
    refused("LIBSTACK_GW=10.0.0", "IPv4");
    refused("LIBSTACK_FALLBACK=maybe", "fail or kernel");
    refused("LIBSTACK_SUMMARY=maybe", "yes or no");
    refused("LIBSTACK_SPIN=1000001", "1000000");
    accepted("LIBSTACK_SUMMARY=off");
    cr_expect_not(s.summary);
    accepted("LIBSTACK_SUMMARY=1");
    cr_expect(s.summary);
}

Test(settings, sizes_and_times) {
    accepted("LIBSTACK_ARENA=64M");
    cr_expect_eq(s.arena, UINT64_C(64) << 20);
    accepted("LIBSTACK_ARENA=64g");
    cr_expect_eq(s.arena, UINT64_C(64) << 30);
    refused("LIBSTACK_ARENA=65G", "64G");
    refused("LIBSTACK_ARENA=15M", "16M");
    refused("LIBSTACK_ARENA=1T", "64G");
    refused("LIBSTACK_ARENA=1GB", "64G");
    refused("LIBSTACK_ARENA=M", "64G");
    accepted("LIBSTACK_LINGER=0.25");
    cr_expect_eq(s.linger_ms, 250);
    accepted("LIBSTACK_LINGER=3600");
    refused("LIBSTACK_LINGER=3601", "3600");
    refused("LIBSTACK_LINGER=-1", "3600");
}

Test(settings, unknown_names_are_errors) {
    refused("LIBSTACK_ADR=198.18.0.2/24",
            "unknown setting LIBSTACK_ADR: did you mean LIBSTACK_ADDR?");
    refused("LIBSTACK_DEVICE=eth0", "did you mean LIBSTACK_DEV?");
    refused("LIBSTACK_dev=eth0", "did you mean LIBSTACK_DEV?");
    refused("LIBSTACK_PCAPP=", "did you mean LIBSTACK_PCAP?");
    refused("LIBSTACK_=1", "unknown setting");
    /* internal names are known, but never proposed */
    accepted("LIBSTACK_INHERIT=x");
    refused("LIBSTACK_INHERT=x", "did you mean");
    cr_expect_null(strstr(err, "INHERIT"));
}

Test(settings, empty_means_not_given) {
    cr_assert_eq(load("LIBSTACK_GW=", "LIBSTACK_MTU=", "LIBSTACK_ARENA="), 0);
    cr_expect_eq(s.arena, UINT64_C(1) << 30);
    cr_expect_eq(s.origin[SET_ARENA], ORIGIN_DEFAULT);
}

Test(settings, file_below_environment) {
    const char *f = file_with("# a comment\n\n dev = eth7 # this one\r\n"
                              "addr=198.18.0.9/16\nmtu\t=\t1400");
    cr_assert_eq(load("LIBSTACK_DEV=eth1", f, NULL), 0, "%s", err);
    cr_expect_str_eq(s.dev, "eth1");
    cr_expect_eq(s.origin[SET_DEV], ORIGIN_ENV);
    cr_expect_eq(ip_to_v4(&s.addr), 0xc6120009);
    cr_expect_eq(s.prefix_len, 16);
    cr_expect_eq(s.mtu, 1400);
    cr_expect_eq(s.origin[SET_MTU], ORIGIN_FILE);
    remove_file(f);
}

Test(settings, file_errors_name_the_line) {
    const char *f = file_with("dev = eth0\nmut = 1400\n");
    cr_expect_eq(load(f, NULL, NULL), -EINVAL);
    cr_expect(strstr(err, ":2: unknown setting mut: did you mean mtu?"), "%s",
              err);
    remove_file(f);
    f = file_with("dev eth0\n");
    cr_expect_eq(load(f, NULL, NULL), -EINVAL);
    cr_expect(strstr(err, ":1: want a line of the form"), "%s", err);
    remove_file(f);
    f = file_with("\n\nmtu = 1\n");
    cr_expect_eq(load(f, NULL, NULL), -EINVAL);
    cr_expect(strstr(err, ":3: mtu=1: want"), "%s", err);
    remove_file(f);
    f = file_with("inherit = 1\n");
    cr_expect_eq(load(f, NULL, NULL), -EINVAL);
    remove_file(f);
    cr_expect_eq(load("LIBSTACK_CONFIG=/nonexistent", NULL, NULL), -ENOENT);
    cr_expect(strstr(err, "/nonexistent"), "%s", err);
}

Test(settings, complete) {
    load("LIBSTACK_DEV=eth0", "LIBSTACK_ADDR=198.18.0.2/24", NULL);
    cr_expect_eq(settings_complete(&s, err, sizeof(err)), 0);
    load("LIBSTACK_DEV=eth0", "LIBSTACK_ADDR=198.18.0.2/24",
         "LIBSTACK_GW=198.18.1.1");
    cr_expect_eq(settings_complete(&s, err, sizeof(err)), -EINVAL);
    cr_expect(strstr(err, "LIBSTACK_GW"));
    load("LIBSTACK_DEV=eth0", "LIBSTACK_ADDR=198.18.0.2/24",
         "LIBSTACK_GW=198.18.0.2");
    cr_expect_eq(settings_complete(&s, err, sizeof(err)), -EINVAL);
    load("LIBSTACK_DEV=eth0", NULL, NULL);
    cr_expect_eq(settings_complete(&s, err, sizeof(err)), -EINVAL);
    cr_expect(strstr(err, "LIBSTACK_ADDR"));
    load("LIBSTACK_ADDR=198.18.0.2/24", NULL, NULL);
    cr_expect_eq(settings_complete(&s, err, sizeof(err)), -EINVAL);
    cr_expect(strstr(err, "LIBSTACK_DEV"));
    load("LIBSTACK_DEV=a", "LIBSTACK_PARENT=b", "LIBSTACK_ADDR=198.18.0.2/24");
    cr_expect_eq(settings_complete(&s, err, sizeof(err)), -EINVAL);
}

Test(settings, stack_name) {
    char name[80];
    load("LIBSTACK_DEV=eth0", "LIBSTACK_ADDR=198.18.0.2/24", NULL);
    settings_stack_name(&s, name, sizeof(name));
    cr_expect_str_eq(name, "eth0/198.18.0.2");
    load("LIBSTACK_PARENT=eth0", "LIBSTACK_ADDR=198.18.0.2/24", NULL);
    settings_stack_name(&s, name, sizeof(name));
    cr_expect_str_eq(name, "eth0+/198.18.0.2");
}

/* What format writes, set reads back to the same. */
Test(settings, format_round_trip) {
    static const char *const given[] = {
        "LIBSTACK_DEV=eth0",       "LIBSTACK_ADDR=198.18.255.1/17",
        "LIBSTACK_GW=198.18.1.1",  "LIBSTACK_MAC=02:ab:cd:ef:00:11",
        "LIBSTACK_MTU=1400",       "LIBSTACK_PCAP=/x/y.pcap",
        "LIBSTACK_ARENA=512M",     "LIBSTACK_ARENA=2G",
        "LIBSTACK_LINGER=0.050",   "LIBSTACK_FALLBACK=kernel",
        "LIBSTACK_SUMMARY=yes",    "LIBSTACK_SPIN=50",
        "LIBSTACK_WEATHER=loss=1%"};
    for (unsigned i = 0; i < sizeof(given) / sizeof(*given); i++) {
        char buf[SETTINGS_PATH];
        const char *name = given[i] + 9, *eq = strchr(name, '=');
        enum setting near;
        int which = settings_find(name, (size_t)(eq - name), &near);
        cr_assert_geq(which, 0);
        accepted(given[i]);
        settings_format(&s, (enum setting)which, buf, sizeof(buf));
        cr_expect_str_eq(buf, eq + 1, "%s: %s", given[i], buf);
    }
}
