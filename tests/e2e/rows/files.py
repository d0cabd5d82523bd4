"""Fetching and copying files"""
import os

from rows.row import PACKAGE, row

PACKAGE.update({"aria2c": "aria2", "busybox wget": "busybox-static",
                "git daemon": "git", "rsyncd": "rsync"})


@row(client="curl", what="GET of 64 MiB by name, PUT of 64 MiB",
     oracle="checksum", forms="plain stackrun")
def curl(t):
    t.client("curl -sSf -o got http://alias.lab.test/64M")
    t.same("got", "64M")
    t.client(f"curl -sSf -T {t.www}/64M {t.url}/up/64M")
    t.same(t.www + "/up/64M", "64M")


@row(client="curl", what="32 transfers at once", oracle="checksum of each")
def curl_parallel(t):
    t.client("curl -sSfZ --parallel-max 32 --parallel-immediate -o got#1 "
             f"{t.url}/1M?[1-32]")
    for i in range(1, 33):
        t.same(f"got{i}", "1M")


@row(client="curl", what="nobody listens; 404", oracle="exit status 7; 22")
def curl_errors(t):
    t.client(f"curl -sS http://{t.peer}:9/", status=7)
    t.client(f"curl -sSf {t.url}/none", status=22)


@row(client="wget", what="GET of 64 MiB, continued in the middle",
     oracle="checksum", forms="plain stackrun")
def wget(t):
    with open(t.www + "/64M", "rb") as f, open(t.path("got"), "wb") as g:
        g.write(f.read(10000000))
    t.client(f"wget -nv -c -O got {t.url}/64M")
    t.same("got", "64M")


@row(client="aria2c", what="GET of 64 MiB in 4 pieces at once",
     oracle="checksum", forms="plain stackrun")
def aria2(t):
    t.client(f"aria2c -q -x 4 -s 4 -k 1M -d {t.work} -o got {t.url}/64M")
    t.same("got", "64M")


@row(client="lftp", what="pget in 4 pieces, put", oracle="checksum")
def lftp(t):
    t.client(f"lftp -c 'open {t.url}; pget -n 4 64M -o got; "
             f"put {t.www}/1M -o up/1M'")
    t.same("got", "64M")
    t.same(t.www + "/up/1M", "1M")


@row(client="busybox wget", forms="stackrun", frames=0,
     what="static: cannot be entered by LD_PRELOAD",
     oracle="refused with the reason, exit status 126")
def busybox(t):
    t.has(t.client(f"busybox wget -O got {t.url}/1K", status=126), "static")


@row(server="caddy", forms="stackrun", frames=0,
     what="Go: makes its system calls without the C library",
     oracle="refused with the reason, exit status 126")
def go_program(t):
    t.has(t.run("stack", "caddy file-server", status=126), "Go")


@row(client="lftp", server="vsftpd", what="FTP, passive and active: GET of "
     "64 MiB; a sandboxed process for each session", oracle="checksum of both")
def ftp(t):
    t.write("ftp.conf", f"""
listen=YES
listen_port=2121
background=NO
anonymous_enable=YES
anon_root={t.www}
no_anon_password=YES
connect_from_port_20=YES
secure_chroot_dir={t.work}/empty
""")
    os.mkdir(t.path("empty"))
    t.server(f"vsftpd {t.work}/ftp.conf", 2121)
    for i, passive in enumerate(("on", "off")):
        t.client(f"lftp -c 'set ftp:passive-mode {passive}; set ftp:ssl-allow "
                 f"off; open ftp://{t.host}:2121; get 64M -o got{i}'")
        t.same(f"got{i}", "64M")


def repository(t):
    """work/src with one commit, as a bare repository www/repo.git too."""
    for command in ("init -q -b main src", "-C src add file",
                    "-C src -c user.name=a -c user.email=a@b commit -qm one",
                    "clone -q --bare src srv/repo.git",
                    "-C srv/repo.git update-server-info"):
        if command.endswith("add file"):
            t.run("bare", f"cp {t.www}/1M src/file")
        t.run("bare", "git " + command)


@row(client="git", what="clone over HTTP", oracle="checksum")
def git_http(t):
    repository(t)
    t.run("bare", f"cp -r srv/repo.git {t.www}/up/")
    t.client(f"git clone -q {t.url}/up/repo.git clone")
    t.same("clone/file", "1M")


@row(client="git", server="git daemon", what="clone, push over git://",
     oracle="checksum, commit arrives")
def git_daemon(t):
    repository(t)
    t.server(f"git daemon --export-all --enable=receive-pack --reuseaddr "
             f"--base-path={t.work}/srv {t.work}/srv", 9418)
    t.client(f"git clone -q git://{t.host}/repo.git clone")
    t.same("clone/file", "1M")
    t.run("bare", "git -C clone -c user.name=a -c user.email=a@b "
          "commit -q --allow-empty -m two")
    t.client("git -C clone push -q")
    t.has(t.run("bare", "git -C srv/repo.git log --oneline"), "two")


@row(client="rsync", server="rsyncd", what="tree down and up, daemon forks "
     "per client", oracle="checksum of each file")
def rsync(t):
    t.write("rsyncd.conf", f"[m]\npath = {t.work}/srv\nread only = no\n"
            "use chroot = no\nuid = root\ngid = root\n")
    os.makedirs(t.path("srv/d"))
    t.run("bare", f"cp {t.www}/64M {t.www}/1M {t.www}/1K srv/d")
    t.server("rsync --daemon --no-detach --config=rsyncd.conf", 873)
    t.client(f"rsync -a rsync://{t.host}/m/d/ got")
    t.client(f"rsync -a got/ rsync://{t.host}/m/e")
    for name in "64M", "1M", "1K":
        t.same("got/" + name, name)
        t.same("srv/e/" + name, name)
