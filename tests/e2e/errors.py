#!/usr/bin/env python3
"""What a program gets to see when things go wrong: one line `case: result`
each. Run on the kernel and on the stack; the lines must be the same.

    errors.py PEER SILENT ABSENT OTHER

PEER runs peer.py; SILENT answers ARP and nothing else; ABSENT is on our
network and not there; OTHER is on a network to which there is no route.
"""
import errno
import select
import socket
import struct
import sys
import time

PEER, SILENT, ABSENT, OTHER = sys.argv[1:5]
TCP = (socket.AF_INET, socket.SOCK_STREAM)
UDP = (socket.AF_INET, socket.SOCK_DGRAM)


def name(e):
    if e.errno is None:  # Python's own limit, not the kernel's ETIMEDOUT
        return "timeout"
    return errno.errorcode.get(e.errno, str(e.errno))


def attempt(f, *args):
    """The result of f, or the name of its error."""
    try:
        r = f(*args)
    except OSError as e:
        return name(e)
    return "ok" if r is None else r


def drain(s):
    """Bytes until the end, and how it ended."""
    n = 0
    while True:
        try:
            part = s.recv(65536)
        except OSError as e:
            return "%d then %s" % (n, name(e))
        if not part:
            return "%d then end" % n
        n += len(part)


def nonblocking(to):
    """A connect that goes on in the background: poll's answer, SO_ERROR."""
    s = socket.socket(*TCP)
    s.setblocking(False)
    first = errno.errorcode.get(s.connect_ex(to), "ok")
    p = select.poll()
    p.register(s, select.POLLOUT)
    bits = [b for _, b in p.poll(15000)]
    err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    again = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return "%s %s %s %d" % (first, bits, errno.errorcode.get(err, err), again)


def refused():
    return attempt(socket.socket(*TCP).connect, (PEER, 9))


def refused_twice():
    s = socket.socket(*TCP)
    return [attempt(s.connect, (PEER, 9)), attempt(s.connect, (PEER, 9))]


def refused_nonblocking():
    return nonblocking((PEER, 9))


def refused_udp():
    s = socket.socket(*UDP)
    s.settimeout(3)
    s.connect((PEER, 9))
    s.send(b"x")
    return [attempt(s.recv, 10), attempt(s.send, b"x")]


def absent():
    return attempt(socket.socket(*TCP).connect, (ABSENT, 80))


def absent_nonblocking():
    return nonblocking((ABSENT, 80))


def absent_udp():
    s = socket.socket(*UDP)
    s.settimeout(6)
    s.connect((ABSENT, 80))
    s.send(b"x")
    return attempt(s.recv, 10)


def no_route():
    return attempt(socket.socket(*TCP).connect, (OTHER, 80))


def no_route_udp():
    s = socket.socket(*UDP)
    return [attempt(s.sendto, b"x", (OTHER, 80)),
            attempt(s.connect, (OTHER, 80))]


def silent():
    s = socket.socket(*TCP)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
    t = time.monotonic()
    r = attempt(s.connect, (SILENT, 80))
    took = time.monotonic() - t  # 1 s + 2 s: one SYN repeated once
    return [r, "in time" if 2.5 < took < 4.5 else took]


def silent_with_limit():
    s = socket.socket(*TCP)
    s.settimeout(0.5)
    return attempt(s.connect, (SILENT, 80))


def reset_midway():
    s = socket.create_connection((PEER, 7001))
    time.sleep(0.1)
    return [drain(s), attempt(s.recv, 10), attempt(s.send, b"x")]


def reset_seen_by_poll():
    s = socket.create_connection((PEER, 7001))
    time.sleep(0.6)
    p = select.poll()
    p.register(s, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    bits = [b for _, b in p.poll(3000)]
    err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return "%s %s" % (bits, errno.errorcode.get(err, err))


def end_midway():
    s = socket.create_connection((PEER, 7002))
    return [drain(s), attempt(s.recv, 10)]


def write_after_end():
    s = socket.create_connection((PEER, 7002))
    drain(s)
    first = attempt(s.send, b"x")
    time.sleep(0.3)  # the answer to it is a reset
    return [first, attempt(s.send, b"x"), attempt(s.send, b"x")]


def receive_limit():
    s = socket.create_connection((PEER, 7003))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO,
                 struct.pack("ll", 0, 200000))
    return attempt(s.recv, 10)


def not_connected():
    s = socket.socket(*TCP)
    return [attempt(s.recv, 1), attempt(s.send, b"x"),
            attempt(s.getpeername), attempt(s.shutdown, socket.SHUT_WR),
            attempt(s.accept)]


def not_connected_udp():
    s = socket.socket(*UDP)
    return [attempt(s.send, b"x"), attempt(s.getpeername),
            attempt(s.listen, 1)]


def connected_twice():
    s = socket.create_connection((PEER, 7003))
    return attempt(s.connect, (PEER, 7003))


def bind_foreign():
    return attempt(socket.socket(*TCP).bind, (PEER, 0))


def bind_taken():
    a, b = socket.socket(*TCP), socket.socket(*TCP)
    a.bind(("0.0.0.0", 7777))
    a.listen(1)
    return [attempt(b.bind, ("0.0.0.0", 7777)), attempt(a.bind, ("", 7778))]


def accept_nothing():
    a = socket.socket(*TCP)
    a.bind(("", 0))
    a.listen(1)
    a.setblocking(False)
    return attempt(a.accept)


def shut_for_writing():
    s = socket.create_connection((PEER, 7003))
    s.shutdown(socket.SHUT_WR)
    return attempt(s.send, b"x")


def too_long_udp():
    return attempt(socket.socket(*UDP).sendto, b"x" * 65508, (PEER, 9))


def main():
    for case in (refused, refused_twice, refused_nonblocking, refused_udp,
                 absent, absent_nonblocking, absent_udp, no_route,
                 no_route_udp, silent, silent_with_limit, reset_midway,
                 reset_seen_by_poll, end_midway, write_after_end,
                 receive_limit, not_connected, not_connected_udp,
                 connected_twice, bind_foreign, bind_taken, accept_nothing,
                 shut_for_writing, too_long_udp):
        try:
            r = case()
        except Exception as e:
            r = "%s: %s" % (type(e).__name__, e)
        print("%s: %s" % (case.__name__, r), flush=True)


main()
