#!/usr/bin/python3
"""Brings up wg0 in an image without wireguard-tools.

The kernel has WireGuard; what is missing is the program that tells it the keys. Python is always
there, because cloud-init is written in it. Reads /etc/wireguard/wg0.conf, which omerta wrote, and
speaks generic netlink: see linux/genetlink.h and linux/wireguard.h for the numbers.
"""

import base64
import socket
import struct
import subprocess

# Not in the socket module.
NETLINK_GENERIC = 16
NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLMSG_ERROR = 2
NLA_F_NESTED = 0x8000
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
WG_CMD_SET_DEVICE = 1
DEVICE_IFNAME, DEVICE_PRIVATE_KEY, DEVICE_FLAGS, DEVICE_PEERS = 2, 3, 5, 8
DEVICE_REPLACE_PEERS = 1
PEER_PUBLIC_KEY, PEER_PRESHARED_KEY, PEER_ENDPOINT, PEER_KEEPALIVE, PEER_ALLOWEDIPS = 1, 2, 4, 5, 9
ALLOWEDIP_FAMILY, ALLOWEDIP_ADDRESS, ALLOWEDIP_MASK = 1, 2, 3


def attribute(kind, value):
    """One netlink attribute: length, kind, value, padding to 4 bytes."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def request(channel, family, command, body):
    """Sends one request and returns the answer's attributes; raises OSError when it is refused."""
    payload = struct.pack("=BBH", command, 1, 0) + body
    flags = NLM_F_REQUEST | NLM_F_ACK
    channel.send(struct.pack("=IHHII", 16 + len(payload), family, flags, 1, 0) + payload)
    answer = b""
    while True:
        data = channel.recv(65536)
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, 16)[0]
                if code:
                    raise OSError(code, "the kernel refused")
                return answer
            answer = data[20:length]
            data = data[(length + 3) & ~3:]


def family_id(channel):
    """The number that the kernel gave to its WireGuard."""
    name = attribute(CTRL_ATTR_FAMILY_NAME, b"wireguard\0")
    answer = request(channel, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name)
    while len(answer) >= 4:
        length, kind = struct.unpack_from("=HH", answer)
        if kind == CTRL_ATTR_FAMILY_ID:
            return struct.unpack_from("=H", answer, 4)[0]
        answer = answer[(length + 3) & ~3:]
    raise OSError("the kernel has no WireGuard")


def read_config(path):
    """The values of the file; every key in it comes once."""
    with open(path, encoding="ascii") as file:
        pairs = (line.split("=", 1) for line in file if "=" in line)
        return {key.strip(): value.strip() for key, value in pairs}


def peer_of(config):
    """The only peer: everything that is allowed goes to it."""
    network, bits = config["AllowedIPs"].split("/")
    host, port = config["Endpoint"].split(":")
    endpoint = struct.pack("=H", socket.AF_INET) + struct.pack("!H", int(port))
    allowed = (attribute(ALLOWEDIP_FAMILY, struct.pack("=H", socket.AF_INET)) +
               attribute(ALLOWEDIP_ADDRESS, socket.inet_aton(network)) +
               attribute(ALLOWEDIP_MASK, bytes([int(bits)])))
    peer = attribute(PEER_PUBLIC_KEY, base64.b64decode(config["PublicKey"]))
    if "PresharedKey" in config:
        peer += attribute(PEER_PRESHARED_KEY, base64.b64decode(config["PresharedKey"]))
    peer += attribute(PEER_ENDPOINT, endpoint + socket.inet_aton(host) + bytes(8))
    peer += attribute(PEER_KEEPALIVE, struct.pack("=H", int(config["PersistentKeepalive"])))
    peer += attribute(PEER_ALLOWEDIPS | NLA_F_NESTED, attribute(NLA_F_NESTED, allowed))
    return peer


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def main():
    config = read_config("/etc/wireguard/wg0.conf")
    subprocess.run(["ip", "link", "del", "wg0"], check=False, stderr=subprocess.DEVNULL)
    ip("link", "add", "wg0", "type", "wireguard")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as channel:
        channel.bind((0, 0))
        request(channel, family_id(channel), WG_CMD_SET_DEVICE, (
            attribute(DEVICE_IFNAME, b"wg0\0") +
            attribute(DEVICE_PRIVATE_KEY, base64.b64decode(config["PrivateKey"])) +
            attribute(DEVICE_FLAGS, struct.pack("=I", DEVICE_REPLACE_PEERS)) +
            attribute(DEVICE_PEERS | NLA_F_NESTED, attribute(NLA_F_NESTED, peer_of(config)))))
    ip("address", "add", config["Address"], "dev", "wg0")
    ip("link", "set", "wg0", "mtu", config["MTU"], "up")
    ip("route", "replace", config["AllowedIPs"], "dev", "wg0")


main()
