#!/usr/bin/env python3
"""The other host of tests/interpose: peer.py ADDRESS

Serves fixed ports (see t.h) until its standard input ends, and prints "ready".
The control port takes one line and answers "ok":
    dial PORT hello     connect to the caller's PORT, send "hello", wait for
                        the end, close
    dial PORT reset     connect, send "x", reset
    dial PORT close     connect, send "bye", close
    dial PORT echo      connect, echo until the end
    dial PORT many N    N connections, kept for 3 s
    counted N           answers the last count of port 16 once there are N
    udp PORT TEXT       send one datagram to the caller's PORT
"""
import os
import socket
import struct
import sys
import threading
import time

ADDR = sys.argv[1]


def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def until_end(c):
    while c.recv(65536):
        pass


def echo(c):
    while True:
        data = c.recv(65536)
        if not data:
            return
        c.sendall(data)


def hello(c):
    c.sendall(b"hello")
    until_end(c)


def bye(c):
    c.sendall(b"bye")


def on_byte_reset(c):
    c.recv(1)
    reset(c)


counted = []  # by count(), in order


def count(c):
    total = 0
    while True:
        n = len(c.recv(65536))
        if n == 0:
            break
        total += n
    counted.append(total)
    c.sendall(b"%d" % total)


def source(c):
    c.sendall(bytes(i % 251 for i in range(1000000)))


def stuck(c):
    time.sleep(60)


def drip(c):
    for part in (b"abc", b"def", b"ghi"):
        c.sendall(part)
        time.sleep(0.2)
    until_end(c)


def control(c):
    line = b""
    while not line.endswith(b"\n"):
        line += c.recv(200)
    caller = c.getpeername()[0]
    words = line.decode().split()
    if words[0] == "counted":  # waits for the N-th, at most 5 s
        for _ in range(100):
            if len(counted) >= int(words[1]):
                break
            time.sleep(0.05)
        c.sendall(b"%d" % (counted[-1] if counted else -1))
        counted.clear()
        return
    thread(dial if words[0] == "dial" else dgram, caller, words)
    c.sendall(b"ok")


def dial(caller, words):
    n = int(words[3]) if words[2] == "many" else 1
    kept = []
    for _ in range(n):
        c = socket.create_connection((caller, int(words[1])), timeout=5,
                                     source_address=(ADDR, 0))
        c.settimeout(None)
        kept.append(c)
    if words[2] == "hello":
        hello(c)
    elif words[2] == "close":
        bye(c)
    elif words[2] == "echo":
        echo(c)
    elif words[2] == "reset":
        c.sendall(b"x")
        time.sleep(0.05)
        reset(c)
    elif words[2] == "many":
        time.sleep(3)
    for c in kept:
        c.close()


def dgram(caller, words):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ADDR, 0))
    s.sendto(" ".join(words[2:]).encode(), (caller, int(words[1])))


def guarded(f, *args):
    try:
        f(*args)
    except OSError:
        pass
    if args and isinstance(args[0], socket.socket):
        args[0].close()


def thread(f, *args):
    threading.Thread(target=guarded, args=(f, *args), daemon=True).start()


def serve(port, f):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((ADDR, port))
    s.listen(64)

    def loop():
        while True:
            thread(f, s.accept()[0])
    threading.Thread(target=loop, daemon=True).start()


def serve_udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ADDR, 7))

    def loop():
        while True:
            data, who = s.recvfrom(65536)
            s.sendto(data, who)
    threading.Thread(target=loop, daemon=True).start()


for port, f in {7: echo, 9: until_end, 13: hello, 14: bye, 15: on_byte_reset,
                16: count, 19: source, 20: stuck, 21: drip,
                1000: control}.items():
    serve(port, f)
serve_udp()
print("ready", flush=True)
sys.stdin.read()
os._exit(0)
