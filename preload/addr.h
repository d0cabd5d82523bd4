/* addr.h: socket addresses of the program <-> struct endpoint (addr.c). */
#pragma once
#include <sys/socket.h>

#include "preload/preload.h"

/* The errors of move_addr_to_kernel: 0, -EINVAL (length), -EFAULT. */
int addr_check(const struct sockaddr *sa, socklen_t len);

/* The address family field, or AF_UNSPEC when len is too short for one. */
int addr_family(const struct sockaddr *sa, socklen_t len);

/* sa as an address for a socket of `family` (4 or 6). 0; -EINVAL: too short;
 * -EFAULT; -EAFNOSUPPORT: of another family. loose: also take AF_INET on a
 * family 6 socket, as UDP does. */
int addr_in(int family, bool loose, const struct sockaddr *sa, socklen_t len,
            struct endpoint *out);

/* ep as the sockaddr of `family`; returns its length. */
socklen_t addr_make(int family, const struct endpoint *ep,
                    struct sockaddr_storage *out);

/* Copy ep (NULL: no address) out as Linux does: at most *len bytes, *len
 * becomes the full length. 0, -EFAULT, -EINVAL (negative *len). */
int addr_out(int family, const struct endpoint *ep, struct sockaddr *sa,
             socklen_t *len);
