/* seeds.c: seed corpora for the fuzz targets, so that they begin with inputs
 * that do something.
 *
 *     seeds TARGET FOLDER
 */
#include "tests/fuzz/feed.h"

#include "stack/options.h"
#include "stack/wire/tcp.h"

static const char *folder;
static unsigned count;

static void save(const void *p, size_t n) {
    char name[512];
    snprintf(name, sizeof(name), "%s/seed-%03u", folder, count++);
    FILE *f = fopen(name, "wb");
    MUST(f);
    MUST(fwrite(p, 1, n, f) == n);
    MUST(fclose(f) == 0);
}

/* Headers with each combination of options, then one of each other format. */
static void wire_seeds(void) {
    for (unsigned set = 0; set < 32; set++) {
        uint8_t b[1 + TCP_HDR_MAX + 4] = {0};
        struct tcp_hdr h = {.sport = 80,
                            .dport = 4000,
                            .seq = 0x01020304,
                            .ack = 0xfffffff0,
                            .flags = TCP_SYN | TCP_ACK,
                            .wnd = 65535};
        struct tcp_opts o = {.mss = set & 1 ? 1460 : 0,
                             .has_wscale = set & 2,
                             .wscale = 7,
                             .sack_permitted = set & 4,
                             .ts = set & 8,
                             .tsval = 77,
                             .tsecr = 66,
                             .n_sack = set & 16 ? 3 : 0};
        for (unsigned i = 0; i < o.n_sack; i++)
            o.sack[i] = (struct tcp_sack){1000 * i, 1000 * i + 500};
        save(b, 1 + tcp_emit(b + 1, &h, &o) + 4);
    }
    static const uint8_t ip[] = {4, 0x46, 0,   0,  32, 0, 1,   0x20, 0, 64, 17,
                                 0, 0,    198, 18, 0,  1, 198, 18,   0, 2,  7,
                                 4, 4,    0,   0,  0,  0, 0,   0,    0, 0,  0};
    static const uint8_t udp[] = {6, 0, 53, 0, 53, 0, 10, 0, 0, 'h', 'i'};
    static const uint8_t icmp[] = {15, 3, 4, 0, 0, 0, 0, 5, 0xdc, 0x45, 0};
    static const uint8_t arp[] = {7, 0, 1, 8, 0, 6,   4,  0, 1, 2,
                                  0, 0, 0, 0, 2, 1,   2,  3, 4, 0,
                                  0, 0, 0, 0, 0, 198, 18, 0, 1};
    save(ip, sizeof(ip));
    save(udp, sizeof(udp));
    save(icmp, sizeof(icmp));
    save(arp, sizeof(arp));
}

/* Steps of fuzz_frame.c, by their numbers there; the first byte is 7: all
 * options are offered. */
static void save_frames(const uint8_t *p, size_t n) {
    uint8_t b[256] = {7};
    MUST(n < sizeof(b));
    memcpy(b + 1, p, n);
    save(b, n + 1);
    b[0] = 0;
    save(b, n + 1);
}

static void frame_seeds(void) {
    static const uint8_t flags[] = {0x10, 0x18, 0x11, 0x02, 0x12,
                                    0x04, 0x14, 0x30, 0x00, 0xff};
    for (unsigned i = 0; i < sizeof(flags); i++) {
        /* data, the same segment again, 40 ms, recv, send, 1 s, ack all */
        uint8_t b[] = {2,      0,   flags[i], 3 | 32, 0,   0,   0,   5,
                       'h',    'e', 'l',      'l',    'o', 2,   0,   flags[i],
                       3 | 32, 0,   0,        0,      5,   'w', 'o', 'r',
                       'l',    'd', 8,        16,     9,   1,   1,   200,
                       9,      0,   1,        250,    8,   20,  2,   0,
                       0x10,   3,   0,        0};
        save_frames(b, sizeof(b));
        /* the same on the half-open one, on a new port, out of order */
        uint8_t c[] = {2,        1,          flags[i], 3, 0, 0,  2,
                       6,        flags[i],   3,        0, 0, 2,  0,
                       flags[i], 2 | 4 | 32, 0,        0, 0, 10, 0,
                       4,        1,          2,        3, 4, 8,  22,
                       9,        3,          1,        1, 8, 27};
        save_frames(c, sizeof(c));
    }
    static const uint8_t ts[] = {2,  0, 0x10, 3 | 8, 0, 0, 12, 1, 1, 8,
                                 10, 0, 0,    0,     9, 0, 0,  0, 8};
    static const uint8_t sack[] = {9, 0, 1,  255, 2, 0, 0x10, 1 | 8,
                                   0, 0, 12, 1,   1, 5, 10,   0,
                                   0, 0, 9,  0,   0, 0, 20};
    static const uint8_t wide[] = {2, 0,   0x18, 3 | 32 | 64, 0, 0, 0,
                                   2, 'a', 'b',  9,           1, 1, 255};
    static const uint8_t udp[] = {5, 9, 4, 'p', 'i', 'n', 'g', 9, 1, 2, 100};
    static const uint8_t icmp[] = {6, 64, 0, 4, 2, 0, 0,   0,   6,   8,
                                   0, 0,  0, 0, 0, 4, 'e', 'c', 'h', 'o'};
    static const uint8_t frags[] = {1, 3,  0x20, 0, 0, 16, 0, 53, 0, 53,
                                    0, 24, 0,    0, 1, 2,  3, 4,  5, 6,
                                    7, 8,  1,    3, 0, 2,  0, 8,  9, 8,
                                    7, 6,  5,    4, 3, 2,  9, 1,  2, 100};
    /* in flight 2,000 bytes; SACK of the tail three times; then all of it */
    static const uint8_t holes[] = {
        9,  0,   1, 250,  9,       0,       1,       250, 8,    10,      9, 0,
        1,  250, 9, 0,    1,       250,     2,       0,   0x10, 1 | 128, 0, 128,
        1,  5,   2, 2,    0,       0x10,    1 | 128, 0,   128,  2,       5, 2,
        10, 2,   2, 0,    0x10,    1 | 128, 0,       128, 1,    12,      9, 8,
        20, 2,   0, 0x10, 3 | 128, 0,       0,       0,   8,    27};
    /* we close, the peer acknowledges and closes; a new SYN comes */
    static const uint8_t reuse[] = {9, 4, 1, 0,  2, 0,    0x10,    3 | 128,
                                    0, 0, 0, 2,  0, 0x11, 3 | 128, 0,
                                    0, 0, 8, 20, 2, 0,    0x10,    3 | 128,
                                    0, 0, 0, 2,  4, 2,    4 | 128, 0,
                                    0, 1, 0, 0,  8, 20};
    /* errors wanted, port unreachable, the error queue read */
    static const uint8_t errors[] = {9,  7,    3, STACK_OPT_RECVERR,
                                     0,  1,    9, 0,
                                     3,  40,   6, 64,
                                     16, 3,    0, 0,
                                     0,  0,    9, 1,
                                     3,  0x20, 9, 1,
                                     3,  1};
    save_frames(holes, sizeof(holes));
    save_frames(reuse, sizeof(reuse));
    save_frames(errors, sizeof(errors));
    save_frames(ts, sizeof(ts));
    save_frames(sack, sizeof(sack));
    save_frames(wide, sizeof(wide));
    save_frames(udp, sizeof(udp));
    save_frames(icmp, sizeof(icmp));
    save_frames(frags, sizeof(frags));
}

/* One step of fuzz_calls.c: side, slot, call with its argument. */
static size_t call(uint8_t *b, unsigned side, unsigned slot, unsigned what) {
    b[0] = 0;
    b[1] = (uint8_t)(side | slot << 1);
    b[2] = (uint8_t)what;
    return 3;
}

/* A connection over each link, with data, half close and close. */
static void call_seeds(void) {
    for (unsigned link = 0; link < 64; link += 5)
        for (unsigned end = 0; end < 4; end++) {
            uint8_t b[256];
            size_t n = 0;
            b[n++] = (uint8_t)link;
            b[n++] = (uint8_t)end;
            n += call(b + n, 1, 0, 0), b[n++] = 0;    /* socket */
            n += call(b + n, 1, 0, 6 | 128 | 16);     /* bind */
            n += call(b + n, 1, 0, 7 | 128);          /* listen */
            n += call(b + n, 0, 1, 0), b[n++] = 0;    /* socket */
            n += call(b + n, 0, 1, 8 | 128 | 16);     /* connect */
            b[n++] = 224 | 20;                        /* a second */
            n += call(b + n, 1, 0, 9);                /* accept */
            n += call(b + n, 0, 1, 0), b[n++] = 0xc0; /* send */
            n += call(b + n, 1, 1, 13), b[n++] = 0;   /* poll set add */
            b[n++] = 0, b[n++] = 0, b[n++] = 0, b[n++] = 5;
            b[n++] = 180;                             /* settle */
            n += call(b + n, 1, 1, 13), b[n++] = 4;   /* collect */
            n += call(b + n, 1, 1, 3), b[n++] = 0xf0; /* recv */
            n += call(b + n, 1, 1, 1), b[n++] = 0xe0; /* send */
            b[n++] = 224 | 24;
            if (end & 1)
                n += call(b + n, 0, 1, 10 | 32);      /* shutdown */
            n += call(b + n, 0, 1, 4), b[n++] = 0xf0; /* recv */
            n += call(b + n, end >> 1, 1, 11);        /* close */
            b[n++] = 224 | 22;
            save(b, n);
        }
}

int main(int argc, char **argv) {
    MUST(argc == 3);
    folder = argv[2];
    if (strcmp(argv[1], "fuzz_tcp_options") == 0)
        wire_seeds();
    else if (strcmp(argv[1], "fuzz_frame") == 0)
        frame_seeds();
    else if (strcmp(argv[1], "fuzz_calls") == 0)
        call_seeds();
    else
        return 2;
    return 0;
}
