#!/bin/bash
# Who serves what: rules, strict, loopback inside the stack, servers on all
# addresses; and that each descriptor's server and reason can be seen. Programs
# that cannot be entered are refused with the reason.
. "$(dirname "$0")/lib.sh"
begin policy

in_host() { ip netns exec "$LAB_HOST" "$@"; }
RUN="within 20 ip netns exec $LAB_HOST $BUILD/stackrun"
DEV="--dev $LAB_DEV --addr $LAB_ADDR/24"

# said STATUS WORDS CMD...: this status, and a line of ours with the words
said() {
    local status=$1 words=$2 out e
    shift 2
    out=$("$@" 2>&1)
    e=$?
    echo "$e: $out"
    [ $e = "$status" ] && grep '^libstack: ' <<< "$out" | has "$words"
}

# try.py PROTO:IP:PORT...: what connect says, one word each
cat > "$WORK/try.py" <<'END'
import errno, socket, sys
for t in sys.argv[1:]:
    p, ip, port = t.split(":")
    s = socket.socket(type=socket.SOCK_STREAM if p == "tcp"
                      else socket.SOCK_DGRAM)
    s.settimeout(5)
    try:
        s.connect((ip, int(port)))
        print("ok", end=" ")
    except OSError as e:
        print(errno.errorcode.get(e.errno, e), end=" ")
END
try() {
    local want=$1 out
    shift
    out=$($RUN "$@")
    echo "$out"
    [ "$out" = "$want" ]
}
T="-- $PYTHON $WORK/try.py"

rules() {
    try "EACCES ok EACCES " $DEV --rule "refuse tcp port 81" \
        --rule "refuse udp to $LAB_PEER_IP" $T "tcp:$LAB_PEER_IP:81" \
        "tcp:$LAB_PEER_IP:80" "udp:$LAB_PEER_IP:53" &&
        # the kernel of this host has no way to the peer
        try "ENETUNREACH " $DEV --rule "kernel to $LAB_PEER_IP" $T \
            "tcp:$LAB_PEER_IP:80" &&
        try "ok " $DEV --rule "kernel prog nobody; stack; refuse" $T \
            "tcp:$LAB_PEER_IP:80" &&
        try "EACCES " $DEV --rule "refuse prog $($PYTHON -c \
            'import os; print(os.readlink("/proc/self/exe"))')" $T \
            "tcp:$LAB_PEER_IP:80"
}
check rules rules
check rule_mistake said 125 "refuse tpc" $RUN $DEV --rule "refuse tpc" -- true
check rule_missing said 125 "rule is missing" $RUN $DEV --rule

# Without any device, and without any right.
inside() {
    cat > "$WORK/inside.py" <<'END'
import socket, threading
l = socket.create_server(("127.0.0.1", 8080))
def serve():
    c, _ = l.accept()
    c.sendall(c.recv(100).upper())
threading.Thread(target=serve).start()
c = socket.create_connection(("127.0.0.1", 8080))
c.sendall(b"inside")
print(c.recv(100).decode())
END
    chmod a+rx "$WORK" && chmod a+r "$WORK/inside.py"
    mkdir -p "$WORK/bin"
    cp "$BUILD/stackctl" "$BUILD/stackrun" "$BUILD/libstack.so" "$WORK/bin"
    out=$(within 20 unshare -n setpriv --reuid=65534 --regid=65534 \
        --clear-groups "$WORK/bin/stackrun" --loopback stack --summary -- \
        $PYTHON "$WORK/inside.py" 2>&1)
    echo "$out"
    has '^INSIDE' <<< "$out" && has '0 frames .* in, 0 .* out' <<< "$out" &&
        has '0 left to the kernel' <<< "$out"
}
check loopback_inside inside

# A server on all addresses, through the stack and through the loopback.
wildcard() {
    background launch 30 $PYTHON -m http.server -d "$WWW" 8000
    eventually 10 stack_listens 8000 || return 1
    in_host curl -sS -m 10 -o "$WORK/a" http://127.0.0.1:8000/1K &&
        peer 10 curl -sS -o "$WORK/b" "http://$LAB_ADDR:8000/1K" &&
        cmp "$WORK/a" "$WWW/1K" && cmp "$WORK/b" "$WWW/1K"
}
check wildcard_server wildcard
shown() {
    $CTL ss -a --here | tee /dev/stderr |
        has 'stack, tcp \*:8000 .*: and the kernel, on its loopback'
}
check shown_as_both shown
stop

cat > "$WORK/mixed.py" <<'END'
import socket, sys, time
held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
held[0].connect(("127.0.0.1", 9))
held[1].connect(("203.0.113.5", 99))
held[2].connect((sys.argv[1], 9))
print("ready", flush=True)
time.sleep(20)
END
why() {
    ip -n "$LAB_HOST" route add 203.0.113.0/24 dev lo
    background $RUN $DEV --rule "kernel to port 99" -- \
        $PYTHON "$WORK/mixed.py" "$LAB_PEER_IP"
    eventually 10 grep -q ready "$WORK/bg.log" || return 1
    $CTL ss -a --here > "$WORK/ss"
    $CTL stat --here >> "$WORK/ss"
    cat "$WORK/ss"
    has 'kernel, udp .* > 127.0.0.1:9: loopback address' < "$WORK/ss" &&
        has 'kernel, udp .*:99: rule `kernel to port 99`' < "$WORK/ss" &&
        has "stack, udp $LAB_ADDR:.* > $LAB_PEER_IP:9" < "$WORK/ss" &&
        has ' 1 rule `kernel to port 99`' < "$WORK/ss"
}
check why_shown why
stop

# strict: nothing goes to the kernel unasked.
printf 'int main(void) { return 0; }\n' > "$WORK/x.c"
gcc -static -o "$WORK/static" "$WORK/x.c"
gcc -o "$WORK/plain" "$WORK/x.c"
check strict_protocol said 1 "STRICT" $RUN $DEV --strict -- $PYTHON -c \
    'import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)'
check strict_program said 126 "STRICT" $RUN $DEV --strict -- \
    /bin/sh -c "exec $WORK/static"
check not_strict $RUN $DEV -- /bin/sh -c "exec $WORK/static"
check strict_without_a_stack said 1 "nope0" within 20 ip netns exec \
    "$LAB_HOST" env LD_PRELOAD="$BUILD/libstack.so" LIBSTACK_DEV=nope0 \
    LIBSTACK_ADDR=198.18.0.9/24 LIBSTACK_FALLBACK=kernel LIBSTACK_STRICT=yes \
    $PYTHON -c 'import socket; socket.socket()'
check no_network_no_error within 20 env LD_PRELOAD="$BUILD/libstack.so" \
    LIBSTACK_DEV=nope0 LIBSTACK_ADDR=198.18.0.9/24 LIBSTACK_STRICT=yes \
    /bin/sh -c 'echo fine'

# What LD_PRELOAD cannot enter: static and set-uid ones are in setup.sh.
$PYTHON - "$WORK/plain" "$WORK" <<'END'
import struct, sys
data, out = bytearray(open(sys.argv[1], "rb").read()), sys.argv[2]
def save(name, d):
    open(f"{out}/{name}", "wb").write(d)
other = bytearray(data)
other[4] = 1 # ELFCLASS32
save("class", other)
other = bytearray(data)
struct.pack_into("<H", other, 18, 40) # EM_ARM
save("machine", other)
# the note that the Go linker writes, in the place of the first PT_NOTE
phoff, size, n = (struct.unpack_from("<Q", data, 32)[0],
                  *struct.unpack_from("<HH", data, 54))
for i in range(n):
    at = phoff + i * size
    if struct.unpack_from("<I", data, at)[0] == 4:
        where = struct.unpack_from("<Q", data, at + 8)[0]
        go = bytearray(data)
        struct.pack_into("<III4s", go, where, 4, 4, 4, b"Go\0\0")
        save("go", go)
        break
END
chmod a+rx "$WORK"/{class,machine,go,plain}
check other_class said 126 "another kind of machine" $RUN $DEV -- "$WORK/class"
check other_machine said 126 "another kind of machine" $RUN $DEV -- \
    "$WORK/machine"
check go_program said 126 "is a Go program" $RUN $DEV -- "$WORK/go"
capable() {
    setcap cap_net_raw+ep "$WORK/plain" || return 1
    said 126 "file capabilities" within 20 ip netns exec "$LAB_HOST" setpriv \
        --reuid=65534 --regid=65534 --clear-groups "$WORK/bin/stackrun" $DEV \
        -- "$WORK/plain"
}
check setcap_program capable
