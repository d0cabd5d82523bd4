"""What a row is made of.

A row is a function that starts a server, runs a client against it and checks
the result. Which of the two is on libstack is the row's role; the other is
the kernel's, on the other host:

    @row(client="curl", server="nginx", what="GET of 64 MiB", oracle="checksum")
    def http_get(t):
        t.server("nginx -c " + conf(t), 80)
        t.client(f"curl -sS -o got http://{t.host}/64M")
        t.same("got", "64M")

gives two rows, curl as a client and nginx as a server; a side without a name
is only a helper and gives none. forms says how the program gets its library:
"plain" (LD_PRELOAD and settings), "stackrun", or both, which gives one row
each. known is the reason for which the row fails today: {"role": reason}.
"""
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

ROWS = []

# The packages of programs that are not called like them.
PACKAGE = {}


class Failed(Exception):
    """What went wrong, in one line."""


class Row:
    def __init__(self, fn, program, role, form, what, oracle, o):
        self.fn, self.program, self.role, self.form = fn, program, role, form
        self.what, self.oracle = what, oracle
        self.limit = o.get("limit", 20)
        self.frames = o.get("frames", 4)
        self.known = o.get("known", {}).get(role, "")
        self.family = fn.__module__
        self.id = f"{fn.__name__}.{role}.{form}"
        self.result, self.reason, self.seconds = "", "", 0.0

    def version(self):
        package = PACKAGE.get(self.program, self.program)
        out = subprocess.run(["dpkg-query", "-W", "-f",
                              "${db:Status-Abbrev}${Version}", package],
                             capture_output=True, text=True).stdout
        return out[3:] if out.startswith("ii") else ""


def row(what, oracle, client=None, server=None, forms=None, **options):
    """The function below is one row for each side that is named."""
    def register(fn):
        for role, program, form in (("client", client, "plain"),
                                    ("server", server, "stackrun")):
            for f in (forms or form).split() if program else ():
                ROWS.append(Row(fn, program, role, f, what, oracle, options))
        return fn
    return register


class Running:
    """A program in the background, and where its output goes."""

    def __init__(self, test, args, log, **kw):
        self.test, self.log = test, log
        self.what = os.path.basename(log)
        with open(log, "wb") as f:
            self.process = subprocess.Popen(
                args, stdout=f, stderr=f, cwd=test.work, env=test.env,
                start_new_session=True, **kw)
        test.running.append(self)

    def output(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait(self, status=0):
        """For it to end by itself, with that exit status."""
        try:
            got = self.process.wait(self.test.left())
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.what} did not end in time") from None
        if status is not None and got != status:
            raise Failed(f"{self.what}: exit status {got}")

    def stop(self, sig=signal.SIGTERM, status=None):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        self.wait(status)


class Test:
    """One run of one row: the names a row uses."""

    def __init__(self, row, lab, work):
        self.row, self.lab, self.work = row, lab, work
        self.www, self.addr, self.peer = lab.www, lab.addr, lab.peer_ip
        self.role = row.role
        self.host = lab.addr if row.role == "server" else lab.peer_ip
        self.other = lab.peer_ip if row.role == "server" else lab.addr
        self.url = "http://" + lab.peer_ip  # the lab's own nginx
        self.end = time.monotonic() + row.limit
        self.running, self.logs = [], 0
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": work,
                    "TMPDIR": work, "LANG": "C.UTF-8", "TERM": "dumb"}

    # ---- files ----------------------------------------------------------

    def path(self, name):
        return os.path.join(self.work, name)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def read(self, name):
        with open(self.path(name), errors="replace") as f:
            return f.read()

    def same(self, got, want):
        """Two files, the second perhaps of the web server's."""
        want = os.path.join(self.www, want)
        if subprocess.run(["cmp", "-s", self.path(got), want]).returncode:
            raise Failed(f"{got} differs from {os.path.basename(want)}")

    def has(self, text, regex):
        """text must contain it; the match."""
        found = re.search(regex, text)
        if not found:
            end = " ".join(text.split())[-120:]
            raise Failed(f"no {regex!r} in: {end}")
        return found

    # ---- programs -------------------------------------------------------

    def args(self, where, command, user=None):
        """The whole command line of a program there."""
        if isinstance(command, str):
            command = shlex.split(command)
        lab = self.lab
        ns = ["ip", "netns", "exec"]
        if where == "stack" and lab.kernel:
            where = "bare"
        if where == "stack" and self.row.form == "plain":
            return [*ns, lab.host, "env", f"LD_PRELOAD={lab.build}/libstack.so",
                    *lab.settings, *command]
        if where == "stack":
            become = ["--user", user] if user else []
            return [*ns, lab.host, "env", *lab.settings,
                    lab.build + "/stackrun", *become, "--", *command]
        if user:
            command = ["setpriv", "--reuid", user, "--regid", user,
                       "--init-groups", *command]
        return [*ns, lab.host if where == "bare" else lab.peer, *command]

    def log(self, command):
        words = command.split() if isinstance(command, str) else command
        self.logs += 1
        return self.path(f"{self.logs:02}-{os.path.basename(words[0])}.log")

    def left(self):
        left = self.end - time.monotonic()
        if left <= 0:
            raise Failed(f"not done after {self.row.limit} s")
        return left

    def start(self, where, command, user=None, **kw):
        """In the background."""
        return Running(self, self.args(where, command, user),
                       self.log(command), **kw)

    def run(self, where, command, status=0, user=None, **kw):
        """To its end; returns what it wrote. status None: any."""
        log = self.log(command)
        kw.setdefault("stdin", subprocess.DEVNULL)
        with open(log, "wb") as f:
            process = subprocess.Popen(self.args(where, command, user),
                                       stdout=f, stderr=f, cwd=self.work,
                                       env=self.env, start_new_session=True,
                                       **kw)
            try:
                got = process.wait(self.left())
            except subprocess.TimeoutExpired:
                raise Failed(f"{os.path.basename(log)} did not end in "
                             f"{self.row.limit} s") from None
        with open(log, errors="replace") as f:
            text = f.read()
        if status is not None and got != status:
            last = text.strip().split("\n")[-1][:160]
            raise Failed(f"{os.path.basename(log)}: exit status {got}: {last}")
        return text

    def client(self, command, **kw):
        where = "stack" if self.role == "client" else "peer"
        return self.run(where, command, **kw)

    def client_start(self, command, **kw):
        where = "stack" if self.role == "client" else "peer"
        return self.start(where, command, **kw)

    def server(self, command, port, **kw):
        """In the background; back when it listens on the port."""
        where = "stack" if self.role == "server" else "peer"
        running = self.start(where, command, **kw)
        self.until(lambda: self.listens(port),
                   f"{running.what} does not listen on {port}", running)
        return running

    def listens(self, port):
        if self.role == "server" and not self.lab.kernel:
            return re.search(r"(LISTEN|UNCONNECTED) .*(\*|%s):%d " %
                             (re.escape(self.addr), port),
                             self.lab.ctl("ss", "-a"))
        ns = self.lab.host if self.role == "server" else self.lab.peer
        out = subprocess.run(["ip", "netns", "exec", ns, "ss", "-Hlntu"],
                             capture_output=True, text=True)
        return f":{port} " in out.stdout

    def until(self, condition, what, running=None):
        while not condition():
            if running and running.process.poll() not in (None, 0):
                last = running.output().strip().split("\n")[-1][:160]
                raise Failed(f"{running.what}: exit status "
                             f"{running.process.returncode}: {last}")
            if self.end - time.monotonic() <= 0:
                raise Failed(what)
            time.sleep(0.05)

    def finish(self):
        """End what still runs."""
        for r in self.running:
            if r.process.poll() is None:
                r.process.terminate()
        self.lab.sweep()
        for r in self.running:
            r.process.wait()

    def keep(self, folder):
        """The logs, and what the stack has to say, after a failure."""
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(self.work):
            path = self.path(name)
            if os.path.isfile(path) and os.path.getsize(path) < 1 << 20:
                shutil.copy(path, folder)
        for name, args in ("ss", ["ss", "-a"]), ("stat", ["stat", "-a"]):
            with open(f"{folder}/stackctl-{name}", "w") as f:
                f.write(self.lab.ctl(*args))
