"""Real HTTP through every way of forwarding, to a server with Debian's kernel set up by the manual.

The MTU is 1500 everywhere: a full packet of the client does not fit into a tunnel, and the client
has to learn that from an error that comes from the VIP.
"""

import pytest
from daemon import Config, own_topology
from encapsulator import OVERHEAD
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from site_with_guest import CLEAN, CLIENTS, LB4, LB6, SERVER4, SERVER6, VIP4, VIP6, Site, recipe
from topology import wait_until

PORT = "protocol tcp port 80"
# encap, the server's address, section of the manual
TUNNELS = [
    ("ipip", SERVER4, "ipip over IPv4"),
    ("ipip", SERVER6, "ipip over IPv6"),
    ("gre4", SERVER4, "gre4"),
    ("gre6", SERVER6, "gre6"),
    ("gue", SERVER4, "gue over IPv4"),
    ("gue", SERVER6, "gue over IPv6"),
]


def overhead(encap, server):
    """Bytes in front of the client's packet."""
    return OVERHEAD[encap if encap[-1].isdigit() else encap + ("6" if ":" in server else "4")]


class Service:
    """The site with the daemon between client and server."""

    def __init__(self, topology, daemons, image):
        self.topology = topology
        self.site = Site(topology, image)
        config = Config()
        config.port("client0", topology.ports["client"], "10.10.10.254/24", "2001:db8:10::ffff/64")
        config.port("servers", "server0", f"{LB4}/24", f"{LB6}/64")
        self.daemon = daemons(config)
        self.daemon.warm(self.site.client, SERVER4)
        self.configured = []

    def configure(self, *lines):
        """Runs commands that `reset` takes back."""
        for line in lines:
            self.daemon.cli(line)
            self.configured.append(line)

    def reset(self):
        """No VIP, and a server that nobody has set up."""
        for line in reversed(self.configured):
            self.daemon.cli(f"{line} del")
        self.configured = []
        self.site.guest.run(CLEAN)
        self.site.forget_mtus()

    def vip(self, vip, encap, server, options=""):
        """One VIP for HTTP with one server."""
        prefix = f"{vip}/{128 if ':' in vip else 32} {PORT}"
        self.configure(f"lb vip {prefix} encap {encap} {options}".rstrip())
        self.daemon.cli(f"lb as {prefix} {server}")

    def packets_from_server(self):
        """IPv4 packets that came from the server: with direct return, none. Of IPv6 there is
        neighbour discovery at any time."""
        return self.daemon.interfaces()["servers"]["counters"]["ip4_packets"]


@pytest.fixture(scope="module")
def running(tmp_path_factory, guest_image):
    with own_topology(tmp_path_factory.mktemp("tunnels")) as (topology, daemons):
        service = Service(topology, daemons, guest_image)
        yield service
        service.site.close()


@pytest.fixture
def service(running):
    """The daemon without a VIP, and a server as it was installed."""
    yield running
    running.reset()


@pytest.mark.parametrize("encap, server, section", TUNNELS, ids=[t[2].replace(" ", "-") for t in TUNNELS])
def test_http_through_a_tunnel(service, encap, server, section):
    site = service.site
    site.guest.run(recipe("The VIP on the server") + recipe(section))
    for vip in (VIP4, VIP6):
        service.vip(vip, encap, server)
    site.assert_serves(VIP4, VIP6)
    limit = 1500 - overhead(encap, server)
    site.forget_mtus()
    capture = service.topology.capture(site.client, "icmp or icmp6 or tcp")
    for vip in (VIP4, VIP6):
        site.upload(vip, 10_000_000)
    packets = capture.stop()
    told = [p for p in packets if ICMP in p and (p[ICMP].type, p[ICMP].code) == (3, 4)]
    assert {(p[IP].src, p[IP].dst, p[ICMP].nexthopmtu) for p in told} == {(VIP4, CLIENTS[0], limit)}
    told = [p for p in packets if ICMPv6PacketTooBig in p]
    # IPv6 promises 1280 everywhere; a tunnel of ours leaves more.
    assert {(p[IPv6].src, p[IPv6].dst, p[ICMPv6PacketTooBig].mtu) for p in told} == {(VIP6, CLIENTS[1], limit)}
    # And the client has learnt it: from then on its packets are as long as the tunnel takes.
    for family, vip in ((IP, VIP4), (IPv6, VIP6)):
        lengths = [
            p[family].len if family is IP else p[family].plen + 40
            for p in packets if family in p and TCP in p and p[family].dst == vip
        ]
        assert max(lengths) == 1500 and lengths.count(limit) > 10 * lengths.count(1500), section


@pytest.mark.parametrize("vip, server", [(VIP4, SERVER4), (VIP6, SERVER6)], ids=["ip4", "ip6"])
def test_http_by_l3dsr(service, vip, server):
    service.site.guest.run(recipe("The VIP on the server") + recipe("l3dsr"))
    service.vip(vip, "l3dsr", server, "dscp 7")
    service.site.assert_serves(vip)
    service.site.upload(vip, 10_000_000)


def test_http_by_direct_routing(service):
    service.site.guest.run(recipe("The VIP on the server"))
    service.vip(VIP4, "dr", SERVER4)
    service.vip(VIP6, "dr", SERVER6)
    service.site.assert_serves(VIP4, VIP6)
    for vip in (VIP4, VIP6):
        service.site.upload(vip, 10_000_000)


@pytest.mark.parametrize(
    "encap, vip, server", [("nat4", VIP4, SERVER4), ("nat6", VIP6, SERVER6)], ids=["nat4", "nat6"]
)
def test_http_by_nat(service, encap, vip, server):
    service.site.guest.run(recipe("nat4 and nat6"))
    service.configure(f"lb set interface {encap} in servers")
    service.vip(vip, encap, server)
    service.site.assert_serves(vip)
    service.site.upload(vip, 10_000_000)
    service.site.download(vip)


def test_no_reply_passes_the_load_balancer(service):
    service.site.guest.run(recipe("The VIP on the server") + recipe("ipip over IPv4"))
    service.vip(VIP4, "ipip", SERVER4)
    service.site.assert_serves(VIP4)
    before = service.packets_from_server()
    service.site.download(VIP4)
    assert service.packets_from_server() == before
    counted = service.daemon.vip(VIP4, 80)
    assert counted["first session packet"] >= 2 and counted["packet from existing sessions"] > 100


def test_a_lower_segment_size_lets_the_client_start_right(service):
    """With the recipe of the MTU section no packet is ever too big."""
    site = service.site
    site.guest.run(recipe("The VIP on the server") + recipe("ipip over IPv4") + recipe("MTU"))
    service.vip(VIP4, "ipip", SERVER4)
    service.vip(VIP6, "ipip", SERVER4)
    site.assert_serves(VIP4, VIP6)
    capture = service.topology.capture(site.client, "icmp or icmp6")
    site.upload(VIP4)
    site.upload(VIP6)
    assert not [p for p in capture.stop() if ICMP in p or ICMPv6PacketTooBig in p]


def test_varying_outer_sources(service):
    """`ip4-src-entropy`: the recipe for any source takes them, and only them."""
    site = service.site
    site.guest.run(recipe("The VIP on the server") + recipe("Any tunnel source"))
    service.daemon.cli("lb conf ip4-src-entropy 172.16.0.0/16")
    try:
        service.vip(VIP4, "ipip", SERVER4)
        site.assert_serves(VIP4)
        site.upload(VIP4)
        site.guest.run("nft add rule inet lbsource input ip protocol 4 ip saddr 172.16.0.0/16 drop")
        assert site.who(VIP4, check=False) is None, "the outer source is another"
    finally:
        service.daemon.cli("lb conf ip4-src-entropy off")


def test_the_daemon_finds_a_server_that_moves_to_ipv6(service):
    """Two servers of one VIP may be reached by different outer families."""
    site = service.site
    site.guest.run(
        recipe("The VIP on the server") + recipe("ipip over IPv4") + recipe("ipip over IPv6")
    )
    service.vip(VIP4, "ipip", SERVER4)
    prefix = f"{VIP4}/32 {PORT}"
    service.daemon.cli(f"lb as {prefix} {SERVER6}", f"lb as {prefix} {SERVER4} weight 0")
    wait_until(lambda: site.who(VIP4, check=False), 10, "served over IPv6")
    service.daemon.cli(f"lb as {prefix} {SERVER4} weight 100", f"lb as {prefix} {SERVER6} weight 0")
    site.assert_serves(VIP4)
