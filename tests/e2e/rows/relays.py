"""Sockets from the command line, and servers that exec a program"""
from rows.row import PACKAGE, row

PACKAGE.update({"tcpserver": "ucspi-tcp", "tcpclient": "ucspi-tcp",
                "dovecot": "dovecot-imapd"})


@row(client="ncat", server="ncat", what="1 MiB out; 1 MiB in",
     oracle="checksum", forms="plain stackrun")
def ncat(t):
    with open(t.path("got"), "wb") as f:
        s = t.server("sh -c 'ncat -l 7100 > got'", 7100)
        t.client(["sh", "-c", f"ncat --send-only {t.host} 7100 < {t.www}/1M"])
        s.wait()
    t.same("got", "1M")
    s = t.server(["sh", "-c", f"ncat --send-only -l 7101 < {t.www}/1M"], 7101)
    t.client(["sh", "-c", f"ncat --recv-only {t.host} 7101 > got2"])
    t.same("got2", "1M")


@row(client="ncat", server="ncat", what="server: --sh-exec for 4 clients; "
     "client: --sh-exec", oracle="checksum")
def ncat_exec(t):
    t.server(["ncat", "-lk", "7102", "--sh-exec", f"cat {t.www}/64K"], 7102)
    clients = [t.client_start(["sh", "-c", f"ncat --recv-only {t.host} 7102 "
                               f"> got{i}"]) for i in range(4)]
    for i, c in enumerate(clients):
        c.wait()
        t.same(f"got{i}", "64K")
    s = t.server("socat -u TCP4-LISTEN:7109,reuseaddr CREATE:got", 7109)
    t.client(["ncat", "--sh-exec", f"cat {t.www}/64K", t.host, "7109"])
    s.wait()
    t.same("got", "64K")


@row(client="socat", server="socat", what="1 MiB out; 1 MiB in",
     oracle="checksum", forms="plain stackrun")
def socat(t):
    s = t.server("socat -u TCP4-LISTEN:7103,reuseaddr CREATE:got", 7103)
    t.client(f"socat -u OPEN:{t.www}/1M TCP4:{t.host}:7103")
    s.wait()
    t.same("got", "1M")
    s = t.server(f"socat -u OPEN:{t.www}/1M TCP4-LISTEN:7104,reuseaddr", 7104)
    t.client(f"socat -u TCP4:{t.host}:7104 CREATE:got2")
    t.same("got2", "1M")


@row(client="socat", server="socat", what="fork and EXEC:cat, 8 clients",
     oracle="checksum of each")
def socat_exec(t):
    t.server("socat TCP4-LISTEN:7105,fork,reuseaddr EXEC:cat", 7105)
    clients = [t.client_start(["sh", "-c", f"socat -t 5 - TCP4:{t.host}:7105 "
                               f"< {t.www}/64K > got{i}"]) for i in range(8)]
    for i, c in enumerate(clients):
        c.wait()
        t.same(f"got{i}", "64K")


@row(client="socat", server="socat", what="UDP echo", oracle="the answer",
     frames=1)
def socat_udp(t):
    t.server("socat UDP4-LISTEN:7106,fork PIPE", 7106)
    out = t.client(["sh", "-c", f"echo hello | socat -t 1 - "
                    f"UDP4:{t.host}:7106"])
    t.has(out, "^hello$")


@row(client="tcpclient", server="tcpserver", what="1 MiB through a program on "
     "descriptors 0 and 1 (client: 6 and 7)", oracle="checksum")
def tcpserver(t):
    t.server(f"tcpserver -HRl0 0 7107 sh -c 'read x; cat {t.www}/1M'", 7107)
    t.client(f"tcpclient -HRl0 {t.host} 7107 "
             "sh -c 'echo go >&7; cat <&6 > got'")
    t.same("got", "1M")


@row(server="xinetd", what="a service on descriptor 0, 4 clients",
     oracle="checksum of each")
def xinetd(t):
    t.write("xinetd.conf", f"""service lab
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    port = 7108
    wait = no
    user = root
    server = /bin/cat
    flags = IPv4
}}
""")
    t.server("xinetd -dontfork -f xinetd.conf", 7108)
    clients = [t.client_start(["sh", "-c", f"socat -t 5 - TCP4:{t.host}:7108 "
                               f"< {t.www}/64K > got{i}"]) for i in range(4)]
    for i, c in enumerate(clients):
        c.wait()
        t.same(f"got{i}", "64K")


@row(server="dovecot", what="IMAP: 50 messages stored and fetched; the login "
     "process hands the connection on", oracle="contents of each",
     known={"server": "the login process, which may not fork (RLIMIT_NPROC), "
            "cannot start the relay that SCM_RIGHTS needs"})
def dovecot(t):
    t.run("bare", "install -d -o 1099 -g 65534 mail run")
    t.write("dovecot.conf", f"""
base_dir = {t.work}/run
state_dir = {t.work}/run
listen = 0.0.0.0
protocols = imap
ssl = no
disable_plaintext_auth = no
log_path = /dev/stderr
mail_location = mbox:{t.work}/mail
first_valid_uid = 1
service imap-login {{
  inet_listener imap {{
    port = 7143
  }}
}}
service stats {{
  unix_listener stats-reader {{
    mode = 0666
  }}
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=1099 gid=65534 home={t.work}/mail
}}
""")
    t.write("ask.py", f"""
import imaplib
c = imaplib.IMAP4("{t.host}", 7143)
c.login("lab", "x")
for i in range(50):
    c.append("INBOX", None, None, b"Subject: %d\\r\\n\\r\\n%s\\r\\n" %
             (i, b"x" * 10000))
c.select("INBOX")
for i in range(50):
    text = c.fetch(str(i + 1), "(BODY[TEXT])")[1][0][1]
    assert text.strip() == b"x" * 10000, text[:99]
c.logout()
print("all well")
""")
    t.server("dovecot -F -c dovecot.conf", 7143)
    t.has(t.client("python3 ask.py"), "all well")
