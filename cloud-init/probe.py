"""Tries to get out of a lent machine; runs in it as root, for "omerta prove".

Reads one request for each line of standard input and answers each with one line, both JSON:

  {"do": "hello"}                          who and where this is
  {"do": "firewall"}                       what the guest's own wall is and has refused
  {"do": "no-firewall"}                    takes it down
  {"do": "route", "to": [ADDRESS]}         sends these addresses by the cable instead of the tunnel
  {"do": "frames", "frames": [HEX]}        puts frames on the cable as they are
  {"do": "calls", "by": BY, "calls": [CALL]}  asks by the kernel's own sockets, all at the same time
  {"do": "scan", "by": BY, "host": .., "ports": [..]}  which ports say anything at all, yes or no
  {"do": "hear", "nonce": HEX, "ms": N}    frames on any interface that hold these bytes

  BY = "cable" | "tunnel"
  CALL = {"kind": "udp" | "tcp" | "ping", "host": .., "port": .., "say": HEX}

An answer has "error" when the request could not be done. What was refused on the way out by this
machine's own kernel is told apart from what left it: "sent" counts only the latter.
"""

import errno
import functools
import json
import re
import resource
import select
import socket
import struct
import subprocess
import sys
import time

CABLE = "192.168.100.2"
TUNNEL = "wg0"
GATEWAY = "192.168.100.1"
ETH_P_ALL = 3
# How long an answer may take, in seconds. On the cable it takes some milliseconds, and what the
# filter has refused is counted besides.
WAIT = 0.5
# ip(7): says on a socket that is not connected, too, that nobody listens there.
IP_RECVERR = 11
HEARD = []


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


@functools.cache
def cable():
    """The interface of the cable, by its address."""
    for link in json.loads(run("ip", "-j", "-4", "address")):
        if any(a.get("local") == CABLE for a in link["addr_info"]):
            return link["ifname"]
    raise OSError("no interface has " + CABLE)


def hello(_):
    port = run("wg", "show", "wg0", "listen-port").strip()
    return {"interface": cable(), "port": int(port or 0), "uid": int(run("id", "-u"))}


def firewall(_):
    """Policies and counters of the rules that refuse, by chain."""
    text = run("nft", "list", "table", "inet", "omerta")
    chains = {}
    for name, body in re.findall(r"chain (\w+) \{(.*?)\n\t\}", text, re.S):
        refused = re.search(r"counter packets (\d+)[^\n]*refused", body)
        chains[name] = {
            "policy": "drop" if "policy drop" in body else "accept",
            "refused": int(refused.group(1)) if refused else 0,
        }
    return {"chains": chains, "logged": len(re.findall("omerta output: ", run("dmesg")))}


def no_firewall(_):
    run("nft", "flush", "ruleset")
    return {"rules": run("nft", "list", "ruleset").strip()}


def route(request):
    """By way of the gateway, so that the addresses need not be on the cable's own network."""
    name = cable()
    # A frame that no link of 1500 bytes carries must be able to leave this kernel.
    run("ip", "link", "set", name, "mtu", "9000")
    for address in request["to"]:
        run("ip", "route", "replace", address + "/32", "via", GATEWAY, "dev", name, "onlink")
    return {}


def frames(request):
    sent = 0
    why = ""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((cable(), 0))
        for frame in request["frames"]:
            try:
                out.send(bytes.fromhex(frame))
                sent += 1
            except OSError as error:
                why = errno.errorcode.get(error.errno, str(error))
    return {"sent": sent, "why": why}


def socket_by(way, kind, protocol=0):
    """A socket that sends by the cable or the tunnel, whatever the routes say."""
    out = socket.socket(socket.AF_INET, kind, protocol)
    name = cable() if way == "cable" else TUNNEL
    out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
    out.setblocking(False)
    return out


def begin(way, call):
    """The socket of one call, on its way; None when this kernel would not send it."""
    kind = call["kind"]
    if kind == "tcp":
        out = socket_by(way, socket.SOCK_STREAM)
        code = out.connect_ex((call["host"], call["port"]))
        return out if code in (0, errno.EINPROGRESS) else None
    if kind == "udp":
        out = socket_by(way, socket.SOCK_DGRAM)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        out.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        out.sendto(bytes.fromhex(call["say"]), (call["host"], call["port"]))
        return out
    out = socket_by(way, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    out.connect((call["host"], 0))
    out.send(echo(bytes.fromhex(call["say"])))
    return out


def echo(payload):
    """An ICMP echo request."""
    head = struct.pack("!BBHHH", 8, 0, 0, 0x6f6d, 1)
    data = head + payload + bytes(len(payload) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return data[:2] + struct.pack("!H", ~total & 0xffff) + data[4:]


def calls(request):
    """For each call: what was answered, as hex, "refused" when somebody said no, or null."""
    answers = [None] * len(request["calls"])
    failed = 0
    waiting = {}
    for at, call in enumerate(request["calls"]):
        try:
            out = begin(request["by"], call)
        except OSError:
            out = None
        if out is None:
            failed += 1
        else:
            waiting[out] = at
    deadline = time.monotonic() + WAIT
    while waiting and time.monotonic() < deadline:
        ready = select.select(list(waiting), [], [], max(0, deadline - time.monotonic()))[0]
        for out in ready:
            at = waiting.pop(out)
            try:
                answers[at] = out.recv(2048).hex()
            except OSError as error:
                # Only a host that was reached, or a router, can say that.
                answers[at] = "refused: " + errno.errorcode.get(error.errno, str(error))
            out.close()
    for out in waiting:
        out.close()
    return {"answers": answers, "sent": len(answers) - failed}


def scan(request):
    """Ports that answered; a port that says no has answered too."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    waiting = {}
    answered = {}
    for port in request["ports"]:
        out = socket_by(request["by"], socket.SOCK_STREAM)
        code = out.connect_ex((request["host"], port))
        if code == errno.EINPROGRESS:
            waiting[out.fileno()] = (port, out)
        else:
            answered[port] = errno.errorcode.get(code, str(code))
            out.close()
    poll = select.poll()
    for number in waiting:
        poll.register(number, select.POLLOUT)
    deadline = time.monotonic() + WAIT
    while waiting and time.monotonic() < deadline:
        for number, _ in poll.poll(max(0, deadline - time.monotonic()) * 1000):
            poll.unregister(number)
            port, out = waiting.pop(number)
            code = out.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            answered[port] = errno.errorcode.get(code, "open") if code else "open"
            out.close()
    for _, out in waiting.values():
        out.close()
    return {"answered": answered}


def hear(request):
    """Frames that hold the nonce, until the time is over; {"nonce": null} begins."""
    if not HEARD:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        tap.setblocking(False)
        HEARD.append(tap)
    if request["nonce"] is None:
        return {}
    nonce = bytes.fromhex(request["nonce"])
    found = []
    deadline = time.monotonic() + request["ms"] / 1000
    while time.monotonic() < deadline and not found:
        if not select.select(HEARD, [], [], max(0, deadline - time.monotonic()))[0]:
            break
        frame = HEARD[0].recv(65536)
        if nonce in frame:
            found.append(frame.hex())
    return {"found": found}


DO = {
    "hello": hello,
    "firewall": firewall,
    "no-firewall": no_firewall,
    "route": route,
    "frames": frames,
    "calls": calls,
    "scan": scan,
    "hear": hear,
}

# Not "for line in": that reads ahead and would wait for more than one request.
while True:
    line = sys.stdin.readline()
    if not line:
        break
    try:
        request = json.loads(line)
        answer = DO[request["do"]](request)
    except Exception as error:  # pylint: disable=broad-except
        answer = {"error": "%s: %s" % (type(error).__name__, error)}
    print(json.dumps(answer), flush=True)
