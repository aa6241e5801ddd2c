"""Control panics and hangs, workers panic, processes are killed: traffic goes on, or flows again by itself."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from daemon import SLUICED, Config
from supervised import Supervised
from topology import Topology, wait_until

CLIENT = Path(__file__).with_name("load_client.py")
VIP = "20.20.20.1"
SERVERS = ("31.31.31.1", "32.32.32.1")


class Box:
    """A client, two servers and a VIP; the daemon is supervised and may be broken."""

    def __init__(self, directory):
        self.topology = topology = Topology(directory)
        self.client = topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
        config = Config(buckets=16384).port("client0", topology.ports["client"], "10.10.10.254/24")
        for i, address in enumerate(SERVERS, 1):
            gateway = address[:-1] + "254"
            host = topology.host(f"server{i}", f"{address}/24", gateway=gateway)
            topology.serve(host, f"server{i}@{address}:8080")
            config.port(f"server{i}", topology.ports[f"server{i}"], f"{gateway}/24", nat4=True)
        config.add(f"""
[[vip]]
prefix = "{VIP}/32"
protocol = "tcp"
port = 2020
encap = "nat4"
type = "clusterip"
target-port = 8080
as = {json.dumps(SERVERS)}
""")
        text = str(config).replace("[unix]\n", "[unix]\ndebug-commands = true\n")
        # On tmpfs, as /run is.
        self.state = tempfile.TemporaryDirectory(prefix="sluice-supervise-", dir="/dev/shm")
        text += f'[state]\ndir = "{self.state.name}"\n'
        self.notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notes.bind(str(directory / "notify"))
        os.environ.update(NOTIFY_SOCKET=str(directory / "notify"), WATCHDOG_USEC="600000")
        try:
            self.daemon = Supervised(topology, text).start()
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]

    def answers(self):
        """Does a connection through the load balancer work?"""
        return self.client.curl(f"http://{VIP}:2020/", check=False, max_time_s=1)

    def told(self):
        """What the service manager was told since it was asked last."""
        found = []
        while True:
            try:
                found.append(self.notes.recv(100, socket.MSG_DONTWAIT).decode())
            except BlockingIOError:
                return found


def ask(connection):
    """One request on an open connection; the server's name."""
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    return connection.recv(4096).split(b"\r\n\r\n")[1].split()[0].decode()


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    made = Box(tmp_path_factory.mktemp("supervise"))
    yield made
    if made.daemon.running():
        made.daemon.stop()
    made.topology.close()
    made.state.cleanup()


def test_connections_go_on_while_control_panics(box):
    daemon = box.daemon
    wait_until(box.answers, 10, "an answer")
    load = box.client.start(
        sys.executable, CLIENT, VIP, 2020, 1500, 30, "server1", "server2", stdout=subprocess.PIPE
    )
    for place in ("command", "events", "publish"):
        status, body = daemon.api.request("POST", "/v1/cli", f"debug control panic {place}\nshow version")
        assert (status == 200) == (place != "command"), body
        assert body["results"][1]["ok"], "the other line of the batch goes on"
        if place == "publish":
            error = daemon.refused(f"lb as {VIP}/32 protocol tcp port 2020 33.33.33.1")
            assert "without this change" in error["reason"]
        time.sleep(0.1)
    assert "33.33.33.1" not in daemon.cli("show running-config")
    assert daemon.api.get("version")["control_rebuilt"] == 3
    out, _ = load.communicate(timeout=60)
    assert json.loads(out) == {
        "ok": 1500, "wrong": 0, "refused": 0, "reset": 0, "timeout": 0, "other": []
    }


def test_workers_forward_on_while_control_hangs_and_the_watchdog_tells(box):
    daemon = box.daemon
    told = box.told()
    assert "READY=1" in told and "WATCHDOG=1" in told
    hang = threading.Thread(target=lambda: daemon.api.cli("debug control hang 7"))
    hang.start()
    time.sleep(1.5)
    box.told()
    # Nothing but workers does this.
    assert box.answers()
    assert box.told() == [], "the watchdog is not fed while control hangs"
    wait_until(lambda: "control has not turned for 5 s" in daemon.tail(), 10, "the log says so")
    hang.join()
    wait_until(lambda: "WATCHDOG=1" in box.told(), 5, "control turns again")
    assert daemon.api.get("version")["control_rebuilt"] == 3
    assert box.answers()


def test_traffic_flows_again_by_itself_after_a_kill_and_a_worker_panic(box):
    daemon = box.daemon
    held = [box.client.tcp(VIP, 2020) for _ in range(8)]
    servers = [ask(connection) for connection in held]
    first = daemon.child()
    os.kill(first, signal.SIGKILL)
    second = daemon.restarted(first)
    wait_until(box.answers, 10, f"an answer after the kill; {daemon.tail()}")
    assert re.search(r"was killed by SIGKILL after [0-9.]+ s; it is started again at once", daemon.tail(60))
    try:
        daemon.api.cli("debug worker panic 0")
    except (OSError, http.client.HTTPException):
        pass
    third = daemon.restarted(second)
    assert len({first, second, third}) == 3
    wait_until(box.answers, 10, f"an answer after the panic; {daemon.tail()}")
    # With [state], connections go on through both.
    assert [ask(connection) for connection in held] == servers
    for connection in held:
        connection.close()
    assert re.search(r"was killed by SIGABRT.* it is started again in 0.5 s", daemon.tail(60))
    # The supervisor ends with its daemon, and nothing is left of any of the three.
    daemon.stop()
    assert not os.path.exists(f"/proc/{third}")
    assert "all packet buffers returned" in daemon.tail()


def test_wrong_configuration_is_not_tried_twice(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[lb]\nbuckets = 3\n")
    done = subprocess.run(
        [SLUICED, "--supervise", "--config", broken], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert done.stderr.count("broken.toml:2:11") == 1, done.stderr
