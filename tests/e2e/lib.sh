# lib.sh: what the e2e tests have in common. Source it first.
#
# A test is a bash script that makes its own lab (tools/lab), runs real programs
# on libstack in the host's namespace against Linux in the peer's, and prints
# "ok NAME" or "not ok NAME" for each check; its exit status says whether all
# were ok. It needs root; without, it exits with 77, which means skipped.
#
#   BUILD   the build tree to test (default: build/ in this checkout)

set -u -o pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
BUILD=$(cd "${BUILD:-$ROOT/build}" && pwd) || exit 2
PYTHON=/usr/bin/python3
LAB_ROUTED='' LAB_RELAYED='' LAB_BULK=''
FAILED=0 PASSED=0
. "$ROOT/tools/lab"

if [ "$(id -u)" != 0 ]; then
    echo "e2e: needs root for network namespaces: skipped"
    exit 77
fi

# begin NAME: a lab for this test, and its removal however the test ends.
begin() {
    LAB_NAME=e2e$1$$
    WORK=$(mktemp -d "/var/tmp/libstack-e2e.XXXXXX")
    trap finish EXIT
    trap 'exit 130' INT TERM HUP
    lab_up || exit 2
    # Names that differ from the shell's own: stackrun, the stack's address
    WWW=$LAB_BULK/www
    CTL="ip netns exec $LAB_HOST $BUILD/stackctl"
    URL=http://$LAB_PEER_IP
}

# Remove all, report; the exit status of the test.
finish() {
    local status=$?
    trap - EXIT
    lab_down
    rm -rf "$WORK"
    echo "# $PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ] && [ "$status" = 0 ]
    exit
}

# within SECONDS CMD...: with a time limit; the limit is a failure (124).
within() { timeout -k 5 "$@"; }

# stack SECONDS CMD...: the plain form, in the host's namespace.
stack() {
    local limit=$1
    shift
    within "$limit" ip netns exec "$LAB_HOST" env \
        LD_PRELOAD="$BUILD/libstack.so" $(lab_settings) "$@"
}

# launch SECONDS CMD...: by the launcher.
launch() {
    local limit=$1
    shift
    within "$limit" ip netns exec "$LAB_HOST" env $(lab_settings) \
        "$BUILD/stackrun" -- "$@"
}

# kernel SECONDS CMD...: on Linux, in the twin's namespace.
kernel() {
    local limit=$1
    shift
    within "$limit" ip netns exec "$LAB_TWIN" "$@"
}

# peer SECONDS CMD...: on Linux, in the peer's namespace.
peer() {
    local limit=$1
    shift
    within "$limit" ip netns exec "$LAB_PEER" "$@"
}

# check NAME CMD...: one result line; on failure the end of the output.
check() {
    local name=$1 start=$SECONDS
    shift
    if "$@" > "$WORK/log" 2>&1; then
        PASSED=$((PASSED + 1))
        echo "ok $name ($((SECONDS - start)) s)"
    else
        FAILED=$((FAILED + 1))
        echo "not ok $name ($((SECONDS - start)) s)"
        tail -n 15 "$WORK/log" | sed 's/^/# /'
    fi
}

# eventually SECONDS CMD...: until CMD succeeds.
eventually() {
    local tries=$(($1 * 20))
    shift
    while ! "$@" > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

# has REGEX: does the input have it? Reads all: grep -q would break the pipe.
has() { grep -E -e "$1" > /dev/null; }

# stack_listens PORT / kernel_listens PORT: is a server ready? (tcp or udp)
stack_listens() {
    $CTL ss -a --here | has "(LISTEN|UNCONNECTED) .*(\*|$LAB_ADDR):$1 "
}
kernel_listens() {
    ip netns exec "$LAB_PEER" ss -Hlntu | has ":$1 "
}

no_stack() { ! $CTL ss --here; }

# background CMD...: start a function or program, remember it in BG; stop ends
# it (what a function runs is a child of the subshell that BG is).
background() {
    "$@" > "$WORK/bg.log" 2>&1 &
    BG=$!
}
stop() {
    pkill -P "$BG" 2> /dev/null || kill "$BG" 2> /dev/null
    wait "$BG" 2> /dev/null
    eventually 5 no_stack
}
