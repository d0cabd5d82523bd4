/* ast.h: a packet script as the parser leaves it.
 *
 * A script is a list of events. Each has a time and is one of: a socket call, a
 * packet to inject or to expect, a block of assertions, a shell block. Nothing
 * here is checked against the stack yet; the exec_*.c files do that.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADHERE __attribute__((format(printf, 2, 3)))

/* ---- expressions: arguments and results of calls ---------------------- */

enum expr_kind {
    E_ANY,    /* ... */
    E_INT,    /* num */
    E_WORD,   /* text: a constant by name */
    E_STRING, /* text, num: its length */
    E_LIST,   /* [a, b] or {a, b}: first and its next */
    E_STRUCT, /* {name = value, ...}: first is an E_FIELD */
    E_FIELD,  /* text: the name; first: the value */
    E_CALL,   /* htons(1), inet_addr("..."): text, first: arguments */
    E_OR,     /* first | first->next */
};

struct expr {
    enum expr_kind kind;
    int64_t num;
    const char *text;
    struct expr *first, *next;
};

/* ---- packets ------------------------------------------------------------ */

enum opt_kind {
    O_EOL = 0,
    O_NOP = 1,
    O_MSS = 2,
    O_WSCALE = 3,
    O_SACKOK = 4,
    O_SACK = 5,
    O_TS = 8,
    O_MD5 = 19,
    O_FASTOPEN = 34,
    O_EXPERIMENT = 254, /* Fast Open before RFC 7413, magic 0xf989 */
};

#define OPT_MAX 40 /* options are 40 bytes at most */
#define COOKIE_MAX 32

struct opt {
    uint8_t kind;  /* enum opt_kind, or whatever came from the wire */
    uint32_t a, b; /* MSS, shift; TSval and TSecr */
    uint8_t n;     /* SACK blocks, or bytes of data */
    struct {
        uint32_t left, right;
    } sack[4];
    uint8_t data[COOKIE_MAX];
};

enum tos_check { TOS_ANY, TOS_ECN, TOS_BYTE, TOS_ECT01 };
enum spec_proto { P_TCP, P_UDP, P_ICMP };

/* One packet of the script, in or out, in script numbers. */
struct spec {
    bool in;
    enum spec_proto proto;
    enum tos_check tos_check;
    uint8_t tos, ttl; /* ttl 0: not said */
    bool has_ports;
    uint16_t sport, dport;
    /* TCP */
    uint16_t flags; /* TCP_* */
    bool has_ace;   /* flags hold the AccECN counter */
    uint32_t seq, len, ack;
    bool has_ack, has_win;
    uint16_t win, urg;
    bool any_opts; /* <...> */
    int n_opts;
    struct opt opts[OPT_MAX];
    /* ICMP: len, seq describe what is quoted, if has_quote */
    const char *icmp_type, *icmp_code;
    uint32_t mtu, icmp_id;
    bool has_quote, quote_udp;
};

/* ---- events ------------------------------------------------------------- */

enum when_kind { W_ABS, W_REL, W_ANY, W_ABS_RANGE, W_REL_RANGE };

/* Microseconds. end: of a range, or of a blocking call (else -1). */
struct when {
    enum when_kind kind;
    int64_t us, end;
};

struct call {
    const char *name;
    struct expr *args;
    struct expr *result;
    const char *err; /* errno by name, or NULL */
};

enum event_kind { EV_CALL, EV_PACKET, EV_CODE, EV_SHELL };

struct event {
    struct event *next;
    int line;
    struct when at;
    enum event_kind kind;
    struct call call;
    struct spec spec;
    const char *text; /* EV_CODE, EV_SHELL */
};

struct option_line {
    struct option_line *next;
    int line;
    const char *name, *value; /* value NULL: none */
};

struct script {
    const char *file;
    struct option_line *options;
    struct event *events;
};

/* Memory that lives as long as the process, zeroed (one process runs one
 * script). */
void *keep(size_t size);
char *keep_text(const char *s, size_t len);

/* Parse a file. NULL: could not, and *why says "line N: ...". */
struct script *parse_file(const char *file, char *why, size_t why_size);
/* Value of a constant such as SOL_SOCKET or EAGAIN; false: not known. */
bool symbol_value(const char *name, int64_t *value);
/* Name of a positive errno, for messages. */
const char *errno_name(int err);
