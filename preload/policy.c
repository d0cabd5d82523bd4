/* policy.c: who serves an address.
 *
 * Loopback addresses (127/8, ::1) are the kernel's: services of this host
 * listen there, local resolvers too. Everything else is the stack's, which
 * answers for what it cannot reach. The question is asked when an address
 * comes up first: bind, connect, or the first sendto.
 */
#include "preload/preload.h"

/* Pure: the same answer for the same address. */
enum policy policy_address(const struct endpoint *to) {
    return ip_is_loopback(&to->ip) ? POLICY_KERNEL : POLICY_STACK;
}
