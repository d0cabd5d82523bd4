"""Names and measurements"""
from rows.row import PACKAGE, row

PACKAGE.update({"dig": "bind9-dnsutils", "dnsmasq": "dnsmasq-base",
                "named": "bind9", "getent": "libc-bin", "ping": "iputils-ping"})


@row(client="getent", what="a name by way of libc's resolver",
     oracle="the address; none for a name that is not", frames=2)
def getent(t):
    t.has(t.client("getent ahostsv4 alias.lab.test"), t.peer)
    t.client("getent ahostsv4 none.lab.test", status=2)


@row(client="dig", server="dnsmasq", oracle="the address", frames=2,
     known={"server": "TCP: looks for its own address among the interfaces "
            "that netlink tells; the stack's is not there"},
     what="100 names by UDP; one by TCP")
def dnsmasq(t):
    t.server("dnsmasq -k --conf-file=/dev/null --no-resolv --no-hosts "
             "--user=root --pid-file= --port 5353 "
             "--address=/lab.example/192.0.2.7", 5353)
    t.write("names", "".join(f"n{i}.lab.example\n" for i in range(100)))
    dig = f"dig @{t.host} -p 5353 +short +tries=1 "
    out = t.client(dig + "-f names")
    if out.count("192.0.2.7\n") != 100:
        t.has(out, "100 answers")
    t.has(t.client(dig + "+tcp a.lab.example"), "192.0.2.7")


@row(client="dig", server="named", what="100 names by UDP; transfer of a zone "
     "of 5,000 records by TCP", oracle="the addresses, all records")
def named(t):
    t.write("zone", "@ 60 SOA ns root 1 60 60 60 60\n@ 60 NS ns\n"
            "ns 60 A 192.0.2.1\n" + "".join(
                f"n{i} 60 A 192.0.2.7\n" for i in range(5000)))
    t.write("named.conf", f"""
options {{ directory "{t.work}"; listen-on port 5355 {{ any; }};
    listen-on-v6 {{ none; }}; pid-file "{t.work}/pid"; recursion no;
    session-keyfile "{t.work}/session"; allow-transfer {{ any; }};
    dnssec-validation no; }};
controls {{ }};
zone "lab.example" {{ type primary; file "{t.work}/zone"; }};
""")
    t.write("names", "".join(f"n{i}.lab.example\n" for i in range(100)))
    s = t.server("named -g -n 2 -c named.conf", 5355)
    t.until(lambda: "all zones loaded" in s.output(), "no zone", s)
    dig = f"dig @{t.host} -p 5355 +tries=1 "
    out = t.client(dig + "+short -f names")
    if out.count("192.0.2.7\n") != 100:
        t.has(out, "100 answers")
    t.has(t.client(dig + "lab.example axfr"), "XFR size: 5004 records")


@row(server="unbound", what="resolver on the stack, asks the other host; "
     "UDP and TCP", oracle="the address")
def unbound(t):
    t.write("unbound.conf", f"""server:
    interface: 0.0.0.0
    port: 5354
    do-ip6: no
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "{t.work}"
    pidfile: "{t.work}/pid"
    use-syslog: no
    access-control: 198.18.0.0/15 allow
    module-config: "iterator"
    num-threads: 2
    local-zone: "test." nodefault
forward-zone:
    name: "lab.test"
    forward-addr: {t.peer}
remote-control:
    control-enable: no
""")
    t.server("unbound -c unbound.conf", 5354)
    dig = f"dig @{t.host} -p 5354 +short "
    t.has(t.client(dig + "www.lab.test"), t.peer)
    t.has(t.client(dig + "+tcp alias.lab.test"), t.peer)


@row(client="iperf3", server="iperf3", what="4 streams up and down, UDP",
     oracle="no error, bytes received", limit=30)
def iperf3(t):
    t.server("iperf3 -s", 5201)
    for option in "-P 4", "-P 4 -R", "-u -b 50M":
        out = t.client(f"iperf3 -c {t.host} -t 1 {option}")
        t.has(out, r"receiver\s+iperf Done")


@row(client="sockperf", server="sockperf", what="ping-pong by UDP and TCP",
     oracle="no message lost")
def sockperf(t):
    for i, option in enumerate(("", "--tcp")):
        s = t.server(f"sockperf sr -p {7200 + i} {option}", 7200 + i)
        out = t.client(f"sockperf pp -i {t.host} -p {7200 + i} {option} -t 1")
        t.has(out, "dropped messages = 0; # duplicated messages = 0; # "
              "out-of-order messages = 0")
        s.stop()


@row(client="nmap", what="connect scan of 100 ports", oracle="the two that are "
     "open")
def nmap(t):
    out = t.client(f"nmap -sT -Pn -n --unprivileged -p 1-100 {t.peer}")
    t.has(out, r"Not shown: 98 closed")
    t.has(out, r"53/tcp open.*\s+80/tcp open")


@row(client="ping", what="100 echo requests", oracle="no loss")
def ping(t):
    t.has(t.client(f"ping -q -c 100 -i 0.01 {t.peer}"), " 0% packet loss")


def one_hop(t, option):
    """The only hop is the peer, three times in a time that is possible."""
    out = t.client(f"traceroute -n {option} {t.peer}")
    t.has(out, fr"\n 1  {t.peer}(  \d+\.\d+ ms){{3}}\n?$")


@row(client="traceroute", what="by UDP", oracle="one hop, the peer; times")
def traceroute(t):
    one_hop(t, "")


@row(client="traceroute", what="by ICMP and by TCP",
     oracle="one hop, the peer; times")
def traceroute_raw(t):
    one_hop(t, "-I")
    one_hop(t, "-T -p 80")
