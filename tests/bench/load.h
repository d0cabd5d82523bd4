/* load.h: what the files of the load generator share (load.c). */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MSG 64          /* bytes of a request and of its answer */
#define MAX_CALL 262144 /* largest buffer of one call */

/* End with a message about the last error. */
void die(const char *what) __attribute__((noreturn));
/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t now_ns(void);
/* A number from the command line; ends the program when it is none. */
long number(const char *s, long min, long max);
struct sockaddr_in address(const char *ip, const char *port);
int tcp_socket(void);
/* A listening socket on all addresses. */
int listen_on(const char *port);
int accept_one(int lfd);
int connect_to(const char *ip, const char *port);
void no_delay(int fd);
/* Exactly n bytes. False at the end of the stream or after an error. With
 * `spin` the call never blocks in the kernel: it is repeated instead. */
bool read_all(int fd, void *buf, size_t n, bool spin);
bool write_all(int fd, const void *buf, size_t n);
/* Say that the server listens. */
void ready(void);
/* One result: a line "name value". */
void result(const char *name, double value);
/* Say which congestion control a connection has: "cc name". */
void congestion_control(int fd);
/* n samples in nanoseconds: sorts them; prints p50, p99 (in us) and count. */
void percentiles(const char *prefix, uint32_t *ns, size_t n);
void want_files(void); /* raise the limit of descriptors */

/* Commands; each gets its arguments behind its name. */
int cmd_sink(int argc, char **argv);
int cmd_source(int argc, char **argv);
int cmd_feed(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_echo(int argc, char **argv);
int cmd_rr(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_conn(int argc, char **argv);
int cmd_idle(int argc, char **argv);
int cmd_usink(int argc, char **argv);
int cmd_usend(int argc, char **argv);
int cmd_spawn(int argc, char **argv);
int cmd_flowd(int argc, char **argv);
int cmd_flow(int argc, char **argv);
int cmd_probe(int argc, char **argv);
