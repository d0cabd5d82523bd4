/* The arena's lock: exclusion between processes, and death inside it. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "preload/share/lock.h"

struct room {
    struct lock lock;
    uint64_t a, b; /* always equal outside the lock */
    uint64_t died;
    volatile int inside;
};

static struct room *make_room(void) {
    struct room *r = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    lock_init(&r->lock);
    return r;
}

static void step(struct room *r) {
    if (lock_take(&r->lock)) {
        r->died++;
        r->b = r->a; /* the repair */
    }
    cr_assert_eq(r->a, r->b);
    r->a++;
    __asm__ volatile("" ::: "memory");
    r->b++;
    lock_give(&r->lock);
}

Test(lock, layout_is_what_the_kernel_expects) {
    cr_assert_eq(offsetof(struct lock, list_next), 32);
    cr_assert_eq(offsetof(struct lock, word), 0);
}

Test(lock, excludes_processes) {
    struct room *r = make_room();
    enum { PROCS = 4, STEPS = 50000 };
    for (int i = 0; i < PROCS; i++)
        if (fork() == 0) {
            lock_forked();
            for (int k = 0; k < STEPS; k++)
                step(r);
            _exit(0);
        }
    int status;
    while (wait(&status) > 0)
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert_eq(r->a, PROCS * STEPS);
    cr_assert_eq(r->died, 0);
}

Test(lock, try_fails_while_held_and_works_after) {
    struct room *r = make_room();
    bool died;
    cr_assert(lock_try(&r->lock, &died));
    if (fork() == 0) {
        lock_forked();
        _exit(lock_try(&r->lock, &died) ? 1 : 0);
    }
    int status;
    wait(&status);
    cr_assert_eq(WEXITSTATUS(status), 0, "taken although held");
    lock_give(&r->lock);
    cr_assert(lock_try(&r->lock, &died));
    cr_assert(!died);
    lock_give(&r->lock);
}

/* Killed inside, then at random moments: the others always go on, and exactly
 * those who died inside are reported. */
Test(lock, death_of_the_holder_is_reported, .timeout = 60) {
    struct room *r = make_room();
    uint64_t inside = 0;
    for (int round = 0; round < 200; round++) {
        r->inside = 0;
        pid_t pid = fork();
        if (pid == 0) {
            lock_forked();
            lock_take(&r->lock);
            r->a++; /* a and b differ now */
            r->inside = 1;
            pause();
        }
        while (!r->inside)
            usleep(10);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        inside++;
        step(r);
        cr_assert_eq(r->died, inside);
    }
}

Test(lock, random_kills_never_wedge, .timeout = 60) {
    struct room *r = make_room();
    srand(7);
    for (int round = 0; round < 300; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            lock_forked();
            for (;;) {
                if (lock_take(&r->lock))
                    r->died++;
                r->a++;
                r->b = r->a;
                lock_give(&r->lock);
            }
        }
        struct timespec ts = {0, 1000 * (rand() % 800)};
        nanosleep(&ts, NULL);
        kill(pid, SIGKILL);
        for (int i = 0; i < 50; i++) {
            if (lock_take(&r->lock))
                r->died++;
            r->b = r->a;
            lock_give(&r->lock);
        }
        waitpid(pid, NULL, 0);
    }
    cr_assert_gt(r->a, 0);
}

/* A wake-up that died with the thread that was to get it: the word is free,
 * somebody sleeps on it, and nobody will wake him. */
Test(lock, lost_wake_is_survived, .timeout = 20) {
    struct room *r = make_room();
    lock_take(&r->lock);
    pid_t pid = fork();
    if (pid == 0) {
        lock_forked();
        lock_take(&r->lock);
        r->a = 1;
        lock_give(&r->lock);
        _exit(0);
    }
    while (!(__atomic_load_n(&r->lock.word, __ATOMIC_SEQ_CST) & 0x80000000u))
        usleep(100);
    usleep(20000); /* asleep */
    __atomic_store_n(&r->lock.word, 0, __ATOMIC_SEQ_CST);
    int status;
    waitpid(pid, &status, 0);
    cr_assert_eq(r->a, 1);
}
