#!/bin/bash
# What a preloaded program pays for what is not ours: calls on other
# descriptors, and new processes of a program with 100 sockets open. Everything
# is compared within one run; limits leave room for a machine that is busy.
. "$(dirname "$0")/lib.sh"
begin cost

# line NAME FILE: the numbers behind it
line() { sed -n "s/^$1 //p" "$2"; }

calls() {
    stack 60 "$BUILD/cost" calls > "$WORK/calls"
    column -t "$WORK/calls"
    # ours, bare, over: nanoseconds
    awk '$4 > 15 { print "too slow:", $0; bad = 1 }
         END { exit bad || NR < 20 }' "$WORK/calls"
}
processes() {
    ip netns exec "$LAB_HOST" "$BUILD/cost" processes 127.0.0.1 100 \
        > "$WORK/kernel" &&
        launch 60 "$BUILD/cost" processes "$LAB_ADDR" 100 > "$WORK/stack"
}
# times NAME LIMIT: no more than that many times the kernel's
times() {
    awk -v a="$(line "$1" "$WORK/stack")" -v b="$(line "$1" "$WORK/kernel")" \
        -v name="$1" -v limit="$2" 'BEGIN {
            printf "%s: %.0f us, kernel %.0f us, %.1f times\n", name,
                a / 1000, b / 1000, a / b
            exit !(a > 0 && a <= limit * b) }'
}

check calls calls
check processes processes
for how in exec vfork posix_spawn system; do
    check "$how" times "$how" 3 # 1.6 to 1.9 on a quiet machine
done
check fork times fork 6 # 3.1 on a quiet machine; 2 is the aim
