#!/bin/bash
# Fast Open (RFC 7413) with Linux, in both roles.
. "$(dirname "$0")/lib.sh"
begin open

# tuned TUNE SECONDS CMD...: launch with these settings
tuned() {
    local tune=$1
    shift
    LIBSTACK_TUNE=$tune launch "$@"
}
sysctl_of() { lab_in "$1" sysctl -q -w "$2"; }
# moved NAME: is this counter of the stack above 0?
moved() {
    $CTL stat --here --json | $PYTHON -c "
import json, sys
n = json.load(sys.stdin)[0]['$1']
print('$1', n)
sys.exit(n == 0)"
}
SERVER="
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
s.bind(('', 7))
s.listen(8)
while True:
    c, _ = s.accept()
    c.sendall(c.recv(100).upper())
    c.close()"
CLIENT="
import socket, sys, time
for i in range(3):
    c = socket.socket()
    assert c.sendto(b'hello', socket.MSG_FASTOPEN, (sys.argv[1], 7)) == 5
    assert c.recv(100) == b'HELLO'
    c.close()
time.sleep(float(sys.argv[2]))"

passive() {
    lab_in peer grep -h TcpExt /proc/net/netstat | $PYTHON -c "
import sys
k, v = [l.split() for l in sys.stdin][:2]
n = int(dict(zip(k, v))['TCPFastOpenPassive'])
print('TCPFastOpenPassive', n)
sys.exit(n == 0)"
}
fast_open_client() {
    sysctl_of peer net.ipv4.tcp_fastopen=3
    lab_in peer $PYTHON -c "$SERVER" &
    local server=$! e=0
    eventually 5 kernel_listens 7
    background launch 20 $PYTHON -c "$CLIENT" "$LAB_PEER_IP" 2
    eventually 5 moved tcp_fastopen_active || e=1
    moved tcp_fastopen_cookies || e=1
    wait "$BG" || e=1
    passive || e=1
    pkill -P $server
    kill $server
    return $e
}
fast_open_server() {
    local e=0
    sysctl_of peer net.ipv4.tcp_fastopen=3
    background tuned tcp_fastopen=3 20 $PYTHON -c "$SERVER"
    eventually 10 stack_listens 7 || e=1
    peer 10 $PYTHON -c "$CLIENT" "$LAB_ADDR" 0 || e=1
    moved tcp_fastopen_passive || e=1
    stop
    return $e
}
check fast_open_client fast_open_client
check fast_open_server fast_open_server
