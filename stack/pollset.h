/* pollset.h: the insides of poll sets. Internal to stack/. */
#pragma once
#include "stack/source.h"

struct pollset {
    struct source src; /* first: a pollset is a source */
    uint8_t kind;      /* SOURCE_POLLSET */
    uint32_t count;    /* items */
    struct list items; /* struct item, by all_link */
    struct list ready; /* struct item that may have something to report */
};

struct item {
    struct watch watch; /* in the source's list; owner: this item */
    struct pollset *ps; /* the set it belongs to */
    struct source *src; /* what it watches */
    struct list_node all_link, ready_link;
    uint64_t data;
    uint32_t key;
    bool disarmed; /* one-shot, has fired: silent until modified */
};
