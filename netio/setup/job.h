/* job.h: one setup_open at work; internal to netio/setup. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "netio/setup/link.h"
#include "netio/setup/setup.h"

struct job {
    const struct setup_request *req;
    struct setup_result *out;
    struct nl_sock *nl;
    struct link_info dev;
    char addr[16]; /* the address as text */
    bool made;     /* the device is ours: created, or a TAP we hold */
    char *err;
    size_t errlen;
};

/* Write the line for the user and return code. */
int job_fail(struct job *j, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a change of device `dev` that failed with r. */
int job_fail_admin(struct job *j, int r, const char *dev, const char *doing);

/* Steps that look only (request.c). 0 or -errno. */
int job_check_request(struct job *j);
int job_check_kernel_addr(struct job *j);
/* Will the kernel leave frames for our MAC alone? */
int job_check_kernel_quiet(struct job *j);
