"""Web servers and clients"""
import os
import signal
import time

from rows.row import Failed, PACKAGE, row

PACKAGE.update({"nginx": "nginx-light", "apache2": "apache2-bin",
                "squid": "squid-openssl",
                "stunnel": "stunnel4", "ab": "apache2-utils",
                "h2load": "nghttp2-client",
                "openssl s_server": "openssl", "openssl s_client": "openssl"})
NGINX = "/usr/sbin/nginx"  # with its folder: the upgrade executes argv[0]


def certificate(t):
    """A key and a certificate for TLS, in work/."""
    t.run("bare", "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "
          "/CN=lab -keyout key -out cert")


def nginx_conf(t, workers=1, server="", front=True):
    """The command that runs nginx on 8080 with that many workers."""
    w = t.work
    t.write("nginx.conf", f"""
user root; worker_processes {workers}; worker_shutdown_timeout 15;
error_log {w}/nginx.err; pid {w}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; client_max_body_size 0;
    client_body_temp_path {w}/t; proxy_temp_path {w}/t;
    fastcgi_temp_path {w}/t; uwsgi_temp_path {w}/t; scgi_temp_path {w}/t;
    server {{ listen 8080; {server} root {t.www};
        location /up/ {{ dav_methods PUT; }} }}
}}
""")
    daemon = "off" if front else "on"
    return f"{NGINX} -e {w}/nginx.err -c {w}/nginx.conf -g 'daemon {daemon};'"


def load(t, url, seconds=2, connections=16):
    """wrk without an error of any kind."""
    out = t.client(f"wrk -t 1 -c {connections} -d {seconds} {url}")
    t.has(out, r"Requests/sec: +[1-9]")
    if "Socket errors" in out or "Non-2xx" in out:
        raise Failed("wrk: " + " ".join(out.split())[-150:])


@row(server="nginx", forms="plain stackrun", oracle="checksum",
     what="4 workers, sendfile: GET of 64 MiB, 8 of 1 MiB at once, PUT")
def nginx_files(t):
    t.server(nginx_conf(t, 4), 8080)
    t.client(f"curl -sSf -o got http://{t.host}:8080/64M")
    t.same("got", "64M")
    t.client("curl -sSfZ --parallel-immediate -o got#1 "
             f"http://{t.host}:8080/1M?[1-8]")
    for i in range(1, 9):
        t.same(f"got{i}", "1M")
    t.client(f"curl -sSf -T {t.www}/1M http://{t.host}:8080/up/1M")
    t.same(t.www + "/up/1M", "1M")


@row(client="wrk", server="nginx", oracle="no error, every answer 2xx",
     what="4 workers under 32 connections for 2 s")
def nginx_load(t):
    t.server(nginx_conf(t, 4), 8080)
    load(t, f"http://{t.host}:8080/1K", 2, 32)


@row(server="nginx", what="reload: new workers serve, an old one finishes a "
     "download", oracle="checksum of both", limit=25)
def nginx_reload(t):
    master = t.server(nginx_conf(t, 4), 8080)
    slow = t.client_start(f"curl -sSf --limit-rate 16M -o slow "
                          f"http://{t.host}:8080/64M")
    time.sleep(0.5)
    pid = int(t.read("nginx.pid"))
    before = workers(pid)
    os.kill(pid, signal.SIGHUP)
    t.until(lambda: len(workers(pid) - before) == 4, "no new workers")
    t.client(f"curl -sSf -o got http://{t.host}:8080/1M")
    t.same("got", "1M")
    slow.wait()
    t.same("slow", "64M")
    t.until(lambda: not workers(pid) & before, "the old workers stay")
    master.stop(signal.SIGQUIT, status=0)


def workers(pid):
    """The processes that pid started."""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return set(f.read().split())


def runs(pid):
    """Is the process there, and no zombie?"""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@row(server="nginx", what="binary upgrade (USR2, QUIT) with a download open",
     oracle="checksum, the new master serves", limit=25)
def nginx_upgrade(t):
    t.server(nginx_conf(t, 2, front=False), 8080)
    slow = t.client_start(f"curl -sSf --limit-rate 16M -o slow "
                          f"http://{t.host}:8080/64M")
    time.sleep(0.5)
    old = int(t.read("nginx.pid"))
    os.kill(old, signal.SIGUSR2)
    t.until(lambda: os.path.exists(t.path("nginx.pid.oldbin")) and
            os.path.exists(t.path("nginx.pid")), "no new master")
    new = int(t.read("nginx.pid"))
    t.until(lambda: len(workers(new)) == 2, "no new workers")
    os.kill(old, signal.SIGQUIT)
    for i in range(4):
        t.client(f"curl -sSf -o got{i} http://{t.host}:8080/1M")
        t.same(f"got{i}", "1M")
    slow.wait()
    t.same("slow", "64M")
    t.until(lambda: not runs(old), "the old master stays")
    t.client(f"curl -sSf -o got http://{t.host}:8080/1M")
    t.same("got", "1M")
    os.kill(new, signal.SIGQUIT)


@row(client="h2load", server="nginx", what="HTTP/2 over TLS, 2000 requests on "
     "8 connections", oracle="2000 succeeded, none failed")
def http2(t):
    certificate(t)
    t.server(nginx_conf(t, 2, server=f"listen 443 ssl http2; ssl_certificate "
                        f"{t.work}/cert; ssl_certificate_key {t.work}/key;"),
             443)
    out = t.client(f"h2load -n 2000 -c 8 -m 10 https://{t.host}/1K")
    t.has(out, "2000 succeeded, 0 failed, 0 errored, 0 timeout")


@row(client="ab", server="nginx", what="1000 requests on 10 connections, with "
     "and without keep-alive", oracle="1000 complete, none failed")
def ab(t):
    t.server(nginx_conf(t), 8080)
    for option in "", "-k":
        out = t.client(f"ab -q {option} -n 1000 -c 10 http://{t.host}:8080/1K")
        t.has(out, r"Complete requests: +1000\s+Failed requests: +0")


@row(client="siege", server="nginx", what="8 users, 50 requests each",
     oracle="400 transactions, availability 100 %")
def siege(t):
    t.server(nginx_conf(t), 8080)
    t.write(".siege/siege.conf", "verbose = false\njson_output = false\n")
    out = t.client(f"siege -b -c 8 -r 50 http://{t.host}:8080/1K")
    t.has(out, r"Transactions:\s+400 hits\s+Availability:\s+100.00 %")


def apache(t, mpm):
    """The command that runs apache2 with that MPM, in front."""
    need = ["mpm_" + mpm, "authz_core", "dav", "dav_fs"]
    modules = "".join(
        f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n"
        for m in need)
    t.write("apache.conf", f"""{modules}
ServerName lab
ServerRoot {t.work}
DefaultRuntimeDir {t.work}
PidFile {t.work}/apache.pid
ErrorLog {t.work}/apache.err
Listen 8080
StartServers 2
EnableSendfile On
DavLockDB {t.work}/dav
DocumentRoot {t.www}
""")
    return f"apache2 -f {t.work}/apache.conf -D FOREGROUND"


def serve_files(t):
    """What every web server must do: contents, many at once, load."""
    t.client(f"curl -sSf -o got http://{t.host}:8080/64M")
    t.same("got", "64M")
    t.client("curl -sSfZ --parallel-immediate -o got#1 "
             f"http://{t.host}:8080/1M?[1-8]")
    for i in range(1, 9):
        t.same(f"got{i}", "1M")
    load(t, f"http://{t.host}:8080/1K", 1)


WHAT = "GET of 64 MiB, 8 of 1 MiB at once, wrk for 1 s"


@row(server="apache2", what="prefork: " + WHAT, oracle="checksum, no error")
def apache_prefork(t):
    t.server(apache(t, "prefork"), 8080)
    serve_files(t)


@row(server="apache2", what="event: " + WHAT, oracle="checksum, no error")
def apache_event(t):
    t.server(apache(t, "event"), 8080)
    serve_files(t)


@row(server="apache2", what="graceful restart (USR1) during a download",
     oracle="checksum of both", limit=25)
def apache_graceful(t):
    t.server(apache(t, "event"), 8080)
    slow = t.client_start(f"curl -sSf --limit-rate 16M -o slow "
                          f"http://{t.host}:8080/64M")
    time.sleep(0.5)
    os.kill(int(t.read("apache.pid")), signal.SIGUSR1)
    time.sleep(0.5)
    t.client(f"curl -sSf --retry 3 -o got http://{t.host}:8080/1M")
    t.same("got", "1M")
    slow.wait()
    t.same("slow", "64M")


@row(server="lighttpd", what=WHAT, oracle="checksum, no error")
def lighttpd(t):
    t.write("lighttpd.conf", f'server.port = 8080\nserver.document-root = '
            f'"{t.www}"\nserver.max-worker = 2\n')
    t.server(f"lighttpd -D -f {t.work}/lighttpd.conf", 8080)
    serve_files(t)


@row(server="haproxy", what="HTTP proxy on the stack, both sides: " + WHAT,
     oracle="checksum, no error")
def haproxy(t):
    t.write("haproxy.cfg", f"""
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend in
    bind *:8080
    default_backend out
backend out
    server one {t.peer}:80 check inter 500
""")
    t.server(f"haproxy -W -db -f {t.work}/haproxy.cfg", 8080)
    t.client(f"curl -sSf -o got http://{t.host}:8080/64M")
    t.same("got", "64M")
    load(t, f"http://{t.host}:8080/1K", 1)


@row(server="tinyproxy", what="HTTP proxy, a thread for each: GET of 64 MiB, "
     "8 of 1 MiB at once", oracle="checksum")
def tinyproxy(t):
    t.write("proxy.conf", "Port 8888\nTimeout 20\nMaxClients 50\n"
            "Allow 198.18.0.0/15\n")
    t.server("tinyproxy -d -c proxy.conf", 8888)
    proxied(t, f"http://{t.host}:8888")


@row(server="squid", what="caching HTTP proxy: GET of 64 MiB, 8 of 1 MiB at "
     "once", oracle="checksum", limit=30)
def squid(t):
    t.run("bare", "install -d -o proxy s")
    t.write("squid.conf", f"""
http_port 3128
http_access allow all
cache_mem 64 MB
pid_filename {t.work}/s/pid
cache_log {t.work}/s/log
access_log none
coredump_dir {t.work}/s
shutdown_lifetime 1 seconds
pinger_enable off
netdb_filename none
""")
    t.server("squid -N -f squid.conf", 3128)
    proxied(t, f"http://{t.host}:3128")


def proxied(t, proxy):
    """The lab's files through a proxy; both its sides are on one host."""
    t.client(f"curl -sSf -x {proxy} -o got {t.url}/64M")
    t.same("got", "64M")
    t.client(f"curl -sSfZ --parallel-immediate -x {proxy} -o got#1 "
             f"{t.url}/1M?[1-8]")
    for i in range(1, 9):
        t.same(f"got{i}", "1M")


@row(server="stunnel", what="TLS in front of the other host's web server",
     oracle="checksum")
def stunnel(t):
    certificate(t)
    t.write("stunnel.conf", f"foreground = yes\npid =\n[https]\n"
            f"accept = 0.0.0.0:8443\nconnect = {t.peer}:80\n"
            f"cert = {t.work}/cert\nkey = {t.work}/key\n")
    t.server(f"stunnel {t.work}/stunnel.conf", 8443)
    t.client("curl -sSfkZ --parallel-immediate -o got#1 "
             f"https://{t.host}:8443/1M?[1-8]")
    for i in range(1, 9):
        t.same(f"got{i}", "1M")


@row(client="openssl s_client", server="openssl s_server",
     what="TLS 1.3, GET of 1 MiB", oracle="checksum")
def openssl(t):
    certificate(t)
    t.server(["sh", "-c", f"cd {t.www} && exec openssl s_server -quiet -WWW "
              f"-accept 4433 -key {t.work}/key -cert {t.work}/cert"], 4433)
    t.client(["sh", "-c", "printf 'GET /1M HTTP/1.0\\r\\n\\r\\n' | openssl "
              f"s_client -quiet -ign_eof -connect {t.host}:4433 > answer"])
    with open(t.path("answer"), "rb") as f:
        body = f.read().split(b"\r\n\r\n", 1)[1]
    with open(t.path("got"), "wb") as f:
        f.write(body)
    t.same("got", "1M")
