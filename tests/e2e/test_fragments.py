"""Fragments of a datagram go to one AS, in whatever order they come, or nowhere.

These tests need a device that hands fragments over as they are, see tap_rig.py.
"""

import itertools
import socket
import struct

import pytest
from daemon import own_topology
from scapy.layers.inet import IP, TCP, UDP, defragment, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw
from scapy.utils import checksum
from tap_rig import TapRig
from wire import assert_checksums

SERVERS = {4: [f"10.0.0.{i}" for i in range(1, 6)], 6: [f"2002::{i}" for i in range(1, 6)]}
VIP = {4: "90.0.0.1", 6: "2001:db8:2::2"}
CLIENT = {4: "40.0.0.1", 6: "2001:db8:40::1"}
LATE = {4: ("lb4-vip", "fragment without its first"), 6: ("lb6-vip", "fragment without its first")}


def make_rig(topology, daemons):
    made = TapRig(
        topology, daemons,
        {"pg0": ["172.16.1.1/24", "2001:db8:1::1/64"], "pg1": ["10.0.0.254/24", "2002::ffff/64"]},
    )
    made.neighbor("pg0", "172.16.1.2", "2001:db8:1::2")
    made.neighbor("pg1", *SERVERS[4], *SERVERS[6])
    made.daemon.cli(
        "lb conf buckets 4096 ip4-src-address 39.40.41.42 ip6-src-address 2004::1",
        "ip route add 40.0.0.0/8 via 172.16.1.2",
        "ip route add 2001:db8:40::/48 via 2001:db8:1::2",
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


def datagram(family, sport, size=3000, ident=None, tcp=False):
    """A UDP datagram (or TCP segment) that is too long for one packet."""
    payload = Raw(bytes((sport + i) & 0xFF for i in range(size)))
    transport = TCP(sport=sport, dport=20000, flags="A") if tcp else UDP(sport=sport, dport=20000)
    if family == 4:
        return IP(src=CLIENT[4], dst=VIP[4], id=ident or sport) / transport / payload
    head = IPv6(src=CLIENT[6], dst=VIP[6]) / IPv6ExtHdrFragment(id=ident or sport)
    return head / transport / payload


def in_pieces(packet):
    """Three fragments, first to last, as bytes."""
    if IP in packet:
        return [bytes(f) for f in fragment(IP(bytes(packet)), 1200)]
    return [bytes(f) for f in fragment6(packet, 1300)]


def serve(rig, family, encap, options=""):
    prefix = f"{VIP[family]}/{32 if family == 4 else 128} protocol udp port 20000"
    rig.daemon.cli(f"lb vip {prefix} encap {encap} {options}", f"lb as {prefix} {' '.join(SERVERS[family])}")
    if encap.startswith("nat"):
        rig.daemon.cli(f"lb set interface {encap} in pg1")


def send(port, pieces):
    for piece in pieces:
        port.send(bytes(port.ether())[:12] + (b"\x08\0" if piece[0] >> 4 == 4 else b"\x86\xdd") + piece)


def inner(packet, family):
    """What a tunnelled packet carries, and to whom."""
    outer = packet.payload
    size = outer.len if IP in packet else outer.plen + 40
    return bytes(outer)[20 if isinstance(outer, IP) else 40 : size], outer.dst


@pytest.mark.parametrize("family", [4, 6])
def test_any_order_goes_to_one_server_unchanged(rig, family):
    serve(rig, family, "ipip")
    for number, order in enumerate(itertools.permutations(range(3))):
        for flow in range(4):
            pieces = in_pieces(datagram(family, 1000 + flow, ident=100 * number + flow + 1))
            assert len(pieces) == 3
            send(rig["pg0"], [pieces[i] for i in order])
            got = [inner(p, family) for p in rig["pg1"].receive(3, quiet_s=0.05)]
            assert sorted(body for body, _ in got) == sorted(pieces), order
            assert len({server for _, server in got}) == 1, order


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_go_where_the_flow_goes(rig, family):
    """The same ports unfragmented, before and after: the same server."""
    serve(rig, family, "ipip")
    servers = set()
    for sport in range(1000, 1016):
        small = datagram(family, sport, size=10)
        if family == 6:
            small = IPv6(src=CLIENT[6], dst=VIP[6]) / small[UDP]
        rig["pg0"].send(small)
        (whole,) = rig["pg1"].receive(1, quiet_s=0.05)
        send(rig["pg0"], in_pieces(datagram(family, sport)))
        got = {inner(p, family)[1] for p in rig["pg1"].receive(3, quiet_s=0.05)}
        assert got == {inner(whole, family)[1]}
        servers |= got
    assert len(servers) > 2, "several flows, several servers"


@pytest.mark.parametrize("family", [4, 6])
def test_interleaved_datagrams_do_not_mix(rig, family):
    serve(rig, family, "ipip")
    cut = [in_pieces(datagram(family, 2000 + i)) for i in range(20)]
    # All last fragments, then all in the middle, then the firsts.
    send(rig["pg0"], [pieces[k] for k in (2, 1, 0) for pieces in cut])
    got = dict(inner(p, family) for p in rig["pg1"].receive(60))
    for pieces in cut:
        assert len({got[piece] for piece in pieces}) == 1
    assert len(set(got.values())) > 2


@pytest.mark.parametrize("family, encap", [(4, "nat4"), (6, "nat6")])
def test_nat_of_fragments(rig, family, encap):
    """What the server puts together again has the right checksum, and so has what the client gets."""
    serve(rig, family, encap, "target_port 3307")
    layer = IP if family == 4 else IPv6
    for number, order in enumerate(itertools.permutations(range(3))):
        pieces = in_pieces(datagram(family, 1000, ident=number + 1))
        send(rig["pg0"], [pieces[i] for i in order])
        got = [layer(bytes(p[layer])) for p in rig["pg1"].receive(3, quiet_s=0.05)]
        assert len({p.dst for p in got}) == 1
        assert_whole(got, sport=1000, dport=3307)
        # And back.
        if family == 4:
            answer = IP(src=got[0].dst, dst=CLIENT[4], id=7000 + number)
        else:
            answer = IPv6(src=got[0].dst, dst=CLIENT[6]) / IPv6ExtHdrFragment(id=7000 + number)
        pieces = in_pieces(answer / UDP(sport=3307, dport=1000) / Raw(b"y" * 3000))
        send(rig["pg1"], [pieces[i] for i in order])
        got = [layer(bytes(p[layer])) for p in rig["pg0"].receive(3, quiet_s=0.05)]
        assert {p.src for p in got} == {VIP[family]}
        assert_whole(got, sport=20000, dport=1000)


def assert_whole(pieces, sport, dport):
    """The fragments make a datagram of 3000 bytes with these ports and the right checksum."""
    parts = {}
    for piece in pieces:
        if isinstance(piece, IP):
            parts[piece.frag] = bytes(piece)[20 : piece.len]
        else:
            body = bytes(piece[IPv6ExtHdrFragment])
            parts[piece[IPv6ExtHdrFragment].offset] = body[8 : piece.plen]
    segment = b"".join(parts[offset] for offset in sorted(parts))
    assert len(segment) == 3008
    assert struct.unpack("!HHH", segment[:6]) == (sport, dport, 3008)
    family = socket.AF_INET if isinstance(pieces[0], IP) else socket.AF_INET6
    ends = socket.inet_pton(family, pieces[0].src) + socket.inet_pton(family, pieces[0].dst)
    assert checksum(ends + struct.pack("!II", 3008, 17) + segment) == 0


def test_l3dsr_of_fragments(rig):
    """VPP computes a checksum over each fragment as if it were whole (its defect 9)."""
    serve(rig, 4, "l3dsr", "dscp 7")
    send(rig["pg0"], in_pieces(datagram(4, 1000)))
    got = [IP(bytes(p[IP])) for p in rig["pg1"].receive(3)]
    (whole,) = defragment(got)
    assert whole.tos >> 2 == 7
    assert_checksums(IP(bytes(whole)))
    assert bytes(whole[UDP].payload) == bytes(datagram(4, 1000)[UDP].payload)


@pytest.mark.parametrize("family", [4, 6])
def test_without_its_first_a_fragment_goes_nowhere(rig, family):
    serve(rig, family, "ipip")
    with rig.counted({LATE[family]: 2}):
        send(rig["pg0"], in_pieces(datagram(family, 1000))[1:])
    assert rig["pg1"].receive(timeout_s=0.5) == []


def test_only_so_many_fragments_wait(rig):
    """8 of a datagram, 64 datagrams: the rest is dropped at once, and nothing is lost for good."""
    serve(rig, 4, "ipip")
    later = [IP(src=CLIENT[4], dst=VIP[4], id=i + 1, proto=17, frag=100, flags="MF") / Raw(bytes(64)) for i in range(200)]
    with rig.counted({LATE[4]: 64, ("lb4-vip", "too many fragments held"): 136}):
        rig["pg0"].send(*later)
    assert rig["pg1"].receive(timeout_s=0.3) == []
    send(rig["pg0"], in_pieces(datagram(4, 1000)))
    rig["pg1"].receive(3)


@pytest.mark.parametrize("family", [4, 6])
def test_a_fragment_of_a_whole_datagram_is_no_fragment(rig, family):
    """IPv6's atomic fragment (RFC 6946), and DF with offset 0: the ports are there."""
    serve(rig, family, "ipip")
    if family == 6:
        packet = datagram(6, 1000, size=100)
    else:
        packet = IP(src=CLIENT[4], dst=VIP[4], flags="DF") / UDP(sport=1000, dport=20000) / Raw(bytes(100))
    rig["pg0"].send(packet)
    (got,) = rig["pg1"].receive(1)
    assert inner(got, family)[0] == bytes(packet)
