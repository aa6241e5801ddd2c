"""VPP's own test suite for its load balancer (test/test_lb.py, 21 cases), rebuilt and stronger.

Same addresses, same flows: 100 UDP flows to 90.0.0.0/8 (or 2001::/16) and five ASs, 10.0.0.0 to .4
(or 2002:: to 2002::4) behind a router on pg1. Besides what VPP checks, every packet is compared byte
for byte, each flow is sent twice and must go the same way, and checksums are computed anew.
"""

import collections

import pytest
from daemon import own_topology
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE
from scapy.packet import Raw
from scapy.utils import checksum
from tap_rig import TapRig
from vpp_rig import FLOWS, PORT, SERVERS, SOURCES, VIPS, api_vip, buckets, expect, flow, make_rig, servers
from wire import assert_checksums


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("rig")) as (topology, daemons):
        yield make_rig(topology, daemons)


@pytest.fixture
def rig(shared):
    yield shared
    shared.reset()


# ------------------------------------------------------------------------------- B-01, B-02


def test_b01_conf_defaults(topology, daemons):
    made = TapRig(topology, daemons, {"pg0": ["172.16.1.1/24"]})
    conf = made.daemon.api.get("lb")
    assert (conf["buckets_per_worker"], conf["timeout_s"]) == (1024, 40)


def test_b02_weights_and_slots(rig):
    vip, key = "192.0.2.0/24", f"192.0.2.0/24 {PORT}"
    a, b, c, d = [f"10.0.0.{i}" for i in (1, 2, 3, 4)]
    rig.daemon.cli(f"lb vip {key} encap gre4 new_len 1024", f"lb as {key} {a} {b} {c} {d}")
    assert buckets(rig, vip) == {a: 256, b: 256, c: 256, d: 256}
    rig.daemon.cli(f"lb as {key} {a} weight 50")
    table = buckets(rig, vip)
    # Exact quotas; VPP's own table gives 150, 292, 291, 291.
    assert sum(table.values()) == 1024
    expect(table, **{"10.0.0.1": 50, "10.0.0.2": 100, "10.0.0.3": 100, "10.0.0.4": 100})
    rig.daemon.cli(f"lb as {key} {b} weight 0")
    table = buckets(rig, vip)
    assert table[b] == 0 and sum(table.values()) == 1024
    expect(table, **{"10.0.0.1": 50, "10.0.0.3": 100, "10.0.0.4": 100})
    # A new AS at weight 0 moves nothing; then it takes its share.
    digest = api_vip(rig, vip)["new_flow_table_digest"]
    rig.daemon.cli(f"lb as {key} 10.0.0.0 weight 0")
    assert api_vip(rig, vip)["new_flow_table_digest"] == digest
    rig.daemon.cli(f"lb as {key} 10.0.0.0 weight 50")
    expect(buckets(rig, vip), **{"10.0.0.0": 50, "10.0.0.1": 50, "10.0.0.3": 100, "10.0.0.4": 100})
    # Drained and hard; the two that remain own all slots.
    rig.daemon.cli(f"lb as {key} 10.0.0.0 del", f"lb as {key} {a} del flush", f"lb as {key} {b} del")
    assert buckets(rig, vip) == {c: 512, d: 512}
    rig.daemon.cli(f"lb flush vip {key}", f"lb flush vip {key}")
    assert buckets(rig, vip) == {c: 512, d: 512}


# ------------------------------------------------------------------------------- B-03 to B-10: GRE


def outer_of(packet, family):
    """The outer header of a packet that left pg1, held against what it must be."""
    outer = packet.payload
    if family == 4:
        assert isinstance(outer, IP) and outer.src == SOURCES[4] and outer.proto == 47
        assert (outer.ttl, outer.ihl) == (64, 5)
        assert_checksums_of_header(outer)
    else:
        assert isinstance(outer, IPv6) and outer.src == SOURCES[6] and outer.nh == 47
        assert outer.hlim == 64
    return outer


def assert_checksums_of_header(ip):
    assert checksum(bytes(ip)[: 4 * ip.ihl]) == 0


def assert_gre(rig, inner_family, outer_family, sent, got):
    """Each packet sent came out once in GRE, as it was; returns {flow: AS address}."""
    chosen = {}
    originals = {bytes(p): i for i, p in enumerate(sent)}
    for packet in got:
        outer = outer_of(packet, outer_family)
        gre = outer.payload
        assert isinstance(gre, GRE)
        assert bytes(gre)[:4] == (b"\0\0\x08\x00" if inner_family == 4 else b"\0\0\x86\xdd")
        # Lengths come from the inner packet, not from the frame, which may be padded.
        size = outer.len if outer_family == 4 else outer.plen + 40
        inner = bytes(outer)[(20 if outer_family == 4 else 40) + 4 : size]
        assert inner in originals, packet.show(dump=True)
        if outer_family == 4:
            # The inner packet has DF clear, so the outer one may be fragmented: it needs an id.
            assert outer.flags == (sent[originals[inner]][IP].flags if inner_family == 4 else 2)
        chosen[originals[inner]] = outer.dst
    assert len(chosen) == len(sent) == len(got)
    return chosen


def assert_balanced(chosen, family):
    """Every AS has at least half its fair share, which is all that VPP asks."""
    shares = collections.Counter(chosen.values())
    assert set(shares) == set(servers(family))
    assert min(shares.values()) >= len(chosen) / (2 * SERVERS), shares


GRE_CASES = [(inner, outer, ports) for inner in (4, 6) for outer in (4, 6) for ports in (False, True)]


@pytest.mark.parametrize(
    "inner, outer, ports", GRE_CASES,
    ids=[f"ip{i}-gre{o}{'-port' if p else ''}" for i, o, p in GRE_CASES],
)
def test_b03_to_b10_gre(rig, inner, outer, ports):
    vip = VIPS[inner] + (f" {PORT}" if ports else "")
    rig.daemon.cli(f"lb vip {vip} encap gre{outer}", f"lb as {vip} {' '.join(servers(outer))}")
    sent = [flow(inner, i) for i in range(FLOWS)]
    with rig.counted():
        rig["pg0"].send(*sent)
        chosen = assert_gre(rig, inner, outer, sent, rig["pg1"].receive(FLOWS))
        assert_balanced(chosen, outer)
        # Again, in another order: no flow changes its AS.
        rig["pg0"].send(*reversed(sent))
        assert assert_gre(rig, inner, outer, sent, rig["pg1"].receive(FLOWS)) == chosen
    counters = api_vip(rig, VIPS[inner])["counters"]
    assert counters["first_session_packets"] == counters["packets_from_existing_sessions"] == FLOWS
    if ports:
        # Another port, and another protocol, are not this VIP's.
        rig["pg0"].send(flow(inner, 1, dport=20001), flow(inner, 1, layer=TCP))
        assert rig["pg1"].receive(timeout_s=1) == []


# ------------------------------------------------------------------------------- B-11 to B-14: L3DSR


def assert_l3dsr(sent, got, dscp):
    """Only destination, DSCP and TTL changed, and all checksums are right; returns {flow: AS}."""
    chosen = {}
    by_source = {(p[IP].src, p[UDP].sport, p[IP].id): i for i, p in enumerate(sent)}
    for packet in got:
        index = by_source[packet[IP].src, packet[UDP].sport, packet[IP].id]
        wanted = sent[index].copy()
        wanted[IP].dst = packet[IP].dst
        # ECN is kept; VPP clears it.
        wanted[IP].tos = dscp << 2 | wanted[IP].tos & 3
        wanted[IP].ttl -= 1
        del wanted[IP].chksum, wanted[UDP].chksum
        assert bytes(packet[IP])[: packet[IP].len] == bytes(wanted)
        assert_checksums(packet)
        chosen[index] = packet[IP].dst
    assert len(chosen) == len(sent) == len(got)
    return chosen


@pytest.mark.parametrize("ports", [False, True], ids=["vip", "port"])
def test_b11_b12_l3dsr(rig, ports):
    vip = VIPS[4] + (f" {PORT}" if ports else "")
    rig.daemon.cli(f"lb vip {vip} encap l3dsr dscp 7", f"lb as {vip} {' '.join(servers(4))}")
    sent = [flow(4, i, tos=0xB8 | i % 4) for i in range(FLOWS)]
    rig["pg0"].send(*sent)
    got = rig["pg1"].receive(FLOWS)
    assert {p[IP].tos & 0xFC for p in got} == {0x1C}
    assert {p[IP].tos & 3 for p in got} == {0, 1, 2, 3}
    assert_balanced(assert_l3dsr([IP(bytes(p)) for p in sent], got, 7), 4)


@pytest.mark.parametrize("ports", [False, True], ids=["vip", "port"])
def test_b13_b14_src_ip_sticky(rig, ports):
    """All flows of one client go to one AS, whatever the port and the address in the prefix."""
    vip = VIPS[4] + (f" {PORT}" if ports else "")
    rig.daemon.cli(
        f"lb vip {vip} encap l3dsr dscp 7 src_ip_sticky", f"lb as {vip} {' '.join(servers(4))}"
    )
    clients = 40
    sent = [
        IP(bytes(flow(4, c, sport=10000 + p, id=4 * c + p, dst=f"90.1.{p}.{c}")))
        for c in range(clients) for p in range(4)
    ]
    rig["pg0"].send(*sent)
    chosen = assert_l3dsr(sent, rig["pg1"].receive(len(sent)), 7)
    by_client = collections.defaultdict(set)
    for index, server in chosen.items():
        by_client[sent[index][IP].src].add(server)
    assert len(by_client) == clients and all(len(s) == 1 for s in by_client.values())
    assert len(set.union(*by_client.values())) == SERVERS


def test_b14_src_ip_sticky_is_set_for_each_port(rig):
    """Of two VIPs on one prefix, only the one that says so is sticky."""
    for port, sticky in ((20000, "src_ip_sticky"), (20001, "")):
        vip = f"{VIPS[4]} protocol udp port {port}"
        rig.daemon.cli(f"lb vip {vip} encap l3dsr dscp 7 {sticky}", f"lb as {vip} {' '.join(servers(4))}")
    spread = {}
    for port in (20000, 20001):
        sent = [IP(bytes(flow(4, 9, dport=port, sport=10000 + p, id=p))) for p in range(60)]
        rig["pg0"].send(*sent)
        spread[port] = len(set(assert_l3dsr(sent, rig["pg1"].receive(60), 7).values()))
    assert spread == {20000: 1, 20001: SERVERS}


# ------------------------------------------------------------------------------- B-15, B-16, B-21: NAT


def at_server(packet, address, port):
    """What the server gets for a client's packet: destination and TTL are others."""
    made = packet.copy()
    ip = made[IP] if IP in made else made[IPv6]
    ip.dst = address
    if IP in made:
        ip.ttl -= 1
        del ip.chksum
    else:
        ip.hlim -= 1
    transport = made[TCP] if TCP in made else made[UDP]
    transport.dport = port
    del transport.chksum
    return bytes(made)


def reply_of(packet):
    """A server's answer to a packet that it got."""
    layer = TCP if TCP in packet else UDP
    ports = {"sport": packet[layer].dport, "dport": packet[layer].sport}
    if IP in packet:
        return IP(src=packet[IP].dst, dst=packet[IP].src) / layer(**ports) / Raw(b"answer")
    return IPv6(src=packet[IPv6].dst, dst=packet[IPv6].src) / layer(**ports) / Raw(b"answer")


def assert_nat(rig, family, sent, target):
    """The packets arrive translated, the replies come back from where the client sent to."""
    layer = IP if family == 4 else IPv6
    rig["pg0"].send(*sent)
    got = rig["pg1"].receive(len(sent))
    by_client = {p[layer].src: IP(bytes(p)) if family == 4 else IPv6(bytes(p)) for p in sent}
    chosen = {}
    for packet in got:
        size = packet[layer].len if family == 4 else packet[layer].plen + 40
        wanted = at_server(by_client[packet[layer].src], packet[layer].dst, target)
        assert bytes(packet[layer])[:size] == wanted, packet.show(dump=True)
        chosen[packet[layer].src] = packet[layer].dst
    assert len(chosen) == len(sent)
    rig["pg1"].send(*[reply_of(packet) for packet in got])
    for packet in rig["pg0"].receive(len(sent)):
        original = by_client[packet[layer].dst]
        transport = TCP if TCP in packet else UDP
        assert packet[layer].src == original[layer].dst
        assert (packet[transport].sport, packet[transport].dport) == (
            original[transport].dport, original[transport].sport
        )
        fresh = packet[layer].copy()
        del fresh[transport].chksum
        assert packet[transport].chksum == type(fresh)(bytes(fresh))[transport].chksum
    return chosen


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_b15_b16_nat_to_another_port(rig, family, protocol):
    vip = f"{VIPS[family]} protocol {protocol} port 20000"
    rig.daemon.cli(
        f"lb set interface nat{family} in pg1",
        f"lb vip {vip} encap nat{family} type clusterip target_port 3307",
        f"lb as {vip} {' '.join(servers(family))}",
    )
    layer = TCP if protocol == "tcp" else UDP
    sent = [flow(family, i, layer=layer) for i in range(FLOWS)]
    with rig.counted():
        assert_balanced(assert_nat(rig, family, sent, 3307), family)


@pytest.mark.parametrize("family", [4, 6])
def test_b21_two_vips_share_one_server_and_port(rig, family):
    """VPP overwrites the first one's reverse translation with the second one's."""
    server = servers(family)[1]
    rig.daemon.cli(f"lb set interface nat{family} in pg1")
    for port in (20000, 20001):
        vip = f"{VIPS[family]} protocol udp port {port}"
        rig.daemon.cli(f"lb vip {vip} encap nat{family} target_port 3307", f"lb as {vip} {server}")
    sent = [flow(family, i, dport=20000 + i % 2) for i in range(FLOWS)]
    with rig.counted():
        assert set(assert_nat(rig, family, sent, 3307).values()) == {server}
