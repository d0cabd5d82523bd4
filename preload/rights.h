/* rights.h: descriptors in messages between processes (rights.c). */
#pragma once
#include "preload/preload.h"

/* Longest control data that is looked through: the kernel's limit on
 * descriptors and all else there is fit in. */
#define RIGHTS_ROOM 4096

/* A message being sent: its control data with our replacements. */
struct rights {
    int n;
    int far[256];
    char control[RIGHTS_ROOM] __attribute__((aligned(16)));
};

/* Are there stack sockets among the descriptors that h (a kernel socket's
 * message, with control data) sends? */
bool rights_sends(const struct msghdr *h);
/* Let h send what a receiver can use. 0 or -errno; after the send, rights_sent,
 * whatever became of it. */
int rights_pack(struct msghdr *h, struct rights *r);
void rights_sent(struct rights *r);
/* h was received: stack sockets in it become ours again. errno stays. */
void rights_arrived(struct msghdr *h);
