/* stats.c: looking at a running stack; see stats.h. */
#include "stack/stats.h"

#include "stack/shared.h"
#include "stack/sock.h"

/* An option as an unsigned number; 0 where the socket has no such thing. */
static uint32_t queue_len(struct stack *st, struct sock *so,
                          enum stack_opt opt) {
    int64_t v = 0;
    return stack_getopt(st, so, opt, &v) == 0 && v > 0 ? (uint32_t)v : 0;
}

/* Fill in what all sockets have, and TCP's own for connections. */
static void describe(struct stack *st, struct sock *so,
                     struct stack_sock_info *out) {
    *out = (struct stack_sock_info){
        .family = so->family,
        .type = (uint8_t)stack_sock_type(so),
        .proto = so->proto,
        .listening = so->listening,
        .orphan = so->closed,
        .local = so->local,
        .remote = so->remote,
        .recvq = queue_len(st, so, STACK_OPT_INQ),
        .sendq = queue_len(st, so, STACK_OPT_OUTQ),
        .age = st->now - so->created,
    };
    if (so->kind == SOCK_TCP || so->kind == SOCK_TCP_TW)
        stack_tcp_info(st, so, &out->tcp);
}

/* In the order of the list; the caller holds the lock throughout. */
bool stack_each_sock(struct stack *st, struct sock **cursor,
                     struct stack_sock_info *out) {
    struct list *all = &st->sh->socks;
    struct list_node *n = *cursor ? (*cursor)->all_link.next : all->head.next;
    if (n == &all->head)
        return false;
    *cursor = container_of(n, struct sock, all_link);
    describe(st, *cursor, out);
    return true;
}

/* RFC 9293, section 3.3.2; numbers as Linux's TCP_*. */
const char *stack_tcp_state_name(uint8_t state) {
    static const char *const names[] = {
        "?",          "ESTABLISHED", "SYN-SENT",  "SYN-RECEIVED",
        "FIN-WAIT-1", "FIN-WAIT-2",  "TIME-WAIT", "CLOSED",
        "CLOSE-WAIT", "LAST-ACK",    "LISTEN",    "CLOSING",
    };
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

/* A view, not a copy. */
const struct stack_counters *stack_counters(struct stack *st) {
    return &st->sh->count;
}

/* `used` counts what is handed out, not the pages behind it. */
void stack_memory(struct stack *st, struct stack_memory *out) {
    *out = (struct stack_memory){
        .arena = st->sh->size,
        .used = st->sh->heap.used,
        .peak = st->sh->heap.peak,
    };
}
