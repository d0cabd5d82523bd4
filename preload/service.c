/* service.c: the thread that serves the stack while the program computes.
 *
 * Created with the first stack socket of a process, never before: a program
 * that uses no network has no thread of ours. All signals are blocked in it,
 * so that the program's handlers never run there. See share/wait.c for what it
 * does.
 */
#include <pthread.h>
#include <signal.h>

#include "preload/preload.h"
#include "preload/service.h"

static volatile int stop;
static bool running FORKED;
static pthread_t thread;

static void *serve(void *arg) {
    wait_service(&stop);
    return arg;
}

void preload_service(void) {
    sigset_t all, old;
    pthread_attr_t attr;
    if (__atomic_exchange_n(&running, true, __ATOMIC_SEQ_CST))
        return;
    int saved = errno;
    stop = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    if (pthread_create(&thread, &attr, serve, NULL) != 0)
        __atomic_store_n(&running, false, __ATOMIC_SEQ_CST);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
}

void preload_service_stop(void) {
    if (!__atomic_load_n(&running, __ATOMIC_SEQ_CST))
        return;
    stop = 1;
    share_enter();
    wait_end_service();
    share_leave();
    pthread_join(thread, NULL);
    running = false;
}

bool preload_service_runs(void) { return running; }

void preload_service_forked(void) { running = false; }
