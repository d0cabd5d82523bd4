/* tcb.h: the transmission control block (RFC 9293 section 3.3.1), the states
 * and the numbers of TCP. The theory of operation is in tcp.h. */
#pragma once
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "stack/buf.h"
#include "stack/ip.h"
#include "stack/random.h"
#include "stack/seq.h"
#include "stack/shared.h"
#include "stack/sock.h"
#include "stack/stats.h"
#include "stack/timer.h"
#include "stack/wire/tcp.h"

#define MSEC 1000000ull /* in ns */
#define SEC 1000000000ull

/* RFC 9293 section 3.3.2, with the numbers of Linux's TCP_*. What may happen
 * in each (besides a reset, which leads to CLOSE from anywhere):
 *
 *  CLOSE        connect, listen, bind; recv of what is left; no timers
 *  LISTEN       accept; SYN in makes a child in SYN-RECEIVED
 *  SYN_SENT     SYN is out: rtx timer; SYN in -> SYN-RECEIVED (simultaneous)
 *  SYN_RECV     SYN-ACK is out: rtx timer; the ACK of it -> ESTABLISHED
 *  ESTABLISHED  send, recv, shutdown; all timers
 *  FIN_WAIT1    recv; no more send; our FIN is queued or in flight
 *  FIN_WAIT2    recv; our FIN is acknowledged; keep timer if an orphan
 *  CLOSING      both FINs crossed; ours is not acknowledged: rtx timer
 *  CLOSE_WAIT   send; the peer's FIN has been taken
 *  LAST_ACK     as CLOSING, but we closed second: no TIME-WAIT follows
 *  TIME_WAIT    struct tcp_tw only; a tcp_sock never has this state
 */
enum tcp_state {
    TCP_S_ESTABLISHED = 1,
    TCP_S_SYN_SENT,
    TCP_S_SYN_RECV,
    TCP_S_FIN_WAIT1,
    TCP_S_FIN_WAIT2,
    TCP_S_TIME_WAIT,
    TCP_S_CLOSE,
    TCP_S_CLOSE_WAIT,
    TCP_S_LAST_ACK,
    TCP_S_LISTEN,
    TCP_S_CLOSING,
    TCP_S_COUNT
};
#define TCP_IN(tp, s) ((tp)->state == TCP_S_##s)

/* Congestion states, with the numbers of Linux's TCP_CA_*. OPEN: nothing is
 * amiss. RECOVERY: fast recovery (RFC 6582, RFC 6675) until `recover` is
 * acknowledged. LOSS: after a time-out, likewise. */
enum tcp_ca { TCP_CA_OPEN = 0, TCP_CA_RECOVERY = 3, TCP_CA_LOSS = 4 };
#define TCP_CA_CWR 2 /* OPEN with tp->cwr, in TCP_INFO */

/* What the rtx timer is armed for: a retransmission time-out (RFC 6298), a tail
 * loss probe before that (RFC 8985 section 7), a persist probe, or the end of
 * the reordering window (RFC 8985 section 6.2). */
enum tcp_rtx { TCP_RTX_RTO, TCP_RTX_TLP, TCP_RTX_PERSIST, TCP_RTX_REO };

/* F-RTO after a time-out: not at work; before the first ACK; after it. */
enum tcp_frto { TCP_FRTO_OFF, TCP_FRTO_FIRST, TCP_FRTO_SECOND };

/* What both ends agree on about ECN: nothing, RFC 3168, RFC 9768. */
enum tcp_ecn { TCP_ECN_OFF, TCP_ECN_CLASSIC, TCP_ECN_ACC };

/* What a SYN gets from a Fast Open listener: nothing of that; a cookie; a
 * connection at once; the same and a new cookie. */
enum tcp_fo { TCP_FO_NONE, TCP_FO_COOKIE, TCP_FO_OPEN, TCP_FO_OPEN_RENEW };

/* The urgent byte of the peer: none; announced; here; read. */
enum tcp_urg { TCP_URG_NONE, TCP_URG_NOTYET, TCP_URG_HERE, TCP_URG_READ };

/* Times, as Linux has them. */
#define TCP_RTO_MIN_US 200000u /* RFC 6298 2.4 says 1 s; Linux 200 ms */
#define TCP_RTO_MAX_US 120000000u
#define TCP_RTO_INIT_US 1000000u /* RFC 6298 2.1 */
#define TCP_DACK_MS 40u
#define TCP_DACK_NS                                                            \
    (TCP_DACK_MS * MSEC)            /* RFC 9293 SHLD-18: less than 500 ms */
#define TCP_PTO_SLACK_NS (2 * MSEC) /* RFC 8985 7.2, as Linux */
#define TCP_PTO_DACK_NS (200 * MSEC)
#define TCP_QUICKACKS 8 /* ACKs not delayed after a silence */
#define TCP_CORK_NS (200 * MSEC)
#define TCP_FIN_WAIT2_SEC 60
#define TCP_TIME_WAIT_NS (60 * SEC)
#define TCP_RETRIES2_MS 924600u /* 15 retransmissions from 200 ms on */
#define TCP_ORPHAN_RETRIES 8
#define TCP_SYN_RETRIES 6 /* what TCP_SYNCNT reads as, like Linux */
#define TCP_SYN_R2_MS 180000u
#define TCP_KEEPIDLE_SEC 7200
#define TCP_KEEPINTVL_SEC 75
#define TCP_KEEPCNT 9
#define TCP_OOW_ACK_MS 500u /* ACKs for unacceptable segments, RFC 5961 7 */

/* Sizes. */
#define TCP_MSS_DEFAULT 536u /* RFC 9293 MUST-15 */
#define TCP_MSS_MIN 48u
#define TCP_INIT_CWND 10u /* segments, RFC 6928 */
#define TCP_RCV_WSCALE 7u
#define TCP_RCV_START (512u * 1024)    /* window offered from the start... */
#define TCP_RCV_MAX (6u * 1024 * 1024) /* ...and what tuning may make of it */
#define TCP_RCV_RATE 8192u             /* ...bytes for each us of the way */
#define TCP_SND_START (256u * 1024)
#define TCP_SND_NEAR (768u * 1024) /* round trips under 1 ms */
#define TCP_SND_MAX (4u * 1024 * 1024)
#define TCP_SUPER_HDRS 94u /* of a superframe: Ethernet, IPv4, 60 of TCP */
/* Payload of a superframe that every device takes. */
#define TCP_MEM_SHARE (64u * 1024) /* a buffer while memory is short... */
#define TCP_MEM_LEAST (16u * 1024) /* ...and very short */
#define TCP_GSO_MAX (65535u - TCP_SUPER_HDRS)
#define TCP_ACK_BULK (256u * 1024)
#define TCP_SOMAXCONN 4096
#define TCP_DUPTHRESH 3
#define TCP_DUPTHRESH_MAX 300

struct bbr;          /* cc_bbr.c */
struct tcp_reass;    /* reass.c */
struct tcp_board;    /* sack.c */
struct tcp_listener; /* listen.c */
struct tcp_zerocopy; /* zerocopy.c */
struct tcp_saved_syn {
    uint32_t len;
    uint8_t headers[120 + 14]; /* of the peer's SYN, TCP options included */
};

struct tcp_sock {
    struct sock so;              /* first */
    struct list_node due_link;   /* shared.tcp_due */
    struct list_node queue_link; /* a queue of parent->listener */
    struct tcp_sock *parent;     /* the listener that still owns us */
    struct tcp_sock *fused;      /* the other end, if it is ours (fuse.c) */
    struct tcp_listener *listener;
    struct tcp_reass *reass;
    struct tcp_board *board;
    struct tcp_saved_syn *saved_syn; /* listen.c */
    struct tcp_zerocopy *zerocopy;
    struct bufq sndq; /* [snd_buf_seq, ...): unacknowledged and unsent */
    struct bufq rcvq; /* [rcv_buf_seq, ...): in order, not yet read */
    struct timer rtx, dack, keep, cork_timer, pace;

    uint8_t state;    /* enum tcp_state */
    uint8_t ca_state; /* enum tcp_ca */
    uint8_t rtx_mode; /* enum tcp_rtx */
    uint8_t cc;       /* enum tcp_cc_kind */
    uint8_t snd_wscale, rcv_wscale;
    uint8_t backoff;     /* doublings of the RTO, or of the persist time */
    uint8_t retransmits; /* time-outs in a row without an answer */
    uint8_t probes;      /* window or keepalive probes without an answer */
    uint8_t urg_state;   /* enum tcp_urg */
    uint8_t urg_byte;
    uint8_t bulk_in; /* a long segment came, this many short ones ago at most */
    uint8_t quickack; /* this many ACKs more are not delayed */
    uint8_t syncnt, keepcnt, defer_accept; /* options; 0: the default */
    uint8_t save_syn;                      /* TCP_SAVE_SYN */
    uint8_t ecn, ecn_asked; /* enum tcp_ecn: agreed; our SYN asked for */
    uint8_t ecn_syn;        /* IP-ECN field of the peer's SYN or SYN-ACK */
    uint8_t ce_unsaid;      /* AccECN: marks seen since our last ACK */

    /* sending */
    bool syn_due : 1;      /* SYN or SYN-ACK to be sent (again) */
    bool fin_queued : 1;   /* the program will send no more */
    bool fin_sent : 1;     /* and snd_nxt is beyond the FIN */
    bool probe_due : 1;    /* window or keepalive probe to be sent */
    bool tlp_due : 1;      /* tail loss probe to be sent */
    bool tlp_out : 1;      /* one is out: no other until tlp_end is answered */
    bool tlp_resent : 1;   /* it repeated data */
    bool dsack_seen : 1;   /* the ACK at hand reports a duplicate */
    bool resend_una : 1;   /* one segment at snd_una, whatever cwnd says */
    bool force_push : 1;   /* a partial segment may go, whatever holds it */
    bool more : 1;         /* MSG_MORE on the last send */
    bool urg_sending : 1;  /* snd_up is ahead of snd_una */
    bool cwnd_limited : 1; /* cwnd stopped the last output, RFC 7661 */
    bool rtt_timing : 1;   /* rtt_seq, rtt_at are set */
    bool undo_ok : 1;      /* prior_* and undo_* describe this recovery */
    bool undo_any : 1;     /* something was retransmitted in it */
    bool reordering_seen : 1; /* frames overtake each other on this path */
    bool dsack_round_set : 1; /* dsack_round is set */
    bool nospace : 1;         /* somebody waits for room in the send buffer */
    bool pressed : 1;         /* memory is short: a small send buffer */
    bool starved : 1;         /* the arena was full: cork_timer ends the wait */
    /* receiving */
    bool announced : 1; /* the next one lies at the interface */
    bool ack_now : 1;   /* an ACK must leave with this burst */
    bool cc_paces : 1;  /* cc_rate is set */
    bool mtu_doubt : 1; /* the next MTU probe has the full size */
    bool refused : 1;   /* data was, for want of memory: no more will come */
    bool fin_rcvd : 1;  /* the peer's FIN is in rcv_nxt */
    bool dsack : 1;     /* dsack_lo, dsack_hi are to be reported */
    /* explicit congestion notification, see ecn.c */
    bool cwr : 1;         /* slowing down until ecn_end is acknowledged */
    bool ecn_cwr_due : 1; /* the next new data carries CWR */
    bool ecn_echo : 1;    /* every ACK carries ECE */
    bool ecn_seen : 1;    /* the peer has sent ECT */
    bool ecn_reflect : 1; /* AccECN: the next ACK is that of the SYN-ACK */
    bool ecn_third : 1;   /* AccECN: the next ACK may be such a one */
    bool ecn_mute : 1;    /* AccECN: marks would not be reported: no ECT */
    /* Fast Open, see fastopen.c */
    bool tfo : 1;          /* usable in SYN-RECEIVED */
    bool fo_ask : 1;       /* our SYN has the option */
    bool fo_reply : 1;     /* our SYN-ACK has a cookie */
    bool fo_exp : 1;       /* in the experimental option */
    bool fo_deferred : 1;  /* the SYN waits for the first write */
    bool fo_acked : 1;     /* data came, or was acknowledged, with a SYN */
    bool fo_connect : 1;   /* TCP_FASTOPEN_CONNECT */
    bool fo_no_cookie : 1; /* TCP_FASTOPEN_NO_COOKIE */
    /* negotiated */
    bool ts_ok : 1, sack_ok : 1, ws_ok : 1;
    bool ts_valid : 1; /* ts_recent is set */
    /* the calls */
    bool nodelay : 1, cork : 1;
    bool passive : 1;     /* came from a listener */
    bool connecting : 1;  /* connect has been called, no result told */
    bool deferred : 1;    /* TCP_DEFER_ACCEPT: no data yet */
    bool done : 1;        /* was connected: recv ends with 0, not an error */
    bool in_accept_q : 1; /* of parent, ready for accept */

    /* send sequence space, RFC 9293 section 3.3.1 */
    seq_t iss, snd_una, snd_nxt, snd_buf_seq, snd_up;
    seq_t snd_wl1, snd_wl2;
    seq_t snd_sml; /* end of the last small segment (Minshall's Nagle) */
    uint32_t snd_wnd, max_snd_wnd;
    /* receive sequence space */
    seq_t irs, rcv_nxt, rcv_buf_seq, rcv_adv; /* rcv_adv: right edge told */
    seq_t rcv_up, last_ack_sent;
    seq_t dsack_lo, dsack_hi;
    uint32_t rcv_limit; /* buffer the window may offer, if not locked */
    uint32_t drs_seq;   /* receive tuning: start of the round... */
    uint32_t drs_us;    /* ...its time, us (wraps) */
    uint32_t rcv_space; /* ...bytes the program read in the last one */

    /* segment sizes, without options */
    uint16_t mtu_low, mtu_high; /* mtu.c: known to pass; maximum searched */
    uint16_t mtu_probe;         /* size of a probe that is out */
    uint16_t probe_s;           /* s of the clock when the last one left */
    seq_t probe_end;            /* its end */
    uint16_t fo_sent;           /* bytes that our SYN took along */
    uint16_t fo_qlen;           /* TCP_FASTOPEN */
    uint16_t peer_mss, mss_base, adv_mss, rcv_mss, user_mss;
    uint16_t total_rto; /* time-outs since the connection began */
    /* timestamps, RFC 7323 */
    uint32_t ts_offset, ts_recent, ts_recent_ms;
    /* round trips, RFC 6298; us */
    uint32_t srtt8, rttvar4, rto, min_rtt; /* srtt * 8, rttvar * 4 */
    seq_t rtt_seq;
    uint32_t rtt_at; /* us */

    /* congestion, bytes; RFC 5681, RFC 6582, RFC 6675 */
    uint32_t cwnd, ssthresh, cwnd_acc;
    seq_t recover, high_rxt;
    seq_t tlp_end;             /* snd_nxt after the tail loss probe */
    uint32_t pace_max;         /* SO_MAX_PACING_RATE, bytes/s; 0: no limit */
    nstime_t pace_at;          /* nothing leaves before */
    uint32_t cwv_used, cwv_ms; /* cwv.c: most in flight since, time */
    uint16_t dupacks, dupthresh;
    uint8_t frto;        /* enum tcp_frto */
    uint8_t reo_more;    /* RACK.reo_wnd_mult - 1 of RFC 8985 section 6.1 */
    uint8_t reo_persist; /* recoveries until it is 0 again */
    uint8_t mtu_fails;   /* losses of a probe of this size */
    seq_t dsack_round;   /* reo_more grows again once this is acknowledged */
    uint32_t prior_cwnd, prior_ssthresh;
    uint32_t undo_ts;       /* our TSval at the SYN, then at the first
                             retransmission of a recovery */
    uint32_t resend_ts;     /* our TSval when snd_una was last sent again by a
                             time-out or a tail loss probe */
    seq_t undo_una;         /* snd_una at its start */
    int32_t undo_bytes;     /* retransmitted and not yet D-SACKed */
    uint32_t dsack_segs;    /* D-SACKed so far */
    seq_t ecn_end;          /* snd_nxt when cwr was set */
    uint32_t delivery_rate; /* bytes/s (rate.c) */
    union {                 /* of the congestion control */
        uint32_t cc_mem[8];
        struct {
            struct bbr *bbr;
            uint32_t cc_rate; /* if cc_paces: bytes/s, 0: no limit */
        };
    };
    uint32_t ce_in;   /* AccECN: packets that came with a CE mark... */
    uint32_t ce_told; /* ...the peer's count of ours, as far as told... */
    uint32_t ce_out;  /* ...and how many that makes */

    /* options; 0: the default */
    int16_t linger2, soft_error;  /* positive errno of a soft ICMP error */
    uint16_t keepidle, keepintvl; /* s */
    uint32_t user_timeout;        /* ms */
    uint32_t window_clamp, notsent_lowat;

    /* history; ms of the stack's clock, wrapping after 49 days */
    uint32_t rtx_since_ms; /* the peer has been silent since then */
    uint32_t snd_ms, rcv_ms, ack_ms, oow_ms;
    uint32_t total_retrans, segs_in, segs_out, data_in, data_out;
    uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retrans;
};
static_assert(sizeof(struct tcp_sock) <= 896, "an idle connection is small");

/* One segment on its way through the steps of RFC 9293 section 3.10.7.4. */
struct tcp_seg {
    const struct rxpkt *rx;
    struct tcp_hdr h;
    struct tcp_opts o;
    const uint8_t *data; /* seq, data, len, fin: after trimming */
    uint32_t len;
    seq_t seq;
    bool fin;
    bool filled;   /* data made rcv_nxt advance over a gap or filled one */
    uint32_t wnd;  /* scaled */
    uint32_t segs; /* wire segments in a superframe */
};
/* A sample of the delivery rate (rate.c). */
struct tcp_rate {
    bool valid, limited; /* limited by the program, not the path */
    uint32_t delivered;  /* bytes, in interval_us */
    uint32_t interval_us;
    uint32_t bytes_per_s;
    uint32_t prior_delivered; /* tcp_delivered() when it was sent */
    uint32_t prior_us, sent_us;
    uint32_t prior_flight; /* tcp_pipe() before the ACK */
    uint32_t lost;         /* bytes found lost with it */
    uint32_t rtt_us;       /* 0: unknown */
};
/* What one ACK tells about data in flight. */
struct tcp_news {
    seq_t fack;         /* highest number reported before it */
    uint32_t tsecr;     /* the timestamp it echoes; 0: none */
    uint32_t delivered; /* bytes that are now known to have arrived */
    uint32_t rtt_us;    /* a round trip, of the newest of them; 0: unknown */
    bool original;      /* some were sent once only, below `recover` */
    bool again;         /* some were sent more than once */
    struct tcp_rate rate;
};
/* NEXT: go on. DONE: the segment is used up, or the socket is gone. */
enum tcp_step { TCP_NEXT, TCP_STEP_DONE };

static inline struct tcp_sock *tcp_of(struct sock *so) {
    return (struct tcp_sock *)so;
}
static inline uint32_t tcp_ms(const struct stack *st) {
    return (uint32_t)(st->now / MSEC);
}
/* us of the stack's clock (wraps after 71 minutes) */
static inline uint32_t tcp_us(const struct stack *st) {
    return (uint32_t)(st->now / 1000);
}
/* Sequence number behind the last byte the program has given us. */
static inline seq_t tcp_snd_end(const struct tcp_sock *tp) {
    return tp->snd_buf_seq + tp->sndq.len;
}
static inline uint32_t tcp_flight(const struct tcp_sock *tp) {
    return tp->snd_nxt - tp->snd_una;
}
/* What is left of the window we have told the peer. */
static inline uint32_t tcp_rcv_wnd(const struct tcp_sock *tp) {
    return seq_gt(tp->rcv_adv, tp->rcv_nxt) ? tp->rcv_adv - tp->rcv_nxt : 0;
}
/* SMSS of RFC 5681: payload of a full segment, SACK options not counted. */
static inline uint32_t tcp_smss(const struct tcp_sock *tp) {
    uint32_t o = tp->ts_ok ? 12 : 0;
    return tp->mss_base > o + 8 ? tp->mss_base - o : 8;
}
/* States between the handshake and the end. */
static inline bool tcp_synchronized(const struct tcp_sock *tp) {
    return !TCP_IN(tp, CLOSE) && !TCP_IN(tp, LISTEN) && !TCP_IN(tp, SYN_SENT) &&
           !TCP_IN(tp, SYN_RECV);
}
/* Is the peer a LAN, or a neighbour on this machine, away? */
static inline bool tcp_near(const struct tcp_sock *tp) {
    return tp->min_rtt && tp->min_rtt < 1000;
}
/* May the program send and receive? */
static inline bool tcp_open(const struct tcp_sock *tp) {
    return tcp_synchronized(tp) || (tp->tfo && TCP_IN(tp, SYN_RECV));
}
static inline uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint32_t max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }
