/* repair.h: making the stack whole after a holder of the lock died (repair.c).
 * Internal to stack/.
 */
#pragma once
#include "stack/stack.h"

struct timer;

/* A timer of an object that survives, into the new wheel. */
void timer_adopt(struct stack *st, struct timer *t);
/* A timer of an object that will be dropped: not armed, in no list. */
void timer_disown(struct timer *t);
/* An empty wheel; owners adopt their timers. */
void timer_rebuild(struct stack *st);

/* alloc.c: free lists and the bitmap from the blocks themselves. */
void heap_mend(struct stack *st);
/* demux.c: all tables from shared.socks. */
void demux_rebuild(struct stack *st);
/* arp.c, frag.c: forget everything; it is learnt, or sent, again. */
void arp_reset(struct stack *st);
void frag_reset(struct stack *st);
/* udp.c: drop what is queued, without looking into it. */
void udp_reset(struct stack *st, struct sock *so);

/* tcp/repair.c: timers, queues of listeners, TIME-WAIT, who must send. */
void tcp_mend(struct stack *st);
/* A connection that cannot be trusted: RST to the peer, ECONNRESET to the
 * program; its buffers are not looked into, but lost. */
void tcp_distrust(struct stack *st, struct sock *so);
/* Has it no connection, nor ever again one? */
bool tcp_is_over(struct sock *so);
/* Nobody holds it, no listener either: it goes. */
bool tcp_is_lost(struct sock *so);
/* listen.c, timewait.c */
struct tcp_sock;
void tcp_listener_mend(struct tcp_sock *lp);
void tcp_listener_readd(struct tcp_sock *tp);
void tcp_tw_mend(struct stack *st);
void tcp_tw_readd(struct stack *st, struct sock *so);
