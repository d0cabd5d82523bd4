#!/bin/bash
# A bad link: 3 % loss, 1 % duplicates, reordering, 20 ms; 100 MiB each way,
# and everything must arrive as it was sent.
. "$(dirname "$0")/lib.sh"
LAB_RELAYED=1
begin bad

SPEC=${SPEC:-loss=3%,dup=1%,reorder=2%,delay=10ms,seed=7}
lab_file 100M 104857600
lab_in router "$BUILD/relay" r0 r1 "$SPEC" > "$WORK/relay.log" 2>&1 &
RELAY=$!
sleep 0.3

relay_runs() { kill -0 $RELAY || { cat "$WORK/relay.log"; false; }; }
small() {
    local i
    for i in 1 2 3 4 5; do
        stack 60 curl -sS -o "$WORK/s" "$URL/64K" &&
            cmp "$WORK/s" "$WWW/64K" || return
    done
}
# 100 MiB each way at the same time: with NewReno the loss sets the pace
both() {
    launch 400 sh -c 'curl -sS -o "$1/d" "$2/100M" & d=$!
        curl -sS -f -T "$3/100M" "$2/up/100M" && wait $d' \
        sh "$WORK" "$URL" "$WWW" &&
        cmp "$WORK/d" "$WWW/100M" && cmp "$WWW/up/100M" "$WWW/100M"
}
# several connections, both directions at once
mixed() {
    launch 120 sh -c 'curl -sS -Z --parallel-immediate -o "$1/m#1" \
        "$2/1M?[1-8]" & curl -sS -f -T "$3/1M" "$2/up/m" & wait' \
        sh "$WORK" "$URL" "$WWW" &&
        cmp "$WWW/up/m" "$WWW/1M" &&
        for i in 1 2 3 4 5 6 7 8; do
            cmp "$WORK/m$i" "$WWW/1M" || return
        done
}

check relay_runs relay_runs
check small small
check mixed mixed
check both_ways_100M both
check relay_still_runs relay_runs
