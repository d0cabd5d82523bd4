/* exec.h: running a script against a stack. Internal to exec*.c and run.c.
 *
 * Theory of operation
 *
 * Events are taken in order. For each the world runs up to its time; then a
 * call is made, a packet injected, the next packet sent is compared, a block is
 * evaluated. Times are microseconds since the script began; a relative time
 * counts from the event before (from when it really happened, if that was given
 * as a range or '*').
 *
 * The stack never blocks. A call on a blocking descriptor that would block is
 * kept as `pending` and tried again after every step of the world until it
 * ends, which must be at the end of its time range. One call can be pending; the
 * next one waits for it.
 *
 * Sequence numbers: the peer's are used as the script has them. Ours are
 * chosen by the stack; the first SYN seen tells the difference between script
 * and wire (struct flow), and so for timestamps.
 *
 * Payload is a pattern that depends on the position in the stream, so that what
 * is sent and what is read can be compared without the script saying so.
 */
#pragma once
#include "tests/scripts/ast.h"
#include "tests/scripts/world.h"

#define FD_MAX 64
#define BOUND_PORT 8080 /* where bind(3, ..., ...) binds, connect connects */
#define WOULD_BLOCK INT64_MIN

struct ts_pair {
    struct ts_pair *next;
    uint32_t script, live;
};

/* One connection (or pair of UDP ends), as wire and script name it. */
struct flow {
    struct flow *next;
    uint16_t lport, rport;   /* on the wire */
    uint16_t slport, srport; /* in the script; 0: never named */
    bool has_iss, remap;     /* remap: a new SYN came, a new ISN may follow */
    uint32_t iss_live, iss_script;
    bool has_irs;
    uint32_t irs;
    bool relative; /* see struct run */
    bool ts_known;
    uint32_t ts_script, ts_live; /* of the first timestamp sent */
    nstime_t ts_at;
    struct ts_pair *ts; /* all that were sent */
    bool strange_data;  /* bytes of the script's own: do not compare */
};

struct file {
    bool used, nonblock;
    struct sock *so;
    struct pollset *ps;  /* an epoll descriptor */
    uint64_t sent, read; /* stream positions */
    bool strange_data;   /* the pattern is broken (urgent data, strings) */
};

/* A call being made, perhaps several times. */
struct attempt {
    struct event *e;
    int64_t done; /* bytes moved so far */
    bool again;   /* not the first time */
    nstime_t began;
};

struct run {
    struct world *w;
    struct script *script;
    struct event *e; /* the present one, for messages */
    struct file files[FD_MAX];
    struct flow *flows, *cur;
    uint16_t listen_port, next_port;
    int64_t tolerance; /* us */
    int64_t tick;      /* us per TSval tick to be checked; 0: do not check */
    int64_t last;      /* us: what relative times count from */
    /* Numbers of all but SYNs count from the SYN, as packetdrill has it; only in
     * scripts that use its defaults.sh, since ours write the real ones. */
    bool relative;
    bool cubic;      /* else NewReno, as packetdrill's defaults.sh sets */
    bool any_wscale; /* window scale is whatever the buffers make it */
    bool strict;     /* packets left over at the end are a failure */
    bool verbose;
    bool is_pending;
    struct attempt pending;
};

/* Ends the process with the message. */
_Noreturn void fail(struct run *r, const char *fmt, ...) ADHERE;
/* The same for what the runner (or the stack) does not know: `name` says what. */
_Noreturn void unsupported(struct run *r, const char *fmt, ...) ADHERE;

int64_t run_us(const struct run *r);
void run_script(struct run *r);
/* Let the world go on to this time; a pending call goes on as well. */
void run_until(struct run *r, int64_t us);
void finish_pending(struct run *r);

/* exec_flow.c */
struct flow *flow_live(struct run *r, uint16_t lport, uint16_t rport);
struct flow *flow_for_inbound(struct run *r, const struct spec *p);
struct flow *flow_new(struct run *r, uint16_t lport, uint16_t rport);
uint32_t flow_to_live(const struct flow *f, uint32_t script_seq);
uint32_t flow_to_script(const struct flow *f, uint32_t live_seq);
struct file *flow_file(struct run *r, const struct flow *f);
void fill_pattern(uint8_t *to, uint64_t from, size_t len);

/* exec_packets.c, exec_expect.c */
void inject_packet(struct run *r, const struct spec *p);
void expect_packet(struct run *r, struct event *e);
unsigned encode_opts(struct run *r, const struct flow *f, const struct spec *p,
                     uint8_t *to);
/* One line in the script's language and numbers. */
const char *describe_packet(const struct run *r, const struct packet *p);
/* Options from the wire; the number of them, or -1. */
int decode_opts(const uint8_t *p, uint32_t len, struct opt *o);
int icmp_type_of(const char *name);
int icmp_code_of(int type, const char *name);

/* exec_calls.c, exec_io.c, exec_options.c, exec_poll.c: each call returns its
 * result, -errno or WOULD_BLOCK (then it is called again) */
typedef int64_t call_fn(struct run *r, struct attempt *a);
void make_call(struct run *r, struct event *e);
/* True when the pending call is over. */
bool try_pending(struct run *r);
const struct expr *arg(struct run *r, const struct attempt *a, int i);
int64_t int_value(struct run *r, const struct expr *e);
int64_t int_arg(struct run *r, const struct attempt *a, int i);
struct file *file_arg(struct run *r, const struct attempt *a, int i);
struct file *new_file(struct run *r, const struct attempt *a);
const struct expr *field(const struct expr *e, const char *name);
/* An address argument: `...` stands for the default. False: it was `...` */
bool address(struct run *r, const struct expr *e, struct endpoint *out,
             int64_t *family);
call_fn call_send, call_recv, call_setsockopt, call_getsockopt, call_poll,
    call_epoll_create, call_epoll_ctl, call_epoll_wait, call_ioctl;

/* exec_code.c, exec_shell.c */
void run_code(struct run *r, const char *text);
void run_shell(struct run *r, const char *text);
