/* service.h: see service.c. */
#pragma once

/* In the child of a fork: threads are not inherited. */
void preload_service_forked(void);
