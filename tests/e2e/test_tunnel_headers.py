"""What is put in front of a packet, and what happens when that makes it too big."""

import pytest
from daemon import own_topology
from edge import (
    CASES, CLIENT, IDS, PLAIN, TUNNELS, VIP, assert_checksums_icmp, assert_header, hops, inside, layer_of,
    make_rig, request, serve, sized,
)
from scapy.layers.inet import ICMP, IP, UDP, IPerror, TCPerror
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPerror6, IPv6, IPv6ExtHdrFragment


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("rig")) as (topology, daemons):
        yield make_rig(topology, daemons)


@pytest.fixture
def rig(shared):
    yield shared
    shared.reset()


# ------------------------------------------------------------------------------- outer headers


@pytest.mark.parametrize("family, encap, outer", CASES, ids=IDS)
def test_the_outer_header(rig, family, encap, outer):
    serve(rig, family, encap, outer)
    for marking in (0, 0xB8, 0xB9, 0xBA, 0xBB):
        mark = {"tos": marking} if family == 4 else {"tc": marking}
        for df in (False, True) if family == 4 else (False,):
            packet = request(family, df=df, **mark)
            rig["pg0"].send(packet)
            (got,) = rig["pg1"].receive(1, quiet_s=0.02)
            ip = got.payload
            assert inside(got, encap) == bytes(packet)
            assert hops(ip) == 64
            # DSCP copied; ECN as RFC 6040 says of a tunnel's entry: copied, CE too.
            assert (ip.tos if outer == 4 else ip.tc) == marking
            if outer == 4:
                assert ip.src == "39.40.41.42"
                assert ("DF" in ip.flags) == (family == 6 or df)
                assert_header(ip)
            else:
                assert ip.src == "2004::1"
                assert ip.fl != 0, "the flow label tells flows apart"
            if encap == "gue":
                assert ip[UDP].dport == 6080 and ip[UDP].sport >= 0xC000


def test_the_outer_id_differs_where_fragments_are_possible(rig):
    serve(rig, 4, "ipip", 4, count=1)
    rig["pg0"].send(*[request(4) for _ in range(50)], *[request(4, id=i) for i in range(50)])
    ids = [p[IP].id for p in rig["pg1"].receive(100)]
    assert len(set(ids)) == 100, "unique, one after the other, for packets that may be cut (DF = 0)"


def test_tunnel_settings(rig):
    serve(rig, 4, "ipip", 4, count=1)

    def outer(**fields):
        rig["pg0"].send(request(4, **fields))
        return rig["pg1"].receive(1, quiet_s=0.02)[0][IP]

    rig.daemon.cli("lb conf tunnel-ttl 9 tunnel-dscp 46 tunnel-ecn zero tunnel-df set")
    got = outer(tos=3)
    assert (got.ttl, got.tos, got.flags) == (9, 46 << 2, "DF")
    rig.daemon.cli("lb conf tunnel-df clear tunnel-dscp copy tunnel-ecn rfc6040")
    got = outer(tos=0x43, df=True)
    assert (got.tos, got.flags) == (0x43, 0)


@pytest.mark.parametrize("encap", ["ipip", "gre4"])
def test_entropy_in_the_outer_source(rig, encap):
    serve(rig, 4, encap, 4)
    rig.daemon.cli("lb conf ip4-src-entropy 172.16.0.0/16")

    def sources():
        rig["pg0"].send(*[request(4, sport=s) for s in range(1000, 1100)])
        return {inside(p, encap): p[IP].src for p in rig["pg1"].receive(100)}

    first = sources()
    assert all(source.startswith("172.16.") for source in first.values())
    assert len(set(first.values())) > 50, "flows have sources of their own"
    assert sources() == first, "and keep them"
    rig.daemon.cli("lb conf ip4-src-entropy off")
    assert set(sources().values()) == {"39.40.41.42"}


# ------------------------------------------------------------------------------- too big


@pytest.mark.parametrize("family, encap, outer", CASES, ids=IDS)
def test_the_exact_limit_of_a_tunnel(rig, family, encap, outer):
    serve(rig, family, encap, outer)
    limit = 1500 - TUNNELS[encap, outer]
    fields = {"df": True, "id": 7} if family == 4 else {}
    fits, exceeds = sized(family, limit, **fields), sized(family, limit + 1, **fields)
    rig["pg0"].send(fits)
    (got,) = rig["pg1"].receive(1)
    assert inside(got, encap) == bytes(fits) and len(got) == 1514
    node = f"lb{family}-{encap if encap[-1].isdigit() else encap + str(outer)}"
    with rig.counted({(node, "too big after encap, sender told"): 1}):
        rig["pg0"].send(exceeds)
    (told,) = rig["pg0"].receive(1)
    assert rig["pg1"].receive(timeout_s=0.1) == []
    ip = layer_of(told)
    assert (ip.src, ip.dst) == (VIP[family], CLIENT[family])
    if family == 4:
        assert (told[ICMP].type, told[ICMP].code, told[ICMP].nexthopmtu) == (3, 4, limit)
        assert told[IPerror].id == 7 and told[TCPerror].sport == 1000
        assert_checksums_icmp(told)
    else:
        assert told[ICMPv6PacketTooBig].mtu == limit
        assert told[IPerror6].dst == VIP[6] and told[TCPerror].sport == 1000


@pytest.mark.parametrize("encap, outer", list(TUNNELS), ids=[f"{e}-over-ip{o}" for e, o in TUNNELS])
def test_without_df_the_policy_decides(rig, encap, outer):
    serve(rig, 4, encap, outer, count=1)
    packet = sized(4, 1500)
    node = f"lb4-{encap if encap[-1].isdigit() else encap + str(outer)}"
    with rig.counted({(node, "too big after encap"): 1}):
        rig["pg0"].send(packet)
    assert rig["pg0"].receive(timeout_s=0.2) == [] and rig["pg1"].receive(timeout_s=0.1) == []
    rig.daemon.cli("lb conf too-big fragment")
    rig["pg0"].send(packet)
    pieces = rig["pg1"].receive(2)
    assert all(len(piece) <= 1514 for piece in pieces)
    assert reassembled(pieces, outer).endswith(bytes(packet))


def reassembled(pieces, family):
    """The payload of the fragmented outer packet."""
    found = {}
    for piece in pieces:
        if family == 4:
            ip = piece[IP]
            assert "DF" not in ip.flags and ("MF" in ip.flags) == (ip.frag == 0)
            assert_header(ip)
            found[ip.frag] = bytes(ip)[20 : ip.len]
        else:
            part = piece[IPv6ExtHdrFragment]
            found[part.offset] = bytes(part)[8 : 8 + piece[IPv6].plen - 8]
    whole = b""
    for offset in sorted(found):
        assert len(whole) == 8 * offset
        whole += found[offset]
    return whole


@pytest.mark.parametrize("family, encap", PLAIN)
def test_too_big_without_a_tunnel(rig, family, encap):
    rig.daemon.cli("set interface mtu packet 1400 pg1")
    serve(rig, family, encap)
    rig["pg0"].send(sized(family, 1400, df=family == 4))
    rig["pg1"].receive(1)
    rig["pg0"].send(sized(family, 1401, df=family == 4))
    (told,) = rig["pg0"].receive(1)
    mtu = told[ICMP].nexthopmtu if family == 4 else told[ICMPv6PacketTooBig].mtu
    assert mtu == 1400 and layer_of(told).dst == CLIENT[family]
    # What is quoted is what the client sent: not the server's address, not the server's port.
    quoted = told[IPerror] if family == 4 else told[IPerror6]
    assert (quoted.dst, told[TCPerror].dport) == (VIP[family], 80)
