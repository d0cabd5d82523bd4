/* text.c: putting text together without stdio.
 *
 * printf and friends may allocate, take locks and touch errno; code that runs
 * inside other people's programs at any moment may not.
 */
#include "netio/text.h"
#include "netio/frame.h"

void text_uint(struct text *t, uint64_t v, unsigned width) {
    char buf[24];
    unsigned n = 0;

    do
        buf[n++] = (char)('0' + v % 10);
    while ((v /= 10) || n < width);
    while (n)
        text_char(t, buf[--n]);
}

void text_hex(struct text *t, uint64_t v, unsigned width) {
    while (width--)
        text_char(t, "0123456789abcdef"[v >> (4 * width) & 15]);
}

void text_mac(struct text *t, const uint8_t mac[6]) {
    for (int i = 0; i < 6; i++) {
        if (i)
            text_char(t, ':');
        text_hex(t, mac[i], 2);
    }
}

void text_ipv4(struct text *t, const uint8_t ip[4]) {
    for (int i = 0; i < 4; i++) {
        if (i)
            text_char(t, '.');
        text_uint(t, ip[i], 1);
    }
}

/* The longest run of at least two zero groups (RFC 5952, 4.2); its length, and
 * where it starts. */
static int zero_run(const uint8_t ip[16], int *start) {
    int best = 0, run = 0;

    for (int i = 0; i < 8; i++) {
        run = get16(ip + 2 * i) ? 0 : run + 1;
        if (run > best) {
            best = run;
            *start = i - run + 1;
        }
    }
    return best >= 2 ? best : 0;
}

void text_ipv6(struct text *t, const uint8_t ip[16]) {
    int at = -1, run = zero_run(ip, &at);

    for (int i = 0; i < 8; i++) {
        if (run && i == at) {
            text_str(t, "::");
            i += run - 1;
            continue;
        }
        if (i && !(run && i == at + run))
            text_char(t, ':');
        unsigned v = get16(ip + 2 * i), width = 1;
        while (width < 4 && v >> (4 * width))
            width++;
        text_hex(t, v, width);
    }
}
