/* msg.h: struct msghdr and its control messages (msg.c). */
#pragma once
#include <sys/socket.h>

#include "preload/io.h"

/* What a socket's options ask recvmsg to deliver. */
#define MSG_WANT_PKTINFO 0x01u  /* IP_PKTINFO */
#define MSG_WANT_PKTINFO6 0x02u /* IPV6_RECVPKTINFO, addresses mapped */
#define MSG_WANT_TTL 0x04u      /* IP_RECVTTL */
#define MSG_WANT_TOS 0x08u      /* IP_RECVTOS */
#define MSG_WANT_TIME 0x10u     /* SO_TIMESTAMP*, io_msg.stamp */

/* The kernel's number of the stack's device; 0 when it is not here. */
int msg_link_index(void);

/* Lock held. */
uint32_t msg_wanted(struct file *f);
/* Read the control messages of a send into m (whose ttl and tos must be -1).
 * 0 or -EINVAL. */
int msg_control_in(const struct msghdr *h, bool stream, struct stack_msg *m);
/* Write the control messages of a received message; h->msg_controllen becomes
 * the length used, MSG_CTRUNC is added to *out_flags when room is short. */
void msg_control_out(struct msghdr *h, const struct io_msg *im, int *out_flags);
