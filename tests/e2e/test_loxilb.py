"""The scenarios of loxilb's cicd directory, with its addresses: tcplb, tcplbdsr1, tcplbdsr2, tcplbl3dsr.

tcplbhash is test_reuse.py: one source port twelve times, at once, always the same server.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from daemon import Config
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from topology import wait_until
from wire import flows

VIP = "20.20.20.1"
SERVERS = {f"3{i}.3{i}.3{i}.1": f"server{i}" for i in (1, 2, 3)}
SOURCE_PORT = 55001


class Scenario:
    """loxilb's l3h1, llb1 and l3ep1 to 3; each server listens on `port` of all its addresses."""

    def __init__(self, topology, daemons, port=8080, vip_on_servers=True, nat=False, **lb):
        self.topology = topology
        self.client = topology.host("l3h1", "10.10.10.1/24", gateway="10.10.10.254")
        config = Config(**lb).port("client0", topology.ports["l3h1"], "10.10.10.254/24")
        self.servers = {}
        for address, name in SERVERS.items():
            gateway = address[:-1] + "254"
            host = topology.host(name, f"{address}/24", gateway=gateway)
            if vip_on_servers:
                host.run("ip", "address", "add", f"{VIP}/32", "dev", "lo")
                host.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
            topology.serve(host, f"{name}@0.0.0.0:{port}")
            self.servers[name] = host
            config.port(name, topology.ports[name], f"{gateway}/24", nat4=nat)
        self.daemon = daemons(config)
        self.daemon.warm(self.client, *SERVERS)

    def ask(self, vip=VIP, port=2020, source_port=None):
        """The name of the server that answers one request, and closes first."""
        with self.client.tcp(vip, port, source_port=source_port) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        return answer.split(b"\r\n\r\n")[1].split()[0].decode()

    def ask_from_one_port(self, times, **options):
        """Who answers requests that all come from one source port."""
        answers = []
        for _ in range(times):
            wait_until(
                lambda: f":{SOURCE_PORT} " not in self.client.run("ss", "-tanH").stdout, what="port free"
            )
            answers.append(self.ask(source_port=SOURCE_PORT, **options))
        return answers


# ------------------------------------------------------------------------------- tcplb

TCPLB = [
    # VIP and its port or ports, the port that clients use
    (VIP, "2020", 2020),  # routed here
    ("10.10.10.254", "2020", 2020),  # our own interface address
    ("10.10.10.3", "2020", 2020),  # another address on the client's link, as on loxilb's lo
    ("20.20.20.2", "1000-2000", 1111),
]


@pytest.fixture
def tcplb(topology, daemons):
    scenario = Scenario(topology, daemons, vip_on_servers=False, nat=True)
    for vip, ports, _ in TCPLB:
        key = f"{vip}/32 protocol tcp port {ports}"
        scenario.daemon.cli(
            f"lb vip {key} encap nat4 target_port 8080 scheduler rr", f"lb as {key} {' '.join(SERVERS)}"
        )
    return scenario


def test_tcplb_asks_the_servers_in_strict_turn(tcplb):
    for vip, _, port in TCPLB:
        answers = [tcplb.ask(vip, port) for _ in range(12)]
        assert answers == ["server1", "server2", "server3"] * 4, vip


def test_tcplb_on_the_wire(topology, tcplb):
    at_client = topology.capture(tcplb.client, "tcp port 2020")
    at_server = topology.capture(tcplb.servers["server1"], "tcp port 8080")
    assert tcplb.ask() == "server1"
    outside, inside = at_client.stop(), at_server.stop()
    syn, got = outside[0], inside[0]
    assert syn[TCP].flags == got[TCP].flags == "S"
    assert (got[IP].src, got[TCP].sport) == ("10.10.10.1", syn[TCP].sport), "the source is kept"
    assert (got[IP].dst, got[TCP].dport) == ("31.31.31.1", 8080)
    # Sequence number, and every option (MSS, window scale, timestamps), are the client's.
    assert (got[TCP].seq, got[TCP].options) == (syn[TCP].seq, syn[TCP].options)
    reply, seen = inside[1], outside[1]
    assert (seen[IP].src, seen[TCP].sport) == (VIP, 2020) and seen[TCP].flags == "SA"
    assert (seen[TCP].seq, seen[TCP].ack, seen[TCP].options) == (
        reply[TCP].seq, reply[TCP].ack, reply[TCP].options
    )


def test_only_new_flows_take_turns(topology, daemons):
    scenario = Scenario(topology, daemons, vip_on_servers=False, nat=True)
    key = f"{VIP}/32 protocol tcp port 2020"
    scenario.daemon.cli(
        f"lb vip {key} encap nat4 target_port 8080 scheduler rr", f"lb as {key} {' '.join(SERVERS)}"
    )
    with scenario.client.tcp(VIP, 2020) as held:
        held.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"server1 " in held.recv(4096)
        assert scenario.ask() == "server2"
        held.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"server1 " in held.recv(4096)
        assert scenario.ask() == "server3"
    # An AS of weight 0 is left out; the others go on taking turns.
    scenario.daemon.cli(f"lb as {key} 32.32.32.1 weight 0")
    assert {scenario.ask() for _ in range(4)} == {"server1", "server3"}


# ------------------------------------------------------------------------------- tcplbdsr1


@pytest.fixture
def dsr(topology, daemons):
    scenario = Scenario(topology, daemons, port=2020)
    key = f"{VIP}/32 protocol tcp port 2020"
    scenario.daemon.cli(f"lb vip {key} encap dr", f"lb as {key} {' '.join(SERVERS)}")
    return scenario


def test_tcplbdsr1_keeps_one_source_port_on_one_server(dsr):
    assert len(set(dsr.ask_from_one_port(3))) == 1


def test_tcplbdsr1_changes_nothing_but_mac_addresses(topology, dsr):
    captures = {name: topology.capture(host, "tcp port 2020") for name, host in dsr.servers.items()}
    at_client = topology.capture(dsr.client, "tcp port 2020")
    name = dsr.ask()
    outside = at_client.stop()
    inside = {server: capture.stop() for server, capture in captures.items()}
    assert {server for server, packets in inside.items() if packets} == {name}

    def without_macs(packets, **ends):
        return [bytes(p)[12:] for p in packets if all(getattr(p[IP], k) == v for k, v in ends.items())]

    sent, got = without_macs(outside, dst=VIP), without_macs(inside[name], dst=VIP)
    assert sent == got and len(sent) >= 4, "also the TTL is as it was"
    host = dsr.servers[name]
    for packet in inside[name]:
        if packet[IP].dst == VIP:
            assert (packet[Ether].src, packet[Ether].dst) == (topology.lb.mac(topology.ports[name]), host.mac())
    # The reply is a packet like any other: routed, not translated.
    replies = flows(outside, 2020)[outside[0][TCP].sport]
    assert {p[IP].src for p in replies} == {"10.10.10.1", VIP}
    assert {p[IP].ttl for p in outside if p[IP].src == VIP} == {63}


# ------------------------------------------------------------------------------- tcplbdsr2


@pytest.fixture
def one_way(topology, daemons):
    """Client and servers share a second network, by which the replies go."""
    scenario = Scenario(topology, daemons, port=2020, timeout=2)
    switch = topology.add("sw1")
    switch.run("ip", "link", "add", "vlan11", "type", "bridge")
    switch.run("ip", "link", "set", "vlan11", "up")
    hosts = [(scenario.client, "11.11.11.254/24")]
    hosts += [(host, f"11.11.11.{i}/24") for i, host in enumerate(scenario.servers.values(), 1)]
    for number, (host, address) in enumerate(hosts):
        topology.connect(host, "eth1", switch, f"port{number}")
        switch.run("ip", "link", "set", f"port{number}", "master", "vlan11")
        host.run("ip", "address", "add", address, "dev", "eth1")
        host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0",
                 "net.ipv4.conf.eth1.rp_filter=0")
        if host is not scenario.client:
            host.run("ip", "route", "add", "10.10.10.0/24", "via", "11.11.11.254")
    key = f"{VIP}/32 protocol tcp port 2020"
    scenario.daemon.cli(f"lb vip {key} encap dr", f"lb as {key} {' '.join(SERVERS)}")
    return scenario


def test_tcplbdsr2_needs_no_packet_back(topology, one_way):
    back = {name: topology.capture(host, "tcp port 2020") for name, host in one_way.servers.items()}
    answers = one_way.ask_from_one_port(3)
    assert len(set(answers)) == 1
    for name, capture in back.items():
        packets = capture.stop()
        # What the servers sent on the link to the load balancer: nothing.
        assert not [p for p in packets if p[IP].src == VIP], name
        assert bool(packets) == (name in answers)


def test_tcplbdsr2_keeps_a_connection_of_which_it_sees_one_half(one_way):
    with one_way.client.tcp(VIP, 2020) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        name = connection.recv(4096).split(b"\r\n\r\n")[1].split()[0].decode()
        # Longer than a half-open connection is remembered; and the tables no longer name this server.
        (address,) = [a for a, n in SERVERS.items() if n == name]
        one_way.daemon.cli(f"lb as {VIP}/32 protocol tcp port 2020 {address} weight 0")
        time.sleep(5)
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(4096).split(b"\r\n\r\n")[1].split()[0].decode() == name


# ------------------------------------------------------------------------------- tcplbl3dsr


@pytest.fixture
def behind_tunnels(topology, daemons):
    """Each server's address is behind an IPIP tunnel to it: the next hop's next hop."""
    scenario = Scenario(topology, daemons, port=8080)
    daemon = scenario.daemon
    key = f"{VIP}/32 protocol tcp port 8080"
    daemon.cli(f"lb vip {key} encap dr")
    for i, (address, name) in enumerate(SERVERS.items()):
        host, inner, link = scenario.servers[name], f"{56 + i}.{56 + i}.{56 + i}", f"{45 + i}.{45 + i}.{45 + i}"
        tunnel = host.start(sys.executable, Path(__file__).with_name("tun_server.py"), stdout=subprocess.PIPE)
        assert tunnel.stdout.readline() == b"ready\n"
        host.run("ip", "address", "add", f"{link}.1/24", "dev", "tun0")
        host.run("ip", "address", "add", f"{inner}.1/32", "dev", "lo")
        daemon.cli(
            f"create ipip tunnel src {address[:-1]}254 dst {address} instance {i}",
            f"set interface state ipip{i} up",
            f"set interface ip address ipip{i} {link}.254/24",
            f"ip route add {inner}.0/24 via {link}.1",
            f"lb as {key} {inner}.1",
        )
    return scenario


def test_tcplbl3dsr_reaches_servers_behind_tunnels(topology, behind_tunnels):
    captures = {name: topology.capture(host) for name, host in behind_tunnels.servers.items()}
    answers = behind_tunnels.ask_from_one_port(12, port=8080)
    assert len(set(answers)) == 1
    (name,) = set(answers)
    (address,) = [a for a, n in SERVERS.items() if n == name]
    for server, capture in captures.items():
        tunnelled = [p for p in capture.stop() if IP in p and p[IP].proto == 4]
        assert bool(tunnelled) == (server == name)
        for packet in tunnelled:
            inner = packet[IP].payload
            assert (packet[IP].src, packet[IP].dst) == (address[:-1] + "254", address)
            assert (inner.src, inner.dst, inner[TCP].sport) == ("10.10.10.1", VIP, SOURCE_PORT)
            assert inner.ttl == 64, "direct return does not touch the packet"


def test_a_tunnel_is_an_interface_like_any_other(behind_tunnels):
    """Plain routing through it both ways, its counters, and its end."""
    daemon = behind_tunnels.daemon
    client = behind_tunnels.client
    assert client.ping("56.56.56.1") == 3
    assert daemon.interfaces()["ipip0"]["counters"]["tx_packets"] >= 3
    assert "31.31.31.1" in daemon.cli("show ipip tunnel")
    assert daemon.refused("delete ipip tunnel ipip0")["reason"], "a route leads through it"
    daemon.cli(
        "ip route del 56.56.56.0/24", "set interface ip address del ipip0 45.45.45.254/24",
        "delete ipip tunnel ipip0",
    )
    assert "ipip0" not in daemon.interfaces()
