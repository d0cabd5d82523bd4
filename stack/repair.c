/* repair.c: making the stack whole after a holder of the lock died.
 *
 * Theory of operation
 *
 * A process can be killed between any two instructions, so whatever it was
 * changing may be half changed. What can be relied on:
 *
 *   shared.busy names the socket that was being worked on. It is set before
 *       each call, segment, timer and output, and one socket's work is over
 *       before the next one's begins.
 *   lists are changed in an order that leaves their forward pointers whole at
 *       each moment (list.h): only `prev` and counts may be wrong.
 *   shared.socks therefore has every socket, but for one whose making or
 *       freeing was under way, which nobody can have a handle on, and one that
 *       close was moving to the front (shared.moving).
 *
 * So everything that is a view of the sockets is made anew from that list: the
 * port and tuple tables, the timer wheel (its sorting uses lists in private
 * memory, which are gone), the queues of listeners, TIME-WAIT, and who has
 * something to send. Free memory is found again from the blocks of the heap.
 * Neighbours and fragments are forgotten: they are asked for, or sent, again.
 * The busy socket itself is not trusted: a connection is reset on both sides,
 * the queues of a datagram socket are emptied, and what memory they held is
 * lost rather than followed. A listener is kept: what it holds are children,
 * which are sockets themselves.
 *
 * Frames that the dead process had built and not sent are lost, as on a bad
 * wire.
 *
 * The layer above then says which sockets still have a program
 * (stack_repair_hold); a connection without one that was never closed has been
 * lost on its way out of accept, and is reset (stack_repair_end).
 */
#include "stack/repair.h"

#include "stack/pollset.h"
#include "stack/shared.h"
#include "stack/sock.h"

/* Could n be a node in the arena? */
static bool plausible(const struct stack *st, const struct list_node *n) {
    uintptr_t at = (uintptr_t)n, base = (uintptr_t)st->sh->base;
    return at >= base && at + sizeof(*n) <= base + st->sh->size && at % 8 == 0;
}

/* A chain that leaves the arena, or does not end, is cut. */
unsigned list_mend(struct stack *st, struct list *l) {
    unsigned n = 0, most = (unsigned)(st->sh->size / sizeof(struct list_node));
    struct list_node *at = &l->head;
    while (at->next != &l->head) {
        if (!plausible(st, at->next) || n++ > most) {
            COUNT(st, repair_cut);
            at->next = &l->head;
            break;
        }
        at->next->prev = at;
        at = at->next;
    }
    l->head.prev = at;
    return n;
}

/* Watchers, by way of them the poll sets, of one socket. */
static void mend_watchers(struct stack *st, struct sock *so) {
    list_mend(st, &so->src.watchers);
    so->held = false;
}

void stack_pollset_mend(struct stack *st, struct pollset *ps) {
    list_mend(st, &ps->src.watchers);
    ps->count = list_mend(st, &ps->items);
    list_mend(st, &ps->ready);
}

/* The socket that was being worked on; false: its memory is gone already. */
static bool still_there(struct stack *st, const struct sock *busy) {
    list_for_each(n,
                  &st->sh->socks) if (container_of(n, struct sock, all_link) ==
                                      busy) return true;
    return false;
}

static void distrust(struct stack *st, struct sock *so) {
    COUNT(st, repair_reset);
    if (so->kind == SOCK_TCP)
        tcp_distrust(st, so);
    else if (so->kind == SOCK_UDP || so->kind == SOCK_PING ||
             so->kind == SOCK_RAWIP)
        udp_reset(st, so);
}

/* Back into the list, if close was killed between its two steps. */
static void finish_move(struct stack *st) {
    struct sock *so = st->sh->moving;
    if (so && !still_there(st, so))
        list_push_front(&st->sh->socks, &so->all_link);
    st->sh->moving = NULL;
}

/* Closed, and nothing that would end by itself: its close was under way. */
static struct sock *first_half_closed(struct stack *st) {
    list_for_each(n, &st->sh->socks) {
        struct sock *so = container_of(n, struct sock, all_link);
        if (so->closed && so->kind != SOCK_TCP_TW &&
            (so->kind != SOCK_TCP || tcp_is_over(so)))
            return so;
    }
    return NULL;
}

void stack_repair(struct stack *st) {
    struct shared *sh = st->sh;
    struct sock *busy = sh->busy;
    COUNT(st, repairs);
    heap_mend(st);
    list_mend(st, &sh->socks);
    finish_move(st);
    list_mend(st, &sh->raw);
    list_init(&sh->wake);
    list_for_each(n, &sh->socks)
        mend_watchers(st, container_of(n, struct sock, all_link));
    timer_rebuild(st);
    arp_reset(st);
    frag_reset(st);
    list_init(&sh->loop); /* lost on the wire, and its memory with it */
    sh->loop_bytes = 0;
    demux_rebuild(st);
    tcp_mend(st);
    sh->busy = NULL;
    if (busy && still_there(st, busy))
        distrust(st, busy);
    while ((busy = first_half_closed(st)) != NULL)
        stack_close(st, busy);
}

void stack_repair_hold(struct sock *so) { so->held = true; }

/* Open, but nobody has it. */
static struct sock *first_lost(struct stack *st) {
    list_for_each(n, &st->sh->socks) {
        struct sock *so = container_of(n, struct sock, all_link);
        if (!so->held && !so->closed && so->kind != SOCK_TCP_TW &&
            (so->kind != SOCK_TCP || tcp_is_lost(so)))
            return so;
    }
    return NULL;
}

unsigned stack_repair_end(struct stack *st) {
    unsigned lost = 0;
    struct sock *so;
    while ((so = first_lost(st)) != NULL) {
        lost++;
        COUNT(st, repair_lost);
        so->linger = 0; /* reset, not an orderly end */
        stack_close(st, so);
    }
    return lost;
}
