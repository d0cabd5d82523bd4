/* rtt.c: round-trip times and the retransmission time-out (RFC 6298).
 *
 * One segment at a time is timed with the stack's own clock (ns), and never one
 * that was retransmitted (Karn's algorithm, section 3). When no such sample is
 * to be had, during recovery, the echoed timestamp gives one (RFC 7323 section
 * 4), which is safe for retransmissions too but knows milliseconds only.
 *
 * As Linux: RTO = SRTT + max(4 * RTTVAR, 200 ms), where RFC 6298 2.4 asks for
 * at least one second in all.
 */
#include "stack/tcp/tcp.h"

/* RFC 6298 section 2, rules 2.2 and 2.3; us. Scaled: srtt8 = 8 * SRTT,
 * rttvar4 = 4 * RTTVAR. */
void tcp_rtt_sample(struct tcp_sock *tp, uint32_t us) {
    us = max_u32(min_u32(us, TCP_RTO_MAX_US), 1);
    if (!tp->min_rtt || us < tp->min_rtt)
        tp->min_rtt = us;
    if (!tp->srtt8) {
        tp->srtt8 = us * 8;
        tp->rttvar4 = us * 2;
    } else {
        int32_t err = (int32_t)us - (int32_t)(tp->srtt8 >> 3);
        tp->srtt8 = (uint32_t)((int32_t)tp->srtt8 + err);
        uint32_t dev = (uint32_t)(err < 0 ? -err : err);
        tp->rttvar4 += dev - (tp->rttvar4 >> 2);
    }
    uint32_t rto = (tp->srtt8 >> 3) + max_u32(tp->rttvar4, TCP_RTO_MIN_US);
    tp->rto = min_u32(rto, TCP_RTO_MAX_US);
    tp->backoff = 0; /* section 5: only a new sample ends it */
}

/* Is the echo older than the last copy of the data? Then the peer had it from
 * an earlier one and its ACK was lost; what it echoes now (TS.Recent, which a
 * duplicate does not move, RFC 7323 section 4.3) counts that wait as well. One
 * such sample in an outage would push the RTO to its maximum. */
static bool ambiguous(const struct tcp_sock *tp, uint32_t tsecr) {
    return (tp->retransmits || (tp->tlp_out && tp->tlp_resent)) &&
           seq_lt(tsecr, tp->resend_ts);
}

/* New data was acknowledged: take a sample if there is one. */
void tcp_rtt_on_ack(struct stack *st, struct tcp_sock *tp,
                    const struct tcp_seg *seg) {
    if (tp->rtt_timing && seq_geq(seg->h.ack, tp->rtt_seq)) {
        tp->rtt_timing = false;
        tcp_rtt_sample(tp, min_u32(tcp_us(st) - tp->rtt_at, TCP_RTO_MAX_US));
    } else if (!tp->rtt_timing && tp->ts_ok && seg->o.ts && seg->o.tsecr &&
               ambiguous(tp, seg->o.tsecr)) {
        /* No sample. With a D-SACK this answers the last copy, so the wait
         * was for a lost ACK: the path is no slower, and Karn's caution about
         * the backoff has no object. */
        if (tp->dsack_seen)
            tp->backoff = 0;
    } else if (!tp->rtt_timing && tp->ts_ok && seg->o.ts && seg->o.tsecr) {
        uint32_t ms = tcp_ts_now(st, tp->ts_offset) - seg->o.tsecr;
        if (ms < TCP_RTO_MAX_US / 1000)
            tcp_rtt_sample(tp, max_u32(ms, 1) * 1000);
    }
}

/* The time-out with its backoff (RFC 6298 rule 5.5). */
nstime_t tcp_rto_ns(const struct tcp_sock *tp) {
    uint64_t us = (uint64_t)tp->rto << min_u32(tp->backoff, 20);
    return (us < TCP_RTO_MAX_US ? us : TCP_RTO_MAX_US) * 1000;
}
