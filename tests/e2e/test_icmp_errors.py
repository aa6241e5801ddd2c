"""An ICMP error about a flow goes where the flow goes, in every method of forwarding."""

import pytest
from daemon import own_topology
from edge import (
    CASES, CLIENT, IDS, PLAIN, ROUTER, VIP, assert_checksums_icmp, assert_header, head, inside, layer_of,
    make_rig, request, serve,
)
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPerror6, IPv6
from scapy.packet import Raw


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("rig")) as (topology, daemons):
        yield make_rig(topology, daemons)


@pytest.fixture
def rig(shared):
    yield shared
    shared.reset()


def error_about(family, sport, kind="too big"):
    """What a router on the way to the client says about a reply from the VIP to that client."""
    reply = head(family, src=VIP[family], dst=CLIENT[family]) / TCP(sport=80, dport=sport, seq=5) / Raw(bytes(8))
    if family == 4:
        icmp = ICMP(type=3, code=4, nexthopmtu=1400) if kind == "too big" else ICMP(type=11)
        return head(4, src=ROUTER[4]) / icmp / Raw(bytes(reply))
    icmp = ICMPv6PacketTooBig(mtu=1400) if kind == "too big" else ICMPv6TimeExceeded()
    return head(6, src=ROUTER[6]) / icmp / Raw(bytes(reply))


@pytest.mark.parametrize("family, encap, outer", CASES, ids=IDS)
def test_an_error_goes_through_the_tunnel_of_its_flow(rig, family, encap, outer):
    serve(rig, family, encap, outer)
    servers = set()
    for sport in range(1000, 1020):
        rig["pg0"].send(request(family, sport=sport), error := error_about(family, sport))
        first, second = rig["pg1"].receive(2, quiet_s=0.02)
        assert layer_of(first).dst == layer_of(second).dst
        assert inside(second, encap) == bytes(error)
        servers.add(layer_of(first).dst)
    assert len(servers) > 2


@pytest.mark.parametrize("family, encap", PLAIN)
def test_an_error_goes_to_the_server_of_its_flow(rig, family, encap):
    serve(rig, family, encap)
    for sport in range(1000, 1020):
        rig["pg0"].send(request(family, sport=sport), error := error_about(family, sport))
        first, second = rig["pg1"].receive(2, quiet_s=0.02)
        ip = layer_of(second)
        if encap == "dr":
            assert bytes(ip)[: len(error)] == bytes(error)
            continue
        server = layer_of(first).dst
        assert ip.dst == server and ip.src == ROUTER[family]
        if family == 4:
            assert_checksums_icmp(second)
        quoted = second[IPerror] if family == 4 else second[IPerror6]
        if encap.startswith("nat"):
            # The server knows nothing of the VIP: the quoted packet is the one that it sent.
            assert (quoted.src, second[TCPerror].sport) == (server, 8080)
            assert (quoted.dst, second[TCPerror].dport) == (CLIENT[family], sport)
            if family == 4:
                assert_header(IP(bytes(quoted)))
        else:
            assert quoted.src == VIP[family]


@pytest.mark.parametrize("family, encap", [(4, "nat4"), (6, "nat6")])
def test_an_error_of_a_server_reaches_the_client(rig, family, encap):
    serve(rig, family, encap, protocol="udp")
    rig["pg0"].send(head(family) / UDP(sport=1000, dport=80) / Raw(b"question"))
    (got,) = rig["pg1"].receive(1)
    ip = layer_of(got)
    quoted = bytes(ip)[: (ip.len if family == 4 else ip.plen + 40)]
    if family == 4:
        refusal = IP(src=ip.dst, dst=CLIENT[4]) / ICMP(type=3, code=3) / Raw(quoted)
    else:
        refusal = IPv6(src=ip.dst, dst=CLIENT[6]) / ICMPv6DestUnreach(code=4) / Raw(quoted)
    rig["pg1"].send(refusal)
    (told,) = rig["pg0"].receive(1)
    assert (layer_of(told).src, layer_of(told).dst) == (VIP[family], CLIENT[family])
    quoted = told[IPerror] if family == 4 else told[IPerror6]
    assert (quoted.src, quoted.dst) == (CLIENT[family], VIP[family])
    assert (told[UDPerror].sport, told[UDPerror].dport) == (1000, 80)
    if family == 4:
        assert_checksums_icmp(told)


@pytest.mark.parametrize("family", [4, 6])
def test_an_error_about_nothing_is_counted(rig, family):
    """From an address of the VIP's, about a packet that the VIP did not send."""
    serve(rig, family, "ipip")
    error = error_about(family, 1000)
    stranger = head(family, src="40.1.1.1" if family == 4 else "2001:db8:40::5", dst=CLIENT[family])
    other = head(family, src=ROUTER[family]) / error.payload.copy()
    other[Raw].load = bytes(stranger / TCP(sport=80, dport=5))
    with rig.counted({(f"lb{family}-vip", "icmp error about no flow"): 1}):
        rig["pg0"].send(other)
    with rig.counted({(f"lb{family}-vip", "icmp error quotes too little"): 1}):
        short = error.copy()
        short[Raw].load = short[Raw].load[: (20 if family == 4 else 40) + 2]
        rig["pg0"].send(short)
    assert rig["pg1"].receive(timeout_s=0.1) == []
