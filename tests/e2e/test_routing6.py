"""Without a virtual service, Sluice is a plain router of IPv6 too: neighbour discovery, echo, errors."""

import pytest
from conftest import Farm6
from daemon import own_topology
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6,
)
from scapy.packet import Raw
from tap_rig import TapRig
from topology import wait_until


@pytest.fixture
def farm(topology, daemons):
    """A client and three servers without any IPv4."""
    return Farm6(topology, daemons)


def test_it_routes_ipv6(farm):
    for address, name in Farm6.SERVERS.items():
        assert farm.client.ping(address) == 3
        assert farm.client.curl(f"http://[{address}]:8080/").split()[:2] == [name, Farm6.CLIENT]
    assert farm.client.ping(Farm6.GATEWAY) == 3
    assert farm.servers["server1"].ping("2001:db8:33::1") == 3
    shown = farm.daemon.cli("show ip6 neighbors", "show ip6 fib")
    assert all(address in shown for address in (Farm6.CLIENT, *Farm6.SERVERS))


def test_a_neighbour_with_a_new_mac_is_followed(farm):
    host = farm.servers["server1"]
    host.run("ip", "link", "set", "eth0", "down")
    host.run("ip", "link", "set", "eth0", "address", "02:00:00:00:99:01")
    host.run("ip", "link", "set", "eth0", "up")
    host.run("ip", "address", "replace", "2001:db8:31::1/64", "dev", "eth0", "nodad")
    host.run("ip", "route", "replace", "default", "via", "2001:db8:31::ffff")
    # Its next solicitation says the new MAC address.
    wait_until(lambda: host.ping("2001:db8:31::ffff", count=1), 10, "the server's own ping")
    wait_until(lambda: farm.client.ping("2001:db8:31::1", count=1), 5, "ping with the new MAC")
    assert "02:00:00:00:99:01" in farm.daemon.cli("show ip6 neighbors").lower()


def test_an_address_in_use_is_not_taken_from_its_owner(topology, farm):
    """Duplicate address detection of a host: we answer for our own addresses, and for nothing else."""
    host = farm.client
    host.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv6.conf.all.accept_dad=1")
    for address, free in ((Farm6.GATEWAY, False), ("2001:db8:10::77", True)):
        host.run("ip", "address", "add", f"{address}/64", "dev", "eth0")

        def state(address=address):
            text = host.run("ip", "-6", "address", "show", "dev", "eth0").stdout
            line = next(line for line in text.splitlines() if f"{address}/64" in line)
            return None if "tentative" in line and "dadfailed" not in line else line

        line = wait_until(state, 10, f"{address} is decided")
        assert ("dadfailed" not in line) == free, line
        host.run("ip", "address", "del", f"{address}/64", "dev", "eth0")


def make_rig(topology, daemons):
    """Two ports whose other ends are the test's."""
    made = TapRig(topology, daemons, {"pg0": ["2001:db8:1::1/64"], "pg1": ["2001:db8:2::1/64"]})
    made.neighbor("pg0", "2001:db8:1::2")
    made.neighbor("pg1", "2001:db8:2::2")
    return made.settled()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("rig")) as (topology, daemons):
        yield make_rig(topology, daemons)


@pytest.fixture
def rig(shared):
    yield shared
    shared.reset()


def packet(size=64, **fields):
    head = IPv6(**({"src": "2001:db8:1::2", "dst": "2001:db8:2::2"} | fields))
    return head / UDP(sport=5, dport=6) / Raw(bytes(size - 48))


def test_a_packet_goes_through_with_one_hop_less(rig):
    rig["pg0"].send(sent := packet(tc=0xB9, fl=0x12345, hlim=2))
    (got,) = rig["pg1"].receive(1)
    sent.hlim = 1
    assert bytes(got[IPv6]) == bytes(sent)


def test_what_cannot_go_on_is_answered(rig):
    """Time exceeded, no route, packet too big: from our address on the link, with the packet quoted."""
    rig.daemon.cli("set interface mtu packet 1400 pg1")
    for sent, kind, code in (
        (packet(hlim=1), ICMPv6TimeExceeded, 0),
        (packet(dst="2001:db8:99::1"), ICMPv6DestUnreach, 0),
        (packet(size=1401), ICMPv6PacketTooBig, 0),
    ):
        rig["pg0"].send(sent)
        (told,) = rig["pg0"].receive(1, quiet_s=0.05)
        assert (told[IPv6].src, told[IPv6].dst) == ("2001:db8:1::1", "2001:db8:1::2")
        assert told[kind].code == code
        quoted = bytes(told[kind])[8 : told[IPv6].plen]
        # As much as fits into the smallest MTU of IPv6 (RFC 4443 §2.4 c).
        assert quoted == bytes(sent)[: 1280 - 48]
        right = told[IPv6].copy()
        del right[kind].cksum
        assert IPv6(bytes(right))[kind].cksum == told[kind].cksum
        if kind is ICMPv6PacketTooBig:
            assert told[kind].mtu == 1400
    rig["pg0"].send(packet(size=1400))
    rig["pg1"].receive(1)


def test_errors_and_groups_are_not_answered(rig):
    """No error about an error, a group, or a source that is nobody (RFC 4443 §2.4 e)."""
    error = IPv6(src="2001:db8:1::2", dst="2001:db8:2::2", hlim=1) / ICMPv6TimeExceeded() / Raw(bytes(packet()))
    rig["pg0"].send(error, packet(src="ff02::1", hlim=1), packet(src="::", hlim=1))
    rig["pg0"].send(rig["pg0"].ether(dst="33:33:00:00:00:01") / packet(dst="ff02::1"))
    assert rig["pg0"].receive(timeout_s=0.5) == []


def test_the_first_packet_waits_for_its_neighbour(rig):
    rig["pg0"].send(packet(dst="2001:db8:2::9"))
    (asked,) = rig["pg1"].receive(1, wanted=lambda p: ICMPv6ND_NS in p, timeout_s=3)
    assert (asked.dst, asked[IPv6].dst, asked[IPv6].hlim) == ("33:33:ff:00:00:09", "ff02::1:ff00:9", 255)
    assert asked[ICMPv6ND_NS].tgt == "2001:db8:2::9"
    peer = rig["pg1"].peer
    rig["pg1"].send(
        rig["pg1"].ether() / IPv6(src="2001:db8:2::9", dst=asked[IPv6].src, hlim=255)
        / ICMPv6ND_NA(tgt="2001:db8:2::9", R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=peer)
    )
    (got,) = rig["pg1"].receive(1, wanted=lambda p: UDP in p)
    assert got.dst == peer and got[IPv6].dst == "2001:db8:2::9"


def test_discovery_from_afar_is_not_believed(rig):
    """A neighbour message with a hop limit below 255 came through a router (RFC 4861 §7.1)."""
    rig["pg1"].send(
        rig["pg1"].ether() / IPv6(src="2001:db8:2::2", dst="2001:db8:2::1", hlim=254)
        / ICMPv6ND_NS(tgt="2001:db8:2::1") / ICMPv6NDOptSrcLLAddr(lladdr="02:66:66:66:66:66")
    )
    solicited = [p for p in rig["pg1"].receive(timeout_s=0.5, wanted=lambda p: ICMPv6ND_NA in p) if p[ICMPv6ND_NA].S]
    assert solicited == []
    rig["pg0"].send(packet())
    (got,) = rig["pg1"].receive(1)
    assert got.dst == rig["pg1"].peer
