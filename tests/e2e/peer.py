#!/usr/bin/env python3
"""Servers that misbehave, for errors.sh. peer.py ADDRESS

    7001  sends 100,000 bytes, then resets the connection
    7002  sends 100,000 bytes, then closes
    7003  accepts and stays silent
    7011  HTTP: promises 1,000,000 bytes, sends 100,000, resets
    7012  HTTP: the same, closes
    7013  HTTP: the same, then stays silent
"""
import socket
import struct
import sys
import threading
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
BODY = b"x" * 100000


def reset(c):
    time.sleep(0.3)  # let the data arrive first: a reset discards the rest
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def request(c):
    got = b""
    while b"\r\n\r\n" not in got:
        part = c.recv(4096)
        if not part:
            break
        got += part


def serve(port, c):
    if port >= 7010:
        request(c)
        c.sendall(HEAD)
    if port != 7003:
        c.sendall(BODY)
    if port in (7001, 7011):
        reset(c)
    elif port in (7002, 7012):
        c.close()
    else:
        time.sleep(60)


def accept(port, listener):
    while True:
        c, _ = listener.accept()
        threading.Thread(target=serve, args=(port, c), daemon=True).start()


def main():
    for port in (7001, 7002, 7003, 7011, 7012, 7013):
        s = socket.create_server((sys.argv[1], port))
        threading.Thread(target=accept, args=(port, s), daemon=True).start()
    print("ready", flush=True)
    time.sleep(3600)


main()
