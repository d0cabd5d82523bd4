/* repair.c: after a holder of the lock died inside.
 *
 * The stack repairs its own part (stack/repair.c). Here it is the tables of
 * the layer above: sleepers, bells, and how many refer to each file. What a
 * process has open is in its map, which is changed one pointer at a time, so
 * the maps of all processes are the truth; a reference beyond them is a pin of
 * a sleeping thread, or of a thread whose signal handler runs (share.parked).
 *
 * The dead process itself is most likely not yet seen as dead: the kernel
 * gives its lock on before it is a zombie. It is reaped as any other, later.
 */
#include "preload/share/file.h"
#include "preload/share/inner.h"
#include "preload/share/relay.h"
#include "preload/share/wait.h"

/* Call fn for each reference to a file in the maps and the pins. */
static void each_reference(void (*fn)(struct file *f)) {
    struct share *sh = self.sh;
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        for (uint32_t k = 0; k < sh->procs[i].map_len; k++)
            if (sh->procs[i].map && sh->procs[i].map[k])
                fn(sh->procs[i].map[k]);
    list_for_each(n, &sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        if (s->pin)
            fn(s->pin);
    }
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        if (sh->procs[i].async_set)
            fn(sh->procs[i].async_set);
    list_for_each(n, &sh->relays) fn(container_of(n, struct relay, link)->f);
    if (sh->relay_set)
        fn(sh->relay_set);
}

static void forget_count(struct file *f) {
    f->counted = 0;
    f->relays = 0;
}
static void count(struct file *f) { f->counted++; }

/* References that nobody has any more go. With threads in handlers the exact
 * number is not known: better too many than too few. */
static void settle_count(struct file *f) {
    if (self.sh->parked == 0 || f->refs < f->counted)
        f->refs = f->counted;
}

static void hold(struct file *f) {
    if (f->so)
        stack_repair_hold(f->so);
    if (f->ps)
        stack_pollset_mend(self.st, f->ps);
}

/* stack_repair will empty the list of those to be woken. */
static void mend_sleepers(void) {
    struct share *sh = self.sh;
    bool watching = false;
    list_mend(self.st, &sh->sleepers);
    list_mend(self.st, &sh->free_sleepers);
    list_mend(self.st, &sh->relays);
    sh->bells_used = 0;
    list_for_each(n, &sh->sleepers) {
        struct sleeper *s = container_of(n, struct sleeper, link);
        s->w.wake_link = (struct list_node){NULL, NULL};
        if (s->bell >= 0)
            sh->bells_used |= 1u << s->bell;
        watching |= s == sh->watcher;
    }
    if (!watching)
        sh->watcher = NULL;
    sh->successor = NULL;
}

void share_repair(void) {
    struct share *sh = self.sh;
    sh->count.lock_died++;
    mend_sleepers(); /* before the repair wakes any of them */
    stack_repair(self.st);
    each_reference(forget_count);
    each_reference(count);
    list_for_each(n, &sh->relays) container_of(n, struct relay, link)
        ->f->relays++;
    each_reference(settle_count);
    each_reference(hold);
    stack_repair_end(self.st);
    sh->nprocs = 0;
    for (unsigned i = 0; i < SHARE_PROCS; i++)
        sh->nprocs += sh->procs[i].pid != 0;
    share_reap();
    wait_recover();
}
