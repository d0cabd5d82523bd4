/* exec_expect.c: packets of the script against packets sent. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/scripts/exec.h"

/* Network order. */
static uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

/* Network order. */
static uint32_t get32(const uint8_t *p) {
    return get16(p) << 16 | get16(p + 2);
}

/* ---- options ------------------------------------------------------------------ */

/* One option of n bytes, kind and length included. */
static void decode_one(const uint8_t *p, unsigned n, struct opt *o) {
    o->kind = p[0];
    if (o->kind == O_MSS && n == 4)
        o->a = get16(p + 2);
    else if (o->kind == O_WSCALE && n == 3)
        o->a = p[2];
    else if (o->kind == O_TS && n == 10) {
        o->a = get32(p + 2);
        o->b = get32(p + 6);
    } else if (o->kind == O_SACK) {
        o->n = (uint8_t)((n - 2) / 8);
        for (int i = 0; i < o->n && i < 4; i++) {
            o->sack[i].left = get32(p + 2 + 8 * i);
            o->sack[i].right = get32(p + 6 + 8 * i);
        }
    } else {
        unsigned skip = o->kind == O_EXPERIMENT && n >= 4 ? 4 : 2;
        o->n = (uint8_t)(n - skip);
        memcpy(o->data, p + skip, o->n);
    }
}

/* Padding counts as options too, so that it is compared. */
int decode_opts(const uint8_t *p, uint32_t len, struct opt *o) {
    int count = 0;
    for (uint32_t at = 0; at < len; count++) {
        unsigned n = 1;
        if (p[at] != O_EOL && p[at] != O_NOP) {
            if (at + 1 >= len || p[at + 1] < 2 || at + p[at + 1] > len)
                return -1;
            n = p[at + 1];
            decode_one(p + at, n, &o[count]);
        } else
            o[count].kind = p[at];
        at += n;
    }
    return count;
}

/* ---- in words -------------------------------------------------------------------- */

struct text {
    char s[700];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t,
                                                      const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
    va_end(ap);
    if (n > 0 && t->n + (size_t)n < sizeof(t->s))
        t->n += (size_t)n;
}

/* One option as a script writes it. */
static void say_opt(struct text *t, const struct opt *o) {
    if (o->kind == O_NOP || o->kind == O_EOL)
        say(t, o->kind ? "nop" : "eol");
    else if (o->kind == O_MSS)
        say(t, "mss %u", o->a);
    else if (o->kind == O_WSCALE)
        say(t, "wscale %u", o->a);
    else if (o->kind == O_SACKOK)
        say(t, "sackOK");
    else if (o->kind == O_TS)
        say(t, "TS val %u ecr %u", o->a, o->b);
    else if (o->kind == O_SACK) {
        say(t, "sack");
        for (int i = 0; i < o->n; i++)
            say(t, " %u:%u", o->sack[i].left, o->sack[i].right);
    } else
        say(t, "kind %u", o->kind);
}

/* Flags as a script writes them. */
static void say_flags(struct text *t, uint16_t flags) {
    static const char names[] = "FSRP.UEWA"; /* bit 0 first */
    size_t before = t->n;
    for (int i = 0; i < 9; i++)
        if (flags >> i & 1 && i != 4)
            say(t, "%c", names[i]);
    if (flags & TCP_ACK)
        say(t, ".");
    if (t->n == before)
        say(t, "-");
}

/* The live options with timestamps as the script would have them. */
static uint32_t ts_to_script(const struct flow *f, uint32_t live) {
    return f && f->ts_known ? live - f->ts_live + f->ts_script : live;
}

/* A segment as a script writes it. */
static void say_tcp(struct text *t, struct run *r, const struct packet *p) {
    static const struct flow none;
    const struct flow *f = flow_live(r, p->tcp.sport, p->tcp.dport);
    struct opt o[OPT_MAX] = {0};
    uint32_t seq = flow_to_script(f ? f : &none, p->tcp.seq);
    if (f && f->slport)
        say(t, "%u > %u ", f->slport, f->srport);
    say_flags(t, p->tcp.flags);
    say(t, " %u:%u(%u)", seq, seq + p->data_len, p->data_len);
    if (p->tcp.flags & TCP_ACK)
        say(t, " ack %u", p->tcp.ack);
    say(t, " win %u", p->tcp.wnd);
    if (p->tcp.flags & TCP_URG)
        say(t, " urg %u", p->tcp.urg);
    int n = decode_opts(p->opts, p->opts_len, o);
    for (int i = 0; i < n; i++) {
        if (o[i].kind == O_TS)
            o[i].a = ts_to_script(f, o[i].a);
        say(t, i ? "," : " <");
        say_opt(t, &o[i]);
    }
    say(t, n > 0 ? ">" : n < 0 ? " <malformed>" : "");
}

/* Returns a static text. */
const char *describe_packet(const struct run *r, const struct packet *p) {
    static struct text t;
    t.n = 0;
    say(&t, "%.6f > ", (double)(p->at - r->w->epoch) / 1e9);
    if (p->ip.proto == IP_PROTO_TCP && !p->bad_csum)
        say_tcp(&t, (struct run *)(uintptr_t)r, p);
    else if (p->ip.proto == IP_PROTO_UDP)
        say(&t, "udp (%u)", p->udp.len - UDP_HDR_LEN);
    else if (p->ip.proto == IP_PROTO_ICMP)
        say(&t, "icmp type %u code %u", p->icmp.type, p->icmp.code);
    else
        say(&t, "a packet that makes no sense, protocol %u", p->ip.proto);
    return t.s;
}

/* ---- comparing -------------------------------------------------------------------- */

#define CHECK(cond, ...)                                                       \
    do {                                                                       \
        if (!(cond)) {                                                         \
            char what_[900];                                                   \
            snprintf(what_, sizeof(what_), __VA_ARGS__);                       \
            fail(r, "%s; came: %s", what_, describe_packet(r, p));             \
        }                                                                      \
    } while (0)

/* TSval against the script's, after the first of them; TSecr exactly. */
static void check_ts(struct run *r, struct flow *f, const struct opt *want,
                     const struct opt *got, const struct packet *p) {
    struct ts_pair *t = keep(sizeof(*t));
    *t = (struct ts_pair){f->ts, want->a, got->a};
    f->ts = t;
    if (!f->ts_known) {
        f->ts_known = true;
        f->ts_script = want->a;
        f->ts_live = got->a;
        f->ts_at = p->at;
    }
    CHECK(got->b == want->b, "expected TS ecr %u", want->b);
    if (!r->tick)
        return;
    int64_t off = (int32_t)(want->a - ts_to_script(f, got->a));
    int64_t slack = 1 + r->tolerance / r->tick;
    CHECK(off <= slack && -off <= slack, "expected TS val %u", want->a);
}

/* All options in their order, padding included. */
static void check_opts(struct run *r, struct flow *f, const struct spec *s,
                       const struct packet *p) {
    struct opt got[OPT_MAX] = {0};
    int n = decode_opts(p->opts, p->opts_len, got);
    CHECK(n >= 0, "malformed TCP options");
    if (s->any_opts)
        return;
    CHECK(n == s->n_opts, "expected %d TCP options, got %d", s->n_opts, n);
    for (int i = 0; i < n; i++) {
        const struct opt *w = &s->opts[i];
        struct text t = {.n = 0};
        say_opt(&t, w);
        CHECK(got[i].kind == w->kind, "expected option %s", t.s);
        if (w->kind == O_TS) {
            check_ts(r, f, w, &got[i], p);
            continue;
        }
        bool scale = w->kind == O_WSCALE && r->any_wscale;
        CHECK(scale || got[i].a == w->a, "expected option %s", t.s);
        CHECK(got[i].n == w->n, "expected option %s", t.s);
        for (int j = 0; f->relative && w->kind == O_SACK && j < w->n; j++) {
            got[i].sack[j].left -= f->irs;
            got[i].sack[j].right -= f->irs;
        }
        if (w->kind == O_SACK)
            CHECK(memcmp(got[i].sack, w->sack, 8u * w->n) == 0,
                  "expected option %s", t.s);
        else
            CHECK(memcmp(got[i].data, w->data, w->n) == 0, "expected option %s",
                  t.s);
    }
}

/* Learn the connection of a packet, and from a SYN its numbers. */
static struct flow *flow_of(struct run *r, const struct spec *s,
                            const struct packet *p, uint16_t lport,
                            uint16_t rport) {
    struct flow *f = flow_live(r, lport, rport), *cur = r->cur;
    if (!f)
        f = flow_new(r, lport, rport);
    if (s->has_ports) {
        if (!f->slport) { /* named late: then it is the wire's numbers */
            CHECK((!f->has_iss && !f->has_irs) ||
                      (lport == s->sport && rport == s->dport),
                  "expected ports %u > %u", s->sport, s->dport);
            f->slport = s->sport;
            f->srport = s->dport;
        }
        CHECK(f->slport == s->sport && f->srport == s->dport,
              "expected ports %u > %u", s->sport, s->dport);
    } else
        CHECK(!cur || f == cur, "a packet of another connection");
    r->cur = f;
    return f;
}

/* A SYN tells the difference between our numbers and the script's. */
static void learn_iss(struct flow *f, const struct spec *s,
                      const struct packet *p) {
    if (!(p->tcp.flags & TCP_SYN))
        return;
    if (f->has_iss && (!f->remap || s->seq == f->iss_script))
        return;
    f->has_iss = true;
    f->remap = false;
    f->iss_live = p->tcp.seq;
    f->iss_script = s->seq;
}

/* What is sent must be what was written at that place of the stream. */
static void check_payload(struct run *r, struct flow *f,
                          const struct packet *p) {
    struct file *file = flow_file(r, f);
    if (!p->data_len || !f->has_iss || f->strange_data ||
        (file && file->strange_data))
        return;
    uint8_t *want = keep(p->data_len);
    uint32_t syn = (p->tcp.flags & TCP_SYN) != 0; /* comes before the data */
    fill_pattern(want, p->tcp.seq + syn - f->iss_live - 1, p->data_len);
    CHECK(memcmp(want, p->data, p->data_len) == 0,
          "the payload is not what was written");
}

/* Segments that follow at once are taken together when the script expects one
 * that is longer (it was written for a device that does the cutting). */
static uint32_t join(struct run *r, const struct spec *s, struct flow *f,
                     struct packet *p, uint16_t *flags) {
    uint32_t len = p->data_len;
    *flags = p->tcp.flags;
    for (struct packet *q = r->w->out; len && len < s->len && q;
         q = r->w->out) {
        if (q->ip.proto != IP_PROTO_TCP || q->tcp.sport != p->tcp.sport ||
            q->tcp.dport != p->tcp.dport || q->tcp.seq != p->tcp.seq + len ||
            !q->data_len || len + q->data_len > s->len)
            break;
        len += q->data_len;
        *flags |= q->tcp.flags;
        check_payload(r, f, q);
        world_take(r->w);
    }
    return len;
}

/* Everything that the script says of a segment. */
static void check_tcp(struct run *r, const struct spec *s, struct packet *p) {
    uint16_t flags;
    CHECK(p->ip.proto == IP_PROTO_TCP && !p->bad_csum, "expected TCP");
    struct flow *f = flow_of(r, s, p, p->tcp.sport, p->tcp.dport);
    learn_iss(f, s, p);
    check_payload(r, f, p);
    uint32_t len = join(r, s, f, p, &flags);
    bool syn = (p->tcp.flags & TCP_SYN) != 0;
    uint32_t seq = syn && f->has_iss ? p->tcp.seq - f->iss_live + f->iss_script
                                     : flow_to_script(f, p->tcp.seq);
    uint32_t ack = p->tcp.ack - (f->relative && !syn ? f->irs : 0);
    struct text t = {.n = 0};
    say_flags(&t, s->flags);
    /* Linux pushes at the end of each superframe, we at the end of the data */
    uint16_t ignore = len > r->w->io.mtu ? TCP_PSH : 0;
    CHECK((flags | ignore) == (s->flags | ignore), "expected flags %s", t.s);
    CHECK(seq == s->seq, "expected sequence number %u", s->seq);
    CHECK(len == s->len, "expected %u bytes", s->len);
    CHECK(!(flags & TCP_ACK) || ack == s->ack, "expected ack %u", s->ack);
    CHECK(!s->has_win || p->tcp.wnd == s->win, "expected win %u", s->win);
    CHECK(p->tcp.urg == s->urg, "expected urg %u", s->urg);
    check_opts(r, f, s, p);
}

/* Addresses always; TOS and TTL when the script says something. */
static void check_ip(struct run *r, const struct spec *s, struct packet *p) {
    uint8_t ecn = p->ip.tos & 3;
    CHECK(p->ip.src == r->w->our_ip && p->ip.dst == r->w->peer_ip,
          "wrong addresses");
    CHECK(s->tos_check != TOS_ECN || ecn == s->tos, "expected ECN %u", s->tos);
    CHECK(s->tos_check != TOS_ECT01 || ecn == 1 || ecn == 2, "expected ECT");
    CHECK(s->tos_check != TOS_BYTE || p->ip.tos == s->tos, "expected tos 0x%x",
          s->tos);
    CHECK(!s->ttl || p->ip.ttl == s->ttl, "expected ttl %u", s->ttl);
}

/* UDP by length, ICMP by type and code. */
static void check_other(struct run *r, const struct spec *s, struct packet *p) {
    if (s->proto == P_UDP) {
        CHECK(p->ip.proto == IP_PROTO_UDP && !p->bad_csum, "expected UDP");
        flow_of(r, s, p, p->udp.sport, p->udp.dport);
        CHECK(p->udp.len == UDP_HDR_LEN + s->len, "expected %u bytes", s->len);
        return;
    }
    int type = icmp_type_of(s->icmp_type);
    CHECK(p->ip.proto == IP_PROTO_ICMP, "expected ICMP");
    CHECK(p->icmp.type == type, "expected ICMP %s", s->icmp_type);
    CHECK(p->icmp.code == icmp_code_of(type, s->icmp_code),
          "expected ICMP code %s", s->icmp_code ? s->icmp_code : "0");
}

/* ---- waiting ------------------------------------------------------------------------ */

/* Stop the world as soon as there is a packet to look at. */
static bool something_came(void *arg) {
    struct run *r = arg;
    try_pending(r);
    return r->w->out != NULL;
}

/* Wait until the latest time allowed, then look at time and contents. */
void expect_packet(struct run *r, struct event *e) {
    const struct when *t = &e->at;
    bool range = t->kind >= W_ABS_RANGE, any = t->kind == W_ANY;
    int64_t first = t->us, last = range ? t->end : t->us;
    if (any)
        first = 0, last = run_us(r) + 7200 * 1000000ll;
    nstime_t end = r->w->epoch + (nstime_t)(last + r->tolerance) * USEC;
    world_run(r->w, end, something_came, r);
    struct packet *p = world_take(r->w);
    if (!p)
        fail(r, "expected a packet until %.6f, none came",
             (double)(last + r->tolerance) / 1e6);
    int64_t came = (int64_t)((p->at - r->w->epoch) / USEC);
    if (e->spec.proto == P_TCP)
        check_tcp(r, &e->spec, p);
    else
        check_other(r, &e->spec, p);
    check_ip(r, &e->spec, p);
    CHECK(came >= first - r->tolerance && came <= last + r->tolerance,
          "expected between %.6f and %.6f", (double)first / 1e6,
          (double)last / 1e6);
    r->last = any || range ? came : t->us;
    if (r->verbose)
        printf("    %s\n", describe_packet(r, p));
}
