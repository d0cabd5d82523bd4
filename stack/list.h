/* list.h: circular doubly linked lists, the links inside the objects.
 *
 * Pointers between objects of the arena are fine, since the arena has the same
 * address in every process. A node that is in no list points to itself or is
 * all zero; both count as unlinked.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next, *prev;
};

struct list {
    struct list_node head;
};

#define container_of(ptr, type, member)                                        \
    ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l) {
    l->head.next = l->head.prev = &l->head;
}

static inline bool list_empty(const struct list *l) {
    return l->head.next == &l->head;
}

static inline bool list_linked(const struct list_node *n) {
    return n->next && n->next != n;
}

/* Whoever dies on the way leaves the forward pointers whole (repair.c): the
 * compiler must not publish the node before it points on. */
static inline void list_insert(struct list_node *at, struct list_node *n) {
    n->next = at;
    n->prev = at->prev;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    at->prev->next = n;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    at->prev = n;
}

static inline void list_push_back(struct list *l, struct list_node *n) {
    list_insert(&l->head, n);
}

static inline void list_push_front(struct list *l, struct list_node *n) {
    list_insert(l->head.next, n);
}

/* Safe on an unlinked node. */
static inline void list_remove(struct list_node *n) {
    if (!list_linked(n))
        return;
    n->prev->next = n->next;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    n->next->prev = n->prev;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    n->next = n->prev = n;
}

static inline struct list_node *list_first(const struct list *l) {
    return list_empty(l) ? NULL : l->head.next;
}

static inline struct list_node *list_last(const struct list *l) {
    return list_empty(l) ? NULL : l->head.prev;
}

static inline struct list_node *list_pop_front(struct list *l) {
    struct list_node *n = list_first(l);
    if (n)
        list_remove(n);
    return n;
}

#define list_for_each(n, l)                                                    \
    for (struct list_node *n = (l)->head.next; n != &(l)->head; n = n->next)

/* The body may remove n. */
#define list_for_each_safe(n, l)                                               \
    for (struct list_node *n = (l)->head.next, *n##_next_ = n->next;           \
         n != &(l)->head; n = n##_next_, n##_next_ = n->next)
