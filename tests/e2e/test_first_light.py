"""The walk-through of the VPP load balancer's documentation, with real TCP and UDP (A-01)."""

import socket

import pytest
from daemon import WALKTHROUGH
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from topology import wait_until
from wire import assert_checksums, assert_same_conversation, flows, payload

VIP = "10.10.2.2"


def test_the_three_commands_balance_tcp(topology, walkthrough):
    daemon = walkthrough.daemon
    outputs = daemon.api.cli(*WALKTHROUGH)
    assert outputs[1].startswith("lb_vip_add ok "), outputs

    at_client = topology.capture(walkthrough.client, "tcp port 8080")
    at_server = topology.capture(walkthrough.web, "tcp port 80")
    answers = {}
    for _ in range(12):
        server, address, port = walkthrough.get()
        assert server in ("web-1", "web-3")
        assert address == "10.10.10.1", "the server does not see the client's own address"
        answers[port] = server
    assert len(answers) == 12, "the source ports were not kept"
    client_side, server_side = at_client.stop(), at_server.stop()

    outside, inside = flows(client_side, 8080), flows(server_side, 80)
    assert set(outside) == set(inside) == set(answers)
    for port, server in answers.items():
        real = {"web-1": "192.168.1.1", "web-3": "192.168.1.3"}[server]
        assert_same_conversation(
            outside[port], inside[port], ("10.10.10.1", port), (VIP, 8080), (real, 80)
        )

    # Client packets only, as in VPP: the replies are not counted by the VIP.
    from_client = sum(1 for packet in client_side if packet[IP].dst == VIP)
    counters = daemon.vip(VIP, 8080)
    assert counters["first session packet"] == 12
    assert counters["packet from existing sessions"] == from_client - 12
    assert counters["untracked packet"] == 0
    assert counters["no server configured"] == 0


def test_a_long_transfer_arrives_whole(walkthrough):
    walkthrough.daemon.cli(*WALKTHROUGH)
    body = walkthrough.client.curl(f"http://{VIP}:8080/bytes/3000000", max_time_s=30)
    assert len(body) == 3_000_000 and set(body) == {"x"}


def test_one_connection_carries_many_requests(walkthrough):
    walkthrough.daemon.cli(*WALKTHROUGH)
    urls = [f"http://{VIP}:8080/"] * 19
    body = walkthrough.client.curl(f"http://{VIP}:8080/", *urls)
    assert len(body.splitlines()) == 20
    assert len(set(body.splitlines())) == 1, "one connection, two servers or two source ports"
    assert walkthrough.daemon.vip(VIP, 8080)["first session packet"] == 1


@pytest.fixture
def udp(topology, walkthrough):
    """The same network with a UDP VIP 10.10.2.2:5300 to port 53 of the two servers."""
    topology.serve(
        walkthrough.web, "web-1@192.168.1.1:53", "web-3@192.168.1.3:53", protocol="udp"
    )
    walkthrough.daemon.cli(
        "lb set interface nat4 in GigabitEthernet0/9/0",
        "lb vip 10.10.2.2/32 protocol udp port 5300 encap nat4 type clusterip target_port 53",
        "lb as 10.10.2.2/32 protocol udp port 5300 192.168.1.1 192.168.1.3",
    )
    return walkthrough


def test_udp_with_checksums(topology, udp):
    at_client = topology.capture(udp.client, "udp")
    at_server = topology.capture(udp.web, "udp")
    seen = set()
    for i in range(12):
        with udp.client.udp() as sender:
            # The kernel's choice is random, and now and then the same twice: one flow, not two.
            sender.bind(("10.10.10.1", 41_000 + i))
            message = b"question %d" % i
            sender.sendto(message, (VIP, 5300))
            answer, source = sender.recvfrom(2048)
            assert source == (VIP, 5300)
            server, address, port, *echoed = answer.split(b" ", 3)
            assert address == b"10.10.10.1"
            assert int(port) == sender.getsockname()[1]
            assert echoed == [message]
            seen.add(server)
    assert seen <= {b"web-1", b"web-3"}
    for packet in (*at_client.stop(), *at_server.stop()):
        assert packet[UDP].chksum != 0
        assert_checksums(packet)
    assert udp.daemon.vip(VIP, 5300, 17)["first session packet"] == 12


def test_udp_checksum_zero_stays_zero(topology, udp):
    at_client = topology.capture(udp.client, "udp")
    at_server = topology.capture(udp.web, "udp")
    with udp.client.udp() as sender:
        SO_NO_CHECK = 11
        sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        sender.sendto(b"no checksum", (VIP, 5300))
        answer = sender.recv(2048)
    assert answer.endswith(b"no checksum")
    outside, inside = at_client.stop(), at_server.stop()
    assert [p[UDP].chksum for p in outside if p[IP].dst == VIP] == [0]
    assert [p[UDP].chksum for p in inside if p[UDP].dport == 53] == [0]
    replies = [p for p in (*outside, *inside) if p[IP].dst == "10.10.10.1"]
    assert len(replies) == 2
    for reply in replies:
        assert reply[UDP].chksum != 0
        assert_checksums(reply)


def test_a_computed_udp_checksum_of_zero_is_sent_as_ffff(topology, udp):
    """Finds a payload whose checksum towards the server sums to zero, for each server."""
    at_server = topology.capture(udp.web, "udp dst port 53")
    gateway = udp.topology.lb.mac(udp.topology.ports["client"])
    with udp.client.packets() as wire:
        for server in ("192.168.1.1", "192.168.1.3"):
            for port in range(40000, 40008):
                body = _payload_for_zero_sum("10.10.10.1", server, port, 53)
                packet = (
                    Ether(src=udp.client.mac(), dst=gateway)
                    / IP(src="10.10.10.1", dst=VIP, id=port)
                    / UDP(sport=port, dport=5300)
                    / Raw(body)
                )
                wire.send(bytes(packet))
    packets = at_server.stop()
    assert len(packets) == 16
    for packet in packets:
        assert packet[UDP].chksum != 0, "a computed 0 means that there is no checksum"
        assert_checksums(packet)
    # Each payload was made for one of the two servers; about half of them went to that one.
    assert any(packet[UDP].chksum == 0xFFFF for packet in packets)


def _payload_for_zero_sum(source, destination, sport, dport):
    """Two bytes of payload that make the UDP checksum of the datagram compute to 0."""
    from scapy.utils import checksum

    bare = bytes(IP(src=source, dst=destination) / UDP(sport=sport, dport=dport) / Raw(b"\0\0"))
    segment = bytearray(bare[20:])
    segment[6:8] = b"\0\0"
    pseudo = bare[12:20] + bytes([0, 17]) + len(segment).to_bytes(2, "big")
    # checksum() is the complement of the sum, so putting it in the payload makes the sum ffff.
    return checksum(pseudo + bytes(segment)).to_bytes(2, "big")


def test_tcp_options_and_segments_from_scapy_pass_byte_for_byte(topology, walkthrough):
    """A SYN with every common option, then data with urgent pointer and odd length."""
    from scapy.layers.inet import TCP

    walkthrough.daemon.cli(*WALKTHROUGH)
    gateway = topology.lb.mac(topology.ports["client"])
    head = Ether(src=walkthrough.client.mac(), dst=gateway) / IP(
        src="10.10.10.1", dst=VIP, tos=0xB9, id=0x1234, flags="DF", ttl=33
    )
    options = [
        ("MSS", 1460), ("SAckOK", b""), ("Timestamp", (0xDEADBEEF, 0)), ("NOP", None), ("WScale", 7),
    ]
    sent = [
        head / TCP(sport=33333, dport=8080, seq=0xFFFFFFF0, flags="SEC", window=65535, options=options),
        head / TCP(sport=33333, dport=8080, seq=0xFFFFFFF1, ack=7, flags="PAU", urgptr=3, window=1)
        / Raw(b"odd bytes"),
    ]
    # The client's kernel knows of no connection, and resets what the server answers.
    no_resets = "and tcp[tcpflags] & tcp-rst == 0"
    at_server = topology.capture(walkthrough.web, f"tcp dst port 80 and src port 33333 {no_resets}")
    with walkthrough.client.packets() as wire:
        for packet in sent:
            wire.send(bytes(packet))
    received = at_server.stop()
    assert len(received) == 2
    for before, after in zip((Ether(bytes(p)) for p in sent), received):
        assert_checksums(after)
        assert after[IP].dst in ("192.168.1.1", "192.168.1.3")
        expected = before.copy()
        expected[Ether].src, expected[Ether].dst = after[Ether].src, after[Ether].dst
        expected[IP].dst, expected[IP].ttl, expected[TCP].dport = after[IP].dst, 32, 80
        del expected[IP].chksum, expected[TCP].chksum
        assert bytes(expected) == bytes(after)[: len(bytes(expected))]
        assert payload(after) == payload(before)


def test_flows_are_listed_with_the_servers(walkthrough):
    walkthrough.daemon.cli(*WALKTHROUGH)
    held = [walkthrough.client.tcp(VIP, 8080) for _ in range(10)]
    servers = wait_until(lambda: walkthrough.daemon.vip(VIP, 8080)["as"], what="ASs listed")
    assert sum(server["flows"] for server in servers.values()) == 10
    assert {server["state"] for server in servers.values()} == {"used"}
    for connection in held:
        connection.close()
