"""Two workers, two queues on each port: replies arrive on the other worker than the request."""

import pytest
from conftest import Walkthrough
from daemon import WALKTHROUGH


@pytest.fixture
def walkthrough(topology, daemons):
    """Overrides the fixture: the kernel spreads each port's packets over two queues."""
    return Walkthrough(topology, daemons, workers=2, queues=2)


def test_every_connection_works_whichever_worker_its_replies_reach(walkthrough):
    daemon, client = walkthrough.daemon, walkthrough.client
    daemon.cli(*WALKTHROUGH)
    assert len(daemon.api.get("threads")["threads"]) == 3
    connections = 200
    ports = set()
    for _ in range(connections):
        with client.tcp(walkthrough.VIP, 8080) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            body = connection.recv(4096).split(b"\r\n\r\n")[1]
            server, address, port = body.decode().split()
            assert server in ("web-1", "web-3") and address == "10.10.10.1"
            assert int(port) == connection.getsockname()[1]
            ports.add(int(port))
    assert len(ports) == connections
    counters = daemon.vip(walkthrough.VIP, 8080)
    assert counters["first session packet"] == connections
    assert counters["untracked packet"] == 0
    # Both workers carried both directions, or this would prove nothing.
    calls = {
        thread["name"]: {node["name"]: node["vectors"] for node in thread["nodes"]}
        for thread in daemon.api.get("runtime")["threads"]
    }
    workers = [nodes for nodes in calls.values() if nodes.get("lb-express")]
    assert len(workers) == 2, calls
    reason = "good nat4 in2out packets processed"
    assert daemon.errors()["lb-express", reason] > 0


def test_a_long_transfer_across_two_workers(walkthrough):
    walkthrough.daemon.cli(*WALKTHROUGH)
    body = walkthrough.client.curl(f"http://{walkthrough.VIP}:8080/bytes/2000000", max_time_s=30)
    assert len(body) == 2_000_000


def test_two_vips_on_one_server_port_with_replies_on_the_other_worker(walkthrough):
    """Shared AS and port: the reverse translation needs the flow, which the other worker owns."""
    walkthrough.daemon.cli(
        *WALKTHROUGH,
        "lb vip 10.10.2.3/32 protocol tcp port 9090 encap nat4 type clusterip target_port 80",
        "lb as 10.10.2.3/32 protocol tcp port 9090 192.168.1.1 192.168.1.3",
    )
    for _ in range(50):
        for address, port in (("10.10.2.2", 8080), ("10.10.2.3", 9090)):
            body = walkthrough.client.curl(f"http://{address}:{port}/")
            assert body.split()[1] == "10.10.10.1"
