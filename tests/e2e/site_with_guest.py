"""One client, one load balancer, and one real server that is set up by the recipes of docs/servers.md."""

import hashlib

from daemon import REPO
from encapsulator import Encapsulator
from guest import Guest
from guest_image import blob
from topology import wait_until

VIP4, VIP6 = "10.10.2.2", "2001:db8:2::2"
SERVER4, SERVER6 = "192.168.1.1", "2001:db8:1::1"
LB4, LB6 = "192.168.1.254", "2001:db8:1::ffff"
CLIENTS = ("10.10.10.1", "2001:db8:10::1")


def host_of(address):
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def recipe(heading):
    """The command block below a heading of docs/servers.md."""
    text = (REPO / "docs/servers.md").read_text()
    assert f"\n## {heading}\n" in text, f"docs/servers.md has no section '{heading}'"
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return section.split("```sh\n", 1)[1].split("```", 1)[0]


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
    """A client, the load balancer's namespace, and one real server: replies go straight to the client.

    The client reaches the load balancer by `eth0`; the server has `eth0` towards the load balancer
    (interface `server0` of its namespace) and `eth1`, the other end of which is the client's `back0`.
    """

    def __init__(self, topology, image):
        self.topology = topology
        self.lb = topology.lb
        self.client = topology.host(
            "client", "10.10.10.1/24", "2001:db8:10::1/64", gateway=["10.10.10.254", "2001:db8:10::ffff"]
        )
        self.guest = Guest(image, topology)
        self.mac = self.guest.wire(self.lb, "server0")
        self.guest.wire(self.client, "back0")
        self.client.enable_ipv6("back0")
        for address in ("10.30.0.254/24", "2001:db8:30::ffff/64"):
            self.client.run("ip", "address", "add", address, "dev", "back0")
        self.guest.start(PLAIN)
        self.guest.serve("real", port=80)

    def close(self):
        self.guest.stop()

    def kernel_forwards(self):
        """The kernel of the load balancer's namespace has its addresses, and forwards."""
        self.lb.enable_ipv6()
        self.lb.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for interface, *addresses in (
            (self.topology.ports["client"], "10.10.10.254/24", "2001:db8:10::ffff/64"),
            ("server0", f"{LB4}/24", f"{LB6}/64"),
        ):
            self.lb.run("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=0")
            for address in addresses:
                self.lb.run("ip", "address", "add", address, "dev", interface)

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

    def assert_serves(self, *vips):
        """Every VIP answers, and the server sees the client's own address."""
        for vip in vips:
            host, client = host_of(vip), CLIENTS[":" in vip]
            wait_until(lambda host=host: self.who(host, check=False), 10, f"{host} answers")
            assert self.who(host) == ["real", client]

    def upload(self, vip, size=1_000_000):
        """Sends so many bytes to the server, in packets as full as the client dares."""
        content = blob()[:size]
        file = self.topology.directory / "upload"
        file.write_bytes(content)
        url = f"http://{host_of(vip)}/cgi-bin/upload"
        answer = self.client.curl(url, "--data-binary", f"@{file}", max_time_s=60)
        assert answer.split() == [hashlib.sha256(content).hexdigest(), str(size)]

    def download(self, vip):
        """Fetches the 10 MB file."""
        command = f"curl -sS -m 60 http://{host_of(vip)}/10M | sha256sum"
        fetched = self.client.run("sh", "-c", command, timeout=70).stdout
        assert fetched.split()[0] == hashlib.sha256(blob()).hexdigest()

    def forget_mtus(self):
        """The client forgets what it has learnt about paths."""
        self.client.run("ip", "route", "flush", "cache")
        self.client.run("ip", "-6", "route", "flush", "cache")
