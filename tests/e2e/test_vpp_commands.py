"""VPP's load balancer from the command line: every line of its grammar, every error, its table's shares."""

import collections
import json
import random
import socket
import struct

import pytest
from daemon import own_topology
from scapy.layers.inet import IP
from vpp_rig import PORT, VIPS, buckets, expect, flow, make_rig, servers


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("rig")) as (topology, daemons):
        yield make_rig(topology, daemons)


@pytest.fixture
def rig(shared):
    yield shared
    shared.reset()


# ------------------------------------------------------------------------------- B-17 to B-19: API


@pytest.mark.parametrize("family", [4, 6])
def test_b17_as_dump_can_be_filtered(rig, family):
    for port, count in ((20000, 2), (20001, 3)):
        vip = f"{VIPS[family]} protocol udp port {port}"
        rig.daemon.cli(f"lb vip {vip} encap gre{family}", f"lb as {vip} {' '.join(servers(family, count))}")
    prefix = VIPS[family]
    assert shown_as(rig, f"{prefix} protocol udp port 20000") == set(servers(family, 2))
    assert shown_as(rig, f"{prefix} protocol udp port 20001") == set(servers(family, 3))
    everywhere = rig.daemon.api.get("lb/as")["as"]
    assert [(a["port"], a["address"]) for a in everywhere] and len(everywhere) == 5


def shown_as(rig, key):
    """The addresses that `show lb as KEY` lists."""
    return {a["address"] for a in json.loads(rig.daemon.cli(f"show lb as {key} json"))["as"]}


def test_b18_vips_and_servers_come_and_go(rig):
    vip = f"{VIPS[4]} {PORT}"
    rig.daemon.cli(f"lb vip {vip} encap gre4")
    assert rig.daemon.refused(f"lb vip {vip} encap gre4")
    rig.daemon.cli(f"lb as {vip} {' '.join(servers(4, 3))}")
    assert rig.daemon.refused(f"lb as {vip} {servers(4)[0]}")
    rig.daemon.cli(f"lb as {vip} {servers(4)[0]} del flush")
    assert set(buckets(rig, VIPS[4])) == set(servers(4)[1:3])
    rig.daemon.cli(f"lb vip {vip} del")
    assert VIPS[4] not in rig.daemon.cli("show lb vips")
    assert rig.daemon.refused(f"lb vip {vip} del")


def test_b19_what_is_refused(rig):
    vip = f"{VIPS[4]} {PORT}"
    rig.daemon.cli(f"lb vip {vip} encap gre4", f"lb as {vip} 10.0.0.1")
    for line, words in (
        (f"lb as {vip} 10.0.0.1 weight 50 del", ["weight", "del"]),
        ("lb vip 91.0.0.0/8 encap l3dsr dscp 64", ["64"]),
        ("lb vip 91.0.0.0/8 encap gre4 dscp 7", ["l3dsr"]),
        ("lb vip 91.0.0.0/8 encap gre4 new_len 1000", ["1000"]),
    ):
        error = rig.daemon.refused(line)
        text = f"{error['token']} {error['reason']} {error['hint']}"
        assert all(word in text for word in words), (line, error)
    # Two encapsulations on one prefix: allowed here, and each port has its own.
    other = f"{VIPS[4]} protocol udp port 20001"
    rig.daemon.cli(f"lb vip {other} encap l3dsr dscp 3", f"lb as {other} 10.0.0.2")
    rig["pg0"].send(flow(4, 1), flow(4, 1, dport=20001))
    first, second = sorted(rig["pg1"].receive(2), key=lambda p: p[IP].proto, reverse=True)
    assert (first[IP].proto, first[IP].dst) == (47, "10.0.0.1")
    assert (second[IP].proto, second[IP].dst, second[IP].tos) == (17, "10.0.0.2", 3 << 2)


# ------------------------------------------------------------------------------- B-20: the grammar

# Every form of VPP's own grammar (its CLI's parser, not its documentation), in any order of words.
LINES = [
    "lb conf ip4-src-address 39.40.41.42 ip6-src-address 2004::1 buckets 2048 timeout 30",
    "lb conf timeout 40",
    "lb conf buckets-log2 12",
    "test lb flowtable flush",
    "lb vip 1.2.3.0/24",
    "lb vip 1.2.4.0/24 encap gre4 new_len 1024",
    "lb vip 1.2.5.0/24 new_len 16 encap gre6",
    "lb vip 1.2.6.0/24 encap l3dsr dscp 7 new_len 32",
    "lb vip 1.2.7.1/32 encap nat4 type clusterip port 3306 target_port 3307 protocol udp new_len 1024",
    "lb vip 1.2.8.1/32 protocol tcp port 80 encap gre4 src_ip_sticky",
    "lb vip 1.2.9.1/32 protocol udp port 80 encap nat4 type nodeport node_port 30080 target_port 8080",
    "lb vip 2002:a::/64 encap gre6",
    "lb vip 2002:b::/64 encap gre4",
    "lb vip 2002:c::1/128 protocol tcp port 80 encap nat6 type clusterip target_port 8080",
    "lb vip 1.2.10.0/24 port 0 protocol tcp encap gre4",
    "lb as 1.2.4.0/24 10.0.0.1 10.0.0.2",
    "lb as 1.2.4.0/24 10.0.0.3 weight 50",
    "lb as 1.2.4.0/24 10.0.0.3 weight 0",
    "lb as 1.2.8.1/32 port 80 protocol tcp 10.0.0.1 10.0.0.1",
    "lb as 1.2.5.0/24 2003::1 2003::2",
    "lb as 2002:c::1/128 protocol tcp port 80 2003::1",
    "lb as 1.2.4.0/24 10.0.0.1 del",
    "lb as 1.2.4.0/24 10.0.0.2 del flush",
    "lb flush vip 1.2.4.0/24",
    "lb flush vip 1.2.8.1/32 protocol tcp port 80",
    "lb set interface nat4 in pg1",
    "lb set interface nat4 in pg1 del",
    "lb set interface nat6 in pg0 in pg1",
    "lb set interface nat6 in pg1 del",
    "show lb",
    "show lb vip",
    "show lb vips",
    "show lb vips verbose",
    "lb vip 1.2.4.0/24 del",
    "lb vip 1.2.8.1/32 protocol tcp port 80 del",
]


def test_b20_every_line_of_vpps_grammar(rig):
    for line in LINES:
        rig.daemon.cli(line)


# What VPP refuses, and a word of the reason that it gives.
REFUSED = [
    ("lb vip 1.2.3.4", "invalid vip prefix"),
    ("lb vip nonsense/24 encap gre4", "invalid vip prefix"),
    ("lb as 1.2.3.0/24 nonsense", "invalid as address"),
    ("lb as 1.2.3.0/24", "no as address provided"),
    ("lb as 1.2.3.0/24 10.0.0.1 weight 101", "100"),
    ("lb as 1.2.3.0/24 10.0.0.1 weight 5 del", "mutually exclusive"),
    ("lb as 9.9.9.0/24 10.0.0.1", "9.9.9.0/24"),
    ("lb vip 1.2.4.0/24 encap gre4 dscp 7", "l3dsr"),
    ("lb vip 1.2.4.0/24 encap l3dsr dscp 64", "64"),
    ("lb vip 1.2.4.1/32 protocol tcp port 1 encap nat4 frobnicate", "frobnicate"),
    ("lb vip 2001:db8::1/128 protocol tcp port 1 encap nat4", "nat64"),
    ("lb vip 1.2.4.1/32 protocol tcp port 1 encap nat6", "nat46"),
    ("lb conf buckets-log2 32", "32"),
    ("lb conf frobnicate", "frobnicate"),
    ("lb flush vip 9.9.9.0/24", "9.9.9.0/24"),
    ("lb set interface nat4 in nowhere", "nowhere"),
    ("lb vip 1.2.3.0/24", "1.2.3.0/24"),
    ("lb vip 9.9.9.0/24 del", "9.9.9.0/24"),
    ("lb vip 1.2.4.0/24 encap gre4 new_len 1000", "1000"),
    ("lb vip 1.2.4.1/32 protocol udp port 5 encap nat4 type nodeport node_port 30080", "30080"),
]


def test_b20_every_error_of_vpps_grammar(rig):
    rig.daemon.cli(
        "lb vip 1.2.3.0/24 encap gre4",
        "lb vip 1.2.9.1/32 protocol udp port 80 encap nat4 type nodeport node_port 30080 target_port 8080",
    )
    before = rig.daemon.cli("show running-config")
    for line, word in REFUSED:
        error = rig.daemon.refused(line)
        text = f"{error['token']} {error['reason']} {error['hint']}".lower()
        assert word in text, (line, error)
    assert rig.daemon.cli("show running-config") == before


# ------------------------------------------------------------------------------- B-22, B-23: shares


def test_b22_weights_among_many(rig):
    """VPP's weights stop working once they add up to the table's length."""
    vip = f"{VIPS[4]} {PORT}"
    addresses = [f"10.0.0.{i}" for i in range(20)]
    rig.daemon.cli(f"lb vip {vip} encap gre4 new_len 1024", f"lb as {vip} {' '.join(addresses)}")
    rig.daemon.cli(f"lb as {vip} 10.0.0.7 weight 50")
    table = buckets(rig, VIPS[4])
    assert sum(table.values()) == 1024
    expect(table, **{a: 50 if a == "10.0.0.7" else 100 for a in addresses})


def test_b23_shares_of_random_flows_are_those_of_chance(rig):
    """χ² of 100 000 flows over ten ASs: a fair split exceeds 27.88 once in a thousand times.

    The flows are a fixed pseudo-random sequence and the hash key is the built-in one, so the outcome
    is the same every time.
    """
    vip = f"{VIPS[4]} {PORT}"
    addresses = [f"10.0.0.{i}" for i in range(10)]
    rig.daemon.cli(f"lb vip {vip} encap gre4", f"lb as {vip} {' '.join(addresses)}")
    generator, count, batch = random.Random(4), 100_000, 5_000
    template = bytearray(bytes(rig["pg0"].ether() / flow(4, 1, dst="90.0.0.1")))
    got = collections.Counter()
    for _ in range(count // batch):
        for _ in range(batch):
            template[26:30] = bytes((40, *generator.randbytes(3)))
            template[34:36] = generator.randbytes(2)
            fix_ip4_checksum(template)
            rig["pg0"].socket.send(template)
        for _ in range(batch):
            data = rig["pg1"].frame(5)
            assert data is not None, (sum(got.values()), rig.daemon.errors())
            got[socket.inet_ntoa(data[30:34])] += 1
    expected = count / len(addresses)
    chi2 = sum((got[a] - expected) ** 2 / expected for a in addresses)
    assert sum(got.values()) == count and chi2 < 27.88, (chi2, got)


def fix_ip4_checksum(frame):
    """Writes the header checksum of the IPv4 packet in a frame; UDP's is left off."""
    frame[24:26] = b"\0\0"
    total = sum(struct.unpack_from("!10H", frame, 14))
    total = (total & 0xFFFF) + (total >> 16)
    frame[24:26] = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
    frame[40:42] = b"\0\0"
