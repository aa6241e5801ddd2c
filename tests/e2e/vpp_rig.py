"""What VPP's own test of its load balancer has: its addresses, its flows, its ports."""

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw
from tap_rig import TapRig

FLOWS, SERVERS = 100, 5
SOURCES = {4: "39.40.41.42", 6: "2004::1"}
VIPS = {4: "90.0.0.0/8", 6: "2001::/16"}
PORT = "protocol udp port 20000"
PAYLOAD = bytes(range(64))


def servers(family, count=SERVERS):
    """The ASs' addresses."""
    return [f"10.0.0.{i}" if family == 4 else (f"2002::{i}" if i else "2002::") for i in range(count)]


def flow(family, i, dport=20000, sport=None, layer=UDP, **ip):
    """The client's packet of flow `i`, as VPP's test makes it."""
    sport = 10000 + i if sport is None else sport
    if family == 4:
        head = IP(**({"src": f"40.0.{i // 255}.{i % 255}", "dst": f"90.0.{i // 255}.{i % 255}", "id": i} | ip))
    else:
        head = IPv6(**({"src": f"fd00:f00d:ffff::{i:x}", "dst": f"2001::{i:x}"} | ip))
    return head / layer(sport=sport, dport=dport) / Raw(PAYLOAD)


def make_rig(topology, daemons):
    made = TapRig(
        topology, daemons,
        {"pg0": ["172.16.1.1/24", "fd01:1::1/64"], "pg1": ["172.16.2.1/24", "fd01:2::1/64"]},
    )
    made.neighbor("pg0", "172.16.1.2", "fd01:1::2")
    made.neighbor("pg1", "172.16.2.2", "fd01:2::2")
    made.daemon.cli(
        f"lb conf ip4-src-address {SOURCES[4]} ip6-src-address {SOURCES[6]} buckets 65536",
        "ip route add 10.0.0.0/24 via 172.16.2.2",
        "ip route add 2002::/16 via fd01:2::2",
        "ip route add 40.0.0.0/8 via 172.16.1.2",
        "ip route add fd00:f00d:ffff::/48 via fd01:1::2",
    )
    return made.settled()


def api_vip(rig, prefix, port=None):
    """The API's entry of one VIP."""
    (found,) = [
        v for v in rig.daemon.api.get("lb/vips")["vips"]
        if v["prefix"] == prefix and port in (None, v["port"])
    ]
    return found


def buckets(rig, prefix):
    """{AS address: slots of the new-flow table} of a VIP."""
    return {a["address"]: a["buckets"] for a in api_vip(rig, prefix)["as"] if not a["removed"]}


def expect(table, **wanted):
    """Each AS has the slots its weight is worth, to one slot, and all slots are somebody's."""
    total = sum(wanted.values())
    slots = sum(table.values())
    for address, weight in wanted.items():
        address = address.replace("_", ".")
        assert abs(table[address] - slots * weight / total) <= 1, (table, address)
