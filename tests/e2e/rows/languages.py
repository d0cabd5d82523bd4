"""Language run-times"""
from rows.row import PACKAGE, row

PACKAGE.update({"node": "nodejs", "php": "php-cli", "java":
                "openjdk-17-jdk-headless"})

GET = "GET of 64 MiB; 8 of 1 MiB at once"


def fetch(t, port=8000):
    """curl gets the lab's files from the server."""
    t.client(f"curl -sSf -o got http://{t.host}:{port}/64M")
    t.same("got", "64M")
    t.client("curl -sSfZ --parallel-immediate -o got#1 "
             f"http://{t.host}:{port}/1M?[1-8]")
    for i in range(1, 9):
        t.same(f"got{i}", "1M")


@row(server="python3", what="http.server: " + GET, oracle="checksum",
     forms="plain stackrun")
def python_server(t):
    t.server(f"python3 -m http.server -d {t.www} 8000", 8000)
    fetch(t)


@row(client="python3", what="urllib: GET of 64 MiB", oracle="checksum")
def python_urllib(t):
    t.client(["python3", "-c", "import urllib.request, shutil\n"
              f"with urllib.request.urlopen('{t.url}/64M') as r, "
              "open('got', 'wb') as f: shutil.copyfileobj(r, f)"])
    t.same("got", "64M")


ECHO = """
import asyncio, sys
async def serve(r, w):
    while data := await r.read(65536):
        w.write(data)
        await w.drain()
    w.close()
async def server():
    async with await asyncio.start_server(serve, "0.0.0.0", 8001) as s:
        await s.serve_forever()
async def one(i):
    r, w = await asyncio.open_connection(sys.argv[1], 8001)
    data = bytes([i]) * 1000000
    async def send():
        w.write(data)
        await w.drain()
        w.write_eof()
    got, _ = await asyncio.gather(r.read(-1), send())
    w.close()
    return got == data
async def client():
    assert all(await asyncio.gather(*map(one, range(50))))
    print("50 echoes")
asyncio.run(client() if sys.argv[1:] else server())
"""


@row(client="python3", server="python3", what="asyncio: 50 echoes of 1 MB at "
     "once", oracle="contents of each")
def python_asyncio(t):
    t.write("echo.py", ECHO)
    t.server("python3 echo.py", 8001)
    t.has(t.client(f"python3 echo.py {t.host}"), "50 echoes")


@row(client="python3", server="python3", oracle="the sum of all answers",
     what="multiprocessing (fork): 4 acceptors on one listener, pool of 4 "
     "clients; subprocess with a socket on 0 and 1")
def python_processes(t):
    t.write("server.py", """
import multiprocessing, socket, subprocess
def work(s):
    while True:
        c, _ = s.accept()
        with c:
            subprocess.run(["sh", "-c", "read x; echo $((x * x))"], stdin=c,
                           stdout=c, check=True)
s = socket.create_server(("0.0.0.0", 8002))
for _ in range(4):
    multiprocessing.Process(target=work, args=(s,)).start()
""")
    t.write("client.py", f"""
import multiprocessing, socket
def ask(x):
    with socket.create_connection(("{t.host}", 8002)) as s:
        s.sendall(b"%d\\n" % x)
        return int(s.makefile().read())
with multiprocessing.Pool(4) as p:
    print("sum", sum(p.map(ask, range(40))))
""")
    t.server("python3 server.py", 8002)
    t.has(t.client("python3 client.py"), f"sum {sum(i * i for i in range(40))}")


@row(client="python3", what="multiprocessing (spawn): 4 processes fetch 1 MiB "
     "each", oracle="checksum")
def python_spawn(t):
    t.write("spawn.py", f"""
import multiprocessing, urllib.request
def get(i):
    with open("got%d" % i, "wb") as f:
        f.write(urllib.request.urlopen("{t.url}/1M").read())
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(4) as p:
        p.map(get, range(4))
""")
    t.client("python3 spawn.py")
    for i in range(4):
        t.same(f"got{i}", "1M")


NODE = """
const http = require('http'), fs = require('fs'), c = require('cluster');
function serve() {
    http.createServer((q, a) => {
        const f = process.argv[2] + q.url.split('?')[0];
        a.writeHead(200, {'Content-Length': fs.statSync(f).size});
        fs.createReadStream(f).pipe(a);
    }).listen(8000, '0.0.0.0');
}
if (process.argv[3] && c.isPrimary)
    for (let i = 0; i < +process.argv[3]; i++) c.fork();
else
    serve();
"""


@row(server="node", what="http: " + GET, oracle="checksum")
def node_http(t):
    t.write("server.js", NODE)
    t.server(f"node server.js {t.www}", 8000)
    fetch(t)


@row(server="node", what="cluster of 3: " + GET, oracle="checksum")
def node_cluster(t):
    t.write("server.js", NODE)
    t.server(f"node server.js {t.www} 3", 8000)
    fetch(t)


@row(client="node", what="fetch() of 64 MiB; 20 at once by name",
     oracle="checksum, lengths")
def node_fetch(t):
    t.write("get.mjs", f"""
import {{ writeFileSync }} from 'fs';
const get = async u => Buffer.from(await (await fetch(u)).arrayBuffer());
writeFileSync('got', await get('{t.url}/64M'));
const all = await Promise.all([...Array(20).keys()].map(
    i => get('http://www.lab.test/64K?' + i)));
console.log('sum', all.reduce((n, b) => n + b.length, 0));
""")
    t.has(t.client("node get.mjs"), "sum 1310720")
    t.same("got", "64M")


@row(client="perl", server="perl", what="IO::Socket::INET, a fork for each of "
     "8 clients", oracle="contents of each")
def perl(t):
    t.write("server.pl", """
use IO::Socket::INET; $SIG{CHLD} = 'IGNORE';
my $s = IO::Socket::INET->new(LocalPort => 8003, Listen => 16, ReuseAddr => 1)
    or die;
while (1) {
    my $c = $s->accept or next;
    if (!fork) { print $c scalar reverse while <$c>; exit }
}
""")
    t.write("client.pl", f"""
use IO::Socket::INET;
my $c = IO::Socket::INET->new("{t.host}:8003") or die;
print $c join('', map {{ "line $_\\n" }} 1 .. 10000);
shutdown($c, 1);
my $n = 0;
while (<$c>) {{ $n += length }}
print "got $n\\n";
""")
    t.server("perl server.pl", 8003)
    clients = [t.client_start("perl client.pl") for _ in range(8)]
    for c in clients:
        c.wait()
        t.has(c.output(), "got 98894")


@row(client="ruby", server="ruby", what="TCPServer, a thread for each of 8 "
     "clients; Net::HTTP", oracle="contents of each; checksum")
def ruby(t):
    t.write("server.rb", """
require 'socket'
s = TCPServer.new('0.0.0.0', 8004)
loop { Thread.new(s.accept) { |c| IO.copy_stream(c, c); c.close } }
""")
    t.write("client.rb", f"""
require 'socket'; require 'net/http'
all = (1..8).map {{ |i| Thread.new {{
    s = TCPSocket.new('{t.host}', 8004)
    Thread.new {{ s.write(i.to_s * 500000); s.close_write }}
    s.read == i.to_s * 500000 }} }}.map(&:value)
puts "good #{{all.count(true)}}"
if ARGV[0]
    File.binwrite('got', Net::HTTP.get(URI(ARGV[0])))
    system('true') or abort
end
""")
    t.server("ruby server.rb", 8004)
    url = t.url + "/64M" if t.role == "client" else ""
    t.has(t.client("ruby client.rb " + url), "good 8")
    if url:
        t.same("got", "64M")


@row(server="php", what="php -S: " + GET, oracle="checksum")
def php_server(t):
    t.server(f"php -S 0.0.0.0:8000 -t {t.www}", 8000)
    fetch(t)


@row(client="php", what="stream wrapper: GET of 64 MiB", oracle="checksum")
def php_client(t):
    t.client(["php", "-r", f"copy('{t.url}/64M', 'got') or exit(1);"])
    t.same("got", "64M")


JAVA_SERVER = """
import com.sun.net.httpserver.*;
import java.net.*; import java.nio.file.*; import java.util.concurrent.*;
public class Server { public static void main(String[] a) throws Exception {
    HttpServer s = HttpServer.create(new InetSocketAddress(8000), 0);
    s.setExecutor(Executors.newFixedThreadPool(8));
    s.createContext("/", x -> {
        Path p = Path.of(a[0] + x.getRequestURI().getPath());
        x.sendResponseHeaders(200, Files.size(p));
        try (var o = x.getResponseBody()) { Files.copy(p, o); } });
    s.start(); } }
"""
JAVA_CLIENT = """
import java.net.URI; import java.net.http.*; import java.nio.file.*;
import java.util.stream.*;
public class Client { public static void main(String[] a) throws Exception {
    var c = HttpClient.newHttpClient();
    c.send(HttpRequest.newBuilder(URI.create(a[0] + "/64M")).build(),
           HttpResponse.BodyHandlers.ofFile(Path.of("got")));
    var all = IntStream.range(0, 20).mapToObj(i -> c.sendAsync(
        HttpRequest.newBuilder(URI.create(a[0] + "/64K?" + i)).build(),
        HttpResponse.BodyHandlers.ofByteArray())).toList();
    int n = 0;
    for (var f : all) n += f.get().body().length;
    System.out.println("sum " + n); } }
"""


@row(server="java", what="HttpServer, 8 threads: " + GET, oracle="checksum",
     limit=40)
def java_server(t):
    t.write("Server.java", JAVA_SERVER)
    t.server(f"java -Xmx256m Server.java {t.www}", 8000)
    fetch(t)


@row(client="java", what="HttpClient: GET of 64 MiB; 20 at once",
     oracle="checksum, lengths", limit=40)
def java_client(t):
    t.write("Client.java", JAVA_CLIENT)
    t.has(t.client(f"java -Xmx256m Client.java {t.url}"), "sum 1310720")
    t.same("got", "64M")
