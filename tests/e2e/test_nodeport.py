"""`type nodeport`: the service at every address of the load balancer, TCP and UDP (VPP: UDP only)."""

import pytest
from daemon import Config

VIP, NODE_PORT = "20.20.20.9", 30080
SERVERS = {f"3{i}.3{i}.3{i}.1": f"server{i}" for i in (1, 2, 3)}
OWN = ("10.10.10.254", "31.31.31.254", "33.33.33.254")


@pytest.fixture
def farm(topology, daemons):
    client = topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
    config = Config().port("client0", topology.ports["client"], "10.10.10.254/24")
    for address, name in SERVERS.items():
        gateway = address[:-1] + "254"
        host = topology.host(name, f"{address}/24", gateway=gateway)
        topology.serve(host, f"{name}@{address}:8080")
        topology.serve(host, f"{name}@{address}:8053", protocol="udp")
        config.port(name, topology.ports[name], f"{gateway}/24", nat4=True)
    daemon = daemons(config)
    daemon.warm(client, *SERVERS)
    for protocol, port, target in (("tcp", 80, 8080), ("udp", 53, 8053)):
        key = f"{VIP}/32 protocol {protocol} port {port}"
        daemon.cli(
            f"lb vip {key} encap nat4 type nodeport node_port {NODE_PORT} target_port {target}",
            f"lb as {key} {' '.join(SERVERS)}",
        )
    return client, daemon


def test_tcp_at_every_address(farm):
    client, _ = farm
    for address, port in ((VIP, 80), *((own, NODE_PORT) for own in OWN)):
        answers = []
        # Chance decides who answers: after 60 requests it has left nobody out.
        while {a[0] for a in answers} != set(SERVERS.values()) and len(answers) < 60:
            answers.append(client.curl(f"http://{address}:{port}/").split())
        assert {a[0] for a in answers} == set(SERVERS.values()), address
        assert {a[1] for a in answers} == {"10.10.10.1"}


def test_udp_at_every_address(farm):
    client, _ = farm
    for address, port in ((VIP, 53), *((own, NODE_PORT) for own in OWN)):
        answers = set()
        for i in range(12):
            with client.udp() as query:
                query.sendto(b"question %d" % i, (address, port))
                data, sender = query.recvfrom(2048)
                # The reply leaves from the address the client used.
                assert sender == (address, port)
                assert data.endswith(b"question %d" % i)
                answers.add(data.split()[0].decode())
        assert len(answers) > 1, address


def test_other_ports_stay_closed(farm):
    client, daemon = farm
    before = daemon.api.get("lb/vips")["vips"]
    for address, port in ((OWN[0], 80), (OWN[0], NODE_PORT + 1), (VIP, NODE_PORT)):
        assert client.curl(f"http://{address}:{port}/", check=False, max_time_s=1) is None
    assert client.ping(OWN[0]) == 3
    after = daemon.api.get("lb/vips")["vips"]
    assert [v["counters"] for v in after] == [v["counters"] for v in before]


def test_a_node_port_is_taken_once_and_given_back(farm):
    client, daemon = farm
    key = "20.20.20.10/32 protocol tcp port 80"
    line = f"lb vip {key} encap nat4 type nodeport node_port {NODE_PORT} target_port 8080"
    error = daemon.refused(line)
    assert str(NODE_PORT) in f"{error['token']} {error['reason']}"
    daemon.cli(f"lb vip {VIP}/32 protocol tcp port 80 del")
    assert client.curl(f"http://{OWN[0]}:{NODE_PORT}/", check=False, max_time_s=1) is None
    # VPP never gives a node port back (its defect 28).
    daemon.cli(line, f"lb as {key} 31.31.31.1")
    assert client.curl(f"http://{OWN[1]}:{NODE_PORT}/").split()[0] == "server1"


def test_a_held_connection_at_a_node_port_keeps_its_server(farm):
    client, daemon = farm
    with client.tcp(OWN[2], NODE_PORT) as held:
        held.sendall(b"GET / HTTP/1.1\r\n\r\n")
        name = held.recv(4096).split(b"\r\n\r\n")[1].split()[0]
        (address,) = [a for a, n in SERVERS.items() if n == name.decode()]
        daemon.cli(f"lb as {VIP}/32 protocol tcp port 80 {address} weight 0")
        for _ in range(3):
            held.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert held.recv(4096).split(b"\r\n\r\n")[1].split()[0] == name
