#!/bin/bash
# Bulk and many: curl down and up, in sequence, in parallel; the plain form.
. "$(dirname "$0")/lib.sh"
begin xfer

plain() {
    stack 60 curl -sS -o "$WORK/64M" "$URL/64M" && cmp "$WORK/64M" "$WWW/64M"
}
routed_name() {
    stack 20 curl -sS -o "$WORK/1M" http://alias.lab.test/1M &&
        cmp "$WORK/1M" "$WWW/1M"
}
down() {
    stack 200 curl -sS -o "$WORK/1G" "$URL/1G" && cmp "$WORK/1G" "$WWW/1G"
}
up() {
    stack 200 curl -sS -f -T "$WWW/1G" "$URL/up/1G" &&
        cmp "$WWW/up/1G" "$WWW/1G"
}
# 200 programs one after the other, each with the device to itself again
sequence() {
    local i
    for i in $(seq 200); do
        stack 20 curl -sS -o "$WORK/seq" "$URL/64K" &&
            cmp "$WORK/seq" "$WWW/64K" || return
    done
}
# ... and 200 in one running stack
launched_sequence() {
    launch 120 sh -c 'for i in $(seq 200); do
        curl -sS -o "$1/seq" "$2/64K" && cmp "$1/seq" "$3/64K" || exit 1
        done' sh "$WORK" "$URL" "$WWW"
}
parallel() {
    mkdir -p "$WORK/par"
    stack 60 curl -sS -Z --parallel-max 32 --parallel-immediate \
        -o "$WORK/par/#1" "$URL/1M?[1-32]" &&
        for i in $(seq 32); do
            cmp "$WORK/par/$i" "$WWW/1M" || return
        done
}

check plain_64M plain
check name_by_dns routed_name
check launched_200_fetches launched_sequence
check parallel_32 parallel
lab_file 1G 1073741824
check down_1G down
rm -f "$WORK/1G"
check up_1G up
rm -f "$WWW/up/1G" "$WWW/1G"
check sequential_200_programs sequence
