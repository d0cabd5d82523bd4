/* tcp.h: how TCP works, and who calls whom. Internal to stack/tcp/.
 *
 * Theory of operation
 *
 * A `struct tcp_sock` is a socket and its TCB (RFC 9293, section 3.3.1) in one
 * piece of arena memory. An idle connection is that struct and nothing more
 * (static_assert in tcb.h): buffers, the out-of-order queue, the SACK scoreboard
 * and what a listener needs are allocated when they are first used and given
 * back when they are empty.
 *
 * Nothing is sent while something is being decided. Input, timers and calls
 * only change the TCB and put the socket on shared.tcp_due (tcp_mark_due);
 * tcp_send_due, at the end of a burst or of a call, lets each due socket send
 * once (output.c). So an ACK rides on data, one ACK answers a whole burst, and
 * acknowledged memory is never freed while a frame of the same batch still
 * points into it: frames with payload are made in tcp_send_due alone, and
 * stack_flush follows it. Segments without payload that belong to no
 * connection, resets and challenge ACKs are made on the spot (segment.c).
 *
 * Retransmission never moves snd_nxt back. What was sent and not acknowledged
 * is [snd_una, snd_nxt); the scoreboard (sack.c) knows which ranges arrived,
 * recovery.c which of the rest count as lost, and output.c fills holes from
 * high_rxt on, before it sends anything new.
 *
 * Life: created by stack_socket or by a listener (listen.c). tcp_done takes it
 * out of every table when the protocol ends; the memory goes when the program
 * has closed it as well, whichever comes last. TIME-WAIT is a smaller struct
 * that takes the tuple over (timewait.c).
 *
 * Congestion control is a table of functions (cc.h), chosen by tp->cc.
 *
 * A function that may end in tcp_done for a closed socket returns something
 * that tells the caller to keep its hands off (enum tcp_step, or bool).
 */
#pragma once
#include "stack/tcp/tcb.h"

/* tcb.c: life of a TCB */
void tcp_mark_due(struct stack *st, struct tcp_sock *tp);
void tcp_tcb_init(struct stack *st, struct tcp_sock *tp);
/* The protocol is over: no timers, in no table, buffers to send gone. Frees
 * the socket when the program has closed it; true then. */
bool tcp_done(struct stack *st, struct tcp_sock *tp);
/* tcp_done with an error (positive errno) for the program. */
bool tcp_fail(struct stack *st, struct tcp_sock *tp, int err);
/* Send RST if the peer has heard of us, then tcp_fail. err may be 0. */
bool tcp_abort(struct stack *st, struct tcp_sock *tp, int err);
void tcp_free(struct stack *st, struct tcp_sock *tp);
void tcp_establish(struct stack *st, struct tcp_sock *tp);

/* segment.c: one segment out */
int tcp_xmit(struct stack *st, struct tcp_sock *tp, seq_t seq, uint32_t len,
             uint16_t flags);
void tcp_xmit_ack(struct stack *st, struct tcp_sock *tp);
void tcp_xmit_reset(struct stack *st, struct tcp_sock *tp);
/* ACK for an unacceptable segment, limited in rate (RFC 5961 section 7). */
void tcp_challenge_ack(struct stack *st, struct tcp_sock *tp,
                       const struct tcp_seg *seg);
/* RST in answer to a segment that belongs to nobody. */
void tcp_reply_reset(struct stack *st, const struct tcp_seg *seg);
int tcp_xmit_raw(struct stack *st, const struct ip_tx *tx,
                 const struct tcp_hdr *h, const struct tcp_opts *o);

/* output.c: what to send now */
void tcp_output(struct stack *st, struct tcp_sock *tp);
uint32_t tcp_eff_mss(const struct tcp_sock *tp);
void tcp_sync_mss(struct stack *st, struct tcp_sock *tp);

/* window.c: the window we offer, the buffers */
uint32_t tcp_rcv_limit(const struct tcp_sock *tp);
uint32_t tcp_select_window(struct stack *st, struct tcp_sock *tp);
void tcp_rcv_consumed(struct stack *st, struct tcp_sock *tp);
void tcp_ack_policy(struct stack *st, struct tcp_sock *tp,
                    const struct tcp_seg *seg, uint32_t taken);
uint32_t tcp_snd_limit(const struct tcp_sock *tp);
uint32_t tcp_snd_space(const struct tcp_sock *tp);
bool tcp_writable(const struct tcp_sock *tp);
void tcp_write_space(struct stack *st, struct tcp_sock *tp);

/* place.c */
uint32_t tcp_take_placed(struct stack *st, struct tcp_sock *tp,
                         const struct tcp_seg *seg);

/* input*.c: the steps */
enum tcp_step tcp_input_syn_sent(struct stack *st, struct tcp_sock *tp,
                                 struct tcp_seg *seg);
enum tcp_step tcp_step_sequence(struct stack *st, struct tcp_sock *tp,
                                struct tcp_seg *seg);
enum tcp_step tcp_step_rst(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg);
enum tcp_step tcp_step_syn(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg);
enum tcp_step tcp_step_ack(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg);
enum tcp_step tcp_step_urg(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg);
enum tcp_step tcp_step_text(struct stack *st, struct tcp_sock *tp,
                            struct tcp_seg *seg);
enum tcp_step tcp_step_fin(struct stack *st, struct tcp_sock *tp,
                           struct tcp_seg *seg);
void tcp_input_steps(struct stack *st, struct tcp_sock *tp,
                     struct tcp_seg *seg);
void tcp_take_syn_options(struct stack *st, struct tcp_sock *tp,
                          const struct tcp_seg *seg);

/* ecn.c: explicit congestion notification */
void tcp_ecn_take_syn(struct stack *st, struct tcp_sock *tp,
                      const struct tcp_seg *seg);
void tcp_ecn_take_synack(struct tcp_sock *tp, const struct tcp_seg *seg);
void tcp_ecn_take_third(struct tcp_sock *tp, const struct tcp_seg *seg);
uint16_t tcp_ecn_out(struct stack *st, struct tcp_sock *tp, uint16_t flags,
                     bool fresh, uint8_t *tos);
bool tcp_ecn_alone(const struct tcp_sock *tp, bool fresh);
void tcp_ecn_in(struct stack *st, struct tcp_sock *tp,
                const struct tcp_seg *seg);
void tcp_ecn_ack(struct stack *st, struct tcp_sock *tp,
                 const struct tcp_seg *seg);

/* recovery.c: what counts as lost, and when it is over */
void tcp_recovery_ack(struct stack *st, struct tcp_sock *tp,
                      const struct tcp_seg *seg, uint32_t acked,
                      uint32_t sacked, bool dup, const struct tcp_news *news);
/* ECN tells of congestion: slow down, once in a window. True: so we do. */
bool tcp_recovery_ecn(struct stack *st, struct tcp_sock *tp);
void tcp_recovery_timeout(struct stack *st, struct tcp_sock *tp);
/* The reordering window is over: what is missing now is lost. */
void tcp_recovery_reo_timeout(struct stack *st, struct tcp_sock *tp);
/* All that is in flight must be sent again, at no fault of the network. */
void tcp_recovery_resend(struct stack *st, struct tcp_sock *tp);
/* Bytes that count as lost, sent again or not. */
uint32_t tcp_lost_bytes(const struct tcp_sock *tp);
uint32_t tcp_pipe(const struct tcp_sock *tp);
/* The next range to retransmit; false if there is none. */
bool tcp_next_hole(const struct tcp_sock *tp, seq_t *lo, seq_t *hi);
/* A tail loss probe has been answered, or overtaken by events. */
void tcp_recovery_probe_ack(struct stack *st, struct tcp_sock *tp,
                            const struct tcp_seg *seg);
void tcp_retransmitted(struct stack *st, struct tcp_sock *tp, seq_t lo,
                       seq_t hi);

/* sack.c: the scoreboard of what is in flight */
void tcp_board_sent(struct stack *st, struct tcp_sock *tp, seq_t hi);
void tcp_board_resent(struct stack *st, struct tcp_sock *tp, seq_t lo,
                      seq_t hi);
uint32_t tcp_board_update(struct stack *st, struct tcp_sock *tp,
                          const struct tcp_seg *seg, struct tcp_news *news);
void tcp_board_ack(struct stack *st, struct tcp_sock *tp,
                   struct tcp_news *news);
void tcp_board_free(struct stack *st, struct tcp_sock *tp);
void tcp_board_mark_lost(struct stack *st, struct tcp_sock *tp, seq_t to);
void tcp_board_forget(struct tcp_sock *tp, bool reports);
uint32_t tcp_board_bytes(const struct tcp_sock *tp);
uint32_t tcp_board_lost(const struct tcp_sock *tp);
uint32_t tcp_board_again(const struct tcp_sock *tp);
seq_t tcp_board_highest(const struct tcp_sock *tp);
bool tcp_board_hole(const struct tcp_sock *tp, seq_t *lo, seq_t *hi);
bool tcp_board_reneged(const struct tcp_sock *tp);

/* rack.c: losses told by time; the board exists, but for tcp_rack_dsack and
 * tcp_rack_recovered */
void tcp_rack_delivered(struct stack *st, struct tcp_sock *tp, uint32_t i,
                        seq_t end, struct tcp_news *news);
void tcp_rack_dsack(struct tcp_sock *tp);
void tcp_rack_recovered(struct tcp_sock *tp);
uint32_t tcp_rack_detect(struct stack *st, struct tcp_sock *tp, uint32_t *wait);
void tcp_rack_timeout(struct stack *st, struct tcp_sock *tp);

/* prr.c: the rate of a fast recovery */
void tcp_prr_start(struct tcp_sock *tp, uint32_t delivered);
void tcp_prr_ack(struct tcp_sock *tp, uint32_t delivered, bool safe);
void tcp_prr_sent(struct tcp_sock *tp, uint32_t bytes);

/* mem.c: when memory runs short */
enum tcp_mem { TCP_MEM_CALM, TCP_MEM_PRESSURE, TCP_MEM_HIGH, TCP_MEM_FULL };
enum tcp_mem tcp_mem_level(struct stack *st);
uint32_t tcp_mem_limit(struct stack *st, uint32_t limit);
bool tcp_mem_take(struct stack *st, const struct tcp_sock *tp, uint32_t n,
                  bool in_order);
void tcp_mem_press(struct stack *st, struct tcp_sock *tp);

/* mtu.c: path MTU without ICMP */
void tcp_mtu_start(struct stack *st, struct tcp_sock *tp);
void tcp_mtu_timeout(struct stack *st, struct tcp_sock *tp);
void tcp_mtu_acked(struct stack *st, struct tcp_sock *tp);
bool tcp_mtu_probe_lost(struct stack *st, struct tcp_sock *tp);
uint16_t tcp_mtu_probe_size(struct stack *st, struct tcp_sock *tp,
                            uint32_t data);
void tcp_mtu_probe_sent(struct stack *st, struct tcp_sock *tp, uint16_t size,
                        uint32_t n);

/* rate.c: the delivery rate */
uint32_t tcp_delivered(const struct tcp_sock *tp);
void tcp_rate_ack(struct stack *st, struct tcp_sock *tp, struct tcp_news *news);
void tcp_rate_limited(struct tcp_sock *tp);
uint32_t tcp_board_lost_ever(const struct tcp_sock *tp);

/* pace.c: SO_MAX_PACING_RATE, and the rate of congestion control */
void tcp_pace_set(struct stack *st, struct tcp_sock *tp, uint32_t rate);
/* The lower of the two rates counts, bytes/s; 0: no limit. */
static inline uint32_t tcp_pace_rate(const struct tcp_sock *tp) {
    uint32_t cc = tp->cc_paces ? tp->cc_rate : 0;
    return tp->pace_max && cc ? min_u32(tp->pace_max, cc)
                              : max_u32(tp->pace_max, cc);
}
/* Bytes that leave at once. */
uint32_t tcp_pace_piece(const struct tcp_sock *tp, uint32_t mss);
uint32_t tcp_pace_limit(struct stack *st, struct tcp_sock *tp, uint32_t n,
                        uint32_t mss);
void tcp_pace_sent(struct stack *st, struct tcp_sock *tp, uint32_t n);

/* cwv.c: a window that is not used does not last */
void tcp_cwv_idle(struct stack *st, struct tcp_sock *tp, uint32_t mss);
bool tcp_cwv_valid(const struct tcp_sock *tp, uint32_t acked);
void tcp_cwv_sent(struct stack *st, struct tcp_sock *tp, uint32_t mss);

/* frto.c: time-outs that were needless */
void tcp_frto_start(struct tcp_sock *tp, bool again);
bool tcp_frto_ack(struct tcp_sock *tp, uint32_t acked,
                  const struct tcp_news *news);

/* reass.c: data that came out of order, and the SACK blocks about it */
bool tcp_reass_insert(struct stack *st, struct tcp_sock *tp, seq_t seq,
                      const uint8_t *data, uint32_t len, bool fin);
bool tcp_reass_drain(struct stack *st, struct tcp_sock *tp);
void tcp_reass_free(struct stack *st, struct tcp_sock *tp);
bool tcp_reass_empty(const struct tcp_sock *tp);
bool tcp_reass_fin_next(const struct tcp_sock *tp);
uint32_t tcp_reass_bytes(const struct tcp_sock *tp);
unsigned tcp_reass_blocks(const struct tcp_sock *tp, struct tcp_sack *b,
                          unsigned max);

/* fuse.c: connections of this stack with itself */
void tcp_fuse(struct stack *st, struct tcp_sock *tp);
void tcp_unfuse(struct stack *st, struct tcp_sock *tp);
uint32_t tcp_fuse_send(struct stack *st, struct tcp_sock *tp,
                       const struct iovec *iov, int niov, size_t want,
                       uint32_t flags);
bool tcp_fuse_output(struct stack *st, struct tcp_sock *tp, uint32_t n);
bool tcp_fuse_pull(struct stack *st, struct tcp_sock *tp);
uint32_t tcp_loan(struct stack *st, struct sock *so, size_t want,
                  struct bufq *q);
ssize_t tcp_repay(struct stack *st, struct sock *so, struct bufq *q);

/* rtt.c */
void tcp_rtt_sample(struct tcp_sock *tp, uint32_t us);
void tcp_rtt_on_ack(struct stack *st, struct tcp_sock *tp,
                    const struct tcp_seg *seg);
nstime_t tcp_rto_ns(const struct tcp_sock *tp);

/* timer.c */
void tcp_arm_rtx(struct stack *st, struct tcp_sock *tp);
void tcp_arm_reo(struct stack *st, struct tcp_sock *tp, uint32_t us);
void tcp_arm_persist(struct stack *st, struct tcp_sock *tp);
void tcp_arm_keepalive(struct stack *st, struct tcp_sock *tp);
/* No memory for data of the program: call it again in a while. */
void tcp_arm_starved(struct stack *st, struct tcp_sock *tp);
void tcp_arm_fin_wait2(struct stack *st, struct tcp_sock *tp);

/* listen.c */
void tcp_listen_input(struct stack *st, struct tcp_sock *lp,
                      struct tcp_seg *seg, const seq_t *iss);
int tcp_listen(struct stack *st, struct sock *so, int backlog);
int tcp_accept(struct stack *st, struct sock *so, struct sock **out);
void tcp_listen_stop(struct stack *st, struct tcp_sock *lp);
bool tcp_listen_ready(const struct tcp_sock *lp);
uint32_t tcp_listen_queue(const struct tcp_sock *lp, uint32_t *backlog);
/* The handshake of a child is complete. False: its listener has no room. */
bool tcp_child_established(struct stack *st, struct tcp_sock *tp);
void tcp_child_undefer(struct stack *st, struct tcp_sock *tp);
void tcp_saved_syn_free(struct stack *st, struct tcp_sock *tp);
/* Leave the listener's queues. */
void tcp_child_forget(struct tcp_sock *tp);
bool tcp_child_queued(const struct tcp_sock *tp);

/* cookie.c: SYN cookies */
seq_t tcp_cookie_make(struct stack *st, const struct endpoint *local,
                      const struct endpoint *remote, seq_t peer_iss,
                      uint16_t *mss);
uint16_t tcp_cookie_check(struct stack *st, const struct endpoint *local,
                          const struct endpoint *remote, seq_t peer_iss,
                          seq_t iss);
uint32_t tcp_cookie_ts(const struct tcp_sock *tp, uint32_t now);
bool tcp_cookie_options(uint32_t tsecr, struct tcp_opts *o);

/* fastopen.c */
enum tcp_fo tcp_fo_listen(struct stack *st, const struct tcp_sock *lp,
                          const struct tcp_seg *seg, uint32_t waiting);
void tcp_fo_open(struct stack *st, struct tcp_sock *tp,
                 const struct tcp_seg *seg);
bool tcp_fo_ready(struct stack *st, const struct tcp_sock *tp);
uint32_t tcp_fo_room(struct stack *st, const struct tcp_sock *tp);
uint32_t tcp_fo_syn_len(struct stack *st, struct tcp_sock *tp);
void tcp_fo_option(struct stack *st, const struct tcp_sock *tp, bool answer,
                   struct tcp_opts *o);
void tcp_fo_take_synack(struct stack *st, struct tcp_sock *tp,
                        const struct tcp_seg *seg);
ssize_t tcp_fo_send(struct stack *st, struct tcp_sock *tp,
                    const struct iovec *iov, int niov, size_t want,
                    const struct stack_msg *m);

/* timewait.c */
void tcp_time_wait(struct stack *st, struct tcp_sock *tp);
/* True: a new SYN that may have the tuple; *iss is where to start then, and
 * the TIME-WAIT is gone. */
bool tcp_tw_input(struct stack *st, struct sock *so, struct tcp_seg *seg,
                  seq_t *iss);
void tcp_tw_timer(struct stack *st);

/* isn.c */
/* iss (from *given, or RFC 6528) and everything that follows from it. */
void tcp_start_numbers(struct stack *st, struct tcp_sock *tp,
                       const seq_t *given);
seq_t tcp_isn(struct stack *st, const struct endpoint *local,
              const struct endpoint *remote);
uint32_t tcp_ts_offset(struct stack *st, const struct ip_addr *local,
                       const struct ip_addr *remote);
static inline uint32_t tcp_ts_now(const struct stack *st, uint32_t offset) {
    return tcp_ms(st) + offset;
}

/* zerocopy.c */
int tcp_zerocopy(struct stack *st, struct sock *so);
void tcp_zerocopy_sent(struct stack *st, struct sock *so, size_t n);
void tcp_zerocopy_acked(struct stack *st, struct tcp_sock *tp);
void tcp_zerocopy_abort(struct stack *st, struct tcp_sock *tp);
void tcp_zerocopy_free(struct stack *st, struct tcp_sock *tp);
/* Is there an entry to be read with MSG_ERRQUEUE? */
bool tcp_zerocopy_waits(const struct tcp_sock *tp);
ssize_t tcp_zerocopy_recv(struct stack *st, struct tcp_sock *tp,
                          struct stack_msg *m);

/* connect.c, user_send.c, user_recv.c, close.c, option.c, ready.c, info.c */
int tcp_connect(struct stack *st, struct sock *so, const struct endpoint *to);
int tcp_connect_again(struct stack *st, struct tcp_sock *tp);
int tcp_disconnect(struct stack *st, struct tcp_sock *tp);
int tcp_connect_result(struct stack *st, struct sock *so);
ssize_t tcp_send(struct stack *st, struct sock *so, const struct iovec *iov,
                 int niov, uint32_t flags, const struct stack_msg *m);
/* May data be given now? 0 or -errno. */
int tcp_can_send(struct tcp_sock *tp);
uint32_t tcp_take(struct stack *st, struct sock *so, size_t want,
                  struct bufq *q);
ssize_t tcp_recv(struct stack *st, struct sock *so, const struct iovec *iov,
                 int niov, uint32_t flags, struct stack_msg *m);
int tcp_shutdown(struct stack *st, struct sock *so, enum stack_how how);
void tcp_close(struct stack *st, struct sock *so);
bool tcp_unsent(struct stack *st, struct sock *so);
uint32_t tcp_ready(struct stack *st, struct sock *so);
uint32_t tcp_readable_bytes(const struct tcp_sock *tp);
/* Tell watchers that data came, unless SO_RCVLOWAT asks for more. */
void tcp_data_event(struct stack *st, struct tcp_sock *tp);
int tcp_setopt(struct stack *st, struct sock *so, enum stack_opt opt,
               int64_t v);
int tcp_getopt(struct stack *st, struct sock *so, enum stack_opt opt,
               int64_t *v);
