/* mem.c: when memory runs short (in the spirit of Linux's tcp_mem).
 *
 * Theory of operation
 *
 * One arena serves all connections. Peers that send to programs which do not
 * read, and peers that do not read what they asked for, could fill it between
 * them and starve the rest. So, with the arena's fill:
 *
 *   CALM      below 1/2   buffers are as large as tuning makes them
 *   PRESSURE  to 3/4      windows and send buffers do not grow beyond
 *                         TCP_MEM_SHARE, whatever tuning or the program said
 *   HIGH      to 15/16    a connection keeps no more than TCP_MEM_LEAST: what
 *                         comes out of order goes first, then what comes in
 *                         order beyond that, although the window was promised
 *                         (it comes again: the peer hears no ACK)
 *   FULL                  only a connection that holds nothing may take in a
 *                         segment; new connections are refused
 *
 * So an active connection, whose program reads, always moves, however many idle
 * ones sit on full buffers, and nothing here waits for anything but an
 * acknowledgement or a read: no wedge. All of it is counted.
 *
 * What is read off is the fill of the whole arena, since memory taken by others
 * is just as gone.
 */
#include "stack/tcp/tcp.h"

/* How full is the arena? */
enum tcp_mem tcp_mem_level(struct stack *st) {
    const struct heap *h = &st->sh->heap;
    size_t sixteenths =
        h->used / (((size_t)h->blocks << HEAP_BLOCK_SHIFT) / 16);
    return sixteenths < 8    ? TCP_MEM_CALM
           : sixteenths < 12 ? TCP_MEM_PRESSURE
           : sixteenths < 15 ? TCP_MEM_HIGH
                             : TCP_MEM_FULL;
}

/* Bytes that a receive buffer may hold now, of those that tuning allows. */
uint32_t tcp_mem_limit(struct stack *st, uint32_t limit) {
    enum tcp_mem level = tcp_mem_level(st);
    if (level == TCP_MEM_CALM)
        return limit;
    return min_u32(limit,
                   level == TCP_MEM_PRESSURE ? TCP_MEM_SHARE : TCP_MEM_LEAST);
}

/* May n bytes of a segment be kept? in_order: they can be read at once. */
bool tcp_mem_take(struct stack *st, const struct tcp_sock *tp, uint32_t n,
                  bool in_order) {
    enum tcp_mem level = tcp_mem_level(st);
    if (level < TCP_MEM_HIGH)
        return true;
    uint32_t held = tp->rcvq.len + tcp_reass_bytes(tp);
    bool ok = level == TCP_MEM_FULL ? in_order && !tp->rcvq.len
                                    : held + n <= TCP_MEM_LEAST;
    if (level == TCP_MEM_HIGH && in_order && !tp->rcvq.len)
        ok = true; /* a superframe */
    if (!ok && in_order)
        COUNT(st, tcp_mem_dropped);
    else if (!ok)
        COUNT(st, tcp_mem_pruned);
    return ok;
}

/* The program gives data, or waits to: is there little memory? The answer is
 * kept, so that "writable" changes by events alone. */
void tcp_mem_press(struct stack *st, struct tcp_sock *tp) {
    bool pressed = tcp_mem_level(st) != TCP_MEM_CALM;
    if (pressed && !tp->pressed)
        COUNT(st, tcp_mem_pressed);
    tp->pressed = pressed;
}
