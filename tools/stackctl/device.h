/* device.h: from settings to an open device. */
#pragma once
#include "netio/setup/setup.h"
#include "preload/share/settings.h"
#include "preload/share/share.h"

/* setup_open for these settings. 0 or -errno with one line in err. */
int device_open(const struct settings *s, struct setup_result *out, char *err,
                size_t errlen);
/* What share_create needs to know of it. name must stay. */
void device_describe(const struct settings *s, const struct setup_result *res,
                     const char *name, struct share_new *out);
