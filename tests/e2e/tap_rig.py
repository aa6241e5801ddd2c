"""Ports of the load balancer whose other end is the test itself, frame by frame.

Each port is DPDK's `net_tap`: an interface of the `lb` namespace that the daemon makes. What a test
sends on it is what the daemon receives, fragments as they are (`net_af_packet` would hand them over
reassembled), and no kernel at the far end answers of its own accord.
"""

import contextlib
import socket
import struct
import time

from daemon import Config
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS
from scapy.layers.l2 import ARP, Ether

SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 263, 8, 4
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40


# What `lb conf` says of packets unless told otherwise: a configuration does not list what is default.
DEFAULTS = (
    "lb conf tunnel-ttl 64 tunnel-dscp copy tunnel-ecn rfc6040 tunnel-df copy too-big drop gue-port 6080 "
    "ip4-src-entropy off ip6-src-entropy off no-match drop"
)


def about_no_neighbor(packet):
    """Is it neither ARP nor a neighbour solicitation or advertisement?"""
    return not (ARP in packet or ICMPv6ND_NS in packet or ICMPv6ND_NA in packet)


class TapPort:
    """One port: `name` in the configuration, interface `tap` in the namespace."""

    def __init__(self, rig, name, tap, mac):
        self.rig, self.name, self.tap, self.mac = rig, name, tap, mac
        # Who the test is at the other end.
        self.peer = mac[:-2] + "aa"

    def open(self):
        namespace = self.rig.topology.lb
        namespace.run("ip", "link", "set", self.tap, "txqueuelen", "20000")
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.{self.tap}.disable_ipv6=1")
        self.socket = namespace.packets(self.tap)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE

    def ether(self, **fields):
        """The frame header of the peer towards the daemon."""
        return Ether(**({"src": self.peer, "dst": self.mac} | fields))

    def send(self, *packets):
        """Sends frames, as scapy packets or bytes; a packet without Ethernet gets our header."""
        for packet in packets:
            if not isinstance(packet, bytes):
                packet = bytes(packet if Ether in packet else self.ether() / packet)
            self.socket.send(packet)

    def frame(self, timeout_s):
        """The next frame that the daemon sent, as bytes with its VLAN tag; None after the time."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data, control, _, where = self.socket.recvmsg(65536, 256)
            except TimeoutError:
                return None
            if where[2] == PACKET_OUTGOING:
                continue
            for level, kind, value in control:
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    status, *_, tci, tpid = struct.unpack("IIIHHHH", value)
                    if status & TP_STATUS_VLAN_VALID:
                        tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                        data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
            return data
        return None

    def receive(self, count=None, timeout_s=5, quiet_s=0.3, wanted=None):
        """The next `count` frames as scapy packets, and an error if fewer or more of them come.

        Without a count: whatever comes until nothing has come for `quiet_s`. What is not `wanted` is
        left out: unless told, ARP and neighbour discovery.
        """
        wanted = wanted or about_no_neighbor
        found, deadline = [], time.monotonic() + timeout_s
        while True:
            enough = count is None or len(found) >= count
            data = self.frame(quiet_s if enough else max(deadline - time.monotonic(), 0))
            if data is None:
                break
            packet = Ether(data)
            if wanted(packet):
                found.append(packet)
        if count is not None:
            assert len(found) == count, (
                f"{len(found)} frames on {self.name} instead of {count}: "
                f"{[p.summary() for p in found[:5]]}; {self.rig.daemon.errors()}"
            )
        return found


def undoing(line):
    """The command that undoes another; None if there is none, or it goes with its VIP."""
    words = line.split()
    if words[:2] == ["lb", "vip"]:
        key = words[2:7] if "port" in words[:7] else words[2:3]
        return f"lb vip {' '.join(key)} del"
    if words[:3] == ["lb", "set", "interface"]:
        return f"{line} del"
    if words[:2] == ["lb", "no-match"]:
        return f"lb no-match {words[2]} del"
    if words[:3] == ["set", "interface", "mtu"]:
        return f"set interface mtu packet 1500 {words[-1]}"
    return None


class TapRig:
    """The daemon with `net_tap` ports: `ports` is {name: [address/length, ...]}."""

    def __init__(self, topology, daemons, ports, workers=1, extra="", **lb):
        self.topology = topology
        config = Config(workers, **lb)
        self.ports = {}
        for number, (name, addresses) in enumerate(ports.items()):
            mac = f"02:fe:00:00:{number:02x}:01"
            port = TapPort(self, name, f"tap{number}", mac)
            config.port(name, None, *addresses, vdev=f"net_tap{number},iface={port.tap},mac={mac}")
            self.ports[name] = port
        if extra:
            config.add(extra)
        self.daemon = daemons(config)
        for port in self.ports.values():
            port.open()

    def __getitem__(self, name):
        return self.ports[name]

    def neighbor(self, port, *addresses, mac=None):
        """Tells the daemon the MAC address of hosts behind a port: the peer's."""
        for address in addresses:
            self.daemon.cli(f"set ip neighbor {port} {address} {mac or self[port].peer} static")

    def commands(self):
        """The commands that make the present configuration."""
        return self.daemon.api.get("config")["commands"]

    def settled(self):
        """Remembers the configuration for `reset`, and forgets what has come until now."""
        self.drain()
        self.baseline = self.commands()
        return self

    def reset(self):
        """Takes back whatever a test has configured since `settled`."""
        for line in reversed(self.commands()):
            if line not in self.baseline and (undo := undoing(line)):
                self.daemon.cli(undo)
        self.daemon.cli(DEFAULTS)
        now = self.commands()
        for line in self.baseline:
            if line not in now:
                self.daemon.cli(line)
        assert self.commands() == self.baseline
        self.drain()

    def drain(self):
        """Forgets what has come until now."""
        for port in self.ports.values():
            while port.frame(0.05) is not None:
                pass

    @contextlib.contextmanager
    def counted(self, reasons=None):
        """Within the block the counts {(node, reason): n} rise by so many, and no other error does."""
        wanted = reasons or {}
        before = self.daemon.errors()
        yield
        deadline = time.monotonic() + 5
        while True:
            errors, now = self.daemon.errors("error"), self.daemon.errors()
            rise = {k: v - before.get(k, 0) for k, v in now.items() if v != before.get(k, 0)}
            if all(rise.get(key) == n for key, n in wanted.items()):
                break
            assert time.monotonic() < deadline, f"counted {rise} instead of {wanted}"
            time.sleep(0.02)
        others = {k: n for k, n in rise.items() if k in errors and k not in wanted}
        assert not others, f"also counted {others}"
