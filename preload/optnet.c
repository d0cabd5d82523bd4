/* optnet.c: socket options that speak of packet headers: rows OPTION_CALL of
 * stack/options.def whose values are bytes. */
#include "preload/sockopt.h"
#include "preload/user.h"

/* ip(7): at most 40 bytes; none at all takes them away. */
int opt_set_ipoptions(struct file *f, int name, const void *val,
                      socklen_t len) {
    uint8_t buf[40];
    if (len > sizeof(buf))
        return -EINVAL;
    int r = len ? user_read(buf, val, len) : 0;
    return r < 0 ? r : stack_set_ip_options(self.st, f->so, buf, len);
}

int opt_get_ipoptions(struct file *f, int name, void *val, socklen_t *len) {
    uint8_t buf[40];
    size_t n = stack_get_ip_options(f->so, buf);
    return opt_copy_out(buf, (socklen_t)n, val, len);
}
