"""OpenSSH, with full privilege separation"""
import os

from rows.row import PACKAGE, row

PACKAGE.update({"ssh": "openssh-client", "scp": "openssh-client",
                "sftp": "openssh-client", "sshd": "openssh-server"})

OPTIONS = ("-F none -o BatchMode=yes -o StrictHostKeyChecking=no "
           "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i key")
SSHD = "/usr/sbin/sshd"


def user(t):
    """An unprivileged user, in the password file of the host's namespace
    only (ip-netns(8) binds /etc/netns/NAME/* over /etc)."""
    if t.role == "server":
        with open("/etc/passwd") as f, open(t.lab.etc + "/passwd", "w") as g:
            g.write(f.read())
            g.write(f"lab:x:1099:65534::{t.work}/lab:/bin/sh\n")
        return "lab"
    return "root"


def sshd(t):
    """A server with a key of its own; user() may log in with key."""
    name = user(t)
    os.makedirs("/run/sshd", exist_ok=True)
    for key in "hostkey", "key":
        t.run("bare", f"ssh-keygen -q -t ed25519 -N '' -f {key}")
    os.makedirs(t.path("lab"))
    os.chown(t.path("lab"), 1099, 65534)
    t.write("sshd.conf", f"""
ListenAddress 0.0.0.0:2222
HostKey {t.work}/hostkey
PidFile {t.work}/sshd.pid
AuthorizedKeysFile {t.work}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
Subsystem sftp /usr/lib/openssh/sftp-server
""")
    t.server(f"{SSHD} -D -e -f {t.work}/sshd.conf", 2222)
    return f"{name}@{t.host}"


@row(client="ssh", server="sshd", what="login, command with 1 MiB through it",
     oracle="user, checksum, exit status 7", limit=25)
def ssh_login(t):
    at = sshd(t)
    t.has(t.client(f"ssh {OPTIONS} -p 2222 {at} 'id -un'"),
          "^" + at.split("@")[0])
    t.client(["sh", "-c", f"ssh {OPTIONS} -p 2222 {at} cat < {t.www}/1M "
              "> got"])
    t.same("got", "1M")
    t.client(f"ssh {OPTIONS} -p 2222 {at} 'exit 7'", status=7)


@row(client="ssh", server="sshd", what="login with a terminal (-tt)",
     oracle="a pty, its size", limit=25)
def ssh_terminal(t):
    at = sshd(t)
    t.has(t.client(f"ssh {OPTIONS} -tt -p 2222 {at} 'tty; stty -a'"),
          r"/dev/pts/\d+\s+speed")


@row(client="scp", server="sshd", what="1 MiB up, down", oracle="checksum",
     limit=25)
def scp(t):
    at = sshd(t)
    t.client(f"scp {OPTIONS} -P 2222 {t.www}/1M {at}:{t.work}/lab/up")
    t.client(f"scp {OPTIONS} -P 2222 {at}:{t.work}/lab/up got")
    t.same("got", "1M")


@row(client="sftp", server="sshd", what="64 MiB down, 1 MiB up",
     oracle="checksum", limit=25)
def sftp(t):
    at = sshd(t)
    t.run("bare", f"cp {t.www}/64M .")
    t.write("batch", f"get {t.work}/64M got\nput {t.www}/1M {t.work}/lab/up\n")
    t.client(f"sftp {OPTIONS} -P 2222 -b batch {at}")
    t.same("got", "64M")
    t.same("lab/up", "1M")


@row(client="ssh", server="sshd", what="ports forwarded both ways (-L, -R)",
     oracle="checksum of what went through each", limit=25)
def ssh_forward(t):
    at = sshd(t)
    t.client_start(f"ssh {OPTIONS} -p 2222 -N -L 127.0.0.1:7301:{t.peer}:80 "
                   f"-R 127.0.0.1:7302:{t.peer}:80 {at}")
    here, there = ("bare", "peer") if t.role == "client" else ("peer", "bare")
    for where, port in (here, 7301), (there, 7302):
        t.run(where, f"curl -sSf --retry 20 --retry-connrefused --retry-delay "
              f"1 -o got http://127.0.0.1:{port}/1M")
        t.same("got", "1M")


@row(client="git", server="sshd", what="clone over ssh", oracle="checksum",
     limit=25)
def git_ssh(t):
    at = sshd(t)
    for command in ("init -q -b main src", "-C src add file",
                    "-C src -c user.name=a -c user.email=a@b commit -qm one"):
        if command.endswith("add file"):
            t.run("bare", f"cp {t.www}/1M src/file")
        t.run("bare", "git " + command)
    if t.role == "server":
        t.run("bare", "chown -R 1099:65534 src")
    t.client(["env", f"GIT_SSH_COMMAND=ssh {OPTIONS} -p 2222", "git",
              "clone", "-q", f"{at}:{t.work}/src", "c"])
    t.same("c/file", "1M")


@row(client="rsync", server="sshd", what="rsync over ssh", oracle="checksum",
     limit=25)
def rsync_ssh(t):
    at = sshd(t)
    t.client(["rsync", "-e", f"ssh {OPTIONS} -p 2222", f"{t.www}/64M",
              f"{at}:{t.work}/lab/up"])
    t.same("lab/up", "64M")
