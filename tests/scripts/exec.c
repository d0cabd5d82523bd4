/* exec.c: the events of a script, one after the other; see exec.h. */
#include "tests/scripts/exec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- endings -------------------------------------------------------------- */

/* One line, "FILE:LINE: text", behind a mark that tells run.c what it is. */
static void report(struct run *r, const char *mark, const char *fmt,
                   va_list ap) {
    char text[1000];
    vsnprintf(text, sizeof(text), fmt, ap);
    printf("%s%s:%d: %s\n", mark, r->script->file, r->e ? r->e->line : 0, text);
    fflush(stdout);
}

/* Exit status 1: the script is wrong, or the stack is. */
void fail(struct run *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    report(r, "  ", fmt, ap);
    va_end(ap);
    _exit(1);
}

/* Exit status 2. The mark '?' lets run.c count what was missing. */
void unsupported(struct run *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    report(r, "?", fmt, ap);
    va_end(ap);
    _exit(2);
}

/* ---- time ------------------------------------------------------------------- */

/* Now, in microseconds of the script. */
int64_t run_us(const struct run *r) {
    return (int64_t)((r->w->now - r->w->epoch) / USEC);
}

/* After each step of the world: does a call that blocks get further? */
static bool go_on(void *arg) {
    try_pending(arg);
    return false;
}

/* A call that ends on the way is checked there and then. */
void run_until(struct run *r, int64_t us) {
    world_run(r->w, r->w->epoch + (nstime_t)us * USEC, go_on, r);
}

/* Stop the world as soon as the call that blocks is over. */
static bool pending_over(void *arg) { return try_pending(arg); }

/* A call that blocks gets the time it was given. */
void finish_pending(struct run *r) {
    if (!r->is_pending)
        return;
    int64_t end = r->pending.e->at.end + r->tolerance;
    world_run(r->w, r->w->epoch + (nstime_t)end * USEC, pending_over, r);
    if (r->is_pending) {
        r->e = r->pending.e;
        fail(r, "%s still blocks at %.6f", r->e->call.name,
             (double)run_us(r) / 1e6);
    }
}

/* Make the event's times absolute. */
static void settle_time(struct run *r, struct event *e) {
    struct when *t = &e->at;
    if (t->kind == W_REL || t->kind == W_REL_RANGE) {
        t->us += r->last;
        if (t->end >= 0)
            t->end += r->last;
    }
}

/* ---- options at the head --------------------------------------------------------- */

/* Equal texts. */
static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* Dotted decimal to host order; fails the script otherwise. */
static uint32_t parse_ip(struct run *r, const char *s) {
    unsigned a, b, c, d;
    if (!s || sscanf(s, "%u.%u.%u.%u", &a, &b, &c, &d) != 4)
        fail(r, "not an IPv4 address: %s", s ? s : "");
    return a << 24 | b << 16 | c << 8 | d;
}

/* Options that describe how packetdrill itself works, or ask for nothing. */
static bool harmless(const struct option_line *o) {
    static const char *const names[] = {
        "define",           "ip_version",      "connect_port",
        "bind_port",        "non_fatal",       "verbose",
        "local_netmask_ip", "netmask_ip",      "gateway_ip",
        "remote_ip_prefix", "speed",           "init_scripts",
        "send_omit_free",   "debug",           "dry_run",
        "strict_segments",  "wire_client_dev", "mss"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (same(o->name, names[i]))
            return !same(o->name, "ip_version") ||
                   (o->value && same(o->value, "ipv4"));
    return false;
}

/* Options at the head. What changes the test and is not known here is
 * reported. */
static void read_options(struct run *r, uint32_t *mtu, uint32_t *us,
                         uint32_t *peer) {
    for (struct option_line *o = r->script->options; o; o = o->next) {
        struct event here = {.line = o->line};
        r->e = &here;
        if (same(o->name, "tolerance_usecs") && o->value)
            r->tolerance = atoll(o->value);
        else if (same(o->name, "tcp_ts_tick_usecs") && o->value)
            r->tick = atoll(o->value);
        else if (same(o->name, "mtu") && o->value)
            *mtu = (uint32_t)atoi(o->value);
        else if (same(o->name, "local_ip"))
            *us = parse_ip(r, o->value);
        else if (same(o->name, "remote_ip"))
            *peer = parse_ip(r, o->value);
        else if (!harmless(o))
            unsupported(r, "option --%s%s%s", o->name, o->value ? "=" : "",
                        o->value ? o->value : "");
        r->e = NULL;
    }
}

/* ---- the loop ------------------------------------------------------------------------ */

/* Let time pass until the event is due, then do it. */
static void one_event(struct run *r, struct event *e) {
    r->e = e;
    settle_time(r, e);
    if (e->kind == EV_PACKET && !e->spec.in) {
        expect_packet(r, e);
        return;
    }
    if (e->at.us < run_us(r) - r->tolerance)
        fail(r, "it is %.6f already", (double)run_us(r) / 1e6);
    run_until(r, e->at.us);
    r->last = e->at.us;
    if (e->kind == EV_PACKET)
        inject_packet(r, &e->spec);
    else if (e->kind == EV_CALL)
        make_call(r, e);
    else if (e->kind == EV_CODE)
        run_code(r, e->text);
    else
        run_shell(r, e->text);
    try_pending(r);
}

/* The whole script; returns if nothing was wrong. */
void run_script(struct run *r) {
    uint32_t mtu = 1500, us = 0xc0a80001, peer = 0xc0000201;
    r->tolerance = 4000;
    r->next_port = 40000;
    read_options(r, &mtu, &us, &peer);
    r->w = world_new(mtu, us, peer);
    for (struct event *e = r->script->events; e; e = e->next)
        one_event(r, e);
    finish_pending(r);
    if (r->strict && r->w->out)
        fail(r, "the script is over; came: %s", describe_packet(r, r->w->out));
    if (stack_counters(r->w->st)->bad_free)
        fail(r, "memory was freed wrongly");
}
