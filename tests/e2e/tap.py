#!/usr/bin/env python3
"""Make a TAP device and carry frames between it and another device, until
killed. tap.py TAP DEVICE"""
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
ETH_P_ALL = 3
PACKET_OUTGOING = 4


def main():
    name, device = sys.argv[1:3]
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                            IFF_TAP | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    # frames longer than the MTU are of no use to the other side
    subprocess.run(["ethtool", "-K", device, "gro", "off"],
                   capture_output=True)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                         socket.htons(ETH_P_ALL))
    wire.bind((device, 0))
    # see the frames of everybody on the link: PACKET_MR_PROMISC
    index = socket.if_nametoindex(device)
    wire.setsockopt(263, 1, struct.pack("iHH8s", index, 1, 0, b""))
    print("ready", flush=True)
    while True:
        for fd in select.select([tap, wire], [], [])[0]:
            if fd is wire:
                frame, source = wire.recvfrom(65536)
                if source[2] != PACKET_OUTGOING:
                    os.write(tap, frame)
            else:
                wire.send(os.read(tap, 65536))


main()
