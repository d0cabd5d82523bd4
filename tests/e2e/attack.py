#!/usr/bin/env python3
"""Attackers, and the server they attack.

    attack.py serve                       on the stack: port 7 echoes, 8 sends
    attack.py ATTACK DEVICE US THEM MAC   in the peer's namespace, as US

Each attack talks to the server as an honest client does, forges frames beside
that by a packet socket, and says what came of it; its exit status tells whether
the honest client lost anything. The forger knows addresses and ports; where he
is said to be blind he does not know the sequence numbers, and tries many.
"""
import os
import random
import selectors
import socket
import struct
import sys
import threading
import time

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


# ---- the server -----------------------------------------------------------

def serve():
    """Port 7 echoes what it gets; port 8 sends for ever and reads nothing."""
    sel = selectors.DefaultSelector()
    block = bytes(65536)
    for port in (7, 8):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", port))
        s.listen(64)
        s.setblocking(False)
        sel.register(s, selectors.EVENT_READ, ("accept", port))

    def forget(c):
        sel.unregister(c)
        c.close()

    while True:
        for key, _ in sel.select():
            what, port = key.data[:2]
            c = key.fileobj
            try:
                if what == "accept":
                    n, _ = c.accept()
                    n.setblocking(False)
                    event = selectors.EVENT_READ if port == 7 else \
                        selectors.EVENT_WRITE
                    sel.register(n, event, ("client", port, bytearray()))
                elif port == 8:
                    c.send(block)
                else:
                    pending = key.data[2]
                    data = c.recv(65536) if len(pending) < 1 << 20 else None
                    if data == b"":
                        forget(c)
                        continue
                    pending += data or b""
                    del pending[:c.send(pending)]
                    sel.modify(c, selectors.EVENT_READ | selectors.EVENT_WRITE
                               if pending else selectors.EVENT_READ, key.data)
            except BlockingIOError:
                pass
            except OSError:
                forget(c)


# ---- the forger -----------------------------------------------------------

def csum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    s = (s >> 16) + (s & 0xffff)
    return ~(s + (s >> 16)) & 0xffff


class Forger:
    """Frames to the stack, with whatever source it likes."""

    def __init__(self, dev, us, them, mac):
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.s.bind((dev, 0x0800))
        mine = open(f"/sys/class/net/{dev}/address").read().strip()
        self.eth = bytes.fromhex(mac.replace(":", "")) + \
            bytes.fromhex(mine.replace(":", "")) + b"\x08\0"
        self.us, self.them = socket.inet_aton(us), socket.inet_aton(them)
        self.sent = 0

    def send(self, frame):
        while True:
            try:
                self.s.send(frame)
                self.sent += 1
                return
            except (BlockingIOError, OSError) as e:
                if e.errno not in (11, 105):
                    raise
                time.sleep(0.0005)

    def ip(self, proto, payload, src=None, frag=0, ident=0):
        h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, frag,
                        64, proto, 0, src or self.us, self.them)
        self.send(self.eth + h[:10] + struct.pack("!H", csum(h)) + h[12:] +
                  payload)

    def tcp(self, sport, dport, flags, seq, ack=0, data=b"", opts=b"", src=None,
            win=1024):
        opts += b"\0" * (-len(opts) % 4)
        h = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff,
                        ack & 0xffffffff, (20 + len(opts)) // 4 << 4, flags, win,
                        0, 0) + opts + data
        pseudo = (src or self.us) + self.them + struct.pack("!HH", 6, len(h))
        h = h[:16] + struct.pack("!H", csum(pseudo + h)) + h[18:]
        self.ip(6, h, src)


class Watcher(threading.Thread):
    """What the stack sends to one port: the numbers, and how many bare ACKs."""

    def __init__(self, dev, port):
        super().__init__(daemon=True)
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                               socket.htons(0x0800))
        self.s.bind((dev, 0x0800))
        self.port, self.seq, self.ack, self.bare = port, None, None, 0
        self.start()

    def run(self):
        while True:
            f = self.s.recv(65535)
            if len(f) < 54 or f[23] != 6:
                continue
            h = f[14 + (f[14] & 15) * 4:]
            if struct.unpack("!H", h[2:4])[0] != self.port:
                continue
            total = struct.unpack("!H", f[16:18])[0] or len(f) - 14
            n = total - (f[14] & 15) * 4 - (h[12] >> 4) * 4
            seq, self.ack = struct.unpack("!II", h[4:12])
            self.seq = (seq + n + bool(h[13] & 3)) & 0xffffffff
            self.bare += n == 0 and not h[13] & 7


class Client:
    """An honest one, who gets back what he sends."""

    def __init__(self, dev, them):
        self.s = socket.socket()
        self.s.settimeout(10)
        self.s.bind(("", 0))
        self.port = self.s.getsockname()[1]
        self.watch = Watcher(dev, self.port)
        self.s.connect((them, 7))
        self.echo(b"hello")

    def echo(self, data):
        t = threading.Thread(target=self.s.sendall, args=(data,))
        t.start()
        got = b""
        while len(got) < len(data):
            part = self.s.recv(65536)
            if not part:
                raise OSError("closed")
            got += part
        t.join()
        assert got == data, "the echo is not what was sent"

    def numbers(self):
        """What an on-path observer knows: (stack's rcv_nxt, its snd_nxt)."""
        time.sleep(0.2)
        return self.watch.ack, self.watch.seq


def fetch(them):
    """One small exchange on a new connection, in seconds."""
    t = time.monotonic()
    with socket.create_connection((them, 7), timeout=10) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    return time.monotonic() - t


# ---- the attacks ----------------------------------------------------------

def blind(f, dev, them):
    """RST, SYN, FIN and data all over the window, but for the exact number."""
    c = Client(dev, them)
    rng = random.Random(1)
    for kind in ("rst", "rst-ack", "syn", "data", "fin"):
        nxt, una = c.numbers()
        before = c.watch.bare
        for i in range(5000):
            off = rng.choice((rng.randrange(1, 1 << 20),
                              rng.randrange(1 << 20, 1 << 32)))
            # an ACK number beyond what was sent, or older than any window
            ack = una + rng.randrange(1 << 10, 1 << 31)
            if kind == "rst":
                f.tcp(c.port, 7, RST, nxt + off)
            elif kind == "rst-ack":
                f.tcp(c.port, 7, RST | ACK, nxt + off, ack)
            elif kind == "syn":
                f.tcp(c.port, 7, SYN, nxt + off - 1)
            elif kind == "data":
                f.tcp(c.port, 7, ACK | PSH, nxt + off % 9, ack, b"EVIL" * 9)
            else:
                f.tcp(c.port, 7, ACK | FIN, nxt + off, ack)
        c.echo(os.urandom(100000))
        print(f"{kind}: 5000 forged, {c.watch.bare - before} ACKs in answer "
              "(with those of the echo), nothing lost")
        if kind != "data": # data is never part of an ACK war
            assert c.watch.bare - before < 500, "the challenge ACKs have no limit"
    nxt, una = c.numbers()
    f.tcp(c.port, 7, RST, nxt)
    time.sleep(0.3)
    try:
        c.echo(b"still there?")
        raise AssertionError("the exact reset did nothing")
    except OSError as e:
        print(f"the exact number resets: {e}")


def icmp(f, dev, them):
    """Errors about segments that are not in flight (RFC 5927)."""
    c = Client(dev, them)
    rng = random.Random(2)
    nxt, una = c.numbers()
    for i in range(6000):
        quote = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1500, 1, 0x4000, 64, 6, 0,
                            f.them, f.us) + \
            struct.pack("!HHI", 7, c.port,
                        (una + rng.randrange(0, 1 << 32)) & 0xffffffff)
        t, code, mtu = rng.choice(((3, 4, 68), (3, 3, 0), (3, 2, 0), (3, 1, 0),
                                   (4, 0, 0), (11, 0, 0), (12, 0, 0), (5, 1, 0)))
        m = struct.pack("!BBHHH", t, code, 0, 0, mtu) + quote
        f.ip(1, m[:2] + struct.pack("!H", csum(m)) + m[4:])
        if i % 1000 == 0:
            c.echo(os.urandom(50000))
    c.echo(os.urandom(200000))
    print("6000 forged errors, nothing lost")


def synflood(f, dev, them):
    """100,000 SYNs of hosts that never answer; honest clients meanwhile."""
    rng = random.Random(3)
    port, times, done = 7, [], threading.Event()

    def honest():
        while not done.is_set():
            times.append(fetch(them))
            time.sleep(0.02)

    t = threading.Thread(target=honest)
    t.start()
    start = time.monotonic()
    opts = bytes.fromhex("020405b4") + b"\x04\x02\x08\x0a" + bytes(8) + \
        b"\x01\x03\x03\x07"
    try:
        for i in range(100000):
            f.tcp(rng.randrange(1024, 65536), port, SYN, rng.getrandbits(32),
                  opts=opts, src=bytes((203, 0, 113, rng.randrange(1, 255))))
        took = time.monotonic() - start
    finally:
        time.sleep(0.5)
        done.set()
        t.join()
    times.sort()
    print(f"100000 SYNs in {took:.1f} s; {len(times)} honest exchanges, median "
          f"{times[len(times) // 2] * 1000:.1f} ms, longest "
          f"{times[-1] * 1000:.1f} ms")
    assert len(times) > 5


def slow(f, dev, them):
    """300 clients that ask for everything and read nothing."""
    held = []
    for i in range(300):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        s.settimeout(10)
        s.connect((them, 8))
        held.append(s)
    time.sleep(2)
    took = [fetch(them) for i in range(20)]
    print(f"300 hold their window shut; honest exchanges: median "
          f"{sorted(took)[10] * 1000:.1f} ms")
    c = Client(dev, them)
    c.echo(os.urandom(500000))
    for s in held: # slow, but not dead: what was held back comes
        s.settimeout(10)
    assert len(held[0].recv(1000)) > 0


def bombs(f, dev, them):
    """IP fragments that are never complete; segments of one byte with gaps."""
    rng = random.Random(4)
    for i in range(30000):
        src = bytes((203, 0, rng.randrange(256), rng.randrange(1, 255)))
        f.ip(6, bytes(rng.choice((8, 256, 1400))), src,
             frag=0x2000 | rng.randrange(0, 8000), ident=i & 0xffff)
    c = Client(dev, them)
    nxt, una = c.numbers()
    for i in range(30000):
        f.tcp(c.port, 7, ACK, nxt + 2 + 2 * (i % 20000), una, b"Z")
    for i in range(3000): # behind a connection that is not the client's
        f.tcp(c.port, 7, ACK, nxt + rng.randrange(1 << 20, 1 << 31), una,
              bytes(1400))
    time.sleep(0.2)
    took = [fetch(them) for i in range(20)]
    print(f"30000 fragments, 33000 segments; honest exchanges: median "
          f"{sorted(took)[10] * 1000:.1f} ms")


def options(f, dev, them):
    """Random bytes where options are, in SYNs and inside a connection."""
    rng = random.Random(5)
    c = Client(dev, them)
    nxt, una = c.numbers()
    for i in range(10000):
        junk = rng.randbytes(4 * rng.randrange(1, 11))
        if i % 2:
            f.tcp(c.port, 7, ACK, nxt, una, opts=junk)
        else:
            f.tcp(rng.randrange(1024, 65536), 7, SYN, rng.getrandbits(32),
                  opts=junk, src=bytes((203, 0, 113, rng.randrange(1, 255))))
        if i % 2000 == 0:
            c.echo(os.urandom(50000))
            nxt, una = c.numbers()
    c.echo(os.urandom(200000))
    print("10000 segments with random options, nothing lost")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        device, us, them, mac = sys.argv[2:6]
        globals()[sys.argv[1]](Forger(device, us, them, mac), device, them)
