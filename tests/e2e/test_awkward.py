"""Packets at the edge: hops, segment sizes, odd headers, impossible sources, mixtures of VIPs."""

import pytest
from daemon import own_topology
from edge import (
    CASES, CLIENT, IDS, PLAIN, SERVERS, VIP, head, hops, inside, layer_of, make_rig, request, serve,
)
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, IPOption_NOP
from scapy.layers.inet6 import ICMPv6TimeExceeded, IPerror6, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.packet import Raw
from tap_rig import TapRig


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("rig")) as (topology, daemons):
        yield make_rig(topology, daemons)


@pytest.fixture
def rig(shared):
    yield shared
    shared.reset()


# ------------------------------------------------------------------------------- hops


@pytest.mark.parametrize("family, encap, outer", CASES, ids=IDS)
def test_a_tunnel_leaves_the_hops_alone(rig, family, encap, outer):
    serve(rig, family, encap, outer)
    for left in (1, 2, 64, 255):
        packet = request(family, **({"ttl": left} if family == 4 else {"hlim": left}))
        rig["pg0"].send(packet)
        (got,) = rig["pg1"].receive(1, quiet_s=0.02)
        assert inside(got, encap) == bytes(packet)


@pytest.mark.parametrize("family, encap", PLAIN)
def test_the_last_hop(rig, family, encap):
    serve(rig, family, encap)
    rig["pg0"].send(request(family, **({"ttl": 1} if family == 4 else {"hlim": 1})))
    if encap == "dr":
        (got,) = rig["pg1"].receive(1)
        assert hops(layer_of(got)) == 1
        return
    (told,) = rig["pg0"].receive(1)
    assert rig["pg1"].receive(timeout_s=0.1) == []
    if family == 4:
        assert (told[ICMP].type, told[IP].src) == (11, "172.16.1.1")
        assert told[IPerror].dst == VIP[4]
    else:
        assert told[ICMPv6TimeExceeded].code == 0 and told[IPv6].src == "2001:db8:1::1"
        assert told[IPerror6].dst == VIP[6]


@pytest.mark.parametrize("family, encap", [*PLAIN, (4, "ipip"), (6, "ipip")])
def test_no_hop_at_all(rig, family, encap):
    serve(rig, family, encap)
    with rig.counted({(f"ip{family}-input", f"ip{family} ttl == 0"): 1}):
        rig["pg0"].send(request(family, **({"ttl": 0} if family == 4 else {"hlim": 0})))
    assert rig["pg1"].receive(timeout_s=0.1) == [] and rig["pg0"].receive(timeout_s=0.1) == []


# ------------------------------------------------------------------------------- the segment size


@pytest.mark.parametrize("family, encap", [(4, "nat4"), (6, "nat6"), (4, "ipip"), (6, "gre6")])
def test_the_segment_size_is_lowered_and_never_raised(rig, family, encap):
    serve(rig, family, encap, options="mss 1300", count=1)
    for offered, wanted in ((1460, 1300), (1301, 1300), (1300, 1300), (1299, 1299), (536, 536)):
        options = [("NOP", None), ("MSS", offered), ("SAckOK", b""), ("WScale", 7)]
        rig["pg0"].send(head(family) / TCP(sport=offered, dport=80, flags="S", options=options))
        (got,) = rig["pg1"].receive(1, quiet_s=0.02)
        if encap.startswith("nat"):
            ip = layer_of(got)
        else:
            ip = (IP if family == 4 else IPv6)(inside(got, encap))
        seen = dict(ip[TCP].options)
        assert seen["MSS"] == wanted and seen["WScale"] == 7
        fresh = ip.copy()
        del fresh[TCP].chksum
        assert type(ip)(bytes(fresh))[TCP].chksum == ip[TCP].chksum
    # Only SYNs have an MSS: bytes that look like one elsewhere are data.
    rig["pg0"].send(head(family) / TCP(sport=5, dport=80, flags="A", options=[("MSS", 1460)]))
    (got,) = rig["pg1"].receive(1)
    ip = layer_of(got) if encap.startswith("nat") else (IP if family == 4 else IPv6)(inside(got, encap))
    assert dict(ip[TCP].options)["MSS"] == 1460


# ------------------------------------------------------------------------------- odd headers


@pytest.mark.parametrize("words", range(1, 11))
def test_ports_are_found_behind_options(rig, words):
    """VPP reads ports at byte 20 whatever the header's length is (its defect 11)."""
    serve(rig, 4, "ipip", count=1)
    packet = head(4, options=[IPOption_NOP()] * (4 * words)) / TCP(sport=5, dport=80) / Raw(b"x")
    rig["pg0"].send(packet)
    (got,) = rig["pg1"].receive(1)
    assert inside(got, "ipip") == bytes(packet) and packet.__class__(bytes(packet)).ihl == 5 + words


@pytest.mark.parametrize("count", [1, 2, 8])
def test_ports_are_found_behind_extension_headers(rig, count):
    serve(rig, 6, "ipip", count=1)
    packet = head(6)
    if count > 1:
        packet = packet / IPv6ExtHdrHopByHop()
    for _ in range(count - (count > 1)):
        packet = packet / IPv6ExtHdrDestOpt()
    packet = packet / TCP(sport=5, dport=80) / Raw(b"x")
    rig["pg0"].send(packet)
    (got,) = rig["pg1"].receive(1)
    assert inside(got, "ipip") == bytes(packet)


def test_too_many_extension_headers_are_counted(rig):
    serve(rig, 6, "ipip", count=1)
    packet = head(6)
    for _ in range(9):
        packet = packet / IPv6ExtHdrDestOpt()
    with rig.counted({("lb6-vip", "too many ip6 extension headers"): 1}):
        rig["pg0"].send(packet / TCP(sport=5, dport=80))


SOURCES = [
    (4, "127.0.0.1", "ip4 martian source address"), (4, "224.0.0.1", "ip4 martian source address"),
    (4, "255.255.255.255", "ip4 martian source address"), (4, "0.0.0.0", "ip4 martian source address"),
    (4, VIP[4], "ip4 spoofed local-address packet drops"), (4, "10.0.0.254", "ip4 spoofed local-address packet drops"),
    (4, "39.40.41.42", "ip4 spoofed local-address packet drops"),
    (6, "::1", "ip6 martian source address"), (6, "ff02::1", "ip6 martian source address"),
    (6, "::", "ip6 martian source address"), (6, VIP[6], "ip6 spoofed local-address packet drops"),
    (6, "2002::ffff", "ip6 spoofed local-address packet drops"),
    (6, "2004::1", "ip6 spoofed local-address packet drops"),
]


def test_impossible_sources(rig):
    serve(rig, 4, "ipip")
    serve(rig, 6, "ipip")
    for family, source, reason in SOURCES:
        with rig.counted({(f"ip{family}-input", reason): 1}):
            rig["pg0"].send(head(family, src=source) / TCP(sport=5, dport=80, flags="S"))
    assert rig["pg1"].receive(timeout_s=0.2) == []


def test_strange_flags_follow_the_table(rig):
    """SYN+FIN, none, all: forwarded as they are, and always to one server."""
    serve(rig, 4, "ipip")
    for flags in ("SF", "", "FPU", "SR", "SAFRPU"):
        for _ in range(2):
            rig["pg0"].send(request(4, flags=flags))
        first, second = rig["pg1"].receive(2, quiet_s=0.02)
        assert first[IP].dst == second[IP].dst
    with rig.counted():
        rig["pg0"].send(request(4, flags="SF"))
        rig["pg1"].receive(1)


@pytest.mark.parametrize("family, encap, outer", CASES, ids=IDS)
def test_nothing_at_all_in_a_packet(rig, family, encap, outer):
    """A UDP datagram without a byte, in a frame with padding: the padding is not carried along."""
    serve(rig, family, encap, outer, protocol="udp")
    packet = head(family) / UDP(sport=5, dport=80)
    frame = bytes(rig["pg0"].ether() / packet)
    rig["pg0"].send(frame + b"\xee" * 40)
    (got,) = rig["pg1"].receive(1)
    assert inside(got, encap) == bytes(packet) and b"\xee\xee" not in bytes(got)


def test_udp_checksum_zero(rig):
    """No checksum in IPv4 stays none; IPv6 does not allow it."""
    serve(rig, 4, "nat4", protocol="udp")
    rig["pg0"].send(head(4) / UDP(sport=5, dport=80, chksum=0) / Raw(b"none"))
    (got,) = rig["pg1"].receive(1)
    assert got[UDP].chksum == 0
    serve(rig, 6, "nat6", protocol="udp")
    with rig.counted({("lb6-vip", "udp checksum zero"): 1}):
        rig["pg0"].send(head(6) / UDP(sport=5, dport=80, chksum=0) / Raw(b"none"))
    # In a tunnel it is just a packet.
    rig.daemon.cli(f"lb vip {VIP[6]}/128 protocol udp port 80 del")
    serve(rig, 6, "gre6", protocol="udp")
    rig["pg0"].send(head(6) / UDP(sport=5, dport=80, chksum=0) / Raw(b"none"))
    rig["pg1"].receive(1)


# ------------------------------------------------------------------------------- loops, sources, mixtures


@pytest.mark.parametrize("outer", [4, 6])
def test_a_server_inside_its_own_vip_prefix(rig, outer):
    """VPP encapsulates without end and dies (its defect 16)."""
    prefix = "10.0.0.0/8" if outer == 4 else "2002::/16"
    encap = f"gre{outer}"
    rig.daemon.cli(f"lb vip {prefix} encap {encap}", f"lb as {prefix} {' '.join(SERVERS[outer])}")
    client = head(outer, dst="10.77.0.1" if outer == 4 else "2002:77::1")
    rig["pg0"].send(client / UDP(sport=5, dport=6))
    (got,) = rig["pg1"].receive(1)
    assert layer_of(got).dst in SERVERS[outer]


def test_without_a_tunnel_source_address_the_interface_lends_its_own(topology, daemons):
    rig = TapRig(topology, daemons, {"pg0": ["172.16.1.1/24"], "pg1": ["10.0.0.254/24", "10.1.0.254/24"]})
    rig.neighbor("pg1", "10.0.0.1", "10.1.0.1")
    rig.neighbor("pg0", "172.16.1.2")
    rig.daemon.cli("ip route add 40.0.0.0/8 via 172.16.1.2")
    for server in ("10.0.0.1", "10.1.0.1"):
        key = f"90.0.0.{server[3]}/32 protocol tcp port 80"
        rig.daemon.cli(f"lb vip {key} encap ipip", f"lb as {key} {server}")
    rig["pg0"].send(request(4, dst="90.0.0.0"), request(4, dst="90.0.0.1"))
    assert {(p[IP].src, p[IP].dst) for p in rig["pg1"].receive(2)} == {
        ("10.0.0.254", "10.0.0.1"), ("10.1.0.254", "10.1.0.1")
    }


def test_each_server_its_own_way(rig):
    """One VIP, five servers, five methods."""
    prefix = serve(rig, 4, "ipip", count=1)
    rig.daemon.cli(
        f"lb as {prefix} 10.0.0.2 encap gre4", f"lb as {prefix} 2002::3 encap gre6",
        f"lb as {prefix} 10.0.0.4 encap dr", f"lb as {prefix} 10.0.0.5 encap l3dsr dscp 9",
    )
    rig["pg0"].send(*[request(4, sport=s) for s in range(1000, 1200)])
    ways = set()
    for packet in rig["pg1"].receive(200):
        ip = layer_of(packet)
        ways.add((ip.dst, ip.proto if isinstance(ip, IP) else ip.nh))
    assert ways == {("10.0.0.1", 4), ("10.0.0.2", 47), ("2002::3", 47), (VIP[4], 6), ("10.0.0.5", 6)}
    assert rig.daemon.refused(f"lb as {prefix} 10.0.0.9 encap nat4")["reason"]


def test_precedence_of_vips_on_one_address(rig):
    """Exact port, then range, then all ports, then the shorter prefix; VPP refuses the mixture."""
    servers = SERVERS[4]
    for key, server in (
        ("90.0.0.0/8", servers[0]), (f"{VIP[4]}/32", servers[1]),
        (f"{VIP[4]}/32 protocol tcp port 80-90", servers[2]), (f"{VIP[4]}/32 protocol tcp port 70", servers[3]),
    ):
        rig.daemon.cli(f"lb vip {key} encap ipip", f"lb as {key} {server}")
    for packet, server in (
        (head(4) / TCP(sport=5, dport=70), servers[3]), (head(4) / TCP(sport=5, dport=80), servers[2]),
        (head(4) / TCP(sport=5, dport=90), servers[2]), (head(4) / TCP(sport=5, dport=91), servers[1]),
        (head(4) / UDP(sport=5, dport=70), servers[1]), (head(4, proto=50) / Raw(b"esp!"), servers[1]),
        (head(4, dst="90.1.2.3") / TCP(sport=5, dport=80), servers[0]),
    ):
        rig["pg0"].send(packet)
        (got,) = rig["pg1"].receive(1, quiet_s=0.02)
        assert got[IP].dst == server, packet.summary()
    overlap = rig.daemon.refused(f"lb vip {VIP[4]}/32 protocol tcp port 85-95 encap ipip")
    assert "80" in f"{overlap['reason']} {overlap['hint']}"


def test_show_lb_flow_says_where_a_flow_goes_and_why(rig):
    serve(rig, 4, "ipip")
    for sport in range(1000, 1010):
        line = f"show lb flow {CLIENT[4]} {sport} {VIP[4]} 80 tcp"
        before = rig.daemon.cli(line)
        rig["pg0"].send(request(4, sport=sport))
        (got,) = rig["pg1"].receive(1, quiet_s=0.02)
        after = rig.daemon.cli(line)
        assert got[IP].dst in before and got[IP].dst in after
        assert before != after, "first the table says so, then the flow's own entry"
