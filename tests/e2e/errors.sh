#!/bin/bash
# Errors as the kernel gives them: each is provoked twice, on Linux in the twin
# and on the stack, and must look the same.
. "$(dirname "$0")/lib.sh"
begin err

# A host that answers ARP and nothing else: the peer forwards to nobody.
# silent ADDRESS IN OUT
silent() {
    ip -n "$LAB_PEER" neigh add proxy "$1" dev "$2"
    ip -n "$LAB_PEER" route add "$1/32" dev "$3"
    ip -n "$LAB_PEER" neigh add "$1" lladdr 02:00:00:00:00:99 dev "$3" \
        nud permanent
}
lab_in peer sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
silent 198.18.0.99 peer0 twin0
silent 198.19.0.99 twin0 peer0
lab_in peer $PYTHON "$HERE/peer.py" 0.0.0.0 > "$WORK/peer.log" &
eventually 5 grep -q ready "$WORK/peer.log"

kernel 120 $PYTHON "$HERE/errors.py" 198.19.0.1 198.19.0.99 198.19.0.77 \
    203.0.113.1 > "$WORK/kernel" 2>&1 &
KERNEL=$!
stack 120 $PYTHON "$HERE/errors.py" 198.18.0.1 198.18.0.99 198.18.0.77 \
    203.0.113.1 > "$WORK/stack" 2>&1
wait $KERNEL

# same CASE: is its line the same in both runs?
same() {
    local a b
    a=$(grep "^$1:" "$WORK/kernel")
    b=$(grep "^$1:" "$WORK/stack")
    echo "kernel: $a"
    echo "stack:  $b"
    [ -n "$a" ] && [ "$a" = "$b" ]
}
for case in $(sed -n 's/^\([a-z_]*\):.*/\1/p' "$WORK/kernel"); do
    check "errno_$case" same "$case"
done
grep -v '^[a-z_]*:' "$WORK/stack"

# curl_same URL...: the same exit status and the same words; our network's
# numbers in the text are those of the twin's.
curl_same() {
    local a b ea eb
    a=$(kernel 30 curl -sS -o /dev/null -m 8 "${@//198.18./198.19.}" 2>&1)
    ea=$?
    b=$(stack 30 curl -sS -o /dev/null -m 8 "$@" 2>&1)
    eb=$?
    a=$(sed -E 's/198\.19\./198.18./g; s/after [0-9]+ ms/after N ms/
        s/[0-9]+ milliseconds/N ms/' <<< "$a")
    b=$(sed -E 's/after [0-9]+ ms/after N ms/
        s/[0-9]+ milliseconds/N ms/' <<< "$b")
    echo "kernel: $ea $a"
    echo "stack:  $eb $b"
    [ "$ea" = "$eb" ] && [ "$ea" != 0 ] && [ "$a" = "$b" ]
}
check curl_refused curl_same http://198.18.0.1:9/
check curl_absent_host curl_same http://198.18.0.77/
check curl_no_route curl_same http://203.0.113.1/
check curl_time_out curl_same --connect-timeout 1 http://198.18.0.99/
check curl_reset curl_same http://198.18.0.1:7011/
check curl_server_gone curl_same http://198.18.0.1:7012/
check curl_stalled curl_same -m 2 http://198.18.0.1:7013/
check curl_no_such_name curl_same http://none.lab.test/
check curl_404 curl_same -f http://198.18.0.1/none
