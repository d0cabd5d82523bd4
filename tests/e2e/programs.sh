#!/bin/bash
# Programs that were not made for us, as clients and as servers.
. "$(dirname "$0")/lib.sh"
begin prog

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab \
    -keyout "$WORK/key" -out "$WORK/cert" 2> /dev/null

# s_server -WWW: the command, to be run in www/
https_server() {
    cd "$WWW" && "$@" openssl s_server -quiet -WWW -accept 4433 \
        -key "$WORK/key" -cert "$WORK/cert"
}
https_client() {
    background https_server peer 60
    eventually 5 kernel_listens 4433
    stack 30 curl -sSk -o "$WORK/s" "https://$LAB_PEER_IP:4433/1M"
    local e=$?
    stop
    [ $e = 0 ] && cmp "$WORK/s" "$WWW/1M"
}
https_serves() {
    background https_server launch 60
    eventually 5 stack_listens 4433
    peer 30 curl -sSk -o "$WORK/s2" "https://$LAB_ADDR:4433/1M"
    local e=$?
    stop
    [ $e = 0 ] && cmp "$WORK/s2" "$WWW/1M"
}
wget_fetches() {
    stack 30 wget -q -O "$WORK/w" "$URL/64M" && cmp "$WORK/w" "$WWW/64M"
}
git_clones() {
    git init -q -b main "$WORK/src" &&
        cp "$WWW/1M" "$WORK/src/file" &&
        git -C "$WORK/src" add file &&
        git -C "$WORK/src" -c user.name=a -c user.email=a@b commit -qm one &&
        git clone -q --bare "$WORK/src" "$WWW/repo.git" &&
        git -C "$WWW/repo.git" update-server-info &&
        stack 60 git clone -q "$URL/repo.git" "$WORK/clone" &&
        cmp "$WORK/clone/file" "$WWW/1M"
}
urllib_fetches() {
    stack 30 $PYTHON -c "
import sys, urllib.request, shutil
with urllib.request.urlopen('$URL/64M') as r, open('$WORK/u', 'wb') as f:
    shutil.copyfileobj(r, f)" && cmp "$WORK/u" "$WWW/64M"
}
http_server_serves() {
    local e=0 i
    background launch 60 $PYTHON -m http.server -d "$WWW" 8000
    eventually 10 stack_listens 8000 || e=1
    peer 30 curl -sS -o "$WORK/h" "http://$LAB_ADDR:8000/64M" || e=1
    cmp "$WORK/h" "$WWW/64M" || e=1
    peer 30 curl -sS -Z --parallel-immediate -o "$WORK/h#1" \
        "http://$LAB_ADDR:8000/1M?[1-8]" || e=1
    for i in 1 2 3 4 5 6 7 8; do
        cmp "$WORK/h$i" "$WWW/1M" || e=1
    done
    stop
    cat "$WORK/bg.log"
    return $e
}
# one file through ncat and socat, in each direction
ncat_out() {
    peer 30 ncat -l 7100 > "$WORK/n1" &
    local pid=$!
    eventually 5 kernel_listens 7100
    stack 20 ncat --send-only "$LAB_PEER_IP" 7100 < "$WWW/1M" &&
        wait $pid && cmp "$WORK/n1" "$WWW/1M"
}
ncat_in() {
    launch 30 ncat -l 7101 > "$WORK/n2" &
    local pid=$!
    eventually 5 stack_listens 7101
    peer 20 ncat --send-only "$LAB_ADDR" 7101 < "$WWW/1M" &&
        wait $pid && cmp "$WORK/n2" "$WWW/1M"
}
socat_out() {
    peer 30 socat -u TCP4-LISTEN:7102 - > "$WORK/n3" &
    local pid=$!
    eventually 5 kernel_listens 7102
    stack 20 socat -u - "TCP4:$LAB_PEER_IP:7102" < "$WWW/1M" &&
        wait $pid && cmp "$WORK/n3" "$WWW/1M"
}
socat_in() {
    launch 30 socat -u TCP4-LISTEN:7103 - > "$WORK/n4" &
    local pid=$!
    eventually 5 stack_listens 7103
    peer 20 socat -u - "TCP4:$LAB_ADDR:7103" < "$WWW/1M" &&
        wait $pid && cmp "$WORK/n4" "$WWW/1M"
}
# a forking echo server on the stack, eight clients at once
socat_forks() {
    local e=0 i pids=
    background launch 40 socat TCP4-LISTEN:7104,fork,reuseaddr EXEC:cat
    eventually 5 stack_listens 7104 || e=1
    for i in 1 2 3 4 5 6 7 8; do
        peer 20 socat -t 5 - "TCP4:$LAB_ADDR:7104" < "$WWW/64K" \
            > "$WORK/f$i" &
        pids="$pids $!"
    done
    wait $pids
    for i in 1 2 3 4 5 6 7 8; do
        cmp "$WORK/f$i" "$WWW/64K" || e=1
    done
    stop
    return $e
}
udp_echo() {
    local e=0
    peer 20 socat UDP4-LISTEN:7105,fork PIPE &
    local pid=$!
    eventually 5 kernel_listens 7105
    [ "$(echo hello | stack 10 socat -t 1 - "UDP4:$LAB_PEER_IP:7105")" = \
        hello ] || e=1
    kill $pid
    return $e
}
dns_names() {
    stack 10 getent ahostsv4 alias.lab.test | has "$LAB_PEER_IP" &&
        ! stack 10 getent ahostsv4 none.lab.test
}

check https_client https_client
check https_server https_serves
check wget wget_fetches
check git_clone git_clones
check python_urllib urllib_fetches
check python_http_server http_server_serves
check ncat_client ncat_out
check ncat_server ncat_in
check socat_client socat_out
check socat_server socat_in
check socat_forking_server socat_forks
check udp_echo udp_echo
check dns_names dns_names
