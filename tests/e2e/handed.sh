#!/bin/bash
# Stack sockets in the hands of programs that cannot be entered: static ones
# exec'ed on a connection, sandboxes. A process of the stack relays for them.
. "$(dirname "$0")/lib.sh"
begin hand
gcc -static -O1 -o "$WORK/plain" "$HERE/plain.c" || exit 2

# serve CMD...: socat on the stack execs CMD on each connection
serve() { background launch 60 socat "TCP4-LISTEN:7200,fork,reuseaddr" "$@"; }
client() { peer 20 socat -t 10 - "TCP4:$LAB_ADDR:7200"; }
# the relaying processes of this lab; zombies are nobody's
relays() {
    local pid
    for pid in $(ip netns pids "$LAB_HOST"); do
        grep -qsx libstack-relay "/proc/$pid/comm" && echo "$pid"
    done
}
one_relay() { [ "$(relays | wc -l)" = 1 ]; }
no_relay() { [ -z "$(relays)" ]; }

# inetd style: descriptors 0 and 1 are the connection itself
static_cat() {
    local e=0
    serve EXEC:"$WORK/plain cat",nofork
    eventually 5 stack_listens 7200 || e=1
    client < "$WWW/1M" > "$WORK/c" && cmp "$WORK/c" "$WWW/1M" || e=1
    stop
    return $e
}
# much, towards the program and back, checked there
static_sum() {
    local e=0 want
    want=$("$WORK/plain" sum < "$WWW/64M")
    serve EXEC:"$WORK/plain sum",nofork
    eventually 5 stack_listens 7200 || e=1
    [ "$(client < "$WWW/64M")" = "$want" ] || e=1
    stop
    return $e
}
static_source() {
    local e=0
    serve EXEC:"$WORK/plain source",nofork
    eventually 5 stack_listens 7200 || e=1
    "$WORK/plain" source > "$WORK/want"
    client < /dev/null > "$WORK/d" && cmp "$WORK/d" "$WORK/want" || e=1
    stop
    return $e
}
no_yes() { ! pgrep -fx "$WORK/plain yes"; }
# the client goes away while the program writes: EPIPE ends it
static_epipe() {
    local e=0
    serve EXEC:"$WORK/plain yes",nofork
    eventually 5 stack_listens 7200 || e=1
    peer 10 socat -u "TCP4:$LAB_ADDR:7200" - 2> /dev/null | head -c 100000 \
        > /dev/null
    eventually 5 no_yes || e=1
    stop
    return $e
}
# eight at once, through one relaying process
static_many() {
    local e=0 i pids=
    serve EXEC:"$WORK/plain cat",nofork
    eventually 5 stack_listens 7200 || e=1
    for i in 1 2 3 4 5 6 7 8; do
        client < "$WWW/64K" > "$WORK/m$i" &
        pids="$pids $!"
    done
    wait $pids
    for i in 1 2 3 4 5 6 7 8; do
        cmp "$WORK/m$i" "$WWW/64K" || e=1
    done
    eventually 2 one_relay || e=1
    stop
    return $e
}

# handed HOW...: the server of handed.py, and 1 MB there and back through it
handed() {
    local e=0
    background launch 60 $PYTHON "$HERE/handed.py" "$@"
    eventually 5 stack_listens 7200 || e=1
    client < "$WWW/1M" > "$WORK/p" && cmp "$WORK/p" "$WWW/1M" || e=1
    stop || e=1
    cat "$WORK/bg.log"
    return $e
}
# to a process that is not on the stack, whose giver ends at once
passed_on() {
    local e=0
    within 30 ip netns exec "$LAB_HOST" $PYTHON "$HERE/handed.py" take \
        "$WORK/way" > "$WORK/taker" &
    local pid=$!
    eventually 5 test -S "$WORK/way" || e=1
    handed pass 7200 "$WORK/way" || e=1
    wait $pid && grep -q AF_UNIX "$WORK/taker" || e=1
    return $e
}

# sshd: its child before authentication runs in a chroot, as another user, under
# a seccomp filter and without descriptors; then the monitor goes on
sshd_config() {
    mkdir -p /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f "$WORK/hostkey" &&
        ssh-keygen -q -t ed25519 -N '' -f "$WORK/userkey" || return 1
    cat > "$WORK/sshd" <<END
Port 22
HostKey $WORK/hostkey
AuthorizedKeysFile $WORK/userkey.pub
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
END
}
ssh_options() {
    echo -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o IdentitiesOnly=yes -o BatchMode=yes -i "$WORK/userkey"
}
sshd_logs_in() {
    local e=0 i
    sshd_config || return 1
    background launch 60 /usr/sbin/sshd -D -e -f "$WORK/sshd"
    eventually 5 stack_listens 22 || e=1
    for i in 1 2 3; do
        peer 20 ssh $(ssh_options) "root@$LAB_ADDR" cat < "$WWW/1M" \
            > "$WORK/s" && cmp "$WORK/s" "$WWW/1M" || e=1
    done
    peer 20 scp -q $(ssh_options) "root@$LAB_ADDR:$WWW/1M" "$WORK/scp" &&
        cmp "$WORK/scp" "$WWW/1M" || e=1
    stop
    [ $e = 0 ] || cat "$WORK/bg.log"
    return $e
}

check static_cat static_cat
check static_sum static_sum
check static_source static_source
check static_epipe static_epipe
check static_many static_many
check posix_spawned handed spawn 7200 "$WORK/plain" cat
check vforked handed vfork 7200 "$WORK/plain" cat
check outlives_parent handed detach 7200 "$WORK/plain" cat
check passed_on passed_on
check sshd_logs_in sshd_logs_in
check relay_leaves eventually 5 no_relay
