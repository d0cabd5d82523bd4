/* plain.c: a program for handed.sh, linked statically, so that no library can be
 * preloaded into it.
 *
 *   plain cat      what comes in goes out
 *   plain sum      length and a sum of all that comes in, at its end
 *   plain source   64 MB that repeat nowhere soon
 *   plain yes      until somebody stops it
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char buf[50000];

static int put(const char *p, size_t n) {
    while (n > 0) {
        ssize_t w = write(1, p, n);
        if (w <= 0)
            return 1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int cat(void) {
    for (;;) {
        ssize_t n = read(0, buf, sizeof(buf));
        if (n <= 0 || put(buf, (size_t)n))
            return n != 0;
    }
}

static int sum(void) {
    uint64_t h = 1469598103934665603u, total = 0; /* FNV-1a */
    ssize_t n;
    while ((n = read(0, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++, total++)
            h = (h ^ (uint8_t)buf[i]) * 1099511628211u;
    int len = snprintf(buf, sizeof(buf), "%llu %llx\n",
                       (unsigned long long)total, (unsigned long long)h);
    return put(buf, (size_t)len);
}

static int source(void) {
    uint64_t x = 1;
    for (size_t sent = 0; sent < 64u << 20; sent += 32768) {
        for (size_t i = 0; i < 32768; i += 8) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            memcpy(buf + i, &x, 8);
        }
        if (put(buf, 32768))
            return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "cat"))
        return cat();
    if (!strcmp(what, "sum"))
        return sum();
    if (!strcmp(what, "source"))
        return source();
    while (put("y\n", 2) == 0)
        ;
    return 1;
}
