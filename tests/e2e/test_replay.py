"""A capture of NAT-mode load balancing, made by scapy, replayed through pcap devices.

What comes out is compared byte for byte with what scapy computes from scratch: the load balancer
updates checksums incrementally, scapy sums whole packets.
"""

import pytest
from daemon import Config
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.l2 import Ether
from scapy.packet import Padding, Raw
from scapy.utils import rdpcap, wrpcap
from topology import wait_until

# net_pcap gives its ports these addresses, in the order in which they are made.
PORT_MACS = ("02:70:63:61:70:00", "02:70:63:61:70:01")
CLIENT_MAC, SERVER_MAC = "02:00:00:00:0c:01", "02:00:00:00:05:01"
CLIENT, VIP, SERVER = "10.10.10.1", "10.10.2.2", "192.168.1.1"


def request(layer, **ip):
    """A packet from the client to the VIP."""
    ip = {"src": CLIENT, "dst": VIP, "ttl": 64, "id": 1} | ip
    return Ether(src=CLIENT_MAC, dst=PORT_MACS[0]) / IP(**ip) / layer


def reply(layer, **ip):
    """A packet from the server to the client."""
    ip = {"src": SERVER, "dst": CLIENT, "ttl": 63, "id": 2} | ip
    return Ether(src=SERVER_MAC, dst=PORT_MACS[1]) / IP(**ip) / layer


def tcp(sport, flags, body=b"", **more):
    return TCP(sport=sport, dport=8080, flags=flags, **more) / Raw(body)


OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]

REQUESTS = [
    request(tcp(1024, "S", seq=0xFFFFFFFF, options=OPTIONS)),
    request(tcp(1024, "A", seq=0, ack=1)),
    request(tcp(1024, "PA", b"GET / HTTP/1.1\r\n\r\n", seq=0, ack=1)),
    request(tcp(1024, "A", b"x" * 1460, seq=18, ack=1)),
    request(tcp(1024, "A", b"odd", seq=1478, ack=1), tos=0x03),
    request(tcp(1024, "FPU", b"end", seq=1481, ack=9, urgptr=2), tos=0xB8),
    request(tcp(1025, "R", seq=5), id=0xFFFF, flags="DF"),
    request(tcp(65535, "SEC", seq=7), ttl=2),
    request(tcp(1, "S", b"\0" * 7), options=[IPOption_NOP()] * 8),
    request(tcp(1026, "S")) / Padding(b"\0" * 6),
    *(request(tcp(2000 + i, "S", b"\xff" * i, seq=i * 0x01010101)) for i in range(64)),
    request(UDP(sport=53, dport=5300) / Raw(b"question")),
    request(UDP(sport=54, dport=5300, chksum=0) / Raw(b"no checksum")),
    request(UDP(sport=55, dport=5300)),
    *(request(UDP(sport=3000 + i, dport=5300) / Raw(bytes([i]) * i)) for i in range(64)),
]

REPLIES = [
    reply(TCP(sport=80, dport=1024, flags="SA", seq=0, ack=0, options=OPTIONS)),
    reply(TCP(sport=80, dport=1024, flags="PA", seq=1, ack=18) / Raw(b"HTTP/1.1 200 OK\r\n\r\n")),
    reply(TCP(sport=80, dport=65535, flags="RA"), tos=0x02, options=[IPOption_NOP()] * 4),
    reply(UDP(sport=53, dport=53) / Raw(b"answer")),
    reply(UDP(sport=53, dport=54, chksum=0) / Raw(b"no checksum")),
    *(reply(UDP(sport=53, dport=3000 + i) / Raw(bytes([255 - i]) * i)) for i in range(64)),
    # Not from a port that a VIP maps to: routed, not translated.
    reply(TCP(sport=81, dport=1024, flags="A") / Raw(b"plain")),
    reply(UDP(sport=5353, dport=9) / Raw(b"plain")),
    reply(ICMP(type=0, id=9) / Raw(b"plain")),
]


def expected(packet, to_server):
    """The packet on the other side, with every checksum computed from nothing."""
    out = Ether(bytes(packet))
    ip = out[IP]
    ip.ttl -= 1
    if to_server:
        out.src, out.dst = PORT_MACS[1], SERVER_MAC
        ip.dst = SERVER
        if TCP in out:
            out[TCP].dport = 80
        else:
            out[UDP].dport = 53
    else:
        out.src, out.dst = PORT_MACS[0], CLIENT_MAC
        if TCP in out and out[TCP].sport == 80:
            ip.src, out[TCP].sport = VIP, 8080
        elif UDP in out and out[UDP].sport == 53:
            ip.src, out[UDP].sport = VIP, 5300
    del ip.chksum
    if TCP in out:
        del out[TCP].chksum
    elif UDP in out and out[UDP].chksum != 0:
        del out[UDP].chksum
    return bytes(out)


@pytest.fixture
def replay(topology, daemons, tmp_path):
    """Runs both captures through the daemon; returns what left each port, as bytes."""
    wrpcap(str(tmp_path / "client-in.pcap"), [Ether(bytes(p)) for p in REQUESTS])
    wrpcap(str(tmp_path / "server-in.pcap"), [Ether(bytes(p)) for p in REPLIES])
    config = Config(buckets=4096)
    for number, (name, address) in enumerate(
        [("client", "10.10.10.254/24"), ("server", "192.168.1.254/24")]
    ):
        vdev = f"net_pcap{number},rx_pcap={tmp_path}/{name}-in.pcap,tx_pcap={tmp_path}/{name}-out.pcap"
        config.port(name, None, address, nat4=name == "server", vdev=vdev)
    config.add(
        f"""
[[neighbor]]
interface = "client"
address = "{CLIENT}"
mac = "{CLIENT_MAC}"
[[neighbor]]
interface = "server"
address = "{SERVER}"
mac = "{SERVER_MAC}"
"""
    )
    for protocol, port, target in (("tcp", 8080, 80), ("udp", 5300, 53)):
        config.add(
            f"""
[[vip]]
prefix = "{VIP}/32"
protocol = "{protocol}"
port = {port}
encap = "nat4"
type = "clusterip"
target-port = {target}
as = ["{SERVER}"]
"""
        )
    daemon = daemons(config)

    def sent():
        counters = [daemon.interfaces()[name]["counters"]["tx_packets"] for name in ("client", "server")]
        return sum(counters) >= len(REQUESTS) + len(REPLIES)

    wait_until(sent, 10, f"everything came out; {daemon.cli('show interface', 'show errors')}")
    errors = daemon.errors()
    daemon.check_and_stop()
    daemon.process = None
    out = {
        name: [bytes(p) for p in rdpcap(str(tmp_path / f"{name}-out.pcap"))]
        for name in ("client", "server")
    }
    # What Sluice says on its own behalf (ARP) is not part of the comparison.
    return {name: [f for f in frames if f[12:14] == b"\x08\x00"] for name, frames in out.items()}, errors


def test_a_nat_capture_comes_out_byte_for_byte(replay):
    out, errors = replay
    assert out["server"] == [expected(p, True) for p in REQUESTS], errors
    assert out["client"] == [expected(p, False) for p in REPLIES], errors
