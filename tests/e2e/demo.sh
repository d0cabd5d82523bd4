#!/bin/bash
# The demonstration works, and leaves nothing behind.
. "$(dirname "$0")/lib.sh"
WORK=$(mktemp -d /var/tmp/libstack-e2e.XXXXXX)
trap 'rm -rf "$WORK"; [ $FAILED = 0 ]; exit' EXIT

# What a demonstration could leave: namespaces, links, processes, files.
traces() {
    ip netns
    ip -br link | awk '{ print $1 }'
    ls -d /run/libstack-lab /etc/netns /var/tmp/libstack-demo.* \
        /var/tmp/libstack-lab.* 2> /dev/null
    ps -eo stat=,comm= | awk '$1 !~ /^Z/ { print $2 }' |
        grep -E 'nginx|dnsmasq|tcpdump|stackctl' | sort
    cat /proc/*/environ 2> /dev/null | tr '\0' '\n' |
        grep -c '^LIBSTACK_INHERIT='
}
traces > "$WORK/before"
demo() {
    BUILD=$BUILD within 120 "$ROOT/tools/demo" --built < /dev/null \
        > "$WORK/out" 2>&1
    local e=$?
    cat "$WORK/out"
    return $e
}
says() { grep -Eq "$1" "$WORK/out"; }
nothing_left() {
    sleep 1
    traces > "$WORK/after"
    diff "$WORK/before" "$WORK/after"
}
check demo demo
check demo_sha256_equal says '^equal$'
check demo_shows_handshake says 'Flags \[S\.\]'
check demo_shows_sockets says 'tcp ESTAB.* curl/'
check demo_shows_counters says 'rx_frames'
check demo_kernel_unused says 'active opens 0, segments in 0, segments out 0'
check demo_leaves_nothing nothing_left
