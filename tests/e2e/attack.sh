#!/bin/bash
# Attackers on the same link: nobody loses anything, and memory stays bounded.
. "$(dirname "$0")/lib.sh"
begin attack

serve() {
    within 170 ip netns exec "$LAB_HOST" env $(lab_settings) \
        LIBSTACK_GW="$LAB_PEER_IP" "$BUILD/stackrun" -- \
        $PYTHON "$HERE/attack.py" serve
}
background serve
check serves eventually 10 stack_listens 8
peer 5 ping -q -c 1 "$LAB_ADDR" > /dev/null
MAC=$(ip -n "$LAB_PEER" neigh show "$LAB_ADDR" dev peer0 |
    sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p')
# what the stack answers to strangers ends here, and is not talked about
lab_in peer sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'

# stat NAME: a counter or size of the stack
stat() {
    $CTL stat --here --json | $PYTHON -c "
import json, sys
print(json.load(sys.stdin)[0]['$1'])"
}
# attack NAME MEBIBYTES: how much more memory it may have taken at most
attack() {
    local before after e=0
    before=$(stat memory_used)
    peer 60 $PYTHON "$HERE/attack.py" "$1" peer0 "$LAB_PEER_IP" "$LAB_ADDR" \
        "$MAC" || e=1
    after=$(stat memory_used)
    echo "memory: $((before / 1024)) KiB before, $((after / 1024)) KiB after," \
        "$(($(stat memory_peak) / 1024)) KiB at most so far"
    [ $e = 0 ] && [ $(((after - before) >> 20)) -le "$2" ]
}
said() { sed 's/^/# /' "$WORK/log"; }
moved() { [ "$(stat "$1")" -gt 0 ]; }
idle() { [ "$(stat "$1")" = 0 ]; }

for row in blind:4 icmp:4 options:4 synflood:8 slow:96 bombs:16; do
    check "${row%:*}" attack "${row%:*}" "${row#*:}"
    said
done
for c in tcp_cookies_sent tcp_cookies_taken tcp_challenge_acks \
    tcp_challenge_limited drop_frag_total_limit tcp_icmp_forged; do
    echo "# $c $(stat $c)"
done
check challenges_limited moved tcp_challenge_limited
check forged_icmp_known moved tcp_icmp_forged
check mss_not_lowered idle tcp_mss_lowered
check cookies_sent moved tcp_cookies_sent
check cookies_taken moved tcp_cookies_taken
check nothing_left_over eventually 5 \
    sh -c "[ \$($CTL ss --here | grep -c ESTAB) -lt 4 ]"
