"""Flows outlive the daemon: connections with checked payload over a kill -9 and a clean stop."""

import hashlib
import os
import shutil
import socket
import threading
import uuid
from pathlib import Path

import pytest
from daemon import Config
from topology import run, wait_until

VIP, PORT, TARGET = "20.20.20.1", 2020, 8081
CONNECTIONS = 16


class Echo:
    """A server in a namespace: greets with its name, then sends back what it gets."""

    def __init__(self, host, name, address):
        self.name = name.encode() + b"\n"
        self.listener = host.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, TARGET))
        self.listener.listen(64)
        self.listener.settimeout(None)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            connection.sendall(self.name)
            while data := connection.recv(65536):
                connection.sendall(data)


class Held:
    """A connection through the VIP, and who serves it."""

    def __init__(self, client):
        self.connection = client.tcp(VIP, PORT)
        self.connection.settimeout(15)
        self.server = self.connection.makefile("rb").readline().strip().decode()
        self.port = self.connection.getsockname()[1]

    def exchange(self):
        """Sends random octets and gets the same back."""
        sent = os.urandom(5000)
        self.connection.sendall(sent)
        got = b""
        while len(got) < len(sent):
            data = self.connection.recv(65536)
            assert data, f"the connection to {self.server} was closed"
            got += data
        assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()


class Site:
    """A client, three servers each on a link of its own, and a daemon that keeps state."""

    def __init__(self, topology, daemons, directory):
        self.client = topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
        self.config = Config().port("client0", topology.ports["client"], "10.10.10.254/24")
        self.servers, self.echoes = {}, []
        for i in (1, 2, 3):
            name, net = f"server{i}", f"3{i}.3{i}.3{i}"
            host = topology.host(name, f"{net}.1/24", gateway=f"{net}.254")
            self.echoes.append(Echo(host, name, f"{net}.1"))
            self.servers[name] = f"{net}.1"
            self.config.port(name, topology.ports[name], f"{net}.254/24", nat4=True)
        self.directory = directory
        self.daemon = daemons(self.text("server1", "server2"))
        self.daemon.warm(self.client, *self.servers.values())

    def text(self, *names, drain=()):
        """The configuration file with these servers behind the VIP, of which some drain."""
        admin = {name: "drain" if name in drain else "up" for name in names}
        servers = ", ".join(
            f'{{ address = "{self.servers[name]}", admin = "{admin[name]}" }}' for name in names
        )
        return (
            f'{self.config}[state]\ndir = "{self.directory}"\n'
            f'[[vip]]\nprefix = "{VIP}/32"\nprotocol = "tcp"\nport = {PORT}\nencap = "nat4"\n'
            f"target-port = {TARGET}\nas = [{servers}]\n"
        )

    def configure(self, *names, drain=()):
        """Changes the file for the next start."""
        text = self.text(*names, drain=drain).replace("@SOCKET@", str(self.daemon.socket))
        self.daemon.config.write_text(text)

    def state(self):
        return self.daemon.api.get("lb")["state"]

    def way(self, held):
        """Why a connection goes where, and the server's address."""
        flow = self.daemon.api.get(f"lb/flow/10.10.10.1/{held.port}/{VIP}/{PORT}/tcp")
        return flow["why"], flow["as"]["address"]

    def check(self, connections):
        """All connections go on, and none is new to the daemon."""
        for held in connections:
            held.exchange()
            assert self.way(held) == ("sticky", self.servers[held.server])
        counters = self.daemon.vip(VIP, PORT)
        assert counters["first session packet"] == 0, counters

    def close(self):
        for echo in self.echoes:
            echo.listener.close()


@pytest.fixture
def memory():
    """A directory on tmpfs that is not there yet."""
    path = Path(f"/dev/shm/sluice-e2e-{uuid.uuid4().hex}")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_connections_are_held_over_kill_and_restart(topology, daemons, memory):
    site = Site(topology, daemons, memory)
    daemon = site.daemon
    assert site.state()["not_used"] == "the directory is new"
    connections = [Held(site.client) for _ in range(CONNECTIONS)]
    assert {held.server for held in connections} == {"server1", "server2"}
    for held in connections:
        held.exchange()

    # Another set of servers: the new-flow table alone would give flows of the first another one.
    site.configure("server2", "server3")
    daemon.kill()
    daemon.start()
    state = site.state()
    assert state["kept"] and "not_used" not in {k for k, v in state.items() if v}, state
    assert state["restored"] >= CONNECTIONS and state["torn"] == 0, state
    site.check(connections)
    gone = daemon.vip(VIP, PORT)["as"][site.servers["server1"]]
    assert gone["state"] == "removed" and gone["flows"] > 0
    # New ones go to the new set.
    fresh = [Held(site.client) for _ in range(CONNECTIONS)]
    assert {held.server for held in fresh} == {"server2", "server3"}
    connections += fresh

    site.configure("server2", "server3", drain=["server2"])
    daemon.stop()
    daemon.start()
    assert site.state()["restored"] >= 2 * CONNECTIONS
    site.check(connections)
    assert {Held(site.client).server for _ in range(4)} == {"server3"}, "the other one drains"

    # Without the directory everything is new, and what was held goes where the table says.
    daemon.stop()
    shutil.rmtree(memory)
    daemon.start()
    assert site.state()["not_used"] == "the directory is new"
    ways = [site.way(held) for held in connections]
    # A kernel that sends again what a stop has lost makes its flow known before we ask.
    assert "table" in {why for why, _ in ways} <= {"table", "sticky"}
    moved = [held for held, (_, now) in zip(connections, ways) if now != site.servers[held.server]]
    assert moved, "the test has shown nothing"
    site.close()


@pytest.fixture
def huge(tmp_path):
    """A file system of huge pages."""
    mount = tmp_path / "huge"
    mount.mkdir()
    run("mount", "-t", "hugetlbfs", "-o", "mode=0700,pagesize=2M", "none", mount)
    yield mount
    run("umount", "-l", mount)


def test_state_on_hugetlbfs(topology, daemons, huge):
    free = int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    if free < 64:
        pytest.skip(f"only {free} huge pages are free here")
    site = Site(topology, daemons, huge)
    held = Held(site.client)
    held.exchange()
    assert site.daemon.api.get("lb")["workers"][0]["pages"] == "huge"
    site.daemon.kill()
    # A second one would take pages that the first one has left to us.
    wait_until(lambda: (huge / "directory").exists(), 5, "the directory")
    site.daemon.start()
    assert site.state()["restored"] >= 1
    site.check([held])
    site.close()
