"""Databases, caches, messages"""
import os
import signal

from rows.row import Failed, PACKAGE, row

PG = "/usr/lib/postgresql/15/bin/"
PACKAGE.update({"redis-benchmark": "redis-tools", "redis-cli": "redis-tools",
                "postgres": "postgresql-15", "psql": "postgresql-client-15",
                "pgbench": "postgresql-15", "mosquitto_pub/sub":
                "mosquitto-clients", "mariadb": "mariadb-client-core",
                "mariadbd": "mariadb-server-core", "nc": "ncat"})


@row(client="redis-cli", server="redis-server", oracle="the value; no loss in "
     "the saved file", what="pipe of 20,000 SETs, DEBUG RELOAD, GET of 1 MiB")
def redis(t):
    t.server(f"redis-server --port 6379 --bind 0.0.0.0 --protected-mode no "
             f"--dir {t.work} --save '' --enable-debug-command yes", 6379)
    t.write("sets", "".join(f"SET key{i} value{i}\n" for i in range(20000)))
    cli = f"redis-cli -h {t.host} "
    out = t.client(["sh", "-c", cli + "--pipe < sets"])
    t.has(out, "errors: 0, replies: 20000")
    t.has(t.client(cli + "DEBUG RELOAD"), "^OK")
    t.has(t.client(cli + "DBSIZE"), "20000")
    t.has(t.client(cli + "GET key19999"), "value19999")
    t.client(["sh", "-c", f"base64 -w0 {t.www}/1M | {cli} -x SET big"])
    t.client(["sh", "-c", f"{cli} GET big | base64 -d > got"])
    t.same("got", "1M")


@row(client="redis-benchmark", server="redis-server", oracle="every test gives"
     " a rate; the save ends well",
     what="SET and GET on 20 connections, BGSAVE meanwhile")
def redis_load(t):
    t.server(f"redis-server --port 6379 --bind 0.0.0.0 --protected-mode no "
             f"--dir {t.work} --save ''", 6379)
    load = t.client_start(f"redis-benchmark -h {t.host} -c 20 -n 40000 -r "
                          "10000 -d 200 -t set,get -q")
    t.has(t.client(f"redis-cli -h {t.host} BGSAVE"), "started")
    load.wait()
    t.has(load.output(), r"SET: [1-9][\d.]+ requests per second")
    t.has(load.output(), r"GET: [1-9][\d.]+ requests per second")
    t.until(lambda: "rdb_bgsave_in_progress:0" in t.client(
        f"redis-cli -h {t.host} INFO persistence"), "BGSAVE goes on")
    t.has(t.client(f"redis-cli -h {t.host} INFO persistence"),
          "rdb_last_bgsave_status:ok")
    t.run("bare", "redis-check-rdb dump.rdb")


@row(server="redis-server", what="a replica on the stack of a master on the "
     "other host", oracle="the value arrives")
def redis_replica(t):
    common = "--bind 0.0.0.0 --protected-mode no --save '' --dir " + t.work
    t.start("peer", f"redis-server --port 6380 {common}")
    t.server(f"redis-server --port 6379 {common} "
             f"--replicaof {t.peer} 6380", 6379)
    t.until(lambda: "master_link_status:up" in t.client(
        f"redis-cli -h {t.host} INFO replication"), "no link to the master")
    t.run("peer", "redis-cli -p 6380 SET a 4711")
    t.until(lambda: "4711" in t.client(f"redis-cli -h {t.host} GET a"),
            "the value did not arrive")


@row(server="memcached", what="4 threads; set and get 64 KiB on 16 "
     "connections, get by UDP", oracle="the value on each")
def memcached(t):
    t.server("memcached -u root -t 4 -U 11211 -l 0.0.0.0", 11211)
    t.write("ask.py", f"""
import socket, struct, threading
at = ("{t.host}", 11211)
value = bytes(range(256)) * 256
good = []
def one(i):
    with socket.create_connection(at) as s, s.makefile("rwb") as f:
        f.write(b"set k%d 0 0 %d\\r\\n%s\\r\\nget k%d\\r\\n" %
                (i, len(value), value, i))
        f.flush()
        if f.readline() == b"STORED\\r\\n" and b"VALUE" in f.readline():
            good.append(f.read(len(value)) == value)
threads = [threading.Thread(target=one, args=(i,)) for i in range(16)]
[x.start() for x in threads]
[x.join() for x in threads]
assert good == [True] * 16, good
with socket.socket(type=socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.sendto(struct.pack("!HHHH", 7, 0, 1, 0) + b"get none\\r\\n", at)
    assert s.recv(1500)[8:] == b"END\\r\\n"
print("all well")
""")
    t.has(t.client("python3 ask.py"), "all well")


def postgres(t):
    """A fresh cluster, run by the user postgres (it refuses root)."""
    t.run("bare", "install -d -o postgres db")
    t.run("bare", f"{PG}initdb -N -A trust -D {t.work}/db", user="postgres")
    with open(t.path("db/pg_hba.conf"), "a") as f:
        f.write("host all all 198.18.0.0/15 trust\n")
    server = t.server(f"{PG}postgres -D {t.work}/db -h 0.0.0.0 -k {t.work}/db "
                      "-F", 5432, user="postgres")
    t.until(lambda: "ready to accept" in server.output(), "it never gets ready")
    return server


@row(client="psql", server="postgres", limit=30, oracle="the sum, the contents;"
     " fast shutdown ends with 0",
     what="COPY of 100,000 rows in and out; parallel query; NOTIFY")
def postgresql(t):
    server = postgres(t)
    psql = f"{PG}psql -h {t.host} -U postgres -qAt "
    t.write("rows", "".join(f"{i}\trow {i}\n" for i in range(100000)))
    t.client([*psql.split(), "-c", "CREATE TABLE t (i int, s text)",
              "-c", f"\\copy t FROM {t.work}/rows",
              "-c", f"\\copy t TO {t.work}/got"])
    t.same("got", t.path("rows"))
    out = t.client([*psql.split(), "-c", "SET parallel_setup_cost = 0",
                    "-c", "SELECT sum(i) FROM t",
                    "-c", "LISTEN x", "-c", "NOTIFY x, 'hello'"])
    t.has(out, "^4999950000\n")
    t.has(out, 'payload "hello"')
    if t.role == "server":
        os.kill(int(t.read("db/postmaster.pid").split()[0]), signal.SIGINT)
        server.wait(0)


@row(client="pgbench", server="postgres", limit=30,
     what="TPC-B-like, 8 clients on 2 threads, 2 s",
     oracle="no transaction failed; the balances agree")
def pgbench(t):
    postgres(t)
    to = f"-h {t.host} -U postgres"
    t.client(f"{PG}pgbench {to} -i -q -s 1 postgres")
    out = t.client(f"{PG}pgbench {to} -c 8 -j 2 -T 2 postgres")
    t.has(out, r"failed transactions: 0 ")
    t.has(out, r"tps = [1-9]")
    out = t.client([*f"{PG}psql {to} -qAt".split(), "-c",
                    "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = "
                    "(SELECT sum(delta) FROM pgbench_history)"])
    t.has(out, "^t$")


@row(client="mariadb", server="mariadbd", limit=30, oracle="the sum and the "
     "checksum", what="table of 10,000 rows, a blob of 1 MiB, 8 clients")
def mariadb(t):
    t.run("bare", "mkdir db")
    t.run("bare", f"mariadb-install-db --no-defaults --user=root "
          f"--auth-root-authentication-method=normal --datadir={t.work}/db "
          "--skip-test-db")
    t.write("init.sql", "CREATE USER lab@'%';\nGRANT ALL ON *.* TO lab@'%';\n"
            "CREATE DATABASE d;\n")
    t.server(f"mariadbd --no-defaults --user=root --datadir={t.work}/db "
             f"--socket={t.work}/sock --init-file={t.work}/init.sql "
             "--bind-address=0.0.0.0 --max-allowed-packet=16M", 3306)
    cli = f"mariadb --no-defaults -h {t.host} -u lab -N d"
    rows = ",".join(f"({i})" for i in range(10000))
    blob = open(t.www + "/1M", "rb").read().hex()
    t.write("in.sql", f"CREATE TABLE t (i INT); INSERT INTO t VALUES {rows};\n"
            "CREATE TABLE b (x LONGBLOB);\n"
            f"INSERT INTO b VALUES (x'{blob}');\n"
            "SELECT SUM(i) FROM t; SELECT MD5(x) FROM b;\n")
    out = t.client(["sh", "-c", f"{cli} --max-allowed-packet=16M < in.sql"])
    t.has(out, "49995000")
    md5 = t.run("bare", f"md5sum {t.www}/1M").split()[0]
    t.has(out, md5)
    clients = [t.client_start([*cli.split(), "-e", "SELECT SUM(i) FROM t"])
               for _ in range(8)]
    for c in clients:
        c.wait()
        t.has(c.output(), "49995000")


@row(client="mosquitto_pub/sub", server="mosquitto", oracle="every message in "
     "order", what="subscriber and 200 messages of quality 2")
def mosquitto(t):
    t.write("m.conf", "listener 1883 0.0.0.0\nallow_anonymous true\n"
            "user root\n")
    t.server("mosquitto -c m.conf", 1883)
    sub = f"mosquitto_sub -h {t.host} -q 2 -t a/b -c -i sub "
    t.client(sub + "-E")
    t.write("lines", "".join(f"message {i}\n" for i in range(200)))
    t.client(["sh", "-c", f"mosquitto_pub -h {t.host} -q 2 -l -t a/b < lines"])
    if t.client(sub + "-C 200") != t.read("lines"):
        raise Failed("not all messages, or not in order")
