"""The recipes of docs/servers.md, run as they stand on Debian's kernel in a virtual machine.

Here a stand-in takes the load balancer's part, so that these tests say whether the recipes are right
whatever Sluice does. The same recipes with Sluice itself are in test_tunnels.py.
"""

import hashlib
import time

import pytest
from conftest import REPO
from encapsulator import OVERHEAD, Encapsulator
from guest import CommandFailed, Guest
from guest_image import blob
from scapy.layers.l2 import ARP, Ether
from topology import wait_until

VIP4, VIP6 = "10.10.2.2", "2001:db8:2::2"
SERVER4, SERVER6 = "192.168.1.1", "2001:db8:1::1"
LB4, LB6 = "192.168.1.254", "2001:db8:1::ffff"


def recipe(heading):
    """The command block below a heading of docs/servers.md."""
    text = (REPO / "docs/servers.md").read_text()
    assert f"\n## {heading}\n" in text, f"docs/servers.md has no section '{heading}'"
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return section.split("```sh\n", 1)[1].split("```", 1)[0]


# Method of the stand-in, section of the manual, the server's address in it.
METHODS = [
    ("ipip4", "ipip over IPv4", SERVER4),
    ("ipip6", "ipip over IPv6", SERVER6),
    ("gre4", "gre4", SERVER4),
    ("gre6", "gre6", SERVER6),
    ("gue4", "gue over IPv4", SERVER4),
    ("gue4-v0", "gue over IPv4", SERVER4),
    ("gue6", "gue over IPv6", SERVER6),
    ("gue6-v0", "gue over IPv6", SERVER6),
]

# The server as it is before anybody read the manual: addresses, and a way to the clients past Sluice.
PLAIN = f"""
ip link set eth0 up
ip address add {SERVER4}/24 dev eth0
ip address add {SERVER6}/64 dev eth0 nodad
ip link set eth1 up
ip address add 10.30.0.1/24 dev eth1
ip address add 2001:db8:30::1/64 dev eth1 nodad
ip route add default via 10.30.0.254 dev eth1
ip -6 route add default via 2001:db8:30::ffff dev eth1
"""

# And back to that, between two recipes.
CLEAN = """
for device in lb4in4 lb6in4 lbin6 lbgre4 lbgre6; do ip link delete $device 2>/dev/null || true; done
ip fou del port 6080 2>/dev/null || true
ip fou del port 6080 -6 2>/dev/null || true
nft flush ruleset
ip address del 10.10.2.2/32 dev lo 2>/dev/null || true
ip address del 2001:db8:2::2/128 dev lo 2>/dev/null || true
ip route replace default via 10.30.0.254 dev eth1
ip -6 route replace default via 2001:db8:30::ffff dev eth1
sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0 net.ipv4.conf.all.rp_filter=0
"""


class Site:
    """A client, the load balancer's namespace with a kernel that forwards, and one real server."""

    def __init__(self, topology, image):
        self.topology = topology
        self.lb = topology.lb
        self.client = topology.host(
            "client", "10.10.10.1/24", "2001:db8:10::1/64", gateway=["10.10.10.254", "2001:db8:10::ffff"]
        )
        self.guest = Guest(image, topology)
        self.mac = self.guest.wire(self.lb, "server0")
        self.guest.wire(self.client, "back0")
        self.lb.enable_ipv6()
        self.client.enable_ipv6("back0")
        self.lb.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for namespace, interface, *addresses in (
            (self.lb, topology.ports["client"], "10.10.10.254/24", "2001:db8:10::ffff/64"),
            (self.lb, "server0", f"{LB4}/24", f"{LB6}/64"),
            (self.client, "back0", "10.30.0.254/24", "2001:db8:30::ffff/64"),
        ):
            namespace.run("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=0")
            for address in addresses:
                namespace.run("ip", "address", "add", address, "dev", interface)
        self.guest.start(PLAIN)
        self.guest.serve("real", port=80)

    def through(self, method, server, **options):
        """A stand-in that sends to the server by `method`."""
        return Encapsulator(
            self.lb, method, (VIP4, VIP6), LB6 if ":" in server else LB4, server,
            link=("server0", self.mac), **options,
        )

    def who(self, host, check=True):
        """Who answers at http://HOST/, and to whom."""
        answer = self.client.curl(f"http://{host}/cgi-bin/who", check=check, max_time_s=5 if check else 2)
        return answer and answer.split()[:2]


@pytest.fixture(scope="module")
def site(tmp_path_factory, guest_image):
    from topology import Topology

    topology = Topology(tmp_path_factory.mktemp("site"))
    made = None
    try:
        made = Site(topology, guest_image)
        yield made
    finally:
        if made is not None:
            made.guest.stop()
        topology.close()


@pytest.fixture
def server(site):
    """The site with a server that nobody has set up yet."""
    site.guest.run(CLEAN)
    return site


def answers_arp(namespace, interface, address):
    """Does somebody on that link say by ARP that he has the address?"""
    mac = namespace.mac(interface)
    ask = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc="0.0.0.0", pdst=address)
    with namespace.packets(interface) as wire:
        wire.send(bytes(ask))
        deadline = time.monotonic() + 1
        while (left := deadline - time.monotonic()) > 0:
            wire.settimeout(left)
            try:
                answer = Ether(wire.recv(2048))
            except TimeoutError:
                break
            if ARP in answer and answer[ARP].op == 2 and answer[ARP].psrc == address:
                return True
    return False


def assert_serves(site):
    """Both VIPs answer, and the server sees the client's own addresses."""
    for host, client in ((VIP4, "10.10.10.1"), (f"[{VIP6}]", "2001:db8:10::1")):
        wait_until(lambda host=host: site.who(host, check=False), 10, f"{host} answers")
        assert site.who(host) == ["real", client]


def upload(site, host, size=1_000_000):
    """Sends so many bytes to the server, in packets as full as the client dares."""
    content = blob()[:size]
    file = site.topology.directory / "upload"
    file.write_bytes(content)
    answer = site.client.curl(f"http://{host}/cgi-bin/upload", "--data-binary", f"@{file}", max_time_s=60)
    assert answer.split() == [hashlib.sha256(content).hexdigest(), str(size)]


def download(site, host):
    """Fetches the 10 MB file."""
    fetched = site.client.run("sh", "-c", f"curl -sS -m 60 http://{host}/10M | sha256sum", timeout=70).stdout
    assert fetched.split()[0] == hashlib.sha256(blob()).hexdigest()


@pytest.mark.parametrize("method, section, address", METHODS, ids=[m[0] for m in METHODS])
def test_the_recipe_of_each_tunnel(server, method, section, address):
    stand_in = server.through(method, address)
    try:
        assert server.who(VIP4, check=False) is None, "the server answers before it is set up"
        server.guest.run(recipe("The VIP on the server") + recipe(section))
        assert_serves(server)
        # Full-sized packets of the client do not fit into the tunnel: it learns that and goes on.
        for host in (VIP4, f"[{VIP6}]"):
            upload(server, host)
        assert stand_in.sent > 2 * 1_000_000 / 1500
    finally:
        stand_in.close()


def test_the_recipe_of_l3dsr(server):
    for address in (SERVER4, SERVER6):
        stand_in = server.through("l3dsr", address)
        try:
            host, client = (VIP4, "10.10.10.1") if "." in address else (f"[{VIP6}]", "2001:db8:10::1")
            server.guest.run(CLEAN)
            assert server.who(host, check=False) is None
            server.guest.run(recipe("The VIP on the server") + recipe("l3dsr"))
            assert server.who(host) == ["real", client]
            upload(server, host)
        finally:
            stand_in.close()


def test_the_recipe_of_dr(server):
    stand_in = server.through("dr", SERVER4)
    try:
        server.guest.run(recipe("The VIP on the server"))
        assert_serves(server)
        upload(server, VIP4, 10_000_000)
        download(server, VIP4)
        # Nobody learns from the server that it has the VIP.
        assert not answers_arp(server.lb, "server0", VIP4) and not answers_arp(server.client, "back0", VIP4)
        assert answers_arp(server.lb, "server0", SERVER4)
    finally:
        stand_in.close()


def test_arp_gives_the_vip_away_without_the_recipe(server):
    server.guest.run(f"ip address add {VIP4}/32 dev lo")
    assert answers_arp(server.client, "back0", VIP4)


def test_the_reverse_path_filter_drops_what_leaves_the_tunnel(server):
    stand_in = server.through("ipip4", SERVER4)

    def served(value):
        server.guest.run(f"sysctl -w net.ipv4.conf.lb4in4.rp_filter={value}")
        dropped = server.guest.counter("TcpExtIPReversePathFilter")
        answered = server.who(VIP4, check=False) is not None
        assert (server.guest.counter("TcpExtIPReversePathFilter") > dropped) == (not answered)
        return answered

    try:
        server.guest.run(recipe("The VIP on the server") + recipe("ipip over IPv4"))
        assert [served(value) for value in (0, 1, 2)] == [True, False, False]
        # The loose filter is content with a device that has an address.
        server.guest.run(f"ip address del {VIP4}/32 dev lo; ip address add {VIP4}/32 dev lb4in4")
        assert [served(value) for value in (0, 1, 2)] == [True, False, True]
    finally:
        stand_in.close()


def test_the_server_takes_packets_of_its_load_balancer_only(server):
    server.lb.run("ip", "address", "add", "192.168.1.253/24", "dev", "server0")
    server.guest.run(recipe("The VIP on the server") + recipe("ipip over IPv4"))
    stand_in = Encapsulator(server.lb, "ipip4", (VIP4,), "192.168.1.253", SERVER4)
    try:
        assert server.who(VIP4, check=False) is None, "the device has another remote"
        server.guest.run("ip link delete lb4in4\n" + recipe("Any tunnel source"))
        assert server.who(VIP4, check=False) is None, "the packet filter names the sources"
        server.guest.run("nft flush ruleset")
        assert server.who(VIP4)
    finally:
        stand_in.close()
        server.lb.run("ip", "address", "del", "192.168.1.253/24", "dev", "server0")


def test_the_server_can_announce_a_smaller_segment(server):
    stand_in = server.through("ipip4", SERVER4)
    try:
        server.guest.run(
            recipe("The VIP on the server") + recipe("ipip over IPv4") + recipe("MTU")
        )
        with server.client.tcp(VIP4, 80) as wire:
            assert wire.getsockopt(6, 2) <= 1440, "the client's maximum segment (TCP_MAXSEG)"
        # Nothing had to be learnt: no packet of the client was too big.
        capture = server.topology.capture(server.client, "icmp")
        server.client.run("ip", "route", "flush", "cache")
        upload(server, VIP4)
        assert len(capture.stop()) == 0
    finally:
        stand_in.close()


def test_the_recipe_of_nat_leads_back_through_the_load_balancer(server):
    server.guest.run(recipe("nat4 and nat6"))
    capture = server.topology.capture(server.client, "tcp", interface="eth0")
    for host, client in ((SERVER4, "10.10.10.1"), (f"[{SERVER6}]", "2001:db8:10::1")):
        assert server.who(host) == ["real", client]
    assert {p.type for p in capture.stop() if p.src == server.lb.mac("v1")} == {0x0800, 0x86DD}


def test_a_script_that_fails_inside_is_an_error(server):
    with pytest.raises(CommandFailed, match="nonsense"):
        server.guest.run("ls /nonsense")
    assert set(OVERHEAD) > {method for method, _, _ in METHODS}
