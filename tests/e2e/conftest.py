"""Fixtures: one topology and one daemon for each test that asks for them."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import scapy.layers.inet  # noqa: E402,F401  (rdpcap knows Ethernet and IP only once these are in)
import scapy.layers.l2  # noqa: E402,F401
from daemon import REPO, SLUICECTL, SLUICED, Config, Daemon  # noqa: E402
from guest import Guest  # noqa: E402
from guest_image import GuestImage  # noqa: E402
from topology import Topology, run  # noqa: E402


def pytest_sessionstart(session):
    # A shell's background job starts with SIGINT ignored, and so would every program of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests make network namespaces: run them as root", 3)
    for program in (SLUICED, SLUICECTL):
        if not program.exists():
            pytest.exit(f"{program} is missing: run ./test.sh e2e, or set SLUICE_BIN_DIR", 3)
    remove_leftovers()


def remove_leftovers():
    """Namespaces of earlier runs that were killed: ours by name, and their process is gone."""
    for line in run("ip", "netns", "list").stdout.splitlines():
        name = line.split()[0]
        parts = name.split("-")
        if parts[0] == "sluice" and len(parts) > 2 and parts[1].isdigit():
            if not os.path.exists(f"/proc/{parts[1]}"):
                for pid in run("ip", "netns", "pids", name, check=False).stdout.split():
                    os.kill(int(pid), 9)
                run("ip", "netns", "delete", name, check=False)


@pytest.fixture(scope="session", autouse=True)
def hugepages():
    """256 MB of hugepages for the session where they can be had; all is put back at its end."""
    nodes = Path("/sys/devices/system/node").glob("node*/hugepages/hugepages-2048kB/nr_hugepages")
    before = {file: file.read_text() for file in nodes}
    mounted = os.path.ismount("/dev/hugepages")
    run(
        REPO / "hugepages-setup.sh", "--at-least", "-p", "2M", "-r", "256M", "-m", check=False
    )
    yield
    for file, pages in before.items():
        file.write_text(pages)
    if not mounted and os.path.ismount("/dev/hugepages"):
        run("umount", "/dev/hugepages", check=False)


@pytest.fixture(scope="session")
def guest_image(tmp_path_factory):
    """What virtual servers boot from; made when the first test asks for it."""
    return GuestImage(tmp_path_factory.mktemp("image"))


@pytest.fixture
def guests(topology, guest_image):
    """Makes virtual servers: `guests()`; wire and start them. They end with the test."""
    made = []

    def make(**options):
        made.append(Guest(guest_image, topology, name=f"guest{len(made) + 1}", **options))
        return made[-1]

    yield make
    for guest in made:
        guest.stop()


@pytest.fixture
def topology(tmp_path):
    """An empty topology with the namespace `lb`."""
    made = Topology(tmp_path)
    yield made
    made.close()


@pytest.fixture
def daemons(topology):
    """Starts daemons: `daemons(config)`. Each must pass `check_and_stop` at the end of the test."""
    started = []

    def start(config):
        daemon = Daemon(topology, str(config))
        started.append(daemon)
        return daemon.start()

    yield start
    # A test that ended its daemon itself has set `process` to None.
    for daemon in started:
        if daemon.process is not None:
            try:
                daemon.check_and_stop()
            finally:
                if daemon.running():
                    daemon.kill()


class Walkthrough:
    """The VPP documentation's network: a client, and 192.168.1.1 and .3 behind the LB."""

    VIP = "10.10.2.2"

    def __init__(self, topology, daemons, workers=1, queues=1, **lb):
        self.client = topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
        self.web = topology.host("web", "192.168.1.1/24", "192.168.1.3/24", gateway="192.168.1.254")
        topology.serve(self.web, "web-1@192.168.1.1:80", "web-3@192.168.1.3:80")
        ports = topology.ports
        config = Config(workers, **lb)
        config.port("GigabitEthernet0/9/0", ports["web"], "192.168.1.254/24", queues=queues)
        config.port("client0", ports["client"], "10.10.10.254/24", queues=queues)
        self.topology = topology
        self.daemon = daemons(config)
        self.daemon.warm(self.client, "192.168.1.1", "192.168.1.3")

    def get(self, path="/", **options):
        """One request to the VIP; returns (server, client address, client port)."""
        body = self.client.curl(f"http://{self.VIP}:8080{path}", **options)
        server, address, port = body.split()
        return server, address, int(port)


class Farm:
    """The demo's network: a client and three servers, each on a link of its own."""

    VIPS = ("20.20.20.1", "10.10.10.254")
    SERVERS = ("server1", "server2", "server3")

    def __init__(self, topology, daemons, configure=True, **lb):
        self.topology = topology
        self.client = topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
        self.servers = {}
        config = Config(**lb).port("client0", topology.ports["client"], "10.10.10.254/24")
        for i, name in enumerate(self.SERVERS, 1):
            net = f"3{i}.3{i}.3{i}"
            host = topology.host(name, f"{net}.1/24", gateway=f"{net}.254")
            topology.serve(host, f"{name}@{net}.1:8080")
            self.servers[f"{net}.1"] = host
            config.port(name, topology.ports[name], f"{net}.254/24", nat4=True)
        self.addresses = list(self.servers)
        self.daemon = daemons(config)
        self.daemon.warm(self.client, *self.addresses)
        if configure:
            for vip in self.VIPS:
                self.daemon.cli(
                    f"lb vip {vip}/32 protocol tcp port 2020 encap nat4 type clusterip target_port 8080",
                    f"lb as {vip}/32 protocol tcp port 2020 {' '.join(self.addresses)}",
                )


class Farm6:
    """A client and three servers, each on a link of its own, without any IPv4."""

    CLIENT, GATEWAY = "2001:db8:10::1", "2001:db8:10::ffff"
    SERVERS = {f"2001:db8:3{i}::1": f"server{i}" for i in (1, 2, 3)}

    def __init__(self, topology, daemons):
        self.topology = topology
        self.client = topology.host("client", f"{self.CLIENT}/64", gateway=self.GATEWAY)
        config = Config().port("client0", topology.ports["client"], f"{self.GATEWAY}/64")
        self.servers = {}
        for address, name in self.SERVERS.items():
            gateway = address[:-1] + "ffff"
            host = self.servers[name] = topology.host(name, f"{address}/64", gateway=gateway)
            topology.serve(host, f"{name}@{address}:8080")
            topology.serve(host, f"{name}@{address}:8053", protocol="udp")
            config.port(name, topology.ports[name], f"{gateway}/64")
        self.daemon = daemons(config)
        self.daemon.warm(self.client, *self.SERVERS)


@pytest.fixture
def walkthrough(topology, daemons):
    """The walk-through's network with the daemon running, and no VIP yet."""
    return Walkthrough(topology, daemons)


@pytest.fixture
def farm(topology, daemons):
    """The demo's network with two VIPs over three servers."""
    return Farm(topology, daemons)
