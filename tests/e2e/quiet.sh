#!/bin/bash
# What costs nothing: an idle connection, and a program without network.
. "$(dirname "$0")/lib.sh"
begin quiet

lab_in peer socat TCP4-LISTEN:7200,fork,reuseaddr EXEC:"sleep 60" &
eventually 5 kernel_listens 7200

# A program that waits in recv, and one that waits in epoll.
cat > "$WORK/idle.py" <<END
import select, socket, sys
s = socket.create_connection(("$LAB_PEER_IP", 7200))
print("connected", flush=True)
if sys.argv[1] == "epoll":
    e = select.epoll()
    e.register(s, select.EPOLLIN)
    e.poll()
s.recv(1)
END

# idle HOW FORM: no system call in any thread for 5 s
idle() {
    local pids args= n
    "$2" 30 $PYTHON "$WORK/idle.py" "$1" > "$WORK/idle.log" 2>&1 &
    local pid=$!
    eventually 5 grep -q connected "$WORK/idle.log" || {
        cat "$WORK/idle.log"
        return 1
    }
    # the peer's neighbour entry would be probed now and then
    ip -n "$LAB_PEER" neigh change "$LAB_ADDR" dev peer0 nud permanent \
        lladdr "$(ip -n "$LAB_PEER" neigh show "$LAB_ADDR" |
            sed 's/.*lladdr \([^ ]*\).*/\1/')"
    sleep 1.5
    pids=$(pgrep -f "$WORK/idle.py $1")
    for n in $pids; do
        grep -q libstack "/proc/$n/maps" && args="$args -p $n"
    done
    [ -n "$args" ] || return 1
    timeout -s INT 5 strace -f -c -o "$WORK/strace" $args
    kill $pids 2> /dev/null
    wait $pid
    cat "$WORK/strace"
    ! grep -q '[0-9]' "$WORK/strace"
}

# Neither a thread nor a stack for a program that opens no socket.
no_thread() {
    stack 10 sleep 2 &
    local pid=$! e=0 n
    sleep 0.5
    for n in $(pgrep -x sleep); do
        grep -q libstack.so "/proc/$n/maps" || continue
        e=$((e + 1))
        [ "$(ls "/proc/$n/task" | wc -l)" = 1 ] || e=99
        ! ls -l "/proc/$n/fd" | has memfd || e=99
    done
    wait $pid
    [ $e = 1 ]
}

# The median of many starts of true(1), with and without, in turns.
start_cost() {
    within 120 ip netns exec "$LAB_HOST" $PYTHON - "$BUILD/libstack.so" \
        $(lab_settings) <<'END'
import os, statistics, sys, time
plain = {"PATH": "/usr/bin:/bin"}
ours = dict(plain, LD_PRELOAD=sys.argv[1],
            **dict(s.split("=", 1) for s in sys.argv[2:]))
def once(env):
    t = time.perf_counter()
    pid = os.posix_spawn("/bin/true", ["true"], env)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return (time.perf_counter() - t) * 1000
a, b = [], []
for i in range(300):
    a.append(once(plain))
    b.append(once(ours))
a, b = statistics.median(a), statistics.median(b)
print("true: %.3f ms, with libstack.so %.3f ms, %.3f ms more" %
      (a, b, b - a))
sys.exit(0 if b - a < 1 else 1)
END
}

check idle_recv idle recv stack
check idle_epoll idle epoll stack
check idle_launched idle recv launch
check no_thread_without_network no_thread
check start_costs_less_than_1_ms start_cost
cat "$WORK/log"
