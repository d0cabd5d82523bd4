#!/bin/bash
# Through a router: the gateway is used, what it says by ICMP is heard.
. "$(dirname "$0")/lib.sh"
LAB_ROUTED=1
begin route

down() {
    stack 60 curl -sS -o "$WORK/d" "$URL/64M" && cmp "$WORK/d" "$WWW/64M"
}
up() {
    stack 60 curl -sS -f -T "$WWW/64M" "$URL/up/r" &&
        cmp "$WWW/up/r" "$WWW/64M"
}
# connect ADDRESS [TRIES]: prints the name of the error. Two repetitions of the
# SYN: what the router says is soft (RFC 9293 MUST-56) and explains the time-out.
connect() {
    stack 20 $PYTHON -c "
import errno, socket, sys
s = socket.socket()
s.settimeout(15)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, ${2:-2})
print(errno.errorcode.get(s.connect_ex(('$1', 80))))"
}
# the router asks for the host in vain, and says so
unreachable_host() { [ "$(connect 198.18.1.77)" = EHOSTUNREACH ]; }
unreachable_net() { [ "$(connect 203.0.113.1 1)" = ENETUNREACH ]; }
# as on Linux: at once, though the SYN would be repeated for longer
unreachable_at_once() {
    local LIBSTACK_TUNE=tcp_soft_errors=1
    export LIBSTACK_TUNE
    [ "$(connect 203.0.113.1 6)" = ENETUNREACH ]
}
# ICMP 3/13; Linux has EHOSTUNREACH for it (net/ipv4/icmp.c)
prohibited() {
    lab_in router ip route add prohibit 203.0.113.0/24
    [ "$(connect 203.0.113.1)" = EHOSTUNREACH ]
}
# Beyond the router only 1300 bytes fit, which neither end knows: the router's
# "fragmentation needed" is all there is to learn it from (RFC 1191).
path_mtu() {
    lab_in router ip route change 198.18.1.0/24 dev r1 mtu lock 1300
    up && lab_in router awk '/^Ip:/ && !n++ { for (h = 1; h <= NF; h++)
            if ($h == "FragFails") c = h; next }
        /^Ip:/ { print "router refused " $c; v = $c } END { exit !v }' \
        /proc/net/snmp
}
served() {
    background launch 40 $PYTHON -m http.server -d "$WWW" 8000
    eventually 10 stack_listens 8000
    peer 30 curl -sS -o "$WORK/s" "http://$LAB_ADDR:8000/64M"
    stop
    cmp "$WORK/s" "$WWW/64M"
}
pinged() {
    background launch 20 sleep 10
    sleep 0.5
    peer 10 ping -q -c 20 -i 0.02 "$LAB_ADDR" > "$WORK/ping"
    stop
    grep -q " 0% packet loss" "$WORK/ping"
}

check down_64M down
check up_64M up
check serves served
check pinged pinged
check unreachable_host unreachable_host
check unreachable_net unreachable_net
check unreachable_at_once unreachable_at_once
check prohibited prohibited
check path_mtu path_mtu
