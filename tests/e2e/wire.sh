#!/bin/bash
# What is on the wire, seen from the peer: our frames and only ours, whole and
# with right checksums; and the namespace's own TCP and UDP have done nothing.
. "$(dirname "$0")/lib.sh"
begin wire

# Offloads off, so that each frame of the capture is as a wire would have it.
ip netns exec "$LAB_HOST" ethtool -K "$LAB_DEV" tx off tso off gso off gro off \
    > /dev/null 2>&1
ip netns exec "$LAB_PEER" ethtool -K peer0 tx off tso off gso off gro off \
    > /dev/null 2>&1
KERNEL_MAC=$(ip netns exec "$LAB_HOST" cat "/sys/class/net/$LAB_DEV/address")

# The kernel's own counters of TCP and UDP in the host's namespace.
counters() { ip netns exec "$LAB_HOST" grep -E '^(Tcp|Udp):' /proc/net/snmp; }

# rows FILTER: how many frames of the capture match
rows() {
    tshark -r "$WORK/cap" -n -o tcp.check_checksum:TRUE \
        -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE \
        -Y "$1" 2> /dev/null | wc -l
}
none() {
    local n
    n=$(rows "$1")
    echo "$n frames match $1"
    [ "$n" = 0 ]
}
some() { [ "$(rows "$1")" -gt 0 ]; }

traffic() {
    stack 30 curl -sS -o "$WORK/a" http://www.lab.test/1M &&
        cmp "$WORK/a" "$WWW/1M" &&
        stack 30 curl -sS -f -T "$WWW/1M" "$URL/up/1M" &&
        stack 30 curl -sS -Z -o "$WORK/p#1" "$URL/64K?[1-8]" &&
        ! stack 10 curl -sS "http://$LAB_PEER_IP:9/"
}

counters > "$WORK/before"
ip netns exec "$LAB_PEER" tcpdump -Z root -q -i peer0 -B 65536 \
    --immediate-mode -w "$WORK/cap" 2> "$WORK/dump.log" &
DUMP=$!
eventually 5 grep -q listening "$WORK/dump.log"
check traffic traffic
sleep 0.5
kill $DUMP
wait $DUMP
counters > "$WORK/after"

check kernel_counters_unchanged cmp "$WORK/before" "$WORK/after"
check frames_seen some "tcp && ip.src == $LAB_ADDR"
check names_asked some "dns && ip.src == $LAB_ADDR"
check one_mac test 1 = "$(tshark -r "$WORK/cap" -n -T fields -e eth.src \
    -Y "ip.src == $LAB_ADDR || arp.src.proto_ipv4 == $LAB_ADDR" 2> /dev/null |
    sort -u | wc -l)"
check nothing_from_the_kernel none "eth.src == $KERNEL_MAC"
check only_our_address none \
    "eth.dst != ff:ff:ff:ff:ff:ff && ip && !(ip.addr == $LAB_ADDR)"
check no_malformed none "_ws.malformed"
check no_bad_checksum none "ip.checksum.status == Bad ||
    tcp.checksum.status == Bad || udp.checksum.status == Bad"
check no_expert_error none "_ws.expert.severity == error"
check no_long_frame none "frame.len > 1514"
check no_retransmission none "tcp.analysis.retransmission && \
    ip.src == $LAB_ADDR"
check handshakes_carry_options none "tcp.flags.syn == 1 && \
    ip.src == $LAB_ADDR && !(tcp.options.mss && tcp.options.wscale && \
    tcp.options.sack_perm && tcp.options.timestamp)"
