"""What the tests of odd packets share: a rig with servers of both families, and packets for its VIPs."""

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw
from scapy.utils import checksum
from tap_rig import TapRig

SERVERS = {4: [f"10.0.0.{i}" for i in range(1, 6)], 6: [f"2002::{i}" for i in range(1, 6)]}
VIP = {4: "90.0.0.1", 6: "2001:db8:2::2"}
CLIENT = {4: "40.0.0.1", 6: "2001:db8:40::1"}
ROUTER = {4: "40.9.9.9", 6: "2001:db8:40::9"}
# encap: (outer family or 0, bytes in front)
TUNNELS = {
    ("ipip", 4): 20, ("ipip", 6): 40, ("gre4", 4): 24, ("gre6", 6): 44, ("gue", 4): 28, ("gue", 6): 48,
}
CASES = [(family, encap, outer) for family in (4, 6) for encap, outer in TUNNELS]
IDS = [f"ip{f}-{e}-over-ip{o}" for f, e, o in CASES]
PLAIN = [(4, "dr"), (6, "dr"), (4, "l3dsr"), (6, "l3dsr"), (4, "nat4"), (6, "nat6")]


def make_rig(topology, daemons):
    """Clients behind a router on pg0, five servers of each family on pg1."""
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


def serve(rig, family, encap, outer=None, protocol="tcp", options="", count=5):
    """A VIP on port 80; with `outer`, the ASs are of that family."""
    prefix = f"{VIP[family]}/{32 if family == 4 else 128} protocol {protocol} port 80"
    if encap == "l3dsr":
        options += " dscp 7"
    if encap.startswith("nat"):
        options += " target_port 8080"
        rig.daemon.cli(f"lb set interface {encap} in pg1")
    rig.daemon.cli(
        f"lb vip {prefix} encap {encap} {options}", f"lb as {prefix} {' '.join(SERVERS[outer or family][:count])}"
    )
    return prefix


def head(family, **fields):
    return (
        IP(**({"src": CLIENT[4], "dst": VIP[4]} | fields)) if family == 4
        else IPv6(**({"src": CLIENT[6], "dst": VIP[6]} | fields))
    )


def request(family, sport=1000, size=100, flags="A", df=False, **fields):
    if df:
        fields["flags"] = "DF"
    return head(family, **fields) / TCP(sport=sport, dport=80, flags=flags) / Raw(bytes(size))


def sized(family, length, **fields):
    """A TCP packet of exactly this many bytes."""
    empty = len(bytes(request(family, size=0, **fields)))
    return request(family, size=length - empty, **fields)


def inside(packet, encap):
    """The client's packet in a tunnel packet, as bytes."""
    outer = packet.payload
    end = outer.len if isinstance(outer, IP) else outer.plen + 40
    start = 20 if isinstance(outer, IP) else 40
    return bytes(outer)[start + {"ipip": 0, "gre4": 4, "gre6": 4, "gue": 8}[encap] : end]


def hops(ip):
    return ip.ttl if isinstance(ip, IP) else ip.hlim


def layer_of(packet):
    """The outermost IP header of a frame."""
    return packet.payload


def assert_header(ip):
    """The IPv4 header's checksum is right."""
    assert checksum(bytes(ip)[: 4 * ip.ihl]) == 0


def assert_checksums_icmp(packet):
    """The header's and the ICMP message's checksums are right."""
    ip = packet[IP]
    assert checksum(bytes(ip)[:20]) == 0 and checksum(bytes(ip)[20 : ip.len]) == 0
