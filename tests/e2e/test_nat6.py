"""NAT in IPv6, with real TCP and UDP between network namespaces."""

import pytest
from conftest import Farm6
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6

VIP = "2001:db8:2::2"


@pytest.fixture
def served(topology, daemons):
    farm = Farm6(topology, daemons)
    for name in farm.servers:
        farm.daemon.cli(f"lb set interface nat6 in {name}")
    for protocol, port, target in (("tcp", 80, 8080), ("udp", 53, 8053)):
        key = f"{VIP}/128 protocol {protocol} port {port}"
        farm.daemon.cli(f"lb vip {key} encap nat6 target_port {target}", f"lb as {key} {' '.join(Farm6.SERVERS)}")
    return farm


def test_http_by_nat6(served):
    answers = [served.client.curl(f"http://[{VIP}]/").split() for _ in range(24)]
    assert {a[0] for a in answers} == set(Farm6.SERVERS.values())
    assert {a[1] for a in answers} == {Farm6.CLIENT}
    assert served.client.ping(VIP) == 3
    counters = served.daemon.vip(VIP, 80)
    assert counters["first session packet"] == 24


def test_a_large_transfer_by_nat6(served):
    body = served.client.curl(f"http://[{VIP}]/bytes/5000000", "-o", "/dev/null", "-w", "%{size_download}")
    assert body == "5000000"


def test_udp_by_nat6(served):
    names = set()
    for i in range(12):
        with served.client.socket(10, 2) as query:
            query.sendto(b"question %d" % i, (VIP, 53))
            data, sender = query.recvfrom(2048)
            assert sender[:2] == (VIP, 53)
            name, client, _, rest = data.split(b" ", 3)
            assert client.decode() == Farm6.CLIENT and rest == b"question %d" % i
            names.add(name)
    assert len(names) > 1


def test_on_the_wire(topology, served):
    at_client = topology.capture(served.client, "tcp port 80")
    captures = [topology.capture(host, "tcp port 8080") for host in served.servers.values()]
    name = served.client.curl(f"http://[{VIP}]/").split()[0]
    outside = at_client.stop()
    inside = [packets for capture in captures if (packets := capture.stop())]
    assert len(inside) == 1 and len(outside) == len(inside[0]) >= 8
    for near, far in zip(outside, inside[0]):
        to_server = near[IPv6].dst == VIP
        first, second = (near, far) if to_server else (far, near)
        assert first[IPv6].hlim - 1 == second[IPv6].hlim
        assert (near[TCP].seq, near[TCP].ack, near[TCP].flags, near[TCP].options) == (
            far[TCP].seq, far[TCP].ack, far[TCP].flags, far[TCP].options
        )
        for packet in (near, far):
            right = packet[IPv6].copy()
            del right[TCP].chksum
            assert IPv6(bytes(right))[TCP].chksum == packet[TCP].chksum
    (address,) = [a for a, n in Farm6.SERVERS.items() if n == name]
    assert {far[IPv6].dst for far in inside[0]} == {address, Farm6.CLIENT}


def test_the_wrong_family_is_refused(served):
    for line, word in (
        (f"lb vip {VIP}/128 protocol tcp port 1 encap nat4", "NAT64"),
        ("lb vip 10.9.9.9/32 protocol tcp port 1 encap nat6", "NAT46"),
    ):
        assert word in served.daemon.refused(line)["reason"]
