/* real.h: the C library's own functions behind the names we export.
 *
 * `real.read(...)` calls the function that the program would have reached
 * without us (dlsym RTLD_NEXT: another preloaded library, or libc). It may be
 * used from the first instruction on: until the table is resolved each entry
 * holds a small function that resolves the table and goes on (real.c).
 */
#pragma once
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct __res_state;
struct ifaddrs;

struct real_calls {
#define CALL(family, ret, name, params, args) ret(*name) params;
#include "preload/calls.def"
};
extern struct real_calls real __attribute__((visibility("hidden")));

/* Fill the table now. Idempotent, safe in any thread. */
void real_resolve(void);
