"""Programs that stand for whole classes"""
import os
import re

from rows.row import Failed, PACKAGE, row

PACKAGE.update({"bash + curl + tar": "bash"})


@row(client="bash + curl + tar", what="bash -c 'curl ... | tar x & wait'",
     oracle="checksum", forms="plain stackrun")
def shell_pipe(t):
    t.run("bare", f"tar -C {t.www} -cf {t.www}/up/a.tar 1M 1K")
    t.client(["bash", "-c", f"curl -sSf {t.url}/up/a.tar | tar x & wait $!"])
    t.same("1M", "1M")
    t.same("1K", "1K")


@row(client="python3", forms="plain stackrun",
     what="closes descriptors 3 to 65535 at its start, one by one, and later "
     "with closefrom(); fetches 1 MiB after each", oracle="checksum of both")
def close_all(t):
    t.write("close.py", f"""
import ctypes, os, socket
libc = ctypes.CDLL(None)
def get(name):
    s = socket.create_connection(("{t.peer}", 80))
    s.sendall(b"GET /1M HTTP/1.0\\r\\n\\r\\n")
    data = b"".join(iter(lambda: s.recv(65536), b""))
    f = os.open(name, os.O_CREAT | os.O_WRONLY)
    os.write(f, data.split(b"\\r\\n\\r\\n", 1)[1])
    s.detach()
for fd in range(3, 65536):
    libc.close(fd)
get("got0")
libc.closefrom(3)
get("got1")
""")
    t.client("python3 close.py")
    t.same("got0", "1M")
    t.same("got1", "1M")


ECHO = """
import os, random, signal, socket, threading, time
hits = 0
def count(*_):
    global hits
    hits += 1
signal.signal(signal.SIGUSR1, count)
signal.siginterrupt(signal.SIGUSR1, %s)
def serve(s):
    while True:
        c, _ = s.accept()
        with c:
            while data := c.recv(65536):
                c.sendall(data)
s = socket.create_server(("0.0.0.0", 8005), backlog=200)
threads = [threading.Thread(target=serve, args=(s,), daemon=True)
           for _ in range(100)]
[x.start() for x in threads]
while True:
    signal.pthread_kill(random.choice(threads).ident, signal.SIGUSR1)
    time.sleep(0.0005)
"""


@row(server="python3", what="100 threads echo 64 KiB to 200 connections, at "
     "each moment some thread gets a signal", oracle="contents of each")
def signals(t):
    t.write("echo.py", ECHO % True)
    t.server("python3 echo.py", 8005)
    t.write("ask.py", f"""
import socket, threading
good = []
def ask(i):
    for k in range(4):
        with socket.create_connection(("{t.host}", 8005)) as s:
            data = bytes([i]) * 65536
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            good.append(b"".join(iter(lambda: s.recv(65536), b"")) == data)
threads = [threading.Thread(target=ask, args=(i,)) for i in range(50)]
[x.start() for x in threads]
[x.join() for x in threads]
print("good", good.count(True))
""")
    t.has(t.client("python3 ask.py"), "good 200")


def processes(t):
    """Of the stack, as it says in its first line."""
    return int(re.search(r": (\d+) processes", t.lab.ctl("stat")).group(1))


def resources(t):
    """What must not grow: processes, sockets, memory in use (MiB), and the
    server's descriptors."""
    t.until(lambda: processes(t) == 2, "processes that are still there")
    pid = re.search(r"perl/(\d+)", t.lab.ctl("ss", "-a")).group(1)
    memory = re.search(r"memory ([\d.]+) MiB in use", t.lab.ctl("stat"))
    sockets = [x for x in t.lab.ctl("ss", "-a").split("\n")
               if "tcp " in x and "TIME-WAIT" not in x]
    return len(sockets), float(memory.group(1)), len(os.listdir(
        f"/proc/{pid}/fd"))


@row(server="perl", limit=60, what="10,000 times: accept, fork, answer, exit",
     oracle="10,000 answers; no process, socket, memory or descriptor more")
def fork_cycles(t):
    t.write("server.pl", """
use IO::Socket::INET; $SIG{CHLD} = 'IGNORE';
my $s = IO::Socket::INET->new(LocalPort => 8006, Listen => 128, ReuseAddr => 1)
    or die;
while (1) {
    my $c = $s->accept or next;
    if (!fork) { <$c>; print $c "answer\\n"; exit }
}
""")
    t.write("ask.py", f"""
import socket, sys
good = 0
for i in range(int(sys.argv[1])):
    with socket.create_connection(("{t.host}", 8006)) as s:
        s.shutdown(socket.SHUT_WR)  # so that TIME-WAIT is here
        good += s.makefile().read() == "answer\\n"
print("good", good)
""")
    t.server("perl server.pl", 8006)
    t.has(t.client("python3 ask.py 2000"), "good 2000")
    before = resources(t)
    t.has(t.client("python3 ask.py 8000"), "good 8000")
    after = resources(t)
    if after[0] > before[0] or after[1] > before[1] + 0.5 or \
            after[2] > before[2]:
        raise Failed(f"sockets, MiB, descriptors: {before} before, {after}")
