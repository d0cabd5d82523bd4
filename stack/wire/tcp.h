/* wire/tcp.h: the TCP header and its options (RFC 9293 section 3.1, RFC 7323,
 * RFC 2018).
 *
 * Parse checks every length once and fills host-order structs; emit writes
 * them. A segment whose fixed header makes no sense is refused; options that
 * make no sense end the walk (`malformed`) and what came before them counts,
 * since RFC 9293 MUST-7 only asks to survive them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "stack/seq.h"

#define TCP_HDR_MIN 20
#define TCP_HDR_MAX 60
#define TCP_OPTS_MAX 40
#define TCP_CSUM_OFFSET 16 /* of the checksum field in the header */
#define TCP_SACK_MAX 4     /* blocks one header can hold (RFC 2018, 3) */

/* tcp_hdr.flags: the control bits, RFC 9293 3.1, RFC 3168, RFC 9768 (AE) */
#define TCP_FIN 0x001u
#define TCP_SYN 0x002u
#define TCP_RST 0x004u
#define TCP_PSH 0x008u
#define TCP_ACK 0x010u
#define TCP_URG 0x020u
#define TCP_ECE 0x040u
#define TCP_CWR 0x080u
#define TCP_AE 0x100u

struct tcp_hdr {
    uint16_t sport, dport;
    seq_t seq, ack;
    uint16_t flags; /* TCP_* */
    uint16_t wnd;   /* as on the wire, not scaled */
    uint16_t csum;  /* parse only: the field */
    uint16_t urg;
    uint8_t hdr_len; /* parse only: header and options, 20..60 */
};

struct tcp_sack {
    seq_t left, right; /* [left, right) */
};

/* All zero: no options. */
struct tcp_opts {
    uint16_t mss; /* 0: absent */
    bool has_wscale;
    uint8_t wscale; /* as sent, 0..255: the caller clamps to 14 */
    bool sack_permitted;
    bool ts; /* tsval, tsecr are there */
    uint32_t tsval, tsecr;
    bool fo, fo_exp;       /* Fast Open; in its experimental form (RFC 6994) */
    uint8_t fo_len;        /* of the cookie; 0: one is asked for */
    uint8_t fo_cookie[16]; /* RFC 7413 section 2 */
    uint8_t n_sack;
    struct tcp_sack sack[TCP_SACK_MAX];
    bool malformed; /* parse only: an option's length was a lie */
    bool unknown;   /* parse only: an option of no known kind */
};

/* l4, len: the segment, header and payload. False: truncated, or a data offset
 * that is too small or beyond the end. o may be NULL: options are skipped. */
bool tcp_parse(const uint8_t *l4, uint32_t len, struct tcp_hdr *h,
               struct tcp_opts *o);

/* Bytes that tcp_emit will use for o, a multiple of 4 up to 40. SACK blocks
 * that do not fit beside the other options are left out. */
unsigned tcp_opts_len(const struct tcp_opts *o);

/* Write header and options at buf (room: 20 + tcp_opts_len). o may be NULL.
 * The checksum field is left zero. Returns the header length. */
unsigned tcp_emit(uint8_t *buf, const struct tcp_hdr *h,
                  const struct tcp_opts *o);

/* Fill the checksum field of an emitted header; csum in host order. */
void tcp_set_csum(uint8_t *l4, uint16_t csum);

/* The ports and the sequence number alone, from the 8 bytes that an ICMP error
 * quotes at least (RFC 792). The caller has checked those 8 bytes. */
void tcp_parse_quote(const uint8_t *l4, struct tcp_hdr *h);
