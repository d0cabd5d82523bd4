#!/bin/bash
# Bad set-ups, said in one line each; and the good ones besides the plain form:
# a second program on a running stack, a macvlan, a TAP device.
. "$(dirname "$0")/lib.sh"
begin setup

# refused WORDS CMD...: fails, with exactly one line of ours that has the words
refused() {
    local words=$1 out e
    shift
    out=$(within 20 ip netns exec "$LAB_HOST" "$@" 2>&1 > /dev/null)
    e=$?
    echo "$e: $out"
    [ $e != 0 ] && [ $e != 124 ] &&
        [ "$(grep -c '^libstack: ' <<< "$out")" = 1 ] &&
        grep '^libstack: ' <<< "$out" | has "$words"
}
PRE="env LD_PRELOAD=$BUILD/libstack.so"
RUN=$BUILD/stackrun
NOBODY="setpriv --reuid=65534 --regid=65534 --clear-groups"
OK="LIBSTACK_DEV=$LAB_DEV LIBSTACK_ADDR=$LAB_ADDR/24"
FETCH="curl -sS -o /dev/null $URL/1K"
# where user nobody can read it
COPY=$WORK/bin
mkdir "$COPY"
cp "$BUILD/stackctl" "$BUILD/stackrun" "$BUILD/libstack.so" "$COPY"
chmod -R a+rX "$WORK"

mkdir -m 700 "$WORK/closed" && cp "$COPY"/* "$WORK/closed"
check library_unreadable refused "cannot read" env $OK \
    "$WORK/closed/stackrun" --user nobody -- $FETCH
check no_such_device refused nope0 $RUN --dev nope0 --addr 198.18.0.2/24 \
    -- $FETCH
check no_such_device_plain refused nope0 $PRE LIBSTACK_DEV=nope0 \
    LIBSTACK_ADDR=198.18.0.2/24 $FETCH
check no_permission refused "root|CAP_NET_RAW|permi" $NOBODY env $OK \
    "$COPY/stackrun" -- $FETCH
check no_permission_plain refused "root|CAP_NET_RAW|permi" $NOBODY \
    env LD_PRELOAD="$COPY/libstack.so" $OK $FETCH
check address_in_use refused "use" $RUN --dev "$LAB_DEV" \
    --addr "$LAB_PEER_IP/24" -- $FETCH
check address_in_use_plain refused "use" $PRE LIBSTACK_DEV="$LAB_DEV" \
    LIBSTACK_ADDR="$LAB_PEER_IP/24" $FETCH
check malformed refused "LIBSTACK_MTU=12: want" $RUN --mtu 12 -- $FETCH
check malformed_plain refused "LIBSTACK_ADDR=198.18.0.2: want" $PRE \
    LIBSTACK_ADDR=198.18.0.2 LIBSTACK_DEV="$LAB_DEV" $FETCH
check unknown_setting refused "did you mean LIBSTACK_ADDR" env \
    LIBSTACK_ADR=198.18.0.2/24 $RUN -- $FETCH
check unknown_setting_plain refused "did you mean LIBSTACK_ADDR" $PRE \
    LIBSTACK_ADR=198.18.0.2/24 LIBSTACK_DEV="$LAB_DEV" $FETCH
check unknown_option refused "did you mean --dev" $RUN --device x -- $FETCH
check no_device refused "LIBSTACK_DEV" env -u LIBSTACK_DEV $RUN -- $FETCH
check gateway_elsewhere refused "LIBSTACK_GW" env $OK $RUN --gw 10.0.0.1 \
    -- $FETCH

# ---- a TAP device of our own, with this host at its other end
with_tap() { within "$1" ip netns exec "$LAB_TWIN" env LIBSTACK_TAP=lstap0 \
    LIBSTACK_ADDR=198.18.77.2/24 "${@:2}"; }
tap_fetch() {
    ip netns exec "$LAB_TWIN" iperf3 -s -1 -p 5300 > /dev/null &
    sleep 0.3
    with_tap 20 $RUN -- iperf3 -c 198.18.77.1 -p 5300 -t 1 "$@" > /dev/null &&
        wait $! && ! ip -n "$LAB_TWIN" link show lstap0 2> /dev/null
}
check tap_send tap_fetch
check tap_receive tap_fetch -R
# two programs, one device: the second joins; the host reaches the first
tap_joined() {
    with_tap 20 $RUN -- iperf3 -s -1 -p 5301 > /dev/null &
    sleep 0.7
    with_tap 10 $RUN -- iperf3 -c 198.18.77.1 -p 5302 -t 1 > /dev/null 2>&1 &&
        return 1 # nobody serves that port
    within 15 ip netns exec "$LAB_TWIN" \
        iperf3 -c 198.18.77.2 -p 5301 -t 1 > /dev/null && wait $!
}
check tap_joined tap_joined
# the plain form, which asks stackctl
tap_plain() {
    ip netns exec "$LAB_TWIN" iperf3 -s -1 -p 5303 > /dev/null &
    sleep 0.3
    with_tap 20 $PRE iperf3 -c 198.18.77.1 -p 5303 -t 1 > /dev/null && wait $!
}
check tap_plain tap_plain

# ---- programs that libstack.so cannot enter
echo 'int main(void) { return 0; }' > "$WORK/x.c"
gcc -static -o "$WORK/static" "$WORK/x.c"
gcc -static-pie -o "$WORK/staticpie" "$WORK/x.c"
printf '#!%s\n' "$WORK/static" > "$WORK/script"
chmod +x "$WORK/script"
check missing_program refused "not found" env $OK $RUN -- no-such-program
check static_program refused "static" env $OK $RUN -- "$WORK/static"
check static_pie refused "static" env $OK $RUN -- "$WORK/staticpie"
check script_of_static refused "static" env $OK $RUN -- "$WORK/script"
check set_uid_program refused "set-uid" $NOBODY env $OK "$COPY/stackrun" \
    -- "$(command -v su)"
check not_a_program refused "no program|neither" env $OK $RUN -- /etc/passwd

# ---- what works
exit_status() {
    launch 10 sh -c 'exit 7'
    [ $? = 7 ] || return
    launch 10 sh -c 'kill -KILL $$'
    [ $? = 137 ]
}
# stackctl in a shell on the stack; and a program of its own launched there.
inside() {
    launch 20 sh -c 'curl -sS -o "$1/in" "$2/1M" && "$3/stackctl" stat --here &&
        "$3/stackrun" -- curl -sS -o "$1/in2" "$2/1M"' \
        sh "$WORK" "$URL" "$BUILD" | has " 1  tcp_established" &&
        cmp "$WORK/in2" "$WWW/1M"
}
# Signals to the launcher reach the program.
passes_on() {
    rm -f "$WORK/sig"
    launch 20 sh -c 'trap "exit 3" '$1'; echo up; while :; do sleep 0.1; done' \
        > "$WORK/sig" &
    local pid=$! ctl e
    eventually 5 grep -q up "$WORK/sig"
    ctl=$(pgrep -f "stackctl run -- sh -c trap")
    kill -$1 $ctl
    wait $pid
    e=$?
    echo "status $e"
    [ $e = 3 ]
}
keeps_preload() {
    within 10 ip netns exec "$LAB_HOST" env $OK \
        LD_PRELOAD=/lib/x86_64-linux-gnu/libm.so.6 $RUN -- \
        sh -c 'echo "$LD_PRELOAD"' | has 'libstack.so:/lib/.*libm'
}
# Two programs of one host: the second joins, they talk to each other and both
# to the peer.
two_programs() {
    local e=0
    background launch 60 $PYTHON -m http.server -d "$WWW" 8000
    eventually 10 stack_listens 8000 || e=1
    launch 20 curl -sS -o "$WORK/t1" "http://$LAB_ADDR:8000/1M" || e=1
    stack 20 curl -sS -o "$WORK/t2" "http://$LAB_ADDR:8000/1M" || e=1
    launch 20 curl -sS -o "$WORK/t3" "$URL/1M" || e=1
    peer 20 curl -sS -o "$WORK/t4" "http://$LAB_ADDR:8000/1M" || e=1
    [ "$($CTL ss -a --here | grep -c '^stack ')" = 1 ] || e=1
    $CTL stat --here | has " joins " || e=1
    stop
    for i in 1 2 3 4; do
        cmp "$WORK/t$i" "$WWW/1M" || e=1
    done
    return $e
}
# Four at the same time, without a launcher: one makes the stack, the others
# join it, whoever is first.
together() {
    local i pids=
    for i in 1 2 3 4; do
        stack 20 curl -sS -o "$WORK/g$i" "$URL/1M" &
        pids="$pids $!"
    done
    for i in $pids; do
        wait "$i" || return
    done
    for i in 1 2 3 4; do
        cmp "$WORK/g$i" "$WWW/1M" || return
    done
}
# A program that is stopped and killed while others of its stack go on.
killed() {
    local e=0
    background launch 60 sh -c "$PYTHON -m http.server -d '$WWW' 8001 & \
        curl -sS --limit-rate 1M -o /dev/null $URL/64M & echo \$! > $WORK/victim
        wait"
    eventually 10 stack_listens 8001 || e=1
    sleep 0.3
    kill -KILL "$(cat "$WORK/victim")"
    peer 10 curl -sS -o "$WORK/k" "http://$LAB_ADDR:8001/1M" || e=1
    cmp "$WORK/k" "$WWW/1M" || e=1
    # the victim's connection has ended at the peer
    eventually 5 sh -c "! ip netns exec $LAB_PEER ss -Htn state established \
        '( sport = :80 )' | grep $LAB_ADDR" || e=1
    stop
    return $e
}
macvlan() {
    local e=0
    within 30 ip netns exec "$LAB_HOST" $RUN --parent "$LAB_DEV" \
        --addr 198.18.0.3/24 -- curl -sS -o "$WORK/mv" "$URL/1M" || e=1
    cmp "$WORK/mv" "$WWW/1M" || e=1
    ip -n "$LAB_HOST" -br link
    [ "$(ip -n "$LAB_HOST" -br link | wc -l)" = 2 ] || e=1
    return $e
}
# A TAP device whose other end is a program that carries frames to the link.
tap() {
    local e=0
    # the carrier knows nothing of offloads: frames as a wire has them
    lab_in peer ethtool -K peer0 tx off tso off gso off > /dev/null 2>&1
    lab_in host $PYTHON "$HERE/tap.py" tap7 "$LAB_DEV" > "$WORK/tap.log" 2>&1 &
    local pid=$!
    eventually 5 grep -q ready "$WORK/tap.log"
    within 30 ip netns exec "$LAB_HOST" $RUN --dev tap7 \
        --addr 198.18.0.4/24 -- curl -sS -o "$WORK/tap" "$URL/1M" || e=1
    cmp "$WORK/tap" "$WWW/1M" || e=1
    kill $pid
    cat "$WORK/tap.log"
    return $e
}
captures() {
    within 20 ip netns exec "$LAB_HOST" env $OK $RUN --pcap "$WORK/p.pcap" -- \
        curl -sS -o /dev/null "$URL/64K" &&
        [ "$(tshark -r "$WORK/p.pcap" -Y 'tcp.flags.syn == 1' 2> /dev/null |
            wc -l)" = 2 ] &&
        [ "$(tshark -r "$WORK/p.pcap" -Y 'tcp.flags.fin == 1' 2> /dev/null |
            wc -l)" -ge 1 ]
}
settings_file() {
    printf 'dev = %s\naddr = %s/24 # ours\n' "$LAB_DEV" "$LAB_ADDR" \
        > "$WORK/conf"
    within 20 ip netns exec "$LAB_HOST" $RUN --config "$WORK/conf" -- \
        curl -sS -o "$WORK/cf" "$URL/1K" && cmp "$WORK/cf" "$WWW/1K"
}
# The watcher polls before it sleeps: a server that says nothing for 50 ms.
spins() {
    local host=${URL#http://}
    within 20 ip netns exec "$LAB_HOST" strace -f -e trace=ppoll \
        -o "$WORK/spin" env LD_PRELOAD="$BUILD/libstack.so" $OK \
        LIBSTACK_SPIN=2000 python3 -c "
import socket
s = socket.create_connection(('${host%%:*}', 80))
s.settimeout(0.05)
try:
    s.recv(1)
except TimeoutError:
    print('silent')" | grep -q silent &&
        [ "$(grep -c 'tv_sec=0, tv_nsec=0}.*= 0 (Timeout)' "$WORK/spin")" \
            -gt 5 ]
}
summary() {
    within 20 ip netns exec "$LAB_HOST" env $OK $RUN --summary -- \
        curl -sS -o /dev/null "$URL/1M" 2> "$WORK/sum"
    cat "$WORK/sum"
    grep -q '^libstack: .*socket' "$WORK/sum"
}
as_user() {
    [ "$(within 20 ip netns exec "$LAB_HOST" env $OK "$COPY/stackrun" \
        --user nobody -- sh -c "id -un; curl -sS $URL/1K | wc -c")" = \
        "nobody
1024" ]
}
fallback() {
    within 20 ip netns exec "$LAB_TWIN" env LD_PRELOAD="$BUILD/libstack.so" \
        LIBSTACK_FALLBACK=kernel LIBSTACK_DEV=nope0 LIBSTACK_ADDR=198.18.0.2/24 \
        curl -sS -o "$WORK/fb" "http://$LAB_TWIN_PEER_IP/1K" &&
        cmp "$WORK/fb" "$WWW/1K"
}

# The layout of an installation: bin/ and lib/, found from each other.
installed() {
    local lib
    cmake --install "$BUILD" --prefix "$WORK/inst" > /dev/null || return
    lib=$(find "$WORK/inst" -name libstack.so)
    within 20 ip netns exec "$LAB_HOST" env $OK "$WORK/inst/bin/stackrun" -- \
        curl -sS -o "$WORK/in1" "$URL/1K" &&
        within 20 ip netns exec "$LAB_HOST" env $OK LD_PRELOAD="$lib" PATH=/bin \
            curl -sS -o "$WORK/in2" "$URL/1K" &&
        cmp "$WORK/in1" "$WWW/1K" && cmp "$WORK/in2" "$WWW/1K" &&
        [ -s "$WORK/inst/share/man/man1/stackrun.1" ]
}
# The manual page has the settings as the list has them.
manual_page() {
    "$BUILD/stackctl" conf --man > "$WORK/man"
    $PYTHON -c "
import sys
page, table = open(sys.argv[1]).read(), open(sys.argv[2]).read()
sys.exit(0 if table and table in page else 'stackctl conf --man differs')" \
        "$ROOT/tools/man/stackctl.1" "$WORK/man"
}

check manual_page manual_page
check installed installed
check exit_status exit_status
check stackctl_on_the_stack inside
check term_passed_on passes_on TERM
check quit_passed_on passes_on QUIT
check usr2_passed_on passes_on USR2
check keeps_ld_preload keeps_preload
check two_programs two_programs
check started_together together
check one_of_two_killed killed
check macvlan macvlan
check tap tap
check capture captures
check settings_file settings_file
check spin spins
check summary summary
check user as_user
check fallback_kernel fallback
