"""What is measured. Each row runs its programs once on one side, and returns
{metric: value}. METRICS says what a metric is and which way is better."""
import json
import re
import subprocess
import time

from world import PEER_EXTRA, TAP_HOST_IP, Failed

# metric: (unit, better)
METRICS = {
    "rate": ("Gbit/s", "higher"),
    "cpu": ("CPU s/GB", "lower"),
    "p50": ("us", "lower"),
    "p99": ("us", "lower"),
    "per_s": ("1/s", "higher"),
    "cpu_m": ("CPU s/million", "lower"),
    "packets": ("packets/s", "higher"),
    "ms": ("ms", "lower"),
    "state": ("bytes/connection", "lower"),
    "rss": ("bytes/connection", "lower"),
}


def per_gb(gbit, seconds, *procs):
    """Processor time of both sides for each 10^9 bytes moved."""
    return sum(p.cpu for p in procs) / (gbit * seconds / 8)


# ---- bulk --------------------------------------------------------------------

def cpus(pin):
    """(ours, peer) for a pinning."""
    return {"any": (None, None), "one": (0, 0), "two": (0, 1)}[pin]


def iperf(w, side, seconds, sends, streams, pin, tap=False):
    """tap: the stack's side on a TAP device, against the kernel's on a veth."""
    ours, theirs = cpus(pin)
    port = w.next_port()
    tap = tap and side == "stack"
    serve = ["iperf3", "-s", "-1", "--forceflush", "-p", port]
    server = w.start("host", serve, (), theirs) if tap else \
        w.peer(serve, theirs)
    server.ready("listening")
    seconds = max(1, round(seconds))
    ip = TAP_HOST_IP if tap else w.peer_ip(side)
    argv = ["iperf3", "-J", "-c", ip, "-p", port, "-t", seconds,
            "-P", streams, "-l", "128K"] + ([] if sends else ["-R"])
    client = w.tapped(argv, ours) if tap else w.ours(side, argv, ours)
    client.finish(seconds + 20)
    server.finish()
    try:
        r = json.loads(client.out[client.out.index("{"):])
        if "error" in r:
            raise Failed("iperf3: " + r["error"])
        end = r["end"]["sum_received"]
        cc = r["end"].get("sender_tcp_congestion", "")
    except (ValueError, KeyError) as e:
        raise Failed(f"iperf3 gave no result: {client.out[-200:]}") from e
    if cc != "cubic" and (side == "kernel" or not sends):
        raise Failed(f"the kernel sent with {cc}, not cubic")
    gbit = end["bits_per_second"] / 1e9
    return {"rate": gbit, "cpu": per_gb(gbit, end["seconds"], client, server)}


def calls(w, side, seconds, sends, streams, call):
    port = w.next_port()
    if sends:
        far = w.peer([w.load, "sink", port, 131072, streams]).ready()
        near = w.ours(side, [w.load, "source", w.peer_ip(side), port, call,
                             streams, seconds])
    else:
        far = w.peer([w.load, "feed", port, 131072, streams, seconds]).ready()
        near = w.ours(side, [w.load, "drain", w.peer_ip(side), port, call,
                             streams])
    return moved(near, far, sends, seconds)


def moved(near, far, near_sends, seconds):
    near.finish()
    far.finish()
    v = (far if near_sends else near).values()
    return {"rate": v["gbit"], "cpu": per_gb(v["gbit"], seconds, near, far)}


def pair_bulk(w, side, seconds):
    port = w.next_port()
    far = w.pair(side, 0, [w.load, "sink", port, 131072, 1]).ready()
    near = w.pair(side, 1, [w.load, "source", w.pair_ip(side), port, 131072,
                            1, seconds])
    return moved(near, far, True, seconds)


def self_bulk(w, side, seconds):
    port = w.next_port()
    far = w.ours(side, [w.load, "sink", port, 131072, 1]).ready()
    near = w.ours(side, [w.load, "source", w.our_ip(side), port, 131072, 1,
                         seconds])
    return moved(near, far, True, seconds)


# ---- round trips -------------------------------------------------------------

def trips(client):
    v = client.finish().values()
    if "p50" not in v:
        raise Failed("no round trip was made")
    return {"p50": v["p50"], "p99": v["p99"]}


def rtt(w, side, seconds, pin, how):
    ours, theirs = cpus(pin)
    port = w.next_port()
    w.peer([w.load, "echo", port, *how], theirs).ready()
    return trips(w.ours(side, [w.load, "rr", w.peer_ip(side), port, seconds,
                               *how], ours))


def rtt_server(w, side, seconds):
    port = w.next_port()
    w.ours(side, [w.load, "echo", port]).ready()
    return trips(w.peer([w.load, "rr", w.our_ip(side), port, seconds]))


def pair_rtt(w, side, seconds):
    port = w.next_port()
    w.pair(side, 0, [w.load, "echo", port]).ready()
    return trips(w.pair(side, 1, [w.load, "rr", w.pair_ip(side), port,
                                  seconds]))


def self_rtt(w, side, seconds):
    port = w.next_port()
    w.ours(side, [w.load, "echo", port]).ready()
    return trips(w.ours(side, [w.load, "rr", w.our_ip(side), port, seconds]))


# ---- requests ----------------------------------------------------------------

def requests(per_s, seconds, *procs):
    cpu = sum(p.cpu for p in procs)
    return {"per_s": per_s, "cpu_m": cpu / (per_s * seconds) * 1e6}


def conn(w, side, seconds, serves, parallel):
    port = w.next_port()
    serve = [w.load, "serve", port]
    if serves:
        server = w.ours(side, serve).ready()
        ip, run = w.our_ip(side), w.peer
    else:
        server = w.peer(serve).ready()
        ip, run = w.peer_ip(side), lambda argv: w.ours(side, argv)
    client = run([w.load, "conn", ip, port, seconds, parallel]).finish()
    server.stop()
    v = client.values()
    if v["failed"] > v["done"] / 100:
        raise Failed(f"{v['failed']:.0f} of {v['done']:.0f} failed")
    return requests(v["rate"], seconds, server, client)


def wrk_of(p, seconds, server):
    p.finish(seconds + 20)
    server.stop()
    found = re.search(r"Requests/sec: +([\d.]+)", p.out)
    bad = re.search(r"Non-2xx.*|Socket errors.*", p.out)
    if not found or float(found[1]) == 0:
        raise Failed("wrk: " + p.out[-200:])
    errors = sum(map(int, re.findall(r"\d+", bad[0]))) if bad else 0
    if errors > float(found[1]) * seconds / 100:
        raise Failed("wrk: " + bad[0])
    return requests(float(found[1]), seconds, p, server)


def wrk(w, side, seconds, serves, n, close, workers=1):
    tag = side if serves else "peer"
    nginx = ["nginx", "-c", w.nginx_conf(tag, workers), "-p", w.dir, "-e",
             f"{w.dir}/{tag}.err"]
    ip = w.our_ip(side) if serves else w.peer_ip(side)
    server = w.ours(side, nginx, launcher=True) if serves else w.peer(nginx)
    w.probe(ip, 8080)
    seconds = max(1, round(seconds))
    argv = ["wrk", "-t", 1, "-c", n, "-d", seconds]
    argv += ["-H", "Connection: close"] if close else []
    argv += [f"http://{ip}:8080/"]
    client = w.peer(argv) if serves else w.ours(side, argv)
    return wrk_of(client, seconds, server)


def redis(w, side, seconds, depth, per_second):
    server = w.ours(side, [
        "redis-server", "--port", 6379, "--save", "", "--appendonly", "no",
        "--bind", "0.0.0.0", "--protected-mode", "no"], launcher=True)
    w.probe(w.our_ip(side), 6379)
    n = max(20000, int(per_second * seconds))
    client = w.peer(["redis-benchmark", "-h", w.our_ip(side), "-t", "get",
                     "-n", n, "-P", depth, "-c", 50, "--csv"]).finish()
    server.stop()
    found = re.search(r'^"GET[^"]*","([\d.]+)"', client.out, re.M)
    if not found:
        raise Failed("redis-benchmark: " + client.out[-200:])
    return requests(float(found[1]), n / float(found[1]), server, client)


# ---- datagrams ---------------------------------------------------------------

def udp(w, side, seconds, sends, size):
    port = w.next_port()
    sink = [w.load, "usink", port, size]
    if sends:
        sink = w.peer(sink).ready()
        w.ours(side, [w.load, "usend", w.peer_ip(side), port, size,
                      seconds]).finish()
    else:
        sink = w.ours(side, sink).ready()
        w.peer([w.load, "usend", w.our_ip(side), port, size,
                seconds]).finish()
    v = sink.finish().values()
    if "rate" not in v:
        raise Failed("too few datagrams arrived")
    return {"packets": v["rate"]}


# ---- start-up and size -------------------------------------------------------

def curl(w, side, seconds):
    n = max(10, int(20 * seconds))
    library = w.preload() if side == "stack" else "-"
    env = w.settings() if side == "stack" else ["NOTHING=1"]
    p = w.start("host" if side == "stack" else "twin",
                [w.load, "spawn", n, library, "curl", "-sS", "-o",
                 "/dev/null", f"http://{w.peer_ip(side)}/1K"], env).finish()
    return {"ms": p.values()["p50"] / 1000}


def held(w, side, n, seconds, measure=None):
    """n connections to a server of ours; measure(w, server) before and after
    they are there. Returns (round trips, before, after)."""
    port = w.next_port()
    server = w.ours(side, [w.load, "serve", port]).ready()
    before = measure(w, server) if measure else None
    client = w.peer([w.load, "idle", w.our_ip(side), port, n, seconds,
                     PEER_EXTRA[side] + "+4"], stdin=subprocess.PIPE)
    client.ready(timeout=120)
    if measure:
        time.sleep(0.2)
    after = measure(w, server) if measure else None
    client.p.stdin.write(b"go\n")
    client.p.stdin.close()
    v = trips(client)
    server.stop()
    return v, before, after


def number_in(path, key):
    with open(path) as f:
        return int(re.search(key + r":\s+(\d+)", f.read())[1]) * 1024


def sizes(w, server):
    """(state of connections, memory of the host), in bytes. Linux's state is
    slab memory, half of it the peer's; libstack's lies in the arena, whose
    pages count as the server's own."""
    rss = number_in(f"/proc/{server.p.pid}/status", "VmRSS")
    if "LD_PRELOAD" in " ".join(server.argv):
        return json.loads(w.stack_json("stat"))[0]["memory_used"], rss
    slab = number_in("/proc/meminfo", "Slab") / 2
    return slab, slab + rss


def idle_size(w, side, seconds):
    n = 2000 if seconds < 1 else 10000
    _, a, b = held(w, side, n, 0.05, sizes)
    return {"state": max(1, b[0] - a[0]) / n, "rss": max(1, b[1] - a[1]) / n}


def held_rtt(w, side, seconds, n):
    return held(w, side, n, seconds)[0]


# ---- the rows, in the order of the report -----------------------------------

# name: (what it measures, function, arguments behind world, side and seconds)
ROWS = {
    "bulk_send": ("iperf3 sends, 1 stream", iperf, True, 1, "any"),
    "bulk_recv": ("iperf3 receives, 1 stream", iperf, False, 1, "any"),
    "bulk_send_cpu1": ("the same on one CPU", iperf, True, 1, "one"),
    "bulk_recv_cpu1": ("the same on one CPU", iperf, False, 1, "one"),
    "bulk_send_8": ("iperf3 sends, 8 streams", iperf, True, 8, "any"),
    "bulk_recv_8": ("iperf3 receives, 8 streams", iperf, False, 8, "any"),
    "bulk_send_call":
        ("128 KiB calls, 1 stream, sent", calls, True, 1, 131072),
    "bulk_recv_call":
        ("128 KiB calls, 1 stream, received", calls, False, 1, 131072),
    "bulk_send_1k": ("1 KiB calls, 1 stream, sent", calls, True, 1, 1024),
    "bulk_recv_1k": ("1 KiB calls, 1 stream, received", calls, False, 1, 1024),
    "bulk_send_8_1k": ("1 KiB calls, 8 threads, sent", calls, True, 8, 1024),
    "bulk_recv_8_1k":
        ("1 KiB calls, 8 threads, received", calls, False, 8, 1024),
    "tap_send": ("iperf3 sends through a TAP device", iperf, True, 1, "any",
                 True),
    "tap_recv": ("iperf3 receives through one", iperf, False, 1, "any", True),
    "tap_send_cpu1": ("the same on one CPU", iperf, True, 1, "one", True),
    "tap_recv_cpu1": ("the same on one CPU", iperf, False, 1, "one", True),
    "pair_bulk": ("both ends libstack, 1 stream", pair_bulk),
    "self_bulk": ("two programs of one stack, 1 stream", self_bulk),
    "rtt": ("64 B there and back, unpinned", rtt, "any", []),
    "rtt_same": ("64 B, both on one CPU", rtt, "one", []),
    "rtt_cross": ("64 B, on two CPUs", rtt, "two", []),
    "rtt_spin":
        ("64 B, on two CPUs, both programs spin", rtt, "two", ["spin"]),
    "rtt_server": ("64 B, libstack answers, unpinned", rtt_server),
    "pair_rtt": ("64 B, both ends libstack", pair_rtt),
    "self_rtt": ("64 B, two programs of one stack", self_rtt),
    "conn_server":
        ("connect, 64 B, close; 32 at a time; server", conn, True, 32),
    "conn_server_1": ("the same, 1 at a time", conn, True, 1),
    "conn_client":
        ("connect, 64 B, close; 32 at a time; client", conn, False, 32),
    "conn_client_1": ("the same, 1 at a time", conn, False, 1),
    "nginx_keep_1":
        ("nginx serves wrk, 1 connections, keep", wrk, True, 1, False),
    "nginx_close_1":
        ("nginx serves wrk, 1 connections, close", wrk, True, 1, True),
    "nginx_keep_32":
        ("nginx serves wrk, 32 connections, keep", wrk, True, 32, False),
    "nginx_close_32":
        ("nginx serves wrk, 32 connections, close", wrk, True, 32, True),
    "nginx_keep_256":
        ("nginx serves wrk, 256 connections, keep", wrk, True, 256, False),
    "nginx_close_256":
        ("nginx serves wrk, 256 connections, close", wrk, True, 256, True),
    "nginx_keep_256_2":
        ("the same with 2 workers, keep", wrk, True, 256, False, 2),
    "wrk_keep_1":
        ("wrk asks nginx, 1 connections, keep", wrk, False, 1, False),
    "wrk_close_1":
        ("wrk asks nginx, 1 connections, close", wrk, False, 1, True),
    "wrk_keep_32":
        ("wrk asks nginx, 32 connections, keep", wrk, False, 32, False),
    "wrk_close_32":
        ("wrk asks nginx, 32 connections, close", wrk, False, 32, True),
    "wrk_keep_256":
        ("wrk asks nginx, 256 connections, keep", wrk, False, 256, False),
    "wrk_close_256":
        ("wrk asks nginx, 256 connections, close", wrk, False, 256, True),
    "redis_p1": ("redis serves, 50 connections, 1 deep", redis, 1, 40000),
    "redis_p16": ("redis serves, 50 connections, 16 deep", redis, 16, 200000),
    "udp_send_64": ("64 B datagrams sent, as they arrive", udp, True, 64),
    "udp_send_1400": ("1,400 B datagrams sent", udp, True, 1400),
    "udp_recv_64": ("64 B datagrams received", udp, False, 64),
    "udp_recv_1400": ("1,400 B datagrams received", udp, False, 1400),
    "curl": ("a whole run of curl for a page of 1 KiB", curl),
    "idle_size": ("memory of an idle connection", idle_size),
    "held_1": ("64 B to one of 1 connection", held_rtt, 1),
    "held_1000": ("64 B to one of 1,000 connections", held_rtt, 1000),
    "held_10000": ("64 B to one of 10,000 connections", held_rtt, 10000),
    "held_100000": ("64 B to one of 100,000 connections", held_rtt, 100000),
}

# Takes half a minute a side; only when named.
ON_REQUEST = {"held_100000"}
