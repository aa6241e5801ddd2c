"""Links and neighbours that go away and come back, buffers that run out, floods: what is counted, and
that everything goes on afterwards. At the end of each test every packet is accounted for
(`Daemon.check_and_stop`)."""

import threading

from daemon import WALKTHROUGH, Config
from topology import wait_until

SERVERS = "GigabitEthernet0/9/0"
VIP = "http://10.10.2.2:8080"
NO_BUFFER = ("graph", "no packet buffer free to receive")
LINK_DOWN = ("interface-output", "link is down")


def link(daemon, name=SERVERS):
    return daemon.interfaces()[name]["link"]


def wait_link(daemon, state):
    wait_until(lambda: link(daemon) == state, 10, f"{SERVERS} is {state}; {daemon.tail()}")


def answered(client, url=f"{VIP}/"):
    """True when a server answers within a second."""
    return client.curl(url, check=False, max_time_s=1) is not None


def wait_answered(net, timeout_s=20):
    daemon = net.daemon
    wait_until(
        lambda: answered(net.client), timeout_s,
        f"an answer through the VIP; {daemon.cli('show interface', 'show ip neighbors')}{daemon.tail()}",
    )


def test_transfers_go_on_after_their_link_was_down(walkthrough, tmp_path):
    daemon, lb = walkthrough.daemon, walkthrough.topology.lb
    port, file, size = walkthrough.topology.ports["web"], tmp_path / "got", 30_000_000
    daemon.cli(*WALKTHROUGH)
    curl = walkthrough.client.start(
        "curl", "-sS", "-m", "30", "--limit-rate", "10M", "-o", file, f"{VIP}/bytes/{size}"
    )
    wait_until(lambda: file.exists() and file.stat().st_size > 0, 10, "the transfer has begun")
    lb.run("ip", "link", "set", port, "down")
    wait_link(daemon, "down")
    assert "  link down" in daemon.cli(f"show interface {SERVERS}")
    assert not answered(walkthrough.client)
    assert daemon.errors()[LINK_DOWN] > 0
    assert link(daemon, "client0") == "up" and walkthrough.client.ping("10.10.10.254", count=1) == 1
    lb.run("ip", "link", "set", port, "up")
    wait_link(daemon, "up")
    assert curl.wait(30) == 0
    assert file.read_bytes() == b"x" * size


def test_an_interface_that_is_made_anew_is_opened_anew(walkthrough):
    daemon, topology, web = walkthrough.daemon, walkthrough.topology, walkthrough.web
    daemon.cli(*WALKTHROUGH)
    wait_answered(walkthrough)
    before = daemon.interfaces()[SERVERS]["counters"]["tx_packets"]
    for _ in range(2):
        topology.lb.run("ip", "link", "delete", topology.ports["web"])
        wait_link(daemon, "lost")
        assert not answered(walkthrough.client)
        assert walkthrough.client.ping("10.10.10.254", count=1) == 1
        topology.wire(web, "web", "192.168.1.1/24", "192.168.1.3/24", gateway="192.168.1.254")
        wait_link(daemon, "up")
        wait_answered(walkthrough)
    assert daemon.interfaces()[SERVERS]["counters"]["tx_packets"] > before
    assert "restart needed" not in daemon.log.read_text()


def test_a_neighbor_comes_back_with_another_address(walkthrough):
    daemon, web = walkthrough.daemon, walkthrough.web
    daemon.cli(*WALKTHROUGH)
    wait_answered(walkthrough)
    web.run("ip", "link", "set", "eth0", "down")
    wait_link(daemon, "down")
    web.run("ip", "link", "set", "eth0", "address", "02:00:00:00:77:77")
    web.run("ip", "link", "set", "eth0", "up")
    web.run("ip", "route", "add", "default", "via", "192.168.1.254")
    wait_answered(walkthrough)
    assert "02:00:00:00:77:77" in daemon.cli("show ip neighbors")


class Net:
    """The walk-through's network with few packet buffers."""

    def __init__(self, topology, daemons):
        self.client = topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
        web = topology.host("web", "192.168.1.1/24", "192.168.1.3/24", gateway="192.168.1.254")
        topology.serve(web, "web-1@192.168.1.1:80", "web-3@192.168.1.3:80")
        config = Config()
        config.parts[config.parts.index("buffers-per-numa = 16384")] = "buffers-per-numa = 1024"
        config.port(SERVERS, topology.ports["web"], "192.168.1.254/24")
        config.port("client0", topology.ports["client"], "10.10.10.254/24")
        self.daemon = daemons(config)
        self.daemon.warm(self.client, "192.168.1.1", "192.168.1.3")
        self.daemon.cli(*WALKTHROUGH)


def test_buffers_run_out_and_come_back(topology, daemons):
    net = Net(topology, daemons)
    wait_answered(net)
    # Hosts that are not there: packets for each are held for a while.
    with net.client.udp() as udp:
        for _ in range(22):
            for host in range(100, 130):
                udp.sendto(b"x" * 200, (f"192.168.1.{host}", 9))

    # The driver does not say that it found none: the worker does.
    wait_until(lambda: net.daemon.errors().get(NO_BUFFER), 10, "no buffer was free")
    assert net.daemon.api.get("balance")["lost_before"]["starved_looks"] > 0
    wait_answered(net)
    terms = wait_until(
        lambda: (terms := net.daemon.balance())["held"] == 0 and terms, 10, "nothing is held any more"
    )
    assert terms["dropped"] > 500


def arp_request(n):
    """Somebody asks for us, from an address and a station of its own."""
    station = bytes([2, 0, 0, 9, n >> 8 & 255, n & 255])
    sender, target = bytes([10, 10, 10, 2 + n % 250]), bytes([10, 10, 10, 254])
    body = bytes.fromhex("0001080006040001") + station + sender + bytes(6) + target
    return b"\xff" * 6 + station + b"\x08\x06" + body


def test_a_flood_of_strangers_leaves_traffic_and_control_alone(walkthrough):
    daemon, client = walkthrough.daemon, walkthrough.client
    daemon.cli(*WALKTHROUGH)
    wait_answered(walkthrough)
    ended = threading.Event()

    def flood():
        with client.packets() as wire:
            frames = [arp_request(n) for n in range(5000)]
            while not ended.is_set():
                for frame in frames:
                    wire.send(frame)

    sender = threading.Thread(target=flood)
    sender.start()
    try:
        wait_until(
            lambda: daemon.errors().get(("graph", "neighbor event rate limit exceeded"), 0) > 0,
            20, "the flood is more than is told",
        )
        for _ in range(10):
            assert client.curl(f"{VIP}/", max_time_s=5).startswith("web-")
            assert "#vips: 1" in daemon.cli("show lb")
    finally:
        ended.set()
        sender.join()
    assert len(daemon.api.get("neighbors")["neighbors"]) < 300
