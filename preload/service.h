/* service.h: see service.c. */
#pragma once

/* End it, and wait until it is gone. Outside the section. */
void preload_service_stop(void);
/* In the child of a fork: threads are not inherited. */
void preload_service_forked(void);
