"""Clients that misuse the daemon's socket: memory stays bounded, and others are served."""

import contextlib
import re
import socket
import subprocess
import time

import pytest
from conftest import Walkthrough
from daemon import SLUICECTL, own_topology
from topology import wait_until

# The budgets for bodies and answers, one answer that is being made, and buffers of connections.
MOST_GROWTH_MB = 512
# Chunks of what is sent.
CHUNK = b"x" * 65536


@pytest.fixture(scope="module")
def walkthrough(tmp_path_factory):
    with own_topology(tmp_path_factory.mktemp("abuse")) as (topology, daemons):
        yield Walkthrough(topology, daemons)


def resident_mb(daemon):
    """Memory of the daemon that is in memory, less what it shares with DPDK's files."""
    with open(f"/proc/{daemon.process.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1024


class Abuse:
    """A daemon whose socket is misused: connections that stay, memory, and whether others are served."""

    def __init__(self, daemon, stack):
        self.daemon, self.stack = daemon, stack
        self.before = resident_mb(daemon)

    def connect(self):
        client = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(5)
        client.connect(str(self.daemon.socket))
        return client

    def send(self, client, data):
        """Sends as far as the daemon takes it."""
        with contextlib.suppress(OSError):
            client.sendall(data)

    def others_are_served(self):
        done = subprocess.run(
            [SLUICECTL, "-s", self.daemon.socket, "show", "version"],
            capture_output=True, text=True, timeout=20,
        )
        assert done.returncode == 0 and done.stdout.startswith("sluice v"), done.stdout + done.stderr
        grown = resident_mb(self.daemon) - self.before
        assert grown < MOST_GROWTH_MB, f"{grown:.0f} MB more than before"


@pytest.fixture
def abuse(walkthrough, tmp_path):
    """The abuse of one test. Packets are forwarded on meanwhile, every one."""
    said = tmp_path / "ping"

    def answered():
        """The numbers of the packets that were answered."""
        return [int(number) for number in re.findall(r"bytes from .* icmp_seq=(\d+)", said.read_text())]

    with said.open("w") as out:
        pings = walkthrough.client.start("ping", "-i", "0.02", "192.168.1.1", stdout=out, stderr=out)
    wait_until(answered, 10, f"the first answer in {said}")
    with contextlib.ExitStack() as stack:
        yield Abuse(walkthrough.daemon, stack)
    before = len(answered())
    wait_until(lambda: len(answered()) > before, 10, f"one more answer in {said}")
    pings.kill()
    pings.wait(timeout=10)
    # Whatever came after the last answer may be on its way.
    numbers = answered()
    assert sorted(numbers) == list(range(1, max(numbers) + 1)), said.read_text()


def test_a_thousand_connections(abuse):
    for number in range(1000):
        abuse.connect()
        if number % 250 == 249:
            abuse.others_are_served()


def test_half_sent_requests(abuse):
    halves = (
        b"GET /v1/ver",
        b"POST /v1/cli HTTP/1.1\r\n",
        b"POST /v1/cli HTTP/1.1\r\nContent-Length: 1000\r\n\r\nshow",
        b"POST /v1/cli HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsh",
    )
    for number in range(200):
        abuse.send(abuse.connect(), halves[number % len(halves)])
    abuse.others_are_served()


def test_a_line_of_a_hundred_megabytes(abuse):
    for head in (
        b"",
        b"GET /",
        b"POST /v1/cli HTTP/1.1\r\nContent-Length: 104857600\r\n\r\n",
        b"POST /v1/cli HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6400000\r\n",
    ):
        client = abuse.connect()
        with contextlib.suppress(OSError):
            client.sendall(head)
            for _ in range(1600):
                client.sendall(CHUNK)
        abuse.others_are_served()


def test_large_bodies_that_never_end(abuse):
    head = b"POST /v1/cli HTTP/1.1\r\nContent-Length: 16000000\r\n\r\n"
    for _ in range(40):
        client = abuse.connect()
        abuse.send(client, head + CHUNK * 200)
    abuse.others_are_served()


def test_slow_clients(abuse):
    clients = [abuse.connect() for _ in range(60)]
    request = b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
    for byte in request[:12]:
        for client in clients:
            abuse.send(client, bytes([byte]))
        abuse.others_are_served()


def test_binary_junk(abuse):
    state = 1
    for number in range(200):
        junk = bytearray()
        for _ in range(500):
            state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
            junk += (state >> 32).to_bytes(4, "big")
        if number % 2:
            # Bytes 1 to 127 are text, and commands of a kind.
            body = bytes(byte & 0x7F or 1 for byte in junk)
            junk = b"POST /v1/cli HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        abuse.send(abuse.connect(), bytes(junk))
    abuse.others_are_served()


def test_clients_that_never_read(abuse):
    body = b"help\n" * 4000
    request = b"POST /v1/cli HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    for _ in range(24):
        abuse.send(abuse.connect(), request)
    for _ in range(5):
        abuse.others_are_served()
        time.sleep(0.2)
