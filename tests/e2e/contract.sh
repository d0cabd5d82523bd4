#!/bin/bash
# Single programs that stand for whole classes of them.
. "$(dirname "$0")/lib.sh"
begin cont
gcc -O1 -o "$WORK/cycles" "$HERE/cycles.c" || exit 2
CYCLES=${CYCLES:-10000}

# a shell with a pipe, a job and a wait
shell_job() {
    mkdir -p "$WORK/in" "$WORK/out"
    cp "$WWW/1M" "$WWW/64K" "$WORK/in"
    tar -C "$WORK/in" -cf "$WWW/files.tar" 1M 64K
    launch 30 bash -c "curl -s $URL/files.tar | tar -C $WORK/out -x & wait" &&
        cmp "$WORK/out/1M" "$WWW/1M" && cmp "$WORK/out/64K" "$WWW/64K"
}
# a daemon that closes whatever it may have inherited, then goes to work; with
# capture and trace, whose descriptors are in its way
closes_all() {
    LIBSTACK_PCAP=$WORK/pcap LIBSTACK_TRACE=$WORK/trace \
        stack 30 $PYTHON -c "
import os, socket, urllib.request
socket.socket().close()
for fd in range(3, 65536):
    try:
        os.close(fd)
    except OSError:
        pass
for fd in range(900, 1024):
    os.dup2(0, fd)
with urllib.request.urlopen('$URL/1M') as r, open('$WORK/k', 'wb') as f:
    f.write(r.read())" && cmp "$WORK/k" "$WWW/1M" &&
        [ "$(wc -l < "$WORK/trace")" -gt 30 ] &&
        [ "$(wc -c < "$WORK/pcap")" -gt 1000000 ]
}
# figures of the idle server: arena bytes in use, sockets, processes
figures() {
    $CTL stat --here --json | tr ',' '\n' | grep -E 'memory_used|sock_|processes'
}
# cycles N: a server that has served N connections, with its figures
cycles() {
    local e=0
    mkfifo "$WORK/gate$1"
    launch 100 "$WORK/cycles" serve 7300 "$1" < "$WORK/gate$1" \
        > "$WORK/served$1" &
    BG=$!
    exec 9> "$WORK/gate$1"
    eventually 5 stack_listens 7300 || e=1
    peer 90 "$WORK/cycles" call "$LAB_ADDR" 7300 "$1" || e=1
    eventually 5 test -s "$WORK/served$1" || e=1
    figures > "$WORK/figures$1"
    ip netns pids "$LAB_HOST" | wc -l > "$WORK/procs$1"
    exec 9>&-
    wait "$BG" || e=1
    cat "$WORK/served$1" "$WORK/figures$1" "$WORK/procs$1"
    eventually 5 no_stack || e=1
    return $e
}
used() { grep memory_used "$WORK/figures$1" | tr -cd 0-9; }
fork_accept_exit() {
    cycles 200 && cycles "$CYCLES" || return 1
    grep -q "failed 0, descriptors more 0" "$WORK/served$CYCLES" || return 1
    cmp "$WORK/procs200" "$WORK/procs$CYCLES" || return 1
    # what has grown: a page here and there, not a share of each connection
    [ $(($(used "$CYCLES") - $(used 200))) -lt 65536 ]
}

check shell_job shell_job
check closes_all closes_all
check fork_accept_exit fork_accept_exit
