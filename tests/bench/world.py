"""Where measurements happen: hosts in namespaces, and programs on them.

tools/lab makes three namespaces. `peer` is a Linux host with two equal links:
to `host`, whose device belongs to libstack, and to `twin`, which is Linux too.
A measurement runs the same programs between peer and host, and between peer
and twin. For two stacks of ours, a third link joins host and twin with devices
that have no kernel address at all.

Linux's congestion control is pinned to cubic on the routes (ip-route(8),
congctl), which holds for listeners and clients alike, and is then looked at:
the default of a machine may be another one, a namespace may not be allowed to
change it, and a choice made after accept() leaves the pacing of BBR switched
on. Unpinned, bulk figures can be wrong by a factor of 3.
"""
import os
import random
import select
import signal
import subprocess
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
HOST_IP, PEER_IP = "198.18.0.2", "198.18.0.1"
TWIN_IP, TWIN_PEER_IP = "198.19.0.2", "198.19.0.1"
PAIR_IPS = ("198.18.64.1", "198.18.64.2")
TAP, TAP_HOST_IP, TAP_IP = "benchtap", "198.18.96.1", "198.18.96.2"
PEER_EXTRA = {"kernel": "198.19.0.10", "stack": "198.18.0.10"}

# Enough ports for short connections, none of them a server's; a listener's
# queue as long as it asks.
SYSCTLS = {"ipv4/ip_local_port_range": "12000 65535", "ipv4/tcp_tw_reuse": "1",
           "core/somaxconn": "4096", "ipv4/tcp_max_syn_backlog": "4096",
           "ipv4/tcp_syncookies": "0"}

NGINX = """user root; worker_processes {workers}; daemon off; pid {dir}/{tag}.pid;
error_log {dir}/{tag}.err crit; worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000; tcp_nodelay on;
 client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
 uwsgi_temp_path {dir}; scgi_temp_path {dir};
 server {{ listen 8080 backlog=4096 reuseport;
  location / {{ return 200 "{body}"; }} }} }}
"""


class Failed(Exception):
    """A measurement that gave no number; the text says why."""


class Proc:
    """A program in a namespace. Its output is read as it comes."""

    def __init__(self, argv, **kw):
        self.argv = argv
        self.out, self.cpu, self.status = "", 0.0, None
        self.p = subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0,
                                  stderr=subprocess.STDOUT, **kw)

    def read(self, timeout):
        """What came within this time; False at the end of the output."""
        if not select.select([self.p.stdout], [], [], timeout)[0]:
            return True
        data = os.read(self.p.stdout.fileno(), 65536)
        self.out += data.decode(errors="replace")
        return bool(data)

    def ready(self, word="ready", timeout=10):
        """Wait until the program has said this word."""
        end = time.monotonic() + timeout
        while word not in self.out and time.monotonic() < end:
            if not self.read(0.1):
                break
        if word not in self.out:
            self.stop()
            raise Failed(f"{self.name()} did not start: {self.out.strip()}")
        return self

    def name(self):
        words = [os.path.basename(w) for w in self.argv if "=" not in w]
        return " ".join(words[4:])[:70]

    def signal(self, number):
        # not Popen's: that would reap the process, and its usage be lost
        os.kill(self.p.pid, number)

    def finish(self, timeout=60, ok=True):
        """Wait for its end; the processor time of it and its children."""
        timer = threading.Timer(timeout, self.signal, [signal.SIGKILL])
        timer.start()
        while self.read(timeout):
            pass
        _, status, usage = os.wait4(self.p.pid, 0)
        timer.cancel()
        self.p.returncode = self.status = os.waitstatus_to_exitcode(status)
        self.p.stdout.close()
        self.cpu = usage.ru_utime + usage.ru_stime
        if ok and self.status != 0:
            raise Failed(f"{self.name()}: status {self.status}: "
                         f"{self.out.strip()[-300:]}")
        return self

    def stop(self):
        """End a server; its processor time counts."""
        if self.status is None:
            self.signal(signal.SIGTERM)
            self.finish(20, ok=False)
        return self

    def values(self):
        """The lines "name value" that a load program prints."""
        words = [line.split() for line in self.out.splitlines()]
        return {w[0]: float(w[1]) for w in words
                if len(w) == 2 and w[0] != "cc"}


class World:
    """One lab, and how to run things in it."""

    def __init__(self, build):
        self.build = build
        self.load = os.path.join(build, "bench-load")
        self.lab = f"bench{os.getpid()}"
        self.port = random.randrange(9000, 11000)
        self.procs = []

    def __enter__(self):
        for f in ("libstack.so", "stackrun", "stackctl", "bench-load"):
            if not os.path.exists(os.path.join(self.build, f)):
                raise SystemExit(f"bench: {self.build}/{f} is missing: build "
                                 "it, or name the build tree with --build")
        if os.getuid() != 0:
            print("bench: namespaces need root: sudo tools/bench")
            raise SystemExit(77)
        subprocess.run([f"{ROOT}/tools/lab", "up", "--name", self.lab],
                       check=True)
        self.dir = f"/run/libstack-lab/{self.lab}"
        try:
            self.prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *why):
        try:
            self.stop_all()
        finally:
            subprocess.run([f"{ROOT}/tools/lab", "down", "--name", self.lab])

    def prepare(self):
        for ns in ("host", "peer", "twin"):
            for name, value in SYSCTLS.items():
                self.sh(ns, f"echo {value} > /proc/sys/net/{name}")
        self.ip("link", "add", "pair0", "netns", self.ns("host"), "type",
                "veth", "peer", "name", "pair1", "netns", self.ns("twin"))
        for ns, dev in (("host", "pair0"), ("twin", "pair1")):
            self.ip("-n", self.ns(ns), "link", "set", dev, "up")
        # made beforehand, for the congestion control of its routes
        self.ip("-n", self.ns("host"), "tuntap", "add", TAP, "mode", "tap",
                "vnet_hdr")
        self.ip("-n", self.ns("host"), "addr", "add", f"{TAP_HOST_IP}/24",
                "dev", TAP)
        self.ip("-n", self.ns("host"), "link", "set", TAP, "up")
        for side, dev in (("kernel", "twin0"), ("stack", "peer0")):
            net, last = PEER_EXTRA[side].rsplit(".", 1)
            for i in range(4):
                self.ip("-n", self.ns("peer"), "addr", "add",
                        f"{net}.{int(last) + i}/24", "dev", dev)

        self.pin_cubic()

    def pin_cubic(self):
        """On every route of the Linux hosts, local ones included."""
        for ns in ("peer", "twin", "host"):
            for table in ("local", "main"):
                routes = self.sh(ns, f"ip -4 route show table {table}")
                for r in routes.splitlines():
                    if "broadcast" not in r:
                        r = r.replace("linkdown", "")
                        self.sh(ns, f"ip route change table {table} {r} "
                                    "congctl cubic")
        for near, far, ip in (("twin", "peer", TWIN_PEER_IP),
                              ("peer", "twin", TWIN_IP),
                              ("twin", "twin", TWIN_IP)):
            port = self.next_port()
            server = self.start(far, [self.load, "echo", port]).ready()
            client = self.start(near, [self.load, "rr", ip, port, 0.01])
            client.finish()
            server.finish()
            for p in (client, server):
                if "cc cubic" not in p.out:
                    raise SystemExit("bench: congestion control could not be "
                                     f"pinned to cubic: {p.out}")
        self.stop_all()

    def ip(self, *args):
        subprocess.run(["ip", *args], check=True)

    def ns(self, name):
        return f"{self.lab}-{name}"

    def sh(self, ns, script):
        r = subprocess.run(["ip", "netns", "exec", self.ns(ns), "sh", "-c",
                            script], capture_output=True, text=True)
        return r.stdout

    def start(self, ns, argv, env=(), cpu=None, stdin=None):
        argv = [str(a) for a in argv]
        if env:
            argv = ["env", *env, *argv]
        if cpu is not None:
            argv = ["taskset", "-c", str(cpu), *argv]
        argv = ["ip", "netns", "exec", self.ns(ns), *argv]
        p = Proc(argv, stdin=stdin)
        self.procs.append(p)
        return p

    def stop_all(self):
        """After a measurement: nothing may be left, whatever happened."""
        for p in self.procs:
            if p.status is None:
                p.signal(signal.SIGKILL)
                p.finish(10, ok=False)
        self.procs.clear()

    # Who runs where. side: "kernel" or "stack".

    def settings(self, dev="stk0", addr=HOST_IP):
        return [f"LIBSTACK_DEV={dev}", f"LIBSTACK_ADDR={addr}/24"]

    def preload(self):
        return f"{self.build}/libstack.so"

    def ours(self, side, argv, cpu=None, launcher=False, **kw):
        """The program under test: on libstack, or on Linux. Servers that
        fork are started by the launcher, others by LD_PRELOAD alone."""
        if side == "kernel":
            return self.start("twin", argv, (), cpu, **kw)
        env = self.settings()
        if launcher:
            return self.start("host", [f"{self.build}/stackrun", "--", *argv],
                              env, cpu, **kw)
        env.append(f"LD_PRELOAD={self.preload()}")
        return self.start("host", argv, env, cpu, **kw)

    def peer(self, argv, cpu=None, **kw):
        """Its counterpart, always on Linux."""
        return self.start("peer", argv, (), cpu, **kw)

    def tapped(self, argv, cpu=None):
        """Ours on a TAP device; its counterpart is in the same namespace."""
        env = [f"LIBSTACK_TAP={TAP}", f"LIBSTACK_ADDR={TAP_IP}/24",
               f"LD_PRELOAD={self.preload()}"]
        return self.start("host", argv, env, cpu)

    def pair(self, side, end, argv, cpu=None):
        """Both ends alike: two stacks of ours, or Linux twice."""
        if side == "kernel":
            return self.start(("peer", "twin")[end], argv, (), cpu)
        env = self.settings(f"pair{end}", PAIR_IPS[end])
        env.append(f"LD_PRELOAD={self.preload()}")
        return self.start(("host", "twin")[end], argv, env, cpu)

    def our_ip(self, side):
        return TWIN_IP if side == "kernel" else HOST_IP

    def peer_ip(self, side):
        return TWIN_PEER_IP if side == "kernel" else PEER_IP

    def pair_ip(self, side):
        return TWIN_PEER_IP if side == "kernel" else PAIR_IPS[0]

    def next_port(self):
        self.port += 1
        return self.port

    def probe(self, ip, port):
        """Wait, in the peer's namespace, until somebody accepts."""
        self.peer([self.load, "probe", ip, port]).finish(15)

    def nginx_conf(self, tag, workers=1):
        path = f"{self.dir}/{tag}.conf"
        with open(path, "w") as f:
            f.write(NGINX.format(dir=self.dir, tag=tag, body="x" * 64,
                                 workers=workers))
        return path

    def stack_json(self, what):
        """What stackctl says of the running stack."""
        return self.sh("host", f"{self.build}/stackctl {what} --here --json")
