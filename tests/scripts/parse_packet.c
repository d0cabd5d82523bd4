/* parse_packet.c: the packets of a script.
 *
 *   < [ect0] 5001 > 8080 S 0:0(0) win 32792 <mss 1000,sackOK,nop,wscale 7>
 *   > P. 1:1001(1000) ack 1 urg 5
 *   < udp (1000)
 *   < icmp unreachable frag_needed mtu 1200 [1:1001(1000)]
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "stack/wire/tcp.h"
#include "tests/scripts/lexer.h"

/* ---- in front of the transport -------------------------------------------- */

static const struct {
    const char *name;
    enum tos_check check;
    uint8_t tos;
} ecn_marks[] = {
    {"noecn", TOS_ECN, 0}, {"ect1", TOS_ECN, 1},    {"ect0", TOS_ECN, 2},
    {"ce", TOS_ECN, 3},    {"ect01", TOS_ECT01, 0},
};

/* ect0, tos 0x10, ttl 64... */
static void parse_ip_item(struct lexer *x, struct spec *p) {
    const char *w = lex_need_word(x);
    for (size_t i = 0; i < sizeof(ecn_marks) / sizeof(ecn_marks[0]); i++)
        if (strcmp(w, ecn_marks[i].name) == 0) {
            p->tos_check = ecn_marks[i].check;
            p->tos = ecn_marks[i].tos;
            return;
        }
    if (strcmp(w, "tos") == 0) {
        p->tos_check = TOS_BYTE;
        p->tos = (uint8_t)lex_need_int(x);
    } else if (strcmp(w, "ttl") == 0)
        p->ttl = (uint8_t)lex_need_int(x);
    else
        lex_fail(x, "unsupported: IP field %s", w);
}

/* [ect0] or (ect0), several with commas. */
static void parse_ip_info(struct lexer *x, struct spec *p) {
    int end = lex_is(x, '[') ? ']' : ')';
    if (!lex_take(x, '[') && !lex_take(x, '('))
        return;
    do
        parse_ip_item(x, p);
    while (lex_take(x, ','));
    lex_need(x, end);
}

/* 5001 > 8080 */
static void parse_ports(struct lexer *x, struct spec *p) {
    if (x->token != T_INT)
        return;
    p->has_ports = true;
    p->sport = (uint16_t)lex_need_int(x);
    lex_need(x, '>');
    p->dport = (uint16_t)lex_need_int(x);
}

/* ---- TCP -------------------------------------------------------------------- */

/* One letter. */
static uint16_t flag_of(struct lexer *x, char c) {
    static const struct {
        char c;
        uint16_t flag;
    } flags[] = {{'F', TCP_FIN}, {'S', TCP_SYN}, {'R', TCP_RST}, {'P', TCP_PSH},
                 {'U', TCP_URG}, {'E', TCP_ECE}, {'W', TCP_CWR}, {'A', TCP_AE}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (flags[i].c == c)
            return flags[i].flag;
    lex_fail(x, "unknown TCP flag '%c'", c);
}

/* "S", "P.", ".", "-", "S.5": ".5" is ACK and the AccECN counter. */
static void parse_flags(struct lexer *x, struct spec *p) {
    if (lex_take(x, '-'))
        return;
    bool any = x->token == T_WORD;
    if (any) {
        for (const char *c = x->text; *c; c++)
            p->flags |= flag_of(x, *c);
        lex_next(x);
    }
    if (lex_take(x, '.'))
        p->flags |= TCP_ACK;
    else if (x->token == T_FLOAT && x->text[0] == '.') {
        int ace = atoi(x->text + 1);
        p->has_ace = true;
        p->flags |= TCP_ACK | (ace & 4 ? TCP_AE : 0) | (ace & 2 ? TCP_CWR : 0) |
                    (ace & 1 ? TCP_ECE : 0);
        lex_next(x);
    } else if (!any)
        lex_fail(x, "expected TCP flags");
}

/* 1:1001(1000) */
static void parse_seq(struct lexer *x, struct spec *p) {
    p->seq = (uint32_t)lex_need_int(x);
    lex_need(x, ':');
    uint32_t end = (uint32_t)lex_need_int(x);
    lex_need(x, '(');
    p->len = (uint32_t)lex_need_int(x);
    lex_need(x, ')');
    if (end != p->seq + p->len)
        lex_fail(x, "sequence numbers and length contradict each other");
}

/* Hexadecimal digits, possibly read as a number. */
static void parse_blob(struct lexer *x, struct opt *o) {
    const char *s = x->text;
    if (x->token != T_WORD && x->token != T_INT)
        return;
    for (; isxdigit((unsigned char)s[0]) && isxdigit((unsigned char)s[1]) &&
           o->n < COOKIE_MAX;
         s += 2) {
        char pair[3] = {s[0], s[1], 0};
        o->data[o->n++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    lex_next(x);
}

/* Up to four blocks, left:right. */
static void parse_sack(struct lexer *x, struct opt *o) {
    while (x->token == T_INT) {
        if (o->n == 4)
            lex_fail(x, "too many SACK blocks");
        o->sack[o->n].left = (uint32_t)lex_need_int(x);
        lex_need(x, ':');
        o->sack[o->n++].right = (uint32_t)lex_need_int(x);
    }
}

/* One TCP option. */
static void parse_opt(struct lexer *x, struct opt *o) {
    const char *w = lex_need_word(x);
    if (strcmp(w, "nop") == 0)
        o->kind = O_NOP;
    else if (strcmp(w, "eol") == 0)
        o->kind = O_EOL;
    else if (strcmp(w, "mss") == 0) {
        o->kind = O_MSS;
        o->a = (uint32_t)lex_need_int(x);
    } else if (strcmp(w, "wscale") == 0) {
        o->kind = O_WSCALE;
        o->a = (uint32_t)lex_need_int(x);
    } else if (strcmp(w, "sackOK") == 0)
        o->kind = O_SACKOK;
    else if (strcmp(w, "sack") == 0) {
        o->kind = O_SACK;
        parse_sack(x, o);
    } else if (strcmp(w, "TS") == 0) {
        o->kind = O_TS;
        lex_take_word(x, "val");
        o->a = (uint32_t)lex_need_int(x);
        lex_take_word(x, "ecr");
        o->b = (uint32_t)lex_need_int(x);
    } else if (strcmp(w, "FO") == 0) {
        o->kind = O_FASTOPEN;
        parse_blob(x, o);
    } else if (strcmp(w, "FOEXP") == 0) {
        o->kind = O_EXPERIMENT;
        parse_blob(x, o);
    } else if (strcmp(w, "md5") == 0) {
        o->kind = O_MD5;
        parse_blob(x, o);
    } else
        lex_fail(x, "unsupported: TCP option %s", w);
}

/* <mss 1000,nop,wscale 7>, or <...> for whatever comes. */
static void parse_opts(struct lexer *x, struct spec *p) {
    if (!lex_take(x, '<'))
        return;
    if (x->token == T_ELLIPSIS) {
        lex_next(x);
        p->any_opts = true;
    } else
        do {
            if (p->n_opts == OPT_MAX)
                lex_fail(x, "too many TCP options");
            parse_opt(x, &p->opts[p->n_opts++]);
        } while (lex_take(x, ','));
    lex_need(x, '>');
}

/* Flags, numbers, window, options. */
static void parse_tcp(struct lexer *x, struct spec *p) {
    parse_ports(x, p);
    parse_flags(x, p);
    parse_seq(x, p);
    if (lex_take_word(x, "ack")) {
        p->has_ack = true;
        p->ack = (uint32_t)lex_need_int(x);
    }
    if (lex_take_word(x, "win")) {
        p->has_win = true;
        p->win = (uint16_t)lex_need_int(x);
    }
    if (lex_take_word(x, "urg"))
        p->urg = (uint16_t)lex_need_int(x);
    if (p->in && !p->has_win)
        lex_fail(x, "an inbound packet needs a window");
    parse_opts(x, p);
    if (lex_is(x, '{'))
        lex_fail(x, "unsupported: header mutation");
    if (p->in && p->any_opts)
        lex_fail(x, "an inbound packet needs its options spelled out");
}

/* ---- UDP, ICMP ------------------------------------------------------------------ */

/* udp (1000), ports before the length. */
static void parse_udp(struct lexer *x, struct spec *p) {
    p->proto = P_UDP;
    parse_ports(x, p);
    lex_need(x, '(');
    p->len = (uint32_t)lex_need_int(x);
    lex_need(x, ')');
}

/* icmp TYPE CODE mtu N [what is quoted]. */
static void parse_icmp(struct lexer *x, struct spec *p) {
    p->proto = P_ICMP;
    p->icmp_type = lex_need_word(x);
    if (x->token == T_WORD && !lex_word(x, "mtu") && !lex_word(x, "id"))
        p->icmp_code = lex_need_word(x);
    if (lex_take_word(x, "mtu"))
        p->mtu = (uint32_t)lex_need_int(x);
    if (lex_take_word(x, "id"))
        p->icmp_id = (uint32_t)lex_need_int(x);
    if (!lex_take(x, '['))
        return;
    p->has_quote = true;
    if (lex_take_word(x, "udp")) {
        p->quote_udp = true;
        lex_need(x, '(');
        p->len = (uint32_t)lex_need_int(x);
        lex_need(x, ')');
    } else
        parse_seq(x, p);
    lex_need(x, ']');
}

/* x stands at < or >. */
void parse_packet(struct lexer *x, struct spec *p) {
    p->in = lex_is(x, '<');
    lex_next(x);
    parse_ip_info(x, p);
    if (lex_take_word(x, "udp"))
        parse_udp(x, p);
    else if (lex_take_word(x, "icmp"))
        parse_icmp(x, p);
    else if (lex_word(x, "ipv4") || lex_word(x, "ipv6") || lex_word(x, "gre") ||
             lex_word(x, "mpls"))
        lex_fail(x, "unsupported: encapsulation in %s", x->text);
    else
        parse_tcp(x, p);
}
