"""The lab of one worker, and the proof that its traffic was the stack's.

tools/lab makes the namespaces. In the host's there is no kernel address on the
device, so what reaches the peer from the stack's address can only come from
the stack; to be sure, a packet socket in the peer's namespace counts, in the
kernel, the IPv4 frames from that address whose Ethernet source is not the
device's own. The socket is never read: PACKET_STATISTICS counts what the
filter lets through, whether there was room for it or not.
"""
import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
LAB = os.path.join(ROOT, "tools/lab")
SOL_PACKET, PACKET_STATISTICS, SO_ATTACH_FILTER = 263, 6, 26
ETH_P_IP = 0x0800
CLONE_NEWNET = 0x40000000


def in_namespace(name, fn):
    """fn() in that network namespace; only a thread of its own moves."""
    result = []

    def body():
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open("/run/netns/" + name, os.O_RDONLY)
        if libc.setns(fd, CLONE_NEWNET) == 0:
            result.append(fn())
        os.close(fd)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if not result:
        raise OSError("cannot enter " + name)
    return result[0]


def frame_filter(mac, address):
    """Classic BPF: IPv4 from address, not from that Ethernet address."""
    high, low = struct.unpack("!IH", mac)
    ip, = struct.unpack("!I", socket.inet_aton(address))
    ld, ldh, jeq, ret = 0x20, 0x28, 0x15, 0x06
    code = [(ldh, 0, 0, 12), (jeq, 0, 7, ETH_P_IP),
            (ld, 0, 0, 26), (jeq, 0, 5, ip),
            (ld, 0, 0, 6), (jeq, 0, 2, high),
            (ldh, 0, 0, 10), (jeq, 1, 0, low),
            (ret, 0, 0, 1), (ret, 0, 0, 0)]
    return b"".join(struct.pack("HBBI", *c) for c in code), len(code)


class Lab:
    """Two hosts: on one the stack, on the other Linux."""

    addr, peer_ip, dev = "198.18.0.2", "198.18.0.1", "stk0"

    def __init__(self, name, build, kernel=False):
        self.name, self.build, self.kernel = name, build, kernel
        self.own = set()  # processes of the lab itself
        self.host, self.peer = name + "-host", name + "-peer"
        self.etc = f"/etc/netns/{name}-host"
        self.settings = [f"LIBSTACK_DEV={self.dev}",
                         f"LIBSTACK_ADDR={self.addr}/24"]
        if kernel:  # to see what a row does without us: on the twin
            self.host = name + "-twin"
            self.addr, self.peer_ip = "198.19.0.2", "198.19.0.1"

    def up(self):
        subprocess.run([LAB, "up", "--name", self.name], check=True)
        self.www = os.path.realpath(f"/run/libstack-lab/{self.name}/www")
        self.own = set(self.pids())
        mac = subprocess.run(
            ["ip", "netns", "exec", self.name + "-host", "cat",
             f"/sys/class/net/{self.dev}/address"],
            check=True, capture_output=True, text=True).stdout
        mac = bytes.fromhex(mac.strip().replace(":", ""))
        self.counter = in_namespace(self.peer, lambda: self.listen(mac))

    def listen(self, mac):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        code, n = frame_filter(mac, self.addr)
        buf = ctypes.create_string_buffer(code)
        s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                     struct.pack("HP", n, ctypes.addressof(buf)))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.bind(("peer0", 3))  # ETH_P_ALL
        return s

    def frames(self):
        """How many the stack sent since the last time."""
        if self.kernel:
            return 1 << 30
        got = self.counter.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return struct.unpack("II", got)[0]

    def down(self):
        subprocess.run([LAB, "down", "--name", self.name])

    def pids(self):
        found = []
        for ns in "host", "peer", "twin":
            out = subprocess.run(["ip", "netns", "pids", f"{self.name}-{ns}"],
                                 capture_output=True, text=True)
            found += [int(p) for p in out.stdout.split()]
        return found

    def ctl(self, *args):
        out = subprocess.run(["ip", "netns", "exec", self.host,
                              self.build + "/stackctl", *args, "--here"],
                             capture_output=True, text=True)
        return out.stdout

    def sweep(self):
        """End every process that a row left, wherever it hid."""
        for sig, seconds in (signal.SIGTERM, 1), (signal.SIGKILL, 3):
            for pid in set(self.pids()) - self.own:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if not set(self.pids()) - self.own:
                    return
                time.sleep(0.02)

    def clean(self):
        """Files of the row before, where programs may have put some."""
        for name in os.listdir(self.etc):
            if name != "resolv.conf":
                os.unlink(os.path.join(self.etc, name))
        shutil.rmtree(self.www + "/up")
        os.mkdir(self.www + "/up")
