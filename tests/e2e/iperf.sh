#!/bin/bash
# iperf3 in both roles and both directions; the kernel's side pinned to cubic.
. "$(dirname "$0")/lib.sh"
begin iperf

# moved FILE: did the receiver of this JSON report get something?
moved() {
    $PYTHON - "$1" <<'END'
import json, sys
r = json.load(open(sys.argv[1]))
if "error" in r:
    sys.exit(r["error"])
n = r["end"]["sum_received"]["bytes"]
print("# %.2f Gbit/s" % (r["end"]["sum_received"]["bits_per_second"] / 1e9))
sys.exit(0 if n > 10000000 else "only %d bytes" % n)
END
}
client() {
    peer 20 iperf3 -s -1 -p 5201 > /dev/null &
    local pid=$!
    eventually 5 kernel_listens 5201
    stack 15 iperf3 -J -c "$LAB_PEER_IP" -t 2 "$@" > "$WORK/j"
    moved "$WORK/j" && wait $pid
}
server() {
    launch 20 iperf3 -s -1 -p 5202 > /dev/null &
    local pid=$!
    eventually 5 stack_listens 5202
    peer 15 iperf3 -J -c "$LAB_ADDR" -p 5202 -t 2 -C cubic "$@" > "$WORK/j"
    moved "$WORK/j" && wait $pid
}
udp() {
    peer 20 iperf3 -s -1 -p 5203 > /dev/null &
    local pid=$!
    eventually 5 kernel_listens 5203
    stack 15 iperf3 -J -u -b 100M -c "$LAB_PEER_IP" -p 5203 -t 2 > "$WORK/j"
    grep -q '"error"' "$WORK/j" && cat "$WORK/j" && return 1
    wait $pid
}

check client_sends client
check client_receives client -R
check client_4_streams client -P 4
check server_receives server
check server_sends server -R
check udp_client udp
