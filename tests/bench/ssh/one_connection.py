"""One TCP connection and how quick it is: a plain one, or by a program, as ssh has it with a
ProxyCommand, and with ProxyUseFdpass when an argument of the program is --hand-over.

    one_connection.py serve ADDRESS PORT
    one_connection.py up|down|echo COUNT ADDRESS PORT [PROGRAM...]

The first number printed is the time until the server's greeting has come, in seconds. Behind it, for
`up` and `down`, the time that COUNT bytes took; for `echo` that of each of COUNT round trips of a byte.
"""

import socket
import subprocess
import sys
import threading
import time

BLOCK = 65536


def quick(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def serve_one(connection):
    """Greets, then does what it is asked for in one line."""
    with quick(connection):
        connection.sendall(b"\n")
        line = b""
        while not line.endswith(b"\n"):
            line += connection.recv(1)
        kind, count = line.split()
        block = memoryview(bytearray(4 * BLOCK))
        if kind == b"down":
            left = int(count)
            while left > 0:
                left -= connection.send(block[:left])
            return
        while got := connection.recv_into(block):
            if kind == b"echo":
                connection.sendall(block[:got])
        if kind == b"up":
            connection.sendall(b"\n")


def serve(address, port):
    with socket.create_server((address, int(port))) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()


def connect(address, port, program):
    if not program:
        connection = quick(socket.create_connection((address, int(port)), 20))
        connection.settimeout(None)
        return connection
    ours, theirs = socket.socketpair()
    subprocess.Popen(program, stdin=theirs, stdout=theirs)
    theirs.close()
    if "--hand-over" not in program:
        return ours
    with ours:
        _, handed, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=handed[0])


def expect(connection, byte):
    if connection.recv(1) != byte:
        sys.exit("Cannot measure: the connection has ended")


def send(connection, count):
    block = memoryview(bytearray(BLOCK))
    while count > 0:
        count -= connection.send(block[:count])
    connection.shutdown(socket.SHUT_WR)
    expect(connection, b"\n")


def receive(connection, count):
    block = memoryview(bytearray(BLOCK))
    while count > 0:
        got = connection.recv_into(block)
        if got == 0:
            sys.exit("Cannot measure: not all has come")
        count -= got


def measure(kind, count, address, port, program):
    times = [time.perf_counter()]
    connection = connect(address, port, program)
    expect(connection, b"\n")
    times.append(time.perf_counter())
    connection.sendall(f"{kind} {count}\n".encode())
    if kind == "echo":
        for _ in range(count):
            connection.sendall(b"x")
            expect(connection, b"x")
            times.append(time.perf_counter())
    else:
        (send if kind == "up" else receive)(connection, count)
        times.append(time.perf_counter())
    print(*(f"{after - before:.7f}" for before, after in zip(times, times[1:])))


mode, *rest = sys.argv[1:]
if mode == "serve":
    serve(*rest)
else:
    count, address, port, *program = rest
    measure(mode, int(count), address, port, program)
