/* service.h: see service.c. */
#pragma once

#include <stdbool.h>

/* End it, and wait until it is gone. Outside the section. */
void preload_service_stop(void);
/* Has this process a service thread? */
bool preload_service_runs(void);

/* In the child of a fork: threads are not inherited. */
void preload_service_forked(void);
