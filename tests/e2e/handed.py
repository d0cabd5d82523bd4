"""A server on the stack that gives its connection to a program that cannot be
entered, for handed.sh.

    handed.py spawn|vfork|detach PORT COMMAND...   COMMAND on the connection
    handed.py pass PORT PATH    the connection to whoever listens at PATH
    handed.py take PATH         such a listener (not on the stack): echoes
"""
import os
import socket
import subprocess
import sys


def accept(port):
    server = socket.create_server(("", port))
    return server.accept()[0]


def spawn(conn, command):
    fd = conn.fileno()
    actions = [(os.POSIX_SPAWN_DUP2, fd, 0), (os.POSIX_SPAWN_DUP2, fd, 1)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    conn.close()
    os.waitpid(pid, 0)


def vfork(conn, command):
    """CPython's subprocess; our own copy stays open until it is done."""
    done = subprocess.run(command, stdin=conn, stdout=conn, check=False)
    conn.shutdown(socket.SHUT_WR)
    conn.close()
    sys.exit(done.returncode)


def detach(conn, command):
    """The parent is gone at once."""
    subprocess.Popen(command, stdin=conn, stdout=conn)
    os._exit(0)


def give(conn, path):
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(path)
        socket.send_fds(way, [b"x"], [conn.fileno()])
        conn.close()


def take(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        way = listener.accept()[0]
        _, fds, _, _ = socket.recv_fds(way, 1, 1)
        way.close()
    conn = socket.socket(fileno=fds[0])
    while data := conn.recv(100000):
        conn.sendall(data)
    conn.shutdown(socket.SHUT_WR)
    print("family", conn.family.name)


def main():
    what, args = sys.argv[1], sys.argv[2:]
    if what == "take":
        take(args[0])
        return
    conn = accept(int(args[0]))
    if what == "pass":
        give(conn, args[1])
    else:
        {"spawn": spawn, "vfork": vfork, "detach": detach}[what](conn, args[1:])


main()
