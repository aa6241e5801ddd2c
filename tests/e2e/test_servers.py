"""The recipes of docs/servers.md, run as they stand on Debian's kernel in a virtual machine.

Here a stand-in takes the load balancer's part, so that these tests say whether the recipes are right
whatever Sluice does. The same recipes with Sluice itself are in test_tunnels.py.
"""

import time

import pytest
from daemon import own_topology
from encapsulator import OVERHEAD, Encapsulator
from guest import CommandFailed
from scapy.layers.l2 import ARP, Ether
from site_with_guest import CLEAN, SERVER4, SERVER6, VIP4, VIP6, Site, host_of, recipe

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

@pytest.fixture(scope="module")
def site(tmp_path_factory, guest_image):
    with own_topology(tmp_path_factory.mktemp("site")) as (topology, _):
        made = Site(topology, guest_image)
        made.kernel_forwards()
        yield made
        made.close()


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


@pytest.mark.parametrize("method, section, address", METHODS, ids=[m[0] for m in METHODS])
def test_the_recipe_of_each_tunnel(server, method, section, address):
    stand_in = server.through(method, address)
    try:
        assert server.who(VIP4, check=False) is None, "the server answers before it is set up"
        server.guest.run(recipe("The VIP on the server") + recipe(section))
        server.assert_serves(VIP4, VIP6)
        # Full-sized packets of the client do not fit into the tunnel: it learns that and goes on.
        for vip in (VIP4, VIP6):
            server.upload(vip)
        assert stand_in.sent > 2 * 1_000_000 / 1500
    finally:
        stand_in.close()


def test_the_recipe_of_l3dsr(server):
    for address in (SERVER4, SERVER6):
        stand_in = server.through("l3dsr", address)
        try:
            vip = VIP6 if ":" in address else VIP4
            server.guest.run(CLEAN)
            assert server.who(host_of(vip), check=False) is None
            server.guest.run(recipe("The VIP on the server") + recipe("l3dsr"))
            server.assert_serves(vip)
            server.upload(vip)
        finally:
            stand_in.close()


def test_the_recipe_of_dr(server):
    stand_in = server.through("dr", SERVER4)
    try:
        server.guest.run(recipe("The VIP on the server"))
        server.assert_serves(VIP4, VIP6)
        server.upload(VIP4, 10_000_000)
        server.download(VIP4)
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
        server.forget_mtus()
        server.upload(VIP4)
        assert len(capture.stop()) == 0
    finally:
        stand_in.close()


def test_the_recipe_of_nat_leads_back_through_the_load_balancer(server):
    server.guest.run(recipe("nat4 and nat6"))
    capture = server.topology.capture(server.client, "tcp", interface="eth0")
    server.assert_serves(SERVER4, SERVER6)
    assert {p.type for p in capture.stop() if p.src == server.lb.mac("v1")} == {0x0800, 0x86DD}


def test_a_script_that_fails_inside_is_an_error(server):
    with pytest.raises(CommandFailed, match="nonsense"):
        server.guest.run("ls /nonsense")
    assert set(OVERHEAD) > {method for method, _, _ in METHODS}


def test_what_the_line_to_a_server_loses_is_said_again(server, monkeypatch):
    count, line = "echo x >>/tmp/runs; wc -l </tmp/runs", server.guest._line
    lost = iter([True, True])

    def losing(timeout_s, wanted=None):
        return line(timeout_s, wanted)[next(lost, False):]

    assert server.guest.run(count) == "1\n"
    with monkeypatch.context() as patch:
        patch.setattr(server.guest, "_line", losing)
        assert server.guest.run(count) == "2\n", "it ran once"
    server.guest.process.stdin.write(b"half a comm\n")
    assert server.guest._line(30) == b"unclear"
    assert server.guest.run(count) == "3\n"
