#!/bin/bash
# nginx with one worker on the stack under wrk, and a kernel's ping meanwhile.
. "$(dirname "$0")/lib.sh"
begin serve

cat > "$WORK/nginx.conf" <<END
user root;
worker_processes 1;
error_log $WORK/err;
pid $WORK/pid;
daemon off;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $WORK; proxy_temp_path $WORK;
    fastcgi_temp_path $WORK; uwsgi_temp_path $WORK; scgi_temp_path $WORK;
    server { listen 80; root $WWW; }
}
END
background launch 100 nginx -c "$WORK/nginx.conf" -p "$WORK" -e "$WORK/err"

wrk_clean() {
    peer 30 wrk -t 1 -c "$1" -d 5 "http://$LAB_ADDR/$2" | tee "$WORK/wrk"
    grep -q "Requests/sec" "$WORK/wrk" &&
        ! grep -Eq "Socket errors|Non-2xx|Requests/sec: +0.00" "$WORK/wrk"
}
ping_clean() {
    peer 30 ping -q -c 200 -i 0.01 -s "$1" "$LAB_ADDR" | tee "$WORK/ping"
    grep -q " 0% packet loss" "$WORK/ping"
}
contents() {
    peer 30 curl -sS -o "$WORK/c" "http://$LAB_ADDR/64M" &&
        cmp "$WORK/c" "$WWW/64M"
}
# every connection of the table is there, with what TCP measured
table() {
    peer 10 curl -sS --limit-rate 1M -o /dev/null "http://$LAB_ADDR/64M" &
    local pid=$! e=0
    sleep 1
    $CTL ss -a --here
    $CTL ss --here | has "tcp ESTAB.* $LAB_ADDR:80 .*nginx/" || e=1
    $CTL ss -a --here | has "tcp LISTEN .*:80 " || e=1
    $CTL ss --here --json | $PYTHON -c "
import json, sys
s = json.load(sys.stdin)[0]['sockets'][0]
assert s['srtt_us'] > 0 and s['cwnd'] > 0, s" || e=1
    $CTL arp --here | has "$LAB_PEER_IP" || e=1
    kill $pid
    wait $pid
    return $e
}
stops() {
    pkill -P "$BG"
    wait "$BG"
    eventually 5 no_stack
}

check nginx_starts eventually 10 stack_listens 80
check contents contents
check wrk_32 wrk_clean 32 1K
check wrk_1 wrk_clean 1 64K
check ping_small ping_clean 56
check ping_fragmented ping_clean 8000
check socket_table table
check stops stops
cat "$WORK/err"
