/* user.c: reading and writing the program's memory. See user.h. */
#include "preload/user.h"

#include <errno.h>

int user_read(void *to, const void *from, size_t n) {
    if (bad_buffer(from, n))
        return -EFAULT;
    if (n)
        memcpy(to, from, n);
    return 0;
}

int user_write(void *to, const void *from, size_t n) {
    if (bad_buffer(to, n))
        return -EFAULT;
    if (n)
        memcpy(to, from, n);
    return 0;
}
