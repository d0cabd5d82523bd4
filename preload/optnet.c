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

/* tcp(7), TCP_FASTOPEN_KEY: one key or two. */
int opt_set_fastopenkey(struct file *f, int name, const void *val,
                        socklen_t len) {
    uint8_t key[32];
    if (len != 16 && len != 32)
        return -EINVAL;
    int r = user_read(key, val, len);
    return r < 0 ? r : stack_fastopen_key(self.st, key, len);
}

int opt_get_fastopenkey(struct file *f, int name, void *val, socklen_t *len) {
    uint8_t key[32];
    size_t n = stack_fastopen_key_get(self.st, key);
    return opt_copy_out(key, (socklen_t)n, val, len);
}

int opt_set_savedsyn(struct file *f, int name, const void *val, socklen_t len) {
    return -ENOPROTOOPT;
}

/* tcp(7): too little room says how much is needed, and keeps it. */
int opt_get_savedsyn(struct file *f, int name, void *val, socklen_t *len) {
    uint8_t buf[256];
    size_t room = *len < sizeof(buf) ? *len : sizeof(buf);
    int n = stack_saved_syn(self.st, f->so, buf, room);
    if (n > (int)room) {
        *len = (socklen_t)n;
        return -EINVAL;
    }
    return opt_copy_out(buf, (socklen_t)n, val, len);
}
