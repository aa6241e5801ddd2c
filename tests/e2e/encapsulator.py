"""A stand-in for the load balancer, for the proof that the servers' recipes work by themselves.

It shares no code with Sluice: the kernel of the `lb` namespace routes packets for the VIP into a tun
interface, and what is read there goes to the server by one method, with headers that the kernel
writes where it can.
"""

import os
import select
import socket
import struct
import threading

from guest import IFF_TUN, open_tap
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

# Bytes that each method puts in front of a packet.
OVERHEAD = {
    "ipip4": 20, "ipip6": 40, "gre4": 24, "gre6": 44, "gue4": 28, "gue6": 48, "gue4-v0": 32, "gue6-v0": 52,
    "l3dsr": 0, "dr": 0,
}


class Encapsulator:
    """Takes packets for `vips` out of a tun interface of `lb` and sends them to `server` by `method`.

    `source` is the outer source address; `dr` needs (interface, server's MAC) in `link`.
    """

    def __init__(self, lb, method, vips, source, server, link=None, dscp=7, mtu=1500):
        self.method, self.source, self.server, self.link, self.dscp = method, source, server, link, dscp
        self.sent = 0
        self.file = open_tap(lb, "enc0", IFF_TUN)
        lb.run("ip", "link", "set", "enc0", "mtu", mtu - OVERHEAD[method])
        for vip in vips:
            lb.run("ip", "route", "replace", vip, "dev", "enc0")
        with lb.entered():
            self.sockets = self._open()
        self.wake, self.ended = os.pipe()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def _open(self):
        """{inner IP version: the socket that its packets leave by}."""
        family = socket.AF_INET6 if ":" in self.server else socket.AF_INET
        if self.method == "dr":
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            made.bind((self.link[0], 0))
            return {4: made, 6: made}
        if self.method == "l3dsr":
            return {
                4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
                6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
            }
        if self.method.startswith("gue"):
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.bind((self.source, 0))
            return {4: made, 6: made}
        numbers = {4: 47, 6: 47} if self.method.startswith("gre") else {4: 4, 6: 41}
        made = {version: socket.socket(family, socket.SOCK_RAW, number) for version, number in numbers.items()}
        for sock in made.values():
            sock.bind((self.source, 0))
        return made

    def _loop(self):
        while True:
            ready = select.select([self.file, self.wake], [], [])[0]
            if self.wake in ready:
                return
            packet = os.read(self.file, 65536)
            version = packet[0] >> 4
            if version == 6 and not packet[8:24].startswith(b"\xfe\x80"):
                self._send(self.sockets[6], packet, 6)
            elif version == 4:
                self._send(self.sockets[4], packet, 4)

    def _send(self, sock, packet, version):
        self.sent += 1
        if self.method == "dr":
            mac = bytes.fromhex(self.link[1].replace(":", ""))
            sock.send(mac + b"\x02\0\0\0\xee\1" + (b"\x08\x00" if version == 4 else b"\x86\xdd") + packet)
        elif self.method == "l3dsr":
            sock.sendto(self._rewritten(packet, version), (self.server, 0))
        elif self.method.endswith("-v0"):
            sock.sendto(struct.pack("!BBH", 0, 4 if version == 4 else 41, 0) + packet, (self.server, 6080))
        elif self.method.startswith("gue"):
            sock.sendto(packet, (self.server, 6080))
        elif self.method.startswith("gre"):
            sock.sendto(struct.pack("!HH", 0, 0x0800 if version == 4 else 0x86DD) + packet, (self.server, 0))
        else:
            sock.sendto(packet, (self.server, 0))

    def _rewritten(self, packet, version):
        made = IP(packet) if version == 4 else IPv6(packet)
        made.dst = self.server
        if version == 4:
            made.tos = self.dscp << 2 | made.tos & 3
            del made.chksum
        else:
            made.tc = self.dscp << 2 | made.tc & 3
        for layer in (TCP, UDP):
            if layer in made:
                del made[layer].chksum
        return bytes(made)

    def close(self):
        """Ends it; the tun interface goes with it."""
        os.write(self.ended, b"x")
        self.thread.join()
        for file in (self.file, self.wake, self.ended):
            os.close(file)
        for sock in set(self.sockets.values()):
            sock.close()
