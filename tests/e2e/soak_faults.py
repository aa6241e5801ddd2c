"""The faults of a soak, one method each; none may break a connection to a server that nobody touches."""

import contextlib
import http.client
import os
import random
import signal
import socket
import struct
import time

from churn_rig import LINKS, PORT, TOUCHED, UNTOUCHED, VIPS

FAULTS = (
    "syn_flood", "fragments_and_icmp", "udp", "random_bytes", "link_flap", "neighbor_change",
    "control_panic", "control_hang", "api_abuse", "reload",
)


def ethernet(to, source, kind, payload):
    """A frame."""
    mac = lambda text: bytes.fromhex(text.replace(":", ""))  # noqa: E731
    return mac(to) + mac(source) + struct.pack("!H", kind) + payload


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, source_port, destination, port):
    """A TCP SYN as an IPv4 packet; both are addresses as bytes."""
    tcp = struct.pack("!HHIIBBHHH", source_port, port, random.getrandbits(32), 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, random.getrandbits(16), 0, 64, 6, 0) + source + destination
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp


class Faults:
    """What goes wrong around a daemon."""

    def __init__(self, rig, daemon):
        self.rig, self.daemon, self.topology = rig, daemon, rig.topology
        self.client = rig.client
        self.servers = [self.topology.namespaces[f"servers{n}"] for n in range(len(LINKS))]
        port = self.topology.ports["client"]
        self.lb_mac = self.topology.lb.run("cat", f"/sys/class/net/{port}/address").stdout.strip()
        self.raw = self.client.packets()
        self.client_mac = self.client.mac()

    def some(self, until, between):
        """Fault after fault, in random order, `between` after each; returns {name: times}."""
        done = {}
        names = []
        while time.monotonic() < until - 4:
            names = names or random.sample(FAULTS, len(FAULTS))
            name = names.pop()
            getattr(self, name)()
            done[name] = done.get(name, 0) + 1
            between()
            time.sleep(0.3)
        return done

    def answers(self):
        """Does a new connection get a server?"""
        with contextlib.suppress(OSError):
            with self.client.tcp(next(iter(VIPS)), PORT) as connection:
                connection.settimeout(2)
                return connection.recv(64)

    def kill(self, pid):
        """kill -9 of the daemon."""
        os.kill(pid, signal.SIGKILL)

    # -- on the wire ---------------------------------------------------------------------------

    def syn_flood(self):
        """SYNs from as many sources as a second allows, at all VIPs."""
        targets = [socket.inet_aton(vip) for vip in VIPS]
        until = time.monotonic() + 1
        while time.monotonic() < until:
            packet = syn(b"\x0a\xc8" + os.urandom(2), random.randint(1024, 65535), random.choice(targets), PORT)
            with contextlib.suppress(OSError):
                self.raw.send(ethernet(self.lb_mac, self.client_mac, 0x0800, packet))

    def fragments_and_icmp(self):
        """Pings that take three fragments, at an address of ours and through us."""
        for target in ("10.10.10.254", f"{LINKS[0]}.{UNTOUCHED[0]}"):
            self.client.run("ping", "-c", 5, "-i", "0.05", "-W", "1", "-s", 4000, target, check=False)

    def udp(self):
        """Datagrams that no VIP takes, and some for a server."""
        with self.client.udp() as sender:
            for number in range(500):
                target = random.choice([*VIPS, f"{LINKS[1]}.{UNTOUCHED[0]}"])
                with contextlib.suppress(OSError):
                    sender.sendto(os.urandom(random.randint(0, 1400)), (target, 1024 + number))

    def random_bytes(self):
        """Frames of anything, and packets of anything behind right Ethernet headers, on both sides."""
        server = self.servers[0].packets()
        for number in range(3000):
            data = os.urandom(random.randint(14, 1400))
            kind = random.choice((0x0800, 0x86DD, 0x0806, 0x8100, random.getrandbits(16)))
            frame = data if number % 4 == 0 else ethernet(self.lb_mac, self.client_mac, kind, data)
            if number % 4 == 1:
                # As far as an IPv4 header goes, right.
                frame = ethernet(self.lb_mac, self.client_mac, 0x0800, b"\x45" + data[1:])
            for wire in (self.raw, server) if number % 8 == 0 else (self.raw,):
                with contextlib.suppress(OSError):
                    wire.send(frame)
        server.close()

    def link_flap(self):
        """The clients' link goes down for a second."""
        port = self.topology.ports["client"]
        self.topology.lb.run("ip", "link", "set", port, "down")
        time.sleep(1)
        self.topology.lb.run("ip", "link", "set", port, "up")

    def neighbor_change(self):
        """The servers of one link get another Ethernet address, and say so; then the old one again."""
        host, link = self.servers[1], LINKS[1]
        before = host.mac()
        for mac in ("02:00:00:00:77:77", before):
            host.run("ip", "link", "set", "eth0", "address", mac)
            wire = host.packets()
            for last in UNTOUCHED + TOUCHED:
                own = socket.inet_aton(f"{link}.{last}")
                station = bytes.fromhex(mac.replace(":", "")) + own
                arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + station + bytes(6) + own
                wire.send(ethernet("ff:ff:ff:ff:ff:ff", mac, 0x0806, arp))
            wire.close()
            time.sleep(0.5)

    # -- in the daemon -------------------------------------------------------------------------

    def command(self, line):
        """One command, whatever comes of it."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return self.daemon.api.request("POST", "/v1/cli", line)
        return None

    def control_panic(self):
        """In each place."""
        for place in ("command", "events", "publish", "tables"):
            self.command(f"debug control panic {place}")

    def control_hang(self):
        """Control does nothing for a second."""
        self.command("debug control hang 1")

    def reload(self):
        """Back to the file, while changes go on."""
        answer = self.command("reload")
        if answer is None or answer[0] != 200:
            self.daemon.reload_refused = getattr(self.daemon, "reload_refused", 0) + 1

    def api_abuse(self):
        """Clients that send half, junk or much, and some that never read."""
        path = str(self.daemon.socket)
        opened = []
        for number in range(150):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(0.2)
            opened.append(client)
            with contextlib.suppress(OSError):
                client.connect(path)
                client.sendall(
                    (
                        b"POST /v1/cli HTTP/1.1\r\nContent-Length: 100\r\n\r\nshow",
                        os.urandom(2000),
                        b"GET /v1/lb/vips HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
                        b"POST /v1/cli HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 300_000,
                    )[number % 4]
                )
        for client in opened:
            client.close()
