/* source.h: readiness of sockets and poll sets told to whoever watches.
 * Internal to stack/. See source.c. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "stack/stack.h"

/* struct sock and struct pollset both start like this. kind: enum sock_kind,
 * or SOURCE_POLLSET. */
struct source_head {
    struct source src;
    uint8_t kind;
};
#define SOURCE_POLLSET 0xff

void source_init(struct source *src);
/* Tell the watchers of src about events (STACK_* bits). Returns true when that
 * woke a waiter that was still asleep. */
bool source_fire(struct stack *st, struct source *src, uint32_t events);
/* What is true of src now, STACK_* bits. */
uint32_t source_ready(struct stack *st, struct source *src);
/* src goes away: poll sets forget it, waiters are woken with HUP. */
void source_gone(struct stack *st, struct source *src);

/* Into stack_next_wake, once. Returns true when it had not fired before. */
bool waiter_fire(struct stack *st, struct waiter *wt, uint32_t events);

/* pollset.c: a watch of kind WATCH_ITEM saw events; true as source_fire. */
bool pollset_item_event(struct stack *st, struct watch *w, uint32_t events);
/* pollset.c: remove the item that owns w from its set. */
void pollset_item_drop(struct stack *st, struct watch *w);
