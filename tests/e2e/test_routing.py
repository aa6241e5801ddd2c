"""Without a virtual service, Sluice is a plain router: ARP, ICMP, TTL, MTU."""

import socket
import time

import pytest
from conftest import Farm
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from topology import wait_until
from wire import assert_checksums, assert_same_conversation, flows


@pytest.fixture
def farm(topology, daemons):
    """The demo's network without any VIP."""
    return Farm(topology, daemons, configure=False)


def receive(wire, wanted, timeout_s=3):
    """The first frame for which `wanted` is true."""
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame, where = wire.recvfrom(65536)
        except TimeoutError:
            break
        if where[2] != socket.PACKET_OUTGOING:
            packet = Ether(frame)
            if wanted(packet):
                return packet
    raise AssertionError("the expected frame did not come")


def gateway(farm, host="client"):
    """The MAC address of the load balancer's port towards `host`."""
    return farm.topology.lb.mac(farm.topology.ports[host])


def from_client(farm, **ip):
    return Ether(src=farm.client.mac(), dst=gateway(farm)) / IP(src="10.10.10.1", **ip)


def test_ping_through_and_to_every_address_of_its_own(farm):
    for address in (*farm.addresses, "10.10.10.254", "31.31.31.254", "33.33.33.254"):
        assert farm.client.ping(address) == 3, address
    assert farm.client.ping("31.31.31.1", "-s", "1400") == 3


def test_http_through_it_keeps_everything_but_ttl(topology, farm):
    at_client = topology.capture(farm.client, "tcp port 8080")
    at_server = topology.capture(farm.servers["32.32.32.1"], "tcp port 8080")
    body = farm.client.curl("http://32.32.32.1:8080/").split()
    assert body[:2] == ["server2", "10.10.10.1"]
    outside, inside = flows(at_client.stop(), 8080), flows(at_server.stop(), 8080)
    port = int(body[2])
    server = ("32.32.32.1", 8080)
    assert_same_conversation(outside[port], inside[port], ("10.10.10.1", port), server, server)


def test_servers_reach_each_other_and_the_client(farm):
    assert farm.servers["31.31.31.1"].ping("33.33.33.1") == 3
    assert farm.servers["31.31.31.1"].ping("10.10.10.1") == 3


def test_ping_a_vip(farm):
    farm.daemon.cli(
        "lb vip 20.20.20.1/32 protocol tcp port 2020 encap nat4 type clusterip target_port 8080",
        "lb vip 10.10.10.77/32 protocol tcp port 2020 encap nat4 type clusterip target_port 8080",
    )
    assert farm.client.ping("20.20.20.1") == 3
    # On the client's own subnet: the client asks for it by ARP.
    assert farm.client.ping("10.10.10.77") == 3


@pytest.mark.parametrize("ttl, answers", [(2, False), (1, True)])
def test_ttl_runs_out(farm, ttl, answers):
    probe = from_client(farm, dst="31.31.31.1", ttl=ttl, id=4321) / UDP(sport=5, dport=33434) / Raw(b"probe" * 9)
    with farm.client.packets() as wire:
        wire.send(bytes(probe))
        answer = receive(wire, lambda p: ICMP in p and p[ICMP].type in (3, 11))
    assert_ip_checksum(answer)
    if answers:
        assert (answer[ICMP].type, answer[ICMP].code) == (11, 0)
        assert answer[IP].src == "10.10.10.254" and answer[IP].dst == "10.10.10.1"
        assert answer[IPerror].id == 4321 and answer[IPerror].dst == "31.31.31.1"
        assert answer[UDPerror].dport == 33434
    else:
        assert answer[IP].src == "31.31.31.1", "the server's own port-unreachable"


def assert_ip_checksum(packet):
    from scapy.utils import checksum

    assert checksum(bytes(packet[IP])[: 4 * packet[IP].ihl]) == 0
    if ICMP in packet:
        assert checksum(bytes(packet[IP])[4 * packet[IP].ihl : packet[IP].len]) == 0


def test_ttl_runs_out_on_a_vip(farm):
    farm.daemon.cli(
        "lb vip 20.20.20.1/32 protocol tcp port 2020 encap nat4 type clusterip target_port 8080",
        f"lb as 20.20.20.1/32 protocol tcp port 2020 {' '.join(farm.addresses)}",
    )
    probe = from_client(farm, dst="20.20.20.1", ttl=1) / TCP(sport=7, dport=2020, flags="S", seq=99)
    with farm.client.packets() as wire:
        wire.send(bytes(probe))
        answer = receive(wire, lambda p: ICMP in p)
    assert answer[ICMP].type == 11
    # What was quoted is what the client sent, not what a server would have seen.
    assert (answer[IPerror].dst, bytes(answer[IPerror].payload)[:8]) == (
        "20.20.20.1", bytes(probe[TCP])[:8]
    )


def test_no_route_is_said_and_counted(farm):
    probe = from_client(farm, dst="203.0.113.7") / UDP(sport=5, dport=6)
    with farm.client.packets() as wire:
        wire.send(bytes(probe))
        answer = receive(wire, lambda p: ICMP in p and p[ICMP].type == 3)
    assert answer[ICMP].code == 0 and answer[IPerror].dst == "203.0.113.7"
    assert farm.daemon.errors()["ip4-lookup", "ip4 destination lookup miss"] == 1


def test_a_packet_too_big_for_the_next_link_is_answered(topology, daemons):
    farm = Farm(topology, daemons, configure=False)
    farm.daemon.cli("set interface mtu 1000 server1")
    probe = from_client(farm, dst="31.31.31.1", flags="DF") / UDP(sport=5, dport=6) / Raw(b"x" * 1100)
    with farm.client.packets() as wire:
        wire.send(bytes(probe))
        answer = receive(wire, lambda p: ICMP in p and p[ICMP].type == 3)
    assert (answer[ICMP].code, answer[ICMP].nexthopmtu) == (4, 1000)


def test_ip_options_are_passed_on(topology, farm):
    from scapy.layers.inet import IPOption_NOP

    at_server = topology.capture(farm.servers["31.31.31.1"], "udp port 7777")
    probe = from_client(
        farm, dst="31.31.31.1", options=[IPOption_NOP()] * 4
    ) / UDP(sport=5, dport=7777) / Raw(b"with options")
    with farm.client.packets() as wire:
        wire.send(bytes(probe))
    (received,) = at_server.stop()
    assert received[IP].ihl == 6
    assert_checksums(received)
    assert bytes(received[UDP].payload)[:12] == b"with options"


def sent_by(source, **ip):
    """Makes a packet of a client's port with another source address."""
    return lambda farm: (
        Ether(src=farm.client.mac(), dst=gateway(farm)) / IP(src=source, dst="31.31.31.1", **ip) / UDP()
    )


def framed(ethertype, body):
    """Makes a frame of another protocol."""
    return lambda farm: (
        Ether(src=farm.client.mac(), dst=gateway(farm), type=ethertype) / Raw(body)
    )


def tagged(farm):
    head = Ether(src=farm.client.mac(), dst=gateway(farm)) / Dot1Q(vlan=7)
    return head / IP(src="10.10.10.1", dst="31.31.31.1") / UDP()


def for_another_station(farm):
    head = Ether(src=farm.client.mac(), dst="02:00:00:00:77:77")
    return head / IP(src="10.10.10.1", dst="31.31.31.1") / UDP()


BAD = [
    ("ip4-input", "bad ip4 checksum", sent_by("10.10.10.1", chksum=0xBAD)),
    ("ip4-input", "ip4 martian source address", sent_by("127.0.0.1")),
    ("ip4-input", "ip4 martian source address", sent_by("224.0.0.9")),
    ("ip4-input", "ip4 length > l2 length", sent_by("10.10.10.1", len=900)),
    ("ip4-input", "ip4 length < header length", sent_by("10.10.10.1", len=19)),
    ("ip4-input", "ip4 header length < 20 bytes", sent_by("10.10.10.1", ihl=4)),
    ("ip4-input", "ip4 version != 4", sent_by("10.10.10.1", version=5)),
    ("ip4-input", "ip4 length < 20 bytes", framed(0x0800, b"\x45" + bytes(18))),
    ("ethernet-input", "unknown vlan", tagged),
    ("ethernet-input", "l3 mac mismatch", for_another_station),
    ("ethernet-input", "ip6 not enabled", framed(0x86DD, b"\x60" + bytes(59))),
    ("ethernet-input", "unknown ethernet type", framed(0x88B5, bytes(50))),
]


def test_each_bad_packet_is_dropped_for_a_named_reason(topology, farm):
    at_server = topology.capture(farm.servers["31.31.31.1"], "udp")
    for node, reason, make in BAD:
        before = farm.daemon.errors().get((node, reason), 0)
        with farm.client.packets() as wire:
            for _ in range(5):
                wire.send(bytes(make(farm)))
        wait_until(
            lambda: farm.daemon.errors().get((node, reason), 0) - before == 5,
            5, f"'{reason}' rose by 5; {farm.daemon.errors()}",
        )
    assert len(at_server.stop()) == 0, "one was forwarded"


def test_arp_is_answered_for_its_addresses_and_vips_only(farm):
    farm.daemon.cli(
        "lb vip 10.10.10.77/32 protocol tcp port 2020 encap nat4 type clusterip target_port 8080"
    )

    def ask(address):
        request = Ether(src=farm.client.mac(), dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=farm.client.mac(), psrc="10.10.10.1", pdst=address
        )
        with farm.client.packets() as wire:
            wire.send(bytes(request))
            return receive(wire, lambda p: ARP in p and p[ARP].op == 2 and p[ARP].psrc == address, 1)

    for address in ("10.10.10.254", "10.10.10.77"):
        answer = ask(address)
        assert answer[ARP].hwsrc == answer[Ether].src == gateway(farm)
        assert answer[Ether].dst == farm.client.mac()
    with pytest.raises(AssertionError):
        ask("10.10.10.99")


def test_the_first_packet_waits_for_arp_and_is_not_lost(topology, daemons):
    farm = Farm(topology, daemons, configure=False)
    farm.daemon.cli("set ip neighbor del server1 31.31.31.1")
    # With one echo and no second try, a packet dropped while ARP runs would show.
    assert farm.client.ping("31.31.31.1", count=1) == 1


def test_a_neighbour_with_a_new_mac_is_followed(farm):
    server = farm.servers["31.31.31.1"]
    server.run("ip", "link", "set", "eth0", "address", "02:00:00:00:99:01")
    # The server announces itself by asking: its next packet is an ARP request with the new MAC.
    server.run("ip", "neigh", "flush", "all")
    server.ping("31.31.31.254", count=1)
    wait_until(lambda: farm.client.ping("31.31.31.1", count=1), 5, "ping with the new MAC")
    assert "02:00:00:00:99:01" in farm.daemon.cli("show ip neighbors").lower()


def test_an_unreachable_next_hop_drops_what_waits_and_counts_it(farm):
    before = farm.daemon.errors()
    with farm.client.packets() as wire:
        for i in range(100):
            wire.send(bytes(from_client(farm, dst="31.31.31.99", id=i) / UDP(sport=1, dport=2)))

    def dropped():
        now = farm.daemon.errors()
        return sum(v - before.get(k, 0) for k, v in now.items() if k[0] == "ip4-arp") >= 100

    wait_until(dropped, 15, f"100 drops at ip4-arp; {farm.daemon.errors()}", interval_s=0.3)


def test_a_route_through_a_next_hop(farm):
    farm.servers["31.31.31.1"].run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    farm.daemon.cli("ip route add 192.0.2.0/24 via 31.31.31.1")
    assert farm.client.ping("192.0.2.1") == 3
    farm.daemon.cli("ip route del 192.0.2.0/24 via 31.31.31.1")
    assert farm.client.ping("192.0.2.1", count=1) == 0


def test_ping_from_the_cli(farm):
    out = farm.daemon.ctl("ping", "31.31.31.1", "repeat", "2", "interval", "0.2").stdout
    assert out.count("bytes from 31.31.31.1") == 2, out


def test_partial_checksums_are_noticed(topology, farm):
    """One packet in 1024 is sampled: the reason names what to turn off."""
    from scapy.utils import checksum

    packet = from_client(farm, dst="31.31.31.1") / UDP(sport=1, dport=9, chksum=1) / Raw(b"partial!")
    raw = bytearray(bytes(packet))
    ip = raw[14:]
    pseudo = bytes(ip[12:20]) + bytes([0, 17]) + (len(ip) - 20).to_bytes(2, "big")
    raw[14 + 26 : 14 + 28] = (checksum(pseudo) ^ 0xFFFF).to_bytes(2, "big")
    with farm.client.packets() as wire:
        for _ in range(3000):
            wire.send(bytes(raw))
    wait_until(
        lambda: any("partial checksum" in reason for _, reason in farm.daemon.errors()),
        what=f"partial checksums counted; {farm.daemon.errors()}",
    )
