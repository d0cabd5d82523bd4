/* exec_flow.c: connections by their two names, on the wire and in the script. */
#include <string.h>

#include "tests/scripts/exec.h"

struct flow *flow_new(struct run *r, uint16_t lport, uint16_t rport) {
    struct flow *f = keep(sizeof(*f));
    f->lport = lport;
    f->rport = rport;
    f->relative = r->relative;
    f->next = r->flows;
    r->flows = f;
    r->cur = f;
    return f;
}

/* The newest flow with these ports, or NULL. */
struct flow *flow_live(struct run *r, uint16_t lport, uint16_t rport) {
    for (struct flow *f = r->flows; f; f = f->next)
        if (f->lport == lport && f->rport == rport)
            return f;
    return NULL;
}

/* Whom does a packet of the script concern? Without ports: the connection of
 * the packet or call before. */
struct flow *flow_for_inbound(struct run *r, const struct spec *p) {
    if (!p->has_ports) {
        if (!r->cur)
            flow_new(r, r->listen_port ? r->listen_port : BOUND_PORT,
                     r->next_port++);
        return r->cur;
    }
    for (struct flow *f = r->flows; f; f = f->next)
        if (f->slport == p->dport && f->srport == p->sport)
            return r->cur = f;
    struct flow *f = flow_live(r, p->dport, p->sport);
    if (!f)
        f = flow_new(r, p->dport, p->sport);
    f->slport = p->dport;
    f->srport = p->sport;
    return r->cur = f;
}

/* Our sequence numbers: from the script's to the wire's. */
uint32_t flow_to_live(const struct flow *f, uint32_t seq) {
    uint32_t base = f->relative ? 0 : f->iss_script;
    return f->has_iss ? seq - base + f->iss_live : seq;
}

/* And back. */
uint32_t flow_to_script(const struct flow *f, uint32_t seq) {
    uint32_t base = f->relative ? 0 : f->iss_script;
    return f->has_iss ? seq - f->iss_live + base : seq;
}

/* The descriptor of a connection; NULL: none (not accepted, closed). */
struct file *flow_file(struct run *r, const struct flow *f) {
    for (int i = 0; i < FD_MAX; i++) {
        struct file *file = &r->files[i];
        struct endpoint at, to;
        if (!file->used || !file->so)
            continue;
        stack_getsockname(file->so, &at);
        if (at.port == f->lport && stack_getpeername(file->so, &to) == 0 &&
            to.port == f->rport)
            return file;
    }
    return NULL;
}

/* Byte i of every stream. */
void fill_pattern(uint8_t *to, uint64_t from, size_t len) {
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)((from + i) * 13 + ((from + i) >> 8) * 3 + 1);
}
