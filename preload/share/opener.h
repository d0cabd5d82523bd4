/* opener.h: opening the device.
 *
 * Making and changing devices needs libnl and may need privileges; neither
 * belongs into the program. libstack.so therefore starts `stackctl open`,
 * which sets everything up and hands back one locked packet socket.
 */
#pragma once
#include <stdint.h>

#include "preload/share/settings.h"
#include "preload/share/share.h"

/* The one message on the socket given with --socket. The packet socket comes
 * with it (SCM_RIGHTS) when err is 0. */
struct setup_reply {
    int32_t err; /* 0 or a positive errno */
    char text[256];
    char dev[16]; /* the device that was opened or created */
    uint8_t mac[6];
    uint8_t prefix_len;
    uint32_t mtu, superframe; /* as setup_result */
    struct ip_addr addr, gw;
};

/* Open the device without stackctl, where nothing has to be made or changed
 * and this process may (lean.c). Fills packet_fd and cfg of *out, or returns
 * false: ask stackctl. */
bool lean_open(const struct settings *s, struct share_new *out);

/* Open the device for these settings, by `stackctl open` if need be, and fill
 * *out for share_create (name points to storage that stays). 0, or -errno with
 * one line in err. Blocks; takes no lock; safe in a multi-threaded program. */
int opener_ask(const struct settings *s, struct share_new *out, char *err,
               size_t errlen);
