"""A packet to a VIP's address that no VIP takes: dropped, refused, or handed to the kernel."""

import pytest
from daemon import own_topology
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror
from scapy.layers.inet6 import ICMPv6DestUnreach, IPerror6, IPv6
from scapy.packet import Raw
from tap_rig import TapRig
from topology import wait_until
from wire import assert_checksums

VIP4, VIP6 = "90.0.0.1", "2001:db8:2::2"
CLIENT4, CLIENT6 = "40.0.0.1", "2001:db8:40::1"
KEYS = [f"{VIP4}/32 protocol tcp port 80", f"{VIP6}/128 protocol tcp port 80"]


def make_rig(topology, daemons, extra=""):
    made = TapRig(
        topology, daemons,
        {"pg0": ["172.16.1.1/24", "2001:db8:1::1/64"], "pg1": ["10.0.0.254/24", "2002::ffff/64"]}, extra=extra,
    )
    made.neighbor("pg0", "172.16.1.2", "2001:db8:1::2")
    made.neighbor("pg1", "10.0.0.1", "2002::1")
    made.daemon.cli(
        "ip route add 40.0.0.0/8 via 172.16.1.2", "ip route add 2001:db8:40::/48 via 2001:db8:1::2",
        f"lb vip {KEYS[0]} encap dr", f"lb as {KEYS[0]} 10.0.0.1",
        f"lb vip {KEYS[1]} encap dr", f"lb as {KEYS[1]} 2002::1",
    )
    return made.settled()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("rig")) as (topology, daemons):
        yield make_rig(topology, daemons)


@pytest.fixture
def rig(shared):
    yield shared
    shared.reset()


def to_vip(family, transport):
    head = IP(src=CLIENT4, dst=VIP4) if family == 4 else IPv6(src=CLIENT6, dst=VIP6)
    return head / transport / Raw(b"stranger")


def node(family):
    return f"lb{family}-vip"


STRANGERS = [TCP(sport=5, dport=81, flags="S", seq=1000), TCP(sport=5, dport=65535, flags="A"), UDP(sport=5, dport=80)]


@pytest.mark.parametrize("family", [4, 6])
def test_the_default_is_to_drop_and_count(rig, family):
    with rig.counted({(node(family), "no such port on the VIP"): len(STRANGERS)}):
        rig["pg0"].send(*[to_vip(family, t) for t in STRANGERS])
    assert rig["pg0"].receive(timeout_s=0.5) == [] and rig["pg1"].receive(timeout_s=0.2) == []
    # What is the VIP's own goes its way.
    rig["pg0"].send(to_vip(family, TCP(sport=5, dport=80, flags="S")))
    rig["pg1"].receive(1)


@pytest.mark.parametrize("family", [4, 6])
def test_rst(rig, family):
    rig.daemon.cli("lb conf no-match rst")
    layer = IP if family == 4 else IPv6
    for flags, seq, ack, want_flags, want_seq, want_ack in (
        # RFC 9293 §3.10.7.1: without ACK, sequence number 0 and the ACK of all that came.
        ("S", 1000, 0, "RA", 0, 1000 + 1 + 8),
        ("A", 1000, 77, "R", 77, 0),
        ("FA", 1000, 77, "R", 77, 0),
    ):
        rig["pg0"].send(to_vip(family, TCP(sport=5, dport=81, flags=flags, seq=seq, ack=ack)))
        (answer,) = rig["pg0"].receive(1)
        assert (answer[layer].src, answer[layer].dst) == ((VIP4, CLIENT4) if family == 4 else (VIP6, CLIENT6))
        tcp = answer[TCP]
        assert (tcp.sport, tcp.dport, tcp.flags, tcp.seq, tcp.ack) == (81, 5, want_flags, want_seq, want_ack)
        if family == 4:
            assert_checksums(answer)
        else:
            right = answer[IPv6].copy()
            del right[TCP].chksum
            assert IPv6(bytes(right))[TCP].chksum == tcp.chksum
    # A reset is never answered with a reset.
    rig["pg0"].send(to_vip(family, TCP(sport=5, dport=81, flags="R")))
    assert rig["pg0"].receive(timeout_s=0.5) == []


@pytest.mark.parametrize("family", [4, 6])
def test_icmp(rig, family):
    rig.daemon.cli("lb conf no-match icmp")
    rig["pg0"].send(to_vip(family, UDP(sport=5, dport=80)))
    (answer,) = rig["pg0"].receive(1)
    if family == 4:
        assert (answer[IP].src, answer[IP].dst) == (VIP4, CLIENT4)
        assert (answer[ICMP].type, answer[ICMP].code) == (3, 3)
        assert (answer[IPerror].dst, answer[UDPerror].dport) == (VIP4, 80)
    else:
        assert (answer[IPv6].src, answer[IPv6].dst) == (VIP6, CLIENT6)
        assert answer[ICMPv6DestUnreach].code == 4
        assert (answer[IPerror6].dst, answer[UDPerror].dport) == (VIP6, 80)
    rig["pg0"].send(to_vip(family, TCP(sport=5, dport=81, flags="S")))
    (answer,) = rig["pg0"].receive(1)
    assert answer[TCPerror].dport == 81


def test_the_longest_prefix_decides(rig):
    rig.daemon.cli("lb conf no-match icmp", "lb no-match 90.0.0.0/8 drop", f"lb no-match {VIP4}/32 rst")
    shown = rig.daemon.cli("show lb no-match")
    assert "90.0.0.0/8" in shown and f"{VIP4}/32" in shown and "rst" in shown
    stranger = to_vip(4, TCP(sport=5, dport=81, flags="S"))
    rig["pg0"].send(stranger)
    (answer,) = rig["pg0"].receive(1)
    assert answer[TCP].flags == "RA"
    rig.daemon.cli(f"lb no-match {VIP4}/32 del")
    rig["pg0"].send(stranger)
    assert rig["pg0"].receive(timeout_s=0.5) == []
    rig.daemon.cli("lb no-match 90.0.0.0/8 del")
    rig["pg0"].send(stranger)
    (answer,) = rig["pg0"].receive(1)
    assert answer[ICMP].type == 3


def test_an_interface_address_answers_for_itself(rig):
    """A VIP on our own address: other ports are the router's, whatever the policy for VIPs."""
    key = "172.16.1.1/32 protocol tcp port 80"
    rig.daemon.cli(f"lb vip {key} encap dr", f"lb as {key} 10.0.0.1")
    own = IP(src="172.16.1.2", dst="172.16.1.1")
    rig["pg0"].send(own / TCP(sport=5, dport=80, flags="S"))
    rig["pg1"].receive(1)
    rig["pg0"].send(own / ICMP(id=7, seq=9) / Raw(b"ping"))
    (answer,) = rig["pg0"].receive(1)
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 7, 9)


@pytest.mark.parametrize("policy", ["drop", "rst", "icmp"])
def test_echo_to_a_vip_is_answered_whatever_the_policy(rig, policy):
    rig.daemon.cli(f"lb conf no-match {policy}")
    rig["pg0"].send(IP(src=CLIENT4, dst=VIP4) / ICMP(id=7, seq=9) / Raw(b"ping"))
    (answer,) = rig["pg0"].receive(1)
    assert (answer[IP].src, answer[ICMP].type, bytes(answer[ICMP].payload)) == (VIP4, 0, b"ping")


def test_punt_needs_a_tap(rig):
    for line in ("lb conf no-match punt", f"lb no-match {VIP4}/32 punt"):
        error = rig.daemon.refused(line)
        assert "tap" in f"{error['reason']} {error['hint']}", error


def test_punt_hands_packets_to_the_kernel_and_takes_its_answers(topology, daemons):
    rig = make_rig(topology, daemons, extra='[punt]\ntap = "punt0"\n')
    lb = topology.lb
    rig.daemon.cli(f"lb no-match {VIP4}/32 punt")
    # The kernel of the namespace has the VIP, and a daemon that listens on another port of it.
    lb.run("ip", "address", "add", f"{VIP4}/32", "dev", "lo")
    lb.run("ip", "link", "set", "punt0", "up")
    lb.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.punt0.rp_filter=0")
    lb.run("ip", "route", "add", "default", "dev", "punt0")
    lb.run("ip", "neigh", "add", CLIENT4, "lladdr", "02:00:00:00:00:99", "dev", "punt0", check=False)
    topology.serve(lb, f"kernel@{VIP4}:5353", protocol="udp")
    rig["pg0"].send(IP(src=CLIENT4, dst=VIP4) / UDP(sport=9, dport=5353) / Raw(b"hello"))
    (answer,) = rig["pg0"].receive(1, wanted=lambda p: UDP in p)
    assert (answer[IP].src, answer[UDP].sport, answer[UDP].dport) == (VIP4, 5353, 9)
    assert bytes(answer[UDP].payload) == f"kernel {CLIENT4} 9 hello".encode()
    wait_until(lambda: rig.daemon.interfaces()["pg0"]["counters"]["punts"] >= 1, what="the punt is counted")
    # What the VIP takes itself is not punted.
    rig["pg0"].send(to_vip(4, TCP(sport=5, dport=80, flags="S")))
    rig["pg1"].receive(1)


def test_answers_are_limited(topology, daemons):
    rig = make_rig(topology, daemons)
    rig.daemon.cli("lb conf no-match icmp")
    packets = [to_vip(4, UDP(sport=i + 1, dport=80)) for i in range(5000)]

    def answers():
        rig["pg0"].send(*packets)
        return len(rig["pg0"].receive(timeout_s=10))

    # A machine that takes seconds to send them gets an answer to each.
    assert any(0 < answers() < 5000 for _ in range(3))
