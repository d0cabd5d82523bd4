/* mtu.c: path MTU without ICMP: packetization layer path MTU discovery
 * (RFC 8899, RFC 4821), with the rules of Linux's tcp_mtu_probing.
 *
 * Theory of operation
 *
 * A path may drop long packets and say nothing: a black hole. Every
 * retransmission of a long segment then vanishes as well, and the connection
 * dies although short ones would pass. After BLACK_HOLE time-outs in a row
 * (with tcp_mtu_probing=1, the default; with 2 from the start) segments shrink
 * to tcp_base_mss, and by half with each further time-out.
 *
 * From there a search goes up between mtu_low, which passes, and mtu_high: now
 * and then one segment of a size in the middle leaves as part of the stream. If
 * it is acknowledged, mtu_low moves up to it. If it is lost, it is sent again in
 * pieces without slowing down, since the loss was of our making (RFC 8899
 * section 3, item 7), and after MAX_PROBES losses mtu_high moves below it. The
 * search ends when less than THRESHOLD bytes are between the two, and starts
 * again after ten minutes.
 *
 *   mtu_low = 0     not at work
 *   mtu_probe > 0   a probe is out; it ends at probe_end
 *   mtu_doubt       the next one has the full size
 *
 * A probe needs enough data behind it to show its loss soon, and a window that
 * can take the loss. But time-outs in a row are the work of plain losses more
 * often than of a black hole: so the first segment that leaves after them is a
 * probe of the full size, with no conditions. Sizes are those of mss_base: payload and options.
 */
#include "stack/tcp/tcp.h"

#define BLACK_HOLE 3  /* time-outs; Linux's tcp_retries1 */
#define THRESHOLD 8   /* Linux's tcp_probe_threshold */
#define LEAST 512u    /* Linux's min_pmtu less headers; shorter is no use */
#define REPROBE_S 600 /* tcp_probe_interval, RFC 8899 PMTU_RAISE_TIMER */
#define MAX_PROBES 3  /* RFC 8899 section 5.1.2 */
#define PROBE_CWND 11 /* segments; as Linux */

/* Seconds of the stack's clock (wraps after 18 hours). */
static uint16_t clock_s(const struct stack *st) {
    return (uint16_t)(st->now / SEC);
}

/* Begin the search at the base size. */
static void begin(struct stack *st, struct tcp_sock *tp) {
    tp->mtu_high = tp->mss_base;
    tp->mtu_low = (uint16_t)min_u32(TUNED(st, BASE_MSS), tp->mss_base);
    tp->probe_s = clock_s(st);
}

/* The handshake is complete. */
void tcp_mtu_start(struct stack *st, struct tcp_sock *tp) {
    tp->mtu_low = tp->mtu_probe = 0;
    if (TUNED(st, MTU_PROBING) < 2 || !tp->so.mtu_discover)
        return;
    begin(st, tp);
    tcp_sync_mss(st, tp);
}

/* A probe's fate is known: lost. */
static void failed(struct stack *st, struct tcp_sock *tp) {
    COUNT(st, tcp_mtu_probes_lost);
    if (++tp->mtu_fails >= MAX_PROBES) {
        tp->mtu_high = (uint16_t)(tp->mtu_probe - 1);
        tp->mtu_fails = 0;
        tp->mtu_doubt = false;
    }
    tp->mtu_probe = 0;
}

/* A retransmission time-out: is it a black hole? */
void tcp_mtu_timeout(struct stack *st, struct tcp_sock *tp) {
    if (tp->mtu_probe)
        failed(st, tp);
    if (!TUNED(st, MTU_PROBING) || !tp->so.mtu_discover ||
        tp->retransmits < BLACK_HOLE || tp->mss_base <= TCP_MSS_MIN)
        return;
    if (!tp->mtu_low)
        begin(st, tp);
    else
        tp->mtu_low =
            (uint16_t)max_u32(min_u32(tp->mtu_low / 2, TUNED(st, BASE_MSS)),
                              TCP_MSS_MIN);
    uint16_t before = tp->mss_base;
    tcp_sync_mss(st, tp);
    if (tp->mss_base >= before)
        return;
    tp->mtu_doubt = true;
    tp->mtu_fails = 0;
    COUNT(st, tcp_black_holes);
}

/* snd_una has moved. */
void tcp_mtu_acked(struct stack *st, struct tcp_sock *tp) {
    if (!tp->mtu_probe || seq_lt(tp->snd_una, tp->probe_end))
        return;
    tp->mtu_low = tp->mtu_probe;
    tp->mtu_probe = tp->mtu_fails = 0;
    tp->mtu_doubt = false;
    tcp_sync_mss(st, tp);
    COUNT(st, tcp_mtu_raised);
}

/* A loss was found while nothing else is amiss: is it the probe's, and nothing
 * else's? */
bool tcp_mtu_probe_lost(struct stack *st, struct tcp_sock *tp) {
    if (!tp->mtu_probe || seq_geq(tp->snd_una, tp->probe_end) ||
        tp->probe_end - tp->snd_una > tp->mtu_probe ||
        tcp_board_lost(tp) > tp->probe_end - tp->snd_una)
        return false;
    failed(st, tp);
    return true;
}

/* Ten minutes after the last search what was too long may pass. */
static void search_again(struct stack *st, struct tcp_sock *tp) {
    if ((uint16_t)(clock_s(st) - tp->probe_s) < REPROBE_S)
        return;
    uint16_t low = tp->mtu_low;
    tp->mtu_low = UINT16_MAX; /* what would it be without the search? */
    tcp_sync_mss(st, tp);
    tp->mtu_high = tp->mss_base;
    tp->mtu_low = low;
    tcp_sync_mss(st, tp);
    tp->probe_s = clock_s(st);
}

/* New data is about to leave, so many bytes as far as the peer is concerned:
 * shall the first of it be a probe? Returns its size as mss_base has it, or 0. */
uint16_t tcp_mtu_probe_size(struct stack *st, struct tcp_sock *tp,
                            uint32_t data) {
    if (!tp->mtu_low || tp->mtu_probe || tp->ca_state != TCP_CA_OPEN ||
        tcp_board_bytes(tp) || tp->dupacks || tp->urg_sending)
        return 0;
    if (tp->mtu_high < tp->mtu_low + THRESHOLD) {
        search_again(st, tp);
        return 0;
    }
    if (tp->mtu_doubt)
        return data >= tp->mtu_high ? tp->mtu_high : 0;
    uint16_t size = (uint16_t)((tp->mtu_low + tp->mtu_high + 1) / 2);
    uint32_t behind = (tp->dupthresh + 1u) * tcp_smss(tp);
    if (data < size + behind || tp->cwnd < PROBE_CWND * tcp_smss(tp))
        return 0;
    return size;
}

/* It has left: n bytes of payload at snd_nxt. */
void tcp_mtu_probe_sent(struct stack *st, struct tcp_sock *tp, uint16_t size,
                        uint32_t n) {
    tp->mtu_probe = size;
    tp->probe_end = tp->snd_nxt + n;
    tp->probe_s = clock_s(st);
    COUNT(st, tcp_mtu_probes);
}
